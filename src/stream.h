/* Sources give bytes, sinks take them; the engine knows no other way in or out.
 * A source or sink is made by one of the constructors below (later also by the SFTP session) and
 * owned by whoever made it: close releases everything and may be called on any state. */
#ifndef TALLYMAN_STREAM_H
#define TALLYMAN_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"

struct digest; /* a SHA-256 in the making */

struct source {
  /* Reads up to `size` bytes; returns how many, 0 at the end, -1 with *failure set. */
  ssize_t (*read)(struct source *self, void *into, size_t size, struct failure *failure);
  /* Releases everything, `self` included. */
  void (*close)(struct source *self);
  char *name;            /* what messages call it */
  uint64_t raw_bytes;    /* bytes taken from the file or the wire so far (compressed ones, if so) */
  uint64_t total_bytes;  /* size of the file as found when it was opened; 0 = unknown */
  struct digest *digest; /* over the bytes delivered; NULL unless asked for */
};

struct sink {
  /* Takes all `size` bytes or fails. */
  bool (*write)(struct sink *self, const void *bytes, size_t size, struct failure *failure);
  /* Flushes, syncs, checks the size; after it, nothing can be written. Not called = abandoned. */
  bool (*finish)(struct sink *self, struct failure *failure);
  void (*close)(struct sink *self);
  char *name;
  uint64_t bytes; /* taken so far */
  enum { SINK_OPEN, SINK_FINISHED, SINK_BROKEN } state;
  struct digest *digest;
};

enum { SHA256_HEX = 64 };

/* The file at `path`, "-" for standard input. */
struct source *source_file(const char *path, struct failure *failure);

/* A copy of `size` bytes. */
struct source *source_memory(const char *name, const void *bytes, size_t size,
                             struct failure *failure);

/* Makes the source compute a SHA-256 of what it delivers. Call before the first read. */
bool source_want_digest(struct source *source, struct failure *failure);

/* For close functions: lets go of the digest, if there is one. */
void source_free_digest(struct source *source);

/* Reads through source->read and keeps the digest; what everybody calls. */
ssize_t source_read(struct source *source, void *into, size_t size, struct failure *failure);

/* A new file at `path`, which must not exist; mode as in open(2). "-" is standard output and
 * "/dev/stderr" standard error. */
struct sink *sink_file(const char *path, mode_t mode, struct failure *failure);

/* Collects in memory; sink_memory_bytes gives what it holds, valid until the next write. */
struct sink *sink_memory(struct failure *failure);
const char *sink_memory_bytes(const struct sink *sink, size_t *size);

/* Writes through sink->write and keeps count and digest; what everybody calls. A sink that failed
 * once, or was finished, takes nothing any more. */
bool sink_write(struct sink *sink, const void *bytes, size_t size, struct failure *failure);

/* Finishes through sink->finish; again: true. A sink that failed goes on failing. */
bool sink_finish(struct sink *sink, struct failure *failure);

/* The SHA-256 so far as lower-case hex and a final zero; false when none was asked for. */
bool digest_hex(const struct digest *digest, char hex[SHA256_HEX + 1]);

/* Renames `from` onto `to`, which must not exist (EXIT_CANT_CREATE) unless `replace`; then syncs
 * the folder, so that the name survives a power cut. */
bool publish_file(const char *from, const char *to, bool replace, struct failure *failure);

/* Set to the signal's number by the host; blocking calls of the engine give up when it is. */
extern volatile int stop_signal;

/* Fails with 128 + signal when a signal asked the process to stop. */
bool check_stop(struct failure *failure);

#endif
