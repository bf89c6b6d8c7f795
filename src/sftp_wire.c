/* Values of the protocol: big-endian numbers, strings with their length in front. */
#include "sftp_wire.h"

#include <string.h>

uint32_t get_u32(const unsigned char *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The next `size` bytes; NULL, and broken, when there aren't as many. */
static const unsigned char *take(struct wire *wire, size_t size) {
  if (wire->broken || size > wire->size - wire->at) {
    wire->broken = true;
    return NULL;
  }
  const unsigned char *bytes = wire->bytes + wire->at;
  wire->at += size;
  return bytes;
}

uint32_t wire_u32(struct wire *wire) {
  const unsigned char *bytes = take(wire, 4);
  return bytes == NULL ? 0 : get_u32(bytes);
}

uint64_t wire_u64(struct wire *wire) {
  uint64_t high = wire_u32(wire);
  return high << 32 | wire_u32(wire);
}

const unsigned char *wire_string(struct wire *wire, uint32_t *size) {
  *size = wire_u32(wire);
  const unsigned char *bytes = take(wire, *size);
  if (bytes == NULL) *size = 0;
  return bytes;
}

void wire_attributes(struct wire *wire, struct sftp_attributes *attributes) {
  enum { HAS_SIZE = 1, HAS_OWNER = 2, HAS_MODE = 4, HAS_TIMES = 8 };
  const uint32_t EXTENDED = 0x80000000u;
  uint32_t flags = wire_u32(wire), ignored;
  memset(attributes, 0, sizeof *attributes);
  attributes->has_size = (flags & HAS_SIZE) != 0;
  attributes->has_mode = (flags & HAS_MODE) != 0;
  attributes->has_mtime = (flags & HAS_TIMES) != 0;
  if (flags & HAS_SIZE) attributes->size = wire_u64(wire);
  if (flags & HAS_OWNER) wire_u64(wire);
  if (flags & HAS_MODE) attributes->mode = wire_u32(wire);
  if (flags & HAS_TIMES) {
    wire_u32(wire);
    attributes->mtime = wire_u32(wire);
  }
  for (uint32_t count = flags & EXTENDED ? wire_u32(wire) : 0; count > 0 && !wire->broken;
       count--) {
    wire_string(wire, &ignored);
    wire_string(wire, &ignored);
  }
}
