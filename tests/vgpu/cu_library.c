// SPDX-License-Identifier: Apache-2.0
//
// cu_library.c - libraries: one image for all contexts, loaded into each when it is first used
// there.
#include <stdlib.h>
#include <string.h>

#include "module.h"

static CUlibrary libraries;

static CUresult library_module(CUlibrary lib, CUcontext ctx, CUmodule *out)
{
    CUmodule *slot = &lib->modules[ctx->device];
    if (*slot != NULL && (!vg_handle_is(*slot, VG_H_MODULE) || (*slot)->ctx != ctx)) {
        *slot = NULL; // its context is gone
    }
    if (*slot == NULL) {
        char log[512] = "";
        CUmodule m = NULL;
        CUresult r = vg_module_new(ctx, lib->ptx, log, sizeof log, &m);
        if (r != CUDA_SUCCESS) {
            return r;
        }
        vg_module_measure(m, lib->elf, lib->elf_bytes);
        m->library = lib;
        *slot = m;
    }
    *out = *slot;
    return CUDA_SUCCESS;
}

CUresult vg_kernel_function(CUkernel k, CUcontext ctx, CUfunction *out)
{
    CUmodule m = NULL;
    CUresult r = library_module(k->library, ctx, &m);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    for (CUfunction f = m->functions; f != NULL; f = f->next) {
        if (strcmp(f->kernel->name, k->name) == 0) {
            if (k->max_dynamic_smem[ctx->device] > 0) {
                f->max_dynamic_smem = k->max_dynamic_smem[ctx->device];
            }
            f->non_portable_cluster |= k->non_portable_cluster;
            *out = f;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

// ".entry name(" in the text; names are made of letters, digits, _ and $.
static const char *next_entry(const char *text, char *name, size_t room)
{
    const char *p = strstr(text, ".entry");
    if (p == NULL) {
        return NULL;
    }
    p += 6;
    p += strspn(p, " \t\r\n");
    size_t n = strcspn(p, " \t\r\n(");
    if (n >= room) {
        n = room - 1;
    }
    memcpy(name, p, n);
    name[n] = 0;
    return p + n;
}

static CUresult add_kernels(CUlibrary lib)
{
    char name[4096];
    for (const char *p = lib->ptx; (p = next_entry(p, name, sizeof name)) != NULL;) {
        CUkernel k = vg_handle_new(VG_H_KERNEL, sizeof *k);
        if (k == NULL) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        k->library = lib;
        k->name = strdup(name);
        k->next = lib->kernels;
        lib->kernels = k;
        if (k->name == NULL) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return CUDA_SUCCESS;
}

static void library_close(CUlibrary lib)
{
    for (int d = 0; d < VG_MAX_DEVICES; d++) {
        if (lib->modules[d] != NULL && vg_handle_is(lib->modules[d], VG_H_MODULE)) {
            vg_module_close(lib->modules[d]);
        }
    }
    for (CUkernel k = lib->kernels; k != NULL; k = k->next) {
        free(k->name);
        k->name = NULL;
        vg_handle_kill(k);
    }
    free(lib->ptx);
    free(lib->elf);
    lib->ptx = NULL;
    lib->elf = NULL;
    for (CUlibrary *at = &libraries; *at != NULL; at = &(*at)->next) {
        if (*at == lib) {
            *at = lib->next;
            break;
        }
    }
    vg_handle_kill(lib);
}

CUresult CUDAAPI cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                                   void **jitOptionsValues, unsigned int numJitOptions,
                                   CUlibraryOption *libraryOptions, void **libraryOptionValues,
                                   unsigned int numLibraryOptions)
{
    VG_ENTER(VG_NEED_INIT | VG_UNSAFE);
    VG_WANT(library != NULL && code != NULL);
    VG_WANT(numJitOptions == 0 || (jitOptions != NULL && jitOptionsValues != NULL));
    VG_WANT(numLibraryOptions == 0 || (libraryOptions != NULL && libraryOptionValues != NULL));
    CUlibrary lib = vg_handle_new(VG_H_LIBRARY, sizeof *lib);
    if (lib == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    lib->next = libraries;
    libraries = lib;
    char log[512] = "";
    CUresult r =
        vg_image_ptx(code, &vg_driver.device[0], &lib->ptx, &lib->ptx_bytes, log, sizeof log);
    if (r == CUDA_SUCCESS) {
        vg_image_elf(code, &vg_driver.device[0], &lib->elf, &lib->elf_bytes);
        r = add_kernels(lib);
    }
    // With a context at hand, mistakes in the image show here and not at the first launch.
    CUcontext ctx = vg_context_current();
    if (r == CUDA_SUCCESS && ctx != NULL && vg_handle_is(ctx, VG_H_CONTEXT) && !ctx->dead) {
        CUmodule m = NULL;
        r = library_module(lib, ctx, &m);
    }
    if (r != CUDA_SUCCESS) {
        library_close(lib);
        return r;
    }
    *library = lib;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryUnload(CUlibrary library)
{
    VG_ENTER(VG_NEED_INIT);
    if (!vg_handle_is(library, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    library_close(library);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pKernel != NULL && name != NULL);
    if (!vg_handle_is(library, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    for (CUkernel k = library->kernels; k != NULL; k = k->next) {
        if (strcmp(k->name, name) == 0) {
            *pKernel = k;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult CUDAAPI cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(count != NULL);
    if (!vg_handle_is(lib, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *count = 0;
    for (CUkernel k = lib->kernels; k != NULL; k = k->next) {
        ++*count;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int numKernels,
                                           CUlibrary lib)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(kernels != NULL);
    if (!vg_handle_is(lib, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    unsigned n = 0;
    for (CUkernel k = lib->kernels; k != NULL && n < numKernels; k = k->next) {
        kernels[n++] = k;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryGetModule(CUmodule *pMod, CUlibrary library)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pMod != NULL);
    if (!vg_handle_is(library, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return library_module(library, call.ctx, pMod);
}

CUresult CUDAAPI cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library,
                                    const char *name)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(name != NULL && (dptr != NULL || bytes != NULL));
    if (!vg_handle_is(library, VG_H_LIBRARY)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    CUmodule m = NULL;
    CUresult r = library_module(library, call.ctx, &m);
    uint64_t addr = 0, size = 0;
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (!vg_module_global(m->code, name, &addr, &size)) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (dptr != NULL) {
        *dptr = addr;
    }
    if (bytes != NULL) {
        *bytes = size;
    }
    return CUDA_SUCCESS;
}

// ---- kernels ----

CUresult CUDAAPI cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pFunc != NULL);
    if (!vg_handle_is(kernel, VG_H_KERNEL)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return vg_kernel_function(kernel, call.ctx, pFunc);
}

CUresult CUDAAPI cuKernelGetLibrary(CUlibrary *pLib, CUkernel kernel)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pLib != NULL);
    if (!vg_handle_is(kernel, VG_H_KERNEL)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *pLib = kernel->library;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuKernelGetName(const char **name, CUkernel hfunc)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(name != NULL);
    if (!vg_handle_is(hfunc, VG_H_KERNEL)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *name = hfunc->name;
    return CUDA_SUCCESS;
}

static CUresult kernel_on(CUkernel k, CUdevice dev, CUfunction *f)
{
    if (!vg_handle_is(k, VG_H_KERNEL)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (dev < 0 || dev >= vg_driver.n_devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    CUcontext ctx = vg_driver.device[dev].primary;
    CUcontext current = vg_context_current();
    if (current != NULL && vg_handle_is(current, VG_H_CONTEXT) && current->device == dev) {
        ctx = current;
    }
    return ctx != NULL ? vg_kernel_function(k, ctx, f) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult CUDAAPI cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel,
                                      CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pi != NULL);
    CUfunction f = NULL;
    CUresult r = kernel_on(kernel, dev, &f);
    return r == CUDA_SUCCESS ? vg_function_attribute(f, attrib, pi) : r;
}

CUresult CUDAAPI cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel,
                                      CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    CUfunction f = NULL;
    CUresult r = kernel_on(kernel, dev, &f);
    if (r == CUDA_SUCCESS) {
        r = vg_function_set_attribute(f, attrib, val);
    }
    if (r == CUDA_SUCCESS && attrib == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        kernel->max_dynamic_smem[dev] = val;
    }
    if (r == CUDA_SUCCESS && attrib == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) {
        kernel->non_portable_cluster = val != 0;
    }
    return r;
}

CUresult CUDAAPI cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(config <= CU_FUNC_CACHE_PREFER_EQUAL);
    CUfunction f = NULL;
    return kernel_on(kernel, dev, &f);
}

CUresult CUDAAPI cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset,
                                      size_t *paramSize)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(paramOffset != NULL);
    CUfunction f = NULL;
    CUresult r = kernel_on(kernel, call.ctx->device, &f);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    VG_WANT(paramIndex < f->kernel->n_params);
    *paramOffset = f->kernel->param_offset[paramIndex];
    if (paramSize != NULL) {
        *paramSize = f->kernel->param_bytes[paramIndex];
    }
    return CUDA_SUCCESS;
}
