/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/kernel_cases.h"

#include "base/mem.h"

enum { HEADS = 32, KV_HEADS = 8, DIM = 128, QKV = (HEADS + 2 * KV_HEADS) * DIM };

const struct oct_kernel_case oct_kernel_cases[] = {
    {"prefill 8k", OCT_CASE_ATTN, .rows = 8192, .n_seqs = 1, .keys = 8192},
    {"prefill 32k, window 4096", OCT_CASE_ATTN, .rows = 32768, .n_seqs = 1, .keys = 32768,
     .window = 4096},
    {"prefill 32k, window 128", OCT_CASE_ATTN, .rows = 32768, .n_seqs = 1, .keys = 32768,
     .window = 128},
    {"decode 1 x 8k", OCT_CASE_ATTN, .rows = 1, .n_seqs = 1, .keys = 8192},
    {"decode 64 x 4k", OCT_CASE_ATTN, .rows = 1, .n_seqs = 64, .keys = 4096},
    {"decode 64 x 512 to 8k", OCT_CASE_ATTN, .rows = 1, .n_seqs = 64, .keys = 8192,
     .least_keys = 512},
    {"gemm 1 x 4096 x 4096", OCT_CASE_GEMM, .rows = 1, .n = 4096, .k = 4096},
    {"gemm 16 x 4096 x 4096", OCT_CASE_GEMM, .rows = 16, .n = 4096, .k = 4096},
    {"gemm 64 x 4096 x 4096", OCT_CASE_GEMM, .rows = 64, .n = 4096, .k = 4096},
    {"gemm 4096 x 4096 x 4096", OCT_CASE_GEMM, .rows = 4096, .n = 4096, .k = 4096},
    {"gemm 1 x 28672 x 4096", OCT_CASE_GEMM, .rows = 1, .n = 28672, .k = 4096},
    {"gemm 16 x 28672 x 4096", OCT_CASE_GEMM, .rows = 16, .n = 28672, .k = 4096},
    {"gemm 64 x 28672 x 4096", OCT_CASE_GEMM, .rows = 64, .n = 28672, .k = 4096},
    {"gemm 4096 x 28672 x 4096", OCT_CASE_GEMM, .rows = 4096, .n = 28672, .k = 4096},
    {"rmsnorm 8192 x 4096", OCT_CASE_NORM, .rows = 8192, .k = 4096},
    {"rmsnorm 64 x 4096", OCT_CASE_NORM, .rows = 64, .k = 4096},
    {"silu_mul 8192 x 14336", OCT_CASE_SILU, .rows = 8192, .n = 14336},
    {"rope_kv 8192", OCT_CASE_ROPE, .rows = 8192, .n_seqs = 1, .keys = 8192},
    {"rope_kv 1", OCT_CASE_ROPE, .rows = 1, .n_seqs = 1, .keys = 8192},
    {"sample 64 x 151936", OCT_CASE_SAMPLE, .rows = 64, .n = 151936},
    {"sample 64 x 131072", OCT_CASE_SAMPLE, .rows = 64, .n = 131072},
    {"sample 1 x 131072", OCT_CASE_SAMPLE, .rows = 1, .n = 131072},
    {"decode layer 1 x 8k", OCT_CASE_LAYER, .n_seqs = 1, .keys = 8192, .n = 14336, .k = 4096},
    {"decode layer 64 x 4k", OCT_CASE_LAYER, .n_seqs = 64, .keys = 4096, .n = 14336, .k = 4096},
};
const int oct_n_kernel_cases = sizeof oct_kernel_cases / sizeof *oct_kernel_cases;

/* ---- memory that is nowhere ---- */

static oct_status put_nowhere(void *owner, const void *host, size_t bytes, k_ptr *out)
{
    (void)owner, (void)host, (void)bytes;
    *out = (k_ptr)1 << 40; /* aligned, and not 0: that would mean absent */
    return OCT_OK;
}

static oct_status matrix_nowhere(void *owner, int32_t n, int32_t k, bool gate_up, k_ptr *out)
{
    (void)n, (void)k, (void)gate_up;
    return put_nowhere(owner, NULL, 0, out);
}

const struct oct_case_memory oct_case_nowhere = {.put = put_nowhere, .matrix = matrix_nowhere};

/* ---- ops ---- */

struct maker {
    const struct oct_kernel_case *c;
    const struct oct_case_memory *m;
    struct oct_case_ops *out;
};

static struct oct_case_op *add(const struct maker *k, enum k_op op, double bytes, double flops)
{
    OCT_ASSERT(k->out->n < OCT_CASE_MAX_OPS);
    struct oct_case_op *o = &k->out->op[k->out->n++];
    *o = (struct oct_case_op){.op = op, .bytes = bytes, .flops = flops};
    return o;
}

/* A buffer of elements of `width` bytes. */
static oct_status room(const struct maker *k, int64_t n, int64_t width, k_ptr *out)
{
    return k->m->put(k->m->owner, NULL, (size_t)(n * width), out);
}

static oct_status ints(const struct maker *k, int64_t n,
                       int32_t (*at)(const struct maker *, int64_t), k_ptr *out)
{
    int32_t *v = oct_calloc((size_t)n, sizeof *v);
    if (!v) {
        return oct_no_memory("a case's indices", (size_t)n * sizeof *v);
    }
    for (int64_t i = 0; i < n; i++) {
        v[i] = at(k, i);
    }
    const oct_status st = k->m->put(k->m->owner, v, (size_t)n * sizeof *v, out);
    oct_free(v);
    return st;
}

/* All of a prefill, one of a decode. */
int32_t oct_case_rows_each(const struct oct_kernel_case *c)
{
    return c->kind == OCT_CASE_LAYER ? 1 : c->rows;
}

int32_t oct_case_keys(const struct oct_kernel_case *c, int64_t seq)
{
    const int64_t least = c->least_keys ? c->least_keys : c->keys;
    return (int32_t)(c->n_seqs > 1 ? least + (c->keys - least) * seq / (c->n_seqs - 1) : c->keys);
}

static int32_t position_at(const struct maker *k, int64_t i)
{
    const int32_t each = oct_case_rows_each(k->c);
    return oct_case_keys(k->c, i / each) - each + (int32_t)(i % each);
}

static int32_t seq_at(const struct maker *k, int64_t i)
{
    return (int32_t)(i / oct_case_rows_each(k->c));
}

/* Pages of a sequence do not lie in order: by an odd stride through the pool. */
static int32_t page_at(const struct maker *k, int64_t i)
{
    const int64_t n = (int64_t)k->c->n_seqs * ((k->c->keys + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS);
    return (int32_t)(i * 7919 % n); /* 7919 is a prime past any n's factors here */
}

static int32_t seq_part(const struct maker *k, int64_t i)
{
    const int32_t each = oct_case_rows_each(k->c);
    return i % 2 ? each : (int32_t)(i / 2) * each;
}

struct cache {
    struct k_paging kv;
    k_ptr qkv, out, positions, row_seq, seqs, cos_sin;
    int32_t rows;
};

static oct_status make_cache(const struct maker *k, struct cache *h)
{
    const struct oct_kernel_case *c = k->c;
    const int32_t pages = (c->keys + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
    h->rows = c->n_seqs * oct_case_rows_each(c);
    h->kv = (struct k_paging){.page_stride = 2 * KV_HEADS * K_PAGE_TOKENS * DIM,
                              .table_stride = pages,
                              .n_kv_heads = KV_HEADS,
                              .head_dim = DIM,
                              .dtype = K_BF16};
    OCT_TRY(room(k, (int64_t)c->n_seqs * pages * h->kv.page_stride, 2, &h->kv.pool));
    OCT_TRY(ints(k, (int64_t)c->n_seqs * pages, page_at, &h->kv.page_table));
    OCT_TRY(ints(k, h->rows, position_at, &h->positions));
    OCT_TRY(ints(k, h->rows, seq_at, &h->row_seq));
    OCT_TRY(ints(k, 2 * (int64_t)c->n_seqs, seq_part, &h->seqs));
    OCT_TRY(room(k, (int64_t)h->rows * QKV, 2, &h->qkv));
    OCT_TRY(room(k, (int64_t)h->rows * HEADS * DIM, 2, &h->out));
    return room(k, (int64_t)c->keys * DIM, 4, &h->cos_sin);
}

static struct k_rope_kv_args rope_args(const struct maker *k, const struct cache *h)
{
    return (struct k_rope_kv_args){.qkv = h->qkv,
                                   .cos_sin = h->cos_sin,
                                   .positions = h->positions,
                                   .row_seq = h->row_seq,
                                   .kv = h->kv,
                                   .qkv_stride = QKV,
                                   .rows = h->rows,
                                   .n_heads = HEADS,
                                   .rot_dim = DIM,
                                   .max_positions = k->c->keys,
                                   .eps = 1e-5f};
}

static struct k_attn_args attn_args(const struct maker *k, const struct cache *h)
{
    return (struct k_attn_args){.out = h->out,
                                .q = h->qkv,
                                .positions = h->positions,
                                .row_seq = h->row_seq,
                                .seqs = h->seqs,
                                .kv = h->kv,
                                .q_stride = QKV,
                                .out_stride = HEADS * DIM,
                                .rows = h->rows,
                                .n_heads = HEADS,
                                .n_seqs = k->c->n_seqs,
                                .max_rows = oct_case_rows_each(k->c),
                                .max_keys = k->c->keys,
                                .window = k->c->window,
                                .scale = 0.08838834764831845f};
}

static double rope_bytes(const struct cache *h)
{
    return 2.0 * h->rows * QKV * 2;
}

/* Keys that rows see, each (row, key) pair counted; and keys that any row of a sequence sees. */
static double seen_pairs(const struct oct_kernel_case *c)
{
    double n = 0;
    for (int32_t seq = 0; seq < c->n_seqs; seq++) {
        const int32_t keys = oct_case_keys(c, seq);
        for (int32_t p = keys - oct_case_rows_each(c); p < keys; p++) {
            n += c->window > 0 && p + 1 > c->window ? c->window : p + 1;
        }
    }
    return n;
}

static double seen_keys(const struct oct_kernel_case *c)
{
    const double most = (double)c->window + oct_case_rows_each(c) - 1;
    double n = 0;
    for (int32_t seq = 0; seq < c->n_seqs; seq++) {
        const double keys = oct_case_keys(c, seq);
        n += c->window > 0 && most < keys ? most : keys;
    }
    return n;
}

static double attn_bytes(const struct oct_kernel_case *c, const struct cache *h)
{
    return seen_keys(c) * KV_HEADS * DIM * 2 * 2 + 2.0 * h->rows * HEADS * DIM * 2;
}

static double attn_flops(const struct oct_kernel_case *c)
{
    return 4.0 * HEADS * DIM * seen_pairs(c);
}

static oct_status add_gemm(const struct maker *k, int32_t m, int32_t n, int32_t depth, bool gate_up,
                           bool residual, k_ptr in, k_ptr *out)
{
    struct k_gemm_args g = {.in = in,
                            .out_stride = n,
                            .in_stride = depth,
                            .m = m,
                            .n = n,
                            .k = depth,
                            .dtype = K_BF16,
                            .out_dtype = K_BF16};
    OCT_TRY(k->m->matrix(k->m->owner, n, depth, gate_up, &g.weight));
    OCT_TRY(room(k, (int64_t)m * n, 2, &g.out));
    *out = g.out;
    g.residual = residual ? g.out : 0;
    const double written = gate_up ? n / 2 : n;
    const double bytes =
        2.0 * ((double)n * depth + (double)m * (depth + written + (residual ? n : 0)));
    const double flops = 2.0 * m * n * depth;
    if (!gate_up) {
        add(k, K_OP_gemm, bytes, flops)->args.gemm = g;
        return OCT_OK;
    }
    struct k_silu_mul_args act = {.in = g.out, .rows = m, .dim = n / 2, .dtype = K_BF16};
    OCT_TRY(room(k, (int64_t)m * n / 2, 2, &act.out));
    *out = act.out;
    add(k, K_OP_gemm_silu, bytes, flops)->args.gemm_silu =
        (struct k_gemm_silu_args){.gemm = g, .act = act};
    return OCT_OK;
}

static oct_status add_norm(const struct maker *k, int32_t rows, int32_t dim, bool residual,
                           k_ptr *out)
{
    struct k_rmsnorm_args a = {.rows = rows, .dim = dim, .dtype = K_BF16, .eps = 1e-5f};
    OCT_TRY(room(k, (int64_t)rows * dim, 2, &a.x));
    OCT_TRY(room(k, (int64_t)rows * dim, 2, &a.out));
    OCT_TRY(room(k, dim, 2, &a.weight));
    if (residual) {
        OCT_TRY(room(k, (int64_t)rows * dim, 2, &a.add));
    }
    *out = a.out;
    add(k, K_OP_rmsnorm, 2.0 * ((residual ? 4.0 : 2.0) * rows * dim + dim), 0)->args.rmsnorm = a;
    return OCT_OK;
}

/* top-p 0.95 at temperature 0.8, no lists, no logprobs. */
static oct_status add_sample(const struct maker *k)
{
    const struct oct_kernel_case *c = k->c;
    struct k_sample_args a = {.logits_stride = c->n, .n_rows = c->rows, .vocab = c->n};
    const size_t bytes = (size_t)c->rows * sizeof(struct k_sample_row);
    struct k_sample_row *rows = oct_calloc((size_t)c->rows, sizeof *rows);
    if (!rows) {
        return oct_no_memory("a case's rows", bytes);
    }
    for (int32_t i = 0; i < c->rows; i++) {
        rows[i] = (struct k_sample_row){
            .seed = (uint64_t)i, .n_top = -1, .temperature = 0.8f, .top_p = 0.95f, .repetition = 1};
    }
    const oct_status st = k->m->put(k->m->owner, rows, bytes, &a.rows);
    oct_free(rows);
    OCT_TRY(st);
    OCT_TRY(room(k, (int64_t)c->rows * c->n, 4, &a.logits));
    OCT_TRY(room(k, c->rows, sizeof(struct k_sample_out), &a.out));
    add(k, K_OP_sample, 4.0 * c->rows * c->n, 0)->args.sample = a;
    return OCT_OK;
}

/* The ops of a layer as csrc/arch calls them. */
static oct_status add_layer(const struct maker *k)
{
    const struct oct_kernel_case *c = k->c;
    struct cache h;
    k_ptr normed, out;
    OCT_TRY(make_cache(k, &h));
    OCT_TRY(add_norm(k, h.rows, c->k, false, &normed));
    OCT_TRY(add_gemm(k, h.rows, QKV, c->k, false, false, normed, &out));
    add(k, K_OP_rope_attn, rope_bytes(&h) + attn_bytes(c, &h), attn_flops(c))->args.rope_attn =
        (struct k_rope_attn_args){.rope = rope_args(k, &h), .attn = attn_args(k, &h)};
    OCT_TRY(add_gemm(k, h.rows, c->k, HEADS * DIM, false, true, h.out, &out));
    OCT_TRY(add_norm(k, h.rows, c->k, false, &normed));
    OCT_TRY(add_gemm(k, h.rows, 2 * c->n, c->k, true, false, normed, &out));
    return add_gemm(k, h.rows, c->k, c->n, false, true, out, &normed);
}

oct_status oct_kernel_case_make(const struct oct_kernel_case *c, const struct oct_case_memory *m,
                                struct oct_case_ops *out)
{
    const struct maker k = {c, m, out};
    struct cache h;
    struct k_silu_mul_args silu = {.rows = c->rows, .dim = c->n, .dtype = K_BF16};
    k_ptr in, result;
    out->n = 0;
    switch (c->kind) {
    case OCT_CASE_ATTN:
        OCT_TRY(make_cache(&k, &h));
        add(&k, K_OP_attn, attn_bytes(c, &h), attn_flops(c))->args.attn = attn_args(&k, &h);
        return OCT_OK;
    case OCT_CASE_ROPE:
        OCT_TRY(make_cache(&k, &h));
        add(&k, K_OP_rope_kv, rope_bytes(&h), 0)->args.rope_kv = rope_args(&k, &h);
        return OCT_OK;
    case OCT_CASE_GEMM:
        OCT_TRY(room(&k, (int64_t)c->rows * c->k, 2, &in));
        return add_gemm(&k, c->rows, c->n, c->k, false, false, in, &result);
    case OCT_CASE_NORM:
        return add_norm(&k, c->rows, c->k, true, &result);
    case OCT_CASE_SILU:
        OCT_TRY(room(&k, (int64_t)c->rows * c->n * 2, 2, &silu.in));
        OCT_TRY(room(&k, (int64_t)c->rows * c->n, 2, &silu.out));
        add(&k, K_OP_silu_mul, 2.0 * 3 * c->rows * c->n, 0)->args.silu_mul = silu;
        return OCT_OK;
    case OCT_CASE_SAMPLE:
        return add_sample(&k);
    case OCT_CASE_LAYER:
        return add_layer(&k);
    }
    return OCT_OK;
}
