/* Requests that are answered before anything else is done: files by name, folders, handles. Each is
 * made again after a drop, for none does harm a second time; rename finds out what has become of
 * the first. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "sftp_session.h"

/* A request and a copy of its answer. */
struct call {
  struct sftp_request request;
  uint8_t type;
  struct wire answer;
};

static void call_answered(struct sftp_request *self, uint8_t type, struct wire *answer) {
  struct call *call = (struct call *)self;
  size_t size = answer->size - answer->at;
  call->type = type;
  call->answer.bytes = malloc(size > 0 ? size : 1);
  if (call->answer.bytes == NULL) return;
  memcpy(call->answer.bytes, answer->bytes + answer->at, size);
  call->answer.size = size;
}

/* What a call is about. */
struct subject {
  uint8_t type;
  const char *extension;            /* for FXP_EXTENDED */
  const char *doing;                /* "open", "rename": for messages */
  const char *path, *other;         /* one or two names, */
  const struct sftp_handle *handle; /* or a handle */
  uint32_t flags;                   /* for FXP_OPEN */
  struct timespec deadline;         /* of the whole, if it is more than this call */
};

/* Writes the request. */
static bool begin_call(struct sftp *sftp, const struct subject *subject, struct call *call,
                       struct failure *failure) {
  memset(call, 0, sizeof *call);
  call->request.answered = call_answered;
  if (!sftp_begin(sftp, subject->type, &call->request, failure)) return false;
  if (subject->extension != NULL) {
    sftp_put_string(sftp, subject->extension, strlen(subject->extension));
  }
  if (subject->handle != NULL) {
    sftp_put_string(sftp, subject->handle->bytes, subject->handle->size);
  } else {
    sftp_put_string(sftp, subject->path, strlen(subject->path));
  }
  if (subject->other != NULL) sftp_put_string(sftp, subject->other, strlen(subject->other));
  if (subject->type == FXP_OPEN) sftp_put_u32(sftp, subject->flags);
  if (subject->type == FXP_OPEN || subject->type == FXP_MKDIR) sftp_put_u32(sftp, 0);
  return true;
}

/* Notes how long an answer took. */
static void note_round_trip(struct sftp *sftp, double seconds) {
  if (sftp->round_trip == 0 || seconds < sftp->round_trip) sftp->round_trip = seconds;
}

/* Sends what was begun for the call and waits for its answer. */
static bool finish_call(struct sftp *sftp, const struct subject *subject, struct call *call,
                        struct failure *failure) {
  struct timespec deadline = subject->deadline;
  if (deadline.tv_sec == 0) deadline = net_deadline(sftp->options.transfer_seconds);
  double began = net_seconds();
  sftp_end(sftp);
  while (call->request.pending) {
    if (!sftp_pump(sftp, true, failure)) return false;
    if (net_milliseconds_left(&deadline) > 0) continue;
    sftp_drop(sftp); /* the answer, should it come, has no place any more */
    return fail(failure, EXIT_TRY_AGAIN, "cannot %s %s within the %d seconds that it may take",
                subject->doing, subject->path, sftp->options.transfer_seconds);
  }
  if (call->answer.bytes == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  note_round_trip(sftp, net_seconds() - began);
  return true;
}

static bool call_once(struct sftp *sftp, const struct subject *subject, struct call *call,
                      struct failure *failure) {
  return begin_call(sftp, subject, call, failure) && finish_call(sftp, subject, call, failure);
}

/* Makes the call, again after a drop; those with a handle can't be, for the handle is void then.
 * The answer is to be freed. */
static bool make_call(struct sftp *sftp, const struct subject *subject, struct call *call,
                      struct failure *failure) {
  int tries = 0;
  while (!call_once(sftp, subject, call, failure)) {
    free(call->answer.bytes);
    call->answer.bytes = NULL;
    if (subject->handle != NULL || !sftp_recover(sftp, &tries, "asking again", failure)) {
      return false;
    }
  }
  return true;
}

bool fail_status(struct failure *failure, uint32_t status, const char *doing, const char *path) {
  switch (status) {
    case FX_NO_SUCH_FILE:
      return fail(failure, EXIT_NO_INPUT, "cannot %s %s: no such file or folder", doing, path);
    case FX_PERMISSION_DENIED:
      return fail(failure, EXIT_NOT_PERMITTED, "cannot %s %s: permission denied", doing, path);
    case FX_FILE_ALREADY_EXISTS:
      return fail(failure, EXIT_CANT_CREATE, "cannot %s %s: it exists already", doing, path);
    case FX_OP_UNSUPPORTED:
      return fail(failure, EXIT_IO, "cannot %s %s: the server doesn't know how", doing, path);
    default:
      return fail(failure, EXIT_IO, "cannot %s %s: the server says failure %u and no more", doing,
                  path, status);
  }
}

/* The status of an answer that has to be one; 0 (FX_OK) is success. */
static bool take_status(struct call *call, const struct subject *subject, uint32_t *status,
                        struct failure *failure) {
  *status = call->type == FXP_STATUS ? wire_u32(&call->answer) : FX_BAD_MESSAGE;
  bool understood = call->type == FXP_STATUS && !call->answer.broken;
  free(call->answer.bytes);
  return understood || fail(failure, EXIT_IO, "cannot %s %s: the server's answer makes no sense",
                            subject->doing, subject->path);
}

/* Makes a call that is answered by a status, and gives that. */
static bool ask_status(struct sftp *sftp, const struct subject *subject, uint32_t *status,
                       struct failure *failure) {
  struct call call;
  return make_call(sftp, subject, &call, failure) && take_status(&call, subject, status, failure);
}

/* The same where only success will do. */
static bool ask_ok(struct sftp *sftp, const struct subject *subject, struct failure *failure) {
  uint32_t status;
  if (!ask_status(sftp, subject, &status, failure)) return false;
  return status == FX_OK || fail_status(failure, status, subject->doing, subject->path);
}

/* ---- attributes ---- */

/* Asks for attributes; *status tells when there are none. */
static bool ask_attributes(struct sftp *sftp, const struct subject *subject, uint32_t *status,
                           struct sftp_attributes *attributes, struct failure *failure) {
  struct call call;
  if (!make_call(sftp, subject, &call, failure)) return false;
  if (call.type != FXP_ATTRS) return take_status(&call, subject, status, failure);
  *status = FX_OK;
  wire_attributes(&call.answer, attributes);
  bool broken = call.answer.broken;
  free(call.answer.bytes);
  return !broken || fail(failure, EXIT_IO, "cannot %s %s: the server's answer makes no sense",
                         subject->doing, subject->path);
}

bool sftp_stat(struct sftp *sftp, const char *path, bool *exists,
               struct sftp_attributes *attributes, struct failure *failure) {
  struct subject subject = {.type = FXP_STAT, .doing = "look at", .path = path};
  uint32_t status;
  if (!ask_attributes(sftp, &subject, &status, attributes, failure)) return false;
  *exists = status == FX_OK;
  return *exists || status == FX_NO_SUCH_FILE || fail_status(failure, status, subject.doing, path);
}

bool sftp_fstat(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                struct sftp_attributes *attributes, struct failure *failure) {
  struct subject subject = {.type = FXP_FSTAT, .doing = "look at", .path = path, .handle = handle};
  uint32_t status;
  if (!ask_attributes(sftp, &subject, &status, attributes, failure)) return false;
  return status == FX_OK || fail_status(failure, status, subject.doing, path);
}

/* ---- handles ---- */

/* Opens a file or a folder. */
static bool open_handle(struct sftp *sftp, const struct subject *subject,
                        struct sftp_handle *handle, struct failure *failure) {
  struct call call;
  uint32_t size, status;
  if (!make_call(sftp, subject, &call, failure)) return false;
  if (call.type != FXP_HANDLE) {
    if (!take_status(&call, subject, &status, failure)) return false;
    fail_status(failure, status, subject->doing, subject->path);
    bool new = subject->flags &FXF_CREAT;
    if (new && (failure->code == EXIT_NO_INPUT || failure->code == EXIT_IO)) {
      failure->code = EXIT_CANT_CREATE;
    }
    return false;
  }
  const unsigned char *bytes = wire_string(&call.answer, &size);
  bool usable = bytes != NULL && size <= sizeof handle->bytes;
  if (usable) memcpy(handle->bytes, bytes, size);
  handle->size = usable ? size : 0;
  free(call.answer.bytes);
  return usable || fail(failure, EXIT_IO, "cannot %s %s: the server's answer makes no sense",
                        subject->doing, subject->path);
}

bool sftp_open_file(struct sftp *sftp, const char *path, uint32_t flags, struct sftp_handle *handle,
                    struct failure *failure) {
  const char *doing = flags & FXF_CREAT ? "create" : "open";
  struct subject subject = {.type = FXP_OPEN, .doing = doing, .path = path, .flags = flags};
  return open_handle(sftp, &subject, handle, failure);
}

bool sftp_close_file(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                     struct failure *failure) {
  struct subject subject = {.type = FXP_CLOSE, .doing = "close", .path = path, .handle = handle};
  return ask_ok(sftp, &subject, failure);
}

bool sftp_fsync(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                struct failure *failure) {
  struct subject subject = {.type = FXP_EXTENDED,
                            .extension = "fsync@openssh.com",
                            .doing = "sync",
                            .path = path,
                            .handle = handle};
  return ask_ok(sftp, &subject, failure);
}

/* ---- folders ---- */

/* Visits the entries of one answer; *count is how many there were. */
static bool visit_names(struct wire *answer, uint32_t *count, sftp_visitor *visit, void *context,
                        const char *path, struct failure *failure) {
  char name[1024];
  struct sftp_attributes attributes;
  *count = wire_u32(answer);
  for (uint32_t i = 0; i < *count; i++) {
    uint32_t size, ignored;
    const unsigned char *bytes = wire_string(answer, &size);
    wire_string(answer, &ignored); /* the same as `ls -l` would print it */
    wire_attributes(answer, &attributes);
    if (answer->broken || size >= sizeof name || memchr(bytes, '\0', size) != NULL) {
      return fail(failure, EXIT_IO, "cannot list %s: the server's answer makes no sense", path);
    }
    memcpy(name, bytes, size);
    name[size] = '\0';
    bool itself = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (!itself && !visit(context, name, &attributes, failure)) return false;
  }
  return true;
}

/* Reads a folder's entries to their end. */
static bool read_folder(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                        sftp_visitor *visit, void *context, struct failure *failure) {
  struct subject subject = {.type = FXP_READDIR, .doing = "list", .path = path, .handle = handle};
  subject.deadline = net_deadline(sftp->options.transfer_seconds);
  for (;;) {
    struct call call;
    uint32_t status, count;
    if (!make_call(sftp, &subject, &call, failure)) return false;
    if (call.type != FXP_NAME) {
      return take_status(&call, &subject, &status, failure) &&
             (status == FX_EOF || fail_status(failure, status, subject.doing, path));
    }
    bool visited = visit_names(&call.answer, &count, visit, context, path, failure);
    free(call.answer.bytes);
    if (!visited) return false;
    if (count == 0) return fail(failure, EXIT_IO, "cannot list %s: it has no end", path);
  }
}

bool sftp_list(struct sftp *sftp, const char *path, sftp_visitor *visit, void *context,
               struct failure *failure) {
  struct subject subject = {.type = FXP_OPENDIR, .doing = "list", .path = path};
  struct sftp_handle handle;
  struct failure ignored;
  if (!open_handle(sftp, &subject, &handle, failure)) return false;
  bool listed = read_folder(sftp, &handle, path, visit, context, failure);
  if (listed || failure->code != EXIT_UNAVAILABLE) {
    sftp_close_file(sftp, &handle, path, &ignored);
  }
  return listed;
}

bool sftp_make_folder(struct sftp *sftp, const char *path, struct failure *failure) {
  struct subject subject = {.type = FXP_MKDIR, .doing = "make the folder", .path = path};
  struct sftp_attributes attributes;
  uint32_t status;
  bool exists = false;
  if (!ask_status(sftp, &subject, &status, failure)) return false;
  if (status == FX_OK) return true;
  /* Version 3 has no status for "exists already". */
  if (!sftp_stat(sftp, path, &exists, &attributes, failure)) return false;
  return exists || fail_status(failure, status, subject.doing, path);
}

/* Removes a file or folder; one that isn't there is removed already. */
static bool remove_by(struct sftp *sftp, uint8_t type, const char *path, struct failure *failure) {
  struct subject subject = {.type = type, .doing = "remove", .path = path};
  uint32_t status;
  if (!ask_status(sftp, &subject, &status, failure)) return false;
  return status == FX_OK || status == FX_NO_SUCH_FILE ||
         fail_status(failure, status, subject.doing, path);
}

bool sftp_remove(struct sftp *sftp, const char *path, struct failure *failure) {
  return remove_by(sftp, FXP_REMOVE, path, failure);
}

bool sftp_discard(struct sftp *sftp, const char *path, struct failure *failure) {
  enum { SECONDS = 2 }; /* for each step */
  struct sftp_options *options = &sftp->options, before = *options;
  options->ssh.connect_seconds = options->ssh.login_seconds = options->ssh.idle_seconds = SECONDS;
  options->transfer_seconds = SECONDS;
  options->attempts = options->attempts > 0 ? 1 : 0;
  stop_grace = true;
  struct sftp_attributes attributes;
  struct failure ignored;
  bool exists = true;
  bool removed = sftp_remove(sftp, path, failure) ||
                 (failure->code != EXIT_UNAVAILABLE && /* it may never have been made */
                  !(sftp_stat(sftp, path, &exists, &attributes, &ignored) && exists));
  stop_grace = false;
  *options = before;
  return removed;
}

bool sftp_remove_folder(struct sftp *sftp, const char *path, struct failure *failure) {
  return remove_by(sftp, FXP_RMDIR, path, failure);
}

/* ---- renaming ---- */

/* Whether a rename that wasn't answered, or answered by a failure, has happened all the same. */
static bool has_moved(struct sftp *sftp, const char *from, const char *to, bool *moved, bool *taken,
                      struct failure *failure) {
  struct sftp_attributes attributes;
  bool left;
  if (!sftp_stat(sftp, from, &left, &attributes, failure) ||
      !sftp_stat(sftp, to, taken, &attributes, failure)) {
    return false;
  }
  *moved = !left && *taken;
  return true;
}

/* Asks for a rename and gives its status. Where the answer is lost with the connection, what has
 * become of both names tells whether to ask again. */
static bool ask_rename(struct sftp *sftp, const struct subject *subject, uint32_t *status,
                       struct failure *failure) {
  struct call call;
  bool taken, moved;
  int tries = 0;
  *status = FX_OK;
  while (!call_once(sftp, subject, &call, failure)) {
    free(call.answer.bytes);
    if (!sftp_recover(sftp, &tries, "to see what became of a rename", failure) ||
        !has_moved(sftp, subject->path, subject->other, &moved, &taken, failure)) {
      return false;
    }
    if (moved) return true;
  }
  return take_status(&call, subject, status, failure);
}

bool sftp_rename(struct sftp *sftp, const char *from, const char *to, struct failure *failure) {
  struct subject subject = {.type = FXP_RENAME, .doing = "rename", .path = from, .other = to};
  struct sftp_attributes attributes;
  uint32_t status;
  bool taken, moved;
  /* Some servers overwrite: so nothing is asked of them that would show it. */
  if (!sftp_stat(sftp, to, &taken, &attributes, failure)) return false;
  if (taken) return fail_status(failure, FX_FILE_ALREADY_EXISTS, "rename onto", to);
  if (!ask_rename(sftp, &subject, &status, failure)) return false;
  if (status == FX_OK) return true;
  if (!has_moved(sftp, from, to, &moved, &taken, failure)) return false;
  return taken ? fail_status(failure, FX_FILE_ALREADY_EXISTS, "rename onto", to)
               : fail_status(failure, status, "rename", from);
}

bool sftp_try_rename(struct sftp *sftp, const char *from, const char *to, bool *done,
                     struct failure *failure) {
  struct subject subject = {.type = FXP_RENAME, .doing = "rename", .path = from, .other = to};
  uint32_t status;
  if (!ask_status(sftp, &subject, &status, failure)) return false;
  *done = status == FX_OK;
  return true;
}

bool sftp_replace(struct sftp *sftp, const char *from, const char *to, struct failure *failure) {
  struct subject subject = {.type = FXP_EXTENDED,
                            .extension = "posix-rename@openssh.com",
                            .doing = "rename",
                            .path = from,
                            .other = to};
  uint32_t status;
  return ask_rename(sftp, &subject, &status, failure) &&
         (status == FX_OK || fail_status(failure, status, "rename", from));
}
