/* SPDX-License-Identifier: Apache-2.0
 *
 * health.c - what the server says of itself to those who watch it: /health, /ready, /version,
 * /metrics. */
#include "api/health.h"

#include "api/call.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

void oct_health_look(struct oct_health *h, const struct oct_engine_stats *s, int64_t now_us)
{
    const bool work = s->n_running > 0 || s->n_waiting > 0;
    if (!work || s->n_steps != h->n_steps || now_us - h->looked_us > OCT_HEALTH_GAP_US) {
        h->since_us = now_us;
        h->n_steps = s->n_steps;
    }
    h->looked_us = now_us;
}

int64_t oct_health_stuck_us(const struct oct_health *h)
{
    return h->looked_us - h->since_us;
}

void oct_api_set_progress(struct oct_api *a, double part)
{
    a->health.load_part = part;
}

void oct_api_tick(struct oct_api *a)
{
    if (a->engine) {
        struct oct_engine_stats s = {.size = sizeof s};
        oct_engine_get_stats(a->engine, &s);
        oct_health_look(&a->health, &s, oct_clock_us());
    }
}

static const char *const state_names[] = {
    [OCT_API_LOADING] = "loading",
    [OCT_API_READY] = "ready",
    [OCT_API_DRAINING] = "draining",
    [OCT_API_DEAD] = "dead",
};

bool oct_api_is_stuck(const struct oct_api *a)
{
    return a->engine && a->state != OCT_API_DEAD &&
           oct_health_stuck_us(&a->health) > a->config.watchdog_us;
}

const char *oct_api_dead_sentence(const struct oct_api *a)
{
    return a->dead_sentence;
}

/* ---- /health and /ready ---- */

static json_t *facts(struct oct_api *a, const char *status)
{
    json_t *o = json_pack("{s:s}", "status", status);
    if (o && a->engine) {
        struct oct_engine_stats s = {.size = sizeof s};
        oct_engine_get_stats(a->engine, &s);
        json_t *age =
            s.last_step_age_us < 0 ? json_null() : json_real((double)s.last_step_age_us * 1e-6);
        if (json_object_set_new(o, "last_step_age_seconds", age) != 0 ||
            json_object_set_new(o, "requests_running", json_integer(s.n_running)) != 0 ||
            json_object_set_new(o, "requests_waiting", json_integer(s.n_waiting)) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

/* Adds a sentence to what facts() gave. */
static json_t *with_message(json_t *o, const char *sentence)
{
    if (o && json_object_set_new(o, "message", json_string(sentence)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void send_stuck(struct oct_api *a, struct oct_http_exchange *x)
{
    char sentence[128];
    (void)snprintf(sentence, sizeof sentence,
                   "there is work, and no step has finished for %.1f seconds",
                   (double)oct_health_stuck_us(&a->health) * 1e-6);
    oct_api_send_json(a, x, 503, with_message(facts(a, "stuck"), sentence));
}

void oct_api_health(struct oct_api *a, struct oct_http_exchange *x)
{
    oct_api_tick(a);
    if (a->state == OCT_API_DEAD) {
        oct_api_send_json(a, x, 503, with_message(facts(a, "dead"), a->dead_sentence));
    } else if (oct_api_is_stuck(a)) {
        send_stuck(a, x);
    } else {
        oct_api_send_json(a, x, 200, facts(a, state_names[a->state]));
    }
}

void oct_api_ready(struct oct_api *a, struct oct_http_exchange *x)
{
    oct_api_tick(a);
    switch (a->state) {
    case OCT_API_LOADING:
        oct_http_add_header(x, "Retry-After", "1");
        oct_api_send_json(a, x, 503,
                          json_pack("{s:s, s:i}", "status", "loading", "percent",
                                    (int)(100 * a->health.load_part)));
        return;
    case OCT_API_DEAD:
        oct_api_send_json(a, x, 503, with_message(facts(a, "dead"), a->dead_sentence));
        return;
    case OCT_API_READY:
    case OCT_API_DRAINING:
        break;
    }
    if (oct_api_is_stuck(a)) {
        send_stuck(a, x);
    } else {
        oct_api_send_json(a, x, a->state == OCT_API_READY ? 200 : 503,
                          facts(a, state_names[a->state]));
    }
}

/* ---- /version and /metrics ---- */

void oct_api_version(struct oct_api *a, struct oct_http_exchange *x)
{
    oct_api_send_json(a, x, 200, json_pack("{s:s}", "version", oct_version()));
}

/* Prometheus can be told to ask so: params: {names: [plain]}. */
static bool wants_plain_names(const char *query)
{
    static const char word[] = "names=plain";
    const char *at = strstr(query, word);
    return at && (at == query || at[-1] == '&') && strchr("&", at[sizeof word - 1]);
}

void oct_api_metrics(struct oct_api *a, struct oct_http_exchange *x)
{
    struct oct_engine_stats stats = {.size = sizeof stats};
    struct oct_http_stats http = {0};
    struct oct_api_counts counts;
    struct oct_buf out = {.max_bytes = 1 << 20};
    oct_http_get_stats(a->http, &http);
    oct_api_get_counts(a, &counts);
    if (a->engine) {
        oct_engine_get_stats(a->engine, &stats);
    }
    const struct oct_metrics_view view = {
        .model_name = a->config.model_names[0],
        .engine = a->engine ? &stats : NULL,
        .info = a->engine ? &a->info : NULL,
        .http = &http,
        .counts = &counts,
        .state = (int)a->state,
        .plain_names = wants_plain_names(oct_http_query(x)),
        .self_test = a->self_test,
    };
    if (oct_metrics_render(a->metrics, &view, &out) == OCT_OK) {
        oct_http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
    } else {
        oct_api_send_error(a, x, 500, oct_last_error());
    }
    oct_buf_free(&out);
}
