/* Counting checks: CHECK(condition) notes whether it holds and says where it doesn't, and the test
 * goes on. A test's main ends with `return check_report();`, which prints the line that the runner
 * adds up. */
#ifndef TALLYMAN_CHECK_H
#define TALLYMAN_CHECK_H

#include <stdbool.h>
#include <stdio.h>

static int checks_passed, checks_failed;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

/* Counts one check; returns whether it held, for those that others depend on. */
static inline bool check(bool holds, const char *text, const char *file, int line) {
  if (holds) {
    checks_passed++;
  } else {
    checks_failed++;
    printf("%s:%d: %s\n", file, line, text);
  }
  return holds;
}

/* Prints the counts; returns the exit code. */
static inline int check_report(void) {
  printf("%d passed, %d failed\n", checks_passed, checks_failed);
  return checks_failed == 0 && checks_passed > 0 ? 0 : 1;
}

#endif
