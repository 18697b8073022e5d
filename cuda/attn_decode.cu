// SPDX-License-Identifier: Apache-2.0
//
// attn_decode.cu - attention of sequences with one row in a step (attn_decode.cuh).
#include "attn_decode.cuh"

K_DECODE(attn_decode, d64, false, false)
K_DECODE(attn_decode, d96, false, false)
K_DECODE(attn_decode, d128, false, false)
K_DECODE(attn_decode, d256, false, false)
