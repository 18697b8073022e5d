/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_tables.h - what cuda/gates.tsv and cuda/moves.tsv say of every kernel: what the compiler
 * made of it, and what it moved on the virtual GPU. The committed tables: checks of the project
 * hold each build to them, within 2 %. */
#ifndef OCT_SERVE_KERNEL_TABLES_H
#define OCT_SERVE_KERNEL_TABLES_H

#include "serve/terminal.h"

/* A line for each kernel and architecture. */
OCT_CHECKED oct_status oct_kernel_tables_print(struct oct_output *out);
/* The same as objects, whose members are the columns' names; numbers where they are numbers, and
 * "counted": a list of what was counted, by shape. The caller's; NULL: no memory. */
json_t *oct_kernel_tables_json(void);

#endif
