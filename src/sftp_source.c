/* Reading ahead: a ring of requests in the order of the file. What comes for any of them is put in
 * its place; the reader takes from the oldest, and each slot that it has emptied asks for the next
 * piece. A short answer only means that the rest of that piece is asked for again. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sftp_lanes.h"

/* One piece of the file. */
struct piece {
  struct sftp_request request; /* first, so that an answer finds its piece */
  struct sftp_source *source;
  struct lane *lane; /* where it was asked for, `asked` bytes of it */
  uint64_t offset;
  uint32_t wanted, got, taken, asked; /* bytes: of the piece, arrived, read by the reader */
  unsigned char *bytes;
};

struct sftp_source {
  struct source base;
  struct lanes lanes;
  uint64_t next; /* offset that is asked for next */
  struct piece *pieces;
  size_t count, oldest, asked; /* pieces in the ring; the oldest; how many hold or await bytes */
  uint32_t piece_size;
  struct failure failure; /* what an answer said; code 0: nothing wrong */
  bool checked;           /* at the end, that the file is still the same */
};

/* ---- answers ---- */

/* Takes an answer's bytes. */
static void take_data(struct piece *piece, struct wire *answer) {
  struct sftp_source *source = piece->source;
  uint32_t size;
  const unsigned char *bytes = wire_string(answer, &size);
  if (bytes == NULL || size == 0 || size > piece->asked) {
    fail(&source->failure, EXIT_IO, "%s: the server sends %u bytes where %u were asked for",
         source->base.name, size, piece->asked);
    return;
  }
  memcpy(piece->bytes + piece->got, bytes, size);
  piece->got += size;
  source->lanes.tries = 0;
}

static void piece_answered(struct sftp_request *self, uint8_t type, struct wire *answer) {
  struct piece *piece = (struct piece *)self;
  struct sftp_source *source = piece->source;
  lane_answered(piece->lane, piece->asked);
  if (type == FXP_DATA) {
    take_data(piece, answer);
    return;
  }
  uint32_t status = type == FXP_STATUS ? wire_u32(answer) : FX_BAD_MESSAGE;
  if (source->failure.code != 0) return;
  if (status == FX_EOF) {
    fail(&source->failure, EXIT_TRY_AGAIN,
         "%s ends before its %llu bytes: it has changed while it was read", source->base.name,
         (unsigned long long)source->base.total_bytes);
  } else {
    fail_status(&source->failure, status, "read", source->base.name);
  }
}

/* ---- requests ---- */

/* Asks for what is missing of a piece, if a lane has room; *going tells whether one had. */
static bool ask(struct sftp_source *source, struct piece *piece, bool *going,
                struct failure *failure) {
  struct lane *lane = lanes_pick(&source->lanes, piece->wanted - piece->got);
  *going = lane != NULL;
  if (lane == NULL) return true;
  piece->request.answered = piece_answered;
  piece->lane = lane;
  piece->asked = piece->wanted - piece->got;
  if (!sftp_begin(lane->sftp, FXP_READ, &piece->request, failure)) return false;
  sftp_put_string(lane->sftp, lane->handle.bytes, lane->handle.size);
  sftp_put_u64(lane->sftp, piece->offset + piece->got);
  sftp_put_u32(lane->sftp, piece->asked);
  sftp_end(lane->sftp);
  lane_asked(lane, piece->asked);
  return true;
}

static struct piece *piece_at(struct sftp_source *source, size_t i) {
  return &source->pieces[(source->oldest + i) % source->count];
}

/* Prepares the ring's next piece. */
static struct piece *add_piece(struct sftp_source *source, struct failure *failure) {
  struct piece *piece = piece_at(source, source->asked);
  uint64_t left = source->base.total_bytes - source->next;
  if (piece->bytes == NULL) piece->bytes = malloc(source->piece_size);
  if (piece->bytes == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    return NULL;
  }
  piece->source = source;
  piece->offset = source->next;
  piece->wanted = left < source->piece_size ? (uint32_t)left : source->piece_size;
  piece->got = piece->taken = 0;
  source->next += piece->wanted;
  source->asked++;
  return piece;
}

/* Asks for as much as may be under way: first for the rest of pieces that came short, or were lost
 * with their lane. */
static bool ask_ahead(struct sftp_source *source, struct failure *failure) {
  bool going = true;
  for (size_t i = 0; i < source->asked && going; i++) {
    struct piece *piece = piece_at(source, i);
    bool short_of = !piece->request.pending && piece->got < piece->wanted;
    if (short_of && !ask(source, piece, &going, failure)) return false;
  }
  while (going && source->asked < source->count && source->next < source->base.total_bytes) {
    struct piece *piece = add_piece(source, failure);
    if (piece == NULL || !ask(source, piece, &going, failure)) return false;
  }
  lanes_grow(&source->lanes, source->base.total_bytes - source->next);
  return true;
}

/* ---- reading ---- */

/* Waits until the oldest piece has bytes that nobody has read. */
static bool await_bytes(struct sftp_source *source, struct failure *failure) {
  struct lanes *lanes = &source->lanes;
  const struct piece *oldest = piece_at(source, 0);
  for (;;) {
    if (!lanes_ready(lanes, failure)) return false;
    bool going = ask_ahead(source, failure) && (source->asked == 0 || oldest->got > oldest->taken ||
                                                lanes_pump(lanes, true, failure));
    if (source->failure.code != 0) {
      *failure = source->failure;
      return false;
    }
    if (going && (source->asked == 0 || oldest->got > oldest->taken)) return true;
    if (!going && !sftp_recover(lanes->all[0].sftp, &lanes->tries, lanes->doing, failure)) {
      return false;
    }
  }
}

/* At the end: the file must still be what it was. */
static bool check_end(struct sftp_source *source, struct failure *failure) {
  struct lanes *lanes = &source->lanes;
  struct lane *first = &lanes->all[0];
  struct sftp_attributes now;
  while (!source->checked) {
    if (!lanes_ready(lanes, failure)) return false;
    source->checked = sftp_fstat(first->sftp, &first->handle, lanes->name, &now, failure);
    if (!source->checked &&
        !sftp_recover(first->sftp, &lanes->tries, "checking the file", failure)) {
      return false;
    }
    if (source->checked) return lanes_check_same(lanes, &now, failure);
  }
  return true;
}

static ssize_t source_read_bytes(struct source *self, void *into, size_t size,
                                 struct failure *failure) {
  struct sftp_source *source = (struct sftp_source *)self;
  size_t done = 0;
  while (done < size && self->raw_bytes < self->total_bytes) {
    struct piece *oldest = piece_at(source, 0);
    if (!await_bytes(source, failure)) return -1;
    size_t part = oldest->got - oldest->taken;
    if (part > size - done) part = size - done;
    memcpy((char *)into + done, oldest->bytes + oldest->taken, part);
    oldest->taken += (uint32_t)part;
    self->raw_bytes += part;
    done += part;
    if (oldest->taken == oldest->wanted) {
      source->oldest = (source->oldest + 1) % source->count;
      source->asked--;
    }
  }
  if (done == 0 && !check_end(source, failure)) return -1;
  return (ssize_t)done;
}

static void source_close_file(struct source *self) {
  struct sftp_source *source = (struct sftp_source *)self;
  lanes_close(&source->lanes);
  for (size_t i = 0; source->pieces != NULL && i < source->count; i++) {
    free(source->pieces[i].bytes);
  }
  free(source->pieces);
  source_release(self);
  free(source);
}

/* Makes a source that is not open yet. */
static struct sftp_source *new_source(struct sftp *sftp, const char *path, const char *name,
                                      struct failure *failure) {
  struct sftp_source *source = calloc(1, sizeof *source);
  if (source == NULL || !lanes_init(&source->lanes, sftp, path, name, "reading", failure)) {
    if (source == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
    if (source != NULL) source_close_file(&source->base);
    return NULL;
  }
  source->lanes.flags = FXF_READ;
  source->base.read = source_read_bytes;
  source->base.close = source_close_file;
  source->base.name = strdup(name);
  source->piece_size = sftp_features(sftp)->read_size;
  source->count = SFTP_AHEAD / source->piece_size;
  source->pieces = calloc(source->count, sizeof *source->pieces);
  if (source->base.name != NULL && source->pieces != NULL) return source;
  source_close_file(&source->base);
  fail(failure, EXIT_INTERNAL, "out of memory");
  return NULL;
}

/* Opens the file for the first time. */
static bool open_first(struct sftp_source *source, struct failure *failure) {
  struct lanes *lanes = &source->lanes;
  struct lane *first = &lanes->all[0];
  struct sftp_attributes now;
  if (!sftp_open_file(first->sftp, lanes->path, FXF_READ, &first->handle, failure)) return false;
  lanes_opened(lanes);
  if (!sftp_fstat(first->sftp, &first->handle, lanes->name, &now, failure)) return false;
  if (!now.has_size) return fail(failure, EXIT_IO, "%s: the server knows no size", lanes->path);
  lanes->attributes = now;
  lanes->stays_the_same = true;
  source->base.total_bytes = now.size;
  return true;
}

struct source *sftp_source(struct sftp *sftp, const char *path, const char *name,
                           struct failure *failure) {
  struct sftp_source *source = new_source(sftp, path, name, failure);
  if (source == NULL) return NULL;
  while (!open_first(source, failure)) {
    if (!sftp_recover(sftp, &source->lanes.tries, "opening the file again", failure)) {
      source_close_file(&source->base);
      return NULL;
    }
  }
  return &source->base;
}
