/* The structure of a CSV file (RFC 4180), a block at a time: bytes in, records of field slices out.
 * Everything that knows about quotes, delimiters and line ends lives behind scan_next, but for the
 * fast lane (sift.h), which passes over records that nobody wants to see. */
#ifndef TALLYMAN_SCAN_H
#define TALLYMAN_SCAN_H

#include "record.h"
#include "sift.h"
#include "stream.h"

enum { SCAN_BLOCK = 1024 * 1024, SCAN_MAX_RECORD = 1024 * 1024 };

enum scan_result { SCAN_RECORD, SCAN_END, SCAN_FAILED };

struct scan_options {
  size_t block;                       /* bytes to read at once; 0: SCAN_BLOCK */
  size_t max_record;                  /* longest record allowed; 0: SCAN_MAX_RECORD */
  char delimiter;                     /* 0: found from the header */
  const struct sift_variant *variant; /* how structure is found; NULL: the fastest way */
};

/* Where blocks come from when others read ahead (pool.h). */
struct supply {
  /* The next block: `scan_room` bytes, then what was read, then SIFT_SLACK bytes. *size is 0 at the
   * end. Valid until the next call but one. NULL with *failure set. */
  char *(*next)(struct supply *self, size_t *size, struct failure *failure);
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
  uint64_t line; /* on which the next record begins */
  /* The block at hand: what isn't gone over yet is buffer[begin..end). The bytes of an unfinished
   * record move to just before the next block, which is read to a place of its own, at the start
   * of a page: that is what read(2) copies to fastest. */
  char *buffer;
  size_t begin, end;
  bool at_end;
  struct supply *supply; /* NULL: the scan reads the source itself; not owned */
  /* the rest is the scan's own */
  char *own_buffer;
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

/* As scan_next for a record that is known to be whole in the block at hand; a blank line comes as a
 * record with an empty body and isn't counted. */
enum scan_result scan_take(struct scan *scan, struct record *record, struct failure *failure);

/* Goes over bytes of the block at hand that are known to be that many whole records. */
void scan_skip(struct scan *scan, size_t bytes, uint64_t lines, uint64_t records);

/* Gets the next block, behind what isn't gone over yet. */
bool scan_refill(struct scan *scan, struct failure *failure);

/* Bytes in front of a block, for the longest unfinished record and SIFT_FRONT. */
size_t scan_room(const struct scan_options *options);

/* A buffer for a block; NULL when memory is short. */
char *scan_new_buffer(const struct scan_options *options);

/* Index of the column whose name is `name` without regard to case; fails if there is none or
 * more than one. */
bool scan_find(const struct scan *scan, const char *name, size_t *column, struct failure *failure);

void scan_close(struct scan *scan);

#endif
