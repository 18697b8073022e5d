/* SPDX-License-Identifier: Apache-2.0
 *
 * sched_pick.c - chooses the rows of the next step: admission, chunks, pages, preemption. */
#include "engine/sched_int.h"

enum {
    WATERMARK_DIVISOR = 16, /* sched.h: the most that admission leaves free, of the pool */
    HITS_PER_WAIT_PICK = 64 /* what a failed admission may cost: so many block look-ups a pick */
};

struct pick {
    struct oct_pick *out;
    int32_t n, budget;
    bool preempted;
};

/* Pages that q may take now: all but those promised to other pinned requests. */
static int32_t spare_pages(const struct oct_sched *s, const struct oct_seq *q)
{
    const int32_t others = s->n_promised_pinned - (q->pinned ? oct_seq_owed(q) : 0);
    return oct_pages_available(&s->pages) - others;
}

/* Rows of the next `rows` of q for which there are pages. */
static int32_t rows_with_pages(const struct oct_sched *s, const struct oct_seq *q, int32_t rows)
{
    const int32_t at = q->n_computed + q->n_in_flight;
    const int32_t spare = spare_pages(s, q);
    const int64_t blocks = q->n_blocks + (spare > 0 ? spare / s->n_groups : 0);
    const int64_t room = blocks * K_PAGE_TOKENS - at;
    return room < rows ? (int32_t)room : rows;
}

static void take_pages(struct oct_sched *s, struct oct_seq *q, int32_t n_tokens)
{
    for (; q->n_blocks * K_PAGE_TOKENS < n_tokens; q->n_blocks++) {
        OCT_ASSERT(q->n_blocks < q->max_blocks);
        for (int32_t g = 0; g < s->n_groups; g++) {
            const int32_t page = oct_pages_take(&s->pages);
            OCT_ASSERT(page >= 0);
            q->pages[(int64_t)g * q->max_blocks + q->n_blocks] = page;
        }
        oct_seq_account(s, q, q->n_held + s->n_groups, q->n_target);
    }
}

/* The running request of largest rank that must give way to q. */
static struct oct_seq *victim_for(const struct oct_sched *s, const struct oct_seq *q)
{
    for (int32_t i = s->n_slots - 1; i > q->run_index; i--) {
        if (s->running[i] && !s->running[i]->pinned) {
            return s->running[i];
        }
    }
    return NULL;
}

/* It may be in the step being chosen: its rows go back to the budget, its entry is left out at the
 * end. Steps that run with it go on; its pages are written by others only in later steps. */
static void preempt(struct oct_sched *s, struct pick *k, struct oct_seq *q)
{
    for (int32_t i = 0; i < k->n; i++) {
        if (k->out[i].seq == q) {
            k->budget += k->out[i].n_rows;
        }
    }
    oct_running_remove(s, q);
    oct_seq_drop_pages(s, q);
    oct_seq_void_picks(q);
    q->n_computed = 0;
    q->tainted = false; /* it starts from clean pages again */
    q->n_preempted++;
    q->state = OCT_SEQ_WAITING;
    oct_queue_add(s, q);
    s->n_preemptions++;
    k->preempted = true;
}

/* Gives q up to `rows` rows. */
static void place(struct oct_sched *s, struct pick *k, struct oct_seq *q, int32_t rows)
{
    int32_t n = rows_with_pages(s, q, rows);
    for (struct oct_seq *v; n <= 0 && (v = victim_for(s, q)) != NULL;) {
        preempt(s, k, v);
        n = rows_with_pages(s, q, rows);
    }
    if (n <= 0) {
        return; /* it keeps what it has and waits */
    }
    const int32_t first = q->n_computed + q->n_in_flight;
    take_pages(s, q, first + n);
    const bool samples = first + n == oct_seq_known(q);
    k->out[k->n++] = (struct oct_pick){
        .seq = q, .generation = q->generation, .first = first, .n_rows = n, .samples = samples};
    k->budget -= n;
    q->n_in_flight += n;
    q->samples_in_flight += samples;
    q->n_picks++;
}

/* Pages that admission leaves free, so that those who run can grow. */
static int32_t watermark(const struct oct_sched *s)
{
    const int64_t grow = (int64_t)s->n_running * s->n_groups;
    const int32_t most = s->pages.n / WATERMARK_DIVISOR;
    return grow < most ? (int32_t)grow : most;
}

/* Finds what the prefix cache has of q; the pages are held. */
static int32_t match(struct oct_sched *s, struct oct_seq *q)
{
    if (!oct_seq_uses_cache(s, q)) {
        return 0;
    }
    /* At least one row must run: the last token's, which gives the next one. */
    const int32_t known = q->n_tokens - 1;
    const int32_t may = q->wants_rows && q->n_rows_taken < known ? q->n_rows_taken : known;
    const int32_t most = may / K_PAGE_TOKENS;
    oct_seq_hash(s, q, most);
    const int32_t hit =
        oct_prefix_match(s->prefix, q->hashes, q->tokens, most, q->pages, q->max_blocks);
    int32_t held = 0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        held += hit - oct_first_visible_block(hit * K_PAGE_TOKENS, s->windows[g]);
    }
    q->n_blocks = hit;
    q->n_held = held;
    return hit;
}

/* Moves the first of those that wait to those that run, if there are pages for it. */
static bool admit(struct oct_sched *s, struct oct_seq *q)
{
    if (s->n_running > 0 && q->admit_wait > 0) {
        q->admit_wait--;
        return false;
    }
    const bool pinned = q->n_preempted >= OCT_MAX_PREEMPTIONS;
    const int32_t tokens = pinned ? q->max_tokens - 1 : q->n_tokens;
    const int32_t target = (int32_t)oct_sched_pages_for(s->n_groups, s->windows, tokens);
    q->pinned = pinned;
    const int32_t hit = match(s, q);
    const int32_t need = target > q->n_held ? target - q->n_held : 0;
    if (oct_pages_available(&s->pages) - s->n_promised - need < watermark(s)) {
        q->pinned = false;
        q->n_target = q->n_held; /* nothing was promised yet */
        oct_seq_drop_pages(s, q);
        q->admit_wait = hit / HITS_PER_WAIT_PICK;
        return false;
    }
    oct_queue_remove(s, q);
    q->state = OCT_SEQ_RUNNING;
    oct_running_add(s, q);
    const int32_t held = q->n_held;
    q->n_held = q->n_target = 0;
    oct_seq_account(s, q, held, target);
    q->n_computed = hit * K_PAGE_TOKENS;
    q->n_cached_blocks = hit;
    if (q->n_preempted == 0) {
        q->n_prefix_tokens = q->n_computed;
        s->n_queries_tokens += (uint64_t)q->n_tokens;
        s->n_hit_tokens += (uint64_t)q->n_computed;
    }
    return true;
}

int32_t oct_sched_pick(struct oct_sched *s, struct oct_pick *out, int32_t row_limit)
{
    const int32_t most = s->max_num_batched_tokens;
    struct pick k = {.out = out, .budget = row_limit > 0 && row_limit < most ? row_limit : most};
    oct_running_close_holes(s);
    for (int32_t i = 0; i < s->n_slots && k.budget > 0; i++) {
        struct oct_seq *q = s->running[i];
        if (q && oct_seq_rows_left(q) == 1) {
            place(s, &k, q, 1);
        }
    }
    /* Who got a row above has one left again, if any: it is not taken for a prompt. */
    for (int32_t i = 0; i < s->n_slots && k.budget > 0; i++) {
        struct oct_seq *q = s->running[i];
        const int32_t left = q ? oct_seq_rows_left(q) : 0;
        if (left > 1) {
            place(s, &k, q, left < k.budget ? left : k.budget);
        }
    }
    if (k.preempted) { /* entries of those who had been picked before they were preempted */
        int32_t kept = 0;
        for (int32_t i = 0; i < k.n; i++) {
            if (oct_pick_is_void(&out[i])) {
                out[i].seq->n_picks--;
            } else {
                out[kept++] = out[i];
            }
        }
        return kept;
    }
    while (k.budget > 0 && s->n_running < s->max_num_seqs) {
        struct oct_seq *q = oct_queue_first(s);
        if (!q || !admit(s, q)) {
            break;
        }
        const int32_t left = oct_seq_rows_left(q);
        OCT_ASSERT(left > 0); /* who has all tokens is removed; admit() saw to a page at least */
        place(s, &k, q, left < k.budget ? left : k.budget);
    }
    return k.n;
}
