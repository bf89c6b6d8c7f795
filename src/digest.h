/* Fingerprints of bytes that pass by: SHA-256, by which others know a file, and XXH3-128, which
 * costs next to nothing and tells whether a file is the one that was read. */
#ifndef TALLYMAN_DIGEST_H
#define TALLYMAN_DIGEST_H

#include <stddef.h>

#include "failure.h"

enum digest_kind { DIGEST_SHA256, DIGEST_XXH3 };
enum { DIGEST_HEX = 64 }; /* digits of the longest */

struct digest;

struct digest *digest_new(enum digest_kind kind, struct failure *failure);

/* Both take NULL for a digest that nobody asked for. */
void digest_update(struct digest *digest, const void *bytes, size_t size);
void digest_free(struct digest *digest);

/* The digest so far as lower-case hex and a final zero; it may go on. False for NULL. */
bool digest_hex(const struct digest *digest, char hex[DIGEST_HEX + 1]);

#endif
