/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/gemm_simd.h"

#include "base/mem.h"
#include "cpu/slab.h"

/* Bytes of one panel. False if the sizes overflow. */
static bool panel_size(int32_t k, int32_t cols, int32_t dtype, uint64_t *bytes)
{
    const uint64_t even = ((uint64_t)k + 1) / 2 * 2; /* pairs round k up; the others do not mind */
    return oct_u64_mul(even, (uint64_t)cols * (uint64_t)k_dtype_bytes(dtype), bytes) &&
           oct_u64_add(*bytes, 63, bytes) && ((*bytes &= ~(uint64_t)63), true);
}

static int32_t n_panels(int32_t n, int32_t cols)
{
    return (int32_t)(((int64_t)n + cols - 1) / cols);
}

uint64_t oct_cpu_matrix_bytes(struct oct_cpu *d, int32_t n, int32_t k, int32_t dtype)
{
    const int32_t cols = OCT_SIMD_PICK(d->simd, oct_simd_gemm_cols)();
    uint64_t panel, all;
    if (!panel_size(k, cols, dtype, &panel) ||
        !oct_u64_mul(panel, (uint64_t)n_panels(n, cols), &all) || !oct_u64_add(all, 256, &all)) {
        return UINT64_MAX;
    }
    return all + sizeof(struct oct_cpu_matrix);
}

/* The transpose of a panel's rows, `unit` elements (1 or 2) at a time, in blocks that stay in the
 * first cache. The panel is all zero before. */
#define TRANSPOSE(name, type) \
    static void name(type *dst, const char *src, int64_t row_bytes, int64_t rows, int64_t len, \
                     int64_t cols) \
    { \
        enum { BLOCK = 64 / (int)sizeof(type) }; \
        for (int64_t k0 = 0; k0 < len; k0 += BLOCK) { \
            const int64_t k1 = k0 + BLOCK < len ? k0 + BLOCK : len; \
            for (int64_t r = 0; r < rows; r++) { \
                type line[BLOCK]; \
                const char *from = src + r * row_bytes + k0 * (int64_t)sizeof(type); \
                if (k1 - k0 == BLOCK) { /* a constant size: one load instead of a call */ \
                    memcpy(line, from, sizeof line); \
                } else { \
                    memcpy(line, from, (size_t)(k1 - k0) * sizeof(type)); \
                } \
                for (int64_t k = k0; k < k1; k++) { \
                    dst[k * cols + r] = line[k - k0]; \
                } \
            } \
        } \
    }
TRANSPOSE(transpose16, uint16_t)
TRANSPOSE(transpose32, uint32_t)

static void fill_panel(const struct oct_cpu_matrix *w, const char *rows, int32_t p)
{
    const int64_t es = k_dtype_bytes(w->dtype), row_bytes = w->k * es;
    const int64_t first = (int64_t)p * w->cols, left = w->n - first;
    const int64_t n = left < w->cols ? left : w->cols;
    const char *src = rows + first * row_bytes;
    char *dst = w->panels + p * w->panel_bytes;
    memset(dst, 0, (size_t)w->panel_bytes);
    if (w->dtype == K_F32) {
        transpose32((uint32_t *)(void *)dst, src, row_bytes, n, w->k, w->cols);
    } else if (!w->pairs) {
        transpose16((uint16_t *)(void *)dst, src, row_bytes, n, w->k, w->cols);
    } else {
        transpose32((uint32_t *)(void *)dst, src, row_bytes, n, w->k / 2, w->cols);
        if (w->k % 2) { /* the last pair has one element */
            uint16_t *last = (uint16_t *)(void *)dst + (int64_t)(w->k - 1) * w->cols;
            for (int64_t r = 0; r < n; r++) {
                memcpy(last + 2 * r, src + r * row_bytes + row_bytes - es, (size_t)es);
            }
        }
    }
}

struct filling {
    const struct oct_cpu_matrix *w;
    const char *rows;
};

static void fill_panels(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct filling *f = arg;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        fill_panel(f->w, f->rows, (int32_t)p);
    }
}

oct_status oct_cpu_matrix_create(struct oct_cpu *d, const struct oct_matrix_desc *m, k_ptr *out)
{
    OCT_ASSERT(m->n >= 1 && m->k >= 1 && (m->dtype == K_BF16 || m->dtype == K_F32));
    const int32_t cols = OCT_SIMD_PICK(d->simd, oct_simd_gemm_cols)();
    const uint64_t bytes = oct_cpu_matrix_bytes(d, m->n, m->k, m->dtype);
    uint64_t panel_bytes = 0;
    if (bytes > INT64_MAX || !panel_size(m->k, cols, m->dtype, &panel_bytes)) {
        return OCT_FAIL(OCT_E_LIMIT, "a matrix of %d x %d is larger than any memory", m->n, m->k);
    }
    struct oct_cpu_matrix *w = oct_malloc(sizeof *w);
    if (!w) {
        return oct_no_memory("a weight matrix", sizeof *w);
    }
    *w = (struct oct_cpu_matrix){
        .n = m->n,
        .k = m->k,
        .dtype = m->dtype,
        .cols = cols,
        .n_panels = n_panels(m->n, cols),
        .pairs = m->dtype == K_BF16 && d->simd == OCT_SIMD_V4 && d->has_bf16_pairs,
        .simd = d->simd,
        .panel_bytes = (int64_t)panel_bytes,
    };
    const size_t all = (size_t)(panel_bytes * (uint64_t)w->n_panels);
    w->panels = oct_cpu_slab_take(d, all, &w->slab);
    if (!w->panels) {
        oct_free(w);
        return oct_no_memory("a weight matrix", all);
    }
    oct_cpu_loop(d, (int64_t)m->n * m->k, w->n_panels, fill_panels, &(struct filling){w, m->rows});
    *out = (k_ptr)(uintptr_t)w;
    return OCT_OK;
}

void oct_cpu_matrix_destroy(struct oct_cpu *d, k_ptr m)
{
    struct oct_cpu_matrix *w = oct_host_ptr(m);
    oct_cpu_slab_give(d, w->slab);
    oct_free(w);
}

/* A piece of the product for one thread: ROWS rows by `group` panels. Few rows: one panel, for an
 * even share of the weight that is streamed. Many: as many panels as stay in the second cache
 * together, so that rows read once meet several. No cut changes bits (simd_tile.h). */
enum { BLOCK_ROWS = 96, GROUP_BYTES = 384 * 1024, GROUP_MAX = 8 };

static int32_t panels_together(const struct oct_cpu *d, const struct oct_cpu_matrix *w,
                               int32_t n_blocks)
{
    if (n_blocks == 1) {
        return 1;
    }
    int64_t group = GROUP_BYTES / w->panel_bytes;
    const int64_t fair = (int64_t)w->n_panels * n_blocks / (8 * d->n_threads);
    group = group < fair ? group : fair;
    return (int32_t)(group < 1 ? 1 : group > GROUP_MAX ? GROUP_MAX : group);
}

struct product {
    const struct oct_cpu *d;
    const struct k_gemm_args *a;
    const struct oct_cpu_matrix *w;
    int32_t n_blocks, group; /* blocks of rows; panels of an item */
};

static void pieces(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct product *p = arg;
    const int32_t m = p->a->m, n_panels_all = p->w->n_panels;
    for (int64_t item = begin; item < end; item++) {
        const int32_t row0 = (int32_t)(item % p->n_blocks) * BLOCK_ROWS;
        const int32_t panel0 = (int32_t)(item / p->n_blocks) * p->group;
        const int32_t row1 = m - row0 < BLOCK_ROWS ? m : row0 + BLOCK_ROWS;
        const int32_t panel1 = n_panels_all - panel0 < p->group ? n_panels_all : panel0 + p->group;
        OCT_SIMD_PICK(p->w->simd, oct_simd_gemm_block)
        (p->a, p->w, row0, row1, panel0, panel1, oct_cpu_scratch(p->d, thread));
    }
}

oct_status oct_cpu_gemm(struct oct_cpu *d, const struct k_gemm_args *a)
{
    const struct oct_cpu_matrix *w = oct_host_ptr(a->weight);
    OCT_ASSERT(w->n == a->n && w->k == a->k && w->dtype == a->dtype);
    if (w->dtype == K_BF16 && !w->pairs) {
        OCT_TRY(oct_cpu_scratch_reserve(d, OCT_GEMM_MAX_TILE_ROWS * (size_t)a->k * sizeof(float)));
    }
    const int32_t n_blocks = (a->m + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const int32_t group = panels_together(d, w, n_blocks);
    const int32_t n_groups = (w->n_panels + group - 1) / group;
    const int64_t n_items = (int64_t)n_groups * n_blocks;
    const int threads = oct_cpu_threads(d, (int64_t)a->m * a->n * a->k / 8);
    /* A streamed weight in a few stretches for each thread; else pieces to whoever is free. */
    const int64_t piece = n_blocks == 1 ? (n_items + 4 * threads - 1) / (4 * threads) : 1;
    struct product p = {d, a, w, n_blocks, group};
    oct_pool_run(d->dev.pool, threads, n_items, piece, pieces, &p);
    return OCT_OK;
}
