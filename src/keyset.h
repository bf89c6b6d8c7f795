/* A hash set of keys that answers "is this one of ours?" for every record of the big file.
 * A key has one or two parts: one is matched exactly; of two, the first is an identifier type,
 * matched without regard to ASCII case, the second its value, matched exactly.
 * In front of the table stands a sketch: bits that only the end of a value chooses, small enough
 * for a cache, so that nearly every value that isn't ours is known by a multiplication. */
#ifndef TALLYMAN_KEYSET_H
#define TALLYMAN_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "failure.h"

struct key {
  const char *type; /* NULL for a key of one part */
  size_t type_size;
  const char *value;
  size_t value_size;
};

struct keyset;

struct keyset *keyset_new(struct failure *failure);
/* Adds a key; one that is there already changes nothing. */
bool keyset_add(struct keyset *set, const struct key *key, struct failure *failure);
bool keyset_has(const struct keyset *set, const struct key *key);
size_t keyset_count(const struct keyset *set);
void keyset_free(struct keyset *set);

/* The sketch: two bits of 2^(64 - shift) for each value. */
struct sketch {
  const uint64_t *bits;
  unsigned shift;
};

/* The set's sketch, valid until a key is added. */
struct sketch keyset_sketch(const struct keyset *set);

/* The last eight bytes before `end`, the very last one most significant. */
static inline uint64_t eight_bytes_before(const char *end) {
  uint64_t bytes;
  memcpy(&bytes, end - sizeof bytes, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  bytes = __builtin_bswap64(bytes);
#endif
  return bytes;
}

/* What the sketch knows a value by: its last eight bytes, stirred. The eight bytes before `end`
 * must be readable even where the value is shorter; they have no say then. */
static inline uint64_t sketch_mark(const char *end, size_t size) {
  uint64_t tail = eight_bytes_before(end);
  if (size < 8) tail = size == 0 ? 0 : tail >> (64 - 8 * size);
  return tail * 0x9E3779B97F4A7C15u;
}

/* Whether a value with that mark may be in the set; false is certain. */
static inline bool sketch_may_have(struct sketch sketch, uint64_t mark) {
  uint64_t first = mark >> sketch.shift, second = (mark << 20) >> sketch.shift;
  if ((sketch.bits[first / 64] >> first % 64 & 1) == 0) return false;
  return (sketch.bits[second / 64] >> second % 64 & 1) != 0;
}

#endif
