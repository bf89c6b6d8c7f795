/* A host may have several addresses, of which some lead nowhere: they are tried one after the
 * other, each for its share of the time. A signal ends the wait. */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"
#include "thread.h"

/* The time so many milliseconds from now. */
static struct timespec after(long long milliseconds) {
  struct timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  long long nanoseconds = deadline.tv_nsec + milliseconds % 1000 * 1000000;
  deadline.tv_sec += (time_t)(milliseconds / 1000 + nanoseconds / 1000000000);
  deadline.tv_nsec = (long)(nanoseconds % 1000000000);
  return deadline;
}

struct timespec net_deadline(int seconds) {
  return after(seconds * 1000LL);
}

int net_milliseconds_left(const struct timespec *deadline) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long left = (long long)(deadline->tv_sec - now.tv_sec) * 1000 +
                   (deadline->tv_nsec - now.tv_nsec) / 1000000;
  return left < 0 ? 0 : (int)left;
}

double net_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + now.tv_nsec / 1e9;
}

/* Starts to connect to one address; the socket, or -1 with errno. */
static int start_connect(const struct addrinfo *address) {
  int type = address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, one = 1;
  int opened = socket(address->ai_family, type, address->ai_protocol);
  if (opened < 0) return -1;
  setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(opened, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  if (connect(opened, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS) {
    return opened;
  }
  int reason = errno;
  close(opened);
  errno = reason;
  return -1;
}

/* Waits until the connection stands: 0, or errno's value why it doesn't. */
static int finish_connect(int opened, const struct timespec *deadline) {
  int reason = 0;
  socklen_t size = sizeof reason;
  struct pollfd poller = {.fd = opened, .events = POLLOUT};
  int ready = poll(&poller, 1, net_milliseconds_left(deadline));
  if (ready < 0) return errno;
  if (ready == 0) return ETIMEDOUT;
  return getsockopt(opened, SOL_SOCKET, SO_ERROR, &reason, &size) == 0 ? reason : errno;
}

/* Connects to one address: the socket, or -1 with errno. */
static int connect_to(const struct addrinfo *address, const struct timespec *deadline) {
  int opened = start_connect(address);
  if (opened < 0) return -1;
  int reason = finish_connect(opened, deadline);
  if (reason == 0) return opened;
  close(opened);
  errno = reason;
  return -1;
}

int net_start(const struct sockaddr_storage *address, struct failure *failure) {
  struct addrinfo info = {.ai_family = address->ss_family,
                          .ai_socktype = SOCK_STREAM,
                          .ai_addr = (struct sockaddr *)(uintptr_t)address,
                          .ai_addrlen = sizeof *address};
  int opened = start_connect(&info);
  if (opened < 0) fail_errno(failure, EXIT_UNAVAILABLE, "cannot connect once more");
  return opened;
}

/* ---- names ---- */

/* A name being looked up by a thread, which writes into it whenever it is done: one given up is
 * never freed. */
struct lookup {
  pthread_t thread;
  struct addrinfo *addresses;
  int wrong; /* getaddrinfo's number for why there are none */
  char host[256], service[12];
};

static void *ask_resolver(void *context) {
  struct lookup *lookup = context;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  lookup->wrong = getaddrinfo(lookup->host, lookup->service, &hints, &lookup->addresses);
  return NULL;
}

/* Waits for the thread, looking for signals now and then; false when it was given up. */
static bool await_lookup(struct lookup *lookup, const struct timespec *deadline) {
  enum { LOOK = 100 }; /* milliseconds */
  struct failure stop;
  int left;
  while ((left = net_milliseconds_left(deadline)) > 0 && check_stop(&stop)) {
    struct timespec until = after(left < LOOK ? left : LOOK);
    if (pthread_clockjoin_np(lookup->thread, NULL, CLOCK_MONOTONIC, &until) == 0) return true;
  }
  pthread_detach(lookup->thread);
  return false;
}

/* The host's addresses, to be freed by freeaddrinfo; NULL on failure. The resolver has no limit of
 * its own that could be relied on. */
static struct addrinfo *look_up(const char *host, int port, const struct timespec *deadline,
                                struct failure *failure) {
  struct lookup *lookup = calloc(1, sizeof *lookup);
  if (lookup == NULL || strlen(host) >= sizeof lookup->host) {
    free(lookup);
    fail(failure, EXIT_UNAVAILABLE, "cannot look up the host %.80s", host);
    return NULL;
  }
  strcpy(lookup->host, host);
  snprintf(lookup->service, sizeof lookup->service, "%d", port);
  if (!thread_start(&lookup->thread, ask_resolver, lookup)) {
    ask_resolver(lookup);
  } else if (!await_lookup(lookup, deadline)) {
    if (check_stop(failure)) {
      fail(failure, EXIT_UNAVAILABLE, "cannot find the host %s: no answer in time", host);
    }
    return NULL;
  }
  struct addrinfo *addresses = lookup->wrong == 0 ? lookup->addresses : NULL;
  if (lookup->wrong != 0) {
    fail(failure, EXIT_UNAVAILABLE, "cannot find the host %s: %s", host,
         gai_strerror(lookup->wrong));
  }
  free(lookup);
  return addresses;
}

int net_connect(const char *host, int port, const struct timespec *deadline,
                struct failure *failure) {
  struct addrinfo *addresses = look_up(host, port, deadline, failure);
  int opened = -1;
  int count = 0;
  for (struct addrinfo *at = addresses; at != NULL; at = at->ai_next) count++;
  for (struct addrinfo *at = addresses; at != NULL && opened < 0; at = at->ai_next) {
    struct timespec share = after(net_milliseconds_left(deadline) / count--);
    opened = connect_to(at, &share);
    if (opened < 0 && !check_stop(failure)) break;
    if (opened < 0) fail_errno(failure, EXIT_UNAVAILABLE, "cannot connect to %s:%d", host, port);
  }
  if (addresses != NULL) freeaddrinfo(addresses);
  return opened;
}
