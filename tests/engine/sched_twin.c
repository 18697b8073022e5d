/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sched_twin.h"

#include <criterion/criterion.h>
#include <string.h>

enum { K = K_PAGE_TOKENS };

/* The order of service. Slots are in the order of ids: the earlier of equals comes first. */
static int64_t order_of(const struct twin *t, const struct twin_req *r)
{
    return ((int64_t)r->id + 1024 * (int64_t)r->priority) * TWIN_REQS + (r - t->req);
}

/* Whether a row at `position` can see the block's last token, through the window: the last to go.
 */
static bool sees(int32_t position, int32_t window, int32_t block)
{
    return window == 0 || position - (block * K + K - 1) < window;
}

/* wanted[n]: the most pages that one row and what it sees touch, over the rows of a text of n. */
static void fill_wanted(struct twin *t)
{
    int32_t most[TWIN_GROUPS] = {0};
    for (int32_t p = 0; p < TWIN_TOKENS; p++) {
        t->wanted[p + 1] = 0;
        for (int32_t g = 0; g < t->c.n_groups; g++) {
            int32_t touched = 0;
            for (int32_t b = 0; b <= p / K; b++) {
                touched += sees(p, t->c.windows[g], b);
            }
            most[g] = touched > most[g] ? touched : most[g];
            t->wanted[p + 1] += most[g];
        }
    }
}

int32_t twin_count(const struct twin *t, enum oct_seq_state state)
{
    int32_t n = 0;
    for (int32_t i = 0; i < t->n_reqs; i++) {
        n += t->req[i].state == state;
    }
    return n;
}

int32_t twin_held(const struct twin *t, int32_t req)
{
    int32_t n = 0;
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        for (int32_t b = 0; b < TWIN_BLOCKS; b++) {
            n += t->req[req].table[g][b] >= 0;
        }
    }
    return n;
}

int32_t twin_unused_pages(const struct twin *t, bool known)
{
    int32_t n = 0;
    for (int32_t i = 0; i < t->c.n_pages; i++) {
        n += t->page[i].refs == 0 && t->page[i].known == known;
    }
    return n;
}

static int32_t available(const struct twin *t)
{
    return twin_unused_pages(t, true) + twin_unused_pages(t, false);
}

/* Promised and not held: by all who run, or by the pinned; `but` left out. */
static int32_t promised(const struct twin *t, bool pinned_only, int32_t but)
{
    int32_t n = 0;
    for (int32_t i = 0; i < t->n_reqs; i++) {
        const struct twin_req *r = &t->req[i];
        if (i != but && r->state == OCT_SEQ_RUNNING && (r->pinned || !pinned_only) &&
            r->target > twin_held(t, i)) {
            n += r->target - twin_held(t, i);
        }
    }
    return n;
}

/* The request in `state` that comes first after `above`; -1: none. */
static int32_t next_in_order(const struct twin *t, enum oct_seq_state state, int64_t above)
{
    int32_t best = -1;
    for (int32_t i = 0; i < t->n_reqs; i++) {
        if (t->req[i].state == state && order_of(t, &t->req[i]) > above &&
            (best < 0 || order_of(t, &t->req[i]) < order_of(t, &t->req[best]))) {
            best = i;
        }
    }
    return best;
}

/* ---- pages ---- */

static int32_t take(struct twin *t)
{
    int32_t best = -1;
    for (int32_t i = 0; i < t->c.n_pages; i++) {
        const struct twin_page *p = &t->page[i];
        if (p->refs == 0 && !p->known) {
            best = i;
            break;
        }
        if (p->refs == 0 && (best < 0 || p->stamp < t->page[best].stamp)) {
            best = i;
        }
    }
    cr_assert(best >= 0, "the twin has no page");
    t->page[best].known = false;
    t->page[best].refs = 1;
    return best;
}

static void let_go(struct twin *t, int32_t *page)
{
    cr_assert(t->page[*page].refs > 0);
    if (--t->page[*page].refs == 0) {
        t->page[*page].stamp = ++t->clock;
    }
    *page = -1;
}

static void let_all_go(struct twin *t, struct twin_req *r)
{
    for (int32_t b = TWIN_BLOCKS - 1; b >= 0; b--) {
        for (int32_t g = 0; g < t->c.n_groups; g++) {
            if (r->table[g][b] >= 0) {
                let_go(t, &r->table[g][b]);
            }
        }
    }
    r->blocks = r->offered = r->target = 0;
}

/* The page that is known to hold block b of r in group g. */
static int32_t known_page(const struct twin *t, const struct twin_req *r, int32_t g, int32_t b)
{
    for (int32_t i = 0; i < t->c.n_pages; i++) {
        const struct twin_page *p = &t->page[i];
        if (p->known && p->group == g && p->salt == r->salt && p->n_prefix == (b + 1) * K &&
            !memcmp(p->prefix, r->tokens, (size_t)p->n_prefix * sizeof(int32_t))) {
            return i;
        }
    }
    return -1;
}

static bool caches(const struct twin *t, const struct twin_req *r)
{
    bool windows = false;
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        windows = windows || t->c.windows[g] > 0;
    }
    return t->c.prefix_cache && r->use_prefix && (!r->pinned || !windows);
}

static bool hits(const struct twin *t, const struct twin_req *r, int32_t n)
{
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        for (int32_t b = 0; b < n; b++) {
            if (sees(n * K, t->c.windows[g], b) && known_page(t, r, g, b) < 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- the step ---- */

struct step {
    struct twin_pick *out;
    int32_t n, budget;
    bool preempted;
};

static void give_way(struct twin *t, struct step *k, int32_t req)
{
    struct twin_req *r = &t->req[req];
    for (int32_t i = 0; i < k->n; i++) {
        if (k->out[i].req == req) {
            k->budget += k->out[i].n_rows;
            memmove(&k->out[i], &k->out[i + 1], (size_t)(k->n - i - 1) * sizeof *k->out);
            k->n--;
            t->undone++;
            break;
        }
    }
    let_all_go(t, r);
    r->state = OCT_SEQ_WAITING;
    r->computed = r->flight = r->samples = 0;
    r->tainted = false;
    r->preempted++;
    r->generation++;
    t->preemptions++;
    k->preempted = true;
}

static int32_t rows_left(const struct twin_req *r)
{
    if (r->n_tokens + r->samples >= r->max_tokens) {
        return 0;
    }
    return r->n_tokens + r->samples - r->computed - r->flight;
}

/* One row more can be had without anybody giving way. */
static bool one_more_row(struct twin *t, int32_t req, int32_t at)
{
    struct twin_req *r = &t->req[req];
    if (at / K < r->blocks) {
        return true;
    }
    if (available(t) - promised(t, true, req) < t->c.n_groups) {
        return false;
    }
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        r->table[g][r->blocks] = take(t);
    }
    r->blocks++;
    return true;
}

static void give_rows(struct twin *t, struct step *k, int32_t req, int32_t rows)
{
    struct twin_req *r = &t->req[req];
    const int32_t first = r->computed + r->flight;
    int32_t n = 0;
    while (n < rows) {
        if (one_more_row(t, req, first + n)) {
            n++;
            continue;
        }
        int32_t victim = -1;
        for (int32_t i = 0; n == 0 && i < t->n_reqs; i++) {
            const struct twin_req *v = &t->req[i];
            if (v->state == OCT_SEQ_RUNNING && !v->pinned && order_of(t, v) > order_of(t, r) &&
                (victim < 0 || order_of(t, v) > order_of(t, &t->req[victim]))) {
                victim = i;
            }
        }
        if (victim < 0) {
            break;
        }
        give_way(t, k, victim);
    }
    if (n == 0) {
        return;
    }
    k->out[k->n++] = (struct twin_pick){
        .req = req, .first = first, .n_rows = n, .samples = first + n == r->n_tokens + r->samples};
    r->samples += first + n == r->n_tokens + r->samples;
    r->flight += n;
    k->budget -= n;
}

static bool let_in(struct twin *t, int32_t req)
{
    struct twin_req *r = &t->req[req];
    const int32_t running = twin_count(t, OCT_SEQ_RUNNING);
    if (running > 0 && r->wait > 0) {
        r->wait--;
        return false;
    }
    r->pinned = r->preempted >= 4;
    int32_t n = caches(t, r) ? (r->n_tokens - 1) / K : 0;
    while (r->wants_rows && n * K > r->taken) {
        n--;
    }
    while (!hits(t, r, n)) {
        n--;
    }
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        for (int32_t b = 0; b < n; b++) {
            if (sees(n * K, t->c.windows[g], b)) {
                r->table[g][b] = known_page(t, r, g, b);
                t->page[r->table[g][b]].refs++;
            }
        }
    }
    const int32_t target = t->wanted[r->pinned ? r->max_tokens - 1 : r->n_tokens];
    const int32_t more = target - twin_held(t, req) > 0 ? target - twin_held(t, req) : 0;
    int32_t spare = running * t->c.n_groups;
    if (spare > t->c.n_pages / 16) {
        spare = t->c.n_pages / 16;
    }
    if (available(t) < promised(t, false, req) + more + spare) {
        let_all_go(t, r);
        r->pinned = false;
        r->wait = n / 64;
        return false;
    }
    r->target = target;
    r->state = OCT_SEQ_RUNNING;
    r->computed = n * K;
    r->blocks = r->offered = n;
    if (r->preempted == 0) {
        r->hit = n * K;
        t->hits += (uint64_t)(n * K);
        t->queries += (uint64_t)r->n_tokens;
    }
    return true;
}

int32_t twin_pick(struct twin *t, struct twin_pick *out, int32_t row_limit)
{
    struct step k = {.out = out, .budget = t->c.max_num_batched_tokens};
    if (row_limit > 0 && row_limit < k.budget) {
        k.budget = row_limit;
    }
    for (int prompts = 0; prompts < 2; prompts++) {
        int32_t i = -1;
        int64_t last = INT64_MIN;
        while (k.budget > 0 && (i = next_in_order(t, OCT_SEQ_RUNNING, last)) >= 0) {
            last = order_of(t, &t->req[i]);
            const int32_t left = rows_left(&t->req[i]);
            if (prompts ? left > 1 : left == 1) {
                give_rows(t, &k, i, left < k.budget ? left : k.budget);
            }
        }
    }
    while (!k.preempted && k.budget > 0 && twin_count(t, OCT_SEQ_RUNNING) < t->c.max_num_seqs) {
        const int32_t i = next_in_order(t, OCT_SEQ_WAITING, INT64_MIN);
        if (i < 0 || !let_in(t, i)) {
            break;
        }
        const int32_t left = rows_left(&t->req[i]);
        give_rows(t, &k, i, left < k.budget ? left : k.budget);
    }
    return k.n;
}

/* ---- the rest ---- */

void twin_init(struct twin *t, const struct oct_sched_config *c)
{
    memset(t, 0, sizeof *t);
    t->c = *c;
    fill_wanted(t);
    for (int32_t i = 0; i < TWIN_REQS; i++) {
        memset(t->req[i].table, 0xff, sizeof t->req[i].table);
    }
}

bool twin_add(struct twin *t, int32_t req)
{
    int32_t fresh = 0;
    for (int32_t i = 0; i < t->n_reqs; i++) {
        fresh += t->req[i].state == OCT_SEQ_WAITING && t->req[i].preempted == 0;
    }
    if (fresh >= t->c.max_waiting ||
        twin_count(t, OCT_SEQ_WAITING) >= t->c.max_waiting + t->c.max_num_seqs) {
        return false;
    }
    t->req[req].state = OCT_SEQ_WAITING;
    return true;
}

void twin_done(struct twin *t, const struct twin_pick *p, uint32_t generation, bool ran, bool keep)
{
    struct twin_req *r = &t->req[p->req];
    if (generation != r->generation) {
        return;
    }
    if (!ran) {
        r->generation++;
        r->flight = r->samples = 0;
        return;
    }
    r->computed += p->n_rows;
    r->flight -= p->n_rows;
    r->samples -= p->samples;
    r->tainted = r->tainted || !keep;
    while (caches(t, r) && !r->tainted && (r->offered + 1) * K <= r->computed) {
        for (int32_t g = 0; g < t->c.n_groups; g++) {
            const int32_t page = r->table[g][r->offered];
            if (page >= 0 && known_page(t, r, g, r->offered) < 0) {
                struct twin_page *q = &t->page[page];
                q->known = true;
                q->group = g;
                q->salt = r->salt;
                q->n_prefix = (r->offered + 1) * K;
                memcpy(q->prefix, r->tokens, (size_t)q->n_prefix * sizeof(int32_t));
            }
        }
        r->offered++;
    }
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        for (int32_t b = 0; b < r->blocks; b++) {
            if (r->table[g][b] >= 0 && !sees(r->computed, t->c.windows[g], b)) {
                let_go(t, &r->table[g][b]);
            }
        }
    }
}

static void doubt(struct twin *t, struct twin_req *r)
{
    for (int32_t g = 0; g < t->c.n_groups; g++) {
        for (int32_t b = 0; (b + 1) * K <= r->computed; b++) {
            const int32_t page = known_page(t, r, g, b);
            if (page >= 0) {
                t->page[page].known = false;
            }
        }
    }
    r->tainted = true;
}

void twin_remove(struct twin *t, int32_t req, bool trust)
{
    struct twin_req *r = &t->req[req];
    if (r->state == OCT_SEQ_RUNNING && !trust && t->c.prefix_cache && r->use_prefix) {
        for (int32_t i = 0; i < t->n_reqs; i++) {
            struct twin_req *o = &t->req[i];
            if (o != r && o->state == OCT_SEQ_RUNNING && o->use_prefix && o->salt == r->salt &&
                r->computed >= K && o->computed >= K &&
                !memcmp(r->tokens, o->tokens, K * sizeof(int32_t))) {
                doubt(t, o);
            }
        }
        doubt(t, r);
    }
    let_all_go(t, r);
    r->state = OCT_SEQ_REMOVED;
    r->generation++;
    r->flight = r->samples = 0;
}

int32_t twin_expired(const struct twin *t, int64_t now_us)
{
    int32_t best = -1;
    for (int32_t i = 0; i < t->n_reqs; i++) {
        const struct twin_req *r = &t->req[i];
        if ((r->state == OCT_SEQ_WAITING || r->state == OCT_SEQ_RUNNING) && r->deadline != 0 &&
            r->deadline <= now_us && (best < 0 || r->deadline < t->req[best].deadline)) {
            best = i; /* slots are in the order of ids: the first of equals stays */
        }
    }
    return best;
}
