/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h - opens tiny models in a directory of their own and runs requests to their end, collecting
 * what the callbacks were told. */
#ifndef OCT_TEST_RUN_H
#define OCT_TEST_RUN_H

#include "engine/engine.h"
#include "support/tiny.h"

/* A fresh directory under $TMPDIR or /tmp; removed, files and all, by run_remove_dir. */
void run_make_dir(char *dir, size_t size);
void run_remove_dir(const char *dir);

/* Writes the model (a Hugging Face directory) and opens it as a manual engine; removes the files.
 * Fails the test if it does not open. options->model_path is ignored. */
oct_engine *run_open_tiny(const struct oct_tiny *t, const struct oct_engine_options *options);

/* The demo model's file, where scripts/demo_model.sh puts it; skips the test if it is not there. */
const char *run_demo_path(void);

/* One request's whole story. Zero it before use. */
struct run_answer {
    uint64_t id;
    int32_t tokens[512];
    float logprobs[512];
    struct oct_token_logprob top[512][K_SAMPLE_MAX_TOP];
    int n_top[512];
    int n_tokens;
    char text[8192];
    size_t text_len;
    int n_events, n_ends; /* n_ends: last events; 1 when it is over */
    oct_finish finish;
    oct_status status;
    char error[256];
    int32_t n_prompt_tokens, n_output_tokens, n_cached_tokens;
    int64_t submit_us, start_us, first_token_us;
    int n_prompts; /* events with the prompt's logprobs; of a prompt of up to 256 tokens: */
    int32_t n_prompt_top;
    struct oct_token_logprob prompt[256], prompt_top[256][K_SAMPLE_MAX_TOP];
};
/* The callback for struct run_answer. */
void run_collect(void *answer, const struct oct_event *ev);

/* Submits; fails the test if it is refused. */
void run_submit(oct_engine *e, const int32_t *prompt, size_t n, const struct oct_sampling *s,
                struct run_answer *a);
/* Fails the test if a checker of the virtual GPU found something; nothing where there is none. */
void run_no_findings(void);
/* Schedules of the virtual GPU, once an engine has opened it, from now on; nothing elsewhere. */
void run_set_seed(uint64_t seed);
/* Steps until nothing is active; fails the test if a step fails, 100,000 are not enough, or the
 * virtual GPU found something. */
void run_to_end(oct_engine *e);

/* The logits [n, vocab] of every position of a text, read as one request; closes nothing. free()
 * them. */
float *run_logits(oct_engine *e, const int32_t *ids, int32_t n, int32_t vocab);

/* n ids in [3, 259): bytes of the tiny tokenizer, a function of seed alone. */
void run_random_prompt(uint64_t seed, int32_t *ids, size_t n);

#endif
