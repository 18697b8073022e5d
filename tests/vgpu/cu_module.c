// SPDX-License-Identifier: Apache-2.0
//
// cu_module.c - modules and functions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cubin.h"
#include "fatbin.h"
#include "module.h"

static unsigned device_cc(const struct vg_device *d)
{
    return (unsigned)(d->facts->cc_major * 10 + d->facts->cc_minor);
}

// ---- load and unload ----

static CUresult load_ptx(CUcontext ctx, const char *ptx, size_t bytes, bool from_fatbin, char *log,
                         size_t log_bytes, CUmodule *out)
{
    const struct vg_device *d = vg_context_device(ctx);
    struct vg_module *code = vg_module_load(ptx, bytes, d->ordinal, log, log_bytes);
    if (code == NULL) {
        fprintf(stderr, "vgpu: cannot load a module: %s\n", log);
        return strstr(log, "out of memory") != NULL || strstr(log, "out of device memory") != NULL
                   ? CUDA_ERROR_OUT_OF_MEMORY
                   : CUDA_ERROR_INVALID_PTX;
    }
    if (vg_module_sm(code) > device_cc(d)) {
        snprintf(log, log_bytes, "the PTX is for sm_%u, the device is sm_%u", vg_module_sm(code),
                 device_cc(d));
        vg_module_free(code);
        return from_fatbin ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_ERROR_INVALID_PTX;
    }
    CUmodule m = vg_handle_new(VG_H_MODULE, sizeof *m);
    if (m == NULL) {
        vg_module_free(code);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->ctx = ctx;
    m->code = code;
    m->next = ctx->modules;
    ctx->modules = m;
    for (unsigned i = 0; i < vg_module_kernels(code); i++) {
        CUfunction f = vg_handle_new(VG_H_FUNCTION, sizeof *f);
        if (f == NULL) {
            vg_module_close(m);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        f->module = m;
        f->kernel = vg_module_kernel_at(code, i);
        f->max_dynamic_smem = 48 * 1024 - (int)f->kernel->shared_bytes;
        f->carveout = -1;
        f->next = m->functions;
        m->functions = f;
    }
    *out = m;
    return CUDA_SUCCESS;
}

CUresult vg_image_ptx(const void *image, const struct vg_device *d, char **ptx, size_t *bytes,
                      char *log, size_t log_bytes)
{
    switch (vg_fatbin_ptx(image, 0, device_cc(d), ptx, bytes, log, log_bytes)) {
    case VG_IMAGE_OK:
        return CUDA_SUCCESS;
    case VG_IMAGE_NO_PTX:
        fprintf(stderr, "vgpu: %s\n", log);
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    case VG_IMAGE_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    case VG_IMAGE_BAD:
        break;
    }
    fprintf(stderr, "vgpu: %s\n", log);
    return CUDA_ERROR_INVALID_IMAGE;
}

// Registers and stack as ptxas had them, where machine code came with the PTX.
void vg_module_measure(CUmodule m, const uint8_t *elf, size_t bytes)
{
    for (unsigned i = 0; elf != NULL && i < vg_module_kernels(m->code); i++) {
        uint32_t regs = 0, stack = 0;
        if (vg_cubin_usage(elf, bytes, vg_module_kernel_at(m->code, i)->name, &regs, &stack)) {
            vg_module_measured(m->code, i, regs, stack);
        }
    }
}

bool vg_image_elf(const void *image, const struct vg_device *d, uint8_t **elf, size_t *bytes)
{
    return vg_fatbin_elf(image, device_cc(d), elf, bytes);
}

CUresult vg_module_new(CUcontext ctx, const void *image, char *log, size_t log_bytes, CUmodule *out)
{
    char *ptx = NULL;
    size_t bytes = 0;
    const uint8_t *p = image;
    CUresult r = vg_image_ptx(image, vg_context_device(ctx), &ptx, &bytes, log, log_bytes);
    if (r == CUDA_SUCCESS) {
        bool fat = (p[0] == 0x50 && p[1] == 0xED) || (p[0] == 0xB1 && p[1] == 0x43);
        r = load_ptx(ctx, ptx, bytes, fat, log, log_bytes, out);
        uint8_t *elf = NULL;
        size_t elf_bytes = 0;
        if (r == CUDA_SUCCESS && vg_image_elf(image, vg_context_device(ctx), &elf, &elf_bytes)) {
            vg_module_measure(*out, elf, elf_bytes);
            free(elf);
        }
    }
    free(ptx);
    return r;
}

CUresult vg_module_close(CUmodule m)
{
    CUcontext ctx = m->ctx;
    for (struct vg_op *o = vg_pending(); o != NULL; o = o->next) {
        if (o->work.kind == VG_WORK_KERNEL && o->work.kernel.function->module == m) {
            vg_host_finding(VG_STREAM_ORDER, "cuModuleUnload while %s of it is queued in stream %u",
                            vg_work_name(&o->work), o->stream_id);
            vg_run_context(ctx);
            break;
        }
    }
    for (CUmodule *at = &ctx->modules; *at != NULL; at = &(*at)->next) {
        if (*at == m) {
            *at = m->next;
            break;
        }
    }
    for (CUfunction f = m->functions; f != NULL; f = f->next) {
        vg_handle_kill(f);
    }
    if (m->code != NULL) {
        vg_module_free(m->code);
        m->code = NULL;
    }
    vg_handle_kill(m);
    return CUDA_SUCCESS;
}

// ---- API: modules ----

CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *image)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(module != NULL && image != NULL);
    char log[512] = "";
    return vg_module_new(call.ctx, image, log, sizeof log, module);
}

CUresult CUDAAPI cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(module != NULL && fatCubin != NULL);
    char log[512] = "";
    return vg_module_new(call.ctx, fatCubin, log, sizeof log, module);
}

static void give_log(unsigned n, const CUjit_option *options, void **values, CUjit_option buffer,
                     CUjit_option size, const char *text)
{
    char *to = NULL;
    size_t room = 0;
    for (unsigned i = 0; i < n; i++) {
        if (options[i] == buffer) {
            to = values[i];
        } else if (options[i] == size) {
            room = (size_t)(uintptr_t)values[i];
        }
    }
    if (to != NULL && room > 0) {
        snprintf(to, room, "%s", text);
        for (unsigned i = 0; i < n; i++) {
            if (options[i] == size) {
                values[i] = (void *)(uintptr_t)strlen(to); // how much was filled in
            }
        }
    }
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                                    CUjit_option *options, void **optionValues)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(module != NULL && image != NULL);
    VG_WANT(numOptions == 0 || (options != NULL && optionValues != NULL));
    for (unsigned i = 0; i < numOptions; i++) {
        VG_WANT(options[i] < CU_JIT_NUM_OPTIONS);
    }
    char log[512] = "";
    CUresult r = vg_module_new(call.ctx, image, log, sizeof log, module);
    give_log(numOptions, options, optionValues, CU_JIT_ERROR_LOG_BUFFER,
             CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, r == CUDA_SUCCESS ? "" : log);
    give_log(numOptions, options, optionValues, CU_JIT_INFO_LOG_BUFFER,
             CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, "");
    return r;
}

CUresult CUDAAPI cuModuleLoad(CUmodule *module, const char *fname)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(module != NULL && fname != NULL);
    FILE *f = fopen(fname, "rb");
    if (f == NULL) {
        return CUDA_ERROR_FILE_NOT_FOUND;
    }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *image = n > 0 ? calloc(1, (size_t)n + 64) : NULL; // zeros: text ends, headers are whole
    bool ok = image != NULL && fread(image, 1, (size_t)n, f) == (size_t)n;
    fclose(f);
    char log[512] = "";
    CUresult r =
        ok ? vg_module_new(call.ctx, image, log, sizeof log, module) : CUDA_ERROR_INVALID_IMAGE;
    free(image);
    return r;
}

CUresult CUDAAPI cuModuleUnload(CUmodule hmod)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    if (!vg_handle_is(hmod, VG_H_MODULE) || hmod->library != NULL) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return vg_module_close(hmod);
}

CUresult CUDAAPI cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(mode != NULL);
    *mode = CU_MODULE_EAGER_LOADING;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(hfunc != NULL && name != NULL);
    if (!vg_handle_is(hmod, VG_H_MODULE)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    for (CUfunction f = hmod->functions; f != NULL; f = f->next) {
        if (strcmp(f->kernel->name, name) == 0) {
            *hfunc = f;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult CUDAAPI cuModuleGetFunctionCount(unsigned int *count, CUmodule mod)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(count != NULL);
    if (!vg_handle_is(mod, VG_H_MODULE)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *count = vg_module_kernels(mod->code);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleEnumerateFunctions(CUfunction *functions, unsigned int numFunctions,
                                            CUmodule mod)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(functions != NULL);
    if (!vg_handle_is(mod, VG_H_MODULE)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    unsigned n = 0;
    for (CUfunction f = mod->functions; f != NULL && n < numFunctions; f = f->next) {
        functions[n++] = f;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod,
                                      const char *name)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(name != NULL && (dptr != NULL || bytes != NULL));
    if (!vg_handle_is(hmod, VG_H_MODULE)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    uint64_t addr = 0, size = 0;
    if (!vg_module_global(hmod->code, name, &addr, &size)) {
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

// ---- functions ----

CUresult vg_function_attribute(CUfunction f, CUfunction_attribute a, int *value)
{
    const struct vg_kernel *k = f->kernel;
    const struct vg_facts *facts = vg_context_device(f->module->ctx)->facts;
    switch (a) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = (int)k->max_threads;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = (int)k->shared_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
        *value = (int)k->const_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = (int)k->local_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = (int)k->regs;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *value = (int)k->sm;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value = facts->cc_major * 10 + facts->cc_minor;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
        *value = 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = f->max_dynamic_smem;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value = f->carveout;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
        *value = k->cluster[0] != 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH: {
        int i = (int)a - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH;
        *value = k->cluster[0] != 0 ? (int)k->cluster[i] : f->cluster[i];
        return CUDA_SUCCESS;
    }
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        *value = f->non_portable_cluster;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        *value = CU_CLUSTER_SCHEDULING_POLICY_DEFAULT;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult vg_function_set_attribute(CUfunction f, CUfunction_attribute a, int value)
{
    const struct vg_facts *facts = vg_context_device(f->module->ctx)->facts;
    switch (a) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        if (value < 0 || value + (int)f->kernel->shared_bytes > facts->smem_optin) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        f->max_dynamic_smem = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        f->carveout = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        if (value < 0 || facts->max_cluster == 0 || f->kernel->cluster[0] != 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        f->cluster[(int)a - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH] = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        if (facts->max_cluster == 0) {
            return CUDA_ERROR_NOT_SUPPORTED;
        }
        f->non_portable_cluster = value != 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult vg_function_find(CUfunction f, CUcontext ctx, CUfunction *out)
{
    if (vg_handle_is(f, VG_H_KERNEL)) {
        return vg_kernel_function((CUkernel)(void *)f, ctx, out);
    }
    if (!vg_handle_is(f, VG_H_FUNCTION) || f->module->ctx != ctx) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *out = f;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pi != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(hfunc, call.ctx, &f);
    return r == CUDA_SUCCESS ? vg_function_attribute(f, attrib, pi) : r;
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value)
{
    VG_ENTER(VG_NEED_CTX);
    CUfunction f = NULL;
    CUresult r = vg_function_find(hfunc, call.ctx, &f);
    return r == CUDA_SUCCESS ? vg_function_set_attribute(f, attrib, value) : r;
}

CUresult CUDAAPI cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(config <= CU_FUNC_CACHE_PREFER_EQUAL);
    CUfunction f = NULL;
    return vg_function_find(hfunc, call.ctx, &f);
}

CUresult CUDAAPI cuFuncGetModule(CUmodule *hmod, CUfunction hfunc)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(hmod != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(hfunc, call.ctx, &f);
    if (r == CUDA_SUCCESS) {
        *hmod = f->module;
    }
    return r;
}

CUresult CUDAAPI cuFuncGetName(const char **name, CUfunction hfunc)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(name != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(hfunc, call.ctx, &f);
    if (r == CUDA_SUCCESS) {
        *name = f->kernel->name;
    }
    return r;
}

CUresult CUDAAPI cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset,
                                    size_t *paramSize)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(paramOffset != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(func, call.ctx, &f);
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

CUresult CUDAAPI cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(state != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(function, call.ctx, &f);
    if (r == CUDA_SUCCESS) {
        *state = CU_FUNCTION_LOADING_STATE_LOADED;
    }
    return r;
}

CUresult CUDAAPI cuFuncLoad(CUfunction function)
{
    VG_ENTER(VG_NEED_CTX);
    CUfunction f = NULL;
    return vg_function_find(function, call.ctx, &f);
}
