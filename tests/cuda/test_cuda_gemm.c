/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix product's kernels against the CPU backend: shapes around every tile, every way to
 * share out the work, and the same bits for a row in all of them. */
#include "cuda/gemm_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SHAPES = 12, DEEP = 1 }; /* the virtual GPU is ten times slower */
#else
enum { SHAPES = 32, DEEP = 3 };
#endif

static const int32_t ms[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 128, 129, 200};
static const int32_t ns[] = {8, 18, 64, 72, 96, 200, 576, 1000};
static const int32_t ks[] = {8, 54, 64, 72, 96, 200, 512, 520, 1024, 1536};
static const int32_t sms[] = {0, 0, 1, 3, 5, 7, 9, 11, 16, 40}; /* 0: what the device has */
#define PICK(table) table[gt_random() % (sizeof(table) / sizeof *(table))]

#define KERNEL(module, name, args) K_KERNEL_##name,
static const int32_t kernels[] = {K_GEMM_KERNELS(KERNEL)};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

static const struct gt_how plain = {.kernel = -1, .n_sms = 0, .seed = 1};

/* Run i of a case: first as planned, with one row; then every kernel in turn. */
static int32_t vary(int i, int32_t m_max, struct gt_how *how)
{
    *how = (struct gt_how){.kernel = i < 2 ? -1 : kernels[(i - 2) % N_KERNELS],
                           .n_sms = PICK(sms),
                           .seed = 2 + (uint64_t)i};
    const int32_t m = i == 0 ? 1 : PICK(ms);
    return m < m_max ? m : m_max;
}

/* A shape, at its most rows against the oracle, then again with fewer rows, by other kernels on
 * other grids: the same bits. */
static void check_shape(const char *arch, int32_t m_max, int32_t n, int32_t k, bool whole,
                        int rounds)
{
    struct gt_case c = {.n = n, .k = k, .m_max = m_max, .whole_numbers = whole};
    c.bias = gt_random() % 2;
    c.f32 = gt_random() % 3 == 0;
    c.residual = !c.f32 && gt_random() % 2;
    gt_make(&c);
    gt_oracle(&c);
    gt_run(&c, m_max, &plain);
    gt_compare_with_oracle(&c, arch);
    gt_keep(&c);
    for (int i = 0; i < 2 + rounds * N_KERNELS; i++) {
        struct gt_how how;
        const int32_t m = vary(i, m_max, &how);
        gt_run(&c, m, &how);
        gt_compare_with_kept(&c, m, &how, arch);
    }
    gt_drop(&c);
}

static void shapes(const char *arch)
{
    kt_open(arch, 1);
    for (int i = 0; i < SHAPES; i++) {
        const int32_t n = ns[i % 8], k = ks[(i + i / 10) % 10];
        check_shape(arch, 200, n, k, i % 2, 1);
    }
}

Test(cuda_gemm, matches_the_cpu_and_itself_a100)
{
    shapes("a100");
}

Test(cuda_gemm, matches_the_cpu_and_itself_h100)
{
    shapes("h100");
}

/* Many chunks of K, so that tiles go through several blocks: sums that are handed on, that are left
 * for whoever ends the tile, that wait in shared memory and, where it is full, in the workspace. */
static void deep(const char *arch)
{
    static const struct {
        int32_t m, n, k;
    } rows[] = {{34, 136, 4000}, {66, 72, 2700}, {33, 64, 10240}};
    kt_open(arch, 1);
    for (int i = 0; i < DEEP; i++) {
        check_shape(arch, rows[i].m, rows[i].n, rows[i].k, i == 1, 2);
    }
}

Test(cuda_gemm, many_chunks_come_together_in_order_a100)
{
    deep("a100");
}

Test(cuda_gemm, many_chunks_come_together_in_order_h100)
{
    deep("h100");
}

/* Half a unit of bf16 (2^-9 of it) from each of three roundings, twice for the units that grow at a
 * power of two. */
static const float silu_bound = 6.0f / 256;

static float silu(float x)
{
    return x / (1 + expf(-x));
}

static void check_silu(const char *arch, int32_t f, int32_t k)
{
    struct gt_case c = {.n = 2 * f, .k = k, .m_max = 200, .bias = gt_random() % 2};
    gt_make(&c);
    gt_run(&c, 200, &plain);
    gt_keep(&c);
    for (int i = 0; i < 2 + N_KERNELS; i++) {
        struct gt_how how;
        const int32_t m = vary(i, 200, &how);
        uint16_t *out = gt_run_silu(&c, m, &how);
        for (int32_t r = 0; r < m; r++) {
            const uint16_t *row = (uint16_t *)c.kept + (size_t)r * (size_t)c.out_stride;
            for (int32_t j = 0; j < f; j++) {
                const float gate = gt_float(row[j]), up = gt_float(row[f + j]);
                const float want = silu(gate) * up, got = gt_float(out[r * f + j]);
                cr_assert(fabsf(got - want) <= silu_bound * fabsf(want) + 1e-30f,
                          "%s, %d x %d, k %d, %d SMs: row %d column %d is %g, not %g", arch, m, f,
                          k, how.n_sms, r, j, (double)got, (double)want);
            }
        }
        gt_compare_with_act(&c, out, m, arch);
        free(out);
    }
    gt_drop(&c);
}

static void silu_shapes(const char *arch)
{
    static const int32_t fs[] = {8, 24, 32, 40, 96, 200, 512}, kss[] = {64, 96, 520, 1024};
    kt_open(arch, 1);
    for (int i = 0; i < 7; i++) {
        check_silu(arch, fs[i], kss[i % 4]);
    }
}

Test(cuda_gemm, silu_is_the_product_and_then_act_a100)
{
    silu_shapes("a100");
}

Test(cuda_gemm, silu_is_the_product_and_then_act_h100)
{
    silu_shapes("h100");
}

/* A panel of every layout, element by element against the rule in gemm_pack.h. */
Test(cuda_gemm, packed_weights_lie_as_the_header_says)
{
    static const struct {
        int32_t n, k;
        bool gate_up;
    } rows[] = {
        {8, 8, false}, {200, 72, false}, {130, 136, false}, {16, 8, true}, {176, 200, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int32_t n = rows[i].n, k = rows[i].k, half = n / 2;
        uint16_t *w = malloc((size_t)n * (size_t)k * 2);
        for (int32_t j = 0; j < n * k; j++) {
            w[j] = (uint16_t)(j + 1);
        }
        const size_t bytes = k_gemm_packed_bytes(n, k);
        cr_assert_eq(bytes, (size_t)((n + 63) / 64) * (size_t)((k + 63) / 64) * 8192);
        uint16_t *packed = malloc(bytes), *want = calloc(1, bytes);
        memset(packed, 0xff, bytes);
        const int32_t panels = k_gemm_n_panels(n);
        for (int32_t p = 0; p < panels; p++) {
            k_gemm_pack(w, n, k, rows[i].gate_up, p, 1,
                        (char *)packed + (size_t)p * k_gemm_panel_bytes(k));
        }
        for (int32_t r = 0; r < n; r++) {
            int32_t panel = r / 64, at = r % 64, in8 = at % 32 / 8, rest = at % 8;
            int32_t place = at / 32 * 32 + rest / 2 * 8 + in8 * 2 + rest % 2;
            if (rows[i].gate_up) {
                const int32_t f = r % half;
                panel = f / 32, at = f % 32, in8 = at / 8, rest = at % 8;
                place = rest / 2 * 16 + (r >= half ? 8 : 0) + in8 * 2 + rest % 2;
            }
            for (int32_t j = 0; j < k; j++) {
                const size_t tile = (size_t)panel * (size_t)((k + 63) / 64) + (size_t)(j / 64);
                const int32_t chunk = (j % 64 / 8) ^ (place % 8);
                want[tile * 4096 + (size_t)(place * 64 + chunk * 8 + j % 8)] = w[r * k + j];
            }
        }
        cr_assert_arr_eq(packed, want, bytes, "%d x %d", n, k);
        free(w);
        free(packed);
        free(want);
    }
}

/* What the kernels move, counted: the weight once, the rows of `in` once for each panel, and no
 * bank conflict. */
static void traffic(const char *arch)
{
    static const struct {
        int32_t m, n, k;
    } rows[] = {
        {1, 2048, 2048}, {16, 1024, 1024}, {32, 512, 1536}, {64, 512, 2048}, {100, 512, 512}};
    kt_open(arch, 1);
    if (!kt_is_virtual()) {
        cr_skip_test("only the virtual GPU counts");
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gt_case c = {.n = rows[i].n, .k = rows[i].k, .m_max = rows[i].m};
        const struct k_launch *l;
        gt_make(&c);
        gt_run(&c, c.m_max, &plain);
        cr_assert_eq(gt_launches(&l), 1);
        const char *name = k_kernel_table[l->kernel].name;
        const uint64_t read_once = kt_counter(name, "global_read_bytes");
        const uint64_t asked_once = kt_counter(name, "global_strong_read_bytes");
        const uint64_t wrote_once = kt_counter(name, "global_write_bytes");
        gt_run(&c, c.m_max, &plain);
        cr_assert_eq(gt_launches(&l), 1);
        const uint64_t weight = 2 * (uint64_t)c.n * (uint64_t)c.k;
        const uint64_t in = 2 * (uint64_t)c.m_max * (uint64_t)c.k;
        cr_assert_eq(l->cost.read_bytes, weight + in);
        /* The rest: sums that meet in the workspace, once written and once read. Flags besides,
         * again and again. */
        const uint64_t parts = kt_counter(name, "global_write_bytes") - wrote_once;
        const uint64_t asked = kt_counter(name, "global_strong_read_bytes") - asked_once;
        const uint64_t read = kt_counter(name, "global_read_bytes") - read_once - asked;
        const uint64_t must = weight + in * (uint64_t)c.n / 64;
        cr_assert(read >= must && read <= must + parts, "%s, %s read %llu bytes, not %llu to %llu",
                  arch, name, (unsigned long long)read, (unsigned long long)must,
                  (unsigned long long)(must + parts));
        cr_assert_eq(kt_counter(name, "ldmatrix_wavefronts"),
                     kt_counter(name, "ldmatrix_wavefronts_ideal"));
        cr_assert(kt_counter(name, "ldmatrix_wavefronts") > 0);
        cr_assert_eq(kt_counter(name, "shared_wavefronts"),
                     kt_counter(name, "shared_wavefronts_ideal"));
        gt_drop(&c);
    }
}

Test(cuda_gemm, moves_what_it_must_a100)
{
    traffic("a100");
}

Test(cuda_gemm, moves_what_it_must_h100)
{
    traffic("h100");
}

/* Sums of block b's pieces that wait, by gemm.cuh's order of work: the run's end first, its
 * beginning last. Neither shared memory nor the workspace may be too small for them. */
static void check_waiting(const struct k_gemm_task *t, int32_t b)
{
    const bool hand_on = t->flags & K_GEMM_HAND_ON;
    const int32_t items = t->split_tiles * t->n_chunks, n = t->n_chunks;
    const int32_t from = b * t->run, to = from + t->run < items ? from + t->run : items;
    const int32_t c0 = from % n, left = to % n, room = t->keep + t->slots - 1;
    if (left > 0 && from / n == to / n && c0 > 0) { /* a tile's middle */
        const int32_t waiting = c0 < t->run ? c0 : t->run - 1;
        cr_assert(hand_on ? waiting <= room : t->run <= t->slots);
    } else if (c0 > 0 && t->m_tiles * t->n_tiles == t->split_tiles) { /* the end of one */
        const int32_t end = n - c0, before = c0 < t->run ? c0 : t->run;
        const int32_t until = before - (t->run - end);
        cr_assert((until < end - 1 ? until : end - 1) <= room, "%d of %d chunks, run %d", end, n,
                  t->run);
    }
}

/* Pure: what plans ask for, and that any workspace will do. */
Test(cuda_gemm, plans_stay_within_the_workspace)
{
    static const struct k_facts facts[] = {K_FACTS_A100, K_FACTS_H100};
    static const int32_t rows[] = {1, 16, 40, 64, 65, 128, 129, 300, 2048, 8192};
    for (int i = 0; i < 4000; i++) {
        const struct k_facts *f = &facts[i % 2];
        const int32_t m = PICK(rows), n = 1 + (int32_t)(gt_random() % (i % 7 ? 20000 : 262144));
        const int32_t k = 8 + (int32_t)(gt_random() % 30000);
        const struct k_limits l = {.max_rows = m, .n_gemms = 1, .gemms = {{n, k}}};
        const struct k_gemm_args a = {.in_stride = k_row_stride(k),
                                      .out_stride = k_row_stride(n),
                                      .m = m,
                                      .n = n,
                                      .k = k,
                                      .dtype = K_BF16,
                                      .out_dtype = K_BF16};
        const uint64_t room = k_gemm_work_bytes(f, &l);
        struct k_work w = {4096, K_WORK_TICKET_BYTES + room};
        struct k_launch out[K_MAX_LAUNCHES];
        struct k_gemm_task t;
        cr_assert_eq(k_plan_gemm(f, &w, &a, out), 1);
        memcpy(&t, out->args, sizeof t);
        const uint64_t tile = (uint64_t)((m + t.m_tiles - 1) / t.m_tiles) *
                              (uint64_t)((n + t.n_tiles - 1) / t.n_tiles) * 4;
        const int64_t cut = (int64_t)t.split_tiles * t.n_chunks;
        const int64_t blocks = cut > 0 ? (cut + t.run - 1) / t.run : 0;
        cr_assert((uint64_t)(blocks * t.slots) * tile <= room,
                  "%d x %d x %d: %lld blocks with %d sums do not fit", m, n, k, (long long)blocks,
                  t.slots);
        cr_assert(blocks <= out->grid[0] && (cut == 0 || t.run < t.n_chunks));
        cr_assert(t.split_tiles < f->n_sms && out->grid[0] >= 1 &&
                  out->grid[0] <= (uint32_t)f->n_sms);
        cr_assert((int32_t)out->smem_bytes <= f->smem_block_bytes - 1024);
        for (int32_t b = 0; b < blocks; b++) {
            check_waiting(&t, b);
        }
        w.bytes = K_WORK_TICKET_BYTES;
        cr_assert_eq(k_plan_gemm(f, &w, &a, out), 1);
        memcpy(&t, out->args, sizeof t);
        cr_assert_eq(t.split_tiles, 0);
    }
}
