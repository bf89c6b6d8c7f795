/* The one place that asks what time it is: TALLYMAN_NOW can set it for rehearsals and tests. */
#ifndef TALLYMAN_CLOCK_H
#define TALLYMAN_CLOCK_H

#include "failure.h"

/* Reads TALLYMAN_NOW (YYYY-MM-DDTHH:MM:SS[.fff]Z, UTC); unset: the system's time. Call once. */
bool clock_start(struct failure *failure);

/* Seconds since 1970-01-01 UTC. */
double clock_now(void);

/* The same by the system's own clock. */
double clock_system_now(void);

/* Whether TALLYMAN_NOW moved the clock. */
bool clock_is_set(void);

/* Seconds east of UTC at `time` in the IANA zone (NULL: the system's); fails on an unknown zone. */
bool clock_offset(double time, const char *zone, long *offset, struct failure *failure);

/* Sleeps; fails with 128 + signal when a signal asks the process to stop. */
bool clock_sleep(double seconds, struct failure *failure);

#endif
