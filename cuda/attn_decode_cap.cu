// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_cap.cu - attention of sequences with one row in a step, soft cap.
#include "attn_decode.cuh"

K_DECODE(attn_decode_cap, d64, true, false)
K_DECODE(attn_decode_cap, d96, true, false)
K_DECODE(attn_decode_cap, d128, true, false)
K_DECODE(attn_decode_cap, d256, true, false)
