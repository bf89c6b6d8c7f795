/* What the slow reader and the slow filter (tests/support/slow_csv.lua) say, from a Lua state that
 * lives as long as the process. */
#ifndef TALLYMAN_FUZZ_ORACLE_H
#define TALLYMAN_FUZZ_ORACLE_H

#include "../../src/keyset.h"
#include "input.h"

/* Loads the slow reader from the tests' folder: $TALLYMAN_TESTS, or ../../tests as seen from the
 * program's own folder. */
void oracle_open(const char *program);

/* All records of a text, and how it ends, as oracle.lua renders them. A delimiter of 0 is to be
 * found from the header. */
void oracle_scan(const struct text *text, char delimiter, size_t max_record, struct text *result);

/* Begins a new set of keys. */
void oracle_new_keys(void);
void oracle_add_key(const struct key *key);

/* What a filter should make of a text. */
struct oracle_filtered {
  struct text out, rejects, counts;
  struct text end; /* "end", or the failure */
};

struct oracle_question {
  const struct text *text;
  const char *names[2]; /* of the key columns; names[1] may be NULL */
  char delimiter;
  size_t max_record;
  bool rejects; /* false: a broken record ends the run */
};

void oracle_filter(const struct oracle_question *question, struct oracle_filtered *result);

/* How many keys the lines of a text make; they are added. */
size_t oracle_add_lines(const struct text *text);
bool oracle_has_value(const char *value, size_t size);

#endif
