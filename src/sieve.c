/* Runs of the fast lane, one after the other. Where it stops at a record, that record becomes a
 * finding and the next runs are short, doubling each time: a file that is broken all over costs a
 * few steps a record, and not a whole run. */
#include "sieve.h"

#include <stdlib.h>

#include "record.h"
#include "sift_bits.h"

enum { FEW_STEPS = 4 };

/* Makes room for that many findings more. */
static bool reserve(struct sieved *sieved, size_t more, struct failure *failure) {
  if (sieved->count + more <= sieved->capacity) return true;
  size_t capacity = 2 * (sieved->count + more);
  struct finding *grown = realloc(sieved->findings, capacity * sizeof *grown);
  if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  sieved->findings = grown;
  sieved->capacity = capacity;
  return true;
}

static void add(struct sieved *sieved, size_t at, uint64_t lines) {
  sieved->findings[sieved->count++] = (struct finding){(uint32_t)at, (uint32_t)lines};
}

/* Takes over what a run over the bytes from sieved->size on has found. */
static bool take_run(struct sieved *sieved, const char *bytes, const struct sifted *found,
                     struct failure *failure) {
  if (!reserve(sieved, found->count, failure)) return false;
  const char *run = bytes + sieved->size;
  uint64_t lines = sieved->lines;
  for (size_t i = 0, at = 0; i < found->count; at = found->look_at[i++]) {
    lines += count_feeds(run + at, found->look_at[i] - at);
    add(sieved, sieved->size + found->look_at[i], lines);
  }
  sieved->passed += found->records - found->count;
  sieved->lines += found->lines;
  sieved->size += found->size;
  return true;
}

/* Makes the next record a finding, if it is whole; *whole tells. */
static bool take_record(struct sieved *sieved, const char *bytes, size_t size, char delimiter,
                        bool *whole, struct failure *failure) {
  const char *record = bytes + sieved->size;
  size_t length = record_size(record, size - sieved->size, delimiter);
  *whole = length > 0;
  if (!*whole) return true;
  if (!reserve(sieved, 1, failure)) return false;
  add(sieved, sieved->size, sieved->lines);
  sieved->lines += count_feeds(record, length);
  sieved->size += length;
  return true;
}

bool sieve_bytes(const struct sieve *sieve, const char *bytes, size_t size, struct sieved *sieved,
                 struct failure *failure) {
  struct sifted found;
  size_t steps = SIFT_STEPS;
  sieved->count = 0;
  sieved->passed = sieved->lines = sieved->size = 0;
  while (sieved->size < size) {
    size_t left = size - sieved->size;
    sieve->variant->run(&sieve->rules, bytes + sieved->size, left, steps, &found);
    if (!take_run(sieved, bytes, &found, failure)) return false;
    if (!found.stopped && (found.records > 0 || steps < SIFT_STEPS)) {
      if (found.records == 0 && left <= steps * SIFT_STEP) break;
      steps = 2 * steps < SIFT_STEPS ? 2 * steps : SIFT_STEPS;
      continue;
    }
    bool whole;
    if (!take_record(sieved, bytes, size, sieve->rules.delimiter, &whole, failure)) return false;
    if (!whole) break;
    steps = FEW_STEPS;
  }
  return true;
}

void sieved_free(struct sieved *sieved) { free(sieved->findings); }
