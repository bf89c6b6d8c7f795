/* Reading ahead: a ring of requests in the order of the file. What comes for any of them is put in
 * its place; the reader takes from the oldest, and each slot that it has emptied asks for the next
 * piece. A short answer only means that the rest of that piece is asked for again. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sftp_wire.h"

/* One piece of the file. */
struct piece {
  struct sftp_request request; /* first, so that an answer finds its piece */
  struct sftp_source *source;
  uint64_t offset;
  uint32_t wanted, got, taken; /* bytes: of the piece, arrived, read by the reader */
  unsigned char *bytes;
};

struct sftp_source {
  struct source base;
  struct sftp *sftp;
  char *path;
  struct sftp_attributes attributes; /* as they were at first */
  struct sftp_handle handle;
  unsigned generation; /* of the handle */
  uint64_t next;       /* offset that is asked for next */
  struct piece *pieces;
  size_t count, oldest, asked; /* pieces in the ring; the oldest; how many hold or await bytes */
  uint32_t piece_size;
  int tries;              /* to connect again since bytes came last */
  struct failure failure; /* what an answer said; code 0: nothing wrong */
  bool checked;           /* at the end, that the file is still the same */
};

/* ---- answers ---- */

/* Takes an answer's bytes. */
static void take_data(struct piece *piece, struct wire *answer) {
  struct sftp_source *source = piece->source;
  uint32_t size;
  const unsigned char *bytes = wire_string(answer, &size);
  if (bytes == NULL || size == 0 || size > piece->wanted - piece->got) {
    fail(&source->failure, EXIT_IO, "%s: the server sends %u bytes where %u were asked for",
         source->base.name, size, piece->wanted - piece->got);
    return;
  }
  memcpy(piece->bytes + piece->got, bytes, size);
  piece->got += size;
  source->tries = 0;
}

static void piece_answered(struct sftp_request *self, uint8_t type, struct wire *answer) {
  struct piece *piece = (struct piece *)self;
  struct sftp_source *source = piece->source;
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

/* Asks for what is missing of a piece. */
static bool ask(struct sftp_source *source, struct piece *piece, struct failure *failure) {
  struct sftp *sftp = source->sftp;
  piece->request.answered = piece_answered;
  if (!sftp_begin(sftp, FXP_READ, &piece->request, failure)) return false;
  sftp_put_string(sftp, source->handle.bytes, source->handle.size);
  sftp_put_u64(sftp, piece->offset + piece->got);
  sftp_put_u32(sftp, piece->wanted - piece->got);
  sftp_end(sftp);
  return true;
}

static struct piece *piece_at(struct sftp_source *source, size_t i) {
  return &source->pieces[(source->oldest + i) % source->count];
}

/* Asks for as much as the ring holds, and again for the rest of pieces that came short. */
static bool ask_ahead(struct sftp_source *source, struct failure *failure) {
  for (size_t i = 0; i < source->asked; i++) {
    struct piece *piece = piece_at(source, i);
    bool short_of = !piece->request.pending && piece->got < piece->wanted;
    if (short_of && !ask(source, piece, failure)) return false;
  }
  while (source->asked < source->count && source->next < source->base.total_bytes) {
    struct piece *piece = piece_at(source, source->asked);
    uint64_t left = source->base.total_bytes - source->next;
    if (piece->bytes == NULL) piece->bytes = malloc(source->piece_size);
    if (piece->bytes == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
    piece->source = source;
    piece->offset = source->next;
    piece->wanted = left < source->piece_size ? (uint32_t)left : source->piece_size;
    piece->got = piece->taken = 0;
    if (!ask(source, piece, failure)) return false;
    source->next += piece->wanted;
    source->asked++;
  }
  return true;
}

/* ---- the file, again ---- */

/* Whether the file is the one that was opened first. */
static bool is_same(struct sftp_source *source, const struct sftp_attributes *now,
                    struct failure *failure) {
  bool same =
      now->has_size == source->attributes.has_size && now->size == source->attributes.size &&
      now->has_mtime == source->attributes.has_mtime && now->mtime == source->attributes.mtime;
  return same ||
         fail(failure, EXIT_TRY_AGAIN, "%s has changed while it was read", source->base.name);
}

/* Opens the file, the first time or after a drop: then it must be the same file. */
static bool open_again(struct sftp_source *source, bool first, struct failure *failure) {
  struct sftp_attributes now;
  if (!sftp_open_file(source->sftp, source->path, FXF_READ, &source->handle, failure)) return false;
  source->generation = sftp_generation(source->sftp);
  if (!sftp_fstat(source->sftp, &source->handle, source->base.name, &now, failure)) return false;
  if (!first) return is_same(source, &now, failure);
  if (!now.has_size) return fail(failure, EXIT_IO, "%s: the server knows no size", source->path);
  source->attributes = now;
  source->base.total_bytes = now.size;
  return true;
}

/* Makes the handle good, connecting again as often as it takes. Pieces that hadn't come whole are
 * asked for again by ask_ahead. */
static bool ensure_open(struct sftp_source *source, struct failure *failure) {
  while (source->generation != sftp_generation(source->sftp)) {
    if (open_again(source, false, failure)) return true;
    if (!sftp_recover(source->sftp, &source->tries, "going on with reading", failure)) return false;
  }
  return true;
}

/* ---- reading ---- */

/* Waits until the oldest piece has bytes that nobody has read. */
static bool await_bytes(struct sftp_source *source, struct failure *failure) {
  const struct piece *oldest = piece_at(source, 0);
  for (;;) {
    bool going = ensure_open(source, failure);
    if (!going) return false;
    going = ask_ahead(source, failure) && (source->asked == 0 || oldest->got > oldest->taken ||
                                           sftp_pump(source->sftp, true, failure));
    if (source->failure.code != 0) {
      *failure = source->failure;
      return false;
    }
    if (going && (source->asked == 0 || oldest->got > oldest->taken)) return true;
    if (!going && !sftp_recover(source->sftp, &source->tries, "going on with reading", failure))
      return false;
  }
}

/* At the end: the file must still be what it was. */
static bool check_end(struct sftp_source *source, struct failure *failure) {
  struct sftp_attributes now;
  while (!source->checked) {
    if (!ensure_open(source, failure)) return false;
    source->checked = sftp_fstat(source->sftp, &source->handle, source->base.name, &now, failure);
    if (!source->checked &&
        !sftp_recover(source->sftp, &source->tries, "checking the file", failure))
      return false;
    if (source->checked) return is_same(source, &now, failure);
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

/* Waits for what is under way, for its pieces are about to go, and closes the handle. */
static void let_go(struct sftp_source *source) {
  struct failure ignored = {0};
  for (size_t i = 0; i < source->count; i++) {
    while (source->pieces[i].request.pending) {
      if (!sftp_pump(source->sftp, true, &ignored)) return;
    }
  }
  if (source->handle.size > 0 && source->generation == sftp_generation(source->sftp)) {
    sftp_close_file(source->sftp, &source->handle, source->base.name, &ignored);
  }
}

static void source_close_file(struct source *self) {
  struct sftp_source *source = (struct sftp_source *)self;
  if (source->pieces != NULL) let_go(source);
  for (size_t i = 0; source->pieces != NULL && i < source->count; i++) {
    free(source->pieces[i].bytes);
  }
  free(source->pieces);
  free(source->path);
  sftp_release(source->sftp);
  source_release(self);
  free(source);
}

/* Makes a source that is not open yet. */
static struct sftp_source *new_source(struct sftp *sftp, const char *path, const char *name,
                                      struct failure *failure) {
  struct sftp_source *source = calloc(1, sizeof *source);
  if (source != NULL) {
    source->sftp = sftp;
    sftp_hold(sftp);
    source->base.read = source_read_bytes;
    source->base.close = source_close_file;
    source->base.name = strdup(name);
    source->path = strdup(path);
    source->piece_size = sftp_features(sftp)->read_size;
    source->count = SFTP_AHEAD / source->piece_size;
    source->pieces = calloc(source->count, sizeof *source->pieces);
    if (source->base.name != NULL && source->path != NULL && source->pieces != NULL) return source;
    source_close_file(&source->base);
  }
  fail(failure, EXIT_INTERNAL, "out of memory");
  return NULL;
}

struct source *sftp_source(struct sftp *sftp, const char *path, const char *name,
                           struct failure *failure) {
  struct sftp_source *source = new_source(sftp, path, name, failure);
  if (source == NULL) return NULL;
  while (!open_again(source, true, failure)) {
    if (!sftp_recover(sftp, &source->tries, "opening the file again", failure)) {
      source_close_file(&source->base);
      return NULL;
    }
  }
  return &source->base;
}
