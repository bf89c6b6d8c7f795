/* The ciphers that libssh2 is given: published vectors, and pieces that begin at any block. That
 * libssh2 takes them, the specs against real servers show. */
#include "../../src/ssh_chacha.h"

#include <libssh2.h>
#include <stddef.h>
#include <string.h>

#include "check.h"

#if LIBSSH2_VERSION_NUM == 0x010b01

/* A stream of zeros encrypted, from a block on. */
static void stream(const unsigned char key[32], const unsigned char *nonce,
                   const unsigned char *block, unsigned char *to, unsigned size) {
  struct chacha_ctx state;
  memset(to, 0, size);
  chacha_keysetup(&state, key, 256);
  chacha_ivsetup(&state, nonce, block);
  chacha_encrypt_bytes(&state, to, to, size);
}

/* RFC 8439, A.1: test vectors 1 and 2, whose nonce is all zeros. */
static void test_published_stream(void) {
  static const unsigned char zeros[32] = {0}, one[8] = {1};
  static const unsigned char first[16] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
                                          0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
  static const unsigned char second[16] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
                                           0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
  unsigned char bytes[64];
  stream(zeros, zeros, NULL, bytes, sizeof bytes);
  CHECK(memcmp(bytes, first, sizeof first) == 0);
  stream(zeros, zeros, one, bytes, sizeof bytes);
  CHECK(memcmp(bytes, second, sizeof second) == 0);
}

/* A stream that begins at block 1 is the rest of the one that begins at block 0; any size will do,
 * and the nonce makes another. */
static void test_blocks(void) {
  static const unsigned char one[8] = {1};
  unsigned char key[32], nonce[8], whole[64 + 1000], rest[1000], other[1000];
  for (size_t i = 0; i < sizeof key; i++) key[i] = (unsigned char)(7 * i + 3);
  for (size_t i = 0; i < sizeof nonce; i++) nonce[i] = (unsigned char)(0xff - i);
  stream(key, nonce, NULL, whole, sizeof whole);
  for (unsigned size = 0; size <= sizeof rest; size++) {
    stream(key, nonce, one, rest, size);
    CHECK(memcmp(rest, whole + 64, size) == 0);
  }
  nonce[7] ^= 1;
  stream(key, nonce, one, other, sizeof other);
  CHECK(memcmp(rest, other, sizeof rest) != 0);
}

/* RFC 8439, 2.5.2. */
static void test_published_tag(void) {
  static const unsigned char key[32] = {0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33,
                                        0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5, 0x06, 0xa8,
                                        0x01, 0x03, 0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd,
                                        0x4a, 0xbf, 0xf6, 0xaf, 0x41, 0x49, 0xf5, 0x1b};
  static const unsigned char expected[16] = {0xa8, 0x06, 0x1d, 0xc1, 0x30, 0x51, 0x36, 0xc6,
                                             0xc2, 0x2b, 0x8b, 0xaf, 0x0c, 0x01, 0x27, 0xa9};
  static const char text[] = "Cryptographic Forum Research Group";
  unsigned char tag[16];
  poly1305_auth(tag, (const unsigned char *)text, sizeof text - 1, key);
  CHECK(memcmp(tag, expected, sizeof tag) == 0);
}

int main(void) {
  test_published_stream();
  test_blocks();
  test_published_tag();
  return check_report();
}

#else

int main(void) { return 0; }

#endif
