/* CSV goes into SQLite and out of it by one prepared statement and the engine's own reading and
 * writing, so that both databases understand a file alike. */
#include "sqlite_rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool sqlite_run(sqlite3_stmt *statement) {
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) continue;
  return result == SQLITE_DONE;
}

long long sqlite_insert(sqlite3_stmt *statement, struct csv_pick *pick, struct failure *failure) {
  int count = sqlite3_bind_parameter_count(statement);
  long long rows = 0;
  enum scan_result result;
  while ((result = csv_pick_next(pick, failure)) == SCAN_RECORD) {
    sqlite3_reset(statement);
    for (int i = 0; i < count; i++) {
      const char *text;
      size_t size;
      bool some = csv_pick_field(pick, (size_t)i, &text, &size);
      sqlite3_bind_text64(statement, i + 1, some ? text : NULL, size, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
    }
    if (!sqlite_run(statement)) return -1;
    rows++;
  }
  sqlite3_reset(statement);
  return result == SCAN_END ? rows : -1;
}

/* Writes the header, or the current row. */
static bool write_row(sqlite3_stmt *statement, struct sink *sink, bool header,
                      struct failure *failure) {
  size_t count = (size_t)sqlite3_column_count(statement);
  for (size_t i = 0; i < count; i++) {
    int at = (int)i;
    const char *text = header ? sqlite3_column_name(statement, at)
                              : (const char *)sqlite3_column_text(statement, at);
    size_t size = header ? strlen(text) : (size_t)sqlite3_column_bytes(statement, at);
    if (!csv_write(sink, i, count, text, size, failure)) return false;
  }
  return true;
}

long long sqlite_write(sqlite3_stmt *statement, struct sink *sink, struct failure *failure) {
  long long rows = 0;
  int result = SQLITE_ROW;
  bool good = write_row(statement, sink, true, failure);
  while (good && (result = sqlite3_step(statement)) == SQLITE_ROW) {
    good = write_row(statement, sink, false, failure);
    rows++;
  }
  return good && result == SQLITE_DONE ? rows : -1;
}

void sqlite_decimal(double number, char digits[SQLITE_DIGITS]) {
  /* Fifteen digits are what a double keeps of a decimal. */
  if (fabs(number) >= 1e-4 && fabs(number) < 1e15) {
    snprintf(digits, SQLITE_DIGITS, "%.15g", number);
    return;
  }
  snprintf(digits, SQLITE_DIGITS, "%.15f", number);
  char *end = digits + strlen(digits);
  while (end[-1] == '0') *--end = '\0';
}
