// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_shape.cuh - what lies where in the shared memory of a block of attn_decode.cuh.
#ifndef K_ATTN_DECODE_SHAPE_CUH
#define K_ATTN_DECODE_SHAPE_CUH

#include "attn.cuh"

template <int kD, int kSlots, int kBlocks> struct k_decode_shape {
    static constexpr int D = kD, SLOTS = kSlots, BLOCKS = kBlocks, WARPS = 4, THREADS = 128;
    static constexpr int CHUNKS = D / 8;           // of a row of K
    static constexpr int PAIRS = (D / 16 + 3) / 4; // 16 columns of V: at most so many a warp
    static constexpr int V_CHUNKS = 2 * PAIRS;     // of a row of a warp's part of V
    static constexpr int K_ROW = D * 2 + 16, V_ROW = V_CHUNKS * 16 + 16; // odd numbers of chunks
    static constexpr int K_BYTES = 16 * K_ROW, V_BYTES = K_ATTN_TILE * V_ROW;
    static constexpr int SLOT = K_BYTES > V_BYTES ? K_BYTES : V_BYTES;
    static constexpr int P_ROW = K_ATTN_SPLIT_TOKENS * 2 + 16;
    static constexpr int Q_ROW = D * 2 + 16;
    static constexpr int P_AT = WARPS * SLOTS * SLOT;
    static constexpr int MAX_AT = P_AT + 16 * P_ROW; // [16 lines][MAX_ROW] fp32: [8 tiles][4 warps]
    static constexpr int MAX_ROW = K_ATTN_SPLIT_TILES * WARPS + 4; // no two lines in one bank
    static constexpr int FLAG_AT = MAX_AT + 16 * MAX_ROW * 4;
    static constexpr int PAGES_AT = FLAG_AT + 16; // [4 warps][8 tiles]
    // At D = 256 registers do not suffice: Q and the running result of earlier splits live here. At
    // others Q passes through P's place before P is made.
    static constexpr bool SPILLS = D == 256;
    static constexpr int END = PAGES_AT + WARPS * K_ATTN_SPLIT_TILES * 4;
    static constexpr int Q_AT = SPILLS ? END : P_AT;
    static constexpr int RUN_AT = END + 16 * Q_ROW; // [2 * PAIRS][128 threads] float4
    static constexpr int FRESH_AT = RUN_AT + 2 * PAIRS * THREADS * 16; // [2][128 threads] 16 bytes
    static constexpr int SMEM = SPILLS ? FRESH_AT + 2 * THREADS * 16 : END;
    // While one slot of a warp is used the others are under way. 32 KB an SM cover the latency of
    // HBM at full bandwidth with room for the turns in which a block only computes.
    static constexpr int IN_FLIGHT = BLOCKS * WARPS * (SLOTS - 1) * 16 * D * 2;
    static_assert(IN_FLIGHT >= 32 << 10, "bytes of K or V under way on an SM");
    static_assert(BLOCKS * (SMEM + 1024) <= 167936, "they fit, on the smaller of the two SMs");
};
using k_decode_d64 = k_decode_shape<64, 4, 2>;
using k_decode_d96 = k_decode_shape<96, 3, 2>;
using k_decode_d128 = k_decode_shape<128, 3, 2>;
using k_decode_d256 = k_decode_shape<256, 3, 1>;
static_assert(k_decode_d64::SMEM == K_ATTN_DECODE_SMEM_D64, "attn_plan.h says so");
static_assert(k_decode_d96::SMEM == K_ATTN_DECODE_SMEM_D96, "attn_plan.h says so");
static_assert(k_decode_d128::SMEM == K_ATTN_DECODE_SMEM_D128, "attn_plan.h says so");
static_assert(k_decode_d256::SMEM == K_ATTN_DECODE_SMEM_D256, "attn_plan.h says so");

// Rows and chunks of a copy of 16 * CHUNKS (K) or 64 * V_CHUNKS (V) chunks, its at-th 32: each
// eight lanes hit eight different banks of 16 bytes, where a row is not a multiple of eight chunks
// too.
template <int kChunks> K_DEV void k_decode_place(int at, int lane, int *row, int *ch)
{
    if (kChunks % 8 == 0) {
        *row = (at * 32 + lane) / kChunks;
        *ch = (at * 32 + lane) % kChunks;
    } else if (kChunks == 12) { // a row's first eight chunks, or the last four of rows r and r + 4
        const int phase = at * 4 + lane / 8, in = phase % 12, l = lane % 8;
        *row = phase / 12 * 8 + (in < 8 ? in : in - 8 + (l & 4));
        *ch = in < 8 ? l : 8 + (l & 3);
    } else if (kChunks == 4) { // rows r and r + 4
        *row = at * 8 + lane / 8 + (lane & 4);
        *ch = lane % 4;
    } else { // two chunks: rows r, r + 2, r + 4, r + 6
        *row = at * 16 + lane / 16 * 8 + lane / 8 % 2 + lane % 8 / 2 * 2;
        *ch = lane % 2;
    }
}

#endif
