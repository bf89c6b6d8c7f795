/* ChaCha20 and Poly1305 for libssh2 by libcrypto. libssh2 has both in plain C, which took two
 * thirds of the time of receiving a file; libcrypto's are several times as fast. The functions have
 * the names by which libssh2's cipher calls its own, so that the linker takes these instead; that
 * is between it and this very version, and any other one keeps its own. */
#define _GNU_SOURCE
#include "ssh_chacha.h"

#include <libssh2.h>

#if LIBSSH2_VERSION_NUM == 0x010b01

#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* libcrypto's objects, which are dear to make: each thread has its own. */
struct ciphers {
  EVP_CIPHER_CTX *chacha;
  EVP_MAC_CTX *poly1305;
};

static pthread_key_t of_thread;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_ciphers(void *memory) {
  struct ciphers *ciphers = memory;
  EVP_CIPHER_CTX_free(ciphers->chacha);
  EVP_MAC_CTX_free(ciphers->poly1305);
  free(ciphers);
}

static void make_key(void) { pthread_key_create(&of_thread, free_ciphers); }

/* Makes the objects; NULL when that can't be. */
static struct ciphers *new_ciphers(void) {
  struct ciphers *ciphers = calloc(1, sizeof *ciphers);
  EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
  if (ciphers == NULL) return NULL;
  ciphers->chacha = EVP_CIPHER_CTX_new();
  ciphers->poly1305 = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
  EVP_MAC_free(mac);
  if (ciphers->chacha != NULL && ciphers->poly1305 != NULL &&
      EVP_EncryptInit_ex(ciphers->chacha, EVP_chacha20(), NULL, NULL, NULL) == 1 &&
      pthread_setspecific(of_thread, ciphers) == 0) {
    return ciphers;
  }
  free_ciphers(ciphers);
  return NULL;
}

static struct ciphers *get_ciphers(void) {
  pthread_once(&once, make_key);
  struct ciphers *ciphers = pthread_getspecific(of_thread);
  return ciphers == NULL ? new_ciphers() : ciphers;
}

void chacha_keysetup(struct chacha_ctx *state, const unsigned char *key, unsigned bits) {
  memcpy(state->key, key, bits / 8 < sizeof state->key ? bits / 8 : sizeof state->key);
}

void chacha_ivsetup(struct chacha_ctx *state, const unsigned char *nonce,
                    const unsigned char *block) {
  if (block == NULL)
    memset(state->start, 0, 8);
  else
    memcpy(state->start, block, 8);
  memcpy(state->start + 8, nonce, 8);
}

void chacha_encrypt_bytes(struct chacha_ctx *state, const unsigned char *from, unsigned char *to,
                          unsigned size) {
  struct ciphers *ciphers = get_ciphers();
  int done = 0;
  if (ciphers != NULL &&
      EVP_EncryptInit_ex(ciphers->chacha, NULL, NULL, state->key, state->start) == 1 &&
      EVP_EncryptUpdate(ciphers->chacha, to, &done, from, (int)size) == 1 &&
      (unsigned)done == size) {
    return;
  }
  memset(to, 0, size);
}

void poly1305_auth(unsigned char tag[16], const unsigned char *bytes, size_t size,
                   const unsigned char key[32]) {
  struct ciphers *ciphers = get_ciphers();
  size_t done = 0;
  if (ciphers != NULL && EVP_MAC_init(ciphers->poly1305, key, 32, NULL) == 1 &&
      EVP_MAC_update(ciphers->poly1305, bytes, size) == 1 &&
      EVP_MAC_final(ciphers->poly1305, tag, &done, 16) == 1 && done == 16) {
    return;
  }
  abort();
}

#endif
