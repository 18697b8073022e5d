/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve_signal.h"

#include "serve/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE = 3 };

static int ends[2] = {-1, -1};
static volatile sig_atomic_t n_signals;
static struct sigaction old_term, old_int;

static void on_signal(int sig)
{
    const int saved = errno;
    (void)sig;
    n_signals = n_signals + 1;
    if (n_signals >= PATIENCE) {
        _exit(OCT_EXIT_OTHER);
    }
    const ssize_t ignored = write(ends[1], "", 1);
    (void)ignored;
    errno = saved;
}

oct_status oct_serve_signal_install(int *fd)
{
    struct sigaction action;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return OCT_FAIL(OCT_E_IO, "no pipe for signals: %s", strerror(errno));
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, &old_term);
    (void)sigaction(SIGINT, &action, &old_int);
    *fd = ends[0];
    return OCT_OK;
}

int oct_serve_signal_take(int fd)
{
    char bytes[16];
    const ssize_t n = read(fd, bytes, sizeof bytes);
    return n > 0 ? (int)n : 0;
}

void oct_serve_signal_remove(void)
{
    if (ends[0] >= 0) {
        (void)sigaction(SIGTERM, &old_term, NULL);
        (void)sigaction(SIGINT, &old_int, NULL);
        (void)close(ends[0]);
        (void)close(ends[1]);
        ends[0] = ends[1] = -1;
    }
}
