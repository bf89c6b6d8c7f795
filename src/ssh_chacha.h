/* What libssh2 1.11.1 calls for ChaCha20 and Poly1305, by its own names. */
#ifndef TALLYMAN_SSH_CHACHA_H
#define TALLYMAN_SSH_CHACHA_H

#include <stddef.h>

/* What libssh2 keeps for each direction and hands on unseen; its size is libssh2's. */
struct chacha_ctx {
  unsigned char key[32];
  unsigned char start[16]; /* number of the block, and nonce; 8 bytes each */
  unsigned char unused[16];
};

/* Keys of 256 bits, the only ones of SSH. */
void chacha_keysetup(struct chacha_ctx *state, const unsigned char *key, unsigned bits);

/* Begins at a block of a nonce's stream; NULL is the first. */
void chacha_ivsetup(struct chacha_ctx *state, const unsigned char *nonce,
                    const unsigned char *block);

/* Encrypts or decrypts from there; libssh2 sets the place anew before each call. Should libcrypto
 * fail, nothing but zeros goes out or comes in, which no tag fits. */
void chacha_encrypt_bytes(struct chacha_ctx *state, const unsigned char *from, unsigned char *to,
                          unsigned size);

/* The tag of a packet. Without libcrypto there is none, and no going on: any other could be forged.
 */
void poly1305_auth(unsigned char tag[16], const unsigned char *bytes, size_t size,
                   const unsigned char key[32]);

#endif
