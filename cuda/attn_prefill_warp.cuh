// SPDX-License-Identifier: Apache-2.0
//
// attn_prefill_warp.cuh - what a warp of attn_prefill.cuh does with its 16 lines: scores, weights,
// acc and sums are in its registers, as mma fragments; the weights become the A operand of P V
// without leaving them.
#ifndef K_ATTN_PREFILL_WARP_CUH
#define K_ATTN_PREFILL_WARP_CUH

#include "attn.cuh"

template <int kD, int kWarps, int kStages> struct k_prefill_shape {
    static constexpr int D = kD, WARPS = kWarps, STAGES = kStages;
    static constexpr int THREADS = 32 * WARPS, LINES = 16 * WARPS;
    static constexpr int CHUNKS = D / 8, ROW = (CHUNKS + 1) * 16; // bytes of a row in shared memory
    static constexpr int TILE = K_ATTN_TILE * ROW;
    static constexpr int NT = D / 8;               // n-tiles of 8 columns of acc
    static constexpr bool APART = kStages == 1;    // K and V arrive apart; Q stays in shared memory
    static constexpr int RUN_REGS = APART ? 1 : 0; // n-tiles of the running result in registers
    static constexpr int RUN_SHARED = NT - RUN_REGS;
    static constexpr int Q_AT = APART ? 2 * TILE : STAGES * TILE; // else Q passes through V's
    static constexpr int RUN_AT = 2 * STAGES * TILE + (APART ? LINES * ROW : 0);
    static constexpr int VIEW_AT = RUN_AT + RUN_SHARED * THREADS * 16;
    static constexpr int TASK_AT = VIEW_AT + LINES * 8;
    static constexpr int SMEM = TASK_AT + 48;
    static_assert(APART || LINES * ROW == STAGES * TILE, "Q passes through all of V's places");
};
using k_prefill_d64 = k_prefill_shape<64, 8, 2>;
using k_prefill_d96 = k_prefill_shape<96, 8, 2>;
using k_prefill_d128 = k_prefill_shape<128, 8, 2>;
using k_prefill_d256 = k_prefill_shape<256, 4, 1>;
static_assert(k_prefill_d64::SMEM == K_ATTN_PREFILL_SMEM_D64, "attn_plan.h says so");
static_assert(k_prefill_d96::SMEM == K_ATTN_PREFILL_SMEM_D96, "attn_plan.h says so");
static_assert(k_prefill_d128::SMEM == K_ATTN_PREFILL_SMEM_D128, "attn_plan.h says so");
static_assert(k_prefill_d256::SMEM == K_ATTN_PREFILL_SMEM_D256, "attn_plan.h says so");

// Which keys of its sequence a line sees: n from lo on. In shared memory, for edges only.
struct k_prefill_view {
    int lo, n;
};

template <class Shape, bool kCap> struct k_prefill_warp {
    static constexpr int NT = Shape::NT;
    float acc[NT][4], sum[4], m[2];
    float factor[2];  // what acc and sum must be multiplied by before the tile of p is added
    uint32_t p[8][2]; // weights: keys 8n + 2c and the next, of lines g and g + 8
    float run[Shape::RUN_REGS ? Shape::RUN_REGS : 1]
             [4]; // results of earlier splits, what is not in shared memory
    float ends;   // lane 4g: maximum of line g of run, then of line g + 8, then their sums

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int n = 0; n < NT; n++) {
            acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
        }
        sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
        m[0] = m[1] = k_neg_inf();
    }

    // Of 16 columns d, the kk-th, the products of Q and K. a: of Q; k_lane: this lane's row and
    // column in the K tile.
    __device__ __forceinline__ void multiply(float (&s)[8][4], const uint32_t a[4], uint32_t k_lane,
                                             int kk)
    {
#pragma unroll
        for (int np = 0; np < 4; np++) {
            uint32_t b[4];
            k_ldmatrix4(b, k_lane + (uint32_t)(np * 16 * Shape::ROW + 32 * kk));
            k_mma_bf16(s[2 * np], a, b[0], b[1]);
            k_mma_bf16(s[2 * np + 1], a, b[2], b[3]);
        }
    }

    // s = Q K. q: registers, or the address of this lane's row in shared memory. aside(kk): what
    // else there is to do meanwhile.
    template <class Aside>
    __device__ __forceinline__ void multiply(float (&s)[8][4], const uint32_t (*q)[4],
                                             uint32_t q_lane, uint32_t k_lane, const Aside &aside)
    {
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
        }
#pragma unroll
        for (int kk = 0; kk < Shape::D / 16; kk++) {
            if (Shape::APART) {
                uint32_t a[4];
                k_ldmatrix4(a, q_lane + (uint32_t)(32 * kk));
                multiply(s, a, k_lane, kk);
            } else {
                multiply(s, q[kk], k_lane, kk);
            }
            aside(kk);
        }
    }

    // Products of keys 8n and on to scores.
    __device__ __forceinline__ void score(float (&s)[4], float cap_in)
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[i] = k_attn_score<kCap>(s[i], cap_in);
        }
    }

    // No score where a line does not see the key. key: the lane's first of the tile.
    __device__ __forceinline__ void hide(float (&s)[8][4], int key, const k_prefill_view *view)
    {
        const k_prefill_view see[2] = {view[0], view[8]};
#pragma unroll
        for (int i = 0; i < 32; i++) {
            const int at = key + i / 4 * 8 + i % 2 - see[i % 4 / 2].lo;
            if ((unsigned)at >= (unsigned)see[i % 4 / 2].n) {
                s[i / 4][i % 4] = k_neg_inf();
            }
        }
    }

    // The maxima after a tile; most: of the lane's scores of it and of those of its neighbours.
    __device__ __forceinline__ void raise(const float (&most)[2], float c, float (&base)[2])
    {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const float after = fmaxf(m[j], most[j]);
            factor[j] = k_attn_correction(m[j], after, c);
            base[j] = k_attn_base(after, c);
            m[j] = after;
        }
    }

    __device__ __forceinline__ static void weigh(uint32_t (&p)[2], const float (&s)[4], float c,
                                                 const float (&base)[2])
    {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            p[j] = k_bf16_pair(k_attn_weight(s[2 * j], c, base[j]),
                               k_attn_weight(s[2 * j + 1], c, base[j]));
        }
    }

    // From the products of a tile, in which lines may see different keys, to its scores and the new
    // maxima.
    __device__ __forceinline__ void find_most(float (&s)[8][4], int key, bool edge,
                                              const k_prefill_view *view, float c, float cap_in,
                                              float (&base)[2])
    {
#pragma unroll
        for (int n = 0; n < 8; n++) {
            score(s[n], cap_in);
        }
        if (edge) {
            hide(s, key, view);
        }
        float most[2] = {k_neg_inf(), k_neg_inf()};
#pragma unroll
        for (int n = 0; n < 8; n++) {
            most[0] = fmaxf(most[0], fmaxf(s[n][0], s[n][1]));
            most[1] = fmaxf(most[1], fmaxf(s[n][2], s[n][3]));
        }
        most[0] = k_quad_max(most[0]);
        most[1] = k_quad_max(most[1]);
        raise(most, c, base);
    }

    // On to the weights.
    __device__ __forceinline__ void soften(float (&s)[8][4], int key, bool edge,
                                           const k_prefill_view *view, float c, float cap_in)
    {
        float base[2];
        find_most(s, key, edge, view, c, cap_in, base);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            weigh(p[n], s[n], c, base);
        }
    }

    // acc and sum in units of the new maxima.
    __device__ __forceinline__ void rescale(int n)
    {
        acc[n][0] = __fmul_rn(acc[n][0], factor[0]);
        acc[n][1] = __fmul_rn(acc[n][1], factor[0]);
        acc[n][2] = __fmul_rn(acc[n][2], factor[1]);
        acc[n][3] = __fmul_rn(acc[n][3], factor[1]);
    }

    __device__ __forceinline__ void rescale_sum()
    {
        sum[0] = __fmul_rn(sum[0], factor[0]);
        sum[2] = __fmul_rn(sum[2], factor[1]);
    }

    __device__ __forceinline__ void rescale()
    {
#pragma unroll
        for (int n = 0; n < NT; n++) {
            rescale(n);
        }
        rescale_sum();
    }

    // acc += P V, of 2 NT steps the x-th: 16 keys by 16 columns. v_lane: this lane's row and column
    // in the V tile.
    static constexpr int STEPS = 2 * NT;
    __device__ __forceinline__ void add_step(uint32_t v_lane, int x)
    {
        const int kk = x / (NT / 2), np = x % (NT / 2);
        const uint32_t a[4] = {p[2 * kk][0], p[2 * kk][1], p[2 * kk + 1][0], p[2 * kk + 1][1]};
        if (np == 0) {
            k_mma_bf16(sum, a, kOnes, kOnes);
        }
        uint32_t b[4];
        k_ldmatrix4_trans(b, v_lane + (uint32_t)(kk * 16 * Shape::ROW + 32 * np));
        k_mma_bf16(acc[2 * np], a, b[0], b[1]);
        k_mma_bf16(acc[2 * np + 1], a, b[2], b[3]);
    }

    __device__ __forceinline__ void add(uint32_t v_lane)
    {
#pragma unroll
        for (int x = 0; x < STEPS; x++) {
            add_step(v_lane, x);
        }
    }

    // add() of one tile and soften() of the next, whose keys every line sees, each among the
    // instructions of the other: products take the tensor cores' time, the rest takes what they
    // leave. The order of the source is the order that the compiler starts from.
    __device__ __forceinline__ void add_and_soften(float (&s)[8][4], uint32_t v_lane, float c,
                                                   float cap_in)
    {
        constexpr int kScore = STEPS / 4, kMax = STEPS / 2 - STEPS / 8, kWeigh = STEPS / 2;
        float most[2], base[2];
        uint32_t next[8][2];
#pragma unroll
        for (int x = 0; x < STEPS; x++) {
            add_step(v_lane, x);
#pragma unroll
            for (int n = 0; n < 8; n++) {
                if (x == kScore + (kMax - kScore) * n / 8) {
                    score(s[n], cap_in);
                    const float a = fmaxf(s[n][0], s[n][1]), b = fmaxf(s[n][2], s[n][3]);
                    most[0] = n ? fmaxf(most[0], a) : a;
                    most[1] = n ? fmaxf(most[1], b) : b;
                }
                if (x == kWeigh + (STEPS - kWeigh) * n / 8) {
                    weigh(next[n], s[n], c, base);
                }
            }
            if (x == kMax || x == (kMax + kWeigh) / 2) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const int d = x == kMax ? 1 : 2;
                    most[j] = fmaxf(most[j], __shfl_xor_sync(0xffffffffu, most[j], d));
                }
            }
            if (x == kWeigh - 1) {
                raise(most, c, base);
            }
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            p[n][0] = next[n][0], p[n][1] = next[n][1];
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

    // Of the running result the maxima and sums: to and from `ends`.
    __device__ __forceinline__ void load_ends(float (&run_m)[2], float (&run_sum)[2]) const
    {
        const int first = (int)threadIdx.x & 28;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            run_m[j] = __shfl_sync(0xffffffffu, ends, first + j);
            run_sum[j] = __shfl_sync(0xffffffffu, ends, first + j + 2);
        }
    }

    __device__ __forceinline__ void store_ends(const float (&run_m)[2], const float (&run_sum)[2])
    {
        const int c = (int)threadIdx.x % 4;
        const float m_c = c & 1 ? run_m[1] : run_m[0], sum_c = c & 1 ? run_sum[1] : run_sum[0];
        ends = c & 2 ? sum_c : m_c;
    }

    // run = run and then this split, which starts anew. mine: this thread's part of shared memory.
    __device__ __forceinline__ void fold(float c, float4 *mine)
    {
        float run_m[2], run_sum[2];
        load_ends(run_m, run_sum);
        k_attn_factors f[2];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            f[j] = k_attn_merge_factors(run_m[j], run_sum[j], m[j], sum[2 * j], c);
            run_sum[j] = k_attn_merge(run_sum[j], sum[2 * j], f[j]);
            run_m[j] = f[j].m;
        }
        store_ends(run_m, run_sum);
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

#endif
