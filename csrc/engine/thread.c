/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/thread.h"

#include "base/fault.h"

#include <signal.h>
#include <string.h>

oct_status oct_thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it */
    const int failed = oct_fault_hit(OCT_FAULT_MEM) ? -1 : pthread_create(t, NULL, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        return OCT_FAIL(OCT_E_MEM,
                        "cannot start the thread %s (%s); free memory or raise the limit "
                        "of threads",
                        name, failed > 0 ? strerror(failed) : "fault plan");
    }
    (void)pthread_setname_np(*t, name);
    return OCT_OK;
}
