// SPDX-License-Identifier: Apache-2.0
//
// cu_init.c - cuInit, versions, error names, and how every call is entered.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "callback.h"
#include "driver.h"
#include "errors.h"

#define VG_DRIVER_VERSION 13000 // CUDA 13.0
#define VG_MAX_STACK 64         // contexts pushed by one thread

struct vg_driver vg_driver;
pthread_mutex_t vg_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t vg_cond = PTHREAD_COND_INITIALIZER;

static _Thread_local struct {
    CUcontext at[VG_MAX_STACK];
    unsigned n;
} stack;
static _Thread_local unsigned callback_depth;

CUcontext vg_context_current(void)
{
    return stack.n > 0 ? stack.at[stack.n - 1] : NULL;
}

CUresult vg_context_push(CUcontext ctx)
{
    if (stack.n == VG_MAX_STACK) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    stack.at[stack.n++] = ctx;
    return CUDA_SUCCESS;
}

CUcontext vg_context_pop(void)
{
    return stack.n > 0 ? stack.at[--stack.n] : NULL;
}

CUresult vg_context_set(CUcontext ctx)
{
    if (stack.n == 0) {
        return ctx != NULL ? vg_context_push(ctx) : CUDA_SUCCESS;
    }
    if (ctx == NULL) {
        stack.n--;
    } else {
        stack.at[stack.n - 1] = ctx;
    }
    return CUDA_SUCCESS;
}

bool vg_in_callback(void)
{
    return callback_depth > 0;
}

void vg_callback_begin(void)
{
    callback_depth++;
}

void vg_callback_end(void)
{
    callback_depth--;
}

// ---- entering a call ----

static CUresult check_context(const char *name, unsigned needs, CUcontext *out)
{
    CUcontext ctx = vg_context_current();
    if (ctx == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (!vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    if (vg_driver.lost[ctx->device] != CUDA_SUCCESS) {
        vg_context_fail(ctx, vg_driver.lost[ctx->device]);
    }
    if ((needs & VG_NEED_CTX) != 0 && ctx->sticky != CUDA_SUCCESS) {
        return ctx->sticky;
    }
    if ((needs & VG_SYNCS) != 0) {
        CUresult r = vg_capture_check_sync(ctx, name);
        if (r != CUDA_SUCCESS) {
            return r;
        }
    }
    *out = ctx;
    return CUDA_SUCCESS;
}

struct vg_call vg_call_begin(const char *name, unsigned needs)
{
    struct vg_call c = {.r = CUDA_SUCCESS};
    pthread_mutex_lock(&vg_lock);
    c.locked = true;
    if (vg_driver.log) {
        fprintf(stderr, "vgpu: %s\n", name);
    }
    if (!vg_driver.init) {
        c.r = CUDA_ERROR_NOT_INITIALIZED;
        return c;
    }
    if (callback_depth > 0) {
        vg_host_finding(VG_API, "%s is called from a host function or stream callback", name);
        c.r = CUDA_ERROR_NOT_PERMITTED;
        return c;
    }
    vg_driver.n_calls++;
    c.r = vg_fault_call(name);
    if (c.r == CUDA_SUCCESS && (needs & (VG_NEED_CTX | VG_ANY_CTX)) != 0) {
        c.r = check_context(name, needs, &c.ctx);
    }
    if (c.r == CUDA_SUCCESS && (needs & VG_UNSAFE) != 0) {
        c.r = vg_capture_check_unsafe(name);
    }
    return c;
}

void vg_call_end(struct vg_call *c)
{
    if (c->locked) {
        pthread_mutex_unlock(&vg_lock);
    }
}

// ---- init ----

static long env_number(const char *name, long usual, long low, long high)
{
    const char *text = getenv(name);
    if (text == NULL || *text == 0) {
        return usual;
    }
    char *end = NULL;
    long n = strtol(text, &end, 10);
    if (*end != 0 || n < low || n > high) {
        fprintf(stderr, "vgpu: %s=%s is not a number from %ld to %ld\n", name, text, low, high);
        abort();
    }
    return n;
}

// 512M, 4G, or a plain number of bytes.
static uint64_t env_bytes(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    if (text == NULL || *text == 0) {
        return usual;
    }
    char *end = NULL;
    uint64_t n = strtoull(text, &end, 10);
    const char *units = "KMG";
    const char *unit = *end != 0 ? strchr(units, *end) : NULL;
    if (unit != NULL && end[1] == 0) {
        return n << (10 * (unit - units + 1));
    }
    if (*end != 0 || n == 0) {
        fprintf(stderr, "vgpu: %s=%s is not a size (such as 512M)\n", name, text);
        abort();
    }
    return n;
}

// A child of fork has no driver: the real one answers 3 as well.
static void forked(void)
{
    vg_driver.init = false;
    pthread_mutex_init(&vg_lock, NULL);
}

static void prepare_fork(void)
{
    pthread_mutex_lock(&vg_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&vg_lock);
}

// Calls before cuInit are logged too.
__attribute__((constructor)) static void read_log_wish(void)
{
    vg_driver.log = env_number("VGPU_LOG", 0, 0, 1) != 0;
}

static CUresult init_locked(void)
{
    struct vg_driver *d = &vg_driver;
    const char *arch = getenv("VGPU_ARCH");
    const struct vg_facts *facts = vg_facts_find(arch != NULL && *arch != 0 ? arch : "h100");
    if (facts == NULL) {
        fprintf(stderr, "vgpu: VGPU_ARCH=%s is neither a100 nor h100\n", arch);
        abort();
    }
    int n = (int)env_number("VGPU_DEVICES", 1, 0, VG_MAX_DEVICES);
    if (n == 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    vg_device_shape((unsigned)facts->sms, (uint32_t)facts->smem_per_sm);
    d->seed = (uint64_t)env_number("VGPU_SEED", 1, 0, 0x7fffffffffffffffL);
    d->checks = vg_checks_env();
    uint64_t bytes = env_bytes("VGPU_MEM", UINT64_C(2) << 30);
    // Pinned memory: what kernels of any device may touch on the host.
    if (!vg_mem_init(VG_HOST_DEVICE, env_bytes("VGPU_PINNED", UINT64_C(4) << 30))) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (int i = 0; i < n; i++) {
        d->device[i] = (struct vg_device){.ordinal = i, .facts = facts, .bytes = bytes};
        if (!vg_mem_init(i, bytes)) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        struct CUmemPoolHandle_st *pool = vg_handle_new(VG_H_POOL, sizeof *pool);
        if (pool == NULL) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        pool->device = i;
        pool->is_default = true;
        pool->access = 1u << i;
        pool->follow[0] = pool->follow[1] = pool->follow[2] = 1;
        d->device[i].default_pool = d->device[i].pool = pool;
    }
    d->n_devices = n;
    vg_fault_init();
    static bool hooked;
    if (!hooked) {
        pthread_atfork(prepare_fork, after_fork, forked);
        hooked = true;
    }
    d->init = true;
    vg_progress_start((int)env_number("VGPU_PROGRESS_MS", 0, 0, 60000));
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuInit(unsigned int Flags)
{
    if (Flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_lock(&vg_lock);
    CUresult r = vg_driver.init ? CUDA_SUCCESS : init_locked();
    if (r == CUDA_SUCCESS) {
        r = vg_fault_call("cuInit");
    }
    pthread_mutex_unlock(&vg_lock);
    return r;
}

CUresult CUDAAPI cuDriverGetVersion(int *driverVersion)
{
    VG_WANT(driverVersion != NULL);
    *driverVersion = VG_DRIVER_VERSION;
    return CUDA_SUCCESS;
}

// ---- error names: valid before cuInit ----

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
#define VG_X(name, text) {name, #name, text},
    VG_ERROR_MAP(VG_X)
#undef VG_X
};

CUresult CUDAAPI cuGetErrorName(CUresult error, const char **pStr)
{
    VG_WANT(pStr != NULL);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].code == error) {
            *pStr = errors[i].name;
            return CUDA_SUCCESS;
        }
    }
    *pStr = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **pStr)
{
    VG_WANT(pStr != NULL);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].code == error) {
            *pStr = errors[i].text;
            return CUDA_SUCCESS;
        }
    }
    *pStr = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}
