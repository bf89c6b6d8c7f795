/* Runs a command, or a pipeline of them, and tells what it took. A small process of its own does
 * this, since a child's peak memory as the kernel tells it is never below that of its parent.
 *   timed OUT LOG COMMAND [ARGUMENT...] [ "|" COMMAND [ARGUMENT...] ]...
 * OUT takes the standard output of the last command, LOG the standard errors of all. Prints
 *   WALL USER+SYSTEM PEAK
 * the times in nanoseconds, from before the first start until the last end, and the peak memory of
 * the last command in KiB. Ends with 1 when a command ended with anything but 0. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_COMMANDS = 8, MODE = 0644 };

/* What a pipeline has taken so far. */
struct spending {
  long long nanoseconds;
  long peak;
  int failed;
};

/* Says what could not be done, and leaves. */
static void die(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

/* Opens a file afresh for a command to write to. */
static int create(const char *path) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
  if (file < 0) die(path);
  return file;
}

/* The monotonic clock. */
static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A time of the kernel's accounts. */
static long long nanoseconds(struct timeval time) {
  return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL;
}

/* Starts one command between two files; the files of this process close by themselves in it. */
static pid_t start(char **command, int in, int out, int log) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, log, STDERR_FILENO);
  pid_t pid;
  errno = posix_spawnp(&pid, command[0], &files, NULL, command, environ);
  if (errno != 0) die(command[0]);
  posix_spawn_file_actions_destroy(&files);
  return pid;
}

/* Cuts the arguments at each "|" into commands; their number. */
static int cut(char **arguments, char ***commands) {
  int count = 1;
  commands[0] = arguments;
  for (char **argument = arguments; *argument != NULL; argument++) {
    if (strcmp(*argument, "|") != 0) continue;
    if (count == MOST_COMMANDS) die("too many commands");
    *argument = NULL;
    commands[count++] = argument + 1;
  }
  return count;
}

/* Starts the commands, each reading what the one before writes; the last one's number. */
static pid_t start_all(char ***commands, int count, int out, int log) {
  int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (int n = 0; n < count - 1; n++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) die("pipe");
    start(commands[n], in, ends[1], log);
    close(ends[1]);
    close(in);
    in = ends[0];
  }
  pid_t last = start(commands[count - 1], in, out, log);
  close(in);
  return last;
}

/* Waits for all commands. */
static struct spending await_all(int count, pid_t last) {
  struct spending spent = {0};
  for (int n = 0; n < count; n++) {
    struct rusage usage;
    int status;
    pid_t pid = wait4(-1, &status, 0, &usage);
    if (pid < 0) die("wait4");
    spent.nanoseconds += nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
    if (pid == last) spent.peak = usage.ru_maxrss;
    if (status != 0) spent.failed = 1;
  }
  return spent;
}

/* Runs what the arguments name and prints one line. */
int main(int count, char **arguments) {
  char **commands[MOST_COMMANDS];
  if (count < 4) {
    fputs("usage: timed OUT LOG COMMAND [ARGUMENT...] [ \"|\" COMMAND [ARGUMENT...] ]...\n",
          stderr);
    return EXIT_FAILURE;
  }
  int out = create(arguments[1]), log = create(arguments[2]);
  dup2(log, STDERR_FILENO);  // what is said from here on stands there, too
  int stages = cut(arguments + 3, commands);
  long long began = now();
  pid_t last = start_all(commands, stages, out, log);
  struct spending spent = await_all(stages, last);
  printf("%lld %lld %ld\n", now() - began, spent.nanoseconds, spent.peak);
  return spent.failed;
}
