/* The least that a filter of a file has to do: read(2) in blocks of 1 MiB into a page-aligned
 * buffer, and nothing with what was read.
 *   floor FILE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 1024 * 1024, PAGE = 4096 };

/* Says what went wrong with which file. */
static int fail(const char *path) {
  perror(path);
  return EXIT_FAILURE;
}

/* Reads the file named to its end. */
int main(int count, char **arguments) {
  if (count != 2) {
    fputs("usage: floor FILE\n", stderr);
    return EXIT_FAILURE;
  }
  int file = open(arguments[1], O_RDONLY | O_CLOEXEC);
  void *block = aligned_alloc(PAGE, BLOCK);
  if (file < 0 || block == NULL) return fail(arguments[1]);
  ssize_t got;
  do {
    got = read(file, block, BLOCK);
  } while (got > 0);
  return got < 0 ? fail(arguments[1]) : EXIT_SUCCESS;
}
