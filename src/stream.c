/* Files and memory as sources and sinks.
 * File sinks buffer: a filter writes a few dozen bytes at a time.
 * Nothing appears under its final name here: publish_file does that, once the bytes are safe. */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SINK_BUFFER = 64 * 1024, PIPE_SIZE = 1024 * 1024 };

volatile int stop_signal = 0;
bool stop_grace = false;

bool check_stop(struct failure *failure) {
  if (stop_signal == 0 || stop_grace) return true;
  return fail(failure, 128 + stop_signal, "stopped by signal %d", stop_signal);
}

/* Allocates zeroed memory or fails in words. */
static void *allocate(size_t size, struct failure *failure) {
  void *memory = calloc(1, size);
  if (memory == NULL) fail(failure, EXIT_INTERNAL, "out of memory (%zu bytes)", size);
  return memory;
}

/* ---- sources ---- */

struct file_source {
  struct source base;
  int descriptor;
};

/* Reads at an offset, or, where it is negative, what comes next. */
static ssize_t read_descriptor(struct file_source *file, void *into, size_t size, off_t offset,
                               struct failure *failure) {
  for (;;) {
    if (!check_stop(failure)) return -1;
    ssize_t got = offset < 0 ? read(file->descriptor, into, size)
                             : pread(file->descriptor, into, size, offset);
    if (got >= 0) return got;
    if (errno == EINTR) continue;
    fail_errno(failure, EXIT_IO, "cannot read %s", file->base.name);
    return -1;
  }
}

static ssize_t file_read(struct source *self, void *into, size_t size, struct failure *failure) {
  ssize_t got = read_descriptor((struct file_source *)self, into, size, -1, failure);
  if (got > 0) self->raw_bytes += (uint64_t)got;
  return got;
}

static ssize_t file_read_at(struct source *self, void *into, size_t size, uint64_t offset,
                            struct failure *failure) {
  return read_descriptor((struct file_source *)self, into, size, (off_t)offset, failure);
}

static void file_close(struct source *self) {
  struct file_source *file = (struct file_source *)self;
  if (file->descriptor > STDIN_FILENO) close(file->descriptor);
  source_release(self);
  free(self);
}

/* Opens what source_file names; checks that it is no folder. */
static bool open_for_reading(struct file_source *file, const char *path, struct failure *failure) {
  struct stat status;
  bool standard_input = strcmp(path, "-") == 0;
  file->descriptor = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0) {
    return fail_errno(failure, EXIT_NO_INPUT, "cannot open %s", path);
  }
  if (S_ISDIR(status.st_mode)) return fail(failure, EXIT_NO_INPUT, "%s is a folder", path);
  /* A wide pipe means fewer turns between writer and reader; where none can be had, so be it. */
  if (S_ISFIFO(status.st_mode)) (void)fcntl(file->descriptor, F_SETPIPE_SZ, PIPE_SIZE);
  if (!S_ISREG(status.st_mode)) return true;
  file->base.total_bytes = (uint64_t)status.st_size;
  /* Standard input may be somewhere in the middle of its file. */
  if (!standard_input) file->base.read_at = file_read_at;
  return true;
}

struct source *source_file(const char *path, struct failure *failure) {
  struct file_source *file = allocate(sizeof *file, failure);
  if (file == NULL) return NULL;
  file->base.read = file_read;
  file->base.close = file_close;
  file->base.name = strdup(strcmp(path, "-") == 0 ? "standard input" : path);
  if (!open_for_reading(file, path, failure)) {
    file_close(&file->base);
    return NULL;
  }
  return &file->base;
}

struct memory_source {
  struct source base;
  size_t size;
  unsigned char bytes[];
};

static ssize_t memory_read(struct source *self, void *into, size_t size, struct failure *failure) {
  struct memory_source *memory = (struct memory_source *)self;
  (void)failure;
  size_t left = memory->size - (size_t)self->raw_bytes;
  if (size > left) size = left;
  memcpy(into, memory->bytes + self->raw_bytes, size);
  self->raw_bytes += size;
  return (ssize_t)size;
}

static ssize_t memory_read_at(struct source *self, void *into, size_t size, uint64_t offset,
                              struct failure *failure) {
  struct memory_source *memory = (struct memory_source *)self;
  (void)failure;
  if (offset >= memory->size) return 0;
  if (size > memory->size - offset) size = memory->size - (size_t)offset;
  memcpy(into, memory->bytes + offset, size);
  return (ssize_t)size;
}

static void memory_close(struct source *self) {
  source_release(self);
  free(self);
}

struct source *source_memory(const char *name, const void *bytes, size_t size,
                             struct failure *failure) {
  struct memory_source *memory = allocate(sizeof *memory + size, failure);
  if (memory == NULL) return NULL;
  memory->base.read = memory_read;
  memory->base.read_at = memory_read_at;
  memory->base.close = memory_close;
  memory->base.name = strdup(name);
  memory->base.total_bytes = size;
  memory->size = size;
  memcpy(memory->bytes, bytes, size);
  return &memory->base;
}

bool source_want_digest(struct source *source, enum digest_kind kind, struct failure *failure) {
  struct digest *digest = digest_new(kind, failure);
  *(kind == DIGEST_SHA256 ? &source->digest : &source->fingerprint) = digest;
  return digest != NULL;
}

void source_release(struct source *source) {
  digest_free(source->digest);
  digest_free(source->fingerprint);
  free(source->name);
}

/* Counts and digests what was delivered. */
static void delivered(struct source *source, const void *bytes, size_t size) {
  source->bytes += size;
  digest_update(source->digest, bytes, size);
  digest_update(source->fingerprint, bytes, size);
}

ssize_t source_read(struct source *source, void *into, size_t size, struct failure *failure) {
  if (source->cut_after > 0) {
    uint64_t left = source->cut_after - source->bytes;
    if (left == 0) {
      fail(failure, EXIT_UNAVAILABLE, "%s: cut off after %llu bytes", source->name,
           (unsigned long long)source->cut_after);
      return -1;
    }
    if (size > left) size = (size_t)left;
  }
  ssize_t got = source->read(source, into, size, failure);
  if (got > 0) delivered(source, into, (size_t)got);
  return got;
}

void source_took(struct source *source, const void *bytes, size_t size) {
  source->raw_bytes += size;
  delivered(source, bytes, size);
}

/* ---- sinks ---- */

struct file_sink {
  struct sink base;
  int descriptor;
  size_t held;
  char buffer[SINK_BUFFER];
};

/* Writes all bytes to the descriptor. */
static bool write_all(struct file_sink *file, const char *bytes, size_t size,
                      struct failure *failure) {
  while (size > 0) {
    if (!check_stop(failure)) return false;
    ssize_t put = write(file->descriptor, bytes, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno(failure, EXIT_IO, "cannot write %s", file->base.name);
    bytes += put;
    size -= (size_t)put;
  }
  return true;
}

/* Empties the buffer. */
static bool flush(struct file_sink *file, struct failure *failure) {
  size_t held = file->held;
  file->held = 0;
  return write_all(file, file->buffer, held, failure);
}

static bool file_write(struct sink *self, const void *bytes, size_t size, struct failure *failure) {
  struct file_sink *file = (struct file_sink *)self;
  if (size > SINK_BUFFER - file->held && !flush(file, failure)) return false;
  if (size >= SINK_BUFFER) return write_all(file, bytes, size, failure);
  memcpy(file->buffer + file->held, bytes, size);
  file->held += size;
  return true;
}

static bool file_finish(struct sink *self, struct failure *failure) {
  struct file_sink *file = (struct file_sink *)self;
  struct stat status;
  if (!flush(file, failure)) return false;
  if (fstat(file->descriptor, &status) != 0) {
    return fail_errno(failure, EXIT_IO, "cannot look at %s", self->name);
  }
  if (!S_ISREG(status.st_mode) || file->descriptor <= STDERR_FILENO) return true;
  if ((uint64_t)status.st_size != self->bytes) {
    return fail(failure, EXIT_IO, "%s has %lld bytes where %llu were written", self->name,
                (long long)status.st_size, (unsigned long long)self->bytes);
  }
  if (fsync(file->descriptor) != 0) {
    return fail_errno(failure, EXIT_IO, "cannot sync %s", self->name);
  }
  return true;
}

static void file_sink_close(struct sink *self) {
  struct file_sink *file = (struct file_sink *)self;
  if (file->descriptor > STDERR_FILENO) close(file->descriptor);
  digest_free(self->digest);
  free(self->name);
  free(self);
}

/* The descriptor for a path: the standard streams as they are, anything else a new file. */
static int open_for_writing(const char *path, mode_t mode) {
  if (strcmp(path, "-") == 0) return STDOUT_FILENO;
  if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
}

struct sink *sink_file(const char *path, mode_t mode, struct failure *failure) {
  struct file_sink *file = allocate(sizeof *file, failure);
  if (file == NULL) return NULL;
  file->base.write = file_write;
  file->base.finish = file_finish;
  file->base.close = file_sink_close;
  file->base.name = strdup(strcmp(path, "-") == 0 ? "standard output" : path);
  file->base.digest = digest_new(DIGEST_SHA256, failure);
  file->descriptor = open_for_writing(path, mode);
  if (file->base.digest == NULL || file->descriptor < 0) {
    if (file->descriptor < 0) fail_errno(failure, EXIT_CANT_CREATE, "cannot create %s", path);
    file_sink_close(&file->base);
    return NULL;
  }
  return &file->base;
}

struct memory_sink {
  struct sink base;
  char *held;
  size_t capacity;
};

static bool memory_write(struct sink *self, const void *bytes, size_t size,
                         struct failure *failure) {
  struct memory_sink *memory = (struct memory_sink *)self;
  size_t used = (size_t)self->bytes;
  if (used + size > memory->capacity) {
    size_t capacity = 2 * (used + size);
    char *grown = realloc(memory->held, capacity);
    if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory (%zu bytes)", capacity);
    memory->held = grown;
    memory->capacity = capacity;
  }
  if (size > 0) memcpy(memory->held + used, bytes, size);
  return true;
}

static bool memory_finish(struct sink *self, struct failure *failure) {
  (void)self;
  (void)failure;
  return true;
}

static void memory_sink_close(struct sink *self) {
  struct memory_sink *memory = (struct memory_sink *)self;
  digest_free(self->digest);
  free(memory->held);
  free(self->name);
  free(self);
}

struct sink *sink_memory(struct failure *failure) {
  struct memory_sink *memory = allocate(sizeof *memory, failure);
  if (memory == NULL) return NULL;
  memory->base.write = memory_write;
  memory->base.finish = memory_finish;
  memory->base.close = memory_sink_close;
  memory->base.name = strdup("memory");
  memory->base.digest = digest_new(DIGEST_SHA256, failure);
  return &memory->base;
}

const char *sink_memory_bytes(const struct sink *sink, size_t *size) {
  if (sink->write != memory_write) return NULL;
  *size = (size_t)sink->bytes;
  const char *held = ((const struct memory_sink *)sink)->held;
  return held == NULL ? "" : held;
}

bool sink_write(struct sink *sink, const void *bytes, size_t size, struct failure *failure) {
  if (sink->state != SINK_OPEN) {
    return fail(failure, EXIT_IO, "%s %s and takes nothing any more", sink->name,
                sink->state == SINK_BROKEN ? "failed before" : "is finished");
  }
  if (!sink->write(sink, bytes, size, failure)) {
    sink->state = SINK_BROKEN;
    return false;
  }
  digest_update(sink->digest, bytes, size);
  sink->bytes += size;
  return true;
}

bool sink_finish(struct sink *sink, struct failure *failure) {
  if (sink->state == SINK_FINISHED) return true;
  if (sink->state == SINK_BROKEN) {
    return fail(failure, EXIT_IO, "%s failed before", sink->name);
  }
  bool done = sink->finish(sink, failure);
  sink->state = done ? SINK_FINISHED : SINK_BROKEN;
  return done;
}

/* ---- names ---- */

/* Makes the folder's entries durable. A file system that can't sync folders is left alone. */
static void sync_folder_of(const char *path) {
  char *copy = strdup(path);
  if (copy == NULL) return;
  int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);
    close(folder);
  }
  free(copy);
}

/* Renames without ever replacing; file systems without RENAME_NOREPLACE get link and unlink. */
static int rename_exclusively(const char *from, const char *to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (link(from, to) != 0) return -1;
  return unlink(from);
}

bool publish_file(const char *from, const char *to, bool replace, struct failure *failure) {
  int result = replace ? rename(from, to) : rename_exclusively(from, to);
  if (result != 0 && errno == EEXIST) {
    return fail(failure, EXIT_CANT_CREATE, "%s exists already", to);
  }
  if (result != 0) return fail_errno(failure, EXIT_CANT_CREATE, "cannot rename %s to %s", from, to);
  sync_folder_of(to);
  return true;
}
