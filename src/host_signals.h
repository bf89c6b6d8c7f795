/* SIGINT and SIGTERM: Lua code gets an error, blocking calls of the engine give up. */
#ifndef TALLYMAN_HOST_SIGNALS_H
#define TALLYMAN_HOST_SIGNALS_H

#include <lua.h>

/* Installs the handlers and makes coroutines stoppable, too. Call once, with the main state. */
void host_install_signals(lua_State *L);

#endif
