/* SPDX-License-Identifier: Apache-2.0 */
#include "proof.h"

#include <stdlib.h>
#include <string.h>

void tally_add(struct tally *t, const struct client_conn *c, enum client_end how, bool ok)
{
    t->ends[how]++;
    if (how != CLIENT_ANSWERED) {
        return;
    }
    if (c->status == 200) {
        *(ok ? &t->n_ok : &t->n_wrong) += 1;
    } else if (c->status == 429 || c->status == 503) {
        t->n_refused++;
    } else {
        t->n_errors++;
    }
}

static void set(json_t *o, const char *name, json_t *v)
{
    OCT_ASSERT(json_object_set_new(o, name, v) == 0);
}

void tally_json(const struct tally *t, json_t *o)
{
    set(o, "sent", json_integer((json_int_t)t->n_sent));
    set(o, "ok", json_integer((json_int_t)t->n_ok));
    set(o, "wrong", json_integer((json_int_t)t->n_wrong));
    set(o, "refused", json_integer((json_int_t)t->n_refused));
    set(o, "errors", json_integer((json_int_t)t->n_errors));
    set(o, "stale", json_integer((json_int_t)t->n_stale));
    set(o, "cut", json_integer((json_int_t)t->ends[CLIENT_CUT]));
    set(o, "timeout", json_integer((json_int_t)t->ends[CLIENT_TIMEOUT]));
    set(o, "no_connection", json_integer((json_int_t)t->ends[CLIENT_NO_CONNECT]));
    set(o, "lost",
        json_integer((json_int_t)(t->n_sent - t->n_ok - t->n_wrong - t->n_refused - t->n_errors)));
}

void times_add(struct times *t, int64_t us)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 1024;
        t->us = oct_realloc_array(t->us, t->cap, sizeof *t->us);
        OCT_ASSERT(t->us);
    }
    t->us[t->n++] = us;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void times_json(struct times *t, json_t *o)
{
    static const struct {
        const char *name;
        double q;
    } want[] = {{"p50_ms", 0.5}, {"p99_ms", 0.99}, {"max_ms", 1.0}};
    if (t->n) {
        qsort(t->us, t->n, sizeof *t->us, by_size);
    }
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        /* Nearest rank. */
        size_t at = (size_t)(want[i].q * (double)t->n);
        at = at < t->n ? at : t->n ? t->n - 1 : 0;
        set(o, want[i].name, t->n ? json_real((double)t->us[at] / 1000.0) : json_null());
    }
}

void times_free(struct times *t)
{
    oct_free(t->us);
    *t = (struct times){0};
}

/* Different first words, so that a cache of prefixes helps no server. */
const char *const prompts[N_PROMPTS] = {
    "Hello there, the rain in",
    "A cart and a horse went into the hill",
    "What is the capital of",
    "In the end there were three of",
    "Once upon a time the miller had an only",
    "Rivers run into the sea, and the sea",
    "List the primes below one hundred:",
    "The train to the north leaves at",
    "Seven swans were swimming in the",
    "Better late than",
    "Write a line about tin roofs and",
    "Under the bridge an old heron",
    "For a loaf one needs flour, water, salt and",
    "Keep it short: why is the sky",
    "Nobody had seen the inn before the",
    "Mountains, winter, a red sledge, and then",
};

void completion(const struct target *to, const char *prompt, int n_tokens, bool stream,
                struct oct_buf *out)
{
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:i, s:b, s:b}", "model", to->model, "prompt", prompt,
                  "max_tokens", n_tokens, "temperature", 0, "ignore_eos", 1, "stream", stream);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    OCT_ASSERT(text);
    client_post(out, "/v1/completions", text, strlen(text));
    free(text);
    json_decref(o);
}

char *completion_text(const char *body, size_t len, int n_tokens)
{
    json_t *o = body ? json_loadb(body, len, JSON_ALLOW_NUL, NULL) : NULL;
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    const json_t *text = json_object_get(choice, "text");
    const json_t *n = json_object_get(json_object_get(o, "usage"), "completion_tokens");
    char *found = NULL;
    if (json_is_string(text) && json_integer_value(n) == n_tokens) {
        /* As it is written in JSON: a generated NUL is kept. */
        found = json_dumps(text, JSON_ENCODE_ANY);
    }
    json_decref(o);
    return found;
}

size_t stream_events(const char *body)
{
    size_t n = 0;
    for (const char *at = body ? strstr(body, "\"text\":") : NULL; at;
         at = strstr(at + 7, "\"text\":")) {
        const char *v = at + 7 + strspn(at + 7, " ");
        n += strncmp(v, "\"\"", 2) != 0;
    }
    return n;
}

bool stream_is_over(const char *body)
{
    return body && (strstr(body, "data: [DONE]") || strstr(body, "\"error\""));
}
