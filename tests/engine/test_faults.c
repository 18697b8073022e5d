/* SPDX-License-Identifier: Apache-2.0
 *
 * The k-th allocation, read, open and device allocation fail, for every k of loading a model and of
 * a short generation, once and from there on: a status with a sentence, nothing left behind (the
 * leak checker looks when the process ends), no crash. */
#include "support/run.h"

#include "base/fault.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Loads, generates 4 tokens, closes. */
static oct_status whole_life(const char *path, struct run_answer *a)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_request r = OCT_REQUEST_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    oct_engine *e = NULL;
    int32_t *ids = NULL;
    char *prompt = NULL;
    size_t n = 0, len = 0, active = 1;
    uint64_t id;
    o.model_path = path;
    o.device = "cpu";
    o.manual = 1;
    o.n_threads = 1;
    s.temperature = 0.7f;
    s.frequency_penalty = 0.1f;
    s.ignore_eos = true;
    s.max_tokens = 4;
    s.stop = (const char *const[]){"never"};
    s.n_stop = 1;
    memset(a, 0, sizeof *a);
    oct_status st = oct_engine_open(&o, &e);
    if (st == OCT_OK) {
        st = oct_engine_chat_prompt(e, "[{\"role\": \"user\", \"content\": \"Hi there\"}]", NULL,
                                    &prompt, &len);
    }
    if (st == OCT_OK) {
        st = oct_engine_chat_tokens(e, "[{\"role\": \"user\", \"content\": \"Hi there\"}]", NULL,
                                    &ids, &n);
    }
    if (st == OCT_OK) {
        r.prompt = ids;
        r.n_prompt = n;
        r.sampling = &s;
        r.on_event = run_collect;
        r.user = a;
        st = oct_engine_submit(e, &r, &id);
    }
    while (st == OCT_OK && active) {
        st = oct_engine_step(e, &active);
    }
    oct_buffer_free(ids);
    oct_buffer_free(prompt);
    oct_engine_close(e);
    return st;
}

static void every_k(const char *path, enum oct_fault_site site, const char *what)
{
    static struct run_answer a;
    json_set_alloc_funcs(oct_malloc, oct_free); /* jansson's values are part of loading */
    oct_fault_reset();
    cr_assert_eq(whole_life(path, &a), OCT_OK, "%s", oct_last_error());
    const uint64_t total = oct_fault_count(site);
    cr_assert_gt(total, 0u, "%s is never reached", what);
    cr_assert_eq(a.finish, OCT_FINISH_LENGTH);
    for (int forever = 0; forever < 2; forever++) {
        for (uint64_t k = 1; k <= total; k++) {
            oct_fault_reset();
            oct_error_clear();
            oct_fault_arm(site, k, forever, OCT_FAULT_FAIL);
            const oct_status st = whole_life(path, &a);
            oct_fault_reset();
            /* Either the failure came out as a status with a sentence, or as the request's last
             * event, or the call was one that may fail harmlessly. */
            cr_assert(st != OCT_OK || a.n_ends == 1, "%s k=%d: a request was lost", what, (int)k);
            if (st != OCT_OK) {
                cr_assert_gt(strlen(oct_last_error()), 10u, "%s k=%d: no sentence", what, (int)k);
            }
        }
    }
    (void)printf("%s: %d calls, each failed once and for good\n", what, (int)total);
}

Test(faults, of_a_hugging_face_model, .timeout = 600)
{
    char dir[256];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.n_shards = 2;
    t.n_layers = 1;
    t.head_dim = 16;
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    every_k(dir, OCT_FAULT_MEM, "mem");
    every_k(dir, OCT_FAULT_READ, "read");
    every_k(dir, OCT_FAULT_OPEN, "open");
    every_k(dir, OCT_FAULT_DEV_ALLOC, "dev_alloc");
    every_k(dir, OCT_FAULT_DEV_UPLOAD, "dev_upload");
    every_k(dir, OCT_FAULT_DEV_OP, "dev_op");
    every_k(dir, OCT_FAULT_DEV_SYNC, "dev_sync");
    run_remove_dir(dir);
}

Test(faults, of_a_gguf_model, .timeout = 600)
{
    char dir[256], path[300];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.dtype = OCT_DTYPE_Q8_0;
    t.n_layers = 1;
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    every_k(path, OCT_FAULT_MEM, "mem");
    every_k(path, OCT_FAULT_READ, "read");
    every_k(path, OCT_FAULT_OPEN, "open");
    run_remove_dir(dir);
}
