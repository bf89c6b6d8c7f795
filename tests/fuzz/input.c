/* What every harness needs. Memory is the fuzzer's own business: where there is none, it ends. */
#include "input.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned draw(struct input *input) {
  if (input->size == 0) return 0;
  input->size--;
  return *input->bytes++;
}

size_t draw_one(struct input *input, const size_t *numbers, size_t count) {
  return numbers[draw(input) % count];
}

/* ---- texts ---- */

/* Makes room for that many bytes more, and a zero. */
static void reserve(struct text *text, size_t size) {
  if (text->size + size < text->capacity) return;
  text->capacity = 2 * (text->size + size) + 64;
  text->bytes = realloc(text->bytes, text->capacity);
  if (text->bytes == NULL) abort();
}

void text_add(struct text *text, const void *bytes, size_t size) {
  reserve(text, size);
  if (size > 0) memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  text->bytes[text->size] = '\0';
}

void text_print(struct text *text, const char *format, ...) {
  char line[1000];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text_add(text, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
}

/* ---- the loud end ---- */

/* Prints a text with everything odd made visible. */
static void show(const char *what, const struct text *text, size_t from) {
  fprintf(stderr, "---- %s, %zu bytes, from %zu on\n", what, text->size, from);
  for (size_t i = from; i < text->size && i < from + 4000; i++) {
    unsigned char byte = (unsigned char)text->bytes[i];
    if (byte == '\n' || (byte >= ' ' && byte < 127 && byte != '\\')) {
      fputc(byte, stderr);
    } else {
      fprintf(stderr, "\\x%02X", byte);
    }
  }
  fputc('\n', stderr);
}

/* Says what differs, a little before the first difference on, and ends. */
static void differ(const char *what, const struct text *expected, const struct text *found) {
  size_t same = 0;
  while (same < expected->size && same < found->size && expected->bytes[same] == found->bytes[same])
    same++;
  size_t from = same > 400 ? same - 400 : 0;
  fprintf(stderr, "DIFFERENCE in %s at byte %zu\n", what, same);
  show("expected", expected, from);
  show("found", found, from);
  abort();
}

void must_equal(const char *what, const struct text *expected, const struct text *found) {
  if (expected->size != found->size ||
      (found->size > 0 && memcmp(expected->bytes, found->bytes, found->size) != 0)) {
    differ(what, expected, found);
  }
}

void must_begin(const char *what, const struct text *expected, const struct text *found) {
  if (found->size > expected->size ||
      (found->size > 0 && memcmp(expected->bytes, found->bytes, found->size) != 0)) {
    differ(what, expected, found);
  }
}

void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "DIFFERENCE: %s\n", what);
  abort();
}

/* ---- the source ---- */

struct fuzz_source {
  struct source base;
  const char *bytes;
  size_t size, most, fails_at;
};

static ssize_t give_at(struct source *self, void *into, size_t size, uint64_t offset,
                       struct failure *failure) {
  struct fuzz_source *source = (struct fuzz_source *)self;
  if (offset >= source->fails_at) {
    fail(failure, EXIT_UNAVAILABLE, "the link is gone");
    return -1;
  }
  if (offset >= source->size) return 0;
  size_t left = source->size - (size_t)offset, before = source->fails_at - (size_t)offset;
  if (size > left) size = left;
  if (size > before) size = before;
  if (size > source->most) size = source->most;
  memcpy(into, source->bytes + offset, size);
  return (ssize_t)size;
}

static ssize_t give(struct source *self, void *into, size_t size, struct failure *failure) {
  ssize_t got = give_at(self, into, size, self->raw_bytes, failure);
  if (got > 0) self->raw_bytes += (uint64_t)got;
  return got;
}

static void let_go(struct source *self) {
  source_release(self);
  free(self);
}

struct source *source_new(const char *bytes, size_t size, size_t most, size_t fails_at,
                          bool with_read_at) {
  struct fuzz_source *source = calloc(1, sizeof *source);
  if (source == NULL) abort();
  source->base.read = give;
  source->base.read_at = with_read_at ? give_at : NULL;
  source->base.close = let_go;
  source->base.name = strdup("x");
  source->base.total_bytes = size;
  source->bytes = bytes;
  source->size = size;
  source->most = most;
  source->fails_at = fails_at;
  return &source->base;
}

/* ---- failures ---- */

void text_add_failure(struct text *text, const struct failure *failure) {
  static const struct {
    const char *says, *kind;
  } kinds[] = {
      {"header is broken", "header"},   {"file is UTF-16", "utf16"},
      {"record is longer", "too_long"}, {"quote is never", "quote"},
      {"file is cut off", "cut_off"},   {"header has ", "columns"},
      {"fewer fields", "broken"},       {"more fields", "broken"},
      {"text after a", "broken"},
  };
  int begin = 0;
  unsigned long long line;
  size_t column;
  if (strcmp(failure->text, "x: file is empty: not even a header line") == 0) {
    text_print(text, "empty");
    return;
  }
  bool placed = sscanf(failure->text, "x:%llu:%zu: %n", &line, &column, &begin) == 2;
  for (size_t i = 0; placed && i < sizeof kinds / sizeof *kinds; i++) {
    if (failure->code == EXIT_BAD_DATA &&
        strncmp(failure->text + begin, kinds[i].says, strlen(kinds[i].says)) == 0) {
      text_print(text, "%s %llu %zu", kinds[i].kind, line, column);
      return;
    }
  }
  text_print(text, "code %d: %s", failure->code, failure->text);
}
