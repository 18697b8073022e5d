// SPDX-License-Identifier: Apache-2.0
//
// attn_prefill.cuh - attention of many rows of a sequence: a block takes LINES lines (rows and
// their query heads of one key head, rows outer) and walks the tiles that they see. What a warp
// does with a tile is in attn_prefill_warp.cuh.
//
// K and V tiles arrive by cp.async in rows padded to an odd number of 16-byte chunks, so that
// ldmatrix and the copies are free of bank conflicts and every address in the loop is a register
// plus a constant. One block an SM; results of earlier splits are touched once in 8 tiles and lie
// in shared memory:
//
//          warps  lines  K and V                   acc  shared bytes
//    d64   8      128    two places each           32   70704
//    d96   8      128    two places each           48   103472
//    d128  8      128    two places each           64   136240
//    d256  4      64     one place each, Q stays   128  165424
//
// Turns. With two places a turn is: products of tile i + 1, values of tile i, weights of tile i + 1
// (K runs a tile ahead of V). So there are always products that do not depend on the softmax, and
// where every line sees both tiles and the split goes on (7 turns of 8 in a long prompt) a turn is
// one piece of code without branches, in which the scheduler hides everything else under the tensor
// instructions: acc is rescaled under the products, maxima, exponentials and packing go under the
// values, copies under both. acc is rescaled always: with 16 lines a warp a maximum moves in nearly
// every tile of a split. At D = 128 on sm_80 a turn is 1056 clocks of tensor instructions and about
// 190 that nothing covers, a third of it FMULs that fill the wait for the first ldmatrix.
//
// What bounds an SM at D = 128, in clocks for a tile of its 8 warps: tensor cores 8 * 132 * 8 / 4 =
// 2112; shared memory 8 * 64 ldmatrix * 4 + 256 of copies = 2304; stalls, two warps a scheduler,
// 2 * 1242 if nothing overlapped; issue slots 1020. 16 lines a warp need 256 bytes of shared memory
// for a tensor instruction, so shared memory is the limit of sm_80 (0.92 of the tensor cores); 32
// lines would halve that and need 128 registers of acc and 64 of scores.
//
// In flight while a turn is computed: a K and a V tile, 18 to 35 KB an SM.
//
// The value of a key that one line sees and another does not must not reach the other, and 0 * NaN
// is NaN: tiles in which lines see different keys (at most the diagonal's and the window's edge)
// are searched for values that are not finite; take_broken() gives one to the lines that see it,
// and k_prefill_mend() puts a zero in its place for the products.
#ifndef K_ATTN_PREFILL_CUH
#define K_ATTN_PREFILL_CUH

#include "attn_prefill_warp.cuh"

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

// Read each time: what is made of it takes no register in between.
K_DEV int k_prefill_thread()
{
    int tid;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(tid));
    return tid;
}

// A thread's part of the copies of K and V tiles: PARTS times 16 bytes of each.
template <class Shape> struct k_prefill_copier {
    static constexpr int PARTS = K_ATTN_TILE * Shape::CHUNKS / Shape::THREADS;
    static constexpr int STEP = Shape::THREADS / Shape::CHUNKS; // rows from part to part
    int head_dim, row_bytes;
    int tid, row0, bytes0;
    uint32_t to0;

    __device__ __forceinline__ k_prefill_copier(const k_paging &kv, int thread)
        : head_dim(kv.head_dim), row_bytes((int)k_kv_row(&kv) * 2), tid(thread)
    {
        const int ch = tid % Shape::CHUNKS;
        row0 = tid / Shape::CHUNKS;
        bytes0 = k_attn_chunk_bytes(ch, head_dim);
        to0 = (uint32_t)(row0 * Shape::ROW + ch * 16);
    }

    // Where this thread's first part of the tile at src lies.
    __device__ __forceinline__ const char *start(const char *src) const
    {
        const int ch = tid % Shape::CHUNKS;
        return Shape::CHUNKS == 12 ? src : src + row0 * row_bytes + (bytes0 ? ch * 16 : 0);
    }

    // The i-th part, one after the other, of a tile of which rows [first, first + n) are wanted.
    // src: start(), moved on by each part. kZero: other rows, and columns past head_dim, become
    // zero (nothing of them is read, but their addresses lie in the page too); else, with first = 0
    // and head_dim a multiple of 8, they stay as they are.
    template <bool kZero>
    __device__ __forceinline__ void part(int i, int first, int n, const char *&src,
                                         uint32_t dst) const
    {
        if (Shape::CHUNKS != 12) {
            const int row = row0 + i * STEP;
            copy<kZero>(dst + to0 + (uint32_t)(i * STEP * Shape::ROW), src,
                        kZero ? (unsigned)(row - first) < (unsigned)n : row < n, bytes0);
            src += STEP * row_bytes;
        } else { // eight lanes: a row's first eight chunks, or the last four of rows r and r + 4
            const int at = tid + i * Shape::THREADS, phase = at % 96 / 8, l = at % 8;
            const int row = at / 96 * 8 + (phase < 8 ? phase : phase - 8 + (l & 4));
            const int ch = phase < 8 ? l : 8 + (l & 3);
            const int bytes = k_attn_chunk_bytes(ch, head_dim);
            copy<kZero>(dst + (uint32_t)(row * Shape::ROW + ch * 16),
                        src + row * row_bytes + (bytes ? ch * 16 : 0),
                        kZero ? (unsigned)(row - first) < (unsigned)n : row < n, bytes);
        }
    }

    template <bool kZero>
    __device__ __forceinline__ static void copy(uint32_t dst, const char *src, bool in, int bytes)
    {
        if (kZero) {
            k_cp_async16(dst, src, in ? bytes : 0);
        } else {
            asm volatile("{.reg .pred p; setp.ne.b32 p, %2, 0; @p cp.async.cg.shared.global [%0], "
                         "[%1], 16;}" ::"r"(dst),
                         "l"(src), "r"((int)(in && bytes))
                         : "memory");
        }
    }

    __device__ __forceinline__ void all(int first, int n, const char *src, uint32_t dst) const
    {
        src = start(src);
#pragma unroll(PARTS < 4 ? PARTS : 4)
        for (int i = 0; i < PARTS; i++) {
            part<true>(i, first, n, src, dst);
        }
    }
};

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

// What a thread's number makes of addresses: made anew where it is used.
template <class Shape> struct k_prefill_lane {
    k_prefill_copier<Shape> copier;
    uint32_t q, k, v;           // places in the fragments of Q, of a K tile and of a V tile
    const k_prefill_view *view; // of lines g and g + 8: [0], [8]
    float4 *run;
    int pair; // of columns of S: keys 2 pair and the next

    __device__ __forceinline__ k_prefill_lane(const k_paging &kv, char *smem)
        : k_prefill_lane(kv, smem, k_prefill_thread())
    {
    }

    // Rows of A and of V's keys run with bit 3, those of K's with bit 4.
    __device__ __forceinline__ k_prefill_lane(const k_paging &kv, char *smem, int tid)
        : copier(kv, tid)
    {
        const int warp = tid / 32, lane = tid % 32, upper = lane / 8 % 2, third = lane / 16;
        v = (uint32_t)((lane % 8 + 8 * upper) * Shape::ROW + 16 * third);
        k = (uint32_t)((lane % 8 + 8 * third) * Shape::ROW + 16 * upper);
        q = k_smem(smem + Shape::Q_AT + warp * 16 * Shape::ROW) + v;
        view = reinterpret_cast<k_prefill_view *>(smem + Shape::VIEW_AT) + warp * 16 + lane / 4;
        run = reinterpret_cast<float4 *>(smem + Shape::RUN_AT) + tid;
        pair = lane % 4;
    }
};

template <class Shape, bool kCap> K_DEV void k_prefill(const k_attn_prefill_args &p, char *smem)
{
    constexpr int kRow = Shape::ROW, kTile = Shape::TILE;
    const k_attn_args &a = p.a;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4;
    k_pdl_launch();
    k_pdl_wait();

    // ---- where am I ----
    k_prefill_task found;
    found.head = (int)blockIdx.y;
    if (!k_prefill_find<Shape::LINES>(p, (int)blockIdx.x, lane, &found)) {
        return;
    }
    const int per_key = a.n_heads / a.kv.n_kv_heads;
    const int row_a = found.row0 + found.line0 / per_key;
    const int row_b = found.row0 + (found.line0 + found.n_lines - 1) / per_key;
    const int32_t *positions = k_at<const int32_t>(a.positions);
    const int pos_a = positions[row_a], pos_b = positions[row_b];
    found.table += (int64_t)k_at<const int32_t>(a.row_seq)[found.row0] * a.kv.table_stride;
    found.first_key = k_attn_first_key(pos_a, a.window);
    found.last_key = pos_b;
    found.full_from = k_attn_first_key(pos_b, a.window);
    found.full_to = pos_a;
    found.gaps = pos_b - pos_a != row_b - row_a;

    k_prefill_view *views = reinterpret_cast<k_prefill_view *>(smem + Shape::VIEW_AT);
    if ((int)threadIdx.x < Shape::LINES) {
        const int l = (int)threadIdx.x;
        const int pos =
            l < found.n_lines ? positions[found.row0 + (found.line0 + l) / per_key] : -1;
        const int lo = k_attn_first_key(pos, a.window);
        views[l] = {lo, pos - lo + 1};
    }
    // Most of it is used seldom: no registers for it.
    k_prefill_task *const shared = reinterpret_cast<k_prefill_task *>(smem + Shape::TASK_AT);
    if (threadIdx.x == 0) {
        *shared = found;
    }
    __syncthreads();
    const k_prefill_task &t = *shared;
    const bool active = warp * 16 < found.n_lines;
    const bool steady = active && !found.gaps && a.kv.head_dim % 8 == 0;
    const int tile_a = found.first_key / K_ATTN_TILE, tile_b = found.last_key / K_ATTN_TILE;

    // ---- shared memory: K tiles, V tiles, Q if it stays, running results ----
    char *const q_lines = smem + Shape::Q_AT;
    const auto k_slot = [&](int tile) { return (uint32_t)(tile % Shape::STAGES * kTile); };
    const auto v_slot = [&](int tile) {
        return (uint32_t)((tile % Shape::STAGES + Shape::STAGES) * kTile);
    };
    const uint32_t base = k_smem(smem);

    int pages = 0, pages_from = tile_a; // lane l has the page of tile pages_from + l
    const auto load_pages = [&](int tile) {
        pages_from = tile;
        pages = tile + lane <= tile_b ? t.table[tile + lane] : 0;
    };
    load_pages(tile_a);
    const int64_t v_offset = 2 * k_kv_v_offset(&a.kv);
    const auto page_of = [&](int tile) {
        const int page = __shfl_sync(0xffffffffu, pages, min(tile, tile_b) - pages_from);
        return k_prefill_page(a, page, t.head);
    };
    const auto ask = [&](const k_prefill_copier<Shape> &copier, int tile, int64_t offset,
                         uint32_t slot) {
        const char *src = page_of(tile);
        const int first = max(t.first_key - tile * K_ATTN_TILE, 0);
        int n = min(t.last_key - tile * K_ATTN_TILE, K_ATTN_TILE - 1) - first + 1;
        if (t.gaps && !k_prefill_seen(a, t, tile, lane)) { // its page may be any number
            src = k_prefill_page(a, t.table[tile_a], t.head);
            n = 0;
        }
        copier.all(first, n, src + offset, base + slot);
    };

    k_prefill_load_q<Shape>(a, t, q_lines);
    const k_prefill_lane<Shape> at_first(a.kv, smem);
    ask(at_first.copier, tile_a, 0, k_slot(tile_a));
    k_cp_async_commit();

    k_prefill_warp<Shape, kCap> w;
    w.clear();
    w.ends = lane & 2 ? 0.0f : k_neg_inf();
#pragma unroll
    for (int n = 0; n < Shape::NT; n++) {
        if (n < Shape::RUN_REGS) {
            w.run[n][0] = w.run[n][1] = w.run[n][2] = w.run[n][3] = 0.0f;
        } else {
            at_first.run[(n - Shape::RUN_REGS) * Shape::THREADS] = make_float4(0, 0, 0, 0);
        }
    }

    uint32_t q[Shape::APART ? 1 : Shape::D / 16][4];
    if (!Shape::APART) {
        k_cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < Shape::D / 16; kk++) {
            k_ldmatrix4(q[Shape::APART ? 0 : kk], at_first.q + (uint32_t)(32 * kk));
        }
    }

    // ---- turns: products of tile i + 1, values of tile i, weights of tile i + 1 ----
    const auto is_edge = [&](int tile) {
        const int key0 = tile * K_ATTN_TILE;
        return key0 < t.full_from || key0 + K_ATTN_TILE - 1 > t.full_to;
    };
    // Values of a tile that has its weights, those that its lines do not share first.
    const auto add_any = [&](int tile, char *v_tile, bool last) {
        if (active) {
            w.rescale();
        }
        if (is_edge(tile) && k_prefill_broken<Shape>(v_tile)) {
            if (active) {
                const k_prefill_lane<Shape> at(a.kv, smem);
                w.take_broken(v_tile, tile * K_ATTN_TILE, at.view, lane);
            }
            __syncthreads();
            k_prefill_mend<Shape>(v_tile);
            __syncthreads();
        }
        if (active) {
            const k_prefill_lane<Shape> at(a.kv, smem);
            w.add(k_smem(v_tile) + at.v);
            if (tile % K_ATTN_SPLIT_TILES == K_ATTN_SPLIT_TILES - 1 || last) {
                w.fold(p.c, at.run);
            }
        }
    };

    const auto any_turn = [&](int i) {
        const auto at = [&] { return k_prefill_lane<Shape>(a.kv, smem); };
        char *v_tile = smem + v_slot(i + Shape::STAGES);
        const bool now = i >= tile_a, next = i < tile_b;
        float s[8][4];
        k_cp_async_wait<0>();
        __syncthreads(); // K and V are here, and everybody is done with the last turn
        if (next) {
            ask(at().copier, i + 1, v_offset, v_slot(i + 1));
        }
        if (i + 2 <= tile_b) {
            ask(at().copier, i + 2, 0, k_slot(i + 2));
        }
        k_cp_async_commit();
        if (active && next) {
            w.multiply(s, q, at().q, base + k_slot(i + 1) + at().k, [](int) {});
        }
        if (now) {
            add_any(i, v_tile, !next);
        }
        if (active && next) {
            w.soften(s, (i + 1) * K_ATTN_TILE + 2 * at().pair, is_edge(i + 1), at().view, p.c,
                     p.cap_in);
        }
    };

    // The same where every line sees both tiles whole and no split ends. Columns past head_dim are
    // not copied: the first turns made them zero in both K tiles, Q in both V tiles.
    constexpr int kParts = k_prefill_copier<Shape>::PARTS;
    const char *v_src;
    const auto steady_turn = [&](int i, const k_prefill_lane<Shape> &at) {
        const int n = t.last_key + 1 - (i + 2) * K_ATTN_TILE;
        const char *const k_page = at.copier.start(page_of(i + 2)), *k_src = k_page;
        const uint32_t k_dst = base + k_slot(i), k_lane = base + k_slot(i + 1) + at.k;
        const uint32_t v_dst = base + v_slot(i + 1), v_lane = base + v_slot(i) + at.v;
        float s[8][4];
        k_cp_async_wait<0>();
        __syncthreads();
        w.multiply(s, q, at.q, k_lane, [&](int x) {
            if (x < kParts) {
                at.copier.template part<false>(x, 0, K_ATTN_TILE, v_src, v_dst);
            } else if (x < 2 * kParts) {
                at.copier.template part<false>(x - kParts, 0, n, k_src, k_dst);
            }
            if (x == Shape::D / 16 - 1) {
                k_cp_async_commit();
            }
        });
        w.rescale();
        w.add_and_soften(s, v_lane, p.c, p.cap_in);
        v_src = k_page + v_offset;
    };
    static_assert(Shape::APART || 2 * kParts <= Shape::D / 16, "copies fit between the products");

    // Where K and V have one place each: all of one tile.
    const auto whole_tile = [&](int i) {
        const auto at = [&] { return k_prefill_lane<Shape>(a.kv, smem); };
        char *v_tile = smem + kTile;
        float s[8][4];
        k_cp_async_wait<0>();
        __syncthreads(); // K is here, and everybody is done with the last V
        ask(at().copier, i, v_offset, kTile);
        k_cp_async_commit();
        if (active) {
            w.multiply(s, q, at().q, base + at().k, [](int) {});
            w.soften(s, i * K_ATTN_TILE + 2 * at().pair, is_edge(i), at().view, p.c, p.cap_in);
        }
        k_cp_async_wait<0>();
        __syncthreads(); // V is here, and everybody is done with K
        if (i < tile_b) {
            ask(at().copier, i + 1, 0, 0);
        }
        k_cp_async_commit();
        add_any(i, v_tile, i == tile_b);
    };

    for (int i = Shape::APART ? tile_a : tile_a - 1; i <= tile_b;) {
        if (i + K_ATTN_SPLIT_TILES + 2 > pages_from + 31) {
            load_pages(max(i, tile_a));
        }
        // Turns before `to` have two tiles that every line sees whole, and leave the split open.
        const int to = min((t.full_to + 1) / K_ATTN_TILE - 1, i | (K_ATTN_SPLIT_TILES - 1));
        if (!Shape::APART && steady && i >= tile_a && i * K_ATTN_TILE >= t.full_from && i < to) {
            const k_prefill_lane<Shape> at(a.kv, smem);
            v_src = at.copier.start(page_of(i + 1)) + v_offset;
#pragma unroll 1
            do {
                steady_turn(i, at);
            } while (++i < to);
        } else if (Shape::APART) {
            whole_tile(i++);
        } else {
            any_turn(i++);
        }
    }

    // ---- out, through shared memory: rows of 16-byte stores ----
    k_cp_async_wait<0>();
    __syncthreads();
    if (!active) {
        return;
    }
    float run_m[2], run_sum[2], scale[2];
    w.load_ends(run_m, run_sum);
#pragma unroll
    for (int j = 0; j < 2; j++) {
        const int l = warp * 16 + g + 8 * j;
        const int head = t.head * per_key + (t.line0 + l) % per_key;
        const float sink = a.sinks && l < t.n_lines ? k_at<const float>(a.sinks)[head] : 0.0f;
        scale[j] = k_attn_scale(run_m[j], run_sum[j], p.c, a.sinks != 0, sink * kLog2e);
    }
    char *lines = smem;
    const k_prefill_lane<Shape> at_last(a.kv, smem);
#pragma unroll
    for (int n = 0; n < Shape::NT; n++) {
        float4 x;
        if (n < Shape::RUN_REGS) {
            x = make_float4(w.run[n][0], w.run[n][1], w.run[n][2], w.run[n][3]);
        } else {
            x = at_last.run[(n - Shape::RUN_REGS) * Shape::THREADS];
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
    extern "C" __global__ void __launch_bounds__(k_prefill_##size::THREADS, 1) \
        name##_bf16_##size(const __grid_constant__ k_attn_prefill_args p) \
    { \
        k_prefill<k_prefill_##size, cap>(p, k_attn_smem); \
    }

#endif
