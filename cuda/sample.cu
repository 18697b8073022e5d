// SPDX-License-Identifier: Apache-2.0
//
// sample.cu - sampling (sample.h): maxima and sums; sample_pick.cu draws. Grid of all three: x over
// stretches of a row, y over rows. A block has its stretch in shared memory, brought there by
// cp.async (8 to 32 KiB; four to six blocks, so 128 KB and more are on their way to each
// multiprocessor), and applies the edits there, so that the logits stay as they are.
//
// Limits: logits come once from memory (sample_max) and then, if they are not more than it holds,
// from L2. Of a token sample_max takes 8 instructions, sample_sum 23, or 39 where the row has a
// border and its buckets are filled: on the H100 64 x 131072 take 11 us of memory, then 9 or 14 us
// of instructions. sample_pick reads again the rows with a border only, and compares: 4
// instructions for a token below it.
#include "sample.cuh"

#include <stddef.h>

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

// A row's buckets, of one stretch: masses in two parts, so that 8192 of them fit 32 bits each.
struct histogram {
    uint32_t lo[K_SAMPLE_BUCKETS], hi[K_SAMPLE_BUCKETS], n[K_SAMPLE_BUCKETS];
};
constexpr int kLoBits = 17;

// Adds to shared memory what is not 0.
K_DEV void add_shared(uint32_t to, uint32_t v)
{
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.u32 p, %1, 0;\n@p red.shared.add.u32 [%0], %1;\n}" ::"r"(to),
        "r"(v)
        : "memory");
}

// h: address of the histogram.
template <bool kMasses, bool kCounts> K_DEV void count(uint32_t h, int bucket, const weight_sum &w)
{
    const uint32_t at = h + (uint32_t)bucket * 4;
    const uint32_t lo = (uint32_t)w.fine() & ((1u << kLoBits) - 1);
    const uint32_t hi = (w.coarse() << (23 - kLoBits)) + (uint32_t)(w.fine() >> kLoBits);
    if (kMasses) {
        add_shared(at + (uint32_t)offsetof(histogram, lo), lo);
        add_shared(at + (uint32_t)offsetof(histogram, hi), hi);
    }
    if (kCounts) {
        add_shared(at + (uint32_t)offsetof(histogram, n), (lo | hi) != 0);
    }
}

// f(weight of exp, logit) of the stretch, and after(segment) behind each.
template <class F, class G>
K_DEV void each_exp(const float *l, int n, float max, float scale, F f, G after)
{
    each_four(
        l, n,
        [&](float4 v, int) {
            const float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float x = exponent_of(e[j], max, scale);
                f(exp_of(x), x);
            }
        },
        after);
}

template <bool kMasses, bool kCounts>
K_DEV void fill(histogram &h, const float *l, int n, const head &d)
{
    const uint32_t to = k_smem(&h);
    each_exp(
        l, n, d.max, d.scale,
        [&](float weight, float x) {
            weight_sum one;
            one.add(weight);
            count<kMasses, kCounts>(to, bucket_of(x, d.per_bucket), one);
        },
        [](int) {});
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
    if (logprobs) {
        weight_sum part;
        each_exp(
            l, w.n, d.raw_max, 1, [&](float weight, float) { part.add(weight); },
            [&](int) {
                raw += part.value();
                part = weight_sum();
            });
        raw = block_sum(raw);
        if (tid == 0) {
            k_at<uint64_t>(p.raw_sums)[(int64_t)w.b * p.n_stretches + (int)blockIdx.x] = raw;
        }
    }
    if (!draws) {
        return;
    }
    if (has_edits(w.row)) {
        edit_stretch(w.row, w.from, w.n, l);
    }
    if (asks_border(w.row, p.a.vocab)) {
        const bool masses = w.row.top_p < 1, counts = asks_top_k(w.row, p.a.vocab);
        for (int i = tid; i < K_SAMPLE_BUCKETS; i += kThreads) {
            h.lo[i] = h.hi[i] = h.n[i] = 0;
        }
        __syncthreads();
        if (masses && counts) {
            fill<true, true>(h, l, w.n, d);
        } else if (masses) {
            fill<true, false>(h, l, w.n, d);
        } else {
            fill<false, true>(h, l, w.n, d);
        }
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
        return;
    }
    uint64_t *segments =
        k_at<uint64_t>(p.segments) + (int64_t)w.b * p.n_segments + w.from / kSegment;
    weight_sum part;
    const auto finish = [&](int s) {
        const uint64_t sum = warp_sum(part.value());
        if (lane == 0) {
            segments[s] = sum;
        }
        part = weight_sum();
    };
    const float min_p = w.row.min_p;
    if (min_p > 0) {
        each_exp(
            l, w.n, d.max, d.scale, [&](float weight, float) { part.add(at_least(weight, min_p)); },
            finish);
    } else {
        each_exp(
            l, w.n, d.max, d.scale, [&](float weight, float) { part.add(weight); }, finish);
    }
}
