/* source -> scan -> key set -> sink. Lua never sees a row of this.
 * Each record is decided on its own: kept, left out or rejected, and the three must add up to what
 * the scan says it read, or the run fails: a row lost in silence is the one thing that may not be.
 */
#define _GNU_SOURCE
#include "filter.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

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
  struct sieve sieve; /* sift is NULL where the fast lane can't be taken */
  struct sieved sieved;
  struct pool *pool; /* NULL: one thread */
};

/* Finds the key's columns in the header. */
static bool find_key(const struct scan *scan, const char *const key[2], size_t columns[2],
                     size_t *count, struct failure *failure) {
  *count = key[1] == NULL ? 1 : 2;
  for (size_t i = 0; i < *count; i++) {
    if (!scan_find(scan, key[i], &columns[i], failure)) return false;
  }
  return true;
}

/* Reads the record's key; false when it can't be trusted: a key field is missing or broken. */
static bool read_key(const struct record *record, const size_t columns[2], size_t count,
                     char *scratch, struct key *key) {
  const char *text[2] = {NULL, NULL};
  size_t size[2] = {0, 0};
  for (size_t i = 0; i < count; i++) {
    if (columns[i] >= record->count) return false;
    const struct field *field = &record->fields[columns[i]];
    if (!field_is_sound(record, field)) return false;
    size[i] = field_text(record, field, scratch, &text[i]);
    scratch += field->size;
  }
  size_t value = count - 1;
  key->type = count == 2 ? text[0] : NULL;
  key->type_size = count == 2 ? size[0] : 0;
  key->value = text[value];
  key->value_size = size[value];
  return true;
}

/* Writes `bytes` with every quote doubled. */
static bool write_doubling_quotes(struct sink *sink, const char *bytes, size_t size,
                                  struct failure *failure) {
  while (size > 0) {
    const char *quote = memchr(bytes, '"', size);
    size_t part = quote == NULL ? size : (size_t)(quote - bytes) + 1;
    if (!sink_write(sink, bytes, part, failure)) return false;
    if (quote != NULL && !sink_write(sink, "\"", 1, failure)) return false;
    bytes += part;
    size -= part;
  }
  return true;
}

bool write_reject(struct sink *sink, bool first, uint64_t line, size_t column, const char *reason,
                  const struct record *record, struct failure *failure) {
  static const char header[] = "line,column,reason,record\n";
  char place[80];
  int size = snprintf(place, sizeof place, "%" PRIu64 ",%zu,\"", line, column);
  return (!first || sink_write(sink, header, sizeof header - 1, failure)) &&
         sink_write(sink, place, (size_t)size, failure) &&
         write_doubling_quotes(sink, reason, strlen(reason), failure) &&
         sink_write(sink, "\",\"", 3, failure) &&
         write_doubling_quotes(sink, record->bytes, record->body, failure) &&
         sink_write(sink, "\"\n", 2, failure);
}

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

/* Decides about one record. */
static bool decide(struct filter *filter, const struct record *record, struct failure *failure) {
  struct key key;
  bool readable = read_key(record, filter->key_columns, filter->key_count, filter->scratch, &key);
  if (readable && !keyset_has(filter->options->keep, &key)) {
    filter->counts->left_out++;
    filter->counts->broken_left_out += record->fault != FAULT_NONE;
    return true;
  }
  if (record->fault != FAULT_NONE) return reject(filter, record, failure);
  filter->counts->kept++;
  return sink_write(filter->sink, record->bytes, record->size, failure);
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
  if (sieved->size > 0) filter->counts->last_line_end = true;
  return true;
}

/* Goes over what is left of the block at hand, but for an unfinished record. */
static bool take_fast_lane(struct filter *filter, struct failure *failure) {
  struct scan *scan = &filter->scan;
  const char *bytes = scan->buffer + scan->begin;
  if (filter->sieve.sift == NULL || scan->begin == scan->end) return true;
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
  counts->read = filter->scan.records;
  counts->bytes = filter->scan.bytes;
  uint64_t delivered = filter->scan.source->bytes;
  if (counts->bytes != delivered) {
    return fail(failure, EXIT_INTERNAL, "%s: %" PRIu64 " bytes came, but the records have %" PRIu64,
                filter->scan.source->name, delivered, counts->bytes);
  }
  if (counts->read == counts->kept + counts->left_out + counts->rejected) return true;
  return fail(failure, EXIT_INTERNAL,
              "%s: %" PRIu64 " records read, but %" PRIu64 " kept, %" PRIu64 " left out, %" PRIu64
              " rejected: the accounts don't balance",
              filter->scan.source->name, counts->read, counts->kept, counts->left_out,
              counts->rejected);
}

/* Gets the fast lane ready. It needs a delimiter in each record, and none too long for it. */
static bool choose_lane(struct filter *filter, struct failure *failure) {
  const struct scan *scan = &filter->scan;
  struct sieve *sieve = &filter->sieve;
  sift_function *sift = sift_choose(filter->options->variant, failure);
  if (sift == NULL) return false;
  sieve->rules = (struct sift_rules){keyset_sketch(filter->options->keep), scan->columns,
                                     filter->key_columns[filter->key_count - 1], scan->delimiter};
  if (scan->columns > 1 && scan->options.max_record >= SIFT_RUN) sieve->sift = sift;
  return true;
}

/* The number of threads that this file is worth. */
static int threads_for(const struct filter *filter) {
  const struct source *source = filter->scan.source;
  cpu_set_t processors;
  if (filter->sieve.sift == NULL || source->read_at == NULL) return 1;
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
  return find_key(&filter->scan, filter->options->key, filter->key_columns, &filter->key_count,
                  failure) &&
         choose_lane(filter, failure) &&
         sink_write(filter->sink, filter->scan.header_bytes, filter->scan.header_size, failure) &&
         run_with_threads(filter, failure) && balance(filter, failure);
}

/* Room for the unquoted text of two fields of the longest record. */
static char *new_scratch(const struct scan *scan, struct failure *failure) {
  char *scratch = malloc(2 * scan->options.max_record + 2);
  if (scratch == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
  return scratch;
}

bool filter_run(struct source *source, struct sink *sink, const struct filter_options *options,
                struct filter_counts *counts, struct failure *failure) {
  struct filter filter = {.options = options, .sink = sink, .counts = counts};
  memset(counts, 0, sizeof *counts);
  if (!scan_open(&filter.scan, source, &options->scan, failure)) return false;
  counts->delimiter = filter.scan.delimiter;
  filter.scratch = new_scratch(&filter.scan, failure);
  bool done = filter.scratch != NULL && filter_all(&filter, failure);
  free(filter.scratch);
  sieved_free(&filter.sieved);
  scan_close(&filter.scan);
  return done;
}

/* Adds every record's key. */
static bool add_keys(struct scan *scan, const char *const key[2], char *scratch, struct keyset *set,
                     struct failure *failure) {
  struct record record;
  enum scan_result result;
  size_t columns[2], count;
  if (!find_key(scan, key, columns, &count, failure)) return false;
  while ((result = scan_next(scan, &record, failure)) == SCAN_RECORD) {
    struct key one;
    if (record.fault != FAULT_NONE || !read_key(&record, columns, count, scratch, &one)) {
      return fail(failure, EXIT_BAD_DATA, "%s:%" PRIu64 ":%zu: %s", scan->source->name, record.line,
                  record_column(&record, fault_offset(&record)), fault_text(record.fault));
    }
    if (!keyset_add(set, &one, failure)) return false;
  }
  return result == SCAN_END;
}

bool filter_load_keys(struct source *source, const char *const key[2], struct keyset *set,
                      struct failure *failure) {
  struct scan scan;
  struct scan_options options = {0, 0, 0};
  if (!scan_open(&scan, source, &options, failure)) return false;
  char *scratch = new_scratch(&scan, failure);
  bool done = scratch != NULL && add_keys(&scan, key, scratch, set, failure);
  free(scratch);
  scan_close(&scan);
  return done;
}
