/* The reader and the rows of native.csv. See lua/meta/csv.lua for types. */
#include <stdlib.h>
#include <string.h>

#include "../rejects.h"
#include "../scan.h"
#include "api.h"

#define READER "native.reader"

enum { LARGEST_BLOCK = 64 * 1024 * 1024 };

struct scan_options api_scan_options(lua_State *L, int index) {
  lua_Integer block = api_integer_option(L, index, "block", 0);
  lua_Integer max_record = api_integer_option(L, index, "max_record", 0);
  struct failure failure = {0};
  struct scan_options options = {(size_t)block, (size_t)max_record, 0, NULL};
  options.variant = sift_choose(getenv("TALLYMAN_SCAN"), &failure);
  if (options.variant == NULL) api_raise(L, &failure);
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
  if (lua_getiuservalue(L, 1, 2) == LUA_TUSERDATA) api_show_row(L, -1, NULL, NULL);
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
int api_csv_reader(lua_State *L) {
  static const char *const names[] = {"max_record", "block", "delimiter", NULL};
  struct source *source = api_handle(L, 1, API_SOURCE);
  struct failure failure = {0};
  api_check_options(L, 2, names);
  struct scan_options options = api_scan_options(L, 2);
  lua_settop(L, 2);
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

/* Pushes what breaks the record, and the column of that. */
static int push_fault(lua_State *L, const struct record *record) {
  lua_pushstring(L, fault_text(record->fault));
  lua_pushinteger(L, (lua_Integer)record_column(record, fault_offset(record)));
  return 2;
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
  return record->fault == FAULT_NONE ? 2 : 2 + push_fault(L, record);
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

/* ---- rows ---- */

/* The iterator's next step: row, line [, fault, column of the fault]. Upvalues: the reader, its
 * source, the row. Raises where the file can't be trusted: a loop that just ended would lose rows.
 */
static int next_row(lua_State *L) {
  struct reader *reader = *(void **)lua_touserdata(L, lua_upvalueindex(1));
  struct source *source = *(void **)lua_touserdata(L, lua_upvalueindex(2));
  struct failure failure = {0};
  if (reader == NULL || source == NULL) return luaL_error(L, "rows of a source that is closed");
  struct record *record = &reader->record;
  enum scan_result result = scan_next(&reader->scan, record, &failure);
  lua_pushvalue(L, lua_upvalueindex(3));
  api_show_row(L, -1, result == SCAN_RECORD ? &reader->scan : NULL, record);
  if (result == SCAN_FAILED) return api_raise(L, &failure);
  if (result == SCAN_END) return 0;
  lua_pushinteger(L, (lua_Integer)record->line);
  return record->fault == FAULT_NONE ? 2 : 2 + push_fault(L, record);
}

/* rows(source [, options]) -> iterator for a generic for, which closes it */
int api_csv_rows(lua_State *L) {
  int results = api_csv_reader(L);
  if (results != 1) return results;
  int reader = lua_gettop(L);
  lua_pushvalue(L, reader);
  lua_pushvalue(L, 1);
  api_new_row(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, reader, 2); /* closing the reader takes the row along */
  lua_pushcclosure(L, next_row, 3);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, reader);
  return 4;
}

void api_reader_class(lua_State *L) {
  static const luaL_Reg methods[] = {{"header", l_header}, {"delimiter", l_delimiter},
                                     {"next", l_next},     {"column", l_column},
                                     {"reject", l_reject}, {NULL, NULL}};
  api_class(L, READER, methods, close_reader);
}
