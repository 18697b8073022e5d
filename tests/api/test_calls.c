/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a call under trouble: clients that leave, read slowly or come in crowds, deadlines,
 * drains, bodies that are no JSON. Every call ends once, and nothing of it stays: service_stop
 * looks at pages and counts after each test. */
#include "api/service.h"

#include "base/clock.h"
#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Sends a request and reads nothing. */
static int begin(struct service *s, const char *path, const char *body)
{
    size_t len;
    char *request = service_request("POST", path, "", body, strlen(body), &len);
    const int fd = service_connect(s);
    service_write(fd, request, len);
    free(request);
    return fd;
}

/* A stream of one choice has this text. */
static void expect_text(const struct events *ev, const char *want, size_t len)
{
    struct oct_buf text = {0};
    for (size_t i = 0; i < ev->n; i++) {
        const json_t *t = at(ev->item[i], "choices.0.text");
        char *shown = t ? NULL : json_dumps(ev->item[i], 0);
        cr_assert(t != NULL, "%s", shown);
        cr_assert_eq(oct_buf_append(&text, json_string_value(t), json_string_length(t)), OCT_OK);
    }
    cr_assert(text.len == len && !memcmp(text.data, want, len), "%zu bytes, not %zu", text.len,
              len);
    oct_buf_free(&text);
}

/* ---- clients that leave ---- */

enum phase { QUEUED, PREFILL, DECODE, N_PHASES };
static const char *const phase_names[] = {"queued", "prefill", "decode"};

static bool is_in(struct service *s, enum phase p, uint64_t outputs_before)
{
    const struct oct_engine_stats st = service_stats(s);
    switch (p) {
    case QUEUED:
        return st.n_waiting == 1;
    case PREFILL:
        return st.n_running == 1 && st.n_pages_used > 0;
    case DECODE:
        return st.n_output_tokens >= outputs_before + 3;
    case N_PHASES:
        break;
    }
    return false;
}

struct leave {
    int64_t freed_us;
    uint64_t wasted;
};

/* A client that leaves in this phase: how long until its pages are free, and how many tokens were
 * made for nobody. */
static struct leave leave_in(struct service *s, enum phase p, bool stream, bool reset)
{
    struct oct_buf body = {0};
    int other = -1;
    if (p == QUEUED) { /* the one place is taken */
        other = begin(s, "/v1/completions",
                      "{\"prompt\":\"y\",\"max_tokens\":400,\"ignore_eos\":true}");
        while (service_stats(s).n_running == 0) {
            sleep_ms(1);
        }
    }
    cr_assert_eq(
        oct_buf_printf(&body, "{\"cache_salt\":\"%lld\",\"prompt\":[70", (long long)oct_clock_us()),
        OCT_OK);
    for (int i = 0; i < (p == PREFILL ? 400 : 4); i++) {
        cr_assert_eq(oct_buf_printf(&body, ",%d", 80 + i % 50), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&body, "],\"max_tokens\":100,\"ignore_eos\":true,\"stream\":%s}",
                                stream ? "true" : "false"),
                 OCT_OK);
    const uint64_t outputs = service_stats(s).n_output_tokens;
    const int fd = begin(s, "/v1/completions", body.data);
    while (!is_in(s, p, outputs)) {
        sleep_ms(1);
    }
    const struct linger now = {.l_onoff = 1};
    if (reset) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    const uint64_t before = service_stats(s).n_output_tokens;
    const int64_t left_us = oct_clock_us();
    (void)close(fd);
    while (p == QUEUED ? service_stats(s).n_waiting > 0 : service_stats(s).n_pages_used > 0) {
        cr_assert_lt(oct_clock_us() - left_us, 10 * 1000 * 1000, "it runs on");
        sleep_ms(1);
    }
    struct leave l = {.freed_us = oct_clock_us() - left_us};
    l.wasted = p == QUEUED ? 0 : service_stats(s).n_output_tokens - before;
    if (other >= 0) {
        (void)close(other);
    }
    cr_assert(service_wait_idle(s));
    oct_buf_free(&body);
    return l;
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = ((const struct leave *)a)->freed_us, y = ((const struct leave *)b)->freed_us;
    return (x > y) - (x < y);
}

/* A step takes 2 ms; one that runs is not broken off, so two tokens and a few ms are due. The
 * median of nine leaves room for a machine that does other things as well. */
Test(leaving, frees_the_pages_at_once_in_every_phase)
{
    struct service s = {.fake_options = {.max_num_seqs = 1,
                                         .max_num_batched_tokens = 16,
                                         .no_prefix_cache = true,
                                         .delay_us = 2000}};
    enum { TIMES = 9 };
    service_start(&s);
    uint64_t n = 0;
    for (int p = QUEUED; p < N_PHASES; p++) {
        for (int how = 0; how < 4; how++) {
            struct leave l[TIMES];
            uint64_t wasted = 0;
            for (int i = 0; i < TIMES; i++, n++) {
                l[i] = leave_in(&s, (enum phase)p, how & 1, how & 2);
                wasted += l[i].wasted;
            }
            qsort(l, TIMES, sizeof *l, by_time);
            cr_expect_lt(l[TIMES / 2].freed_us, 100 * 1000, "%s, how %d: %lld us", phase_names[p],
                         how, (long long)l[TIMES / 2].freed_us);
            cr_expect_leq(wasted, 5 * TIMES, "%s, how %d: %llu tokens wasted", phase_names[p], how,
                          (unsigned long long)wasted);
        }
    }
    const struct oct_api_counts c = service_counts(&s);
    cr_assert_eq(c.n_left, n + n / 3, "%llu left of %llu", (unsigned long long)c.n_left,
                 (unsigned long long)n);
    service_stop(&s);
}

/* A crowd in which half leaves at random moments: the others get what the engine says. */
Test(leaving, does_not_touch_the_others)
{
    struct service s = {.fake_options = {.n_pages = 24, .delay_us = 200}};
    enum { ROUNDS = 12, CLIENTS = 24 };
    service_start(&s);
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    size_t len;
    sampling.max_tokens = 60;
    char *want = service_direct(&s, "abc ddd", &sampling, &len);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        int fd[CLIENTS];
        uint32_t r[4];
        for (uint64_t i = 0; i < CLIENTS; i++) {
            fd[i] = begin(&s, "/v1/completions",
                          i % 4 < 2 ? "{\"prompt\":\"abc ddd\",\"max_tokens\":60,\"stream\":true}"
                                    : "{\"prompt\":\"abc ddd\",\"max_tokens\":60,\"n\":2}");
        }
        for (uint64_t i = 0; i < CLIENTS; i += 2) {
            oct_rng_philox(7, round, i, r);
            const struct timespec t = {.tv_nsec = r[0] % 3000000};
            (void)nanosleep(&t, NULL);
            (void)close(fd[i]);
        }
        for (uint64_t i = 1; i < CLIENTS; i += 2) {
            struct answer a = service_read(fd[i]);
            cr_assert(a.status == 200 && a.is_whole, "%d", a.status);
            if (i % 4 < 2) {
                struct events ev = events_of(&a);
                expect_text(&ev, want, len);
                events_free(&ev);
            } else {
                json_t *j = answer_json(&a);
                cr_assert_str_eq(str_at(j, "choices.0.text"), want);
                cr_assert_str_eq(str_at(j, "choices.1.text"), want);
                json_decref(j);
            }
            answer_free(&a);
        }
    }
    free(want);
    service_stop(&s);
}

/* ---- slow readers ---- */

static int begin_slow(struct service *s, const char *path, const char *body)
{
    size_t len;
    const int fd = service_connect(s), small = 4096;
    char *request = service_request("POST", path, "", body, strlen(body), &len);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    service_write(fd, request, len);
    free(request);
    return fd;
}

/* Now it reads, and not by 4 KiB: that would take seconds. */
static struct answer read_slow(int fd)
{
    const int large = 1 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    return service_read(fd);
}

static void wait_outputs(struct service *s, uint64_t n)
{
    const int64_t until = oct_clock_us() + 20 * 1000 * 1000;
    while (service_stats(s).n_output_tokens < n && oct_clock_us() < until) {
        sleep_ms(2);
    }
    cr_assert_geq(service_stats(s).n_output_tokens, n);
}

Test(slow_readers, get_everything_in_larger_pieces)
{
    struct service s = {.limits.out_bytes = 16384,
                        .fake_options = {.n_pages = 200, .max_model_len = 8192, .quick = true}};
    service_start(&s);
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    size_t len;
    sampling.max_tokens = 6000;
    char *want = service_direct(&s, "abc", &sampling, &len);
    const int fd = begin_slow(&s, "/v1/completions",
                              "{\"prompt\":\"abc\",\"max_tokens\":6000,\"stream\":true}");
    wait_outputs(&s, 2 * 6000); /* made at full speed, read by nobody */
    struct answer a = read_slow(fd);
    struct events ev = events_of(&a);
    cr_assert(a.is_whole);
    expect_text(&ev, want, len);
    cr_assert_lt(ev.n, 4000, "%zu pieces of 6000 tokens", ev.n);
    events_free(&ev);
    answer_free(&a);
    free(want);
    service_stop(&s);
}

/* Over 1 MiB of what waits is the end: here 6,000 tokens with 20 alternatives of 8 bytes each. */
Test(slow_readers, that_never_read_are_given_up)
{
    struct service s = {
        .limits.out_bytes = 16384,
        .fake_options = {.n_pages = 300, .max_model_len = 16384, .quick = true, .delay_us = 100}};
    service_start(&s);
    const int fd = begin_slow(&s, "/v1/chat/completions",
                              "{\"messages\":[{\"role\":\"u\",\"content\":\"abc\"}],"
                              "\"max_tokens\":16000,\"stream\":true,\"logprobs\":true,"
                              "\"top_logprobs\":20}");
    while (service_stats(&s).n_cancelled == 0) {
        cr_assert_eq(service_stats(&s).n_length, 0);
        sleep_ms(2);
    }
    struct answer a = read_slow(fd);
    struct events ev = events_of(&a);
    const char *message = str_at(ev.item[ev.n - 1], "error.message");
    cr_assert(a.is_whole && message && strstr(message, "too slowly"), "%s",
              message ? message : "(none)");
    events_free(&ev);
    answer_free(&a);
    const struct oct_api_counts c = service_counts(&s);
    cr_assert(c.n_failed == 1 && c.n_done == 0);
    service_stop(&s);
}

/* One that takes nothing for write_stall_us is cut off, and its request goes no further. */
Test(slow_readers, that_take_nothing_are_cut)
{
    struct service s = {
        .limits = {.out_bytes = 16384, .write_stall_us = 200 * 1000},
        .fake_options = {.n_pages = 300, .max_model_len = 16384, .quick = true, .delay_us = 100}};
    service_start(&s);
    const int fd = begin_slow(&s, "/v1/completions",
                              "{\"prompt\":\"abc\",\"max_tokens\":16000,\"stream\":true}");
    while (service_stats(&s).n_cancelled == 0) {
        cr_assert_eq(service_stats(&s).n_length, 0);
        sleep_ms(2);
    }
    cr_assert(service_wait_idle(&s));
    const struct oct_api_counts c = service_counts(&s);
    cr_assert(c.n_left == 1 && c.n_failed == 0 && c.n_done == 0);
    (void)close(fd);
    service_stop(&s);
}

/* ---- crowds ---- */

Test(overload, is_told_429_at_once)
{
    struct service s = {.config.max_queued_requests = 4,
                        .fake_options = {.max_num_seqs = 2, .delay_us = 2000}};
    service_start(&s);
    int fd[6];
    char value[256];
    for (int i = 0; i < 6; i++) {
        fd[i] =
            begin(&s, "/v1/completions", "{\"prompt\":\"abc\",\"max_tokens\":100,\"stream\":true}");
    }
    while (service_stats(&s).n_submitted < 6) {
        sleep_ms(1);
    }
    const int64_t from = oct_clock_us();
    struct answer a = service_post(&s, "/v1/completions", "{\"prompt\":\"abc\"}");
    const int64_t took = oct_clock_us() - from;
    answer_expect_error(&a, 429, "too many requests are waiting");
    cr_assert_str_eq(answer_header(&a, "retry-after", value), "1");
    cr_assert_lt(took, 200 * 1000, "%lld us", (long long)took); /* the six take 600 ms */
    answer_free(&a);
    for (int i = 0; i < 6; i++) {
        a = service_read(fd[i]);
        struct events ev = events_of(&a);
        cr_assert_str_eq(str_at(ev.item[ev.n - 1], "choices.0.finish_reason"), "length");
        events_free(&ev);
        answer_free(&a);
    }
    json_decref(service_post_json(&s, "/v1/completions", "{\"prompt\":\"abc\"}"));
    service_stop(&s);
}

/* The engine's own queue has a bound too: the first choices run, the others have no room. */
Test(overload, of_the_engine_ends_the_whole_call)
{
    struct service s = {.fake_options = {.max_num_seqs = 1, .max_waiting = 2, .delay_us = 1000}};
    service_start(&s);
    struct answer a =
        service_post(&s, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]}");
    answer_expect_error(&a, 429, "wait");
    answer_free(&a);
    a = service_post(&s, "/v1/completions", "{\"prompt\":\"a\",\"n\":8,\"stream\":true}");
    answer_expect_error(&a, 429, "wait");
    answer_free(&a);
    cr_assert(service_wait_idle(&s));
    json_decref(service_post_json(&s, "/v1/completions", "{\"prompt\":\"abc\"}"));
    service_stop(&s);
}

/* Prompts' log probabilities of all calls together are bounded, each being within its own bound. */
Test(overload, of_prompt_logprobs_is_told_429)
{
    static const char held[] = "{\"prompt\":\"abcabcab\",\"max_tokens\":9000,\"echo\":true,"
                               "\"logprobs\":1,\"stream\":true}"; /* 8 * (1 + 1) entries */
    static const char four[] = "{\"prompt\":\"ab\",\"max_tokens\":2,\"echo\":true,"
                               "\"logprobs\":1}"; /* 2 * (1 + 1) */
    static const char six[] = "{\"prompt\":[\"ab\",\"c\"],\"max_tokens\":2,\"echo\":true,"
                              "\"logprobs\":1}"; /* 3 * (1 + 1) */
    struct service s = {
        .config.max_prompt_logprobs = 21,
        .fake_options = {.n_pages = 300, .max_model_len = 16384, .quick = true, .delay_us = 2000}};
    service_start(&s);
    const int fd = begin(&s, "/v1/completions", held);
    while (service_stats(&s).n_submitted < 1) {
        sleep_ms(1);
    }
    json_decref(service_post_json(&s, "/v1/completions", four)); /* 20 of 21, and given back */
    json_decref(service_post_json(&s, "/v1/completions", four));
    struct answer a = service_post(&s, "/v1/completions", six); /* 22 of 21 */
    answer_expect_error(&a, 429, "hold 16 of the 21");
    answer_free(&a);
    json_decref(service_post_json(&s, "/v1/completions", "{\"prompt\":\"abc\",\"logprobs\":1}"));
    (void)close(fd); /* which gives them back */
    cr_assert(service_wait_idle(&s));
    cr_assert_eq(service_stats(&s).n_cancelled, 1u);
    json_decref(service_post_json(&s, "/v1/completions", six));
    service_stop(&s);
}

/* ---- deadlines, drains ---- */

Test(deadline, ends_whole_and_streamed_answers)
{
    struct service s = {.fake_options.delay_us = 5000};
    service_start(&s);
    struct answer a = service_post(&s, "/v1/completions",
                                   "{\"prompt\":\"abc\",\"max_tokens\":400,\"timeout\":0.1}");
    answer_expect_error(&a, 504, "");
    answer_free(&a);
    a = service_post(&s, "/v1/completions",
                     "{\"prompt\":\"abc\",\"max_tokens\":400,\"timeout\":0.1,\"stream\":true}");
    struct events ev = events_of(&a);
    cr_assert(a.status == 200 && ev.n > 1 && str_at(ev.item[0], "choices.0.text"));
    cr_assert_eq(int_at(ev.item[ev.n - 1], "error.code"), 504, "%s", a.body.data);
    events_free(&ev);
    answer_free(&a);
    service_stop(&s);
}

static void end_all(struct service *s, void *arg)
{
    oct_api_drain(s->api);
    oct_api_end_calls(s->api, OCT_E_CANCELLED, arg);
}

Test(drain, what_is_cut_off_is_told_so)
{
    struct service s = {.fake_options = {.max_num_seqs = 4, .delay_us = 2000}};
    enum { CLIENTS = 12 };
    int fd[CLIENTS];
    service_start(&s);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = begin(&s, "/v1/completions",
                      i % 2 ? "{\"prompt\":\"abc\",\"max_tokens\":500,\"stream\":true}"
                            : "{\"prompt\":\"abc\",\"max_tokens\":500,\"n\":2}");
    }
    while (service_stats(&s).n_output_tokens < 20) {
        sleep_ms(1);
    }
    char why[] = "the server is stopping now";
    service_on_loop(&s, end_all, why);
    int n_streams = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct answer a = service_read(fd[i]);
        if (a.status == 200) { /* had begun */
            struct events ev = events_of(&a);
            cr_assert_eq(int_at(ev.item[ev.n - 1], "error.code"), 503);
            cr_assert_str_eq(str_at(ev.item[ev.n - 1], "error.message"), why);
            n_streams++;
            events_free(&ev);
        } else {
            answer_expect_error(&a, 503, "the server is stopping");
        }
        answer_free(&a);
    }
    cr_assert_gt(n_streams, 0);
    const struct oct_api_counts c = service_counts(&s);
    cr_assert_eq(c.n_failed, c.n_accepted);
    service_stop(&s);
}

/* The server ends while calls run: clients see a cut, nothing is left. */
Test(drain, a_server_may_end_at_any_moment)
{
    for (long ms = 0; ms < 12; ms++) {
        struct service s = {.fake_options = {.max_num_seqs = 2, .delay_us = 1000}};
        int fd[6];
        service_start(&s);
        for (int i = 0; i < 6; i++) {
            fd[i] = begin(&s, i % 3 ? "/v1/completions" : "/tokenize",
                          i % 2 ? "{\"prompt\":\"abc\",\"max_tokens\":300,\"stream\":true}"
                                : "{\"prompt\":\"abc\"}");
        }
        sleep_ms(ms);
        service_end_now(&s);
        for (int i = 0; i < 6; i++) {
            (void)close(fd[i]);
        }
    }
}

/* ---- bodies that are none ---- */

static const char *const seeds[] = {
    "{\"prompt\":\"abc\",\"max_tokens\":2,\"stop\":[\"x\",\"y\"],\"logit_bias\":{\"70\":1.5}}",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\\ud83d\\ude00 "
    "abc\"}],\"max_tokens\":2,"
    "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
    "{\"prompt\":[[70,71],[72]],\"max_tokens\":2,\"n\":2,\"echo\":true,\"logprobs\":2}",
};

static void mutate(struct oct_buf *b, uint64_t k)
{
    static const char odd[] = "\0\x7f\x80\xff\xc0\xed\xf4\"\\{}[],:0-.eE \n\tunt";
    uint32_t r[4];
    oct_rng_philox(3, k, 0, r);
    const size_t i = r[0] % b->len, n = 1 + r[2] % 4;
    switch (r[1] % 5) {
    case 0:
        b->data[i] = odd[r[2] % (sizeof odd - 1)];
        break;
    case 1: /* cut off */
        b->len = i;
        break;
    case 2: /* a byte with a flipped bit */
        b->data[i] = (char)(b->data[i] ^ (1 << r[2] % 8));
        break;
    case 3:                                          /* something twice */
        cr_assert_eq(oct_buf_reserve(b, n), OCT_OK); /* what is appended lies in it */
        cr_assert_eq(oct_buf_append(b, b->data + i, b->len - i < n ? b->len - i : n), OCT_OK);
        break;
    default: /* something left out */
        memmove(b->data + i, b->data + (b->len - i < n ? b->len : i + n),
                b->len - (b->len - i < n ? b->len : i + n));
        b->len -= b->len - i < n ? b->len - i : n;
        break;
    }
}

Test(malformed, bodies_are_400_and_never_more)
{
    struct service s = {0};
    service_start(&s);
    for (uint64_t k = 0; k < 600; k++) {
        struct oct_buf b = {0};
        const size_t which = k % 3;
        cr_assert_eq(oct_buf_append(&b, seeds[which], strlen(seeds[which])), OCT_OK);
        for (uint64_t m = 0; m <= k % 3 && b.len > 0; m++) {
            mutate(&b, k * 4 + m);
        }
        size_t len;
        char *request =
            service_request("POST", which == 1 ? "/v1/chat/completions" : "/v1/completions", "",
                            b.data, b.len, &len);
        const int fd = service_connect(&s);
        service_write(fd, request, len);
        struct answer a = service_read(fd);
        cr_expect(a.is_whole && (a.status == 200 || a.status == 400 || a.status == 404),
                  "%d to %.*s: %s", a.status, (int)b.len, b.data, a.body.data);
        free(request);
        answer_free(&a);
        oct_buf_free(&b);
    }
    service_stop(&s);
}

static char *nested(size_t n, const char *open, const char *close)
{
    struct oct_buf b = {0};
    cr_assert_eq(oct_buf_printf(&b, "{\"prompt\":"), OCT_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(oct_buf_printf(&b, "%s", open), OCT_OK);
    }
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(oct_buf_printf(&b, "%s", close), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&b, "}"), OCT_OK);
    return b.data;
}

Test(malformed, by_hand)
{
    static const struct {
        const char *body, *says;
    } row[] = {
        {"", "JSON"},
        {" ", "line 1, column 2"},
        {"{", "line 1"},
        {"{}{}", "line 1, column 3"},
        {"{\"prompt\":\"x\"}x", "JSON"},
        {"{\"prompt\":\"x\",}", "JSON"},
        {"{\"prompt\":\"x\",\"prompt\":\"y\"}", "prompt"},
        {"{\"prompt\":\"\xff\"}", "UTF-8"},
        {"{\"prompt\":\"\xc0\xaf\"}", "UTF-8"},
        {"{\"prompt\":\"\xed\xa0\x80\"}", "UTF-8"},
        {"{\"prompt\":\"\\ud800\"}", "JSON"},
        {"{\"prompt\":\"\\udc00\\ud800\"}", "JSON"},
        {"{\"prompt\":\"\\x\"}", "JSON"},
        {"{\"prompt\":\"\n\"}", "JSON"},
        {"{\"prompt\":'x'}", "JSON"},
        {"{\"prompt\":tru}", "JSON"},
        {"{prompt:1}", "JSON"},
        {"\"x\"", "JSON"},
        {"1", "JSON"},
        {"null", "JSON"},
        {"\xef\xbb\xbf{\"prompt\":\"x\"}", "JSON"},
        {"{\"prompt\":\"x\",\"temperature\":1e999}", ""},
        {"{\"prompt\":\"x\",\"temperature\":.5}", "JSON"},
        {"{\"prompt\":\"x\",\"\\u0000\":1}", ""},
    };
    struct service s = {0};
    service_start(&s);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct answer a = service_post(&s, "/v1/completions", row[i].body);
        answer_expect_error(&a, 400, row[i].says);
        answer_free(&a);
    }
    static const size_t depths[] = {62, 64, 100, 100000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        char *lists = nested(depths[i], "[", "]"), *objects = nested(depths[i], "{\"a\":", "1}");
        struct answer a = service_post(&s, "/v1/completions", lists);
        answer_expect_error(&a, 400, depths[i] == 62 ? "prompt" : "deep");
        answer_free(&a);
        a = service_post(&s, "/v1/completions", objects);
        answer_expect_error(&a, 400, "");
        answer_free(&a);
        oct_free(lists);
        oct_free(objects);
    }
    service_stop(&s);
}
