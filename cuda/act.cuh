// SPDX-License-Identifier: Apache-2.0
//
// act.cuh - SiLU (act.h) on the device: one function, so that it has the same bits alone and as
// the end of a matrix product.
#ifndef K_ACT_CUH
#define K_ACT_CUH

#include "ptx.cuh"

// x / (1 + exp(-x)). Relatively within 2^-20 of it: the exponent x log2(e) is off by at most 2^-24
// of its up to 128, the two approximations by 2^-22 each. Where exp overflows the result is -0, as
// it should be when rounded to bf16 (x < -88).
K_DEV float k_silu(float x)
{
    float r;
    const float d = 1.0f + k_exp2(x * -1.44269504f);
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(d));
    return x * r;
}

// What act.h makes of a gate and an up that were rounded to bf16; to be rounded by the caller.
K_DEV float k_silu_mul(float gate, float up)
{
    return k_bf16_round(k_silu(gate)) * up;
}

#endif
