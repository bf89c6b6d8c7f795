/* native.process: starting programs, and waiting. See lua/meta/process.lua for types. */
#include "../process.h"

#include <math.h>

#include "api.h"

#define WATCH "native.watch"

/* The texts of the array at `index` as a NULL-ended array, which a userdata on top of the stack
 * holds; the texts themselves stay where they are. */
static char **texts(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  size_t count = lua_rawlen(L, index);
  char **list = lua_newuserdatauv(L, (count + 1) * sizeof *list, 0);
  for (size_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING) {
      luaL_argerror(L, index, "must be an array of strings");
    }
    list[i] = (char *)lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  list[count] = NULL;
  return list;
}

/* watch() -> handle */
static int l_watch(lua_State *L) {
  struct failure failure = {0};
  void **handle = api_new_handle(L, WATCH);
  *handle = watch_open(&failure);
  return *handle == NULL ? api_fail(L, &failure) : 1;
}

/* watch:close() -> killed */
static int l_close(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, WATCH);
  lua_pushinteger(L, *handle != NULL ? (lua_Integer)watch_close(*handle) : 0);
  *handle = NULL;
  return 1;
}

/* watch:start(arguments [, options]) -> pid */
static int l_start(lua_State *L) {
  static const char *const names[] = {"environment", "memory", "output", "input", NULL};
  struct failure failure = {0};
  struct watch *watch = api_handle(L, 1, WATCH);
  lua_settop(L, 3);
  api_check_options(L, 3, names);
  struct process_options options = {.arguments = texts(L, 2)};
  luaL_argcheck(L, options.arguments[0] != NULL, 2, "must name a program");
  options.memory = api_integer_option(L, 3, "memory", 0);
  options.output = (int)api_integer_option(L, 3, "output", -1);
  options.input = (int)api_integer_option(L, 3, "input", -1);
  if (lua_istable(L, 3) && lua_getfield(L, 3, "environment") != LUA_TNIL) {
    options.environment = texts(L, lua_gettop(L));
  }
  pid_t pid = watch_start(watch, &options, &failure);
  if (pid < 0) return api_fail(L, &failure);
  lua_pushinteger(L, pid);
  return 1;
}

/* watch:process(pid) -> true */
static int l_process(lua_State *L) {
  struct failure failure = {0};
  lua_Integer pid = luaL_checkinteger(L, 2);
  if (!watch_process(api_handle(L, 1, WATCH), (pid_t)pid, &failure)) return api_fail(L, &failure);
  lua_pushboolean(L, true);
  return 1;
}

/* watch:folder(path) -> true */
static int l_folder(lua_State *L) {
  struct failure failure = {0};
  const char *path = luaL_checkstring(L, 2);
  if (!watch_folder(api_handle(L, 1, WATCH), path, &failure)) return api_fail(L, &failure);
  lua_pushboolean(L, true);
  return 1;
}

/* watch:wait([until]) -> event [, pid [, status]] */
static int l_wait(lua_State *L) {
  static const char *const names[] = {"time", "clock", "process", "files", "hangup"};
  struct failure failure = {0};
  struct watch_ended ended;
  double until = luaL_optnumber(L, 2, HUGE_VAL);
  enum watch_event event = watch_wait(api_handle(L, 1, WATCH), until, &ended, &failure);
  if (event == WATCH_FAILED) return api_fail(L, &failure);
  lua_pushstring(L, names[event]);
  if (event != WATCH_PROCESS) return 1;
  lua_pushinteger(L, ended.pid);
  if (!ended.known) return 2;
  lua_pushinteger(L, ended.status);
  return 3;
}

int luaopen_native_process(lua_State *L) {
  static const luaL_Reg methods[] = {{"start", l_start},
                                     {"process", l_process},
                                     {"folder", l_folder},
                                     {"wait", l_wait},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"watch", l_watch}, {NULL, NULL}};
  api_class(L, WATCH, methods, l_close);
  luaL_newlib(L, functions);
  return 1;
}
