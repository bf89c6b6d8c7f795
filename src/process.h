/* Starting other programs, and waiting for whatever comes first: an instant, the end of a process,
 * a changed file, a signal to load anew. */
#ifndef TALLYMAN_PROCESS_H
#define TALLYMAN_PROCESS_H

#include <sys/types.h>

#include "failure.h"

struct process_options {
  char *const *arguments;   /* NULL-ended; the first is the program, looked up in PATH */
  char *const *environment; /* NULL-ended, "NAME=VALUE" to set, "NAME" to unset; or NULL */
  long long memory;         /* bytes of private memory that it may have; 0: any number */
  int output;               /* file descriptor for its standard output and error; -1: ours */
  int input;                /* file descriptor for its standard input; -1: /dev/null */
};

/* Starts a program in a process group of its own. Nothing else that is open here is open there, and
 * no signal can interrupt us between fork and exec. Gives its pid; -1 with *failure when it can't
 * be started. */
pid_t process_start(const struct process_options *options, struct failure *failure);

/* Something that is waited on. */
struct watch;

enum watch_event {
  WATCH_FAILED = -1, /* *failure says why; a stop signal is such a failure, too */
  WATCH_TIME,        /* the instant has come */
  WATCH_CLOCK,       /* somebody set the clock: instants must be looked at anew */
  WATCH_PROCESS,     /* a process has ended */
  WATCH_FILES,       /* something in a watched folder has changed */
  WATCH_HANGUP       /* SIGHUP came */
};

struct watch_ended {
  pid_t pid;
  bool known; /* whether it was our child, so that its end is known */
  int status; /* exit code, or 128 + signal */
};

/* From now on SIGHUP is an event, and doesn't end this process. */
struct watch *watch_open(struct failure *failure);

/* Asks the programs that were started by watch_start, and run still, to end (SIGTERM, to their
 * whole group), and waits until they have; those that haven't within ten seconds are killed. Gives
 * how many. */
size_t watch_close(struct watch *watch);

/* Starts a program and watches it; -1 with *failure when it can't be. */
pid_t watch_start(struct watch *watch, const struct process_options *options,
                  struct failure *failure);

/* Watches a process until it ends, which need not be a child of ours. One that is gone already is
 * told of at once by watch_wait. */
bool watch_process(struct watch *watch, pid_t pid, struct failure *failure);

/* Watches the files of a folder: written, renamed, made, removed. */
bool watch_folder(struct watch *watch, const char *path, struct failure *failure);

/* Waits for the next event, until the host's clock shows an instant (HUGE_VAL: for ever). Processes
 * are told of one by one; changes of files all at once. */
enum watch_event watch_wait(struct watch *watch, double until, struct watch_ended *ended,
                            struct failure *failure);

#endif
