/* One Lua state, its stack empty between calls; an error in there is an error of the harness. */
#include "oracle.h"

#include <lauxlib.h>
#include <libgen.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lua_State *L;

/* Ends the process with the error on the stack. */
static void give_up(void) {
  fprintf(stderr, "the oracle: %s\n", lua_tostring(L, -1));
  abort();
}

void oracle_open(const char *program) {
  char folder[4096], path[4200], *copy = strdup(program);
  const char *named = getenv("TALLYMAN_TESTS");
  if (copy == NULL) abort();
  if (named != NULL) {
    snprintf(folder, sizeof folder, "%s", named);
  } else {
    snprintf(folder, sizeof folder, "%s/../../tests", dirname(copy));
  }
  free(copy);
  snprintf(path, sizeof path, "%s/fuzz/oracle.lua", folder);
  L = luaL_newstate();
  if (L == NULL) abort();
  luaL_openlibs(L);
  if (luaL_loadfile(L, path) != LUA_OK) give_up();
  lua_pushstring(L, folder);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) give_up();
  lua_setglobal(L, "oracle");
}

/* Gets ready to call a function of oracle.lua. */
static void begin(const char *function) {
  lua_settop(L, 0);
  lua_getglobal(L, "oracle");
  lua_getfield(L, -1, function);
}

static void call(int arguments, int results) {
  if (lua_pcall(L, arguments, results, 0) != LUA_OK) give_up();
}

static void push_text(const struct text *text) { lua_pushlstring(L, text->bytes, text->size); }

/* Pushes the delimiter, nil where it has to be found. */
static void push_delimiter(char delimiter) {
  if (delimiter == 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, &delimiter, 1);
  }
}

/* Takes over a string result. */
static void take(int index, struct text *text) {
  size_t size;
  const char *bytes = lua_tolstring(L, index, &size);
  text->size = 0;
  text_add(text, bytes, size);
}

void oracle_scan(const struct text *text, char delimiter, size_t max_record, struct text *result) {
  begin("scan");
  push_text(text);
  push_delimiter(delimiter);
  lua_pushinteger(L, (lua_Integer)max_record);
  call(3, 1);
  take(-1, result);
  lua_settop(L, 0);
}

void oracle_new_keys(void) {
  begin("new_keys");
  call(0, 0);
  lua_settop(L, 0);
}

void oracle_add_key(const struct key *key) {
  begin("add_key");
  lua_pushlstring(L, key->value, key->value_size);
  if (key->type == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, key->type, key->type_size);
  }
  call(2, 0);
  lua_settop(L, 0);
}

void oracle_filter(const struct oracle_question *question, struct oracle_filtered *result) {
  begin("filter");
  push_text(question->text);
  lua_pushstring(L, question->names[0]);
  lua_pushstring(L, question->names[1]);
  push_delimiter(question->delimiter);
  lua_pushinteger(L, (lua_Integer)question->max_record);
  lua_pushboolean(L, question->rejects);
  call(6, 4);
  take(-4, &result->out);
  take(-3, &result->rejects);
  take(-2, &result->counts);
  take(-1, &result->end);
  lua_settop(L, 0);
}

size_t oracle_add_lines(const struct text *text) {
  begin("add_lines");
  push_text(text);
  call(1, 1);
  size_t count = (size_t)lua_tointeger(L, -1);
  lua_settop(L, 0);
  return count;
}

bool oracle_has_value(const char *value, size_t size) {
  begin("has_value");
  lua_pushlstring(L, value, size);
  call(1, 1);
  bool has = lua_toboolean(L, -1);
  lua_settop(L, 0);
  return has;
}
