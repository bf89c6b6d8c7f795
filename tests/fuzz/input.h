/* What every harness needs: bytes drawn from the front of the fuzzer's input, texts that grow, a
 * source that may be slow and may fail, and a loud end when two answers differ. */
#ifndef TALLYMAN_FUZZ_INPUT_H
#define TALLYMAN_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../src/stream.h"

struct input {
  const uint8_t *bytes;
  size_t size;
};

/* The next byte; 0 when there is none left. */
unsigned draw(struct input *input);

/* One of `count` numbers, by the next byte. */
size_t draw_one(struct input *input, const size_t *numbers, size_t count);

struct text {
  char *bytes;
  size_t size, capacity;
};

void text_add(struct text *text, const void *bytes, size_t size);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Both texts are printed and the process ends unless they are equal. */
void must_equal(const char *what, const struct text *expected, const struct text *found);

/* As must_equal, for what an interrupted run may have written. */
void must_begin(const char *what, const struct text *expected, const struct text *found);

/* Prints and ends the process unless it holds. */
void must(bool holds, const char *what);

/* A source of these bytes that gives `most` of them a read and fails where `fails_at` bytes were
 * given (SIZE_MAX: never); with read_at or without. Its name is "x". */
struct source *source_new(const char *bytes, size_t size, size_t most, size_t fails_at,
                          bool with_read_at);

/* The failure as the oracle puts it: kind, line and column. */
void text_add_failure(struct text *text, const struct failure *failure);

#endif
