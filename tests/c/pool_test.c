/* Two threads over a file that changes while it is read: what was the end when somebody got there
 * is the end, whatever stands behind it by the time that the other thread gets there. */
#include <stdlib.h>
#include <string.h>

#include "../../src/filter.h"
#include "check.h"

/* A file that has grown by the time that anything behind its end is asked for; or that fails. */
struct growing {
  struct source base;
  const char *bytes;
  size_t size;     /* as far as it went at first */
  size_t fails_at; /* reading from there on fails; SIZE_MAX: never */
};

static ssize_t growing_read_at(struct source *self, void *into, size_t size, uint64_t offset,
                               struct failure *failure) {
  struct growing *growing = (struct growing *)self;
  if (offset >= growing->fails_at) {
    fail(failure, EXIT_IO, "the disk is gone");
    return -1;
  }
  if (offset == growing->size) return 0;
  if (offset > growing->size) {
    memset(into, '\n', size);
    return (ssize_t)size;
  }
  if (size > growing->size - offset) size = growing->size - (size_t)offset;
  memcpy(into, growing->bytes + offset, size);
  return (ssize_t)size;
}

static ssize_t growing_read(struct source *self, void *into, size_t size, struct failure *failure) {
  ssize_t got = growing_read_at(self, into, size, self->raw_bytes, failure);
  if (got > 0) self->raw_bytes += (uint64_t)got;
  return got;
}

enum { ROWS = 30000 };

/* Filters the first `size` bytes by two threads, in small blocks; what is kept must be a part of
 * them. */
static bool filter(const char *bytes, size_t size, size_t fails_at, size_t block,
                   struct filter_counts *counts, struct failure *failure) {
  static char name[] = "growing";
  struct growing growing = {.bytes = bytes, .size = size, .fails_at = fails_at};
  struct filter_options options = {.key = {"a", NULL}, .threads = 2, .scan.block = block};
  struct keyset *keep = keyset_new(failure);
  struct sink *sink = sink_memory(failure);
  struct key key = {.value = "7", .value_size = 1};
  size_t kept;
  growing.base.read = growing_read;
  growing.base.read_at = growing_read_at;
  growing.base.name = name;
  keyset_add(keep, &key, failure);
  options.keep = keep;
  bool done = filter_run(&growing.base, sink, &options, counts, failure);
  sink_memory_bytes(sink, &kept);
  CHECK(kept <= size);
  sink->close(sink);
  keyset_free(keep);
  return done;
}

/* A file of rows "n,xxxx". */
static char *make_file(size_t *size) {
  char *bytes = malloc(ROWS * 8 + 10);
  *size = 0;
  for (int i = -1; i < ROWS; i++) {
    const char *row = i < 0 ? "a,b\n" : "0,xxxx\n";
    memcpy(bytes + *size, row, strlen(row) + 1);
    if (i >= 0) bytes[*size] = (char)('0' + i % 10);
    *size += strlen(row);
  }
  return bytes;
}

static void test_growing(void) {
  size_t size;
  char *bytes = make_file(&size);
  int wrong = 0;
  for (size_t block = 4096; block < 70000; block += 5000) {
    struct filter_counts counts;
    struct failure failure = {0};
    wrong += !filter(bytes, size, SIZE_MAX, block, &counts, &failure) || counts.bytes != size ||
             counts.read != ROWS || counts.kept != ROWS / 10;
  }
  CHECK(wrong == 0);
  free(bytes);
}

/* A read that fails ends the run with its own words, whichever thread it happened to. */
static void test_failing(void) {
  size_t size;
  char *bytes = make_file(&size);
  int wrong = 0;
  for (size_t at = 10000; at < size; at += 10000) {
    struct filter_counts counts;
    struct failure failure = {0};
    wrong += filter(bytes, size, at, 8192, &counts, &failure) || failure.code != EXIT_IO ||
             strcmp(failure.text, "the disk is gone") != 0;
  }
  CHECK(wrong == 0);
  free(bytes);
}

int main(void) {
  test_growing();
  test_failing();
  return check_report();
}
