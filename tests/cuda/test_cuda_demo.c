/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo model (SmolLM2-135M-Instruct) on the CUDA backend: a handful of greedy tokens, which
 * must be the CPU backend's, on both architectures. Skips, visibly, where the model file is not. */
#include "support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 4 };

static const char question[] =
    "[{\"role\": \"user\", \"content\": \"What is the capital of France?\"}]";

static void answer(const char *device, int eager, struct run_answer *a)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    oct_engine *e = NULL;
    int32_t *ids;
    size_t n;
    o.model_path = run_demo_path();
    o.device = device;
    o.dtype = "bfloat16";
    o.max_model_len = 128;
    o.max_num_seqs = 4;
    o.max_num_batched_tokens = 64;
    o.kv_cache_bytes = 16 << 20;
    o.enforce_eager = eager;
    o.manual = 1;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_engine_chat_tokens(e, question, NULL, &ids, &n), OCT_OK, "%s",
                 oct_last_error());
    s.temperature = 0;
    s.max_tokens = N_TOKENS;
    memset(a, 0, sizeof *a);
    run_submit(e, ids, n, &s, a);
    run_to_end(e);
    oct_buffer_free(ids);
    oct_engine_close(e);
    cr_assert_eq(a->n_tokens, N_TOKENS, "%s: %s", device, a->error);
}

static void check(const char *arch, int eager)
{
    static struct run_answer cpu, cuda;
    (void)setenv("VGPU_ARCH", arch, 1);
    (void)setenv("VGPU_MEM", "1G", 1);
    answer("cpu", 0, &cpu);
    answer("cuda", eager, &cuda);
    (void)printf("%s: \"%s\"\n", arch, cuda.text);
    cr_assert_arr_eq(cpu.tokens, cuda.tokens, N_TOKENS * sizeof *cpu.tokens,
                     "%s says \"%s\", the CPU \"%s\"", arch, cuda.text, cpu.text);
    cr_assert_not_null(strstr(cuda.text, "capital"), "%s", cuda.text);
}

Test(cuda_demo, answers_as_the_cpu_does_a100, .timeout = 300)
{
    check("a100", 0);
}

Test(cuda_demo, answers_as_the_cpu_does_h100, .timeout = 300)
{
    check("h100", 1);
}
