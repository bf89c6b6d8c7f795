/* The Lua state that scripts run in: native modules, absolute search paths, traceback, signals. */
#ifndef TALLYMAN_HOST_H
#define TALLYMAN_HOST_H

/* Runs the command line; returns the process's exit code. */
int host_main(int argc, char *argv[]);

#endif
