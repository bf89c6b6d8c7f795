/* Keys out of files: from a record's columns, from all rows of a CSV file, from the lines of a
 * list.
 */
#ifndef TALLYMAN_KEYS_H
#define TALLYMAN_KEYS_H

#include "keyset.h"
#include "scan.h"

/* Finds the key's columns in the header; key[1] is NULL for a key of one column. */
bool key_find(const struct scan *scan, const char *const key[2], size_t columns[2], size_t *count,
              struct failure *failure);

/* Room for the unquoted text of a key of the longest record. */
char *key_scratch(const struct scan *scan, struct failure *failure);

/* Reads the record's key; false when it can't be trusted: a key field is missing or broken. */
bool key_read(const struct record *record, const size_t columns[2], size_t count, char *scratch,
              struct key *key);

/* Adds the key of each row of a CSV file to the set. */
bool keys_from_csv(struct source *source, const char *const key[2], struct keyset *set,
                   struct failure *failure);

/* Adds each line of a text as a key of one part; blank lines and a byte order mark are left out, as
 * is a carriage return before the line end. */
bool keys_from_lines(struct source *source, struct keyset *set, struct failure *failure);

#endif
