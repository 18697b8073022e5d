/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sampler.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

enum {
    MAX_STOPS = 16,
    MAX_STOP_BYTES = 256,
};

/* ---- checks ---- */

/* A float of the request in [min, max]; -1 means the model's own value, else `fallback`. */
static oct_status number(const char *name, float value, float model, float fallback, float min,
                         float max, bool min_open, float *out)
{
    if (value == -1.0f && min >= 0.0f) {
        *out = isnan(model) ? fallback : model;
        return OCT_OK;
    }
    if (!(value <= max) || (min_open ? !(value > min) : !(value >= min))) {
        return OCT_FAIL(OCT_E_ARG, "%s is %g; it must be %s %g and at most %g", name, (double)value,
                        min_open ? "above" : "at least", (double)min, (double)max);
    }
    *out = value;
    return OCT_OK;
}

static oct_status integer(const char *name, int64_t value, int64_t min, int64_t max)
{
    if (value < min || value > max) {
        return OCT_FAIL(OCT_E_ARG, "%s is %lld; it must be between %lld and %lld", name,
                        (long long)value, (long long)min, (long long)max);
    }
    return OCT_OK;
}

static oct_status check_numbers(struct oct_sampler *o, const struct oct_sampling *s,
                                const struct oct_model_config *c, int32_t n_vocab, int32_t n_prompt,
                                int32_t max_model_len)
{
    struct k_sample_row *r = &o->row;
    OCT_TRY(
        number("temperature", s->temperature, c->temperature, 0, 0, 100, false, &r->temperature));
    OCT_TRY(number("top_p", s->top_p, c->top_p, 1, 0, 1, true, &r->top_p));
    OCT_TRY(number("min_p", s->min_p, c->min_p, 0, 0, 1, false, &r->min_p));
    OCT_TRY(number("repetition_penalty", s->repetition_penalty, c->repetition_penalty, 1, 0, 10,
                   true, &r->repetition));
    OCT_TRY(number("presence_penalty", s->presence_penalty, 0, 0, -2, 2, false, &r->presence));
    OCT_TRY(number("frequency_penalty", s->frequency_penalty, 0, 0, -2, 2, false, &r->frequency));
    r->top_k = s->top_k == -1 ? (c->top_k > 0 ? c->top_k : 0) : s->top_k;
    OCT_TRY(integer("top_k", r->top_k, 0, INT32_MAX));
    r->top_k = r->top_k > n_vocab ? 0 : r->top_k; /* more than there are: all */
    OCT_TRY(integer("n_logprobs", s->n_logprobs, -1, K_SAMPLE_MAX_TOP));
    r->n_top = s->n_logprobs > n_vocab ? n_vocab : s->n_logprobs;
    OCT_TRY(integer("n_prompt_logprobs", s->n_prompt_logprobs, -1, K_SAMPLE_MAX_TOP));
    OCT_TRY(integer("max_tokens", s->max_tokens, 0, INT32_MAX));
    const int32_t room = max_model_len - n_prompt;
    o->max_tokens = s->max_tokens ? s->max_tokens : room;
    if (o->max_tokens > room) {
        return OCT_FAIL(
            OCT_E_ARG,
            "max_tokens is %d; the prompt has %d tokens and the context holds %d, so it "
            "must be at most %d",
            s->max_tokens, n_prompt, max_model_len, room);
    }
    OCT_TRY(integer("min_tokens", s->min_tokens, 0, o->max_tokens));
    o->min_tokens = s->min_tokens;
    return OCT_OK;
}

static oct_status copy_bias(struct oct_sampler *o, const struct oct_sampling *s, int32_t n_vocab)
{
    OCT_TRY(integer("the length of logit_bias", (int64_t)s->n_logit_bias, 0, OCT_SAMPLER_MAX_BIAS));
    if (s->n_logit_bias == 0) {
        return OCT_OK;
    }
    o->bias = oct_calloc(s->n_logit_bias, sizeof *o->bias);
    if (!o->bias) {
        return oct_no_memory("logit_bias", s->n_logit_bias * sizeof *o->bias);
    }
    for (size_t i = 0; i < s->n_logit_bias; i++) {
        const struct oct_logit_bias *b = &s->logit_bias[i];
        float value = 0;
        OCT_TRY(integer("a token of logit_bias", b->token, 0, n_vocab - 1));
        OCT_TRY(number("a value of logit_bias", b->bias, 0, 0, -100, 100, false, &value));
        for (size_t j = 0; j < i; j++) {
            if (o->bias[j].token == b->token) {
                return OCT_FAIL(OCT_E_ARG, "logit_bias names token %d twice", b->token);
            }
        }
        o->bias[i] = (struct k_sample_bias){.token = b->token, .value = value};
    }
    o->row.bias = (k_ptr)(uintptr_t)o->bias;
    o->row.n_bias = (int32_t)s->n_logit_bias;
    return OCT_OK;
}

static oct_status copy_stops(struct oct_sampler *o, const struct oct_sampling *s)
{
    OCT_TRY(integer("the number of stop strings", (int64_t)s->n_stop, 0, MAX_STOPS));
    if (s->n_stop == 0) {
        return OCT_OK;
    }
    o->stops = oct_calloc(s->n_stop, sizeof *o->stops);
    if (!o->stops) {
        return oct_no_memory("stop strings", s->n_stop * sizeof *o->stops);
    }
    for (size_t i = 0; i < s->n_stop; i++) {
        const size_t len = s->stop[i] ? strlen(s->stop[i]) : 0;
        OCT_TRY(integer("the length of a stop string in bytes", (int64_t)len, 1, MAX_STOP_BYTES));
        o->stops[i] = oct_strdup(s->stop[i]);
        if (!o->stops[i]) {
            return oct_no_memory("a stop string", len + 1);
        }
        o->n_stops++;
    }
    return OCT_OK;
}

static bool listed(const int32_t *list, int32_t n, int32_t token)
{
    for (int32_t i = 0; i < n; i++) {
        if (list[i] == token) {
            return true;
        }
    }
    return false;
}

static oct_status copy_stop_tokens(struct oct_sampler *o, const struct oct_sampling *s,
                                   const struct oct_vocab *v, int32_t n_vocab)
{
    OCT_TRY(integer("the length of stop_token_ids", (int64_t)s->n_stop_token_ids, 0,
                    OCT_SAMPLER_MAX_STOP_TOKENS));
    const size_t n = s->n_stop_token_ids + (size_t)v->n_stop_tokens;
    if (n == 0) {
        return OCT_OK;
    }
    o->banned = oct_calloc(n, sizeof *o->banned);
    if (!o->banned) {
        return oct_no_memory("stop tokens", n * sizeof *o->banned);
    }
    for (size_t i = 0; i < s->n_stop_token_ids; i++) {
        OCT_TRY(integer("an entry of stop_token_ids", s->stop_token_ids[i], 0, n_vocab - 1));
        if (!listed(o->banned, o->n_stop_tokens, s->stop_token_ids[i])) {
            o->banned[o->n_stop_tokens++] = s->stop_token_ids[i];
        }
    }
    for (int32_t i = 0; !s->ignore_eos && i < v->n_stop_tokens; i++) {
        const int32_t t = v->stop_tokens[i];
        if (t < n_vocab && !listed(o->banned, o->n_stop_tokens, t)) {
            o->banned[o->n_stop_tokens++] = t;
        }
    }
    return OCT_OK;
}

/* ---- counts: token -> how often ---- */

static uint32_t slot_of(const struct oct_sampler *s, int32_t token)
{
    uint32_t i = ((uint32_t)token * 2654435761u) & s->index_mask; /* Knuth's multiplier */
    while (s->count_index[i] >= 0 && s->counts[s->count_index[i]].token != token) {
        i = (i + 1) & s->index_mask;
    }
    return i;
}

static void count(struct oct_sampler *s, int32_t token, int32_t n_output)
{
    if (!s->counts) {
        return;
    }
    const uint32_t i = slot_of(s, token);
    if (s->count_index[i] < 0) {
        s->count_index[i] = s->n_counts;
        s->counts[s->n_counts++] = (struct k_sample_count){.token = token};
    }
    s->counts[s->count_index[i]].n_output += n_output;
}

static oct_status init_counts(struct oct_sampler *o, const int32_t *prompt, int32_t n_prompt,
                              int32_t n_vocab)
{
    const struct k_sample_row *r = &o->row;
    if (r->repetition == 1.0f && r->presence == 0.0f && r->frequency == 0.0f) {
        return OCT_OK;
    }
    const int32_t total = n_prompt + o->max_tokens;
    const size_t most = (size_t)(total < n_vocab ? total : n_vocab);
    size_t slots = 16;
    while (slots < 2 * most) {
        slots *= 2;
    }
    o->counts = oct_calloc(most, sizeof *o->counts);
    o->count_index = oct_malloc(slots * sizeof *o->count_index);
    if (!o->counts || !o->count_index) {
        return oct_no_memory("penalty counts", most * sizeof *o->counts + slots * 4);
    }
    memset(o->count_index, 0xff, slots * sizeof *o->count_index);
    o->index_mask = (uint32_t)slots - 1;
    for (int32_t i = 0; i < n_prompt; i++) {
        if (prompt[i] < n_vocab) { /* the rows above are never chosen, so never penalised */
            count(o, prompt[i], 0);
        }
    }
    return OCT_OK;
}

/* ---- life ---- */

static oct_status init(struct oct_sampler *o, const struct oct_sampling *s,
                       const struct oct_model_config *c, const struct oct_vocab *v, int32_t n_vocab,
                       const int32_t *prompt, int32_t n_prompt, int32_t max_model_len)
{
    OCT_TRY(check_numbers(o, s, c, n_vocab, n_prompt, max_model_len));
    OCT_TRY(copy_bias(o, s, n_vocab));
    OCT_TRY(copy_stops(o, s));
    OCT_TRY(copy_stop_tokens(o, s, v, n_vocab));
    OCT_TRY(init_counts(o, prompt, n_prompt, n_vocab));
    o->row.seed = s->seed;
    if (!s->has_seed && o->row.temperature > 0.0f) {
        OCT_TRY(oct_rng_fresh_seed(&o->row.seed));
    }
    if (s->token_mask) {
        o->n_mask_words = ((size_t)n_vocab + 31) / 32;
        o->mask = oct_calloc(o->n_mask_words, sizeof *o->mask);
        if (!o->mask) {
            return oct_no_memory("the token mask", o->n_mask_words * sizeof *o->mask);
        }
        o->token_mask = s->token_mask;
        o->token_mask_user = s->token_mask_user;
    }
    o->keep_special = s->keep_special;
    return OCT_OK;
}

oct_status oct_sampler_init(struct oct_sampler *out, const struct oct_sampling *s,
                            const struct oct_model_config *c, const struct oct_vocab *v,
                            int32_t n_vocab, const int32_t *prompt, int32_t n_prompt,
                            int32_t max_model_len)
{
    static const struct oct_sampling defaults = OCT_SAMPLING_INIT;
    struct oct_sampler o = {0};
    OCT_ASSERT(!s || s->size == sizeof *s); /* request.c reads what callers fill */
    const oct_status st =
        init(&o, s ? s : &defaults, c, v, n_vocab, prompt, n_prompt, max_model_len);
    if (st != OCT_OK) {
        oct_sampler_deinit(&o);
        return st;
    }
    *out = o;
    return OCT_OK;
}

void oct_sampler_deinit(struct oct_sampler *s)
{
    for (size_t i = 0; i < s->n_stops; i++) {
        oct_free(s->stops[i]);
    }
    oct_free(s->stops);
    oct_free(s->counts);
    oct_free(s->count_index);
    oct_free(s->bias);
    oct_free(s->banned);
    oct_free(s->mask);
    *s = (struct oct_sampler){0};
}

void oct_sampler_add(struct oct_sampler *s, int32_t token)
{
    count(s, token, 1);
}

bool oct_sampler_is_stop(const struct oct_sampler *s, int32_t token)
{
    return listed(s->banned, s->n_stop_tokens, token);
}

bool oct_sampler_row(struct oct_sampler *s, const int32_t *output, int32_t n_output,
                     struct k_sample_row *row)
{
    *row = s->row;
    row->step = (uint64_t)n_output;
    row->counts = (k_ptr)(uintptr_t)s->counts;
    row->n_counts = s->n_counts;
    if (n_output < s->min_tokens) {
        row->banned = (k_ptr)(uintptr_t)s->banned;
        row->n_banned = s->n_stop_tokens;
    }
    if (s->token_mask) {
        memset(s->mask, 0xff, s->n_mask_words * sizeof *s->mask);
        if (!s->token_mask(s->token_mask_user, output, (size_t)n_output, s->mask,
                           s->n_mask_words)) {
            return false;
        }
        row->bitmask = (k_ptr)(uintptr_t)s->mask;
    }
    return true;
}
