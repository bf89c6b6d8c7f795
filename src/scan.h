/* The structure of a CSV file (RFC 4180), a block at a time: bytes in, records of field slices out.
 * Everything that knows about quotes, delimiters and line ends lives behind scan_next, so that a
 * faster scan can take its place without its callers noticing. */
#ifndef TALLYMAN_SCAN_H
#define TALLYMAN_SCAN_H

#include "record.h"
#include "stream.h"

enum { SCAN_BLOCK = 1024 * 1024, SCAN_MAX_RECORD = 1024 * 1024 };

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
  uint64_t bytes;   /* gone over so far, byte order mark, header and blank lines included */
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
  struct failure failed; /* what ended it; it goes on failing with that */
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

void scan_close(struct scan *scan);

#endif
