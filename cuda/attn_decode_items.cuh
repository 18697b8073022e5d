// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_items.cuh - which units and splits of a step a block of attn_decode.cuh takes, by the
// arithmetic of attn_schedule.h.
#ifndef K_ATTN_DECODE_ITEMS_CUH
#define K_ATTN_DECODE_ITEMS_CUH

#include "attn.cuh"

// One unit and the splits of it that this block takes. The same in all its threads.
struct k_decode_unit {
    int seq, row, pos;
    int sub;        // which of the sequence's units: key head times stretches of 16 query heads
    int split0, n;  // first split with a visible key; how many there are
    int from, to;   // the block's: 0 <= from <= to <= n
    int first_item; // number of split 0 among all items
};

// What the row of sequence i sees; no tiles and splits if it is not one of ours.
K_DEV k_attn_reach k_decode_reach(const k_attn_args &a, int i, int *row, int *pos)
{
    if (i < a.n_seqs) {
        const k_seq s = k_at<const k_seq>(a.seqs)[i];
        if (s.n_rows == 1) {
            *row = s.row;
            *pos = k_at<const int32_t>(a.positions)[s.row];
            return k_attn_reach_of(*pos, a.window);
        }
    }
    return {};
}

// Finds the unit that holds tile `at` of the row of all, and the splits of it that begin in
// [at, end). Its end.
K_DEV int k_decode_find(const k_attn_args &a, int subs, bool whole, int at, int end, int lane,
                        k_decode_unit *u)
{
    int tiles = 0, items = 0; // before
    for (int base = 0; base < a.n_seqs; base += 32) {
        int row = 0, pos = 0;
        const k_attn_reach mine = k_decode_reach(a, base + lane, &row, &pos);
        const int t = tiles + k_warp_inclusive(mine.n_tiles * subs, lane);
        const int n = items + k_warp_inclusive(mine.n_splits * subs, lane);
        const unsigned past = __ballot_sync(0xffffffffu, t > at);
        if (past) {
            const int who = __ffs((int)past) - 1;
            u->seq = base + who;
            u->row = __shfl_sync(0xffffffffu, row, who);
            u->pos = __shfl_sync(0xffffffffu, pos, who);
            const k_attn_reach r = k_attn_reach_of(u->pos, a.window);
            u->split0 = r.split0;
            u->n = r.n_splits;
            const int first = __shfl_sync(0xffffffffu, t, who) - r.n_tiles * subs;
            u->sub = (at - first) / r.n_tiles;
            const int begin = first + u->sub * r.n_tiles;
            u->first_item = __shfl_sync(0xffffffffu, n, who) - (subs - u->sub) * u->n;
            u->from = k_attn_splits_before(r, at - begin, whole);
            u->to = k_attn_splits_before(r, end - begin, whole);
            return begin + r.n_tiles;
        }
        tiles = __shfl_sync(0xffffffffu, t, 31);
        items = __shfl_sync(0xffffffffu, n, 31);
    }
    return end; // not reached: at is one of them
}

// All tiles and items of the step.
K_DEV int2 k_decode_count(const k_attn_args &a, int subs, int lane)
{
    int2 n = {0, 0};
    for (int i = lane; i < a.n_seqs; i += 32) {
        int row, pos;
        const k_attn_reach r = k_decode_reach(a, i, &row, &pos);
        n.x += r.n_tiles;
        n.y += r.n_splits;
    }
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
        n.x += __shfl_xor_sync(0xffffffffu, n.x, d);
        n.y += __shfl_xor_sync(0xffffffffu, n.y, d);
    }
    n.x *= subs;
    n.y *= subs;
    return n;
}

#endif
