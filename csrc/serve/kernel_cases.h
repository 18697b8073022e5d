/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_cases.h - the reference shapes of the kernels as ops with arguments, and what they must at
 * least move and compute. One attention shape everywhere: 32 query and 8 key/value heads of 128. */
#ifndef OCT_SERVE_KERNEL_CASES_H
#define OCT_SERVE_KERNEL_CASES_H

#include "base/status.h"
#include "ops.h"

enum oct_case_kind {
    OCT_CASE_ATTN, /* a chunk of `rows` tokens of each of n_seqs sequences of `keys` tokens */
    OCT_CASE_GEMM, /* [rows, k] by [n, k] */
    OCT_CASE_NORM, /* with a residual */
    OCT_CASE_SILU,
    OCT_CASE_ROPE,
    OCT_CASE_SAMPLE,
    OCT_CASE_LAYER, /* a decode layer of an 8B model: k wide, n feed-forward; n_seqs rows */
};
struct oct_kernel_case {
    const char *name;
    enum oct_case_kind kind;
    int32_t rows, n, k;
    int32_t n_seqs, keys, window;
    int32_t least_keys; /* 0: all sequences have `keys`; else from so many to `keys`, evenly */
};
enum { OCT_CASE_MAX_SEQS = 64 };
/* Tokens of a sequence. */
int32_t oct_case_keys(const struct oct_kernel_case *c, int64_t seq);
/* Rows of each sequence in the step. */
int32_t oct_case_rows_each(const struct oct_kernel_case *c);
extern const struct oct_kernel_case oct_kernel_cases[];
extern const int oct_n_kernel_cases;

/* Where the buffers of a case come from: a device, or nowhere (addresses are enough for a plan). */
struct oct_case_memory {
    void *owner;
    oct_status (*put)(void *owner, const void *host, size_t bytes, k_ptr *out); /* host NULL: any
                                                                                   numbers */
    oct_status (*matrix)(void *owner, int32_t n, int32_t k, bool gate_up, k_ptr *out);
};

struct oct_case_op {
    enum k_op op;
    union {
#define OCT_CASE_MEMBER(name, type) type name;
        K_OPS(OCT_CASE_MEMBER)
#undef OCT_CASE_MEMBER
    } args;
    double bytes, flops; /* at least */
};
enum { OCT_CASE_MAX_OPS = 8 };
struct oct_case_ops {
    struct oct_case_op op[OCT_CASE_MAX_OPS];
    int n;
};
/* OCT_E_NOMEM, or what the memory answers. */
OCT_CHECKED oct_status oct_kernel_case_make(const struct oct_kernel_case *c,
                                            const struct oct_case_memory *m,
                                            struct oct_case_ops *out);

/* Memory that is nowhere, for plans. */
extern const struct oct_case_memory oct_case_nowhere;

#endif
