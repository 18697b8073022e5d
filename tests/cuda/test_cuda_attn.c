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
    int32_t max_keys = 1, max_rows = 0, n_pages = 0, used = 0, at = 0, place = 0;
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
        /* The padded places stand between the others. A part that goes on with the sequence of the
         * one before, after a gap, joins its rows. */
        if (i > 0 && p[-1].seq == p->seq) {
            s.seqs[place].n_rows += p->n;
            max_rows = s.seqs[place].n_rows > max_rows ? s.seqs[place].n_rows : max_rows;
        } else {
            place = i * (n_parts + pad) / n_parts;
            s.seqs[place] = (struct k_seq){at, p->n};
        }
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

/* How a plan is made to take its other ways: facts and workspace are not the device's. */
struct ways {
    int32_t n_sms;
    uint64_t partial_bytes;
};

static void run_so(struct step *s, const struct ways *ways)
{
    upload(s);
    struct k_facts facts = *kt_facts();
    struct k_work work = kt_work();
    struct k_launch l[K_MAX_LAUNCHES];
    facts.n_sms = ways->n_sms;
    work.bytes = K_WORK_TICKET_BYTES + ways->partial_bytes;
    const int n = k_plan(K_OP_attn, &facts, &work, &s->device, l);
    cr_assert_geq(n, 1);
    kt_launch(l, n);
    check_guards(s);
    unload(s);
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

/* The rows of `some` that are in `all` have the same bits there; at least one is. */
static void same_bits(const struct step *all, const struct step *some, const char *what)
{
    const struct model *m = all->m;
    int32_t n = 0;
    for (int32_t r = 0; r < some->rows; r++) {
        const int32_t at = find(all, some->row_seq[r], some->positions[r]);
        if (at < 0) {
            continue;
        }
        n++;
        for (int32_t c = 0; c < m->heads * m->dim; c++) {
            cr_assert_eq(out_row(all, at)[c], out_row(some, r)[c],
                         "%s: H=%d G=%d D=%d window %d: seq %d pos %d head %d [%d]: %04x, not %04x",
                         what, m->heads, m->kv_heads, m->dim, m->window, some->row_seq[r],
                         some->positions[r], c / m->dim, c % m->dim, out_row(some, r)[c],
                         out_row(all, at)[c]);
        }
    }
    cr_assert_gt(n, 0, "%s: no row in common", what);
}

/* Chunks, a chunk from the middle of a page on, single rows, in no order; a row after a gap, with a
 * window so far from the rest that pages between belong to nobody. */
static const struct part mixed[] = {{3, 0, 37},  {0, 63, 1}, {4, 64, 1},  {1, 100, 30},
                                    {1, 400, 1}, {5, 0, 1},  {2, 130, 2}, {6, 700, 1}};
enum { N_MIXED = sizeof mixed / sizeof *mixed };

static const struct model models[] = {
    {1, 1, 16, 0, 0, false},  {3, 1, 64, 0, 0, false},    {9, 3, 64, 65, 0, false},
    {4, 2, 128, 0, 0, false}, {8, 2, 128, 64, 0, true},   {4, 4, 80, 63, 0, false},
    {5, 1, 96, 0, 0, true},   {7, 1, 40, 1, 0, false},    {16, 2, 24, 33, 2, true},
    {2, 2, 256, 0, 0, false}, {4, 1, 256, 100, 3, true},  {16, 1, 18, 0, 0, false},
    {20, 1, 20, 0, 0, true},  {2, 1, 7, 0, 0, false},     {4, 2, 64, 0, 1, false},
    {8, 1, 64, 0, 0, false},  {2, 1, 128, 4096, 5, true},
};
/* AddressSanitizer makes the virtual GPU ten times slower: a few of them will do. */
#if defined(__SANITIZE_ADDRESS__)
enum { N_MODELS = sizeof models / sizeof *models, EVERY = 5 };
#else
enum { N_MODELS = sizeof models / sizeof *models, EVERY = 1 };
#endif

static void matches(const char *arch)
{
    kt_open(arch, 1);
    for (int i = 0; i < N_MODELS; i += EVERY) {
        struct step s = make(&models[i], mixed, N_MIXED, i % 4);
        uint16_t *want = oracle(&s);
        run(&s);
        compare(&s, want, arch);
        /* Rows that a chunk had are decoded, and single ones come to stand in a chunk. */
        static const struct part decoded[] = {{3, 20, 1}, {1, 120, 1}, {2, 131, 1},
                                              {3, 36, 1}, {1, 129, 1}, {1, 400, 1}};
        static const struct part chunks[] = {{3, 11, 26}, {2, 130, 2}, {1, 99, 5}};
        struct step some = make(&models[i], decoded, 6, 1);
        run(&some);
        same_bits(&s, &some, "decoded");
        drop(&some);
        static const struct part around[] = {{0, 62, 3}, {4, 60, 9}, {6, 690, 20}};
        some = make(&models[i], around, 3, 0);
        run(&some);
        same_bits(&some, &s, "prefilled"); /* those of `around` alone */
        drop(&some);
        some = make(&models[i], chunks, 2, 2);
        run(&some);
        same_bits(&s, &some, "in other chunks");
        drop(&some);
        free(want);
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

/* Splits: sequences of 1 to 5,000 tokens in one step; the decode kernel's stretches cut anywhere,
 * and no room for partial results; the seeds of the schedule. */
static void is_the_same_everywhere(const char *arch, const struct model *m)
{
    static const struct part steps[][8] = {
        {{0, 4999, 1}, {1, 0, 1}, {2, 510, 5}, {3, 1535, 1}, {4, 1000, 30}, {5, 2047, 1}},
        {{0, 4990, 12}, {2, 512, 1}, {3, 1530, 7}, {4, 1023, 1}, {5, 2040, 10}, {1, 0, 2}},
        {{4, 1024, 1}, {2, 511, 1}, {0, 4999, 1}, {5, 2046, 2}},
    };
    static const int counts[] = {6, 6, 4};
    kt_open(arch, 3);
    struct step all = make(m, steps[0], counts[0], 0);
    uint16_t *want = oracle(&all);
    run(&all);
    compare(&all, want, arch);
    free(want);
    struct step twin = make(m, steps[0], counts[0], 3);
    static const struct ways ways[] = {
        {1, 1 << 20}, {3, 1 << 20}, {40, 1 << 20}, {2, 0}, {7, 40000}};
    for (int i = 0; i < 5; i++) {
        kt_seed(100 + (uint64_t)i);
        run_so(&twin, &ways[i]);
        same_bits(&all, &twin, "cut otherwise");
    }
    drop(&twin);
    struct step other = make(m, steps[1], counts[1], 1);
    want = oracle(&other);
    run(&other);
    compare(&other, want, arch);
    free(want);
    same_bits(&other, &all, "in another step");
    struct step third = make(m, steps[2], counts[2], 0);
    run(&third);
    same_bits(&other, &third, "in a third step");
    drop(&third);
    drop(&other);
    drop(&all);
}

static const struct model deep[] = {{3, 1, 64, 0, 0, false},
                                    {2, 2, 64, 4096, 0, true},
                                    {4, 1, 128, 1000, 0, false},
                                    {2, 1, 96, 0, 4, true},
                                    {1, 1, 256, 700, 0, false}};

Test(attn, splits_and_schedules_do_not_move_bits_a100, .timeout = 300)
{
    is_the_same_everywhere("a100", &deep[0]);
}

Test(attn, splits_and_schedules_do_not_move_bits_h100, .timeout = 300)
{
    for (int i = EVERY > 1; i < 5; i += EVERY) {
        is_the_same_everywhere("h100", &deep[i]);
    }
}

/* ---- rope_attn ---- */

struct turned {
    uint16_t *out, *pool;
};

/* The step's qkv rows get keys and values too, and the slots that those will fill are NaN. */
static void make_raw(struct step *s)
{
    const struct model *m = s->m;
    const struct k_paging *kv = &s->host.kv;
    for (int32_t r = 0; r < s->rows; r++) {
        const int32_t seq = s->row_seq[r], pos = s->positions[r];
        const int32_t page = s->table[seq * kv->table_stride + pos / S];
        for (int32_t h = 0; h < 2 * m->kv_heads; h++) {
            const int64_t at = k_kv_tile(kv, page, h % m->kv_heads) + pos % S * k_kv_row(kv) +
                               (h < m->kv_heads ? 0 : k_kv_v_offset(kv));
            memset(s->pool + at, 0xff, (size_t)k_kv_row(kv) * 2);
            for (int32_t d = 0; d < m->dim; d++) {
                s->qkv[r * s->qkv_stride + (m->heads + h) * m->dim + d] = number(4, seq, pos, h, d);
            }
        }
    }
}

/* n_ops 1: rope_attn; 2: its halves. */
static struct turned turn(struct step *s, struct k_rope_kv_args rope, int n_ops, int n_launches)
{
    const size_t pool_bytes = (size_t)s->pool_elements * 2;
    struct turned t = {room((size_t)(s->rows * s->out_stride) * 2), room(pool_bytes)};
    const struct k_launch *l;
    upload(s);
    rope.qkv = s->device.q;
    rope.positions = s->device.positions;
    rope.row_seq = s->device.row_seq;
    rope.kv = s->device.kv;
    if (n_ops == 1) {
        const struct k_rope_attn_args a = {rope, s->device};
        kt_run(K_OP_rope_attn, &a);
        cr_assert_eq(kt_launches(&l), n_launches, "%d launches", kt_launches(&l));
    } else {
        kt_run(K_OP_rope_kv, &rope);
        kt_run(K_OP_attn, &s->device);
    }
    kt_get(t.pool, s->device_pool, pool_bytes);
    check_guards(s);
    memcpy(t.out, s->out, (size_t)(s->rows * s->out_stride) * 2);
    unload(s);
    return t;
}

static void fuses(const char *arch)
{
    static const struct {
        struct model m;
        int32_t rot;
        bool norm;
        int launches;
    } cases[] = {
        {{3, 1, 64, 0, 0, false}, 64, false, 1}, {{4, 2, 128, 0, 0, true}, 128, true, 1},
        {{2, 1, 96, 65, 0, false}, 48, true, 1}, {{5, 1, 80, 0, 0, false}, 80, false, 1},
        {{2, 2, 256, 0, 0, false}, 64, true, 1}, {{20, 1, 64, 700, 0, false}, 32, true, 1},
        {{4, 2, 24, 0, 0, false}, 24, true, 2},  {{4, 2, 16, 1, 0, false}, 16, false, 1},
        {{2, 1, 64, 0, 2, false}, 64, false, 2},
    };
    static const struct part singles[] = {{0, 0, 1},   {1, 63, 1},  {2, 64, 1},
                                          {3, 511, 1}, {4, 512, 1}, {5, 1100, 1}};
    static const struct part chunk[] = {{0, 70, 9}, {1, 63, 1}};
    kt_open(arch, 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += EVERY) {
        const struct model *m = &cases[i].m;
        const int32_t rot = cases[i].rot, n_angles = 1200 * rot;
        float *angles = room((size_t)n_angles * 4);
        uint16_t *norm = room((size_t)m->dim * 2);
        for (int32_t j = 0; j < n_angles; j++) {
            const double t = j / rot / pow(10000, j % (rot / 2) * 2.0 / rot);
            angles[j] = (float)(j % rot < rot / 2 ? cos(t) : sin(t));
        }
        for (int32_t d = 0; d < m->dim; d++) {
            norm[d] = number(5, 0, 0, 0, d);
        }
        const k_ptr device_norm = kt_put(norm, (size_t)m->dim * 2);
        struct k_rope_kv_args rope = {.q_norm = cases[i].norm ? device_norm : 0,
                                      .k_norm = cases[i].norm ? device_norm : 0,
                                      .cos_sin = kt_put(angles, (size_t)n_angles * 4),
                                      .n_heads = m->heads,
                                      .rot_dim = rot,
                                      .max_positions = 1200,
                                      .eps = 1e-6f};
        for (int mixture = 0; mixture < 2; mixture++) {
            struct step s = mixture ? make(m, chunk, 2, 0) : make(m, singles, 6, 2);
            rope.qkv_stride = s.qkv_stride;
            rope.rows = s.rows;
            make_raw(&s);
            const struct turned one = turn(&s, rope, 1, mixture ? 3 : cases[i].launches);
            const struct turned two = turn(&s, rope, 2, 0);
            cr_assert_arr_eq(one.out, two.out, (size_t)(s.rows * s.out_stride) * 2,
                             "%s, case %zu, %d: out", arch, i, mixture);
            cr_assert_arr_eq(one.pool, two.pool, (size_t)s.pool_elements * 2,
                             "%s, case %zu, %d: cache", arch, i, mixture);
            free(one.out);
            free(one.pool);
            free(two.out);
            free(two.pool);
            drop(&s);
        }
        kt_free(device_norm);
        kt_free(rope.cos_sin);
        free(angles);
        free(norm);
    }
}

Test(attn, rope_and_attention_at_once_are_the_two_a100, .timeout = 300)
{
    fuses("a100");
}

Test(attn, rope_and_attention_at_once_are_the_two_h100, .timeout = 300)
{
    fuses("h100");
}

/* ---- a later row of the chunk whose key and value are broken ---- */

static void stays_apart(const char *arch)
{
    static const struct part parts[] = {{0, 40, 60}, {1, 3, 20}};
    static const struct model some[] = {
        {4, 2, 64, 0, 0, false}, {2, 1, 128, 30, 0, false}, {1, 1, 256, 0, 0, false}};
    static const uint16_t broken[] = {0x7fc0, 0x7f80, 0xff80}; /* NaN, both infinities */
    enum { BAD = 75 };
    kt_open(arch, 1);
    for (int i = 0; i < 3; i++) {
        const struct model *m = &some[i];
        struct step good = make(m, parts, 2, 0), bad = make(m, parts, 2, 0);
        run(&good);
        const struct k_paging *kv = &bad.host.kv;
        const int64_t at = k_kv_tile(kv, bad.table[BAD / S], 0) + BAD % S * k_kv_row(kv);
        for (int32_t d = 0; d < m->dim; d++) {
            bad.pool[at + d] = broken[0];
            bad.pool[at + k_kv_v_offset(kv) + d] = d % 2 ? broken[d / 2 % 3] : 0x3f80;
        }
        run(&bad);
        const int32_t per_key = m->heads / m->kv_heads;
        for (int32_t r = 0; r < bad.rows; r++) {
            const int32_t pos = bad.positions[r];
            const bool sees = bad.row_seq[r] == 0 && pos >= BAD && first_key(m, pos) <= BAD;
            for (int32_t c = 0; c < m->heads * m->dim; c++) {
                const uint16_t is = out_row(&bad, r)[c], was = out_row(&good, r)[c];
                if (sees && c / m->dim < per_key) {
                    cr_assert(isnan(oct_bf16_to_f32(is)), "D=%d: row %d hides the NaN", m->dim, r);
                } else {
                    cr_assert_eq(is, was, "D=%d: row %d [%d] beside a NaN", m->dim, r, c);
                }
            }
        }
        drop(&good);
        drop(&bad);
    }
}

Test(attn, a_broken_later_row_does_not_reach_earlier_ones_a100, .timeout = 300)
{
    stays_apart("a100");
}

Test(attn, a_broken_later_row_does_not_reach_earlier_ones_h100, .timeout = 300)
{
    stays_apart("h100");
}

/* ---- what they move ---- */

/* Sequences of different lengths: what is copied from the cache is what their true lengths say, not
 * what the bounds would; and of equal ones the bounds are the truth. */
Test(attn, costs_what_its_true_lengths_say, .timeout = 300)
{
    static const struct model m = {4, 2, 64, 0, 0, false}, windowed = {4, 2, 64, 300, 0, false};
    static const struct part parts[] = {{0, 1535, 1}, {1, 63, 1}, {2, 400, 40}, {3, 703, 1}};
    const uint64_t width = 2 * 4 * 64, key = 4 * 2 * 64;
    kt_open("h100", 1);
    for (int i = 0; i < 2; i++) {
        struct step s = make(i ? &windowed : &m, parts, 4, 0);
        struct k_attn_span spans[4];
        const struct k_launch *planned;
        struct k_launch l[K_MAX_LAUNCHES];
        for (int k = 0; k < 4; k++) {
            spans[k] = (struct k_attn_span){parts[k].n, parts[k].pos + parts[k].n};
        }
        run(&s);
        const int n = kt_launches(&planned);
        cr_assert_eq(n, 2);
        memcpy(l, planned, 2 * sizeof *l);
        k_attn_true_cost(&s.device, spans, l, n);
        const uint64_t keys = i ? 300 + 64 + 300 : 1536 + 64 + 704, chunk = i ? 339 : 440;
        cr_assert_eq(l[0].cost.read_bytes, 3 * (width + 4) + 4 * 8 + keys * key);
        cr_assert_eq(l[1].cost.read_bytes, 40 * (width + 4) + 4 * 8 + chunk * key);
        cr_assert_eq(l[0].cost.write_bytes, 3 * width);
        cr_assert_eq(l[1].cost.write_bytes, 40 * width);
        cr_assert_eq(l[0].cost.flops, 2 * width * keys);
        cr_assert_lt(l[0].cost.read_bytes, planned[0].cost.read_bytes);
        if (!i && kt_is_virtual()) { /* whole pages here: decode copies no other keys */
            const uint64_t copied = kt_counter("attn_decode_bf16_d64", "cp_async_bytes");
            cr_assert_eq(copied, keys * key, "%llu bytes copied", (unsigned long long)copied);
        }
        for (int k = 0; k < 4; k++) {
            spans[k] = (struct k_attn_span){1, 1536};
        }
        struct k_attn_args equal = s.device;
        equal.rows = 4;
        equal.max_rows = 1;
        const struct k_work work = kt_work();
        cr_assert_eq(k_plan_attn(kt_facts(), &work, &equal, l), 1);
        const struct k_cost bound = l[0].cost;
        k_attn_true_cost(&equal, spans, l, 1);
        cr_assert_eq(memcmp(&bound, &l[0].cost, sizeof bound), 0);
        drop(&s);
    }
}

/* No bank conflicts; decode copies each key and value once, in whole sectors, and reads beside them
 * what the plan says, page tables and the partial results that it wrote: within a hundredth. */
Test(attn, moves_no_more_than_it_must, .timeout = 300)
{
    static const struct {
        struct model m;
        const char *names[2];
    } cases[] = {
        {{6, 2, 64, 0, 0, false}, {"attn_decode_bf16_d64", "attn_prefill_bf16_d64"}},
        {{4, 1, 96, 0, 0, false}, {"attn_decode_bf16_d96", "attn_prefill_bf16_d96"}},
        {{8, 2, 128, 0, 0, false}, {"attn_decode_bf16_d128", "attn_prefill_bf16_d128"}},
        {{4, 1, 256, 0, 0, false}, {"attn_decode_bf16_d256", "attn_prefill_bf16_d256"}},
    };
    static const struct part long_ones[] = {{0, 1535, 1}, {1, 1535, 1}}, chunk[] = {{0, 448, 64}};
    kt_open("a100", 1);
    if (!kt_is_virtual()) {
        cr_skip_test("counters are the virtual GPU's");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 2; k++) {
            const char *name = cases[i].names[k];
            const struct k_launch *l;
            struct step s = make(&cases[i].m, k ? chunk : long_ones, k ? 1 : 2, 0);
            run(&s);
            cr_assert_eq(kt_launches(&l), 1);
            const uint64_t waves = kt_counter(name, "shared_wavefronts");
            cr_assert(waves > 0);
            const uint64_t ideal = kt_counter(name, "shared_wavefronts_ideal");
            /* Queries and results of D = 96 pass through rows of twelve chunks, once a block. */
            const uint64_t more = cases[i].m.dim == 96 && k == 1 ? ideal / 50 : 0;
            cr_assert(waves <= ideal + more, "%s: %llu wavefronts, ideal %llu", name,
                      (unsigned long long)waves, (unsigned long long)ideal);
            if (k == 0) {
                const uint64_t parts =
                    kt_counter(name, "global_write_bytes") - l[0].cost.write_bytes;
                const uint64_t copied = kt_counter(name, "cp_async_bytes");
                const uint64_t cache =
                    2 * 1536 * 4 * (uint64_t)(cases[i].m.kv_heads * cases[i].m.dim);
                cr_assert_eq(copied, cache, "%s copied %llu bytes, not %llu", name,
                             (unsigned long long)copied, (unsigned long long)cache);
                const uint64_t read = 32 * kt_counter(name, "global_read_sectors_unique") - parts;
                cr_assert(read <= l[0].cost.read_bytes + l[0].cost.read_bytes / 100,
                          "%s read %llu bytes, must read %llu", name, (unsigned long long)read,
                          (unsigned long long)l[0].cost.read_bytes);
                cr_assert(parts <= l[0].cost.read_bytes * 3 / 200,
                          "%s leaves %llu bytes of partial results", name,
                          (unsigned long long)parts);
                const uint64_t sectors = kt_counter(name, "global_read_sectors");
                const uint64_t least = kt_counter(name, "global_read_sectors_minimal");
                cr_assert(sectors <= least + least / 50, "%s: %llu sectors, at least %llu", name,
                          (unsigned long long)sectors, (unsigned long long)least);
            }
            drop(&s);
        }
    }
}
