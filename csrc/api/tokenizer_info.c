/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_info.c - /tokenizer_info, as vLLM has it: what a client that counts and cuts tokens
 * wants to know beside /tokenize and /detokenize. lm-eval asks for it and then needs no tokenizer
 * of its own. */
#include "api/call.h"
#include "engine/engine.h"

void oct_api_tokenizer_info(struct oct_api *a, struct oct_http_exchange *x)
{
    const struct oct_engine *e = a->engine;
    /* a template that was given in place of the model's is not kept as text */
    const char *chat = e->chat.given ? NULL : e->vocab->chat_template;
    oct_api_send_json(a, x, 200,
                      json_pack("{s:s, s:s?, s:s?, s:s?, s:i, s:i}", "tokenizer_class", "octavo",
                                "bos_token", e->vocab->bos_text, "eos_token", e->vocab->eos_text,
                                "chat_template", chat, "vocab_size", a->info.vocab_size,
                                "model_max_length", a->info.max_model_len));
}
