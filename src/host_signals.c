/* A signal sets stop_signal, which every blocking call of the engine looks at, and a debug hook
 * that raises a failure in Lua code at its next instruction. Hooks belong to one coroutine each,
 * and a handler can't ask which one runs: so coroutine.resume and wrap are replaced by ones that
 * remember. A second signal ends the process at once, for scripts that catch the first and go on.
 */
#define _GNU_SOURCE
#include "host_signals.h"

#include <lauxlib.h>
#include <signal.h>

#include "api/api.h"

static lua_State *volatile running; /* the coroutine whose code runs now */

/* Runs in Lua code at the next instruction after a signal: raises once. */
static void raise_stop(lua_State *L, lua_Debug *activation) {
  (void)activation;
  lua_sethook(L, NULL, 0, 0);
  lua_pushfstring(L, "stopped by signal %d", (int)stop_signal);
  api_push_failure(L, 128 + stop_signal);
  lua_error(L);
}

static void set_hook(lua_State *L) {
  lua_sethook(L, raise_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void on_signal(int number) {
  if (stop_signal != 0) {
    signal(number, SIG_DFL);
    raise(number);
  }
  stop_signal = number;
  set_hook(running);
}

/* Resumes `co` with the values on top of L. Gives how many results it left on top of L, or -1 and
 * one error value. */
static int resume(lua_State *L, lua_State *co, int arguments) {
  lua_State *outer = running;
  int results = 0;
  if (!lua_checkstack(co, arguments)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, arguments);
  running = co;
  int status = lua_resume(co, L, arguments, &results);
  running = outer;
  if (stop_signal != 0) set_hook(outer); /* the coroutine's end is not the end of it */
  bool failed = status != LUA_OK && status != LUA_YIELD;
  if (failed) results = 1;
  luaL_checkstack(L, results + 1, "too many results to resume");
  lua_xmove(co, L, results);
  return failed ? -1 : results;
}

/* coroutine.resume(co, ...), as lua has it */
static int l_resume(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "coroutine");
  int results = resume(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, results >= 0);
  if (results < 0) results = 1;
  lua_insert(L, -results - 1);
  return results + 1;
}

/* The function that coroutine.wrap gives: resumes its coroutine, raises what that raises. */
static int l_wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int results = resume(L, co, lua_gettop(L));
  if (results >= 0) return results;
  if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD) lua_resetthread(co);
  return lua_error(L);
}

/* coroutine.wrap(f), as lua has it */
static int l_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, l_wrapped, 1);
  return 1;
}

static void do_nothing(int number) { (void)number; }

void host_install_signals(lua_State *L) {
  struct sigaction action = {.sa_handler = on_signal};
  /* A closed pipe or a file-size limit is a failed write, told like any other. Not SIG_IGN, which
   * programs that a script starts would inherit. */
  struct sigaction nothing = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
  running = L;
  lua_getglobal(L, "coroutine");
  lua_pushcfunction(L, l_resume);
  lua_setfield(L, -2, "resume");
  lua_pushcfunction(L, l_wrap);
  lua_setfield(L, -2, "wrap");
  lua_pop(L, 1);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGPIPE, &nothing, NULL);
  sigaction(SIGXFSZ, &nothing, NULL);
}
