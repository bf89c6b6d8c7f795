/* Lists of keys, and the set that they make, against a Lua table of their lines. The input: a byte
 * that chooses bytes a read; then the list, in which 1 and 2 stand for a great many letters. */
#include <stdlib.h>
#include <string.h>

#include "../../src/keys.h"
#include "oracle.h"

/* A line may be as long as the list reader's buffer, less one; `MANY` is about a third of it. */
enum { MANY = 87381 };

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count;
  oracle_open((*arguments)[0]);
  return 0;
}

/* The list that the input stands for; two long texts at most a list, or it would be slow. */
static void make_list(struct text *list, const struct input *input) {
  static char many[MANY];
  int left = 4;
  memset(many, 'x', sizeof many);
  for (size_t i = 0; i < input->size; i++) {
    uint8_t byte = input->bytes[i];
    if (byte == 1 && left-- > 0) {
      text_add(list, many, MANY);
    } else if (byte == 2) {
      text_print(list, "%zu", list->size);
    } else if (byte == 3 && left-- > 0) {
      for (int n = 0; n < 700; n++) text_print(list, "%d\n", n * 31);
    } else {
      text_add(list, &byte, 1);
    }
  }
}

/* Whether some line, its line feed not counted, fills the reader's buffer. */
static bool has_long_line(const struct text *list) {
  size_t line = 0;
  for (size_t i = 0; i < list->size; i++) {
    line = list->bytes[i] == '\n' ? 0 : line + 1;
    if (line >= 256 * 1024) return true;
  }
  return false;
}

/* Asks for a piece, and for what is nearly the same. */
static void ask(const struct keyset *set, struct sketch sketch, const char *value, size_t size) {
  struct key key = {.value = value, .value_size = size};
  char padded[8 + 64] = {0};
  bool there = oracle_has_value(value, size);
  must(keyset_has(set, &key) == there, "set and table differ about a key");
  if (size > 64 || !there) return;
  memcpy(padded + 8, value, size);
  must(sketch_may_have(sketch, sketch_mark(padded + 8 + size, size)), "the sketch lacks a key");
}

/* Asks for every line, with and without its last byte. */
static void ask_all(const struct keyset *set, const struct text *list) {
  struct sketch sketch = keyset_sketch(set);
  for (size_t at = 0; at < list->size;) {
    const char *feed = memchr(list->bytes + at, '\n', list->size - at);
    size_t size = feed == NULL ? list->size - at : (size_t)(feed - list->bytes) - at;
    ask(set, sketch, list->bytes + at, size);
    if (size > 0) ask(set, sketch, list->bytes + at, size - 1);
    if (size > 0) ask(set, sketch, list->bytes + at + 1, size - 1);
    at += size + 1;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static const size_t most[] = {SIZE_MAX, 1, 2, 100, 4096};
  struct input input = {bytes, size};
  size_t most_bytes = draw_one(&input, most, sizeof most / sizeof *most);
  struct text list = {0};
  struct failure failure = {0};
  text_add(&list, "", 0);
  make_list(&list, &input);
  if (list.size > 10000 && most_bytes < 100) most_bytes = 100;
  struct keyset *set = keyset_new(&failure);
  struct source *source = source_new(list.bytes, list.size, most_bytes, SIZE_MAX, false);
  bool done = keys_from_lines(source, set, &failure);
  must(done != has_long_line(&list), "a line of that length is refused or taken wrongly");
  if (done) {
    must(keyset_count(set) == oracle_add_lines(&list), "the number of keys differs");
    ask_all(set, &list);
  }
  source->close(source);
  keyset_free(set);
  free(list.bytes);
  return 0;
}
