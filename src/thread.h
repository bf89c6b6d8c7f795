/* Threads beside the host's own. */
#ifndef TALLYMAN_THREAD_H
#define TALLYMAN_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* Starts a thread that no signal interrupts: the host's own is to see them all. */
bool thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* Holds SIGINT and SIGTERM back until `before` is the thread's mask again: so that ppoll and its
 * like can let them through while they wait, and none is missed between a look at the flag and the
 * wait.
 */
void thread_hold_stops(sigset_t *before);

#endif
