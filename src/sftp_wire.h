/* The SFTP session from inside: requests, answers, and what happens when the connection drops. */
#ifndef TALLYMAN_SFTP_WIRE_H
#define TALLYMAN_SFTP_WIRE_H

#include "sftp.h"

enum sftp_type {
  FXP_INIT = 1,
  FXP_VERSION = 2,
  FXP_OPEN = 3,
  FXP_CLOSE = 4,
  FXP_READ = 5,
  FXP_WRITE = 6,
  FXP_FSTAT = 8,
  FXP_OPENDIR = 11,
  FXP_READDIR = 12,
  FXP_REMOVE = 13,
  FXP_MKDIR = 14,
  FXP_RMDIR = 15,
  FXP_STAT = 17,
  FXP_RENAME = 18,
  FXP_STATUS = 101,
  FXP_HANDLE = 102,
  FXP_DATA = 103,
  FXP_NAME = 104,
  FXP_ATTRS = 105,
  FXP_EXTENDED = 200,
  FXP_EXTENDED_REPLY = 201
};

enum sftp_status {
  FX_OK = 0,
  FX_EOF = 1,
  FX_NO_SUCH_FILE = 2,
  FX_PERMISSION_DENIED = 3,
  FX_FAILURE = 4,
  FX_BAD_MESSAGE = 5,
  FX_NO_CONNECTION = 6,
  FX_CONNECTION_LOST = 7,
  FX_OP_UNSUPPORTED = 8,
  FX_FILE_ALREADY_EXISTS = 11
};

enum { FXF_READ = 1, FXF_WRITE = 2, FXF_CREAT = 8, FXF_TRUNC = 16, FXF_EXCL = 32 };

/* Bytes that are read or built one value after the other. Reading beyond the end sets `broken`. */
struct wire {
  unsigned char *bytes;
  size_t size, at;
  bool broken;
};

uint32_t get_u32(const unsigned char *bytes);
uint32_t wire_u32(struct wire *wire);
uint64_t wire_u64(struct wire *wire);
/* A string of the packet: a slice of it. */
const unsigned char *wire_string(struct wire *wire, uint32_t *size);
void wire_attributes(struct wire *wire, struct sftp_attributes *attributes);

/* A request under way. Its owner keeps it until it is answered, or the generation has changed. */
struct sftp_request {
  uint32_t id;
  bool pending;
  /* Called with the answer's type and the rest of the packet, which goes away afterwards. */
  void (*answered)(struct sftp_request *self, uint8_t type, struct wire *answer);
};

/* ---- sending: begin, values, end ---- */

/* Begins a request; false when memory is short. */
bool sftp_begin(struct sftp *sftp, uint8_t type, struct sftp_request *request,
                struct failure *failure);
void sftp_put_u32(struct sftp *sftp, uint32_t value);
void sftp_put_u64(struct sftp *sftp, uint64_t value);
void sftp_put_string(struct sftp *sftp, const void *bytes, size_t size);
/* Queues what was begun; it goes out while the session is pumped. */
void sftp_end(struct sftp *sftp);

/* Bytes queued and not sent yet. */
size_t sftp_queued(const struct sftp *sftp);

/* Sends and receives what can be sent and received; waits for something when `wait`. Failing with
 * EXIT_UNAVAILABLE means that the connection is gone, and all that was pending with it. */
bool sftp_pump(struct sftp *sftp, bool wait, struct failure *failure);

/* Sources and sinks hold the session's memory, which goes with the last of them. */
void sftp_hold(struct sftp *sftp);
void sftp_release(struct sftp *sftp);

/* Counts connections: handles and requests of another generation are void. */
unsigned sftp_generation(const struct sftp *sftp);

/* After a failure with EXIT_UNAVAILABLE: connects again, waiting longer each time. *tries counts
 * for the owner how often that was since it last got ahead; it sets it to 0 then. False, with the
 * failure as it was or a new one, when there is no use. `doing` is told in the notices. */
bool sftp_recover(struct sftp *sftp, int *tries, const char *doing, struct failure *failure);

/* What the status code means, and the exit code that it stands for. */
bool fail_status(struct failure *failure, uint32_t status, const char *doing, const char *path);

/* Opens a file. */
struct sftp_handle {
  char bytes[SFTP_HANDLE];
  uint32_t size;
};
bool sftp_open_file(struct sftp *sftp, const char *path, uint32_t flags, struct sftp_handle *handle,
                    struct failure *failure);
bool sftp_close_file(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                     struct failure *failure);
bool sftp_fstat(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                struct sftp_attributes *attributes, struct failure *failure);
bool sftp_fsync(struct sftp *sftp, const struct sftp_handle *handle, const char *path,
                struct failure *failure);

#endif
