/* CSV between the engine's own reading of it and databases: a file's records by wanted columns, and
 * rows as CSV. An empty field without quotes is NULL; "" is an empty text. */
#ifndef TALLYMAN_PG_CSV_H
#define TALLYMAN_PG_CSV_H

#include "scan.h"

/* The records of a file, of which some columns are wanted. */
struct csv_pick;

/* Opens the file; the names are those of its header, in any case. */
struct csv_pick *csv_pick_open(struct source *source, const struct scan_options *options,
                               const char *const names[], size_t count, struct failure *failure);

/* Finds the next record. One that is broken fails. */
enum scan_result csv_pick_next(struct csv_pick *pick, struct failure *failure);

/* One of the wanted fields, valid until the next field is asked for; false: NULL. */
bool csv_pick_field(struct csv_pick *pick, size_t i, const char **text, size_t *size);

void csv_pick_close(struct csv_pick *pick);

/* The same as a source: CSV as COPY reads it, with a header line, which takes the pick over. */
struct source *csv_pick_source(struct csv_pick *pick, struct failure *failure);

/* Writes one value of a row that has `count` of them; text NULL: no value. */
bool csv_write(struct sink *sink, size_t i, size_t count, const char *text, size_t size,
               struct failure *failure);

#endif
