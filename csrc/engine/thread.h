/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.h - starting a thread of the engine's own. */
#ifndef OCT_ENGINE_THREAD_H
#define OCT_ENGINE_THREAD_H

#include "base/status.h"

#include <pthread.h>

/* name: what `ps -L` and debuggers show, at most 15 bytes. Signals of the process are for its other
 * threads. OCT_E_MEM if the system gives no thread. */
OCT_CHECKED oct_status oct_thread_start(pthread_t *t, const char *name, void *(*fn)(void *),
                                        void *arg);

#endif
