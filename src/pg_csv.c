/* Files differ in delimiter, line ends, byte order marks and stray quotes; the engine's scan knows
 * them all. What COPY gets is written anew from the scan's records, so that both databases
 * understand a file alike. */
#include "pg_csv.h"

#include <stdlib.h>
#include <string.h>

enum { ENOUGH = 64 * 1024 };

struct csv_pick {
  struct scan scan;
  struct record record;
  char *scratch;
  size_t count;
  size_t columns[]; /* indexes of the wanted ones in the file */
};

/* ---- records ---- */

/* Finds the wanted columns in the header. */
static bool find_columns(struct csv_pick *pick, const char *const names[],
                         struct failure *failure) {
  for (size_t i = 0; i < pick->count; i++) {
    if (!scan_find(&pick->scan, names[i], &pick->columns[i], failure)) return false;
  }
  pick->scratch = malloc(pick->scan.options.max_record + 1);
  return pick->scratch != NULL || fail(failure, EXIT_INTERNAL, "out of memory");
}

struct csv_pick *csv_pick_open(struct source *source, const struct scan_options *options,
                               const char *const names[], size_t count, struct failure *failure) {
  struct csv_pick *pick = calloc(1, sizeof *pick + count * sizeof *pick->columns);
  if (pick == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  pick->count = count;
  if (scan_open(&pick->scan, source, options, failure) && find_columns(pick, names, failure)) {
    return pick;
  }
  csv_pick_close(pick);
  return NULL;
}

void csv_pick_close(struct csv_pick *pick) {
  if (pick == NULL) return;
  scan_close(&pick->scan);
  free(pick->scratch);
  free(pick);
}

enum scan_result csv_pick_next(struct csv_pick *pick, struct failure *failure) {
  const struct record *record = &pick->record;
  enum scan_result result = scan_next(&pick->scan, &pick->record, failure);
  if (result != SCAN_RECORD || record->fault == FAULT_NONE) return result;
  fail(failure, EXIT_BAD_DATA, "%s:%llu:%zu: %s", pick->scan.source->name,
       (unsigned long long)record->line, record_column(record, fault_offset(record)),
       fault_text(record->fault));
  return SCAN_FAILED;
}

bool csv_pick_field(struct csv_pick *pick, size_t i, const char **text, size_t *size) {
  const struct field *field = &pick->record.fields[pick->columns[i]];
  *size = field_text(&pick->record, field, pick->scratch, text);
  return field->size > 0;
}

/* ---- writing ---- */

/* Whether a value would be misread without quotes. COPY takes \. on a line for its end. */
static bool needs_quotes(const char *text, size_t size) {
  if (size == 0 || *text == '\\' || *text == ' ' || text[size - 1] == ' ') return true;
  for (size_t i = 0; i < size; i++) {
    if (strchr("\",\r\n", text[i]) != NULL && text[i] != '\0') return true;
  }
  return false;
}

/* Writes a value in quotes, those in it doubled. */
static bool write_quoted(struct sink *sink, const char *text, size_t size,
                         struct failure *failure) {
  if (!sink_write(sink, "\"", 1, failure)) return false;
  while (size > 0) {
    const char *quote = memchr(text, '"', size);
    size_t part = quote == NULL ? size : (size_t)(quote - text) + 1;
    if (!sink_write(sink, text, part, failure)) return false;
    if (quote != NULL && !sink_write(sink, "\"", 1, failure)) return false;
    text += part;
    size -= part;
  }
  return sink_write(sink, "\"", 1, failure);
}

bool csv_write(struct sink *sink, size_t i, size_t count, const char *text, size_t size,
               struct failure *failure) {
  if (text != NULL && needs_quotes(text, size)) {
    if (!write_quoted(sink, text, size, failure)) return false;
  } else if (text != NULL && !sink_write(sink, text, size, failure)) {
    return false;
  }
  return sink_write(sink, i + 1 == count ? "\n" : ",", 1, failure);
}

/* ---- as a source ---- */

struct pick_source {
  struct source base;
  struct csv_pick *pick;
  struct sink lines; /* what is written and not yet read */
  char *held;
  size_t used, room, at;
  bool began, ended;
};

/* The sink's write: appends to what is held. */
static bool hold(struct sink *self, const void *bytes, size_t size, struct failure *failure) {
  struct pick_source *source =
      (struct pick_source *)((char *)self - offsetof(struct pick_source, lines));
  if (source->used + size > source->room) {
    size_t room = 2 * (source->used + size) + ENOUGH;
    char *grown = realloc(source->held, room);
    if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory (%zu bytes)", room);
    source->held = grown;
    source->room = room;
  }
  memcpy(source->held + source->used, bytes, size);
  source->used += size;
  return true;
}

/* Writes the current record, or, first of all, a line in the header's place. */
static bool write_record(struct pick_source *source, bool header, struct failure *failure) {
  struct csv_pick *pick = source->pick;
  for (size_t i = 0; i < pick->count; i++) {
    const char *text = "-";
    size_t size = 1;
    if (!header && !csv_pick_field(pick, i, &text, &size)) text = NULL;
    if (!csv_write(&source->lines, i, pick->count, text, size, failure)) return false;
  }
  return true;
}

/* Writes enough records ahead. */
static bool fill(struct pick_source *source, struct failure *failure) {
  source->used = source->at = 0;
  if (!source->began && !write_record(source, true, failure)) return false;
  source->began = true;
  while (!source->ended && source->used < ENOUGH) {
    enum scan_result result = csv_pick_next(source->pick, failure);
    if (result == SCAN_FAILED) return false;
    source->ended = result == SCAN_END;
    if (!source->ended && !write_record(source, false, failure)) return false;
  }
  return true;
}

static ssize_t pick_read(struct source *self, void *into, size_t size, struct failure *failure) {
  struct pick_source *source = (struct pick_source *)self;
  if (source->at == source->used && !fill(source, failure)) return -1;
  size_t left = source->used - source->at;
  if (size > left) size = left;
  if (size > 0) memcpy(into, source->held + source->at, size);
  source->at += size;
  return (ssize_t)size;
}

static void pick_close(struct source *self) {
  struct pick_source *source = (struct pick_source *)self;
  csv_pick_close(source->pick);
  free(source->held);
  source_release(self);
  free(source);
}

struct source *csv_pick_source(struct csv_pick *pick, struct failure *failure) {
  struct pick_source *source = calloc(1, sizeof *source);
  if (source == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    csv_pick_close(pick);
    return NULL;
  }
  source->pick = pick;
  source->lines.write = hold;
  source->base.read = pick_read;
  source->base.close = pick_close;
  source->base.name = strdup(pick->scan.source->name);
  return &source->base;
}
