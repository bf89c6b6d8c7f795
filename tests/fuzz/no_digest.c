/* Stands in for src/digest.c where libcrypto can't be had, as for another processor: digests of
 * nothing, for tests that ask for none. */
#include <stdlib.h>
#include <string.h>

#include "../../src/digest.h"

struct digest {
  enum digest_kind kind;
};

struct digest *digest_new(enum digest_kind kind, struct failure *failure) {
  struct digest *digest = malloc(sizeof *digest);
  if (digest == NULL) fail(failure, EXIT_INTERNAL, "out of memory");
  if (digest != NULL) digest->kind = kind;
  return digest;
}

void digest_update(struct digest *digest, const void *bytes, size_t size) {
  (void)digest;
  (void)bytes;
  (void)size;
}

void digest_free(struct digest *digest) { free(digest); }

bool digest_hex(const struct digest *digest, char hex[DIGEST_HEX + 1]) {
  if (digest == NULL) return false;
  memset(hex, '0', DIGEST_HEX);
  hex[DIGEST_HEX] = '\0';
  return true;
}
