/* What an SFTP session consists of, for the two files that make it work: sftp.c sends and receives,
 * sftp_session.c connects. */
#ifndef TALLYMAN_SFTP_SESSION_H
#define TALLYMAN_SFTP_SESSION_H

#include "sftp_wire.h"

enum {
  LARGEST_PACKET = 256 * 1024 + 1024,
  PENDING = 1024 /* requests under way at most; a power of two */
};

struct sftp {
  struct sftp_options options; /* texts of its own */
  struct ssh *ssh;             /* NULL: the connection is gone */
  unsigned holders;
  unsigned generation;
  struct sftp_features features;
  double round_trip; /* seconds: the shortest wait for an answer on this connection; 0: none yet */
  uint32_t next_id;
  struct sftp_request *pending[PENDING];
  size_t pending_count;
  struct wire out; /* bytes from `at` on aren't sent yet */
  size_t out_capacity, out_begun;
  bool out_failed; /* memory was short for what is being built */
  size_t in_size;  /* bytes of an incoming packet so far, its length included */
  char *notices;
  unsigned char in[4 + LARGEST_PACKET];
};

/* Sends and receives what can be without waiting; *any tells whether that was anything. Fails when
 * nothing was and the server owes an answer for too long. */
bool sftp_exchange(struct sftp *sftp, bool *any, struct failure *failure);

/* Lets go of the connection and of everything that was pending on it. */
void sftp_drop(struct sftp *sftp);

/* A session that isn't connected yet; and connects it, learning what the server can do. */
struct sftp *sftp_new(const struct sftp_options *options, struct failure *failure);
bool sftp_connect(struct sftp *sftp, struct failure *failure);

/* Remembers a line for sftp_notices. */
void sftp_note(struct sftp *sftp, const char *line);

#endif
