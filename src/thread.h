/* Threads beside the host's own. */
#ifndef TALLYMAN_THREAD_H
#define TALLYMAN_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts a thread that no signal interrupts: the host's own is to see them all. */
bool thread_start(pthread_t *thread, void *(*run)(void *), void *context);

#endif
