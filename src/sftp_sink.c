/* Writing without waiting: each piece keeps its bytes until the server has said that it has them,
 * so that after a drop what it may not have can be written again, at the same place. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sftp_lanes.h"

/* What a file must have had written before more lanes are opened for the rest, whose size nobody
 * knows. */
enum { MUCH = 8 * 1024 * 1024 };

/* Larger ones take servers longer. */
enum { LARGEST_PIECE = 128 * 1024 };

/* One piece of the file. */
struct piece {
  struct sftp_request request; /* first, so that an answer finds its piece */
  struct sftp_sink *sink;
  struct lane *lane; /* where it was sent */
  uint64_t offset;
  uint32_t size; /* 0: confirmed */
  bool sent;
  unsigned char *bytes;
};

struct sftp_sink {
  struct sink base;
  struct lanes lanes;
  struct piece *pieces;
  size_t count, oldest, held; /* pieces in the ring; the oldest; how many hold bytes */
  uint32_t piece_size;
  uint64_t next;          /* offset of the next piece */
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
  lane_answered(piece->lane, piece->size);
  if (status == FX_OK) {
    piece->size = 0;
    sink->lanes.tries = 0;
  } else if (sink->failure.code == 0) {
    fail_status(&sink->failure, status, "write", sink->base.name);
  }
}

/* Sends a piece by a lane. */
static bool send_piece(struct sftp_sink *sink, struct piece *piece, struct lane *lane,
                       struct failure *failure) {
  piece->request.answered = piece_answered;
  piece->sink = sink;
  piece->lane = lane;
  if (!sftp_begin(lane->sftp, FXP_WRITE, &piece->request, failure)) return false;
  sftp_put_string(lane->sftp, lane->handle.bytes, lane->handle.size);
  sftp_put_u64(lane->sftp, piece->offset);
  sftp_put_string(lane->sftp, piece->bytes, piece->size);
  sftp_end(lane->sftp);
  piece->sent = true;
  lane_asked(lane, piece->size);
  return true;
}

/* Whether a piece has to be sent: filled, and not on its way; or lost with its lane. The last one
 * may still be filled further, unless `all` are to go. */
static bool is_due(struct sftp_sink *sink, const struct piece *piece, bool last, bool all) {
  if (piece->size == 0 || piece->request.pending) return false;
  return piece->sent || piece->size == sink->piece_size || !last || all;
}

/* Lets go of confirmed pieces at the old end of the ring. */
static void retire(struct sftp_sink *sink) {
  while (sink->held > 0 && piece_at(sink, 0)->sent && piece_at(sink, 0)->size == 0) {
    sink->oldest = (sink->oldest + 1) % sink->count;
    sink->held--;
  }
}

/* Sends what is due, as far as the lanes take it. */
static bool send_pieces(struct sftp_sink *sink, bool all, struct failure *failure) {
  for (size_t i = 0; i < sink->held; i++) {
    struct piece *piece = piece_at(sink, i);
    if (!is_due(sink, piece, i + 1 == sink->held, all)) continue;
    struct lane *lane = lanes_pick(&sink->lanes, piece->size);
    if (lane == NULL) return true;
    if (!send_piece(sink, piece, lane, failure)) return false;
  }
  return true;
}

/* More sessions for what is long already, where the server has a real file behind the handles: one
 * that can't sync may not take writes out of order. */
static void grow(struct sftp_sink *sink) {
  bool able = sftp_features(sink->lanes.all[0].sftp)->fsync;
  if (able && sink->next >= MUCH) lanes_grow(&sink->lanes, UINT64_MAX);
}

/* Works until at most `most` pieces are held; connects again as often as it takes. */
static bool work_down(struct sftp_sink *sink, size_t most, bool all, struct failure *failure) {
  struct lanes *lanes = &sink->lanes;
  for (;;) {
    if (!lanes_ready(lanes, failure)) return false;
    bool going = send_pieces(sink, all, failure);
    retire(sink);
    bool enough = sink->held <= most;
    going = going && lanes_pump(lanes, !enough, failure);
    if (sink->failure.code != 0) {
      *failure = sink->failure;
      return false;
    }
    if (going && enough) return true;
    if (!going && !sftp_recover(lanes->all[0].sftp, &lanes->tries, lanes->doing, failure)) {
      return false;
    }
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
  piece->offset = sink->next;
  piece->size = 0;
  piece->sent = false;
  sink->held++;
  grow(sink);
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
  struct lane *first = &sink->lanes.all[0];
  struct sftp_attributes now;
  const char *name = sink->base.name;
  if (sftp_features(first->sftp)->fsync &&
      !sftp_fsync(first->sftp, &first->handle, name, failure)) {
    return false;
  }
  if (!sftp_fstat(first->sftp, &first->handle, name, &now, failure)) return false;
  if (now.has_size && now.size != sink->next) {
    return fail(failure, EXIT_IO, "%s has %llu bytes where %llu were written", name,
                (unsigned long long)now.size, (unsigned long long)sink->next);
  }
  struct sftp_handle handle = first->handle;
  first->handle.size = 0;
  return sftp_close_file(first->sftp, &handle, name, failure);
}

static bool sink_finish_file(struct sink *self, struct failure *failure) {
  struct sftp_sink *sink = (struct sftp_sink *)self;
  struct lanes *lanes = &sink->lanes;
  for (;;) {
    if (!work_down(sink, 0, true, failure) || !lanes_join(lanes, failure)) return false;
    if (check_and_close(sink, failure)) return true;
    if (!sftp_recover(lanes->all[0].sftp, &lanes->tries, "to finish writing", failure)) {
      return false;
    }
  }
}

static void sink_close_file(struct sink *self) {
  struct sftp_sink *sink = (struct sftp_sink *)self;
  lanes_close(&sink->lanes);
  for (size_t i = 0; sink->pieces != NULL && i < sink->count; i++) free(sink->pieces[i].bytes);
  free(sink->pieces);
  digest_free(self->digest);
  free(self->name);
  free(sink);
}

/* Makes a sink whose file isn't there yet. */
static struct sftp_sink *new_sink(struct sftp *sftp, const char *path, const char *name,
                                  struct failure *failure) {
  struct sftp_sink *sink = calloc(1, sizeof *sink);
  if (sink == NULL || !lanes_init(&sink->lanes, sftp, path, name, "writing", failure)) {
    if (sink == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
    if (sink != NULL) sink_close_file(&sink->base);
    return NULL;
  }
  sink->lanes.flags = FXF_WRITE;
  sink->base.write = sink_write_bytes;
  sink->base.finish = sink_finish_file;
  sink->base.close = sink_close_file;
  sink->base.name = strdup(name);
  sink->base.digest = digest_new(DIGEST_SHA256, failure);
  sink->piece_size = sftp_features(sftp)->write_size;
  if (sink->piece_size > LARGEST_PIECE) sink->piece_size = LARGEST_PIECE;
  sink->count = SFTP_AHEAD / sink->piece_size;
  sink->pieces = calloc(sink->count, sizeof *sink->pieces);
  if (sink->base.name != NULL && sink->pieces != NULL && sink->base.digest != NULL) return sink;
  sink_close_file(&sink->base);
  fail(failure, EXIT_INTERNAL, "out of memory");
  return NULL;
}

struct sink *sftp_sink(struct sftp *sftp, const char *path, const char *name,
                       struct failure *failure) {
  struct sftp_sink *sink = new_sink(sftp, path, name, failure);
  if (sink == NULL) return NULL;
  struct sftp_handle *handle = &sink->lanes.all[0].handle;
  unsigned generation = sftp_generation(sftp);
  uint32_t flags = FXF_WRITE | FXF_CREAT | FXF_EXCL;
  bool opened = sftp_open_file(sftp, path, flags, handle, failure);
  if (!opened && generation != sftp_generation(sftp) && failure->code != EXIT_UNAVAILABLE) {
    /* The answer was lost with the connection: the file that is there now is this one. */
    opened = sftp_open_file(sftp, path, FXF_WRITE | FXF_TRUNC, handle, failure);
  }
  if (opened) {
    lanes_opened(&sink->lanes);
    return &sink->base;
  }
  sink_close_file(&sink->base);
  return NULL;
}
