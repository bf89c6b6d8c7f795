/* The careful reader: one record at a time, rescanned from its start when a block ends inside it,
 * so that no state survives between blocks and block size can't change the answer.
 * A quote opens a quoted field only as the field's first byte; elsewhere it is literal text.
 * A lone CR is data; CR LF and LF end a record. */
#define _GNU_SOURCE
#include "scan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char BYTE_ORDER_MARK[] = "\xEF\xBB\xBF";

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

/* Index of the next delimiter or line feed at or behind `at`, or `size`. */
static size_t field_end(const char *bytes, size_t at, size_t size, char delimiter) {
  while (at < size && bytes[at] != delimiter && bytes[at] != '\n') at++;
  return at;
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

/* Splits the record that begins at scan->begin. On LOOK_COMPLETE the record is filled in; on
 * LOOK_OPEN_QUOTE record->fault_field is the offset of the field whose quote never closes. */
static enum look look(struct scan *scan, struct record *record, struct failure *failure) {
  const char *bytes = record->bytes;
  size_t size = scan->end - scan->begin, at = 0;
  record->count = 0;
  record->fault = FAULT_NONE;
  record->quoted = false;
  for (;; at++) {
    size_t start = at;
    if (at < size && bytes[at] == '"') {
      enum look found = look_quoted(scan, record, bytes, &at, size);
      if (found != LOOK_COMPLETE) return found;
    }
    at = field_end(bytes, at, size, scan->delimiter);
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

/* Moves the unfinished record to the front of the buffer and reads a block behind it. */
static bool refill(struct scan *scan, struct failure *failure) {
  size_t held = scan->end - scan->begin;
  memmove(scan->buffer, scan->buffer + scan->begin, held);
  scan->begin = 0;
  scan->end = held;
  ssize_t got = source_read(scan->source, scan->buffer + held, scan->options.block, failure);
  if (got < 0) return false;
  scan->at_end = got == 0;
  scan->end += (size_t)got;
  return true;
}

static enum scan_result too_long(const struct scan *scan, struct failure *failure) {
  fail(failure, EXIT_BAD_DATA, "%s:%llu:1: record is longer than %zu bytes; is a quote not closed?",
       scan->source->name, (unsigned long long)scan->line, scan->options.max_record);
  return SCAN_FAILED;
}

/* Counts the line feeds that the record covers. */
static uint64_t count_lines(const char *bytes, size_t size) {
  uint64_t lines = 0;
  for (const char *at = bytes; (at = memchr(at, '\n', size - (size_t)(at - bytes))) != NULL; at++) {
    lines++;
  }
  return lines;
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

/* Finds the next record, blank lines included. */
static enum scan_result next_raw(struct scan *scan, struct record *record,
                                 struct failure *failure) {
  for (;;) {
    record->bytes = scan->buffer + scan->begin;
    record->line = scan->line;
    if (scan->at_end && scan->begin == scan->end) return SCAN_END;
    enum look found = scan->begin == scan->end ? LOOK_NEED_MORE : look(scan, record, failure);
    if (found == LOOK_COMPLETE) break;
    if (found == LOOK_OPEN_QUOTE) open_quote(scan, record, failure);
    if (found != LOOK_NEED_MORE) return SCAN_FAILED;
    /* One byte more than allowed may still be the carriage return of a line end. */
    if (scan->end - scan->begin > scan->options.max_record + 1) return too_long(scan, failure);
    if (!refill(scan, failure)) return SCAN_FAILED;
  }
  if (record->body > scan->options.max_record) return too_long(scan, failure);
  record->fields = scan->fields;
  scan->begin += record->size;
  scan->bytes += record->size;
  scan->line += record->quoted ? count_lines(record->bytes, record->size) : 1;
  return SCAN_RECORD;
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

enum scan_result scan_next(struct scan *scan, struct record *record, struct failure *failure) {
  if (scan->failed.code != 0) {
    *failure = scan->failed;
    return SCAN_FAILED;
  }
  enum scan_result result = next_whole(scan, record, failure);
  if (result == SCAN_FAILED) scan->failed = *failure;
  if (result != SCAN_RECORD) return result;
  if (record->fault == FAULT_NONE && record->count < scan->columns) {
    record->fault = FAULT_TOO_FEW;
    record->fault_field = record->count;
  }
  scan->records++;
  return SCAN_RECORD;
}

/* ---- the header ---- */

/* Reads the first bytes; a byte order mark is no part of the first column's name. */
static bool read_byte_order_mark(struct scan *scan, struct failure *failure) {
  const size_t size = sizeof BYTE_ORDER_MARK - 1;
  while (scan->end < size && !scan->at_end) {
    if (!refill(scan, failure)) return false;
  }
  if (scan->end >= 2 &&
      (memcmp(scan->buffer, "\xFF\xFE", 2) == 0 || memcmp(scan->buffer, "\xFE\xFF", 2) == 0)) {
    return fail(failure, EXIT_BAD_DATA, "%s:1:1: file is UTF-16; export it as UTF-8",
                scan->source->name);
  }
  if (scan->end >= size && memcmp(scan->buffer, BYTE_ORDER_MARK, size) == 0) scan->bom = size;
  scan->begin = scan->bom;
  scan->bytes = scan->bom;
  return true;
}

/* What a look at the first line found: where it ends, and how often each delimiter stands in it
 * outside quotes. Which one it is isn't known yet, so a quote opens a field behind any of them. */
struct first_line {
  bool complete;
  size_t commas, semicolons, tabs;
};

static struct first_line look_at_first_line(const char *bytes, size_t size) {
  struct first_line line = {false, 0, 0, 0};
  bool field_start = true;
  for (size_t i = 0; i < size && !line.complete; i++) {
    if (bytes[i] == '"' && field_start) {
      skip_quoted(bytes, &i, size);
      field_start = false;
      i--;
      continue;
    }
    line.commas += bytes[i] == ',';
    line.semicolons += bytes[i] == ';';
    line.tabs += bytes[i] == '\t';
    line.complete = bytes[i] == '\n';
    field_start = bytes[i] == ',' || bytes[i] == ';' || bytes[i] == '\t';
  }
  return line;
}

/* The delimiter of a first line: a comma if there is one outside quotes, else the more frequent of
 * semicolon and tab, else a comma. */
static char delimiter_of(const struct first_line *line) {
  if (line->commas > 0 || line->semicolons + line->tabs == 0) return ',';
  return line->semicolons >= line->tabs ? ';' : '\t';
}

/* Goes over blank lines before the header, reading on as needed. */
static bool skip_blank_lines(struct scan *scan, struct failure *failure) {
  for (;;) {
    const char *bytes = scan->buffer + scan->begin;
    size_t size = scan->end - scan->begin;
    size_t blank = size >= 1 && bytes[0] == '\n' ? 1 : 0;
    if (size >= 2 && bytes[0] == '\r' && bytes[1] == '\n') blank = 2;
    scan->begin += blank;
    scan->bytes += blank;
    scan->line += blank > 0;
    bool undecided = size == 0 || (size == 1 && bytes[0] == '\r');
    if (blank == 0 && (!undecided || scan->at_end)) return true;
    if (undecided && !refill(scan, failure)) return false;
  }
}

/* Reads on until the first line's end is at hand, and sets the delimiter. */
static bool find_delimiter(struct scan *scan, struct failure *failure) {
  scan->delimiter = scan->options.delimiter;
  if (scan->delimiter != 0) return true;
  const size_t most = scan->options.max_record + 1;
  for (;;) {
    size_t size = scan->end - scan->begin;
    if (size > most) size = most; /* or the block's size would have a say */
    struct first_line line = look_at_first_line(scan->buffer + scan->begin, size);
    scan->delimiter = delimiter_of(&line);
    if (line.complete || scan->at_end || size == most) return true;
    if (!refill(scan, failure)) return false;
  }
}

/* Copies the header, since the buffer moves on. */
static bool keep_header(struct scan *scan, const struct record *header, struct failure *failure) {
  size_t fields = header->count * sizeof *header->fields;
  scan->header_size = scan->bom + header->size;
  scan->header_bytes = malloc(scan->header_size);
  scan->header = *header;
  scan->header.fields = malloc(fields);
  if (scan->header_bytes == NULL || scan->header.fields == NULL) {
    return fail(failure, EXIT_INTERNAL, "out of memory");
  }
  memcpy(scan->header_bytes, BYTE_ORDER_MARK, scan->bom);
  memcpy(scan->header_bytes + scan->bom, header->bytes, header->size);
  memcpy(scan->header.fields, header->fields, fields);
  scan->header.bytes = scan->header_bytes + scan->bom;
  scan->columns = header->count;
  scan->records = 0;
  return true;
}

/* Everything that comes before the first record. */
static bool read_header(struct scan *scan, struct failure *failure) {
  struct record header;
  if (!read_byte_order_mark(scan, failure) || !skip_blank_lines(scan, failure) ||
      !find_delimiter(scan, failure)) {
    return false;
  }
  enum scan_result result = scan_next(scan, &header, failure);
  if (result == SCAN_FAILED) return false;
  if (result == SCAN_END) {
    return fail(failure, EXIT_BAD_DATA, "%s: file is empty: not even a header line",
                scan->source->name);
  }
  if (header.fault != FAULT_NONE) {
    return fail(failure, EXIT_BAD_DATA, "%s:%llu:%zu: header is broken: %s", scan->source->name,
                (unsigned long long)header.line, record_column(&header, fault_offset(&header)),
                fault_text(header.fault));
  }
  return keep_header(scan, &header, failure);
}

bool scan_open(struct scan *scan, struct source *source, const struct scan_options *options,
               struct failure *failure) {
  memset(scan, 0, sizeof *scan);
  scan->source = source;
  scan->options = *options;
  if (scan->options.block == 0) scan->options.block = SCAN_BLOCK;
  if (scan->options.max_record == 0) scan->options.max_record = SCAN_MAX_RECORD;
  scan->line = 1;
  scan->buffer = malloc(scan->options.max_record + 2 + scan->options.block);
  if (scan->buffer == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  if (read_header(scan, failure)) return true;
  scan_close(scan);
  return false;
}

void scan_close(struct scan *scan) {
  free(scan->buffer);
  free(scan->fields);
  free(scan->header_bytes);
  free(scan->header.fields);
  memset(scan, 0, sizeof *scan);
}

/* Whether the header's field `i` reads `name`, case aside. */
static bool is_named(const struct scan *scan, size_t i, const char *name) {
  const struct field *field = &scan->header.fields[i];
  char scratch[256];
  const char *text;
  if (field->size > sizeof scratch) return false;
  size_t size = field_text(&scan->header, field, scratch, &text);
  return size == strlen(name) && strncasecmp(text, name, size) == 0;
}

bool scan_find(const struct scan *scan, const char *name, size_t *column, struct failure *failure) {
  size_t found = 0;
  for (size_t i = 0; i < scan->columns; i++) {
    if (is_named(scan, i, name) && found++ == 0) *column = i;
  }
  if (found == 1) return true;
  int shown = scan->header.body < 200 ? (int)scan->header.body : 200;
  return fail(failure, EXIT_BAD_DATA, "%s:%llu:1: header has %s column '%s': %.*s",
              scan->source->name, (unsigned long long)scan->header.line,
              found == 0 ? "no" : "more than one", name, shown, scan->header.bytes);
}
