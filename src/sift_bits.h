/* What all variants of the fast lane share: masks in which bit i stands for byte i, and the exact
 * walk over quotes that aren't where quotes ought to be. */
#ifndef TALLYMAN_SIFT_BITS_H
#define TALLYMAN_SIFT_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the byte before a step was; all zero where a record begins. */
struct quote_state {
  uint64_t inside; /* all ones: a quoted field isn't closed yet */
  uint64_t plain;  /* 1: an ordinary byte outside quotes */
  uint64_t quote;  /* 1: a quote that opened or closed a field */
};

struct masks {
  uint64_t delimiters, feeds, quotes, returns; /* bytes of that kind, wherever they stand */
  uint64_t inside, plain;                      /* what the walk finds out */
};

/* The low `count` bits. */
static inline uint64_t low_bits(size_t count) {
  return count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

/* The 64 bits from bit `at` on; the word behind must exist. */
static inline uint64_t window_at(const uint64_t *words, size_t at) {
  size_t word = at / 64, bit = at % 64;
  return words[word] >> bit | words[word + 1] << 1 << (63 - bit);
}

/* Finds out which quotes open and close fields, and drops those that are literal text. False when
 * text follows a closing quote, or it can't be told yet whether. Two bytes behind the step must be
 * readable. */
bool walk_quotes(const struct quote_state *before, struct masks *masks, const char *bytes);

/* The offset from `start` behind the nth delimiter; 0 for n = 0. It must exist. */
size_t behind_nth(const uint64_t *delimiters, size_t start, size_t n);

/* The number of line feeds. */
size_t count_feeds(const char *bytes, size_t size);

/* The xor of each bit with all bits below it, where the processor has no better way. */
static inline uint64_t xor_upwards(uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

#endif
