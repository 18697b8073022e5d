/* SPDX-License-Identifier: Apache-2.0
 *
 * attn.c - plans of attention: which instance, how many blocks, what it must cost.
 *
 * Costs of a plan are those of its bounds: every sequence of the step at max_keys.
 * k_attn_true_cost() is told more. */
#include "kernels.h"

#include <math.h>

enum { D64, D96, D128, D256, N_SIZES };
enum { TICKETS = K_WORK_TICKET_BYTES / 4, MOST_PARTIAL_BYTES = 32 << 20, DECODE_HEADS = 16 };

/* As in attn_prefill.cuh and attn_decode.cuh. */
struct instance {
    int32_t dim;
    int32_t prefill, prefill_cap, decode, decode_cap, decode_rope;
    int32_t prefill_warps, prefill_smem;
    int32_t decode_smem;
    int32_t decode_blocks_80, decode_blocks_90; /* on one SM */
};
#define KERNELS(d) \
    d, K_KERNEL_attn_prefill_bf16_d##d, K_KERNEL_attn_prefill_cap_bf16_d##d, \
        K_KERNEL_attn_decode_bf16_d##d, K_KERNEL_attn_decode_cap_bf16_d##d, \
        K_KERNEL_attn_decode_rope_bf16_d##d
static const struct instance instances[N_SIZES] = {
    [D64] = {KERNELS(64), 8, K_ATTN_PREFILL_SMEM_D64, K_ATTN_DECODE_SMEM_D64, 2, 2},
    [D96] = {KERNELS(96), 8, K_ATTN_PREFILL_SMEM_D96, K_ATTN_DECODE_SMEM_D96, 2, 2},
    [D128] = {KERNELS(128), 8, K_ATTN_PREFILL_SMEM_D128, K_ATTN_DECODE_SMEM_D128, 2, 2},
    [D256] = {KERNELS(256), 4, K_ATTN_PREFILL_SMEM_D256, K_ATTN_DECODE_SMEM_D256, 1, 1},
};

static const struct instance *instance_of(const struct k_attn_args *a)
{
    const struct k_paging *kv = &a->kv;
    if (kv->dtype != K_BF16 || kv->head_dim < 1 || kv->n_kv_heads < 1 ||
        a->n_heads % kv->n_kv_heads != 0 || !(a->scale > 0)) {
        return NULL;
    }
    for (int i = 0; i < N_SIZES; i++) {
        if (kv->head_dim <= instances[i].dim) {
            return &instances[i];
        }
    }
    return NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Factors of k_attn_score() and k_attn_weight(). */
static void factors(const struct k_attn_args *a, float *c, float *cap_in)
{
    const float log2e = 1.4426950408889634f;
    *c = (a->softcap > 0 ? a->softcap : a->scale) * log2e;
    *cap_in = a->softcap > 0 ? a->scale / a->softcap * 2 * log2e : 0;
}

/* Keys that any row of a span sees. */
static uint64_t keys_of(const struct k_attn_args *a, struct k_attn_span s)
{
    const uint64_t reach = (uint64_t)s.n_keys;
    return a->window > 0 ? least(reach, (uint64_t)a->window + (uint64_t)s.n_rows - 1) : reach;
}

/* (row, key) pairs of a span. */
static uint64_t pairs_of(const struct k_attn_args *a, struct k_attn_span s)
{
    uint64_t pairs = 0;
    for (int32_t i = 0; i < s.n_rows; i++) {
        const int32_t keys = s.n_keys - i > 1 ? s.n_keys - i : 1;
        pairs += (uint64_t)(a->window > 0 && keys > a->window ? a->window : keys);
    }
    return pairs;
}

static struct k_cost cost_of_sums(const struct k_attn_args *a, uint64_t n_seqs, uint64_t rows,
                                  uint64_t keys, uint64_t pairs)
{
    const uint64_t width = 2 * (uint64_t)a->n_heads * (uint64_t)a->kv.head_dim;
    const uint64_t key = 4 * (uint64_t)a->kv.n_kv_heads * (uint64_t)a->kv.head_dim;
    return (struct k_cost){
        .read_bytes = rows * (width + 4) + n_seqs * sizeof(struct k_seq) + keys * key,
        .write_bytes = rows * width,
        .flops = 2 * width * pairs,
    };
}

static struct k_cost cost_of(const struct k_attn_args *a, int32_t n_seqs, int32_t rows,
                             int32_t rows_of_one)
{
    const struct k_attn_span s = {rows_of_one, a->max_keys};
    const uint64_t n = (uint64_t)n_seqs;
    return cost_of_sums(a, n, (uint64_t)rows, n * keys_of(a, s), n * pairs_of(a, s));
}

static struct k_cost prefill_bound(const struct k_attn_args *a)
{
    const int32_t of_one = a->max_rows < a->rows ? a->max_rows : a->rows;
    return cost_of(a, of_one > 0 ? (a->rows + of_one - 1) / of_one : 1, a->rows, of_one);
}

static struct k_cost decode_bound(const struct k_attn_args *a)
{
    return cost_of(a, a->n_seqs < a->rows ? a->n_seqs : a->rows, a->rows, 1);
}

/* Of the sequences with so many rows. */
static struct k_cost spans_cost(const struct k_attn_args *a, const struct k_attn_span *spans,
                                int32_t min_rows, int32_t max_rows)
{
    uint64_t rows = 0, keys = 0, pairs = 0;
    for (int32_t i = 0; i < a->n_seqs; i++) {
        if (spans[i].n_rows >= min_rows && spans[i].n_rows <= max_rows) {
            rows += (uint64_t)spans[i].n_rows;
            keys += keys_of(a, spans[i]);
            pairs += pairs_of(a, spans[i]);
        }
    }
    return cost_of_sums(a, (uint64_t)a->n_seqs, rows, keys, pairs);
}

void k_attn_true_cost(const struct k_attn_args *a, const struct k_attn_span *spans,
                      struct k_launch *launches, int n)
{
    const struct instance *in = instance_of(a);
    for (int i = 0; in && i < n; i++) {
        struct k_launch *l = &launches[i];
        struct k_cost bound, truth;
        if (l->kernel == in->prefill || l->kernel == in->prefill_cap) {
            struct k_attn_prefill_args p;
            memcpy(&p, l->args, sizeof p);
            bound = prefill_bound(a);
            truth = spans_cost(a, spans, p.min_rows, INT32_MAX);
        } else if (l->kernel == in->decode || l->kernel == in->decode_cap ||
                   l->kernel == in->decode_rope) {
            bound = decode_bound(a);
            truth = spans_cost(a, spans, 1, 1);
        } else {
            continue; /* rope_kv: nothing of it depends on lengths */
        }
        l->cost.read_bytes += truth.read_bytes - bound.read_bytes;
        l->cost.write_bytes += truth.write_bytes - bound.write_bytes;
        l->cost.flops += truth.flops - bound.flops;
    }
}

static int plan_prefill(const struct instance *in, const struct k_attn_args *a, int32_t min_rows,
                        struct k_launch *out)
{
    const int64_t lines = 16 * in->prefill_warps, per_key = a->n_heads / a->kv.n_kv_heads;
    /* No more blocks than lines for each sequence that has any, and one not full for each. */
    const int64_t most = a->rows / min_rows, seqs = a->n_seqs < most ? a->n_seqs : most;
    const int64_t blocks = (a->rows * per_key + seqs * (lines - 1)) / lines;
    struct k_attn_prefill_args p = {.a = *a, .min_rows = min_rows};
    if (blocks < 1) {
        return 0;
    }
    factors(a, &p.c, &p.cap_in);
    *out = (struct k_launch){
        .kernel = a->softcap > 0 ? in->prefill_cap : in->prefill,
        .grid = {(uint32_t)blocks, (uint32_t)a->kv.n_kv_heads, 1},
        .block = {32 * (uint32_t)in->prefill_warps, 1, 1},
        .smem_bytes = (uint32_t)in->prefill_smem,
        .pdl = 1,
        .cost = prefill_bound(a),
    };
    K_LAUNCH_ARGS(out, p);
    return 1;
}

static int64_t units_of_sequence(int32_t n_heads, int32_t n_kv_heads)
{
    const int64_t per_key = n_heads / n_kv_heads;
    return n_kv_heads * ((per_key + DECODE_HEADS - 1) / DECODE_HEADS);
}

/* Bytes that one item leaves for the merge. */
static uint64_t item_bytes(const struct instance *in, int32_t n_heads, int32_t n_kv_heads)
{
    const uint64_t lines = least((uint64_t)(n_heads / n_kv_heads), DECODE_HEADS);
    return lines * (uint64_t)(in->dim + 2) * 4;
}

static uint64_t items_of(const struct instance *in, int64_t n_seqs, int32_t n_heads,
                         int32_t n_kv_heads, int32_t max_keys)
{
    const uint64_t splits = (uint64_t)((max_keys + K_ATTN_SPLIT_TOKENS - 1) / K_ATTN_SPLIT_TOKENS);
    return least((uint64_t)n_seqs * (uint64_t)units_of_sequence(n_heads, n_kv_heads) * splits,
                 MOST_PARTIAL_BYTES / item_bytes(in, n_heads, n_kv_heads));
}

static void plan_decode(const struct k_facts *f, const struct k_work *w, const struct instance *in,
                        const struct k_attn_args *a, const struct k_rope_kv_args *rope,
                        struct k_launch *out)
{
    const int32_t g = a->kv.n_kv_heads;
    const int64_t units = a->n_seqs * units_of_sequence(a->n_heads, g);
    const int64_t on_sm = f->sm >= 90 ? in->decode_blocks_90 : in->decode_blocks_80;
    /* A window reaches over one split more than it fills. */
    int64_t splits = (a->max_keys + K_ATTN_SPLIT_TOKENS - 1) / K_ATTN_SPLIT_TOKENS;
    const int64_t in_window = a->window / K_ATTN_SPLIT_TOKENS + 2;
    splits = a->window > 0 && splits > in_window ? in_window : splits;
    const uint64_t blocks = least((uint64_t)(units * splits), (uint64_t)(on_sm * f->n_sms));
    struct k_attn_decode_args p = {
        .a = *a,
        .tickets = w->base,
        .partials = w->base + K_WORK_TICKET_BYTES,
    };
    factors(a, &p.c, &p.cap_in);
    /* No ticket or no room: no unit is cut. */
    if (w->bytes > K_WORK_TICKET_BYTES && units <= TICKETS) {
        p.max_items = (int32_t)least(
            (w->bytes - K_WORK_TICKET_BYTES) / item_bytes(in, a->n_heads, g), INT32_MAX);
    }
    *out = (struct k_launch){
        .kernel = a->softcap > 0 ? in->decode_cap : in->decode,
        .grid = {(uint32_t)(blocks > 0 ? blocks : 1), 1, 1},
        .block = {128, 1, 1},
        .smem_bytes = (uint32_t)in->decode_smem,
        .pdl = 1,
        .cost = decode_bound(a),
    };
    if (rope) {
        p.a.q = rope->qkv;
        p.a.q_stride = rope->qkv_stride;
        p.q_norm = rope->q_norm;
        p.k_norm = rope->k_norm;
        p.cos_sin = rope->cos_sin;
        p.rot_dim = rope->rot_dim;
        p.eps = rope->eps;
        out->kernel = in->decode_rope;
        /* The new keys and values come from qkv and go to the cache. */
        const uint64_t fresh = 4 * (uint64_t)a->rows * (uint64_t)g * (uint64_t)a->kv.head_dim;
        out->cost.read_bytes += 4 * (uint64_t)a->rows * (uint64_t)rope->rot_dim;
        out->cost.write_bytes += fresh;
    }
    K_LAUNCH_ARGS(out, p);
}

static int plan(const struct k_facts *f, const struct k_work *w, const struct k_attn_args *a,
                struct k_launch *out)
{
    const struct instance *in = instance_of(a);
    int n = 0;
    if (!in || a->rows < 1 || a->n_seqs < 1) {
        return 0;
    }
    if (a->max_rows <= 1) {
        plan_decode(f, w, in, a, NULL, &out[n++]);
    } else if (a->n_seqs == 1) {
        n += plan_prefill(in, a, 1, &out[n]);
    } else {
        plan_decode(f, w, in, a, NULL, &out[n++]);
        n += plan_prefill(in, a, 2, &out[n]);
    }
    return n;
}

int k_plan_attn(const struct k_facts *f, const struct k_work *w, const struct k_attn_args *a,
                struct k_launch out[K_MAX_LAUNCHES])
{
    return plan(f, w, a, out);
}

/* Heads that lie on 16 bytes and are rotated in eights: what attn_decode_rope takes. */
static bool is_wide(const struct k_rope_kv_args *r)
{
    return r->kv.head_dim % 8 == 0 && r->rot_dim % 16 == 0;
}

int k_plan_rope_attn(const struct k_facts *f, const struct k_work *w,
                     const struct k_rope_attn_args *a, struct k_launch out[K_MAX_LAUNCHES])
{
    const struct instance *in = instance_of(&a->attn);
    if (!in || a->attn.rows < 1 || a->attn.n_seqs < 1) {
        return 0;
    }
    if (a->attn.max_rows <= 1 && !(a->attn.softcap > 0) && is_wide(&a->rope)) {
        plan_decode(f, w, in, &a->attn, &a->rope, &out[0]);
        return 1;
    }
    const int n = k_plan_rope_kv(f, w, &a->rope, out);
    return n > 0 && n + 2 <= K_MAX_LAUNCHES ? n + plan(f, w, &a->attn, out + n) : 0;
}

uint64_t k_attn_work_bytes(const struct k_facts *f, const struct k_limits *l)
{
    (void)f;
    for (int i = 0; i < N_SIZES; i++) {
        if (l->head_dim <= instances[i].dim && l->n_kv_heads > 0) {
            return items_of(&instances[i], l->max_seqs, l->n_heads, l->n_kv_heads, l->max_keys) *
                   item_bytes(&instances[i], l->n_heads, l->n_kv_heads);
        }
    }
    return 0;
}
