// SPDX-License-Identifier: Apache-2.0
//
// attn_prefill.cu - attention of sequences with several rows in a step (attn_prefill.cuh).
#include "attn_prefill.cuh"

K_PREFILL(attn_prefill, d64, false)
K_PREFILL(attn_prefill, d96, false)
K_PREFILL(attn_prefill, d128, false)
K_PREFILL(attn_prefill, d256, false)
