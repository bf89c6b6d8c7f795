/* The rejects file: line,column,reason,record. */
#ifndef TALLYMAN_REJECTS_H
#define TALLYMAN_REJECTS_H

#include "record.h"
#include "stream.h"

/* Appends one line, the record quoted. `first`: the header, too. */
bool write_reject(struct sink *sink, bool first, uint64_t line, size_t column, const char *reason,
                  const struct record *record, struct failure *failure);

#endif
