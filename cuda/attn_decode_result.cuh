// SPDX-License-Identifier: Apache-2.0
//
// attn_decode_result.cuh - what a block of attn_decode.cuh has computed: folded, written, left for
// the merge, merged.
#ifndef K_ATTN_DECODE_RESULT_CUH
#define K_ATTN_DECODE_RESULT_CUH

#include "attn_decode_items.cuh"
#include "attn_decode_shape.cuh"

// A block's state, and what becomes of it: one run of splits folded in registers, or partial
// results for whoever arrives last.
template <class Shape> struct k_decode_results {
    static constexpr int PAIRS = Shape::PAIRS;
    const k_attn_decode_args &p;
    char *smem;
    int warp, lane, head, line0, lines; // key head; first query head of it, and how many
    float acc[2 * PAIRS][4], sum[4], m[2];
    float run[Shape::SPILLS ? 1 : 2 * PAIRS][4], run_sum[2], run_m[2];
    uint32_t q[Shape::SPILLS ? 1 : Shape::D / 16][4];

    __device__ __forceinline__ k_decode_results(const k_attn_decode_args &args, char *shared)
        : p(args), smem(shared), warp((int)threadIdx.x / 32), lane((int)threadIdx.x % 32)
    {
    }

    // Columns of this warp's pair j of V.
    __device__ __forceinline__ int column(int j) const
    {
        return (warp * PAIRS + j) * 16;
    }

    // ---- the splits so far ----

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
};

#endif
