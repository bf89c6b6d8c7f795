/* A record as the scan hands it out: slices of the file's own bytes, and what can be asked of them.
 */
#ifndef TALLYMAN_RECORD_H
#define TALLYMAN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a field lies in its record, quotes included. */
struct field {
  uint32_t at, size;
};

enum fault { FAULT_NONE, FAULT_TOO_FEW, FAULT_TOO_MANY, FAULT_TEXT_AFTER_QUOTE };

/* One record; everything in it is valid until the next call of scan_next. */
struct record {
  const char *bytes;    /* the record as it stands in the file */
  size_t size;          /* with its line end */
  size_t body;          /* without it */
  uint64_t line;        /* physical line on which it starts; the header's is 1 */
  struct field *fields; /* the first of them: one more than the header has at most */
  size_t count;         /* how many there are in all */
  bool quoted;          /* some field begins with a quote */
  enum fault fault;     /* what breaks this record by itself */
  size_t fault_field;   /* index of the offending field; unused where one is missing */
};

/* The field's text without quotes: a slice of the record, or `scratch` (of the field's size at
 * least) where doubled quotes had to be undone. Returns its size. */
size_t field_text(const struct record *record, const struct field *field, char *scratch,
                  const char **text);

/* Whether no text stands behind the field's closing quote, so that its text can be trusted. */
bool field_is_sound(const struct record *record, const struct field *field);

/* The 1-based character column at which `offset` of the record stands on its physical line:
 * UTF-8 sequences count once, every other byte once, a byte order mark not at all. */
size_t record_column(const struct record *record, size_t offset);

/* The offset of the record's fault. */
size_t fault_offset(const struct record *record);

/* What the fault is, in words. */
const char *fault_text(enum fault fault);

/* Moves *at from a field's opening quote to the byte behind its closing one; false, and *at = size,
 * when it isn't closed within the bytes at hand. */
bool skip_quoted(const char *bytes, size_t *at, size_t size);

/* The size of the record at `bytes`, line end included; 0 when it has none within `size` bytes. */
size_t record_size(const char *bytes, size_t size, char delimiter);

#endif
