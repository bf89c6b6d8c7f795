/* The bit operations of a variant, where the processor has no instructions worth a special case. */

#include "sift_bits.h"

/* Adds up neighbouring bits, pairs and fours, then all bytes at once. */
static inline size_t ones(uint64_t bits) {
#if defined(__POPCNT__) || defined(__aarch64__)
  return (size_t)__builtin_popcountll(bits);
#else
  bits -= bits >> 1 & UINT64_C(0x5555555555555555);
  bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
  bits = (bits + (bits >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
  return (size_t)(bits * UINT64_C(0x0101010101010101) >> 56);
#endif
}

static inline size_t lowest(uint64_t bits) {
  return (size_t)__builtin_ctzll(bits | UINT64_C(1) << 63);
}

static inline uint64_t inside_quotes(uint64_t quotes) { return xor_upwards(quotes); }

static inline size_t nth_one(uint64_t bits, size_t n) {
  for (; n > 0 && bits != 0; n--) bits &= bits - 1;
  return bits == 0 ? 64 : (size_t)__builtin_ctzll(bits);
}
