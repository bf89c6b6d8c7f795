/* Two threads for one file: the blocks of a local file are read and sieved ahead, each from its
 * first line end on, as if a record began there. Whether one does, the scan finds out when it gets
 * there, record by record: if not (the line end stood in quotes), what was found is thrown away.
 * So the order of all that happens is that of the file, and no guess is ever believed. */
#ifndef TALLYMAN_POOL_H
#define TALLYMAN_POOL_H

#include "scan.h"
#include "sieve.h"

struct pool;

/* Starts to read `source` (which has read_at) from where it is. NULL where no thread can be had:
 * then one has to do. */
struct pool *pool_start(struct source *source, const struct scan_options *options,
                        const struct sieve *sieve);

/* What the scan gets its blocks from. */
struct supply *pool_supply(struct pool *pool);

/* What is known of the records from `bytes` on, a place in the block supplied last; NULL if
 * nothing. */
const struct sieved *pool_sieved(const struct pool *pool, const char *bytes);

/* Waits for the other thread and lets go of everything. */
void pool_stop(struct pool *pool);

#endif
