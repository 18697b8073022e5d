/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda.h - the CUDA backend: a table of device.h over the driver API, libcuda.so.1 being opened
 * when it is first asked for. One binary runs with and without a GPU. */
#ifndef OCT_DEVICE_CUDA_H
#define OCT_DEVICE_CUDA_H

#include "device/device.h"

#include <stddef.h>

/* Opens device `ordinal`: retains its primary context, loads every kernel. n_threads: host threads
 * that pack weights, >= 1. The device is given away; oct_dev_close(). OCT_E_UNSUPPORTED with the
 * reason if there is no such device, no driver, or this build has no kernels; OCT_E_DEVICE if the
 * driver fails. Later calls may come from any one thread at a time. */
OCT_CHECKED oct_status oct_cuda_open(int ordinal, int n_threads, struct oct_device **out);

/* Whether oct_cuda_open(0, ...) has a chance: kernels in this build, a driver, a device for which
 * they are made. If not, `why` (n bytes; NULL is fine) says what is missing. Makes no context. */
bool oct_cuda_present(char *why, size_t n);

/* What can be said of a device without a context, for `octavo info`. */
struct oct_cuda_about {
    char name[96];
    int32_t sm; /* 80, 90: compute capability, major * 10 + minor */
    int32_t n_sms;
    uint64_t memory_bytes;
    int32_t driver; /* CUDA version of the driver: 12040 is 12.4 */
};
/* Devices the driver shows, usable or not; 0 without a driver. */
int oct_cuda_count(void);
OCT_CHECKED oct_status oct_cuda_about(int ordinal, struct oct_cuda_about *out);

/* What the device did since it was opened. */
struct oct_cuda_counts {
    uint64_t launches; /* of kernels, those of recordings included, those of replays not */
    uint64_t records, replays;
    uint64_t reserved_bytes, used_bytes; /* of device memory */
    bool records_off; /* a recording failed: every kernel is launched by itself */
};
struct oct_cuda_counts oct_cuda_counts(const struct oct_device *d);

/* Matrix products by cuBLASLt instead of our kernels; a device just opened. Rows' bits may depend
 * on how many others a product has (cuda_cublaslt.c). OCT_E_UNSUPPORTED if there is no such
 * library. */
OCT_CHECKED oct_status oct_cuda_use_cublaslt(struct oct_device *d);

/* For finding a kernel that fails: waits after each launch, so that the sentence of a failure names
 * it. Nothing is recorded then. Any time between steps; nothing to a device of another kind. */
void oct_cuda_wait_each(struct oct_device *d, bool on);

#endif
