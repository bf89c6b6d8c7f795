/* A host may have several addresses, of which some lead nowhere: they are tried one after the
 * other, all within one deadline. A signal ends the wait. */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

struct timespec net_deadline(int seconds) {
  struct timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += seconds;
  return deadline;
}

int net_milliseconds_left(const struct timespec *deadline) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long left = (long long)(deadline->tv_sec - now.tv_sec) * 1000 +
                   (deadline->tv_nsec - now.tv_nsec) / 1000000;
  return left < 0 ? 0 : (int)left;
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

int net_connect(const char *host, int port, const struct timespec *deadline,
                struct failure *failure) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *addresses;
  char service[12];
  int opened = -1;
  snprintf(service, sizeof service, "%d", port);
  int wrong = getaddrinfo(host, service, &hints, &addresses);
  if (wrong != 0) {
    fail(failure, EXIT_UNAVAILABLE, "cannot find the host %s: %s", host, gai_strerror(wrong));
    return -1;
  }
  for (struct addrinfo *at = addresses; at != NULL && opened < 0; at = at->ai_next) {
    opened = connect_to(at, deadline);
    if (opened < 0 && !check_stop(failure)) break;
    if (opened < 0) fail_errno(failure, EXIT_UNAVAILABLE, "cannot connect to %s:%d", host, port);
  }
  freeaddrinfo(addresses);
  return opened;
}
