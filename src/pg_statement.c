/* Statements are prepared on the server, so that the types of their parameters are known and each
 * is planned once. Rows come one at a time and are never collected, but for one case: libpq has one
 * command under way at a time, so that rows still to come are fetched when another command is run
 * between them, as they may be with SQLite. */
#include "pg_statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ROWS_TO_DRAIN = 1000, UNUSED_AT_ONCE = 16 };

/* ---- preparing ---- */

/* Names the statement on the server. */
static void name_of(int number, char name[PG_DIGITS]) {
  snprintf(name, PG_DIGITS, "tallyman_%d", number);
}

/* Tells the server to forget statements that were closed, many at once. */
static bool forget_unused(struct pg *pg, struct failure *failure) {
  char sql[UNUSED_AT_ONCE * 2 * PG_DIGITS] = "";
  size_t used = 0;
  if (pg->unused_count < UNUSED_AT_ONCE) return true;
  if (pg->pq.transactionStatus(pg->connection) == PQTRANS_INERROR) return true;
  for (int i = 0; i < UNUSED_AT_ONCE; i++) {
    char name[PG_DIGITS];
    name_of(pg->unused[--pg->unused_count], name);
    used += (size_t)snprintf(sql + used, sizeof sql - used, "DEALLOCATE %s;", name);
  }
  return pg_script(pg, sql, failure);
}

/* Notes that the server may forget a statement. */
static void add_unused(struct pg *pg, int number) {
  int *grown = realloc(pg->unused, (size_t)(pg->unused_count + 1) * sizeof *grown);
  if (grown == NULL) return;
  pg->unused = grown;
  pg->unused[pg->unused_count++] = number;
}

/* Makes room for the parameters that the server has found. */
static bool make_room(struct pg_statement *statement, const PGresult *described,
                      struct failure *failure) {
  const struct libpq *pq = &statement->pg->pq;
  size_t count = (size_t)pq->nparams(described);
  statement->types = calloc(count + 1, sizeof *statement->types);
  statement->texts = calloc(count + 1, sizeof *statement->texts);
  statement->sizes = calloc(count + 1, sizeof *statement->sizes);
  statement->formats = calloc(count + 1, sizeof *statement->formats);
  statement->digits = calloc(count + 1, sizeof *statement->digits);
  if (statement->types == NULL || statement->texts == NULL || statement->sizes == NULL ||
      statement->formats == NULL || statement->digits == NULL) {
    return fail(failure, EXIT_INTERNAL, "out of memory");
  }
  for (size_t i = 0; i < count; i++) statement->types[i] = pq->paramtype(described, (int)i);
  statement->parameters = (int)count;
  return true;
}

/* Has the server prepare it, and asks about its parameters. */
static bool prepare(struct pg_statement *statement, struct failure *failure) {
  struct pg *pg = statement->pg;
  char name[PG_DIGITS];
  name_of(statement->number, name);
  if (!pg_ready(pg, failure) || !forget_unused(pg, failure)) return false;
  PGresult *result =
      pg_outcome(pg, pg->pq.sendPrepare(pg->connection, name, statement->sql, 0, NULL),
                 statement->sql, failure);
  pg->pq.clear(result);
  if (result == NULL) {
    statement->number = 0;
    return false;
  }
  result =
      pg_outcome(pg, pg->pq.sendDescribePrepared(pg->connection, name), statement->sql, failure);
  bool done = result != NULL && make_room(statement, result, failure);
  pg->pq.clear(result);
  return done;
}

struct pg_statement *pg_prepare(struct pg *pg, const char *sql, struct failure *failure) {
  struct pg_statement *statement = calloc(1, sizeof *statement);
  if (statement == NULL || (statement->sql = strdup(sql)) == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    free(statement);
    return NULL;
  }
  statement->pg = pg;
  statement->number = ++pg->made;
  pg->holders++;
  if (prepare(statement, failure)) return statement;
  pg_statement_close(statement);
  return NULL;
}

/* Lets go of rows that were fetched ahead. */
static void forget_kept(struct pg_statement *statement) {
  if (statement->row == statement->kept) statement->row = NULL;
  statement->pg->pq.clear(statement->kept);
  statement->kept = NULL;
  statement->kept_failure.code = 0;
}

void pg_statement_close(struct pg_statement *statement) {
  if (statement == NULL) return;
  struct pg *pg = statement->pg;
  struct failure ignored = {0};
  if (pg->connection != NULL) pg_leave(statement, &ignored);
  if (pg->connection != NULL && statement->number > 0) add_unused(pg, statement->number);
  forget_kept(statement);
  pg->pq.clear(statement->row);
  free(statement->types);
  free(statement->texts);
  free(statement->sizes);
  free(statement->formats);
  free(statement->digits);
  free(statement->sql);
  free(statement);
  pg_release(pg);
}

bool pg_statement_open(const struct pg_statement *statement) {
  return statement->pg->connection != NULL;
}

int pg_parameters(const struct pg_statement *statement) { return statement->parameters; }

const char *pg_statement_state(const struct pg_statement *statement) { return statement->state; }

/* ---- running ---- */

bool pg_start(struct pg_statement *statement, const struct pg_value *values,
              struct failure *failure) {
  struct pg *pg = statement->pg;
  char name[PG_DIGITS];
  name_of(statement->number, name);
  if (!pg_leave(statement, failure) || !pg_ready(pg, failure)) return false;
  for (int i = 0; i < statement->parameters; i++) {
    if (!pg_bind(statement, i, &values[i], failure)) return false;
  }
  statement->rows = 0;
  statement->changed = 0;
  pg->in_block = pg->pq.transactionStatus(pg->connection) != PQTRANS_IDLE;
  if (!pg->pq.sendQueryPrepared(pg->connection, name, statement->parameters, statement->texts,
                                statement->sizes, statement->formats, 0)) {
    return pg_fail(pg, NULL, statement->sql, failure);
  }
  pg->pq.setSingleRowMode(pg->connection);
  pg->active = statement;
  return true;
}

/* The number of rows that the command changed; a query changes none. */
static long long count_changed(const struct libpq *pq, PGresult *result) {
  return strncmp(pq->cmdStatus(result), "SELECT", 6) == 0 ? 0 : atoll(pq->cmdTuples(result));
}

/* Takes in the last result of the command; the rest of the conversation about it is read. */
static enum pg_step end(struct pg_statement *statement, PGresult *result, struct failure *failure) {
  struct pg *pg = statement->pg;
  ExecStatusType status = pg->pq.resultStatus(result);
  bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
  struct failure lost = {0};
  if (good) statement->changed += count_changed(&pg->pq, result);
  if (!good) pg_fail(pg, result, statement->sql, failure);
  statement->row = result;
  pg->active = NULL;
  if (!pg_drain(pg, &lost)) *failure = lost;
  if (good && lost.code == 0) return PG_END;
  strcpy(statement->state, pg->state);
  pg_note(pg, failure);
  return PG_FAILED;
}

/* Gets the next result from the server into `row`. */
static enum pg_step fetch(struct pg_statement *statement, struct failure *failure) {
  struct pg *pg = statement->pg;
  PGresult *result;
  pg->pq.clear(statement->row);
  statement->row = NULL;
  statement->at = 0;
  if (!pg_result(pg, &result, failure)) {
    pg->active = NULL;
    statement->kept_failure = *failure;
    return PG_FAILED;
  }
  if (pg->pq.resultStatus(result) != PGRES_SINGLE_TUPLE) return end(statement, result, failure);
  statement->row = result;
  if (statement->rows < ROWS_TO_DRAIN) statement->rows++;
  return PG_ROW;
}

/* The end of rows that were fetched ahead, which may be a failure. */
static enum pg_step end_kept(struct pg_statement *statement, struct failure *failure) {
  if (statement->kept_failure.code == 0) return PG_END;
  *failure = statement->kept_failure;
  strcpy(statement->state, statement->kept_state);
  return PG_FAILED;
}

/* The next of the rows that were fetched ahead. */
static enum pg_step next_kept(struct pg_statement *statement, struct failure *failure) {
  const struct libpq *pq = &statement->pg->pq;
  if (statement->row != statement->kept) pq->clear(statement->row);
  statement->at = statement->row == statement->kept ? statement->at + 1 : 0;
  statement->row = statement->kept;
  if (statement->at < pq->ntuples(statement->kept)) return PG_ROW;
  statement->kept = NULL; /* `row` has it now, for its columns */
  return end_kept(statement, failure);
}

enum pg_step pg_next(struct pg_statement *statement, struct failure *failure) {
  statement->state[0] = '\0';
  if (statement->kept != NULL) return next_kept(statement, failure);
  if (statement->pg->active == statement) return fetch(statement, failure);
  return end_kept(statement, failure);
}

int pg_columns(const struct pg_statement *statement) {
  return statement->row == NULL ? 0 : statement->pg->pq.nfields(statement->row);
}

const char *pg_column_name(const struct pg_statement *statement, int column) {
  return statement->pg->pq.fname(statement->row, column);
}

long long pg_changed(const struct pg_statement *statement) { return statement->changed; }

/* ---- rows of others ---- */

/* Appends the current row to those that are kept. */
static bool keep_row(struct pg_statement *statement) {
  const struct libpq *pq = &statement->pg->pq;
  if (statement->kept == NULL) statement->kept = pq->copyResult(statement->row, PG_COPYRES_ATTRS);
  if (statement->kept == NULL) return false;
  int at = pq->ntuples(statement->kept), columns = pq->nfields(statement->row);
  for (int i = 0; i < columns; i++) {
    int size = pq->getisnull(statement->row, 0, i) ? -1 : pq->getlength(statement->row, 0, i);
    char *value = size < 0 ? NULL : pq->getvalue(statement->row, 0, i);
    if (!pq->setvalue(statement->kept, at, i, value, size)) return false;
  }
  return true;
}

/* Fetches what is left of the active statement's rows; what goes wrong waits for its turn. */
static bool keep_rest(struct pg_statement *statement, struct failure *failure) {
  const struct libpq *pq = &statement->pg->pq;
  PGresult *current = statement->row; /* its values may still be asked for */
  struct failure wrong = {0};
  enum pg_step step;
  bool kept = true;
  statement->row = NULL;
  while (kept && (step = fetch(statement, &wrong)) == PG_ROW) kept = keep_row(statement);
  if (!kept) fail(&wrong, EXIT_INTERNAL, "out of memory for the rows between which SQL is run");
  if (kept && statement->kept == NULL) {
    statement->kept = pq->copyResult(statement->row, PG_COPYRES_ATTRS);
  }
  bool usable = kept && statement->row != NULL;
  statement->kept_failure = wrong;
  strcpy(statement->kept_state, statement->state);
  pq->clear(statement->row);
  statement->row = current;
  if (!usable) *failure = wrong;
  return usable;
}

bool pg_ready(struct pg *pg, struct failure *failure) {
  if (!check_stop(failure)) return false;
  if (pg->active != NULL && !keep_rest(pg->active, failure)) return false;
  pg->state[0] = '\0';
  if (pg->pq.transactionStatus(pg->connection) == PQTRANS_IDLE) pg->spoiled.code = 0;
  if (pg->pq.status(pg->connection) != CONNECTION_BAD) return true;
  strcpy(pg->state, pg->farewell_state);
  return fail(failure, EXIT_UNAVAILABLE, "%s: %s", pg->name, pg_farewell(pg));
}

/* Whether nothing is lost when the statement is cancelled: a query, outside a transaction. */
static bool may_cancel(const struct pg_statement *statement) {
  const char *sql = statement->sql + strspn(statement->sql, " \t\r\n(");
  return !statement->pg->in_block && statement->rows == ROWS_TO_DRAIN &&
         strncasecmp(sql, "SELECT", 6) == 0;
}

bool pg_leave(struct pg_statement *statement, struct failure *failure) {
  struct pg *pg = statement->pg;
  bool cancelled = false;
  forget_kept(statement);
  while (pg->active == statement) {
    struct failure ignored = {0};
    if (fetch(statement, &ignored) != PG_ROW && ignored.code > 128) {
      *failure = ignored;
      return false;
    }
    if (cancelled || !may_cancel(statement)) continue;
    pg_cancel(pg);
    cancelled = true;
  }
  return true;
}
