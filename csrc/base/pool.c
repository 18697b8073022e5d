/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.c - one word, `state`, says which loop is on and who is in it:
 *
 *     bit 0 open | bits 1..11 workers inside | bits 12..31 number of the loop
 *
 * The caller writes the loop, then the word with the next number, open, nobody inside. A worker
 * enters by adding itself to an open word (compare and swap: the number must be the one it saw) and
 * leaves by taking itself off. When nothing is left to claim, the caller closes the word, waits
 * until nobody is inside, and may write the next loop. A worker that comes late finds the word
 * closed and was never waited for.
 *
 * Both sides wait by looking at the word for a while and then sleep: a loop follows the last one
 * within microseconds in a step, and on a busy machine the one we wait for may need our core. */
#include "base/pool.h"

#include "base/mem.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_THREADS = 1024,     /* fits the bits of the word */
    WORKER_SPIN_NS = 50000, /* for the next loop: what lies between two of a step */
    CALLER_SPIN_NS = 20000, /* for the last piece: longer, and its worker has lost its core */
    LOOKS = 32,             /* between two readings of the clock */
    STACK_BYTES = 1 << 20,
    NAME_BYTES = 24, /* the kernel keeps 15: 9, a dash and 4 digits */
};

enum { OPEN = 1u, INSIDE_ONE = 2u, INSIDE_MASK = 0xffeu, NUMBER_ONE = 0x1000u };
#define NUMBER_OF(word) ((word) & ~(uint32_t)0xfffu)

struct worker {
    alignas(64) atomic_uint asleep; /* 1: it sleeps on this word, or is about to */
    struct oct_pool *pool;
    pthread_t thread;
    int index;
    char name[NAME_BYTES];
};

struct oct_pool {
    alignas(64) atomic_uint state;
    atomic_bool stop;
    atomic_int most;               /* threads of this loop; a worker of a higher index stays out */
    alignas(64) atomic_llong next; /* first item that nobody has claimed */
    alignas(64) atomic_uint caller_asleep;
    /* The loop: written by the caller while nobody is inside. */
    oct_pool_fn *fn;
    void *arg;
    int64_t n, piece;
    int n_threads;
    struct worker *workers; /* [n_threads]; 0 is the caller and has no thread */
};

/* ---- waiting ---- */

static void sleep_on(atomic_uint *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(atomic_uint *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct spin {
    int64_t ns, until;
    int looks;
};

/* One look in a wait. False: it has lasted long enough. */
static bool spin_on(struct spin *s)
{
    relax();
    if (++s->looks % LOOKS != 0) {
        return true;
    }
    const int64_t now = now_ns();
    s->until = s->until ? s->until : now + s->ns;
    return now < s->until;
}

/* ---- the loop ---- */

static void claim(struct oct_pool *p, int thread)
{
    for (;;) {
        const int64_t begin = atomic_fetch_add_explicit(&p->next, p->piece, memory_order_relaxed);
        if (begin >= p->n) {
            return;
        }
        p->fn(p->arg, begin, p->n - begin < p->piece ? p->n : begin + p->piece, thread);
    }
}

/* Adds this worker to the loop whose word is `seen`. False: it is closed or another by now. */
static bool enter(struct oct_pool *p, uint32_t seen)
{
    uint32_t word = seen;
    while (word & OPEN && NUMBER_OF(word) == NUMBER_OF(seen)) {
        if (atomic_compare_exchange_weak(&p->state, &word, word + INSIDE_ONE)) {
            return true;
        }
    }
    return false;
}

static void leave(struct oct_pool *p)
{
    const uint32_t before = atomic_fetch_sub(&p->state, INSIDE_ONE);
    if ((before & (INSIDE_MASK | OPEN)) == INSIDE_ONE && atomic_exchange(&p->caller_asleep, 0)) {
        wake(&p->caller_asleep);
    }
}

/* Waits for a loop other than the one of word `last`; its word, or `last` when the pool ends. */
static uint32_t await_loop(struct worker *w, uint32_t last)
{
    struct oct_pool *p = w->pool;
    struct spin spin = {.ns = WORKER_SPIN_NS};
    for (;;) {
        const uint32_t word = atomic_load(&p->state);
        if (NUMBER_OF(word) != NUMBER_OF(last) || atomic_load(&p->stop)) {
            return word;
        }
        if (spin_on(&spin)) {
            continue;
        }
        /* Say so, look once more, sleep. The caller writes the word first and looks at `asleep`
         * then, so one of the two sees the other (both are sequentially consistent). */
        atomic_store(&w->asleep, 1);
        if (NUMBER_OF(atomic_load(&p->state)) == NUMBER_OF(last) && !atomic_load(&p->stop)) {
            sleep_on(&w->asleep, 1);
        }
        atomic_store(&w->asleep, 0);
        spin = (struct spin){.ns = WORKER_SPIN_NS};
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct oct_pool *p = w->pool;
    uint32_t last = 0; /* no loop has number 0 before the first */
    while (!atomic_load(&p->stop)) {
        last = await_loop(w, last);
        if (w->index < atomic_load_explicit(&p->most, memory_order_relaxed) && enter(p, last)) {
            claim(p, w->index);
            leave(p);
        }
    }
    return NULL;
}

static void rouse(struct worker *w)
{
    if (atomic_load(&w->asleep) && atomic_exchange(&w->asleep, 0)) {
        wake(&w->asleep);
    }
}

static void wait_until_empty(struct oct_pool *p)
{
    struct spin spin = {.ns = CALLER_SPIN_NS};
    while (atomic_load_explicit(&p->state, memory_order_acquire) & INSIDE_MASK) {
        if (spin_on(&spin)) {
            continue;
        }
        atomic_store(&p->caller_asleep, 1);
        if (atomic_load(&p->state) & INSIDE_MASK) {
            sleep_on(&p->caller_asleep, 1);
        }
        atomic_store(&p->caller_asleep, 0);
        spin = (struct spin){.ns = CALLER_SPIN_NS};
    }
}

void oct_pool_run(struct oct_pool *p, int most, int64_t n, int64_t piece, oct_pool_fn *fn,
                  void *arg)
{
    OCT_ASSERT(piece >= 1);
    if (n <= 0) {
        return;
    }
    const int64_t n_pieces = (n - 1) / piece + 1;
    int threads = p && most < p->n_threads ? most : p ? p->n_threads : 1;
    threads = n_pieces < threads ? (int)n_pieces : threads;
    if (threads <= 1) {
        fn(arg, 0, n, 0);
        return;
    }
    const uint32_t last = atomic_load_explicit(&p->state, memory_order_relaxed);
    OCT_ASSERT(!(last & (OPEN | INSIDE_MASK))); /* nested, or two callers */
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    p->piece = piece;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->most, threads, memory_order_relaxed);
    atomic_store(&p->state, (NUMBER_OF(last) + NUMBER_ONE) | OPEN);
    for (int i = 1; i < threads; i++) {
        rouse(&p->workers[i]);
    }
    claim(p, 0);
    if (atomic_fetch_and(&p->state, ~(uint32_t)OPEN) & INSIDE_MASK) {
        wait_until_empty(p);
    }
}

/* ---- life ---- */

static oct_status start(struct worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0) {
        return oct_no_memory("a thread", STACK_BYTES);
    }
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)sigfillset(&all); /* a signal is for the program's own threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, &attr, work, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (failed) {
        return OCT_FAIL(OCT_E_MEM,
                        "thread %s cannot be started: the system allows no more; use fewer "
                        "threads",
                        w->name);
    }
    (void)pthread_setname_np(w->thread, w->name);
    return OCT_OK;
}

oct_status oct_pool_create(int n_threads, const char *name, struct oct_pool **out)
{
    OCT_ASSERT(n_threads >= 1 && n_threads <= MAX_THREADS);
    struct oct_pool *p = oct_aligned_alloc(alignof(struct oct_pool), sizeof *p);
    struct worker *workers =
        oct_aligned_alloc(alignof(struct worker), (size_t)n_threads * sizeof *workers);
    if (!p || !workers) {
        oct_free(workers);
        oct_free(p);
        return oct_no_memory("threads", (size_t)n_threads * sizeof *workers);
    }
    *p = (struct oct_pool){.n_threads = 1, .workers = workers};
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.pool = p, .index = i};
        (void)snprintf(w->name, sizeof w->name, "%.9s-%d", name, i);
        const oct_status st = start(w);
        if (st != OCT_OK) {
            oct_pool_destroy(p);
            return st;
        }
        p->n_threads++;
    }
    *out = p;
    return OCT_OK;
}

void oct_pool_destroy(struct oct_pool *p)
{
    if (!p) {
        return;
    }
    atomic_store(&p->stop, true);
    for (int i = 1; i < p->n_threads; i++) {
        rouse(&p->workers[i]);
    }
    for (int i = 1; i < p->n_threads; i++) {
        (void)pthread_join(p->workers[i].thread, NULL);
    }
    oct_free(p->workers);
    oct_free(p);
}

int oct_pool_threads(const struct oct_pool *p)
{
    return p->n_threads;
}
