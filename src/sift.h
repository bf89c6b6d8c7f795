/* The fast lane: goes over records whose key can't be in the set without looking at more of them
 * than their structure, 64 bytes at a time. It passes only what it is sure of: a record that is
 * sound, has the header's number of fields, and a value that the sketch doesn't know. Whatever else
 * comes, it names or stops at, and the careful reader decides. */
#ifndef TALLYMAN_SIFT_H
#define TALLYMAN_SIFT_H

#include "keyset.h"

enum {
  SIFT_STEP = 64,                    /* bytes whose structure is found at once */
  SIFT_STEPS = 128,                  /* at most in one run */
  SIFT_RUN = SIFT_STEP * SIFT_STEPS, /* bytes gone over at most in one run */
  SIFT_FRONT = 8,                    /* bytes readable in front of what it gets */
  SIFT_SLACK = SIFT_STEP + 8         /* zeros behind it */
};

/* What stays the same for all records of a file. */
struct sift_rules {
  struct sketch sketch;
  size_t columns;      /* fields of the header: two at least */
  size_t value_column; /* index of the key's value */
  char delimiter;
};

/* What a run found. Offsets are from the run's first byte, where a record must begin. */
struct sifted {
  size_t records; /* sound ones gone over, those to look at included */
  size_t lines;   /* line feeds in them */
  size_t size;    /* bytes of them; the next record begins there */
  bool stopped;   /* the next record needs care; else the bytes or the steps came to an end */
  size_t count;   /* of the records to look at: they may be in the set */
  uint16_t look_at[SIFT_RUN / 2]; /* their offsets */
};

/* One way to find structure, for one kind of processor. */
struct sift_variant {
  const char *name;
  /* Goes over the whole records among the first `steps` (SIFT_STEPS at most) times 64 of `size`
   * bytes; SIFT_FRONT and SIFT_SLACK bytes around them must be there. */
  void (*run)(const struct sift_rules *rules, const char *bytes, size_t size, size_t steps,
              struct sifted *found);
  /* Bit i: byte i is the delimiter or a line feed; of 64 bytes, in quotes or not. */
  uint64_t (*separators)(const char *bytes, char delimiter);
  bool (*usable)(void); /* whether this processor has what it needs */
};

/* The fastest variant that this processor has (NULL), or the one that is named: "avx2", "sse2",
 * "neon", "portable". NULL, with *failure set, when that can't be had here. */
const struct sift_variant *sift_choose(const char *name, struct failure *failure);

/* All of them, for sift_choose; those of other processors don't exist. */
extern const struct sift_variant sift_portable, sift_sse2, sift_avx2, sift_neon;

#endif
