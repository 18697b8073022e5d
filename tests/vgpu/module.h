// SPDX-License-Identifier: Apache-2.0
//
// module.h - modules, and libraries: modules that load themselves into each context at first use.
#ifndef VG_MODULE_H
#define VG_MODULE_H

#include "driver.h"

struct CUmod_st {
    CUcontext ctx;
    struct vg_module *code;
    CUfunction functions; // one per kernel
    CUlibrary library;    // NULL: loaded by itself
    CUmodule next;        // of the context
};

struct CUkern_st {
    CUlibrary library;
    char *name;
    int max_dynamic_smem[VG_MAX_DEVICES];
    bool non_portable_cluster;
    struct CUkern_st *next;
};

struct CUlib_st {
    char *ptx;
    size_t ptx_bytes;
    uint8_t *elf; // NULL: no machine code came with it
    size_t elf_bytes;
    CUkernel kernels;
    CUmodule modules[VG_MAX_DEVICES]; // of the primary contexts
    struct CUlib_st *next;
};

// The function of a kernel in a context; loads the library's module there if need be.
CUresult vg_kernel_function(CUkernel k, CUcontext ctx, CUfunction *out);
CUresult vg_module_new(CUcontext ctx, const void *image, char *log, size_t log_bytes,
                       CUmodule *out);
// The PTX that devices like this one take; malloced.
CUresult vg_image_ptx(const void *image, const struct vg_device *d, char **ptx, size_t *bytes,
                      char *log, size_t log_bytes);
// The machine code for such a device, malloced; false: none.
bool vg_image_elf(const void *image, const struct vg_device *d, uint8_t **elf, size_t *bytes);
void vg_module_measure(CUmodule m, const uint8_t *elf, size_t bytes); // elf may be NULL
CUresult vg_function_attribute(CUfunction f, CUfunction_attribute a, int *value);
CUresult vg_function_set_attribute(CUfunction f, CUfunction_attribute a, int value);

#endif
