/* SPDX-License-Identifier: Apache-2.0 */
#include "api/inbox.h"

#include <pthread.h>
#include <string.h>

enum { KEEP_BYTES = 1 << 20, FIRST_BYTES = 64 << 10 };

struct oct_inbox {
    struct oct_http_task task; /* first: oct_inbox_api */
    struct oct_api *api;
    pthread_mutex_t lock;    /* of the three below; http/'s own lock is taken under it */
    struct oct_http *http;   /* NULL: nobody is woken */
    struct oct_buf fill;     /* records */
    struct oct_choice *lost; /* by next_lost */
    struct oct_buf taken;    /* the loop's */
};

/* A record: the event, then what its pointers stood for, each at a multiple of 8. */
struct record {
    size_t size; /* of all of it */
    struct oct_event event;
    size_t error_len;
};

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

oct_status oct_inbox_create(struct oct_api *a, void (*wake)(struct oct_http_task *),
                            struct oct_inbox **out)
{
    struct oct_inbox *in = oct_calloc(1, sizeof *in);
    if (!in) {
        return oct_no_memory("the inbox", sizeof *in);
    }
    oct_status st = oct_buf_reserve(&in->fill, FIRST_BYTES);
    st = st == OCT_OK ? oct_buf_reserve(&in->taken, FIRST_BYTES) : st;
    if (st != OCT_OK) {
        oct_buf_free(&in->fill);
        oct_free(in);
        return st;
    }
    in->api = a;
    in->task.run = wake;
    pthread_mutex_init(&in->lock, NULL);
    *out = in;
    return OCT_OK;
}

void oct_inbox_destroy(struct oct_inbox *in)
{
    if (in) {
        pthread_mutex_destroy(&in->lock);
        oct_buf_free(&in->fill);
        oct_buf_free(&in->taken);
        oct_free(in);
    }
}

struct oct_api *oct_inbox_api(struct oct_http_task *t)
{
    return ((struct oct_inbox *)t)->api;
}

void oct_inbox_set_http(struct oct_inbox *in, struct oct_http *h)
{
    pthread_mutex_lock(&in->lock);
    in->http = h;
    pthread_mutex_unlock(&in->lock);
}

/* ---- in: the engine's thread ---- */

static void add(struct oct_buf *b, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        memset(b->data + b->len + len, 0, padded(len) - len);
        b->len += padded(len);
    }
}

static oct_status copy(struct oct_buf *b, const struct oct_event *ev)
{
    const size_t top = (size_t)ev->n_top * sizeof *ev->top;
    const size_t n_prompt = ev->n_prompt_top >= 0 ? (size_t)ev->n_prompt_tokens : 0;
    const size_t prompt = n_prompt * sizeof *ev->prompt_logprobs;
    const size_t prompt_top = n_prompt > 0 ? prompt * (size_t)ev->n_prompt_top : 0;
    struct record r = {.event = *ev, .error_len = ev->error ? strlen(ev->error) + 1 : 0};
    r.size = padded(sizeof r) + padded(top) + padded(ev->text_len) + padded(r.error_len) +
             padded(prompt) + padded(prompt_top);
    OCT_TRY(oct_buf_reserve(b, r.size));
    add(b, &r, sizeof r);
    add(b, ev->top, top);
    add(b, ev->text, ev->text_len);
    add(b, ev->error, r.error_len);
    add(b, ev->prompt_logprobs, prompt);
    add(b, ev->prompt_top, prompt_top);
    return OCT_OK;
}

static void lose(struct oct_inbox *in, const struct oct_event *ev)
{
    struct oct_choice *ch = ev->user;
    if (!ch->is_lost) {
        ch->is_lost = true;
        ch->next_lost = in->lost;
        in->lost = ch;
    }
    ch->is_lost_end = ch->is_lost_end || ev->finish != OCT_FINISH_NONE;
}

void oct_inbox_put(void *inbox, const struct oct_event *const *events, size_t n)
{
    struct oct_inbox *in = inbox;
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < n; i++) {
        const struct oct_choice *ch = events[i]->user;
        /* once something of a request is lost, the rest of it stays in order behind that */
        if (ch->is_lost || copy(&in->fill, events[i]) != OCT_OK) {
            lose(in, events[i]);
        }
    }
    if (in->http) {
        oct_http_post(in->http, &in->task);
    }
    pthread_mutex_unlock(&in->lock);
}

/* ---- out: the loop ---- */

static const void *next(const char **at, size_t len)
{
    const char *p = *at;
    *at += padded(len);
    return len > 0 ? p : NULL;
}

static size_t read_one(struct oct_inbox *in, const char *at, oct_inbox_fn *fn)
{
    struct record r;
    memcpy(&r, at, sizeof r);
    struct oct_event *ev = &r.event;
    const size_t n_prompt = ev->n_prompt_top >= 0 ? (size_t)ev->n_prompt_tokens : 0;
    const size_t prompt = n_prompt * sizeof *ev->prompt_logprobs;
    at += padded(sizeof r);
    ev->top = next(&at, (size_t)ev->n_top * sizeof *ev->top);
    ev->text = next(&at, ev->text_len);
    ev->error = next(&at, r.error_len);
    ev->prompt_logprobs = next(&at, prompt);
    ev->prompt_top = next(&at, n_prompt > 0 ? prompt * (size_t)ev->n_prompt_top : 0);
    fn(in->api, ev->user, ev);
    return r.size;
}

static void tell_lost(struct oct_inbox *in, struct oct_choice *lost, oct_inbox_fn *fn)
{
    while (lost) {
        struct oct_choice *ch = lost;
        lost = ch->next_lost;
        pthread_mutex_lock(&in->lock);
        const bool is_end = ch->is_lost_end;
        ch->is_lost = false;
        pthread_mutex_unlock(&in->lock);
        const struct oct_event ev = {.request = ch->id,
                                     .finish = is_end ? OCT_FINISH_ERROR : OCT_FINISH_NONE,
                                     .status = OCT_E_MEM,
                                     .error = "the server ran out of memory",
                                     .token = -1,
                                     .n_prompt_top = -1,
                                     .user = ch};
        fn(in->api, ch, &ev);
    }
}

void oct_inbox_take(struct oct_inbox *in, oct_inbox_fn *fn)
{
    pthread_mutex_lock(&in->lock);
    const struct oct_buf b = in->fill;
    in->fill = in->taken;
    in->taken = b;
    struct oct_choice *lost = in->lost;
    in->lost = NULL;
    pthread_mutex_unlock(&in->lock);
    for (size_t at = 0; at < in->taken.len;) {
        at += read_one(in, in->taken.data + at, fn);
    }
    if (in->taken.cap > KEEP_BYTES) {
        oct_buf_free(&in->taken);
    }
    oct_buf_clear(&in->taken);
    tell_lost(in, lost, fn);
}
