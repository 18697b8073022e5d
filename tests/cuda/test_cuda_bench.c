/* SPDX-License-Identifier: Apache-2.0
 *
 * What `octavo bench kernels` does on a GPU, with small cases on the virtual one: the ops run, in
 * graphs, with no finding. Its figures mean nothing here. */
#include "device/cuda.h"
#include "kernels.h"
#include "serve/bench.h"
#include "serve/kernel_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* The rows as they are printed: a product stands beside cuBLAS's, other ops and other GPUs do not.
 */
Test(bench, products_are_compared_with_cublas)
{
#ifndef OCT_TEST_CUBLASLT
    cr_skip_test("no stand-in of cuBLASLt: its header was not found");
#endif
    static const struct oct_kernel_case cases[] = {
        {"gemm", OCT_CASE_GEMM, .rows = 2, .n = 64, .k = 64},
        {"silu", OCT_CASE_SILU, .rows = 3, .n = 64},
    };
    struct k_fatbin f;
    struct oct_output out;
    char text[4096];
    int ends[2];
    if (!k_fatbin_of(0, &f)) {
        cr_skip_test("this build has no kernels: no nvcc was found");
    }
    (void)setenv("VGPU_ARCH", "h100", 1);
    json_t *rows = json_array();
    cr_assert_eq(oct_bench_kernel_rows(cases, 2, "cuda", 1, NULL, rows), OCT_OK, "%s",
                 oct_last_error());
    cr_assert_eq(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *r = json_array_get(rows, i);
        const bool own = !strcmp(json_string_value(json_object_get(r, "gpu")), "H100");
        cr_assert_eq(json_object_get(r, "measured_us") != NULL, own, "row %zu", i);
        cr_assert_eq(json_object_get(r, "ratio_to_cublas") != NULL, own && i < 2, "row %zu", i);
        if (own && i < 2) {
            const double ours = json_number_value(json_object_get(r, "measured_us")),
                         theirs = json_number_value(json_object_get(r, "cublas_us")),
                         ratio = json_number_value(json_object_get(r, "ratio_to_cublas"));
            cr_assert(theirs > 0 && fabs(ratio - theirs / ours) <= 1e-9 * ratio, "%g %g %g", ours,
                      theirs, ratio);
        }
    }
    json_decref(rows);
    cr_assert_eq(pipe(ends), 0);
    oct_output_init(&out, ends[1]);
    cr_assert_eq(oct_bench_kernel_rows(cases, 1, "cuda", 1, &out, NULL), OCT_OK, "%s",
                 oct_last_error());
    cr_assert_eq(oct_output_finish(&out, OCT_OK), OCT_EXIT_OK);
    const ssize_t n = read(ends[0], text, sizeof text - 1);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_assert(strstr(text, "cuBLAS us  ratio"), "%s", text);
}

Test(bench, cases_run_on_the_virtual_gpu_a100)
{
    measure("a100");
}

Test(bench, cases_run_on_the_virtual_gpu_h100)
{
    measure("h100");
}
