/* SPDX-License-Identifier: Apache-2.0
 *
 * nvtx.h - named ranges for a profiler's timeline (Nsight Systems). A profiler names a library in
 * NVTX_INJECTION64_PATH; without one a range costs a load and a branch. Ranges of a thread nest. */
#ifndef OCT_DEVICE_NVTX_H
#define OCT_DEVICE_NVTX_H

/* name: read before the call returns. */
void oct_nvtx_push(const char *name);
void oct_nvtx_pop(void);

#endif
