/* Writing without waiting: each piece keeps its bytes until the server has said that it has them,
 * so that after a drop what it may not have can be written again, at the same place. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sftp_wire.h"

enum { QUEUED = 1024 * 1024 }; /* bytes that wait to go out */

/* One piece of the file. */
struct piece {
  struct sftp_request request; /* first, so that an answer finds its piece */
  struct sftp_sink *sink;
  uint64_t offset;
  uint32_t size;
  bool sent;
  unsigned char *bytes;
};

struct sftp_sink {
  struct sink base;
  struct sftp *sftp;
  char *path;
  struct sftp_handle handle;
  unsigned generation; /* of the handle */
  bool open;
  struct piece *pieces;
  size_t count, oldest, held; /* pieces in the ring; the oldest; how many hold bytes */
  uint32_t piece_size;
  uint64_t next;          /* offset of the next piece */
  int tries;              /* to connect again since a piece was confirmed last */
  struct failure failure; /* what an answer said; code 0: nothing wrong */
};

static struct piece *piece_at(struct sftp_sink *sink, size_t i) {
  return &sink->pieces[(sink->oldest + i) % sink->count];
}

static void piece_answered(struct sftp_request *self, uint8_t type, struct wire *answer) {
  struct piece *piece = (struct piece *)self;
  struct sftp_sink *sink = piece->sink;
  uint32_t status = type == FXP_STATUS ? wire_u32(answer) : FX_BAD_MESSAGE;
  if (answer->broken) status = FX_BAD_MESSAGE;
  if (status == FX_OK)
    piece->size = 0;
  else if (sink->failure.code == 0)
    fail_status(&sink->failure, status, "write", sink->base.name);
}

/* Sends a piece. */
static bool send_piece(struct sftp_sink *sink, struct piece *piece, struct failure *failure) {
  piece->request.answered = piece_answered;
  if (!sftp_begin(sink->sftp, FXP_WRITE, &piece->request, failure)) return false;
  sftp_put_string(sink->sftp, sink->handle.bytes, sink->handle.size);
  sftp_put_u64(sink->sftp, piece->offset);
  sftp_put_string(sink->sftp, piece->bytes, piece->size);
  sftp_end(sink->sftp);
  piece->sent = true;
  return true;
}

/* ---- the file, again ---- */

/* Opens the part again after a drop, and lets all that wasn't confirmed be sent again. */
static bool open_again(struct sftp_sink *sink, struct failure *failure) {
  if (!sftp_open_file(sink->sftp, sink->path, FXF_WRITE, &sink->handle, failure)) return false;
  sink->generation = sftp_generation(sink->sftp);
  for (size_t i = 0; i < sink->held; i++) piece_at(sink, i)->sent = false;
  return true;
}

static bool ensure_open(struct sftp_sink *sink, struct failure *failure) {
  while (sink->generation != sftp_generation(sink->sftp)) {
    if (open_again(sink, failure)) return true;
    if (!sftp_recover(sink->sftp, &sink->tries, "going on with writing", failure)) return false;
  }
  return true;
}

/* Lets go of confirmed pieces at the old end of the ring. */
static void retire(struct sftp_sink *sink) {
  while (sink->held > 0 && piece_at(sink, 0)->sent && piece_at(sink, 0)->size == 0) {
    sink->oldest = (sink->oldest + 1) % sink->count;
    sink->held--;
  }
}

/* Sends full pieces that aren't sent, as long as little waits to go out; with `all`, the last one,
 * too. */
static bool send_pieces(struct sftp_sink *sink, bool all, struct failure *failure) {
  for (size_t i = 0; i < sink->held && sftp_queued(sink->sftp) < QUEUED; i++) {
    struct piece *piece = piece_at(sink, i);
    bool ready = piece->size == sink->piece_size || (all && piece->size > 0);
    bool more = i + 1 < sink->held && piece->size > 0; /* only the last one may be filled further */
    if (!piece->sent && (ready || more) && !send_piece(sink, piece, failure)) return false;
  }
  return true;
}

/* Works until at most `most` pieces are held; connects again as often as it takes. */
static bool work_down(struct sftp_sink *sink, size_t most, bool all, struct failure *failure) {
  for (;;) {
    if (!ensure_open(sink, failure)) return false;
    bool going = send_pieces(sink, all, failure);
    retire(sink);
    if (going && sink->failure.code == 0 && sink->held <= most) {
      going = sftp_pump(sink->sftp, false, failure);
      if (going && sink->failure.code == 0) return true;
    } else if (going && sink->failure.code == 0) {
      going = sftp_pump(sink->sftp, true, failure);
    }
    if (sink->failure.code != 0) {
      *failure = sink->failure;
      return false;
    }
    if (!going && !sftp_recover(sink->sftp, &sink->tries, "going on with writing", failure))
      return false;
  }
}

/* ---- the sink ---- */

/* The piece that takes the next byte. */
static struct piece *open_piece(struct sftp_sink *sink, struct failure *failure) {
  struct piece *last = sink->held > 0 ? piece_at(sink, sink->held - 1) : NULL;
  if (last != NULL && !last->sent && last->size < sink->piece_size) return last;
  if (!work_down(sink, sink->count - 1, false, failure)) return NULL;
  struct piece *piece = piece_at(sink, sink->held);
  if (piece->bytes == NULL) piece->bytes = malloc(sink->piece_size);
  if (piece->bytes == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  piece->sink = sink;
  piece->offset = sink->next;
  piece->size = 0;
  piece->sent = false;
  sink->held++;
  return piece;
}

static bool sink_write_bytes(struct sink *self, const void *bytes, size_t size,
                             struct failure *failure) {
  struct sftp_sink *sink = (struct sftp_sink *)self;
  const unsigned char *from = bytes;
  while (size > 0) {
    struct piece *piece = open_piece(sink, failure);
    if (piece == NULL) return false;
    size_t part = sink->piece_size - piece->size;
    if (part > size) part = size;
    memcpy(piece->bytes + piece->size, from, part);
    piece->size += (uint32_t)part;
    sink->next += part;
    from += part;
    size -= part;
  }
  return true;
}

/* Checks what the server has; asks it to sync where it can. */
static bool check_and_close(struct sftp_sink *sink, struct failure *failure) {
  struct sftp_attributes now;
  const char *name = sink->base.name;
  if (sftp_features(sink->sftp)->fsync && !sftp_fsync(sink->sftp, &sink->handle, name, failure)) {
    return false;
  }
  if (!sftp_fstat(sink->sftp, &sink->handle, name, &now, failure)) return false;
  if (now.has_size && now.size != sink->next) {
    return fail(failure, EXIT_IO, "%s has %llu bytes where %llu were written", name,
                (unsigned long long)now.size, (unsigned long long)sink->next);
  }
  sink->open = false;
  return sftp_close_file(sink->sftp, &sink->handle, name, failure);
}

static bool sink_finish_file(struct sink *self, struct failure *failure) {
  struct sftp_sink *sink = (struct sftp_sink *)self;
  for (;;) {
    if (!work_down(sink, 0, true, failure)) return false;
    if (check_and_close(sink, failure)) return true;
    if (!sftp_recover(sink->sftp, &sink->tries, "to finish writing", failure)) return false;
    sink->open = true;
  }
}

/* Waits for what is under way, for its pieces are about to go, and closes the handle. */
static void let_go(struct sftp_sink *sink) {
  struct failure ignored = {0};
  for (size_t i = 0; i < sink->count; i++) {
    while (sink->pieces[i].request.pending) {
      if (!sftp_pump(sink->sftp, true, &ignored)) return;
    }
  }
  if (sink->open && sink->generation == sftp_generation(sink->sftp)) {
    sftp_close_file(sink->sftp, &sink->handle, sink->base.name, &ignored);
  }
}

static void sink_close_file(struct sink *self) {
  struct sftp_sink *sink = (struct sftp_sink *)self;
  if (sink->pieces != NULL) let_go(sink);
  for (size_t i = 0; sink->pieces != NULL && i < sink->count; i++) free(sink->pieces[i].bytes);
  free(sink->pieces);
  free(sink->path);
  sftp_release(sink->sftp);
  digest_free(self->digest);
  free(self->name);
  free(sink);
}

/* Makes a sink whose file isn't there yet. */
static struct sftp_sink *new_sink(struct sftp *sftp, const char *path, const char *name,
                                  struct failure *failure) {
  struct sftp_sink *sink = calloc(1, sizeof *sink);
  if (sink != NULL) {
    sink->sftp = sftp;
    sftp_hold(sftp);
    sink->base.write = sink_write_bytes;
    sink->base.finish = sink_finish_file;
    sink->base.close = sink_close_file;
    sink->base.name = strdup(name);
    sink->base.digest = digest_new(DIGEST_SHA256, failure);
    sink->path = strdup(path);
    sink->piece_size = sftp_features(sftp)->write_size;
    sink->count = SFTP_AHEAD / sink->piece_size;
    sink->pieces = calloc(sink->count, sizeof *sink->pieces);
    if (sink->base.name != NULL && sink->path != NULL && sink->pieces != NULL &&
        sink->base.digest != NULL) {
      return sink;
    }
    sink_close_file(&sink->base);
  }
  fail(failure, EXIT_INTERNAL, "out of memory");
  return NULL;
}

struct sink *sftp_sink(struct sftp *sftp, const char *path, const char *name,
                       struct failure *failure) {
  struct sftp_sink *sink = new_sink(sftp, path, name, failure);
  if (sink == NULL) return NULL;
  unsigned generation = sftp_generation(sftp);
  uint32_t flags = FXF_WRITE | FXF_CREAT | FXF_EXCL;
  bool opened = sftp_open_file(sftp, path, flags, &sink->handle, failure);
  if (!opened && generation != sftp_generation(sftp) && failure->code != EXIT_UNAVAILABLE) {
    /* The answer was lost with the connection: the file that is there now is this one. */
    opened = sftp_open_file(sftp, path, FXF_WRITE | FXF_TRUNC, &sink->handle, failure);
  }
  sink->open = opened;
  sink->generation = sftp_generation(sftp);
  if (opened) return &sink->base;
  sink_close_file(&sink->base);
  return NULL;
}
