/* One epoll holds all: a timer on the wall clock, which also tells when somebody sets that clock;
 * pidfds, which know of processes that aren't our children; inotify; and SIGHUP as a file. While
 * nothing of that happens this process sleeps without a single wake-up. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "net.h"
#include "process.h"
#include "stream.h"
#include "thread.h"

enum {
  MOST_PROCESSES = 256,
  GRACE = 10 /* seconds that programs have to end after they were asked to */
};

struct watched {
  pid_t pid;
  int handle; /* pidfd; -1: it was gone when it was to be watched */
  bool ours;  /* started by watch_start */
};

struct watch {
  int all, timer, files, hangup; /* file descriptors; -1: not open */
  size_t count;
  struct watched processes[MOST_PROCESSES];
};

/* ---- what is watched ---- */

/* Adds a file to what wakes us. */
static bool add(struct watch *watch, int handle, struct failure *failure) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = handle};
  if (handle >= 0 && epoll_ctl(watch->all, EPOLL_CTL_ADD, handle, &event) == 0) return true;
  return fail_errno(failure, EXIT_INTERNAL, "cannot watch");
}

struct watch *watch_open(struct failure *failure) {
  struct watch *watch = malloc(sizeof *watch);
  if (watch == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &hangup, NULL);
  watch->count = 0;
  watch->all = epoll_create1(EPOLL_CLOEXEC);
  watch->timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  watch->files = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  watch->hangup = signalfd(-1, &hangup, SFD_CLOEXEC | SFD_NONBLOCK);
  if (add(watch, watch->timer, failure) && add(watch, watch->files, failure) &&
      add(watch, watch->hangup, failure)) {
    return watch;
  }
  watch_close(watch);
  return NULL;
}

/* Waits for a process to end, until a deadline. */
static bool ends_until(const struct watched *watched, const struct timespec *deadline) {
  struct pollfd end = {.fd = watched->handle, .events = POLLIN};
  int ready;
  do {
    ready = poll(&end, 1, net_milliseconds_left(deadline));
  } while (ready < 0 && errno == EINTR);
  return ready != 0;
}

/* Ends those of our programs that still run; gives how many had to be killed. A second stop signal
 * ends us, too. */
static size_t end_ours(struct watch *watch) {
  size_t killed = 0;
  for (size_t i = 0; i < watch->count; i++) {
    if (watch->processes[i].ours) kill(-watch->processes[i].pid, SIGTERM);
  }
  struct timespec deadline = net_deadline(GRACE);
  for (size_t i = 0; i < watch->count; i++) {
    const struct watched *watched = &watch->processes[i];
    if (!watched->ours) continue;
    if (watched->handle >= 0 && !ends_until(watched, &deadline)) {
      kill(-watched->pid, SIGKILL);
      killed++;
    }
    while (waitpid(watched->pid, NULL, 0) < 0 && errno == EINTR) {
    }
  }
  return killed;
}

size_t watch_close(struct watch *watch) {
  size_t killed = end_ours(watch);
  for (size_t i = 0; i < watch->count; i++) {
    if (watch->processes[i].handle >= 0) close(watch->processes[i].handle);
  }
  const int handles[] = {watch->all, watch->timer, watch->files, watch->hangup};
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
    if (handles[i] >= 0) close(handles[i]);
  }
  free(watch);
  return killed;
}

/* Whether there is room for one more process. */
static bool has_room(const struct watch *watch, struct failure *failure) {
  return watch->count < MOST_PROCESSES ||
         fail(failure, EXIT_INTERNAL, "more than %d processes at once", MOST_PROCESSES);
}

bool watch_process(struct watch *watch, pid_t pid, struct failure *failure) {
  if (!has_room(watch, failure)) return false;
  struct watched *watched = &watch->processes[watch->count];
  *watched = (struct watched){pid, pidfd_open(pid, 0), false}; /* pidfds are never inherited */
  if (watched->handle < 0 && errno != ESRCH) {
    return fail_errno(failure, EXIT_INTERNAL, "cannot watch process %d", (int)pid);
  }
  if (watched->handle >= 0 && !add(watch, watched->handle, failure)) {
    close(watched->handle);
    return false;
  }
  watch->count++;
  return true;
}

pid_t watch_start(struct watch *watch, const struct process_options *options,
                  struct failure *failure) {
  if (!has_room(watch, failure)) return -1;
  pid_t pid = process_start(options, failure);
  if (pid < 0) return -1;
  if (watch_process(watch, pid, failure)) {
    watch->processes[watch->count - 1].ours = true;
    return pid;
  }
  kill(-pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return -1;
}

bool watch_folder(struct watch *watch, const char *path, struct failure *failure) {
  const uint32_t changes = IN_CLOSE_WRITE | IN_MOVE | IN_CREATE | IN_DELETE | IN_ONLYDIR;
  if (inotify_add_watch(watch->files, path, changes) >= 0) return true;
  return fail_errno(failure, EXIT_INTERNAL, "cannot watch the folder %s", path);
}

/* ---- waiting ---- */

/* Sets the timer to an instant of the host's clock, which may be ahead of the system's. Fails with
 * ECANCELED where the system's was set since the last time. */
static bool set_timer(struct watch *watch, double until, struct failure *failure) {
  struct itimerspec when = {0};
  double at = until - clock_now() + clock_system_now();
  if (until < HUGE_VAL) {
    if (at < 1e-9) at = 1e-9; /* zero would mean never */
    when.it_value.tv_sec = (time_t)floor(at);
    when.it_value.tv_nsec = (long)((at - floor(at)) * 1e9);
  } else {
    when.it_value.tv_sec = (time_t)1 << 40; /* tells of a clock that is set all the same */
  }
  const int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
  if (timerfd_settime(watch->timer, flags, &when, NULL) == 0) return true;
  if (errno == ECANCELED) return false;
  return fail_errno(failure, EXIT_INTERNAL, "cannot set a timer");
}

/* Forgets a process, and reaps it when it is a child. */
static enum watch_event end_of(struct watch *watch, size_t i, struct watch_ended *ended) {
  int status;
  ended->pid = watch->processes[i].pid;
  pid_t reaped = waitpid(ended->pid, &status, WNOHANG);
  ended->known = reaped == ended->pid;
  if (ended->known) {
    ended->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  if (watch->processes[i].handle >= 0) close(watch->processes[i].handle);
  watch->processes[i] = watch->processes[--watch->count];
  return WATCH_PROCESS;
}

/* Takes all that a file has to say; whether the clock was set, where it is the timer. */
static bool drain(int handle) {
  char bytes[4096] __attribute__((aligned(8)));
  ssize_t size;
  do {
    size = read(handle, bytes, sizeof bytes);
  } while (size > 0);
  return size < 0 && errno == ECANCELED;
}

/* What a file that woke us means. */
static enum watch_event meaning(struct watch *watch, int handle, struct watch_ended *ended) {
  if (handle == watch->timer) return drain(handle) ? WATCH_CLOCK : WATCH_TIME;
  if (handle == watch->files || handle == watch->hangup) {
    drain(handle);
    return handle == watch->files ? WATCH_FILES : WATCH_HANGUP;
  }
  size_t i = 0;
  while (watch->processes[i].handle != handle) i++;
  return end_of(watch, i, ended);
}

/* Waits for one file to wake us. */
static int wait_once(struct watch *watch, struct epoll_event *event, struct failure *failure) {
  sigset_t before;
  thread_hold_stops(&before);
  int ready = -1;
  if (check_stop(failure)) ready = epoll_pwait(watch->all, event, 1, -1, &before);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ready;
}

enum watch_event watch_wait(struct watch *watch, double until, struct watch_ended *ended,
                            struct failure *failure) {
  for (size_t i = 0; i < watch->count; i++) {
    if (watch->processes[i].handle < 0) return end_of(watch, i, ended); /* was gone already */
  }
  if (!set_timer(watch, until, failure)) return failure->code == 0 ? WATCH_CLOCK : WATCH_FAILED;
  for (;;) {
    struct epoll_event event;
    int ready = wait_once(watch, &event, failure);
    if (ready == 1) return meaning(watch, event.data.fd, ended);
    if (failure->code != 0) return WATCH_FAILED;
    if (errno != EINTR) {
      fail_errno(failure, EXIT_INTERNAL, "cannot wait");
      return WATCH_FAILED;
    }
  }
}
