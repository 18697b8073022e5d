/* SPDX-License-Identifier: Apache-2.0
 *
 * The first byte picks generate or chat, the rest is a body of Ollama's API: JSON, then a request.
 * What is accepted holds what ollama.h promises; what openai.h does is fuzz_openai's matter. */
#include "api/ollama.h"
#include "base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONTEXT = 2048 };

static void check(const struct oct_ollama_request *r)
{
    const struct oct_openai_request *o = &r->openai;
    OCT_ASSERT(r->model && *r->model);
    if (r->is_empty) {
        OCT_ASSERT(!o->body && !o->messages && !o->prompts);
        return;
    }
    /* what OpenAI's clients may ask for and Ollama's may not */
    OCT_ASSERT(o->n == 1 && !o->echo && !o->no_tokens && o->n_prompts == 1);
    OCT_ASSERT(o->sampling.n_logit_bias == 0 && o->sampling.n_stop_token_ids == 0);
    OCT_ASSERT(!o->sampling.ignore_eos && o->sampling.min_tokens == 0 && o->priority == 0);
    OCT_ASSERT(o->n_top >= -1 && o->n_top <= 20 && o->sampling.n_logprobs == o->n_top);
    if (r->is_raw && !r->is_chat) {
        OCT_ASSERT(o->kind == OCT_OPENAI_COMPLETION && o->prompts[0].text && o->prompts[0].len > 0);
        return;
    }
    OCT_ASSERT(o->kind == OCT_OPENAI_CHAT && json_array_size(o->messages) > 0);
    for (size_t i = 0; i < json_array_size(o->messages); i++) {
        const json_t *m = json_array_get(o->messages, i);
        OCT_ASSERT(json_is_string(json_object_get(m, "role")) && json_object_get(m, "content"));
        OCT_ASSERT(!json_object_get(m, "images") && !json_object_get(m, "thinking"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body;
    struct oct_ollama_request r;
    if (size < 1 || oct_json_parse((const char *)data + 1, size - 1, "the request's body",
                                   OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &body) != OCT_OK) {
        return 0;
    }
    if (!json_is_object(body)) {
        json_decref(body);
        return 0;
    }
    const oct_status st = oct_ollama_parse(data[0] & 1, body, CONTEXT, &r);
    json_decref(body); /* the request holds what it needs of it */
    if (st == OCT_OK) {
        check(&r);
        oct_ollama_request_deinit(&r);
    } else {
        OCT_ASSERT(st == OCT_E_ARG || st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED ||
                   st == OCT_E_LIMIT);
        OCT_ASSERT(*oct_last_error());
    }
    return 0;
}
