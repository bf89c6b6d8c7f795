/* A rejects file is CSV again: the broken record is one of its fields. */
#include "rejects.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Writes `bytes` with every quote doubled. */
static bool write_doubling_quotes(struct sink *sink, const char *bytes, size_t size,
                                  struct failure *failure) {
  while (size > 0) {
    const char *quote = memchr(bytes, '"', size);
    size_t part = quote == NULL ? size : (size_t)(quote - bytes) + 1;
    if (!sink_write(sink, bytes, part, failure)) return false;
    if (quote != NULL && !sink_write(sink, "\"", 1, failure)) return false;
    bytes += part;
    size -= part;
  }
  return true;
}

bool write_reject(struct sink *sink, bool first, uint64_t line, size_t column, const char *reason,
                  const struct record *record, struct failure *failure) {
  static const char header[] = "line,column,reason,record\n";
  char place[80];
  int size = snprintf(place, sizeof place, "%" PRIu64 ",%zu,\"", line, column);
  return (!first || sink_write(sink, header, sizeof header - 1, failure)) &&
         sink_write(sink, place, (size_t)size, failure) &&
         write_doubling_quotes(sink, reason, strlen(reason), failure) &&
         sink_write(sink, "\",\"", 3, failure) &&
         write_doubling_quotes(sink, record->bytes, record->body, failure) &&
         sink_write(sink, "\"\n", 2, failure);
}
