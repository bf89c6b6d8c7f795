/* The careful reader: one record at a time, rescanned from its start when a block ends inside it,
 * so that no state survives between blocks and block size can't change the answer.
 * A quote opens a quoted field only as the field's first byte; elsewhere it is literal text.
 * A lone CR is data; CR LF and LF end a record. */
#define _GNU_SOURCE
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "sift_bits.h"

enum { PAGE = 4096 };

/* What a look at the bytes from a record's start found. */
enum look { LOOK_COMPLETE, LOOK_NEED_MORE, LOOK_OPEN_QUOTE, LOOK_FAILED };

/* Remembers a field; those beyond the header's number are only counted. */
static bool add_field(struct scan *scan, struct record *record, size_t at, size_t size,
                      struct failure *failure) {
  struct field field = {(uint32_t)at, (uint32_t)size};
  if (scan->columns > 0 && record->count >= scan->columns) {
    if (record->count == scan->columns) scan->fields[record->count] = field;
    if (record->fault == FAULT_NONE) {
      record->fault = FAULT_TOO_MANY;
      record->fault_field = record->count;
    }
    record->count++;
    return true;
  }
  if (record->count + 2 > scan->field_capacity) {
    size_t capacity = 2 * (record->count + 16);
    struct field *grown = realloc(scan->fields, capacity * sizeof *grown);
    if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
    scan->fields = grown;
    scan->field_capacity = capacity;
  }
  scan->fields[record->count++] = field;
  return true;
}

/* Whether the bytes at `at` end a field: a delimiter, a line end or the end of the file. */
static bool ends_field(const struct scan *scan, const char *bytes, size_t at, size_t size) {
  if (at == size) return scan->at_end;
  if (bytes[at] == scan->delimiter || bytes[at] == '\n') return true;
  return bytes[at] == '\r' && at + 1 < size && bytes[at + 1] == '\n';
}

/* Goes over a quoted field to where its text ends; text behind the closing quote is a fault. */
static enum look look_quoted(const struct scan *scan, struct record *record, const char *bytes,
                             size_t *at, size_t size) {
  size_t start = *at;
  record->quoted = true;
  bool closed = skip_quoted(bytes, at, size);
  if (*at == size && !scan->at_end) return LOOK_NEED_MORE;
  if (!closed) {
    record->fault_field = start;
    return LOOK_OPEN_QUOTE;
  }
  if (!ends_field(scan, bytes, *at, size) && record->fault == FAULT_NONE) {
    record->fault = FAULT_TEXT_AFTER_QUOTE;
    record->fault_field = record->count;
  }
  return LOOK_COMPLETE;
}

/* The separators among 64 bytes of a record. */
struct window {
  size_t base; /* where those bytes begin */
  uint64_t separators;
};

static void look_through(struct window *window, const struct scan *scan, const char *bytes,
                         size_t base) {
  window->base = base;
  window->separators = scan->options.variant->separators(bytes + base, scan->delimiter);
}

/* Index of the next delimiter or line feed at or behind `at`, or `size`; the zeros behind the block
 * are neither. */
static size_t next_separator(struct window *window, const struct scan *scan, const char *bytes,
                             size_t at, size_t size) {
  if (at >= size) return size;
  if (at - window->base >= SIFT_STEP) look_through(window, scan, bytes, at);
  uint64_t separators = window->separators >> (at - window->base);
  while (separators == 0) {
    at = window->base + SIFT_STEP;
    if (at >= size) return size;
    look_through(window, scan, bytes, at);
    separators = window->separators;
  }
  return at + (size_t)__builtin_ctzll(separators);
}

/* Splits the record that begins at scan->begin. On LOOK_COMPLETE the record is filled in; on
 * LOOK_OPEN_QUOTE record->fault_field is the offset of the field whose quote never closes. */
static enum look look(struct scan *scan, struct record *record, struct failure *failure) {
  const char *bytes = record->bytes;
  size_t size = scan->end - scan->begin, at = 0;
  record->count = 0;
  record->fault = FAULT_NONE;
  record->quoted = false;
  struct window window;
  look_through(&window, scan, bytes, 0);
  for (;; at++) {
    size_t start = at;
    if (at < size && bytes[at] == '"') {
      enum look found = look_quoted(scan, record, bytes, &at, size);
      if (found != LOOK_COMPLETE) return found;
    }
    at = next_separator(&window, scan, bytes, at, size);
    if (at == size && !scan->at_end) return LOOK_NEED_MORE;
    bool last = at == size || bytes[at] == '\n';
    bool carriage_return = last && at < size && at > start && bytes[at - 1] == '\r';
    if (!add_field(scan, record, start, at - start - carriage_return, failure)) {
      return LOOK_FAILED;
    }
    if (last) {
      record->size = at < size ? at + 1 : at;
      record->body = at - carriage_return;
      return LOOK_COMPLETE;
    }
  }
}

size_t scan_room(const struct scan_options *options) {
  return (options->max_record + 2 + SIFT_FRONT + PAGE - 1) / PAGE * PAGE;
}

char *scan_new_buffer(const struct scan_options *options) {
  size_t size = scan_room(options) + options->block + SIFT_SLACK;
  return aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
}

bool scan_refill(struct scan *scan, struct failure *failure) {
  size_t held = scan->end - scan->begin, room = scan_room(&scan->options);
  char *block = scan->own_buffer;
  size_t size;
  if (scan->supply != NULL) {
    block = scan->supply->next(scan->supply, &size, failure);
    if (block == NULL) return false;
  }
  memmove(block + room - held, scan->buffer + scan->begin, held);
  if (scan->supply == NULL) {
    ssize_t got = source_read(scan->source, block + room, scan->options.block, failure);
    if (got < 0) return false;
    size = (size_t)got;
  }
  memset(block + room + size, 0, SIFT_SLACK);
  scan->buffer = block;
  scan->begin = room - held;
  scan->end = room + size;
  scan->at_end = size == 0;
  return true;
}

static enum scan_result too_long(const struct scan *scan, struct failure *failure) {
  fail(failure, EXIT_BAD_DATA, "%s:%llu:1: record is longer than %zu bytes; is a quote not closed?",
       scan->source->name, (unsigned long long)scan->line, scan->options.max_record);
  return SCAN_FAILED;
}

/* Fails where the file itself, not only a record, can't be trusted. */
static bool check_cut_off(const struct scan *scan, const struct record *record,
                          struct failure *failure) {
  bool short_end = record->size == record->body && record->count < scan->columns;
  if (!short_end) return true;
  return fail(failure, EXIT_BAD_DATA,
              "%s:%llu:%zu: file is cut off: last record has %zu of %zu fields and no line end; "
              "upload it again",
              scan->source->name, (unsigned long long)record->line,
              record_column(record, record->body), record->count, scan->columns);
}

static bool open_quote(const struct scan *scan, struct record *record, struct failure *failure) {
  return fail(failure, EXIT_BAD_DATA,
              "%s:%llu:%zu: quote is never closed: the file is cut off or this quote is stray",
              scan->source->name, (unsigned long long)record->line,
              record_column(record, record->fault_field));
}

/* Goes over a record that look has found. */
static enum scan_result finish_record(struct scan *scan, struct record *record,
                                      struct failure *failure) {
  if (record->body > scan->options.max_record) return too_long(scan, failure);
  record->fields = scan->fields;
  scan->begin += record->size;
  scan->bytes += record->size;
  scan->line += record->quoted ? count_feeds(record->bytes, record->size) : 1;
  return SCAN_RECORD;
}

/* Finds the next record, blank lines included. */
static enum scan_result next_raw(struct scan *scan, struct record *record,
                                 struct failure *failure) {
  for (;;) {
    record->bytes = scan->buffer + scan->begin;
    record->line = scan->line;
    if (scan->at_end && scan->begin == scan->end) return SCAN_END;
    enum look found = scan->begin == scan->end ? LOOK_NEED_MORE : look(scan, record, failure);
    if (found == LOOK_COMPLETE) return finish_record(scan, record, failure);
    if (found == LOOK_OPEN_QUOTE) open_quote(scan, record, failure);
    if (found != LOOK_NEED_MORE) return SCAN_FAILED;
    /* One byte more than allowed may still be the carriage return of a line end. */
    if (scan->end - scan->begin > scan->options.max_record + 1) return too_long(scan, failure);
    if (!scan_refill(scan, failure)) return SCAN_FAILED;
  }
}

/* Finds the next record that isn't blank and isn't where the file was cut off. */
static enum scan_result next_whole(struct scan *scan, struct record *record,
                                   struct failure *failure) {
  enum scan_result result;
  do {
    result = next_raw(scan, record, failure);
  } while (result == SCAN_RECORD && record->body == 0);
  if (result == SCAN_RECORD && !check_cut_off(scan, record, failure)) return SCAN_FAILED;
  return result;
}

/* Counts a record that isn't blank, and sees whether it is too short. */
static void settle(struct scan *scan, struct record *record) {
  if (record->fault == FAULT_NONE && record->count < scan->columns) {
    record->fault = FAULT_TOO_FEW;
    record->fault_field = record->count;
  }
  scan->records++;
}

enum scan_result scan_next(struct scan *scan, struct record *record, struct failure *failure) {
  if (scan->failed.code != 0) {
    *failure = scan->failed;
    return SCAN_FAILED;
  }
  enum scan_result result = next_whole(scan, record, failure);
  if (result == SCAN_FAILED) scan->failed = *failure;
  if (result == SCAN_RECORD) settle(scan, record);
  return result;
}

enum scan_result scan_take(struct scan *scan, struct record *record, struct failure *failure) {
  record->bytes = scan->buffer + scan->begin;
  record->line = scan->line;
  enum look found = look(scan, record, failure);
  if (found == LOOK_FAILED) return SCAN_FAILED;
  if (found != LOOK_COMPLETE) {
    fail(failure, EXIT_INTERNAL, "%s:%llu:1: the scan's two ways to read this record differ",
         scan->source->name, (unsigned long long)scan->line);
    return SCAN_FAILED;
  }
  enum scan_result result = finish_record(scan, record, failure);
  if (result == SCAN_RECORD && record->body > 0) settle(scan, record);
  return result;
}

void scan_skip(struct scan *scan, size_t bytes, uint64_t lines, uint64_t records) {
  scan->begin += bytes;
  scan->bytes += bytes;
  scan->line += lines;
  scan->records += records;
}

bool scan_open(struct scan *scan, struct source *source, const struct scan_options *options,
               struct failure *failure) {
  memset(scan, 0, sizeof *scan);
  scan->source = source;
  scan->options = *options;
  if (scan->options.block == 0) scan->options.block = SCAN_BLOCK;
  if (scan->options.max_record == 0) scan->options.max_record = SCAN_MAX_RECORD;
  scan->line = 1;
  if (scan->options.variant == NULL) scan->options.variant = sift_choose(NULL, failure);
  scan->buffer = scan->own_buffer = scan_new_buffer(&scan->options);
  if (scan->buffer == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  scan->begin = scan->end = scan_room(&scan->options);
  if (header_read(scan, failure)) return true;
  scan_close(scan);
  return false;
}

void scan_close(struct scan *scan) {
  free(scan->own_buffer);
  free(scan->fields);
  free(scan->header_bytes);
  free(scan->header.fields);
  memset(scan, 0, sizeof *scan);
}
