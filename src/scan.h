/* The structure of a CSV file (RFC 4180), a block at a time: bytes in, records of field slices out.
 * Everything that knows about quotes, delimiters and line ends lives behind scan_next, so that a
 * faster scan can take its place without its callers noticing. */
#ifndef TALLYMAN_SCAN_H
#define TALLYMAN_SCAN_H

#include "stream.h"

enum { SCAN_BLOCK = 1024 * 1024, SCAN_MAX_RECORD = 1024 * 1024 };

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
  struct field *fields; /* the first scan.columns of them */
  size_t count;         /* how many there are in all */
  bool quoted;          /* some field begins with a quote */
  enum fault fault;     /* what breaks this record by itself */
  size_t fault_field;   /* index of the offending field; unused where one is missing */
};

enum scan_result { SCAN_RECORD, SCAN_END, SCAN_FAILED };

struct scan_options {
  size_t block;      /* bytes to read at once; 0: SCAN_BLOCK */
  size_t max_record; /* longest record allowed; 0: SCAN_MAX_RECORD */
  char delimiter;    /* 0: found from the header */
};

struct scan {
  struct source *source; /* not owned */
  struct scan_options options;
  char delimiter;
  size_t bom;       /* bytes of a byte order mark before the header: 0 or 3 */
  uint64_t records; /* read so far, without the header */
  size_t columns;   /* fields of the header */
  struct record header;
  char *header_bytes; /* a copy of the header record, byte order mark and line end included */
  size_t header_size;
  /* the rest is the scan's own */
  char *buffer;
  size_t capacity, begin, end;
  bool at_end;
  uint64_t line;
  struct field *fields;
  size_t field_capacity;
};

/* Reads the header and gets ready for the records. On failure (an empty file, a broken header) the
 * scan is closed already. Messages name the file, line and column. */
bool scan_open(struct scan *scan, struct source *source, const struct scan_options *options,
               struct failure *failure);

/* Finds the next record; blank lines are left out. SCAN_FAILED: nothing more can be trusted. */
enum scan_result scan_next(struct scan *scan, struct record *record, struct failure *failure);

/* Index of the column whose name is `name` without regard to case; fails if there is none or
 * more than one. */
bool scan_find(const struct scan *scan, const char *name, size_t *column, struct failure *failure);

/* The field's text without quotes: a slice of the record, or `scratch` (of the field's size at
 * least) where doubled quotes had to be undone. Returns its size. */
size_t field_text(const struct record *record, const struct field *field, char *scratch,
                  const char **text);

/* The 1-based character column at which `offset` of the record stands on its physical line:
 * UTF-8 sequences count once, every other byte once, a byte order mark not at all. */
size_t record_column(const struct record *record, size_t offset);

/* The offset of the record's fault. */
size_t fault_offset(const struct record *record);

/* What the fault is, in words. */
const char *fault_text(enum fault fault);

void scan_close(struct scan *scan);

#endif
