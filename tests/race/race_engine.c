/* SPDX-License-Identifier: Apache-2.0
 *
 * Eight threads submit, cancel, wait, ask for stats and tokenize, on one engine behind the fake
 * runner; then the engine is closed while requests run and threads wait. For ThreadSanitizer; every
 * token is checked as well. */
#include "support/story.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 8, ROUNDS = 3, REQUESTS = 60, AT_ONCE = 4 };

struct worker {
    pthread_t thread;
    oct_engine *e;
    const struct fake_options *o;
    int number;
    const char *wrong;
};

static void fail(struct worker *w, const char *what)
{
    w->wrong = w->wrong ? w->wrong : what;
}

/* Several requests at once; every third is cancelled, some have a deadline that passes. */
static void requests(struct worker *w, struct story *s, int round)
{
    for (int i = 0; i < AT_ONCE; i++) {
        const int k = w->number * 1000 + round * AT_ONCE + i;
        struct oct_sampling sampling;
        story_prompt(&s[i], (uint64_t)k, 1 + k % 150, k % 2 ? 70 : 0, 1 + k % 60);
        struct oct_request q = story_request(&s[i], &sampling);
        q.priority = k % 17 - 8;
        q.timeout_us = k % 11 == 0 ? 300 : 0;
        const oct_status st = oct_engine_submit(w->e, &q, &s[i].id);
        if (st != OCT_OK) {
            fail(w, "a request was refused");
            return;
        }
    }
    for (int i = 0; i < AT_ONCE; i++) {
        if (s[i].id % 3 == 0) {
            const oct_status st = oct_engine_cancel(w->e, s[i].id);
            if (st != OCT_OK && st != OCT_E_NOTFOUND) {
                fail(w, "cancel failed");
            }
        }
    }
    struct oct_engine_stats stats = {.size = sizeof stats};
    oct_engine_get_stats(w->e, &stats);
    int32_t *ids;
    size_t n;
    if (oct_engine_tokenize(w->e, "some text", 9, 0, &ids, &n) != OCT_OK) {
        fail(w, "tokenize failed");
    } else {
        oct_buffer_free(ids);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        if (i == 2) {
            (void)!oct_engine_wait(w->e, s[i].id, 50);
        }
        if (oct_engine_wait(w->e, s[i].id, -1) != OCT_OK) {
            fail(w, "wait failed");
        }
        const char *wrong = story_check_prefix(&s[i], w->o);
        if (wrong) {
            fail(w, wrong);
        }
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct story *s = oct_calloc(AT_ONCE, sizeof *s);
    for (int i = 0; s && i < REQUESTS; i++) {
        requests(w, s, i);
    }
    oct_free(s);
    return NULL;
}

static void *wait_for_close(void *arg)
{
    struct worker *w = arg;
    const oct_status st = w->number % 2 ? oct_engine_drain(w->e, -1)
                                        : oct_engine_wait(w->e, (uint64_t)w->number + 1, -1);
    if (st != OCT_OK) {
        fail(w, "a wait that close ended failed");
    }
    return NULL;
}

static void start(struct worker *w, void *(*fn)(void *))
{
    if (pthread_create(&w->thread, NULL, fn, w) != 0) {
        (void)fprintf(stderr, "cannot start a thread\n");
        exit(1);
    }
}

static int join_all(struct worker *w)
{
    int failed = 0;
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(w[i].thread, NULL);
        if (w[i].wrong) {
            (void)fprintf(stderr, "thread %d: %s\n", i, w[i].wrong);
            failed = 1;
        }
    }
    return failed;
}

static int run(int round)
{
    const struct fake_options o = {
        .n_pages = 24, .max_num_seqs = 6, .n_groups = 2, .windows = {0, 80}};
    struct fake f;
    struct worker w[THREADS];
    fake_open(&o, &f);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.e = f.e, .o = &o, .number = i + round * THREADS};
        start(&w[i], work);
    }
    int failed = join_all(w);
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(f.e, &s);
    const uint64_t ended = s.n_stopped + s.n_length + s.n_cancelled + s.n_expired + s.n_failed;
    (void)printf("%llu requests: %llu whole, %llu cancelled, %llu expired; %llu preemptions\n",
                 (unsigned long long)s.n_submitted, (unsigned long long)s.n_length,
                 (unsigned long long)s.n_cancelled, (unsigned long long)s.n_expired,
                 (unsigned long long)s.n_preemptions);
    if (ended != s.n_submitted || ended != THREADS * REQUESTS * AT_ONCE) {
        (void)fprintf(stderr, "%llu requests ended\n", (unsigned long long)ended);
        failed = 1;
    }
    fake_close(&f);
    return failed;
}

static int close_while_running(void)
{
    const struct fake_options o = {.delay_us = 2000};
    struct fake f;
    struct worker w[THREADS];
    struct story *s = oct_calloc(THREADS, sizeof *s);
    int failed = s == NULL;
    fake_open(&o, &f);
    for (int i = 0; s && i < THREADS; i++) {
        story_prompt(&s[i], (uint64_t)i, 20, 0, 400);
        failed |= story_submit(f.e, &s[i]) != OCT_OK;
    }
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.e = f.e, .o = &o, .number = i};
        start(&w[i], wait_for_close);
    }
    const struct timespec t = {.tv_nsec = 50000000};
    (void)nanosleep(&t, NULL);
    fake_close(&f);
    failed |= join_all(w);
    for (int i = 0; s && i < THREADS; i++) {
        failed |= s[i].finish != OCT_FINISH_CANCELLED || story_check_prefix(&s[i], &o) != NULL;
    }
    oct_free(s);
    return failed;
}

int main(void)
{
    int failed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        failed |= run(i);
        failed |= close_while_running();
    }
    return failed;
}
