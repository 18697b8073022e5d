// SPDX-License-Identifier: Apache-2.0
//
// sample.cu - sampling (sample.h) in three launches. Grid of each: x over stretches of a row, y
// over rows; a block has its stretch in shared memory (8 to 32 KiB) and applies the edits there, so
// that the logits stay as they are.
//
// sample_pick is in sample_pick.cu. Limits: logits come once from memory (sample_max) and then from
// L2, if they are not more than it holds. sample_sum is bound by instructions, some 30 a token.
#include "sample.cuh"

// ---- sample_max ----

// a NaN if one of them is
K_DEV float max_nan(float a, float b)
{
    float m;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
    return m;
}

K_DEV float largest(float4 v)
{
    return max_nan(max_nan(v.x, v.y), max_nan(v.z, v.w));
}

// The thread's own best below `below`, of the tokens it has in each_four(); 0: none.
K_DEV uint64_t best_below(const float *l, int from, int n, uint64_t below)
{
    uint64_t best = 0;
    each_four(
        l, n,
        [&](float4 v, int i) {
            const float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint64_t rank = rank_of(e[j], from + i + j);
                best = i + j < n && rank < below && rank > best ? rank : best;
            }
        },
        [](int) {});
    return best;
}

// The n_top most likely tokens of the stretch by raw logits, largest first, 0 where there are less.
K_DEV void list_top(const float *l, const place &w, uint64_t *list)
{
    uint64_t mine = best_below(l, w.from, w.n, ~0ull);
    for (int i = 0; i < w.row.n_top; i++) {
        const uint64_t top = block_max(mine);
        if (threadIdx.x == 0) {
            list[i] = top;
        }
        if (mine == top && top) {
            mine = best_below(l, w.from, w.n, top);
        }
    }
}

K_DEV stats stretch_stats(const float *l, int from, int n)
{
    float top = -K_INFINITY, least = K_INFINITY, nan = -K_INFINITY;
    int at = from;
    each_four(
        l, n,
        [&](float4 v, int i) {
            const float e[4] = {v.x, v.y, v.z, v.w};
            nan = max_nan(nan, largest(v));
#pragma unroll
            for (int j = 0; j < 4; j++) {
                at = e[j] > top ? from + i + j : at;
                top = fmaxf(e[j], top);
                least = fminf(least, e[j] == -K_INFINITY ? K_INFINITY : e[j]);
            }
        },
        [](int) {});
    return {rank_of(top, at), key_of(top), key_of(least), nan != nan || top == K_INFINITY};
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sample_max_f32(const __grid_constant__ args_t p)
{
    extern __shared__ __align__(16) float l[];
    k_pdl_launch();
    k_pdl_wait();
    const place w = place_of(p);
    const int tid = (int)threadIdx.x;
    const int64_t part = (int64_t)w.b * p.n_stretches + (int)blockIdx.x;
    // Cleared for the sums of the kernels behind.
    static_assert(sizeof(k_sample_buckets) % 16 == 0, "cleared by 16 bytes");
    uint4 *buckets = reinterpret_cast<uint4 *>(k_at<k_sample_buckets>(p.buckets) + w.b);
    for (int i = (int)blockIdx.x * kThreads + tid; i < (int)sizeof(k_sample_buckets) / 16;
         i += p.n_stretches * kThreads) {
        k_store16(buckets + i, make_uint4(0, 0, 0, 0));
    }
    load_stretch(w.logits, w.n, l);
    if (w.row.n_top > 0) {
        list_top(l, w, k_at<uint64_t>(p.tops) + part * K_SAMPLE_MAX_TOP);
    }
    stats s = stretch_stats(l, w.from, w.n);
    if (has_edits(w.row)) {
        const stats raw = s;
        __syncthreads();
        edit_stretch(w.row, w.from, w.n, l);
        s = stretch_stats(l, w.from, w.n);
        s.raw_max = raw.raw_max;
        s.bad |= raw.bad;
    }
    s = block_stats(s);
    if (tid == 0) {
        k_at<k_sample_part>(p.parts)[part] = {s.best, s.raw_max, s.least, s.bad, 0};
    }
}

// ---- sample_sum ----

// A row's buckets, of one stretch: a mass in two halves, so that 8192 of them fit 32 bits.
struct histogram {
    uint32_t lo[K_SAMPLE_BUCKETS], hi[K_SAMPLE_BUCKETS], n[K_SAMPLE_BUCKETS];
};
constexpr int kLoBits = 17;

K_DEV void count(histogram &h, int bucket, uint64_t weight, bool masses, bool counts)
{
    if (weight == 0) {
        return;
    }
    if (masses) {
        atomicAdd(&h.lo[bucket], (uint32_t)weight & ((1u << kLoBits) - 1));
        if (weight >> kLoBits) {
            atomicAdd(&h.hi[bucket], (uint32_t)(weight >> kLoBits));
        }
    }
    if (counts) {
        atomicAdd(&h.n[bucket], 1u);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sample_sum_f32(const __grid_constant__ args_t p)
{
    extern __shared__ __align__(16) float l[];
    __shared__ histogram h;
    k_pdl_launch();
    k_pdl_wait();
    const place w = place_of(p);
    const int tid = (int)threadIdx.x, lane = tid % 32;
    const bool draws = w.row.temperature != 0, logprobs = w.row.n_top >= 0;
    if (!draws && !logprobs) {
        return;
    }
    const head d = head_of(p, w.row, w.b);
    if (d.refused) {
        return;
    }
    load_stretch(w.logits, w.n, l);
    uint64_t raw = 0;
    const bool edits = has_edits(w.row);
    const bool same = draws && !edits && d.scale == 1; // raw and edited weights are the same
    if (logprobs && !same) {
        each_four(
            l, w.n,
            [&](float4 v, int) {
                raw += weight_of(exponent_of(v.x, d.raw_max, 1)) +
                       weight_of(exponent_of(v.y, d.raw_max, 1)) +
                       weight_of(exponent_of(v.z, d.raw_max, 1)) +
                       weight_of(exponent_of(v.w, d.raw_max, 1));
            },
            [](int) {});
        __syncthreads();
    }
    if (draws && edits) {
        edit_stretch(w.row, w.from, w.n, l);
    }
    if (draws && asks_border(w.row, p.a.vocab)) {
        const bool masses = w.row.top_p < 1, counts = asks_top_k(w.row, p.a.vocab);
        for (int i = tid; i < K_SAMPLE_BUCKETS; i += kThreads) {
            h.lo[i] = h.hi[i] = h.n[i] = 0;
        }
        __syncthreads();
        each_four(
            l, w.n,
            [&](float4 v, int) {
                const float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float x = exponent_of(e[j], d.max, d.scale);
                    const uint64_t weight = weight_of(x);
                    raw += same ? weight : 0;
                    count(h, bucket_of(x, d.per_bucket), weight, masses, counts);
                }
            },
            [](int) {});
        __syncthreads();
        k_sample_buckets *out = k_at<k_sample_buckets>(p.buckets) + w.b;
        for (int i = tid; i < K_SAMPLE_BUCKETS; i += kThreads) {
            const uint64_t mass = ((uint64_t)h.hi[i] << kLoBits) + h.lo[i];
            if (mass) {
                atomicAdd(reinterpret_cast<unsigned long long *>(&out->mass[i]), mass);
            }
            if (h.n[i]) {
                atomicAdd(&out->n[i], h.n[i]);
            }
        }
    } else if (draws) {
        const uint64_t least = least_of(w.row);
        uint64_t *segments =
            k_at<uint64_t>(p.segments) + (int64_t)w.b * p.n_segments + w.from / kSegment;
        uint64_t sum = 0;
        each_four(
            l, w.n,
            [&](float4 v, int) {
                const float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const uint64_t weight = weight_of(exponent_of(e[j], d.max, d.scale));
                    raw += same ? weight : 0;
                    sum += weight >= least ? weight : 0;
                }
            },
            [&](int s) {
                sum = warp_sum(sum);
                if (lane == 0) {
                    segments[s] = sum;
                }
                sum = 0;
            });
    }
    if (logprobs) {
        raw = block_sum(raw);
        if (tid == 0) {
            k_at<uint64_t>(p.raw_sums)[(int64_t)w.b * p.n_stretches + (int)blockIdx.x] = raw;
        }
    }
}
