/* A connection is set up by libpq's own rules (URL, service, environment, password file, TLS), with
 * one deadline for all of it. What a session must have, so that values mean the same everywhere, is
 * set at once: UTF-8, ISO dates, UTC, and the limits that the caller wants. */
#include "pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "pg_talk.h"

enum { CONNECT_SECONDS = 20 };

/* ---- the address ---- */

/* A password with a bare slash or @ would end up in other parts of the URL, which messages show. */
static bool check_address(const char *url, struct failure *failure) {
  const char *begin = strstr(url, "://");
  if (begin == NULL) return true;
  begin += 3;
  const char *end = begin + strcspn(begin, "?"), *slash = begin + strcspn(begin, "/?");
  const char *at = memchr(begin, '@', (size_t)(end - begin));
  if (at == NULL || (at < slash && memchr(at + 1, '@', (size_t)(end - at - 1)) == NULL))
    return true;
  return fail(failure, EXIT_CONFIGURATION,
              "the database's URL has an @ that it can't have; in a password, @, /, : and %% are "
              "written %%40, %%2F, %%3A and %%25");
}

/* A value of the address; NULL when it isn't there. */
static const char *option_of(const PQconninfoOption *options, const char *keyword) {
  for (; options->keyword != NULL; options++) {
    if (strcmp(options->keyword, keyword) == 0) return options->val;
  }
  return NULL;
}

/* Checks the address, and takes from it how long connecting may last. */
static bool read_address(struct pg *pg, const struct pg_options *options, int *seconds,
                         struct failure *failure) {
  PQconninfoOption *parts =
      check_address(options->url, failure) ? pg->pq.conninfoParse(options->url, NULL) : NULL;
  if (failure->code != 0) return false;
  if (parts == NULL) {
    return fail(failure, EXIT_CONFIGURATION,
                "the database's address can't be read; it is to be like "
                "postgresql://user@host:5432/database, with %%XX for special characters");
  }
  const char *limit = option_of(parts, "connect_timeout");
  *seconds = options->connect_seconds;
  if (*seconds <= 0 && limit != NULL) *seconds = atoi(limit);
  if (*seconds <= 0) *seconds = CONNECT_SECONDS;
  pg->pq.conninfoFree(parts);
  return true;
}

/* ---- connecting ---- */

/* Starts to connect. What stands before the address can be overruled by it: a server that has gone
 * without a word is noticed after two minutes. */
static PGconn *start_connect(struct pg *pg, const char *url) {
  const char *const keywords[] = {
      "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
      "tcp_user_timeout",          "dbname",          "client_encoding",     NULL};
  const char *const values[] = {"tallyman", "60", "10", "6", "120000", url, "UTF8", NULL};
  return pg->pq.connectStartParams(keywords, values, 1);
}

/* Names the connection for messages, once libpq knows where it goes. */
static void name_connection(struct pg *pg) {
  const char *host = pg->pq.host(pg->connection), *port = pg->pq.port(pg->connection);
  const char *database = pg->pq.db(pg->connection);
  snprintf(pg->name, sizeof pg->name, "postgresql://%s:%s/%s", host == NULL ? "" : host,
           port == NULL ? "" : port, database == NULL ? "" : database);
}

/* Fails with why the connection can't be made. */
static bool fail_connect(struct pg *pg, struct failure *failure) {
  const char *text = pg->pq.errorMessage(pg->connection);
  char why[PG_MESSAGE];
  pg_find_state(text, pg->state);
  pg_connect_reason(text, why, sizeof why);
  int code = *pg->state == '\0' ? EXIT_UNAVAILABLE : pg_exit_code(pg->state);
  bool refused =
      pg->pq.connectionNeedsPassword(pg->connection) || strstr(text, "certificate") != NULL;
  if (code == EXIT_UNAVAILABLE && refused) code = EXIT_NOT_PERMITTED;
  return fail(failure, code, "%s: cannot connect: %s", pg->name, why);
}

/* Goes through the steps of connecting until it stands. */
static bool finish_connect(struct pg *pg, int seconds, struct failure *failure) {
  struct timespec deadline = net_deadline(seconds);
  PostgresPollingStatusType step = PGRES_POLLING_WRITING;
  while (step != PGRES_POLLING_OK) {
    if (step == PGRES_POLLING_FAILED) return fail_connect(pg, failure);
    short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!pg_wait(pg, events, &deadline, failure)) {
      if (failure->code != EXIT_UNAVAILABLE) return false;
      return fail(failure, EXIT_UNAVAILABLE, "%s: cannot connect: no answer within %d s", pg->name,
                  seconds);
    }
    step = pg->pq.connectPoll(pg->connection);
    name_connection(pg);
  }
  return true;
}

/* Keeps what the server remarks; libpq would print it. Between two commands it is a remark, too,
 * that the server ends the connection. */
static void keep_notice(void *context, const PGresult *result) {
  struct pg *pg = context;
  const char *severity = pg->pq.resultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *text = pg->pq.resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *state = pg->pq.resultErrorField(result, PG_DIAG_SQLSTATE);
  if (text != NULL && state != NULL && severity != NULL && strcmp(severity, "FATAL") == 0) {
    snprintf(pg->farewell, sizeof pg->farewell, "%s: %s", state, text);
    snprintf(pg->farewell_state, sizeof pg->farewell_state, "%s", state);
  }
  if (text == NULL || pg->notice_count == PG_NOTICES) return;
  size_t size = strlen(text) + 32;
  char *notice = malloc(size);
  if (notice == NULL) return;
  snprintf(notice, size, "%s: %s", severity == NULL ? "NOTICE" : severity, text);
  pg->notices[pg->notice_count++] = notice;
}

char *pg_take_notice(struct pg *pg) {
  if (pg->notice_count == 0) return NULL;
  char *first = pg->notices[0];
  pg->notice_count--;
  memmove(pg->notices, pg->notices + 1, (size_t)pg->notice_count * sizeof *pg->notices);
  return first;
}

/* Sets what every session has. A pair of values by set_config, for SET takes no parameters. Where
 * row security would hide rows, statements fail instead: sums over what can be seen would be wrong.
 */
static bool configure(struct pg *pg, const struct pg_options *options, struct failure *failure) {
  static const char SQL[] =
      "SELECT set_config('datestyle', 'ISO', false), set_config('timezone', 'UTC', false), "
      "set_config('bytea_output', 'hex', false), "
      "set_config('standard_conforming_strings', 'on', false), "
      "set_config('extra_float_digits', '1', false), "
      "set_config('row_security', 'off', false), "
      "set_config('statement_timeout', CASE $1 WHEN '0' THEN current_setting('statement_timeout') "
      "ELSE $1 END, false), "
      "set_config('lock_timeout', CASE $2 WHEN '0' THEN current_setting('lock_timeout') "
      "ELSE $2 END, false), "
      "set_config('default_transaction_read_only', CASE $3 WHEN 'on' THEN 'on' ELSE "
      "current_setting('default_transaction_read_only') END, false)";
  char statement[16], lock[16];
  snprintf(statement, sizeof statement, "%d", options->statement_ms);
  snprintf(lock, sizeof lock, "%d", options->lock_ms);
  const char *const values[] = {statement, lock, options->readonly ? "on" : "off"};
  if (!pg_ready(pg, failure)) return false;
  PGresult *result =
      pg_outcome(pg, pg->pq.sendQueryParams(pg->connection, SQL, 3, NULL, values, NULL, NULL, 0),
                 "setting up the session", failure);
  pg->pq.clear(result);
  return result != NULL;
}

/* Connects and sets the session up. */
static bool reach(struct pg *pg, const struct pg_options *options, struct failure *failure) {
  int seconds = CONNECT_SECONDS;
  if (!libpq_load(&pg->pq, failure) || !read_address(pg, options, &seconds, failure)) return false;
  pg->connection = start_connect(pg, options->url);
  if (pg->connection == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  name_connection(pg);
  pg->pq.setErrorVerbosity(pg->connection, PQERRORS_VERBOSE); /* with the SQLSTATE */
  pg->pq.setNoticeReceiver(pg->connection, keep_notice, pg);
  if (pg->pq.status(pg->connection) == CONNECTION_BAD) return fail_connect(pg, failure);
  if (!finish_connect(pg, seconds, failure)) return false;
  pg->pq.setnonblocking(pg->connection, 1);
  return configure(pg, options, failure);
}

struct pg *pg_open(const struct pg_options *options, struct failure *failure) {
  struct pg *pg = calloc(1, sizeof *pg);
  if (pg == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  pg->holders = 1;
  strcpy(pg->name, "postgresql");
  if (reach(pg, options, failure)) return pg;
  pg_close(pg);
  return NULL;
}

void pg_close(struct pg *pg) {
  if (pg == NULL) return;
  if (pg->connection != NULL) pg->pq.finish(pg->connection);
  pg->connection = NULL;
  pg->active = NULL;
  pg_release(pg);
}

/* ---- what isn't a statement ---- */

const char *pg_state(const struct pg *pg) { return pg->state; }

bool pg_in_transaction(const struct pg *pg) {
  PGTransactionStatusType status = pg->pq.transactionStatus(pg->connection);
  return status == PQTRANS_ACTIVE || status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

/* Sees whether the server has hung up already: then nothing was committed, for certain. */
static bool still_there(struct pg *pg, struct failure *failure) {
  struct pollfd poller = {pg->pq.socket(pg->connection), POLLIN, 0};
  while (poll(&poller, 1, 0) > 0) {
    if (pg->pq.consumeInput(pg->connection)) continue;
    return fail(failure, EXIT_UNAVAILABLE,
                "%s: the connection was lost before COMMIT: nothing was committed", pg->name);
  }
  return true;
}

/* COMMIT in a transaction that has failed rolls back, and the server calls that a success. */
static bool check_committed(struct pg *pg, const PGresult *result, struct failure *failure) {
  if (strcmp(pg->pq.cmdStatus((PGresult *)result), "ROLLBACK") != 0) return true;
  strcpy(pg->state, pg->spoiled_state);
  int code = pg->spoiled.code == 0 ? EXIT_INTERNAL : pg->spoiled.code;
  return fail(failure, code, "nothing was committed, for a statement had failed before: %s",
              pg->spoiled.text);
}

bool pg_outcome_unknown(const struct pg *pg) { return pg->unknown; }

bool pg_commit(struct pg *pg, struct failure *failure) {
  static const char SQL[] = "COMMIT";
  pg->unknown = false;
  if (!pg_ready(pg, failure) || !still_there(pg, failure)) return false;
  pg->committing = true;
  PGresult *result = pg_outcome(pg, pg->pq.sendQuery(pg->connection, SQL), SQL, failure);
  pg->committing = false;
  bool done = result != NULL && check_committed(pg, result, failure);
  bool lost = pg->pq.status(pg->connection) == CONNECTION_BAD || failure->code > 128;
  pg->unknown = result == NULL && lost;
  pg->pq.clear(result);
  pg->spoiled.code = 0;
  return done;
}
