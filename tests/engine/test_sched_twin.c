/* SPDX-License-Identifier: Apache-2.0
 *
 * Random operations on the scheduler, on its slow twin, and on a device that remembers what was
 * written: after each operation both say the same, every invariant holds, and each row has found in
 * its pages exactly its own text. OCT_SCHED_SEEDS and OCT_SCHED_SEED (the first) choose others. */
#include "engine/sched_int.h"
#include "engine/sched_twin.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = K_PAGE_TOKENS, MAX_STEPS = 3, MAX_REQS = 60, OPS = 300 };
#if OCT_FAULTS
enum { N_SEEDS = 1000 }; /* under sanitizers */
#else
enum { N_SEEDS = 4000 };
#endif

struct req {
    struct oct_seq q;
    int32_t tokens[TWIN_TOKENS];
    uint64_t state_after[TWIN_TOKENS]; /* of tokens 0..i and the salt: what a page must hold */
    int32_t end;                       /* tokens at which it ends by itself */
    int32_t salt;
    bool added, freed;
};

struct entry {
    struct oct_pick p;
    struct twin_pick t;
    uint32_t twin_generation;
    bool launched;
    int32_t table[TWIN_GROUPS][TWIN_BLOCKS]; /* as it was at the launch */
};

struct flight {
    int32_t n;
    bool launched, executed;
    struct entry e[TWIN_SEQS];
};

struct world {
    uint64_t seed, rng;
    struct oct_sched_config c;
    struct oct_sched *s;
    struct twin t;
    struct req req[MAX_REQS];
    int32_t n_reqs;
    uint64_t last_id;
    int32_t depth, n_flights; /* steps picked and not done */
    struct flight flight[MAX_STEPS];
    uint64_t memory[TWIN_PAGES][K];
    bool slow_prompts; /* few rows a step; long prompts come before many that grow */
    int64_t now_us;
    char what[200]; /* the last operation */
};

static struct world w; /* each Test is a process of its own */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

static int32_t below(int32_t n)
{
    w.rng += 0x9e3779b97f4a7c15u;
    return (int32_t)(mix(w.rng) % (uint64_t)n);
}

#define SAME(a, b, ...) \
    do { \
        const int64_t a_ = (int64_t)(a), b_ = (int64_t)(b); \
        if (a_ != b_) { \
            char why_[200]; \
            (void)snprintf(why_, sizeof why_, __VA_ARGS__); \
            cr_assert_fail("seed %" PRIu64 ", after %s: %s: %" PRId64 ", the twin %" PRId64, \
                           w.seed, w.what, why_, a_, b_); \
        } \
    } while (0)

/* ---- comparing ---- */

static void compare(void)
{
    oct_sched_check(w.s);
    for (int32_t i = 0; i < w.n_reqs; i++) {
        const struct oct_seq *q = &w.req[i].q;
        const struct twin_req *r = &w.t.req[i];
        if (!w.req[i].added || w.req[i].freed) {
            continue;
        }
        SAME(q->state, r->state, "request %d state", i);
        if (q->state == OCT_SEQ_REMOVED) {
            continue;
        }
        SAME(q->n_computed, r->computed, "request %d computed", i);
        SAME(q->n_in_flight, r->flight, "request %d in flight", i);
        SAME(q->samples_in_flight, r->samples, "request %d samples", i);
        SAME(q->n_blocks, r->blocks, "request %d blocks", i);
        SAME(q->n_held, twin_held(&w.t, i), "request %d pages held", i);
        SAME(q->n_preempted, r->preempted, "request %d preempted", i);
        SAME(q->n_prefix_tokens, r->hit, "request %d prefix tokens", i);
        SAME(q->pinned, r->pinned, "request %d pinned", i);
    }
    struct oct_sched_stats st;
    oct_sched_get_stats(w.s, &st);
    SAME(st.n_waiting, twin_count(&w.t, OCT_SEQ_WAITING), "waiting");
    SAME(st.n_running, twin_count(&w.t, OCT_SEQ_RUNNING), "running");
    SAME(st.n_pages_cached, twin_unused_pages(&w.t, true), "cached pages");
    SAME(w.s->pages.n_free, twin_unused_pages(&w.t, false), "free pages");
    SAME(st.n_preemptions, w.t.preemptions, "preemptions");
    SAME(st.n_prefix_hit_tokens, w.t.hits, "hits");
    SAME(st.n_prefix_queries_tokens, w.t.queries, "queries");
    /* Who holds which page, counted. */
    int32_t refs[TWIN_PAGES] = {0};
    for (int32_t i = 0; i < w.n_reqs; i++) {
        const struct oct_seq *q = &w.req[i].q;
        for (int32_t at = 0; !w.req[i].freed && at < w.c.n_groups * q->max_blocks; at++) {
            if (q->pages[at] >= 0) {
                refs[q->pages[at]]++;
            }
        }
    }
    for (int32_t p = 0; p < w.c.n_pages; p++) {
        SAME(w.s->pages.page[p].refs, refs[p], "references of page %d", p);
    }
}

/* ---- requests ---- */

/* The text goes on as a function of itself: whoever has the same beginning gets the same end. */
static void extend_text(struct req *r, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) {
        const uint64_t before = i > 0 ? r->state_after[i - 1] : mix((uint64_t)r->salt + 1);
        r->state_after[i] = mix(before * 31 + (uint64_t)r->tokens[i] + 7);
    }
}

static int32_t next_token(const struct req *r)
{
    return (int32_t)(r->state_after[r->q.n_tokens - 1] % 5);
}

static void add(void)
{
    if (w.n_reqs == MAX_REQS) {
        return;
    }
    const int32_t i = w.n_reqs++;
    struct req *r = &w.req[i];
    const int32_t most = w.c.n_pages >= 2 * w.c.n_groups ? TWIN_TOKENS : K;
    int32_t max_tokens = 2 + below(most - 1);
    while (oct_sched_pages_for(w.c.n_groups, w.c.windows, max_tokens - 1) > w.c.n_pages) {
        max_tokens = max_tokens / 2 + 1;
    }
    int32_t prompt = 1 + below(max_tokens - 1);
    const bool slow = w.slow_prompts && below(3) == 0;
    if (!slow && below(3)) { /* short: it grows while it runs */
        prompt = 1 + below(max_tokens - 1 < 2 * K ? max_tokens - 1 : 2 * K);
    }
    if (below(4) == 0 && prompt > K) {
        prompt -= prompt % K; /* a whole number of blocks */
    }
    r->salt = below(8) == 0;
    /* A shared beginning, then a tail of its own; or what another one has said, and a little more.
     */
    const int32_t shared = below(4) == 0   ? 0
                           : below(3) == 0 ? TWIN_TOKENS
                                           : below(6) * K + below(9);
    const int32_t family = below(2);
    for (int32_t k = 0; k < prompt; k++) {
        r->tokens[k] = k < shared ? (family + k * 7 + k / 50) % 11 : 20 + below(2);
    }
    const struct req *before = &w.req[below(w.n_reqs)];
    for (int32_t k = 0; k < 2; k++) { /* rather one that has said much */
        const struct req *other = &w.req[below(w.n_reqs)];
        before = other->q.n_tokens > before->q.n_tokens ? other : before;
    }
    if (before != r && before->q.n_tokens < max_tokens && below(2)) {
        const int32_t copied = before->q.n_tokens, rest = max_tokens - copied;
        memcpy(r->tokens, before->tokens, (size_t)copied * sizeof(int32_t));
        prompt = copied + below(rest < 5 ? rest : 5);
        for (int32_t k = copied; k < prompt; k++) {
            r->tokens[k] = below(3);
        }
        r->salt = below(9) ? before->salt : !before->salt;
    }
    extend_text(r, 0, prompt);
    r->end = below(3) ? max_tokens : prompt + 1 + below(max_tokens - prompt);
    w.last_id += 1 + (uint64_t)(below(3) == 0 ? 1023 : below(600));
    r->q = (struct oct_seq){
        .id = w.last_id,
        .priority = slow       ? -8
                    : below(3) ? 0
                               : below(17) - 8,
        .deadline_us = below(3) ? 0 : w.now_us + below(50) + 1,
        .tokens = r->tokens,
        .n_tokens = prompt,
        .max_tokens = max_tokens,
        .use_prefix = below(10) != 0,
        .wants_rows = below(6) == 0,
    };
    (void)snprintf(w.what, sizeof w.what, "add %d (%d of %d tokens)", i, prompt, max_tokens);
    cr_assert_eq(oct_seq_init(w.s, &r->q, r->salt ? "other" : "", r->salt ? 5 : 0), OCT_OK);
    struct twin_req *tr = &w.t.req[w.t.n_reqs++];
    tr->id = r->q.id;
    tr->priority = r->q.priority;
    tr->deadline = r->q.deadline_us;
    tr->tokens = r->tokens;
    tr->n_tokens = prompt;
    tr->max_tokens = max_tokens;
    tr->use_prefix = r->q.use_prefix;
    tr->wants_rows = r->q.wants_rows;
    tr->salt = r->salt;
    const uint64_t allocs = oct_mem_stats().n_allocs;
    const oct_status st = oct_sched_add(w.s, &r->q);
    SAME(oct_mem_stats().n_allocs, allocs, "allocations of add");
    SAME(st == OCT_OK, twin_add(&w.t, i), "the queue takes it");
    r->added = st == OCT_OK;
    if (!r->added) {
        cr_assert_eq(st, OCT_E_BUSY);
        oct_seq_deinit(&r->q);
        r->freed = true;
    }
}

static void free_if_over(int32_t i)
{
    struct req *r = &w.req[i];
    if (r->added && !r->freed && r->q.state == OCT_SEQ_REMOVED && r->q.n_picks == 0) {
        oct_seq_deinit(&r->q);
        r->freed = true;
    }
}

static void end(int32_t i, bool trust)
{
    const uint64_t allocs = oct_mem_stats().n_allocs;
    oct_sched_remove(w.s, &w.req[i].q, trust);
    SAME(oct_mem_stats().n_allocs, allocs, "allocations of remove");
    twin_remove(&w.t, i, trust);
}

static void remove_some(void)
{
    const int32_t i = below(w.n_reqs);
    if (!w.req[i].added || w.req[i].freed) {
        return;
    }
    const bool trust = below(4) != 0;
    (void)snprintf(w.what, sizeof w.what, "remove %d%s", i, trust ? "" : " without trust");
    end(i, trust);
    free_if_over(i);
}

static void expire(void)
{
    w.now_us += below(20);
    (void)snprintf(w.what, sizeof w.what, "deadlines at %" PRId64, w.now_us);
    for (;;) {
        struct oct_seq *q = oct_sched_expired(w.s, w.now_us);
        const int32_t i = twin_expired(&w.t, w.now_us);
        SAME(q ? q->id : 0, i < 0 ? 0 : w.t.req[i].id, "who expires");
        if (!q) {
            return;
        }
        end(i, true);
        free_if_over(i);
        compare();
    }
}

/* ---- steps ---- */

static void pick(void)
{
    if (w.n_flights == w.depth) {
        return;
    }
    struct flight *f = &w.flight[w.n_flights];
    const int32_t limit = below(5) ? 0 : 1 + below(100);
    struct oct_pick out[TWIN_SEQS];
    struct twin_pick want[TWIN_SEQS];
    (void)snprintf(w.what, sizeof w.what, "pick (limit %d)", limit);
    const uint64_t allocs = oct_mem_stats().n_allocs;
    const int32_t n = oct_sched_pick(w.s, out, limit);
    SAME(oct_mem_stats().n_allocs, allocs, "allocations of pick");
    SAME(n, twin_pick(&w.t, want, limit), "entries");
    *f = (struct flight){.n = n};
    for (int32_t k = 0; k < n; k++) {
        SAME(out[k].seq->id, w.t.req[want[k].req].id, "entry %d: id", k);
        SAME(out[k].first, want[k].first, "entry %d: first", k);
        SAME(out[k].n_rows, want[k].n_rows, "entry %d: rows", k);
        SAME(out[k].samples, want[k].samples, "entry %d: samples", k);
        cr_assert_not(oct_pick_is_void(&out[k]), "seed %" PRIu64 ": entry %d is void", w.seed, k);
        f->e[k].p = out[k];
        f->e[k].t = want[k];
        f->e[k].twin_generation = w.t.req[want[k].req].generation;
    }
    w.n_flights += n > 0;
}

/* The oldest step that was not launched: void entries are left out, now and then another one. */
static void launch(struct flight *f)
{
    (void)snprintf(w.what, sizeof w.what, "launch");
    f->launched = true;
    for (int32_t k = 0; k < f->n; k++) {
        struct entry *e = &f->e[k];
        const struct oct_seq *q = e->p.seq;
        e->launched = !oct_pick_is_void(&e->p) && below(60) != 0;
        SAME(oct_pick_is_void(&e->p), e->twin_generation != w.t.req[e->t.req].generation,
             "entry %d is void", k);
        for (int32_t g = 0; e->launched && g < w.c.n_groups; g++) {
            memcpy(e->table[g], q->pages + (int64_t)g * q->max_blocks,
                   (size_t)q->max_blocks * sizeof(int32_t));
        }
    }
}

static uint64_t content(const struct req *r, int32_t g, int32_t position)
{
    return r->state_after[position] + (uint64_t)g;
}

/* What the device does: all rows write, then all rows read everything they can see. */
static void execute(struct flight *f)
{
    (void)snprintf(w.what, sizeof w.what, "execute");
    f->executed = true;
    for (int reading = 0; reading < 2; reading++) {
        for (int32_t k = 0; k < f->n; k++) {
            const struct entry *e = &f->e[k];
            const struct req *r = &w.req[e->t.req];
            for (int32_t g = 0; e->launched && g < w.c.n_groups; g++) {
                const int32_t window = w.c.windows[g];
                const int32_t end_row = e->p.first + e->p.n_rows;
                int32_t j = e->p.first;
                if (reading) { /* from the first that the first row sees */
                    j = window == 0 || j < window ? 0 : j - window + 1;
                }
                for (; j < end_row; j++) {
                    const int32_t page = e->table[g][j / K];
                    if (page < 0 || page >= w.c.n_pages) {
                        cr_assert_fail("seed %" PRIu64 ": request %d group %d: rows %d..%d see "
                                       "position %d, which has page %d",
                                       w.seed, e->t.req, g, e->p.first, end_row - 1, j, page);
                    }
                    if (!reading) {
                        w.memory[page][j % K] = content(r, g, j);
                    } else if (w.memory[page][j % K] != content(r, g, j)) {
                        cr_assert_fail("seed %" PRIu64 ": request %d group %d: rows %d..%d find "
                                       "something else at position %d in page %d",
                                       w.seed, e->t.req, g, e->p.first, end_row - 1, j, page);
                    }
                }
            }
        }
    }
}

/* The caller has what the rows gave, of a request that wants it until it has had a token. */
static void take_rows(const struct entry *e, bool is_void)
{
    struct oct_seq *q = e->p.seq;
    const int32_t end_row = e->p.first + e->p.n_rows;
    if (is_void || !e->launched || !q->wants_rows) {
        return;
    }
    cr_assert(e->p.first <= q->n_rows_taken, "seed %" PRIu64 ": rows %d..%d were left out", w.seed,
              q->n_rows_taken, e->p.first - 1);
    q->n_rows_taken = end_row > q->n_rows_taken ? end_row : q->n_rows_taken;
    q->wants_rows = !e->p.samples;
    w.t.req[e->t.req].taken = q->n_rows_taken;
    w.t.req[e->t.req].wants_rows = q->wants_rows;
}

static void finish(struct flight *f)
{
    for (int32_t k = 0; k < f->n; k++) {
        struct entry *e = &f->e[k];
        struct req *r = &w.req[e->t.req];
        struct oct_seq *q = e->p.seq;
        const bool is_void = oct_pick_is_void(&e->p), keep = below(50) != 0;
        const bool first = below(4) == 0; /* remove before done */
        bool over = false;
        (void)snprintf(w.what, sizeof w.what, "done %d (%d rows from %d%s%s)", e->t.req,
                       e->p.n_rows, e->p.first, is_void ? ", void" : "",
                       e->launched ? "" : ", skipped");
        if (!is_void && e->launched && e->p.samples) {
            r->tokens[q->n_tokens] = next_token(r);
            extend_text(r, q->n_tokens, q->n_tokens + 1);
            q->n_tokens++;
            w.t.req[e->t.req].n_tokens++;
            over = q->n_tokens == r->end;
        }
        if (over && first) {
            end(e->t.req, true);
        }
        take_rows(e, is_void);
        const uint64_t allocs = oct_mem_stats().n_allocs;
        oct_sched_done(w.s, &e->p, e->launched, keep);
        SAME(oct_mem_stats().n_allocs, allocs, "allocations of done");
        twin_done(&w.t, &e->t, e->twin_generation, e->launched, keep);
        if (over && !first) {
            end(e->t.req, true);
        }
        compare();
        free_if_over(e->t.req);
    }
    memmove(&w.flight[0], &w.flight[1], (MAX_STEPS - 1) * sizeof w.flight[0]);
    w.n_flights--;
}

/* The device's part. A step that was launched runs at once or as late as it can. */
static void advance(void)
{
    if (w.n_flights == 0) {
        return;
    }
    struct flight *f = &w.flight[0];
    if (!f->launched) {
        launch(f);
        if (below(2)) {
            execute(f);
        }
        return;
    }
    if (!f->executed) {
        execute(f);
    }
    finish(f);
}

static void configure(void)
{
    static const int32_t windows[] = {0, 0, 0, 1, 2, 16, 63, 64, 65, 66, 100, 128, 130, 200, 1000};
    static const int32_t budgets[] = {1, 16, 64, 100, 200, 300, 2000};
    w.c = (struct oct_sched_config){
        .n_groups = 1 + below(TWIN_GROUPS),
        .max_num_seqs = below(6) == 0 ? 1 : 1 + below(10),
        .max_num_batched_tokens = budgets[below(7)],
        .max_waiting = below(20) == 0 ? 0 : 1 + below(16),
        .prefix_cache = below(8) != 0,
        .hash_key_lo = 1,
        .hash_key_hi = 2,
    };
    for (int32_t g = 0; g < w.c.n_groups; g++) {
        w.c.windows[g] = windows[below(15)];
    }
    const int64_t least = oct_sched_pages_for(w.c.n_groups, w.c.windows, TWIN_TOKENS - 1);
    const int32_t room = TWIN_PAGES - (int32_t)least;
    w.c.n_pages = (int32_t)least + (below(4) ? below(8) : below(room + 1));
    w.slow_prompts = below(4) == 0;
    if (w.slow_prompts) {
        w.c.max_num_batched_tokens = 12 + below(8);
        w.c.max_num_seqs = 6 + below(5);
        w.c.n_pages = (int32_t)least + below(12);
    } else if (below(4) == 0) { /* small: most texts are cut to it */
        w.c.n_pages = w.c.n_groups * (1 + below(4));
    }
    w.depth = 1 + below(MAX_STEPS);
}

static void run(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.rng = mix(seed + 1);
    configure();
    cr_assert_eq(oct_sched_create(&w.c, &w.s), OCT_OK);
    twin_init(&w.t, &w.c);
    const int32_t adds = 1 + below(3), ends = below(3) ? 0 : 1; /* how busy, how unruly */
    for (int32_t i = below(w.c.max_waiting + 2); i > 0; i--) {
        add();
        compare();
    }
    for (int32_t op = 0; op < OPS; op++) {
        const int32_t what = below(20);
        if (what < adds) {
            add();
        } else if (what < adds + ends && w.n_reqs > 0) {
            remove_some();
        } else if (what == 19 && below(4) == 0) {
            expire();
        } else if (what < 10) {
            pick();
        } else {
            advance();
        }
        compare();
    }
    /* Nothing more comes: all end, however small the pool. Each request has less than TWIN_TOKENS
     * rows, is computed anew at most four times, and each step computes one row at least. */
    int32_t steps = 0;
    while (w.s->n_running + w.s->n_waiting > 0) {
        pick();
        const bool idle = w.n_flights == 0;
        cr_assert_not(idle, "seed %" PRIu64 ": %d run, %d wait, nothing is picked", seed,
                      w.s->n_running, w.s->n_waiting);
        advance();
        compare();
        cr_assert(++steps < 4 * MAX_REQS * TWIN_TOKENS * 5, "seed %" PRIu64 ": no end", seed);
    }
    while (w.n_flights > 0) {
        advance();
    }
    for (int32_t i = 0; i < w.n_reqs; i++) {
        cr_assert(w.req[i].freed, "seed %" PRIu64 ": request %d is left", seed, i);
    }
    compare();
    cr_assert_eq(w.s->pages.n_free + w.s->pages.n_cached, w.c.n_pages);
    oct_sched_destroy(w.s);
}

static uint64_t number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : fallback;
}

Test(sched, does_what_its_slow_twin_does, .timeout = 600)
{
    const uint64_t first = number("OCT_SCHED_SEED", 1), n = number("OCT_SCHED_SEEDS", N_SEEDS);
    uint64_t preempted = 0, hits = 0, undone = 0;
    int32_t pinned = 0;
    for (uint64_t seed = first; seed < first + n; seed++) {
        run(seed);
        preempted += w.t.preemptions;
        hits += w.t.hits;
        undone += w.t.undone;
        for (int32_t i = 0; i < w.n_reqs; i++) {
            pinned += w.t.req[i].preempted == OCT_MAX_PREEMPTIONS;
        }
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " preemptions, %" PRIu64 " of them in the pick that had "
           "chosen the victim, %d requests pinned, %" PRIu64 " tokens hit\n",
           n, preempted, undone, pinned, hits);
    if (n >= 1000) { /* the test has been where it should */
        cr_assert(preempted > n && hits > 30 * n && pinned > 0 && undone > 0);
    }
}
