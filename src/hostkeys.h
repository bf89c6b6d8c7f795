/* Which host keys are trusted: known_hosts as OpenSSH writes it, hashed names, `[host]:port`,
 * several key types and @revoked keys included. */
#ifndef TALLYMAN_HOSTKEYS_H
#define TALLYMAN_HOSTKEYS_H

#include <libssh2.h>
#include <stddef.h>

#include "failure.h"

enum { FINGERPRINT = 7 + 43 }; /* "SHA256:" and a digest in base64 without padding */

struct hostkeys;

/* Reads the file; one that isn't there trusts nobody. NULL on failure. */
struct hostkeys *hostkeys_read(LIBSSH2_SESSION *session, const char *file, struct failure *failure);

/* The host key algorithms to ask for: first those whose keys are known for this host, for a
 * server's other keys would only be strangers. */
void hostkeys_order(struct hostkeys *keys, const char *host, int port, char *order, size_t size);

/* Fails with EXIT_NOT_PERMITTED, telling fingerprints and what to do, unless the key that the
 * server has shown is known for this host and not revoked; with `strangers`, a host of which
 * nothing is known will do, too. */
bool hostkeys_check(struct hostkeys *keys, LIBSSH2_SESSION *session, const char *host, int port,
                    bool strangers, struct failure *failure);

/* The fingerprint of the key that the server has shown, as ssh-keygen prints it. */
void hostkeys_fingerprint(LIBSSH2_SESSION *session, char text[FINGERPRINT + 1]);

/* The line for known_hosts that would trust that key; to be freed. NULL when memory is short. */
char *hostkeys_line(LIBSSH2_SESSION *session, const char *host, int port);

void hostkeys_free(struct hostkeys *keys);

#endif
