/* The header of a CSV file: the scan's first step. */
#ifndef TALLYMAN_HEADER_H
#define TALLYMAN_HEADER_H

#include "scan.h"

/* Reads everything that comes before the first record. */
bool header_read(struct scan *scan, struct failure *failure);

#endif
