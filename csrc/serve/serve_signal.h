/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_signal.h - SIGTERM and SIGINT as bytes in a pipe, for a loop. */
#ifndef OCT_SERVE_SIGNAL_H
#define OCT_SERVE_SIGNAL_H

#include "base/status.h"

/* A signal is told by *fd becoming readable. The third ends the process where it stands, with
 * OCT_EXIT_OTHER: the way out of a loop that hangs. */
OCT_CHECKED oct_status oct_serve_signal_install(int *fd);
/* How many came since the last call. */
int oct_serve_signal_take(int fd);
/* Signals do what they did before. */
void oct_serve_signal_remove(void);

#endif
