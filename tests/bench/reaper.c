/* Runs a command and waits for all that it starts, too: a client that doesn't wait for its own ssh
 * would hide that one's processor time from the stop watch, and let it run into the next one's.
 *   reaper COMMAND [ARGUMENT...]
 * Ends as the command does. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Says what could not be done, and leaves. */
static void die(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

/* Waits until no process is left; gives how the command ended. */
static int await_all(pid_t command) {
  int ended = 0, status;
  for (;;) {
    pid_t pid = wait(&status);
    if (pid < 0 && errno == ECHILD) return ended;
    if (pid == command) ended = status;
  }
}

/* Becomes the parent of orphans, and starts the command. */
int main(int count, char **arguments) {
  if (count < 2) {
    fputs("usage: reaper COMMAND [ARGUMENT...]\n", stderr);
    return EXIT_FAILURE;
  }
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) die("prctl");
  pid_t pid;
  errno = posix_spawnp(&pid, arguments[1], NULL, NULL, arguments + 1, environ);
  if (errno != 0) die(arguments[1]);
  return await_all(pid) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
