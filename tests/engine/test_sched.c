/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler's promises one by one. Random sequences are in test_sched_twin.c. */
#include "engine/sched.h"

#include "base/fault.h"
#include "base/mem.h"
#include "engine/bench_sched.h"

#include <criterion/criterion.h>
#include <string.h>

enum { K = K_PAGE_TOKENS, MAX = 16, MAX_TOKENS = 100 * K };

struct rig {
    struct oct_sched *s;
    struct oct_seq q[MAX];
    int32_t tokens[MAX][MAX_TOKENS];
    struct oct_pick out[MAX];
    int32_t n; /* entries of the last pick */
};

static struct rig r; /* each Test is a process of its own */

static struct oct_sched_config config(int32_t n_pages)
{
    return (struct oct_sched_config){
        .n_pages = n_pages,
        .n_groups = 1,
        .max_num_seqs = 8,
        .max_num_batched_tokens = 10000,
        .max_waiting = 100,
        .prefix_cache = true,
    };
}

static void make(const struct oct_sched_config *c)
{
    cr_assert_eq(oct_sched_create(c, &r.s), OCT_OK);
}

/* Request i (also its id - 1) of `prompt` tokens of the text `kind`. */
static struct oct_seq *init(int32_t i, int32_t kind, int32_t prompt, int32_t max_tokens)
{
    for (int32_t k = 0; k < max_tokens; k++) {
        r.tokens[i][k] = kind * 1000 + k % 91;
    }
    r.q[i] = (struct oct_seq){
        .id = (uint64_t)i + 1,
        .tokens = r.tokens[i],
        .n_tokens = prompt,
        .max_tokens = max_tokens,
        .use_prefix = true,
    };
    cr_assert_eq(oct_seq_init(r.s, &r.q[i], NULL, 0), OCT_OK);
    return &r.q[i];
}

static struct oct_seq *add(int32_t i, int32_t kind, int32_t prompt, int32_t max_tokens)
{
    struct oct_seq *q = init(i, kind, prompt, max_tokens);
    cr_assert_eq(oct_sched_add(r.s, q), OCT_OK);
    return q;
}

static int32_t pick(void)
{
    r.n = oct_sched_pick(r.s, r.out, 0);
    oct_sched_check(r.s);
    return r.n;
}

/* The step of these entries ran; sampled requests get their next token. */
static void done(const struct oct_pick *p, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (!oct_pick_is_void(&p[i]) && p[i].samples) {
            p[i].seq->n_tokens++;
        }
        oct_sched_done(r.s, &p[i], true, true);
        oct_sched_check(r.s);
    }
}

static void step(void)
{
    pick();
    done(r.out, r.n);
}

static void end(struct oct_seq *q)
{
    oct_sched_remove(r.s, q, true);
    oct_sched_check(r.s);
    oct_seq_deinit(q);
}

/* Runs it to its last token, then takes it out. */
static void finish(struct oct_seq *q)
{
    for (int32_t i = 0; q->n_tokens < q->max_tokens; i++) {
        cr_assert_lt(i, 10000, "request %d does not end", (int)q->id);
        step();
    }
    end(q);
}

static void entry_is(int32_t i, const struct oct_seq *q, int32_t first, int32_t n_rows,
                     bool samples)
{
    cr_assert_lt(i, r.n, "%d entries", r.n);
    cr_assert_eq(r.out[i].seq->id, q->id, "entry %d: request %d", i, (int)r.out[i].seq->id);
    cr_assert_eq(r.out[i].first, first, "entry %d: first %d", i, r.out[i].first);
    cr_assert_eq(r.out[i].n_rows, n_rows, "entry %d: %d rows", i, r.out[i].n_rows);
    cr_assert_eq(r.out[i].samples, samples, "entry %d", i);
}

static struct oct_sched_stats stats(void)
{
    struct oct_sched_stats st;
    oct_sched_get_stats(r.s, &st);
    return st;
}

Test(sched, one_row_requests_go_first_then_prompts_in_chunks_then_newcomers)
{
    struct oct_sched_config c = config(64);
    c.max_num_batched_tokens = 100;
    make(&c);
    struct oct_seq *a = add(0, 1, 150, 200), *b = add(1, 2, 30, 50);
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 0, 100, false);
    done(r.out, r.n);
    cr_assert_eq(pick(), 2);
    entry_is(0, a, 100, 50, true);
    entry_is(1, b, 0, 30, true);
    done(r.out, r.n);
    struct oct_seq *d = add(2, 3, 300, 400);
    cr_assert_eq(pick(), 3);
    entry_is(0, a, 150, 1, true);
    entry_is(1, b, 30, 1, true);
    entry_is(2, d, 0, 98, false);
    done(r.out, r.n);
    r.n = oct_sched_pick(r.s, r.out, 10);
    cr_assert_eq(r.n, 3);
    entry_is(2, d, 98, 8, false);
    done(r.out, r.n);
    r.n = oct_sched_pick(r.s, r.out, 1); /* fewer rows than running requests: by rank */
    cr_assert_eq(r.n, 1);
    entry_is(0, a, 152, 1, true);
    done(r.out, r.n);
    end(a);
    end(b);
    end(d);
    oct_sched_destroy(r.s);
}

Test(sched, a_prompt_that_is_known_whole_still_computes_its_last_block)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 2 * K, 2 * K + 1);
    finish(a);
    struct oct_seq *b = add(1, 1, 2 * K, 300);
    cr_assert_eq(pick(), 1);
    entry_is(0, b, K, K, true);
    cr_assert_eq(b->n_prefix_tokens, K);
    done(r.out, r.n);
    end(b);
    struct oct_seq *d = add(2, 1, 2 * K + 1, 300);
    cr_assert_eq(pick(), 1);
    entry_is(0, d, 2 * K, 1, true);
    done(r.out, r.n);
    end(d);
    cr_assert_eq(stats().n_prefix_hit_tokens, (uint64_t)(3 * K));
    cr_assert_eq(stats().n_prefix_queries_tokens, (uint64_t)(2 * K + 2 * K + 2 * K + 1));
    oct_sched_destroy(r.s);
}

Test(sched, blocks_completed_by_generated_tokens_are_cached_too)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    /* 2 * K tokens are computed; the last token never is. */
    finish(add(0, 1, 10, 2 * K + 1));
    struct oct_seq *b = add(1, 1, 3 * K, 4 * K);
    cr_assert_eq(pick(), 1);
    entry_is(0, b, 2 * K, K, true);
    done(r.out, r.n);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, rows_of_a_step_that_runs_are_not_known_to_the_cache)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 2 * K + 1, 300);
    cr_assert_eq(pick(), 1);
    struct oct_pick first = r.out[0];
    struct oct_seq *b = add(1, 1, 2 * K + 1, 300); /* the same text at once: both compute it */
    cr_assert_eq(pick(), 2);
    entry_is(0, a, 2 * K + 1, 1, true);
    entry_is(1, b, 0, 2 * K + 1, true);
    struct oct_pick second[2] = {r.out[0], r.out[1]};
    oct_sched_remove(r.s, a, true); /* its step still runs: nothing of it is cached */
    cr_assert_eq(stats().n_pages_cached, 0);
    done(&first, 1);
    cr_assert_eq(stats().n_pages_cached, 0);
    cr_assert(oct_pick_is_void(&second[0]) && !oct_pick_is_void(&second[1]));
    done(second, 2);
    cr_assert_eq(a->n_picks, 0);
    oct_seq_deinit(a);
    end(b);
    cr_assert_eq(stats().n_pages_cached, 2);
    oct_sched_destroy(r.s);
}

Test(sched, two_that_computed_the_same_text_leave_it_once)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 2 * K + 1, 300), *b = add(1, 1, 2 * K + 1, 300);
    step();
    cr_assert_eq(stats().n_pages_used, 6);
    end(b);
    cr_assert_eq(stats().n_pages_cached, 0); /* a's pages are the known ones */
    end(a);
    cr_assert_eq(stats().n_pages_cached, 2);
    oct_sched_destroy(r.s);
}

Test(sched, the_next_step_is_picked_while_one_runs_and_never_a_row_too_many)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 5, 8); /* tokens 5, 6, 7 come out of rows 4, 5, 6 */
    struct oct_pick flight[2];
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 0, 5, true);
    flight[0] = r.out[0];
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 5, 1, true);
    flight[1] = r.out[0];
    done(&flight[0], 1);
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 6, 1, true);
    flight[0] = r.out[0];
    cr_assert_eq(pick(), 0, "the last token is on its way");
    done(&flight[1], 1);
    cr_assert_eq(pick(), 0);
    done(&flight[0], 1);
    cr_assert_eq(a->n_tokens, 8);
    cr_assert_eq(pick(), 0);
    end(a);
    oct_sched_destroy(r.s);
}

Test(sched, a_skipped_row_voids_what_was_picked_after_it)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 5, 50);
    step();
    cr_assert_eq(pick(), 1);
    const struct oct_pick skipped = r.out[0];
    cr_assert_eq(pick(), 1);
    const struct oct_pick later = r.out[0];
    oct_sched_done(r.s, &skipped, false, true);
    cr_assert(oct_pick_is_void(&later));
    oct_sched_done(r.s, &later, false, true);
    oct_sched_check(r.s);
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 5, 1, true);
    done(r.out, r.n);
    end(a);
    oct_sched_destroy(r.s);
}

Test(sched, admission_leaves_a_page_for_each_that_runs)
{
    const struct oct_sched_config c = config(16); /* a sixteenth of it is 1 */
    make(&c);
    struct oct_seq *a = add(0, 1, 9 * K - 5, 10 * K), *b = add(1, 2, 7 * K, 8 * K);
    cr_assert_eq(pick(), 1, "7 of 7 pages, but a may need one soon");
    done(r.out, r.n);
    end(b);
    b = add(2, 2, 6 * K, 8 * K);
    cr_assert_eq(pick(), 2);
    done(r.out, r.n);
    end(a);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, a_victim_waits_at_its_rank_and_is_not_admitted_in_the_same_pick)
{
    struct oct_sched_config c = config(4);
    make(&c);
    struct oct_seq *a = add(0, 1, K, 4 * K + 1), *b = add(1, 2, K, 4 * K + 1);
    step(); /* both take a page for their prompts; the next row of each needs another */
    cr_assert_eq(stats().n_running, 2);
    for (int32_t i = 0; i < K; i++) {
        step();
    }
    cr_assert_eq(stats().n_pages_used, 4);
    cr_assert_eq(a->n_computed, 2 * K);
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 2 * K, 1, true);
    cr_assert_eq(b->state, OCT_SEQ_WAITING);
    cr_assert_eq(b->n_preempted, 1);
    cr_assert_eq(b->n_computed, 0);
    done(r.out, r.n);
    cr_assert_eq(pick(), 1, "b needs three pages and one is there");
    done(r.out, r.n);
    while (a->n_tokens < a->max_tokens) {
        step();
    }
    end(a);
    cr_assert_eq(pick(), 1);
    cr_assert_eq(r.out[0].seq->id, b->id);
    cr_assert(r.out[0].samples);
    done(r.out, r.n);
    cr_assert_eq(b->n_prefix_tokens, 0, "it speaks of the first admission");
    finish(b);
    cr_assert_eq(stats().n_preemptions, 1u);
    oct_sched_destroy(r.s);
}

Test(sched, an_entry_of_a_victim_picked_in_the_same_pick_is_left_out)
{
    struct oct_sched_config c = config(4);
    c.max_num_batched_tokens = 2 * K;
    make(&c);
    struct oct_seq *a = add(0, 1, K, 4 * K + 1), *b = add(1, 2, 1, 2 * K + 1);
    step();
    cr_assert_eq(stats().n_running, 2);
    for (int32_t i = 0; i < K; i++) {
        step();
    }
    cr_assert_eq(stats().n_pages_used, 4);
    cr_assert_eq(a->n_computed, 2 * K);
    /* a's next row needs a third page. The caller has learnt two tokens at once of a: it is a
     * prompt again, and served after the one-row requests. */
    a->n_tokens++;
    cr_assert_eq(pick(), 1);
    entry_is(0, a, 2 * K, 2, true);
    cr_assert_eq(b->generation, 1u);
    cr_assert_eq(b->n_picks, 0);
    cr_assert_eq(b->state, OCT_SEQ_WAITING);
    done(r.out, r.n);
    end(a);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, a_request_that_fills_the_pool_alone_runs_to_its_end)
{
    for (int32_t seqs = 1; seqs <= 2; seqs++) {
        struct oct_sched_config c = config(5);
        c.max_num_seqs = seqs;
        make(&c);
        struct oct_seq *a = add(0, 1, 5 * K - 1, 5 * K + 1), *b = add(1, 2, 10, 5 * K + 1);
        finish(a);
        finish(b);
        oct_sched_destroy(r.s);
    }
}

Test(sched, windowed_groups_give_pages_back_and_still_hit)
{
    struct oct_sched_config c = config(40);
    c.n_groups = 2;
    c.windows[1] = 100;
    make(&c);
    struct oct_seq *a = add(0, 1, 10 * K, 12 * K);
    step();
    /* The next row is at 10 K and sees from 10 K - 99 on: block 8. */
    cr_assert_eq(stats().n_pages_used, 10 + 2);
    cr_assert_eq(stats().n_pages_cached, 8);
    cr_assert_eq(a->pages[a->max_blocks + 7], -1);
    cr_assert_geq(a->pages[a->max_blocks + 8], 0);
    struct oct_seq *b = add(1, 1, 10 * K, 12 * K);
    pick();
    cr_assert_eq(b->n_prefix_tokens, 9 * K);
    cr_assert_geq(b->pages[7 + b->max_blocks], 0);
    cr_assert_eq(b->pages[6 + b->max_blocks], -1);
    cr_assert_eq(b->pages[8 + b->max_blocks], a->pages[8 + a->max_blocks], "shared");
    done(r.out, r.n);
    end(a);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, what_is_not_to_be_kept_or_trusted_is_not_hit)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    struct oct_seq *a = add(0, 1, 2 * K + 1, 300);
    pick();
    a->n_tokens++;
    oct_sched_done(r.s, &r.out[0], true, false);
    end(a);
    cr_assert_eq(stats().n_pages_cached, 0);

    a = add(1, 1, 2 * K + 1, 300);
    step();
    struct oct_seq *b = add(2, 1, 3 * K + 1, 400), *d = add(3, 2, K + 1, 300);
    step(); /* b has two blocks of a and adds one; d has nothing to do with them */
    cr_assert_eq(b->n_prefix_tokens, 2 * K);
    oct_sched_remove(r.s, a, false);
    oct_sched_check(r.s);
    oct_seq_deinit(a);
    end(b);
    cr_assert_eq(stats().n_pages_cached, 0);
    end(d);
    cr_assert_eq(stats().n_pages_cached, 1);
    oct_sched_destroy(r.s);
}

Test(sched, a_salt_keeps_tenants_apart)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    finish(add(0, 1, 2 * K + 1, 2 * K + 2));
    struct oct_seq *b = init(1, 1, 2 * K + 1, 300);
    oct_seq_deinit(b);
    cr_assert_eq(oct_seq_init(r.s, b, "tenant", 6), OCT_OK);
    cr_assert_eq(oct_sched_add(r.s, b), OCT_OK);
    step();
    cr_assert_eq(b->n_prefix_tokens, 0);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, nobody_is_overtaken_more_often_than_the_bound_says)
{
    /* One place. The worst priority waits while the best keeps coming, one in, one out. */
    struct oct_sched_config c = config(8);
    c.max_num_seqs = 1;
    c.prefix_cache = false;
    make(&c);
    struct oct_seq *a = init(0, 1, 2, 3);
    a->priority = OCT_PRIORITY_MAX;
    oct_seq_deinit(a);
    cr_assert_eq(oct_seq_init(r.s, a, NULL, 0), OCT_OK);
    cr_assert_eq(oct_sched_add(r.s, a), OCT_OK);
    const int32_t bound = (OCT_PRIORITY_MAX - OCT_PRIORITY_MIN) * OCT_PRIORITY_STEP;
    int32_t overtaken = 0;
    while (a->state == OCT_SEQ_WAITING) {
        cr_assert_leq(overtaken, bound);
        struct oct_seq *b = &r.q[1];
        *b = (struct oct_seq){.id = (uint64_t)overtaken + 2,
                              .priority = OCT_PRIORITY_MIN,
                              .tokens = r.tokens[1],
                              .n_tokens = 2,
                              .max_tokens = 3};
        cr_assert_eq(oct_seq_init(r.s, b, NULL, 0), OCT_OK);
        cr_assert_eq(oct_sched_add(r.s, b), OCT_OK);
        r.n = oct_sched_pick(r.s, r.out, 0);
        cr_assert_eq(r.n, 1);
        overtaken += b->state == OCT_SEQ_RUNNING;
        done(r.out, r.n);
        oct_sched_remove(r.s, b, true);
        oct_seq_deinit(b);
    }
    /* Of ranks that are equal the older request's comes first: one less than the bound. */
    cr_assert_eq(overtaken, bound - 1, "overtaken %d times", overtaken);
    end(a);
    oct_sched_destroy(r.s);
}

Test(sched, the_queue_is_bounded_and_the_preempted_do_not_count)
{
    struct oct_sched_config c = config(4);
    c.max_waiting = 1;
    make(&c);
    struct oct_seq *a = add(0, 1, K, 4 * K + 1);
    struct oct_seq *x = init(5, 9, 1, 2);
    cr_assert_eq(oct_sched_add(r.s, x), OCT_E_BUSY);
    oct_seq_deinit(x);
    step();
    struct oct_seq *b = add(6, 2, K, 4 * K + 1);
    for (int32_t i = 0; i < K + 1; i++) {
        step();
    }
    cr_assert_eq(b->n_preempted, 1);
    struct oct_seq *d = add(7, 3, 1, 2); /* b waits, but was in already */
    x = init(8, 9, 1, 2);
    cr_assert_eq(oct_sched_add(r.s, x), OCT_E_BUSY);
    oct_seq_deinit(x);
    end(b);
    end(d);
    end(a);
    oct_sched_destroy(r.s);
}

Test(sched, deadlines_come_in_their_order)
{
    const struct oct_sched_config c = config(64);
    make(&c);
    static const int64_t deadline[] = {50, 0, 20, 90, 20, 70, 10, 60, 30, 80, 40, 15};
    enum { N = sizeof deadline / sizeof deadline[0] };
    for (int32_t i = 0; i < N; i++) {
        struct oct_seq *q = init(i, i, 2, 5);
        q->deadline_us = deadline[i];
        cr_assert_eq(oct_sched_add(r.s, q), OCT_OK);
    }
    step();
    cr_assert_null(oct_sched_expired(r.s, 9));
    end(&r.q[10]); /* 40 ends by itself */
    static const int32_t order[] = {6, 11, 2, 4, 8, 0, 7, 5, 9, 3};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct oct_seq *q = oct_sched_expired(r.s, 90);
        cr_assert_not_null(q);
        cr_assert_eq(q->id, r.q[order[i]].id, "%zu: request %d", i, (int)q->id - 1);
        cr_assert_null(oct_sched_expired(r.s, deadline[order[i]] - 1));
        end(q);
    }
    cr_assert_null(oct_sched_expired(r.s, INT64_MAX));
    end(&r.q[1]);
    oct_sched_destroy(r.s);
}

Test(sched, a_long_hit_that_does_not_fit_is_not_looked_up_in_every_pick)
{
    struct oct_sched_config c = config(100);
    make(&c);
    finish(add(0, 1, 70 * K + 1, 70 * K + 2)); /* 70 blocks cached */
    struct oct_seq *a = add(1, 2, 20 * K, 40 * K);
    step();
    struct oct_seq *b = add(2, 1, 80 * K, 81 * K); /* 80 pages; 100 - 20 - 1 are there */
    cr_assert_eq(pick(), 1);
    cr_assert_eq(b->admit_wait, 70 / 64);
    done(r.out, r.n);
    end(a);
    cr_assert_eq(pick(), 1, "nothing runs: it is tried at once");
    entry_is(0, b, 70 * K, 10 * K, true);
    done(r.out, r.n);
    end(b);
    oct_sched_destroy(r.s);
}

Test(sched, the_pages_of_a_request_are_enough_for_one_row_at_a_time)
{
    static const struct {
        int32_t window, n_tokens;
        int64_t want;
    } row[] = {
        {0, 1, 1},    {0, 64, 1},    {0, 65, 2},     {1, 1000, 1},        {2, 1000, 2},
        {64, 64, 1},  {64, 65, 2},   {65, 1000, 2},  {66, 1000, 3},       {66, 128, 2},
        {66, 129, 3}, {130, 999, 4}, {1000, 100, 2}, {INT32_MAX, 100, 2},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        cr_assert_eq(oct_sched_pages_for(1, &row[i].window, row[i].n_tokens), row[i].want,
                     "row %zu", i);
    }
}

Test(sched, the_bench_runs_and_refuses_absurd_numbers)
{
    struct oct_bench_sched o = {0};
    cr_assert_eq(oct_bench_sched(5, 20, 200, &o), OCT_OK);
    cr_assert_eq(o.n_steps, 200);
    cr_assert(o.median_us > 0 && o.median_us <= o.p90_us && o.p90_us <= o.max_us);
    cr_assert_eq(oct_bench_sched(0, 0, 1, &o), OCT_E_ARG);
    cr_assert_eq(oct_bench_sched(1, -1, 1, &o), OCT_E_ARG);
    cr_assert_eq(oct_bench_sched(1, 0, 0, &o), OCT_E_ARG);
    cr_assert_eq(oct_bench_sched(1 << 16, 0, 1 << 20, &o), OCT_E_ARG);
    cr_assert_eq(o.n_steps, 200);
}

#if OCT_FAULTS
Test(sched, every_failing_allocation_is_a_status)
{
    struct oct_sched_config c = config(16);
    for (uint64_t k = 1;; k++) {
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        struct oct_sched *s = NULL;
        oct_status st = oct_sched_create(&c, &s);
        struct oct_seq q = {.id = 1, .tokens = r.tokens[0], .n_tokens = 1, .max_tokens = 500};
        q.use_prefix = true;
        if (st == OCT_OK) {
            st = oct_seq_init(s, &q, NULL, 0);
            oct_sched_destroy(s);
        } else {
            cr_assert_null(s);
        }
        const bool all = oct_fault_count(OCT_FAULT_MEM) < k;
        oct_fault_reset();
        if (all) {
            cr_assert_eq(st, OCT_OK);
            cr_assert_geq(k, 8u);
            oct_seq_deinit(&q);
            break;
        }
        cr_assert_eq(st, OCT_E_MEM, "allocation %d", (int)k);
    }
}
#endif
