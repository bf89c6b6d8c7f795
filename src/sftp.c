/* Packets in and out, and the connection behind them. Outgoing packets wait in one buffer, incoming
 * ones are put together in another; both are as large as they have to be and no larger.
 * When the connection drops, everything pending is void: owners see that the generation has changed
 * and ask again. */
#define _GNU_SOURCE
#include "sftp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "sftp_wire.h"

enum {
  VERSION = 3,
  LARGEST_PACKET = 256 * 1024 + 1024,
  PENDING = 1024,        /* requests under way at most; a power of two */
  SAFE_SIZE = 32 * 1024, /* of one read or write, where the server names no limit */
  LARGEST_SIZE = 255 * 1024,
  COMPACT = 1024 * 1024, /* sent bytes that may stay in front of others */
  LONGEST_PAUSE = 30     /* seconds before connecting again */
};

struct sftp {
  struct sftp_options options;
  struct ssh *ssh; /* NULL: the connection is gone */
  unsigned holders;
  unsigned generation;
  struct sftp_features features;
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

/* ---- building requests ---- */

/* Appends bytes to what is being built. */
static void put(struct sftp *sftp, const void *bytes, size_t size) {
  struct wire *out = &sftp->out;
  if (sftp->out_failed) return;
  if (out->size + size > sftp->out_capacity) {
    size_t capacity = 2 * (out->size + size);
    unsigned char *grown = realloc(out->bytes, capacity);
    if (grown == NULL) {
      sftp->out_failed = true;
      return;
    }
    out->bytes = grown;
    sftp->out_capacity = capacity;
  }
  memcpy(out->bytes + out->size, bytes, size);
  out->size += size;
}

void sftp_put_u32(struct sftp *sftp, uint32_t value) {
  unsigned char bytes[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                            (unsigned char)(value >> 8), (unsigned char)value};
  put(sftp, bytes, sizeof bytes);
}

void sftp_put_u64(struct sftp *sftp, uint64_t value) {
  sftp_put_u32(sftp, (uint32_t)(value >> 32));
  sftp_put_u32(sftp, (uint32_t)value);
}

void sftp_put_string(struct sftp *sftp, const void *bytes, size_t size) {
  sftp_put_u32(sftp, (uint32_t)size);
  put(sftp, bytes, size);
}

bool sftp_begin(struct sftp *sftp, uint8_t type, struct sftp_request *request,
                struct failure *failure) {
  if (sftp->ssh == NULL) return fail(failure, EXIT_UNAVAILABLE, "the connection is gone");
  if (sftp->pending_count == PENDING) return fail(failure, EXIT_INTERNAL, "too many requests");
  while (sftp->pending[sftp->next_id % PENDING] != NULL) sftp->next_id++;
  if (sftp->pending_count == 0) ssh_begin(sftp->ssh);
  request->id = sftp->next_id++;
  request->pending = true;
  sftp->pending[request->id % PENDING] = request;
  sftp->pending_count++;
  sftp->out_begun = sftp->out.size;
  sftp_put_u32(sftp, 0); /* the length, known at the end */
  put(sftp, &type, 1);
  sftp_put_u32(sftp, request->id);
  return true;
}

void sftp_end(struct sftp *sftp) {
  size_t size = sftp->out.size - sftp->out_begun - 4;
  unsigned char *length = sftp->out.bytes + sftp->out_begun;
  if (sftp->out_failed) return; /* the next pump says so */
  for (int i = 0; i < 4; i++) length[i] = (unsigned char)(size >> (24 - 8 * i));
}

size_t sftp_queued(const struct sftp *sftp) { return sftp->out.size - sftp->out.at; }

/* ---- the connection's end ---- */

unsigned sftp_generation(const struct sftp *sftp) { return sftp->generation; }

/* Lets go of the connection and of everything that was pending on it. */
static void drop(struct sftp *sftp) {
  ssh_close(sftp->ssh);
  sftp->ssh = NULL;
  sftp->generation++;
  for (size_t i = 0; i < PENDING; i++) {
    if (sftp->pending[i] != NULL) sftp->pending[i]->pending = false;
    sftp->pending[i] = NULL;
  }
  sftp->pending_count = 0;
  sftp->out.size = sftp->out.at = sftp->in_size = 0;
  sftp->out_failed = false;
}

/* A server that answers nonsense can't be trusted with the rest of it. */
static bool fail_protocol(struct sftp *sftp, const char *what, struct failure *failure) {
  return fail(failure, EXIT_IO, "%s:%d: the SFTP server %s", sftp->options.ssh.host,
              sftp->options.ssh.port, what);
}

/* ---- pumping ---- */

/* Tells the owner of a request its answer. */
static bool deliver(struct sftp *sftp, struct wire *packet, struct failure *failure) {
  uint8_t type = packet->bytes[0];
  packet->at = 1;
  uint32_t id = wire_u32(packet);
  struct sftp_request *request = sftp->pending[id % PENDING];
  if (packet->broken || request == NULL || request->id != id) {
    return fail_protocol(sftp, "answers what was not asked", failure);
  }
  sftp->pending[id % PENDING] = NULL;
  sftp->pending_count--;
  request->pending = false;
  request->answered(request, type, packet);
  return true;
}

/* Takes in bytes until a packet is whole, and delivers it. *got is false when nothing came. */
static bool receive(struct sftp *sftp, bool *got, struct failure *failure) {
  size_t wanted = 4;
  if (sftp->in_size >= 4) wanted += get_u32(sftp->in);
  ssize_t part = ssh_read(sftp->ssh, sftp->in + sftp->in_size, wanted - sftp->in_size, failure);
  *got = part > 0;
  if (part <= 0) return part == 0;
  sftp->in_size += (size_t)part;
  if (sftp->in_size < wanted) return true;
  size_t size = get_u32(sftp->in);
  if (size < 5 || size > LARGEST_PACKET) {
    return fail_protocol(sftp, "sends a packet of a size that can't be", failure);
  }
  if (sftp->in_size < 4 + size) return true;
  struct wire packet = {sftp->in + 4, size, 0, false};
  sftp->in_size = 0;
  return deliver(sftp, &packet, failure);
}

/* Sends what the connection takes. */
static bool send_queued(struct sftp *sftp, bool *sent, struct failure *failure) {
  struct wire *out = &sftp->out;
  *sent = false;
  if (sftp->out_failed) return fail(failure, EXIT_INTERNAL, "out of memory");
  if (out->at == out->size) return true;
  ssize_t put_now = ssh_write(sftp->ssh, out->bytes + out->at, out->size - out->at, failure);
  if (put_now < 0) return false;
  *sent = put_now > 0;
  out->at += (size_t)put_now;
  if (out->at == out->size || out->at >= COMPACT) {
    memmove(out->bytes, out->bytes + out->at, out->size - out->at);
    out->size -= out->at;
    out->at = 0;
  }
  return true;
}

/* Sends and receives; waits when there was nothing to do. */
static bool exchange(struct sftp *sftp, bool wait, struct failure *failure) {
  bool sent, got, any = false;
  do {
    if (!send_queued(sftp, &sent, failure) || !receive(sftp, &got, failure)) return false;
    any = any || sent || got;
  } while (got);
  return any || !wait || ssh_wait(sftp->ssh, failure);
}

bool sftp_pump(struct sftp *sftp, bool wait, struct failure *failure) {
  if (sftp->ssh == NULL) return fail(failure, EXIT_UNAVAILABLE, "the connection is gone");
  if (exchange(sftp, wait, failure)) return true;
  drop(sftp);
  return false;
}

/* ---- hello ---- */

/* The answer to a request that everything waits for: a copy. */
struct hello {
  struct sftp_request request;
  bool answered;
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
  hello->answered = true;
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

/* Reads the server's version and extensions: the one packet without an id. */
static bool read_version(struct sftp *sftp, bool *limits, struct failure *failure) {
  size_t wanted = 4;
  while (sftp->in_size < wanted) {
    ssize_t part = ssh_read(sftp->ssh, sftp->in + sftp->in_size, wanted - sftp->in_size, failure);
    if (part < 0 || (part == 0 && !ssh_wait(sftp->ssh, failure))) return false;
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
    if (!exchange(sftp, true, failure)) return false;
  }
  if (hello.type != FXP_EXTENDED_REPLY) return true;
  wire_u64(&hello.answer);
  uint64_t read = wire_u64(&hello.answer), write = wire_u64(&hello.answer);
  if (hello.answer.broken) return true;
  sftp->features.read_size = bounded(read);
  sftp->features.write_size = bounded(write);
  return true;
}

/* Connects, and learns what the server can do. */
static bool connect_sftp(struct sftp *sftp, struct failure *failure) {
  static const unsigned char init[] = {0, 0, 0, 5, FXP_INIT, 0, 0, 0, VERSION};
  bool limits = false;
  sftp->features = (struct sftp_features){false, false, SAFE_SIZE, SAFE_SIZE};
  sftp->ssh = ssh_open(&sftp->options.ssh, "sftp", failure);
  if (sftp->ssh == NULL) return false;
  ssh_begin(sftp->ssh);
  for (size_t sent = 0; sent < sizeof init;) {
    ssize_t part = ssh_write(sftp->ssh, init + sent, sizeof init - sent, failure);
    if (part < 0 || (part == 0 && !ssh_wait(sftp->ssh, failure))) return false;
    sent += (size_t)part;
  }
  return read_version(sftp, &limits, failure) && (!limits || ask_limits(sftp, failure));
}

/* Remembers a line to tell. */
static void add_notice(struct sftp *sftp, const char *line) {
  char *all = NULL;
  int size = asprintf(&all, "%s%s\n", sftp->notices == NULL ? "" : sftp->notices, line);
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
    if (connect_sftp(sftp, failure)) {
      snprintf(line, sizeof line, "%s; connected again (attempt %d), %s", cause.text, *tries,
               doing);
      add_notice(sftp, line);
      return true;
    }
    drop(sftp);
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

struct sftp *sftp_open(const struct sftp_options *options, struct failure *failure) {
  struct sftp *sftp = calloc(1, sizeof *sftp);
  if (sftp != NULL) sftp->holders = 1;
  if (sftp == NULL || !copy_options(sftp, options)) {
    fail(failure, EXIT_INTERNAL, "out of memory");
  } else if (connect_sftp(sftp, failure)) {
    return sftp;
  }
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
  drop(sftp);
  sftp->options.attempts = 0;
  sftp_release(sftp);
}
