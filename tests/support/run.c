/* SPDX-License-Identifier: Apache-2.0 */
#include "support/run.h"

#include "support/device.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void run_make_dir(char *dir, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, size, "%s/octavo-test-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(dir), "cannot make %s", dir);
}

void run_remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        if (f->d_name[0] != '.') {
            (void)unlinkat(dirfd(d), f->d_name, 0);
        }
    }
    if (d) {
        (void)closedir(d);
    }
    (void)rmdir(dir);
}

oct_engine *run_open_tiny(const struct oct_tiny *t, const struct oct_engine_options *options)
{
    char dir[256];
    oct_engine *e = NULL;
    struct oct_engine_options o = *options;
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(t, dir);
    o.model_path = dir;
    o.manual = 1;
    o.device = o.device ? o.device : OCT_TEST_DEVICE;
    const oct_status st = oct_engine_open(&o, &e);
    run_remove_dir(dir);
    cr_assert_eq(st, OCT_OK, "open: %s: %s", oct_status_text(st), oct_last_error());
    return e;
}

const char *run_demo_path(void)
{
    static char path[4096];
    const char *own = getenv("OCTAVO_DEMO_MODEL"), *cache = getenv("OCTAVO_CACHE");
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own) {
        (void)snprintf(path, sizeof path, "%s", own);
    } else {
        (void)snprintf(path, sizeof path, "%s%s/SmolLM2-135M-Instruct.Q4_1.gguf",
                       cache  ? cache
                       : xdg  ? xdg
                       : home ? home
                              : "",
                       cache ? ""
                       : xdg ? "/octavo"
                             : "/.cache/octavo");
    }
    if (access(path, R_OK) != 0) {
        cr_skip_test("the demo model is not at %s; scripts/quickstart.sh gets it", path);
    }
    return path;
}

static void collect_prompt(struct run_answer *a, const struct oct_event *ev)
{
    cr_assert_leq(ev->n_prompt_tokens, 256);
    cr_assert(ev->prompt_logprobs && (ev->prompt_top || ev->n_prompt_top == 0));
    a->n_prompts++;
    a->n_prompt_top = ev->n_prompt_top;
    for (int i = 0; i < ev->n_prompt_tokens; i++) {
        a->prompt[i] = ev->prompt_logprobs[i];
        for (int k = 0; k < ev->n_prompt_top; k++) {
            a->prompt_top[i][k] = ev->prompt_top[i * ev->n_prompt_top + k];
        }
    }
}

void run_collect(void *answer, const struct oct_event *ev)
{
    struct run_answer *a = answer;
    cr_assert_eq(a->n_ends, 0, "request %llu: an event after its last one",
                 (unsigned long long)ev->request);
    a->n_events++;
    a->submit_us = ev->submit_us;
    a->start_us = ev->start_us;
    a->first_token_us = ev->first_token_us;
    a->n_cached_tokens = ev->n_cached_tokens;
    if (ev->token >= 0) {
        cr_assert_lt(a->n_tokens, 512);
        a->tokens[a->n_tokens] = ev->token;
        a->logprobs[a->n_tokens] = ev->logprob;
        a->n_top[a->n_tokens] = ev->n_top;
        for (int i = 0; i < ev->n_top; i++) {
            a->top[a->n_tokens][i] = ev->top[i];
        }
        a->n_tokens++;
    }
    if (ev->n_prompt_top >= 0) {
        collect_prompt(a, ev);
    }
    cr_assert_lt(a->text_len + ev->text_len, sizeof a->text);
    memcpy(a->text + a->text_len, ev->text, ev->text_len);
    a->text_len += ev->text_len;
    a->text[a->text_len] = '\0';
    if (ev->finish != OCT_FINISH_NONE) {
        a->n_ends++;
        a->finish = ev->finish;
        a->status = ev->status;
        (void)snprintf(a->error, sizeof a->error, "%s", ev->error ? ev->error : "");
        a->n_prompt_tokens = ev->n_prompt_tokens;
        a->n_output_tokens = ev->n_output_tokens;
    }
}

void run_submit(oct_engine *e, const int32_t *prompt, size_t n, const struct oct_sampling *s,
                struct run_answer *a)
{
    struct oct_request r = OCT_REQUEST_INIT;
    r.prompt = prompt;
    r.n_prompt = n;
    r.sampling = s;
    r.on_event = run_collect;
    r.user = a;
    const oct_status st = oct_engine_submit(e, &r, &a->id);
    cr_assert_eq(st, OCT_OK, "submit: %s", oct_last_error());
}

void run_no_findings(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD); /* what the engine opened */
    if (!lib) {
        return;
    }
    unsigned (*findings)(void) = (unsigned (*)(void))dlsym(lib, "vgpu_findings");
    const char *(*finding)(unsigned) = (const char *(*)(unsigned))dlsym(lib, "vgpu_finding");
    cr_assert(!findings || findings() == 0, "the virtual GPU found: %s", finding(0));
    (void)dlclose(lib);
}

void run_set_seed(uint64_t seed)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (!lib) {
        return;
    }
    void (*set_seed)(uint64_t) = (void (*)(uint64_t))dlsym(lib, "vgpu_set_seed");
    if (set_seed) {
        set_seed(seed);
    }
    (void)dlclose(lib);
}

void run_to_end(oct_engine *e)
{
    size_t active = 1;
    for (int i = 0; active; i++) {
        cr_assert_lt(i, 100000, "requests do not end");
        const oct_status st = oct_engine_step(e, &active);
        cr_assert_eq(st, OCT_OK, "step: %s", oct_last_error());
    }
    run_no_findings();
}

struct logits {
    float *rows; /* [n, vocab] */
    int32_t n, vocab, n_seen;
};

static void keep(void *user, uint64_t request, int32_t position, const float *row, int32_t vocab)
{
    struct logits *l = user;
    (void)request;
    cr_assert_eq(vocab, l->vocab);
    if (position < l->n) {
        memcpy(l->rows + (size_t)position * (size_t)vocab, row, (size_t)vocab * sizeof *row);
        l->n_seen++;
    }
}

float *run_logits(oct_engine *e, const int32_t *ids, int32_t n, int32_t vocab)
{
    static struct run_answer a;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    struct logits l = {.n = n, .vocab = vocab};
    l.rows = calloc((size_t)n * (size_t)vocab, sizeof *l.rows);
    cr_assert_not_null(l.rows);
    oct_engine_on_logits(e, keep, &l);
    memset(&a, 0, sizeof a);
    s.temperature = 0;
    s.max_tokens = 1;
    run_submit(e, ids, (size_t)n, &s, &a);
    run_to_end(e);
    oct_engine_on_logits(e, NULL, NULL);
    cr_assert_eq(l.n_seen, n);
    return l.rows;
}

void run_random_prompt(uint64_t seed, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r[4];
        oct_rng_philox(seed, i, 0, r);
        ids[i] = 3 + (int32_t)(r[0] % 256);
    }
}
