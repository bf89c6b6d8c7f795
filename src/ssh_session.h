/* What an SSH connection consists of, for the files that make it work: ssh.c connects and carries
 * bytes, ssh_login.c logs in. */
#ifndef TALLYMAN_SSH_SESSION_H
#define TALLYMAN_SSH_SESSION_H

#include <libssh2.h>
#include <time.h>

#include "net.h"
#include "ssh.h"

struct ssh {
  struct ssh_options options;
  int socket;
  LIBSSH2_SESSION *session;
  LIBSSH2_CHANNEL *channel;
  struct timespec deadline; /* of what is being done */
  /* Which of both has sent half a packet (reading sends, too: how much more may come). libssh2
   * takes no other packet before the rest of that one is sent, so it is that one's turn alone. */
  enum { NOBODY, READER, WRITER } unfinished;
  /* What the server said when it ended the connection, if it did. */
  int goodbye; /* SSH_DISCONNECT_...; 0: nothing */
  char goodbye_text[120];
};

/* Gives what is done next so many seconds. */
static inline void ssh_set_deadline(struct ssh *ssh, int seconds) {
  ssh->deadline = net_deadline(seconds);
}

/* Fails when the deadline has passed, or nobody wants the connection any more. */
bool ssh_is_in_time(const struct ssh *ssh, const char *doing, struct failure *failure);

/* Waits for what libssh2 waits for, or a little less: the caller tries again. */
bool ssh_wait_session(struct ssh *ssh, const char *doing, struct failure *failure);

/* Fails with libssh2's own words; when the deadline has passed, that says more. */
bool ssh_fail(const struct ssh *ssh, int code, const char *doing, struct failure *failure);

/* Logs in by what the user has and the server takes. EXIT_NOT_PERMITTED: by none of it. */
bool ssh_log_in(struct ssh *ssh, struct failure *failure);

#endif
