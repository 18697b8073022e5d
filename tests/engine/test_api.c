/* SPDX-License-Identifier: Apache-2.0
 *
 * What octavo.h promises, on a fake model whose tokens tell whether anything went wrong (see
 * fake_runner.h): from many threads, from within callbacks, when the queue is full, when pages run
 * out, when time runs out. test_end.c has what goes wrong. */
#include "support/story.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

static void sleep_us(int64_t us)
{
    const struct timespec t = {.tv_sec = (time_t)(us / 1000000),
                               .tv_nsec = (long)(us % 1000000 * 1000)};
    (void)nanosleep(&t, NULL);
}

static struct oct_engine_stats stats_of(oct_engine *e)
{
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(e, &s);
    return s;
}

static void must_submit(oct_engine *e, struct story *s)
{
    cr_assert_eq(story_submit(e, s), OCT_OK, "%s", oct_last_error());
}

/* ---- the same tokens, whatever happens ---- */

Test(api, every_token_is_right_with_few_pages_windows_chunks_and_shared_prompts, .timeout = 300)
{
    static const struct {
        struct fake_options o;
        bool preempts;
    } row[] = {
        {{.n_pages = 64}, false},
        {{.n_pages = 9, .max_num_seqs = 8}, true},
        {{.n_pages = 9, .no_prefix_cache = true}, true},
        {{.n_pages = 64, .max_num_batched_tokens = 8, .max_num_seqs = 8}, false},
        {{.n_pages = 12, .max_num_batched_tokens = 500, .max_num_seqs = 40}, true},
        {{.n_pages = 64, .n_groups = 2, .windows = {0, 100}}, false},
        {{.n_pages = 15, .n_groups = 3, .windows = {0, 33, 64}}, true},
        {{.n_pages = 10, .n_groups = 2, .windows = {70, 70}}, true},
        {{.n_pages = 64, .max_num_seqs = 1}, false},
    };
    enum { N = 120 };
    static struct story s[N];
    for (size_t k = 0; k < 2 * sizeof row / sizeof *row; k++) {
        struct fake_options o = row[k / 2].o;
        struct fake f;
        o.manual = k % 2 != 0;
        fake_open(&o, &f);
        for (int i = 0; i < N; i++) {
            const int32_t n = 1 + i * 37 % 300, out = 1 + i * 53 % 200;
            story_prompt(&s[i], (uint64_t)i, n, i % 3 ? 200 : 0, out);
            s[i].wants_prompt = i % 4 == 0;
            s[i].n_prompt_top = i % 3;
            must_submit(f.e, &s[i]);
        }
        cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK, "%s", oct_last_error());
        const struct oct_engine_stats t = stats_of(f.e);
        fake_close(&f);
        for (int i = 0; i < N; i++) {
            const char *wrong = story_check(&s[i], &o);
            cr_assert_null(wrong, "row %zu request %d: %s", k, i, wrong);
        }
        cr_assert_eq(t.n_length, N);
        cr_assert_eq(t.n_pages_used, 0);
        cr_assert_eq(t.n_preemptions > 0, row[k / 2].preempts, "row %zu: %d preemptions", k,
                     (int)t.n_preemptions);
        cr_assert_eq(t.n_prefix_hit_tokens > 0, !o.no_prefix_cache, "row %zu", k);
    }
}

Test(api, an_answer_may_grow_far_beyond_its_first_buffer, .timeout = 120)
{
    const struct fake_options o = {
        .max_model_len = 20000, .n_pages = 400, .quick = true, .manual = true};
    enum { N = 18000 };
    struct fake f;
    static struct story s;
    static int32_t want[N];
    fake_open(&o, &f);
    story_prompt(&s, 5, 40, 0, N);
    must_submit(f.e, &s);
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    fake_close(&f);
    fake_answer(&o, s.prompt, s.n_prompt, want, N);
    cr_assert_eq(s.n_tokens, N);
    cr_assert_eq(s.finish, OCT_FINISH_LENGTH);
    cr_assert_eq(memcmp(s.tokens, want, sizeof s.tokens), 0); /* the first 512 */
    cr_assert_not(s.is_wrong);
}

/* ---- threads ---- */

struct submitter {
    pthread_t thread;
    oct_engine *e;
    struct fake_options o;
    int number;
    int n_wrong, n_refused;
};

static void *submit_and_wait(void *arg)
{
    struct submitter *w = arg;
    struct story *s = oct_calloc(1, sizeof *s);
    for (int i = 0; i < 150; i++) {
        story_prompt(s, (uint64_t)(w->number * 1000 + i), 1 + i % 90, i % 2 ? 64 : 0, 1 + i % 17);
        if (story_submit(w->e, s) != OCT_OK || oct_engine_wait(w->e, s->id, -1) != OCT_OK) {
            w->n_refused++;
        } else if (story_check(s, &w->o)) {
            w->n_wrong++;
        }
    }
    oct_free(s);
    return NULL;
}

Test(api, many_threads_submit_and_wait_on_two_engines, .timeout = 300)
{
    enum { N = 12 };
    const struct fake_options o = {.n_pages = 40, .max_num_seqs = 6};
    struct fake f[2];
    struct submitter w[N] = {{0}};
    fake_open(&o, &f[0]);
    fake_open(&o, &f[1]);
    for (int i = 0; i < N; i++) {
        w[i] = (struct submitter){.e = f[i % 2].e, .o = o, .number = i};
        cr_assert_eq(pthread_create(&w[i].thread, NULL, submit_and_wait, &w[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        cr_assert_eq(pthread_join(w[i].thread, NULL), 0);
        cr_assert_eq(w[i].n_wrong + w[i].n_refused, 0, "thread %d: %d wrong, %d refused", i,
                     w[i].n_wrong, w[i].n_refused);
    }
    for (int i = 0; i < 2; i++) {
        const struct oct_engine_stats s = stats_of(f[i].e);
        cr_assert_eq(s.n_submitted, 150u * N / 2);
        cr_assert_eq(s.n_length, 150u * N / 2);
        cr_assert(s.last_step_age_us >= 0 && s.last_step_age_us < 60 * 1000000, "age %lld",
                  (long long)s.last_step_age_us);
        fake_close(&f[i]);
    }
}

struct waiter {
    pthread_t thread;
    oct_engine *e;
    uint64_t id; /* 0: drains */
    oct_status st;
};

static void *wait_or_drain(void *arg)
{
    struct waiter *w = arg;
    w->st = w->id ? oct_engine_wait(w->e, w->id, -1) : oct_engine_drain(w->e, -1);
    return NULL;
}

Test(api, close_ends_what_runs_and_whoever_waits_comes_back, .timeout = 60)
{
    enum { N = 20 };
    const struct fake_options o = {.delay_us = 20000, .max_num_seqs = 4};
    struct fake f;
    static struct story s[N];
    struct waiter w[N + 1];
    fake_open(&o, &f);
    for (int i = 0; i < N; i++) {
        story_prompt(&s[i], (uint64_t)i, 10, 0, 300);
        must_submit(f.e, &s[i]);
    }
    for (int i = 0; i <= N; i++) {
        w[i] = (struct waiter){.e = f.e, .id = i < N ? s[i].id : 0};
        cr_assert_eq(pthread_create(&w[i].thread, NULL, wait_or_drain, &w[i]), 0);
    }
    sleep_us(200000);
    fake_close(&f);
    for (int i = 0; i <= N; i++) {
        cr_assert_eq(pthread_join(w[i].thread, NULL), 0);
        cr_assert_eq(w[i].st, OCT_OK);
    }
    for (int i = 0; i < N; i++) {
        cr_assert_eq(s[i].finish, OCT_FINISH_CANCELLED);
        cr_assert_eq(s[i].status, OCT_E_CANCELLED);
        cr_assert_null(story_check_prefix(&s[i], &o), "request %d", i);
    }
    cr_assert_gt(s[0].n_tokens, 0);
}

Test(api, waiting_takes_no_longer_than_asked, .timeout = 60)
{
    const struct fake_options o = {.delay_us = 10000};
    struct fake f;
    static struct story s;
    fake_open(&o, &f);
    cr_assert_eq(oct_engine_drain(f.e, 0), OCT_OK);
    cr_assert_eq(oct_engine_wait(f.e, 1, 0), OCT_E_NOTFOUND);
    story_prompt(&s, 1, 10, 0, 400);
    must_submit(f.e, &s);
    cr_assert_eq(oct_engine_wait(f.e, s.id, 0), OCT_E_DEADLINE);
    cr_assert_eq(oct_engine_drain(f.e, 0), OCT_E_DEADLINE);
    const int64_t begin_us = oct_clock_us();
    cr_assert_eq(oct_engine_wait(f.e, s.id, 50000), OCT_E_DEADLINE);
    cr_assert_eq(oct_engine_drain(f.e, 50000), OCT_E_DEADLINE);
    const int64_t took_us = oct_clock_us() - begin_us;
    cr_assert(took_us >= 100000 && took_us < 3000000, "%lld us", (long long)took_us);
    cr_assert_eq(oct_engine_wait(f.e, 0, -1), OCT_E_NOTFOUND);
    cr_assert_eq(oct_engine_wait(f.e, s.id + 1, -1), OCT_E_NOTFOUND);
    cr_assert_eq(oct_engine_wait(f.e, s.id, -2), OCT_E_ARG);
    cr_assert_eq(oct_engine_cancel(f.e, s.id), OCT_OK);
    cr_assert_eq(oct_engine_wait(f.e, s.id, -1), OCT_OK);
    cr_assert_eq(oct_engine_cancel(f.e, s.id), OCT_E_NOTFOUND);
    cr_assert_eq(s.finish, OCT_FINISH_CANCELLED);
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_E_ARG);
    fake_close(&f);
}

/* ---- within callbacks ---- */

struct chain { /* each request, when it ends, submits the next; and is cancelled now and then */
    struct story s[40];
    oct_engine *e;
    int n;
    int n_refused;
    oct_status wait_st, drain_st;
};

static struct chain chain;

static void next_link(void *user, const struct oct_event *ev)
{
    struct story *s = user;
    story_event(s, ev);
    const long i = s - chain.s;
    if (i % 5 == 4 && s->n_tokens == 3 && ev->finish == OCT_FINISH_NONE) {
        chain.n_refused += oct_engine_cancel(chain.e, ev->request) != OCT_OK;
        chain.n_refused += oct_engine_cancel(chain.e, ev->request) != OCT_OK;
    }
    chain.wait_st = oct_engine_wait(chain.e, ev->request, -1);
    chain.drain_st = oct_engine_drain(chain.e, -1);
    if (ev->finish != OCT_FINISH_NONE && chain.n < 40) {
        struct oct_sampling sampling;
        struct story *next = &chain.s[chain.n];
        story_prompt(next, (uint64_t)chain.n, 5 + chain.n, 0, 10);
        struct oct_request q = story_request(next, &sampling);
        q.on_event = next_link;
        chain.n++;
        chain.n_refused += oct_engine_submit(chain.e, &q, &next->id) != OCT_OK;
    }
}

Test(api, callbacks_may_submit_and_cancel_but_not_wait, .timeout = 60)
{
    for (int manual = 0; manual < 2; manual++) {
        const struct fake_options o = {.manual = manual};
        struct fake f;
        fake_open(&o, &f);
        memset(&chain, 0, sizeof chain);
        chain.e = f.e;
        chain.n = 1;
        struct oct_sampling sampling;
        story_prompt(&chain.s[0], 0, 5, 0, 10);
        struct oct_request q = story_request(&chain.s[0], &sampling);
        q.on_event = next_link;
        cr_assert_eq(oct_engine_submit(f.e, &q, &chain.s[0].id), OCT_OK);
        cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
        fake_close(&f);
        cr_assert_eq(chain.n, 40);
        cr_assert_eq(chain.n_refused, 0);
        cr_assert_eq(chain.wait_st, OCT_E_ARG);
        cr_assert_eq(chain.drain_st, OCT_E_ARG);
        for (int i = 0; i < 40; i++) {
            const char *wrong =
                i % 5 == 4 ? story_check_prefix(&chain.s[i], &o) : story_check(&chain.s[i], &o);
            cr_assert_null(wrong, "request %d: %s", i, wrong);
            cr_assert_eq(chain.s[i].finish == OCT_FINISH_CANCELLED, i % 5 == 4);
            cr_assert(i % 5 != 4 || chain.s[i].n_tokens <= 4, "%d tokens after the cancel",
                      chain.s[i].n_tokens);
        }
    }
}

struct batches {
    oct_engine *e;
    int n_calls, n_events, n_wrong;
    uint64_t n_ends, n_uncounted;
    size_t largest;
};

static void on_batch(void *user, const struct oct_event *const *events, size_t n)
{
    struct batches *b = user;
    b->n_calls++;
    b->n_events += (int)n;
    b->largest = n > b->largest ? n : b->largest;
    for (size_t i = 0; i < n; i++) {
        story_event(events[i]->user, events[i]);
        for (size_t k = 0; k < i; k++) {
            b->n_wrong += events[k]->request == events[i]->request;
        }
        b->n_ends += events[i]->finish != OCT_FINISH_NONE;
    }
    const struct oct_engine_stats s = stats_of(b->e);
    b->n_uncounted += s.n_length < b->n_ends || s.n_output_tokens < 20 * b->n_ends;
}

Test(api, on_events_is_called_once_a_step, .timeout = 60)
{
    enum { N = 30 };
    static struct story s[N];
    struct batches b = {0};
    const struct fake_options o = {.manual = true, .on_events = on_batch, .events_user = &b};
    struct fake f;
    fake_open(&o, &f);
    b.e = f.e;
    for (int i = 0; i < N; i++) {
        struct oct_sampling sampling;
        story_prompt(&s[i], (uint64_t)i, 4, 0, 20);
        struct oct_request q = story_request(&s[i], &sampling);
        q.on_event = i == 7 ? story_event : NULL; /* one has its own */
        cr_assert_eq(oct_engine_submit(f.e, &q, &s[i].id), OCT_OK);
    }
    int n_steps = 0;
    for (size_t active = 1; active; n_steps++) {
        const int before = b.n_calls;
        cr_assert_eq(oct_engine_step(f.e, &active), OCT_OK);
        cr_assert_leq(b.n_calls - before, 1);
    }
    fake_close(&f);
    for (int i = 0; i < N; i++) {
        cr_assert_null(story_check(&s[i], &o), "request %d", i);
    }
    cr_assert_eq(b.n_events, 29 * 20);
    cr_assert_eq(b.n_wrong, 0);
    cr_assert_eq(b.largest, 8u);
    cr_assert_eq(b.n_ends, 29u);
    cr_assert_eq(b.n_uncounted, 0u, "who is told of his end is not in the stats yet");
}

/* ---- the queue ---- */

Test(api, a_full_queue_refuses_until_there_is_room, .timeout = 60)
{
    enum { ROOM = 10 };
    const struct fake_options o = {.manual = true, .max_waiting = ROOM, .max_num_seqs = 2};
    struct fake f;
    static struct story s[100];
    int n = 0;
    fake_open(&o, &f);
    for (int i = 0; i < ROOM; i++, n++) {
        story_prompt(&s[n], (uint64_t)n, 5, 0, 5);
        must_submit(f.e, &s[n]);
    }
    story_prompt(&s[n], (uint64_t)n, 5, 0, 5);
    cr_assert_eq(story_submit(f.e, &s[n]), OCT_E_BUSY);
    cr_assert_not_null(strstr(oct_last_error(), "10 requests wait"), "%s", oct_last_error());
    cr_assert_eq(stats_of(f.e).n_waiting, ROOM);
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK); /* two leave the queue */
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK);
    must_submit(f.e, &s[n++]);
    story_prompt(&s[n], (uint64_t)n, 5, 0, 5);
    must_submit(f.e, &s[n++]);
    story_prompt(&s[n], (uint64_t)n, 5, 0, 5);
    cr_assert_eq(story_submit(f.e, &s[n]), OCT_E_BUSY);
    for (int i = 2; i < 5; i++) { /* a cancelled one leaves it too */
        cr_assert_eq(oct_engine_cancel(f.e, s[i].id), OCT_OK);
    }
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK);
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK);
    must_submit(f.e, &s[n++]);
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    const struct oct_engine_stats t = stats_of(f.e);
    cr_assert_eq(t.n_submitted, (uint64_t)n);
    cr_assert_eq(t.n_cancelled, 3u);
    cr_assert_eq(t.n_length, (uint64_t)n - 3);
    cr_assert_eq(t.n_waiting + t.n_running, 0);
    fake_close(&f);
}

Test(api, priority_and_order_of_arrival_decide_who_is_first, .timeout = 60)
{
    static const int32_t priority[] = {0, 0, 8, -8, 3, -1};
    static const int order[] = {3, 5, 0, 1, 4, 2};
    const struct fake_options o = {.manual = true, .max_num_seqs = 1};
    struct fake f;
    static struct story s[6];
    fake_open(&o, &f);
    for (int i = 0; i < 6; i++) {
        struct oct_sampling sampling;
        story_prompt(&s[i], (uint64_t)i, 5, 0, 4);
        struct oct_request q = story_request(&s[i], &sampling);
        q.priority = priority[i];
        cr_assert_eq(oct_engine_submit(f.e, &q, &s[i].id), OCT_OK);
    }
    for (int k = 0; k < 6; k++) {
        cr_assert_eq(oct_engine_wait(f.e, s[order[k]].id, -1), OCT_OK);
        for (int l = k + 1; l < 6; l++) {
            cr_assert_eq(s[order[l]].n_ends, 0, "request %d came before %d", order[l], order[k]);
        }
    }
    fake_close(&f);
}

/* ---- deadlines ---- */

Test(api, a_deadline_ends_a_request_that_runs_and_one_that_waits, .timeout = 60)
{
    const struct fake_options o = {.delay_us = 20000, .max_num_seqs = 1};
    struct fake f;
    static struct story s[3];
    fake_open(&o, &f);
    for (int i = 0; i < 3; i++) {
        struct oct_sampling sampling;
        story_prompt(&s[i], (uint64_t)i, 5, 0, i < 2 ? 400 : 3);
        struct oct_request q = story_request(&s[i], &sampling);
        q.timeout_us = i < 2 ? 300000 : 0;
        cr_assert_eq(oct_engine_submit(f.e, &q, &s[i].id), OCT_OK);
    }
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    const struct oct_engine_stats t = stats_of(f.e);
    fake_close(&f);
    cr_assert_eq(t.n_expired, 2u);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(s[i].finish, OCT_FINISH_ERROR);
        cr_assert_eq(s[i].status, OCT_E_DEADLINE);
        cr_assert_not_null(strstr(s[i].error, "300000"), "%s", s[i].error);
        cr_assert_null(story_check_prefix(&s[i], &o));
    }
    cr_assert_gt(s[0].n_tokens, 0);
    cr_assert_eq(s[1].n_tokens, 0);
    cr_assert_null(story_check(&s[2], &o));
}

/* ---- prefix cache ---- */

Test(api, a_prompt_that_was_seen_is_not_computed_again_but_for_another_tenant, .timeout = 60)
{
    static const struct {
        const char *salt;
        int32_t cached;
    } row[] = {{NULL, 0}, {NULL, 256}, {"a", 0}, {"b", 0}, {"a", 256}, {NULL, 256}};
    const struct fake_options o = {.manual = true};
    struct fake f;
    static struct story s;
    fake_open(&o, &f);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_sampling sampling;
        story_prompt(&s, 3, 300, 0, 8);
        struct oct_request q = story_request(&s, &sampling);
        q.cache_salt = row[i].salt;
        q.cache_salt_len = row[i].salt ? strlen(row[i].salt) : 0;
        cr_assert_eq(oct_engine_submit(f.e, &q, &s.id), OCT_OK);
        cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
        cr_assert_null(story_check(&s, &o));
        cr_assert_eq(s.n_cached_tokens, row[i].cached, "request %zu: %d tokens cached", i,
                     s.n_cached_tokens);
    }
    const struct oct_engine_stats t = stats_of(f.e);
    cr_assert_eq(t.n_prefix_hit_tokens, 3u * 256);
    cr_assert_eq(t.n_prefix_query_tokens, 6u * 300);
    cr_assert_eq(t.n_prompt_tokens, 6u * 300);
    cr_assert_eq(t.n_output_tokens, 6u * 8);
    fake_close(&f);
}
