/* The choice among the variants, what they share, and the portable one: eight bytes at a time in an
 * ordinary register. */
#include "sift.h"

#include <string.h>

#include "sift_bits.h"

/* ---- what the variants share ---- */

/* Whether a field may end before byte i of the step: what follows is a delimiter, a line end, or
 * another quote, which the caller will see. */
static bool may_follow_quote(const struct masks *masks, size_t i, const char *bytes) {
  uint64_t allowed = masks->delimiters | masks->feeds | masks->quotes;
  if (allowed >> i & 1) return true;
  return (masks->returns >> i & 1) != 0 && bytes[i + 1] == '\n';
}

bool walk_quotes(const struct quote_state *before, struct masks *masks, const char *bytes) {
  uint64_t separators = masks->delimiters | masks->feeds, literal = 0;
  bool inside = before->inside != 0;
  if (before->quote && !inside && !may_follow_quote(masks, 0, bytes)) return false;
  for (uint64_t left = masks->quotes; left != 0; left &= left - 1) {
    size_t i = (size_t)__builtin_ctzll(left);
    bool closes = inside;
    /* Outside, the byte before is a delimiter or line end, or a quote that has just closed. */
    bool opens = !inside && (i == 0 ? before->plain == 0
                                    : (separators | (masks->quotes & ~literal)) >> (i - 1) & 1);
    if (closes && i < 63 && !may_follow_quote(masks, i + 1, bytes)) return false;
    if (!closes && !opens) literal |= UINT64_C(1) << i;
    inside = opens;
  }
  masks->quotes &= ~literal;
  masks->inside = xor_upwards(masks->quotes) ^ before->inside;
  masks->plain = ~(masks->inside | separators | masks->quotes);
  return true;
}

size_t behind_nth(const uint64_t *delimiters, size_t start, size_t n) {
  if (n == 0) return 0;
  size_t word = start / 64, found;
  uint64_t bits = delimiters[word] & ~low_bits(start % 64);
  while ((found = (size_t)__builtin_popcountll(bits)) < n) {
    n -= found;
    bits = delimiters[++word];
  }
  while (--n > 0) bits &= bits - 1;
  return word * 64 + (size_t)__builtin_ctzll(bits) + 1 - start;
}

size_t count_feeds(const char *bytes, size_t size) {
  size_t feeds = 0;
  for (const char *at = bytes; (at = memchr(at, '\n', size - (size_t)(at - bytes))) != NULL; at++) {
    feeds++;
  }
  return feeds;
}

/* ---- the portable variant ---- */

#define VARIANT portable
#define TARGET

static bool usable(void) { return true; }

struct step {
  uint64_t words[8];
};

static struct step load_step(const char *bytes) {
  struct step step;
  memcpy(&step, bytes, sizeof step);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  for (int i = 0; i < 8; i++) step.words[i] = __builtin_bswap64(step.words[i]);
#endif
  return step;
}

/* One bit for each zero byte; see Hacker's Delight, 6-1, for the exact test. */
static uint64_t zero_bytes(uint64_t word) {
  const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
  uint64_t zero = ~(((word & low) + low) | word | low);
  return (zero >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static uint64_t step_equals(const struct step *step, char byte) {
  uint64_t pattern = (unsigned char)byte * UINT64_C(0x0101010101010101), mask = 0;
  for (int i = 0; i < 8; i++) mask |= zero_bytes(step->words[i] ^ pattern) << 8 * i;
  return mask;
}

#define PLAIN_BITS
#include "sift_kernel.h"

/* ---- the choice ---- */

static const struct sift_variant *const VARIANTS[] = {/* the fastest first */
#if defined(__x86_64__)
                                                      &sift_avx2, &sift_sse2,
#elif defined(__aarch64__)
                                                      &sift_neon,
#endif
                                                      &sift_portable};

const struct sift_variant *sift_choose(const char *name, struct failure *failure) {
  char names[80] = "";
  for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
    const struct sift_variant *variant = VARIANTS[i];
    if (!variant->usable()) continue;
    if (name == NULL || strcmp(name, variant->name) == 0) return variant;
    strcat(strcat(names, names[0] == '\0' ? "" : ", "), variant->name);
  }
  fail(failure, EXIT_CONFIGURATION, "there is no scan '%s' here; there is %s", name, names);
  return NULL;
}
