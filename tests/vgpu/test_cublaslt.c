// SPDX-License-Identifier: Apache-2.0
//
// The stand-in cuBLASLt against plain loops, and what it refuses.
#include "cu_test.h"

#include <cublasLt.h>

#include "half.h"

#define VG_LT_MAP(X) \
    X(cublasLtCreate) \
    X(cublasLtDestroy) \
    X(cublasLtMatrixLayoutCreate) \
    X(cublasLtMatrixLayoutDestroy) \
    X(cublasLtMatrixLayoutSetAttribute) \
    X(cublasLtMatmulDescCreate) \
    X(cublasLtMatmulDescDestroy) \
    X(cublasLtMatmulDescSetAttribute) \
    X(cublasLtMatmulPreferenceCreate) \
    X(cublasLtMatmulPreferenceDestroy) \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatmulAlgoGetHeuristic) \
    X(cublasLtMatmul)

static struct {
    VG_LT_MAP(VG_PTR)
} lt;

#define LOK(call) \
    do { \
        cublasStatus_t s_ = (call); \
        cr_assert_eq(s_, CUBLAS_STATUS_SUCCESS, "%s: status %d", #call, (int)s_); \
    } while (0)

enum { M = 20, N = 13, K = 36 };

struct world {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    CUdeviceptr pa, pb, pd, work;
    CUstream stream;
};

static void lt_open(struct world *w)
{
    cu_start();
    void *lib = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(lib, "dlopen: %s", dlerror());
#define VG_LOAD_LT(name) \
    do { \
        void *p = dlsym(lib, #name); \
        cr_assert_not_null(p, "no %s in libcublasLt", #name); \
        memcpy(&lt.name, &p, sizeof p); \
    } while (0);
    VG_LT_MAP(VG_LOAD_LT)
    LOK(lt.cublasLtCreate(&w->handle));
    OK(cu.cuStreamCreate(&w->stream, CU_STREAM_NON_BLOCKING));
    OK(cu.cuMemAlloc(&w->pa, 65536));
    OK(cu.cuMemAlloc(&w->pb, 65536));
    OK(cu.cuMemAlloc(&w->pd, 65536));
    OK(cu.cuMemAlloc(&w->work, 65536));
}

static void set_trans(struct world *w, cublasOperation_t ta, cublasOperation_t tb)
{
    int32_t a = (int32_t)ta, b = (int32_t)tb;
    LOK(lt.cublasLtMatmulDescSetAttribute(w->desc, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a));
    LOK(lt.cublasLtMatmulDescSetAttribute(w->desc, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b));
}

// A is K x M and transposed, B is K x N, D is M x N with a gap of 4 rows, all in column order.
static void make_s8(struct world *w)
{
    LOK(lt.cublasLtMatmulDescCreate(&w->desc, CUBLAS_COMPUTE_32I, CUDA_R_32I));
    set_trans(w, CUBLAS_OP_T, CUBLAS_OP_N);
    LOK(lt.cublasLtMatrixLayoutCreate(&w->a, CUDA_R_8I, K, M, K));
    LOK(lt.cublasLtMatrixLayoutCreate(&w->b, CUDA_R_8I, K, N, K));
    LOK(lt.cublasLtMatrixLayoutCreate(&w->d, CUDA_R_32I, M, N, M + 4));
}

static void lt_close(struct world *w)
{
    lt.cublasLtMatmulDescDestroy(w->desc);
    lt.cublasLtMatrixLayoutDestroy(w->a);
    lt.cublasLtMatrixLayoutDestroy(w->b);
    lt.cublasLtMatrixLayoutDestroy(w->d);
    LOK(lt.cublasLtDestroy(w->handle));
}

Test(cublaslt, int8_products_are_exact)
{
    struct world w;
    lt_open(&w);
    make_s8(&w);
    int8_t a[K * M], b[K * N];
    int32_t d[(M + 4) * N];
    for (int i = 0; i < K * M; i++) {
        a[i] = (int8_t)(i * 37 % 256 - 128);
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = (int8_t)(i * 91 % 256 - 128);
    }
    OK(cu.cuMemcpyHtoD(w.pa, a, sizeof a));
    OK(cu.cuMemcpyHtoD(w.pb, b, sizeof b));
    OK(cu.cuMemsetD8(w.pd, 0x11, sizeof d));
    OK(cu.cuCtxSynchronize());
    int32_t one = 1, zero = 0;
    LOK(lt.cublasLtMatmul(w.handle, w.desc, &one, (void *)w.pa, w.a, (void *)w.pb, w.b, &zero,
                          (void *)w.pd, w.d, (void *)w.pd, w.d, NULL, NULL, 0,
                          (cudaStream_t)w.stream));
    LOK(lt.cublasLtMatmul(w.handle, w.desc, &one, (void *)w.pa, w.a, (void *)w.pb, w.b, &one,
                          (void *)w.pd, w.d, (void *)w.pd, w.d, NULL, NULL, 0,
                          (cudaStream_t)w.stream)); // again, on top
    OK(cu.cuStreamSynchronize(w.stream));
    OK(cu.cuMemcpyDtoH(d, w.pd, sizeof d));
    for (int j = 0; j < N; j++) {
        for (int i = 0; i < M; i++) {
            int32_t want = 0;
            for (int k = 0; k < K; k++) {
                want += a[i * K + k] * b[j * K + k];
            }
            cr_assert_eq(d[j * (M + 4) + i], 2 * want, "(%d,%d): %d, expected %d", i, j,
                         d[j * (M + 4) + i], 2 * want);
        }
        cr_assert_eq(d[j * (M + 4) + M], 0x11111111, "the gap of column %d was written", j);
    }
    lt_close(&w);
    cu_clean();
}

Test(cublaslt, bf16_products_take_every_transposition_and_a_bias)
{
    struct world w;
    lt_open(&w);
    uint16_t a[M * K], b[K * N], d[M * N];
    float bias[M];
    for (int i = 0; i < M * K; i++) {
        a[i] = vg_float_bf16((float)(i % 7 - 3));
    }
    for (int i = 0; i < K * N; i++) {
        b[i] = vg_float_bf16((float)(i % 5 - 2));
    }
    for (int i = 0; i < M; i++) {
        bias[i] = (float)i;
    }
    OK(cu.cuMemcpyHtoD(w.pa, a, sizeof a));
    OK(cu.cuMemcpyHtoD(w.pb, b, sizeof b));
    OK(cu.cuMemcpyHtoD(w.pd + 32768, bias, sizeof bias));
    OK(cu.cuCtxSynchronize());
    for (int t = 0; t < 4; t++) {
        bool ta = (t & 1) != 0, tb = (t & 2) != 0;
        LOK(lt.cublasLtMatmulDescCreate(&w.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        set_trans(&w, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N);
        cublasLtEpilogue_t ep = CUBLASLT_EPILOGUE_BIAS;
        CUdeviceptr pbias = w.pd + 32768;
        int32_t f32 = CUDA_R_32F;
        LOK(lt.cublasLtMatmulDescSetAttribute(w.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &ep,
                                              sizeof ep));
        LOK(lt.cublasLtMatmulDescSetAttribute(w.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &pbias,
                                              sizeof pbias));
        LOK(lt.cublasLtMatmulDescSetAttribute(w.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &f32,
                                              sizeof f32));
        LOK(lt.cublasLtMatrixLayoutCreate(&w.a, CUDA_R_16BF, ta ? K : M, ta ? M : K, ta ? K : M));
        LOK(lt.cublasLtMatrixLayoutCreate(&w.b, CUDA_R_16BF, tb ? N : K, tb ? K : N, tb ? N : K));
        LOK(lt.cublasLtMatrixLayoutCreate(&w.d, CUDA_R_16BF, M, N, M));
        cublasLtMatmulPreference_t pref = NULL;
        uint64_t room = 65536;
        cublasLtMatmulHeuristicResult_t h;
        int n = 0;
        LOK(lt.cublasLtMatmulPreferenceCreate(&pref));
        LOK(lt.cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &room, sizeof room));
        LOK(lt.cublasLtMatmulAlgoGetHeuristic(w.handle, w.desc, w.a, w.b, w.d, w.d, pref, 1, &h,
                                              &n));
        cr_assert(n == 1 && h.workspaceSize > 0, "%d %zu", n, h.workspaceSize);
        float alpha = 0.5f, beta = 0;
        cr_assert_eq(lt.cublasLtMatmul(w.handle, w.desc, &alpha, (void *)w.pa, w.a, (void *)w.pb,
                                       w.b, &beta, (void *)w.pd, w.d, (void *)w.pd, w.d, &h.algo,
                                       (void *)w.work, 16, (cudaStream_t)w.stream),
                     CUBLAS_STATUS_INVALID_VALUE, "a workspace that is too small");
        LOK(lt.cublasLtMatmul(w.handle, w.desc, &alpha, (void *)w.pa, w.a, (void *)w.pb, w.b, &beta,
                              (void *)w.pd, w.d, (void *)w.pd, w.d, &h.algo, (void *)w.work, room,
                              (cudaStream_t)w.stream));
        OK(cu.cuStreamSynchronize(w.stream));
        OK(cu.cuMemcpyDtoH(d, w.pd, sizeof d));
        for (int j = 0; j < N; j++) {
            for (int i = 0; i < M; i++) {
                float want = 0; // small integers: exact in fp32 in any order
                for (int k = 0; k < K; k++) {
                    want += vg_bf16_float(a[ta ? i * K + k : k * M + i]) *
                            vg_bf16_float(b[tb ? k * N + j : j * K + k]);
                }
                uint16_t bits = vg_float_bf16(0.5f * want + bias[i]);
                cr_assert_eq(d[j * M + i], bits, "case %d (%d,%d): %g, expected %g", t, i, j,
                             (double)vg_bf16_float(d[j * M + i]), (double)vg_bf16_float(bits));
            }
        }
        lt.cublasLtMatmulPreferenceDestroy(pref);
        lt.cublasLtMatmulDescDestroy(w.desc);
        lt.cublasLtMatrixLayoutDestroy(w.a);
        lt.cublasLtMatrixLayoutDestroy(w.b);
        lt.cublasLtMatrixLayoutDestroy(w.d);
    }
    LOK(lt.cublasLtDestroy(w.handle));
    cu_clean();
}

static void product(struct world *w, CUdeviceptr d, CUdeviceptr work, CUstream s)
{
    int32_t one = 1, zero = 0;
    LOK(lt.cublasLtMatmul(w->handle, w->desc, &one, (void *)w->pa, w->a, (void *)w->pb, w->b, &zero,
                          (void *)d, w->d, (void *)d, w->d, NULL, (void *)work,
                          work != 0 ? 32768 : 0, (cudaStream_t)s));
}

Test(cublaslt, products_of_two_streams_are_ordered_like_kernels)
{
    struct world w;
    lt_open(&w);
    make_s8(&w);
    struct cu_kernels k = cu_kernels();
    CUstream other = NULL;
    CUevent e = NULL;
    OK(cu.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    OK(cu.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuMemsetD8(w.pa, 1, 65536));
    OK(cu.cuMemsetD8(w.pb, 1, 65536));
    OK(cu.cuMemsetD8(w.pd, 0, 65536));
    OK(cu.cuCtxSynchronize());
    // Clean: two products that read the same; what lies between columns is not theirs.
    OK(cu_launch(k.set, w.pd + 4 * M, 1, 1, other)); // the gap of the first column
    product(&w, w.pd, w.work, w.stream);
    product(&w, w.pd + 32768, w.work + 32768, other);
    OK(cu.cuCtxSynchronize());
    cu_clean();
    product(&w, w.pd, w.work, w.stream);
    OK(cu.cuEventRecord(e, w.stream));
    OK(cu.cuStreamWaitEvent(other, e, 0));
    OK(cu_launch(k.add, w.pd, M, 1, other));
    OK(cu.cuCtxSynchronize());
    cu_clean();
    product(&w, w.pd, w.work, w.stream);
    product(&w, w.pd + 32768, w.work, other); // one workspace for both
    OK(cu.cuCtxSynchronize());
    cu_found("stream-order", "nothing orders them");
    cu.vgpu_findings_clear();
    product(&w, w.pd, 0, w.stream);
    OK(cu_launch(k.add, w.pd, M, 1, other));
    OK(cu.cuCtxSynchronize());
    cu_found("stream-order", "cublasLtMatmul");
    lt_close(&w);
}

Test(cublaslt, what_the_real_library_refuses_is_refused)
{
    struct world w;
    lt_open(&w);
    make_s8(&w);
    int32_t one = 1, two = 2, zero = 0;
#define TRY(alpha, pa) \
    lt.cublasLtMatmul(w.handle, w.desc, alpha, (void *)(pa), w.a, (void *)w.pb, w.b, &zero, \
                      (void *)w.pd, w.d, (void *)w.pd, w.d, NULL, NULL, 0, (cudaStream_t)w.stream)
    OK(cu.cuMemsetD8(w.pa, 1, K * M));
    OK(cu.cuMemsetD8(w.pb, 1, K * N));
    OK(cu.cuCtxSynchronize());
    LOK(TRY(&one, w.pa));
    OK(cu.cuStreamSynchronize(w.stream));
    cu_clean();
    cr_assert_eq(TRY(&two, w.pa), CUBLAS_STATUS_NOT_SUPPORTED, "alpha 2");
    cr_assert_eq(TRY(&one, w.pa + 2), CUBLAS_STATUS_NOT_SUPPORTED, "not aligned");
    cr_assert_eq(TRY(NULL, w.pa), CUBLAS_STATUS_INVALID_VALUE, "no alpha");
    set_trans(&w, CUBLAS_OP_N, CUBLAS_OP_N);
    cr_assert_eq(TRY(&one, w.pa), CUBLAS_STATUS_INVALID_VALUE, "shapes");
    set_trans(&w, CUBLAS_OP_T, CUBLAS_OP_N);
    uint64_t rows = K - 1;
    LOK(lt.cublasLtMatrixLayoutSetAttribute(w.a, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows));
    LOK(lt.cublasLtMatrixLayoutSetAttribute(w.b, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows));
    cr_assert_eq(TRY(&one, w.pa), CUBLAS_STATUS_NOT_SUPPORTED, "k is 35");
    rows = K;
    LOK(lt.cublasLtMatrixLayoutSetAttribute(w.a, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows));
    LOK(lt.cublasLtMatrixLayoutSetAttribute(w.b, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows));
    cr_assert_eq(TRY(&one, w.pa + 65536 - 64), CUBLAS_STATUS_INVALID_VALUE, "past the end");
    cu_found("api", "leaves its allocation");
    cu.vgpu_findings_clear();
    CUdeviceptr fresh = 0;
    OK(cu.cuMemAlloc(&fresh, 4096));
    LOK(TRY(&one, fresh));
    OK(cu.cuStreamSynchronize(w.stream));
    cu_found("uninitialised", "elements of A");
    lt_close(&w);
}
