/* SPDX-License-Identifier: Apache-2.0
 *
 * sample.h - contract of sampling: from a row of logits to a token and its logprobs.
 *
 * For each row b, with l = logits[b, 0..vocab-1] in fp32 and r = rows[b]:
 *   0. if any l is NaN or +inf, here or after 6, or all are -inf after 6:
 *      token = K_SAMPLE_NOT_A_NUMBER, nothing else is written
 *   1. reported logprobs: log_softmax(l) of the raw logits, before anything below
 *   2. bias:         l[t] += v                      for each (t, v) of bias, tokens distinct
 *   3. bitmask:      l[t] = -inf                    where bit t (word t/32, bit t%32) is 0
 *   4. banned:       l[t] = -inf                    for each t of banned (stop tokens below
 *                                                   min_tokens)
 *   5. repetition:   l[t] = l[t] > 0 ? l[t]/p : l[t]*p   for each t of counts (p = repetition)
 *   6. frequency, presence:  l[t] -= frequency*n + presence*(n > 0), n = times t was generated
 *   7. given (then temperature is 0): token = given - 1, which only asks for the logprobs of a row
 *      whose next token is known. Else temperature 0: token = argmax, lowest index among equals.
 *      Otherwise each token weighs w[t] = exp((l[t] - max l) / temperature), rounded to a multiple
 *      of 2^-34
 *   8. top_k: keep the k largest l (equals at the border: lowest index first); 0: all
 *   9. top_p: walk what is kept from the largest l down (equals: lowest index first) and keep until
 *      the sum of w reaches top_p times the weight of what 8 kept; at least one; 1: all
 *  10. min_p: drop what has w < min_p (the largest w is 1); 0: none
 *  11. token = the first of the kept, in ascending index, whose running sum of w exceeds u times
 *      the weight of the kept. u = (x >> 12) * 2^-52 with x the first two words, low word first, of
 *      Philox4x32-10 with key seed and counter (step, 0)
 *
 * The order of 8-10 and the raw logprobs are those of vLLM's sampler documentation, but min_p comes
 * last, so that it prunes what top_p left.
 *
 *   logits  [B, vocab] fp32, row stride logits_stride; may be overwritten
 *   rows    [B] struct k_sample_row; its lists live in the same memory space, each
 *           from a multiple of 16 bytes on (kernels)
 *   out     [B] struct k_sample_out
 *   top     [B, max_top] struct k_sample_top: the n_top most likely tokens by 1., largest first,
 *           equals by lowest index; token -1 and logprob -inf in those past vocab; may be 0 if
 *           no row asks
 *
 * Numerics  a row's result depends on its logits and parameters alone. A weight has at most 34
 *           bits after the point, so up to 2^19 of them add up in fp64 exactly, in any order: no
 *           tree to agree on. What the rounding leaves out is below vocab * 2^-35 of the weight of
 *           the largest (1.5e-6 for 49,152 tokens). Logprobs are made of the same weights at
 *           temperature 1.
 * Cost      memory bound: a few passes over B * vocab fp32.
 * Kernels   sample.cu, sample_pick.cu: the same integers, so the same tokens and logprobs as the
 *           oracle on a machine with FMA; the logits stay as they are.
 * Oracle    csrc/cpu/sample.c.   Test: tests/cpu/test_sample.c, tests/cuda/test_cuda_sample.c */
#ifndef K_SAMPLE_H
#define K_SAMPLE_H

#include "types.h"

enum { K_SAMPLE_NOT_A_NUMBER = -1, K_SAMPLE_MAX_TOP = 20 };

struct k_sample_count {
    int32_t token;
    int32_t n_output; /* times generated; 0: it stands in the prompt only */
};

struct k_sample_bias {
    int32_t token;
    float value;
};

struct k_sample_row {
    k_ptr counts;  /* [n_counts] struct k_sample_count: every distinct token of prompt and output */
    k_ptr bias;    /* [n_bias] struct k_sample_bias */
    k_ptr banned;  /* [n_banned] int32 */
    k_ptr bitmask; /* [(vocab + 31) / 32] uint32; 0: every token allowed */
    uint64_t seed;
    uint64_t step; /* tokens generated so far by this request */
    int32_t n_counts, n_bias, n_banned;
    int32_t n_top; /* 0..K_SAMPLE_MAX_TOP; -1: not even the chosen token's logprob */
    float temperature, top_p, min_p;
    float repetition, frequency, presence;
    int32_t top_k;
    int32_t given; /* 0, or one more than a token below vocab */
};
K_STATIC_ASSERT(sizeof(struct k_sample_row) == 96, "same layout in C and CUDA");

struct k_sample_out {
    int32_t token;
    float logprob; /* of the token, by 1.; 0 if n_top is -1 */
};

struct k_sample_top {
    int32_t token;
    float logprob;
};

struct k_sample_args {
    k_ptr out, top, logits, rows;
    int64_t logits_stride;
    int32_t n_rows, vocab; /* B; vocab: rows of the tokenizer, at most logits_stride */
    int32_t max_top;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_sample_args) == 56, "same layout in C and CUDA");

#endif
