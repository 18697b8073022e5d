// SPDX-License-Identifier: Apache-2.0
//
// sample.cu - sampling (sample.h): maxima and sums; sample_pick.cu draws. Grid of all three: x over
// stretches of a row, y over rows. A block has its stretch in shared memory, brought there by
// cp.async (8 to 32 KiB; three to six blocks, so 96 KB and more are on their way to each
// multiprocessor), and applies the edits there, so that the logits stay as they are.
//
// Limits: logits come once from memory (sample_max) and then, if they are not more than it holds,
// from L2. Of a token sample_max takes 8 instructions, sample_sum 23, or 35 where the row has a
// border and its buckets are filled: on the H100 64 x 131072 take 11 us of memory, then 9 or 13 us
// of instructions. sample_pick reads again the rows with a border only, and compares: 4
// instructions for a token below it. Shared memory costs no more than if all logits were equal:
// nothing is counted in a place that two lanes of a warp could share.
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
    const bool bad = nan != nan || top == K_INFINITY;
    return {rank_of(top, at), key_of(top), bad ? 0 : key_of(least)};
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
        list_top(l, w,
                 k_at<uint64_t>(p.tops) + (int64_t)w.b * p.n_stretches * K_SAMPLE_MAX_TOP +
                     (int)blockIdx.x * w.row.n_top);
    }
    stats s = stretch_stats(l, w.from, w.n);
    if (has_edits(w.row)) {
        const stats raw = s;
        __syncthreads();
        edit_stretch(w.row, w.from, w.n, l);
        s = stretch_stats(l, w.from, w.n);
        s.raw_max = raw.raw_max;
        s.least = raw.least == 0 ? 0 : s.least;
    }
    s = block_stats(s);
    if (tid == 0) {
        k_at<k_sample_part>(p.parts)[part] = {s.best, s.raw_max, s.least};
    }
}

// ---- sample_sum ----

// A row's buckets, of one stretch. Each lane counts in a column of its own, which is a bank, so
// that no two lanes of a warp ever meet in one, wherever the logits say that they count; only warps
// share columns. A cell: the number of tokens above, their weight below (sample.cuh).
struct histogram {
    uint32_t cell[K_SAMPLE_BUCKETS][32];
};
constexpr int kMassBits = 32 - kCountBits;
constexpr uint32_t kMassMask = (1u << kMassBits) - 1;
static_assert(K_SAMPLE_MAX_STRETCH / 32 < 1 << kCountBits, "a column's tokens are counted");
static_assert(K_SAMPLE_MAX_STRETCH / 32 * kMost < 1 << kMassBits, "and their weight fits");

// exp(x) of |x| < 0.0985, within 2^-17.8.
K_DEV float exp_near(float x)
{
    float p = __fmaf_rn(x, 1.66666666666667e-1f, 0.5f);
    p = __fmaf_rn(p, x, 1.0f);
    return __fmaf_rn(p, x, 1.0f);
}

// Counts a token of that exponent, unless its weight is rounded to 0: then it adds 0, which is
// quicker than to branch. column: the address of the lane's.
K_DEV void count(uint32_t column, float weight, float x, const head &d)
{
    constexpr uint32_t kBig = 0x4b000000u; // 2^23: a sum with it is rounded to an integer
    const float big = __uint_as_float(kBig), last = big + (K_SAMPLE_BUCKETS - 1);
    x = fmaxf(x, -25.0f);
    const float t = fminf(__fmaf_rn(x, d.per_bucket, big), last); // as bucket_of() does it
    const float from_middle = __fmaf_rn(__fsub_rn(t, big), -d.width, x);
    const float units = __fmaf_rn(exp_near(from_middle), (float)kMiddle, big);
    const uint32_t one = __float_as_uint(units) - kBig + (1u << kMassBits);
    const uint32_t at = column - kBig * sizeof(histogram::cell[0]) +
                        __float_as_uint(t) * (uint32_t)sizeof(histogram::cell[0]);
    asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(at), "r"(weight > 0x1p-35f ? one : 0)
                 : "memory");
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

K_DEV void clear(histogram &h)
{
    uint4 *cells = reinterpret_cast<uint4 *>(&h);
    for (int i = (int)threadIdx.x; i < (int)sizeof h / 16; i += kThreads) {
        cells[i] = make_uint4(0, 0, 0, 0);
    }
    __syncthreads();
}

// The stretch's tokens into h. Returns the weight of the thread's.
K_DEV uint64_t fill(histogram &h, const float *l, int n, const head &d)
{
    const uint32_t column = k_smem(&h) + threadIdx.x % 32 * 4;
    uint64_t sum = 0;
    weight_sum part;
    each_exp(
        l, n, d.max, d.scale,
        [&](float weight, float x) {
            part.add(weight);
            count(column, weight, x, d);
        },
        [&](int) {
            sum += part.value();
            part = weight_sum();
        });
    __syncthreads();
    return sum;
}

// A stretch's buckets to the row's.
K_DEV void add_buckets(const histogram &h, uint64_t *row)
{
    static_assert(2 * K_SAMPLE_BUCKETS == kThreads, "two threads a bucket");
    const int bucket = (int)threadIdx.x / 2, half = (int)threadIdx.x % 2;
    uint32_t mass = 0, n = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        // Eight neighbours read at a time: of four buckets, in turn, all banks.
        const int column = half * 16 + (i + bucket) % 4 * 4;
        const uint4 v = *reinterpret_cast<const uint4 *>(&h.cell[bucket][column]);
        mass += (v.x & kMassMask) + (v.y & kMassMask) + (v.z & kMassMask) + (v.w & kMassMask);
        n += (v.x >> kMassBits) + (v.y >> kMassBits) + (v.z >> kMassBits) + (v.w >> kMassBits);
    }
    mass += __shfl_xor_sync(kAll, mass, 1);
    n += __shfl_xor_sync(kAll, n, 1);
    // All of a warp's or none: whole sectors.
    if (__any_sync(kAll, n) && half == 0) {
        atomicAdd(reinterpret_cast<unsigned long long *>(&row[bucket]),
                  (uint64_t)n << kSumBits | mass);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sample_sum_f32(const __grid_constant__ args_t p)
{
    extern __shared__ __align__(16) float l[];
    __shared__ __align__(16) histogram h;
    k_pdl_launch();
    k_pdl_wait();
    const place w = place_of(p);
    const int tid = (int)threadIdx.x, lane = tid % 32;
    const int64_t part_of_row = (int64_t)w.b * p.n_stretches + (int)blockIdx.x;
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
            k_at<uint64_t>(p.raw_sums)[part_of_row] = raw;
        }
    }
    if (!draws) {
        return;
    }
    if (has_edits(w.row)) {
        edit_stretch(w.row, w.from, w.n, l);
    }
    if (asks_border(w.row, p.a.vocab)) {
        clear(h);
        const uint64_t sum = block_sum(fill(h, l, w.n, d));
        if (tid == 0) {
            k_at<uint64_t>(p.sums)[part_of_row] = sum;
        }
        add_buckets(h, (k_at<k_sample_buckets>(p.buckets) + w.b)->sum);
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
