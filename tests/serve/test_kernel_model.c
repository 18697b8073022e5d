/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic behind `octavo bench kernels`: floors, predictions, reference shapes. */
#include "kernels.h"
#include "serve/kernel_cases.h"
#include "serve/kernel_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const struct oct_kernel_case *case_named(const char *name)
{
    for (int i = 0; i < oct_n_kernel_cases; i++) {
        if (!strcmp(oct_kernel_cases[i].name, name)) {
            return &oct_kernel_cases[i];
        }
    }
    cr_assert_fail("no case \"%s\"", name);
    return NULL;
}

static double floor_of(const char *name, int gpu)
{
    struct oct_case_ops ops;
    double us = 0;
    cr_assert_eq(oct_kernel_case_make(case_named(name), &oct_case_nowhere, &ops), OCT_OK);
    for (int i = 0; i < ops.n; i++) {
        us += oct_gpu_floor_us(oct_gpu_model(gpu), ops.op[i].bytes, ops.op[i].flops);
    }
    return us;
}

/* Worked by hand from the datasheets: 2.039 and 3.35 TB/s, 312 and 989 TFLOP/s. */
Test(kernel_model, floors_of_the_reference_shapes)
{
    static const struct {
        const char *name;
        double a100, h100;
    } c[] = {
        {"prefill 8k", 1762.3, 555.9}, /* 4 * 4096 * 8192 * 8193 / 2 FLOP */
        {"prefill 32k, window 4096", 6607.7, 2084.5},
        {"prefill 32k, window 128", 329.1, 200.3}, /* 32768 * (2 * 8192 + 4096) bytes */
        {"decode 1 x 8k", 16.5, 10.0},             /* 8192 * 4096 bytes and a row */
        {"decode 64 x 4k", 527.1, 320.8},
        {"gemm 1 x 4096 x 4096", 16.5, 10.0},
        {"gemm 4096 x 4096 x 4096", 440.5, 139.0},
        {"rmsnorm 8192 x 4096", 131.7, 80.1},    /* 4 * 8192 * 4096 * 2 bytes */
        {"silu_mul 8192 x 14336", 345.6, 210.3}, /* 3 * 8192 * 14336 * 2 bytes */
        {"sample 64 x 131072", 16.5, 10.0},
        /* weights 2 * (6144 + 4096 + 3 * 14336) * 4096 bytes, cache 33.6 MB */
        {"decode layer 1 x 8k", 230.5, 140.3},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        const double a = floor_of(c[i].name, OCT_GPU_A100), h = floor_of(c[i].name, OCT_GPU_H100);
        cr_assert(fabs(a - c[i].a100) < 0.06 && fabs(h - c[i].h100) < 0.06,
                  "%s: %.2f and %.2f us, not %.1f and %.1f", c[i].name, a, h, c[i].a100, c[i].h100);
    }
}

static struct k_launch launch_of(uint32_t blocks, uint64_t bytes, uint64_t flops)
{
    return (struct k_launch){.grid = {blocks, 1, 1},
                             .block = {128, 1, 1},
                             .cost = {.read_bytes = bytes, .flops = flops}};
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

Test(kernel_model, a_launch_takes_as_long_as_the_longest_of_its_parts)
{
    const struct oct_gpu *g = oct_gpu_model(OCT_GPU_A100);
    /* Memory: 1.75 GB at 1.75 TB/s are a millisecond. */
    struct k_launch l = launch_of(1080, 1750000000, 0);
    struct oct_gpu_time t = oct_gpu_predict(g, &l, 1);
    cr_assert(near(t.us, 1000 + g->launch_us) && t.limit == OCT_LIMIT_MEMORY, "%.6f us", t.us);
    /* Two blocks take in 2 * 64 bytes a clock of 1.41 GHz. */
    l = launch_of(2, 1750000000, 0);
    t = oct_gpu_predict(g, &l, 1);
    cr_assert(near(t.us, 1.75e9 / (2 * 64 * 1410) + g->launch_us), "%.6f us", t.us);
    /* Products: a block more than there are multiprocessors is a wave more. */
    const uint64_t each = 1000000000;
    l = launch_of(108, 0, 108 * each);
    const double one = oct_gpu_predict(g, &l, 1).us - g->launch_us;
    cr_assert(near(one, (double)each / (4 * 4096.0 / 9) / 1410), "%.6f us", one);
    l = launch_of(109, 1, 109 * each);
    t = oct_gpu_predict(g, &l, 1);
    cr_assert(near(t.us - g->launch_us, 2 * one) && t.limit == OCT_LIMIT_PRODUCTS, "%.6f us", t.us);
    /* Instructions: three a clock and multiprocessor. */
    l = launch_of(108, 1, 1);
    l.cost.warp_instructions = 108 * (uint64_t)4230000;
    t = oct_gpu_predict(g, &l, 1);
    cr_assert(near(t.us - g->launch_us, 1000) && t.limit == OCT_LIMIT_ISSUE, "%.6f us", t.us);
    /* Nothing but the launch. */
    l = launch_of(1, 0, 0);
    t = oct_gpu_predict(g, &l, 1);
    cr_assert(near(t.us, g->launch_us) && t.limit == OCT_LIMIT_LAUNCH, "%.6f us", t.us);
}

Test(kernel_model, a_second_launch_finds_in_l2_what_fits_there)
{
    const struct oct_gpu *g = oct_gpu_model(OCT_GPU_H100);
    const uint64_t fits = (uint64_t)g->l2_bytes, too_much = fits + 1;
    const struct k_launch small[] = {launch_of(1000, fits, 0), launch_of(1000, fits, 0)};
    const struct k_launch big[] = {launch_of(1000, too_much, 0), launch_of(1000, too_much, 0)};
    const double a = oct_gpu_predict(g, small, 2).us, b = oct_gpu_predict(g, big, 2).us;
    cr_assert(near(a, 2 * g->launch_us + (double)fits / 3e6 + (double)fits / 7e6), "%.6f us", a);
    cr_assert(near(b, 2 * (g->launch_us + (double)too_much / 3e6)), "%.6f us", b);
    struct oct_gpu_time sum = oct_gpu_predict(g, small, 1);
    const struct oct_gpu_time more = oct_gpu_predict(g, big, 2);
    const double first = sum.us;
    oct_gpu_time_add(&sum, &more);
    cr_assert(near(sum.us, first + more.us) && sum.limit == OCT_LIMIT_MEMORY);
}

/* Every case that has kernels: no prediction below the floor, and costs no smaller than what the
 * op must move. */
Test(kernel_model, no_case_is_predicted_to_beat_its_floor)
{
    const struct k_work work = {.base = (k_ptr)1 << 40, .bytes = (uint64_t)1 << 40};
    int n_planned = 0;
    for (int i = 0; i < oct_n_kernel_cases; i++) {
        struct oct_case_ops ops;
        cr_assert_eq(oct_kernel_case_make(&oct_kernel_cases[i], &oct_case_nowhere, &ops), OCT_OK);
        cr_assert_gt(ops.n, 0);
        for (int j = 0; j < ops.n * OCT_N_GPUS; j++) {
            const struct oct_case_op *o = &ops.op[j / OCT_N_GPUS];
            const struct oct_gpu *g = oct_gpu_model(j % OCT_N_GPUS);
            struct k_launch l[K_MAX_LAUNCHES];
            const int n = k_plan((int32_t)o->op, &g->facts, &work, &o->args, l);
            double bytes = 0, flops = 0;
            for (int k = 0; k < n; k++) {
                bytes += (double)(l[k].cost.read_bytes + l[k].cost.write_bytes);
                flops += (double)l[k].cost.flops;
            }
            if (n == 0) {
                continue;
            }
            const double us = oct_gpu_predict(g, l, n).us;
            const double least = oct_gpu_floor_us(g, o->bytes, o->flops);
            cr_assert(us > least, "%s, op %d on %s: predicted %.2f us, floor %.2f",
                      oct_kernel_cases[i].name, (int)o->op, g->name, us, least);
            /* 1 %: a plan may not count a row's few numbers beside a matrix, or may. */
            cr_assert(bytes >= 0.99 * o->bytes && flops >= 0.99 * o->flops,
                      "%s, op %d: %.0f bytes and %.0f FLOP, at least %.0f and %.0f",
                      oct_kernel_cases[i].name, (int)o->op, bytes, flops, o->bytes, o->flops);
            n_planned++;
        }
    }
    cr_assert_gt(n_planned, 0);
}
