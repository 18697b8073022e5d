// SPDX-License-Identifier: Apache-2.0
//
// attn_decode.cuh - attention of sequences with one row in this step, and the same with QK-norm,
// rotation and the cache's new key and value before it.
//
// A unit is a sequence, a key head and up to 16 of its query heads; an item is one split of a unit.
// Blocks take what begins in equal stretches of tiles, whatever the lengths (attn_schedule.h), and
// the grid is a fact of the device. A unit that lies within one block is merged in registers. Else
// each split's result goes to the workspace, and the block that arrives last (a ticket) merges
// them, left to right: the order is fixed, whoever does it.
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

#include "attn_decode_result.cuh"
#include "rope.cuh"

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

template <class Shape, bool kCap, bool kRope> struct k_decode_block : k_decode_results<Shape> {
    static constexpr int PAIRS = Shape::PAIRS, TILES = K_ATTN_SPLIT_TILES;
    using Results = k_decode_results<Shape>;
    using Results::acc;
    using Results::head;
    using Results::lane;
    using Results::line0;
    using Results::lines;
    using Results::m;
    using Results::p;
    using Results::q;
    using Results::smem;
    using Results::sum;
    using Results::warp;

    __device__ __forceinline__ k_decode_block(const k_attn_decode_args &args, char *shared)
        : Results(args, shared)
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
                        if (Shape::D == 64 * PAIRS || this->column(j) < Shape::D) {
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
        this->clear_run();
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
                this->fold();
            } else {
                this->write_part(u.first_item + i);
            }
            __syncthreads(); // P and the maxima are free again
        }
        if (whole) {
            this->write_run(u);
        } else if (this->arrive(u, subs)) {
            __threadfence();
            this->merge_parts(u);
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
    const int2 n = k_decode_count(a, subs, lane);
    const bool whole = n.y > p.max_items; // no room for partial results: no unit is cut
    const int blocks = (int)gridDim.x, b = (int)blockIdx.x;
    int at = k_attn_stretch(n.x, blocks, b);
    const int end = k_attn_stretch(n.x, blocks, b + 1);
    k_decode_block<Shape, kCap, kRope> block(p, smem);
    while (at < end) {
        k_decode_unit u;
        at = k_decode_find(a, subs, whole, at, end, lane, &u);
        if (u.from < u.to) { // else another block has the split that reaches in here
            block.unit(u, subs);
        }
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
