/* SPDX-License-Identifier: Apache-2.0
 *
 * race_pool.c - the thread pool (base/pool.h) under ThreadSanitizer: loops close upon another,
 * loops after a pause that put the workers to sleep, workers that a loop does not want, several
 * pools at once, a pool that changes hands, pools that end at once. Every loop's work is plain
 * memory, so a missing edge between caller and workers is a race. */
#include "base/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_ITEMS = 3000, MAX_THREADS = 9 };

struct loop {
    int64_t in[MAX_ITEMS], out[MAX_ITEMS]; /* written by the caller; by whoever takes the item */
    int64_t per_thread[MAX_THREADS];
    int64_t most_piece;
    int threads;
};

static void fail(const char *what, int64_t got, int64_t want)
{
    (void)fprintf(stderr, "race_pool: %s: %lld, not %lld\n", what, (long long)got, (long long)want);
    exit(1);
}

static void body(void *arg, int64_t begin, int64_t end, int thread)
{
    struct loop *l = arg;
    if (thread < 0 || thread >= l->threads) {
        fail("thread", thread, l->threads);
    }
    if (end - begin > l->most_piece) {
        fail("items of a piece", end - begin, l->most_piece);
    }
    for (int64_t i = begin; i < end; i++) {
        l->out[i] = 3 * l->in[i] + 1;
    }
    l->per_thread[thread] += end - begin; /* nobody else's: no atomics */
}

static void one(struct oct_pool *p, struct loop *l, int most, int64_t n, int64_t piece,
                int64_t salt)
{
    const int all = oct_pool_threads(p);
    l->threads = most < all ? most : all;
    l->most_piece = l->threads > 1 ? piece : n;
    for (int64_t i = 0; i < n; i++) {
        l->in[i] = i ^ salt;
        l->out[i] = -1;
    }
    for (int t = 0; t < MAX_THREADS; t++) {
        l->per_thread[t] = 0;
    }
    oct_pool_run(p, most, n, piece, body, l);
    int64_t done = 0;
    for (int t = 0; t < MAX_THREADS; t++) {
        done += l->per_thread[t];
    }
    if (done != n) {
        fail("items done", done, n);
    }
    for (int64_t i = 0; i < n; i++) {
        if (l->out[i] != 3 * (i ^ salt) + 1) {
            fail("result", l->out[i], 3 * (i ^ salt) + 1);
        }
    }
}

static void pause_us(long us)
{
    const struct timespec t = {0, us * 1000};
    (void)nanosleep(&t, NULL);
}

static struct oct_pool *open_pool(int n_threads)
{
    struct oct_pool *p = NULL;
    if (oct_pool_create(n_threads, "race", &p) != OCT_OK) {
        (void)fprintf(stderr, "race_pool: %s\n", oct_last_error());
        exit(1);
    }
    return p;
}

static void *user(void *arg)
{
    const int n_threads = *(const int *)arg;
    struct oct_pool *p = open_pool(n_threads);
    struct loop *l = calloc(1, sizeof *l);
    uint64_t x = 88172645463325252u + (uint64_t)n_threads; /* xorshift64 */
    for (int round = 0; l && round < 3000; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        const int64_t n = round % 7 ? (int64_t)(x % 40) : (int64_t)(x % MAX_ITEMS);
        one(p, l, 1 + (int)((x >> 40) % MAX_THREADS), n, 1 + (int64_t)((x >> 33) % 20), round);
        if (round % 100 == 0) {
            pause_us((long)((x >> 50) % 400)); /* some of these are longer than the workers wait */
        }
    }
    free(l);
    oct_pool_destroy(p);
    return NULL;
}

/* The same pool, run from one thread after another. */
static struct oct_pool *shared;
static struct loop shared_loop;

static void *guest(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        one(shared, &shared_loop, 4, 100, 1, i);
    }
    return NULL;
}

int main(void)
{
    static int sizes[] = {1, 2, 3, 8};
    enum { N = sizeof sizes / sizeof *sizes };
    pthread_t t[N];
    for (int i = 0; i < N; i++) {
        if (pthread_create(&t[i], NULL, user, &sizes[i]) != 0) {
            fail("threads started", i, N);
        }
    }
    for (int i = 0; i < N; i++) {
        (void)pthread_join(t[i], NULL);
    }

    shared = open_pool(4);
    for (int i = 0; i < 10; i++) {
        pthread_t g;
        if (pthread_create(&g, NULL, guest, NULL) != 0) {
            fail("guests started", i, 10);
        }
        (void)pthread_join(g, NULL);
    }
    oct_pool_destroy(shared);

    for (int i = 0; i < 200; i++) { /* asleep, not yet asleep, not yet begun */
        struct oct_pool *p = open_pool(1 + i % 5);
        if (i % 3 == 0) {
            one(p, &shared_loop, 5, 30, 1, i);
        }
        if (i % 7 == 0) {
            pause_us(200);
        }
        oct_pool_destroy(p);
    }
    return 0;
}
