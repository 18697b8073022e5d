// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_rope.cu - rope.h and attn.h of steps without a sequence of several rows, at once.
#include "attn_decode.cuh"

K_DECODE(attn_decode_rope, d64, false, true)
K_DECODE(attn_decode_rope, d96, false, true)
K_DECODE(attn_decode_rope, d128, false, true)
K_DECODE(attn_decode_rope, d256, false, true)
