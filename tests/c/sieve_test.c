/* The fast lane against the careful reader, over random files that are nasty on purpose: every
 * variant that this processor has, with one thread and two, at many block sizes.
 *   sieve_test [FILES]     fewer than usual where the processor is only emulated */
#include "../../src/sieve.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/filter.h"
#include "../../src/keys.h"
#include "../../src/rejects.h"
#include "check.h"

enum { FILES = 400, POOL = 24, LONGEST_VALUE = 80, LONG_FIELD = SIFT_RUN + 300 };

/* ---- chance ---- */

static uint64_t state;

/* Marsaglia's xorshift. */
static uint64_t random_bits(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static size_t below(size_t limit) { return (size_t)(random_bits() >> 20) % limit; }
static bool chance(size_t percent) { return below(100) < percent; }
static size_t one_of(const size_t *numbers, size_t count) { return numbers[below(count)]; }

/* ---- texts ---- */

struct text {
  char *bytes;
  size_t size, capacity;
};

static void append(struct text *text, const char *bytes, size_t size) {
  if (text->size + size > text->capacity) {
    text->capacity = 2 * (text->size + size);
    text->bytes = realloc(text->bytes, text->capacity);
  }
  if (size > 0) memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
}

static void append_word(struct text *text, const char *word) { append(text, word, strlen(word)); }

static bool same(const struct text *one, const struct text *other) {
  return one->size == other->size &&
         (one->size == 0 || memcmp(one->bytes, other->bytes, one->size) == 0);
}

/* ---- a random file ---- */

struct file {
  struct text text;
  struct keyset *keep;
  size_t columns, places[2], parts; /* of the key: its type's column, then its value's */
  size_t nasty, quoted, wide;       /* percent of fields that are so */
  char delimiter;
  const char *line_end; /* NULL: mixed */
  char values[POOL][LONGEST_VALUE + 1];
  size_t value_sizes[POOL];
};

/* Values, some of them keys, some the same as a key's but for their first bytes: the sketch knows
 * no difference there. */
static void make_values(struct file *file) {
  static const char alphabet[] = "ab01A- \"";
  struct failure failure;
  file->keep = keyset_new(&failure);
  for (size_t i = 0; i < POOL; i++) {
    size_t size = chance(10) ? 0 : 1 + below(chance(60) ? 12 : chance(80) ? 30 : LONGEST_VALUE);
    char *value = file->values[i];
    for (size_t at = 0; at < size; at++)
      value[at] = alphabet[below(sizeof alphabet - 1 - (at == 0))];
    file->value_sizes[i] = size;
    bool like_a_key = i > 0 && size > 8 && file->value_sizes[i - 1] >= 8 && chance(40);
    const char *last = file->values[i > 0 ? i - 1 : 0];
    if (like_a_key) memcpy(value + size - 8, last + file->value_sizes[i - 1] - 8, 8);
    if (like_a_key || !chance(30)) continue;
    struct key key = {file->parts == 2 ? "sku" : NULL, file->parts == 2 ? 3 : 0, value, size};
    keyset_add(file->keep, &key, &failure);
  }
}

/* A key's part: as it is, in quotes, or spoiled. */
static void append_key_part(struct file *file, bool value) {
  static const char *const types[] = {"sku", "SKU", "Upca", ""};
  size_t which = below(POOL);
  const char *type = types[below(4)];
  bool quoted = chance(file->quoted);
  if (quoted) append_word(&file->text, "\"");
  const char *part = value ? file->values[which] : type;
  size_t size = value ? file->value_sizes[which] : strlen(type);
  for (size_t i = 0; i < size; i++) {
    append(&file->text, part + i, 1);
    if (quoted && part[i] == '"') append_word(&file->text, "\"");
  }
  if (chance(file->nasty)) append_word(&file->text, quoted ? "\"\"" : "\"");
  if (quoted) append_word(&file->text, "\"");
  if (quoted && chance(file->nasty)) append_word(&file->text, "x");
}

/* A field that is no key. */
static void append_other(struct file *file) {
  static const char *const fine[] = {"\"\"",     "\",\"",          "\";\t|\"",
                                     "\"\n\"",   "\"\r\n\"",       "\"a\"\"b\"",
                                     "\"\"\"\"", "\"\"\"\n\"\"\"", "\"a,b\nc\"\",\"\"d\""};
  static const char *const bad[] = {"a\"b",   "a\"",   "12\" x", "\r",      "a\rb",  "a\r",
                                    "\"a\"b", "\"\"x", "\"a\" ", "\"a\"\r", "5\"\"", " \"a,b\""};
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789----------------------------";
  if (chance(file->nasty)) {
    append_word(&file->text, bad[below(sizeof bad / sizeof *bad)]);
  } else if (chance(file->quoted)) {
    append_word(&file->text, fine[below(sizeof fine / sizeof *fine)]);
  } else {
    append(&file->text, letters, below(chance(file->wide) ? 64 : 6));
  }
}

/* A field longer than a run of the fast lane, in quotes or not. */
static void append_long(struct file *file) {
  bool quoted = chance(50);
  if (quoted) append_word(&file->text, "\"");
  for (size_t i = 0; i < LONG_FIELD; i += 10) {
    append_word(&file->text, quoted && chance(20) ? "a\n,\"\"c\r\n  " : "abcdefghij");
  }
  if (quoted) append_word(&file->text, "\"");
}

static void append_line_end(struct file *file) {
  append_word(&file->text, file->line_end != NULL ? file->line_end : chance(50) ? "\n" : "\r\n");
}

static void append_row(struct file *file) {
  size_t columns = file->columns, long_field = chance(1) ? below(columns) : SIZE_MAX;
  if (chance(file->nasty)) columns = 1 + below(columns);
  if (chance(file->nasty)) columns += 1 + below(3);
  for (size_t i = 0; i < columns; i++) {
    if (i > 0) append(&file->text, &file->delimiter, 1);
    if (i == long_field) {
      append_long(file);
    } else if (i == file->places[1] || (i == file->places[0] && file->parts == 2)) {
      append_key_part(file, i == file->places[1]);
    } else {
      append_other(file);
    }
  }
  append_line_end(file);
  if (chance(file->nasty)) append_line_end(file);
}

/* Short rows in which single bytes have gone wrong: quotes that seem to open a field here and to
 * close it a few rows on, wherever that is in a step of the fast lane. */
static void append_soup(struct file *file, size_t rows) {
  const char wrong[] = {'"', '"', '"', file->delimiter, '\n', '\r', 'b'};
  for (size_t i = 0; i < rows; i++) {
    size_t begin = file->text.size;
    for (size_t n = 0; n < file->columns; n++) {
      if (n > 0) append(&file->text, &file->delimiter, 1);
      append_word(&file->text, chance(file->quoted / 4) ? "\"x\"" : &"abcd"[below(4)]);
    }
    append_line_end(file);
    if (chance(30)) file->text.bytes[begin + below(file->text.size - begin)] = wrong[below(7)];
  }
}

static void append_header(struct file *file) {
  if (chance(20)) append_word(&file->text, "\xEF\xBB\xBF");
  for (size_t i = 0; i < file->columns; i++) {
    bool type = i == file->places[0] && file->parts == 2;
    if (i > 0) append(&file->text, &file->delimiter, 1);
    append_word(&file->text, i == file->places[1] ? "\"value\"" : type ? "Type" : "other");
  }
  append_line_end(file);
}

static void make_file(struct file *file) {
  static const size_t columns[] = {2, 2, 2, 2, 3, 3, 4, 5, 8, 40, 63, 64, 65, 66, 100, 130};
  static const size_t percents[] = {0, 0, 1, 3, 20, 50};
  static const char *const line_ends[] = {"\n", "\n", "\r\n", NULL};
  memset(file, 0, sizeof *file);
  file->columns = one_of(columns, sizeof columns / sizeof *columns);
  file->places[1] = chance(30) ? file->columns - 1 : below(file->columns);
  file->places[0] = below(file->columns);
  file->parts = file->places[0] == file->places[1] ? 1 : 1 + below(2);
  file->nasty = one_of(percents, 5) / (file->columns > 20 ? 3 : 1);
  file->quoted = one_of(percents, 6);
  file->wide = one_of(percents, 6);
  file->delimiter = ",;\t|"[below(4)];
  file->line_end = line_ends[below(4)];
  make_values(file);
  append_header(file);
  size_t size = file->text.size + below(chance(20) ? 60000 : 9000);
  if (file->columns <= 5 && chance(50)) {
    append_soup(file, 200 + below(1500));
    size = file->text.size;
  }
  while (file->text.size < size) append_row(file);
  if (chance(10)) file->text.size -= below(file->text.size / 3);
}

/* ---- what a filter made of it ---- */

struct result {
  bool done;
  struct failure failure;
  struct filter_counts counts;
  struct text out, rejects;
};

static void free_result(struct result *result) {
  free(result->out.bytes);
  free(result->rejects.bytes);
}

/* Takes what was written, and closes. */
static void take(struct sink *sink, struct text *text) {
  size_t size;
  const char *bytes = sink_memory_bytes(sink, &size);
  append(text, bytes, size);
  sink->close(sink);
}

static bool agree(const struct result *one, const struct result *other) {
  const struct filter_counts *a = &one->counts, *b = &other->counts;
  if (one->done != other->done || !same(&one->out, &other->out) ||
      !same(&one->rejects, &other->rejects)) {
    return false;
  }
  if (!one->done) return strcmp(one->failure.text, other->failure.text) == 0;
  return a->read == b->read && a->kept == b->kept && a->left_out == b->left_out &&
         a->rejected == b->rejected && a->broken_left_out == b->broken_left_out &&
         a->bytes == b->bytes && a->last_line_end == b->last_line_end;
}

/* Decides about a record as the filter does. */
static void decide(const struct file *file, const size_t places[2], const struct record *record,
                   char *scratch, struct sink *sink, struct sink *rejects, struct result *result) {
  struct filter_counts *counts = &result->counts;
  struct failure *failure = &result->failure;
  struct key key;
  if (key_read(record, places, file->parts, scratch, &key) && !keyset_has(file->keep, &key)) {
    counts->left_out++;
    counts->broken_left_out += record->fault != FAULT_NONE;
  } else if (record->fault != FAULT_NONE) {
    write_reject(rejects, counts->rejected++ == 0, record->line,
                 record_column(record, fault_offset(record)), fault_text(record->fault), record,
                 failure);
  } else {
    counts->kept++;
    sink_write(sink, record->bytes, record->size, failure);
  }
  counts->last_line_end = record->size > record->body;
}

/* The filter without a fast lane: all records through the careful reader. */
static void filter_carefully(const struct file *file, struct result *result) {
  struct failure *failure = &result->failure;
  struct source *source = source_memory("file", file->text.bytes, file->text.size, failure);
  struct sink *sink = sink_memory(failure), *rejects = sink_memory(failure);
  struct scan_options options = {0, 0, file->delimiter, &sift_portable};
  struct scan scan;
  const size_t *places = file->places + (file->parts == 1);
  memset(&result->counts, 0, sizeof result->counts);
  if (scan_open(&scan, source, &options, failure)) {
    char *scratch = key_scratch(&scan, failure);
    struct record record;
    enum scan_result found;
    size_t columns[2] = {places[0], file->places[1]};
    sink_write(sink, scan.header_bytes, scan.header_size, failure);
    result->counts.last_line_end = scan.header.size > scan.header.body;
    while ((found = scan_next(&scan, &record, failure)) == SCAN_RECORD) {
      decide(file, columns, &record, scratch, sink, rejects, result);
    }
    result->done = found == SCAN_END;
    result->counts.read = scan.records;
    result->counts.bytes = scan.bytes;
    free(scratch);
    scan_close(&scan);
  }
  take(sink, &result->out);
  take(rejects, &result->rejects);
  source->close(source);
}

/* The filter itself. */
static void filter_with(const struct file *file, const char *variant, int threads, size_t block,
                        size_t max_record, struct result *result) {
  struct failure *failure = &result->failure;
  struct source *source = source_memory("file", file->text.bytes, file->text.size, failure);
  struct sink *sink = sink_memory(failure), *rejects = sink_memory(failure);
  struct filter_options options = {
      .key = {file->parts == 2 ? "type" : "value", file->parts == 2 ? "value" : NULL},
      .keep = file->keep,
      .rejects = rejects,
      .scan = {block, max_record, file->delimiter, sift_choose(variant, failure)},
      .threads = threads,
  };
  result->done = filter_run(source, sink, &options, &result->counts, failure);
  take(sink, &result->out);
  take(rejects, &result->rejects);
  source->close(source);
}

/* ---- the tests ---- */

static const char *const VARIANTS[] = {"portable", "sse2", "avx2", "neon"};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof *VARIANTS };

/* Filters a file in one way and compares; a record that is too long for max_record is no news. */
static void compare(const struct file *file, const struct result *expected, const char *variant,
                    int threads, size_t block, size_t max_record, size_t number) {
  struct result found = {0};
  filter_with(file, variant, threads, block, max_record, &found);
  bool too_long = !found.done && max_record != 0 && strstr(found.failure.text, "is longer") != NULL;
  if (!too_long && !CHECK(agree(expected, &found))) {
    printf("  file %zu, %s, %d threads, block %zu: %s\n", number, variant, threads, block,
           found.done ? "done" : found.failure.text);
  }
  free_result(&found);
}

/* A file in all ways; with max_record below a run's size the filter itself goes without. */
static void test_file(size_t number) {
  static const size_t blocks[] = {64, 65, 127, 500, 1000, 4096, 8191, 8192, 8193, 20000, 0};
  struct file file;
  struct result expected = {0};
  struct failure failure;
  make_file(&file);
  filter_carefully(&file, &expected);
  for (size_t i = 0; i < VARIANT_COUNT; i++) {
    if (sift_choose(VARIANTS[i], &failure) == NULL) continue;
    size_t small = 64 + below(200), other = one_of(blocks, sizeof blocks / sizeof *blocks);
    compare(&file, &expected, VARIANTS[i], 1, 0, 0, number);
    compare(&file, &expected, VARIANTS[i], 1, other, 2 * SIFT_RUN, number);
    compare(&file, &expected, VARIANTS[i], 2, small, SIFT_RUN, number);
    compare(&file, &expected, VARIANTS[i], 2, 300 + below(9000), 2 * SIFT_RUN, number);
  }
  compare(&file, &expected, NULL, 1, one_of(blocks, 8), SIFT_RUN - 1, number);
  keyset_free(file.keep);
  free(file.text.bytes);
  free_result(&expected);
}

static bool same_runs(const struct sifted *one, const struct sifted *other) {
  return one->records == other->records && one->lines == other->lines && one->size == other->size &&
         one->stopped == other->stopped && one->count == other->count &&
         memcmp(one->look_at, other->look_at, one->count * sizeof *one->look_at) == 0;
}

/* One run of each variant over bytes that nobody meant; `front` is in front of them. */
static void test_run(size_t size, size_t sound) {
  static char buffer[SIFT_FRONT + SIFT_RUN + SIFT_SLACK];
  static const char alphabet[] = ",\n\"\rab,,\"\"";
  static struct sifted first, other;
  struct failure failure;
  struct keyset *keep = keyset_new(&failure);
  struct key keys[] = {{.value = "a", .value_size = 1}, {.value = "abababab", .value_size = 8}};
  for (size_t i = 0; i < 2; i++) keyset_add(keep, &keys[i], &failure);
  struct sift_rules rules = {keyset_sketch(keep), 2 + below(3), 0, ','};
  rules.value_column = below(rules.columns);
  memset(buffer, 0, sizeof buffer);
  for (size_t i = 0; i < size; i++) {
    size_t field = i % (2 * rules.columns), last = 2 * rules.columns - 1;
    buffer[SIFT_FRONT + i] = chance(sound) ? "ab,\n"[field == last    ? 3
                                                     : field % 2 == 1 ? 2
                                                                      : below(2)]
                                           : alphabet[below(sizeof alphabet - 1)];
  }
  size_t steps = chance(50) ? SIFT_STEPS : 1 + below(SIFT_STEPS);
  sift_portable.run(&rules, buffer + SIFT_FRONT, size, steps, &first);
  for (size_t i = 1; i < VARIANT_COUNT; i++) {
    const struct sift_variant *sift = sift_choose(VARIANTS[i], &failure);
    if (sift == NULL) continue;
    sift->run(&rules, buffer + SIFT_FRONT, size, steps, &other);
    CHECK(sift->separators(buffer, ',') == sift_portable.separators(buffer, ','));
    if (!CHECK(same_runs(&first, &other))) printf("  %s, %zu bytes\n", VARIANTS[i], size);
  }
  keyset_free(keep);
}

int main(int count, char **arguments) {
  size_t files = count > 1 ? (size_t)atoi(arguments[1]) : FILES;
  for (size_t i = 0; i < files; i++) {
    state = 88172645463325252u + i * 7919;
    for (int n = 0; n < 10; n++) random_bits();
    test_file(i);
    for (size_t n = 0; n < 8; n++) test_run(below(SIFT_RUN), n % 2 == 0 ? 100 - n / 2 : below(100));
  }
  return check_report();
}
