/* SPDX-License-Identifier: Apache-2.0
 *
 * Our own words for cuBLASLt's types and numbers (cublaslt.h) are those of cublasLt.h; a library
 * that is not there is one sentence. */
#include "device/cublaslt.h"

#include <criterion/criterion.h>
#include <cublasLt.h>
#include <string.h>

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define SAME_PLACE(ours, field, theirs, member) \
    _Static_assert(offsetof(ours, field) == offsetof(theirs, member), #theirs "." #member)
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)

SAME_SIZE(oct_lt_status, cublasStatus_t);
SAME_SIZE(oct_lt_handle, cublasLtHandle_t);
SAME_SIZE(oct_lt_desc, cublasLtMatmulDesc_t);
SAME_SIZE(oct_lt_layout, cublasLtMatrixLayout_t);
SAME_SIZE(oct_lt_pref, cublasLtMatmulPreference_t);
SAME_SIZE(int, cudaDataType);
SAME_SIZE(int, cublasComputeType_t);
SAME_SIZE(struct oct_lt_algo, cublasLtMatmulAlgo_t);
SAME_SIZE(struct oct_lt_choice, cublasLtMatmulHeuristicResult_t);
SAME_PLACE(struct oct_lt_choice, workspace_bytes, cublasLtMatmulHeuristicResult_t, workspaceSize);
SAME_PLACE(struct oct_lt_choice, state, cublasLtMatmulHeuristicResult_t, state);
SAME_PLACE(struct oct_lt_choice, waves, cublasLtMatmulHeuristicResult_t, wavesCount);

SAME(OCT_LT_OK, CUBLAS_STATUS_SUCCESS);
SAME(OCT_LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE);
SAME(OCT_LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(OCT_LT_F32, CUDA_R_32F);
SAME(OCT_LT_BF16, CUDA_R_16BF);
SAME(OCT_LT_COMPUTE_F32, CUBLAS_COMPUTE_32F);
SAME(OCT_LT_OP_T, CUBLAS_OP_T);
SAME(OCT_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(OCT_LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(OCT_LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(OCT_LT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(OCT_LT_DESC_BIAS_TYPE, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
SAME(OCT_LT_LAYOUT_COLS, CUBLASLT_MATRIX_LAYOUT_COLS);
SAME(OCT_LT_LAYOUT_LD, CUBLASLT_MATRIX_LAYOUT_LD);
SAME(OCT_LT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(OCT_LT_PREF_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(OCT_LT_PREF_ALIGN_A + 1, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(OCT_LT_PREF_ALIGN_A + 2, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(OCT_LT_PREF_ALIGN_A + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);

/* The prototypes: assigning the library's functions to our pointers, but for what the pointers
 * point to, which C compares strictly. */
#define COUNT_OF(field, symbol, parameters) +1
_Static_assert(OCT_LT_CALLS(COUNT_OF) == 13, "a call more: look at its prototype in cublasLt.h");

Test(cublaslt_abi, statuses_have_the_names_of_the_library)
{
#define NAME(s) \
    { \
        s, #s \
    }
    static const struct {
        cublasStatus_t code;
        const char *name;
    } names[] = {NAME(CUBLAS_STATUS_SUCCESS),          NAME(CUBLAS_STATUS_NOT_INITIALIZED),
                 NAME(CUBLAS_STATUS_ALLOC_FAILED),     NAME(CUBLAS_STATUS_INVALID_VALUE),
                 NAME(CUBLAS_STATUS_ARCH_MISMATCH),    NAME(CUBLAS_STATUS_MAPPING_ERROR),
                 NAME(CUBLAS_STATUS_EXECUTION_FAILED), NAME(CUBLAS_STATUS_INTERNAL_ERROR),
                 NAME(CUBLAS_STATUS_NOT_SUPPORTED),    NAME(CUBLAS_STATUS_LICENSE_ERROR)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_assert_str_eq(oct_lt_status_name((oct_lt_status)names[i].code), names[i].name);
    }
    cr_assert_str_eq(oct_lt_status_name(12345), "an unknown status");
}

Test(cublaslt_abi, a_library_that_is_not_there_or_is_another_is_one_sentence)
{
    static const char *const absent[] = {"libcublasLt-absent.so.1", "libcublasLt-absent.so.2"};
    static const char *const other[] = {"libcublasLt-absent.so.1", "libm.so.6"};
    struct oct_lt lt;
    memset(&lt, 0xa5, sizeof lt);
    const struct oct_lt before = lt;
    cr_assert_eq(oct_lt_load(absent, 2, &lt), OCT_E_UNSUPPORTED);
    cr_assert(strstr(oct_last_error(), "libcublasLt-absent.so.2") &&
                  strstr(oct_last_error(), "--gemm-provider octavo"),
              "%s", oct_last_error());
    cr_assert_eq(oct_lt_load(other, 2, &lt), OCT_E_UNSUPPORTED);
    cr_assert(strstr(oct_last_error(), "has no cublasLtCreate"), "%s", oct_last_error());
    cr_assert_eq(memcmp(&lt, &before, sizeof lt), 0);
}
