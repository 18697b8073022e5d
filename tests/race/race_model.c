/* SPDX-License-Identifier: Apache-2.0
 *
 * Four threads on an engine with a real, tiny model: its engine thread, its device thread and the
 * pool of the forward pass, all under ThreadSanitizer. Every answer is compared with the one that a
 * manual engine gave before. */
#include "engine/engine.h"
#include "support/tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, REQUESTS = 6, N_TOKENS = 24, N_PROMPT = 70 };

struct answer {
    int32_t tokens[N_TOKENS];
    int n;
    bool ended;
};

struct worker {
    pthread_t thread;
    oct_engine *e;
    int number;
    struct answer answers[REQUESTS];
    const char *wrong;
};

static void on_event(void *user, const struct oct_event *ev)
{
    struct answer *a = user;
    if (ev->token >= 0 && a->n < N_TOKENS) {
        a->tokens[a->n++] = ev->token;
    }
    a->ended = ev->finish == OCT_FINISH_LENGTH;
}

/* Half of the requests share the beginning of their prompts. */
static oct_status submit(oct_engine *e, int number, struct answer *a, uint64_t *id)
{
    int32_t prompt[N_PROMPT];
    struct oct_sampling s = OCT_SAMPLING_INIT;
    struct oct_request q = OCT_REQUEST_INIT;
    for (int i = 0; i < N_PROMPT; i++) {
        prompt[i] = 3 + (i * 37 + (i >= 66 || number % 2 ? number : 0)) % 250;
    }
    s.temperature = 0;
    s.max_tokens = N_TOKENS;
    s.ignore_eos = true;
    q.prompt = prompt;
    q.n_prompt = N_PROMPT;
    q.sampling = &s;
    q.on_event = on_event;
    q.user = a;
    *a = (struct answer){0};
    return oct_engine_submit(e, &q, id);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    uint64_t id[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) {
        if (submit(w->e, w->number * REQUESTS + i, &w->answers[i], &id[i]) != OCT_OK) {
            w->wrong = "a request was refused";
            return NULL;
        }
    }
    for (int i = 0; i < REQUESTS; i++) {
        if (oct_engine_wait(w->e, id[i], -1) != OCT_OK) {
            w->wrong = "wait failed";
        }
    }
    return NULL;
}

static oct_engine *open_model(const char *dir, int manual)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = dir;
    o.device = "cpu";
    o.n_threads = 2;
    o.max_num_batched_tokens = 64;
    o.manual = manual;
    if (oct_engine_open(&o, &e) != OCT_OK) {
        (void)fprintf(stderr, "open: %s\n", oct_last_error());
        exit(1);
    }
    return e;
}

static int compare(const struct worker *w, const struct answer *want)
{
    int failed = w->wrong != NULL;
    for (int i = 0; i < REQUESTS; i++) {
        const struct answer *a = &w->answers[i], *b = &want[w->number * REQUESTS + i];
        failed |= !a->ended || a->n != N_TOKENS || memcmp(a->tokens, b->tokens, sizeof a->tokens);
    }
    if (failed) {
        (void)fprintf(stderr, "thread %d: %s\n", w->number, w->wrong ? w->wrong : "other tokens");
    }
    return failed;
}

int main(void)
{
    static struct answer want[THREADS * REQUESTS];
    static struct worker w[THREADS];
    static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "model.safetensors"};
    char dir[] = "/tmp/octavo-race-XXXXXX", path[128];
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    int failed = 0;
    if (!mkdtemp(dir)) {
        return 1;
    }
    oct_tiny_write_hf(&t, dir);
    oct_engine *manual = open_model(dir, 1), *e = open_model(dir, 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
    for (int i = 0; i < THREADS * REQUESTS; i++) {
        uint64_t id;
        failed |= submit(manual, i, &want[i], &id) != OCT_OK;
        failed |= oct_engine_wait(manual, id, -1) != OCT_OK;
    }
    oct_engine_close(manual);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.e = e, .number = i};
        failed |= pthread_create(&w[i].thread, NULL, work, &w[i]) != 0;
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(w[i].thread, NULL);
        failed |= compare(&w[i], want);
    }
    oct_engine_close(e);
    return failed;
}
