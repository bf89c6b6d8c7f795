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

/* Moves *at from a field's opening quote to the byte behind its closing one; false, and *at = size,
 * when it isn't closed within the bytes at hand. */
static bool skip_quoted(const char *bytes, size_t *at, size_t size) {
  for (size_t i = *at + 1; i < size; i += 2) {
    const char *quote = memchr(bytes + i, '"', size - i);
    if (quote == NULL) break;
    i = (size_t)(quote - bytes);
    if (i + 1 >= size || bytes[i + 1] != '"') {
      *at = i + 1;
      return true;
    }
  }
  *at = size;
  return false;
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
  bool undecided = *at == size || (*at + 1 == size && bytes[*at] == '\r');
  if (undecided && !scan->at_end) return LOOK_NEED_MORE;
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
  scan->line += record->quoted ? count_lines(record->bytes, record->size) : 1;
  return SCAN_RECORD;
}

enum scan_result scan_next(struct scan *scan, struct record *record, struct failure *failure) {
  enum scan_result result;
  do {
    result = next_raw(scan, record, failure);
  } while (result == SCAN_RECORD && record->body == 0);
  if (result != SCAN_RECORD) return result;
  if (!check_cut_off(scan, record, failure)) return SCAN_FAILED;
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
  return true;
}

/* The number of bytes up to the first line end outside quotes, leading blank lines included; 0
 * when it isn't there. Quotes are only counted: what they mean depends on the delimiter. */
static size_t first_line(const char *bytes, size_t size) {
  bool quoted = false, blank = true;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] == '"') quoted = !quoted;
    if (bytes[i] == '\n' && !quoted && !blank) return i;
    if (bytes[i] != '\n' && bytes[i] != '\r') blank = false;
  }
  return 0;
}

/* The delimiter of a header: a comma if there is one outside quotes, else the more frequent of
 * semicolon and tab, else a comma. */
static char guess_delimiter(const char *bytes, size_t size) {
  size_t semicolons = 0, tabs = 0;
  bool quoted = false;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] == '"') quoted = !quoted;
    if (quoted) continue;
    if (bytes[i] == ',') return ',';
    semicolons += bytes[i] == ';';
    tabs += bytes[i] == '\t';
  }
  if (semicolons == 0 && tabs == 0) return ',';
  return semicolons >= tabs ? ';' : '\t';
}

/* Reads on until the header's end is at hand, and sets the delimiter. */
static bool find_delimiter(struct scan *scan, struct failure *failure) {
  scan->delimiter = scan->options.delimiter;
  if (scan->delimiter != 0) return true;
  size_t size;
  while ((size = first_line(scan->buffer + scan->begin, scan->end - scan->begin)) == 0) {
    if (scan->at_end || scan->end - scan->begin > scan->options.max_record) break;
    if (!refill(scan, failure)) return false;
  }
  if (size == 0) size = scan->end - scan->begin;
  scan->delimiter = guess_delimiter(scan->buffer + scan->begin, size);
  return true;
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
  if (!read_byte_order_mark(scan, failure) || !find_delimiter(scan, failure)) return false;
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

/* ---- fields ---- */

size_t field_text(const struct record *record, const struct field *field, char *scratch,
                  const char **text) {
  const char *raw = record->bytes + field->at;
  size_t size = field->size;
  *text = raw;
  if (size == 0 || raw[0] != '"') return size;
  size_t closing = 0;
  skip_quoted(raw, &closing, size);
  *text = raw + 1;
  if (closing == size && memchr(raw + 1, '"', size - 2) == NULL) return size - 2;
  size_t used = 0;
  for (size_t i = 1; i + 1 < closing; i++) {
    scratch[used++] = raw[i];
    if (raw[i] == '"') i++;
  }
  memcpy(scratch + used, raw + closing, size - closing);
  *text = scratch;
  return used + (size - closing);
}

/* The number of bytes that the character at `at` takes. */
static size_t character_size(const unsigned char *at, size_t left) {
  size_t size = *at >= 0xF0 && *at < 0xF5 ? 4 : *at >= 0xE0 ? 3 : *at >= 0xC2 ? 2 : 1;
  if (*at >= 0xF5 || size > left) return 1;
  for (size_t i = 1; i < size; i++) {
    if ((at[i] & 0xC0) != 0x80) return 1;
  }
  return size;
}

size_t record_column(const struct record *record, size_t offset) {
  const char *start = record->bytes;
  const char *line_feed = memrchr(start, '\n', offset);
  size_t at = line_feed == NULL ? 0 : (size_t)(line_feed - start) + 1, column = 1;
  for (; at < offset; column++) {
    at += character_size((const unsigned char *)start + at, offset - at);
  }
  return column;
}

size_t fault_offset(const struct record *record) {
  return record->fault == FAULT_TOO_FEW ? record->body : record->fields[record->fault_field].at;
}

const char *fault_text(enum fault fault) {
  switch (fault) {
    case FAULT_TOO_FEW: return "fewer fields than the header";
    case FAULT_TOO_MANY: return "more fields than the header";
    case FAULT_TEXT_AFTER_QUOTE: return "text after a closing quote";
    default: return "nothing wrong";
  }
}
