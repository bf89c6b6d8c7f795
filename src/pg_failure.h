/* What PostgreSQL says, as failures: words that hold no values, and an exit code. */
#ifndef TALLYMAN_PG_FAILURE_H
#define TALLYMAN_PG_FAILURE_H

#include <stddef.h>

#include "failure.h"

enum { PG_STATE = 5, PG_MESSAGE = 400 };

/* The exit code for an SQLSTATE; EXIT_INTERNAL for those that nobody expects. */
int pg_exit_code(const char *state);

/* Cuts the values out of the server's main message, in place. Only messages about data (SQLSTATE
 * 22...) hold any. */
void pg_hide_values(const char *state, char *message, size_t size);

/* The number of the line that COPY was at; 0 where the server's context doesn't say. */
int pg_copy_line(const char *context);

/* The first words of an SQL text, on one line and without anything that stands in quotes. */
void pg_first_words(const char *sql, char *into, size_t size);

/* The SQLSTATE that stands in libpq's verbose text about a connection; "" where there is none. */
void pg_find_state(const char *text, char state[PG_STATE + 1]);

/* The lines of that text that say why, on one line. */
void pg_connect_reason(const char *text, char *into, size_t size);

#endif
