/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/gemm_simd.h"

#include "cpu/simd_tile.h"

int32_t OCT_SIMD(oct_simd_gemm_cols)(void)
{
    return TILE_COLS;
}

/* sums = before + store(from + bias), to be rounded once more where it is stored. */
static void add_residual(float *sums, const float *from, const float *bias, const char *before,
                         int64_t cols, int32_t dtype)
{
    vf_load_row(sums, before, cols, dtype);
    for (int64_t j = 0; j < cols; j++) {
        sums[j] += oct_round_to(bias ? from[j] + bias[j] : from[j], dtype);
    }
}

/* A finished tile [mr][TILE_COLS] goes to its place: `cols` of its columns from `col` on. */
static void put_tile(const struct k_gemm_args *a, const float *tile, int mr, int64_t row,
                     int64_t col, int64_t cols)
{
    const float *bias = a->bias ? (const float *)oct_host_ptr(a->bias) + col : NULL;
    VF_UNSET float sums[TILE_COLS];
    for (int64_t i = 0; i < mr; i++) {
        const float *from = tile + i * TILE_COLS;
        const int64_t at = (row + i) * a->out_stride + col;
        float *out_f32 = (float *)oct_host_ptr(a->out) + at;
        uint16_t *out_bf16 = (uint16_t *)oct_host_ptr(a->out) + at;
        int64_t j = 0;
        if (a->residual) {
            const char *before =
                (const char *)oct_host_ptr(a->residual) + at * k_dtype_bytes(a->dtype);
            add_residual(sums, from, bias, before, cols, a->dtype);
            vf_store_row((char *)oct_host_ptr(a->out) + at * k_dtype_bytes(a->dtype), sums, cols,
                         a->dtype);
            continue;
        }
        for (; j + VF <= cols; j += VF) {
            const vf x = vf_load(from + j), y = bias ? vf_add(x, vf_load(bias + j)) : x;
            if (a->out_dtype == K_BF16) {
                vf_store_bf16(out_bf16 + j, y);
            } else {
                vf_store(out_f32 + j, y);
            }
        }
        for (; j < cols; j++) {
            const float y = bias ? from[j] + bias[j] : from[j];
            if (a->out_dtype == K_BF16) {
                out_bf16[j] = oct_f32_to_bf16(y);
            } else {
                out_f32[j] = y;
            }
        }
    }
}

/* tile[mr][TILE_COLS] = rows of a times panel b; `a` holds fp32 or bf16 as the name says. */
typedef void product_fn(int64_t k, const void *a, int64_t stride, const void *b, float *tile);

#define PRODUCT_F32(MR) \
    static void f32_##MR(int64_t k, const void *a, int64_t stride, const void *b, float *tile) \
    { \
        vf acc[TILE_ROWS][2]; \
        tile_zero(MR, acc); \
        tile_f32(MR, k, a, stride, b, TILE_COLS, acc); \
        tile_store(MR, tile, TILE_COLS, acc); \
    }
#define PRODUCT_WIDEN(MR) \
    static void widen_##MR(int64_t k, const void *a, int64_t stride, const void *b, float *tile) \
    { \
        vf acc[TILE_ROWS][2]; \
        tile_zero(MR, acc); \
        tile_widen(MR, k, a, stride, b, TILE_COLS, acc); \
        tile_store(MR, tile, TILE_COLS, acc); \
    }
TILE_EACH(PRODUCT_F32)
TILE_EACH(PRODUCT_WIDEN)
#define NAME_F32(MR) f32_##MR,
#define NAME_WIDEN(MR) widen_##MR,
static product_fn *const products_f32[] = {TILE_EACH(NAME_F32)};
static product_fn *const products_widen[] = {TILE_EACH(NAME_WIDEN)};

#if TILE_HAS_PAIRS
#define PRODUCT_PAIRS(MR) \
    TILE_PAIRS_TARGET static void pairs_##MR(int64_t k, const void *a, int64_t stride, \
                                             const void *b, float *tile) \
    { \
        vf acc[TILE_ROWS][2]; \
        tile_zero(MR, acc); \
        tile_pairs(MR, k, a, stride, b, acc); \
        tile_store(MR, tile, TILE_COLS, acc); \
    }
TILE_EACH(PRODUCT_PAIRS)
#define NAME_PAIRS(MR) pairs_##MR,
static product_fn *const products_pairs[] = {TILE_EACH(NAME_PAIRS)};
#else
#define products_pairs products_widen
#endif

void OCT_SIMD(oct_simd_gemm_block)(const struct k_gemm_args *a, const struct oct_cpu_matrix *w,
                                   int32_t row0, int32_t row1, int32_t panel0, int32_t panel1,
                                   float *wide)
{
    const bool widen = w->dtype == K_BF16 && !w->pairs;
    product_fn *const *products = w->dtype == K_F32 ? products_f32
                                  : widen           ? products_widen
                                                    : products_pairs;
    VF_UNSET float tile[TILE_ROWS * TILE_COLS];
    for (int32_t row = row0; row < row1; row += TILE_ROWS) {
        const int mr = row1 - row < TILE_ROWS ? row1 - row : TILE_ROWS;
        const char *in =
            (const char *)oct_host_ptr(a->in) + row * a->in_stride * k_dtype_bytes(w->dtype);
        const void *rows = in;
        int64_t stride = a->in_stride;
        if (widen) {
            for (int i = 0; i < mr; i++) {
                vf_load_row(wide + (int64_t)i * w->k, in + i * stride * 2, w->k, K_BF16);
            }
            rows = wide;
            stride = w->k;
        }
        for (int32_t p = panel0; p < panel1; p++) {
            const int32_t col = p * TILE_COLS, left = w->n - col;
            products[mr - 1](w->k, rows, stride, w->panels + p * w->panel_bytes, tile);
            put_tile(a, tile, mr, row, col, left < TILE_COLS ? left : TILE_COLS);
        }
    }
}
