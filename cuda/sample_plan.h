/* SPDX-License-Identifier: Apache-2.0
 *
 * sample_plan.h - kernels and plan of sampling.
 *
 * Three launches, each of one block a stretch of a row's vocabulary:
 *   sample_max   the maximum and NaN, of the raw and of the edited logits
 *   sample_sum   the weight of each segment, or of each bucket where top-k or top-p ask for one
 *   sample_pick  the border of top-k and top-p, the draw, the logprobs
 * What they leave for each other lies in the workspace; sums are integers, so that it does not
 * matter how a row is cut. */
#ifndef K_SAMPLE_PLAN_H
#define K_SAMPLE_PLAN_H

#include "launch.h"
#include "sample.h"

enum {
    K_SAMPLE_THREADS = 256,
    K_SAMPLE_SEGMENT = 512, /* tokens of one partial sum */
    K_SAMPLE_MAX_STRETCHES = 128,
    K_SAMPLE_MAX_STRETCH = 8192,    /* tokens: they lie in shared memory */
    K_SAMPLE_MAX_VOCAB = 1 << 19,   /* sums stay below 2^53 */
    K_SAMPLE_BUCKETS = 128,         /* of a row, by weight */
    K_SAMPLE_MAX_CANDIDATES = 8192, /* of a row: tokens in the buckets of the border */
    K_SAMPLE_NEAR_LIST = 2048       /* of them: in shared memory at a time, at least */
};

/* What sample_max says of a stretch. */
struct k_sample_part {
    uint64_t best;           /* of the edited logits: order of the float, then ~index */
    uint32_t raw_max, least; /* order of the largest raw and of the lowest edited logit over -inf;
                              * least 0: a NaN or +inf, before or after the edits */
};
K_STATIC_ASSERT(sizeof(struct k_sample_part) == 16, "read by 16 bytes");

/* Of a row; sample_max clears it. */
struct k_sample_buckets {
    uint64_t sum[K_SAMPLE_BUCKETS]; /* tokens << 40 | their weight, nearly (sample.cuh) */
    /* By sample_pick: */
    uint64_t above_k, above_first; /* weight of the buckets above those of the borders */
    uint32_t n_candidates;
    uint32_t pad_[3];
};
K_STATIC_ASSERT(sizeof(struct k_sample_buckets) == 1056, "whole sectors of 32 bytes");

struct k_sample_kernel_args {
    struct k_sample_args a;
    k_ptr tickets;    /* [B] uint32 */
    k_ptr parts;      /* [B, S] struct k_sample_part, S = n_stretches */
    k_ptr raw_sums;   /* [B, S] uint64: weight of the raw logits at temperature 1, times 2^34 */
    k_ptr sums;       /* [B, S] uint64: weight of all that is drawn from, of rows with a border */
    k_ptr tops;       /* [B, S, n_top] uint64: the most likely of a stretch, as best; a row's begin
                       * at b * S * K_SAMPLE_MAX_TOP */
    k_ptr segments;   /* [B, n_segments] uint64: weight of what is kept, times 2^34 */
    k_ptr buckets;    /* [B] struct k_sample_buckets */
    k_ptr candidates; /* [B, K_SAMPLE_MAX_CANDIDATES] uint64, as best */
    int32_t stretch, n_stretches, n_segments, pad_;
};
K_STATIC_ASSERT(sizeof(struct k_sample_kernel_args) == 136, "same layout in C and CUDA");

#define K_SAMPLE_MODULES(X) X(sample) X(sample_pick)
#define K_SAMPLE_KERNELS(X) \
    X(sample, sample_max_f32, struct k_sample_kernel_args) \
    X(sample, sample_sum_f32, struct k_sample_kernel_args) \
    X(sample_pick, sample_pick_f32, struct k_sample_kernel_args)

int k_plan_sample(const struct k_facts *f, const struct k_work *w, const struct k_sample_args *a,
                  struct k_launch out[K_MAX_LAUNCHES]);
/* Bytes of workspace past the tickets. */
uint64_t k_sample_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
