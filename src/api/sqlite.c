/* native.sqlite: databases and prepared statements over SQLite. See lua/meta/sqlite.lua for types.
 * Parameters are named (:name) and always bound, never pasted. Waiting for a lock and a running
 * statement end when a signal asks the process to stop. */
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../sqlite_rows.h"
#include "api.h"

#define DATABASE "native.database"
#define STATEMENT "native.statement"

enum { LOCK_POLL_MS = 20, DEFAULT_TIMEOUT_MS = 10000, STEPS_BETWEEN_CHECKS = 10000 };

/* ---- failures ---- */

/* The exit code for what SQLite and the system say. */
static int exit_code(int sqlite_code, int system_number) {
  if (system_number == EACCES || system_number == EPERM) return EXIT_NOT_PERMITTED;
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return EXIT_TRY_AGAIN;
    case SQLITE_CANTOPEN: return EXIT_UNAVAILABLE;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return EXIT_BAD_DATA;
    case SQLITE_FULL:
    case SQLITE_IOERR: return EXIT_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return EXIT_NOT_PERMITTED;
    default: return EXIT_INTERNAL;
  }
}

/* Pushes nil, message, code for the last error of the database called `name`. */
static int fail_named(lua_State *L, sqlite3 *database, const char *name, const char *what) {
  struct failure failure = {0};
  if (!check_stop(&failure)) return api_fail(L, &failure);
  int code = sqlite3_errcode(database), number = sqlite3_system_errno(database);
  bool system = (code & 0xff) == SQLITE_CANTOPEN && number != 0;
  fail(&failure, exit_code(code, system ? number : 0), "sqlite:%s: %s: %s", name, what,
       system ? strerror(number) : sqlite3_errmsg(database));
  return api_fail(L, &failure);
}

/* The same for an open database, which knows its name. */
static int fail_sqlite(lua_State *L, sqlite3 *database, const char *what) {
  const char *name = sqlite3_db_filename(database, "main");
  return fail_named(L, database, name == NULL || *name == '\0' ? ":memory:" : name, what);
}

/* ---- waiting ---- */

/* Called by SQLite when a lock is taken: waits a little; 0 = give up. The context is not a pointer
 * but the number of milliseconds to wait in all. */
static int wait_for_lock(void *context, int times) {
  struct timespec pause = {0, LOCK_POLL_MS * 1000000L};
  if (stop_signal != 0 || (intptr_t)times * LOCK_POLL_MS >= (intptr_t)context) return 0;
  nanosleep(&pause, NULL);
  return 1;
}

/* Called by SQLite every so many steps of a statement; non-zero ends it. */
static int check_interrupt(void *context) {
  (void)context;
  return stop_signal != 0;
}

/* ---- databases ---- */

static int close_database(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, DATABASE);
  sqlite3 *database = *handle;
  *handle = NULL;
  sqlite3_close_v2(database); /* statements still open keep it alive until they are closed */
  return 0;
}

/* What every connection is set to: nothing committed may be lost, nothing may dangle. */
static int configure(sqlite3 *database, bool readonly, intptr_t lock_ms) {
  sqlite3_extended_result_codes(database, 1);
  sqlite3_busy_handler(database, wait_for_lock, (void *)lock_ms);
  sqlite3_progress_handler(database, STEPS_BETWEEN_CHECKS, check_interrupt, NULL);
  int result = sqlite3_exec(
      database, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = FILE",
      NULL, NULL, NULL);
  if (result != SQLITE_OK || readonly) return result;
  /* The switch to a write-ahead log doesn't wait for a lock: who finds one does without, this time.
   */
  result = sqlite3_exec(database, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
  return (result & 0xff) == SQLITE_BUSY ? SQLITE_OK : result;
}

/* open(path [, { create =, readonly =, lock_ms = }]) -> database */
static int l_open(lua_State *L) {
  static const char *const names[] = {"create", "readonly", "lock_ms", NULL};
  const char *path = luaL_checkstring(L, 1);
  api_check_options(L, 2, names);
  lua_Integer lock_ms = api_integer_option(L, 2, "lock_ms", DEFAULT_TIMEOUT_MS);
  bool readonly = api_boolean_option(L, 2, "readonly");
  int flags = readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (api_boolean_option(L, 2, "create")) flags |= SQLITE_OPEN_CREATE;
  void **handle = api_new_handle(L, DATABASE);
  sqlite3 *database;
  int result = sqlite3_open_v2(path, &database, flags, NULL);
  *handle = database;
  if (database == NULL) return luaL_error(L, "out of memory");
  if (result != SQLITE_OK || configure(database, readonly, (intptr_t)lock_ms) != SQLITE_OK) {
    return fail_named(L, database, path, "cannot open");
  }
  return 1;
}

/* database:script(sql) -> true: runs several statements without parameters */
static int l_script(lua_State *L) {
  sqlite3 *database = api_handle(L, 1, DATABASE);
  const char *sql = luaL_checkstring(L, 2);
  if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK) {
    return fail_sqlite(L, database, "SQL script");
  }
  lua_pushboolean(L, true);
  return 1;
}

/* database:in_transaction() -> boolean */
static int l_in_transaction(lua_State *L) {
  lua_pushboolean(L, !sqlite3_get_autocommit(api_handle(L, 1, DATABASE)));
  return 1;
}

/* ---- statements ---- */

static int close_statement(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, STATEMENT);
  sqlite3_finalize(*handle);
  *handle = NULL;
  return 0;
}

/* database:prepare(sql) -> statement */
static int l_prepare(lua_State *L) {
  sqlite3 *database = api_handle(L, 1, DATABASE);
  size_t size;
  const char *sql = luaL_checklstring(L, 2, &size), *rest;
  void **handle = api_new_handle(L, STATEMENT);
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(database, sql, (int)size, &statement, &rest) != SQLITE_OK) {
    return fail_sqlite(L, database, "SQL statement");
  }
  *handle = statement;
  if (statement == NULL) return luaL_error(L, "no SQL statement in '%s'", sql);
  if (rest[strspn(rest, " \t\r\n;")] != '\0') {
    return luaL_error(L, "text follows the SQL statement: '%s'", rest);
  }
  return 1;
}

/* Binds the value on top of the stack. */
static int bind_value(lua_State *L, sqlite3_stmt *statement, int index, const char *name) {
  size_t size;
  const char *text;
  switch (lua_type(L, -1)) {
    case LUA_TSTRING:
      text = lua_tolstring(L, -1, &size);
      return sqlite3_bind_text(statement, index, text, (int)size, SQLITE_TRANSIENT);
    case LUA_TNUMBER:
      if (lua_isinteger(L, -1)) return sqlite3_bind_int64(statement, index, lua_tointeger(L, -1));
      return sqlite3_bind_double(statement, index, lua_tonumber(L, -1));
    case LUA_TBOOLEAN: return sqlite3_bind_int(statement, index, lua_toboolean(L, -1));
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, -1) == &api_null) return sqlite3_bind_null(statement, index);
      break;
    default: break;
  }
  return luaL_error(L, "parameter %s: a %s is no SQL value", name, luaL_typename(L, -1));
}

/* Resets the statement and binds its parameters from the table at index 2. */
static void start(lua_State *L, sqlite3_stmt *statement) {
  sqlite3_reset(statement);
  int count = sqlite3_bind_parameter_count(statement);
  if (count > 0) luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; i <= count; i++) {
    const char *name = sqlite3_bind_parameter_name(statement, i);
    if (name == NULL) luaL_error(L, "parameters must be named, as in :snapshot");
    if (lua_getfield(L, 2, name + 1) == LUA_TNIL) {
      luaL_error(L, "parameter %s has no value (use sqlite.null for NULL)", name);
    }
    if (bind_value(L, statement, i, name) != SQLITE_OK) luaL_error(L, "cannot bind %s", name);
    lua_pop(L, 1);
  }
}

/* statement:start([params]) -> the statement, ready for next() */
static int l_start(lua_State *L) {
  start(L, api_handle(L, 1, STATEMENT));
  lua_settop(L, 1);
  return 1;
}

/* Pushes a number; of a boolean column true or false, of a decimal column a fraction as text: the
 * kinds that PostgreSQL has. */
static void push_number(lua_State *L, sqlite3_stmt *statement, int i, bool whole) {
  const char *declared = sqlite3_column_decltype(statement, i);
  char digits[SQLITE_DIGITS];
  if (declared == NULL) declared = "";
  if (whole && strncasecmp(declared, "boolean", 7) == 0) {
    lua_pushboolean(L, sqlite3_column_int(statement, i) != 0);
  } else if (whole) {
    lua_pushinteger(L, sqlite3_column_int64(statement, i));
  } else if (strncasecmp(declared, "numeric", 7) == 0 || strncasecmp(declared, "decimal", 7) == 0) {
    sqlite_decimal(sqlite3_column_double(statement, i), digits);
    lua_pushstring(L, digits);
  } else {
    lua_pushnumber(L, sqlite3_column_double(statement, i));
  }
}

/* Pushes one column's value; false for NULL, which pushes nothing. */
static bool push_column(lua_State *L, sqlite3_stmt *statement, int i) {
  switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER: push_number(L, statement, i, true); return true;
    case SQLITE_FLOAT: push_number(L, statement, i, false); return true;
    case SQLITE_NULL: return false;
    default:
      lua_pushlstring(L, sqlite3_column_blob(statement, i),
                      (size_t)sqlite3_column_bytes(statement, i));
      return true;
  }
}

/* statement:next() -> row, a table by column name in which NULL is absent; nothing at the end */
static int l_next(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  int result = sqlite3_step(statement);
  if (result == SQLITE_DONE) return 0;
  if (result != SQLITE_ROW) return fail_sqlite(L, sqlite3_db_handle(statement), "SQL statement");
  int count = sqlite3_column_count(statement);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    if (push_column(L, statement, i)) lua_setfield(L, -2, sqlite3_column_name(statement, i));
  }
  return 1;
}

/* statement:value() -> first column of the first row; nil when it is NULL or there is no row */
static int l_value(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  int result = sqlite3_step(statement);
  if (result != SQLITE_ROW && result != SQLITE_DONE) {
    return fail_sqlite(L, sqlite3_db_handle(statement), "SQL statement");
  }
  if (result == SQLITE_DONE || !push_column(L, statement, 0)) lua_pushnil(L);
  sqlite3_reset(statement);
  return 1;
}

/* statement:run([params]) -> number of rows changed */
static int l_run(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  sqlite3 *database = sqlite3_db_handle(statement);
  start(L, statement);
  int before = sqlite3_total_changes(database);
  if (!sqlite_run(statement)) return fail_sqlite(L, database, "SQL statement");
  sqlite3_reset(statement);
  /* SQLite goes on giving the number of an earlier statement when this one is no INSERT. */
  bool changed = sqlite3_total_changes(database) != before;
  lua_pushinteger(L, changed ? sqlite3_changes(database) : 0);
  return 1;
}

/* statement:leave() -> true: the rest of the rows isn't wanted */
static int l_leave(lua_State *L) {
  sqlite3_reset(api_handle(L, 1, STATEMENT));
  lua_pushboolean(L, true);
  return 1;
}

/* statement:columns() -> names of the columns */
static int l_columns(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  int count = sqlite3_column_count(statement);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, sqlite3_column_name(statement, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* ---- CSV in and out ---- */

/* Pushes the number of rows moved; what is wrong where it is negative. */
static int push_rows(lua_State *L, sqlite3_stmt *statement, long long rows,
                     const struct failure *failure) {
  if (rows < 0 && failure->code != 0) return api_fail(L, failure);
  if (rows < 0) return fail_sqlite(L, sqlite3_db_handle(statement), "SQL statement");
  lua_pushinteger(L, rows);
  return 1;
}

/* statement:insert(source, columns [, options]) -> rows: inserts these columns of a CSV file */
static int l_insert(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  struct source *source = api_handle(L, 2, API_SOURCE);
  struct failure failure = {0};
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_argcheck(L, luaL_len(L, 3) == sqlite3_bind_parameter_count(statement), 3,
                "must name as many columns as the statement has parameters");
  struct csv_pick *pick = api_csv_pick(L, source, 3, &failure);
  long long rows = pick == NULL ? -1 : sqlite_insert(statement, pick, &failure);
  csv_pick_close(pick);
  return push_rows(L, statement, rows, &failure);
}

/* statement:write(sink) -> rows: writes what is left of the rows as CSV, with a header */
static int l_write(lua_State *L) {
  sqlite3_stmt *statement = api_handle(L, 1, STATEMENT);
  struct sink *sink = api_handle(L, 2, API_SINK);
  struct failure failure = {0};
  long long rows = sqlite_write(statement, sink, &failure);
  return push_rows(L, statement, rows, &failure);
}

int luaopen_native_sqlite(lua_State *L) {
  static const luaL_Reg database_methods[] = {{"script", l_script},
                                              {"prepare", l_prepare},
                                              {"in_transaction", l_in_transaction},
                                              {NULL, NULL}};
  static const luaL_Reg statement_methods[] = {
      {"start", l_start},   {"next", l_next},   {"value", l_value},
      {"run", l_run},       {"leave", l_leave}, {"columns", l_columns},
      {"insert", l_insert}, {"write", l_write}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  luaL_requiref(L, "native.file", luaopen_native_file, 0); /* the classes of sources and sinks */
  lua_pop(L, 1);
  api_class(L, DATABASE, database_methods, close_database);
  api_class(L, STATEMENT, statement_methods, close_statement);
  luaL_newlib(L, functions);
  lua_pushlightuserdata(L, (void *)&api_null);
  lua_setfield(L, -2, "null");
  return 1;
}
