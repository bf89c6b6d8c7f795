/* What went wrong, in words for a person and as a sysexits number for a machine.
 * Engine functions that can fail take a pointer to one, fill it, and return false (or NULL, or -1).
 */
#ifndef TALLYMAN_FAILURE_H
#define TALLYMAN_FAILURE_H

#include <stdbool.h>

enum exit_code {
  EXIT_BAD_DATA = 65,
  EXIT_NO_INPUT = 66,
  EXIT_UNAVAILABLE = 69,
  EXIT_INTERNAL = 70,
  EXIT_CANT_CREATE = 73,
  EXIT_IO = 74,
  EXIT_TRY_AGAIN = 75,
  EXIT_NOT_PERMITTED = 77,
  EXIT_CONFIGURATION = 78
};

struct failure {
  int code;       /* one of exit_code, or 128 + signal when a signal ended a wait */
  char text[800]; /* one line: what, where, what to do */
};

/* Fills *failure with a formatted text (control characters made visible); returns false. */
bool fail(struct failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As fail, with errno's meaning appended; a lack of permission is EXIT_NOT_PERMITTED. */
bool fail_errno(struct failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
