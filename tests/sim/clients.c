/* SPDX-License-Identifier: Apache-2.0
 *
 * clients.c - who asks for what, who gives up, and what each must be told. */
#include "sim/sim.h"

#include "base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const salts[] = {NULL, "tenant a", "tenant b"};

static int32_t pick_length(struct sim *s, int32_t most)
{
    /* short ones, ones about a page, long ones */
    static const uint32_t upto[] = {8, 3 * K_PAGE_TOKENS, SIM_MAX_TOKENS};
    const uint32_t limit = upto[sim_draw(s, 3)];
    const int32_t n = 1 + (int32_t)sim_draw(s, limit);
    return n < most ? n : most;
}

static void plan_client(struct sim *s, struct sim_client *c)
{
    const int32_t room = s->options.max_model_len;
    *c = (struct sim_client){.stop_token = -1, .cancels_in_callback = -1};
    c->n_prompt = pick_length(s, s->pressed ? room / 2 : room - 1);
    c->max_tokens = s->pressed ? room - c->n_prompt : pick_length(s, room - c->n_prompt);
    const uint32_t base = sim_draw(s, 3);
    const int32_t shared = (int32_t)sim_draw(s, (uint32_t)c->n_prompt + 1);
    for (int32_t i = 0; i < c->n_prompt; i++) {
        c->prompt[i] = i < shared ? s->base[base][i] : 3 + (int32_t)sim_draw(s, 3);
    }
    if (sim_chance(s, 20)) { /* goes on with what another was told: as a chat does */
        const struct sim_client *o =
            s->n_clients ? &s->client[sim_draw(s, (uint32_t)s->n_clients)] : c;
        if (o != c && o->n_prompt + o->n_got < room) {
            c->n_prompt = o->n_prompt + o->n_got;
            memcpy(c->prompt, o->prompt, (size_t)o->n_prompt * sizeof *c->prompt);
            memcpy(c->prompt + o->n_prompt, o->oracle, (size_t)o->n_got * sizeof *c->prompt);
            c->max_tokens = pick_length(s, room - c->n_prompt);
        }
    }
    fake_answer(&s->options, c->prompt, c->n_prompt, c->oracle, c->max_tokens);
    c->n_oracle = c->max_tokens;
    if (sim_chance(s, s->pressed ? 5 : 25)) {
        c->stop_token = c->oracle[sim_draw(s, (uint32_t)c->max_tokens)];
    }
    c->priority = sim_chance(s, 30) ? (int32_t)sim_draw(s, 17) - 8 : 0;
    c->salt = sim_chance(s, 30) ? 1 + (int32_t)sim_draw(s, 2) : 0;
    c->n_top = sim_chance(s, 20) ? 1 : -1;
    c->wants_prompt = c->n_prompt % 8 == 3;
    c->submits_in_callback = sim_chance(s, 5);
    if (sim_chance(s, 5)) {
        c->token_mask_gives_up = true;
        c->gives_up_after = (int32_t)sim_draw(s, (uint32_t)c->max_tokens);
    }
}

/* Allows everything until it gives up. */
static bool token_mask(void *user, const int32_t *output, size_t n, uint32_t *mask, size_t n_words)
{
    const struct sim_client *c = user;
    (void)mask, (void)n_words;
    for (size_t i = 0; i < n; i++) {
        OCT_ASSERT(output[i] == c->oracle[i]);
    }
    return (int32_t)n < c->gives_up_after;
}

void sim_submit(struct sim *s)
{
    if (s->n_clients >= s->n_planned || s->closing) {
        return;
    }
    struct sim_client *c = &s->client[s->n_clients++];
    plan_client(s, c);
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    struct oct_request q = OCT_REQUEST_INIT;
    sampling.max_tokens = c->max_tokens;
    sampling.n_logprobs = c->n_top;
    sampling.n_prompt_logprobs = c->wants_prompt ? c->n_prompt / 8 % 2 : -1;
    if (c->stop_token >= 0) {
        sampling.stop_token_ids = &c->stop_token;
        sampling.n_stop_token_ids = 1;
    }
    if (c->token_mask_gives_up) {
        sampling.token_mask = token_mask;
        sampling.token_mask_user = c;
    }
    if (sim_chance(s, 15)) {
        q.timeout_us = 1 + sim_draw(s, 200000);
        c->deadline_us = s->now_us + q.timeout_us;
    }
    q.prompt = c->prompt;
    q.n_prompt = (size_t)c->n_prompt;
    q.sampling = &sampling;
    q.priority = c->priority;
    q.cache_salt = salts[c->salt];
    q.cache_salt_len = c->salt ? strlen(salts[c->salt]) : 0;
    q.on_event = sim_event;
    q.user = s;
    bool may_fail = false;
#if OCT_FAULTS
    if (sim_chance(s, 10)) {
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, 1 + sim_draw(s, 12), false, OCT_FAULT_FAIL);
        may_fail = true;
    }
#endif
    const int live = s->n_live;
    const oct_status st = oct_engine_submit(s->fake.e, &q, &c->id);
#if OCT_FAULTS
    if (may_fail) {
        oct_fault_reset();
    }
#endif
    if (st != OCT_OK) {
        const int32_t most = s->options.max_waiting;
        const bool full = st == OCT_E_BUSY && live + s->n_ended_in_step >= most;
        const bool gone = st == OCT_E_DEVICE && fake_fails(&s->options);
        if (!full && !gone && !(may_fail && st == OCT_E_MEM)) {
            sim_wrong(s, "a request was refused: %s", oct_last_error());
        }
        c->ended = true;
        s->n_refused++;
        return;
    }
    c->accepted = true;
    c->accepted_at = s->n_events;
    s->n_accepted++;
    s->n_live++;
    if (s->verbose) {
        printf("%8lld submit %llu: prompt %d, at most %d, priority %d, salt %d\n",
               (long long)s->now_us, (unsigned long long)c->id, c->n_prompt, c->max_tokens,
               c->priority, c->salt);
    }
}

void sim_cancel(struct sim *s, int i)
{
    struct sim_client *c = &s->client[i];
    if (!c->accepted) {
        return;
    }
    const oct_status st = oct_engine_cancel(s->fake.e, c->id);
    if (c->ended ? st != OCT_E_NOTFOUND && st != OCT_OK : st != OCT_OK) {
        sim_wrong(s, "cancelling request %llu: status %d", (unsigned long long)c->id, (int)st);
    }
    if (!c->ended && !c->cancelled) {
        c->cancelled = true;
        c->n_got_at_cancel = c->n_got;
    }
    if (s->verbose) {
        printf("%8lld cancel %llu\n", (long long)s->now_us, (unsigned long long)c->id);
    }
}

static struct sim_client *find(struct sim *s, uint64_t id)
{
    for (int i = 0; i < s->n_clients; i++) {
        if (s->client[i].accepted && s->client[i].id == id) {
            return &s->client[i];
        }
    }
    sim_wrong(s, "an event for request %llu, which was never accepted", (unsigned long long)id);
}

/* Tokens of `a` and `b` that agree from the start. */
static int32_t common(const struct sim_client *a, const struct sim_client *b)
{
    int32_t n = 0;
    const int32_t known = b->n_prompt + b->n_got;
    while (n < a->n_prompt && n < known) {
        const int32_t t = n < b->n_prompt ? b->prompt[n] : b->oracle[n - b->n_prompt];
        if (a->prompt[n] != t) {
            break;
        }
        n++;
    }
    return n;
}

/* Cached tokens must have been computed for somebody of the same tenant. */
static void check_cached(struct sim *s, struct sim_client *c, int32_t n_cached)
{
    int32_t most = 0;
    for (int i = 0; i < s->n_clients; i++) {
        const struct sim_client *o = &s->client[i];
        const bool forgotten = o->distrusted && o->ended_at < c->accepted_at;
        if (o != c && o->accepted && o->salt == c->salt && !forgotten) {
            const int32_t n = common(c, o);
            most = n > most ? n : most;
        }
    }
    if (n_cached < 0 || n_cached >= c->n_prompt || n_cached > most || n_cached % K_PAGE_TOKENS) {
        sim_wrong(s,
                  "request %llu found %d tokens in the cache; its tenant has computed %d of them",
                  (unsigned long long)c->id, n_cached, most);
    }
}

/* The first token brings them, where they were asked for. */
static void check_prompt(struct sim *s, const struct sim_client *c, const struct oct_event *ev)
{
    const int32_t n_top = c->wants_prompt && c->n_got == 0 ? c->n_prompt / 8 % 2 : -1;
    bool ok = ev->n_prompt_top == n_top && (!ev->prompt_logprobs == (n_top < 0));
    for (int32_t i = 0; ok && n_top >= 0 && i < c->n_prompt; i++) {
        const struct oct_token_logprob *p = &ev->prompt_logprobs[i];
        const float d = p->logprob - (i ? fake_logprob(p->token) : 0);
        ok = p->token == c->prompt[i] && d <= 0 && d >= 0;
    }
    const int32_t last = c->n_prompt - 1;
    if (ok && n_top > 0 && last > 0) {
        int32_t want = -1;
        fake_answer(&s->options, c->prompt, last, &want, 1);
        ok = ev->prompt_top[last].token == want;
    }
    if (!ok || (c->wants_prompt && ev->n_cached_tokens != 0)) {
        sim_wrong(s, "request %llu: the logprobs of its prompt are wrong",
                  (unsigned long long)c->id);
    }
}

static void check_token(struct sim *s, struct sim_client *c, const struct oct_event *ev)
{
    if (c->n_got >= c->n_oracle || ev->token != c->oracle[c->n_got]) {
        sim_wrong(s, "request %llu: token %d is %d, not %d", (unsigned long long)c->id, c->n_got,
                  ev->token, c->n_got < c->n_oracle ? c->oracle[c->n_got] : -1);
    }
    if (ev->logprob < fake_logprob(ev->token) || ev->logprob > fake_logprob(ev->token)) {
        sim_wrong(s, "request %llu: logprob %g", (unsigned long long)c->id, (double)ev->logprob);
    }
    if (c->n_got > 0 && c->n_got - 1 < c->n_oracle && c->oracle[c->n_got - 1] == c->stop_token) {
        sim_wrong(s, "request %llu went on after its stop token", (unsigned long long)c->id);
    }
    check_prompt(s, c, ev);
    c->n_got++;
    if (ev->n_output_tokens != c->n_got || ev->n_prompt_tokens != c->n_prompt ||
        ev->n_top != (c->n_top > 0 ? c->n_top : 0)) {
        sim_wrong(s, "request %llu: the counts of an event are wrong", (unsigned long long)c->id);
    }
    if (c->cancelled && c->n_got > c->n_got_at_cancel + 1) {
        sim_wrong(s, "request %llu got %d tokens after it was cancelled", (unsigned long long)c->id,
                  c->n_got - c->n_got_at_cancel);
    }
}

/* Why it ended must be true. */
static void check_end(struct sim *s, struct sim_client *c, const struct oct_event *ev)
{
    bool ok = false;
    switch (ev->finish) {
    case OCT_FINISH_STOP:
        ok = ev->token >= 0 && ev->token == c->stop_token;
        s->n_stopped++;
        break;
    case OCT_FINISH_LENGTH:
        ok = c->n_got == c->max_tokens;
        s->n_length++;
        break;
    case OCT_FINISH_CANCELLED:
        ok = (c->cancelled || s->closing) && ev->status == OCT_E_CANCELLED;
        s->n_cancelled++;
        break;
    case OCT_FINISH_ERROR:
        if (ev->status == OCT_E_DEADLINE) {
            ok = c->deadline_us > 0 && s->now_us >= c->deadline_us;
            s->n_expired++;
            break;
        }
        s->n_failed++;
        ok = ev->status == OCT_E_DEVICE ? fake_fails(&s->options)
             : ev->status == OCT_E_NUMERIC
                 ? s->options.nan_first_token && c->prompt[0] == s->options.nan_first_token
             : ev->status == OCT_E_ARG ? c->token_mask_gives_up && c->n_got >= c->gives_up_after
                                       : false;
        break;
    case OCT_FINISH_NONE:
        break;
    }
    if (!ok || (ev->finish == OCT_FINISH_ERROR && (!ev->error || !*ev->error))) {
        sim_wrong(s, "request %llu ended with finish %d, status %d after %d of %d tokens: %s",
                  (unsigned long long)c->id, (int)ev->finish, (int)ev->status, c->n_got,
                  c->max_tokens, ev->error ? ev->error : "");
    }
}

void sim_event(void *user, const struct oct_event *ev)
{
    struct sim *s = user;
    struct sim_client *c = find(s, ev->request);
    s->n_events++;
    if (c->ended) {
        sim_wrong(s, "request %llu has an event after its last", (unsigned long long)c->id);
    }
    if (!c->prefix_known && ev->token >= 0) {
        check_cached(s, c, ev->n_cached_tokens);
        c->prefix_known = true;
    }
    if (ev->token >= 0) {
        check_token(s, c, ev);
    }
    if (ev->finish != OCT_FINISH_NONE) {
        check_end(s, c, ev);
        c->ended = true;
        c->ended_at = s->n_events;
        c->distrusted = ev->status == OCT_E_NUMERIC;
        s->n_live--;
        s->n_ended_in_step++;
    }
    if (s->verbose) {
        printf("%8lld event %llu: token %d, finish %d, status %d\n", (long long)s->now_us,
               (unsigned long long)c->id, ev->token, (int)ev->finish, (int)ev->status);
    }
    if (!s->dead && sim_chance(s, 2)) {
        sim_cancel(s, (int)sim_draw(s, (uint32_t)s->n_clients)); /* itself, perhaps, or ended */
    }
    if (c->submits_in_callback) {
        c->submits_in_callback = false;
        sim_submit(s);
    }
}
