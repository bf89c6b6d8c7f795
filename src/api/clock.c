/* native.clock: the host's time. See lua/meta/clock.lua for types. */
#include "../clock.h"

#include "api.h"

/* now() -> seconds since 1970-01-01 UTC */
static int l_now(lua_State *L) {
  lua_pushnumber(L, clock_now());
  return 1;
}

/* is_set() -> whether TALLYMAN_NOW moved the clock */
static int l_is_set(lua_State *L) {
  lua_pushboolean(L, clock_is_set());
  return 1;
}

/* offset(time [, zone]) -> seconds east of UTC */
static int l_offset(lua_State *L) {
  struct failure failure = {0};
  long offset;
  if (!clock_offset(luaL_checknumber(L, 1), luaL_optstring(L, 2, NULL), &offset, &failure)) {
    return api_fail(L, &failure);
  }
  lua_pushinteger(L, offset);
  return 1;
}

/* sleep(seconds) -> true */
static int l_sleep(lua_State *L) {
  struct failure failure = {0};
  if (!clock_sleep(luaL_checknumber(L, 1), &failure)) return api_fail(L, &failure);
  lua_pushboolean(L, true);
  return 1;
}

int luaopen_native_clock(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"now", l_now}, {"is_set", l_is_set}, {"offset", l_offset}, {"sleep", l_sleep}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
