/* Compressed input is welcome everywhere: a source that inflates what another one gives. */
#ifndef TALLYMAN_GZIP_H
#define TALLYMAN_GZIP_H

#include "stream.h"

/* Wraps `inner` (taking it over, on failure too) so that gzip content comes out inflated and
 * anything else as it is. Found out by the first two bytes: no CSV begins with 1F 8B. NULL, with
 * *failure set, when `inner` is NULL or can't be read. */
struct source *source_inflating(struct source *inner, struct failure *failure);

#endif
