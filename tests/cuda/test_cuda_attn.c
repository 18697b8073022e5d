/* SPDX-License-Identifier: Apache-2.0
 *
 * The attention kernels against the CPU's, and against themselves: a row has the same bits from
 * prefill and decode, in every chunking, batch and schedule.
 *
 * Queries, keys and values are functions of (sequence, position, head, d), so that any row can be
 * asked for in any company. Pages are shuffled and numbered from near 2^31 on, in a pool whose
 * address is so far below that they land in a small allocation: a pool of more than 4 GiB. Slots
 * that no row of the step sees are NaN, and so is the padding of rows; page table entries of which
 * no row sees a key are traps. */
#include "cuda/kernel_test.h"

#include "base/bf16.h"
#include "cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { S = K_PAGE_TOKENS, FIRST_PAGE = 2147480000, GUARD = 64, LAYERS = 2, LAYER = 1 };

struct model {
    int32_t heads, kv_heads, dim, window;
    float softcap;
    bool sinks;
};

/* Rows [pos, pos + n) of a sequence. */
struct part {
    int32_t seq, pos, n;
};

struct step {
    const struct model *m;
    const struct part *parts;
    int32_t n_parts, rows, n_seqs; /* sequences: of the page table */
    int32_t *positions, *row_seq;
    struct k_seq *seqs;
    int32_t *table, *far_table;
    uint16_t *pool, *qkv, *out;
    int64_t pool_elements, qkv_stride, out_stride;
    float *sinks;
    struct k_attn_args host, device;
    k_ptr device_pool, device_out;
};

static uint16_t number(uint32_t kind, int32_t seq, int32_t pos, int32_t head, int32_t d)
{
    uint64_t x = ((uint64_t)kind << 56) ^ ((uint64_t)seq << 44) ^ ((uint64_t)pos << 24) ^
                 ((uint64_t)head << 12) ^ (uint64_t)d;
    x = (x ^ (x >> 31)) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    /* Uniform, variance 1. */
    return oct_f32_to_bf16(((float)(x & 0xffffff) * 0x1p-24f - 0.5f) * 3.4641016f);
}
enum { QUERY = 1, KEY, VALUE };
static const double most_value = 1.7321;

static void *room(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    cr_assert_not_null(p);
    memset(p, 0xff, bytes);
    return p;
}

static int32_t first_key(const struct model *m, int32_t pos)
{
    return m->window && pos >= m->window ? pos - m->window + 1 : 0;
}

/* Writes the keys and values that the rows of the part see. */
static void fill_cache(struct step *s, const struct k_paging *kv, const struct part *p,
                       int32_t *n_pages, const int32_t *order)
{
    const struct model *m = s->m;
    for (int32_t pos = first_key(m, p->pos); pos < p->pos + p->n; pos++) {
        int32_t *entry = &s->table[p->seq * kv->table_stride + pos / S];
        if (*entry < 0) {
            *entry = order[(*n_pages)++];
        }
        for (int32_t h = 0; h < m->kv_heads; h++) {
            const int64_t at = k_kv_tile(kv, *entry, h) + pos % S * k_kv_row(kv);
            for (int32_t d = 0; d < m->dim; d++) {
                s->pool[at + d] = number(KEY, p->seq, pos, h, d);
                s->pool[at + k_kv_v_offset(kv) + d] = number(VALUE, p->seq, pos, h, d);
            }
        }
    }
}

/* pad: places of a padded batch among the sequences. */
static struct step make(const struct model *m, const struct part *parts, int32_t n_parts,
                        int32_t pad)
{
    struct step s = {.m = m, .parts = parts, .n_parts = n_parts};
    int32_t max_keys = 1, max_rows = 0, n_pages = 0, used = 0, at = 0;
    for (int32_t i = 0; i < n_parts; i++) {
        const struct part *p = &parts[i];
        s.rows += p->n;
        s.n_seqs = p->seq >= s.n_seqs ? p->seq + 1 : s.n_seqs;
        max_rows = p->n > max_rows ? p->n : max_rows;
        max_keys = p->pos + p->n > max_keys ? p->pos + p->n : max_keys;
        n_pages += (p->pos + p->n - first_key(m, p->pos)) / S + 2;
    }
    const int32_t table_stride = (max_keys + S - 1) / S + 1;
    const int64_t layer = 2 * (int64_t)m->kv_heads * S * k_row_stride(m->dim);
    struct k_paging kv = {.page_stride = layer * LAYERS,
                          .layer_offset = layer * LAYER,
                          .table_stride = table_stride,
                          .n_kv_heads = m->kv_heads,
                          .head_dim = m->dim,
                          .dtype = K_BF16};
    s.pool_elements = kv.page_stride * n_pages;
    s.pool = room((size_t)s.pool_elements * 2);
    const size_t n_table = (size_t)s.n_seqs * (size_t)table_stride;
    s.table = room(n_table * 4);
    s.far_table = room(n_table * 4);
    int32_t *order = room((size_t)n_pages * 4);
    for (int32_t i = 0; i < n_pages; i++) {
        const int32_t j = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    s.positions = room((size_t)s.rows * 4);
    s.row_seq = room((size_t)s.rows * 4);
    s.seqs = calloc((size_t)(n_parts + pad), sizeof *s.seqs);
    s.qkv_stride = k_row_stride((m->heads + 2 * m->kv_heads) * (int64_t)m->dim) + 8;
    s.out_stride = k_row_stride((int64_t)m->heads * m->dim) + 8;
    s.qkv = room((size_t)(s.rows * s.qkv_stride) * 2);
    s.out = room((size_t)(s.rows * s.out_stride) * 2);
    s.sinks = room((size_t)m->heads * 4);
    for (int32_t h = 0; h < m->heads; h++) {
        s.sinks[h] = h % 4 == 2 ? 40.0f : h % 4 == 3 ? -200.0f : 0.75f * (float)(h % 8) - 2.0f;
    }
    for (int32_t i = 0; i < n_parts; i++) {
        const struct part *p = &parts[i];
        fill_cache(&s, &kv, p, &used, order);
        /* The padded places stand between the others. */
        s.seqs[i * (n_parts + pad) / n_parts] = (struct k_seq){at, p->n};
        for (int32_t r = 0; r < p->n; r++, at++) {
            s.positions[at] = p->pos + r;
            s.row_seq[at] = p->seq;
            for (int32_t h = 0; h < m->heads; h++) {
                for (int32_t d = 0; d < m->dim; d++) {
                    s.qkv[at * s.qkv_stride + h * m->dim + d] =
                        number(QUERY, p->seq, p->pos + r, h, d);
                }
            }
        }
    }
    for (size_t i = 0; i < n_table; i++) {
        s.far_table[i] = s.table[i] < 0 ? (i % 2 ? -7 : 2147483647) : s.table[i] + FIRST_PAGE;
    }
    free(order);
    struct k_attn_args a = {.kv = kv,
                            .q_stride = s.qkv_stride,
                            .out_stride = s.out_stride,
                            .rows = s.rows,
                            .n_heads = m->heads,
                            .n_seqs = n_parts + pad,
                            .max_rows = max_rows,
                            .max_keys = max_keys,
                            .window = m->window,
                            .scale = 1 / sqrtf((float)m->dim),
                            .softcap = m->softcap};
    s.host = s.device = a;
    return s;
}

static void drop(struct step *s)
{
    free(s->pool);
    free(s->table);
    free(s->far_table);
    free(s->positions);
    free(s->row_seq);
    free(s->seqs);
    free(s->qkv);
    free(s->out);
    free(s->sinks);
}

static k_ptr host_ptr(const void *p)
{
    return (k_ptr)(uintptr_t)p;
}

static const uint16_t *out_row(const struct step *s, int32_t row)
{
    return s->out + row * s->out_stride;
}

/* Runs the step on the device: s->out. */
static void upload(struct step *s)
{
    struct k_attn_args *a = &s->device;
    const size_t n_table = (size_t)s->n_seqs * (size_t)a->kv.table_stride;
    const size_t out_bytes = (size_t)(s->rows * s->out_stride) * 2;
    s->device_pool = kt_put(s->pool, (size_t)s->pool_elements * 2);
    a->kv.pool = s->device_pool - (uint64_t)FIRST_PAGE * (uint64_t)a->kv.page_stride * 2;
    a->kv.page_table = kt_put(s->far_table, n_table * 4);
    a->q = kt_put(s->qkv, (size_t)(s->rows * s->qkv_stride) * 2);
    a->positions = kt_put(s->positions, (size_t)s->rows * 4);
    a->row_seq = kt_put(s->row_seq, (size_t)s->rows * 4);
    a->seqs = kt_put(s->seqs, (size_t)a->n_seqs * sizeof *s->seqs);
    a->sinks = s->m->sinks ? kt_put(s->sinks, (size_t)s->m->heads * 4) : 0;
    s->device_out = kt_room(out_bytes + 2 * GUARD);
    kt_fill_nan(s->device_out, out_bytes + 2 * GUARD);
    a->out = s->device_out + GUARD;
}

/* Nothing but [T, H * D] of out was written. */
static void check_guards(const struct step *s)
{
    const size_t bytes = (size_t)(s->rows * s->out_stride) * 2;
    unsigned char *all = malloc(bytes + 2 * GUARD);
    kt_get(all, s->device_out, bytes + 2 * GUARD);
    memcpy(s->out, all + GUARD, bytes);
    for (size_t i = 0; i < GUARD; i++) {
        cr_assert(all[i] == 0xff && all[GUARD + bytes + i] == 0xff, "wrote around out");
    }
    for (int32_t r = 0; r < s->rows; r++) {
        for (int64_t c = (int64_t)s->m->heads * s->m->dim; c < s->out_stride; c++) {
            cr_assert_eq(out_row(s, r)[c], 0xffff, "row %d: wrote past its end", r);
        }
    }
    free(all);
}

static void unload(struct step *s)
{
    const struct k_attn_args *a = &s->device;
    kt_free(s->device_pool);
    kt_free(a->kv.page_table);
    kt_free(a->q);
    kt_free(a->positions);
    kt_free(a->row_seq);
    kt_free(a->seqs);
    if (a->sinks) {
        kt_free(a->sinks);
    }
    kt_free(s->device_out);
}

static void run(struct step *s)
{
    upload(s);
    kt_run(K_OP_attn, &s->device);
    check_guards(s);
    unload(s);
}

static struct oct_device *cpu;

/* What the CPU makes of it, in a new array. */
static uint16_t *oracle(struct step *s)
{
    uint16_t *want = room((size_t)(s->rows * s->out_stride) * 2);
    struct k_attn_args a = s->host;
    a.kv.pool = host_ptr(s->pool);
    a.kv.page_table = host_ptr(s->table);
    a.q = host_ptr(s->qkv);
    a.out = host_ptr(want);
    a.positions = host_ptr(s->positions);
    a.row_seq = host_ptr(s->row_seq);
    a.seqs = host_ptr(s->seqs);
    a.sinks = s->m->sinks ? host_ptr(s->sinks) : 0;
    if (!cpu) {
        cr_assert_eq(oct_cpu_open(1, &cpu), OCT_OK, "%s", oct_last_error());
    }
    cr_assert_eq(oct_dev_attn(cpu, &a), OCT_OK, "%s", oct_last_error());
    return want;
}

/* What the kernels may be off from the oracle, both rounded to bf16 in the end (2^-9 of the result
 * each). Weights are rounded to bf16, e_j <= 2^-9 each, in the sum and in the product alike, so
 * that the result moves by sum p_j e_j (v_j - out) / sum p_j <= 2^-9 * (max |v| + |out|). Scores
 * are sums of D products in fp32, off by at most D * 2^-23 * scale * sum |q k| <= D^1.5 * 2^-23 *
 * 3, 2^-9.4 at D = 256, which moves a weight as much; a quarter of that for the roundings of the
 * softmax.
 * These are worst cases; that errors are random shows in the angle between the rows: relative
 * errors of 2^-9 make 1 - cos about 2^-19, of which 2^-15 is far. */
static void compare(const struct step *s, const uint16_t *want, const char *what)
{
    const struct model *m = s->m;
    const int32_t width = m->heads * m->dim;
    const double off = 0x1p-9 + 1.25 * pow(m->dim, 1.5) * 3 * 0x1p-23;
    for (int32_t r = 0; r < s->rows; r++) {
        double xy = 0, xx = 0, yy = 0;
        for (int32_t c = 0; c < width; c++) {
            const double x = (double)oct_bf16_to_f32(out_row(s, r)[c]);
            const double y = (double)oct_bf16_to_f32(want[r * s->out_stride + c]);
            const double bound = off * (most_value + fabs(y)) + 2 * 0x1p-8 * fabs(y);
            cr_assert(fabs(x - y) <= bound,
                      "%s: H=%d G=%d D=%d window %d: seq %d pos %d head %d [%d] is %g, not %g "
                      "(+- %g)",
                      what, m->heads, m->kv_heads, m->dim, m->window, s->row_seq[r],
                      s->positions[r], c / m->dim, c % m->dim, x, y, bound);
            xy += x * y;
            xx += x * x;
            yy += y * y;
        }
        cr_assert(xy >= (1 - 0x1p-15) * sqrt(xx * yy),
                  "%s: H=%d G=%d D=%d window %d: seq %d pos %d: cos is 1 - %g", what, m->heads,
                  m->kv_heads, m->dim, m->window, s->row_seq[r], s->positions[r],
                  1 - xy / sqrt(xx * yy));
    }
}

/* Row `pos` of `seq` in s; -1: it is not there. */
static int32_t find(const struct step *s, int32_t seq, int32_t pos)
{
    for (int32_t r = 0; r < s->rows; r++) {
        if (s->row_seq[r] == seq && s->positions[r] == pos) {
            return r;
        }
    }
    return -1;
}

/* All rows of `some` have the bits that they have in `all`. */
static void same_bits(const struct step *all, const struct step *some, const char *what)
{
    const struct model *m = all->m;
    for (int32_t r = 0; r < some->rows; r++) {
        const int32_t at = find(all, some->row_seq[r], some->positions[r]);
        cr_assert_geq(at, 0);
        for (int32_t c = 0; c < m->heads * m->dim; c++) {
            cr_assert_eq(out_row(all, at)[c], out_row(some, r)[c],
                         "%s: H=%d G=%d D=%d window %d: seq %d pos %d head %d [%d]: %04x, not %04x",
                         what, m->heads, m->kv_heads, m->dim, m->window, some->row_seq[r],
                         some->positions[r], c / m->dim, c % m->dim, out_row(some, r)[c],
                         out_row(all, at)[c]);
        }
    }
}

/* Chunks, a chunk from the middle of a page on, single rows, in no order. */
static const struct part mixed[] = {{3, 0, 37}, {0, 63, 1},  {4, 64, 1}, {1, 100, 30},
                                    {5, 0, 1},  {2, 130, 2}, {6, 700, 1}};
enum { N_MIXED = sizeof mixed / sizeof *mixed };

static const struct model models[] = {
    {1, 1, 16, 0, 0, false},    {3, 1, 64, 0, 0, false},   {9, 3, 64, 65, 0, false},
    {4, 2, 128, 0, 0, false},   {8, 2, 128, 64, 0, true},  {4, 4, 80, 63, 0, false},
    {5, 1, 96, 0, 0, true},     {7, 1, 40, 1, 0, false},   {16, 2, 24, 33, 2, true},
    {2, 2, 256, 0, 0, false},   {4, 1, 256, 100, 3, true}, {16, 1, 18, 0, 0, false},
    {20, 1, 20, 0, 0, true},    {2, 1, 7, 0, 0, false},    {4, 2, 64, 0, 1, false},
    {2, 1, 128, 4096, 5, true},
};
enum { N_MODELS = sizeof models / sizeof *models };

static void matches(const char *arch)
{
    kt_open(arch, 1);
    for (int i = 0; i < N_MODELS; i++) {
        struct step s = make(&models[i], mixed, N_MIXED, i % 4);
        uint16_t *want = oracle(&s);
        run(&s);
        compare(&s, want, arch);
        /* The rows of single-row sequences from the prefill kernel's point of view, and the rows
         * of chunks from decode's. */
        static const struct part some[] = {
            {3, 20, 1}, {1, 120, 1}, {2, 131, 1}, {3, 36, 1}, {1, 129, 1}};
        struct step singles = make(&models[i], some, 5, 1);
        run(&singles);
        same_bits(&s, &singles, "decoded");
        free(want);
        drop(&singles);
        drop(&s);
    }
}

Test(attn, matches_the_cpu_a100, .timeout = 300)
{
    matches("a100");
}

Test(attn, matches_the_cpu_h100, .timeout = 300)
{
    matches("h100");
}
