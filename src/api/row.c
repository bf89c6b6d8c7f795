/* A row as scripts see it: row.idValue or row[4] is a field, #row their number, tostring(row) the
 * record as it stands in the file. Nothing is copied until somebody asks. The same object shows one
 * record after the other, and none between its turns. */
#include <stdlib.h>
#include <string.h>

#include "../scan.h"
#include "api.h"

#define ROW "native.row"

struct row {
  const struct scan *scan; /* NULL: it isn't its turn */
  const struct record *record;
};

void api_new_row(lua_State *L) {
  struct row *row = lua_newuserdatauv(L, sizeof *row, 1);
  row->scan = NULL;
  luaL_setmetatable(L, ROW);
  lua_newtable(L); /* name -> index, as far as they were asked for */
  lua_setiuservalue(L, -2, 1);
}

void api_show_row(lua_State *L, int index, const struct scan *scan, const struct record *record) {
  struct row *row = lua_touserdata(L, index);
  row->scan = scan;
  row->record = record;
}

/* The row at index 1; raises when it shows nothing. */
static const struct row *check_row(lua_State *L) {
  const struct row *row = lua_touserdata(L, 1); /* nobody else has these metamethods */
  if (row->scan == NULL) luaL_error(L, "a row can be read only while it is its turn");
  return row;
}

static size_t field_count(const struct row *row) {
  return row->record->count < row->scan->columns ? row->record->count : row->scan->columns;
}

/* Pushes the field's text without quotes. */
static int push_field(lua_State *L, const struct record *record, size_t i) {
  const struct field *field = &record->fields[i];
  const char *text = record->bytes + field->at;
  if (field->size == 0 || text[0] != '"') {
    lua_pushlstring(L, text, field->size);
    return 1;
  }
  luaL_Buffer buffer;
  char *scratch = luaL_buffinitsize(L, &buffer, field->size);
  size_t size = field_text(record, field, scratch, &text);
  if (text != scratch) memcpy(scratch, text, size);
  luaL_pushresultsize(&buffer, size);
  return 1;
}

/* The index of the column that is named at index 2, from 0. */
static size_t find_column(lua_State *L, const struct row *row) {
  struct failure failure = {0};
  size_t column;
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) == LUA_TNUMBER) return (size_t)lua_tointeger(L, -1);
  if (!scan_find(row->scan, luaL_checkstring(L, 2), &column, &failure)) api_raise(L, &failure);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, (lua_Integer)column);
  lua_rawset(L, -4);
  return column;
}

/* row.NAME or row[i]; nil for a field that a broken record lacks */
static int l_index(lua_State *L) {
  const struct row *row = check_row(L);
  size_t i;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    i = (size_t)lua_tointeger(L, 2) - 1;
  } else {
    i = find_column(L, row);
  }
  return i < field_count(row) ? push_field(L, row->record, i) : 0;
}

/* #row */
static int l_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)field_count(check_row(L)));
  return 1;
}

/* tostring(row): the record's bytes, without its line end */
static int l_bytes(lua_State *L) {
  const struct row *row = check_row(L);
  lua_pushlstring(L, row->record->bytes, row->record->body);
  return 1;
}

void api_row_class(lua_State *L) {
  static const luaL_Reg metamethods[] = {
      {"__index", l_index}, {"__len", l_length}, {"__tostring", l_bytes}, {NULL, NULL}};
  luaL_newmetatable(L, ROW);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, "row");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}
