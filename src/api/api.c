/* The natives' table and the idioms that every border file uses. */
#include "api.h"

#include <string.h>

#include "../pg_csv.h"

const char api_null = 0;

const luaL_Reg api_natives[] = {
    {"native.clock", luaopen_native_clock},     {"native.csv", luaopen_native_csv},
    {"native.file", luaopen_native_file},       {"native.pg", luaopen_native_pg},
    {"native.process", luaopen_native_process}, {"native.sftp", luaopen_native_sftp},
    {"native.sqlite", luaopen_native_sqlite},   {NULL, NULL},
};

int api_fail(lua_State *L, const struct failure *failure) {
  luaL_pushfail(L);
  lua_pushstring(L, failure->text);
  lua_pushinteger(L, failure->code);
  return 3;
}

void api_push_failure(lua_State *L, int code) {
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  lua_pushinteger(L, code);
  lua_setfield(L, -2, "code");
  luaL_setmetatable(L, API_FAILURE);
}

int api_raise(lua_State *L, const struct failure *failure) {
  lua_pushstring(L, failure->text);
  api_push_failure(L, failure->code);
  return lua_error(L);
}

void api_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction close) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void **api_new_handle(lua_State *L, const char *name) {
  void **handle = lua_newuserdatauv(L, sizeof *handle, 2);
  *handle = NULL;
  luaL_setmetatable(L, name);
  return handle;
}

void *api_handle(lua_State *L, int index, const char *name) {
  void **handle = luaL_checkudata(L, index, name);
  luaL_argcheck(L, *handle != NULL, index, "is closed");
  return *handle;
}

lua_Integer api_integer_option(lua_State *L, int index, const char *name, lua_Integer otherwise) {
  if (lua_isnoneornil(L, index)) return otherwise;
  lua_Integer value = otherwise;
  if (lua_getfield(L, index, name) != LUA_TNIL) {
    int is_integer;
    value = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer) luaL_error(L, "option '%s' must be an integer", name);
  }
  lua_pop(L, 1);
  return value;
}

bool api_boolean_option(lua_State *L, int index, const char *name) {
  if (lua_isnoneornil(L, index)) return false;
  lua_getfield(L, index, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

void api_check_options(lua_State *L, int index, const char *const names[]) {
  if (lua_isnoneornil(L, index)) return;
  luaL_checktype(L, index, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    size_t i = 0;
    while (names[i] != NULL && strcmp(names[i], key) != 0) i++;
    if (names[i] == NULL) luaL_error(L, "unknown option '%s'", key);
  }
}

const char *const api_source_options[] = {"digest", "fingerprint", "cut_after", NULL};

/* Makes the source compute a digest if the options at `index` ask for it. */
static bool want_digest(lua_State *L, struct source *source, int index, const char *option,
                        enum digest_kind kind, struct failure *failure) {
  return !api_boolean_option(L, index, option) || source_want_digest(source, kind, failure);
}

int api_return_source(lua_State *L, struct source *source, int index, struct failure *failure) {
  if (source == NULL) return api_fail(L, failure);
  *(void **)lua_touserdata(L, -1) = source;
  source->cut_after = (uint64_t)api_integer_option(L, index, "cut_after", 0);
  if (source->cut_after > 0) source->read_at = NULL; /* in order, that is */
  if (!want_digest(L, source, index, "digest", DIGEST_SHA256, failure) ||
      !want_digest(L, source, index, "fingerprint", DIGEST_XXH3, failure)) {
    return api_fail(L, failure);
  }
  return 1;
}

struct csv_pick *api_csv_pick(lua_State *L, struct source *source, int index,
                              struct failure *failure) {
  static const char *const known[] = {"max_record", "block", "delimiter", NULL};
  luaL_checktype(L, index, LUA_TTABLE);
  lua_settop(L, index + 1);
  api_check_options(L, index + 1, known);
  struct scan_options options = api_scan_options(L, index + 1);
  size_t count = (size_t)luaL_len(L, index);
  luaL_argcheck(L, count > 0, index, "must name columns");
  const char **names = lua_newuserdatauv(L, count * sizeof *names, 0);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_argerror(L, index, "must name columns by strings");
    names[i] = lua_tostring(L, -1); /* the table keeps it alive */
    lua_pop(L, 1);
  }
  return csv_pick_open(source, &options, names, count, failure);
}
