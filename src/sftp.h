/* An SFTP session (draft-ietf-secsh-filexfer-02, "version 3", as OpenSSH speaks it) over one SSH
 * connection, which is made anew when it drops. Requests go out without waiting for the answers to
 * those before; each has an owner that is told its answer, in whatever order they come.
 * libssh2's own SFTP isn't used: it reads ahead by four buffers only, waits for each write of a
 * small buffer, and its handles can't take turns on one connection. */
#ifndef TALLYMAN_SFTP_H
#define TALLYMAN_SFTP_H

#include <stdint.h>

#include "ssh.h"
#include "stream.h"

enum { SFTP_HANDLE = 256 }; /* bytes that a server's handle has at most */

/* What a server tells about a file. */
struct sftp_attributes {
  uint64_t size;
  uint32_t mode, mtime;
  bool has_size, has_mode, has_mtime;
};

struct sftp_options {
  struct ssh_options ssh; /* copied, its texts too */
  int attempts;           /* to connect again, in a row, after a drop */
  int sessions;           /* side by side for one large file on a long link, at most; from 1 */
  int transfer_seconds;   /* for one file, or one question; from 1 */
};

struct sftp;

struct sftp *sftp_open(const struct sftp_options *options, struct failure *failure);

/* Ends the connection for good; sources and sinks that are still open fail from then on. */
void sftp_close(struct sftp *sftp);

/* What the server offers. */
struct sftp_features {
  bool posix_rename, fsync;
  uint32_t read_size, write_size; /* bytes of one request, at most */
};
const struct sftp_features *sftp_features(const struct sftp *sftp);

/* What happened to the connection since the last call, a line each; NULL for nothing. To be freed.
 */
char *sftp_notices(struct sftp *sftp);

/* ---- files and folders; failures name the path ---- */

/* *exists is false when nothing has that name; links are followed. */
bool sftp_stat(struct sftp *sftp, const char *path, bool *exists,
               struct sftp_attributes *attributes, struct failure *failure);

/* Calls `visit` for each entry but "." and ".."; it returns false, with *failure set, to end it. */
typedef bool sftp_visitor(void *context, const char *name, const struct sftp_attributes *attributes,
                          struct failure *failure);
bool sftp_list(struct sftp *sftp, const char *path, sftp_visitor *visit, void *context,
               struct failure *failure);

/* Renames onto a name that must not exist (EXIT_CANT_CREATE when it does). When the answer is lost
 * with the connection, what has become of both names tells. */
bool sftp_rename(struct sftp *sftp, const char *from, const char *to, struct failure *failure);

/* Asks for a plain rename and nothing else: *done tells whether the server did it. For finding out
 * what it does when the new name exists. */
bool sftp_try_rename(struct sftp *sftp, const char *from, const char *to, bool *done,
                     struct failure *failure);

/* Renames, replacing what is there, in one step; only where features say posix_rename. */
bool sftp_replace(struct sftp *sftp, const char *from, const char *to, struct failure *failure);

/* What isn't there is removed already; a folder that is there is made already. */
bool sftp_remove(struct sftp *sftp, const char *path, struct failure *failure);
bool sftp_make_folder(struct sftp *sftp, const char *path, struct failure *failure);

/* Removes a file that was never finished, even when a signal asks to stop; takes seconds at most.
 */
bool sftp_discard(struct sftp *sftp, const char *path, struct failure *failure);
bool sftp_remove_folder(struct sftp *sftp, const char *path, struct failure *failure);

/* The file's bytes, read ahead by SFTP_AHEAD bytes at most; after a drop it goes on where it was,
 * if size and time are still the same. Ends with a failure when the file has changed meanwhile.
 * `name` is what messages call it. */
enum { SFTP_AHEAD = 16 * 1024 * 1024 };
struct source *sftp_source(struct sftp *sftp, const char *path, const char *name,
                           struct failure *failure);

/* A new file, which must not exist; at most SFTP_AHEAD bytes wait for the server's answer. finish
 * asks the server to sync, where it can, and checks the size. */
struct sink *sftp_sink(struct sftp *sftp, const char *path, const char *name,
                       struct failure *failure);

#endif
