/* SPDX-License-Identifier: Apache-2.0
 *
 * attn_simd.c - the canonical order of attn.h, for a block of rows and the heads that share a key
 * head. "Line" below: one (row, query head) of the block, rows outer.
 *
 * For each tile (page) that a row of the block sees:
 *     K is transposed, so that 64 keys lie side by side, and the scores of all lines are a product
 *     of the tile in simd_tile.h; each line then takes its maximum, exponentials and sum;
 *     acc = acc * correction + P V, again by tiles, over the keys that the line sees and no other.
 * Every one of these treats a line by its own numbers in an order that is the same for one line and
 * for many. */
#include "cpu/attn_simd.h"

#include "cpu/simd_tile.h"

enum { S = K_PAGE_TOKENS };

/* Pointers into scratch, and the facts of the block. */
struct work {
    const struct k_attn_args *a;
    const int32_t *positions, *table; /* of the block's rows; of its sequence */
    const struct oct_attn_block *b;
    int32_t per_key, dim, dim_up; /* H / G; D; D rounded up to 32 */
    int64_t es, state;            /* bytes of an element; floats of a running result */
    char *q;                      /* [lines][D]: bf16 with pairs, else fp32 */
    float *k;                     /* [S / TILE_COLS][D][TILE_COLS], or pairs of bf16 */
    float *v;                     /* [S][dim_up] */
    float *p;                     /* [lines][S]: scores, then weights */
    float *split, *run;           /* [lines] running results: of this split, of all before */
    float *max, *correction;      /* [lines] */
};

static void *take(char **scratch, int64_t bytes)
{
    char *p = *scratch;
    *scratch += (bytes + 63) / 64 * 64;
    return p;
}

static void start(struct work *w, const struct oct_attn_block *b, char *scratch)
{
    const struct k_attn_args *a = b->a;
    const int32_t seq = ((const int32_t *)oct_host_ptr(a->row_seq))[b->row0];
    *w = (struct work){
        .a = a,
        .b = b,
        .positions = (const int32_t *)oct_host_ptr(a->positions) + b->row0,
        .table =
            (const int32_t *)oct_host_ptr(a->kv.page_table) + (int64_t)seq * a->kv.table_stride,
        .per_key = a->n_heads / a->kv.n_kv_heads,
        .dim = a->kv.head_dim,
        .es = k_dtype_bytes(a->kv.dtype),
        .state = oct_attn_state(a->kv.head_dim),
    };
    w->dim_up = (int32_t)(w->state - OCT_ATTN_HEAD);
    if (!scratch) {
        return;
    }
    const int64_t lines = (int64_t)b->n_rows * w->per_key, f = sizeof(float);
    w->q = take(&scratch, lines * w->dim_up * f);
    w->k = take(&scratch, (int64_t)S * w->dim_up * f);
    w->v = take(&scratch, (int64_t)S * w->dim_up * f);
    w->p = take(&scratch, lines * S * f);
    w->split = take(&scratch, lines * w->state * f);
    w->run = take(&scratch, lines * w->state * f);
    w->max = take(&scratch, (lines + VF) * f); /* whole vectors are read and written */
    w->correction = take(&scratch, (lines + VF) * f);

    for (int32_t i = 0; i < b->n_rows; i++) {
        const char *src =
            (const char *)oct_host_ptr(a->q) +
            ((b->row0 + i) * a->q_stride + (int64_t)b->head * w->per_key * w->dim) * w->es;
        const int64_t n = (int64_t)w->per_key * w->dim;
        if (b->pairs) {
            memcpy(w->q + i * n * w->es, src, (size_t)(n * w->es));
        } else {
            vf_load_row((float *)(void *)w->q + i * n, src, n, a->kv.dtype);
        }
    }
}

/* First key that the row at position p sees. */
static int32_t first_key(const struct work *w, int32_t p)
{
    return w->a->window > 0 && p >= w->a->window ? p - w->a->window + 1 : 0;
}

/* ---- a tile's keys and values, as the products want them ---- */

#if defined(__AVX512F__)
VF_INLINE void transpose(vf r[VF])
{
    __m512i a[16], b[16];
    VF_UNROLL
    for (int i = 0; i < 16; i++) {
        a[i] = _mm512_castps_si512(r[i]);
    }
    VF_UNROLL
    for (int i = 0; i < 16; i += 2) { /* pairs of rows, then fours, in each quarter of 128 bits */
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    VF_UNROLL
    for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    VF_UNROLL
    for (int i = 0; i < 4; i++) { /* then the quarters change places */
        const __m512i even0 = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
        const __m512i odd0 = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        const __m512i even1 = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
        const __m512i odd1 = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
        r[i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(even0, even1, 0x88));
        r[i + 4] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(odd0, odd1, 0x88));
        r[i + 8] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(even0, even1, 0xdd));
        r[i + 12] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(odd0, odd1, 0xdd));
    }
}
#elif defined(__AVX2__) && defined(__FMA__)
VF_INLINE void transpose(vf r[VF])
{
    vf a[8], b[8];
    VF_UNROLL
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    VF_UNROLL
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    VF_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}
#else
VF_INLINE void transpose(vf r[VF])
{
    for (int i = 0; i < VF; i++) {
        for (int j = 0; j < i; j++) {
            const float x = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = x;
        }
    }
}
#endif

/* Pages lie anywhere, so the machine does not see the next tile coming: it is asked for early, and
 * a little at a time, because only some twenty lines can be on their way at once. */
VF_INLINE void fetch(const char *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(p + i, 0, 2);
    }
}

/* K of a tile to columns of keys. An "item" is what a column holds for one step of the product: an
 * fp32 number, or with pairs two bf16 (moved as if they were one fp32; no arithmetic touches it).
 */
static void spread_keys(const struct work *w, const char *src, const char *next)
{
    const bool pairs = w->b->pairs, widen = !pairs && w->a->kv.dtype == K_BF16;
    const int64_t row_bytes = k_kv_row(&w->a->kv) * w->es, items = pairs ? w->dim / 2 : w->dim;
    const int64_t panel = (pairs ? (w->dim + 1) / 2 : w->dim) * (int64_t)TILE_COLS;
    for (int64_t key = 0; key < S; key += VF) {
        fetch(next + key * row_bytes, VF * row_bytes);
        float *dst = w->k + key / TILE_COLS * panel + key % TILE_COLS;
        const char *rows = src + key * row_bytes;
        int64_t c = 0;
        for (; c + VF <= items; c += VF) {
            vf r[VF];
            VF_UNROLL
            for (int i = 0; i < VF; i++) {
                const char *at = rows + i * row_bytes + c * (widen ? 2 : 4);
                r[i] = widen ? vf_load_bf16((const uint16_t *)(const void *)at) : vf_load_raw(at);
            }
            transpose(r);
            VF_UNROLL
            for (int i = 0; i < VF; i++) {
                vf_store(dst + (c + i) * TILE_COLS, r[i]);
            }
        }
        for (int i = 0; i < VF; i++) {
            const char *row = rows + i * row_bytes;
            for (int64_t rest = c; rest < items; rest++) {
                if (widen) {
                    uint16_t h;
                    memcpy(&h, row + rest * 2, sizeof h);
                    dst[rest * TILE_COLS + i] = oct_bf16_to_f32(h);
                } else {
                    memcpy(dst + rest * TILE_COLS + i, row + rest * 4, 4);
                }
            }
            if (pairs && w->dim % 2) {
                uint32_t half = 0; /* the second of the last pair is zero */
                memcpy(&half, row + items * 4, 2);
                memcpy(dst + items * TILE_COLS + i, &half, sizeof half);
            }
        }
    }
}

static void widen_values(const struct work *w, const char *src, int32_t lo, int32_t hi,
                         const char *next)
{
    const int64_t row_bytes = k_kv_row(&w->a->kv) * w->es;
    for (int64_t j = lo; j < hi; j++) {
        if (next) {
            fetch(next + j * row_bytes, row_bytes);
        }
        float *row = w->v + j * w->dim_up;
        vf_load_row(row, src + j * row_bytes, w->dim, w->a->kv.dtype);
        memset(row + w->dim, 0, (size_t)(w->dim_up - w->dim) * sizeof(float));
    }
}

/* ---- products ---- */

/* Scores of MR lines with TILE_COLS keys. */
typedef void scores_fn(int64_t dim, const void *q, const void *k, float *p);

#define SCORES_F32(MR) \
    static void scores_f32_##MR(int64_t dim, const void *q, const void *k, float *p) \
    { \
        vf acc[TILE_ROWS][2]; \
        tile_zero(MR, acc); \
        tile_f32(MR, dim, q, dim, k, TILE_COLS, acc); \
        tile_store(MR, p, S, acc); \
    }
TILE_EACH(SCORES_F32)
#define NAME_SCORES_F32(MR) scores_f32_##MR,
static scores_fn *const scores_f32[] = {TILE_EACH(NAME_SCORES_F32)};

#if TILE_HAS_PAIRS
#define SCORES_PAIRS(MR) \
    TILE_PAIRS_TARGET static void scores_pairs_##MR(int64_t dim, const void *q, const void *k, \
                                                    float *p) \
    { \
        vf acc[TILE_ROWS][2]; \
        tile_zero(MR, acc); \
        tile_pairs(MR, dim, q, dim, k, acc); \
        tile_store(MR, p, S, acc); \
    }
TILE_EACH(SCORES_PAIRS)
#define NAME_SCORES_PAIRS(MR) scores_pairs_##MR,
static scores_fn *const scores_pairs[] = {TILE_EACH(NAME_SCORES_PAIRS)};
#else
#define scores_pairs scores_f32
#endif

/* acc of MR lines, TILE_COLS of its columns: acc * correction + P V over n keys. */
typedef void values_fn(int64_t n, const float *p, const float *v, int64_t v_stride, float *acc,
                       int64_t acc_stride, const float *correction);

#define VALUES(MR) \
    static void values_##MR(int64_t n, const float *p, const float *v, int64_t v_stride, \
                            float *acc, int64_t acc_stride, const float *correction) \
    { \
        vf t[TILE_ROWS][2]; \
        tile_load_scaled(MR, acc, acc_stride, correction, t); \
        tile_f32(MR, n, p, S, v, v_stride, t); \
        tile_store(MR, acc, acc_stride, t); \
    }
TILE_EACH(VALUES)
#define NAME_VALUES(MR) values_##MR,
static values_fn *const values[] = {TILE_EACH(NAME_VALUES)};

/* ---- one tile ---- */

/* Lines [l0, l1) all see keys [lo, hi) of the tile: their acc. */
static void add_values(const struct work *w, int32_t l0, int32_t l1, int32_t lo, int32_t hi)
{
    for (int32_t l = l0; l < l1; l += TILE_ROWS) {
        const int mr = l1 - l < TILE_ROWS ? l1 - l : TILE_ROWS;
        for (int32_t c = 0; c < w->dim; c += TILE_COLS) {
            values[mr - 1](hi - lo, w->p + (int64_t)l * S + lo, w->v + (int64_t)lo * w->dim_up + c,
                           w->dim_up, w->split + l * w->state + OCT_ATTN_HEAD + c, w->state,
                           w->correction + l);
        }
    }
}

/* cap * tanh(s / cap). tanh|x| = (1 - e) / (1 + e), e = exp(-2|x|): within 2^-22 of 1. */
VF_INLINE vf soft_cap(vf s, vf cap)
{
    const vf zero = vf_set1(0.0f), one = vf_set1(1.0f);
    const vf x = vf_div(s, cap), size = vf_max(x, vf_sub(zero, x));
    const vf e = vf_exp(vf_mul(size, vf_set1(-2.0f)));
    const vf t = vf_mul(vf_div(vf_sub(one, e), vf_add(one, e)), cap);
    return vf_sub(vf_zero_if_less(t, x, zero), vf_zero_if_less(t, zero, x));
}

/* Scores of line l to scaled and capped ones, -inf where the line does not see the key; its new
 * maximum. */
static void mask_line(const struct work *w, int32_t l, int32_t lo, int32_t hi)
{
    float *p = w->p + (int64_t)l * S;
    const vf scale = vf_set1(w->a->scale), none = vf_set1(-INFINITY);
    vf most = none;
    if (w->a->softcap > 0) {
        const vf cap = vf_set1(w->a->softcap);
        for (int j = 0; j < S; j += VF) {
            const vf s = soft_cap(vf_mul(vf_load(p + j), scale), cap);
            const vf kept = vf_keep(s, lo - j, hi - j, none);
            vf_store(p + j, kept);
            most = vf_max(most, kept);
        }
    } else if (lo == 0 && hi == S) {
        VF_UNROLL
        for (int j = 0; j < S; j += VF) {
            const vf s = vf_mul(vf_load(p + j), scale);
            vf_store(p + j, s);
            most = vf_max(most, s);
        }
    } else {
        for (int j = 0; j < S; j += VF) {
            const vf s = vf_keep(vf_mul(vf_load(p + j), scale), lo - j, hi - j, none);
            vf_store(p + j, s);
            most = vf_max(most, s);
        }
    }
    const float tile = vf_max_lane(most), before = w->split[l * w->state + OCT_ATTN_MAX];
    w->max[l] = before > tile ? before : tile;
}

static void weigh_line(const struct work *w, int32_t l)
{
    float *p = w->p + (int64_t)l * S, *state = w->split + l * w->state;
    const vf max = vf_set1(w->max[l]);
    vf sum = vf_set1(0.0f);
    VF_UNROLL
    for (int j = 0; j < S; j += VF) {
        const vf e = vf_exp(vf_sub(vf_load(p + j), max));
        vf_store(p + j, e);
        sum = vf_add(sum, e);
    }
    state[OCT_ATTN_SUM] = state[OCT_ATTN_SUM] * w->correction[l] + vf_sum(sum);
    state[OCT_ATTN_MAX] = w->max[l];
}

/* What row i of the block sees of the tile whose first key is `base`. False: nothing. */
static bool visible(const struct work *w, int32_t i, int32_t base, int32_t *lo, int32_t *hi)
{
    const int32_t p = w->positions[i], first = first_key(w, p);
    *lo = first > base ? first - base : 0;
    *hi = p - base < S - 1 ? p - base + 1 : S;
    return *lo < *hi && *lo<S && * hi> 0;
}

static const char *keys_of(const struct work *w, int32_t base, int32_t head)
{
    return (const char *)oct_host_ptr(w->a->kv.pool) +
           k_kv_tile(&w->a->kv, w->table[base / S], head) * w->es;
}

/* The keys that this thread will want after those of the tile at `base`; NULL: not known. */
static const char *keys_after(const struct work *w, int32_t base)
{
    int32_t lo, hi;
    if (visible(w, w->b->n_rows - 1, base + S, &lo, &hi)) {
        return keys_of(w, base + S, w->b->head);
    }
    return w->b->next_head ? keys_of(w, first_key(w, w->positions[0]) / S * S, w->b->head + 1)
                           : NULL;
}

static void do_tile(const struct work *w, int32_t base)
{
    int32_t i0 = 0, i1 = w->b->n_rows, lo, hi, all_lo = S, all_hi = 0;
    while (i0 < i1 && !visible(w, i0, base, &lo, &hi)) {
        i0++;
    }
    while (i1 > i0 && !visible(w, i1 - 1, base, &lo, &hi)) {
        i1--;
    }
    if (i0 == i1) {
        return; /* the page table may hold anything here */
    }
    const char *keys = keys_of(w, base, w->b->head);
    const char *vals = keys + k_kv_v_offset(&w->a->kv) * w->es;
    spread_keys(w, keys, vals);

    const int32_t n = w->per_key, l0 = i0 * n, l1 = i1 * n;
    const int64_t panel_items = w->b->pairs ? (w->dim + 1) / 2 : w->dim;
    const int64_t q_bytes = w->b->pairs ? 2 : 4;
    scores_fn *const *scores = w->b->pairs ? scores_pairs : scores_f32;
    for (int32_t l = l0; l < l1; l += TILE_ROWS) {
        const int mr = l1 - l < TILE_ROWS ? l1 - l : TILE_ROWS;
        for (int c = 0; c < S; c += TILE_COLS) {
            scores[mr - 1](w->dim, w->q + (int64_t)l * w->dim * q_bytes, w->k + panel_items * c,
                           w->p + (int64_t)l * S + c);
        }
    }
    for (int32_t i = i0; i < i1; i++) {
        (void)visible(w, i, base, &lo, &hi);
        all_lo = lo < all_lo ? lo : all_lo;
        all_hi = hi > all_hi ? hi : all_hi;
        for (int32_t l = i * n; l < (i + 1) * n; l++) {
            mask_line(w, l, lo, hi);
            w->correction[l] = w->split[l * w->state + OCT_ATTN_MAX];
        }
    }
    for (int32_t l = l0; l < l1; l += VF) {
        const vf old = vf_load(w->correction + l);
        vf_store(w->correction + l, vf_exp(vf_sub(old, vf_load(w->max + l))));
    }
    for (int32_t l = l0; l < l1; l++) {
        weigh_line(w, l);
    }
    widen_values(w, vals, all_lo, all_hi, keys_after(w, base));
    for (int32_t i = i0; i < i1;) { /* rows that see the same keys go together */
        int32_t end = i + 1, lo2, hi2;
        (void)visible(w, i, base, &lo, &hi);
        while (end < i1 && visible(w, end, base, &lo2, &hi2) && lo2 == lo && hi2 == hi) {
            end++;
        }
        add_values(w, i * n, end * n, lo, hi);
        i = end;
    }
}

/* ---- splits ---- */

static void clear(const struct work *w, float *states)
{
    const int64_t lines = (int64_t)w->b->n_rows * w->per_key;
    for (int64_t l = 0; l < lines; l++) {
        float *s = states + l * w->state;
        memset(s, 0, (size_t)w->state * sizeof(float));
        s[OCT_ATTN_MAX] = -INFINITY;
    }
}

static void do_split(const struct work *w, int32_t split)
{
    const int32_t from = split * K_ATTN_SPLIT_TOKENS;
    const int32_t first = first_key(w, w->positions[0]) / S * S;
    const int32_t last = w->positions[w->b->n_rows - 1];
    clear(w, w->split);
    for (int32_t base = first > from ? first : from;
         base <= last && base < from + K_ATTN_SPLIT_TOKENS; base += S) {
        do_tile(w, base);
    }
}

/* run = run and then `next`, the result of a later split that holds a key the line sees. */
static void merge(const struct work *w, float *run, const float *next)
{
    const float a = run[OCT_ATTN_MAX], b = next[OCT_ATTN_MAX], max = a > b ? a : b;
    float by[VF] = {a - max, b - max};
    vf_store(by, vf_exp(vf_load(by)));
    for (int32_t c = 0; c < w->dim_up; c += VF) {
        float *x = run + OCT_ATTN_HEAD + c;
        const vf y = vf_mul(vf_load(next + OCT_ATTN_HEAD + c), vf_set1(by[1]));
        vf_store(x, vf_fma(vf_load(x), vf_set1(by[0]), y));
    }
    run[OCT_ATTN_SUM] = run[OCT_ATTN_SUM] * by[0] + next[OCT_ATTN_SUM] * by[1];
    run[OCT_ATTN_MAX] = max;
}

/* First and last split of row i. */
static void row_splits(const struct work *w, int32_t i, int32_t *first, int32_t *last)
{
    *first = first_key(w, w->positions[i]) / K_ATTN_SPLIT_TOKENS;
    *last = w->positions[i] / K_ATTN_SPLIT_TOKENS;
}

/* The sum with the sink of `head` in it; *by: what the values are multiplied by, so that neither
 * overflows. */
static float add_sink(const struct work *w, int64_t head, const float *state, float *by)
{
    *by = 1;
    if (!w->a->sinks) {
        return state[OCT_ATTN_SUM];
    }
    const float sink = ((const float *)oct_host_ptr(w->a->sinks))[head];
    const float most = state[OCT_ATTN_MAX], max = most > sink ? most : sink;
    float e[VF] = {most - max, sink - max};
    vf_store(e, vf_exp(vf_load(e)));
    *by = e[0];
    return state[OCT_ATTN_SUM] * e[0] + e[1];
}

/* out of row i, head h of the block. */
static void write_out(const struct work *w, int32_t i, int32_t h, float *state)
{
    const int64_t head = (int64_t)w->b->head * w->per_key + h;
    const int64_t at = (int64_t)(w->b->row0 + i) * w->a->out_stride + head * w->dim;
    float factor;
    const vf sum = vf_set1(add_sink(w, head, state, &factor)), by = vf_set1(factor);
    for (int32_t c = 0; c < w->dim_up; c += VF) {
        float *x = state + OCT_ATTN_HEAD + c;
        vf_store(x, vf_div(vf_mul(vf_load(x), by), sum));
    }
    vf_store_row((char *)oct_host_ptr(w->a->out) + at * w->es, state + OCT_ATTN_HEAD, w->dim,
                 w->a->kv.dtype);
}

void OCT_SIMD(oct_simd_attn_block)(const struct oct_attn_block *b, char *scratch)
{
    struct work w;
    start(&w, b, scratch);
    int32_t begin, end, first, last;
    row_splits(&w, 0, &begin, &end);
    row_splits(&w, b->n_rows - 1, &first, &end);
    for (int32_t s = begin; s <= end; s++) {
        do_split(&w, s);
        for (int32_t i = 0; i < b->n_rows; i++) {
            row_splits(&w, i, &first, &last);
            for (int32_t l = i * w.per_key; l < (i + 1) * w.per_key; l++) {
                float *run = w.run + l * w.state, *split = w.split + l * w.state;
                if (s == first) {
                    memcpy(run, split, (size_t)w.state * sizeof(float));
                } else if (s > first && s <= last) {
                    merge(&w, run, split);
                }
            }
        }
    }
    for (int32_t i = 0; i < b->n_rows; i++) {
        for (int32_t h = 0; h < w.per_key; h++) {
            write_out(&w, i, h, w.run + ((int64_t)i * w.per_key + h) * w.state);
        }
    }
}

void OCT_SIMD(oct_simd_attn_split)(const struct oct_attn_block *b, int32_t split, float *results,
                                   int64_t stride, char *scratch)
{
    struct work w;
    start(&w, b, scratch);
    do_split(&w, split);
    const int64_t lines = (int64_t)b->n_rows * w.per_key;
    for (int64_t l = 0; l < lines; l++) {
        memcpy(results + l * stride, w.split + l * w.state, (size_t)w.state * sizeof(float));
    }
}

void OCT_SIMD(oct_simd_attn_merge)(const struct oct_attn_block *b, float *results, int64_t stride,
                                   int64_t split_stride)
{
    struct work w;
    start(&w, b, NULL);
    for (int32_t i = 0; i < b->n_rows; i++) {
        int32_t first, last;
        row_splits(&w, i, &first, &last);
        for (int32_t h = 0; h < w.per_key; h++) {
            const int64_t line = (int64_t)i * w.per_key + h;
            float *run = results + first * split_stride + line * stride;
            for (int32_t s = first + 1; s <= last; s++) {
                merge(&w, run, results + s * split_stride + line * stride);
            }
            write_out(&w, i, h, run);
        }
    }
}
