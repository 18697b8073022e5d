// SPDX-License-Identifier: Apache-2.0
//
// gemm.cuh - the body of the matrix product kernels: out = in weight^T, bf16, mma.sync m16n8k16
// with the rows of `in` as A and the places of the packed weight (gemm_pack.h) as B.
//
// A block walks over its pieces: a tile of the output and a range of its chunks of K_GEMM_CHUNK.
// All pieces are one stream of k-tiles (64 of k): cp.async brings BM x 64 of `in` and BN x 64 of
// the weight into a ring of STAGES slots, and goes on to the next piece while this one is finished,
// so that memory never idles. A chunk is summed from zero by the MMAs in ascending k, chunk sums
// are added in ascending order: each row's bits are the same in every kernel and for every cut.
//
// A tile that is cut goes through several blocks, first chunks in the first of them. A block does
// first what others wait for, last what it waits for itself: as a rule what it needs is there.
// Until then its own chunk sums wait in shared memory, or in the workspace where that is full.
#ifndef K_GEMM_CUH
#define K_GEMM_CUH

#include "act.cuh"
#include "gemm_plan.h"
#include "ptx.cuh"

template <int BM_, int BN_, int WARPS_M, int WARPS_N, int STAGES_> struct gemm_shape {
    static constexpr int BM = BM_, BN = BN_, STAGES = STAGES_;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
    static constexpr int MT = BM / WARPS_M / 16; // MMA tiles of a warp
    static constexpr int NT = BN / WARPS_N / 8;
    static constexpr int WN = WARPS_N;
    static constexpr int A_BYTES = BM * 128, B_BYTES = BN * 128;
    static constexpr int STAGE_BYTES = A_BYTES + B_BYTES;
    // Some device has room for a sum behind the ring.
    static constexpr bool KEEPS = STAGES * STAGE_BYTES + 4 * BM * BN < 232448;
    static constexpr int B_COPIES = BN * 8 / THREADS, COPIES = B_COPIES + BM * 8 / THREADS;
    static constexpr int CHUNK_TILES = K_GEMM_CHUNK / K_GEMM_TILE_K;
    static_assert(NT == 2 || NT == 4 || NT == 8, "a warp is within a panel, by pairs of tiles");
    static_assert(BM * 8 % THREADS == 0 && BN * 8 % THREADS == 0, "equal shares of the copies");
};

// threadIdx.x, read anew where it is used: what a tile's end makes of it takes no register before.
K_DEV int gemm_thread()
{
    int tid;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(tid));
    return tid;
}

// ---- what a block does ----

struct gemm_piece {
    int tile, c0, c1; // chunks [c0, c1) of the tile
};

// Piece i of this block; false: it has not so many. First the tile that its run leaves unfinished,
// then whole tiles, last the tile whose end it has.
K_DEV bool gemm_piece_at(const k_gemm_task &a, int i, gemm_piece &p)
{
    const int block = (int)blockIdx.x, tiles = a.m_tiles * a.n_tiles, n = a.n_chunks;
    const int items = a.split_tiles * n;
    const int from = min(block * a.run, items), to = min(from + a.run, items);
    p.tile = to / n;
    p.c0 = max(from - p.tile * n, 0);
    p.c1 = to - p.tile * n;
    if (p.c1 > 0 && i-- == 0) {
        return true;
    }
    const int whole = a.split_tiles + block + i * (int)gridDim.x;
    const bool after = whole - (int)gridDim.x<tiles, ends = p.tile * n> from;
    p.tile = from / n;
    p.c0 = from - p.tile * n;
    p.c1 = n;
    if (whole < tiles) {
        p.tile = whole;
        p.c0 = 0;
        return true;
    }
    return after && ends && p.c0 > 0;
}

// After how many of a piece's chunks, counted from 0, the sums from before it are added: when they
// are there if all blocks keep step. -1: nothing was before; past its end: it leaves that to
// others.
K_DEV int gemm_fold_at(const k_gemm_task &a, const gemm_piece &p)
{
    const int chunks = p.c1 - p.c0, before = min(p.c0, a.run);
    if (p.c0 == 0) {
        return -1;
    }
    if (p.c1 < a.n_chunks) {
        return a.flags & K_GEMM_HAND_ON ? min(before, chunks - 1) : chunks;
    }
    const bool late = a.m_tiles * a.n_tiles > a.split_tiles; // after whole tiles
    return late ? 0 : min(max(before - (a.run - chunks), 0), chunks - 1);
}

// Tiles are numbered by groups of columns, within a group row by row: blocks that run at the same
// time share rows of `in` and panels of the weight in L2.
K_DEV void gemm_tile_at(const k_gemm_task &a, int tile, int &tile_m, int &tile_n)
{
    const int whole = a.group * a.m_tiles, g = tile / whole, in_group = tile - g * whole;
    const int width = min(a.group, a.n_tiles - g * a.group);
    tile_m = in_group / width;
    tile_n = g * a.group + in_group - tile_m * width;
}

// ---- global to shared ----

// Where the copies are: STAGES - 1 k-tiles ahead of the products. After the last piece they go on
// with zeroes, so that the loop over k-tiles need not ask. Registers are scarce: what is the same
// for the block is kept once, and made a thread's own where it is needed.
template <typename S> struct gemm_loader {
    int piece;
    int left;           // k-tiles of the piece to come
    int k_left;         // elements of a row from the next k-tile on
    int there;          // rows of `in`, 0..BM, and panels of the weight, 0..BN / 64, times 1024
    const char *in;     // this thread's next 16 bytes of its first row
    const char *weight; // this thread's first 16 bytes of the next k-tile

    __device__ __forceinline__ void next_piece(const k_gemm_task &a)
    {
        gemm_piece p;
        there = 0;
        left = 1 << 30;
        if (gemm_piece_at(a, piece++, p)) {
            int tile_m, tile_n;
            gemm_tile_at(a, p.tile, tile_m, tile_n);
            const int tid = gemm_thread(), kt = p.c0 * S::CHUNK_TILES;
            there = min(a.m - tile_m * S::BM, S::BM) +
                    1024 * min((a.n + 63) / 64 - tile_n * (S::BN / 64), S::BN / 64);
            k_left = a.k - kt * K_GEMM_TILE_K;
            left = min(p.c1 * S::CHUNK_TILES, a.k_tiles) - kt;
            in = k_at<const char>(a.in) +
                 ((tile_m * S::BM + tid / 8) * a.in_stride + kt * K_GEMM_TILE_K + tid % 8 * 8) * 2;
            weight = k_at<const char>(a.weight) + tile_n * (S::BN / 64) * a.panel_bytes +
                     (int64_t)kt * K_GEMM_TILE_BYTES + tid * 16;
        }
    }

    // k-tiles of the piece from the next one on that need no zeroes.
    __device__ __forceinline__ int whole() const
    {
        return there == S::BM + 1024 * (S::BN / 64) ? min(left, k_left / K_GEMM_TILE_K) : 0;
    }

    // Copy `i` of COPIES of the next k-tile to the slot. WHOLE: there are no zeroes to put in.
    template <bool WHOLE>
    __device__ __forceinline__ void copy(const k_gemm_task &a, uint32_t slot, int i) const
    {
        const int tid = (int)threadIdx.x;
        if (i < S::B_COPIES) {
            const int at = i * S::THREADS * 16, panel = at / K_GEMM_TILE_BYTES;
            const uint32_t to = slot + S::A_BYTES + tid * 16 + at;
            const char *from = weight + panel * a.panel_bytes + at % K_GEMM_TILE_BYTES;
            if (WHOLE) {
                k_cp_async16(to, from);
            } else {
                k_cp_async16(to, from, panel < there / 1024 ? 16 : 0);
            }
            return;
        }
        // Swizzled as gemm_pack.h says; a thread's rows are a multiple of 8 apart.
        const int row = (i - S::B_COPIES) * (S::THREADS / 8);
        const uint32_t to = slot + tid / 8 * 128 + (((tid % 8) ^ (tid / 8 % 8)) << 4) + row * 128;
        const char *from = in + row * 2 * a.in_stride;
        if (WHOLE) {
            k_cp_async16(to, from);
        } else {
            const int bytes = min(max(k_left - tid % 8 * 8, 0), 8) * 2;
            k_cp_async16(to, from, row + tid / 8 < there % 1024 ? bytes : 0);
        }
    }

    // The caller looks after `left` and `k_left`.
    __device__ __forceinline__ void advance()
    {
        weight += K_GEMM_TILE_BYTES;
        in += K_GEMM_TILE_K * 2;
    }
};

// ---- shared to registers, products ----

// What is multiplied: the slot, its fragments of A for this step of k and for the next one, of B
// for these 16 places and for the next ones.
template <typename S> struct gemm_now {
    uint32_t slot;
    uint32_t a[2][S::MT][4], b[2][4];
};

// What a lane reads of a slot with ldmatrix.
struct gemm_reader {
    uint32_t a, b; // its 16 bytes of the warp's first 16 x 16 of A and of B

    template <typename S> __device__ __forceinline__ void init()
    {
        // A's 16 x 16 as rows 0..15, then the same 16 bytes on; B's as places 0..7, the same
        // 16 bytes on, places 8..15.
        const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
        const int row_a = warp / S::WN * (S::MT * 16) + lane % 16;
        const int row_b = warp % S::WN * (S::NT * 8) + lane % 8 + lane / 16 * 8;
        a = row_a * 128 + (((lane / 16) ^ (row_a % 8)) << 4);
        b = S::A_BYTES + row_b * 128 + (((lane / 8 % 2) ^ (row_b % 8)) << 4);
    }
    // Step kk (16 of k) of the slot: 16 rows of A, 16 places of B.
    __device__ __forceinline__ void load_a(uint32_t f[4], uint32_t slot, int i, int kk) const
    {
        k_ldmatrix4(f, slot + at_step(a, kk) + i * 16 * 128);
    }
    __device__ __forceinline__ void load_b(uint32_t f[4], uint32_t slot, int j, int kk) const
    {
        k_ldmatrix4(f, slot + at_step(b, kk) + j * 16 * 128);
    }
    // The first fragments of the slot.
    template <typename S> __device__ __forceinline__ void start(gemm_now<S> &now) const
    {
#pragma unroll
        for (int i = 0; i < S::MT; i++) {
            load_a(now.a[0][i], now.slot, i, 0);
        }
        load_b(now.b[0], now.slot, 0, 0);
    }
    // volatile: one instruction where it is needed is cheaper than a register for each step.
    __device__ __forceinline__ uint32_t at_step(uint32_t at, int kk) const
    {
        uint32_t x;
        asm volatile("xor.b32 %0, %1, %2;" : "=r"(x) : "r"(at), "r"(kk << 5));
        return x;
    }
};

// n k-tiles, and copies of as many that are STAGES - 1 ahead. Copies and reads of the next
// fragments are spread between the products.
template <typename S, bool WHOLE>
K_DEV void gemm_tiles(const k_gemm_task &a, gemm_loader<S> &loader, const gemm_reader &reader,
                      gemm_now<S> &now, float acc[S::MT][S::NT][4], int n)
{
    extern __shared__ __align__(1024) unsigned char gemm_smem[];
    const uint32_t ring = k_smem(gemm_smem), ring_end = ring + S::STAGES * S::STAGE_BYTES;
    // All copies at one place, after the barrier: each place costs some slots to order copies after
    // ldmatrix. Where 96 products are left of the k-tile, their end is better on sm_80 (0.98 of the
    // time in HMMA, not 0.91); on sm_90 it takes more registers than there are.
#if __CUDA_ARCH__ >= 900
    constexpr int LATER = 0;
#else
    constexpr int LATER = S::MT * S::NT >= 24 ? 2 : 0;
#endif
    constexpr int PAIRS = S::NT / 2, STEPS = 4 * PAIRS, COPY_STEP = 3 * PAIRS + LATER;
#pragma unroll 1
    for (int t = 0; t < n; t++) {
        const uint32_t slot = now.slot;
        // All warps are done with the slot before this one when they have met in this one.
        const uint32_t free = (slot == ring ? ring_end : slot) - S::STAGE_BYTES;
        const uint32_t next = slot + S::STAGE_BYTES == ring_end ? ring : slot + S::STAGE_BYTES;
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            const int kk = s / PAIRS, j = s % PAIRS;
            if (kk == 3 && j == 0) {
                // The next slot's first step is fetched while this one's last is multiplied.
                k_cp_async_wait<S::STAGES - 3>();
                __syncthreads();
            }
            const uint32_t from = kk == 3 ? next : slot;
            if (j + 1 < PAIRS) {
                reader.load_b(now.b[(s + 1) % 2], slot, j + 1, kk);
            } else {
                reader.load_b(now.b[(s + 1) % 2], from, 0, (kk + 1) % 4);
            }
#pragma unroll
            for (int i = 0; i < S::MT; i++) {
                if (i * PAIRS / S::MT == j) {
                    reader.load_a(now.a[(kk + 1) % 2][i], from, i, (kk + 1) % 4);
                }
            }
#pragma unroll
            for (int i = 0; i < S::MT; i++) {
                k_mma_bf16(acc[i][2 * j], now.a[kk % 2][i], now.b[s % 2][0], now.b[s % 2][1]);
                k_mma_bf16(acc[i][2 * j + 1], now.a[kk % 2][i], now.b[s % 2][2], now.b[s % 2][3]);
            }
            if (s == COPY_STEP) {
#pragma unroll
                for (int i = 0; i < S::COPIES; i++) {
                    loader.template copy<WHOLE>(a, free, i);
                }
            }
        }
        k_cp_async_commit();
        loader.advance();
        if (!WHOLE) {
            loader.k_left -= K_GEMM_TILE_K;
        }
        now.slot = next;
    }
}

// ---- partial sums ----

template <typename S> K_DEV float4 *gemm_slot(const k_gemm_task &a, int block, int i)
{
    return k_at<float4>(a.partials) + ((int64_t)block * a.slots + i) * (S::BM * S::BN / 4) +
           gemm_thread();
}

// Where the sum of the piece's chunk i is, if it cannot be added yet. Slot 0 of a block is for what
// it hands on.
template <typename S> K_DEV float4 *gemm_kept(const k_gemm_task &a, const gemm_piece &p, int i)
{
    extern __shared__ __align__(1024) unsigned char gemm_smem[];
    const bool left = p.c1 < a.n_chunks && !(a.flags & K_GEMM_HAND_ON);
    if (S::KEEPS && !left && i < a.keep) {
        return reinterpret_cast<float4 *>(gemm_smem + S::STAGES * S::STAGE_BYTES) +
               i * (S::BM * S::BN / 4) + gemm_thread();
    }
    return gemm_slot<S>(a, (int)blockIdx.x, left ? i : 1 + i - a.keep);
}

template <typename S> K_DEV void gemm_put(float4 *slot, const float v[S::MT][S::NT][4])
{
#pragma unroll
    for (int i = 0; i < S::MT * S::NT; i++) {
        const float *f = v[i / S::NT][i % S::NT];
        slot[i * S::THREADS] = make_float4(f[0], f[1], f[2], f[3]);
    }
}

template <typename S> K_DEV void gemm_add(float v[S::MT][S::NT][4], const float4 *slot)
{
#pragma unroll
    for (int i = 0; i < S::MT * S::NT; i++) {
        const float4 part = slot[i * S::THREADS];
        float *f = v[i / S::NT][i % S::NT];
        f[0] += part.x, f[1] += part.y, f[2] += part.z, f[3] += part.w;
    }
}

// Others may have what this block left in the workspace.
K_DEV void gemm_signal(const k_gemm_task &a)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        k_store_release(k_at<uint32_t>(a.tickets) + blockIdx.x, 1);
    }
}

// What the blocks before left of the tile, then the first n chunks of this piece, in order.
//
// Somebody is always on: a block is waited for only by blocks with higher numbers, which start
// later if not all fit; at most as many blocks as SMs do. A kernel that starts early (k_pdl_launch)
// does so when all blocks of this one run, and its blocks wait for no other's flag before this one
// is done.
template <typename S>
K_DEV void gemm_fold(const k_gemm_task &a, const gemm_piece &p, int n, float sum[S::MT][S::NT][4])
{
    const int block = (int)blockIdx.x;
    const int first = a.flags & K_GEMM_HAND_ON ? block - 1 : p.tile * a.n_chunks / a.run;
    for (int b = first + gemm_thread(); b < block; b += S::THREADS) {
        uint32_t *ticket = k_at<uint32_t>(a.tickets) + b;
        while (k_load_acquire(ticket) == 0) {
        }
        *ticket = 0;
    }
    __syncthreads();
    // One sum of the first of them; the others have nothing but chunks of this tile.
    const int others = 1 + (block - 1 - first) * a.run;
#pragma unroll 1
    for (int i = 0; i < others + n; i++) {
        gemm_add<S>(sum, i >= others ? gemm_kept<S>(a, p, i - others)
                         : i > 0     ? gemm_slot<S>(a, first + 1, i - 1)
                                     : gemm_slot<S>(a, first, 0));
    }
}

// ---- the end of a tile ----

// N columns of a row from v, of which the first n_valid exist.
template <int N> K_DEV void gemm_store_b16(uint16_t *to, const float v[N], int n_valid)
{
    uint32_t pair[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        pair[i] = k_bf16_pair(v[2 * i], v[2 * i + 1]);
    }
    if (n_valid >= N) {
        if constexpr (N == 8) {
            k_store16(to, make_uint4(pair[0], pair[1], pair[2], pair[3]));
        } else if constexpr (N == 4) {
            *reinterpret_cast<uint2 *>(to) = make_uint2(pair[0], pair[1]);
        } else {
            *reinterpret_cast<uint32_t *>(to) = pair[0];
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i < n_valid) {
            to[i] = (uint16_t)(pair[i / 2] >> i % 2 * 16);
        }
    }
}

template <int N> K_DEV void gemm_store_f32(float *to, const float v[N], int n_valid)
{
    if (n_valid >= N && (reinterpret_cast<uintptr_t>(to) & 15) == 0) {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            *reinterpret_cast<float4 *>(to + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i < n_valid) {
            to[i] = v[i];
        }
    }
}

template <int N> K_DEV void gemm_add_residual(const uint16_t *residual, float v[N], int n_valid)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i < n_valid) {
            v[i] = k_bf16_round(v[i]) + __uint_as_float((uint32_t)residual[i] << 16);
        }
    }
}

// N neighbouring columns of one row: bias, residual, store.
template <int N> K_DEV void gemm_finish(const k_gemm_task &a, int row, int col, float v[N])
{
    const int n_valid = a.n - col;
    if (row >= a.m || n_valid <= 0) {
        return;
    }
    if (a.bias) {
        const float *bias = k_at<const float>(a.bias) + col;
#pragma unroll
        for (int i = 0; i < N; i++) {
            v[i] += i < n_valid ? bias[i] : 0.0f;
        }
    }
    const int64_t at = row * a.out_stride + col;
    if (a.flags & K_GEMM_OUT_F32) {
        gemm_store_f32<N>(k_at<float>(a.out) + at, v, n_valid);
        return;
    }
    if (a.residual) {
        const uint16_t *residual = k_at<const uint16_t>(a.residual) + at;
        if (N == 8 && n_valid >= N) {
            const uint4 r = k_load16(residual);
            const uint32_t pair[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
            for (int i = 0; i < N; i += 2) {
                v[i] = k_bf16_round(v[i]) + k_bf16_lo(pair[i / 2 % 4]);
                v[i + 1] = k_bf16_round(v[i + 1]) + k_bf16_hi(pair[i / 2 % 4]);
            }
        } else {
            gemm_add_residual<N>(residual, v, n_valid);
        }
    }
    gemm_store_b16<N>(k_at<uint16_t>(a.out) + at, v, n_valid);
}

// The same for N gates and their ups, as columns of a.n / 2.
template <int N>
K_DEV void gemm_finish_silu(const k_gemm_task &a, int row, int col, float gate[N], float up[N])
{
    const int half = a.n / 2, n_valid = half - col;
    if (row >= a.m || n_valid <= 0) {
        return;
    }
    const float *bias = k_at<const float>(a.bias) + col;
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (a.bias && i < n_valid) {
            gate[i] += bias[i];
            up[i] += bias[half + i];
        }
        gate[i] = k_silu_mul(k_bf16_round(gate[i]), k_bf16_round(up[i]));
    }
    gemm_store_b16<N>(k_at<uint16_t>(a.out) + row * a.out_stride + col, gate, n_valid);
}

// A lane has columns 2c, 2c + 1 of rows g and g + 8 of each of its MMA tiles, that is (gemm_pack.h)
// neighbouring columns of the output over up to four tiles, or eight with gates and ups.
template <typename S>
K_DEV void gemm_epilogue(const k_gemm_task &a, int tile, float sum[S::MT][S::NT][4])
{
    int tile_m, tile_n;
    gemm_tile_at(a, tile, tile_m, tile_n);
    const int tid = gemm_thread(), lane = tid % 32, warp = tid / 32;
    const int place = warp % S::WN * (S::NT * 8) + tile_n * S::BN; // first of the warp's
    const int row0 = tile_m * S::BM + warp / S::WN * (S::MT * 16) + lane / 4;
    const int pair = lane % 4, panel = place / 64, first = place % 64 / 8; // first MMA tile
    // The sums move up 16 rows at a time, so that the code is there once.
#pragma unroll 1
    for (int i = 0; i < S::MT; i++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int row = row0 + i * 16 + e * 8;
            if (a.flags & K_GEMM_SILU) {
                float gate[S::NT], up[S::NT];
#pragma unroll
                for (int j = 0; j < S::NT; j++) {
                    gate[j] = sum[0][j / 2 * 2][e * 2 + j % 2];
                    up[j] = sum[0][j / 2 * 2 + 1][e * 2 + j % 2];
                }
                gemm_finish_silu<S::NT>(a, row, panel * 32 + pair * 8 + first, gate, up);
            } else {
                constexpr int TILES = S::NT < 4 ? S::NT : 4;
#pragma unroll
                for (int part = 0; part < S::NT; part += TILES) {
                    float v[TILES * 2];
#pragma unroll
                    for (int j = 0; j < TILES * 2; j++) {
                        v[j] = sum[0][part + j / 2][e * 2 + j % 2];
                    }
                    const int at = first + part;
                    gemm_finish<TILES * 2>(a, row, panel * 64 + at / 4 * 32 + pair * 8 + at % 4 * 2,
                                           v);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < (S::MT - 1) * S::NT * 4; j++) {
            sum[j / 4 / S::NT][j / 4 % S::NT][j % 4] = sum[j / 4 / S::NT + 1][j / 4 % S::NT][j % 4];
        }
    }
}

template <typename S> K_DEV void gemm_zero(float v[S::MT][S::NT][4])
{
#pragma unroll
    for (int i = 0; i < S::MT * S::NT * 4; i++) {
        v[i / 4 / S::NT][i / 4 % S::NT][i % 4] = 0.0f;
    }
}

// ---- the kernel ----

template <typename S> K_DEV void gemm_run(const k_gemm_task &a)
{
    extern __shared__ __align__(1024) unsigned char gemm_smem[];
    const uint32_t ring = k_smem(gemm_smem);

    k_pdl_launch();
    gemm_loader<S> loader = {};
    loader.next_piece(a);
    if (threadIdx.x == 0) {
        // Nobody writes weights: what the ring will hold may come while the kernel before ends.
        const int tiles = min(loader.left, S::STAGES - 1);
        for (int i = 0; i < loader.there / 1024; i++) {
            k_prefetch_l2(loader.weight + i * a.panel_bytes, tiles * K_GEMM_TILE_BYTES);
        }
    }
    k_pdl_wait();
#pragma unroll 1
    for (int s = 0; s < S::STAGES - 1; s++) {
#pragma unroll
        for (int i = 0; i < S::COPIES; i++) {
            loader.template copy<false>(a, ring + s * S::STAGE_BYTES, i);
        }
        k_cp_async_commit();
        loader.advance();
        loader.k_left -= K_GEMM_TILE_K;
        if (--loader.left == 0) {
            loader.next_piece(a);
        }
    }
    gemm_reader reader;
    reader.init<S>();

    gemm_piece p;
    if (!gemm_piece_at(a, 0, p)) {
        k_cp_async_wait<0>();
        return;
    }
    int piece = 0, chunk = p.c0; // to be multiplied now
    float acc[S::MT][S::NT][4], sum[S::MT][S::NT][4];
    gemm_zero<S>(sum);
    gemm_now<S> now;
    now.slot = ring;

    k_cp_async_wait<S::STAGES - 2>();
    __syncthreads();
    reader.start<S>(now);

    int left = min(S::CHUNK_TILES, a.k_tiles - chunk * S::CHUNK_TILES); // k-tiles of the chunk
    gemm_zero<S>(acc);
    for (;;) {
        // k-tiles until the chunk ends or the copies come to the next piece or to its tail.
        const int whole = loader.whole();
        const int run = min(left, whole > 0 ? whole : loader.left);
        left -= run;
        loader.left -= run;
        if (whole > 0) {
            loader.k_left -= run * K_GEMM_TILE_K;
            gemm_tiles<S, true>(a, loader, reader, now, acc, run);
        } else {
            gemm_tiles<S, false>(a, loader, reader, now, acc, run);
        }
        if (loader.left == 0) {
            loader.next_piece(a);
        }
        if (left > 0) {
            continue;
        }
        // A chunk is done.
        gemm_piece_at(a, piece, p);
        const int fold = gemm_fold_at(a, p), i = chunk - p.c0;
        if (i < fold) {
            gemm_put<S>(gemm_kept<S>(a, p, i), acc);
        } else {
            if (i == fold) {
                gemm_fold<S>(a, p, i, sum);
                if constexpr (S::BM > 64) {
                    reader.start<S>(now); // anew: it took no registers meanwhile
                }
            }
#pragma unroll
            for (int j = 0; j < S::MT * S::NT * 4; j++) {
                sum[j / 4 / S::NT][j / 4 % S::NT][j % 4] +=
                    acc[j / 4 / S::NT][j / 4 % S::NT][j % 4];
            }
        }
        gemm_zero<S>(acc);
        if (++chunk == p.c1) {
            if (chunk == a.n_chunks) {
                gemm_epilogue<S>(a, p.tile, sum);
            } else {
                if (i >= fold) {
                    gemm_put<S>(gemm_slot<S>(a, (int)blockIdx.x, 0), sum);
                }
                gemm_signal(a);
            }
            gemm_zero<S>(sum);
            if (!gemm_piece_at(a, ++piece, p)) {
                break;
            }
            chunk = p.c0;
        }
        left = min(S::CHUNK_TILES, a.k_tiles - chunk * S::CHUNK_TILES);
    }
    k_cp_async_wait<0>(); // of zeroes
}

#define K_GEMM_KERNEL(M, N, ...) \
    extern "C" __global__ void __launch_bounds__(gemm_shape<M, N, __VA_ARGS__>::THREADS, 1) \
        gemm_b16_##M##x##N(const __grid_constant__ k_gemm_task a) \
    { \
        gemm_run<gemm_shape<M, N, __VA_ARGS__>>(a); \
    }

#endif
