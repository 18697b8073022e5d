/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/kernel_test.h"

#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The calls used here, under the names that cuda.h maps them to. */
#define CALLS(X) \
    X(cuInit) \
    X(cuGetErrorName) \
    X(cuDeviceGet) \
    X(cuDevicePrimaryCtxRetain) \
    X(cuCtxSetCurrent) \
    X(cuCtxSynchronize) \
    X(cuModuleLoadData) \
    X(cuModuleGetFunction) \
    X(cuFuncSetAttribute) \
    X(cuFuncGetAttribute) \
    X(cuFuncGetParamInfo) \
    X(cuLaunchKernelEx) \
    X(cuMemAlloc) \
    X(cuMemFree) \
    X(cuMemcpyHtoD) \
    X(cuMemcpyDtoH) \
    X(cuMemsetD8)
#define POINTER(name) __typeof__(name) *name;
static struct {
    void *lib;
    CALLS(POINTER)
    unsigned (*findings)(void);
    const char *(*finding)(unsigned);
    uint64_t (*counter)(const char *, const char *);
    void (*set_seed)(uint64_t);
} cu;

static struct {
    struct k_facts facts;
    struct k_work work;
    CUmodule modules[K_N_MODULES + 1]; /* + 1: a list may be empty */
    CUfunction functions[K_N_KERNELS + 1];
    struct k_launch last[K_MAX_LAUNCHES];
    int n_last;
} kt;

#define OK(call) \
    do { \
        const CUresult ok_ = cu.call; \
        if (ok_ != CUDA_SUCCESS) { \
            const char *name_ = "?"; \
            (void)cu.cuGetErrorName(ok_, &name_); \
            fail_with(#call, name_); \
        } \
    } while (0)

static void fail_with(const char *call, const char *error)
{
    char text[2048];
    int at = snprintf(text, sizeof text, "%s: %s", call, error);
    for (unsigned i = 0; cu.findings && i < cu.findings() && i < 4; i++) {
        at += snprintf(text + at, sizeof text - (size_t)at, "\n%s", cu.finding(i));
        at = at < (int)sizeof text ? at : (int)sizeof text - 1;
    }
    cr_assert_fail("%s", text);
}

static void no_findings(void)
{
    if (cu.findings && cu.findings() > 0) {
        fail_with("a checker", "found something");
    }
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static void open_library(void)
{
    cu.lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!cu.lib) {
        cr_skip_test("no libcuda.so.1: %s", dlerror());
    }
#define FIND(name) \
    cu.name = (__typeof__(name) *)dlsym(cu.lib, TEXT(name)); \
    cr_assert(cu.name, "%s is missing", TEXT(name));
    CALLS(FIND)
#undef FIND
    cu.findings = (unsigned (*)(void))dlsym(cu.lib, "vgpu_findings");
    cu.finding = (const char *(*)(unsigned))dlsym(cu.lib, "vgpu_finding");
    cu.counter = (uint64_t(*)(const char *, const char *))dlsym(cu.lib, "vgpu_counter");
    cu.set_seed = (void (*)(uint64_t))dlsym(cu.lib, "vgpu_set_seed");
}

static void load_kernels(void)
{
    struct k_fatbin f;
    for (int32_t i = 0; i < K_N_MODULES; i++) {
        cr_assert(k_fatbin_of(i, &f));
        OK(cuModuleLoadData(&kt.modules[i], f.image));
    }
    for (int i = 0; i < K_N_KERNELS; i++) {
        const struct k_kernel_row *row = &k_kernel_table[i];
        size_t offset, bytes;
        OK(cuModuleGetFunction(&kt.functions[i], kt.modules[row->module], row->name));
        OK(cuFuncGetParamInfo(kt.functions[i], 0, &offset, &bytes));
        cr_assert_eq(bytes, row->arg_bytes, "%s takes %zu bytes, its list says %u", row->name,
                     bytes, row->arg_bytes);
        int fixed;
        OK(cuFuncGetAttribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kt.functions[i]));
        OK(cuFuncSetAttribute(kt.functions[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              kt.facts.smem_block_bytes - fixed));
    }
}

void kt_open(const char *arch, uint64_t seed)
{
    char number[32];
    const bool hopper = !strcmp(arch, "h100");
    kt.facts = hopper ? (struct k_facts)K_FACTS_H100 : (struct k_facts)K_FACTS_A100;
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    (void)setenv("VGPU_ARCH", arch, 1);
    (void)setenv("VGPU_SEED", number, 1);
    struct k_fatbin f;
    if (!k_fatbin_of(0, &f)) {
        cr_skip_test("this build has no kernels: no nvcc was found");
    }
    open_library();
    OK(cuInit(0));
    CUdevice dev;
    CUcontext ctx;
    OK(cuDeviceGet(&dev, 0));
    OK(cuDevicePrimaryCtxRetain(&ctx, dev));
    OK(cuCtxSetCurrent(ctx));
    load_kernels();
    kt.work = (struct k_work){kt_room(KT_WORK_BYTES), KT_WORK_BYTES};
    OK(cuMemsetD8(kt.work.base, 0, K_WORK_TICKET_BYTES));
    OK(cuCtxSynchronize());
}

void kt_seed(uint64_t seed)
{
    if (cu.set_seed) {
        cu.set_seed(seed);
    }
}

const struct k_facts *kt_facts(void)
{
    return &kt.facts;
}

struct k_work kt_work(void)
{
    return kt.work;
}

k_ptr kt_room(size_t bytes)
{
    CUdeviceptr p;
    OK(cuMemAlloc(&p, bytes ? bytes : 1));
    return p;
}

void kt_write(k_ptr dst, const void *host, size_t bytes)
{
    if (bytes) {
        OK(cuMemcpyHtoD(dst, host, bytes));
    }
}

k_ptr kt_put(const void *host, size_t bytes)
{
    const k_ptr p = kt_room(bytes);
    kt_write(p, host, bytes);
    return p;
}

void kt_get(void *host, k_ptr src, size_t bytes)
{
    OK(cuMemcpyDtoH(host, src, bytes));
    no_findings();
}

void kt_free(k_ptr p)
{
    OK(cuMemFree(p));
}

void kt_fill_nan(k_ptr p, size_t bytes)
{
    OK(cuMemsetD8(p, 0xff, bytes));
}

static void check_tickets(void)
{
    static unsigned char tickets[K_WORK_TICKET_BYTES];
    OK(cuMemcpyDtoH(tickets, kt.work.base, sizeof tickets));
    for (size_t i = 0; i < sizeof tickets; i++) {
        cr_assert_eq(tickets[i], 0, "byte %zu of the tickets is %u after an op", i, tickets[i]);
    }
}

void kt_launch(const struct k_launch *l, int n)
{
    for (int i = 0; i < n; i++) {
        CUlaunchAttribute attrs[2];
        CUlaunchConfig c = {.gridDimX = l[i].grid[0],
                            .gridDimY = l[i].grid[1],
                            .gridDimZ = l[i].grid[2],
                            .blockDimX = l[i].block[0],
                            .blockDimY = l[i].block[1],
                            .blockDimZ = l[i].block[2],
                            .sharedMemBytes = l[i].smem_bytes,
                            .attrs = attrs};
        memset(attrs, 0, sizeof attrs);
        if (l[i].pdl && kt.facts.sm >= 90) {
            attrs[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            attrs[c.numAttrs++].value.programmaticStreamSerializationAllowed = 1;
        }
        if (l[i].cluster > 1) {
            attrs[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
            attrs[c.numAttrs].value.clusterDim.x = l[i].cluster;
            attrs[c.numAttrs].value.clusterDim.y = 1;
            attrs[c.numAttrs++].value.clusterDim.z = 1;
        }
        struct k_launch copy = l[i];
        void *params[] = {copy.args};
        cr_assert_eq(l[i].arg_bytes, k_kernel_table[l[i].kernel].arg_bytes);
        OK(cuLaunchKernelEx(&c, kt.functions[l[i].kernel], params, NULL));
    }
    OK(cuCtxSynchronize());
    no_findings();
    check_tickets();
}

void kt_run(enum k_op op, const void *args)
{
    kt.n_last = k_plan((int32_t)op, &kt.facts, &kt.work, args, kt.last);
    cr_assert(kt.n_last >= 1 && kt.n_last <= K_MAX_LAUNCHES, "op %d: %d launches", (int)op,
              kt.n_last);
    kt_launch(kt.last, kt.n_last);
}

int kt_launches(const struct k_launch **out)
{
    *out = kt.last;
    return kt.n_last;
}

uint64_t kt_counter(const char *kernel, const char *counter)
{
    return cu.counter ? cu.counter(kernel, counter) : 0;
}

bool kt_is_virtual(void)
{
    return cu.findings != NULL;
}
