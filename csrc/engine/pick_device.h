/* SPDX-License-Identifier: Apache-2.0
 *
 * pick_device.h - the device that a name says. */
#ifndef OCT_ENGINE_PICK_DEVICE_H
#define OCT_ENGINE_PICK_DEVICE_H

#include "device/device.h"

/* name: "auto" or NULL (the first CUDA device if there is one that will do, else the CPU), "cpu",
 * "cuda", "cuda:N". n_threads: host threads, 0: one per core. OCT_E_ARG for another name,
 * OCT_E_DEVICE with the reason if a device that was asked for by name cannot be had. */
OCT_CHECKED oct_status oct_device_pick(const char *name, int n_threads, struct oct_device **out);

/* Who multiplies matrices on that device, which was just picked. name: "octavo" or NULL, "cublaslt"
 * (CUDA devices). OCT_E_ARG for another name or device, OCT_E_UNSUPPORTED without the library. */
OCT_CHECKED oct_status oct_device_gemm_provider(struct oct_device *d, const char *name);

/* Whether that name leads to a CUDA device; for what has to be done before it is opened. */
bool oct_device_wants_cuda(const char *name);

#endif
