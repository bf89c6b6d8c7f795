/* libssh2 reads the lines and compares keys and (hashed) names. What it doesn't know is done here:
 * revoked keys, which get a collection of their own, and that a name with a port of its own is not
 * the name without it. */
#define _GNU_SOURCE
#define OPENSSL_API_COMPAT 0x10100000L
#include "hostkeys.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LONGEST_NAME = 300 };

struct hostkeys {
  LIBSSH2_KNOWNHOSTS *trusted, *revoked;
  const char *file;
};

static const struct key_type {
  int libssh2, known; /* LIBSSH2_HOSTKEY_TYPE_..., LIBSSH2_KNOWNHOST_KEY_... */
  const char *name, *algorithms;
} KEY_TYPES[] = {/* the best first */
                 {LIBSSH2_HOSTKEY_TYPE_ED25519, LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519",
                  "ssh-ed25519"},
                 {LIBSSH2_HOSTKEY_TYPE_ECDSA_256, LIBSSH2_KNOWNHOST_KEY_ECDSA_256,
                  "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
                 {LIBSSH2_HOSTKEY_TYPE_ECDSA_384, LIBSSH2_KNOWNHOST_KEY_ECDSA_384,
                  "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
                 {LIBSSH2_HOSTKEY_TYPE_ECDSA_521, LIBSSH2_KNOWNHOST_KEY_ECDSA_521,
                  "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
                 {LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA, "ssh-rsa",
                  "rsa-sha2-512,rsa-sha2-256"}};

enum { KEY_TYPE_COUNT = sizeof KEY_TYPES / sizeof *KEY_TYPES };

/* How known_hosts calls a host. */
static void name_of(const char *host, int port, char name[LONGEST_NAME]) {
  if (port == 22)
    snprintf(name, LONGEST_NAME, "%s", host);
  else
    snprintf(name, LONGEST_NAME, "[%s]:%d", host, port);
}

/* How a URL calls it, which has brackets around an IPv6 address even without a port. */
static const char *url_name(const char *host, int port, char name[LONGEST_NAME]) {
  if (port == 22 && strchr(host, ':') != NULL)
    snprintf(name, LONGEST_NAME, "[%s]", host);
  else
    name_of(host, port, name);
  return name;
}

/* ---- reading ---- */

/* Adds one line. What libssh2 can't read (a type of key that it doesn't know) trusts nobody. */
static void add_line(struct hostkeys *keys, const char *line) {
  static const char revoked[] = "@revoked";
  line += strspn(line, " \t");
  if (strncmp(line, revoked, sizeof revoked - 1) == 0) {
    line += sizeof revoked - 1;
    line += strspn(line, " \t");
    libssh2_knownhost_readline(keys->revoked, line, strlen(line), LIBSSH2_KNOWNHOST_FILE_OPENSSH);
  } else if (*line != '@') { /* certificate authorities aren't for us */
    libssh2_knownhost_readline(keys->trusted, line, strlen(line), LIBSSH2_KNOWNHOST_FILE_OPENSSH);
  }
}

static bool read_lines(struct hostkeys *keys, struct failure *failure) {
  struct stat info;
  char *line = NULL;
  size_t room = 0;
  bool there = stat(keys->file, &info) == 0;
  if (there && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) ||
                (S_ISCHR(info.st_mode) && strcmp(keys->file, "/dev/null") != 0))) {
    return fail(failure, EXIT_CONFIGURATION, "the known hosts %s are no file", keys->file);
  }
  FILE *file = fopen(keys->file, "re");
  if (file == NULL && errno == ENOENT) return true;
  if (file == NULL) {
    return fail_errno(failure, EXIT_NO_INPUT, "cannot open the known hosts %s", keys->file);
  }
  while (getline(&line, &room, file) >= 0) add_line(keys, line);
  bool failed = ferror(file) != 0;
  free(line);
  fclose(file);
  if (failed) return fail_errno(failure, EXIT_IO, "cannot read the known hosts %s", keys->file);
  return true;
}

struct hostkeys *hostkeys_read(LIBSSH2_SESSION *session, const char *file,
                               struct failure *failure) {
  struct hostkeys *keys = calloc(1, sizeof *keys);
  if (keys != NULL) {
    keys->file = file;
    keys->trusted = libssh2_knownhost_init(session);
    keys->revoked = libssh2_knownhost_init(session);
  }
  if (keys == NULL || keys->trusted == NULL || keys->revoked == NULL) {
    fail(failure, EXIT_INTERNAL, "out of memory");
  } else if (read_lines(keys, failure)) {
    return keys;
  }
  hostkeys_free(keys);
  return NULL;
}

void hostkeys_free(struct hostkeys *keys) {
  if (keys == NULL) return;
  if (keys->trusted != NULL) libssh2_knownhost_free(keys->trusted);
  if (keys->revoked != NULL) libssh2_knownhost_free(keys->revoked);
  free(keys);
}

/* ---- asking ---- */

/* How a key compares with what is known of the host. */
static int compare(LIBSSH2_KNOWNHOSTS *hosts, const char *name, const char *key, size_t size,
                   int known_type, struct libssh2_knownhost **known) {
  int mask = LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | known_type;
  return libssh2_knownhost_checkp(hosts, name, -1, key, size, mask, known);
}

void hostkeys_order(struct hostkeys *keys, const char *host, int port, char *order, size_t size) {
  char name[LONGEST_NAME];
  struct libssh2_knownhost *known;
  name_of(host, port, name);
  order[0] = '\0';
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < KEY_TYPE_COUNT; i++) {
      /* No key reads "?", so a host that has one of this type has another one. */
      bool has_one = compare(keys->trusted, name, "?", 1, KEY_TYPES[i].known, &known) ==
                     LIBSSH2_KNOWNHOST_CHECK_MISMATCH;
      size_t used = strlen(order);
      if (has_one != (round == 0)) continue;
      snprintf(order + used, size - used, "%s%s", used > 0 ? "," : "", KEY_TYPES[i].algorithms);
    }
  }
}

static const struct key_type *find_type(int libssh2_type) {
  for (int i = 0; i < KEY_TYPE_COUNT; i++) {
    if (KEY_TYPES[i].libssh2 == libssh2_type) return &KEY_TYPES[i];
  }
  return NULL;
}

/* "SHA256:" and a digest as base64 without padding. */
static void print_fingerprint(const unsigned char digest[32], char text[FINGERPRINT + 1]) {
  unsigned char base64[48];
  EVP_EncodeBlock(base64, digest, 32);
  snprintf(text, FINGERPRINT + 1, "SHA256:%.43s", base64);
}

void hostkeys_fingerprint(LIBSSH2_SESSION *session, char text[FINGERPRINT + 1]) {
  const char *digest = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
  if (digest == NULL)
    snprintf(text, FINGERPRINT + 1, "unknown");
  else
    print_fingerprint((const unsigned char *)digest, text);
}

/* The fingerprint of a key that known_hosts has. */
static void known_fingerprint(const struct libssh2_knownhost *known, char text[FINGERPRINT + 1]) {
  unsigned char key[8192], digest[32];
  size_t size = strlen(known->key);
  int decoded = -1;
  if (size / 4 * 3 <= sizeof key) {
    decoded = EVP_DecodeBlock(key, (const unsigned char *)known->key, (int)size);
  }
  if (decoded < 0) {
    snprintf(text, FINGERPRINT + 1, "unreadable");
    return;
  }
  while (size > 0 && known->key[size - 1] == '=') {
    size--;
    decoded--;
  }
  SHA256(key, (size_t)decoded, digest);
  print_fingerprint(digest, text);
}

bool hostkeys_check(struct hostkeys *keys, LIBSSH2_SESSION *session, const char *host, int port,
                    bool strangers, struct failure *failure) {
  char name[LONGEST_NAME], url[LONGEST_NAME], shown[FINGERPRINT + 1], expected[FINGERPRINT + 1];
  struct libssh2_knownhost *known = NULL;
  size_t size;
  int type;
  const char *key = libssh2_session_hostkey(session, &size, &type);
  const struct key_type *key_type = find_type(type);
  if (key == NULL || key_type == NULL) {
    return fail(failure, EXIT_NOT_PERMITTED, "%s shows a host key of an unknown type", host);
  }
  name_of(host, port, name);
  hostkeys_fingerprint(session, shown);
  if (compare(keys->revoked, name, key, size, key_type->known, &known) ==
      LIBSSH2_KNOWNHOST_CHECK_MATCH) {
    return fail(failure, EXIT_NOT_PERMITTED,
                "the host key of %s is revoked in %s: %s %s; somebody may be in between", name,
                keys->file, key_type->name, shown);
  }
  switch (compare(keys->trusted, name, key, size, key_type->known, &known)) {
    case LIBSSH2_KNOWNHOST_CHECK_MATCH: return true;
    case LIBSSH2_KNOWNHOST_CHECK_MISMATCH:
      known_fingerprint(known, expected);
      return fail(failure, EXIT_NOT_PERMITTED,
                  "the host key of %s has changed: %s knows %s, the server shows %s (%s); somebody "
                  "may be in between. If its owner confirms the new one: ssh-keygen -R '%s' -f "
                  "'%s', then TALLYMAN_KNOWN_HOSTS='%s' tallyman examples/trust.lua '%s'",
                  name, keys->file, expected, shown, key_type->name, name, keys->file, keys->file,
                  url_name(host, port, url));
    default:
      if (strangers) return true;
      return fail(failure, EXIT_NOT_PERMITTED,
                  "the host key of %s is unknown: %s has none for it, the server shows %s (%s). If "
                  "its owner confirms that: TALLYMAN_KNOWN_HOSTS='%s' tallyman examples/trust.lua "
                  "'%s'",
                  name, keys->file, shown, key_type->name, keys->file, url_name(host, port, url));
  }
}

char *hostkeys_line(LIBSSH2_SESSION *session, const char *host, int port) {
  char name[LONGEST_NAME];
  size_t size;
  int type;
  const char *key = libssh2_session_hostkey(session, &size, &type);
  const struct key_type *key_type = find_type(type);
  if (key == NULL || key_type == NULL) return NULL;
  char *base64 = malloc(size / 3 * 4 + 5), *line = NULL;
  if (base64 == NULL) return NULL;
  EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)key, (int)size);
  name_of(host, port, name);
  if (asprintf(&line, "%s %s %s\n", name, key_type->name, base64) < 0) line = NULL;
  free(base64);
  return line;
}
