/* Time for the whole program. Zones are the C library's, which knows the system's zone files;
 * it keeps one zone at a time, so the zone asked for last stays set until another is asked for.
 * Sleeps are short polls' worth of clock_nanosleep that a stop signal ends. */
#define _GNU_SOURCE
#include "clock.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "stream.h"

static double shift;        /* TALLYMAN_NOW less the system's time at the start */
static bool is_set;         /* by TALLYMAN_NOW */
static char current[256];   /* the zone that tzset was told last; "" = the system's */
static char *system_zone;   /* TZ as the program found it */
static bool zone_was_asked; /* current and system_zone are valid */

double clock_system_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool clock_start(struct failure *failure) {
  const char *text = getenv("TALLYMAN_NOW");
  if (text == NULL || *text == '\0') return true;
  struct tm parts = {0};
  double fraction = 0;
  char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest != NULL && *rest == '.') fraction = strtod(rest, &rest);
  struct tm given = parts;
  time_t seconds = timegm(&parts); /* turns a 31st of February into another day */
  if (rest == NULL || strcmp(rest, "Z") != 0 || given.tm_mday != parts.tm_mday) {
    return fail(failure, EXIT_CONFIGURATION,
                "TALLYMAN_NOW is '%s'; write it as 2026-11-24T02:00:00Z", text);
  }
  shift = (double)seconds + fraction - clock_system_now();
  is_set = true;
  return true;
}

double clock_now(void) { return clock_system_now() + shift; }

bool clock_is_set(void) { return is_set; }

/* Whether the system has the zone's file, where the C library looks for it; that itself takes an
 * unknown zone for UTC. */
static bool zone_exists(const char *zone) {
  char path[PATH_MAX];
  struct stat status;
  const char *folder = getenv("TZDIR");
  if (folder == NULL || *folder == '\0') folder = "/usr/share/zoneinfo";
  if (strcmp(zone, "UTC") == 0) return true;
  if (*zone == '\0' || *zone == '/' || strstr(zone, "..") != NULL) return false;
  if (snprintf(path, sizeof path, "%s/%s", folder, zone) >= (int)sizeof path) return false;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* Tells the C library the zone, unless it is set already. */
static bool use_zone(const char *zone, struct failure *failure) {
  if (!zone_was_asked) {
    const char *found = getenv("TZ");
    system_zone = found == NULL ? NULL : strdup(found);
    tzset();
    zone_was_asked = true;
  }
  if (zone == NULL) zone = "";
  if (strcmp(zone, current) == 0) return true;
  if (*zone != '\0' && (!zone_exists(zone) || strlen(zone) >= sizeof current)) {
    return fail(failure, EXIT_CONFIGURATION,
                "time zone '%s' is unknown; name one like America/New_York (needs tzdata)", zone);
  }
  if (*zone != '\0') {
    setenv("TZ", zone, 1);
  } else if (system_zone != NULL) {
    setenv("TZ", system_zone, 1);
  } else {
    unsetenv("TZ");
  }
  tzset();
  strcpy(current, zone);
  return true;
}

bool clock_offset(double time, const char *zone, long *offset, struct failure *failure) {
  if (!use_zone(zone, failure)) return false;
  time_t seconds = (time_t)floor(time);
  struct tm parts;
  if (localtime_r(&seconds, &parts) == NULL) {
    return fail(failure, EXIT_INTERNAL, "time %.0f is out of range", time);
  }
  *offset = parts.tm_gmtoff;
  return true;
}

bool clock_sleep(double seconds, struct failure *failure) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  double end = (double)until.tv_sec + (double)until.tv_nsec / 1e9 + seconds;
  until.tv_sec = (time_t)floor(end);
  until.tv_nsec = (long)((end - floor(end)) * 1e9);
  do {
    if (!check_stop(failure)) return false;
  } while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR);
  return check_stop(failure);
}
