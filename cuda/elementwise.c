/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise.c - plans of the ops whose time is the bytes they move. */
#include "kernels.h"

static uint32_t ceil_div(int64_t n, int64_t by)
{
    return (uint32_t)((n + by - 1) / by);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int k_plan_embed(const struct k_facts *f, const struct k_work *w, const struct k_embed_args *a,
                 struct k_launch out[K_MAX_LAUNCHES])
{
    enum { ROWS = 4, STRETCH = 1024 };
    (void)f;
    (void)w;
    if (a->dtype != K_BF16) {
        return 0;
    }
    const uint64_t bytes = (uint64_t)a->rows * (uint64_t)a->dim * 2;
    out[0] = (struct k_launch){
        .kernel = K_KERNEL_embed_b16,
        .grid = {ceil_div(a->rows, ROWS), ceil_div(a->dim, STRETCH), 1},
        .block = {32 * ROWS, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes = bytes + 4 * (uint64_t)a->rows, .write_bytes = bytes},
    };
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}

/* How many threads share a row and how many eights each holds decides the order of the sum: by dim
 * alone. */
static void norm_shape(int32_t dim, int32_t *kernel, uint32_t *threads)
{
    const uint32_t eights = (uint32_t)dim / 8;
    uint32_t each = 4;
    *kernel = K_KERNEL_rmsnorm_b16_v4;
    if (eights <= 128) {
        *kernel = K_KERNEL_rmsnorm_b16_v1;
        each = 1;
    } else if (eights <= 512) {
        *kernel = K_KERNEL_rmsnorm_b16_v2;
        each = 2;
    } else if (eights > 2048) {
        *kernel = K_KERNEL_rmsnorm_b16_long;
    }
    *threads = min_u32(32 * ceil_div(eights, 32 * (int64_t)each), 512);
}

int k_plan_rmsnorm(const struct k_facts *f, const struct k_work *w, const struct k_rmsnorm_args *a,
                   struct k_launch out[K_MAX_LAUNCHES])
{
    (void)f;
    (void)w;
    if (a->dtype != K_BF16 || a->dim % 8 != 0 || (a->add && a->row_ids)) {
        return 0;
    }
    const uint64_t rows = (uint64_t)a->rows, row_bytes = (uint64_t)a->dim * 2;
    const uint64_t streams = a->add ? 2 : 1;
    out[0] = (struct k_launch){
        .grid = {(uint32_t)a->rows, 1, 1},
        .block = {0, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes = (streams * rows + 1) * row_bytes + (a->row_ids ? 4 * rows : 0),
                 .write_bytes = streams * rows * row_bytes},
    };
    norm_shape(a->dim, &out[0].kernel, &out[0].block[0]);
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}

int k_plan_silu_mul(const struct k_facts *f, const struct k_work *w,
                    const struct k_silu_mul_args *a, struct k_launch out[K_MAX_LAUNCHES])
{
    enum { THREADS = 128, STRETCH = THREADS * 16 };
    (void)f;
    (void)w;
    const uint32_t stretches = ceil_div(a->dim, STRETCH);
    if (a->dtype != K_BF16 || a->dim % 8 != 0 || stretches > 65535) {
        return 0;
    }
    const uint64_t bytes = (uint64_t)a->rows * (uint64_t)a->dim * 2;
    out[0] = (struct k_launch){
        .kernel = K_KERNEL_silu_mul_b16,
        .grid = {(uint32_t)a->rows, stretches, 1},
        .block = {THREADS, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes = 2 * bytes, .write_bytes = bytes},
    };
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}

/* Lanes that hold a head decide the variant; the bits are the same in all of them (rope.cuh). */
static void rope_shape(const struct k_rope_kv_args *a, int32_t *kernel, uint32_t *lanes)
{
    *kernel = K_KERNEL_rope_kv_b16_d256;
    *lanes = 32;
    if (!k_rope_is_wide(a->kv.head_dim, a->rot_dim)) {
        *kernel = K_KERNEL_rope_kv_b16_any;
    } else if (a->kv.head_dim <= 64) {
        *kernel = K_KERNEL_rope_kv_b16_d64;
        *lanes = 8;
    } else if (a->kv.head_dim <= 128) {
        *kernel = K_KERNEL_rope_kv_b16_d128;
        *lanes = 16;
    }
}

int k_plan_rope_kv(const struct k_facts *f, const struct k_work *w, const struct k_rope_kv_args *a,
                   struct k_launch out[K_MAX_LAUNCHES])
{
    enum { THREADS = 128, BLOCKS_PER_SM = 8 };
    (void)w;
    const int32_t g = a->kv.n_kv_heads, heads = a->n_heads + 2 * g;
    if (a->kv.dtype != K_BF16 || a->kv.head_dim > 256 || heads > 65535) {
        return 0;
    }
    struct k_launch l = {.block = {THREADS, 1, 1}, .pdl = 1};
    uint32_t lanes;
    rope_shape(a, &l.kernel, &lanes);
    /* Two waves of blocks if there are rows enough; heads of a group share the angles. */
    const uint32_t shares = ceil_div(heads, THREADS / lanes);
    const uint32_t blocks = 2 * BLOCKS_PER_SM * (uint32_t)f->n_sms;
    const uint32_t wanted = min_u32(ceil_div(blocks, a->rows), shares);
    l.grid[0] = (uint32_t)a->rows;
    l.grid[1] = ceil_div(shares, ceil_div(shares, wanted));
    l.grid[2] = 1;
    const uint64_t norms = (a->q_norm ? 1u : 0u) + (a->k_norm ? 1u : 0u);
    const uint64_t rows = (uint64_t)a->rows,
                   row_bytes = (uint64_t)heads * (uint64_t)a->kv.head_dim * 2;
    /* Positions and sequences, a page number and a row of angles for each token. */
    l.cost.read_bytes =
        rows * (row_bytes + 12 + 4 * (uint64_t)a->rot_dim) + 2 * (uint64_t)a->kv.head_dim * norms;
    l.cost.write_bytes = rows * row_bytes;
    out[0] = l;
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}

int k_plan_kv_copy(const struct k_facts *f, const struct k_work *w, const struct k_kv_copy_args *a,
                   struct k_launch out[K_MAX_LAUNCHES])
{
    enum { THREADS = 128, STRETCH = THREADS * 4 * 16 };
    (void)f;
    (void)w;
    const uint64_t pairs = (uint64_t)a->n_pairs, bytes = pairs * (uint64_t)a->page_bytes;
    out[0] = (struct k_launch){
        .kernel = K_KERNEL_kv_copy_16,
        .grid = {(uint32_t)a->n_pairs, min_u32(ceil_div(a->page_bytes, STRETCH), 65535), 1},
        .block = {THREADS, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes = bytes + pairs * sizeof(struct k_kv_copy_pair), .write_bytes = bytes},
    };
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}
