/* COPY between the server and the engine's sources and sinks, a block at a time. What is sent has
 * gone before more is read, so that a slow server doesn't fill the memory. */
#include <stdlib.h>
#include <string.h>

#include "pg_talk.h"

enum { BLOCK = 64 * 1024 };

/* Sends a COPY; whether the server goes along with it. */
static bool begin_copy(struct pg *pg, const char *sql, ExecStatusType wanted,
                       struct failure *failure) {
  PGresult *result;
  struct failure lost = {0};
  if (!pg_ready(pg, failure)) return false;
  if (!pg->pq.sendQuery(pg->connection, sql)) return pg_fail(pg, NULL, sql, failure);
  if (!pg_result(pg, &result, failure)) return false;
  ExecStatusType status = pg->pq.resultStatus(result);
  if (status != wanted) pg_fail(pg, result, sql, failure);
  pg->pq.clear(result);
  if (status == wanted) return true;
  if (!pg_drain(pg, &lost)) *failure = lost;
  pg_note(pg, failure);
  return false;
}

/* Ends a COPY: reads how it ended, and how many rows it moved. */
static bool end_copy(struct pg *pg, const char *sql, long long *rows, struct failure *failure) {
  PGresult *result = pg_outcome(pg, 1, sql, failure);
  if (result != NULL) *rows = atoll(pg->pq.cmdTuples(result));
  pg->pq.clear(result);
  return result != NULL;
}

/* A COPY that ended because of something else than the server: that is why a transaction fails. */
static bool give_up(struct pg *pg, const char *sql, const struct failure *why,
                    struct failure *failure) {
  struct failure server = {0};
  long long rows;
  if (why->code < 128) end_copy(pg, sql, &rows, &server);
  pg->state[0] = '\0';
  if (pg->spoiled.code != 0 && strcmp(pg->spoiled.text, server.text) == 0) pg->spoiled = *why;
  *failure = *why;
  return false;
}

/* ---- in ---- */

/* Sends a block, and waits until it has gone. */
static bool put_block(struct pg *pg, const char *block, int size, struct failure *failure) {
  int put;
  while ((put = pg->pq.putCopyData(pg->connection, block, size)) == 0) {
    if (!pg_wait(pg, POLLIN | POLLOUT, NULL, failure)) return false;
    pg->pq.consumeInput(pg->connection);
  }
  return put < 0 || pg_flush(pg, failure); /* the end says what is wrong */
}

/* Sends all that the source gives. */
static bool feed(struct pg *pg, struct source *source, struct failure *failure) {
  char *block = malloc(BLOCK);
  bool fed = true;
  ssize_t got;
  if (block == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  while (fed && (got = source_read(source, block, BLOCK, failure)) > 0) {
    fed =
        put_block(pg, block, (int)got, failure) && pg->pq.status(pg->connection) != CONNECTION_BAD;
  }
  free(block);
  return failure->code == 0;
}

/* Tells the server that nothing more comes, and if so that it isn't all. */
static bool put_end(struct pg *pg, const char *complaint, struct failure *failure) {
  while (pg->pq.putCopyEnd(pg->connection, complaint) == 0) {
    if (!pg_wait(pg, POLLIN | POLLOUT, NULL, failure)) return false;
    pg->pq.consumeInput(pg->connection);
  }
  return true;
}

bool pg_copy_in(struct pg *pg, const char *sql, struct source *source, long long *rows,
                struct failure *failure) {
  struct failure why = {0};
  if (!begin_copy(pg, sql, PGRES_COPY_IN, failure)) return false;
  bool fed = feed(pg, source, &why);
  if (!put_end(pg, fed ? NULL : "what is to be copied can't be read", &why)) {
    pg_cancel(pg);
    fed = false;
  }
  return fed ? end_copy(pg, sql, rows, failure) : give_up(pg, sql, &why, failure);
}

/* ---- out ---- */

/* Moves rows into the sink until the server has sent them all. */
static bool take(struct pg *pg, struct sink *sink, struct failure *failure) {
  char *row;
  int got;
  while ((got = pg->pq.getCopyData(pg->connection, &row, 1)) >= 0) {
    bool taken =
        got == 0 ? pg_wait(pg, POLLIN, NULL, failure) : sink_write(sink, row, (size_t)got, failure);
    pg->pq.freemem(row);
    if (!taken) return false;
    if (got == 0 && !pg->pq.consumeInput(pg->connection)) return true;
  }
  return true;
}

bool pg_copy_out(struct pg *pg, const char *sql, struct sink *sink, long long *rows,
                 struct failure *failure) {
  struct failure why = {0};
  if (!begin_copy(pg, sql, PGRES_COPY_OUT, failure)) return false;
  if (take(pg, sink, &why)) return end_copy(pg, sql, rows, failure);
  pg_cancel(pg);
  return give_up(pg, sql, &why, failure);
}
