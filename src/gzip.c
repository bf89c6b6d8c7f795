/* A source that inflates what another source gives, when that is gzip, and passes it on when not.
 * RFC 1952: a file may have several members one after the other; each ends with a check sum and a
 * length, which ISA-L verifies (it inflates three times as fast as zlib). A member without its end
 * means that the file was cut off. */
#include "gzip.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_BUFFER = 256 * 1024, PEEK = 2 };

enum state { PASS_PEEKED, PASS, INFLATE, BETWEEN_MEMBERS, ENDED };

struct inflating {
  struct source base;
  struct source *inner;
  enum state state;
  size_t peeked;
  unsigned char peek[PEEK];
  struct inflate_state *isal; /* NULL until it is known to be gzip */
  unsigned char *input;
};

/* Reads from the inner source and takes its byte count over, for progress. */
static ssize_t read_inner(struct inflating *self, void *into, size_t size,
                          struct failure *failure) {
  ssize_t got = self->inner->read(self->inner, into, size, failure);
  self->base.raw_bytes = self->inner->raw_bytes;
  return got;
}

/* Hands out the bytes that told plain from gzip, and reads on behind them. */
static ssize_t read_peeked(struct inflating *self, unsigned char *into, size_t size,
                           struct failure *failure) {
  size_t part = self->peeked < size ? self->peeked : size;
  memcpy(into, self->peek, part);
  memmove(self->peek, self->peek + part, self->peeked - part);
  self->peeked -= part;
  if (self->peeked == 0) self->state = PASS;
  if (part == size || part == 0) return (ssize_t)part;
  ssize_t got = read_inner(self, into + part, size - part, failure);
  return got < 0 ? -1 : (ssize_t)part + got;
}

/* Reads more input; false at the end of it or on failure (then *got is -1). */
static bool refill(struct inflating *self, ssize_t *got, struct failure *failure) {
  *got = read_inner(self, self->input, INPUT_BUFFER, failure);
  if (*got <= 0) return false;
  self->isal->next_in = self->input;
  self->isal->avail_in = (uint32_t)*got;
  return true;
}

/* After a member: another one begins, or zero padding follows, or nothing. */
static bool next_member(struct inflating *self, ssize_t *got, struct failure *failure) {
  struct inflate_state *isal = self->isal;
  while (isal->avail_in > 0 || refill(self, got, failure)) {
    if (*isal->next_in == 0x1f) {
      self->state = INFLATE;
      isal_inflate_reset(isal);
      return true;
    }
    if (*isal->next_in != 0) {
      *got = -1;
      return fail(failure, EXIT_BAD_DATA, "%s: bytes that are no gzip follow the compressed data",
                  self->base.name);
    }
    isal->next_in++;
    isal->avail_in--;
  }
  if (*got == 0) self->state = ENDED;
  return false;
}

/* Inflates what there is, and reads on when that gave nothing; false, with *got set, at the end of
 * the input or on failure. */
static bool inflate_some(struct inflating *self, size_t size, ssize_t *got,
                         struct failure *failure) {
  struct inflate_state *isal = self->isal;
  int result = isal_inflate(isal);
  if (result < 0) {
    *got = -1;
    return fail(failure, EXIT_BAD_DATA, "%s: the gzip data is damaged%s; upload the file again",
                self->base.name, result == ISAL_INCORRECT_CHECKSUM ? " (wrong check sum)" : "");
  }
  if (isal->block_state == ISAL_BLOCK_FINISH) self->state = BETWEEN_MEMBERS;
  bool stuck = self->state == INFLATE && isal->avail_out == size && isal->avail_in == 0;
  if (!stuck || refill(self, got, failure)) return true;
  if (*got < 0) return false;
  *got = -1;
  return fail(failure, EXIT_BAD_DATA, "%s: the gzip data is cut off; upload the file again",
              self->base.name);
}

/* Inflates until some bytes are there, the end is reached or something is wrong. */
static ssize_t read_inflated(struct inflating *self, void *into, size_t size,
                             struct failure *failure) {
  struct inflate_state *isal = self->isal;
  ssize_t got = 0;
  isal->next_out = into;
  isal->avail_out = (uint32_t)size;
  while (isal->avail_out == size && self->state != ENDED) {
    bool going = self->state == BETWEEN_MEMBERS ? next_member(self, &got, failure)
                                                : inflate_some(self, size, &got, failure);
    if (!going && got < 0) return -1;
  }
  return (ssize_t)(size - isal->avail_out);
}

static ssize_t inflating_read(struct source *source, void *into, size_t size,
                              struct failure *failure) {
  struct inflating *self = (struct inflating *)source;
  switch (self->state) {
    case PASS_PEEKED: return read_peeked(self, into, size, failure);
    case PASS: return read_inner(self, into, size, failure);
    default: return read_inflated(self, into, size, failure);
  }
}

static void inflating_close(struct source *source) {
  struct inflating *self = (struct inflating *)source;
  free(self->isal);
  free(self->input);
  self->inner->close(self->inner);
  source_release(source);
  free(self);
}

/* Gets ready to inflate, the peeked bytes being the first input. */
static bool start_inflating(struct inflating *self, struct failure *failure) {
  self->input = malloc(INPUT_BUFFER);
  self->isal = malloc(sizeof *self->isal);
  if (self->input == NULL || self->isal == NULL) {
    return fail(failure, EXIT_INTERNAL, "out of memory for inflating %s", self->base.name);
  }
  memcpy(self->input, self->peek, self->peeked);
  isal_inflate_init(self->isal);
  self->isal->crc_flag = ISAL_GZIP;
  self->isal->next_in = self->input;
  self->isal->avail_in = (uint32_t)self->peeked;
  self->state = INFLATE;
  return true;
}

static bool is_gzip(const unsigned char *bytes, size_t size) {
  return size == PEEK && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

/* Reads the first bytes and decides. */
static bool peek(struct inflating *self, struct failure *failure) {
  while (self->peeked < PEEK) {
    ssize_t got = read_inner(self, self->peek + self->peeked, PEEK - self->peeked, failure);
    if (got < 0) return false;
    if (got == 0) break;
    self->peeked += (size_t)got;
  }
  return is_gzip(self->peek, self->peeked) ? start_inflating(self, failure) : true;
}

/* Whether a source that can be read anywhere isn't gzip: then nothing has to stand between. */
static bool is_plain(struct source *inner) {
  unsigned char bytes[PEEK];
  struct failure ignored;
  size_t size = 0;
  if (inner->read_at == NULL) return false;
  while (size < PEEK) {
    ssize_t got = inner->read_at(inner, bytes + size, PEEK - size, size, &ignored);
    if (got < 0) return false;
    if (got == 0) break;
    size += (size_t)got;
  }
  return !is_gzip(bytes, size);
}

struct source *source_inflating(struct source *inner, struct failure *failure) {
  if (inner == NULL || is_plain(inner)) return inner;
  struct inflating *self = calloc(1, sizeof *self);
  char *name = inner->name == NULL ? NULL : strdup(inner->name);
  if (self == NULL || name == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
    free(self);
    free(name);
    inner->close(inner);
    return NULL;
  }
  self->base.read = inflating_read;
  self->base.close = inflating_close;
  self->base.name = name;
  self->base.total_bytes = inner->total_bytes;
  self->inner = inner;
  if (peek(self, failure)) return &self->base;
  inflating_close(&self->base);
  return NULL;
}
