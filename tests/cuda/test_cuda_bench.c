/* SPDX-License-Identifier: Apache-2.0
 *
 * What `octavo bench kernels` does on a GPU, with small cases on the virtual one: the ops run, in
 * graphs, with no finding. Its figures mean nothing here. */
#include "device/cuda.h"
#include "kernels.h"
#include "serve/bench.h"
#include "serve/kernel_cases.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void measure(const char *arch)
{
    static const struct oct_kernel_case cases[] = {
        {"norm", OCT_CASE_NORM, .rows = 3, .k = 64},
        {"silu", OCT_CASE_SILU, .rows = 3, .n = 64},
        {"rope", OCT_CASE_ROPE, .rows = 2, .n_seqs = 1, .keys = 70},
        {"gemm", OCT_CASE_GEMM, .rows = 2, .n = 64, .k = 64},
        {"sample", OCT_CASE_SAMPLE, .rows = 2, .n = 100},
        {"decode", OCT_CASE_ATTN, .rows = 1, .n_seqs = 2, .keys = 70},
    };
    struct k_fatbin f;
    const struct k_facts facts = K_FACTS_A100;
    const struct k_work work = {.base = (k_ptr)1 << 40, .bytes = (uint64_t)1 << 40};
    if (!k_fatbin_of(0, &f)) {
        cr_skip_test("this build has no kernels: no nvcc was found");
    }
    (void)setenv("VGPU_ARCH", arch, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oct_case_ops ops;
        struct k_launch l[K_MAX_LAUNCHES];
        struct oct_device *d = NULL;
        double us = 0;
        cr_assert_eq(oct_kernel_case_make(&cases[i], &oct_case_nowhere, &ops), OCT_OK);
        if (k_plan((int32_t)ops.op[0].op, &facts, &work, &ops.op[0].args, l) == 0) {
            cr_log_warn("%s: no kernel yet", cases[i].name);
            continue;
        }
        cr_assert_eq(oct_cuda_open(0, 1, &d), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(oct_bench_measure_case(d, &cases[i], 1, &us), OCT_OK, "%s: %s", cases[i].name,
                     oct_last_error());
        cr_assert_gt(us, 0.0);
        /* Recorded once; two runs to warm up and one round at least. */
        const struct oct_cuda_counts n = oct_cuda_counts(d);
        cr_assert(n.records == 1 && n.replays >= 2 && n.launches >= 10, "%s: %d, %d, %d",
                  cases[i].name, (int)n.records, (int)n.replays, (int)n.launches);
        oct_dev_close(d);
    }
}

Test(bench, cases_run_on_the_virtual_gpu_a100)
{
    measure("a100");
}

Test(bench, cases_run_on_the_virtual_gpu_h100)
{
    measure("h100");
}
