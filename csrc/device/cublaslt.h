/* SPDX-License-Identifier: Apache-2.0
 *
 * cublaslt.h - the calls of cuBLASLt that we make, found in libcublasLt.so at run time, and our own
 * words for its types: octavo builds without cublasLt.h (tests/device/test_cublaslt_abi.c compares
 * the two). */
#ifndef OCT_DEVICE_CUBLASLT_H
#define OCT_DEVICE_CUBLASLT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef int oct_lt_status;   /* 0: success */
typedef void *oct_lt_handle; /* opaque, as the next three */
typedef void *oct_lt_desc;
typedef void *oct_lt_layout;
typedef void *oct_lt_pref;

enum { /* cublasStatus_t: those we tell apart */
       OCT_LT_OK = 0,
       OCT_LT_INVALID_VALUE = 7,
       OCT_LT_NOT_SUPPORTED = 15,
};
enum { /* cudaDataType, cublasComputeType_t, cublasOperation_t, cublasLtEpilogue_t */
       OCT_LT_F32 = 0,
       OCT_LT_BF16 = 14,
       OCT_LT_COMPUTE_F32 = 68,
       OCT_LT_OP_T = 1,
       OCT_LT_EPILOGUE_BIAS = 4,
};
enum { /* attributes: of a product, a layout, a preference */
       OCT_LT_DESC_TRANSA = 3,
       OCT_LT_DESC_EPILOGUE = 7,
       OCT_LT_DESC_BIAS_POINTER = 8,
       OCT_LT_DESC_BIAS_TYPE = 26,
       OCT_LT_LAYOUT_COLS = 3,
       OCT_LT_LAYOUT_LD = 4,
       OCT_LT_PREF_WORKSPACE = 1,
       OCT_LT_PREF_ALIGN_A = 5, /* B, C, D follow */
};

struct oct_lt_algo { /* cublasLtMatmulAlgo_t */
    uint64_t data[8];
};

struct oct_lt_choice { /* cublasLtMatmulHeuristicResult_t */
    struct oct_lt_algo algo;
    size_t workspace_bytes;
    oct_lt_status state;
    float waves;
    int32_t reserved[4];
};

/* X(field, symbol, parameters): the same since CUDA 11. */
// clang-format off
#define OCT_LT_CALLS(X)                                                                           \
    X(create, "cublasLtCreate", (oct_lt_handle *h))                                               \
    X(destroy, "cublasLtDestroy", (oct_lt_handle h))                                              \
    X(desc_create, "cublasLtMatmulDescCreate",                                                    \
      (oct_lt_desc *d, int compute_type, int scale_type))                                         \
    X(desc_destroy, "cublasLtMatmulDescDestroy", (oct_lt_desc d))                                 \
    X(desc_set, "cublasLtMatmulDescSetAttribute",                                                 \
      (oct_lt_desc d, int attr, const void *value, size_t bytes))                                 \
    X(layout_create, "cublasLtMatrixLayoutCreate",                                                \
      (oct_lt_layout *l, int type, uint64_t rows, uint64_t cols, int64_t ld))                     \
    X(layout_destroy, "cublasLtMatrixLayoutDestroy", (oct_lt_layout l))                           \
    X(layout_set, "cublasLtMatrixLayoutSetAttribute",                                             \
      (oct_lt_layout l, int attr, const void *value, size_t bytes))                               \
    X(pref_create, "cublasLtMatmulPreferenceCreate", (oct_lt_pref *p))                            \
    X(pref_destroy, "cublasLtMatmulPreferenceDestroy", (oct_lt_pref p))                           \
    X(pref_set, "cublasLtMatmulPreferenceSetAttribute",                                           \
      (oct_lt_pref p, int attr, const void *value, size_t bytes))                                 \
    X(choose, "cublasLtMatmulAlgoGetHeuristic",                                                   \
      (oct_lt_handle h, oct_lt_desc d, oct_lt_layout a, oct_lt_layout b, oct_lt_layout c,         \
       oct_lt_layout out, oct_lt_pref p, int n_wanted, struct oct_lt_choice *choices, int *n))    \
    X(matmul, "cublasLtMatmul",                                                                   \
      (oct_lt_handle h, oct_lt_desc desc, const void *alpha, const void *a, oct_lt_layout la,     \
       const void *b, oct_lt_layout lb, const void *beta, const void *c, oct_lt_layout lc,        \
       void *d, oct_lt_layout ld, const struct oct_lt_algo *algo, void *work, size_t work_bytes,  \
       void *stream))
// clang-format on

struct oct_lt {
#define OCT_LT_FIELD(field, symbol, parameters) oct_lt_status(*field) parameters;
    OCT_LT_CALLS(OCT_LT_FIELD)
#undef OCT_LT_FIELD
    size_t (*version)(void); /* 130201: 13.2.1 */
};

/* The library that goes with a driver for CUDA cuda_version (12040: 12.4), opened by the first call
 * that finds one; it stays for the life of the process. Safe from any thread. OCT_E_UNSUPPORTED
 * with the reason if there is none. */
OCT_CHECKED oct_status oct_lt_open(int cuda_version, const struct oct_lt **out);
/* The first of n names that can be loaded. */
OCT_CHECKED oct_status oct_lt_load(const char *const *names, int n, struct oct_lt *out);

const char *oct_lt_status_name(oct_lt_status s); /* "CUBLAS_STATUS_NOT_SUPPORTED"; static */

#endif
