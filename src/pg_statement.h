/* A prepared statement from the inside: for pg*.c only. */
#ifndef TALLYMAN_PG_STATEMENT_H
#define TALLYMAN_PG_STATEMENT_H

#include "pg_talk.h"

enum { PG_DIGITS = 32 };

struct pg_statement {
  struct pg *pg;
  char *sql;
  int number, parameters;
  unsigned *types;
  const char **texts; /* of the parameters, for libpq */
  int *sizes, *formats;
  char (*digits)[PG_DIGITS];
  PGresult *row;  /* what the current row, or else the columns, stand in */
  int at;         /* index of the row in it */
  PGresult *kept; /* rows fetched ahead, because of another command */
  struct failure kept_failure;
  char kept_state[PG_STATE + 1], state[PG_STATE + 1];
  int rows; /* seen so far, up to ROWS_TO_DRAIN */
  long long changed;
};

/* Writes one parameter down for libpq. */
bool pg_bind(struct pg_statement *statement, int i, const struct pg_value *value,
             struct failure *failure);

#endif
