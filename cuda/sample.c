/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

/* How a row is cut: long stretches when there are rows enough to keep every multiprocessor busy
 * with several blocks, shorter ones otherwise. No bit depends on it. */
static int32_t stretch_of(const struct k_facts *f, int32_t n_rows, int32_t vocab)
{
    const int64_t wanted = 4 * (int64_t)f->n_sms;
    int32_t stretch = K_SAMPLE_MAX_STRETCH;
    while (stretch > 2048 && (int64_t)n_rows * ((vocab + stretch - 1) / stretch) < wanted &&
           (vocab + stretch / 2 - 1) / (stretch / 2) <= K_SAMPLE_MAX_STRETCHES) {
        stretch /= 2;
    }
    return stretch;
}

static uint64_t up256(uint64_t bytes)
{
    return (bytes + 255) & ~(uint64_t)255;
}

/* Lays the workspace out from p->tickets on; returns its bytes past the tickets. */
static uint64_t lay_out(struct k_sample_kernel_args *p, k_ptr base)
{
    const uint64_t rows = (uint64_t)p->a.n_rows, stretches = rows * (uint64_t)p->n_stretches;
    uint64_t at = K_WORK_TICKET_BYTES;
    p->tickets = base;
    p->parts = base + at;
    at += up256(stretches * sizeof(struct k_sample_part));
    p->raw_sums = base + at;
    at += up256(stretches * sizeof(uint64_t));
    p->sums = base + at;
    at += up256(stretches * sizeof(uint64_t));
    p->tops = base + at;
    at += up256(stretches * K_SAMPLE_MAX_TOP * sizeof(uint64_t));
    p->segments = base + at;
    at += up256(rows * (uint64_t)p->n_segments * sizeof(uint64_t));
    p->buckets = base + at;
    at += up256(rows * sizeof(struct k_sample_buckets));
    p->candidates = base + at;
    at += up256(rows * K_SAMPLE_MAX_CANDIDATES * sizeof(uint64_t));
    return at - K_WORK_TICKET_BYTES;
}

static struct k_sample_kernel_args cut(const struct k_facts *f, const struct k_sample_args *a)
{
    struct k_sample_kernel_args p = {.a = *a};
    p.stretch = stretch_of(f, a->n_rows, a->vocab);
    p.n_stretches = (a->vocab + p.stretch - 1) / p.stretch;
    p.n_segments = (a->vocab + K_SAMPLE_SEGMENT - 1) / K_SAMPLE_SEGMENT;
    return p;
}

int k_plan_sample(const struct k_facts *f, const struct k_work *w, const struct k_sample_args *a,
                  struct k_launch out[K_MAX_LAUNCHES])
{
    struct k_sample_kernel_args p = cut(f, a);
    if (a->vocab > K_SAMPLE_MAX_VOCAB || (uint64_t)a->n_rows * 4 > K_WORK_TICKET_BYTES ||
        K_WORK_TICKET_BYTES + lay_out(&p, w->base) > w->bytes) {
        return 0;
    }
    static const int32_t kernels[] = {K_KERNEL_sample_max_f32, K_KERNEL_sample_sum_f32,
                                      K_KERNEL_sample_pick_f32};
    const uint64_t rows = (uint64_t)a->n_rows, logits = rows * (uint64_t)a->vocab * 4;
    for (int i = 0; i < 3; i++) {
        out[i] = (struct k_launch){
            .kernel = kernels[i],
            .grid = {(uint32_t)p.n_stretches, (uint32_t)a->n_rows, 1},
            .block = {K_SAMPLE_THREADS, 1, 1},
            .smem_bytes = (uint32_t)p.stretch * 4,
            .pdl = 1,
            .cost = {.read_bytes = rows * sizeof(struct k_sample_row)},
        };
        K_LAUNCH_ARGS(&out[i], p);
    }
    /* Counted in machine code, of a token: 8 for maxima, 23 for a weight (35 with its bucket, which
     * only rows with top-k or top-p need; these are also read a third time). */
    out[0].cost.read_bytes += logits;
    out[0].cost.warp_instructions = logits / 4 / 32 * 8;
    out[1].cost.read_bytes += logits;
    out[1].cost.warp_instructions = logits / 4 / 32 * 23;
    if (out[2].smem_bytes < K_SAMPLE_NEAR_LIST * 8) {
        out[2].smem_bytes = K_SAMPLE_NEAR_LIST * 8;
    }
    out[2].cost.write_bytes = rows * sizeof(struct k_sample_out);
    return 3;
}

uint64_t k_sample_work_bytes(const struct k_facts *f, const struct k_limits *l)
{
    uint64_t most = 0;
    for (int32_t rows = 1; rows <= l->max_seqs; rows++) {
        struct k_sample_kernel_args p =
            cut(f, &(struct k_sample_args){.n_rows = rows, .vocab = l->vocab});
        const uint64_t bytes = lay_out(&p, 0);
        most = bytes > most ? bytes : most;
    }
    return most;
}
