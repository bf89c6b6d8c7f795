/* PostgreSQL by libpq: a connection, statements with parameters, transactions, COPY. Every wait
 * ends when a signal asks the process to stop; the server is told to cancel then. */
#ifndef TALLYMAN_PG_H
#define TALLYMAN_PG_H

#include "stream.h"

struct pg;
struct pg_statement;

struct pg_options {
  const char *url;     /* postgresql://..., or service=... and what else libpq takes */
  int connect_seconds; /* 0: the URL's connect_timeout, or 20 */
  int statement_ms;    /* how long a statement may run; 0: what the server says */
  int lock_ms;         /* how long it may wait for a lock; 0: what the server says */
  bool readonly;
};

/* Connects and logs in; NULL with *failure. Messages never hold the password. */
struct pg *pg_open(const struct pg_options *options, struct failure *failure);

/* Ends the connection; statements of it can only be closed then. */
void pg_close(struct pg *pg);

/* The SQLSTATE of the last failure; "" where the server gave none. */
const char *pg_state(const struct pg *pg);

/* Runs several statements without parameters. */
bool pg_script(struct pg *pg, const char *sql, struct failure *failure);

/* Commits; and whether the answer to the last COMMIT was lost, so that nobody can tell what came of
 * it. */
bool pg_commit(struct pg *pg, struct failure *failure);
bool pg_outcome_unknown(const struct pg *pg);

bool pg_in_transaction(const struct pg *pg);

/* Takes the oldest of the server's notices (the caller frees it); NULL when there is none. */
char *pg_take_notice(struct pg *pg);

/* ---- statements ---- */

enum pg_kind { PG_NULL, PG_TEXT, PG_BYTES, PG_INTEGER, PG_NUMBER, PG_BOOLEAN };

struct pg_value {
  enum pg_kind kind; /* of a parameter: never PG_BYTES */
  const char *text;  /* PG_TEXT and PG_BYTES; ends with a zero byte that doesn't count */
  size_t size;
  long long integer; /* PG_BOOLEAN, too */
  double number;
};

/* Prepares a statement whose parameters are $1, $2, ... */
struct pg_statement *pg_prepare(struct pg *pg, const char *sql, struct failure *failure);
void pg_statement_close(struct pg_statement *statement);

/* Whether its connection is still open; the number of its parameters. */
bool pg_statement_open(const struct pg_statement *statement);
int pg_parameters(const struct pg_statement *statement);
const char *pg_statement_state(const struct pg_statement *statement);

/* Sends it with values for its parameters. Rows of another statement that are still to come are
 * fetched first and kept in memory. */
bool pg_start(struct pg_statement *statement, const struct pg_value *values,
              struct failure *failure);

enum pg_step { PG_ROW, PG_END, PG_FAILED };

/* The next row. */
enum pg_step pg_next(struct pg_statement *statement, struct failure *failure);

/* The columns: known from the first pg_next on. */
int pg_columns(const struct pg_statement *statement);
const char *pg_column_name(const struct pg_statement *statement, int column);

/* One value of the current row; valid until the next call of pg_next. PG_BYTES come as hex, two
 * digits a byte. */
struct pg_value pg_column(const struct pg_statement *statement, int column);

/* Undoes that hex. */
void pg_bytes(const struct pg_value *value, char *into);

/* Rows inserted, updated or deleted; known at PG_END. */
long long pg_changed(const struct pg_statement *statement);

/* Leaves the rows that weren't asked for. Outside a transaction a long query is cancelled. */
bool pg_leave(struct pg_statement *statement, struct failure *failure);

/* ---- COPY ---- */

/* Runs COPY ... FROM STDIN on what the source gives; *rows is how many came in. */
bool pg_copy_in(struct pg *pg, const char *sql, struct source *source, long long *rows,
                struct failure *failure);

/* Runs COPY ... TO STDOUT into the sink. */
bool pg_copy_out(struct pg *pg, const char *sql, struct sink *sink, long long *rows,
                 struct failure *failure);

#endif
