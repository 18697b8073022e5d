// SPDX-License-Identifier: Apache-2.0
//
// attn_prefill.cuh - attention of many rows of a sequence: a block takes LINES lines (rows and
// their query heads of one key head, rows outer) and walks the tiles that they see.
//
// A warp owns 16 lines: scores, weights, acc and sums live in its registers as mma fragments; the
// weights become the A operand of P V without leaving them. K and V tiles arrive by cp.async in
// rows padded to an odd number of 16-byte chunks, so that ldmatrix and the copies are free of bank
// conflicts and every address in the loop is a register plus a constant.
//
//          warps  lines  blocks/SM  stages           acc  run of earlier splits      shared bytes
//    d64   8      128    2          2 (K and V)      32   shared memory              74752
//    d96   8      128    1          3                48   registers                  80896
//    d128  8      128    1          3                64   registers                  105472
//    d256  4      64     1          1, K and V apart 128  2 n-tiles in registers     163328
//
// In flight while a tile is computed: the next one or two tiles, 18 to 70 KB an SM. With 16 lines a
// warp a tensor instruction needs 256 bytes of shared memory, 128 bytes a clock on sm_80 at full
// rate: that limit and the tensor cores' meet. 32 lines a warp halve it and leave no registers for
// the running result at D = 128; its home would be shared memory and with it the second block of an
// SM.
//
// The value of a key that one line sees and another does not must not reach the other, and 0 * NaN
// is NaN: tiles in which lines see different keys (at most the diagonal's and the window's edge)
// are searched for values that are not finite; take_broken() gives one to the lines that see it,
// and k_prefill_mend() puts a zero in its place for the products.
#ifndef K_ATTN_PREFILL_CUH
#define K_ATTN_PREFILL_CUH

#include "attn.cuh"

template <int kD, int kWarps, int kBlocks, int kStages, int kRunRegs> struct k_prefill_shape {
    static constexpr int D = kD, WARPS = kWarps, BLOCKS = kBlocks, STAGES = kStages;
    static constexpr int THREADS = 32 * WARPS, LINES = 16 * WARPS;
    static constexpr int CHUNKS = D / 8, ROW = (CHUNKS + 1) * 16; // bytes of a row in shared memory
    static constexpr int TILE = K_ATTN_TILE * ROW;
    static constexpr int NT = D / 8;          // n-tiles of 8 columns of acc
    static constexpr int RUN_REGS = kRunRegs; // of them, running results in registers
    static constexpr int RUN_SHARED = NT - RUN_REGS;
    static constexpr bool APART = kStages == 1; // K and V arrive apart; Q stays in shared memory
    static constexpr int RUN_AT = 2 * STAGES * TILE + (APART ? LINES * ROW : 0);
    static constexpr int VIEW_AT = RUN_AT + (RUN_SHARED + (RUN_REGS == 0)) * THREADS * 16;
    static constexpr int SMEM = VIEW_AT + LINES * 8;
    static_assert(APART || LINES * ROW == 2 * TILE, "Q passes through the last stage");
};
using k_prefill_d64 = k_prefill_shape<64, 8, 2, 2, 0>;
using k_prefill_d96 = k_prefill_shape<96, 8, 1, 3, 12>;
using k_prefill_d128 = k_prefill_shape<128, 8, 1, 3, 16>;
using k_prefill_d256 = k_prefill_shape<256, 4, 1, 1, 2>;
static_assert(k_prefill_d64::SMEM == K_ATTN_PREFILL_SMEM_D64, "attn_plan.h says so");
static_assert(k_prefill_d96::SMEM == K_ATTN_PREFILL_SMEM_D96, "attn_plan.h says so");
static_assert(k_prefill_d128::SMEM == K_ATTN_PREFILL_SMEM_D128, "attn_plan.h says so");
static_assert(k_prefill_d256::SMEM == K_ATTN_PREFILL_SMEM_D256, "attn_plan.h says so");

// What a block has to do; the same in all its threads.
struct k_prefill_task {
    const int32_t *table;    // of its sequence
    int row0, n_lines;       // first row of the sequence in the step; lines of the block
    int line0;               // first line of the block in the sequence
    int head;                // key head
    int first_key, last_key; // that any line sees
    int full_from, full_to;  // keys that every line sees: may be none
    bool gaps;               // the rows' positions are not one after the other
};

// The index-th stretch of LINES lines over all sequences. Within one sequence the last rows, which
// have most to do, come first.
template <int LINES>
K_DEV bool k_prefill_find(const k_attn_prefill_args &p, int index, int lane, k_prefill_task *t)
{
    const k_attn_args &a = p.a;
    const int per_key = a.n_heads / a.kv.n_kv_heads;
    const k_seq *seqs = k_at<const k_seq>(a.seqs);
    for (int base = 0; base < a.n_seqs; base += 32) {
        k_seq s = {0, 0};
        if (base + lane < a.n_seqs) {
            s = seqs[base + lane];
        }
        const int lines = s.n_rows >= p.min_rows ? s.n_rows * per_key : 0;
        const int blocks = (lines + LINES - 1) / LINES;
        const int sum = k_warp_inclusive(blocks, lane);
        const unsigned past = __ballot_sync(0xffffffffu, sum > index);
        if (past) {
            const int who = __ffs((int)past) - 1;
            const int before = __shfl_sync(0xffffffffu, sum - blocks, who);
            const int n = __shfl_sync(0xffffffffu, blocks, who);
            const int all = __shfl_sync(0xffffffffu, lines, who);
            t->row0 = __shfl_sync(0xffffffffu, s.row, who);
            t->line0 = (n - 1 - (index - before)) * LINES;
            t->n_lines = min(all - t->line0, LINES);
            t->table = k_at<const int32_t>(a.kv.page_table);
            return true;
        }
        index -= __shfl_sync(0xffffffffu, sum, 31);
    }
    return false;
}

// Does any row of the block see a key of the tile? Only asked when the rows have gaps.
K_DEV bool k_prefill_seen(const k_attn_args &a, const k_prefill_task &t, int tile, int lane)
{
    const int per_key = a.n_heads / a.kv.n_kv_heads;
    const int from = t.row0 + t.line0 / per_key;
    const int to = t.row0 + (t.line0 + t.n_lines - 1) / per_key;
    bool seen = false;
    for (int row = from + lane; row <= to; row += 32) {
        const int pos = k_at<const int32_t>(a.positions)[row];
        seen |=
            k_attn_first_key(pos, a.window) < (tile + 1) * K_ATTN_TILE && pos >= tile * K_ATTN_TILE;
    }
    return __any_sync(0xffffffffu, seen);
}

// Asks for the K (or V) tile at `src`: keys of it that nobody sees, and columns past head_dim,
// become zero. Of those nothing is read, but their addresses lie in the page too.
template <class Shape>
K_DEV void k_prefill_copy(const k_attn_args &a, int first, int n, const char *src, uint32_t dst)
{
    constexpr int kPer = K_ATTN_TILE * Shape::CHUNKS / Shape::THREADS;
    const int row_bytes = (int)k_kv_row(&a.kv) * 2, tid = (int)threadIdx.x;
    if (Shape::CHUNKS != 12) {
        constexpr int kStep = Shape::THREADS / Shape::CHUNKS;
        const int row = tid / Shape::CHUNKS, ch = tid % Shape::CHUNKS;
        const int bytes = k_attn_chunk_bytes(ch, a.kv.head_dim);
        src += row * row_bytes + (bytes ? ch * 16 : 0);
        dst += (uint32_t)(row * Shape::ROW + ch * 16);
#pragma unroll
        for (int i = 0; i < kPer; i++) {
            const bool in = (unsigned)(row + i * kStep - first) < (unsigned)n;
            k_cp_async16(dst + (uint32_t)(i * kStep * Shape::ROW), src + i * kStep * row_bytes,
                         in ? bytes : 0);
        }
    } else { // eight lanes: a row's first eight chunks, or the last four of rows r and r + 4
#pragma unroll
        for (int i = 0; i < kPer; i++) {
            const int at = tid + i * Shape::THREADS;
            const int group = at / 96, phase = at % 96 / 8, l = at % 8;
            const int row = group * 8 + (phase < 8 ? phase : phase - 8 + (l & 4));
            const int ch = phase < 8 ? l : 8 + (l & 3);
            const bool in = (unsigned)(row - first) < (unsigned)n;
            const int bytes = in ? k_attn_chunk_bytes(ch, a.kv.head_dim) : 0;
            k_cp_async16(dst + (uint32_t)(row * Shape::ROW + ch * 16),
                         src + row * row_bytes + (bytes ? ch * 16 : 0), bytes);
        }
    }
}

// Where the K tile of a page lies; V follows at twice k_kv_v_offset().
K_DEV const char *k_prefill_page(const k_attn_args &a, int page, int head)
{
    return k_at<const char>(a.kv.pool) + 2 * k_kv_tile(&a.kv, page, head);
}

// Queries of the block's lines to shared memory, zero past head_dim and past the last line.
template <class Shape>
K_DEV void k_prefill_load_q(const k_attn_args &a, const k_prefill_task &t, char *q)
{
    const int per_key = a.n_heads / a.kv.n_kv_heads, dim = a.kv.head_dim;
    for (int at = (int)threadIdx.x; at < Shape::LINES * Shape::CHUNKS; at += Shape::THREADS) {
        const int l = at / Shape::CHUNKS, ch = at % Shape::CHUNKS;
        const int line = t.line0 + l, head = t.head * per_key + line % per_key;
        const uint16_t *src = k_at<const uint16_t>(a.q) +
                              (int64_t)(t.row0 + line / per_key) * a.q_stride +
                              (int64_t)head * dim + 8 * ch;
        char *dst = q + l * Shape::ROW + ch * 16;
        const int n = l < t.n_lines ? min(max(dim - 8 * ch, 0), 8) : 0;
        if (dim % 8 == 0) {
            k_cp_async16(k_smem(dst), n ? (const void *)src : k_at<const void>(a.q), 2 * n);
        } else {
            for (int i = 0; i < 8; i++) {
                reinterpret_cast<uint16_t *>(dst)[i] = i < n ? src[i] : (uint16_t)0;
            }
        }
    }
}

// Which keys of its sequence a line sees: n from lo on. In shared memory, for edges only.
struct k_prefill_view {
    int lo, n;
};

template <class Shape, bool kCap> struct k_prefill_warp {
    static constexpr int NT = Shape::NT;
    float acc[NT][4], sum[4], m[2];
    float run[Shape::RUN_REGS ? Shape::RUN_REGS : 1][4], run_sum[2], run_m[2];
    uint32_t p[8][2]; // weights: keys 8n + 2c and the next, of lines g and g + 8

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int n = 0; n < NT; n++) {
            acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
        }
        sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
        m[0] = m[1] = k_neg_inf();
    }

    // Scores of the tile at `key0`, weights in p, acc and sum rescaled. q: registers, or the
    // address of this lane's row in shared memory.
    __device__ __forceinline__ void weigh(const uint32_t (*q)[4], uint32_t q_at, uint32_t k_at_lane,
                                          int key0, bool edge, const k_prefill_view *view, float c,
                                          float cap_in)
    {
        float s[8][4];
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
        }
#pragma unroll
        for (int kk = 0; kk < Shape::D / 16; kk++) {
            uint32_t a[4];
            if (Shape::APART) {
                k_ldmatrix4(a, q_at + (uint32_t)(32 * kk));
            } else {
                a[0] = q[kk][0], a[1] = q[kk][1], a[2] = q[kk][2], a[3] = q[kk][3];
            }
#pragma unroll
            for (int np = 0; np < 4; np++) {
                uint32_t b[4];
                k_ldmatrix4(b, k_at_lane + (uint32_t)(np * 16 * Shape::ROW + 32 * kk));
                k_mma_bf16(s[2 * np], a, b[0], b[1]);
                k_mma_bf16(s[2 * np + 1], a, b[2], b[3]);
            }
        }
        if (kCap) {
#pragma unroll
            for (int i = 0; i < 32; i++) {
                s[i / 4][i % 4] = k_attn_score<kCap>(s[i / 4][i % 4], cap_in);
            }
        }
        if (edge) {
            const k_prefill_view see[2] = {view[0], view[8]};
#pragma unroll
            for (int i = 0; i < 32; i++) {
                const int key = key0 + i / 4 * 8 + i % 2, j = i % 4 / 2;
                if ((unsigned)(key - see[j].lo) >= (unsigned)see[j].n) {
                    s[i / 4][i % 4] = k_neg_inf();
                }
            }
        }
        float factor[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float most = fmaxf(s[0][2 * j], s[0][2 * j + 1]);
#pragma unroll
            for (int n = 1; n < 8; n++) {
                most = fmaxf(most, fmaxf(s[n][2 * j], s[n][2 * j + 1]));
            }
            most = fmaxf(m[j], k_quad_max(most));
            factor[j] = k_attn_correction(m[j], most, c);
            m[j] = most;
            const float base = k_attn_base(most, c);
#pragma unroll
            for (int n = 0; n < 8; n++) {
                p[n][j] = k_bf16_pair(k_attn_weight(s[n][2 * j], c, base),
                                      k_attn_weight(s[n][2 * j + 1], c, base));
            }
        }
        if (__any_sync(0xffffffffu, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
            for (int n = 0; n < NT; n++) {
                acc[n][0] = __fmul_rn(acc[n][0], factor[0]);
                acc[n][1] = __fmul_rn(acc[n][1], factor[0]);
                acc[n][2] = __fmul_rn(acc[n][2], factor[1]);
                acc[n][3] = __fmul_rn(acc[n][3], factor[1]);
            }
            sum[0] = __fmul_rn(sum[0], factor[0]);
            sum[2] = __fmul_rn(sum[2], factor[1]);
        }
    }

    // acc += P V; v_at_lane: this lane's row and column in the V tile.
    __device__ __forceinline__ void add_values(uint32_t v_at_lane)
    {
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            const uint32_t a[4] = {p[2 * kk][0], p[2 * kk][1], p[2 * kk + 1][0], p[2 * kk + 1][1]};
            k_mma_bf16(sum, a, kOnes, kOnes);
#pragma unroll
            for (int np = 0; np < NT / 2; np++) {
                uint32_t b[4];
                k_ldmatrix4_trans(b, v_at_lane + (uint32_t)(kk * 16 * Shape::ROW + 32 * np));
                k_mma_bf16(acc[2 * np], a, b[0], b[1]);
                k_mma_bf16(acc[2 * np + 1], a, b[2], b[3]);
            }
        }
    }

    // Gives the values of the tile that are not finite to the lines that see them.
    __device__ __forceinline__ void take_broken(const char *v, int tile_key,
                                                const k_prefill_view *view, int lane)
    {
        const k_prefill_view see[2] = {view[0], view[8]};
#pragma unroll 1
        for (int key = 0; key < K_ATTN_TILE; key++) {
            uint32_t pair[2] = {0, 0};
#pragma unroll
            for (int n = 0; n < 8; n++) {
                const uint32_t mask = key / 8 == n ? 0xffffffffu : 0u;
                pair[0] |= p[n][0] & mask;
                pair[1] |= p[n][1] & mask;
            }
            const int from = (lane & ~3) | key % 8 / 2;
            float weight[2];
            bool sees[2];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const uint32_t w = __shfl_sync(0xffffffffu, pair[j], from);
                weight[j] = key % 2 ? k_bf16_hi(w) : k_bf16_lo(w);
                sees[j] = (unsigned)(tile_key + key - see[j].lo) < (unsigned)see[j].n;
            }
            const uint32_t *row = reinterpret_cast<const uint32_t *>(v + key * Shape::ROW);
#pragma unroll
            for (int n = 0; n < NT; n++) {
                const uint32_t w = row[4 * n + lane % 4];
                const float x[2] = {k_bf16_lo(w), k_bf16_hi(w)};
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const bool mine = sees[i / 2] && !isfinite(x[i % 2]);
                    acc[n][i] = __fmaf_rn(weight[i / 2], mine ? x[i % 2] : 0.0f, acc[n][i]);
                }
            }
        }
    }

    // Maxima and sums of the running result live in shared memory where all of it does.
    __device__ __forceinline__ void load_run(const float4 *mine)
    {
        if (Shape::RUN_REGS == 0) {
            const float4 x = mine[Shape::RUN_SHARED * Shape::THREADS];
            run_m[0] = x.x, run_m[1] = x.y, run_sum[0] = x.z, run_sum[1] = x.w;
        }
    }

    __device__ __forceinline__ void store_run(float4 *mine)
    {
        if (Shape::RUN_REGS == 0) {
            mine[Shape::RUN_SHARED * Shape::THREADS] =
                make_float4(run_m[0], run_m[1], run_sum[0], run_sum[1]);
        }
    }

    // run = run and then this split, which starts anew. mine: this thread's part of shared memory.
    __device__ __forceinline__ void fold(float c, float4 *mine)
    {
        load_run(mine);
        k_attn_factors f[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            f[j] = k_attn_merge_factors(run_m[j], run_sum[j], m[j], sum[2 * j], c);
            run_sum[j] = k_attn_merge(run_sum[j], sum[2 * j], f[j]);
            run_m[j] = f[j].m;
        }
        store_run(mine);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            if (n < Shape::RUN_REGS) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    run[n][i] = k_attn_merge(run[n][i], acc[n][i], f[i / 2]);
                }
            } else {
                float4 *at = &mine[(n - Shape::RUN_REGS) * Shape::THREADS];
                float4 x = *at;
                x.x = k_attn_merge(x.x, acc[n][0], f[0]);
                x.y = k_attn_merge(x.y, acc[n][1], f[0]);
                x.z = k_attn_merge(x.z, acc[n][2], f[1]);
                x.w = k_attn_merge(x.w, acc[n][3], f[1]);
                *at = x;
            }
        }
        clear();
    }
};

// Is there a value in the tile that is not finite? Every thread looks at some; the answer is the
// block's.
template <class Shape> K_DEV bool k_prefill_broken(const char *v)
{
    uint32_t bad = 0;
#pragma unroll 1 // rare: no registers for its addresses in the loop around it
    for (int at = (int)threadIdx.x; at < K_ATTN_TILE * Shape::CHUNKS; at += Shape::THREADS) {
        const uint4 x = *reinterpret_cast<const uint4 *>(v + at / Shape::CHUNKS * Shape::ROW +
                                                         at % Shape::CHUNKS * 16);
        const uint32_t w[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int i = 0; i < 4; i++) { // an exponent of ones carries into the sign's place
            bad |= (w[i] & 0x7f807f80u) + 0x00800080u;
        }
    }
    return __syncthreads_or((int)(bad & 0x80008000u)) != 0;
}

// Zeroes what k_prefill_broken found.
template <class Shape> K_DEV void k_prefill_mend(char *v)
{
#pragma unroll 1
    for (int at = (int)threadIdx.x; at < K_ATTN_TILE * Shape::D / 2; at += Shape::THREADS) {
        uint32_t *w = reinterpret_cast<uint32_t *>(v + at / (Shape::D / 2) * Shape::ROW) +
                      at % (Shape::D / 2);
        const uint32_t bad = ((*w & 0x7f807f80u) + 0x00800080u) & 0x80008000u;
        if (bad) {
            *w &= (bad & 0x8000u ? 0u : 0xffffu) | (bad & 0x80000000u ? 0u : 0xffff0000u);
        }
    }
}

template <class Shape>
K_DEV void k_prefill_write(const k_attn_args &a, const k_prefill_task &t, const char *lines,
                           int warp, int lane)
{
    const int per_key = a.n_heads / a.kv.n_kv_heads, dim = a.kv.head_dim;
    for (int at = lane; at < 16 * Shape::CHUNKS; at += 32) {
        const int l = warp * 16 + at / Shape::CHUNKS, ch = at % Shape::CHUNKS;
        const int line = t.line0 + l, head = t.head * per_key + line % per_key;
        const int n = l < t.n_lines ? min(max(dim - 8 * ch, 0), 8) : 0;
        const char *src = lines + l * Shape::ROW + ch * 16;
        uint16_t *dst = k_at<uint16_t>(a.out) + (int64_t)(t.row0 + line / per_key) * a.out_stride +
                        (int64_t)head * dim + 8 * ch;
        if (dim % 8 == 0) {
            if (n) {
                k_store16(dst, *reinterpret_cast<const uint4 *>(src));
            }
        } else {
            for (int i = 0; i < n; i++) {
                dst[i] = reinterpret_cast<const uint16_t *>(src)[i];
            }
        }
    }
}

template <class Shape, bool kCap> K_DEV void k_prefill(const k_attn_prefill_args &p, char *smem)
{
    constexpr int kRow = Shape::ROW, kTile = Shape::TILE;
    const k_attn_args &a = p.a;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4;
    k_pdl_launch();
    k_pdl_wait();

    // ---- where am I ----
    k_prefill_task t;
    t.head = (int)blockIdx.y;
    if (!k_prefill_find<Shape::LINES>(p, (int)blockIdx.x, lane, &t)) {
        return;
    }
    const int per_key = a.n_heads / a.kv.n_kv_heads;
    const int row_a = t.row0 + t.line0 / per_key;
    const int row_b = t.row0 + (t.line0 + t.n_lines - 1) / per_key;
    const int32_t *positions = k_at<const int32_t>(a.positions);
    const int pos_a = positions[row_a], pos_b = positions[row_b];
    t.table += (int64_t)k_at<const int32_t>(a.row_seq)[t.row0] * a.kv.table_stride;
    t.first_key = k_attn_first_key(pos_a, a.window);
    t.last_key = pos_b;
    t.full_from = k_attn_first_key(pos_b, a.window);
    t.full_to = pos_a;
    t.gaps = pos_b - pos_a != row_b - row_a;

    k_prefill_view *views = reinterpret_cast<k_prefill_view *>(smem + Shape::VIEW_AT);
    if ((int)threadIdx.x < Shape::LINES) {
        const int l = (int)threadIdx.x;
        const int pos = l < t.n_lines ? positions[t.row0 + (t.line0 + l) / per_key] : -1;
        const int lo = k_attn_first_key(pos, a.window);
        views[l] = {lo, pos - lo + 1};
    }
    const k_prefill_view *view = views + warp * 16 + g;
    const bool active = warp * 16 < t.n_lines;
    const int tile_a = t.first_key / K_ATTN_TILE, tile_b = t.last_key / K_ATTN_TILE;

    // ---- shared memory: stages of a K and a V tile, Q if it stays, running results ----
    char *q_lines = Shape::APART ? smem + 2 * kTile : smem + 2 * (Shape::STAGES - 1) * kTile;
    float4 *mine = reinterpret_cast<float4 *>(smem + Shape::RUN_AT) + threadIdx.x;
    const uint32_t base = k_smem(smem);

    int pages = 0, pages_from = tile_a; // lane l has the page of tile pages_from + l
    const auto load_pages = [&](int tile) {
        pages_from = tile;
        pages = tile + lane <= tile_b ? t.table[tile + lane] : 0;
    };
    load_pages(tile_a);
    const auto ask = [&](int tile, bool k, bool v, uint32_t dst) {
        if (tile >= pages_from + 32) {
            load_pages(tile);
        }
        int page = __shfl_sync(0xffffffffu, pages, tile - pages_from);
        int first = max(t.first_key - tile * K_ATTN_TILE, 0);
        int n = min(t.last_key - tile * K_ATTN_TILE, K_ATTN_TILE - 1) - first + 1;
        if (t.gaps && !k_prefill_seen(a, t, tile, lane)) { // its page may be any number
            page = t.table[tile_a];
            n = 0;
        }
        const char *src = k_prefill_page(a, page, t.head);
        if (k) {
            k_prefill_copy<Shape>(a, first, n, src, dst);
        }
        if (v) {
            k_prefill_copy<Shape>(a, first, n, src + 2 * k_kv_v_offset(&a.kv), dst + kTile);
        }
    };

    k_prefill_load_q<Shape>(a, t, q_lines);
    k_cp_async_commit();
    if (Shape::APART) {
        ask(tile_a, true, false, base);
        k_cp_async_commit();
    } else {
#pragma unroll
        for (int s = 0; s < Shape::STAGES - 1; s++) {
            if (tile_a + s <= tile_b) {
                ask(tile_a + s, true, true, base + (uint32_t)(2 * s * kTile));
            }
            k_cp_async_commit();
        }
    }

    k_prefill_warp<Shape, kCap> w;
    w.clear();
    w.run_sum[0] = w.run_sum[1] = 0.0f;
    w.run_m[0] = w.run_m[1] = k_neg_inf();
    w.store_run(mine);
#pragma unroll
    for (int n = 0; n < Shape::NT; n++) {
        if (n < Shape::RUN_REGS) {
            w.run[n][0] = w.run[n][1] = w.run[n][2] = w.run[n][3] = 0.0f;
        } else {
            mine[(n - Shape::RUN_REGS) * Shape::THREADS] = make_float4(0, 0, 0, 0);
        }
    }

    // Lanes' places in the fragments: rows of A and of V's keys run with bit 3, those of K's with
    // bit 4.
    const int upper = lane / 8 % 2, third = lane / 16;
    const uint32_t a_lane = (uint32_t)((lane % 8 + 8 * upper) * kRow + 16 * third);
    const uint32_t b_lane = (uint32_t)((lane % 8 + 8 * third) * kRow + 16 * upper);
    const uint32_t q_at = k_smem(q_lines) + (uint32_t)(warp * 16 * kRow) + a_lane;
    uint32_t q[Shape::APART ? 1 : Shape::D / 16][4];
    if (!Shape::APART) {
        k_cp_async_wait<Shape::STAGES - 1>();
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < Shape::D / 16; kk++) {
            k_ldmatrix4(q[Shape::APART ? 0 : kk], q_at + (uint32_t)(32 * kk));
        }
    }

    // ---- tiles ----
    int stage = 0;
    for (int tile = tile_a; tile <= tile_b; tile++) {
        const int key0 = tile * K_ATTN_TILE;
        const bool edge = key0 < t.full_from || key0 + K_ATTN_TILE - 1 > t.full_to;
        char *k_tile = smem + 2 * stage * kTile, *v_tile = k_tile + kTile;
        if (Shape::APART) {
            k_cp_async_wait<0>();
            __syncthreads(); // K is here, and everybody is done with the last V
            ask(tile, false, true, base);
            k_cp_async_commit();
        } else {
            k_cp_async_wait<Shape::STAGES - 2>();
            __syncthreads(); // the tile is here, and everybody is done with the last
            const int next = stage == 0 ? Shape::STAGES - 1 : stage - 1;
            if (tile + Shape::STAGES - 1 <= tile_b) {
                ask(tile + Shape::STAGES - 1, true, true, base + (uint32_t)(2 * next * kTile));
            }
            k_cp_async_commit();
        }
        if (active) {
            w.weigh(q, q_at, k_smem(k_tile) + b_lane, key0 + 2 * (lane % 4), edge, view, p.c,
                    p.cap_in);
        }
        if (Shape::APART) {
            k_cp_async_wait<0>();
            __syncthreads(); // V is here, and everybody is done with K
            if (tile < tile_b) {
                ask(tile + 1, true, false, base);
            }
            k_cp_async_commit();
        }
        if (edge && k_prefill_broken<Shape>(v_tile)) {
            if (active) {
                w.take_broken(v_tile, key0, view, lane);
            }
            __syncthreads();
            k_prefill_mend<Shape>(v_tile);
            __syncthreads();
        }
        if (active) {
            w.add_values(k_smem(v_tile) + a_lane);
            if (tile % K_ATTN_SPLIT_TILES == K_ATTN_SPLIT_TILES - 1 || tile == tile_b) {
                w.fold(p.c, mine);
            }
        }
        stage = stage + 1 == Shape::STAGES ? 0 : stage + 1;
    }

    // ---- out, through shared memory: rows of 16-byte stores ----
    k_cp_async_wait<0>();
    __syncthreads();
    if (!active) {
        return;
    }
    w.load_run(mine);
    float scale[2];
#pragma unroll
    for (int j = 0; j < 2; j++) {
        const int l = warp * 16 + g + 8 * j;
        const int head = t.head * per_key + (t.line0 + l) % per_key;
        const float sink = a.sinks && l < t.n_lines ? k_at<const float>(a.sinks)[head] : 0.0f;
        scale[j] = k_attn_scale(w.run_m[j], w.run_sum[j], p.c, a.sinks != 0, sink * kLog2e);
    }
    char *lines = smem;
#pragma unroll
    for (int n = 0; n < Shape::NT; n++) {
        float4 x;
        if (n < Shape::RUN_REGS) {
            x = make_float4(w.run[n][0], w.run[n][1], w.run[n][2], w.run[n][3]);
        } else {
            x = mine[(n - Shape::RUN_REGS) * Shape::THREADS];
        }
        uint32_t *to =
            reinterpret_cast<uint32_t *>(lines + (warp * 16 + g) * kRow + 16 * n) + lane % 4;
        *to = k_bf16_pair(__fmul_rn(x.x, scale[0]), __fmul_rn(x.y, scale[0]));
        to[8 * kRow / 4] = k_bf16_pair(__fmul_rn(x.z, scale[1]), __fmul_rn(x.w, scale[1]));
    }
    __syncwarp();
    k_prefill_write<Shape>(a, t, lines, warp, lane);
}

extern __shared__ __align__(16) char k_attn_smem[];

#define K_PREFILL(name, size, cap) \
    extern "C" __global__ void __launch_bounds__(k_prefill_##size::THREADS, \
                                                 k_prefill_##size::BLOCKS) \
        name##_bf16_##size(const __grid_constant__ k_attn_prefill_args p) \
    { \
        k_prefill<k_prefill_##size, cap>(p, k_attn_smem); \
    }

#endif
