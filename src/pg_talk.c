/* libpq never blocks here: each command is sent, and its results are taken as they come, with one
 * kind of wait in between. A signal that ends a wait tells the server to cancel what it does; what
 * libpq reports is kept as an SQLSTATE and a text. */
#define _GNU_SOURCE
#include "pg_talk.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "stream.h"
#include "thread.h"

enum { CANCEL_SECONDS = 2, COMMIT_SECONDS = 5 };

/* ---- waiting ---- */

/* Waits once. What poll gave; -1 and no failure: look again. */
static int wait_once(struct pollfd *poller, const struct timespec *left, bool heed,
                     struct failure *failure) {
  sigset_t before;
  thread_hold_stops(&before);
  int ready = -1;
  if (!heed || check_stop(failure)) ready = ppoll(poller, 1, left, &before);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ready;
}

bool pg_wait(struct pg *pg, short events, const struct timespec *deadline,
             struct failure *failure) {
  struct pollfd poller = {pg->pq.socket(pg->connection), events, 0};
  struct timespec grace = {0};
  for (;;) {
    if (pg->committing && stop_signal != 0 && deadline != &grace) {
      grace = net_deadline(COMMIT_SECONDS);
      deadline = &grace;
    }
    int left = deadline == NULL ? 0 : net_milliseconds_left(deadline);
    struct timespec time = {left / 1000, left % 1000 * 1000000L};
    int ready = wait_once(&poller, deadline == NULL ? NULL : &time, !pg->committing, failure);
    if (ready > 0) return true;
    if (failure->code != 0) return false;
    if (ready == 0) {
      if (deadline == &grace) return check_stop(failure);
      return fail(failure, EXIT_UNAVAILABLE, "%s: no answer in time", pg->name);
    }
    if (errno != EINTR) return fail_errno(failure, EXIT_UNAVAILABLE, "%s: poll", pg->name);
  }
}

/* ---- cancelling ---- */

struct cancel_job {
  struct libpq pq;
  PGcancel *cancel;
};

/* Cancels, in a thread of its own: a server that can't be reached would hold up everything. */
static void *send_cancel(void *context) {
  struct cancel_job *job = context;
  char text[256];
  job->pq.cancel(job->cancel, text, sizeof text);
  job->pq.freeCancel(job->cancel);
  free(job);
  return NULL;
}

void pg_cancel(struct pg *pg) {
  struct cancel_job *job = malloc(sizeof *job);
  pthread_t thread;
  struct timespec until;
  if (job == NULL) return;
  *job = (struct cancel_job){pg->pq, pg->pq.getCancel(pg->connection)};
  if (job->cancel == NULL || !thread_start(&thread, send_cancel, job)) {
    pg->pq.freeCancel(job->cancel);
    free(job);
    return;
  }
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += CANCEL_SECONDS;
  if (pthread_timedjoin_np(thread, NULL, &until) != 0) pthread_detach(thread);
}

/* ---- failures ---- */

void pg_note(struct pg *pg, const struct failure *failure) {
  if (pg->spoiled.code != 0 || pg->pq.transactionStatus(pg->connection) != PQTRANS_INERROR) return;
  pg->spoiled = *failure;
  strcpy(pg->spoiled_state, pg->state);
}

const char *pg_farewell(const struct pg *pg) {
  return pg->farewell[0] != '\0' ? pg->farewell : "the connection to the server is lost";
}

/* What the server says, without values; what libpq says where the server is silent. */
static void reason(struct pg *pg, const PGresult *result, char *into, size_t size) {
  const char *primary =
      result == NULL ? NULL : pg->pq.resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  ExecStatusType status = pg->pq.resultStatus(result);
  if (primary != NULL) {
    snprintf(into, size, "%s", primary);
    pg_hide_values(pg->state, into, size);
    const char *context = pg->pq.resultErrorField(result, PG_DIAG_CONTEXT);
    int line = context == NULL ? 0 : pg_copy_line(context);
    size_t used = strlen(into);
    if (line > 0) snprintf(into + used, size - used, " (line %d)", line);
  } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
    snprintf(into, size, "COPY is run by copy_in and copy_out");
  } else if (status == PGRES_EMPTY_QUERY) {
    snprintf(into, size, "there is no SQL statement");
  } else if (pg->pq.status(pg->connection) == CONNECTION_BAD) {
    snprintf(into, size, "%s", pg_farewell(pg));
  } else {
    const char *text = pg->pq.errorMessage(pg->connection);
    snprintf(into, size, "%.*s", (int)strcspn(text, "\n"), text);
  }
}

bool pg_fail(struct pg *pg, const PGresult *result, const char *sql, struct failure *failure) {
  const char *state = result == NULL ? NULL : pg->pq.resultErrorField(result, PG_DIAG_SQLSTATE);
  char text[PG_MESSAGE], words[PG_WORDS];
  bool lost = pg->pq.status(pg->connection) == CONNECTION_BAD;
  snprintf(pg->state, sizeof pg->state, "%s",
           state != NULL ? state
           : lost        ? pg->farewell_state
                         : "");
  int code = state != NULL ? pg_exit_code(state) : EXIT_INTERNAL;
  reason(pg, result, text, sizeof text);
  pg_first_words(sql, words, sizeof words);
  fail(failure, lost ? EXIT_UNAVAILABLE : code, "%s: %s: %s%s%s", pg->name, words,
       state == NULL ? "" : state, state == NULL ? "" : ": ", text);
  return false;
}

/* ---- results ---- */

bool pg_flush(struct pg *pg, struct failure *failure) {
  while (pg->pq.flush(pg->connection) == 1) {
    if (!pg_wait(pg, POLLIN | POLLOUT, NULL, failure)) return false;
    if (!pg->pq.consumeInput(pg->connection)) break; /* the next result says why */
  }
  return true;
}

/* Waits until there is a result. */
static bool await(struct pg *pg, struct failure *failure) {
  if (!pg_flush(pg, failure)) return false;
  while (pg->pq.isBusy(pg->connection)) {
    if (!pg_wait(pg, POLLIN, NULL, failure)) return false;
    if (!pg->pq.consumeInput(pg->connection)) break;
  }
  return true;
}

bool pg_result(struct pg *pg, PGresult **result, struct failure *failure) {
  *result = NULL;
  if (!await(pg, failure)) {
    pg_cancel(pg);
    return false;
  }
  *result = pg->pq.getResult(pg->connection);
  return true;
}

/* Ends a COPY that nobody feeds or takes. */
static bool leave_copy(struct pg *pg, ExecStatusType status, struct failure *failure) {
  char *row;
  int got;
  if (status == PGRES_COPY_IN) pg->pq.putCopyEnd(pg->connection, "nothing feeds this COPY");
  if (status != PGRES_COPY_OUT) return true;
  while ((got = pg->pq.getCopyData(pg->connection, &row, 1)) >= 0) {
    pg->pq.freemem(row);
    if (got > 0) continue;
    if (!pg_wait(pg, POLLIN, NULL, failure)) return false;
    if (!pg->pq.consumeInput(pg->connection)) return true;
  }
  return true;
}

bool pg_drain(struct pg *pg, struct failure *failure) {
  PGresult *result;
  while (pg_result(pg, &result, failure)) {
    if (result == NULL) return true;
    ExecStatusType status = pg->pq.resultStatus(result);
    pg->pq.clear(result);
    if (!leave_copy(pg, status, failure)) return false;
  }
  return false;
}

PGresult *pg_outcome(struct pg *pg, int sent, const char *sql, struct failure *failure) {
  PGresult *last = NULL, *result;
  bool failed = false;
  struct failure first = {0};
  if (!sent) {
    pg_fail(pg, NULL, sql, failure);
    return NULL;
  }
  while (pg_result(pg, &result, &first) && result != NULL) {
    ExecStatusType status = pg->pq.resultStatus(result);
    if (!failed && (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)) {
      failed = true;
      pg_fail(pg, result, sql, failure);
    }
    pg->pq.clear(last);
    last = result;
    if (!leave_copy(pg, status, &first)) break;
  }
  if (first.code != 0) *failure = first;
  if (!failed && first.code == 0) return last;
  pg_note(pg, failure);
  pg->pq.clear(last);
  return NULL;
}

bool pg_script(struct pg *pg, const char *sql, struct failure *failure) {
  if (!pg_ready(pg, failure)) return false;
  PGresult *result = pg_outcome(pg, pg->pq.sendQuery(pg->connection, sql), sql, failure);
  bool done = result != NULL || failure->code == 0; /* an empty text has no result */
  pg->pq.clear(result);
  return done;
}

void pg_release(struct pg *pg) {
  if (--pg->holders > 0) return;
  for (int i = 0; i < pg->notice_count; i++) free(pg->notices[i]);
  free(pg->unused);
  free(pg);
}
