/* Fields are looked at only when somebody asks: their text without quotes, their place for people.
 */
#define _GNU_SOURCE
#include "record.h"

#include <string.h>

bool skip_quoted(const char *bytes, size_t *at, size_t size) {
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

size_t record_size(const char *bytes, size_t size, char delimiter) {
  for (size_t at = 0; at < size; at++) {
    if (bytes[at] == '"') skip_quoted(bytes, &at, size);
    while (at < size && bytes[at] != delimiter && bytes[at] != '\n') at++;
    if (at < size && bytes[at] == '\n') return at + 1;
  }
  return 0;
}

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

bool field_is_sound(const struct record *record, const struct field *field) {
  const char *raw = record->bytes + field->at;
  size_t closing = 0;
  if (field->size == 0 || raw[0] != '"') return true;
  skip_quoted(raw, &closing, field->size);
  return closing == field->size;
}

/* Whether a UTF-8 sequence may go on with `second`: no overlong forms, no surrogates, nothing
 * beyond U+10FFFF (RFC 3629). */
static bool may_follow(unsigned char first, unsigned char second) {
  if ((second & 0xC0) != 0x80) return false;
  switch (first) {
    case 0xE0: return second >= 0xA0;
    case 0xED: return second < 0xA0;
    case 0xF0: return second >= 0x90;
    case 0xF4: return second < 0x90;
    default: return true;
  }
}

/* The number of bytes that the character at `at` takes: those of a UTF-8 sequence, or one. */
static size_t character_size(const unsigned char *at, size_t left) {
  size_t size = *at >= 0xF5 ? 1 : *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : *at >= 0xC2 ? 2 : 1;
  if (size == 1 || size > left || !may_follow(at[0], at[1])) return 1;
  for (size_t i = 2; i < size; i++) {
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
