/* Failures are values: the engine never prints and never ends the process.
 * A failure's text ends on a terminal or in a log, so nothing in it may move the cursor:
 * control characters that came in with a file name or a header are replaced. */
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Replaces control characters, which could otherwise forge lines in a log. */
static void make_visible(char *text) {
  for (; *text != '\0'; text++) {
    if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
  }
}

/* Formats into failure->text and sets the code. */
static void set(struct failure *failure, int code, const char *format, va_list arguments) {
  failure->code = code;
  vsnprintf(failure->text, sizeof failure->text, format, arguments);
  make_visible(failure->text);
}

bool fail(struct failure *failure, int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  set(failure, code, format, arguments);
  va_end(arguments);
  return false;
}

bool fail_errno(struct failure *failure, int code, const char *format, ...) {
  int number = errno;
  va_list arguments;
  va_start(arguments, format);
  bool forbidden = number == EACCES || number == EPERM;
  set(failure, forbidden ? EXIT_NOT_PERMITTED : code, format, arguments);
  va_end(arguments);
  size_t used = strlen(failure->text);
  snprintf(failure->text + used, sizeof failure->text - used, ": %s", strerror(number));
  return false;
}
