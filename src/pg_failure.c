/* The server's DETAIL, HINT and CONTEXT are left out of every message, but for COPY's line number:
 * they quote rows and parameters. Its main message names tables, columns and constraints; about
 * data it quotes the value that it didn't like, and that is cut out. */
#include "pg_failure.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer beginnings first: the first that fits counts. */
static const struct {
  const char *begin;
  int code;
} CODES[] = {
    {"08", EXIT_UNAVAILABLE},      /* the connection */
    {"22", EXIT_BAD_DATA},         /* data */
    {"23", EXIT_BAD_DATA},         /* constraints */
    {"25006", EXIT_NOT_PERMITTED}, /* writing in a transaction that only reads */
    {"25P03", EXIT_UNAVAILABLE},   /* ended by the server for being idle in a transaction */
    {"28", EXIT_NOT_PERMITTED},    /* login */
    {"3D", EXIT_CONFIGURATION},    /* no such database */
    {"40", EXIT_TRY_AGAIN},        /* serialization, deadlock */
    {"42501", EXIT_NOT_PERMITTED}, /* rights */
    {"53", EXIT_UNAVAILABLE},      /* memory, disk, too many connections */
    {"55P03", EXIT_TRY_AGAIN},     /* lock timeout */
    {"57014", EXIT_TRY_AGAIN},     /* statement timeout, or cancelled by somebody */
    {"57", EXIT_UNAVAILABLE},      /* shutdown, start-up, crash */
    {"58", EXIT_IO},               /* the server's own system */
};

int pg_exit_code(const char *state) {
  for (size_t i = 0; i < sizeof CODES / sizeof *CODES; i++) {
    if (strncmp(state, CODES[i].begin, strlen(CODES[i].begin)) == 0) return CODES[i].code;
  }
  return EXIT_INTERNAL;
}

void pg_hide_values(const char *state, char *message, size_t size) {
  if (strncmp(state, "22", 2) != 0) return;
  char *first = strchr(message, '"'), *last = strrchr(message, '"');
  if (first != NULL && last > first) {
    char rest[PG_MESSAGE];
    snprintf(rest, sizeof rest, "...%s", last);
    snprintf(first + 1, size - (size_t)(first + 1 - message), "%s", rest);
  }
  /* In another language than English other quotes stand around the value. */
  for (const char *at = message; *at != '\0'; at++) {
    if ((unsigned char)*at >= 0x80) snprintf(message, size, "data exception");
  }
}

int pg_copy_line(const char *context) {
  static const char MARK[] = ", line ";
  const char *at = strncmp(context, "COPY ", 5) == 0 ? strstr(context, MARK) : NULL;
  return at == NULL ? 0 : atoi(at + sizeof MARK - 1);
}

void pg_first_words(const char *sql, char *into, size_t size) {
  size_t used = 0;
  bool blank = false;
  for (; *sql != '\0' && strchr("'\"$;", *sql) == NULL && used + 2 < size; sql++) {
    if (isspace((unsigned char)*sql)) {
      blank = used > 0;
      continue;
    }
    if (blank) into[used++] = ' ';
    blank = false;
    into[used++] = *sql;
  }
  /* A text that is cut ends with a whole word. */
  into[used] = '\0';
  char *space = strrchr(into, ' ');
  if (used + 2 >= size && space != NULL) *space = '\0';
  for (used = strlen(into); used > 0 && strchr(" (:,=", into[used - 1]) != NULL; used--) {
    into[used - 1] = '\0';
  }
}

void pg_find_state(const char *text, char state[PG_STATE + 1]) {
  *state = '\0';
  while ((text = strstr(text, ":  ")) != NULL) {
    text += 3;
    size_t size = strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (size != PG_STATE || text[size] != ':') continue;
    memcpy(state, text, PG_STATE);
    state[PG_STATE] = '\0';
  }
}

/* Appends a line, with what separates it from the one before. */
static void add_line(const char *line, size_t length, char *into, size_t size) {
  size_t used = strlen(into);
  snprintf(into + used, size - used, "%s%.*s", used == 0 ? "" : "; ", (int)length, line);
}

void pg_connect_reason(const char *text, char *into, size_t size) {
  static const char BEGIN[] = "connection to server";
  *into = '\0';
  for (const char *line = text; *line != '\0';) {
    size_t length = strcspn(line, "\n");
    if (strncmp(line, BEGIN, sizeof BEGIN - 1) == 0) add_line(line, length, into, size);
    line += length + (line[length] == '\n');
  }
  if (*into == '\0') add_line(text, strcspn(text, "\n"), into, size);
}
