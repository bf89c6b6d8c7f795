/* The big file in, the rows of active products out, byte for byte and in their order.
 * Records broken by themselves go to the rejects; a file that can't be trusted fails the run. */
#ifndef TALLYMAN_FILTER_H
#define TALLYMAN_FILTER_H

#include "keyset.h"
#include "scan.h"

struct filter_options {
  const char *key[2]; /* names of the key columns; key[1] is NULL for a key of one column */
  const struct keyset *keep;
  struct sink *rejects; /* line,column,reason,record; the header only before the first of them.
                           NULL: a broken record that would have to be rejected fails the run */
  struct scan_options scan;
  int threads; /* at most; 0: as many as pay */
  /* Called for each record that is to be kept; *keep = false leaves it out. Returns false, with
   * *failure set, to end the run. NULL: nobody asks. */
  bool (*each)(void *context, const struct scan *scan, const struct record *record, bool *keep,
               struct failure *failure);
  /* Called after each block's worth of records with the bytes taken from the source and its size
   * (0 = unknown); returns false, with *failure set, to end the run. NULL: nobody asks. */
  bool (*progress)(void *context, uint64_t done, uint64_t total, struct failure *failure);
  void *context; /* what both are called with */
};

struct filter_counts {
  uint64_t read; /* records, the header and blank lines not counted = kept + left out + rejected */
  uint64_t kept, left_out, rejected;
  uint64_t broken_left_out; /* those of left_out that were broken, their key readable, not active */
  uint64_t bytes;           /* read, after inflating */
  char delimiter;
  bool last_line_end; /* the last record read had one */
};

bool filter_run(struct source *source, struct sink *sink, const struct filter_options *options,
                struct filter_counts *counts, struct failure *failure);

#endif
