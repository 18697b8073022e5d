/* SPDX-License-Identifier: Apache-2.0
 *
 * act.h - contract of the gated activation (SwiGLU, Shazeer, arXiv:2002.05202).
 *
 *   out[t, f] = store( store(silu(in[t, f])) * in[t, F + f] ),  silu(x) = x / (1 + exp(-x))
 *
 *   in      [T, 2F] dtype: the gate half, then the up half; row stride 2F
 *   out     [T, F] dtype, row stride F; not in
 *   T, F >= 1
 *
 * Numerics  fp32 inside; silu is rounded to dtype before the product, as the Llama family does it.
 * Cost      memory bound: 3 * T * F elements.
 * Kernels   act.cu: bf16, F a multiple of 8. act.cuh: silu, for the matrix products that end in it.
 * Oracle    csrc/cpu/act.c.   Test: tests/cpu/test_act.c, tests/cuda/test_cuda_act.c */
#ifndef K_ACT_H
#define K_ACT_H

#include "types.h"

struct k_silu_mul_args {
    k_ptr out, in;
    int32_t rows, dim; /* T, F */
    int32_t dtype;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_silu_mul_args) == 32, "same layout in C and CUDA");

#endif
