/* Packets in and out, and the connection behind them. Outgoing packets wait in one buffer, incoming
 * ones are put together in another; both are as large as they have to be and no larger.
 * When the connection drops, everything pending is void: owners see that the generation has changed
 * and ask again. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sftp_session.h"

enum { COMPACT = 1024 * 1024 }; /* sent bytes that may stay in front of others */

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

void sftp_drop(struct sftp *sftp) {
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

bool sftp_exchange(struct sftp *sftp, bool *any, struct failure *failure) {
  bool sent, got;
  *any = false;
  do {
    if (!send_queued(sftp, &sent, failure) || !receive(sftp, &got, failure)) return false;
    *any = *any || sent || got;
  } while (got);
  return *any || sftp->pending_count == 0 || ssh_in_time(sftp->ssh, failure);
}

bool sftp_pump(struct sftp *sftp, bool wait, struct failure *failure) {
  bool any;
  if (sftp->ssh == NULL) return fail(failure, EXIT_UNAVAILABLE, "the connection is gone");
  if (sftp_exchange(sftp, &any, failure) &&
      (any || !wait || ssh_wait_any(&sftp->ssh, 1, failure))) {
    return true;
  }
  sftp_drop(sftp);
  return false;
}
