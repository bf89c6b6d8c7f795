/* What the border files share: the table of native modules, how failures reach Lua, and handles.
 * A handle is a userdata that holds one pointer: NULL while it isn't open ("born closed") and after
 * it was closed, so that __gc, __close and close are the same function and may run twice. */
#ifndef TALLYMAN_API_H
#define TALLYMAN_API_H

#include <lauxlib.h>
#include <lua.h>

#include "../failure.h"
#include "../scan.h"
#include "../stream.h"

/* The native modules: { "native.csv", luaopen_native_csv }, ..., { NULL, NULL }. */
extern const luaL_Reg api_natives[];

/* Pushes nil, the failure's text and its code; returns 3. */
int api_fail(lua_State *L, const struct failure *failure);

/* Turns the text on top of the stack into a failure: an error value that the host prints as one
 * line and that ends the process with that exit code. */
void api_push_failure(lua_State *L, int code);

/* Raises a failure. */
int api_raise(lua_State *L, const struct failure *failure);

/* Makes a metatable whose __index is `methods` and whose __gc, __close and "close" are `close`. */
void api_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction close);

/* Pushes a closed handle of that class; the caller fills in what it returns. */
void **api_new_handle(lua_State *L, const char *name);

/* The open handle at `index`; raises an argument error when it is of another class or closed. */
void *api_handle(lua_State *L, int index, const char *name);

/* Field of the options table at `index` (nil or none: absent). Raise on a wrong type. */
lua_Integer api_integer_option(lua_State *L, int index, const char *name, lua_Integer otherwise);
bool api_boolean_option(lua_State *L, int index, const char *name);

/* Raises when the options table at `index` has a field that isn't in the NULL-ended list. */
void api_check_options(lua_State *L, int index, const char *const names[]);

/* Fills the source's handle on top of the stack, with the digests that the options at `index` ask
 * for; those options. */
int api_return_source(lua_State *L, struct source *source, int index, struct failure *failure);
extern const char *const api_source_options[];

/* Its address stands for SQL's NULL among parameters, whatever the database. */
extern const char api_null;

/* Opens a CSV file by the columns (an array of header names) at `index` and the scan's options
 * behind it; NULL with *failure. */
struct csv_pick *api_csv_pick(lua_State *L, struct source *source, int index,
                              struct failure *failure);

#define API_SOURCE "native.source"
#define API_SINK "native.sink"
#define API_FAILURE "tallyman.failure"

/* The parts of native.csv that have files of their own. */
void api_reader_class(lua_State *L);
void api_row_class(lua_State *L);
int api_csv_reader(lua_State *L);
int api_csv_rows(lua_State *L);

/* The scan's part of the options table at `index`. */
struct scan_options api_scan_options(lua_State *L, int index);

/* Pushes a row that shows nothing yet; lets the one at `index` show a record, or none (NULL). */
void api_new_row(lua_State *L);
void api_show_row(lua_State *L, int index, const struct scan *scan, const struct record *record);

int luaopen_native_clock(lua_State *L);
int luaopen_native_csv(lua_State *L);
int luaopen_native_file(lua_State *L);
int luaopen_native_pg(lua_State *L);
int luaopen_native_process(lua_State *L);
int luaopen_native_sftp(lua_State *L);
int luaopen_native_sqlite(lua_State *L);

#endif
