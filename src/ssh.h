/* An SSH connection that is trusted: its host key was found in known_hosts, its user is logged in,
 * and one subsystem runs on it. Nothing here waits without a limit, and a signal ends every wait.
 */
#ifndef TALLYMAN_SSH_H
#define TALLYMAN_SSH_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "failure.h"
#include "hostkeys.h"

struct ssh_options {
  const char *host, *user;
  int port;
  const char *known_hosts; /* a file as ssh(1) has it */
  const char *key;         /* private key file; NULL: none */
  const char *passphrase;  /* of the key; NULL: none */
  const char *password;    /* NULL: none */
  const char *ciphers;     /* in order of preference, with commas; NULL: the fastest first */
  int connect_seconds;     /* for name, connection and key exchange; all are at least 1 */
  int login_seconds;
  int idle_seconds;                       /* without a byte either way while something is awaited */
  const struct sockaddr_storage *address; /* to connect to, instead of looking up the host */
  const atomic_bool *cancelled; /* ends all waits when it becomes true; NULL: nobody will */
};

struct ssh;

/* Connects, checks the host key, logs in and starts the subsystem. On failure: NULL; the codes are
 * EXIT_UNAVAILABLE (no connection), EXIT_NOT_PERMITTED (host key, login). */
struct ssh *ssh_open(const struct ssh_options *options, const char *subsystem,
                     struct failure *failure);

/* What can be read or written right now, without waiting: bytes, 0 for nothing, -1 on failure. */
ssize_t ssh_read(struct ssh *ssh, void *into, size_t size, struct failure *failure);
ssize_t ssh_write(struct ssh *ssh, const void *bytes, size_t size, struct failure *failure);

/* The idle time counts from now: call it before waiting for what was asked for just now. */
void ssh_begin(struct ssh *ssh);

/* Fails after idle_seconds without a sign of life since then. */
bool ssh_in_time(const struct ssh *ssh, struct failure *failure);

/* Waits until one of the connections may go on, or a while. Fails when a signal asks to stop. */
enum { SSH_WAIT_MOST = 8 };
bool ssh_wait_any(struct ssh *const *all, size_t count, struct failure *failure);

/* The address that it is connected to. */
bool ssh_peer(const struct ssh *ssh, struct sockaddr_storage *address);

/* Connects just far enough to learn the host key, and trusts nothing: its line for known_hosts, to
 * be freed, and its fingerprint, as ssh-keygen prints it. NULL (EXIT_NOT_PERMITTED) when
 * known_hosts has another key for the host, or has this one revoked; *known tells whether it has
 * this one. */
char *ssh_host_key(const struct ssh_options *options, char fingerprint[FINGERPRINT + 1],
                   bool *known, struct failure *failure);

void ssh_close(struct ssh *ssh);

#endif
