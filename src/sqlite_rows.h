/* What is done row by row in SQLite without Lua. */
#ifndef TALLYMAN_SQLITE_ROWS_H
#define TALLYMAN_SQLITE_ROWS_H

#include <sqlite3.h>

#include "pg_csv.h"

enum { SQLITE_DIGITS = 40 };

/* Runs a statement that was started to its end; false when it fails. */
bool sqlite_run(sqlite3_stmt *statement);

/* Inserts the file's records, each by one run of the statement; how many. -1 with *failure, or,
 * where SQLite is what failed, without one. */
long long sqlite_insert(sqlite3_stmt *statement, struct csv_pick *pick, struct failure *failure);

/* Writes a header and what is left of the rows as CSV; results as of sqlite_insert. */
long long sqlite_write(sqlite3_stmt *statement, struct sink *sink, struct failure *failure);

/* Writes a decimal as text, without an exponent and superfluous zeros. */
void sqlite_decimal(double number, char digits[SQLITE_DIGITS]);

#endif
