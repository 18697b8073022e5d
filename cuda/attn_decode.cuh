// SPDX-License-Identifier: Apache-2.0
//
// attn_decode.cuh - attention of sequences with one row in this step, and the same with QK-norm,
// rotation and the cache's new key and value before it.
//
// A unit is a sequence, a key head and up to 16 of its query heads; an item is one split of a unit.
// The items of all units stand in one row, and each block takes a stretch of it of equal length, so
// that no block has more than one item more than another, whatever the lengths, and the grid is a
// fact of the device. A unit that lies within one block is merged in registers. Else each split's
// result goes to the workspace, and the block that arrives last (a ticket) merges them, left to
// right: the order is fixed, whoever does it.
//
// An item, four warps:
//     scores   warp w takes keys 16w..16w+15 of each of the (up to) 8 tiles: S in registers
//     maxima   of all tiles through shared memory; with them every warp knows the running maximum
//              before and after each tile, so the weights of all tiles are made at once: P, [16]
//              [512] bf16 in shared memory
//     values   warp w takes a quarter of the columns and walks the tiles in order
// Two barriers a split instead of two a tile, and what a warp reads of K and of V no other warp
// does: each warp streams its own part of every tile (its keys of K, then its columns of V) through
// a ring of its own by cp.async, with no barrier.
//
//          slot of a warp  slots  shared bytes  blocks/SM  in flight an SM, while a tile is used
//    d64   3072            4      68240         2          48 KB
//    d96   5120            3      80528         2          48 KB
//    d128  5120            3      80528         2          64 KB
//    d256  9216            3      158608        1          64 KB
//
// Two blocks of 128 threads may have 255 registers each, so that the scores of a whole split stay
// in them (64) beside Q.
//
// Rows in shared memory are padded to an odd number of 16-byte chunks, so that copies and ldmatrix
// meet no bank conflict and addresses are a register plus a constant.
#ifndef K_ATTN_DECODE_CUH
#define K_ATTN_DECODE_CUH

#include "attn.cuh"
#include "rope.cuh"

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

// A split of a unit: which keys of it are seen, where they lie.
struct k_decode_item {
    int lo, hi;          // keys seen: [lo, hi], all of this split
    int tile_a, n_tiles; // tiles that hold them
};

// The new key and value of the row, when this block has the split that holds them: lane c has
// elements 8c..8c+7 of the key's, and of its warp's part of the value.
struct k_decode_new {
    bool mine, write;
    uint4 key, value;
};

template <class Shape, bool kCap, bool kRope> struct k_decode_block {
    static constexpr int PAIRS = Shape::PAIRS, TILES = K_ATTN_SPLIT_TILES;
    const k_attn_decode_args &p;
    char *smem;
    int warp, lane, head, line0, lines; // key head; first query head of it, and how many
    float acc[2 * PAIRS][4], sum[4], m[2];
    float run[Shape::SPILLS ? 1 : 2 * PAIRS][4], run_sum[2], run_m[2];
    uint32_t q[Shape::SPILLS ? 1 : Shape::D / 16][4];

    __device__ __forceinline__ k_decode_block(const k_attn_decode_args &args, char *shared)
        : p(args), smem(shared), warp((int)threadIdx.x / 32), lane((int)threadIdx.x % 32)
    {
    }

    __device__ __forceinline__ char *slot(int i) const
    {
        return smem + (warp * Shape::SLOTS + i) * Shape::SLOT;
    }

    // Of the split's tiles; each warp has its own copy.
    __device__ __forceinline__ int *pages() const
    {
        return reinterpret_cast<int *>(smem + Shape::PAGES_AT) + warp * TILES;
    }

    // Columns of this warp's pair j of V.
    __device__ __forceinline__ int column(int j) const
    {
        return (warp * PAIRS + j) * 16;
    }

    // ---- queries: shared memory, then registers ----

    __device__ __forceinline__ void load_q(const k_decode_unit &u)
    {
        const k_attn_args &a = p.a;
        const int dim = a.kv.head_dim, per_key = a.n_heads / a.kv.n_kv_heads;
        const uint16_t *src = k_at<const uint16_t>(a.q) + (int64_t)u.row * a.q_stride +
                              (int64_t)(head * per_key + line0) * dim;
        char *dst = smem + Shape::Q_AT;
        if (kRope) {
            constexpr int kLanes = Shape::D <= 64 ? 8 : Shape::D <= 128 ? 16 : 32;
            const int c = lane % kLanes;
            const float *angles = k_at<const float>(p.cos_sin) + (int64_t)u.pos * p.rot_dim;
            const k_rope_angles t = k_rope_load_angles<false>(angles, c, p.rot_dim);
            const uint4 w = p.q_norm ? k_rope_load<false>(k_at<const uint16_t>(p.q_norm), c, dim)
                                     : make_uint4(0, 0, 0, 0);
#pragma unroll
            for (int l = 0; l < 16; l += 4 * 32 / kLanes) {
                const int line = l + (int)threadIdx.x / kLanes;
                const bool in = line < lines;
                uint4 x =
                    in ? k_rope_load<false>(src + line * dim, c, dim) : make_uint4(0, 0, 0, 0);
                x = k_rope_head<kLanes, false>(x, w, p.q_norm != 0, t, c, dim, p.rot_dim, p.eps);
                if (c < Shape::CHUNKS) {
                    *reinterpret_cast<uint4 *>(dst + line * Shape::Q_ROW + 16 * c) =
                        in ? x : make_uint4(0, 0, 0, 0);
                }
            }
        } else {
            for (int at = warp; at < Shape::CHUNKS / 2; at += Shape::WARPS) {
                int line, ch;
                k_decode_place<Shape::CHUNKS>(at, lane, &line, &ch);
                const uint16_t *from = src + line * dim + 8 * ch;
                uint4 x = make_uint4(0, 0, 0, 0);
                if (line < lines && dim % 8 == 0) {
                    x = 8 * ch < dim ? k_load16(from) : x;
                } else if (line < lines) {
                    x = k_rope_load<true>(src + line * dim, ch, dim);
                }
                *reinterpret_cast<uint4 *>(dst + line * Shape::Q_ROW + 16 * ch) = x;
            }
        }
        __syncthreads();
        if (!Shape::SPILLS) {
#pragma unroll
            for (int kk = 0; kk < Shape::D / 16; kk++) {
                k_ldmatrix4(q[Shape::SPILLS ? 0 : kk], q_lane() + (uint32_t)(32 * kk));
            }
        }
    }

    // This lane's row of the A fragments.
    __device__ __forceinline__ uint32_t q_lane() const
    {
        return k_smem(smem + Shape::Q_AT) + (uint32_t)(lane % 16 * Shape::Q_ROW + lane / 16 * 16);
    }

    // Norm and rotation of the new key by every warp, for the warp that has its row; the value as
    // it stands.
    __device__ __forceinline__ k_decode_new load_new(const k_decode_unit &u)
    {
        k_decode_new x = {};
        if (kRope && u.to == u.n) {
            constexpr int kLanes = Shape::D <= 64 ? 8 : Shape::D <= 128 ? 16 : 32;
            const k_attn_args &a = p.a;
            const int dim = a.kv.head_dim, c = lane % kLanes;
            const uint16_t *row = k_at<const uint16_t>(a.q) + (int64_t)u.row * a.q_stride;
            const uint16_t *k = row + (int64_t)(a.n_heads + head) * dim;
            const uint16_t *v = k + (int64_t)a.kv.n_kv_heads * dim;
            const float *angles = k_at<const float>(p.cos_sin) + (int64_t)u.pos * p.rot_dim;
            const k_rope_angles t = k_rope_load_angles<false>(angles, c, p.rot_dim);
            const uint4 w = p.k_norm ? k_rope_load<false>(k_at<const uint16_t>(p.k_norm), c, dim)
                                     : make_uint4(0, 0, 0, 0);
            x.mine = true;
            x.write = line0 == 0;
            uint4 key = k_rope_head<kLanes, false>(k_rope_load<false>(k, c, dim), w, p.k_norm != 0,
                                                   t, c, dim, p.rot_dim, p.eps);
            uint4 value =
                k_rope_load<false>(v, warp * Shape::V_CHUNKS + lane % Shape::V_CHUNKS, dim);
            if (Shape::SPILLS) {
                uint4 *to = reinterpret_cast<uint4 *>(smem + Shape::FRESH_AT) + threadIdx.x;
                to[0] = key;
                to[Shape::THREADS] = value;
            } else {
                x.key = key;
                x.value = value;
            }
        }
        return x;
    }

    __device__ __forceinline__ uint4 fresh_part(const k_decode_new &fresh, bool value) const
    {
        if (Shape::SPILLS) {
            return reinterpret_cast<const uint4 *>(
                smem + Shape::FRESH_AT)[(value ? Shape::THREADS : 0) + (int)threadIdx.x];
        }
        return value ? fresh.value : fresh.key;
    }

    // ---- copies ----

    __device__ __forceinline__ const char *tile_at(int page) const
    {
        return k_at<const char>(p.a.kv.pool) + 2 * k_kv_tile(&p.a.kv, page, head);
    }

    // Asks for this warp's 16 keys of a K tile. Keys that the row does not see become zero.
    __device__ __forceinline__ void ask_keys(const k_decode_item &it, const k_decode_new &fresh,
                                             int i, int into)
    {
        const k_attn_args &a = p.a;
        const char *src = tile_at(pages()[i]);
        char *dst = slot(into);
        const int row_bytes = (int)k_kv_row(&a.kv) * 2;
        const int key0 = (it.tile_a + i) * K_ATTN_TILE, last = it.hi - key0;
        const int first = it.lo - key0 - warp * 16, n = it.hi - it.lo + 1;
        src += warp * 16 * row_bytes;
#pragma unroll(Shape::SPILLS ? 4 : 16)
        for (int at = 0; at < 16 * Shape::CHUNKS / 32; at++) {
            int row, ch;
            k_decode_place<Shape::CHUNKS>(at, lane, &row, &ch);
            const int bytes = k_attn_chunk_bytes(ch, a.kv.head_dim);
            if (!(kRope && fresh.mine && row + warp * 16 == last)) {
                k_cp_async16(k_smem(dst) + (uint32_t)(row * Shape::K_ROW + 16 * ch),
                             src + row * row_bytes + (bytes ? 16 * ch : 0),
                             (unsigned)(row - first) < (unsigned)n ? bytes : 0);
            }
        }
        if (kRope && fresh.mine && last < K_ATTN_TILE && last / 16 == warp &&
            lane < Shape::CHUNKS) {
            const int row = last % 16;
            *reinterpret_cast<uint4 *>(dst + row * Shape::K_ROW + 16 * lane) =
                fresh_part(fresh, false);
            if (fresh.write && 8 * lane < a.kv.head_dim) {
                k_store16(const_cast<char *>(src) + row * row_bytes + 16 * lane,
                          fresh_part(fresh, false));
            }
        }
    }

    // Asks for this warp's columns of a V tile.
    __device__ __forceinline__ void ask_values(const k_decode_item &it, const k_decode_new &fresh,
                                               int i, int into)
    {
        const k_attn_args &a = p.a;
        const char *src = tile_at(pages()[i]) + 2 * k_kv_v_offset(&a.kv);
        char *dst = slot(into);
        const int row_bytes = (int)k_kv_row(&a.kv) * 2;
        const int key0 = (it.tile_a + i) * K_ATTN_TILE, last = it.hi - key0;
        const int first = it.lo - key0, n = it.hi - it.lo + 1;
        constexpr int kPer = Shape::V_CHUNKS;
        int row0, ch;
        k_decode_place<kPer>(0, lane, &row0, &ch);
        const int all = warp * kPer + ch;
        const int bytes = k_attn_chunk_bytes(all, a.kv.head_dim);
        const char *column = src + (bytes ? 16 * all : 0);
        if (Shape::D == 64 * PAIRS || all < Shape::CHUNKS) {
#pragma unroll(Shape::SPILLS ? 4 : 16)
            for (int at = 0; at < 2 * kPer; at++) {
                const int key = at * (32 / kPer) + row0;
                if (!(kRope && fresh.mine && key == last)) {
                    k_cp_async16(k_smem(dst) + (uint32_t)(key * Shape::V_ROW + 16 * ch),
                                 column + key * row_bytes,
                                 (unsigned)(key - first) < (unsigned)n ? bytes : 0);
                }
            }
        }
        const int mine = warp * kPer + lane; // the chunk of fresh.value
        if (kRope && fresh.mine && last < K_ATTN_TILE && lane < kPer && mine < Shape::CHUNKS) {
            *reinterpret_cast<uint4 *>(dst + last * Shape::V_ROW + 16 * lane) =
                fresh_part(fresh, true);
            if (fresh.write && 8 * mine < a.kv.head_dim) {
                k_store16(const_cast<char *>(src) + last * row_bytes + 16 * mine,
                          fresh_part(fresh, true));
            }
        }
    }

    // ---- one split: acc, sum and m of it ----

    __device__ __forceinline__ void split(const k_decode_item &it, const k_decode_new &fresh)
    {
        const int n_copies = 2 * it.n_tiles;
        const auto ask = [&](int j, int into) {
            if (j < it.n_tiles) {
                ask_keys(it, fresh, j, into);
            } else if (j < n_copies) {
                ask_values(it, fresh, j - it.n_tiles, into);
            }
            k_cp_async_commit();
        };
#pragma unroll 1
        for (int j = 0; j < Shape::SLOTS; j++) {
            ask(j, j);
        }
        int at = 0, ring = 0;
        const auto next = [&]() {
            __syncwarp();
            ask(at + Shape::SLOTS, ring);
            at++;
            ring = ring + 1 == Shape::SLOTS ? 0 : ring + 1;
        };

        // Scores: lines g and g + 8, keys 2c and 2c + 1 of the warp's two eights of each tile. The
        // loop is not unrolled, or the copies in it would be there eight times: a tile's scores
        // come in at the end of s and move down, so that after all TILES rounds tile i is at i.
        float s[TILES][2][4];
        const int third = lane / 16, upper = lane / 8 % 2;
        const int k_row = lane % 8 + 8 * third;
        float *maxima = reinterpret_cast<float *>(smem + Shape::MAX_AT);
#pragma unroll
        for (int x = 0; x < TILES * 8; x++) {
            s[x / 8][x / 4 % 2][x % 4] = 0.0f;
        }
#pragma unroll 1
        for (int i = 0; i < TILES; i++) {
#pragma unroll
            for (int x = 0; x < TILES * 8; x++) {
                s[x / 8][x / 4 % 2][x % 4] =
                    x / 8 + 1 < TILES ? s[x / 8 + 1 < TILES ? x / 8 + 1 : 0][x / 4 % 2][x % 4]
                                      : 0.0f;
            }
            if (i < it.n_tiles) {
                float(*last)[4] = s[TILES - 1];
                k_cp_async_wait<Shape::SLOTS - 1>();
                __syncwarp();
                const uint32_t row =
                    k_smem(slot(ring)) + (uint32_t)(k_row * Shape::K_ROW + 16 * upper);
#pragma unroll
                for (int kk = 0; kk < Shape::D / 16; kk++) {
                    uint32_t b[4];
                    if (Shape::SPILLS) {
                        k_ldmatrix4(q[0], q_lane() + (uint32_t)(32 * kk));
                    }
                    k_ldmatrix4(b, row + (uint32_t)(32 * kk));
                    k_mma_bf16(last[0], q[Shape::SPILLS ? 0 : kk], b[0], b[1]);
                    k_mma_bf16(last[1], q[Shape::SPILLS ? 0 : kk], b[2], b[3]);
                }
                next();
                const int key = (it.tile_a + i) * K_ATTN_TILE + warp * 16 + lane % 4 * 2;
#pragma unroll
                for (int x = 0; x < 8; x++) {
                    const int k = key + x / 4 * 8 + x % 2;
                    const float y = k_attn_score<kCap>(last[x / 4][x % 4], p.cap_in);
                    last[x / 4][x % 4] =
                        (unsigned)(k - it.lo) <= (unsigned)(it.hi - it.lo) ? y : k_neg_inf();
                }
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const float most = k_quad_max(fmaxf(fmaxf(last[0][2 * j], last[0][2 * j + 1]),
                                                        fmaxf(last[1][2 * j], last[1][2 * j + 1])));
                    if (lane % 4 == 0) {
                        maxima[(lane / 4 + 8 * j) * Shape::MAX_ROW + i * 4 + warp] = most;
                    }
                }
            }
        }
        __syncthreads();

        // Weights. factor: from the maximum before a tile to the one after it.
        float factor[TILES][2];
#pragma unroll
        for (int x = 0; x < 2 * TILES; x++) {
            factor[x / 2][x % 2] = 1.0f;
        }
        m[0] = m[1] = k_neg_inf();
        char *weights = smem + Shape::P_AT;
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            if (i < it.n_tiles) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const int line = lane / 4 + 8 * j;
                    const float4 x =
                        reinterpret_cast<const float4 *>(maxima + line * Shape::MAX_ROW)[i];
                    const float most = fmaxf(m[j], fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)));
                    factor[i][j] = k_attn_correction(m[j], most, p.c);
                    m[j] = most;
                    const float base = k_attn_base(most, p.c);
                    uint32_t *to = reinterpret_cast<uint32_t *>(
                        weights + line * Shape::P_ROW +
                        (i * K_ATTN_TILE + warp * 16 + lane % 4 * 2) * 2);
                    to[0] = k_bf16_pair(k_attn_weight(s[i][0][2 * j], p.c, base),
                                        k_attn_weight(s[i][0][2 * j + 1], p.c, base));
                    to[4] = k_bf16_pair(k_attn_weight(s[i][1][2 * j], p.c, base),
                                        k_attn_weight(s[i][1][2 * j + 1], p.c, base));
                }
            }
        }
        __syncthreads();

        // Values.
#pragma unroll
        for (int x = 0; x < 2 * PAIRS * 4; x++) {
            acc[x / 4][x % 4] = 0.0f;
        }
        sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
        const uint32_t p_at = k_smem(weights) + (uint32_t)((lane % 16) * Shape::P_ROW + 16 * third);
#pragma unroll 1
        for (int i = 0; i < it.n_tiles; i++) {
            {
                k_cp_async_wait<Shape::SLOTS - 1>();
                __syncwarp();
#pragma unroll
                for (int x = 0; x < 2 * PAIRS * 4; x++) {
                    acc[x / 4][x % 4] = __fmul_rn(acc[x / 4][x % 4], factor[0][x % 4 / 2]);
                }
                sum[0] = __fmul_rn(sum[0], factor[0][0]);
                sum[2] = __fmul_rn(sum[2], factor[0][1]);
                const uint32_t tile =
                    k_smem(slot(ring)) + (uint32_t)(lane % 16 * Shape::V_ROW + 16 * third);
#pragma unroll
                for (int kk = 0; kk < 4; kk++) {
                    uint32_t w[4];
                    k_ldmatrix4(w, p_at + (uint32_t)(i * K_ATTN_TILE * 2 + 32 * kk));
                    k_mma_bf16(sum, w, kOnes, kOnes);
#pragma unroll
                    for (int j = 0; j < PAIRS; j++) {
                        if (Shape::D == 64 * PAIRS || column(j) < Shape::D) {
                            uint32_t b[4];
                            k_ldmatrix4_trans(b,
                                              tile + (uint32_t)(16 * kk * Shape::V_ROW + 32 * j));
                            k_mma_bf16(acc[2 * j], w, b[0], b[1]);
                            k_mma_bf16(acc[2 * j + 1], w, b[2], b[3]);
                        }
                    }
                }
                next();
#pragma unroll
                for (int x = 0; x + 1 < TILES; x++) { // the next tile's come first
                    factor[x][0] = factor[x + 1][0];
                    factor[x][1] = factor[x + 1][1];
                }
            }
        }
        k_cp_async_wait<0>();
    }

    // ---- results ----

    __device__ __forceinline__ float4 load_run(int n) const
    {
        if (Shape::SPILLS) {
            return reinterpret_cast<const float4 *>(
                smem + Shape::RUN_AT)[n * Shape::THREADS + (int)threadIdx.x];
        }
        const float *x = run[Shape::SPILLS ? 0 : n];
        return make_float4(x[0], x[1], x[2], x[3]);
    }

    __device__ __forceinline__ void store_run(int n, float4 x)
    {
        if (Shape::SPILLS) {
            reinterpret_cast<float4 *>(smem +
                                       Shape::RUN_AT)[n * Shape::THREADS + (int)threadIdx.x] = x;
        } else {
            float *to = run[Shape::SPILLS ? 0 : n];
            to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
        }
    }

    __device__ __forceinline__ void clear_run()
    {
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++) {
            store_run(n, make_float4(0, 0, 0, 0));
        }
        run_sum[0] = run_sum[1] = 0.0f;
        run_m[0] = run_m[1] = k_neg_inf();
    }

    __device__ __forceinline__ void fold()
    {
        k_attn_factors f[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            f[j] = k_attn_merge_factors(run_m[j], run_sum[j], m[j], sum[2 * j], p.c);
            run_sum[j] = k_attn_merge(run_sum[j], sum[2 * j], f[j]);
            run_m[j] = f[j].m;
        }
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++) {
            const float4 x = load_run(n);
            store_run(n, make_float4(k_attn_merge(x.x, acc[n][0], f[0]),
                                     k_attn_merge(x.y, acc[n][1], f[0]),
                                     k_attn_merge(x.z, acc[n][2], f[1]),
                                     k_attn_merge(x.w, acc[n][3], f[1])));
        }
    }

    __device__ __forceinline__ float scale_of(float run_max, float total, int line) const
    {
        const k_attn_args &a = p.a;
        const int h = head * (a.n_heads / a.kv.n_kv_heads) + line0 + line;
        const float sink = a.sinks ? k_at<const float>(a.sinks)[h] : 0.0f;
        return k_attn_scale(run_max, total, p.c, a.sinks != 0, sink * kLog2e);
    }

    // Two neighbouring elements of out, from an even column on.
    __device__ __forceinline__ void write2(const k_decode_unit &u, int line, int col, float x,
                                           float y) const
    {
        const k_attn_args &a = p.a;
        const int dim = a.kv.head_dim;
        const int h = head * (a.n_heads / a.kv.n_kv_heads) + line0 + line;
        uint16_t *to =
            k_at<uint16_t>(a.out) + (int64_t)u.row * a.out_stride + (int64_t)h * dim + col;
        const uint32_t pair = k_bf16_pair(x, y);
        if (dim % 2 == 0) {
            if (col < dim) {
                *reinterpret_cast<uint32_t *>(to) = pair;
            }
        } else {
            if (col < dim) {
                to[0] = (uint16_t)pair;
            }
            if (col + 1 < dim) {
                to[1] = (uint16_t)(pair >> 16);
            }
        }
    }

    __device__ __forceinline__ void write_run(const k_decode_unit &u) const
    {
        float scale[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int line = lane / 4 + 8 * j;
            scale[j] = line < lines ? scale_of(run_m[j], run_sum[j], line) : 0.0f;
        }
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++) {
            const int col = column(n / 2) + n % 2 * 8 + lane % 4 * 2, line = lane / 4;
            const float4 x = load_run(n);
            if (line < lines) {
                write2(u, line, col, __fmul_rn(x.x, scale[0]), __fmul_rn(x.y, scale[0]));
            }
            if (line + 8 < lines) {
                write2(u, line + 8, col, __fmul_rn(x.z, scale[1]), __fmul_rn(x.w, scale[1]));
            }
        }
    }

    // ---- partial results: of each item [lines][D] fp32, then maximum and sum of each line ----

    __device__ __forceinline__ int64_t part_floats() const
    {
        const int per_key = p.a.n_heads / p.a.kv.n_kv_heads;
        return (int64_t)min(per_key, 16) * (Shape::D + 2);
    }

    __device__ __forceinline__ float *part(int64_t item) const
    {
        return k_at<float>(p.partials) + item * part_floats();
    }

    __device__ __forceinline__ void write_part(int item) const
    {
        float *to = part(item);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int line = lane / 4 + 8 * j;
            if (line < lines) {
#pragma unroll
                for (int n = 0; n < 2 * PAIRS; n++) {
                    const int col = column(n / 2) + n % 2 * 8 + lane % 4 * 2;
                    if (Shape::D == 64 * PAIRS || col < Shape::D) {
                        *reinterpret_cast<float2 *>(to + line * Shape::D + col) =
                            make_float2(acc[n][2 * j], acc[n][2 * j + 1]);
                    }
                }
                if (warp == 0 && lane % 4 == 0) {
                    *reinterpret_cast<float2 *>(to + part_floats() - 2 * lines + 2 * line) =
                        make_float2(m[j], sum[2 * j]);
                }
            }
        }
    }

    // Merges all splits of the unit, whoever made them, and writes out.
    __device__ __forceinline__ void merge_parts(const k_decode_unit &u) const
    {
        const int64_t step = part_floats();
        for (int at = (int)threadIdx.x; at < lines * (Shape::D / 2); at += Shape::THREADS) {
            const int line = at / (Shape::D / 2), col = at % (Shape::D / 2) * 2;
            const float *from = part(u.first_item);
            float x = 0.0f, y = 0.0f, most = k_neg_inf(), total = 0.0f;
#pragma unroll 4
            for (int s = 0; s < u.n; s++, from += step) {
                const float2 v = *reinterpret_cast<const float2 *>(from + line * Shape::D + col);
                const float2 state =
                    *reinterpret_cast<const float2 *>(from + step - 2 * lines + 2 * line);
                const k_attn_factors f = k_attn_merge_factors(most, total, state.x, state.y, p.c);
                x = k_attn_merge(x, v.x, f);
                y = k_attn_merge(y, v.y, f);
                total = k_attn_merge(total, state.y, f);
                most = f.m;
            }
            const float scale = scale_of(most, total, line);
            write2(u, line, col, __fmul_rn(x, scale), __fmul_rn(y, scale));
        }
    }

    // Counts the block's splits of the unit as done. True for the block that completes it.
    __device__ __forceinline__ bool arrive(const k_decode_unit &u, int subs) const
    {
        int *flag = reinterpret_cast<int *>(smem + Shape::FLAG_AT);
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) {
            int *ticket = k_at<int>(p.tickets) + u.seq * subs + u.sub;
            const int mine = u.to - u.from;
            const bool last = atomicAdd(ticket, mine) + mine == u.n;
            if (last) {
                *ticket = 0;
            }
            *flag = last;
            __threadfence();
        }
        __syncthreads();
        return *flag != 0;
    }

    __device__ __forceinline__ void unit(const k_decode_unit &u, int subs)
    {
        const k_attn_args &a = p.a;
        const int per_key = a.n_heads / a.kv.n_kv_heads, stretches = subs / a.kv.n_kv_heads;
        head = u.sub / stretches;
        line0 = u.sub % stretches * 16;
        lines = min(per_key - line0, 16);
        const int32_t *table = k_at<const int32_t>(a.kv.page_table) +
                               (int64_t)k_at<const int32_t>(a.row_seq)[u.row] * a.kv.table_stride;
        const int first_key = k_attn_first_key(u.pos, a.window);
        const bool whole = u.from == 0 && u.to == u.n;
        const k_decode_new fresh = load_new(u);
        load_q(u);
        clear_run();
        for (int i = u.from; i < u.to; i++) {
            const int key0 = (u.split0 + i) * K_ATTN_SPLIT_TOKENS;
            k_decode_item it;
            it.lo = max(first_key, key0);
            it.hi = min(u.pos, key0 + K_ATTN_SPLIT_TOKENS - 1);
            it.tile_a = it.lo / K_ATTN_TILE;
            it.n_tiles = it.hi / K_ATTN_TILE - it.tile_a + 1;
            if (lane < it.n_tiles) {
                pages()[lane] = table[it.tile_a + lane];
            }
            __syncwarp();
            k_decode_new here = fresh;
            here.mine = fresh.mine && i == u.n - 1;
            split(it, here);
            if (whole) {
                fold();
            } else {
                write_part(u.first_item + i);
            }
            __syncthreads(); // P and the maxima are free again
        }
        if (whole) {
            write_run(u);
        } else if (arrive(u, subs)) {
            __threadfence();
            merge_parts(u);
        }
    }
};

template <class Shape, bool kCap, bool kRope>
K_DEV void k_decode(const k_attn_decode_args &p, char *smem)
{
    const k_attn_args &a = p.a;
    const int lane = (int)threadIdx.x % 32;
    k_pdl_launch();
    k_pdl_wait();
    const int per_key = a.n_heads / a.kv.n_kv_heads;
    const int subs = a.kv.n_kv_heads * ((per_key + 15) / 16);
    int total = k_decode_count(a, subs, false, lane);
    const bool units = total > p.max_items; // no room for partial results: no unit is cut
    if (units) {
        total = k_decode_count(a, subs, true, lane);
    }
    const int blocks = (int)gridDim.x, b = (int)blockIdx.x;
    const int share = total / blocks, rest = total % blocks;
    int at = b * share + min(b, rest);
    const int end = at + share + (b < rest);
    k_decode_block<Shape, kCap, kRope> block(p, smem);
    while (at < end) {
        k_decode_unit u;
        k_decode_find(a, subs, units, at, lane, &u, &u.from);
        u.to = units ? u.n : min(u.n, u.from + end - at);
        at += units ? 1 : u.to - u.from;
        block.unit(u, subs);
    }
}

extern __shared__ __align__(128) char k_attn_smem[];

#define K_DECODE(name, size, cap, rope) \
    extern "C" __global__ void __launch_bounds__(k_decode_##size::THREADS, \
                                                 k_decode_##size::BLOCKS) \
        name##_bf16_##size(const __grid_constant__ k_attn_decode_args p) \
    { \
        k_decode<k_decode_##size, cap, rope>(p, k_attn_smem); \
    }

#endif
