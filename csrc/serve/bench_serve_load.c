/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_serve_load.c - requests out of a seed or a file. The client has no tokenizer: its prompts
 * are made of words that are one token each, with the space before them, in the vocabularies of
 * GPT-2, Llama, Qwen, Mistral and SmolLM. What the server counted is what results say. */
#include "serve/bench_serve.h"

#include "base/json.h"
#include "base/rng.h"
#include "serve/batch_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
    "the",   "of",     "and",     "to",    "in",     "is",    "that",   "it",      "was",
    "for",   "on",     "are",     "as",    "with",   "his",   "they",   "at",      "be",
    "this",  "from",   "have",    "or",    "by",     "one",   "had",    "not",     "but",
    "what",  "all",    "were",    "when",  "we",     "there", "can",    "an",      "your",
    "which", "their",  "said",    "if",    "do",     "will",  "each",   "about",   "how",
    "up",    "out",    "them",    "then",  "she",    "many",  "some",   "so",      "these",
    "would", "other",  "into",    "has",   "more",   "her",   "two",    "like",    "him",
    "see",   "time",   "could",   "no",    "make",   "than",  "first",  "been",    "its",
    "who",   "now",    "people",  "my",    "made",   "over",  "did",    "down",    "only",
    "way",   "find",   "use",     "may",   "water",  "long",  "little", "very",    "after",
    "words", "called", "just",    "where", "most",   "know",  "get",    "through", "back",
    "work",  "year",   "because", "world", "school", "state", "never",  "life",    "system",
    "small", "number", "public",  "hand",  "night",  "point", "home",   "room",    "mother",
    "area",  "money",  "story",   "fact",  "month",  "right", "study",  "book",    "eye",
    "job",   "word",
};
enum { N_WORDS = sizeof words / sizeof *words };

/* Streams of random numbers; each is a function of (seed, stream, index). */
enum stream { LENGTHS = 1, ARRIVALS, WORDS, PREFIX };

struct draws {
    uint64_t seed, lo, hi;
    uint32_t word[4];
    int left;
};

static struct draws begin_draws(uint64_t seed, enum stream s, uint32_t round, uint64_t index)
{
    return (struct draws){.seed = seed, .lo = index << 24, .hi = (uint64_t)s << 32 | round};
}

static uint32_t draw(struct draws *d)
{
    if (d->left == 0) {
        oct_rng_philox(d->seed, d->lo++, d->hi, d->word);
        d->left = 4;
    }
    return d->word[--d->left];
}

/* In (0, 1). */
static double draw_unit(struct draws *d)
{
    return (draw(d) + 0.5) / 4294967296.0;
}

/* Box and Muller's, one of the two. */
static double draw_normal(struct draws *d)
{
    const double r = sqrt(-2 * log(draw_unit(d)));
    return r * cos(2 * M_PI * draw_unit(d));
}

/* Marsaglia and Tsang's, ACM TOMS 26 (2000); for shapes under 1 by their boost. */
static double draw_gamma(struct draws *d, double shape)
{
    if (shape == 1) {
        return -log(draw_unit(d));
    }
    const double boost = shape < 1 ? pow(draw_unit(d), 1 / shape) : 1;
    const double k = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * k);
    for (;;) {
        const double x = draw_normal(d), v = pow(1 + c * x, 3);
        if (v > 0 && log(draw_unit(d)) < 0.5 * x * x + k - k * v + k * log(v)) {
            return k * v * boost;
        }
    }
}

void oct_load_arrivals(uint64_t seed, double rate, double burstiness, size_t n, int64_t *us)
{
    struct draws d = begin_draws(seed, ARRIVALS, 0, 0);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += draw_gamma(&d, burstiness);
    }
    const double scale = (double)n / rate * 1e6 / sum;
    d = begin_draws(seed, ARRIVALS, 0, 0);
    double at = 0;
    for (size_t i = 0; i < n; i++) {
        at += draw_gamma(&d, burstiness);
        us[i] = (int64_t)(at * scale);
    }
}

/* ---- lengths ---- */

static int32_t log_normal(struct draws *d, double median, double sigma)
{
    const double v = median * exp(sigma * draw_normal(d));
    return v < OCT_SHAREGPT_MIN   ? OCT_SHAREGPT_MIN
           : v > OCT_SHAREGPT_MAX ? OCT_SHAREGPT_MAX
                                  : (int32_t)lround(v);
}

/* Uniform in [n (1 - ratio), n (1 + ratio)], at least 1. */
static int32_t uniform(struct draws *d, int32_t n, double ratio)
{
    const double low = floor(n * (1 - ratio)), high = ceil(n * (1 + ratio));
    const double v = low + floor(draw_unit(d) * (high - low + 1));
    return v < 1 ? 1 : (int32_t)v;
}

static const json_t *body_of(const struct oct_load *l, size_t i)
{
    const json_t *line = l->lines[i % l->n_lines];
    const json_t *body = json_object_get(line, "body");
    return body ? body : line;
}

void oct_load_lengths(const struct oct_load *l, size_t i, int32_t *n_input, int32_t *n_output)
{
    struct draws d = begin_draws(l->seed, LENGTHS, 0, i);
    switch (l->kind) {
    case OCT_LOAD_SHAREGPT:
        *n_input = log_normal(&d, OCT_SHAREGPT_PROMPT_MEDIAN, OCT_SHAREGPT_PROMPT_SIGMA);
        *n_output = log_normal(&d, OCT_SHAREGPT_OUTPUT_MEDIAN, OCT_SHAREGPT_OUTPUT_SIGMA);
        return;
    case OCT_LOAD_RANDOM:
        *n_input = uniform(&d, l->n_input, l->range_ratio);
        *n_output = uniform(&d, l->n_output, l->range_ratio);
        return;
    case OCT_LOAD_FILE:
        break;
    }
    const json_t *body = body_of(l, i);
    const json_t *said = json_object_get(body, "max_tokens");
    said = said ? said : json_object_get(body, "output_tokens");
    const json_int_t n = json_integer_value(said);
    *n_input = -1;
    *n_output = n > 0 && n <= INT32_MAX ? (int32_t)n : l->n_output;
}

/* ---- bodies ---- */

static oct_status append_words(struct draws *d, int32_t n, bool first, struct oct_buf *out)
{
    for (int32_t i = 0; i < n; i++) {
        const char *w = words[((uint64_t)draw(d) * N_WORDS) >> 32];
        OCT_TRY(oct_buf_printf(out, "%s%s", first ? "" : " ", w));
        first = false;
    }
    return OCT_OK;
}

static oct_status make_prompt(const struct oct_load *l, uint32_t round, size_t i, int32_t n_input,
                              struct oct_buf *out)
{
    struct draws prefix = begin_draws(l->seed, PREFIX, 0, 0);
    struct draws rest = begin_draws(l->seed, WORDS, round, i);
    OCT_TRY(append_words(&prefix, l->n_prefix, true, out));
    return append_words(&rest, n_input, l->n_prefix == 0, out);
}

/* {"model", "prompt" or "messages"}; a reference to new values. */
static oct_status make_question(const struct oct_load *l, uint32_t round, size_t i, int32_t n_input,
                                json_t *o)
{
    if (l->kind == OCT_LOAD_FILE) {
        const json_t *body = body_of(l, i);
        json_t *messages = json_object_get(body, "messages");
        json_t *prompt = json_object_get(body, "prompt");
        json_t *v = messages || !l->chat
                        ? json_incref(messages ? messages : prompt)
                        : json_pack("[{s:s, s:O}]", "role", "user", "content", prompt);
        return json_object_set_new(o, l->chat ? "messages" : "prompt", v) == 0
                   ? OCT_OK
                   : oct_no_memory("a request", 1);
    }
    struct oct_buf text = {0};
    oct_status st = make_prompt(l, round, i, n_input, &text);
    if (st == OCT_OK) {
        json_t *v = l->chat ? json_pack("[{s:s, s:s}]", "role", "user", "content", text.data)
                            : json_string(text.data);
        st = json_object_set_new(o, l->chat ? "messages" : "prompt", v) == 0
                 ? OCT_OK
                 : oct_no_memory("a request", text.len);
    }
    oct_buf_free(&text);
    return st;
}

oct_status oct_load_body(const struct oct_load *l, uint32_t round, size_t i, struct oct_buf *out)
{
    int32_t n_input, n_output;
    oct_load_lengths(l, i, &n_input, &n_output);
    json_t *o =
        json_pack("{s:s, s:i, s:f, s:b, s:{s:b}}", "model", l->model, "max_tokens", n_output,
                  "temperature", l->temperature, "stream", 1, "stream_options", "include_usage", 1);
    oct_status st = o ? OCT_OK : oct_no_memory("a request", 1);
    if (st == OCT_OK && l->ignore_eos && json_object_set_new(o, "ignore_eos", json_true()) != 0) {
        st = oct_no_memory("a request", 1);
    }
    OCT_TRY_GOTO(st, st, done);
    OCT_TRY_GOTO(make_question(l, round, i, n_input, o), st, done);
    if (l->extra && json_object_update(o, (json_t *)(uintptr_t)l->extra) != 0) {
        OCT_TRY_GOTO(oct_no_memory("a request", 1), st, done);
    }
    oct_buf_clear(out);
    st = oct_json_append(out, o, JSON_COMPACT);
done:
    json_decref(o);
    return st;
}

/* ---- files ---- */

static oct_status check_line(const struct oct_load *l, const char *path, uint64_t number,
                             const json_t *line)
{
    const json_t *body = json_object_get(line, "body");
    body = body ? body : line;
    const json_t *prompt = json_object_get(body, "prompt");
    const json_t *messages = json_object_get(body, "messages");
    if (!json_is_string(prompt) && !json_is_array(prompt) && !json_is_array(messages)) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: line %llu has neither a \"prompt\" nor \"messages\"",
                        path, (unsigned long long)number);
    }
    if (messages && !l->chat) {
        return OCT_FAIL(OCT_E_ARG,
                        "%s: line %llu has \"messages\"; give --endpoint /v1/chat/completions",
                        path, (unsigned long long)number);
    }
    if (!messages && l->chat && !json_is_string(prompt)) {
        return OCT_FAIL(OCT_E_ARG, "%s: line %llu: a chat's \"prompt\" must be a text", path,
                        (unsigned long long)number);
    }
    return OCT_OK;
}

oct_status oct_load_read(struct oct_load *l, const char *path)
{
    struct oct_lines in;
    size_t cap = 0, len;
    const char *text;
    oct_status st;
    OCT_TRY(oct_lines_open(path, &in));
    for (;;) {
        OCT_TRY_GOTO(oct_lines_next(&in, &text, &len), st, done);
        if (!text) {
            break;
        }
        if (strspn(text, " \t\r") >= len) {
            continue;
        }
        char where[512];
        json_t *line;
        (void)snprintf(where, sizeof where, "%s: line %llu", path, (unsigned long long)in.number);
        OCT_TRY_GOTO(oct_json_parse(text, len, where, OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &line), st,
                     done);
        if (l->n_lines == cap) {
            cap = cap ? 2 * cap : 64;
            json_t **grown = oct_realloc_array(l->lines, cap, sizeof(json_t *));
            if (!grown) {
                json_decref(line);
                OCT_TRY_GOTO(oct_no_memory(path, cap * sizeof(json_t *)), st, done);
            }
            l->lines = grown;
        }
        l->lines[l->n_lines++] = line;
        OCT_TRY_GOTO(check_line(l, path, in.number, line), st, done);
    }
    if (l->n_lines == 0) {
        st = OCT_FAIL(OCT_E_FORMAT, "%s has no line; there is nothing to send", path);
    }
done:
    oct_lines_close(&in);
    return st;
}

void oct_load_deinit(struct oct_load *l)
{
    for (size_t i = 0; i < l->n_lines; i++) {
        json_decref(l->lines[i]);
    }
    oct_free((void *)l->lines);
    l->lines = NULL;
    l->n_lines = 0;
}
