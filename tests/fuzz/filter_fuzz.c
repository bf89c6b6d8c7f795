/* The filter against the slow one: output, rejects, counts and how it ends, in every variant of the
 * fast lane. The input: bytes that choose how (see choose), then what the file is made of, where
 * bytes below 9 stand for longer texts (see add_expanded). The keys are pieces of the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../src/filter.h"
#include "../../src/gzip.h"
#include "../../src/sift.h"
#include "oracle.h"

enum { LONGEST_FILE = 26000, LONGEST_ONCE = 18000, MOST_KEYS = 200, MOST_COLUMNS = 140 };

/* What the input's first bytes choose. */
struct choice {
  bool own_header;    /* the header is made here; else the file's own has columns "a" and "b" */
  bool two_parts;     /* a key of type and value */
  bool gzip, read_at; /* what source */
  bool rejects, late; /* whether broken records are taken; whether the run is interrupted */
  int threads;
  char delimiter;          /* 0: found from the header */
  size_t columns, keys[2]; /* of the header made here, and which of them are the key's */
  size_t block, max_record, most, repeats, fails_at;
  unsigned density, seed; /* of the keys */
};

/* Draws how the file is made and read. */
static struct choice choose(struct input *input) {
  static const size_t blocks[] = {1,    3,    63,   64,    65,    100,   127, 128,  500, 777,
                                  1000, 4096, 8192, 10000, 16384, 50000, 64,  8192, 0};
  static const size_t longest[] = {8192,  8192, 8192, 8193, 10000, 16384,
                                   65536, 8191, 300,  20,   8192,  0};
  static const size_t most[] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, 1, 7, 64, 1000};
  static const size_t repeats[] = {1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 5, 10, 40, 1000};
  static const char delimiters[] = {0, 0, ',', ',', ';', '\t', '|', '\xA7'};
  unsigned flags = draw(input), more = draw(input);
  struct choice choice = {
      .own_header = flags & 1,
      .two_parts = flags & 2,
      .gzip = (flags & 12) == 12,
      .read_at = (flags & 12) != 8,
      .threads = (more & 15) == 14 ? 0
                 : flags & 16      ? 2
                                   : 1,
      .rejects = (flags & 96) != 96,
      .late = (more & 15) == 15,
      .delimiter = delimiters[more >> 4 & 7],
      .columns = 1 + draw(input) % MOST_COLUMNS,
      .keys = {draw(input), draw(input)},
      .block = draw_one(input, blocks, sizeof blocks / sizeof *blocks),
      .max_record = draw_one(input, longest, sizeof longest / sizeof *longest),
      .most = draw_one(input, most, sizeof most / sizeof *most),
      .repeats = draw_one(input, repeats, sizeof repeats / sizeof *repeats),
      .density = draw(input) % 32,
      .seed = draw(input),
  };
  choice.keys[0] %= choice.columns;
  choice.keys[1] %= choice.columns;
  choice.fails_at = more & 128 ? (size_t)draw(input) * 150 : SIZE_MAX;
  if (choice.keys[0] == choice.keys[1] && choice.own_header) choice.two_parts = false;
  return choice;
}

/* ---- the file ---- */

static char delimiter_of(const struct choice *choice) {
  return choice->delimiter == 0 ? ',' : choice->delimiter;
}

/* Writes so many delimiters that a row with two others is whole. */
static void add_delimiters(struct text *text, const struct choice *choice) {
  char delimiter = delimiter_of(choice);
  for (size_t i = 0; i + 3 < choice->columns || i == 0; i++) text_add(text, &delimiter, 1);
}

/* Writes what one byte of the input stands for: itself, or what would take it long to find. */
static void add_expanded(struct text *text, const struct choice *choice, uint8_t byte) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  char delimiter = delimiter_of(choice);
  switch (byte) {
    case 1: add_delimiters(text, choice); break;
    case 2: text_add(text, letters, 61); break;
    case 3:
      for (int i = 0; i < 130; i++) text_add(text, letters, 63);
      break;
    case 4: text_add(text, &delimiter, 1); break;
    case 5: text_print(text, "%zu", text->size); break;
    case 6: text_print(text, "%08zu", text->size * 7919 % 100000000); break;
    case 7: text_print(text, "\"\"\"%zu\n\"\"\"", text->size); break;
    case 8: text_add(text, "\r\n", 2); break;
    default: text_add(text, &byte, 1);
  }
}

/* The header: names that say nothing, but for the key's columns. */
static void add_header(struct text *text, const struct choice *choice) {
  char delimiter = delimiter_of(choice);
  for (size_t i = 0; i < choice->columns; i++) {
    if (i > 0) text_add(text, &delimiter, 1);
    bool first = i == choice->keys[0], second = choice->two_parts && i == choice->keys[1];
    text_print(text, "%s", first ? "A" : second ? "\"b\"" : "c");
  }
  text_print(text, "%s", choice->seed & 1 ? "\r\n" : "\n");
}

/* A sound row, each time of another length, so that what follows stands elsewhere in the steps of
 * the fast lane. */
static void add_filler(struct text *text, const struct choice *choice, size_t n) {
  char delimiter = delimiter_of(choice);
  for (size_t i = 0; i < n * 5 % 64; i++) text_add(text, "f", 1);
  for (size_t i = 1; i < choice->columns; i++) text_add(text, &delimiter, 1);
  text_add(text, "\n", 1);
}

/* The file: a header, then the rest of the input as often as it was drawn. */
static void make_file(struct text *text, const struct choice *choice, const struct input *input) {
  text_add(text, "", 0);
  if (choice->own_header) add_header(text, choice);
  for (size_t n = 0; n < choice->repeats && text->size < LONGEST_FILE; n++) {
    size_t limit = n == 0 ? LONGEST_ONCE : LONGEST_FILE;
    if (choice->own_header && choice->seed & 32) add_filler(text, choice, n);
    for (size_t i = 0; i < input->size && text->size < limit; i++) {
      add_expanded(text, choice, input->bytes[i]);
    }
  }
}

/* ---- the keys ---- */

static void add_key(struct keyset *keys, const char *type, size_t type_size, const char *value,
                    size_t value_size) {
  struct failure failure;
  struct key key = {type, type_size, value, value_size};
  /* The slow filter can't tell two parts with NULs from others; types longer than 64 are none. */
  if (type != NULL && (memchr(type, 0, type_size) || memchr(value, 0, value_size))) return;
  if (keyset_add(keys, &key, &failure)) oracle_add_key(&key);
}

/* Makes a piece of the file a key, with the piece before it as its type, or one that only the
 * sketch takes for it. */
static void add_piece(struct keyset *keys, const struct choice *choice, const char *before,
                      size_t before_size, const char *piece, size_t size) {
  char decoy[40];
  if (choice->seed % 4 == 3 && size >= 8 && size < 32) {
    snprintf(decoy, sizeof decoy, "zz%.*s", (int)size, piece);
    piece = decoy;
    size = strlen(decoy);
  }
  if (!choice->two_parts) {
    add_key(keys, NULL, 0, piece, size);
    return;
  }
  add_key(keys, before, before_size, piece, size);
  add_key(keys, "SKU", 3, piece, size);
  add_key(keys, piece, size, before, before_size);
}

/* Makes some of the pieces between delimiters, line ends and (by the seed) quotes keys. */
static void add_keys(struct keyset *keys, const struct choice *choice, const struct text *text) {
  const char *before = "", *piece = text->bytes;
  size_t before_size = 0, added = 0;
  uint32_t random = choice->seed * 2654435761u + 1;
  char ends[] = {'\n', '\r', delimiter_of(choice), choice->seed & 8 ? '"' : '\n'};
  if (choice->seed & 16) add_key(keys, choice->two_parts ? "" : NULL, 0, "", 0);
  for (const char *at = piece; at < text->bytes + text->size && added < MOST_KEYS; at++) {
    if (memchr(ends, *at, sizeof ends) == NULL) continue;
    random = random * 1664525u + 1013904223u;
    if (random >> 27 < choice->density && at - piece < 2000) {
      add_piece(keys, choice, before, before_size, piece, (size_t)(at - piece));
      added++;
    }
    before = piece;
    before_size = (size_t)(at - piece);
    piece = at + 1;
  }
}

/* ---- one run ---- */

/* Compresses the file, in two members where it is long. */
static void compress_file(const struct text *text, struct text *packed) {
  size_t half = text->size > 10000 ? text->size / 2 : text->size;
  for (size_t at = 0; at < text->size || packed->size == 0; at += half) {
    size_t size = text->size - at < half ? text->size - at : half;
    z_stream zlib = {0};
    if (deflateInit2(&zlib, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    size_t room = deflateBound(&zlib, size);
    unsigned char *into = malloc(room);
    if (into == NULL) abort();
    zlib.next_in = (unsigned char *)text->bytes + at;
    zlib.avail_in = (uInt)size;
    zlib.next_out = into;
    zlib.avail_out = (uInt)room;
    if (deflate(&zlib, Z_FINISH) != Z_STREAM_END) abort();
    text_add(packed, into, zlib.total_out);
    deflateEnd(&zlib);
    free(into);
    if (half == 0) break;
  }
}

/* Ends the run after a few blocks. */
static bool end_late(void *context, uint64_t done, uint64_t total, struct failure *failure) {
  unsigned *left = context;
  (void)done;
  (void)total;
  return (*left)-- > 0 || fail(failure, EXIT_TRY_AGAIN, "enough");
}

/* Ends the run at one of the first records that would be kept. */
static bool end_at_record(void *context, const struct scan *scan, const struct record *record,
                          bool *keep, struct failure *failure) {
  unsigned *left = context;
  must(*keep && record->size <= scan->options.max_record + 2, "no such record can be kept");
  return (*left)-- > 0 || fail(failure, EXIT_TRY_AGAIN, "enough");
}

static void take_sink(struct sink *sink, struct text *text) {
  size_t size;
  const char *bytes = sink_memory_bytes(sink, &size);
  text_add(text, bytes, size);
  sink->close(sink);
}

/* Runs the filter once and renders what came of it as the oracle does. */
static void run(const struct choice *choice, const struct text *file, const struct keyset *keys,
                const struct sift_variant *variant, struct oracle_filtered *found) {
  struct failure failure = {0};
  unsigned left = 2;
  struct source *source = source_inflating(
      source_new(file->bytes, file->size, choice->most, choice->fails_at, choice->read_at),
      &failure);
  struct sink *sink = sink_memory(&failure), *rejects = sink_memory(&failure);
  struct filter_options options = {
      .key = {"a", choice->two_parts ? "b" : NULL},
      .keep = keys,
      .rejects = choice->rejects ? rejects : NULL,
      .scan = {choice->block, choice->max_record, choice->delimiter, variant},
      .threads = choice->threads,
      .each = choice->late && choice->seed & 64 ? end_at_record : NULL,
      .progress = choice->late && !(choice->seed & 64) ? end_late : NULL,
      .context = &left,
  };
  struct filter_counts counts;
  /* As if the file had been longer when it was opened: long enough for a second thread to pay. */
  if (source != NULL && choice->threads == 0)
    source->total_bytes = UINT64_C(1) << (choice->seed % 40);
  if (source == NULL) {
    text_add_failure(&found->end, &failure);
  } else if (filter_run(source, sink, &options, &counts, &failure)) {
    text_print(&found->end, "end");
    text_print(&found->counts, "%zu read, %zu kept, %zu left out, %zu rejected, ",
               (size_t)counts.read, (size_t)counts.kept, (size_t)counts.left_out,
               (size_t)counts.rejected);
    text_print(&found->counts, "%zu broken left out, ", (size_t)counts.broken_left_out);
    text_add(&found->counts, &counts.delimiter, 1);
    text_print(&found->counts, ", %s", counts.last_line_end ? "true" : "false");
    must(counts.bytes == source->bytes, "bytes got lost");
  } else {
    text_add_failure(&found->end, &failure);
  }
  take_sink(sink, &found->out);
  take_sink(rejects, &found->rejects);
  if (source != NULL) source->close(source);
}

static void let_go(struct oracle_filtered *filtered) {
  free(filtered->out.bytes);
  free(filtered->rejects.bytes);
  free(filtered->counts.bytes);
  free(filtered->end.bytes);
}

static bool says(const struct text *text, const char *what) {
  return text->size >= strlen(what) && memcmp(text->bytes, what, strlen(what)) == 0;
}

/* Compares a run with the oracle. An interrupted one may have done less, but nothing else. */
static void compare(const struct oracle_filtered *expected, const struct oracle_filtered *found,
                    const struct choice *choice, size_t size) {
  bool interrupted = says(&found->end, "code 69") || says(&found->end, "code 75");
  must(choice->fails_at > size || !says(&found->end, "end"), "a source that failed was believed");
  if (interrupted && (choice->fails_at <= size || choice->late)) {
    if (says(&expected->end, "broken") || says(&expected->end, "columns")) return;
    must_begin("output", &expected->out, &found->out);
    must_begin("rejects", &expected->rejects, &found->rejects);
    return;
  }
  must_equal("end", &expected->end, &found->end);
  if (says(&found->end, "end")) must_equal("counts", &expected->counts, &found->counts);
  /* What was written before a broken record that nobody takes, the slow filter doesn't tell. */
  if (says(&expected->end, "broken") || says(&expected->end, "columns")) return;
  must_equal("output", &expected->out, &found->out);
  must_equal("rejects", &expected->rejects, &found->rejects);
}

/* ---- the harness ---- */

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count;
  oracle_open((*arguments)[0]);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static const char *const variants[] = {"portable", "sse2", "avx2", "neon"};
  struct input input = {bytes, size};
  struct choice choice = choose(&input);
  struct text text = {0}, packed = {0};
  struct failure failure;
  struct keyset *keys = keyset_new(&failure);
  make_file(&text, &choice, &input);
  /* The careful reader begins anew with each block: small ones are for small files. */
  if (text.size > 2000 && choice.block > 0 && choice.block < 400) choice.block += 400;
  if (choice.gzip) compress_file(&text, &packed);
  const struct text *file = choice.gzip ? &packed : &text;
  oracle_new_keys();
  add_keys(keys, &choice, &text);
  struct oracle_question question = {&text,
                                     {"a", choice.two_parts ? "b" : NULL},
                                     choice.delimiter,
                                     choice.max_record == 0 ? SCAN_MAX_RECORD : choice.max_record,
                                     choice.rejects};
  struct oracle_filtered expected = {0};
  oracle_filter(&question, &expected);
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    struct oracle_filtered found = {0};
    const struct sift_variant *variant = sift_choose(variants[i], &failure);
    if (variant == NULL) continue;
    run(&choice, file, keys, variant, &found);
    compare(&expected, &found, &choice, file->size);
    let_go(&found);
  }
  let_go(&expected);
  keyset_free(keys);
  free(text.bytes);
  free(packed.bytes);
  return 0;
}
