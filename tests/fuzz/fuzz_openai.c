/* SPDX-License-Identifier: Apache-2.0
 *
 * The first byte picks the API, the rest is a body: JSON, then a request. What is accepted must
 * hold what openai.h promises, and be safe to hand to the engine's own checks. */
#include "api/openai.h"
#include "base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sampling(const struct oct_openai_request *r)
{
    const struct oct_sampling *s = &r->sampling;
    OCT_ASSERT(s->size == sizeof *s && !s->token_mask && s->n_prompt_logprobs == -1);
    OCT_ASSERT(s->n_stop <= 16 && (s->n_stop == 0 || s->stop));
    for (size_t i = 0; i < s->n_stop; i++) {
        OCT_ASSERT(s->stop[i]);
    }
    for (size_t i = 0; i < s->n_stop_token_ids; i++) {
        OCT_ASSERT(s->stop_token_ids[i] >= 0);
    }
    for (size_t i = 0; i < s->n_logit_bias; i++) {
        OCT_ASSERT(s->logit_bias[i].token >= 0);
    }
    OCT_ASSERT(s->max_tokens >= 0 && s->min_tokens >= 0 && s->top_k >= -1);
    /* -1 means "the model's own", which a body cannot ask for by a number */
    OCT_ASSERT(s->temperature >= 0 || s->temperature == -1);
    OCT_ASSERT(!r->has_max_tokens || s->max_tokens >= 1);
}

static void check_chat(const struct oct_openai_request *r)
{
    OCT_ASSERT(json_is_array(r->messages) && json_is_object(r->vars) && r->n_prompts == 1);
    for (size_t i = 0; i < json_array_size(r->messages); i++) {
        const json_t *m = json_array_get(r->messages, i);
        OCT_ASSERT(json_is_string(json_object_get(m, "role")));
        OCT_ASSERT(!json_is_array(json_object_get(m, "content")));
    }
    OCT_ASSERT(!json_object_get(r->vars, "messages") && !json_object_get(r->vars, "bos_token"));
    struct oct_buf b = {0};
    OCT_ASSERT(oct_json_append(&b, r->messages, JSON_COMPACT) == OCT_OK);
    OCT_ASSERT(oct_json_append(&b, r->vars, JSON_COMPACT) == OCT_OK);
    oct_buf_free(&b);
}

static void check_prompts(const struct oct_openai_request *r)
{
    OCT_ASSERT(r->n_prompts >= 1 && r->n_prompts <= OCT_OPENAI_MAX_PROMPTS);
    for (size_t p = 0; p < r->n_prompts; p++) {
        OCT_ASSERT(r->prompts[p].text || r->prompts[p].n_ids > 0);
        for (size_t i = 0; i < r->prompts[p].n_ids; i++) {
            OCT_ASSERT(r->prompts[p].ids[i] >= 0);
        }
        for (size_t i = 0; i < r->prompts[p].len; i++) {
            OCT_ASSERT(r->prompts[p].text[i] || r->prompts[p].text[r->prompts[p].len] == '\0');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body;
    if (size < 1) {
        return 0;
    }
    const enum oct_openai_kind kind = data[0] & 1 ? OCT_OPENAI_CHAT : OCT_OPENAI_COMPLETION;
    if (oct_json_parse((const char *)data + 1, size - 1, "the request's body", OCT_JSON_MAX_DEPTH,
                       OCT_JSON_NUL, &body) != OCT_OK) {
        return 0;
    }
    struct oct_openai_request r;
    const oct_status st = oct_openai_parse(kind, body, &r);
    json_decref(body);
    if (st != OCT_OK) {
        OCT_ASSERT(st == OCT_E_ARG || st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED ||
                   st == OCT_E_LIMIT);
        OCT_ASSERT(*oct_last_error());
        return 0;
    }
    OCT_ASSERT(r.n >= 1 && r.n <= OCT_OPENAI_MAX_N && r.timeout_us >= 0);
    OCT_ASSERT(r.n_top >= -1 && r.n_top <= 20 && r.sampling.n_logprobs == r.n_top);
    OCT_ASSERT(r.priority >= -8 && r.priority <= 8);
    check_sampling(&r);
    if (kind == OCT_OPENAI_CHAT) {
        check_chat(&r);
    } else {
        check_prompts(&r);
    }
    oct_openai_request_deinit(&r);
    return 0;
}
