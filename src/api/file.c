/* native.file: sources and sinks over files and memory. See lua/meta/file.lua for types. */
#include <stdlib.h>

#include "../gzip.h"
#include "api.h"

enum { LARGEST_READ = 1024 * 1024 };

static int close_source(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, API_SOURCE);
  struct source *source = *handle;
  *handle = NULL;
  if (source != NULL) source->close(source);
  return 0;
}

static int close_sink(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, API_SINK);
  struct sink *sink = *handle;
  *handle = NULL;
  if (sink != NULL) sink->close(sink);
  return 0;
}

/* source(path [, { digest =, fingerprint = }]) -> source */
static int l_source(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct failure failure = {0};
  api_check_options(L, 2, api_source_options);
  lua_settop(L, 2);
  api_new_handle(L, API_SOURCE);
  return api_return_source(L, source_inflating(source_file(path, &failure), &failure), 2, &failure);
}

/* text(bytes [, name [, { digest =, fingerprint = }]]) -> source */
static int l_text(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  const char *name = luaL_optstring(L, 2, "text");
  struct failure failure = {0};
  api_check_options(L, 3, api_source_options);
  lua_settop(L, 3);
  api_new_handle(L, API_SOURCE);
  struct source *source = source_memory(name, bytes, size, &failure);
  return api_return_source(L, source_inflating(source, &failure), 3, &failure);
}

/* source:read(size) -> bytes, or nil at the end */
static int l_read(lua_State *L) {
  struct source *source = api_handle(L, 1, API_SOURCE);
  lua_Integer size = luaL_checkinteger(L, 2);
  luaL_argcheck(L, size > 0 && size <= LARGEST_READ, 2, "must be from 1 to 1048576");
  struct failure failure = {0};
  luaL_Buffer buffer;
  char *room = luaL_buffinitsize(L, &buffer, (size_t)size);
  ssize_t got = source_read(source, room, (size_t)size, &failure);
  if (got < 0) return api_fail(L, &failure);
  luaL_pushresultsize(&buffer, (size_t)got);
  if (got == 0) lua_pushnil(L);
  return 1;
}

/* Pushes a digest as hex, or nil where none was asked for. */
static int push_digest(lua_State *L, const struct digest *digest) {
  char hex[DIGEST_HEX + 1];
  if (digest_hex(digest, hex)) {
    lua_pushstring(L, hex);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* source:sha256() -> hex digest of what was read so far; nil unless opened with digest */
static int l_source_sha256(lua_State *L) {
  return push_digest(L, ((struct source *)api_handle(L, 1, API_SOURCE))->digest);
}

/* source:fingerprint() -> XXH3-128 as hex, of what was read so far; nil unless asked for */
static int l_fingerprint(lua_State *L) {
  return push_digest(L, ((struct source *)api_handle(L, 1, API_SOURCE))->fingerprint);
}

/* Fills the handle on top of the stack. */
static int return_sink(lua_State *L, struct sink *sink, struct failure *failure) {
  if (sink == NULL) return api_fail(L, failure);
  *(void **)lua_touserdata(L, -1) = sink;
  return 1;
}

/* sink(path [, mode]) -> sink */
static int l_sink(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_Integer mode = luaL_optinteger(L, 2, 0644);
  struct failure failure = {0};
  api_new_handle(L, API_SINK);
  return return_sink(L, sink_file(path, (mode_t)mode, &failure), &failure);
}

/* memory() -> sink */
static int l_memory(lua_State *L) {
  struct failure failure = {0};
  api_new_handle(L, API_SINK);
  return return_sink(L, sink_memory(&failure), &failure);
}

/* sink:write(bytes) -> sink */
static int l_write(lua_State *L) {
  struct sink *sink = api_handle(L, 1, API_SINK);
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  struct failure failure = {0};
  if (!sink_write(sink, bytes, size, &failure)) return api_fail(L, &failure);
  lua_settop(L, 1);
  return 1;
}

/* sink:finish() -> true */
static int l_finish(lua_State *L) {
  struct sink *sink = api_handle(L, 1, API_SINK);
  struct failure failure = {0};
  if (!sink_finish(sink, &failure)) return api_fail(L, &failure);
  lua_pushboolean(L, true);
  return 1;
}

/* sink:bytes() -> number of bytes taken */
static int l_bytes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)((struct sink *)api_handle(L, 1, API_SINK))->bytes);
  return 1;
}

/* sink:sha256() -> hex digest of what was taken so far */
static int l_sink_sha256(lua_State *L) {
  return push_digest(L, ((struct sink *)api_handle(L, 1, API_SINK))->digest);
}

/* sink:text() -> what a memory sink holds; nil for another sink */
static int l_sink_text(lua_State *L) {
  size_t size;
  const char *bytes = sink_memory_bytes(api_handle(L, 1, API_SINK), &size);
  if (bytes == NULL) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, bytes, size);
  }
  return 1;
}

/* publish(from, to [, replace]) -> true */
static int l_publish(lua_State *L) {
  struct failure failure = {0};
  if (!publish_file(luaL_checkstring(L, 1), luaL_checkstring(L, 2), lua_toboolean(L, 3),
                    &failure)) {
    return api_fail(L, &failure);
  }
  lua_pushboolean(L, true);
  return 1;
}

int luaopen_native_file(lua_State *L) {
  static const luaL_Reg source_methods[] = {
      {"read", l_read}, {"sha256", l_source_sha256}, {"fingerprint", l_fingerprint}, {NULL, NULL}};
  static const luaL_Reg sink_methods[] = {{"write", l_write},    {"finish", l_finish},
                                          {"bytes", l_bytes},    {"sha256", l_sink_sha256},
                                          {"text", l_sink_text}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"source", l_source},   {"text", l_text},
                                       {"sink", l_sink},       {"memory", l_memory},
                                       {"publish", l_publish}, {NULL, NULL}};
  api_class(L, API_SOURCE, source_methods, close_source);
  api_class(L, API_SINK, sink_methods, close_sink);
  luaL_newlib(L, functions);
  return 1;
}
