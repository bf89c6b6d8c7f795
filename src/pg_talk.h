/* One conversation with a PostgreSQL server: for pg*.c only. Nothing here blocks but in pg_wait,
 * which a signal ends. */
#ifndef TALLYMAN_PG_TALK_H
#define TALLYMAN_PG_TALK_H

#include <poll.h>
#include <time.h>

#include "pg.h"
#include "pg_failure.h"
#include "pg_lib.h"

enum { PG_NAME = 300, PG_NOTICES = 100, PG_WORDS = 60 };

struct pg {
  struct libpq pq;
  PGconn *connection; /* NULL once closed */
  int holders;        /* the handle and its statements: the last one frees */
  char name[PG_NAME]; /* for messages: postgresql://host:port/database */
  char state[PG_STATE + 1];
  struct failure spoiled; /* what made the open transaction fail; code 0: nothing did */
  char spoiled_state[PG_STATE + 1];
  bool unknown;                /* nobody can tell what came of the last COMMIT */
  bool committing;             /* a signal waits a little for the answer */
  bool in_block;               /* the active statement is part of a transaction */
  struct pg_statement *active; /* whose rows are still coming */
  char farewell[PG_MESSAGE];   /* why the server ended the connection, where nobody had asked it */
  char farewell_state[PG_STATE + 1];
  char *notices[PG_NOTICES];
  int notice_count;
  int made;                  /* statements prepared so far, for their names */
  int *unused, unused_count; /* numbers of those that the server may forget */
};

/* Waits until the socket is ready for one of `events`. Fails when a signal asks the process to
 * stop, or the deadline (NULL: none) has passed. */
bool pg_wait(struct pg *pg, short events, const struct timespec *deadline, struct failure *failure);

/* The next result of the command under way; *result is NULL when it has ended. On false the
 * connection is of no use any more. */
bool pg_result(struct pg *pg, PGresult **result, struct failure *failure);

/* Reads to the end of the command that was sent (`sent`: libpq's answer to that). Gives its last
 * result, which the caller clears; NULL when it failed. `sql` is what messages show the beginning
 * of. */
PGresult *pg_outcome(struct pg *pg, int sent, const char *sql, struct failure *failure);

/* Reads and forgets what is left of the command under way. */
bool pg_drain(struct pg *pg, struct failure *failure);

/* Fails with what the server says in a result, or libpq where the server doesn't. */
bool pg_fail(struct pg *pg, const PGresult *result, const char *sql, struct failure *failure);

/* Why a connection is lost: what the server said of it, if it did. */
const char *pg_farewell(const struct pg *pg);

/* Remembers a failure, once its command has ended, if the open transaction can't be committed any
 * more because of it. */
void pg_note(struct pg *pg, const struct failure *failure);

/* Asks the server to end the command under way; gives up after a short time. */
void pg_cancel(struct pg *pg);

/* Sends what libpq holds. */
bool pg_flush(struct pg *pg, struct failure *failure);

/* Gets ready for a command: is the connection open, are other rows out of the way? */
bool pg_ready(struct pg *pg, struct failure *failure);

/* Lets go of one holder. */
void pg_release(struct pg *pg);

#endif
