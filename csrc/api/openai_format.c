/* SPDX-License-Identifier: Apache-2.0
 *
 * openai_format.c - calls that speak OpenAI: /v1/chat/completions and /v1/completions. */
#include "api/call.h"
#include "api/json_text.h"

#include <string.h>

enum {
    DEFAULT_COMPLETION_TOKENS = 16, /* OpenAI's max_tokens of /v1/completions */
    /* entries of log probabilities of all prompts: 8 bytes each in the engine, and again here */
    MAX_PROMPT_LOGPROBS = 1 << 22,
};

struct state {
    struct oct_openai_request r;
    struct oct_buf echo[OCT_CALL_MAX_PROMPTS]; /* each prompt's text, with "echo" */
    size_t n_echo_chars[OCT_CALL_MAX_PROMPTS];
    struct oct_buf text, thought; /* of the choice that is being written */
};

static void free_state(struct oct_call *c)
{
    struct state *s = c->state;
    if (s) {
        oct_openai_request_deinit(&s->r);
        for (size_t i = 0; i < OCT_CALL_MAX_PROMPTS; i++) {
            oct_buf_free(&s->echo[i]);
        }
        oct_buf_free(&s->text);
        oct_buf_free(&s->thought);
        oct_free(s);
    }
}

/* ---- in ---- */

static oct_status read_echo(struct oct_call *c, struct state *s, size_t i)
{
    const struct oct_openai_prompt *p = &s->r.prompts[i];
    if (p->text) {
        return oct_buf_append(&s->echo[i], p->text, p->len);
    }
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(c->api->engine, c->ask.prompts[i].ids, c->ask.prompts[i].n, true,
                                  &text, &len));
    const oct_status st = oct_buf_append(&s->echo[i], text, len);
    oct_buffer_free(text);
    return st;
}

/* Of a request that says no max_tokens: what fits behind its longest prompt is enough. */
static int32_t default_tokens(const struct oct_call *c)
{
    size_t room = DEFAULT_COMPLETION_TOKENS;
    for (size_t i = 0; i < c->ask.n_prompts; i++) {
        const size_t n = c->ask.prompts[i].n, all = (size_t)c->api->info.max_model_len;
        room = n < all && all - n < room ? all - n : room; /* a longer one is refused later */
    }
    return (int32_t)room;
}

static oct_status read_prompts(struct oct_call *c, struct state *s)
{
    OCT_TRY(oct_call_alloc_prompts(c, s->r.n_prompts));
    uint64_t n_tokens = 0;
    for (size_t i = 0; i < s->r.n_prompts; i++) {
        struct oct_prompt *p = &c->ask.prompts[i];
        OCT_TRY(oct_openai_prompt(c->api->engine, &s->r, i, &p->ids, &p->n));
        OCT_TRY(s->r.echo ? read_echo(c, s, i) : OCT_OK);
        s->n_echo_chars[i] = oct_utf8_chars(s->echo[i].data, s->echo[i].len);
        n_tokens += p->n;
    }
    if (s->r.kind == OCT_OPENAI_COMPLETION && !s->r.has_max_tokens) {
        c->ask.sampling.max_tokens = default_tokens(c);
    }
    if (s->r.echo && s->r.n_top >= 0) {
        const uint64_t entries = n_tokens * (1 + (uint64_t)s->r.n_top);
        if (entries > MAX_PROMPT_LOGPROBS) {
            return OCT_FAIL(OCT_E_ARG,
                            "echo with logprobs: %llu prompt tokens with %d alternatives each make "
                            "%llu entries, over the limit of %d",
                            (unsigned long long)n_tokens, s->r.n_top, (unsigned long long)entries,
                            MAX_PROMPT_LOGPROBS);
        }
        c->ask.sampling.n_prompt_logprobs = s->r.n_top;
    }
    return OCT_OK;
}

static void fill_ask(struct oct_call *c, const struct oct_openai_request *r)
{
    struct oct_ask *ask = &c->ask;
    ask->n = r->n;
    ask->sampling = r->sampling;
    ask->stream = r->stream;
    ask->drop_output = r->no_tokens;
    ask->keep_logprobs = r->n_top >= 0;
    ask->priority = r->priority;
    ask->timeout_us = r->timeout_us;
    ask->cache_salt = r->cache_salt;
}

static oct_status parse(struct oct_call *c, enum oct_openai_kind kind, json_t *body)
{
    struct state *s = oct_calloc(1, sizeof *s);
    if (!s) {
        return oct_no_memory("a request", sizeof *s);
    }
    c->state = s;
    OCT_TRY(oct_openai_parse(kind, body, &s->r));
    const json_t *options = json_object_get(body, "stream_options");
    if (options && !json_is_null(options) && !s->r.stream) {
        return OCT_FAIL(OCT_E_ARG, "stream_options needs \"stream\": true beside it");
    }
    OCT_TRY(oct_call_check_model(c->api, s->r.model, &c->model));
    fill_ask(c, &s->r);
    return read_prompts(c, s);
}

static oct_status parse_chat(struct oct_call *c, json_t *body)
{
    OCT_TRY(parse(c, OCT_OPENAI_CHAT, body));
    return oct_reasoning_begin(c->api, c->ask.prompts[0].ids, c->ask.prompts[0].n,
                               &c->ask.thinking);
}

static oct_status parse_completions(struct oct_call *c, json_t *body)
{
    return parse(c, OCT_OPENAI_COMPLETION, body);
}

/* ---- out ---- */

/* usage: with the numbers, which take a look at every choice. */
static struct oct_openai_head head_of(const struct oct_call *c, bool usage)
{
    const struct state *s = c->state;
    struct oct_openai_head h = {.is_chat = s->r.kind == OCT_OPENAI_CHAT,
                                .id = c->id,
                                .created_s = c->created_s,
                                .model = c->model};
    for (size_t i = 0; usage && i < c->n_choices; i++) {
        const struct oct_choice *ch = &c->choices[i];
        const bool is_first = i % (size_t)c->ask.n == 0;
        h.n_prompt += is_first ? (int64_t)c->ask.prompts[i / (size_t)c->ask.n].n : 0;
        h.n_cached += is_first ? ch->n_cached_tokens : 0;
        h.n_output += c->ask.drop_output ? 0 : ch->answer.n_output;
    }
    return h;
}

/* The text that a choice got, without what was thought; the prompt before its first. */
static oct_status split_text(const struct oct_call *c, struct oct_choice *ch,
                             struct oct_buf *thought, struct oct_buf *text)
{
    const struct state *s = c->state;
    const struct oct_openai_answer *a = &ch->answer;
    if (s->r.echo && !ch->has_begun) {
        const struct oct_buf *echo = &s->echo[ch->index / c->ask.n];
        OCT_TRY(oct_buf_append(text, echo->data, echo->len));
    }
    return oct_reasoning_split(&ch->split, a->text.data, a->text.len, a->finish != OCT_FINISH_NONE,
                               thought, text);
}

static struct oct_openai_choice choice_of(const struct oct_call *c, const struct oct_choice *ch,
                                          const struct oct_buf *thought, const struct oct_buf *text)
{
    const struct state *s = c->state;
    const int32_t prompt = ch->index / c->ask.n;
    struct oct_openai_choice out = {.index = ch->index,
                                    .answer = &ch->answer,
                                    .text = text->data,
                                    .len = text->len,
                                    .logprobs = s->r.n_top >= 0};
    if (thought->len > 0 && s->r.include_reasoning) {
        out.thought = thought->data;
        out.thought_len = thought->len;
    }
    out.n_chars_before = s->n_echo_chars[prompt] + ch->n_text_before;
    out.echo = s->r.echo && !ch->has_begun ? &c->choices[prompt * c->ask.n].answer : NULL;
    return out;
}

/* Buffers for one choice each; freed by the caller, also after a failure. */
static oct_status write_choices(struct oct_call *c, struct oct_buf *bufs,
                                struct oct_openai_choice *choices, struct oct_buf *out)
{
    for (size_t i = 0; i < c->n_choices; i++) {
        struct oct_buf *thought = &bufs[2 * i], *text = &bufs[2 * i + 1];
        OCT_TRY(split_text(c, &c->choices[i], thought, text));
        choices[i] = choice_of(c, &c->choices[i], thought, text);
    }
    const struct oct_openai_head h = head_of(c, true);
    return oct_openai_write(c->api->engine, &h, choices, c->n_choices, out);
}

static oct_status whole(struct oct_call *c, struct oct_buf *out)
{
    const size_t n = c->n_choices;
    struct oct_buf *bufs = oct_calloc(2 * n, sizeof *bufs);
    struct oct_openai_choice *choices = oct_calloc(n, sizeof *choices);
    const oct_status st = bufs && choices ? write_choices(c, bufs, choices, out)
                                          : oct_no_memory("a response", n * sizeof *choices);
    for (size_t i = 0; bufs && i < 2 * n; i++) {
        oct_buf_free(&bufs[i]);
    }
    oct_free(bufs);
    oct_free(choices);
    return st;
}

static int usage_of(const struct oct_openai_request *r)
{
    return r->continuous_usage ? 2 : r->include_usage ? 1 : 0;
}

static oct_status begin(struct oct_call *c, struct oct_buf *out)
{
    const struct state *s = c->state;
    const struct oct_openai_head h = head_of(c, s->r.continuous_usage);
    for (size_t i = 0; h.is_chat && i < c->n_choices; i++) {
        const struct oct_openai_choice choice = {.index = (int32_t)i,
                                                 .answer = &c->choices[i].answer};
        OCT_TRY(oct_openai_write_chunk(c->api->engine, &h, &choice, true, usage_of(&s->r), out));
    }
    return OCT_OK;
}

static oct_status piece(struct oct_call *c, struct oct_choice *ch, struct oct_buf *out)
{
    struct state *s = c->state;
    oct_buf_clear(&s->text);
    oct_buf_clear(&s->thought);
    OCT_TRY(split_text(c, ch, &s->thought, &s->text));
    const struct oct_openai_choice choice = choice_of(c, ch, &s->thought, &s->text);
    const bool has_logprobs = choice.logprobs && (ch->answer.n_tokens > 0 || choice.echo);
    ch->has_begun = true;
    if (choice.len == 0 && choice.thought_len == 0 && !has_logprobs &&
        ch->answer.finish == OCT_FINISH_NONE) {
        return OCT_OK; /* half a character, or the beginning of a stop string */
    }
    const struct oct_openai_head h = head_of(c, s->r.continuous_usage);
    return oct_openai_write_chunk(c->api->engine, &h, &choice, false, usage_of(&s->r), out);
}

static oct_status end(struct oct_call *c, struct oct_buf *out)
{
    static const char done[] = "data: [DONE]\n\n";
    const struct state *s = c->state;
    if (s->r.include_usage) {
        const struct oct_openai_head h = head_of(c, true);
        OCT_TRY(oct_openai_write_chunk(c->api->engine, &h, NULL, false, 2, out));
    }
    return oct_buf_append(out, done, strlen(done));
}

static oct_status error(const struct oct_call *c, int http_status, const char *sentence,
                        bool in_stream, struct oct_buf *out)
{
    (void)c;
    if (!in_stream) {
        return oct_openai_write_error(http_status, sentence, out);
    }
    OCT_TRY(oct_buf_printf(out, "data: "));
    OCT_TRY(oct_openai_write_error(http_status, sentence, out));
    return oct_buf_printf(out, "\n\ndata: [DONE]\n\n");
}

const struct oct_format oct_format_chat = {
    .whole_type = "application/json",
    .stream_type = "text/event-stream",
    .id_prefix = "chatcmpl-",
    .parse = parse_chat,
    .begin = begin,
    .piece = piece,
    .end = end,
    .whole = whole,
    .error = error,
    .free = free_state,
};

const struct oct_format oct_format_completions = {
    .whole_type = "application/json",
    .stream_type = "text/event-stream",
    .id_prefix = "cmpl-",
    .parse = parse_completions,
    .begin = begin,
    .piece = piece,
    .end = end,
    .whole = whole,
    .error = error,
    .free = free_state,
};
