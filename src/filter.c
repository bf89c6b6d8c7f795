/* source -> scan -> key set -> sink. Lua never sees a row of this.
 * Each record is decided on its own: kept, left out or rejected, and the three must add up to what
 * the scan says it read, or the run fails: a row lost in silence is the one thing that may not be.
 */
#define _GNU_SOURCE
#include "filter.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "pool.h"
#include "rejects.h"

/* A second thread pays from about this size on; see `make bench`. */
enum { WORTH_A_THREAD = 4 * 1024 * 1024 };

struct filter {
  const struct filter_options *options;
  struct scan scan;
  struct sink *sink;
  struct filter_counts *counts;
  size_t key_columns[2];
  size_t key_count;
  char *scratch;      /* for keys with doubled quotes; twice the longest record */
  struct sieve sieve; /* variant is NULL where the fast lane can't be taken */
  struct sieved sieved;
  struct pool *pool; /* NULL: one thread */
};

/* A broken record goes to the rejects; without any, it ends the run. */
static bool reject(struct filter *filter, const struct record *record, struct failure *failure) {
  size_t column = record_column(record, fault_offset(record));
  const char *reason = fault_text(record->fault);
  struct sink *rejects = filter->options->rejects;
  if (rejects == NULL) {
    return fail(failure, EXIT_BAD_DATA, "%s:%" PRIu64 ":%zu: %s", filter->scan.source->name,
                record->line, column, reason);
  }
  bool first = filter->counts->rejected++ == 0;
  return write_reject(rejects, first, record->line, column, reason, record, failure);
}

/* Keeps a record, unless the caller's rule says no. */
static bool keep(struct filter *filter, const struct record *record, struct failure *failure) {
  const struct filter_options *options = filter->options;
  bool wanted = true;
  if (options->each != NULL &&
      !options->each(options->context, &filter->scan, record, &wanted, failure)) {
    return false;
  }
  filter->counts->kept += wanted;
  filter->counts->left_out += !wanted;
  return !wanted || sink_write(filter->sink, record->bytes, record->size, failure);
}

/* Decides about one record. */
static bool decide(struct filter *filter, const struct record *record, struct failure *failure) {
  struct key key;
  bool readable = key_read(record, filter->key_columns, filter->key_count, filter->scratch, &key);
  if (readable && !keyset_has(filter->options->keep, &key)) {
    filter->counts->left_out++;
    filter->counts->broken_left_out += record->fault != FAULT_NONE;
    return true;
  }
  if (record->fault != FAULT_NONE) return reject(filter, record, failure);
  return keep(filter, record, failure);
}

/* Tells how far the run is, once a block. */
static bool tell_progress(const struct filter *filter, uint64_t *told, struct failure *failure) {
  const struct filter_options *options = filter->options;
  const struct source *source = filter->scan.source;
  if (options->progress == NULL || source->raw_bytes == *told) return true;
  *told = source->raw_bytes;
  return options->progress(options->context, source->raw_bytes, source->total_bytes, failure);
}

/* ---- the fast lane ---- */

/* Goes over whole records of the block at hand, looking at those that were found. */
static bool follow(struct filter *filter, const struct sieved *sieved, struct failure *failure) {
  struct scan *scan = &filter->scan;
  struct record record;
  const char *block = scan->buffer + scan->begin;
  uint64_t line = scan->line;
  for (size_t i = 0; i < sieved->count; i++) {
    const struct finding *finding = &sieved->findings[i];
    size_t passed = finding->at - (size_t)(scan->buffer + scan->begin - block);
    scan_skip(scan, passed, finding->lines - (scan->line - line), 0);
    if (scan_take(scan, &record, failure) != SCAN_RECORD) return false;
    if (record.body > 0 && !decide(filter, &record, failure)) return false;
  }
  size_t passed = sieved->size - (size_t)(scan->buffer + scan->begin - block);
  scan_skip(scan, passed, sieved->lines - (scan->line - line), sieved->passed);
  filter->counts->left_out += sieved->passed;
  return true;
}

/* Goes over what is left of the block at hand, but for an unfinished record. */
static bool take_fast_lane(struct filter *filter, struct failure *failure) {
  struct scan *scan = &filter->scan;
  const char *bytes = scan->buffer + scan->begin;
  if (filter->sieve.variant == NULL || scan->begin == scan->end) return true;
  const struct sieved *sieved = filter->pool == NULL ? NULL : pool_sieved(filter->pool, bytes);
  if (sieved == NULL) {
    sieved = &filter->sieved;
    size_t size = scan->end - scan->begin;
    if (!sieve_bytes(&filter->sieve, bytes, size, &filter->sieved, failure)) return false;
  }
  return follow(filter, sieved, failure);
}

/* Goes over all records: those at the blocks' borders one by one, the others by the fast lane. */
static bool run(struct filter *filter, struct failure *failure) {
  struct record record;
  enum scan_result result;
  uint64_t told = 0;
  filter->counts->last_line_end = filter->scan.header.size > filter->scan.header.body;
  while ((result = scan_next(&filter->scan, &record, failure)) == SCAN_RECORD) {
    if (!decide(filter, &record, failure)) return false;
    filter->counts->last_line_end = record.size > record.body;
    if (!take_fast_lane(filter, failure) || !tell_progress(filter, &told, failure)) return false;
  }
  return result == SCAN_END;
}

/* The accounts: every byte that came belongs to a record, every record went exactly one way. */
static bool balance(struct filter *filter, struct failure *failure) {
  struct filter_counts *counts = filter->counts;
  uint64_t delivered = filter->scan.source->bytes;
  uint64_t decided = counts->kept + counts->left_out + counts->rejected;
  counts->read = filter->scan.records;
  counts->bytes = filter->scan.bytes;
  if (counts->bytes == delivered && counts->read == decided) return true;
  return fail(failure, EXIT_INTERNAL,
              "%s: %" PRIu64 " bytes came and the records have %" PRIu64 "; %" PRIu64
              " records were read and %" PRIu64 " decided: the accounts don't balance",
              filter->scan.source->name, delivered, counts->bytes, counts->read, decided);
}

/* Gets the fast lane ready. It needs a delimiter in each record, and none too long for it. */
static void choose_lane(struct filter *filter) {
  const struct scan *scan = &filter->scan;
  if (scan->columns < 2 || scan->options.max_record < SIFT_RUN) return;
  filter->sieve.variant = scan->options.variant;
  filter->sieve.rules =
      (struct sift_rules){keyset_sketch(filter->options->keep), scan->columns,
                          filter->key_columns[filter->key_count - 1], scan->delimiter};
}

/* The number of threads that this file is worth. */
static int threads_for(const struct filter *filter) {
  const struct source *source = filter->scan.source;
  cpu_set_t processors;
  if (filter->sieve.variant == NULL || source->read_at == NULL) return 1;
  if (filter->options->threads > 0) return filter->options->threads;
  if (source->total_bytes < WORTH_A_THREAD) return 1;
  return sched_getaffinity(0, sizeof processors, &processors) == 0 && CPU_COUNT(&processors) > 1
             ? 2
             : 1;
}

/* The records, with a second thread where that pays. */
static bool run_with_threads(struct filter *filter, struct failure *failure) {
  struct scan *scan = &filter->scan;
  if (threads_for(filter) > 1) {
    filter->pool = pool_start(scan->source, &scan->options, &filter->sieve);
    if (filter->pool != NULL) scan->supply = pool_supply(filter->pool);
  }
  bool done = run(filter, failure);
  scan->supply = NULL;
  pool_stop(filter->pool);
  return done;
}

/* The header first, then the records. */
static bool filter_all(struct filter *filter, struct failure *failure) {
  if (!key_find(&filter->scan, filter->options->key, filter->key_columns, &filter->key_count,
                failure)) {
    return false;
  }
  choose_lane(filter);
  return sink_write(filter->sink, filter->scan.header_bytes, filter->scan.header_size, failure) &&
         run_with_threads(filter, failure) && balance(filter, failure);
}

bool filter_run(struct source *source, struct sink *sink, const struct filter_options *options,
                struct filter_counts *counts, struct failure *failure) {
  struct filter filter = {.options = options, .sink = sink, .counts = counts};
  memset(counts, 0, sizeof *counts);
  if (!scan_open(&filter.scan, source, &options->scan, failure)) return false;
  counts->delimiter = filter.scan.delimiter;
  filter.scratch = key_scratch(&filter.scan, failure);
  bool done = filter.scratch != NULL && filter_all(&filter, failure);
  free(filter.scratch);
  sieved_free(&filter.sieved);
  scan_close(&filter.scan);
  return done;
}
