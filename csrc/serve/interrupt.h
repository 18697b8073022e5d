/* SPDX-License-Identifier: Apache-2.0
 *
 * interrupt.h - Ctrl-C as a flag that loops ask, instead of an end without notice. */
#ifndef OCT_SERVE_INTERRUPT_H
#define OCT_SERVE_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT only raises the flag and wakes a blocked read. When it comes `patience` times
 * and nobody took the flag in between, the process ends with OCT_EXIT_INTERRUPTED: the way out of a
 * step that hangs. */
void oct_interrupt_install(int patience);
bool oct_interrupt_pending(void);
/* Lowers the flag; says whether it was up. */
bool oct_interrupt_take(void);

#endif
