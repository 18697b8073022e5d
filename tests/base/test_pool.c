/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include "base/fault.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void count(void *arg, int64_t begin, int64_t end, int thread)
{
    int64_t *done = arg;
    done[thread] += end - begin;
}

Test(pool, every_item_is_done_once_on_at_most_the_threads_asked_for)
{
    struct oct_pool *p = NULL;
    cr_assert_eq(oct_pool_create(4, "test", &p), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_pool_threads(p), 4);
    for (int most = 1; most <= 5; most++) {
        for (int64_t n = 0; n < 70; n++) {
            for (int64_t piece = 1; piece < 80; piece += 13) {
                int64_t done[4] = {0};
                oct_pool_run(p, most, n, piece, count, done);
                cr_assert_eq(done[0] + done[1] + done[2] + done[3], n, "n %d piece %d", (int)n,
                             (int)piece);
                for (int t = most; t < 4; t++) {
                    cr_assert_eq(done[t], 0, "thread %d of %d worked", t, most);
                }
            }
        }
    }
    oct_pool_destroy(p);
}

Test(pool, without_a_pool_the_caller_does_it_alone)
{
    int64_t done = 0;
    oct_pool_run(NULL, 8, 1000, 1, count, &done);
    cr_assert_eq(done, 1000);
    oct_pool_destroy(NULL);
}

/* A worker that sleeps long in its first piece: the others' pieces are done meanwhile. */
static void slow_worker(void *arg, int64_t begin, int64_t end, int thread)
{
    int64_t *done = arg;
    if (thread > 0 && done[thread] == 0) {
        const struct timespec t = {0, 30000000};
        (void)nanosleep(&t, NULL);
    }
    done[thread] += end - begin;
}

Test(pool, a_late_thread_gets_less)
{
    struct oct_pool *p = NULL;
    cr_assert_eq(oct_pool_create(2, "test", &p), OCT_OK, "%s", oct_last_error());
    int64_t done[2] = {0};
    oct_pool_run(p, 2, 100, 1, slow_worker, done);
    cr_assert_eq(done[0] + done[1], 100);
    cr_assert_leq(done[1], 1, "the slow one did %d", (int)done[1]);
    oct_pool_destroy(p);
}

Test(pool, workers_have_names_and_a_loop_allocates_nothing)
{
    struct oct_pool *p = NULL;
    cr_assert_eq(oct_pool_create(3, "test", &p), OCT_OK, "%s", oct_last_error());
    int n_found = 0;
    DIR *d = opendir("/proc/self/task");
    cr_assert_not_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[300], name[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        if (f) {
            n_found += fgets(name, sizeof name, f) && strncmp(name, "test-", 5) == 0;
            (void)fclose(f);
        }
    }
    (void)closedir(d);
    cr_assert_eq(n_found, 2, "%d workers", n_found);
    const uint64_t before = oct_mem_stats().n_allocs;
    int64_t done[3] = {0};
    for (int i = 0; i < 1000; i++) {
        oct_pool_run(p, 3, 30, 1, count, done);
    }
    cr_assert_eq(oct_mem_stats().n_allocs, before);
    oct_pool_destroy(p);
}

#if OCT_FAULTS
Test(pool, without_memory_there_is_none)
{
    for (uint64_t k = 1; k <= 2; k++) {
        struct oct_pool *p = NULL;
        const struct oct_mem_stats before = oct_mem_stats();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        cr_assert_eq(oct_pool_create(2, "test", &p), OCT_E_MEM, "k=%d", (int)k);
        oct_fault_reset();
        cr_assert_null(p);
        const struct oct_mem_stats after = oct_mem_stats();
        cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    }
}
#endif
