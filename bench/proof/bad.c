/* SPDX-License-Identifier: Apache-2.0
 *
 * bad.c - rows of requests that should be refused.
 *
 *   bad      the lists of bad_list.c, each on a connection of its own
 *   mutated  from= to= of a series of damaged bodies, the same from the same seed=
 *   big      a prompt of mb= megabytes
 *
 * A server that cannot be reached any more ends a row: "stopped_at" says where. */
#include "proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_US = 10000000, RAW_PATIENCE_US = 5000000 };

static void name_it(json_t *list, const char *name)
{
    OCT_ASSERT(json_array_append_new(list, json_string(name)) == 0);
}

/* Whether a good request is answered. */
static bool is_alive(const struct target *to)
{
    struct oct_buf request = {0};
    completion(to, prompts[0], 1, false, &request);
    const int status =
        client_once(to->host, to->port, request.data, request.len, PATIENCE_US, NULL);
    oct_buf_free(&request);
    return status == 200;
}

struct verdict {
    json_int_t n, n_refused, n_accepted, n_5xx, n_unanswered;
    json_t *accepted, *failed, *unanswered; /* names */
};

static void judge(struct verdict *v, const char *name, int status, bool may_accept, bool may_close)
{
    v->n++;
    /* "Not implemented" and "version not supported" are refusals. */
    if (status / 100 == 4 || status == 501 || status == 505 || (status == 200 && may_accept) ||
        (may_close && status == -1 - CLIENT_CUT)) {
        v->n_refused++;
    } else if (status / 100 == 2) {
        v->n_accepted++;
        name_it(v->accepted, name);
    } else if (status / 100 == 5) {
        v->n_5xx++;
        name_it(v->failed, name);
    } else {
        v->n_unanswered++;
        name_it(v->unanswered, name);
    }
}

json_t *row_bad(const struct target *to)
{
    struct verdict bodies = {0}, raws = {0};
    bodies.accepted = json_array(), bodies.failed = json_array(), bodies.unanswered = json_array();
    raws.accepted = json_array(), raws.failed = json_array(), raws.unanswered = json_array();
    struct oct_buf request = {0};
    const char *stopped_at = is_alive(to) ? NULL : "the beginning";
    for (size_t i = 0; i < n_bad_bodies && !stopped_at; i++) {
        const struct bad_body *b = &bad_bodies[i];
        oct_buf_clear(&request);
        client_post(&request, b->path, b->body, b->len);
        judge(&bodies, b->name,
              client_once(to->host, to->port, request.data, request.len, PATIENCE_US, NULL),
              b->may_accept, false);
        stopped_at = is_alive(to) ? NULL : b->name;
    }
    for (size_t i = 0; i < n_bad_raws && !stopped_at; i++) {
        const struct bad_raw *b = &bad_raws[i];
        oct_buf_clear(&request);
        oct_status st = oct_buf_append(&request, b->bytes, b->len);
        for (size_t k = 0; k < b->n_fill && !st; k++) {
            st = oct_buf_append(&request, "a", 1);
        }
        st = st || !b->after ? st : oct_buf_append(&request, b->after, strlen(b->after));
        OCT_ASSERT(!st);
        judge(&raws, b->name,
              client_once(to->host, to->port, request.data, request.len, RAW_PATIENCE_US, NULL),
              false, true);
        stopped_at = is_alive(to) ? NULL : b->name;
    }
    oct_buf_free(&request);
    json_t *o = json_pack(
        "{s:{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}, s:{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}, "
        "s:s?}",
        "bodies", "n", bodies.n, "refused", bodies.n_refused, "accepted", bodies.n_accepted, "5xx",
        bodies.n_5xx, "unanswered", bodies.n_unanswered, "accepted_names", bodies.accepted,
        "5xx_names", bodies.failed, "unanswered_names", bodies.unanswered, "raw", "n", raws.n,
        "refused", raws.n_refused, "accepted", raws.n_accepted, "5xx", raws.n_5xx, "unanswered",
        raws.n_unanswered, "accepted_names", raws.accepted, "5xx_names", raws.failed,
        "unanswered_names", raws.unanswered, "stopped_at", stopped_at);
    OCT_ASSERT(o);
    return o;
}

/* ---- damaged bodies ---- */

static const char *const good_bodies[] = {
    "{\"model\":\"tiny\",\"prompt\":\"Hello there\",\"max_tokens\":1,\"temperature\":0}",
    "{\"model\":\"tiny\",\"prompt\":[1,2,3],\"max_tokens\":2,\"stop\":[\"a\",\"b\"],\"seed\":7,"
    "\"logit_bias\":{\"5\":-1.5}}",
    "{\"model\":\"tiny\",\"prompt\":[\"one\",\"two\"],\"max_tokens\":1,\"n\":2,\"top_p\":0.9,"
    "\"logprobs\":2,\"echo\":false}",
    "{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"max_tokens\":1,"
    "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
    "{\"model\":\"tiny\",\"messages\":[{\"role\":\"system\",\"content\":\"Be short.\"},{\"role\":"
    "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi \\u00e9\"}]}],\"max_tokens\":2,"
    "\"temperature\":0.7,\"presence_penalty\":0.5,\"frequency_penalty\":-0.5}",
};
enum { N_GOOD = sizeof good_bodies / sizeof *good_bodies };

static const char *const words[] = {
    "null",
    "true",
    "-1",
    "0",
    "1e308",
    "1e999",
    "-0",
    "9223372036854775807",
    "18446744073709551616",
    "2147483648",
    "NaN",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "]",
    "}",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\xff",
    "\xc0\x80",
    "\xed\xa0\x80",
    ",",
    ":",
    "\"n\":",
    "\"stop\":",
    "\"logprobs\":20,",
    "\"stream\":true,",
    "\"max_tokens\":",
    "{\"a\":",
    "{% raw %}",
    "<|im_end|>",
    "%s%n",
    "../",
};
enum { N_WORDS = sizeof words / sizeof *words, MAX_BODY = 4096 };

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n)
{
    return n ? (size_t)(next(state) % n) : 0;
}

/* Puts text in place of b[at, at + old). */
static size_t splice(char *b, size_t len, size_t at, size_t old, const char *text, size_t n)
{
    if (len - old + n > MAX_BODY) {
        return len;
    }
    memmove(b + at + n, b + at + old, len - at - old);
    memcpy(b + at, text, n);
    return len - old + n;
}

/* Body number i of the series; its length, and which API it is for. */
static size_t damaged(uint64_t seed, int64_t i, char b[MAX_BODY], bool *chat)
{
    uint64_t state = seed * 0xD1342543DE82EF95u + (uint64_t)i;
    const size_t which = below(&state, N_GOOD);
    size_t len = strlen(good_bodies[which]);
    memcpy(b, good_bodies[which], len);
    *chat = strstr(good_bodies[which], "messages") != NULL;
    for (size_t n = 1 + below(&state, 4); n > 0; n--) {
        const size_t at = below(&state, len);
        const char *word = words[below(&state, N_WORDS)];
        char byte[1] = {(char)below(&state, 256)}, part[64];
        size_t m = 0;
        switch (below(&state, 8)) {
        case 0: /* a bit */
            b[at] = (char)(len ? b[at] ^ (1 << below(&state, 8)) : 0);
            break;
        case 1: /* a byte */
            len = splice(b, len, at, len > 0, byte, 1);
            break;
        case 2:
            len = splice(b, len, at, 0, byte, 1);
            break;
        case 3: /* some bytes less */
            m = below(&state, len - at + 1);
            len = splice(b, len, at, m < 16 ? m : 16, "", 0);
            break;
        case 4: /* some bytes twice */
            m = below(&state, len - at + 1);
            m = m < sizeof part ? m : sizeof part;
            memcpy(part, b + at, m);
            len = splice(b, len, at, 0, part, m);
            break;
        case 5: /* the end */
            len = at;
            break;
        case 6:
            len = splice(b, len, at, 0, word, strlen(word));
            break;
        default: /* the value behind a colon */
            m = at;
            while (m < len && b[m] != ':') {
                m++;
            }
            if (m < len) {
                size_t end = m + 1;
                while (end < len && b[end] != ',' && b[end] != '}') {
                    end++;
                }
                len = splice(b, len, m + 1, end - m - 1, word, strlen(word));
            }
        }
    }
    return len;
}

struct series {
    uint64_t seed;
    int64_t next, to, stopped_at;
    struct tally tally;
    json_int_t n_4xx, n_5xx, n_ok, n_not_json; /* not_json: no JSON, and yet status 200 */
    json_int_t n_unanswered;
    json_t *notable; /* numbers of bodies with 5xx or no answer, the first few */
};

static void send_damaged(struct series *s, struct client_conn *c)
{
    char b[MAX_BODY];
    bool chat;
    struct oct_buf *request = c->user;
    c->tag = s->next++;
    const size_t len = damaged(s->seed, c->tag, b, &chat);
    oct_buf_clear(request);
    client_post(request, chat ? "/v1/chat/completions" : "/v1/completions", b, len);
    s->tally.n_sent++;
    client_send(c, request->data, request->len, PATIENCE_US);
}

static void damaged_end(void *user, struct client_conn *c, enum client_end how)
{
    struct series *s = user;
    const struct oct_buf *request = c->user;
    if (how == CLIENT_CUT && c->reused && c->status == 0) {
        s->tally.n_stale++;
        client_send(c, request->data, request->len, PATIENCE_US);
        return;
    }
    tally_add(&s->tally, c, how, true);
    bool notable = false;
    if (how != CLIENT_ANSWERED) {
        s->n_unanswered++;
        notable = true;
        if (how == CLIENT_NO_CONNECT && s->stopped_at < 0) {
            s->stopped_at = c->tag;
        }
    } else if (c->status / 100 == 4 || c->status == 501) {
        s->n_4xx++;
    } else if (c->status / 100 == 5) {
        s->n_5xx++;
        notable = true;
    } else {
        s->n_ok++;
        char b[MAX_BODY];
        bool chat;
        const size_t len = damaged(s->seed, c->tag, b, &chat);
        json_t *json = json_loadb(b, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
        s->n_not_json += json == NULL;
        json_decref(json);
    }
    if (notable && json_array_size(s->notable) < 32) {
        OCT_ASSERT(json_array_append_new(s->notable, json_integer(c->tag)) == 0);
    }
    if (s->next < s->to && s->stopped_at < 0) {
        send_damaged(s, c);
    }
}

json_t *row_mutated(const struct target *to)
{
    enum { N_CONNS = 16 };
    struct series s = {.seed = (uint64_t)arg_number("seed", 1),
                       .next = arg_number("from", 0),
                       .to = arg_number("to", 20000),
                       .stopped_at = -1,
                       .notable = json_array()};
    struct oct_buf requests[N_CONNS] = {0};
    const struct client_callbacks cb = {.user = &s, .on_end = damaged_end};
    struct client *k = client_create(to->host, to->port, &cb);
    const int64_t start = client_now_us();
    for (int i = 0; i < N_CONNS && s.next < s.to; i++) {
        struct client_conn *c = client_conn_create(k, 0);
        c->user = &requests[i];
        send_damaged(&s, c);
    }
    while (client_n_busy(k)) {
        client_turn(k, 10);
    }
    client_destroy(k);
    for (int i = 0; i < N_CONNS; i++) {
        oct_buf_free(&requests[i]);
    }
    const bool alive = is_alive(to);
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:o}", "200", s.n_ok,
                          "4xx", s.n_4xx, "5xx", s.n_5xx, "200_not_json", s.n_not_json,
                          "unanswered", s.n_unanswered, "next", (json_int_t)s.next, "stopped_at",
                          (json_int_t)s.stopped_at, "alive", alive, "seconds",
                          (double)(client_now_us() - start) / 1e6, "notable", s.notable);
    OCT_ASSERT(o);
    tally_json(&s.tally, o);
    return o;
}

/* ---- a body that is too big ---- */

struct big {
    bool ended;
    enum client_end how;
};

static void big_end(void *user, struct client_conn *c, enum client_end how)
{
    (void)c;
    struct big *b = user;
    b->ended = true;
    b->how = how;
}

json_t *row_big(const struct target *to)
{
    const size_t n = (size_t)arg_number("mb", 64) << 20;
    struct big b = {0};
    struct oct_buf body = {0}, request = {0};
    oct_status st =
        oct_buf_printf(&body, "{\"model\":\"%s\",\"max_tokens\":1,\"prompt\":\"", to->model);
    st = st ? st : oct_buf_reserve(&body, n + 2);
    OCT_ASSERT(!st);
    memset(body.data + body.len, 'a', n);
    body.len += n;
    st = oct_buf_append(&body, "\"}", 2);
    OCT_ASSERT(!st);
    client_post(&request, "/v1/completions", body.data, body.len);
    const struct client_callbacks cb = {.user = &b, .on_end = big_end};
    struct client *k = client_create(to->host, to->port, &cb);
    struct client_conn *c = client_conn_create(k, 0);
    client_send(c, request.data, request.len, 120000000);
    while (!b.ended) {
        client_turn(k, 10);
    }
    json_t *o = json_pack("{s:s, s:i, s:f, s:I, s:I}", "end", client_end_names[b.how], "status",
                          c->status, "seconds", (double)(c->end_us - c->start_us) / 1e6,
                          "sent_bytes", (json_int_t)c->out_off, "body_bytes", (json_int_t)body.len);
    OCT_ASSERT(o);
    client_destroy(k);
    oct_buf_free(&body);
    oct_buf_free(&request);
    return o;
}
