/* A block's bytes in, the records that have to be looked at out: the fast lane (sift.h) for nearly
 * all, the careful reader's rules for finding the end of the few that it stops at. Needs nothing
 * but the bytes, so that several blocks may go through at the same time. */
#ifndef TALLYMAN_SIEVE_H
#define TALLYMAN_SIEVE_H

#include "sift.h"

struct sieve {
  const struct sift_variant *variant;
  struct sift_rules rules;
};

/* A whole record that has to be looked at. */
struct finding {
  uint32_t at, lines; /* bytes and line feeds before it */
};

/* What a block's records are. Kept from block to block for the memory it holds. */
struct sieved {
  struct finding *findings;
  size_t count, capacity;
  uint64_t passed; /* sound records that are certainly not in the set: no findings */
  size_t size;     /* bytes of all of them; an unfinished record begins there */
  uint64_t lines;  /* line feeds in those bytes */
};

/* Goes over the whole records in `bytes`, where a record begins; SIFT_FRONT bytes before and
 * SIFT_SLACK zeros behind must be there. Fails only for want of memory. */
bool sieve_bytes(const struct sieve *sieve, const char *bytes, size_t size, struct sieved *sieved,
                 struct failure *failure);

void sieved_free(struct sieved *sieved);

#endif
