/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/interrupt.h"

#include "serve/command.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t n_pending, max_pending;

static void on_interrupt(int sig)
{
    (void)sig;
    n_pending = n_pending + 1;
    if (n_pending >= max_pending) {
        _exit(OCT_EXIT_INTERRUPTED);
    }
}

void oct_interrupt_install(int patience)
{
    max_pending = patience;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt; /* no SA_RESTART: a read of the keyboard must come back */
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
}

bool oct_interrupt_pending(void)
{
    return n_pending != 0;
}

bool oct_interrupt_take(void)
{
    const bool was = n_pending != 0;
    n_pending = 0;
    return was;
}
