/* Between fork and exec a process is a copy of ours that must do nothing of ours: all signals are
 * blocked meanwhile, and only calls that are safe there are made. Why exec failed comes back
 * through a pipe that a successful exec closes. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sets, and unsets, what the environment is to differ in. */
static void change_environment(char *const *environment) {
  for (; environment != NULL && *environment != NULL; environment++) {
    if (strchr(*environment, '=') == NULL) {
      unsetenv(*environment);
    } else {
      putenv(*environment);
    }
  }
}

/* Gives the child the files it is to have: nothing, or a file, to read from; the rest closes. */
static bool arrange_files(const struct process_options *options) {
  int input = options->input >= 0 ? options->input : open("/dev/null", O_RDONLY);
  if (input < 0 || dup2(input, STDIN_FILENO) < 0) return false;
  if (options->output >= 0 &&
      (dup2(options->output, STDOUT_FILENO) < 0 || dup2(options->output, STDERR_FILENO) < 0)) {
    return false;
  }
  return close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

/* Limits private memory; a sanitizer's shadow of all memory would be private memory, too. */
static bool limit_memory(long long bytes) {
#ifdef __SANITIZE_ADDRESS__
  bytes = 0;
#endif
  struct rlimit limit = {(rlim_t)bytes, (rlim_t)bytes};
  return bytes <= 0 || setrlimit(RLIMIT_DATA, &limit) == 0;
}

/* Signals as a program expects to find them. */
static void reset_signals(void) {
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What the child does: becomes the program, or tells why it can't. */
static void become(const struct process_options *options, int report) {
  setpgid(0, 0);
  change_environment(options->environment);
  if (limit_memory(options->memory) && arrange_files(options)) {
    reset_signals();
    execvp(options->arguments[0], options->arguments);
  }
  int wrong = errno;
  ssize_t ignored = write(report, &wrong, sizeof wrong);
  (void)ignored;
  _exit(127);
}

/* The errno that the child tells of; 0 when it has become the program. */
static int hear(int report) {
  int wrong = 0;
  ssize_t size;
  do {
    size = read(report, &wrong, sizeof wrong);
  } while (size < 0 && errno == EINTR);
  return size == sizeof wrong ? wrong : 0;
}

/* Forks with all signals blocked, which the child lets in again once it has none of our handlers.
 */
static pid_t fork_quietly(const struct process_options *options, int report) {
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = fork();
  if (pid == 0) become(options, report);
  int wrong = errno;
  sigprocmask(SIG_SETMASK, &before, NULL);
  errno = wrong;
  return pid;
}

pid_t process_start(const struct process_options *options, struct failure *failure) {
  int report[2];
  const char *name = options->arguments[0];
  if (pipe2(report, O_CLOEXEC) != 0) {
    fail_errno(failure, EXIT_INTERNAL, "cannot start '%s'", name);
    return -1;
  }
  pid_t pid = fork_quietly(options, report[1]);
  int wrong = pid < 0 ? errno : 0;
  close(report[1]);
  if (pid > 0) wrong = hear(report[0]);
  close(report[0]);
  if (wrong == 0) return pid;
  if (pid > 0) waitpid(pid, NULL, 0);
  errno = wrong;
  fail_errno(failure, wrong == ENOENT ? EXIT_NO_INPUT : EXIT_INTERNAL, "cannot start '%s'", name);
  return -1;
}
