/* Open addressing with linear probing. A slot is eight bytes: 32 bits of the hash and the place of
 * the entry, so that a miss mostly ends without touching an entry. The entries' bytes stand one
 * after the other in an arena, each as type size, value size, type (folded), value, so that no two
 * keys share bytes. At most half of the slots are taken: a miss ends after one or two looks. */
#include "keyset.h"

#include <stdlib.h>
#include <xxhash.h>

/* The sketch has 16 bits a slot, which makes 32 to 64 a key: with two bits set for each, one
 * strange value in 280 gets past it at worst. */
enum { FIRST_SLOTS = 1024, SKETCH_BITS_PER_SLOT = 16, ENTRY_UNIT = 8 };

struct slot {
  uint32_t hash; /* its upper half; the lower one chose the slot */
  uint32_t at;   /* place in the arena, in ENTRY_UNITs, plus one; 0 = free */
};

struct sizes {
  uint32_t type, value;
};

struct keyset {
  struct slot *slots;
  size_t slot_count, count;
  uint64_t *sketch;
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

static uint64_t hash_key(const char *type, const struct sizes *sizes, bool one_part,
                         const char *value) {
  XXH64_hash_t seed = one_part ? 0 : 1 + XXH3_64bits(type, sizes->type);
  return XXH3_64bits_withSeed(value, sizes->value, seed);
}

/* A key of one part has a type of this size; no other key can. */
enum { NO_TYPE = UINT16_MAX };

static struct sizes sizes_of(const struct key *key) {
  return (struct sizes){key->type == NULL ? NO_TYPE : (uint32_t)key->type_size,
                        (uint32_t)key->value_size};
}

static size_t type_bytes(const struct sizes *sizes) {
  return sizes->type == NO_TYPE ? 0 : sizes->type;
}

/* The bytes that an entry takes in the arena. */
static size_t entry_size(const struct sizes *sizes) {
  size_t size = sizeof *sizes + type_bytes(sizes) + sizes->value;
  return (size + ENTRY_UNIT - 1) / ENTRY_UNIT * ENTRY_UNIT;
}

static const char *entry_of(const struct keyset *set, const struct slot *slot) {
  return set->arena + (size_t)(slot->at - 1) * ENTRY_UNIT;
}

/* Whether the arena's entry is this key. */
static bool is_key(const char *entry, const struct key *key, const char *folded) {
  struct sizes sizes = sizes_of(key);
  return memcmp(entry, &sizes, sizeof sizes) == 0 &&
         memcmp(entry + sizeof sizes, folded, type_bytes(&sizes)) == 0 &&
         memcmp(entry + sizeof sizes + type_bytes(&sizes), key->value, key->value_size) == 0;
}

/* The slot that holds the key, or the free one where it belongs. */
static struct slot *find(const struct keyset *set, uint64_t hash, const struct key *key,
                         const char *folded) {
  size_t mask = set->slot_count - 1;
  for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
    struct slot *slot = &set->slots[i];
    if (slot->at == 0) return slot;
    if (slot->hash == hash >> 32 && is_key(entry_of(set, slot), key, folded)) return slot;
  }
}

/* ---- the sketch ---- */

static size_t sketch_bytes(size_t slots) { return slots * SKETCH_BITS_PER_SLOT / 8; }

struct sketch keyset_sketch(const struct keyset *set) {
  size_t bits = set->slot_count * SKETCH_BITS_PER_SLOT;
  return (struct sketch){set->sketch, (unsigned)__builtin_clzll(bits) + 1};
}

/* Sets the bits that sketch_may_have asks for. */
static void sketch_add(uint64_t *bits, unsigned shift, const char *value, size_t size) {
  char tail[8] = {0};
  size_t known = size < sizeof tail ? size : sizeof tail;
  memcpy(tail + sizeof tail - known, value + size - known, known);
  uint64_t mark = sketch_mark(tail + sizeof tail, size);
  uint64_t first = mark >> shift, second = (mark << 20) >> shift;
  bits[first / 64] |= UINT64_C(1) << first % 64;
  bits[second / 64] |= UINT64_C(1) << second % 64;
}

/* ---- building ---- */

struct keyset *keyset_new(struct failure *failure) {
  struct keyset *set = calloc(1, sizeof *set);
  if (set != NULL) {
    set->slots = calloc(FIRST_SLOTS, sizeof *set->slots);
    set->sketch = calloc(1, sketch_bytes(FIRST_SLOTS));
    set->slot_count = FIRST_SLOTS;
  }
  if (set != NULL && set->slots != NULL && set->sketch != NULL) return set;
  keyset_free(set);
  fail(failure, EXIT_INTERNAL, "out of memory");
  return NULL;
}

/* Puts the entry at that place of the arena into the table and gives the place behind it. */
static size_t insert(struct keyset *set, size_t place) {
  struct sizes sizes;
  const char *entry = set->arena + place;
  memcpy(&sizes, entry, sizeof sizes);
  const char *type = entry + sizeof sizes, *value = type + type_bytes(&sizes);
  uint64_t hash = hash_key(type, &sizes, sizes.type == NO_TYPE, value);
  size_t mask = set->slot_count - 1, to = (size_t)hash & mask;
  while (set->slots[to].at != 0) to = (to + 1) & mask;
  set->slots[to] = (struct slot){(uint32_t)(hash >> 32), (uint32_t)(place / ENTRY_UNIT) + 1};
  sketch_add(set->sketch, keyset_sketch(set).shift, value, sizes.value);
  return place + entry_size(&sizes);
}

/* Makes room for twice as many keys: table and sketch anew, by the entries in their order, for that
 * is how memory likes to be read. */
static bool grow(struct keyset *set, struct failure *failure) {
  size_t count = 2 * set->slot_count;
  struct slot *slots = calloc(count, sizeof *slots);
  uint64_t *sketch = calloc(1, sketch_bytes(count));
  if (slots == NULL || sketch == NULL) {
    free(slots);
    free(sketch);
    return fail(failure, EXIT_INTERNAL, "out of memory for %zu keys", count / 2);
  }
  free(set->slots);
  free(set->sketch);
  set->slots = slots;
  set->sketch = sketch;
  set->slot_count = count;
  for (size_t place = 0; place < set->used;) place = insert(set, place);
  return true;
}

/* Makes room for that many bytes more in the arena. */
static bool grow_arena(struct keyset *set, size_t size, struct failure *failure) {
  size_t needed = set->used + size;
  if (needed <= set->capacity) return true;
  if (needed / ENTRY_UNIT >= UINT32_MAX) {
    return fail(failure, EXIT_INTERNAL, "keys take more than %zu bytes", set->used);
  }
  size_t capacity = needed + needed / 2;
  char *grown = realloc(set->arena, capacity);
  if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory for keys");
  set->arena = grown;
  set->capacity = capacity;
  return true;
}

/* Appends an entry to the arena; *at is what a slot calls its place. */
static bool store(struct keyset *set, const struct key *key, const char *folded, uint32_t *at,
                  struct failure *failure) {
  struct sizes sizes = sizes_of(key);
  size_t size = entry_size(&sizes);
  if (!grow_arena(set, size, failure)) return false;
  char *entry = set->arena + set->used;
  memcpy(entry, &sizes, sizeof sizes);
  memcpy(entry + sizeof sizes, folded, type_bytes(&sizes));
  memcpy(entry + sizeof sizes + type_bytes(&sizes), key->value, key->value_size);
  *at = (uint32_t)(set->used / ENTRY_UNIT) + 1;
  set->used += size;
  return true;
}

/* Whether the key's parts have sizes that a key can have. */
static bool check_sizes(const struct key *key, struct failure *failure) {
  if (key->type_size > LONGEST_TYPE) {
    return fail(failure, EXIT_BAD_DATA, "identifier type is longer than %d bytes", LONGEST_TYPE);
  }
  if (key->value_size > INT32_MAX) return fail(failure, EXIT_BAD_DATA, "key is longer than 2 GiB");
  return true;
}

bool keyset_add(struct keyset *set, const struct key *key, struct failure *failure) {
  char folded[LONGEST_TYPE];
  if (!check_sizes(key, failure)) return false;
  if (2 * (set->count + 1) > set->slot_count && !grow(set, failure)) return false;
  fold_type(key, folded);
  struct sizes sizes = sizes_of(key);
  uint64_t hash = hash_key(folded, &sizes, key->type == NULL, key->value);
  struct slot *slot = find(set, hash, key, folded);
  if (slot->at != 0) return true;
  if (!store(set, key, folded, &slot->at, failure)) return false;
  slot->hash = (uint32_t)(hash >> 32);
  sketch_add(set->sketch, keyset_sketch(set).shift, key->value, key->value_size);
  set->count++;
  return true;
}

bool keyset_has(const struct keyset *set, const struct key *key) {
  char folded[LONGEST_TYPE];
  if (!fold_type(key, folded)) return false;
  struct sizes sizes = sizes_of(key);
  uint64_t hash = hash_key(folded, &sizes, key->type == NULL, key->value);
  return find(set, hash, key, folded)->at != 0;
}

size_t keyset_count(const struct keyset *set) { return set->count; }

void keyset_free(struct keyset *set) {
  if (set == NULL) return;
  free(set->slots);
  free(set->sketch);
  free(set->arena);
  free(set);
}
