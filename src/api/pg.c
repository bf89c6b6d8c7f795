/* native.pg: connections and prepared statements over libpq. See lua/meta/pg.lua for types.
 * A failure comes with a fourth result, the SQLSTATE, where the server gave one. */
#include "../pg.h"

#include <limits.h>
#include <stdlib.h>

#include "../pg_csv.h"
#include "api.h"

#define CONNECTION "native.pg_connection"
#define STATEMENT "native.pg_statement"

/* A statement's user values. */
enum { OWNER = 1, NAMES = 2 };

/* Pushes nil, message, code and, where there is one, the SQLSTATE. */
static int fail_pg(lua_State *L, const struct failure *failure, const char *state) {
  api_fail(L, failure);
  if (*state == '\0') return 3;
  lua_pushstring(L, state);
  return 4;
}

/* The result of something that only works or doesn't. */
static int push_done(lua_State *L, bool done, const struct pg *pg, const struct failure *failure) {
  if (!done) return fail_pg(L, failure, pg_state(pg));
  lua_pushboolean(L, true);
  return 1;
}

/* ---- connections ---- */

static int close_connection(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, CONNECTION);
  struct pg *pg = *handle;
  *handle = NULL;
  pg_close(pg);
  return 0;
}

/* A whole number of the options table at index 2, not negative; 0 where it is absent. */
static int count_option(lua_State *L, const char *name) {
  lua_Integer value = api_integer_option(L, 2, name, 0);
  if (value < 0 || value > INT_MAX) luaL_error(L, "option '%s' is out of range", name);
  return (int)value;
}

/* open(url [, options]) -> connection */
static int l_open(lua_State *L) {
  static const char *const names[] = {"connect_seconds", "statement_ms", "lock_ms", "readonly",
                                      NULL};
  struct pg_options options = {.url = luaL_checkstring(L, 1)};
  struct failure failure = {0};
  api_check_options(L, 2, names);
  options.connect_seconds = count_option(L, "connect_seconds");
  options.statement_ms = count_option(L, "statement_ms");
  options.lock_ms = count_option(L, "lock_ms");
  options.readonly = api_boolean_option(L, 2, "readonly");
  void **handle = api_new_handle(L, CONNECTION);
  *handle = pg_open(&options, &failure);
  return *handle == NULL ? api_fail(L, &failure) : 1;
}

/* connection:script(sql) -> true: runs several statements without parameters */
static int l_script(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  struct failure failure = {0};
  return push_done(L, pg_script(pg, luaL_checkstring(L, 2), &failure), pg, &failure);
}

/* connection:commit() -> true */
static int l_commit(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  struct failure failure = {0};
  return push_done(L, pg_commit(pg, &failure), pg, &failure);
}

/* connection:outcome_unknown() -> whether the answer to the last COMMIT was lost */
static int l_outcome_unknown(lua_State *L) {
  lua_pushboolean(L, pg_outcome_unknown(api_handle(L, 1, CONNECTION)));
  return 1;
}

/* connection:in_transaction() -> boolean */
static int l_in_transaction(lua_State *L) {
  lua_pushboolean(L, pg_in_transaction(api_handle(L, 1, CONNECTION)));
  return 1;
}

/* connection:notices() -> list of what the server remarked since the last call */
static int l_notices(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  char *notice;
  lua_newtable(L);
  for (lua_Integer i = 1; (notice = pg_take_notice(pg)) != NULL; i++) {
    lua_pushstring(L, notice);
    free(notice);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

/* ---- COPY ---- */

/* The number of rows that COPY moved. */
static int push_rows(lua_State *L, bool done, long long rows, const struct pg *pg,
                     const struct failure *failure) {
  if (!done) return fail_pg(L, failure, pg_state(pg));
  lua_pushinteger(L, rows);
  return 1;
}

/* connection:copy_in(sql, source [, columns [, options]]) -> rows: the source's bytes as they are,
 * or, given columns, these columns of the CSV file that it is */
static int l_copy_in(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  const char *sql = luaL_checkstring(L, 2);
  struct source *source = api_handle(L, 3, API_SOURCE);
  struct failure failure = {0};
  long long rows = 0;
  if (lua_isnoneornil(L, 4)) {
    bool copied = pg_copy_in(pg, sql, source, &rows, &failure);
    return push_rows(L, copied, rows, pg, &failure);
  }
  struct csv_pick *pick = api_csv_pick(L, source, 4, &failure);
  struct source *csv = pick == NULL ? NULL : csv_pick_source(pick, &failure);
  if (csv == NULL) return api_fail(L, &failure);
  bool done = pg_copy_in(pg, sql, csv, &rows, &failure);
  csv->close(csv);
  return push_rows(L, done, rows, pg, &failure);
}

/* connection:copy_out(sql, sink) -> rows */
static int l_copy_out(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  const char *sql = luaL_checkstring(L, 2);
  struct sink *sink = api_handle(L, 3, API_SINK);
  struct failure failure = {0};
  long long rows = 0;
  bool done = pg_copy_out(pg, sql, sink, &rows, &failure);
  return push_rows(L, done, rows, pg, &failure);
}

/* ---- statements ---- */

static int close_statement(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, STATEMENT);
  struct pg_statement *statement = *handle;
  *handle = NULL;
  pg_statement_close(statement);
  return 0;
}

/* The open statement at index 1; raises when its connection was closed, too. */
static struct pg_statement *check_statement(lua_State *L) {
  struct pg_statement *statement = api_handle(L, 1, STATEMENT);
  luaL_argcheck(L, pg_statement_open(statement), 1, "its connection is closed");
  return statement;
}

/* connection:prepare(sql [, names]) -> statement: the names of $1, $2, ... in the parameter table
 */
static int l_prepare(lua_State *L) {
  struct pg *pg = api_handle(L, 1, CONNECTION);
  const char *sql = luaL_checkstring(L, 2);
  struct failure failure = {0};
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  void **handle = api_new_handle(L, STATEMENT);
  struct pg_statement *statement = pg_prepare(pg, sql, &failure);
  *handle = statement;
  if (statement == NULL) return fail_pg(L, &failure, pg_state(pg));
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, OWNER);
  int named = lua_isnil(L, 3) ? 0 : (int)luaL_len(L, 3);
  if (named != pg_parameters(statement)) {
    return luaL_error(L, "the SQL statement has %d parameters, and names for %d",
                      pg_parameters(statement), named);
  }
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, NAMES);
  return 1;
}

/* The value on top of the stack, whose text the parameter table keeps alive. */
static struct pg_value value_of(lua_State *L, const char *name) {
  struct pg_value value = {0};
  switch (lua_type(L, -1)) {
    case LUA_TSTRING:
      value.kind = PG_TEXT;
      value.text = lua_tolstring(L, -1, &value.size);
      if (value.size > INT_MAX) luaL_error(L, "parameter :%s is too long", name);
      return value;
    case LUA_TNUMBER:
      value.kind = lua_isinteger(L, -1) ? PG_INTEGER : PG_NUMBER;
      value.integer = lua_tointeger(L, -1);
      value.number = lua_tonumber(L, -1);
      return value;
    case LUA_TBOOLEAN:
      value.kind = PG_BOOLEAN;
      value.integer = lua_toboolean(L, -1);
      return value;
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, -1) == &api_null) return value;
      break;
    default: break;
  }
  luaL_error(L, "parameter :%s: a %s is no SQL value", name, luaL_typename(L, -1));
  return value;
}

/* Starts the statement with values from the table at index 2. */
static bool start(lua_State *L, struct pg_statement *statement, struct failure *failure) {
  int count = pg_parameters(statement);
  struct pg_value *values = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *values, 0);
  if (count > 0) luaL_checktype(L, 2, LUA_TTABLE);
  lua_getiuservalue(L, 1, NAMES);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    const char *name = lua_tostring(L, -1);
    if (name == NULL) luaL_error(L, "parameters must be named by strings");
    if (lua_getfield(L, 2, name) == LUA_TNIL) {
      luaL_error(L, "parameter :%s has no value (use db.null for NULL)", name);
    }
    values[i] = value_of(L, name);
    lua_pop(L, 2);
  }
  return pg_start(statement, values, failure);
}

/* A failure of the statement. */
static int fail_statement(lua_State *L, const struct pg_statement *statement,
                          const struct failure *failure) {
  return fail_pg(L, failure, pg_statement_state(statement));
}

/* statement:start([params]) -> the statement, ready for next() */
static int l_start(lua_State *L) {
  struct pg_statement *statement = check_statement(L);
  struct failure failure = {0};
  lua_settop(L, 2);
  if (!start(L, statement, &failure)) return fail_statement(L, statement, &failure);
  lua_settop(L, 1);
  return 1;
}

/* Pushes bytes. */
static void push_bytes(lua_State *L, const struct pg_value *value) {
  luaL_Buffer buffer;
  char *room = luaL_buffinitsize(L, &buffer, value->size / 2);
  pg_bytes(value, room);
  luaL_pushresultsize(&buffer, value->size / 2);
}

/* Pushes one column's value; false for NULL, which pushes nothing. */
static bool push_column(lua_State *L, const struct pg_statement *statement, int i) {
  struct pg_value value = pg_column(statement, i);
  switch (value.kind) {
    case PG_NULL: return false;
    case PG_INTEGER: lua_pushinteger(L, value.integer); return true;
    case PG_NUMBER: lua_pushnumber(L, value.number); return true;
    case PG_BOOLEAN: lua_pushboolean(L, value.integer != 0); return true;
    case PG_BYTES: push_bytes(L, &value); return true;
    default: lua_pushlstring(L, value.text, value.size); return true;
  }
}

/* Pushes the row as a table by column name. */
static void push_row(lua_State *L, const struct pg_statement *statement) {
  int count = pg_columns(statement);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    if (push_column(L, statement, i)) lua_setfield(L, -2, pg_column_name(statement, i));
  }
}

/* statement:columns() -> names of the columns, once next() was called */
static int l_columns(lua_State *L) {
  struct pg_statement *statement = check_statement(L);
  int count = pg_columns(statement);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, pg_column_name(statement, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* statement:next() -> row, a table by column name in which NULL is absent; nothing at the end */
static int l_next(lua_State *L) {
  struct pg_statement *statement = check_statement(L);
  struct failure failure = {0};
  switch (pg_next(statement, &failure)) {
    case PG_ROW: push_row(L, statement); return 1;
    case PG_END: return 0;
    default: return fail_statement(L, statement, &failure);
  }
}

/* statement:leave() -> true: the rest of the rows isn't wanted */
static int l_leave(lua_State *L) {
  struct failure failure = {0};
  if (!pg_leave(check_statement(L), &failure)) return api_fail(L, &failure);
  lua_pushboolean(L, true);
  return 1;
}

/* statement:value() -> first column of the first row; nil when it is NULL or there is no row */
static int l_value(lua_State *L) {
  struct pg_statement *statement = check_statement(L);
  struct failure failure = {0};
  enum pg_step step = pg_next(statement, &failure);
  if (step == PG_FAILED) return fail_statement(L, statement, &failure);
  if (step == PG_END || pg_columns(statement) == 0 || !push_column(L, statement, 0)) lua_pushnil(L);
  return pg_leave(statement, &failure) ? 1 : api_fail(L, &failure);
}

/* statement:run([params]) -> number of rows changed */
static int l_run(lua_State *L) {
  struct pg_statement *statement = check_statement(L);
  struct failure failure = {0};
  enum pg_step step = PG_FAILED;
  lua_settop(L, 2);
  if (start(L, statement, &failure)) {
    while ((step = pg_next(statement, &failure)) == PG_ROW) continue;
  }
  if (step == PG_FAILED) return fail_statement(L, statement, &failure);
  lua_pushinteger(L, pg_changed(statement));
  return 1;
}

int luaopen_native_pg(lua_State *L) {
  static const luaL_Reg connection_methods[] = {{"script", l_script},
                                                {"prepare", l_prepare},
                                                {"commit", l_commit},
                                                {"outcome_unknown", l_outcome_unknown},
                                                {"in_transaction", l_in_transaction},
                                                {"notices", l_notices},
                                                {"copy_in", l_copy_in},
                                                {"copy_out", l_copy_out},
                                                {NULL, NULL}};
  static const luaL_Reg statement_methods[] = {
      {"start", l_start}, {"next", l_next},       {"value", l_value}, {"run", l_run},
      {"leave", l_leave}, {"columns", l_columns}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  luaL_requiref(L, "native.file", luaopen_native_file, 0); /* the classes of sources and sinks */
  lua_pop(L, 1);
  api_class(L, CONNECTION, connection_methods, close_connection);
  api_class(L, STATEMENT, statement_methods, close_statement);
  luaL_newlib(L, functions);
  lua_pushlightuserdata(L, (void *)&api_null);
  lua_setfield(L, -2, "null");
  return 1;
}
