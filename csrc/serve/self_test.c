/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/self_test.h"

#include "base/hash.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

enum { TOP = OCT_SELF_TEST_TOP, WORDS_OF_TOKEN = 2 * (1 + TOP) };

/* ---- the request ---- */

void oct_self_test_init(struct oct_self_test *t, const oct_engine *e)
{
    struct oct_engine_info info = {.size = sizeof info};
    oct_engine_get_info(e, &info);
    *t = (struct oct_self_test){.n_prompt = OCT_SELF_TEST_PROMPT, .n_output = OCT_SELF_TEST_OUTPUT};
    t->n_output = t->n_output < info.max_model_len ? t->n_output : info.max_model_len - 1;
    const int32_t room = info.max_model_len - t->n_output;
    t->n_prompt = t->n_prompt < room ? t->n_prompt : room;
    for (int32_t i = 0; i < t->n_prompt; i++) { /* spread over the vocabulary */
        const uint64_t mixed = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15;
        t->prompt[i] = (int32_t)((mixed >> 32) % (uint64_t)info.vocab_size);
    }
    pthread_mutex_init(&t->lock, NULL);
}

void oct_self_test_deinit(struct oct_self_test *t)
{
    pthread_mutex_destroy(&t->lock);
}

static void add(struct oct_self_test_run *r, int32_t token, float logprob)
{
    uint32_t bits;
    memcpy(&bits, &logprob, sizeof bits);
    if (r->n + 2 <= OCT_SELF_TEST_WORDS) {
        r->words[r->n++] = (uint32_t)token;
        r->words[r->n++] = bits;
    }
}

/* n_top may be less than TOP where nothing stands before a token. */
static void add_token(struct oct_self_test_run *r, int32_t token, float logprob,
                      const struct oct_token_logprob *top, int32_t n_top)
{
    add(r, token, logprob);
    for (int32_t i = 0; i < TOP; i++) {
        add(r, i < n_top ? top[i].token : -1, i < n_top ? top[i].logprob : 0);
    }
}

/* The engine's thread. */
static void on_event(void *user, const struct oct_event *ev)
{
    struct oct_self_test *t = user;
    pthread_mutex_lock(&t->lock);
    for (int32_t i = 0; ev->n_prompt_top >= 0 && i < ev->n_prompt_tokens; i++) {
        add_token(&t->run, ev->prompt_logprobs[i].token, ev->prompt_logprobs[i].logprob,
                  ev->prompt_top + (int64_t)i * ev->n_prompt_top, ev->n_prompt_top);
    }
    if (ev->token >= 0) {
        add_token(&t->run, ev->token, ev->logprob, ev->top, ev->n_top);
    }
    if (ev->finish != OCT_FINISH_NONE) {
        t->finish = ev->finish;
        t->status = ev->status;
        (void)snprintf(t->error, sizeof t->error, "%s", ev->error ? ev->error : "");
        t->is_over = true;
    }
    pthread_mutex_unlock(&t->lock);
}

oct_status oct_self_test_begin(struct oct_self_test *t, oct_engine *e, uint64_t *id)
{
    static const char salt[] = "octavo self-test"; /* nobody else finds its pages */
    struct oct_sampling s = OCT_SAMPLING_INIT;
    struct oct_request q = OCT_REQUEST_INIT;
    uint64_t own_id;
    OCT_ASSERT(!t->is_running);
    s.temperature = 0;
    s.top_p = 1;
    s.top_k = 0;
    s.min_p = 0;
    s.repetition_penalty = 1;
    s.has_seed = true;
    s.max_tokens = t->n_output;
    s.ignore_eos = true;
    s.n_logprobs = TOP;
    s.n_prompt_logprobs = TOP; /* with them a request takes nothing from the prefix cache */
    q.prompt = t->prompt;
    q.n_prompt = (size_t)t->n_prompt;
    q.sampling = &s;
    q.on_event = on_event;
    q.user = t;
    q.priority = -8;
    q.cache_salt = salt;
    q.cache_salt_len = sizeof salt - 1;
    t->run.n = 0;
    t->is_over = false;
    OCT_TRY(oct_engine_submit(e, &q, id ? id : &own_id));
    t->is_running = true;
    return OCT_OK;
}

/* ---- what came of it ---- */

static void digest_of(const struct oct_self_test_run *r, char dst[OCT_SELF_TEST_DIGEST_BYTES])
{
    static const struct oct_hash key = {0x6f637461766f2073, 0x656c662d74657374};
    const struct oct_hash h = oct_siphash128(key, r->words, r->n * sizeof *r->words);
    (void)snprintf(dst, OCT_SELF_TEST_DIGEST_BYTES, "%016llx%016llx", (unsigned long long)h.hi,
                   (unsigned long long)h.lo);
}

static void tell_value(char *dst, size_t size, const struct oct_self_test_run *r, size_t pair)
{
    float logprob;
    memcpy(&logprob, &r->words[2 * pair + 1], sizeof logprob);
    (void)snprintf(dst, size, "token %d with logprob %.9g", (int)r->words[2 * pair],
                   (double)logprob);
}

/* The first difference, and how many tokens have one. */
static void tell_difference(const struct oct_self_test *t, char *dst, size_t size)
{
    const struct oct_self_test_run *a = &t->known, *b = &t->run;
    size_t first = 0, n_tokens = 0, last = SIZE_MAX;
    char was[80], is[80];
    if (a->n != b->n) {
        (void)snprintf(dst, size, "%zu tokens were told instead of %zu", b->n / WORDS_OF_TOKEN,
                       a->n / WORDS_OF_TOKEN);
        return;
    }
    for (size_t i = a->n; i-- > 0;) {
        if (a->words[i] != b->words[i]) {
            first = i;
            n_tokens += i / WORDS_OF_TOKEN != last;
            last = i / WORDS_OF_TOKEN;
        }
    }
    tell_value(was, sizeof was, a, first / 2);
    tell_value(is, sizeof is, b, first / 2);
    (void)snprintf(dst, size, "from position %zu on, %zu of %zu tokens differ; first %s was %s",
                   first / WORDS_OF_TOKEN, n_tokens, a->n / WORDS_OF_TOKEN, is, was);
}

static void judge(struct oct_self_test *t, struct oct_self_test_result *out)
{
    if (t->finish == OCT_FINISH_ERROR && t->status == OCT_E_NUMERIC) {
        out->verdict = OCT_SELF_TEST_NUMERIC;
        (void)snprintf(out->text, sizeof out->text, "%s", t->error);
        return;
    }
    if (t->finish != OCT_FINISH_LENGTH) {
        out->verdict = OCT_SELF_TEST_NOT_RUN;
        (void)snprintf(out->text, sizeof out->text, "%s", t->error);
        return;
    }
    digest_of(&t->run, out->digest);
    if (t->known.n == 0) {
        t->known = t->run;
        memcpy(t->digest, out->digest, sizeof t->digest);
        out->verdict = OCT_SELF_TEST_FIRST;
        return;
    }
    const bool same = t->known.n == t->run.n &&
                      !memcmp(t->known.words, t->run.words, t->run.n * sizeof *t->run.words);
    out->verdict = same ? OCT_SELF_TEST_SAME : OCT_SELF_TEST_DIFFERS;
    if (!same) {
        tell_difference(t, out->text, sizeof out->text);
    }
}

bool oct_self_test_take(struct oct_self_test *t, struct oct_self_test_result *out)
{
    pthread_mutex_lock(&t->lock);
    const bool is_over = t->is_running && t->is_over;
    pthread_mutex_unlock(&t->lock);
    if (!is_over) {
        return false;
    }
    t->is_running = false;
    *out = (struct oct_self_test_result){.status = t->status};
    judge(t, out);
    return true;
}
