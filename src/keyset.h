/* A hash set of keys that answers "is this one of ours?" for every record of the big file.
 * A key has one or two parts: one is matched exactly; of two, the first is an identifier type,
 * matched without regard to ASCII case, the second its value, matched exactly. */
#ifndef TALLYMAN_KEYSET_H
#define TALLYMAN_KEYSET_H

#include <stddef.h>
#include <stdint.h>

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

#endif
