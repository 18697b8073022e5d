/* SPDX-License-Identifier: Apache-2.0
 *
 * A CUDA device that fails, wherever: allocation, launch, the whole device lost (VGPU_FAIL of the
 * virtual GPU). An engine either does not open, with a sentence, or goes to its dead state: every
 * request ends once, with its tokens or with OCT_E_DEVICE, and no other is taken. */
#include "engine/pick_device.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_REQUESTS = 3 };

enum outcome { DID_NOT_OPEN, DIED, FINISHED };

/* One engine under one plan of failures, in this process (the virtual GPU reads the plan once). */
static enum outcome live_with(const char *plan, const char *products)
{
    static struct run_answer a[N_REQUESTS];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    oct_engine *e = NULL;
    char dir[256];
    int n = 0;
    (void)setenv("VGPU_FAIL", plan, 1);
    (void)setenv("VGPU_MEM", "256M", 1);
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    o.model_path = dir;
    o.device = "cuda";
    o.gemm_provider = products;
    o.max_num_seqs = 4;
    o.max_num_batched_tokens = 32;
    const oct_status st = oct_engine_open(&o, &e);
    run_remove_dir(dir);
    if (st != OCT_OK) {
        cr_assert(st == OCT_E_DEVICE || st == OCT_E_MEM || st == OCT_E_UNSUPPORTED,
                  "%s: open says %s: %s", plan, oct_status_text(st), oct_last_error());
        cr_assert_gt(strlen(oct_last_error()), 20, "%s: \"%s\"", plan, oct_last_error());
        run_no_findings();
        return DID_NOT_OPEN;
    }
    struct oct_engine_info about = {.size = sizeof about};
    oct_engine_get_info(e, &about);
    cr_assert_eq(about.device_memory_bytes, 256u << 20);
    cr_assert_lt(about.device_others_bytes + about.weight_bytes + about.kv_cache_bytes +
                     about.workspace_bytes,
                 256u << 20);
    memset(a, 0, sizeof a);
    s.temperature = 0;
    s.max_tokens = 6;
    s.ignore_eos = true;
    for (; n < N_REQUESTS; n++) {
        int32_t prompt[40];
        struct oct_request q = OCT_REQUEST_INIT;
        run_random_prompt((uint64_t)n, prompt, 40);
        q.prompt = prompt;
        q.n_prompt = 40;
        q.sampling = &s;
        q.on_event = run_collect;
        q.user = &a[n];
        if (oct_engine_submit(e, &q, &a[n].id) != OCT_OK) {
            break; /* it is dead already */
        }
    }
    cr_assert_eq(oct_engine_drain(e, 60000000), OCT_OK, "%s: %s", plan, oct_last_error());
    int failed = 0;
    for (int i = 0; i < n; i++) {
        cr_assert_eq(a[i].n_ends, 1, "%s: request %d ended %d times", plan, i, a[i].n_ends);
        if (a[i].finish == OCT_FINISH_ERROR) {
            failed++;
            cr_assert_eq(a[i].status, OCT_E_DEVICE, "%s: request %d: %s", plan, i, a[i].error);
            cr_assert_gt(strlen(a[i].error), 20, "%s: \"%s\"", plan, a[i].error);
        } else {
            cr_assert_eq(a[i].n_tokens, 6, "%s", plan);
        }
    }
    if (failed > 0 || n < N_REQUESTS) {
        struct oct_request q = OCT_REQUEST_INIT;
        const int32_t prompt[] = {5};
        uint64_t id;
        q.prompt = prompt;
        q.n_prompt = 1;
        q.on_event = run_collect;
        cr_assert_eq(oct_engine_submit(e, &q, &id), OCT_E_DEVICE, "%s: a dead engine takes more",
                     plan);
    }
    oct_engine_close(e);
    run_no_findings();
    return failed > 0 || n < N_REQUESTS ? DIED : FINISHED;
}

static enum outcome live(const char *plan)
{
    return live_with(plan, NULL);
}

Test(cuda_faults, no_failure_no_error, .timeout = 60)
{
    cr_assert_eq(live("lost:1000000000"), FINISHED);
}

Test(cuda_faults, memory_that_cannot_be_had, .timeout = 60)
{
    cr_assert_eq(live("cuMemAlloc:1+"), DID_NOT_OPEN);
}

Test(cuda_faults, pinned_memory_that_cannot_be_had, .timeout = 60)
{
    cr_assert_eq(live("cuMemHostAlloc:1+"), DID_NOT_OPEN);
}

Test(cuda_faults, a_module_that_does_not_load, .timeout = 60)
{
    cr_assert_eq(live("cuModuleLoadData:2"), DID_NOT_OPEN);
}

Test(cuda_faults, no_allocation_is_made_after_ready, .timeout = 60)
{
    cr_assert_eq(live("cuMemAlloc:2+"), FINISHED); /* there is one arena, and that is all */
}

#define LAUNCH(n) \
    Test(cuda_faults, kernel_##n##_faults, .timeout = 60) \
    { \
        cr_assert_neq(live("launch:" #n), FINISHED); \
    }
LAUNCH(1)
LAUNCH(7)
LAUNCH(16)
LAUNCH(40)

#define LOST(n) \
    Test(cuda_faults, device_lost_at_call_##n, .timeout = 60) \
    { \
        cr_assert_neq(live("lost:" #n), FINISHED); \
    }
LOST(1)
LOST(20)
LOST(60)
LOST(150)
LOST(200)
LOST(250)

/* cuBLASLt as the provider of products: eager steps and recorded ones, opening. */
#ifdef OCT_TEST_CUBLASLT
#define PRODUCT(name, plan, outcome) \
    Test(cuda_faults, product_##name, .timeout = 60) \
    { \
        cr_assert_eq(live_with(plan, "cublaslt"), outcome); \
    }
PRODUCT(none, "lost:1000000000", FINISHED)
PRODUCT(library_does_not_start, "cublasLtCreate:1", DID_NOT_OPEN)
PRODUCT(first, "cublasLtMatmul:1", DIED)
PRODUCT(in_a_later_layer, "cublasLtMatmul:7=13", DIED)
PRODUCT(has_no_algorithm, "cublasLtMatmulAlgoGetHeuristic:4", DIED)
PRODUCT(all_from_some_on, "cublasLtMatmul:40+", DIED)
PRODUCT(allocates_nothing_later, "cuMemAlloc:2+", FINISHED)
#endif

Test(cuda_faults, products_by_somebody_unknown)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_device_pick("cpu", 1, &d), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_device_gemm_provider(d, NULL), OCT_OK);
    cr_assert_eq(oct_device_gemm_provider(d, "octavo"), OCT_OK);
    cr_assert_eq(oct_device_gemm_provider(d, "magma"), OCT_E_ARG);
    cr_assert_not_null(strstr(oct_last_error(), "\"magma\"; it must be octavo or cublaslt"));
    cr_assert_eq(oct_device_gemm_provider(d, "cublaslt"), OCT_E_ARG);
    cr_assert_not_null(strstr(oct_last_error(), "for CUDA devices"));
    oct_dev_close(d);
}
