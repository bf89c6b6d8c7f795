/* The fast lane by AVX2 and the bit instructions that came with it. Each function says by its
 * attribute what it needs, so that the rest of the program runs everywhere. */
#include "sift.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "sift_bits.h"

#define VARIANT avx2
#define TARGET __attribute__((target("avx2,bmi,bmi2,pclmul,popcnt")))

static bool usable(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("pclmul") &&
         __builtin_cpu_supports("popcnt");
}

struct step {
  __m256i low, high;
};

static TARGET inline struct step load_step(const char *bytes) {
  const __m256i *at = (const __m256i *)(const void *)bytes;
  return (struct step){_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}

static TARGET inline uint64_t step_equals(const struct step *step, char byte) {
  __m256i all = _mm256_set1_epi8(byte);
  uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(step->low, all));
  uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(step->high, all));
  return low | (uint64_t)high << 32;
}

static TARGET inline size_t ones(uint64_t bits) { return (size_t)_mm_popcnt_u64(bits); }
static TARGET inline size_t lowest(uint64_t bits) { return (size_t)_tzcnt_u64(bits); }

/* A product without carries by all ones is what it is for. */
static TARGET inline uint64_t inside_quotes(uint64_t quotes) {
  __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)quotes), _mm_set1_epi8(-1), 0);
  return (uint64_t)_mm_cvtsi128_si64(product);
}

static TARGET inline size_t nth_one(uint64_t bits, size_t n) {
  return n < 64 ? (size_t)_tzcnt_u64(_pdep_u64(UINT64_C(1) << n, bits)) : 64;
}

#include "sift_kernel.h"

#endif
