/* Keys by column come through the careful reader: a list of keys is small beside the big file. */
#include "keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool key_find(const struct scan *scan, const char *const key[2], size_t columns[2], size_t *count,
              struct failure *failure) {
  *count = key[1] == NULL ? 1 : 2;
  for (size_t i = 0; i < *count; i++) {
    if (!scan_find(scan, key[i], &columns[i], failure)) return false;
  }
  return true;
}

bool key_read(const struct record *record, const size_t columns[2], size_t count, char *scratch,
              struct key *key) {
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

/* Adds every record's key. */
static bool add_keys(struct scan *scan, const char *const key[2], char *scratch, struct keyset *set,
                     struct failure *failure) {
  struct record record;
  enum scan_result result;
  size_t columns[2], count;
  if (!key_find(scan, key, columns, &count, failure)) return false;
  while ((result = scan_next(scan, &record, failure)) == SCAN_RECORD) {
    struct key one;
    if (record.fault != FAULT_NONE || !key_read(&record, columns, count, scratch, &one)) {
      return fail(failure, EXIT_BAD_DATA, "%s:%" PRIu64 ":%zu: %s", scan->source->name, record.line,
                  record_column(&record, fault_offset(&record)), fault_text(record.fault));
    }
    if (!keyset_add(set, &one, failure)) return false;
  }
  return result == SCAN_END;
}

char *key_scratch(const struct scan *scan, struct failure *failure) {
  char *scratch = malloc(2 * scan->options.max_record + 2);
  if (scratch == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
  return scratch;
}

bool keys_from_csv(struct source *source, const char *const key[2], struct keyset *set,
                   struct failure *failure) {
  struct scan scan;
  struct scan_options options = {0};
  if (!scan_open(&scan, source, &options, failure)) return false;
  char *scratch = key_scratch(&scan, failure);
  bool done = scratch != NULL && add_keys(&scan, key, scratch, set, failure);
  free(scratch);
  scan_close(&scan);
  return done;
}

/* ---- lists ---- */

enum { LIST_BUFFER = 256 * 1024 };

/* A list as it is read: `held` bytes of it are in the buffer. */
struct list {
  struct source *source;
  struct keyset *set;
  uint64_t line;
  size_t held;
  char buffer[LIST_BUFFER];
};

static bool add_line(struct list *list, const char *line, size_t size, struct failure *failure) {
  if (list->line++ == 0 && size >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
    line += 3;
    size -= 3;
  }
  if (size > 0 && line[size - 1] == '\r') size--;
  struct key key = {.value = line, .value_size = size};
  return size == 0 || keyset_add(list->set, &key, failure);
}

/* Adds the lines that are whole and moves what is left to the front. */
static bool add_lines(struct list *list, struct failure *failure) {
  const char *line = list->buffer, *end = list->buffer + list->held, *feed;
  while ((feed = memchr(line, '\n', (size_t)(end - line))) != NULL) {
    if (!add_line(list, line, (size_t)(feed - line), failure)) return false;
    line = feed + 1;
  }
  list->held = (size_t)(end - line);
  memmove(list->buffer, line, list->held);
  if (list->held < LIST_BUFFER) return true;
  return fail(failure, EXIT_BAD_DATA,
              "%s:%" PRIu64 ":1: line is longer than a key may be (%d bytes)", list->source->name,
              list->line + 1, LIST_BUFFER);
}

/* Reads the list to its end. */
static bool read_list(struct list *list, struct failure *failure) {
  for (;;) {
    ssize_t got =
        source_read(list->source, list->buffer + list->held, LIST_BUFFER - list->held, failure);
    if (got < 0) return false;
    if (got == 0) return add_line(list, list->buffer, list->held, failure);
    list->held += (size_t)got;
    if (!add_lines(list, failure)) return false;
  }
}

bool keys_from_lines(struct source *source, struct keyset *set, struct failure *failure) {
  struct list *list = malloc(sizeof *list);
  if (list == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  list->source = source;
  list->set = set;
  list->line = list->held = 0;
  bool done = read_list(list, failure);
  free(list);
  return done;
}
