/* The key set against a naive one: keys as bytes, sorted, looked up by bisection. */
#include "../../src/keyset.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ---- random keys ---- */

static uint64_t state = 88172645463325252u;

/* Marsaglia's xorshift. */
static uint64_t random_bits(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

enum { LONGEST = 40 };

struct random_key {
  char type[8], value[LONGEST];
  struct key key; /* points into it */
};

/* Short keys, so that many are equal, over an alphabet that has NUL and both cases. */
static void make_key(struct random_key *random, size_t longest) {
  static const char alphabet[] = "aAbB01\0-";
  struct key *key = &random->key;
  key->type_size = random_bits() % 4;
  key->value_size = random_bits() % (longest + 1);
  for (size_t i = 0; i < key->type_size; i++) random->type[i] = alphabet[random_bits() % 8];
  for (size_t i = 0; i < key->value_size; i++) random->value[i] = alphabet[random_bits() % 8];
  key->type = random_bits() % 4 == 0 ? NULL : random->type;
  key->value = random->value;
  if (key->type == NULL) key->type_size = 0;
}

/* ---- the naive set ---- */

struct plain {
  size_t size;
  char bytes[LONGEST + 10];
};

/* A key as bytes: whether it has a type, the folded type's size, the folded type, the value. */
static struct plain plain_of(const struct key *key) {
  struct plain plain = {2, {key->type != NULL, (char)key->type_size}};
  for (size_t i = 0; i < key->type_size; i++) {
    char byte = key->type[i];
    plain.bytes[plain.size++] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
  }
  memcpy(plain.bytes + plain.size, key->value, key->value_size);
  plain.size += key->value_size;
  return plain;
}

static int compare(const void *one, const void *other) {
  const struct plain *a = one, *b = other;
  int order = memcmp(a->bytes, b->bytes, a->size < b->size ? a->size : b->size);
  return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Sorts and counts those that differ. */
static size_t count_different(struct plain *plains, size_t count) {
  size_t different = count > 0;
  qsort(plains, count, sizeof *plains, compare);
  for (size_t i = 1; i < count; i++) different += compare(&plains[i - 1], &plains[i]) != 0;
  return different;
}

/* That many random keys, and as many looked for that may be there or not. */
static void test_random(size_t count, size_t longest) {
  struct failure failure = {0};
  struct keyset *set = keyset_new(&failure);
  struct plain *plains = malloc(count * sizeof *plains);
  uint64_t start = state;
  size_t wrong = 0;
  for (size_t i = 0; i < count; i++) {
    struct random_key random;
    make_key(&random, longest);
    plains[i] = plain_of(&random.key);
    wrong += !keyset_add(set, &random.key, &failure);
    wrong += !keyset_has(set, &random.key);
  }
  wrong += keyset_count(set) != count_different(plains, count);
  for (size_t i = 0; i < 2 * count; i++) {
    struct random_key random;
    if (i == count) state = start; /* now for those that were added */
    make_key(&random, longest);
    struct plain plain = plain_of(&random.key);
    bool there = bsearch(&plain, plains, count, sizeof plain, compare) != NULL;
    wrong += keyset_has(set, &random.key) != there || (i >= count && !there);
  }
  CHECK(wrong == 0);
  free(plains);
  keyset_free(set);
}

/* ---- single keys ---- */

static struct key two(const char *type, const char *value) {
  return (struct key){type, strlen(type), value, strlen(value)};
}

static struct key one(const char *value) { return (struct key){NULL, 0, value, strlen(value)}; }

static bool add(struct keyset *set, struct key key) {
  struct failure failure = {0};
  return keyset_add(set, &key, &failure);
}

static bool has(const struct keyset *set, struct key key) { return keyset_has(set, &key); }

/* Whether the sketch lets the value pass. */
static bool may_have(const struct keyset *set, const char *value, size_t size) {
  char room[8 + LONGEST + 8] = {0};
  memcpy(room + 8, value, size);
  return sketch_may_have(keyset_sketch(set), sketch_mark(room + 8 + size, size));
}

/* The sketch lets every key pass, at every size of the set, and few others. */
static void test_sketch(struct keyset *set) {
  int missed = 0, passed = 0;
  char value[LONGEST];
  for (int n = 0; n < 40000; n++) {
    int size = snprintf(value, sizeof value, "%0*d", n % 12 + 1, n);
    add(set, one(value));
    missed += !may_have(set, value, (size_t)size);
    if ((n & (n + 1)) != 0) continue;
    for (int old = 0; old <= n; old++) {
      size = snprintf(value, sizeof value, "%0*d", old % 12 + 1, old);
      missed += !may_have(set, value, (size_t)size);
    }
  }
  for (int n = 0; n < 100000; n++) {
    int size = snprintf(value, sizeof value, "strange-%d", n);
    passed += may_have(set, value, (size_t)size);
  }
  CHECK(missed == 0);
  CHECK(passed < 100000 / 100);
}

static void test_folding(struct keyset *set) {
  CHECK(add(set, two("sKu", "Ab")) && add(set, two("SKU", "Ab")) && keyset_count(set) == 1);
  CHECK(has(set, two("SKU", "Ab")) && has(set, two("sku", "Ab")));
  CHECK(!has(set, two("sku", "ab")) && !has(set, two("sku", "AB")));
  /* Only ASCII letters have a case: bytes 32 apart from others don't. */
  CHECK(add(set, two("[\\]@\xC4", "1")));
  CHECK(!has(set, two("{|}`\xE4", "1")) && !has(set, two("[\\]`\xC4", "1")));
}

/* Where the parts meet is part of the key, and so is how many there are. */
static void test_borders(struct keyset *set) {
  CHECK(add(set, two("ab", "c")) && !has(set, two("a", "bc")) && !has(set, one("abc")));
  CHECK(add(set, one("x")) && !has(set, two("", "x")) && !has(set, two("x", "")));
  CHECK(add(set, two("", "y")) && !has(set, one("y")));
}

static void test_empty_keys(struct keyset *set) {
  CHECK(!has(set, one("")) && !has(set, two("", "")));
  CHECK(add(set, one("")) && has(set, one("")) && !has(set, two("", "")));
  CHECK(add(set, two("", "")) && has(set, two("", "")));
  CHECK(add(set, two("sku", "")) && has(set, two("SKU", "")) && !has(set, two("sk", "")));
}

static void test_nul_in_keys(struct keyset *set) {
  struct key with = {"a\0b", 3, "c\0d", 3}, other = {"a\0b", 3, "c\0e", 3};
  CHECK(add(set, with) && has(set, with) && !has(set, other));
  CHECK(!has(set, two("a", "c")) && !has(set, two("a\0b", "c\0d")));
}

static void test_long_keys(struct keyset *set) {
  size_t size = 3 * 1024 * 1024;
  char *long_value = malloc(size), type[66];
  struct key key = {"sku", 3, long_value, size};
  memset(long_value, 'x', size);
  CHECK(add(set, key) && has(set, key) && add(set, one("after")) && has(set, key));
  long_value[size - 1] = 'y';
  CHECK(!has(set, key));
  key.value_size--;
  CHECK(!has(set, key));
  free(long_value);
  memset(type, 't', sizeof type);
  type[64] = '\0';
  CHECK(add(set, two(type, "v")) && has(set, two(type, "v")));
  /* A type longer than any identifier has is refused, not cut. */
  type[64] = 't';
  type[65] = '\0';
  CHECK(!add(set, two(type, "v")) && !has(set, two(type, "v")));
}

/* Each with a set of its own. */
static void with_set(void (*test)(struct keyset *set)) {
  struct failure failure = {0};
  struct keyset *set = keyset_new(&failure);
  if (!CHECK(set != NULL && keyset_count(set) == 0)) return;
  test(set);
  keyset_free(set);
}

int main(void) {
  static const size_t counts[] = {1, 2, 31, 32, 33, 64, 65, 1000, 20000, 200000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    test_random(counts[i], 3);
    test_random(counts[i], LONGEST);
  }
  with_set(test_sketch);
  with_set(test_folding);
  with_set(test_borders);
  with_set(test_empty_keys);
  with_set(test_nul_in_keys);
  with_set(test_long_keys);
  keyset_free(NULL);
  return check_report();
}
