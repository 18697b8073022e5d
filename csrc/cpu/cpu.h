/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.h - the CPU backend: the default on a machine without a GPU, and the oracle every kernel is
 * compared with. One file per op family, named like its contract in cuda/. */
#ifndef OCT_CPU_CPU_H
#define OCT_CPU_CPU_H

#include "device/device.h"

/* n_threads: 0 for one per core this process may use. The device is given away; oct_dev_close(). */
OCT_CHECKED oct_status oct_cpu_open(int n_threads, struct oct_device **out);

/* "avx512_bf16", "avx512", "avx2", "x86-64": the widest instruction set in use. Static. */
const char *oct_cpu_isa(void);

#endif
