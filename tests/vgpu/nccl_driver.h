// SPDX-License-Identifier: Apache-2.0
//
// nccl_driver.h - the driver's functions that the library stand-ins use, found in the libcuda.so.1
// that the program has loaded.
#ifndef VG_NCCL_DRIVER_H
#define VG_NCCL_DRIVER_H

#include <cuda.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

#define VG_LIB_DRIVER_MAP(X) \
    X(cuDevicePrimaryCtxRetain) \
    X(cuCtxGetCurrent) \
    X(cuCtxPushCurrent_v2) \
    X(cuCtxPopCurrent_v2) \
    X(cuStreamIsCapturing) \
    X(cuMemAlloc_v2) \
    X(cuMemFree_v2) \
    X(vgpu_enqueue) \
    X(vgpu_read) \
    X(vgpu_peek) \
    X(vgpu_write) \
    X(vgpu_poison) \
    X(vgpu_owns) \
    X(vgpu_report) \
    X(vgpu_fault) \
    X(vgpu_current_device) \
    X(vgpu_seed)

#define VG_LIB_PTR(name) __typeof__(name) *name;
struct vg_lib_driver {
    VG_LIB_DRIVER_MAP(VG_LIB_PTR)
};
#undef VG_LIB_PTR

// false: the program has another driver.
static inline bool vg_lib_driver_open(struct vg_lib_driver *d)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL) {
        fprintf(stderr, "vgpu: %s\n", dlerror());
        return false;
    }
#define VG_LIB_LOAD(name) \
    do { \
        void *p = dlsym(lib, #name); \
        if (p == NULL) { \
            fprintf(stderr, "vgpu: libcuda.so.1 has no %s: it is not the virtual GPU's\n", #name); \
            return false; \
        } \
        memcpy(&d->name, &p, sizeof p); \
    } while (0);
    VG_LIB_DRIVER_MAP(VG_LIB_LOAD)
#undef VG_LIB_LOAD
    return true;
}

#endif
