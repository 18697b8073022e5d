// SPDX-License-Identifier: Apache-2.0
//
// rope.cu - QK-norm, rotary embedding, keys and values into pages, in one launch (rope.h).
//
// Bound by memory: every head is read once and written once, 16 bytes a lane; a head is 8, 16 or 32
// lanes (rope.cuh). Block: 128 threads, some heads of one token; grid: x tokens, y shares of the
// heads. A group takes heads `step` apart, two at a time, so that two loads of the row are on their
// way before position, page and angles are asked for; angles are loaded once for all of them. 8
// blocks an SM (64 registers): 1024 lanes with 32 bytes each under way, 32 KB.
#include "rope.cuh"
#include "rope.h"

enum { kThreads = 128 };

// Where a token's heads come from and go to.
struct token {
    uint16_t *row;    // of qkv
    uint16_t *k_slot; // of kv head 0
    int64_t v_offset, head_stride;
};

K_DEV token find_token(const k_rope_kv_args &a, int row, int position, int seq)
{
    const int page = k_at<const int32_t>(
        a.kv.page_table)[(int64_t)seq * a.kv.table_stride + position / K_PAGE_TOKENS];
    token t;
    t.row = k_at<uint16_t>(a.qkv) + row * a.qkv_stride;
    t.k_slot = k_at<uint16_t>(a.kv.pool) + k_kv_tile(&a.kv, page, 0) +
               position % K_PAGE_TOKENS * k_kv_row(&a.kv);
    t.v_offset = k_kv_v_offset(&a.kv);
    t.head_stride = K_PAGE_TOKENS * k_kv_row(&a.kv);
    return t;
}

template <int LANES, bool kAny> K_DEV void rope_kv(const k_rope_kv_args &a)
{
    constexpr int kGroups = kThreads / LANES, kAtOnce = 2;
    const int c = (int)threadIdx.x % LANES, group = (int)threadIdx.x / LANES;
    const int row = (int)blockIdx.x, dim = a.kv.head_dim, rot = a.rot_dim;
    const int n_q = a.n_heads, n_qk = n_q + a.kv.n_kv_heads, n = n_qk + a.kv.n_kv_heads;
    const int step = (int)gridDim.y * kGroups;
    k_pdl_launch();
    const uint4 zero = make_uint4(0, 0, 0, 0);
    const uint4 q_norm =
        a.q_norm ? k_rope_load<kAny>(k_at<const uint16_t>(a.q_norm), c, dim) : zero;
    const uint4 k_norm =
        a.k_norm ? k_rope_load<kAny>(k_at<const uint16_t>(a.k_norm), c, dim) : zero;
    k_pdl_wait();

    const uint16_t *from = k_at<const uint16_t>(a.qkv) + row * a.qkv_stride;
    k_rope_angles angles;
    token to;
    // `first` is the same in all groups of a block: shuffles need whole warps.
    for (int first = (int)blockIdx.y * kGroups; first < n; first += kAtOnce * step) {
        uint4 x[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int h = first + i * step + group;
            x[i] = h < n ? k_rope_load<kAny>(from + (int64_t)h * dim, c, dim) : zero;
        }
        if (first == (int)blockIdx.y * kGroups) {
            const int position = k_at<const int32_t>(a.positions)[row];
            const int seq = k_at<const int32_t>(a.row_seq)[row];
            angles = k_rope_load_angles<kAny>(
                k_at<const float>(a.cos_sin) + (int64_t)position * rot, c, rot);
            to = find_token(a, row, position, seq);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int h = first + i * step + group;
            const bool query = h < n_q, value = h >= n_qk;
            uint4 y = x[i];
            if (!__all_sync(0xffffffffu, value)) {
                y = k_rope_head<LANES, kAny>(y, k_select8(query, q_norm, k_norm),
                                             (query ? a.q_norm : a.k_norm) != 0, angles, c, dim,
                                             rot, a.eps);
            }
            if (h >= n || 8 * c >= dim) {
                continue;
            }
            if (query) {
                uint16_t *dst = to.row + (int64_t)h * dim;
                if (kAny) {
                    k_rope_store_any(dst, y, c, dim);
                } else {
                    k_store16(dst + 8 * c, y);
                }
            } else { // what lies between D and the next slot may hold anything: zero here
                const int64_t at =
                    value ? to.v_offset + (h - n_qk) * to.head_stride : (h - n_q) * to.head_stride;
                k_store16(to.k_slot + at + 8 * c, k_select8(value, x[i], y));
            }
        }
    }
}

#define ROPE_KV(suffix, lanes, any, blocks) \
    extern "C" __global__ void __launch_bounds__(kThreads, blocks) \
        rope_kv_b16_##suffix(const __grid_constant__ k_rope_kv_args a) \
    { \
        rope_kv<lanes, any>(a); \
    }

ROPE_KV(d64, 8, false, 8)
ROPE_KV(d128, 16, false, 8)
ROPE_KV(d256, 32, false, 8)
ROPE_KV(any, 32, true, 5)
