/* The fast lane by SSE2, which every x86-64 processor has. */
#include "sift.h"

#if defined(__x86_64__)

#include <emmintrin.h>

#include "sift_bits.h"

#define VARIANT sse2
#define TARGET

static bool usable(void) { return true; }

struct step {
  __m128i parts[4];
};

static inline struct step load_step(const char *bytes) {
  const __m128i *at = (const __m128i *)(const void *)bytes;
  return (struct step){{_mm_loadu_si128(at), _mm_loadu_si128(at + 1), _mm_loadu_si128(at + 2),
                        _mm_loadu_si128(at + 3)}};
}

static inline uint64_t step_equals(const struct step *step, char byte) {
  __m128i all = _mm_set1_epi8(byte);
  uint64_t mask = 0;
  for (int i = 0; i < 4; i++) {
    mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(step->parts[i], all)) << 16 * i;
  }
  return mask;
}

#define PLAIN_BITS
#include "sift_kernel.h"

#endif
