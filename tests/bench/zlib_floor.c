/* The least that a filter of a gzip file has to do: inflate it by zlib into a buffer of 1 MiB, and
 * nothing with what came out.
 *   zlib_floor FILE.gz */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { BLOCK = 1024 * 1024 };

/* Inflates the file named to its end. */
int main(int count, char **arguments) {
  static unsigned char block[BLOCK];
  if (count != 2) {
    fputs("usage: zlib_floor FILE.gz\n", stderr);
    return EXIT_FAILURE;
  }
  gzFile file = gzopen(arguments[1], "rb");
  if (file == NULL || gzbuffer(file, BLOCK) != 0) {
    perror(arguments[1]);
    return EXIT_FAILURE;
  }
  int got;
  do {
    got = gzread(file, block, BLOCK);
  } while (got > 0);
  if (got < 0 || gzclose(file) != Z_OK) {
    fprintf(stderr, "%s: can't be inflated\n", arguments[1]);
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
