/* Values between Lua's kinds and the server's types. All travel as text but bytes to the server,
 * which have no text of their own. A numeric becomes an integer where it is whole and fits, and
 * else stays the server's text: no double stands in for a decimal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_statement.h"

/* The server's numbers for its types (pg_type.h). */
enum {
  TYPE_BOOL = 16,
  TYPE_BYTEA = 17,
  TYPE_INT8 = 20,
  TYPE_INT2 = 21,
  TYPE_INT4 = 23,
  TYPE_OID = 26,
  TYPE_FLOAT4 = 700,
  TYPE_FLOAT8 = 701,
  TYPE_NUMERIC = 1700
};

/* ---- parameters ---- */

/* The shortest digits that mean this number and no other; whole ones as integers are written, for
 * that is what they may be wanted as. */
static void write_number(double number, char digits[PG_DIGITS]) {
  if (number >= -1e18 && number <= 1e18 && number == (double)(long long)number) {
    snprintf(digits, PG_DIGITS, "%lld", (long long)number);
    return;
  }
  for (int precision = 15; precision <= 17; precision++) {
    snprintf(digits, PG_DIGITS, "%.*g", precision, number);
    if (strtod(digits, NULL) == number) return;
  }
}

/* A text: as it stands, or as bytes where the server wants those. */
static bool bind_text(struct pg_statement *statement, int i, const struct pg_value *value,
                      struct failure *failure) {
  statement->texts[i] = value->text;
  statement->sizes[i] = (int)value->size;
  statement->formats[i] = statement->types[i] == TYPE_BYTEA;
  if (statement->formats[i] == 1 || strlen(value->text) == value->size) return true;
  char words[PG_WORDS];
  pg_first_words(statement->sql, words, sizeof words);
  return fail(failure, EXIT_BAD_DATA,
              "%s: %s: parameter %d has a zero byte, which PostgreSQL's texts can't hold",
              statement->pg->name, words, i + 1);
}

bool pg_bind(struct pg_statement *statement, int i, const struct pg_value *value,
             struct failure *failure) {
  char *digits = statement->digits[i];
  statement->texts[i] = digits;
  statement->formats[i] = 0;
  switch (value->kind) {
    case PG_NULL: statement->texts[i] = NULL; break;
    case PG_INTEGER: snprintf(digits, PG_DIGITS, "%lld", value->integer); break;
    case PG_NUMBER: write_number(value->number, digits); break;
    case PG_BOOLEAN: snprintf(digits, PG_DIGITS, "%d", value->integer != 0); break;
    default: return bind_text(statement, i, value, failure);
  }
  return true;
}

/* ---- results ---- */

/* Reads a numeric whose value is a whole number that fits. */
static bool read_whole(const char *text, long long *integer) {
  size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");
  const char *rest = text + sign + digits;
  if (digits == 0 || digits > 19) return false;
  if (*rest == '.') rest += 1 + strspn(rest + 1, "0");
  if (*rest != '\0') return false;
  char copy[24];
  snprintf(copy, sizeof copy, "%.*s", (int)(sign + digits), text);
  char back[24];
  *integer = strtoll(copy, NULL, 10);
  snprintf(back, sizeof back, "%lld", *integer);
  return strcmp(copy, back) == 0; /* strtoll goes no further than it can */
}

struct pg_value pg_column(const struct pg_statement *statement, int column) {
  const struct libpq *pq = &statement->pg->pq;
  struct pg_value value = {.kind = PG_TEXT};
  if (pq->getisnull(statement->row, statement->at, column)) return (struct pg_value){0};
  value.text = pq->getvalue(statement->row, statement->at, column);
  value.size = (size_t)pq->getlength(statement->row, statement->at, column);
  switch (pq->ftype(statement->row, column)) {
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
      value.kind = PG_INTEGER;
      value.integer = strtoll(value.text, NULL, 10);
      break;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
      value.kind = PG_NUMBER;
      value.number = strtod(value.text, NULL);
      break;
    case TYPE_NUMERIC:
      if (read_whole(value.text, &value.integer)) value.kind = PG_INTEGER;
      break;
    case TYPE_BOOL:
      value.kind = PG_BOOLEAN;
      value.integer = *value.text == 't';
      break;
    case TYPE_BYTEA:
      if (strncmp(value.text, "\\x", 2) != 0) break;
      value.kind = PG_BYTES;
      value.text += 2;
      value.size -= 2;
      break;
    default: break;
  }
  return value;
}

/* The value of a hexadecimal digit as the server writes it. */
static int digit_value(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

void pg_bytes(const struct pg_value *value, char *into) {
  for (size_t i = 0; i + 1 < value->size; i += 2) {
    into[i / 2] = (char)(digit_value(value->text[i]) << 4 | digit_value(value->text[i + 1]));
  }
}
