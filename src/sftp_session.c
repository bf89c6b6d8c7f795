/* A session's life: connecting, learning what the server can do, connecting again after a drop,
 * and its end. The memory goes with its last holder, be that a source or a sink. */
#define _GNU_SOURCE
#include "sftp_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

enum {
  VERSION = 3,
  SAFE_SIZE = 32 * 1024, /* of one read or write, where the server names no limit */
  LARGEST_SIZE = 255 * 1024,
  LONGEST_PAUSE = 30 /* seconds before connecting again */
};

/* ---- hello ---- */

/* The answer to a request that everything waits for: a copy. */
struct hello {
  struct sftp_request request;
  uint8_t type;
  unsigned char bytes[64];
  struct wire answer;
};

static void hello_answered(struct sftp_request *self, uint8_t type, struct wire *answer) {
  struct hello *hello = (struct hello *)self;
  size_t size = answer->size - answer->at;
  if (size > sizeof hello->bytes) size = sizeof hello->bytes;
  memcpy(hello->bytes, answer->bytes + answer->at, size);
  hello->answer = (struct wire){hello->bytes, size, 0, false};
  hello->type = type;
}

/* Notes an extension that the server offers; *limits when it tells its limits. */
static void note_extension(struct sftp *sftp, const unsigned char *name, uint32_t size,
                           bool *limits) {
  static const char rename_name[] = "posix-rename@openssh.com", fsync_name[] = "fsync@openssh.com",
                    limits_name[] = "limits@openssh.com";
#define IS(text) (size == sizeof(text) - 1 && memcmp(name, text, size) == 0)
  if (IS(rename_name)) sftp->features.posix_rename = true;
  if (IS(fsync_name)) sftp->features.fsync = true;
  if (IS(limits_name)) *limits = true;
#undef IS
}

/* Waits for what the server says first. */
static bool await_server(struct sftp *sftp, struct failure *failure) {
  return ssh_in_time(sftp->ssh, failure) && ssh_wait_any(&sftp->ssh, 1, failure);
}

/* Reads the server's version and extensions: the one packet without an id. */
static bool read_version(struct sftp *sftp, bool *limits, struct failure *failure) {
  size_t wanted = 4;
  while (sftp->in_size < wanted) {
    ssize_t part = ssh_read(sftp->ssh, sftp->in + sftp->in_size, wanted - sftp->in_size, failure);
    if (part < 0 || (part == 0 && !await_server(sftp, failure))) return false;
    sftp->in_size += (size_t)part;
    if (sftp->in_size == 4) wanted = 4 + (size_t)get_u32(sftp->in);
    if (wanted > 4 + LARGEST_PACKET) break;
  }
  sftp->in_size = 0;
  struct wire packet = {sftp->in + 4, wanted - 4, 1, false};
  if (wanted > 4 + LARGEST_PACKET || wanted < 9 || sftp->in[4] != FXP_VERSION ||
      wire_u32(&packet) < VERSION) {
    return fail(failure, EXIT_UNAVAILABLE, "%s:%d: what answers is no SFTP server of version 3",
                sftp->options.ssh.host, sftp->options.ssh.port);
  }
  while (packet.at < packet.size && !packet.broken) {
    uint32_t size, ignored;
    const unsigned char *name = wire_string(&packet, &size);
    wire_string(&packet, &ignored);
    if (!packet.broken) note_extension(sftp, name, size, limits);
  }
  return true;
}

static uint32_t bounded(uint64_t size) {
  if (size < 1024 || size > LARGEST_SIZE) return LARGEST_SIZE;
  return (uint32_t)size;
}

/* Asks for the server's limits (limits@openssh.com): packet, read, write, handles. */
static bool ask_limits(struct sftp *sftp, struct failure *failure) {
  struct hello hello = {.request.answered = hello_answered};
  if (!sftp_begin(sftp, FXP_EXTENDED, &hello.request, failure)) return false;
  sftp_put_string(sftp, "limits@openssh.com", 18);
  sftp_end(sftp);
  while (hello.request.pending) {
    bool any;
    if (!sftp_exchange(sftp, &any, failure)) return false;
    if (!any && !ssh_wait_any(&sftp->ssh, 1, failure)) return false;
  }
  if (hello.type != FXP_EXTENDED_REPLY) return true;
  wire_u64(&hello.answer);
  uint64_t read = wire_u64(&hello.answer), write = wire_u64(&hello.answer);
  if (hello.answer.broken) return true;
  sftp->features.read_size = bounded(read);
  sftp->features.write_size = bounded(write);
  return true;
}

bool sftp_connect(struct sftp *sftp, struct failure *failure) {
  static const unsigned char init[] = {0, 0, 0, 5, FXP_INIT, 0, 0, 0, VERSION};
  bool limits = false;
  sftp->round_trip = 0;
  sftp->features = (struct sftp_features){false, false, SAFE_SIZE, SAFE_SIZE};
  sftp->ssh = ssh_open(&sftp->options.ssh, "sftp", failure);
  if (sftp->ssh == NULL) return false;
  ssh_begin(sftp->ssh);
  for (size_t sent = 0; sent < sizeof init;) {
    ssize_t part = ssh_write(sftp->ssh, init + sent, sizeof init - sent, failure);
    if (part < 0 || (part == 0 && !await_server(sftp, failure))) return false;
    sent += (size_t)part;
  }
  return read_version(sftp, &limits, failure) && (!limits || ask_limits(sftp, failure));
}

void sftp_note(struct sftp *sftp, const char *line) {
  char *all = NULL, when[16];
  time_t now = (time_t)clock_now(); /* they may be told much later */
  struct tm parts;
  strftime(when, sizeof when, "%H:%M:%SZ", gmtime_r(&now, &parts));
  int size = asprintf(&all, "%s%s %s\n", sftp->notices == NULL ? "" : sftp->notices, when, line);
  if (size < 0) return;
  free(sftp->notices);
  sftp->notices = all;
}

char *sftp_notices(struct sftp *sftp) {
  char *notices = sftp->notices;
  sftp->notices = NULL;
  return notices;
}

/* Seconds to wait before the nth attempt in a row: 0, 1, 2, 4, ... */
static int pause_before(int attempt) {
  if (attempt <= 1) return 0;
  return attempt > 6 ? LONGEST_PAUSE : 1 << (attempt - 2);
}

bool sftp_recover(struct sftp *sftp, int *tries, const char *doing, struct failure *failure) {
  char line[1200];
  struct failure cause = *failure;
  if (failure->code != EXIT_UNAVAILABLE) return false;
  if (sftp->ssh != NULL) return true; /* another owner has been here already */
  while (*tries < sftp->options.attempts) {
    if (!clock_sleep(pause_before(++*tries), failure)) return false;
    if (sftp_connect(sftp, failure)) {
      snprintf(line, sizeof line, "%s; connected again (attempt %d), %s", cause.text, *tries,
               doing);
      sftp_note(sftp, line);
      return true;
    }
    sftp_drop(sftp);
    if (failure->code != EXIT_UNAVAILABLE) return false; /* host key, login, a signal */
  }
  if (sftp->options.attempts > 0) {
    fail(failure, EXIT_UNAVAILABLE, "%s; gave up after %d attempts to connect again", cause.text,
         *tries);
  }
  return false;
}

enum { TEXTS = 7 };

/* The texts among the options, which the session has copies of: it may connect again whenever. */
static void texts_of(struct ssh_options *ssh, const char **texts[TEXTS]) {
  const char **all[TEXTS] = {&ssh->host,       &ssh->user,     &ssh->known_hosts, &ssh->key,
                             &ssh->passphrase, &ssh->password, &ssh->ciphers};
  memcpy(texts, all, sizeof all);
}

static bool copy_options(struct sftp *sftp, const struct sftp_options *options) {
  const char **texts[TEXTS];
  bool copied = true;
  sftp->options = *options;
  texts_of(&sftp->options.ssh, texts);
  for (size_t i = 0; i < TEXTS; i++) {
    const char *text = *texts[i];
    *texts[i] = text == NULL || !copied ? NULL : strdup(text);
    copied = copied && (text == NULL || *texts[i] != NULL);
  }
  return copied;
}

struct sftp *sftp_new(const struct sftp_options *options, struct failure *failure) {
  struct sftp *sftp = calloc(1, sizeof *sftp);
  if (sftp != NULL) sftp->holders = 1;
  if (sftp != NULL && copy_options(sftp, options)) return sftp;
  fail(failure, EXIT_INTERNAL, "out of memory");
  sftp_close(sftp);
  return NULL;
}

struct sftp *sftp_open(const struct sftp_options *options, struct failure *failure) {
  struct sftp *sftp = sftp_new(options, failure);
  if (sftp == NULL || sftp_connect(sftp, failure)) return sftp;
  sftp_close(sftp);
  return NULL;
}

const struct sftp_features *sftp_features(const struct sftp *sftp) { return &sftp->features; }

void sftp_hold(struct sftp *sftp) { sftp->holders++; }

void sftp_release(struct sftp *sftp) {
  const char **texts[TEXTS];
  if (--sftp->holders > 0) return;
  texts_of(&sftp->options.ssh, texts);
  for (size_t i = 0; i < TEXTS; i++) {
    char *text = (char *)(uintptr_t)*texts[i];
    if (text != NULL) explicit_bzero(text, strlen(text));
    free(text);
  }
  free(sftp->out.bytes);
  free(sftp->notices);
  free(sftp);
}

void sftp_close(struct sftp *sftp) {
  if (sftp == NULL) return;
  sftp_drop(sftp);
  sftp->options.attempts = 0;
  sftp_release(sftp);
}
