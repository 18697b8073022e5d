// SPDX-License-Identifier: Apache-2.0
//
// cu_test.h - tests reach the stand-in as a product reaches the driver: dlopen("libcuda.so.1"),
// dlsym. cu.cuMemAlloc(...) calls the symbol that cuda.h maps the name to.
#ifndef VG_CU_TEST_H
#define VG_CU_TEST_H

#include <criterion/criterion.h>
#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cu_list.h"
#include "private.h"

#define VG_PRIVATE_MAP(X) \
    X(vgpu_enqueue) \
    X(vgpu_findings) \
    X(vgpu_finding) \
    X(vgpu_findings_clear) \
    X(vgpu_counter) \
    X(vgpu_read) \
    X(vgpu_write) \
    X(vgpu_owns) \
    X(vgpu_mark_valid)

#define VG_PTR(name, ...) __typeof__(name) *name;
extern CUresult cuProfilerStart(void);
extern CUresult cuProfilerStop(void);

// Weak: one for all files of a program.
struct cu_calls {
    void *lib;
    VG_CU_MAP(VG_PTR)
    VG_PRIVATE_MAP(VG_PTR)
};
__attribute__((weak)) struct cu_calls cu;

// A forked child must not speak to Criterion, which would wait for it: it prints and ends with 1.
__attribute__((weak)) bool cu_is_child;

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            char text_[600]; \
            snprintf(text_, sizeof text_, __VA_ARGS__); \
            if (cu_is_child) { \
                fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, text_); \
                _exit(1); \
            } \
            cr_assert_fail("%s", text_); \
        } \
    } while (0)

// The environment must be set before. Aborts the test when the library is not there.
static inline void cu_open(void)
{
    cu.lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    CHECK(cu.lib != NULL, "dlopen: %s", dlerror());
#define VG_LOAD_SYMBOL(name, ...) \
    do { \
        void *p = dlsym(cu.lib, #name); \
        CHECK(p != NULL, "no %s in the library", #name); \
        memcpy(&cu.name, &p, sizeof p); \
    } while (0);
    VG_CU_MAP(VG_LOAD_SYMBOL)
    VG_PRIVATE_MAP(VG_LOAD_SYMBOL)
#undef VG_LOAD_SYMBOL
}

static inline const char *cu_name(CUresult r)
{
    const char *s = NULL;
    return cu.cuGetErrorName(r, &s) == CUDA_SUCCESS ? s : "?";
}

#define OK(call) \
    do { \
        CUresult r_ = (call); \
        CHECK(r_ == CUDA_SUCCESS, "%s: %s", #call, cu_name(r_)); \
    } while (0)
#define FAILS(call, code) \
    do { \
        CUresult r_ = (call); \
        CHECK(r_ == (code), "%s: got %s, expected %s", #call, cu_name(r_), cu_name(code)); \
    } while (0)

// One device, or as VGPU_DEVICES says, and its primary context made current.
static inline CUcontext cu_start(void)
{
    cu_open();
    OK(cu.cuInit(0));
    CUcontext ctx = NULL;
    OK(cu.cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cu.cuCtxSetCurrent(ctx));
    return ctx;
}

static inline void cu_clean(void) // no finding so far
{
    CHECK(cu.vgpu_findings() == 0, "%u findings, the first: %s", cu.vgpu_findings(),
          cu.vgpu_findings() > 0 ? cu.vgpu_finding(0) : "");
}

// Some finding holds both texts.
static inline void cu_found(const char *kind, const char *text)
{
    for (unsigned i = 0; i < cu.vgpu_findings(); i++) {
        const char *f = cu.vgpu_finding(i);
        if (strncmp(f, kind, strlen(kind)) == 0 && strstr(f, text) != NULL) {
            return;
        }
    }
    cr_assert_fail("no finding \"%s: ... %s\" among %u; the first: %s", kind, text,
                   cu.vgpu_findings(), cu.vgpu_findings() > 0 ? cu.vgpu_finding(0) : "none");
}

// add(p, n, v): p[i] += v for i < n. set(p, n, v): p[i] = v. One thread per element.
static const char cu_test_ptx[] =
    ".version 8.0\n"
    ".target sm_80\n"
    ".address_size 64\n"
    ".visible .entry add(.param .u64 add_p, .param .u32 add_n, .param .u32 add_v)\n"
    "{\n"
    "    .reg .pred %p<2>; .reg .b32 %r<10>; .reg .b64 %rd<5>;\n"
    "    ld.param.u64 %rd1, [add_p]; ld.param.u32 %r1, [add_n]; ld.param.u32 %r2, [add_v];\n"
    "    mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "    mad.lo.s32 %r6, %r3, %r4, %r5;\n"
    "    setp.ge.u32 %p1, %r6, %r1;\n"
    "    @%p1 bra DONE;\n"
    "    cvta.to.global.u64 %rd2, %rd1;\n"
    "    mul.wide.u32 %rd3, %r6, 4;\n"
    "    add.s64 %rd4, %rd2, %rd3;\n"
    "    ld.global.u32 %r7, [%rd4];\n"
    "    add.s32 %r8, %r7, %r2;\n"
    "    st.global.u32 [%rd4], %r8;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n"
    ".visible .entry set(.param .u64 set_p, .param .u32 set_n, .param .u32 set_v)\n"
    ".maxntid 256, 1, 1\n"
    "{\n"
    "    .reg .pred %p<2>; .reg .b32 %r<10>; .reg .b64 %rd<5>;\n"
    "    ld.param.u64 %rd1, [set_p]; ld.param.u32 %r1, [set_n]; ld.param.u32 %r2, [set_v];\n"
    "    mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "    mad.lo.s32 %r6, %r3, %r4, %r5;\n"
    "    setp.ge.u32 %p1, %r6, %r1;\n"
    "    @%p1 bra DONE;\n"
    "    cvta.to.global.u64 %rd2, %rd1;\n"
    "    mul.wide.u32 %rd3, %r6, 4;\n"
    "    add.s64 %rd4, %rd2, %rd3;\n"
    "    st.global.u32 [%rd4], %r2;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n";

struct cu_kernels {
    CUmodule module;
    CUfunction add, set;
};

static inline struct cu_kernels cu_kernels(void)
{
    struct cu_kernels k;
    OK(cu.cuModuleLoadData(&k.module, cu_test_ptx));
    OK(cu.cuModuleGetFunction(&k.add, k.module, "add"));
    OK(cu.cuModuleGetFunction(&k.set, k.module, "set"));
    return k;
}

static inline CUresult cu_launch(CUfunction f, CUdeviceptr p, unsigned n, unsigned v, CUstream s)
{
    void *params[] = {&p, &n, &v};
    return cu.cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, s, params, NULL);
}

#endif
