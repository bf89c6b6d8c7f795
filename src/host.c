/* One process, one Lua state, one script. The host knows where the library lives, puts the natives
 * into package.preload, keeps the working directory out of the search paths and turns what a script
 * raises into one clear line and an exit code.
 * What a returned job or flow table means is Lua's business: the host hands it to tallyman.entry.
 */
#define _GNU_SOURCE
#include "host.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "clock.h"
#include "host_signals.h"

#ifndef TALLYMAN_VERSION
#define TALLYMAN_VERSION "0.1.0"
#endif

enum { EXIT_SCRIPT = 1, EXIT_USAGE = 64 };

static const char USAGE[] =
    "usage: tallyman [-i] [-e CODE] [SCRIPT [ARG...] | -]\n"
    "       tallyman test [ARG...]      run specs (busted, inside this host)\n"
    "       tallyman check SCRIPT...    check scripts and settings without running anything\n"
    "\n"
    "  SCRIPT      a Lua 5.4 script; a job or flow table that it returns is run\n"
    "  -           read the script from standard input\n"
    "  -e CODE     run CODE first\n"
    "  -i          read lines interactively afterwards\n"
    "  --version   print the version\n"
    "  --help      print this\n"
    "\n"
    "A job takes --json; a flow takes run, once, plan, status, report or check.\n"
    "Exit codes: 0 done, 1 script error, 3 refused, 64 usage, 65 bad data, 66 no such input,\n"
    "69 unavailable, 70 internal, 73/74 can't write, 75 try again, 77 not permitted, 78 "
    "settings.\n";

/* ---- failures ---- */

/* failure:__tostring() */
static int l_failure_text(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

/* failure(message, code) -> an error value that ends the process with that exit code */
static int l_failure(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_Integer code = luaL_checkinteger(L, 2);
  lua_pushvalue(L, 1);
  api_push_failure(L, (int)code);
  return 1;
}

/* Whether the value at `index` is a failure: a table with that metatable. */
static bool is_failure(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  luaL_getmetatable(L, API_FAILURE);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* tostring, to be called protected: an error value's own __tostring may fail. */
static int l_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Message handler: leaves failures (the world's fault, told in one line) as they are; gives script
 * errors, whatever value they are, a place and a traceback. */
static int add_traceback(lua_State *L) {
  if (is_failure(L, 1)) return 1;
  bool has_place = lua_isstring(L, 1);
  lua_pushcfunction(L, l_text);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pushfstring(L, "error value, a %s, that can't be made into text", luaL_typename(L, 1));
  }
  luaL_where(L, has_place ? 0 : 2);
  lua_insert(L, -2);
  lua_concat(L, 2);
  luaL_traceback(L, L, lua_tostring(L, -1), 1);
  return 1;
}

/* The exit code of the failure on top of the stack; never that of success. */
static int failure_code(lua_State *L) {
  lua_getfield(L, -1, "code");
  lua_Integer code = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return code > 0 && code < 256 ? (int)code : EXIT_INTERNAL;
}

/* Prints the error on top of the stack and gives the exit code that it stands for. */
static int report(lua_State *L) {
  int code = EXIT_SCRIPT;
  if (is_failure(L, -1)) {
    code = failure_code(L);
    lua_getfield(L, -1, "message");
    lua_remove(L, -2);
  }
  const char *text = lua_tostring(L, -1);
  fprintf(stderr, "tallyman: %s\n", text == NULL ? "an error without words" : text);
  lua_pop(L, 1);
  return code;
}

/* Calls the function below its arguments with the traceback handler under it. */
static int call(lua_State *L, int arguments, int results) {
  int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, arguments, results, base);
  lua_remove(L, base);
  return status;
}

/* ---- search paths ---- */

/* The library's folder beside or above the running executable; false when there is none. */
static bool find_library(char library[PATH_MAX], char executable[PATH_MAX]) {
  static const char *const places[] = {"../lua", "../../lua", "../share/tallyman/lua", NULL};
  ssize_t size = readlink("/proc/self/exe", executable, PATH_MAX - 1);
  if (size <= 0) return false;
  executable[size] = '\0';
  char folder[PATH_MAX], place[2 * PATH_MAX];
  strcpy(folder, executable);
  char *parent = dirname(folder);
  for (int i = 0; places[i] != NULL; i++) {
    struct stat status;
    snprintf(place, sizeof place, "%s/%s/tallyman", parent, places[i]);
    if (stat(place, &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    snprintf(place, sizeof place, "%s/%s", parent, places[i]);
    return realpath(place, library) != NULL;
  }
  return false;
}

/* Appends the absolute entries of a search path; "./?.lua" and its like are left out. */
static void add_absolute(luaL_Buffer *buffer, const char *path) {
  for (const char *end; *path != '\0'; path = *end == '\0' ? end : end + 1) {
    end = strchrnul(path, ';');
    if (*path != '/') continue;
    luaL_addlstring(buffer, path, (size_t)(end - path));
    luaL_addchar(buffer, ';');
  }
}

/* Sets package[field] to `first` followed by what is absolute of its old value. */
static void set_path(lua_State *L, const char *field, const char *first) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, field);
  luaL_Buffer buffer;
  const char *old = lua_tostring(L, -1);
  luaL_buffinit(L, &buffer);
  luaL_addstring(&buffer, first);
  add_absolute(&buffer, old);
  luaL_pushresult(&buffer);
  lua_setfield(L, -3, field);
  lua_pop(L, 2);
}

/* The library first, then what was built beside it (luaposix on Debian 12), then the system's. */
static void set_library_paths(lua_State *L, const char *library) {
  lua_pushfstring(L,
                  "%s/?.lua;%s/?/init.lua;%s/../build/deps/share/lua/5.4/?.lua;"
                  "%s/../build/deps/share/lua/5.4/?/init.lua;",
                  library, library, library, library);
  set_path(L, "path", lua_tostring(L, -1));
  lua_pushfstring(L, "%s/../build/deps/lib/lua/5.4/?.so;", library);
  set_path(L, "cpath", lua_tostring(L, -1));
  lua_pop(L, 2);
}

/* Puts the folder of the script before everything: `require "settings"` finds its own. */
static bool add_script_folder(lua_State *L, const char *script) {
  char path[PATH_MAX];
  if (realpath(script, path) == NULL) return false;
  lua_pushfstring(L, "%s/?.lua;", dirname(path));
  set_path(L, "path", lua_tostring(L, -1));
  lua_pop(L, 1);
  return true;
}

/* ---- the state ---- */

/* native.host: what scripts may know of the program itself. */
static void add_host_module(lua_State *L, const char *executable, const char *library) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_newtable(L);
  lua_pushstring(L, executable);
  lua_setfield(L, -2, "executable");
  lua_pushstring(L, library);
  lua_setfield(L, -2, "library");
  lua_pushstring(L, TALLYMAN_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushcfunction(L, l_failure);
  lua_setfield(L, -2, "failure");
  lua_setfield(L, -2, "native.host");
  lua_pop(L, 1);
}

/* `require "settings"` goes through the library, so that a wrong settings.lua is told like one. */
static int l_settings(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tallyman.script");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "load_settings");
  lua_call(L, 0, 1);
  return 1;
}

/* Opens the standard libraries and puts the natives into package.preload. */
static void open_libraries(lua_State *L) {
  lua_pushboolean(L, true);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* LUA_PATH could name relative folders */
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const luaL_Reg *native = api_natives; native->name != NULL; native++) {
    lua_pushcfunction(L, native->func);
    lua_setfield(L, -2, native->name);
  }
  lua_pushcfunction(L, l_settings);
  lua_setfield(L, -2, "settings");
  lua_pop(L, 1);
  luaL_newmetatable(L, API_FAILURE);
  lua_pushcfunction(L, l_failure_text);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
}

/* Everything a script may count on; false with a message on standard error. */
static bool prepare(lua_State *L) {
  char library[PATH_MAX], executable[PATH_MAX];
  struct failure failure = {0};
  open_libraries(L);
  if (!find_library(library, executable)) {
    fprintf(stderr, "tallyman: the Lua library is not beside the program; install it again\n");
    return false;
  }
  if (!clock_start(&failure)) {
    fprintf(stderr, "tallyman: %s\n", failure.text);
    return false;
  }
  add_host_module(L, executable, library);
  set_library_paths(L, library);
  host_install_signals(L);
  return true;
}

/* Sets the global `arg` as lua does: the script at 0, its arguments from 1, the rest below 0. */
static void set_arguments(lua_State *L, int argc, char *argv[], int script) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* ---- what to run ---- */

/* Hands a value on top of the stack, and the script's name, to the library's entry. */
static int run_returned(lua_State *L, const char *script) {
  if (!lua_istable(L, -1)) return 0;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tallyman.entry");
  if (call(L, 1, 1) != LUA_OK) return report(L);
  lua_pushvalue(L, -2);
  lua_pushstring(L, script);
  lua_getglobal(L, "arg");
  if (call(L, 3, 1) != LUA_OK) return report(L);
  return (int)luaL_optinteger(L, -1, 0);
}

/* Runs a script file (NULL: standard input), its arguments being the global arg. */
static int run_script(lua_State *L, const char *script) {
  if (script != NULL && !add_script_folder(L, script)) {
    fprintf(stderr, "tallyman: cannot open %s: no such script\n", script);
    return EXIT_NO_INPUT;
  }
  int loaded = luaL_loadfile(L, script);
  if (loaded != LUA_OK) {
    int code = report(L);
    return loaded == LUA_ERRFILE ? EXIT_NO_INPUT : code;
  }
  lua_getglobal(L, "arg");
  int count = (int)luaL_len(L, -1);
  luaL_checkstack(L, count + 4, "too many arguments");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -count - 1);
  if (call(L, count, 1) != LUA_OK) return report(L);
  return run_returned(L, script == NULL ? "stdin" : script);
}

/* Runs a piece of code given on the command line. */
static int run_code(lua_State *L, const char *code) {
  if (luaL_loadbuffer(L, code, strlen(code), "=(command line)") != LUA_OK) return report(L);
  return call(L, 0, 0) == LUA_OK ? 0 : report(L);
}

/* Calls the library's module `name` with the argument table: test, check and -i. */
static int run_module(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  if (call(L, 1, 1) != LUA_OK) return report(L);
  lua_getglobal(L, "arg");
  if (call(L, 1, 1) != LUA_OK) return report(L);
  return (int)luaL_optinteger(L, -1, 0);
}

static int usage(FILE *to, int code) {
  fputs(USAGE, to);
  return code;
}

/* Goes over the options that stand before the script; *i is then the script's place. */
static int run_options(lua_State *L, int argc, char *argv[], int *i, bool *interactive,
                       bool *ran_code) {
  for (; *i < argc && argv[*i][0] == '-' && argv[*i][1] != '\0'; ++*i) {
    if (strcmp(argv[*i], "-i") == 0) {
      *interactive = true;
    } else if (strcmp(argv[*i], "-e") == 0 && *i + 1 < argc) {
      int code = run_code(L, argv[++*i]);
      if (code != 0) return code;
      *ran_code = true;
    } else {
      return usage(stderr, EXIT_USAGE);
    }
  }
  return 0;
}

/* Runs what the command line says. */
static int run(lua_State *L, int argc, char *argv[]) {
  bool interactive = false, ran_code = false;
  int i = 1;
  if (argc > 1 && (strcmp(argv[1], "test") == 0 || strcmp(argv[1], "check") == 0)) {
    set_arguments(L, argc, argv, 1);
    return run_module(L, argv[1][0] == 't' ? "tallyman.test" : "tallyman.check");
  }
  set_arguments(L, argc, argv, argc);
  int code = run_options(L, argc, argv, &i, &interactive, &ran_code);
  if (code != 0) return code;
  if (i == argc && !interactive && !ran_code) {
    return isatty(STDIN_FILENO) ? usage(stderr, EXIT_USAGE) : run_script(L, NULL);
  }
  if (i < argc) {
    set_arguments(L, argc, argv, i);
    code = run_script(L, strcmp(argv[i], "-") == 0 ? NULL : argv[i]);
  }
  return code == 0 && interactive ? run_module(L, "tallyman.interactive") : code;
}

/* Standard streams that are closed would be replaced by the next file that is opened: each gets a
 * descriptor that fails when it is used. */
static void hold_standard_streams(void) {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
    if (fcntl(stream, F_GETFD) != -1) continue;
    int placed = open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (placed != stream && placed >= 0) close(placed);
  }
}

/* Whether everything that was printed has got out; if not, says so. */
static bool flush_output(void) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return true;
  fputs("tallyman: cannot write standard output\n", stderr);
  return false;
}

int host_main(int argc, char *argv[]) {
  hold_standard_streams();
  if (argc > 1 && strcmp(argv[1], "--help") == 0) return usage(stdout, 0);
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    puts("tallyman " TALLYMAN_VERSION " (" LUA_RELEASE ")");
    return 0;
  }
  lua_State *L = luaL_newstate();
  if (L == NULL) {
    fputs("tallyman: out of memory\n", stderr);
    return EXIT_INTERNAL;
  }
  int code = prepare(L) ? run(L, argc, argv) : EXIT_CONFIGURATION;
  lua_close(L);
  return !flush_output() && code == 0 ? EXIT_IO : code;
}
