/* Sources and sinks when things go wrong: a full disk in the middle of a write, a device that is
 * full, inner sources that fail, closing in every state. Under the sanitizers also: nothing leaks.
 */
#define _GNU_SOURCE
#include "../../src/stream.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "../../src/gzip.h"
#include "check.h"

static const char SHA_EMPTY[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char SHA_ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static char folder[] = "/tmp/stream_test.XXXXXX";

/* A path in the test's folder, valid until the next but three. */
static const char *path_of(const char *name) {
  static char paths[4][100];
  static int turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

/* A file's size; -1 if it isn't there. */
static long long size_of(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? (long long)status.st_size : -1;
}

static bool write_text(struct sink *sink, const char *text) {
  struct failure failure = {0};
  return sink_write(sink, text, strlen(text), &failure);
}

/* Whether the digest so far reads `hex`. */
static bool reads(const struct digest *digest, const char *hex) {
  char found[DIGEST_HEX + 1];
  return digest_hex(digest, found) && strcmp(found, hex) == 0;
}

/* ---- digests ---- */

static void test_digest_of_sinks(void) {
  struct failure failure = {0};
  struct sink *sinks[] = {sink_memory(&failure), sink_file(path_of("digest"), 0600, &failure)};
  for (int i = 0; i < 2; i++) {
    if (!CHECK(sinks[i] != NULL)) continue;
    CHECK(reads(sinks[i]->digest, SHA_EMPTY));
    CHECK(write_text(sinks[i], "a") && write_text(sinks[i], "") && write_text(sinks[i], "bc"));
    CHECK(reads(sinks[i]->digest, SHA_ABC) && reads(sinks[i]->digest, SHA_ABC));
    CHECK(sink_finish(sinks[i], &failure));
    CHECK(reads(sinks[i]->digest, SHA_ABC) && sinks[i]->bytes == 3);
    sinks[i]->close(sinks[i]);
  }
  CHECK(size_of(path_of("digest")) == 3);
}

static void test_digest_of_sources(void) {
  struct failure failure = {0};
  char bytes[2];
  struct source *source = source_memory("text", "abc", 3, &failure);
  CHECK(!digest_hex(source->digest, (char[DIGEST_HEX + 1]){0}));
  CHECK(source_want_digest(source, DIGEST_SHA256, &failure) && reads(source->digest, SHA_EMPTY));
  CHECK(source_read(source, bytes, 2, &failure) == 2);
  CHECK(source_read(source, bytes, 2, &failure) == 1);
  CHECK(reads(source->digest, SHA_ABC));
  CHECK(source_read(source, bytes, 2, &failure) == 0 && reads(source->digest, SHA_ABC));
  source->close(source);
}

/* ---- full disks ---- */

/* Lets no file grow beyond `size`; a write that would is cut short, and the next one fails. */
static void limit_files(rlim_t size) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
  setrlimit(RLIMIT_FSIZE, &limit);
}

/* Writes pieces of one size until one is refused or `total` is written; then finish must fail,
 * again and again, even if room has come by. */
static void fill(const char *name, size_t piece, size_t total) {
  struct failure failure = {0};
  struct sink *sink = sink_file(path_of(name), 0600, &failure);
  if (!CHECK(sink != NULL)) return;
  char *bytes = calloc(1, piece);
  bool written = true;
  limit_files(100000);
  for (size_t done = 0; written && done < total; done += piece) {
    written = sink_write(sink, bytes, piece, &failure);
  }
  CHECK(written || failure.code == EXIT_IO);
  if (written) CHECK(!sink_finish(sink, &failure) && failure.code == EXIT_IO);
  limit_files(RLIM_INFINITY);
  CHECK(!sink_finish(sink, &failure) && failure.code == EXIT_IO);
  CHECK(!sink_finish(sink, &failure));
  CHECK(size_of(path_of(name)) <= 100000);
  sink->close(sink);
  free(bytes);
}

static void test_full_disk(void) {
  fill("small pieces", 100, 200000);    /* a flush fails in the middle */
  fill("at the end", 100, 101000);      /* only the last flush fails */
  fill("large pieces", 70000, 210000);  /* a piece is cut short */
  fill("exactly full", 100000, 200000); /* a piece fails as a whole */
  fill("one large piece", 200000, 200000);
}

/* Lets standard output be `descriptor`, which is closed; returns what it was, for put_back. */
static int become_output(int descriptor) {
  fflush(stdout);
  int saved = dup(STDOUT_FILENO);
  dup2(descriptor, STDOUT_FILENO);
  close(descriptor);
  return saved;
}

static void put_back(int saved) {
  dup2(saved, STDOUT_FILENO);
  close(saved);
}

/* The same on a device that isn't a file. */
static void test_full_device(void) {
  struct failure failure = {0};
  static const char large[100000];
  int saved = become_output(open("/dev/full", O_WRONLY));
  struct sink *small_sink = sink_file("-", 0, &failure), *large_sink = sink_file("-", 0, &failure);
  bool buffered = write_text(small_sink, "small");
  bool finished = sink_finish(small_sink, &failure);
  bool finished_later = sink_finish(small_sink, &failure);
  int code = failure.code;
  bool written = sink_write(large_sink, large, sizeof large, &failure);
  bool finished_large = sink_finish(large_sink, &failure);
  small_sink->close(small_sink);
  large_sink->close(large_sink);
  put_back(saved);
  CHECK(buffered && !finished && code == EXIT_IO);
  CHECK(!finished_later);
  CHECK(!written && !finished_large && failure.code == EXIT_IO);
  CHECK(strstr(failure.text, "standard output") != NULL);
}

/* A pipe that takes a part only: the rest must not be lost in silence. */
static void test_full_pipe(void) {
  struct failure failure = {0};
  static const char large[1000000];
  int ends[2];
  if (!CHECK(pipe2(ends, O_NONBLOCK) == 0)) return;
  int saved = become_output(ends[1]);
  struct sink *sink = sink_file("-", 0, &failure);
  bool written = sink_write(sink, large, sizeof large, &failure) && sink_finish(sink, &failure);
  sink->close(sink);
  put_back(saved);
  close(ends[0]);
  CHECK(!written && failure.code == EXIT_IO);
}

/* ---- closing in any state ---- */

static void test_closing_sinks(void) {
  struct failure failure = {0};
  for (int state = 0; state < 4; state++) {
    struct sink *sinks[] = {sink_memory(&failure), sink_file(path_of("closing"), 0600, &failure)};
    for (int i = 0; i < 2; i++) {
      if (!CHECK(sinks[i] != NULL)) continue;
      if (state > 0) CHECK(write_text(sinks[i], "text"));
      if (state > 1) CHECK(sink_finish(sinks[i], &failure));
      if (state > 2) CHECK(!write_text(sinks[i], "more")); /* or it would be lost in silence */
      sinks[i]->close(sinks[i]);
    }
    CHECK(size_of(path_of("closing")) == (state > 1 ? 4 : 0));
    unlink(path_of("closing"));
  }
}

static void test_names(void) {
  struct failure failure = {0};
  struct sink *sink = sink_file(path_of("taken"), 0600, &failure);
  CHECK(write_text(sink, "mine") && sink_finish(sink, &failure));
  sink->close(sink);
  CHECK(sink_file(path_of("taken"), 0600, &failure) == NULL && failure.code == EXIT_CANT_CREATE);
  CHECK(source_file(folder, &failure) == NULL && failure.code == EXIT_NO_INPUT);
  CHECK(source_file(path_of("nothing"), &failure) == NULL && failure.code == EXIT_NO_INPUT);
  CHECK(publish_file(path_of("taken"), path_of("new"), false, &failure));
  CHECK(size_of(path_of("taken")) == -1 && size_of(path_of("new")) == 4);
  CHECK(!publish_file(path_of("taken"), path_of("other"), false, &failure));
  sink = sink_file(path_of("empty"), 0600, &failure);
  sink->close(sink);
  CHECK(!publish_file(path_of("empty"), path_of("new"), false, &failure));
  CHECK(failure.code == EXIT_CANT_CREATE && size_of(path_of("new")) == 4);
  CHECK(publish_file(path_of("empty"), path_of("new"), true, &failure));
  CHECK(size_of(path_of("new")) == 0 && size_of(path_of("empty")) == -1);
}

/* A signal that asks to stop ends reading and writing. */
static void test_stop(void) {
  struct failure failure = {0};
  char byte;
  struct sink *sink = sink_file(path_of("stopped"), 0600, &failure);
  struct source *source = source_file("/dev/zero", &failure);
  CHECK(write_text(sink, "text") && source_read(source, &byte, 1, &failure) == 1);
  stop_signal = SIGTERM;
  CHECK(source_read(source, &byte, 1, &failure) == -1 && failure.code == 128 + SIGTERM);
  CHECK(!sink_finish(sink, &failure) && failure.code == 128 + SIGTERM);
  stop_signal = 0;
  CHECK(source_read(source, &byte, 1, &failure) == 1);
  source->close(source);
  sink->close(sink);
}

/* ---- gzip over inner sources that misbehave ---- */

struct inner {
  struct source base;
  const unsigned char *bytes;
  size_t size, fails_at;
  int *closed;
};

/* A byte at a time, until it fails. */
static ssize_t inner_read(struct source *self, void *into, size_t size, struct failure *failure) {
  struct inner *inner = (struct inner *)self;
  if (self->raw_bytes >= inner->fails_at) {
    fail(failure, EXIT_UNAVAILABLE, "the link is gone");
    return -1;
  }
  if (size == 0 || self->raw_bytes == inner->size) return 0;
  *(unsigned char *)into = inner->bytes[self->raw_bytes++];
  return 1;
}

static void inner_close(struct source *self) {
  struct inner *inner = (struct inner *)self;
  ++*inner->closed;
  free(self);
}

static struct source *new_inner(const void *bytes, size_t size, size_t fails_at, int *closed) {
  static char name[] = "inner";
  struct inner *inner = calloc(1, sizeof *inner);
  *inner = (struct inner){.bytes = bytes, .size = size, .fails_at = fails_at, .closed = closed};
  inner->base.read = inner_read;
  inner->base.close = inner_close;
  inner->base.name = name;
  return &inner->base;
}

/* The text as a gzip member; returns its size. */
static size_t deflate_text(const char *text, unsigned char *into, size_t room) {
  z_stream zlib = {0};
  deflateInit2(&zlib, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  zlib.next_in = (unsigned char *)(uintptr_t)text;
  zlib.avail_in = (uInt)strlen(text);
  zlib.next_out = into;
  zlib.avail_out = (uInt)room;
  deflate(&zlib, Z_FINISH);
  deflateEnd(&zlib);
  return room - zlib.avail_out;
}

/* Reads all, `step` bytes at a time; returns how many, or -1. */
static ssize_t read_all(struct source *source, size_t step, char *into, struct failure *failure) {
  ssize_t sum = 0, got;
  while ((got = source_read(source, into + sum, step, failure)) > 0) sum += got;
  return got < 0 ? -1 : sum;
}

/* Both members come out, however small the pieces; cut or failing anywhere, no good end. */
static void test_gzip(void) {
  unsigned char packed[200];
  char out[200];
  size_t first = deflate_text("first,", packed, sizeof packed);
  size_t size = first + deflate_text("second\n", packed + first, sizeof packed - first);
  int wrong = 0, closed = 0, opened = 0;
  for (size_t at = 0; at <= size; at++) {
    for (size_t step = 1; step < 20; step++) {
      struct failure failure = {0};
      bool whole = at == size || at == first || at < 2; /* a byte alone is no gzip yet */
      struct source *cut = source_inflating(new_inner(packed, at, SIZE_MAX, &closed), &failure);
      struct source *bad = source_inflating(new_inner(packed, size, at, &closed), &failure);
      opened += 2;
      ssize_t got = cut == NULL ? -1 : read_all(cut, step, out, &failure);
      wrong += whole ? got < 0 : got >= 0 || failure.code != EXIT_BAD_DATA;
      wrong += at == size && (got != 13 || memcmp(out, "first,second\n", 13) != 0);
      got = bad == NULL ? -1 : read_all(bad, step, out, &failure);
      wrong += got >= 0 || failure.code != EXIT_UNAVAILABLE;
      if (cut != NULL) cut->close(cut);
      if (bad != NULL) bad->close(bad);
    }
  }
  CHECK(wrong == 0);
  CHECK(closed == opened);
}

/* What is no gzip passes untouched, whatever its length and the reader's steps. */
static void test_no_gzip(void) {
  static const char text[] = "\x1f plain";
  char out[20];
  int wrong = 0, closed = 0;
  for (size_t size = 0; size < sizeof text; size++) {
    for (size_t step = 1; step < 5; step++) {
      struct failure failure = {0};
      struct source *source = source_inflating(new_inner(text, size, SIZE_MAX, &closed), &failure);
      wrong += read_all(source, step, out, &failure) != (ssize_t)size;
      wrong += memcmp(out, text, size) != 0 || source->raw_bytes != size;
      source->close(source);
    }
  }
  CHECK(wrong == 0);
  CHECK(closed == 4 * (int)sizeof text);
}

int main(void) {
  if (mkdtemp(folder) == NULL) return 1;
  signal(SIGXFSZ, SIG_IGN);
  test_digest_of_sinks();
  test_digest_of_sources();
  test_full_disk();
  test_full_device();
  test_full_pipe();
  test_closing_sinks();
  test_names();
  test_stop();
  test_gzip();
  test_no_gzip();
  char command[100];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0) puts("the test's folder could not be removed");
  return check_report();
}
