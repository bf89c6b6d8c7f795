/* Open addressing with linear probing over 64-bit hashes; the keys' bytes stand one after the other
 * in an arena, each as type size, type (folded), value size, value, so that no two keys share
 * bytes. At most half of the slots are taken: a miss ends after one or two looks. */
#include "keyset.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FIRST_SLOTS = 64 };

struct slot {
  uint64_t hash;
  size_t at; /* offset in the arena plus one; 0 = free */
};

struct keyset {
  struct slot *slots;
  size_t slot_count, count;
  char *arena;
  size_t used, capacity;
};

static char fold(char byte) { return byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : byte; }

/* Types are short: they are folded on the stack up to this size, longer ones never match. */
enum { LONGEST_TYPE = 64 };

/* Writes the folded type; false when it is too long to be one. */
static bool fold_type(const struct key *key, char folded[LONGEST_TYPE]) {
  if (key->type_size > LONGEST_TYPE) return false;
  for (size_t i = 0; i < key->type_size; i++) folded[i] = fold(key->type[i]);
  return true;
}

static uint64_t hash_key(const struct key *key, const char *folded) {
  XXH64_hash_t seed = key->type == NULL ? 0 : 1 + XXH3_64bits(folded, key->type_size);
  return XXH3_64bits_withSeed(key->value, key->value_size, seed);
}

/* Whether the arena's entry is this key. */
static bool is_key(const char *entry, const struct key *key, const char *folded) {
  size_t sizes[2];
  memcpy(sizes, entry, sizeof sizes);
  return sizes[0] == key->type_size && sizes[1] == key->value_size &&
         memcmp(entry + sizeof sizes, folded, key->type_size) == 0 &&
         memcmp(entry + sizeof sizes + key->type_size, key->value, key->value_size) == 0;
}

/* The slot that holds the key, or the free one where it belongs. */
static struct slot *find(const struct keyset *set, uint64_t hash, const struct key *key,
                         const char *folded) {
  size_t mask = set->slot_count - 1;
  for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
    struct slot *slot = &set->slots[i];
    if (slot->at == 0) return slot;
    if (slot->hash == hash && is_key(set->arena + slot->at - 1, key, folded)) return slot;
  }
}

struct keyset *keyset_new(struct failure *failure) {
  struct keyset *set = calloc(1, sizeof *set);
  if (set != NULL) set->slots = calloc(FIRST_SLOTS, sizeof *set->slots);
  if (set == NULL || set->slots == NULL) {
    free(set);
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  set->slot_count = FIRST_SLOTS;
  return set;
}

/* Doubles the table. */
static bool grow(struct keyset *set, struct failure *failure) {
  size_t count = 2 * set->slot_count;
  struct slot *slots = calloc(count, sizeof *slots);
  if (slots == NULL) return fail(failure, EXIT_INTERNAL, "out of memory for %zu keys", count);
  for (size_t i = 0; i < set->slot_count; i++) {
    if (set->slots[i].at == 0) continue;
    size_t to = (size_t)set->slots[i].hash & (count - 1);
    while (slots[to].at != 0) to = (to + 1) & (count - 1);
    slots[to] = set->slots[i];
  }
  free(set->slots);
  set->slots = slots;
  set->slot_count = count;
  return true;
}

/* Appends an entry to the arena; *at is where it begins. */
static bool store(struct keyset *set, const struct key *key, const char *folded, size_t *at,
                  struct failure *failure) {
  size_t sizes[2] = {key->type_size, key->value_size};
  size_t needed = set->used + sizeof sizes + key->type_size + key->value_size;
  if (needed > set->capacity) {
    char *grown = realloc(set->arena, 2 * needed);
    if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory for keys");
    set->arena = grown;
    set->capacity = 2 * needed;
  }
  char *entry = set->arena + set->used;
  memcpy(entry, sizes, sizeof sizes);
  memcpy(entry + sizeof sizes, folded, key->type_size);
  memcpy(entry + sizeof sizes + key->type_size, key->value, key->value_size);
  *at = set->used;
  set->used = needed;
  return true;
}

bool keyset_add(struct keyset *set, const struct key *key, struct failure *failure) {
  char folded[LONGEST_TYPE];
  if (!fold_type(key, folded)) {
    return fail(failure, EXIT_BAD_DATA, "identifier type is longer than %d bytes", LONGEST_TYPE);
  }
  if (2 * (set->count + 1) > set->slot_count && !grow(set, failure)) return false;
  uint64_t hash = hash_key(key, folded);
  struct slot *slot = find(set, hash, key, folded);
  if (slot->at != 0) return true;
  size_t at = 0;
  if (!store(set, key, folded, &at, failure)) return false;
  *slot = (struct slot){hash, at + 1};
  set->count++;
  return true;
}

bool keyset_has(const struct keyset *set, const struct key *key) {
  char folded[LONGEST_TYPE];
  if (!fold_type(key, folded)) return false;
  return find(set, hash_key(key, folded), key, folded)->at != 0;
}

size_t keyset_count(const struct keyset *set) { return set->count; }

void keyset_free(struct keyset *set) {
  if (set == NULL) return;
  free(set->slots);
  free(set->arena);
  free(set);
}
