/* TCP connections and deadlines. */
#ifndef TALLYMAN_NET_H
#define TALLYMAN_NET_H

#include <sys/socket.h>
#include <time.h>

#include "failure.h"

/* A deadline so many seconds from now, and the milliseconds until it: 0 when it has passed. */
struct timespec net_deadline(int seconds);
int net_milliseconds_left(const struct timespec *deadline);

/* Seconds on a clock that nobody sets. */
double net_seconds(void);

/* Connects to one of the host's addresses, IPv6 or IPv4: a socket that never blocks, or -1. */
int net_connect(const char *host, int port, const struct timespec *deadline,
                struct failure *failure);

/* Starts to connect to an address and doesn't wait: what is done with the socket first will. */
int net_start(const struct sockaddr_storage *address, struct failure *failure);

#endif
