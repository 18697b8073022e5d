// SPDX-License-Identifier: Apache-2.0
//
// sample.cuh - what the kernels of sampling share: a stretch of a row in shared memory with its
// edits, weights as integers, the order of tokens, reductions of a block.
//
// A weight is counted in units of 2^-34, an integer of at most 35 bits, computed by the very
// operations of the CPU backend (sample_simd.c, vf_exp): so are its bits.
#ifndef K_SAMPLE_CUH
#define K_SAMPLE_CUH

#include "ptx.cuh"
#include "sample_plan.h"

using row_t = k_sample_row;
using args_t = k_sample_kernel_args;

constexpr int kThreads = K_SAMPLE_THREADS, kWarps = kThreads / 32, kSegment = K_SAMPLE_SEGMENT;
constexpr unsigned kAll = 0xffffffffu;
#define K_DEV_MEMBER __device__ __forceinline__
#define K_INFINITY __int_as_float(0x7f800000)

// ---- the order of tokens: larger logits first, equals by lowest index ----

constexpr int kIndexBits = 19;
constexpr uint32_t kIndexMask = (1u << kIndexBits) - 1;
static_assert(K_SAMPLE_MAX_VOCAB == 1 << kIndexBits, "an index fits");

// Larger floats have larger keys; -0 has the key of +0. Never 0 but for a NaN.
K_DEV uint32_t key_of(float f)
{
    const uint32_t u = __float_as_uint(__fadd_rn(f, 0.0f));
    return u ^ ((uint32_t)((int32_t)u >> 31) | 0x80000000u);
}

K_DEV float float_of(uint32_t key)
{
    return __uint_as_float(key >> 31 ? key ^ 0x80000000u : ~key);
}

// The larger, the earlier. Not 0.
K_DEV uint64_t rank_of(float l, int token)
{
    return (uint64_t)key_of(l) << kIndexBits | (kIndexMask - (uint32_t)token);
}

K_DEV int token_of(uint64_t rank)
{
    return (int)(kIndexMask - ((uint32_t)rank & kIndexMask));
}

K_DEV float logit_of(uint64_t rank)
{
    return float_of((uint32_t)(rank >> kIndexBits));
}

// ---- weights ----

// The exponent of a token's weight, at most 0.
K_DEV float exponent_of(float l, float max, float scale)
{
    return __fmul_rn(__fsub_rn(l, max), scale);
}

// exp(x), x <= 0, with the bits of vf_exp; below -25 something that rounds to nothing.
K_DEV float exp_of(float x)
{
    constexpr float kBig = 12582912.0f; // 1.5 * 2^23: a sum with it is rounded to an integer
    x = fmaxf(x, -25.0f);
    const float t = __fadd_rn(__fmul_rn(x, 1.44269504088896341f), kBig);
    const float n = __fsub_rn(t, kBig);
    float r = __fmaf_rn(n, -0.693359375f, x);
    r = __fmaf_rn(n, 2.12194440e-4f, r);
    float p = 1.98412698412698e-4f;
    p = __fmaf_rn(p, r, 1.38888888888889e-3f);
    p = __fmaf_rn(p, r, 8.33333333333333e-3f);
    p = __fmaf_rn(p, r, 4.16666666666667e-2f);
    p = __fmaf_rn(p, r, 1.66666666666667e-1f);
    p = __fmaf_rn(p, r, 0.5f);
    p = __fmaf_rn(p, r, 1.0f);
    p = __fmaf_rn(p, r, 1.0f);
    return __uint_as_float(__float_as_uint(p) + (__float_as_uint(t) << 23)); // p * 2^n
}

// Sums of weights in 32-bit words: w = a + b with a the nearest multiple of 2^-11 and |b| <= 2^-12,
// b rounded to a multiple of 2^-34. Both come out of the last bits of a sum with a number whose
// last bit is that; what these numbers themselves add is taken off in the end. So w is rounded as
// the CPU backend does it: to nearest, ties to even, and not at all from 2^-11 on.
struct weight_sum {
    uint32_t a = 0, b = 0;
    int n = 0; // up to 32, known when compiled

    static constexpr uint32_t kA = 0x45800000u, kB = 0x3a400000u; // 4096, 1.5 * 2^-11

    K_DEV_MEMBER void add(float w)
    {
        const float a1 = __fadd_rn(w, __uint_as_float(kA));
        const float rest = __fsub_rn(w, __fsub_rn(a1, __uint_as_float(kA)));
        a += __float_as_uint(a1);
        b += __float_as_uint(__fadd_rn(rest, __uint_as_float(kB)));
        n++;
    }
    // Multiples of 2^-11, and of 2^-34.
    K_DEV_MEMBER uint32_t coarse() const
    {
        return a - (uint32_t)n * kA;
    }
    K_DEV_MEMBER int32_t fine() const
    {
        return (int32_t)(b - (uint32_t)n * kB);
    }
    K_DEV_MEMBER uint64_t value() const
    {
        return ((uint64_t)coarse() << 23) + (uint64_t)(int64_t)fine();
    }
};

// exp(x) * 2^34, rounded.
K_DEV uint64_t weight_of(float x)
{
    weight_sum s;
    s.add(exp_of(x));
    return s.value();
}

// 0 instead of w if it rounds to less than min_p.
K_DEV float at_least(float w, float min_p)
{
    constexpr float kSmall = 0x1p-11f;
    const float q = w < kSmall ? __fsub_rn(__fadd_rn(w, kSmall), kSmall) : w;
    return q >= min_p ? w : 0.0f;
}

// 1 / temperature may overflow, but 0 * scale has to stay 0.
K_DEV float scale_of(const row_t &r)
{
    return fminf(__fdiv_rn(1.0f, r.temperature), 3.402823466e38f);
}

// Weights below it are dropped: min_p in units of 2^-34.
K_DEV uint64_t least_of(const row_t &r)
{
    return r.min_p > 0 ? __float2ull_ru(__fmul_rn(r.min_p, 17179869184.0f)) : 0;
}

// ---- what a row asks for ----

K_DEV bool has_penalties(const row_t &r)
{
    return r.n_counts > 0 && (r.repetition != 1 || r.frequency != 0 || r.presence != 0);
}

K_DEV bool has_edits(const row_t &r)
{
    return r.n_bias > 0 || r.bitmask || r.n_banned > 0 || has_penalties(r);
}

K_DEV bool asks_top_k(const row_t &r, int vocab)
{
    return r.top_k > 0 && r.top_k < vocab;
}

K_DEV bool asks_border(const row_t &r, int vocab)
{
    return r.temperature != 0 && (asks_top_k(r, vocab) || r.top_p < 1);
}

// ---- a stretch of a row ----

// n tokens to shared memory; up to the end of the last segment follow -inf.
K_DEV void load_stretch(const float *row, int n, float *l)
{
    const int tid = (int)threadIdx.x;
    if (((uint64_t)row & 15) == 0) {
        for (int i = tid * 4; i < n; i += kThreads * 4) {
            k_cp_async16(k_smem(l + i), row + i, min(n - i, 4) * 4);
        }
        k_cp_async_commit();
        k_cp_async_wait<0>();
    } else {
#pragma unroll 1
        for (int i = tid; i < n; i += kThreads) {
            l[i] = row[i];
        }
    }
    __syncthreads();
    const int end = (n + kSegment - 1) / kSegment * kSegment;
    if (n < end) {
#pragma unroll 1
        for (int i = n + tid; i < end; i += kThreads) {
            l[i] = -K_INFINITY;
        }
        __syncthreads();
    }
}

// A token and what is said of it.
K_DEV uint2 pair_at(const void *list, int i)
{
    return static_cast<const uint2 *>(list)[i];
}

// Steps 2 to 6 for tokens from .. from + n - 1, each step after the one before.
K_DEV void edit_stretch(const row_t &r, int from, int n, float *l)
{
    const int tid = (int)threadIdx.x;
    static_assert(sizeof(k_sample_bias) == 8 && sizeof(k_sample_count) == 8, "read whole");
#pragma unroll 2
    for (int i = tid; i < r.n_bias; i += kThreads) {
        const uint2 bias = pair_at(k_at<const void>(r.bias), i);
        const uint32_t at = bias.x - (uint32_t)from;
        if (at < (uint32_t)n) {
            l[at] = __fadd_rn(l[at], __uint_as_float(bias.y));
        }
    }
    __syncthreads();
    if (r.bitmask) {
        const uint32_t *mask = k_at<const uint32_t>(r.bitmask) + from / 32;
#pragma unroll 2
        for (int i = tid; i < n; i += kThreads) {
            if (!(mask[i / 32] >> (i % 32) & 1)) {
                l[i] = -K_INFINITY;
            }
        }
    }
    // What is masked and banned is written twice: by the same value, but not at the same time.
    __syncthreads();
    const int32_t *banned = k_at<const int32_t>(r.banned);
#pragma unroll 2
    for (int i = tid; i < r.n_banned; i += kThreads) {
        const uint32_t at = (uint32_t)(banned[i] - from);
        if (at < (uint32_t)n) {
            l[at] = -K_INFINITY;
        }
    }
    __syncthreads();
    if (has_penalties(r)) {
#pragma unroll 2
        for (int i = tid; i < r.n_counts; i += kThreads) {
            const uint2 count = pair_at(k_at<const void>(r.counts), i);
            const uint32_t at = count.x - (uint32_t)from;
            if (at < (uint32_t)n) {
                const int times = (int)count.y;
                const float f = l[at];
                const float g = f > 0 ? __fdiv_rn(f, r.repetition) : __fmul_rn(f, r.repetition);
                l[at] = __fsub_rn(g, __fadd_rn(__fmul_rn(r.frequency, (float)times),
                                               times > 0 ? r.presence : 0.0f));
            }
        }
        __syncthreads();
    }
}

// ---- a block's place ----

struct place {
    int b, from, n;      // the row, the first token, how many
    const row_t &row;    // in global memory: read where it is asked for
    const float *logits; // from `from` on
};

K_DEV place place_of(const args_t &p)
{
    const int b = (int)blockIdx.y, from = (int)blockIdx.x * p.stretch;
    return {b, from, min(p.stretch, p.a.vocab - from), k_at<const row_t>(p.a.rows)[b],
            k_at<const float>(p.a.logits) + (int64_t)b * p.a.logits_stride + from};
}

// What the row's draw sees of tokens from .. from + n - 1.
K_DEV void load_edited(const row_t &r, const float *logits, int from, int n, float *l)
{
    load_stretch(logits, n, l);
    if (has_edits(r)) {
        edit_stretch(r, from, n, l);
    }
}

// f(four logits, index of the first) of a stretch in shared memory: a warp walks segments, and
// after(segment) ends each. Every lane takes part in all of them.
template <class F, class G> K_DEV void each_four(const float *l, int n, F f, G after)
{
    const int lane = (int)threadIdx.x % 32;
    for (int s = (int)threadIdx.x / 32; s * kSegment < n; s += kWarps) {
#pragma unroll
        for (int q = 0; q < kSegment / 128; q++) {
            const int i = s * kSegment + q * 128 + lane * 4;
            f(*reinterpret_cast<const float4 *>(l + i), i);
        }
        after(s);
    }
}

// ---- reductions ----

// What lane 0 of each warp has: lane i gets that of warp i % kWarps. A barrier before and after.
template <class T> K_DEV T of_warps(T v)
{
    static_assert(sizeof(T) <= 16 && 32 % kWarps == 0, "one access, all lanes");
    __shared__ __align__(16) T warps[kWarps];
    const int lane = (int)threadIdx.x % 32;
    if (lane == 0) {
        warps[threadIdx.x / 32] = v;
    }
    __syncthreads();
    v = warps[lane % kWarps];
    __syncthreads();
    return v;
}

K_DEV uint64_t warp_max(uint64_t v)
{
    const uint32_t hi = __reduce_max_sync(kAll, (uint32_t)(v >> 32));
    const uint32_t lo = __reduce_max_sync(kAll, (uint32_t)(v >> 32) == hi ? (uint32_t)v : 0u);
    return (uint64_t)hi << 32 | lo;
}

// Below 2^56 in all.
K_DEV uint64_t warp_sum(uint64_t v)
{
    const uint32_t lo = __reduce_add_sync(kAll, (uint32_t)v & 0xffffffu);
    const uint32_t hi = __reduce_add_sync(kAll, (uint32_t)(v >> 24));
    return ((uint64_t)hi << 24) + lo;
}

// Of all threads, for all of them.
K_DEV uint64_t block_max(uint64_t v)
{
    return warp_max(of_warps(warp_max(v)));
}

K_DEV uint64_t block_sum(uint64_t v)
{
    v = of_warps(warp_sum(v));
    return warp_sum(threadIdx.x % 32 < kWarps ? v : 0);
}

// What the threads before this one have, and in *total what all have.
K_DEV uint64_t block_prefix(uint64_t v, uint64_t *total)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    uint64_t sum = v;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const uint64_t left = __shfl_up_sync(kAll, sum, (unsigned)d);
        sum += lane >= d ? left : 0;
    }
    const uint64_t warps = of_warps(__shfl_sync(kAll, sum, 31));
    *total = warp_sum(lane < kWarps ? warps : 0);
    return warp_sum(lane < warp ? warps : 0) + sum - v;
}

// A row or a part of it.
struct stats {
    uint64_t best;           // rank of the largest edited logit
    uint32_t raw_max, least; // keys; least 0: a NaN or +inf was met
};

K_DEV stats warp_stats(stats v)
{
    return {warp_max(v.best), __reduce_max_sync(kAll, v.raw_max), __reduce_min_sync(kAll, v.least)};
}

K_DEV stats block_stats(stats v)
{
    return warp_stats(of_warps(warp_stats(v)));
}

// ---- what sample_sum and sample_pick know of a row ----

struct head {
    float max, raw_max, scale;
    float per_bucket; // buckets a unit of the exponent, negative
    float width;      // of a bucket, in units of the exponent, negative
    int best;         // the token with the largest edited logit
    bool refused;
};

K_DEV head head_of(const args_t &p, const row_t &r, int b)
{
    stats s = {0, 0, kAll};
    const int tid = (int)threadIdx.x;
    static_assert(K_SAMPLE_MAX_STRETCHES <= kThreads, "a thread a part");
    if (tid < p.n_stretches) {
        const uint4 v =
            k_load16(k_at<const k_sample_part>(p.parts) + (int64_t)b * p.n_stretches + tid);
        s = {(uint64_t)v.y << 32 | v.x, v.z, v.w};
    }
    s = block_stats(s);
    head h;
    h.max = logit_of(s.best);
    h.raw_max = float_of(s.raw_max);
    h.best = token_of(s.best);
    h.refused = s.least == 0 || h.max == -K_INFINITY;
    h.scale = scale_of(r);
    // Buckets share out what lies between the largest and the smallest weight that is one.
    float range = fminf(-exponent_of(float_of(s.least), h.max, h.scale), 25.0f);
    range = fmaxf(range, 1e-30f);
    h.per_bucket = __fdiv_rn((float)(1 - K_SAMPLE_BUCKETS), range);
    h.width = __fdiv_rn(range, (float)(1 - K_SAMPLE_BUCKETS));
    return h;
}

// ---- buckets ----
//
// A bucket's sum, in one integer: how many of its tokens have a weight, and these weights over that
// of the bucket's middle, exp(bucket * width), in units of 1 / kMiddle. A bucket is at most 25 /
// 127 wide, so that a weight is within exp(0.0985) of the middle's, at most kMost units.
//
// This is what the true sum (weights are multiples of 2^-34) differs from it: rounding to a unit,
// 1/2 of at least 25980, 2^-15.6; the cubic in exp_near, 0.0985^4 / 24 and its like; the bucket's
// middle, rounded twice, 25 * 2^-24 each; exp_of twice, within 2^-22. All of it is below 2^-15 of
// the sum, and 2^-35 a token for the rounding of its weight. 2^-kSlackBits is four times the
// first, so that its floor is enough too; and a whole unit of 2^-34 is allowed for each token.
constexpr int kSlackBits = 13;
constexpr int kMiddle = 28672, kMost = 31650;
constexpr int kCountBits = 9; // of a cell of sample_sum's histogram; the others are weight
constexpr int kSumBits = 40;  // weight in k_sample_buckets::sum
static_assert((uint64_t)K_SAMPLE_MAX_VOCAB * kMost < 1ull << kSumBits, "a row's weight fits");

// The bucket of a token, 0 for the likeliest: less likely tokens are in the same or a later one.
K_DEV int bucket_of(float x, float per_bucket)
{
    constexpr uint32_t kBig = 0x4b000000u; // 2^23: the sum is rounded to an integer
    const float t = __fmaf_rn(fmaxf(x, -25.0f), per_bucket, __uint_as_float(kBig));
    return min((int)(__float_as_uint(t) - kBig), K_SAMPLE_BUCKETS - 1);
}

// The lowest logit whose bucket is at most `last`: by a search over the order of floats in which
// the lanes of a warp try 32 at a time. For every lane of a full warp.
K_DEV float lowest_in(const head &d, int last)
{
    // Keys of -inf and of the maximum, whose bucket is 0.
    uint32_t out = key_of(-K_INFINITY), in = key_of(d.max);
    const uint32_t lane = threadIdx.x % 32;
    while (in - out > 1) {
        const uint32_t step = (in - out + 31) / 32;
        const uint32_t key = min(out + (lane + 1) * step, in);
        const bool inside =
            bucket_of(exponent_of(float_of(key), d.max, d.scale), d.per_bucket) <= last;
        const uint32_t first = __ffs(__ballot_sync(kAll, inside)) - 1;
        in = __shfl_sync(kAll, key, (int)first);
        out = first > 0 ? __shfl_sync(kAll, key, (int)first - 1) : out;
    }
    return float_of(in);
}

#endif
