/* The careful reader against the slow one: every record's fields, line, fault and its column, and
 * how the file ends, in every variant. The input: four bytes that choose block size, longest
 * record, delimiter and bytes a read; then the file. */
#include <stdlib.h>

#include "../../src/scan.h"
#include "oracle.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count;
  oracle_open((*arguments)[0]);
  return 0;
}

/* A record as oracle.lua renders it. */
static void render(struct text *out, const struct record *record, size_t columns) {
  static char scratch[128 * 1024];
  bool broken = record->fault != FAULT_NONE;
  size_t column = broken ? record_column(record, fault_offset(record)) : 0;
  text_print(out, "%llu %zu %zu %s %zu\n", (unsigned long long)record->line, record->size,
             record->body, broken ? fault_text(record->fault) : "sound", column);
  text_print(out, "%zu fields\n", record->count);
  for (size_t i = 0; i < record->count && i < columns; i++) {
    const char *text;
    must(record->fields[i].size <= sizeof scratch, "a field is longer than the file");
    size_t size = field_text(record, &record->fields[i], scratch, &text);
    text_print(out, "%u %zu:", record->fields[i].at, size);
    text_add(out, text, size);
    text_add(out, "\n", 1);
  }
}

/* Renders a scan of the source, to its end and once more. */
static void scan_all(struct source *source, const struct scan_options *options, struct text *out) {
  struct scan scan;
  struct record record;
  struct failure failure = {0}, again = {0};
  enum scan_result result;
  if (!scan_open(&scan, source, options, &failure)) {
    text_add_failure(out, &failure);
    return;
  }
  text_print(out, "delimiter ");
  text_add(out, &scan.delimiter, 1);
  text_add(out, "\n", 1);
  render(out, &scan.header, scan.columns);
  uint64_t records = 0;
  while ((result = scan_next(&scan, &record, &failure)) == SCAN_RECORD) {
    render(out, &record, scan.columns);
    records++;
  }
  must(scan_next(&scan, &record, &again) == result, "a scan that has ended goes on");
  must(again.code == failure.code, "a scan that has failed fails for another reason");
  must(result == SCAN_FAILED || scan.bytes == source->bytes, "bytes got lost");
  must(result == SCAN_FAILED || scan.records == records, "records got lost");
  if (result == SCAN_FAILED) {
    text_add_failure(out, &failure);
  } else {
    text_print(out, "end");
  }
  scan_close(&scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static const size_t blocks[] = {1,  2,   3,   5,    7,    8,    16, 31, 63, 64,
                                  65, 100, 128, 1000, 4096, 2000, 1,  2,  0};
  static const size_t longest[] = {4096, 4000,  5,    9,    1,    17,   64,
                                   100,  20000, 8191, 8192, 4096, 3000, 0};
  static const size_t most[] = {SIZE_MAX, SIZE_MAX, 1, 2, 3, 64};
  static const char delimiters[] = {0, 0, 0, 0, ',', ';', '\t', '|', ' ', 'a', '\xA7', '\xBF'};
  static const char *const variants[] = {"portable", "sse2", "avx2", "neon"};
  struct input input = {bytes, size};
  struct text text = {0}, expected = {0}, found = {0};
  struct scan_options options = {
      draw_one(&input, blocks, sizeof blocks / sizeof *blocks),
      draw_one(&input, longest, sizeof longest / sizeof *longest),
      delimiters[draw(&input) % sizeof delimiters],
      NULL,
  };
  size_t most_bytes = draw_one(&input, most, sizeof most / sizeof *most);
  text_add(&text, input.bytes, input.size);
  oracle_scan(&text, options.delimiter,
              options.max_record == 0 ? SCAN_MAX_RECORD : options.max_record, &expected);
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
    struct failure failure;
    options.variant = sift_choose(variants[i], &failure);
    if (options.variant == NULL) continue;
    struct source *source = source_new(text.bytes, text.size, most_bytes, SIZE_MAX, false);
    found.size = 0;
    scan_all(source, &options, &found);
    must_equal("scan", &expected, &found);
    source->close(source);
  }
  free(text.bytes);
  free(expected.bytes);
  free(found.bytes);
  return 0;
}
