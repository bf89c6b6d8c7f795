/* native.sftp: SFTP sessions. See lua/meta/sftp.lua for types. */
#include "../sftp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../gzip.h"
#include "api.h"

#define SESSION "native.sftp_session"

static int close_session(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, SESSION);
  sftp_close(*handle);
  *handle = NULL;
  return 0;
}

/* A text of the options table at index 1; NULL when it is absent and may be. The table keeps it. */
static const char *text_option(lua_State *L, const char *name, bool needed) {
  int type = lua_getfield(L, 1, name);
  if (type != LUA_TSTRING && (needed || type != LUA_TNIL)) {
    luaL_error(L, "option '%s' must be a string", name);
  }
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1);
  return text;
}

/* A number of the options table from 1 up. */
static int count_option(lua_State *L, const char *name, int otherwise) {
  lua_Integer value = api_integer_option(L, 1, name, otherwise);
  if (value < 1 || value > 1000000) luaL_error(L, "option '%s' is out of range", name);
  return (int)value;
}

/* The options table at index 1. */
static struct sftp_options check_options(lua_State *L) {
  static const char *const names[] = {
      "host",         "port",     "user",     "known_hosts",      "key",
      "passphrase",   "password", "ciphers",  "connect_seconds",  "login_seconds",
      "idle_seconds", "attempts", "sessions", "transfer_seconds", NULL};
  struct sftp_options options = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  api_check_options(L, 1, names);
  options.ssh.host = text_option(L, "host", true);
  options.ssh.port = count_option(L, "port", 22);
  options.ssh.user = text_option(L, "user", true);
  options.ssh.known_hosts = text_option(L, "known_hosts", true);
  options.ssh.key = text_option(L, "key", false);
  options.ssh.passphrase = text_option(L, "passphrase", false);
  options.ssh.password = text_option(L, "password", false);
  options.ssh.ciphers = text_option(L, "ciphers", false);
  options.ssh.connect_seconds = count_option(L, "connect_seconds", 20);
  options.ssh.login_seconds = count_option(L, "login_seconds", 30);
  options.ssh.idle_seconds = count_option(L, "idle_seconds", 60);
  options.attempts = (int)api_integer_option(L, 1, "attempts", 10);
  options.sessions = count_option(L, "sessions", 4);
  options.transfer_seconds = count_option(L, "transfer_seconds", 3600);
  if (options.sessions > SSH_WAIT_MOST) luaL_error(L, "option 'sessions' is out of range");
  return options;
}

/* open(options) -> session */
static int l_open(lua_State *L) {
  struct sftp_options options = check_options(L);
  struct failure failure = {0};
  void **handle = api_new_handle(L, SESSION);
  *handle = sftp_open(&options, &failure);
  return *handle == NULL ? api_fail(L, &failure) : 1;
}

/* host_key(options) -> line for known_hosts, fingerprint, whether it stands there already */
static int l_host_key(lua_State *L) {
  struct sftp_options options = check_options(L);
  struct failure failure = {0};
  char fingerprint[FINGERPRINT + 1];
  bool known;
  char *line = ssh_host_key(&options.ssh, fingerprint, &known, &failure);
  if (line == NULL) return api_fail(L, &failure);
  lua_pushstring(L, line);
  free(line);
  lua_pushstring(L, fingerprint);
  lua_pushboolean(L, known);
  return 3;
}

/* session:features() -> what the server offers */
static int l_features(lua_State *L) {
  const struct sftp_features *features = sftp_features(api_handle(L, 1, SESSION));
  lua_createtable(L, 0, 4);
  lua_pushboolean(L, features->posix_rename);
  lua_setfield(L, -2, "posix_rename");
  lua_pushboolean(L, features->fsync);
  lua_setfield(L, -2, "fsync");
  lua_pushinteger(L, features->read_size);
  lua_setfield(L, -2, "read_size");
  lua_pushinteger(L, features->write_size);
  lua_setfield(L, -2, "write_size");
  return 1;
}

/* session:notices() -> what happened to the connection since the last call, or nil */
static int l_notices(lua_State *L) {
  char *notices = sftp_notices(api_handle(L, 1, SESSION));
  lua_pushstring(L, notices);
  free(notices);
  return 1;
}

/* Pushes what is known of a file. */
static void push_attributes(lua_State *L, const struct sftp_attributes *attributes) {
  lua_createtable(L, 0, 4);
  lua_pushboolean(L, attributes->has_mode && S_ISDIR(attributes->mode));
  lua_setfield(L, -2, "folder");
  if (attributes->has_size) {
    lua_pushinteger(L, (lua_Integer)attributes->size);
    lua_setfield(L, -2, "size");
  }
  if (attributes->has_mtime) {
    lua_pushinteger(L, attributes->mtime);
    lua_setfield(L, -2, "mtime");
  }
}

/* session:stat(path) -> attributes, or false when nothing has that name */
static int l_stat(lua_State *L) {
  struct sftp_attributes attributes;
  struct failure failure = {0};
  bool exists;
  if (!sftp_stat(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), &exists, &attributes,
                 &failure)) {
    return api_fail(L, &failure);
  }
  if (exists)
    push_attributes(L, &attributes);
  else
    lua_pushboolean(L, false);
  return 1;
}

/* What a listing has collected, outside Lua: nothing of C's may be lost to an error there. */
struct listing {
  struct entry {
    char *name;
    struct sftp_attributes attributes;
  } * entries;
  size_t count, capacity;
};

enum { MOST_ENTRIES = 200000 };

static bool add_entry(void *context, const char *name, const struct sftp_attributes *attributes,
                      struct failure *failure) {
  struct listing *listing = context;
  if (listing->count == MOST_ENTRIES) {
    return fail(failure, EXIT_IO, "the folder has more than %d entries", MOST_ENTRIES);
  }
  if (listing->count == listing->capacity) {
    size_t capacity = 2 * listing->capacity + 64;
    struct entry *grown = realloc(listing->entries, capacity * sizeof *grown);
    if (grown == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
    listing->entries = grown;
    listing->capacity = capacity;
  }
  struct entry *entry = &listing->entries[listing->count];
  entry->name = strdup(name);
  entry->attributes = *attributes;
  if (entry->name == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  listing->count++;
  return true;
}

#define LISTING "native.sftp_listing"

static int close_listing(lua_State *L) {
  void **handle = luaL_checkudata(L, 1, LISTING);
  struct listing *listing = *handle;
  *handle = NULL;
  if (listing == NULL) return 0;
  for (size_t i = 0; i < listing->count; i++) free(listing->entries[i].name);
  free(listing->entries);
  free(listing);
  return 0;
}

/* session:list(path) -> array of attributes with names */
static int l_list(lua_State *L) {
  struct sftp *sftp = api_handle(L, 1, SESSION);
  const char *path = luaL_checkstring(L, 2);
  struct failure failure = {0};
  void **handle = api_new_handle(L, LISTING);
  int guard = lua_gettop(L);
  struct listing *listing = *handle = calloc(1, sizeof *listing);
  if (listing == NULL) return luaL_error(L, "out of memory");
  if (!sftp_list(sftp, path, add_entry, listing, &failure)) return api_fail(L, &failure);
  lua_createtable(L, (int)listing->count, 0);
  for (size_t i = 0; i < listing->count; i++) {
    push_attributes(L, &listing->entries[i].attributes);
    lua_pushstring(L, listing->entries[i].name);
    lua_setfield(L, -2, "name");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushcfunction(L, close_listing);
  lua_pushvalue(L, guard);
  lua_call(L, 1, 0);
  return 1;
}

/* The result of something that only works or doesn't. */
static int push_done(lua_State *L, bool done, const struct failure *failure) {
  if (!done) return api_fail(L, failure);
  lua_pushboolean(L, true);
  return 1;
}

/* session:rename(from, to) -> true: onto a name that must not exist */
static int l_rename(lua_State *L) {
  struct failure failure = {0};
  return push_done(L,
                   sftp_rename(api_handle(L, 1, SESSION), luaL_checkstring(L, 2),
                               luaL_checkstring(L, 3), &failure),
                   &failure);
}

/* session:try_rename(from, to) -> whether the server did it */
static int l_try_rename(lua_State *L) {
  struct failure failure = {0};
  bool done;
  if (!sftp_try_rename(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                       &done, &failure)) {
    return api_fail(L, &failure);
  }
  lua_pushboolean(L, done);
  return 1;
}

/* session:replace(from, to) -> true: in one step, only where features say posix_rename */
static int l_replace(lua_State *L) {
  struct failure failure = {0};
  return push_done(L,
                   sftp_replace(api_handle(L, 1, SESSION), luaL_checkstring(L, 2),
                                luaL_checkstring(L, 3), &failure),
                   &failure);
}

/* session:remove(path) -> true */
static int l_remove(lua_State *L) {
  struct failure failure = {0};
  return push_done(L, sftp_remove(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), &failure),
                   &failure);
}

/* session:discard(path) -> true: even after a signal, within seconds */
static int l_discard(lua_State *L) {
  struct failure failure = {0};
  return push_done(L, sftp_discard(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), &failure),
                   &failure);
}

/* session:make_folder(path) -> true */
static int l_make_folder(lua_State *L) {
  struct failure failure = {0};
  return push_done(L, sftp_make_folder(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), &failure),
                   &failure);
}

/* session:remove_folder(path) -> true */
static int l_remove_folder(lua_State *L) {
  struct failure failure = {0};
  return push_done(
      L, sftp_remove_folder(api_handle(L, 1, SESSION), luaL_checkstring(L, 2), &failure), &failure);
}

/* session:source(path, name [, { digest =, fingerprint = }]) -> source */
static int l_source(lua_State *L) {
  struct sftp *sftp = api_handle(L, 1, SESSION);
  const char *path = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3);
  struct failure failure = {0};
  api_check_options(L, 4, api_source_options);
  lua_settop(L, 4);
  api_new_handle(L, API_SOURCE);
  struct source *source = sftp_source(sftp, path, name, &failure);
  return api_return_source(L, source_inflating(source, &failure), 4, &failure);
}

/* session:sink(path, name) -> sink: a new file */
static int l_sink(lua_State *L) {
  struct sftp *sftp = api_handle(L, 1, SESSION);
  const char *path = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3);
  struct failure failure = {0};
  void **handle = api_new_handle(L, API_SINK);
  *handle = sftp_sink(sftp, path, name, &failure);
  return *handle == NULL ? api_fail(L, &failure) : 1;
}

int luaopen_native_sftp(lua_State *L) {
  static const luaL_Reg methods[] = {{"features", l_features},
                                     {"notices", l_notices},
                                     {"stat", l_stat},
                                     {"list", l_list},
                                     {"rename", l_rename},
                                     {"try_rename", l_try_rename},
                                     {"replace", l_replace},
                                     {"remove", l_remove},
                                     {"discard", l_discard},
                                     {"make_folder", l_make_folder},
                                     {"remove_folder", l_remove_folder},
                                     {"source", l_source},
                                     {"sink", l_sink},
                                     {NULL, NULL}};
  static const luaL_Reg no_methods[] = {{NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {"host_key", l_host_key}, {NULL, NULL}};
  luaL_requiref(L, "native.file", luaopen_native_file, 0); /* the classes of sources and sinks */
  lua_pop(L, 1);
  api_class(L, SESSION, methods, close_session);
  api_class(L, LISTING, no_methods, close_listing);
  luaL_newlib(L, functions);
  return 1;
}
