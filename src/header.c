/* What comes before the first record: byte order mark, blank lines, the header and, by it, the
 * delimiter. The header is copied, for the block that it came in moves on. */
#define _GNU_SOURCE
#include "header.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char BYTE_ORDER_MARK[] = "\xEF\xBB\xBF";

/* Reads the first bytes; a byte order mark is no part of the first column's name. */
static bool read_byte_order_mark(struct scan *scan, struct failure *failure) {
  const size_t size = sizeof BYTE_ORDER_MARK - 1;
  while (scan->end - scan->begin < size && !scan->at_end) {
    if (!scan_refill(scan, failure)) return false;
  }
  const char *bytes = scan->buffer + scan->begin;
  size_t held = scan->end - scan->begin;
  if (held >= 2 && (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0)) {
    return fail(failure, EXIT_BAD_DATA, "%s:1:1: file is UTF-16; export it as UTF-8",
                scan->source->name);
  }
  if (held >= size && memcmp(bytes, BYTE_ORDER_MARK, size) == 0) scan->bom = size;
  scan->begin += scan->bom;
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
    if (undecided && !scan_refill(scan, failure)) return false;
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
    if (!scan_refill(scan, failure)) return false;
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
bool header_read(struct scan *scan, struct failure *failure) {
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
