/* The fast lane by NEON, which every 64-bit ARM processor has. */
#include "sift.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "sift_bits.h"

#define VARIANT neon
#define TARGET

static bool usable(void) { return true; }

struct step {
  uint8x16_t parts[4];
};

static inline struct step load_step(const char *bytes) {
  const uint8_t *at = (const uint8_t *)bytes;
  return (struct step){{vld1q_u8(at), vld1q_u8(at + 16), vld1q_u8(at + 32), vld1q_u8(at + 48)}};
}

/* Each equal byte keeps the one bit of its place; adding neighbours three times leaves 64 bits. */
static inline uint64_t step_equals(const struct step *step, char byte) {
  static const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint8x16_t all = vdupq_n_u8((uint8_t)byte), place = vld1q_u8(places), parts[4];
  for (int i = 0; i < 4; i++) parts[i] = vandq_u8(vceqq_u8(step->parts[i], all), place);
  uint8x16_t pairs = vpaddq_u8(vpaddq_u8(parts[0], parts[1]), vpaddq_u8(parts[2], parts[3]));
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(pairs, pairs)), 0);
}

#define PLAIN_BITS
#include "sift_kernel.h"

#endif
