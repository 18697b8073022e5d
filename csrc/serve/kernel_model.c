/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/kernel_model.h"

/* Where the figures come from. Datasheets: peak_*. gpu-benches (Ernst): copies 1.73-1.76 TB/s of
 * the A100-80's 2.04, L2 5.4 TB/s up to 28 MB there and 7.0 up to 30 MB on the H100, 1.3-1.4 us
 * from kernel to kernel in a graph. One H100 copies at 3.0 TB/s of 3.35. mma.m16n8k16 takes 8
 * clocks of a sub-core on the A100, by the datasheet, and about 9 in the best products (277 of 312
 * TFLOP/s); on the H100 about 6, where wgmma would take 4: mma.sync ends at two thirds of the peak.
 * An SM takes in 64 bytes a clock from L2. Three of four schedulers' slots are what loops of
 * dependent instructions fill. Clocks: the A100 keeps its boost, the H100 falls to about 1.7 GHz
 * under load. */
static const struct oct_gpu gpus[OCT_N_GPUS] = {
    {.name = "A100",
     .facts = K_FACTS_A100,
     .clock_ghz = 1.41,
     .peak_gb_s = 2039,
     .peak_tflops = 312,
     .gb_s = 1750,
     .l2_gb_s = 5400,
     .l2_bytes = 28000000,
     .launch_us = 1.4,
     .flops_per_clock = 4 * 4096.0 / 9,
     .sm_bytes_per_clock = 64,
     .instructions_per_clock = 3},
    {.name = "H100",
     .facts = K_FACTS_H100,
     .clock_ghz = 1.7,
     .peak_gb_s = 3350,
     .peak_tflops = 989,
     .gb_s = 3000,
     .l2_gb_s = 7000,
     .l2_bytes = 30000000,
     .launch_us = 1.3,
     .flops_per_clock = 4 * 4096.0 / 6,
     .sm_bytes_per_clock = 64,
     .instructions_per_clock = 3},
};

const struct oct_gpu *oct_gpu_model(int gpu)
{
    return &gpus[gpu];
}

const char *oct_gpu_limit_name(enum oct_gpu_limit l)
{
    static const char *const names[] = {"launch", "memory", "products", "issue"};
    return names[l];
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* One launch, without what it costs to launch it. */
static double longest(const struct oct_gpu *g, const struct k_launch *l, bool in_l2,
                      enum oct_gpu_limit *limit)
{
    const double blocks = (double)l->grid[0] * l->grid[1] * l->grid[2];
    const double busy = least(blocks, g->facts.n_sms);
    const double clocks_per_us = g->clock_ghz * 1e3;
    const double bytes = (double)(l->cost.read_bytes + l->cost.write_bytes);
    const double bytes_per_us =
        least((in_l2 ? g->l2_gb_s : g->gb_s) * 1e3, busy * g->sm_bytes_per_clock * clocks_per_us);
    /* The fullest multiprocessor has that many of the blocks. */
    const double most =
        (double)(((uint64_t)blocks + (uint64_t)g->facts.n_sms - 1) / (uint64_t)g->facts.n_sms);
    const double share = most / blocks / clocks_per_us;
    const double us[] = {[OCT_LIMIT_LAUNCH] = 0,
                         [OCT_LIMIT_MEMORY] = bytes / bytes_per_us,
                         [OCT_LIMIT_PRODUCTS] = (double)l->cost.flops / g->flops_per_clock * share,
                         [OCT_LIMIT_ISSUE] =
                             (double)l->cost.warp_instructions / g->instructions_per_clock * share};
    *limit = OCT_LIMIT_MEMORY;
    for (int i = OCT_LIMIT_PRODUCTS; i <= OCT_LIMIT_ISSUE; i++) {
        *limit = us[i] > us[*limit] ? (enum oct_gpu_limit)i : *limit;
    }
    return us[*limit];
}

static void find_limit(struct oct_gpu_time *t)
{
    t->limit = OCT_LIMIT_LAUNCH;
    for (int i = 1; i < 4; i++) {
        t->limit = t->parts[i] > t->parts[t->limit] ? (enum oct_gpu_limit)i : t->limit;
    }
}

struct oct_gpu_time oct_gpu_predict(const struct oct_gpu *g, const struct k_launch *l, int n)
{
    struct oct_gpu_time t = {0};
    for (int i = 0; i < n; i++) {
        const bool in_l2 =
            i > 0 && (int64_t)(l[i - 1].cost.read_bytes + l[i - 1].cost.write_bytes) <= g->l2_bytes;
        enum oct_gpu_limit limit;
        const double us = longest(g, &l[i], in_l2, &limit);
        t.parts[limit] += us;
        t.parts[OCT_LIMIT_LAUNCH] += g->launch_us;
        t.us += us + g->launch_us;
    }
    find_limit(&t);
    return t;
}

void oct_gpu_time_add(struct oct_gpu_time *a, const struct oct_gpu_time *b)
{
    a->us += b->us;
    for (int i = 0; i < 4; i++) {
        a->parts[i] += b->parts[i];
    }
    find_limit(a);
}

double oct_gpu_floor_us(const struct oct_gpu *g, double bytes, double flops)
{
    const double memory = bytes / (g->peak_gb_s * 1e3), products = flops / (g->peak_tflops * 1e6);
    return memory > products ? memory : products;
}
