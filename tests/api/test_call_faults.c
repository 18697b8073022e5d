/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out at any allocation of one request's life: it is answered, refused with an
 * error, or cut off visibly; never lost, and the next one is answered as if nothing had been.
 *
 * The k-th allocation fails whichever thread makes it: http/, the workers, jansson, the engine. The
 * client here allocates nothing by oct_malloc while a fault is armed. */
#include "api/inbox.h"
#include "api/service.h"
#include "base/fault.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ANSWER = 1 << 16, MOST_ALLOCATIONS = 20000 };

static char got[MAX_ANSWER];

static void ask(struct service *s, const char *path, const char *body)
{
    size_t len, n = 0;
    ssize_t r;
    char *request =
        service_request(body ? "POST" : "GET", path, "", body, body ? strlen(body) : 0, &len);
    const int fd = service_connect(s);
    service_write(fd, request, len);
    while (n + 1 < sizeof got && (r = recv(fd, got + n, sizeof got - 1 - n, 0)) > 0) {
        n += (size_t)r;
    }
    got[n] = '\0';
    (void)close(fd);
    free(request);
}

enum outcome { WHOLE, ERROR, STREAM_ERROR, CUT, N_OUTCOMES };

static enum outcome outcome_of(void)
{
    const bool lines = strstr(got, "application/x-ndjson") != NULL; /* Ollama's streams */
    const bool stream = strstr(got, "text/event-stream") != NULL;
    const bool ends = lines ? strstr(got, "}\n\r\n0\r\n\r\n") &&
                                  (strstr(got, "\"done\":true") || strstr(got, "{\"error\":"))
                      : stream ? strstr(got, "data: [DONE]\n\n\r\n0\r\n\r\n") != NULL
                               : strlen(got) > 0 && got[strlen(got) - 1] == '}';
    if (!ends) {
        return CUT;
    }
    if (strncmp(got, "HTTP/1.1 200", 12) != 0) {
        cr_assert(!strncmp(got, "HTTP/1.1 503", 12) || !strncmp(got, "HTTP/1.1 500", 12), "%s",
                  got);
        cr_assert(strstr(got, "\"message\":") || strstr(got, "{\"error\":\""), "%s", got);
        return ERROR;
    }
    return strstr(got, lines ? "{\"error\":" : "data: {\"error\":") ? STREAM_ERROR : WHOLE;
}

/* Of what was asked, nothing was lost on the way: -1 where the answer does not tell. */
static long prompt_tokens(void)
{
    static const char *const keys[] = {"\"prompt_tokens\":", "\"prompt_eval_count\":"};
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(got, keys[i]);
        if (at) {
            return strtol(at + strlen(keys[i]), NULL, 10);
        }
    }
    return -1;
}

Test(faults, the_kth_allocation_of_a_request_fails)
{
    static const struct {
        const char *path, *body;
    } row[] = {
        {"/v1/completions", "{\"prompt\":\"abc ddd\",\"max_tokens\":6,\"n\":2,\"logprobs\":2,"
                            "\"stop\":[\"zzzz\"],\"echo\":true,\"logit_bias\":{\"80\":1}}"},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"u\",\"content\":[{\"type\":\"text\",\"text\":\"abc\"}],"
         "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}],"
         "\"max_tokens\":6,\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"/v1/completions", "{\"prompt\":[[70,71],[72]],\"max_tokens\":6,\"stream\":true,"
                            "\"logprobs\":2}"},
        {"/tokenize", "{\"messages\":[{\"role\":\"u\",\"content\":\"abc\"}]}"},
        {"/api/chat", "{\"model\":\"fake:latest\",\"messages\":[{\"role\":\"u\",\"content\":\"a\","
                      "\"thinking\":\"b\",\"images\":[]}],\"think\":\"low\",\"logprobs\":true,"
                      "\"top_logprobs\":2,\"options\":{\"num_predict\":6,\"stop\":[\"zzzz\"]}}"},
        {"/api/generate", "{\"model\":\"fake\",\"system\":\"s\",\"prompt\":\"abc\","
                          "\"stream\":false,\"options\":{\"num_predict\":6}}"},
        {"/api/show", "{\"model\":\"fake\"}"},
        {"/v1/models", NULL},
        {"/v1/models/fake", NULL},
        {"/health", NULL},
        {"/ready", NULL},
        {"/version", NULL},
        {"/tokenizer_info", NULL},
        {"/api/tags", NULL},
        {"/api/ps", NULL},
        {"/api/version", NULL},
    };
    struct service s = {.fake_options.no_prefix_cache = true};
    service_start(&s);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        size_t n[N_OUTCOMES] = {0};
        bool untouched = false;
        ask(&s, row[i].path, row[i].body);
        cr_assert_eq(outcome_of(), WHOLE, "%s", got);
        const long n_prompt = prompt_tokens();
        uint64_t k = 0;
        while (!untouched) {
            cr_assert_lt(++k, MOST_ALLOCATIONS);
            oct_fault_reset();
            oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
            ask(&s, row[i].path, row[i].body);
            cr_assert(service_wait_idle(&s));
            untouched = oct_fault_count(OCT_FAULT_MEM) < k;
            oct_fault_reset();
            const enum outcome end = outcome_of();
            n[end]++;
            cr_assert(end != WHOLE || prompt_tokens() == n_prompt, "%llu: %s",
                      (unsigned long long)k, got);
        }
        /* a cut is what http/ itself does where it has no memory for an answer's bytes */
        cr_assert(n[WHOLE] > 0 && n[ERROR] > (row[i].body ? 10 : 2) &&
                      n[CUT] < k / (row[i].body ? 4 : 1),
                  "%s: %zu whole, %zu errors, %zu in streams, %zu cut", row[i].path, n[WHOLE],
                  n[ERROR], n[STREAM_ERROR], n[CUT]);
        ask(&s, row[i].path, row[i].body);
        cr_assert_eq(outcome_of(), WHOLE, "%s", got);
    }
    service_stop(&s);
}

/* ---- the inbox ---- */

struct seen {
    int n_events;
    oct_status status;
    oct_finish finish;
};
static struct seen seen[4];

static void see(struct oct_api *a, struct oct_choice *ch, const struct oct_event *ev)
{
    struct seen *s = &seen[ch->index];
    (void)a;
    s->n_events++;
    s->status = s->status == OCT_OK ? ev->status : s->status;
    s->finish = ev->finish;
}

static void never(struct oct_http_task *t)
{
    (void)t;
}

/* A token that there is no room for is lost, and its call is told so; the end of a request never
 * is. */
Test(faults, an_inbox_without_memory_loses_no_end)
{
    static char text[100 * 1024]; /* more than an inbox has room for at first */
    memset(text, 'x', sizeof text);
    for (int lost = 0; lost < 4; lost++) { /* nothing; the first token; the last; all */
        struct oct_inbox *in = NULL;
        struct oct_choice ch[2] = {{.index = 0}, {.index = 1}};
        memset(seen, 0, sizeof seen);
        cr_assert_eq(oct_inbox_create(NULL, never, &in), OCT_OK);
        for (int i = 0; i < 3; i++) {
            struct oct_event ev[2] = {{.user = &ch[0], .n_prompt_top = -1, .now_us = 1},
                                      {.user = &ch[1], .n_prompt_top = -1, .now_us = 1}};
            const struct oct_event *both[] = {&ev[0], &ev[1]};
            const bool fails = (lost & 1 && i == 0) || (lost & 2 && i == 2);
            ev[0].finish = ev[1].finish = i == 2 ? OCT_FINISH_LENGTH : OCT_FINISH_NONE;
            ev[0].text = text;
            ev[0].text_len = fails ? sizeof text : 1;
            if (fails) {
                oct_fault_arm(OCT_FAULT_MEM, 1, true, OCT_FAULT_FAIL);
            }
            oct_inbox_put(in, both, 2);
            oct_fault_reset();
        }
        oct_inbox_take(in, see);
        cr_assert_eq(seen[0].finish != OCT_FINISH_NONE, true, "case %d", lost);
        cr_assert_eq(seen[0].status, lost ? OCT_E_MEM : OCT_OK, "case %d", lost);
        cr_assert(seen[1].status == OCT_OK && seen[1].n_events == 3 &&
                      seen[1].finish == OCT_FINISH_LENGTH,
                  "case %d", lost);
        oct_inbox_destroy(in);
    }
}
