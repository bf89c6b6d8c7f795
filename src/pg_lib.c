/* The library is opened by the name that its programs are linked with, and each function is looked
 * up by its own. It is never let go: OpenSSL and others below it don't bear being unloaded. */
#include "pg_lib.h"

#include <dlfcn.h>

static const char LIBRARY[] = "libpq.so.5";

bool libpq_load(struct libpq *pq, struct failure *failure) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == NULL) {
    return fail(failure, EXIT_CONFIGURATION,
                "PostgreSQL's client library can't be loaded (Debian's package libpq5): %s",
                dlerror());
  }
  const struct {
    const char *name;
    void *place;
  } wanted[] = {
#define LIBPQ_ENTRY(name) {"PQ" #name, &pq->name},
      LIBPQ_FUNCTIONS(LIBPQ_ENTRY)
#undef LIBPQ_ENTRY
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(library, wanted[i].name);
    if (found == NULL) {
      return fail(failure, EXIT_CONFIGURATION, "%s is too old: it has no %s", LIBRARY,
                  wanted[i].name);
    }
    *(void **)wanted[i].place = found;
  }
  return true;
}
