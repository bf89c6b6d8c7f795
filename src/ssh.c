/* libssh2 never blocks here: whatever would wait comes back as "again", and then one poll waits for
 * the socket, a signal or the deadline of what is being done. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "ssh_session.h"
#include "stream.h"

/* The receive window bounds what may be under way: at 100 ms round trip it allows 160 MB/s. */
enum {
  WINDOW = 16 * 1024 * 1024,
  PACKET = 32 * 1024,
  KEEP_ALIVE_SECONDS = 15,
  AGENT_MILLISECONDS = 5000, /* that an agent may take for an answer */
  CANCEL_MILLISECONDS = 50   /* within which a connection that isn't wanted any more ends */
};

/* ChaCha20 first: libssh2 gives AES to libcrypto in small pieces, which takes half as long again.
 */
static const char CIPHERS[] =
    "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes128-gcm@openssh.com,"
    "aes256-gcm@openssh.com";

/* ---- waiting ---- */

/* Fails when nobody wants the connection any more. */
static bool is_wanted(const struct ssh *ssh, struct failure *failure) {
  if (!check_stop(failure)) return false;
  if (ssh->options.cancelled == NULL || !atomic_load(ssh->options.cancelled)) return true;
  return fail(failure, EXIT_TRY_AGAIN, "the connection to %s isn't wanted any more",
              ssh->options.host);
}

bool ssh_is_in_time(const struct ssh *ssh, const char *doing, struct failure *failure) {
  if (net_milliseconds_left(&ssh->deadline) > 0) return is_wanted(ssh, failure);
  return fail(failure, EXIT_UNAVAILABLE, "%s:%d: no answer in time while %s", ssh->options.host,
              ssh->options.port, doing);
}

/* What to wait for: events of the socket, and *left milliseconds at most. */
static struct pollfd waiting(struct ssh *ssh, int *left) {
  int directions = libssh2_session_block_directions(ssh->session), until = 0, keep_alive = 0;
  struct pollfd poller = {.fd = ssh->socket};
  if (ssh->unfinished != NOBODY) directions = LIBSSH2_SESSION_BLOCK_OUTBOUND;
  if (directions & LIBSSH2_SESSION_BLOCK_INBOUND) poller.events |= POLLIN;
  if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) poller.events |= POLLOUT;
  if (poller.events == 0) poller.events = POLLIN;
  if (ssh->channel != NULL && ssh->unfinished == NOBODY) {
    libssh2_keepalive_send(ssh->session, &keep_alive);
  }
  until = net_milliseconds_left(&ssh->deadline);
  if (keep_alive > 0 && keep_alive * 1000 < *left) *left = keep_alive * 1000;
  if (until > 0 && until < *left) *left = until;
  if (ssh->options.cancelled != NULL && *left > CANCEL_MILLISECONDS) *left = CANCEL_MILLISECONDS;
  return poller;
}

bool ssh_wait_any(struct ssh *const *all, size_t count, struct failure *failure) {
  struct pollfd pollers[SSH_WAIT_MOST];
  int left = KEEP_ALIVE_SECONDS * 1000;
  for (size_t i = 0; i < count; i++) pollers[i] = waiting(all[i], &left);
  if (!check_stop(failure)) return false;
  if (poll(pollers, count, left) < 0 && errno != EINTR) {
    return fail_errno(failure, EXIT_UNAVAILABLE, "cannot wait for %s", all[0]->options.host);
  }
  return check_stop(failure);
}

bool ssh_wait_session(struct ssh *ssh, const char *doing, struct failure *failure) {
  return ssh_is_in_time(ssh, doing, failure) && ssh_wait_any(&ssh, 1, failure);
}

bool ssh_fail(const struct ssh *ssh, int code, const char *doing, struct failure *failure) {
  char *text = NULL;
  if (code == EXIT_UNAVAILABLE && !ssh_is_in_time(ssh, doing, failure)) return false;
  libssh2_session_last_error(ssh->session, &text, NULL, 0);
  return fail(failure, code, "%s:%d: %s failed: %s", ssh->options.host, ssh->options.port, doing,
              text == NULL || *text == '\0' ? "the connection is gone" : text);
}

/* ---- what libssh2 calls ---- */

/* Receives for libssh2, which reads on and on as long as something comes, and waits for an agent
 * without an end: so both have the deadline here. */
static ssize_t receive(libssh2_socket_t from, void *into, size_t size, int flags, void **abstract) {
  struct ssh *ssh = *abstract;
  struct failure failure;
  while (ssh->channel == NULL) {
    struct pollfd poller = {.fd = from, .events = POLLIN};
    int left = net_milliseconds_left(&ssh->deadline);
    if (from != ssh->socket && left > AGENT_MILLISECONDS) left = AGENT_MILLISECONDS;
    if (left == 0 || !is_wanted(ssh, &failure)) return -ETIMEDOUT;
    if (from == ssh->socket) break;
    int ready = poll(&poller, 1, left);
    if (ready > 0) break;
    if (ready == 0 || errno != EINTR) return -ETIMEDOUT;
  }
  ssize_t got = recv(from, into, size, flags);
  return got < 0 ? -errno : got;
}

/* Notes why the server says goodbye. */
static void note_goodbye(LIBSSH2_SESSION *session, int reason, const char *text, int size,
                         const char *language, int language_size, void **abstract) {
  struct ssh *ssh = *abstract;
  (void)session, (void)language, (void)language_size;
  ssh->goodbye = reason;
  snprintf(ssh->goodbye_text, sizeof ssh->goodbye_text, "%.*s", size, text == NULL ? "" : text);
}

/* ---- connecting ---- */

/* Agrees on algorithms and keys. */
static bool shake_hands(struct ssh *ssh, const char *host_keys, struct failure *failure) {
  LIBSSH2_SESSION *session = ssh->session;
  const char *ciphers = ssh->options.ciphers == NULL ? CIPHERS : ssh->options.ciphers;
  int result;
  if (libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, host_keys) != 0 ||
      libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_CS, ciphers) != 0 ||
      libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_SC, ciphers) != 0) {
    return ssh_fail(ssh, EXIT_CONFIGURATION, "choosing algorithms (sftp.ciphers)", failure);
  }
  while ((result = libssh2_session_handshake(session, ssh->socket)) == LIBSSH2_ERROR_EAGAIN) {
    if (!ssh_wait_session(ssh, "exchanging keys", failure)) return false;
  }
  if (result == 0) return true;
  return ssh_fail(ssh, EXIT_UNAVAILABLE, "exchanging keys", failure);
}

/* Connects and exchanges keys; the host key is not checked yet. */
static bool reach(struct ssh *ssh, const struct hostkeys *keys, struct failure *failure) {
  char order[256];
  hostkeys_order((struct hostkeys *)keys, ssh->options.host, ssh->options.port, order,
                 sizeof order);
  ssh_set_deadline(ssh, ssh->options.connect_seconds);
  ssh->socket = ssh->options.address == NULL
                    ? net_connect(ssh->options.host, ssh->options.port, &ssh->deadline, failure)
                    : net_start(ssh->options.address, failure);
  return ssh->socket >= 0 && shake_hands(ssh, order, failure);
}

/* ---- the subsystem ---- */

static bool start_subsystem(struct ssh *ssh, const char *subsystem, struct failure *failure) {
  int result;
  ssh_set_deadline(ssh, ssh->options.login_seconds);
  libssh2_keepalive_config(ssh->session, 1, KEEP_ALIVE_SECONDS);
  LIBSSH2_CHANNEL *channel;
  while ((channel = libssh2_channel_open_ex(ssh->session, "session", 7, WINDOW, PACKET, NULL, 0)) ==
         NULL) {
    if (libssh2_session_last_errno(ssh->session) != LIBSSH2_ERROR_EAGAIN) {
      return ssh_fail(ssh, EXIT_UNAVAILABLE, "opening a channel for SFTP", failure);
    }
    if (!ssh_wait_session(ssh, "opening a channel for SFTP", failure)) return false;
  }
  ssh->channel = channel;
  while ((result = libssh2_channel_subsystem(channel, subsystem)) == LIBSSH2_ERROR_EAGAIN) {
    if (!ssh_wait_session(ssh, "starting SFTP", failure)) return false;
  }
  return result == 0 || ssh_fail(ssh, EXIT_UNAVAILABLE, "starting SFTP", failure);
}

static struct ssh *new_ssh(const struct ssh_options *options, struct failure *failure) {
  struct ssh *ssh = calloc(1, sizeof *ssh);
  if (ssh != NULL) {
    ssh->options = *options;
    ssh->socket = -1;
    ssh->session = libssh2_session_init_ex(NULL, NULL, NULL, ssh);
  }
  if (ssh == NULL || ssh->session == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    ssh_close(ssh);
    return NULL;
  }
  libssh2_session_set_blocking(ssh->session, 0);
  libssh2_session_callback_set2(ssh->session, LIBSSH2_CALLBACK_RECV,
                                (libssh2_cb_generic *)(uintptr_t)receive);
  libssh2_session_callback_set2(ssh->session, LIBSSH2_CALLBACK_DISCONNECT,
                                (libssh2_cb_generic *)(uintptr_t)note_goodbye);
  return ssh;
}

struct ssh *ssh_open(const struct ssh_options *options, const char *subsystem,
                     struct failure *failure) {
  struct ssh *ssh = new_ssh(options, failure);
  if (ssh == NULL) return NULL;
  struct hostkeys *keys = hostkeys_read(ssh->session, options->known_hosts, failure);
  bool ready = keys != NULL && reach(ssh, keys, failure) &&
               hostkeys_check(keys, ssh->session, options->host, options->port, false, failure) &&
               ssh_log_in(ssh, failure) && start_subsystem(ssh, subsystem, failure);
  hostkeys_free(keys);
  if (ready) return ssh;
  ssh_close(ssh);
  return NULL;
}

char *ssh_host_key(const struct ssh_options *options, char fingerprint[FINGERPRINT + 1],
                   bool *known, struct failure *failure) {
  struct ssh *ssh = new_ssh(options, failure);
  char *line = NULL;
  if (ssh == NULL) return NULL;
  struct hostkeys *keys = hostkeys_read(ssh->session, options->known_hosts, failure);
  if (keys != NULL && reach(ssh, keys, failure) &&
      hostkeys_check(keys, ssh->session, options->host, options->port, true, failure)) {
    struct failure ignored;
    *known = hostkeys_check(keys, ssh->session, options->host, options->port, false, &ignored);
    hostkeys_fingerprint(ssh->session, fingerprint);
    line = hostkeys_line(ssh->session, options->host, options->port);
    if (line == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
  }
  hostkeys_free(keys);
  ssh_close(ssh);
  return line;
}

/* ---- bytes ---- */

/* After a call that would have to wait: whether it was for sending. */
static bool is_half_sent(const struct ssh *ssh, ssize_t result) {
  return result == LIBSSH2_ERROR_EAGAIN &&
         (libssh2_session_block_directions(ssh->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
}

ssize_t ssh_read(struct ssh *ssh, void *into, size_t size, struct failure *failure) {
  if (ssh->unfinished == WRITER) return 0;
  ssize_t got = libssh2_channel_read(ssh->channel, into, size);
  ssh->unfinished = is_half_sent(ssh, got) ? READER : NOBODY;
  if (got > 0) ssh_set_deadline(ssh, ssh->options.idle_seconds);
  if (got > 0 || got == LIBSSH2_ERROR_EAGAIN) return got > 0 ? got : 0;
  if (got == 0 && !libssh2_channel_eof(ssh->channel)) return 0;
  if (got == 0) {
    fail(failure, EXIT_UNAVAILABLE, "%s:%d: the server has ended the session", ssh->options.host,
         ssh->options.port);
  } else {
    ssh_fail(ssh, EXIT_UNAVAILABLE, "reading", failure);
  }
  return -1;
}

ssize_t ssh_write(struct ssh *ssh, const void *bytes, size_t size, struct failure *failure) {
  if (ssh->unfinished == READER) return 0;
  ssize_t put = libssh2_channel_write(ssh->channel, bytes, size);
  ssh->unfinished = is_half_sent(ssh, put) ? WRITER : NOBODY;
  if (put > 0) ssh_set_deadline(ssh, ssh->options.idle_seconds);
  if (put == LIBSSH2_ERROR_EAGAIN) return 0;
  if (put < 0) ssh_fail(ssh, EXIT_UNAVAILABLE, "writing", failure);
  return put < 0 ? -1 : put;
}

void ssh_begin(struct ssh *ssh) { ssh_set_deadline(ssh, ssh->options.idle_seconds); }

bool ssh_in_time(const struct ssh *ssh, struct failure *failure) {
  return ssh_is_in_time(ssh, "waiting for an answer", failure);
}

bool ssh_peer(const struct ssh *ssh, struct sockaddr_storage *address) {
  socklen_t size = sizeof *address;
  memset(address, 0, sizeof *address);
  return getpeername(ssh->socket, (struct sockaddr *)address, &size) == 0;
}

void ssh_close(struct ssh *ssh) {
  if (ssh == NULL) return;
  if (ssh->session != NULL) {
    /* The goodbye is sent if that can be done at once. Nothing comes or goes from then on, or
     * libssh2 would wait for the other side's goodbye before it lets go of its memory. */
    if (ssh->socket >= 0) {
      libssh2_session_disconnect(ssh->session, "done");
      shutdown(ssh->socket, SHUT_RDWR);
    }
    int tries = 1000;
    while (libssh2_session_free(ssh->session) == LIBSSH2_ERROR_EAGAIN && --tries > 0) continue;
  }
  if (ssh->socket >= 0) close(ssh->socket);
  free(ssh);
}
