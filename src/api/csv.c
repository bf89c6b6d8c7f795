/* native.csv: key sets and the filter; its reader is in reader.c. See lua/meta/csv.lua for types.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../filter.h"
#include "../keys.h"
#include "api.h"

#define KEYSET "native.keyset"

/* ---- key sets ---- */

static int close_keyset(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, KEYSET);
  keyset_free(*handle);
  *handle = NULL;
  return 0;
}

/* A key from one string (the value) or two (type and value) at `index`. */
static struct key check_key(lua_State *L, int index) {
  struct key key = {NULL, 0, NULL, 0};
  bool two = !lua_isnoneornil(L, index + 1);
  if (two) key.type = luaL_checklstring(L, index, &key.type_size);
  key.value = luaL_checklstring(L, two ? index + 1 : index, &key.value_size);
  return key;
}

/* keyset() -> an empty key set */
static int l_keyset(lua_State *L) {
  struct failure failure = {0};
  void **handle = api_new_handle(L, KEYSET);
  *handle = keyset_new(&failure);
  return *handle == NULL ? api_fail(L, &failure) : 1;
}

/* Reads the list of one or two column names at `index`. */
static void check_columns(lua_State *L, int index, const char *columns[2]) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer count = luaL_len(L, index);
  luaL_argcheck(L, count == 1 || count == 2, index, "must name one or two columns");
  columns[1] = NULL;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(L, index, i);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_argerror(L, index, "must name columns by strings");
    columns[i - 1] = lua_tostring(L, -1); /* the table keeps it alive */
    lua_pop(L, 1);
  }
}

/* keys(source, columns) -> a key set of the CSV file's rows */
static int l_keys(lua_State *L) {
  struct source *source = api_handle(L, 1, API_SOURCE);
  const char *columns[2];
  struct failure failure = {0};
  check_columns(L, 2, columns);
  void **handle = api_new_handle(L, KEYSET);
  *handle = keyset_new(&failure);
  if (*handle == NULL || !keys_from_csv(source, columns, *handle, &failure)) {
    return api_fail(L, &failure);
  }
  return 1;
}

/* list(source) -> a key set of the lines */
static int l_list(lua_State *L) {
  struct source *source = api_handle(L, 1, API_SOURCE);
  struct failure failure = {0};
  void **handle = api_new_handle(L, KEYSET);
  *handle = keyset_new(&failure);
  if (*handle == NULL || !keys_from_lines(source, *handle, &failure)) return api_fail(L, &failure);
  return 1;
}

/* keyset:add([type,] value) -> the set */
static int l_add(lua_State *L) {
  struct keyset *set = api_handle(L, 1, KEYSET);
  struct key key = check_key(L, 2);
  struct failure failure = {0};
  if (!keyset_add(set, &key, &failure)) return api_fail(L, &failure);
  lua_settop(L, 1);
  return 1;
}

/* keyset:has([type,] value) -> boolean */
static int l_has(lua_State *L) {
  struct keyset *set = api_handle(L, 1, KEYSET);
  struct key key = check_key(L, 2);
  lua_pushboolean(L, keyset_has(set, &key));
  return 1;
}

/* keyset:count() -> number of keys */
static int l_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)keyset_count(api_handle(L, 1, KEYSET)));
  return 1;
}

/* ---- the filter ---- */

/* Where l_filter keeps what it was given, on the stack. */
enum { SOURCE = 1, SINK, OPTIONS, KEY, KEEP, REJECTS, PROGRESS, EACH, ROW };

/* Calls the function below its arguments on top of the stack; an error in it waits there for the
 * filter to end. */
static bool call_back(lua_State *L, int arguments, int results, struct failure *failure) {
  if (lua_pcall(L, arguments, results, 0) != LUA_OK) {
    return fail(failure, -1, "error in a function of the script");
  }
  for (int i = SOURCE; i <= REJECTS; i++) {
    void **handle = lua_touserdata(L, i);
    if (handle != NULL && *handle == NULL) {
      return fail(failure, EXIT_INTERNAL, "the script closed what the filter uses");
    }
  }
  return true;
}

/* Tells the script how far the filter is. */
static bool call_progress(void *context, uint64_t done, uint64_t total, struct failure *failure) {
  lua_State *L = context;
  lua_pushvalue(L, PROGRESS);
  lua_pushinteger(L, (lua_Integer)done);
  lua_pushinteger(L, (lua_Integer)total);
  return call_back(L, 2, 0, failure);
}

/* Shows the script a record that would be kept; *keep is false when it says so. */
static bool call_each(void *context, const struct scan *scan, const struct record *record,
                      bool *keep, struct failure *failure) {
  lua_State *L = context;
  lua_pushvalue(L, EACH);
  lua_pushvalue(L, ROW);
  lua_pushinteger(L, (lua_Integer)record->line);
  api_show_row(L, ROW, scan, record);
  bool done = call_back(L, 2, 1, failure);
  api_show_row(L, ROW, NULL, NULL);
  if (!done) return false;
  *keep = lua_isnil(L, -1) || lua_toboolean(L, -1);
  lua_pop(L, 1);
  return true;
}

/* Pushes the counts as a table. */
static int push_counts(lua_State *L, const struct filter_counts *counts) {
  const struct {
    const char *name;
    uint64_t value;
  } numbers[] = {{"read", counts->read},
                 {"kept", counts->kept},
                 {"left_out", counts->left_out},
                 {"rejected", counts->rejected},
                 {"broken_left_out", counts->broken_left_out},
                 {"bytes", counts->bytes}};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    lua_pushinteger(L, (lua_Integer)numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
  }
  lua_pushlstring(L, &counts->delimiter, 1);
  lua_setfield(L, -2, "delimiter");
  lua_pushboolean(L, counts->last_line_end);
  lua_setfield(L, -2, "last_line_end");
  return 1;
}

/* Pushes an option that may be a function; whether it is there. */
static bool has_function(lua_State *L, const char *name) {
  int type = lua_getfield(L, OPTIONS, name);
  if (type != LUA_TNIL && type != LUA_TFUNCTION)
    luaL_error(L, "option '%s' must be a function", name);
  return type == LUA_TFUNCTION;
}

/* TALLYMAN_THREADS as a number; 0 when unset. */
static int threads_allowed(lua_State *L) {
  const char *text = getenv("TALLYMAN_THREADS");
  struct failure failure = {0};
  char *end;
  if (text == NULL) return 0;
  long threads = strtol(text, &end, 10);
  if (threads > 0 && threads < INT_MAX && *end == '\0') return (int)threads;
  fail(&failure, EXIT_CONFIGURATION, "TALLYMAN_THREADS is '%s'; it must be a number from 1 up",
       text);
  return api_raise(L, &failure);
}

/* filter(source, sink, options) -> counts */
static int l_filter(lua_State *L) {
  static const char *const names[] = {"key",        "keep",  "rejects",   "progress", "each",
                                      "max_record", "block", "delimiter", NULL};
  struct source *source = api_handle(L, SOURCE, API_SOURCE);
  struct sink *sink = api_handle(L, SINK, API_SINK);
  struct filter_options options = {0};
  struct filter_counts counts;
  struct failure failure = {0};
  luaL_checktype(L, OPTIONS, LUA_TTABLE);
  api_check_options(L, OPTIONS, names);
  options.scan = api_scan_options(L, OPTIONS);
  lua_settop(L, OPTIONS);
  lua_getfield(L, OPTIONS, "key");
  check_columns(L, KEY, options.key);
  lua_getfield(L, OPTIONS, "keep");
  options.keep = api_handle(L, KEEP, KEYSET);
  if (lua_getfield(L, OPTIONS, "rejects") != LUA_TNIL) {
    options.rejects = api_handle(L, REJECTS, API_SINK);
  }
  if (has_function(L, "progress")) options.progress = call_progress;
  if (has_function(L, "each")) options.each = call_each;
  options.context = L;
  api_new_row(L);
  options.threads = threads_allowed(L);
  luaL_checkstack(L, 8, NULL);
  if (filter_run(source, sink, &options, &counts, &failure)) return push_counts(L, &counts);
  return failure.code < 0 ? lua_error(L) : api_fail(L, &failure);
}

int luaopen_native_csv(lua_State *L) {
  static const luaL_Reg keyset_methods[] = {
      {"add", l_add}, {"has", l_has}, {"count", l_count}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"keyset", l_keyset},       {"keys", l_keys},       {"list", l_list}, {"filter", l_filter},
      {"reader", api_csv_reader}, {"rows", api_csv_rows}, {NULL, NULL}};
  api_class(L, KEYSET, keyset_methods, close_keyset);
  api_reader_class(L);
  api_row_class(L);
  luaL_newlib(L, functions);
  return 1;
}
