// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_items.cuh - which units and splits of a step a block of attn_decode.cuh takes.
#ifndef K_ATTN_DECODE_ITEMS_CUH
#define K_ATTN_DECODE_ITEMS_CUH

#include "attn.cuh"

// One unit and the splits of it that this block takes. The same in all its threads.
struct k_decode_unit {
    int seq, row, pos;
    int sub;        // which of the sequence's units: key head times stretches of 16 query heads
    int split0, n;  // first split with a visible key; how many there are
    int from, to;   // the block's: 0 <= from < to <= n
    int first_item; // number of split 0 among all items
};

// Splits of sequence i; 0 if it is not one of ours.
K_DEV int k_decode_splits(const k_attn_args &a, int i, k_decode_unit *u)
{
    if (i >= a.n_seqs) {
        return 0;
    }
    const k_seq s = k_at<const k_seq>(a.seqs)[i];
    if (s.n_rows != 1) {
        return 0;
    }
    u->row = s.row;
    u->pos = k_at<const int32_t>(a.positions)[s.row];
    u->split0 = k_attn_first_key(u->pos, a.window) / K_ATTN_SPLIT_TOKENS;
    return u->pos / K_ATTN_SPLIT_TOKENS - u->split0 + 1;
}

// Finds the unit that holds item `at` (a unit's number if `whole`), and the split in it.
K_DEV void k_decode_find(const k_attn_args &a, int subs, bool whole, int at, int lane,
                         k_decode_unit *u, int *split)
{
    int before = 0;
    for (int base = 0; base < a.n_seqs; base += 32) {
        k_decode_unit mine = {};
        const int n = k_decode_splits(a, base + lane, &mine);
        const int items = (whole ? n > 0 : n) * subs;
        const int sum = before + k_warp_inclusive(items, lane);
        const unsigned past = __ballot_sync(0xffffffffu, sum > at);
        if (past) {
            const int who = __ffs((int)past) - 1;
            u->seq = base + who;
            u->row = __shfl_sync(0xffffffffu, mine.row, who);
            u->pos = __shfl_sync(0xffffffffu, mine.pos, who);
            u->split0 = __shfl_sync(0xffffffffu, mine.split0, who);
            u->n = __shfl_sync(0xffffffffu, n, who);
            const int in = at - __shfl_sync(0xffffffffu, sum - items, who);
            u->sub = whole ? in : in / u->n;
            *split = whole ? 0 : in % u->n;
            u->first_item = at - *split;
            return;
        }
        before = __shfl_sync(0xffffffffu, sum, 31);
    }
}

// All items (units if `whole`) of the step.
K_DEV int k_decode_count(const k_attn_args &a, int subs, bool whole, int lane)
{
    int n = 0;
    for (int i = lane; i < a.n_seqs; i += 32) {
        k_decode_unit u;
        const int splits = k_decode_splits(a, i, &u);
        n += whole ? splits > 0 : splits;
    }
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
        n += __shfl_xor_sync(0xffffffffu, n, d);
    }
    return n * subs;
}

#endif
