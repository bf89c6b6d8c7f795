/* native.csv: key sets, the filter and a reader of records. See lua/meta/csv.lua for types. */
#include <stdlib.h>
#include <string.h>

#include "../filter.h"
#include "../keys.h"
#include "../rejects.h"
#include "api.h"

#define KEYSET "native.keyset"
#define READER "native.reader"

enum { LARGEST_BLOCK = 64 * 1024 * 1024 };

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

/* The scan's part of the options table at `index`. */
static struct scan_options scan_options(lua_State *L, int index) {
  lua_Integer block = api_integer_option(L, index, "block", 0);
  lua_Integer max_record = api_integer_option(L, index, "max_record", 0);
  struct scan_options options = {(size_t)block, (size_t)max_record, 0};
  luaL_argcheck(L, block >= 0 && block <= LARGEST_BLOCK, index, "block is out of range");
  luaL_argcheck(L, max_record >= 0 && max_record <= LARGEST_BLOCK, index,
                "max_record is out of range");
  if (!lua_isnoneornil(L, index) && lua_getfield(L, index, "delimiter") != LUA_TNIL) {
    size_t size;
    const char *delimiter = luaL_checklstring(L, -1, &size);
    if (size != 1 || strchr("\"\r\n", *delimiter) != NULL) {
      luaL_error(L, "option 'delimiter' must be one byte, no quote and no line end");
    }
    options.delimiter = *delimiter;
  }
  return options;
}

/* Calls the Lua function on top of the stack; an error in it waits there for the filter to end. */
static bool call_progress(void *context, uint64_t done, uint64_t total, struct failure *failure) {
  lua_State *L = context;
  lua_pushvalue(L, -1);
  lua_pushinteger(L, (lua_Integer)done);
  lua_pushinteger(L, (lua_Integer)total);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) return fail(failure, -1, "error in the progress function");
  for (int i = 1; i <= 6; i++) { /* source, sink, options, key, keep, rejects */
    void **handle = lua_touserdata(L, i);
    if (handle != NULL && *handle == NULL) {
      return fail(failure, EXIT_INTERNAL, "the progress function closed what the filter uses");
    }
  }
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

/* TALLYMAN_THREADS as a number; 0 when unset. */
static int threads_allowed(void) {
  const char *text = getenv("TALLYMAN_THREADS");
  return text == NULL ? 0 : atoi(text);
}

/* filter(source, sink, options) -> counts */
static int l_filter(lua_State *L) {
  static const char *const names[] = {"key",        "keep",  "rejects",   "progress",
                                      "max_record", "block", "delimiter", NULL};
  struct source *source = api_handle(L, 1, API_SOURCE);
  struct sink *sink = api_handle(L, 2, API_SINK);
  struct filter_options options = {0};
  struct filter_counts counts;
  struct failure failure = {0};
  luaL_checktype(L, 3, LUA_TTABLE);
  api_check_options(L, 3, names);
  options.scan = scan_options(L, 3);
  lua_settop(L, 3);
  lua_getfield(L, 3, "key");
  check_columns(L, 4, options.key);
  lua_getfield(L, 3, "keep");
  options.keep = api_handle(L, 5, KEYSET);
  if (lua_getfield(L, 3, "rejects") != LUA_TNIL) options.rejects = api_handle(L, 6, API_SINK);
  if (lua_getfield(L, 3, "progress") != LUA_TNIL) {
    luaL_checktype(L, 7, LUA_TFUNCTION);
    options.progress = call_progress;
    options.context = L;
  }
  options.variant = getenv("TALLYMAN_SCAN");
  options.threads = threads_allowed();
  luaL_checkstack(L, 8, NULL);
  if (filter_run(source, sink, &options, &counts, &failure)) return push_counts(L, &counts);
  return failure.code < 0 ? lua_error(L) : api_fail(L, &failure);
}

/* ---- the reader ---- */

struct reader {
  struct scan scan;
  struct record record;
  char *scratch;
  bool has_record;
};

static int close_reader(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, READER);
  struct reader *reader = *handle;
  *handle = NULL;
  if (reader == NULL) return 0;
  scan_close(&reader->scan);
  free(reader->scratch);
  free(reader);
  return 0;
}

/* Pushes the first `count` fields of a record as an array of strings. */
static void push_fields(lua_State *L, const struct record *record, size_t count, char *scratch) {
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    const char *text;
    size_t size = field_text(record, &record->fields[i], scratch, &text);
    lua_pushlstring(L, text, size);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* reader(source [, options]) -> reader */
static int l_reader(lua_State *L) {
  static const char *const names[] = {"max_record", "block", "delimiter", NULL};
  struct source *source = api_handle(L, 1, API_SOURCE);
  struct failure failure = {0};
  api_check_options(L, 2, names);
  struct scan_options options = scan_options(L, 2);
  void **handle = api_new_handle(L, READER);
  struct reader *reader = calloc(1, sizeof *reader);
  if (reader == NULL) return luaL_error(L, "out of memory");
  *handle = reader;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1); /* the source lives as long as its reader */
  if (!scan_open(&reader->scan, source, &options, &failure)) return api_fail(L, &failure);
  reader->scratch = malloc(reader->scan.options.max_record + 1);
  if (reader->scratch == NULL) return luaL_error(L, "out of memory");
  return 1;
}

/* reader:header() -> names, line */
static int l_header(lua_State *L) {
  struct reader *reader = api_handle(L, 1, READER);
  push_fields(L, &reader->scan.header, reader->scan.columns, reader->scratch);
  lua_pushinteger(L, (lua_Integer)reader->scan.header.line);
  return 2;
}

/* reader:delimiter() -> the delimiter in use */
static int l_delimiter(lua_State *L) {
  struct reader *reader = api_handle(L, 1, READER);
  lua_pushlstring(L, &reader->scan.delimiter, 1);
  return 1;
}

/* reader:next() -> fields, line [, fault, column of the fault]; nothing at the end */
static int l_next(lua_State *L) {
  struct reader *reader = api_handle(L, 1, READER);
  struct record *record = &reader->record;
  struct failure failure = {0};
  lua_getiuservalue(L, 1, 1);
  api_handle(L, -1, API_SOURCE); /* raises if somebody closed it */
  enum scan_result result = scan_next(&reader->scan, record, &failure);
  reader->has_record = result == SCAN_RECORD;
  if (result == SCAN_FAILED) return api_fail(L, &failure);
  if (result == SCAN_END) return 0;
  size_t columns = reader->scan.columns;
  push_fields(L, record, record->count < columns ? record->count : columns, reader->scratch);
  lua_pushinteger(L, (lua_Integer)record->line);
  if (record->fault == FAULT_NONE) return 2;
  lua_pushstring(L, fault_text(record->fault));
  lua_pushinteger(L, (lua_Integer)record_column(record, fault_offset(record)));
  return 4;
}

/* The reader's current record; raises when there is none. */
static struct record *check_record(lua_State *L, struct reader *reader) {
  if (!reader->has_record) luaL_error(L, "reader has no current record");
  return &reader->record;
}

/* reader:column(index) -> character column at which that field of the current record stands */
static int l_column(lua_State *L) {
  struct reader *reader = api_handle(L, 1, READER);
  struct record *record = check_record(L, reader);
  lua_Integer index = luaL_checkinteger(L, 2);
  size_t known = reader->scan.columns + 1; /* the first surplus field is where the fault is */
  if (record->count < known) known = record->count;
  luaL_argcheck(L, index >= 1 && (size_t)index <= known, 2, "no such field");
  lua_pushinteger(L, (lua_Integer)record_column(record, record->fields[index - 1].at));
  return 1;
}

/* reader:reject(sink, first, column, reason) -> true: appends the current record to the rejects */
static int l_reject(lua_State *L) {
  struct record *record = check_record(L, api_handle(L, 1, READER));
  struct sink *sink = api_handle(L, 2, API_SINK);
  struct failure failure = {0};
  if (!write_reject(sink, lua_toboolean(L, 3), record->line, (size_t)luaL_checkinteger(L, 4),
                    luaL_checkstring(L, 5), record, &failure)) {
    return api_fail(L, &failure);
  }
  lua_pushboolean(L, true);
  return 1;
}

int luaopen_native_csv(lua_State *L) {
  static const luaL_Reg keyset_methods[] = {
      {"add", l_add}, {"has", l_has}, {"count", l_count}, {NULL, NULL}};
  static const luaL_Reg reader_methods[] = {{"header", l_header}, {"delimiter", l_delimiter},
                                            {"next", l_next},     {"column", l_column},
                                            {"reject", l_reject}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"keyset", l_keyset}, {"keys", l_keys},     {"list", l_list},
                                       {"filter", l_filter}, {"reader", l_reader}, {NULL, NULL}};
  api_class(L, KEYSET, keyset_methods, close_keyset);
  api_class(L, READER, reader_methods, close_reader);
  luaL_newlib(L, functions);
  return 1;
}
