/* SPDX-License-Identifier: Apache-2.0
 *
 * slab.h - memory for weights: matrices side by side in large blocks of huge pages. Most matrices
 * are smaller than one huge page or leave a good part of their last one unused. */
#ifndef OCT_CPU_SLAB_H
#define OCT_CPU_SLAB_H

#include "cpu/cpu_ops.h"

struct oct_cpu_slab;

/* `bytes` of memory aligned to 256, contents undefined, and the slab it is part of. NULL: none. */
char *oct_cpu_slab_take(struct oct_cpu *d, size_t bytes, struct oct_cpu_slab **slab);
/* One piece less of the slab is in use; the slab is freed with the last one. */
void oct_cpu_slab_give(struct oct_cpu *d, struct oct_cpu_slab *slab);

#endif
