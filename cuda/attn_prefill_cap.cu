// SPDX-License-Identifier: Apache-2.0
//
// attn_prefill_cap.cu - attention of sequences with several rows in a step (attn_prefill.cuh), soft
// cap.
#include "attn_prefill.cuh"

K_PREFILL(attn_prefill_cap, d64, true)
K_PREFILL(attn_prefill_cap, d96, true)
K_PREFILL(attn_prefill_cap, d128, true)
K_PREFILL(attn_prefill_cap, d256, true)
