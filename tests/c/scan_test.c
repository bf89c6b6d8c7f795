/* The scan over sources that misbehave: that give a byte at a time, or fail in the middle. What is
 * right CSV and what isn't, tests/scan_spec.lua knows; here it is enough that the same records come
 * out as from a source that gives everything at once. */
#include "../../src/scan.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ---- a source that gives a few bytes at a time, and may fail ---- */

struct trickle {
  struct source base;
  const char *bytes;
  size_t size, at, most; /* `most` bytes a read */
  size_t fails_at;       /* having given that many, it fails; SIZE_MAX: never */
  int reads_after_end;   /* reads after it said that it has ended */
  bool ended;
};

static ssize_t trickle_read(struct source *self, void *into, size_t size, struct failure *failure) {
  struct trickle *trickle = (struct trickle *)self;
  size_t left = trickle->size - trickle->at;
  if (trickle->at >= trickle->fails_at) {
    fail(failure, EXIT_UNAVAILABLE, "the link is gone");
    return -1;
  }
  trickle->reads_after_end += trickle->ended;
  if (size > left) size = left;
  if (size > trickle->most) size = trickle->most;
  if (size > trickle->fails_at - trickle->at) size = trickle->fails_at - trickle->at;
  memcpy(into, trickle->bytes + trickle->at, size);
  trickle->at += size;
  trickle->ended = size == 0;
  return (ssize_t)size;
}

static struct trickle new_trickle(const char *bytes, size_t size, size_t most) {
  static char name[] = "trickle\n";
  struct trickle trickle = {.bytes = bytes, .size = size, .most = most, .fails_at = SIZE_MAX};
  trickle.base.read = trickle_read;
  trickle.base.name = name;
  return trickle;
}

/* ---- what a scan gives, as one text ---- */

struct text {
  char *bytes;
  size_t size;
};

static void append(struct text *text, const char *bytes, size_t size) {
  text->bytes = realloc(text->bytes, text->size + size + 1);
  if (size > 0) memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  text->bytes[text->size] = '\0';
}

/* A record: line, fault and place, then its fields' texts and ends. */
static void append_record(struct text *text, const struct scan *scan, const struct record *record) {
  char head[100], *scratch = malloc(record->size + 1);
  size_t column = record->fault == FAULT_NONE ? 0 : record_column(record, fault_offset(record));
  int size = snprintf(head, sizeof head, "%llu %zu %s %zu:", (unsigned long long)record->line,
                      record->count, fault_text(record->fault), column);
  append(text, head, (size_t)size);
  for (size_t i = 0; i < record->count && i < scan->columns; i++) {
    const char *field;
    size_t field_size = field_text(record, &record->fields[i], scratch, &field);
    append(text, field, field_size);
    append(text, "\x01", 1);
  }
  free(scratch);
}

/* Everything the scan gives until it ends or fails; returns how it ended. The records' own bytes
 * must add up to the file, blank lines aside. */
static enum scan_result read_all(struct source *source, struct scan_options options,
                                 struct text *text, struct text *raw, struct failure *failure) {
  struct scan scan;
  struct record record;
  enum scan_result result;
  if (!scan_open(&scan, source, &options, failure)) return SCAN_FAILED;
  append(raw, scan.header_bytes, scan.header_size);
  while ((result = scan_next(&scan, &record, failure)) == SCAN_RECORD) {
    append_record(text, &scan, &record);
    append(raw, record.bytes, record.size);
  }
  /* The header is a copy: the buffer has moved on since. */
  append_record(text, &scan, &scan.header);
  scan_close(&scan);
  scan_close(&scan);
  return result;
}

static const char SAMPLE[] =
    "\xEF\xBB\xBFid,value,\"com\nment\"\r\n"
    "1,\"two\r\nlines\",\"say \"\"hi\"\"\"\r\n"
    "2,12\" nail,\r\n"
    "3,short\n"
    "\"4\"x,caf\xC3\xA9,y\n"
    "5,long,z,\"more\n\",and,more\n"
    "6,lone\rCR,\"\"\n"
    "7,last,without line end";

/* A byte at a time, a few at a time, all at once; blocks of every size: always the same. */
static void test_trickle(void) {
  size_t size = sizeof SAMPLE - 1;
  struct failure failure = {0};
  struct text expected = {0}, expected_raw = {0};
  struct trickle whole = new_trickle(SAMPLE, size, SIZE_MAX);
  CHECK(read_all(&whole.base, (struct scan_options){0}, &expected, &expected_raw, &failure) ==
        SCAN_END);
  CHECK(expected_raw.size == size && memcmp(expected_raw.bytes, SAMPLE, size) == 0);
  int wrong = 0, read_on = 0;
  for (size_t most = 1; most <= size; most++) {
    for (size_t block = 1; block <= size; block += 1 + block / 4) {
      struct text text = {0}, raw = {0};
      struct trickle trickle = new_trickle(SAMPLE, size, most);
      struct scan_options options = {.block = block};
      wrong += read_all(&trickle.base, options, &text, &raw, &failure) != SCAN_END ||
               text.size != expected.size || memcmp(text.bytes, expected.bytes, text.size) != 0 ||
               raw.size != size || memcmp(raw.bytes, SAMPLE, size) != 0;
      read_on += trickle.reads_after_end;
      free(text.bytes);
      free(raw.bytes);
    }
  }
  CHECK(wrong == 0);
  CHECK(read_on == 0);
  free(expected.bytes);
  free(expected_raw.bytes);
}

/* A source that fails anywhere: the scan fails with the source's own words, never ends well, and
 * has given nothing but what stands in the file. */
static void test_failing_source(void) {
  size_t size = sizeof SAMPLE - 1;
  int wrong = 0;
  for (size_t at = 0; at <= size; at++) {
    for (size_t most = 1; most <= size; most += 1 + most / 2) {
      struct failure failure = {0};
      struct text text = {0}, raw = {0};
      struct trickle trickle = new_trickle(SAMPLE, size, most);
      trickle.fails_at = at;
      wrong += read_all(&trickle.base, (struct scan_options){.block = 16}, &text, &raw, &failure) !=
                   SCAN_FAILED ||
               failure.code != EXIT_UNAVAILABLE || strcmp(failure.text, "the link is gone") != 0 ||
               raw.size > at || (raw.size > 0 && memcmp(raw.bytes, SAMPLE, raw.size) != 0);
      free(text.bytes);
      free(raw.bytes);
    }
  }
  CHECK(wrong == 0);
}

/* A failed scan goes on failing. */
static void test_failed_for_good(void) {
  static const char *const texts[] = {"a,b\n1,2\n3", "a,b\n1,\"2\n", "a,b\n12345678,9\n"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct trickle trickle = new_trickle(texts[i], strlen(texts[i]), 3);
    struct scan_options options = {.max_record = 8};
    struct scan scan;
    struct record record;
    struct failure failure = {0};
    if (!CHECK(scan_open(&scan, &trickle.base, &options, &failure))) continue;
    while (scan_next(&scan, &record, &failure) == SCAN_RECORD) continue;
    CHECK(failure.code == EXIT_BAD_DATA);
    CHECK(strncmp(failure.text, "trickle?:", 9) == 0); /* what moves the cursor isn't passed on */
    CHECK(scan_next(&scan, &record, &failure) == SCAN_FAILED);
    CHECK(scan_next(&scan, &record, &failure) == SCAN_FAILED);
    scan_close(&scan);
  }
}

/* Whether a file whose only record has `size` bytes and that line end passes a limit of 10. */
static bool passes(size_t size, bool quoted, const char *line_end, size_t most, size_t block) {
  char bytes[64] = "a\n";
  struct failure failure = {0};
  struct text text = {0}, raw = {0};
  memset(bytes + 2, 'x', size);
  if (quoted) bytes[2] = bytes[2 + size - 1] = '"';
  strcpy(bytes + 2 + size, line_end);
  struct trickle trickle = new_trickle(bytes, strlen(bytes), most);
  struct scan_options options = {.max_record = 10, .block = block};
  enum scan_result result = read_all(&trickle.base, options, &text, &raw, &failure);
  free(text.bytes);
  free(raw.bytes);
  return result == SCAN_END || strstr(failure.text, "longer than 10 bytes") == NULL;
}

/* The limit is the same whatever comes at once, whatever ends the record. */
static void test_longest_record(void) {
  static const char *const ends[] = {"\n", "\r\n", ""};
  int wrong = 0;
  for (size_t most = 1; most < 20; most++) {
    for (size_t block = 1; block < 20; block++) {
      for (int i = 0; i < 6; i++) {
        wrong += !passes(10, i % 2 == 0, ends[i / 2], most, block);
        wrong += passes(11, i % 2 == 0, ends[i / 2], most, block);
      }
    }
  }
  CHECK(wrong == 0);
}

/* Names are found whatever their case and quotes, once. */
static void test_find(void) {
  static const char header[] = "idType,\"id\"\"Value\",qty,QTY,\n";
  struct trickle trickle = new_trickle(header, sizeof header - 1, 1);
  struct scan_options options = {0};
  struct scan scan;
  struct failure failure = {0};
  size_t column = 99;
  if (!CHECK(scan_open(&scan, &trickle.base, &options, &failure))) return;
  CHECK(scan_find(&scan, "IDTYPE", &column, &failure) && column == 0);
  CHECK(scan_find(&scan, "id\"value", &column, &failure) && column == 1);
  CHECK(scan_find(&scan, "", &column, &failure) && column == 4);
  CHECK(!scan_find(&scan, "idTyp", &column, &failure) && failure.code == EXIT_BAD_DATA);
  CHECK(!scan_find(&scan, "qty", &column, &failure));
  CHECK(strstr(failure.text, "more than one column 'qty'") != NULL);
  scan_close(&scan);
}

int main(void) {
  test_trickle();
  test_failing_source();
  test_failed_for_good();
  test_longest_record();
  test_find();
  return check_report();
}
