/* Sources give bytes, sinks take them; the engine knows no other way in or out.
 * A source or sink is made by one of the constructors below (later also by the SFTP session) and
 * owned by whoever made it: close releases everything and may be called on any state. */
#ifndef TALLYMAN_STREAM_H
#define TALLYMAN_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "digest.h"
#include "failure.h"

struct source {
  /* Reads up to `size` bytes; returns how many, 0 at the end, -1 with *failure set. */
  ssize_t (*read)(struct source *self, void *into, size_t size, struct failure *failure);
  /* Reads at an offset of the file, from any thread, and leaves everything as it is: what was read
   * has to be told by source_took, in order. NULL where bytes only come one after the other. */
  ssize_t (*read_at)(struct source *self, void *into, size_t size, uint64_t offset,
                     struct failure *failure);
  /* Releases everything, `self` included. */
  void (*close)(struct source *self);
  char *name;           /* what messages call it */
  uint64_t raw_bytes;   /* bytes taken from the file or the wire so far (compressed ones, if so) */
  uint64_t total_bytes; /* size of the file as found when it was opened; 0 = unknown */
  uint64_t bytes;       /* delivered so far */
  struct digest *digest, *fingerprint; /* SHA-256, XXH3-128 of those; NULL unless asked for */
  uint64_t cut_after; /* for tests: it fails once so many bytes were delivered; 0: never */
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

/* The file at `path`, "-" for standard input. */
struct source *source_file(const char *path, struct failure *failure);

/* A copy of `size` bytes. */
struct source *source_memory(const char *name, const void *bytes, size_t size,
                             struct failure *failure);

/* Makes the source compute a digest of what it delivers. Call before the first read. */
bool source_want_digest(struct source *source, enum digest_kind kind, struct failure *failure);

/* For close functions: lets go of what every source has. */
void source_release(struct source *source);

/* Reads through source->read and keeps count and digests; what everybody calls. */
ssize_t source_read(struct source *source, void *into, size_t size, struct failure *failure);

/* Counts and digests bytes that were read by source->read_at; in the order of the file. */
void source_took(struct source *source, const void *bytes, size_t size);

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

/* Renames `from` onto `to`, which must not exist (EXIT_CANT_CREATE) unless `replace`; then syncs
 * the folder, so that the name survives a power cut. */
bool publish_file(const char *from, const char *to, bool replace, struct failure *failure);

/* Set to the signal's number by the host; blocking calls of the engine give up when it is. */
extern volatile int stop_signal;

/* Fails with 128 + signal when a signal asked the process to stop. */
bool check_stop(struct failure *failure);

/* While it is true, check_stop says nothing: for what has to be tidied up after a stop. A second
 * signal ends the process all the same. */
extern bool stop_grace;

#endif
