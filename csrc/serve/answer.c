/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/answer.h"

#include "serve/interrupt.h"

#include <stdio.h>
#include <string.h>

/* One request on its way; what the callback works on. */
struct run {
    struct oct_asker *asker;
    struct oct_answer *answer;
    uint64_t id;
    bool cancelled;
    oct_status st; /* of the engine's request, or of what the callback did with its events */
    char error[512];
};

static oct_status append_id(struct oct_answer *a, int32_t id)
{
    if (a->n_ids == a->ids_cap) {
        const size_t cap = a->ids_cap ? 2 * a->ids_cap : 256;
        int32_t *ids = oct_realloc_array(a->ids, cap, sizeof *ids);
        if (!ids) {
            return oct_no_memory("the answer's tokens", cap * sizeof *ids);
        }
        a->ids = ids;
        a->ids_cap = cap;
    }
    a->ids[a->n_ids++] = id;
    return OCT_OK;
}

/* Steals value (also on failure); NULL is a failed allocation. */
static oct_status set_new(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0 ? OCT_OK : oct_no_memory("JSON output", 1);
}

/* {"token": id, "text": what it stands for, "logprob": x} */
static oct_status token_json(const oct_engine *e, int32_t token, float logprob, json_t **out)
{
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(e, &token, 1, true, &text, &len));
    json_t *o = json_pack("{s:i, s:s%, s:f}", "token", token, "text", text, len, "logprob",
                          (double)logprob);
    oct_buffer_free(text);
    if (!o) {
        return oct_no_memory("JSON output", len);
    }
    *out = o;
    return OCT_OK;
}

static oct_status append_logprobs(const oct_engine *e, json_t *list, const struct oct_event *ev)
{
    json_t *o = NULL, *top = json_array();
    oct_status st = top ? OCT_OK : oct_no_memory("JSON output", 1);
    for (int32_t i = 0; st == OCT_OK && i < ev->n_top; i++) {
        json_t *t = NULL;
        st = token_json(e, ev->top[i].token, ev->top[i].logprob, &t);
        if (st == OCT_OK && json_array_append_new(top, t) != 0) {
            st = oct_no_memory("JSON output", 1);
        }
    }
    if (st == OCT_OK) {
        st = token_json(e, ev->token, ev->logprob, &o);
    }
    if (st != OCT_OK) {
        json_decref(top);
        return st;
    }
    st = set_new(o, "top", top);
    if (st != OCT_OK) {
        json_decref(o);
        return st;
    }
    return json_array_append_new(list, o) == 0 ? OCT_OK : oct_no_memory("JSON output", 1);
}

static oct_status take_event(struct run *r, const struct oct_event *ev)
{
    struct oct_answer *a = r->answer;
    a->n_prompt = ev->n_prompt_tokens;
    a->submit_us = ev->submit_us;
    a->first_us = ev->first_token_us;
    a->end_us = ev->now_us;
    a->finish = ev->finish;
    if (ev->token >= 0) {
        OCT_TRY(append_id(a, ev->token));
        if (a->logprobs) {
            OCT_TRY(append_logprobs(r->asker->engine, a->logprobs, ev));
        }
    }
    OCT_TRY(oct_buf_append(&a->text, ev->text, ev->text_len));
    return r->asker->json ? OCT_OK : oct_output_text(&r->asker->out, ev->text, ev->text_len);
}

static void on_event(void *user, const struct oct_event *ev)
{
    struct run *r = user;
    const oct_status st = take_event(r, ev);
    if (st != OCT_OK && r->st == OCT_OK) {
        r->st = st;
        (void)snprintf(r->error, sizeof r->error, "%s", oct_last_error());
        r->cancelled = true;
        if (ev->finish == OCT_FINISH_NONE) {
            const oct_status gone = oct_engine_cancel(r->asker->engine, r->id);
            OCT_ASSERT(gone == OCT_OK);
        }
    }
    if (ev->finish == OCT_FINISH_ERROR && r->st == OCT_OK) {
        r->st = ev->status;
        (void)snprintf(r->error, sizeof r->error, "%s", ev->error ? ev->error : "");
    }
}

static oct_status step_to_end(struct run *r)
{
    while (r->answer->finish == OCT_FINISH_NONE) {
        if (oct_interrupt_pending() && !r->cancelled) {
            r->cancelled = true;
            OCT_TRY(oct_engine_cancel(r->asker->engine, r->id));
        }
        size_t n_active;
        OCT_TRY(oct_engine_step(r->asker->engine, &n_active));
        OCT_ASSERT(n_active > 0 || r->answer->finish != OCT_FINISH_NONE);
    }
    return r->st == OCT_OK ? OCT_OK : OCT_FAIL(r->st, "%s", r->error);
}

/* ---- what is shown at the end ---- */

static double seconds(int64_t from_us, int64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) * 1e-6 : 0;
}

struct speeds {
    double first_token_s, generation_s;
    double prompt_per_s, generated_per_s; /* 0: not known */
};

/* The first token comes with the prompt's last chunk: generation is the time of the others. */
static struct speeds speeds_of(const struct oct_answer *a)
{
    struct speeds s = {0};
    if (a->first_us > 0) {
        s.first_token_s = seconds(a->submit_us, a->first_us);
        s.generation_s = seconds(a->first_us, a->end_us);
        s.prompt_per_s = s.first_token_s > 0 ? a->n_prompt / s.first_token_s : 0;
        if (a->n_ids > 1 && s.generation_s > 0) {
            s.generated_per_s = (double)(a->n_ids - 1) / s.generation_s;
        }
    }
    return s;
}

static void show_stats(struct oct_asker *k, const struct oct_answer *a)
{
    const struct speeds s = speeds_of(a);
    char prompt[64] = "", generated[64] = "", load[64] = "", first[64] = "";
    if (s.prompt_per_s > 0) {
        (void)snprintf(prompt, sizeof prompt, ", %.1f tokens/s", s.prompt_per_s);
        (void)snprintf(first, sizeof first, " | first token %.2f s", s.first_token_s);
    }
    if (s.generated_per_s > 0) {
        (void)snprintf(generated, sizeof generated, ", %.1f tokens/s", s.generated_per_s);
    }
    if (!k->load_told) {
        (void)snprintf(load, sizeof load, " | load %.2f s", (double)k->load_us * 1e-6);
        k->load_told = true;
    }
    const bool dim = oct_terminal_has_style(2);
    oct_note("%sprompt %d token%s%s | generated %zu token%s%s%s%s%s", dim ? "\x1b[2m" : "",
             a->n_prompt, a->n_prompt == 1 ? "" : "s", prompt, a->n_ids, a->n_ids == 1 ? "" : "s",
             generated, load, first, dim ? "\x1b[0m" : "");
}

static const char *finish_text(oct_finish finish)
{
    switch (finish) {
    case OCT_FINISH_STOP:
        return "stop";
    case OCT_FINISH_LENGTH:
        return "length";
    case OCT_FINISH_CANCELLED:
        return "cancelled";
    case OCT_FINISH_NONE:
    case OCT_FINISH_ERROR:
        break;
    }
    return "error";
}

static oct_status answer_json(const struct oct_asker *k, struct oct_answer *a, json_t **out)
{
    const struct speeds s = speeds_of(a);
    json_t *ids = json_array();
    bool ok = ids != NULL;
    for (size_t i = 0; ok && i < a->n_ids; i++) {
        ok = json_array_append_new(ids, json_integer(a->ids[i])) == 0;
    }
    if (!ok) {
        json_decref(ids);
        return oct_no_memory("JSON output", a->n_ids);
    }
    json_t *o = json_pack(
        "{s:s%, s:o, s:s, s:{s:i, s:i, s:i}, s:{s:f, s:f, s:f, s:f, s:f}}", "text",
        a->text.data ? a->text.data : "", a->text.len, "token_ids", ids, "finish_reason",
        finish_text(a->finish), "usage", "prompt_tokens", a->n_prompt, "completion_tokens",
        (int)a->n_ids, "total_tokens", a->n_prompt + (int)a->n_ids, "timings", "load_s",
        (double)k->load_us * 1e-6, "first_token_s", s.first_token_s, "generation_s", s.generation_s,
        "prompt_tokens_per_s", s.prompt_per_s, "generated_tokens_per_s", s.generated_per_s);
    if (!o) {
        return oct_no_memory("JSON output", a->text.len);
    }
    if (a->logprobs && json_object_set(o, "logprobs", a->logprobs) != 0) {
        json_decref(o);
        return oct_no_memory("JSON output", a->n_ids);
    }
    *out = o;
    return OCT_OK;
}

static oct_status show_json(struct oct_asker *k, struct oct_answer *a)
{
    json_t *o = NULL;
    OCT_TRY(answer_json(k, a, &o));
    const oct_status st = oct_output_json(&k->out, o, false);
    json_decref(o);
    return st;
}

static oct_status finish_text_output(struct oct_asker *k, const struct oct_answer *a)
{
    /* A raw continuation that goes to a file or a program stays as the model wrote it. */
    if (k->out.last_byte != '\n' && (k->out.is_terminal || !k->raw)) {
        OCT_TRY(oct_output_write(&k->out, "\n", 1));
    }
    if (k->stats) {
        show_stats(k, a);
    }
    return OCT_OK;
}

oct_status oct_raw_prompt(const struct oct_asker *k, const char *text, size_t len, int32_t **ids,
                          size_t *n)
{
    return oct_engine_tokenize(k->engine, text, len, OCT_TOKENIZE_SPECIAL | OCT_TOKENIZE_BOS_EOS,
                               ids, n);
}

oct_status oct_answer(struct oct_asker *k, const int32_t *ids, size_t n, struct oct_answer *a)
{
    *a = (struct oct_answer){0};
    if (k->json && k->sampling.n_logprobs >= 0) {
        a->logprobs = json_array();
        if (!a->logprobs) {
            return oct_no_memory("JSON output", 1);
        }
    }
    struct run r = {.asker = k, .answer = a};
    struct oct_request q = OCT_REQUEST_INIT;
    q.prompt = ids;
    q.n_prompt = n;
    q.sampling = &k->sampling;
    q.on_event = on_event;
    q.user = &r;
    OCT_TRY(oct_engine_submit(k->engine, &q, &r.id));
    const oct_status st = step_to_end(&r);
    if (k->out.closed) {
        return st;
    }
    if (st != OCT_OK) { /* the cause counts, not what becomes of the newline */
        char why[sizeof r.error];
        (void)snprintf(why, sizeof why, "%s", oct_last_error());
        const oct_status shown = k->json ? OCT_OK : finish_text_output(k, a);
        (void)shown;
        return OCT_FAIL(st, "%s", why);
    }
    return k->json ? show_json(k, a) : finish_text_output(k, a);
}

void oct_answer_deinit(struct oct_answer *a)
{
    oct_buf_free(&a->text);
    oct_free(a->ids);
    json_decref(a->logprobs);
    *a = (struct oct_answer){0};
}
