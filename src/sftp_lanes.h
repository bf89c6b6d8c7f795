/* Lanes: one file open over one SFTP session, and over more of them side by side where a long link
 * makes that worth it. On such a link a session carries what its windows hold for each round trip,
 * however fast the line is; several carry several times as much.
 * The first lane is the caller's session: it is made again when it drops. The others come and go:
 * each is opened by a thread of its own, is no loss when it fails, and ends with the transfer. What
 * was under way on a lane that is gone is for the caller to ask for again. */
#ifndef TALLYMAN_SFTP_LANES_H
#define TALLYMAN_SFTP_LANES_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "sftp_wire.h"

struct lane {
  struct sftp *sftp; /* NULL: none */
  struct sftp_handle handle;
  unsigned generation; /* of the handle */
  uint32_t under_way;  /* bytes that aren't answered */
  uint32_t may_be;     /* that many of them at most, for now */
  /* while a thread opens it */
  struct lanes *lanes;
  bool opening;
  pthread_t thread;
  atomic_bool opened, cancelled;
  struct sockaddr_storage address;
  struct sftp_attributes attributes;
  struct failure failure;
};

struct lanes {
  struct lane all[SSH_WAIT_MOST];
  size_t count;        /* of lanes that may be */
  int openings;        /* that may still be tried */
  char *path, *name;   /* of the file; the latter for messages */
  char doing[300];     /* "going on with reading NAME": for notices */
  uint32_t flags;      /* to open it again */
  bool stays_the_same; /* size and time may not change */
  struct sftp_attributes attributes;
  int tries; /* to connect again, in a row; the owner sets it to 0 when it gets ahead */
  struct timespec deadline; /* of the whole transfer */
};

/* What is not opened yet; `doing` is "reading" or "writing". False when memory is short;
 * lanes_close takes that, too. */
bool lanes_init(struct lanes *lanes, struct sftp *sftp, const char *path, const char *name,
                const char *doing, struct failure *failure);

/* The handle of the first lane is good from now on. */
void lanes_opened(struct lanes *lanes);

/* Whether the file is the one that was opened first. */
bool lanes_check_same(const struct lanes *lanes, const struct sftp_attributes *now,
                      struct failure *failure);

/* Makes the first lane good, connecting again as often as it takes, and takes in those that were
 * opened meanwhile. */
bool lanes_ready(struct lanes *lanes, struct failure *failure);

/* Opens more lanes if so many bytes that are left are worth it. */
void lanes_grow(struct lanes *lanes, uint64_t left);

/* The lane that takes a request for so many bytes; NULL when there is enough under way. */
struct lane *lanes_pick(struct lanes *lanes, uint32_t size);

/* Counts bytes that were asked for on a lane, and those that are answered. */
void lane_asked(struct lane *lane, uint32_t size);
void lane_answered(struct lane *lane, uint32_t size);

/* Sends and receives on all lanes; waits for something when `wait`. Failing with EXIT_UNAVAILABLE
 * means that the first lane is gone. */
bool lanes_pump(struct lanes *lanes, bool wait, struct failure *failure);

/* Closes all lanes but the first, on which nothing may be under way any more. Fails when the server
 * says that it couldn't keep what was written there. */
bool lanes_join(struct lanes *lanes, struct failure *failure);

/* Waits for what is under way on the first lane, ends all and lets go of everything. The handle
 * there is closed, unless its size is 0. */
void lanes_close(struct lanes *lanes);

#endif
