/* SPDX-License-Identifier: Apache-2.0
 *
 * fcfs.c - who runs this step. First come, first served: a request is admitted when every page it
 * may need is promised, so that what runs can always finish. In a step, requests that wait for one
 * token each go first, then prompts in chunks, in order of admission, within the token budget. */
#include "engine/engine.h"

void oct_fcfs_admit(struct oct_engine *e)
{
    while (e->waiting_head && e->n_running < e->plan.max_num_seqs) {
        struct oct_req *r = e->waiting_head;
        if (!oct_kv_reserve(&e->kv, r->max_pages)) {
            return; /* its turn comes before that of smaller ones behind it: nobody starves */
        }
        e->waiting_head = r->next;
        if (!e->waiting_head) {
            e->waiting_tail = NULL;
        }
        r->next = NULL;
        e->n_waiting--;
        e->running[e->n_running++] = r;
    }
}

static void take_pages(struct oct_engine *e, struct oct_req *r)
{
    const int32_t tokens = r->n_computed + r->step_rows;
    while (r->n_pages * K_PAGE_TOKENS < tokens) {
        OCT_ASSERT(r->n_pages < r->max_pages);
        r->pages[r->n_pages++] = oct_kv_take(&e->kv);
    }
}

int32_t oct_fcfs_pick(struct oct_engine *e)
{
    /* With a logits hook every row's logits are kept, and there is room for max_num_seqs of them.
     */
    int32_t budget = e->on_logits ? e->plan.max_num_seqs : e->plan.max_num_batched_tokens;
    const int32_t total = budget;
    for (int32_t i = 0; i < e->n_running; i++) { /* decode rows: at most max_num_seqs <= budget */
        struct oct_req *r = e->running[i];
        r->step_rows = r->n_tokens - r->n_computed == 1 ? 1 : 0;
        budget -= r->step_rows;
    }
    for (int32_t i = 0; i < e->n_running; i++) {
        struct oct_req *r = e->running[i];
        if (r->step_rows == 0) {
            const int32_t left = r->n_tokens - r->n_computed;
            r->step_rows = left < budget ? left : budget;
            budget -= r->step_rows;
        }
        take_pages(e, r);
    }
    return total - budget;
}
