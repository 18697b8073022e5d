// SPDX-License-Identifier: Apache-2.0
//
// sample_pick.cu - the last launch of sampling: the border of top-k and top-p, the draw, logprobs.
//
// A row without a border is finished by its first block, the others leave at once. With a border,
// the buckets that sample_sum filled say in which of them it lies. Each block sums what is above,
// by segment, and lists the tokens of those buckets; the block that comes last for its row (a
// ticket) finds the border among the listed ones and finishes. Where they are too many for the list
// (a vocabulary of near-equals), it walks the row again.
#include "sample.cuh"

// What is looked for by walking down from the largest logit: the first token at which so many
// tokens, or so much weight, are reached.
struct border_plan {
    int k, first, last; // the bucket of top_k (none: past all), the range of that of top_p
    uint64_t n_above_k; // tokens in the buckets above k
    uint64_t above_k, above_first; // weight in the buckets above
};

__shared__ uint64_t s_mass[K_SAMPLE_BUCKETS]; // up to and with the bucket
__shared__ uint64_t s_hist[K_SAMPLE_BUCKETS];
__shared__ uint32_t s_n[K_SAMPLE_BUCKETS];
__shared__ int s_found[4];
__shared__ row_t s_row;

struct task {
    const args_t *p;
    int b;
    const row_t &row;    // in shared memory
    const float *logits; // the row
    head d;
    float *l; // a stretch in shared memory
};

// ---- buckets ----

// top_p times a weight, as the smallest integer not below; at least 1.
K_DEV uint64_t part_of(float top_p, uint64_t total)
{
    const uint64_t part = __double2ull_ru(__dmul_rn((double)top_p, __ull2double_rn(total)));
    return part > 0 ? part : 1;
}

// The first bucket up to which `limit` is reached; K_SAMPLE_BUCKETS if none. For all threads.
template <class T> K_DEV int reach(const T *upto, uint64_t limit)
{
    if (threadIdx.x == 0) {
        s_found[0] = K_SAMPLE_BUCKETS;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < K_SAMPLE_BUCKETS; i += kThreads) {
        if (upto[i] >= limit && (i == 0 || upto[i - 1] < limit)) {
            s_found[0] = i;
        }
    }
    __syncthreads();
    const int found = s_found[0];
    __syncthreads();
    return found;
}

K_DEV border_plan plan_border(const task &t)
{
    constexpr int kEach = K_SAMPLE_BUCKETS / kThreads;
    static_assert(kEach == 2, "two buckets a thread");
    const k_sample_buckets *in = k_at<const k_sample_buckets>(t.p->buckets) + t.b;
    const int i = (int)threadIdx.x * kEach;
    uint64_t total, count;
    const uint64_t m0 = in->mass[i], m1 = in->mass[i + 1];
    const uint64_t n0 = in->n[i], n1 = in->n[i + 1];
    const uint64_t mass = block_prefix(m0 + m1, &total), n = block_prefix(n0 + n1, &count);
    s_mass[i] = mass + m0;
    s_mass[i + 1] = mass + m0 + m1;
    s_n[i] = (uint32_t)(n + n0);
    s_n[i + 1] = (uint32_t)(n + n0 + n1);
    __syncthreads();
    border_plan g = {K_SAMPLE_BUCKETS, K_SAMPLE_BUCKETS, K_SAMPLE_BUCKETS, 0, 0, 0};
    uint64_t low = total, high = total; // between them lies the weight that top_k keeps
    if (asks_top_k(t.row, t.p->a.vocab)) {
        g.k = reach(s_n, (uint64_t)t.row.top_k);
        if (g.k < K_SAMPLE_BUCKETS) {
            g.n_above_k = g.k > 0 ? s_n[g.k - 1] : 0;
            g.above_k = low = g.k > 0 ? s_mass[g.k - 1] : 0;
            high = s_mass[g.k];
        }
        g.first = g.last = g.k;
    }
    if (t.row.top_p < 1) {
        g.first = reach(s_mass, part_of(t.row.top_p, low));
        g.last = reach(s_mass, part_of(t.row.top_p, high));
        g.above_first = g.first > 0 ? s_mass[g.first - 1] : 0;
    }
    return g;
}

// Whether a token has to be looked at one by one.
K_DEV bool is_listed(const border_plan &g, int bucket)
{
    return (bucket >= g.first && bucket <= g.last) || bucket == g.k;
}

// The last bucket that matters.
K_DEV int top_k_or_p_last(const border_plan &g)
{
    return min(g.k < K_SAMPLE_BUCKETS ? max(g.k, g.last) : g.last, K_SAMPLE_BUCKETS - 1);
}

// The stretch of this block: the weight above the border, by segment, and the list.
K_DEV void sort_out(const task &t, const border_plan &g, int from, int n)
{
    const int lane = (int)threadIdx.x % 32;
    const uint64_t least = least_of(t.row);
    uint64_t *segments =
        k_at<uint64_t>(t.p->segments) + (int64_t)t.b * t.p->n_segments + from / kSegment;
    uint64_t *list = k_at<uint64_t>(t.p->candidates) + (int64_t)t.b * K_SAMPLE_MAX_CANDIDATES;
    uint32_t *n_list = &(k_at<k_sample_buckets>(t.p->buckets) + t.b)->n_candidates;
    // Nearly all tokens of a likely row are below this, and need no more than to be compared.
    const float lowest = lowest_in(t.d, top_k_or_p_last(g));
    uint64_t sum = 0;
    each_four(
        t.l, n,
        [&](float4 v, int i) {
            if (fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)) < lowest) {
                return;
            }
            const float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (e[j] < lowest) {
                    continue;
                }
                const float x = exponent_of(e[j], t.d.max, t.d.scale);
                const int bucket = bucket_of(x, t.d.per_bucket);
                if (bucket < g.first) {
                    const uint64_t weight = weight_of(x);
                    sum += weight >= least ? weight : 0;
                } else if (is_listed(g, bucket) && e[j] != -K_INFINITY) {
                    const uint32_t at = atomicAdd(n_list, 1u);
                    if (at < K_SAMPLE_MAX_CANDIDATES) {
                        list[at] = rank_of(e[j], from + i + j);
                    }
                }
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

// ---- the border, exactly ----

// What is done with each of the listed tokens. One function with a switch, not three: the walk over
// them is long code.
enum visit { kCountDigits, kAddKept, kAddToSegments };
struct search {
    int n;           // on the list; more than it holds: the row is walked instead
    int first, last; // buckets that take part
    uint64_t floor;  // ranks below do not
    bool by_weight;  // sizes are weights, or else one a token
    uint64_t prefix; // kCountDigits: only ranks that begin with it,
    int above;       // which is to say rank >> above,
    int shift;       // and the digit: rank >> shift, masked
    uint32_t mask;
};

K_DEV uint64_t look_at(const task &t, const search &s, visit what, float l, int token)
{
    const float x = exponent_of(l, t.d.max, t.d.scale);
    const int bucket = bucket_of(x, t.d.per_bucket);
    const uint64_t rank = rank_of(l, token);
    const uint64_t weight = weight_of(x);
    if (bucket < s.first || bucket > s.last || rank < s.floor || weight == 0) {
        return 0;
    }
    if (what == kCountDigits) {
        if (rank >> s.above == s.prefix) {
            const uint32_t digit = s.mask - ((uint32_t)(rank >> s.shift) & s.mask);
            atomicAdd(reinterpret_cast<unsigned long long *>(&s_hist[digit]),
                      s.by_weight ? weight : 1);
        }
    } else if (what == kAddToSegments && weight >= least_of(t.row)) {
        atomicAdd(k_at<unsigned long long>(t.p->segments) + (int64_t)t.b * t.p->n_segments +
                      token / kSegment,
                  weight);
    }
    return weight;
}

// Every thread of the block calls it. Returns the weight of the thread's share.
K_DEV uint64_t each_listed(const task &t, const search &s, visit what)
{
    uint64_t weight = 0;
    const int tid = (int)threadIdx.x;
    const bool listed = s.n <= K_SAMPLE_MAX_CANDIDATES;
    const int n = listed ? s.n : t.p->a.vocab;
    const int step = listed ? max(n, 1) : t.p->stretch;
    const unsigned long long *list =
        k_at<const unsigned long long>(t.p->candidates) + (int64_t)t.b * K_SAMPLE_MAX_CANDIDATES;
#pragma unroll 1
    for (int from = 0; from < n; from += step) {
        const int m = min(step, n - from);
        if (!listed) {
            __syncthreads();
            load_edited(t.row, t.logits + from, from, m, t.l);
        }
#pragma unroll 1
        for (int i = tid; i < m; i += kThreads) {
            const uint64_t rank = listed ? __ldcg(list + i) : rank_of(t.l[i], from + i);
            weight += look_at(t, s, what, logit_of(rank), token_of(rank));
        }
    }
    return weight;
}

// The last token kept, as its rank, where `limit` is reached; the floor if it never is. By a radix
// descent on the rank, nine bits at a time.
K_DEV uint64_t find_border(const task &t, search s, uint64_t limit)
{
    constexpr int kRankBits = 32 + kIndexBits, kDigit = 9;
    static_assert(K_SAMPLE_BUCKETS == 1 << kDigit, "a digit's counters are as many");
    s.prefix = 0;
#pragma unroll 1
    for (s.above = kRankBits; s.above > 0; s.above = s.shift) {
        s.shift = max(s.above - kDigit, 0);
        s.mask = (1u << (s.above - s.shift)) - 1;
        const int i = (int)threadIdx.x * 2;
        __syncthreads();
        s_hist[i] = s_hist[i + 1] = 0;
        __syncthreads();
        (void)each_listed(t, s, kCountDigits);
        __syncthreads();
        const uint64_t a = s_hist[i], c = s_hist[i + 1];
        uint64_t total;
        const uint64_t before = block_prefix(a + c, &total);
        if (total < limit) {
            return s.floor;
        }
        s_mass[i] = before + a;
        s_mass[i + 1] = before + a + c;
        __syncthreads();
        const int found = reach(s_mass, limit);
        limit -= found > 0 ? s_mass[found - 1] : 0;
        s.prefix = s.prefix << (s.above - s.shift) | (s.mask - (uint32_t)found);
    }
    return s.prefix;
}

// Both borders; and the segments get what is kept of the listed tokens.
K_DEV uint64_t settle(const task &t, const border_plan &g)
{
    search s = {};
    s.n = (int)min(__ldcg(&(k_at<k_sample_buckets>(t.p->buckets) + t.b)->n_candidates),
                   (uint32_t)K_SAMPLE_MAX_CANDIDATES + 1);
    uint64_t total = s_mass[K_SAMPLE_BUCKETS - 1];
    const bool top_k = g.k < K_SAMPLE_BUCKETS, top_p = t.row.top_p < 1;
#pragma unroll 1
    for (int i = 0; i < 2; i++) {
        if (i == 0 ? !top_k : !top_p) {
            continue;
        }
        s.by_weight = i == 1;
        s.first = i == 0 ? g.k : g.first;
        s.last = i == 0 ? g.k : g.last;
        const uint64_t limit = i == 0 ? (uint64_t)t.row.top_k - g.n_above_k
                                      : part_of(t.row.top_p, total) - g.above_first;
        s.floor = find_border(t, s, limit);
        if (i == 0 && top_p) {
            total = g.above_k + block_sum(each_listed(t, s, kAddKept));
        }
    }
    s.first = g.first;
    s.last = top_k ? max(g.k, g.last) : g.last;
    (void)each_listed(t, s, kAddToSegments);
    __threadfence_block();
    __syncthreads();
    return s.floor;
}

// ---- the draw ----

// [0, 1), a multiple of 2^-52, of Philox4x32-10.
K_DEV double uniform_of(uint64_t seed, uint64_t step)
{
    uint32_t c0 = (uint32_t)step, c1 = (uint32_t)(step >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma unroll
    for (int i = 0; i < 10; i++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return __dmul_rn(__ull2double_rn((c0 | (uint64_t)c1 << 32) >> 12), 0x1p-52);
}

// The first token whose running sum exceeds the drawn part of all that is kept. For all threads.
K_DEV int draw(const task &t, uint64_t border)
{
    constexpr int kEach = K_SAMPLE_MAX_VOCAB / kSegment / kThreads;
    const int tid = (int)threadIdx.x, first = tid * kEach;
    const unsigned long long *segments =
        k_at<const unsigned long long>(t.p->segments) + (int64_t)t.b * t.p->n_segments;
    uint64_t part[kEach], mine = 0, total;
#pragma unroll
    for (int i = 0; i < kEach; i++) {
        part[i] = first + i < t.p->n_segments ? __ldcg(segments + first + i) : 0;
        mine += part[i];
    }
    uint64_t sum = block_prefix(mine, &total);
    const uint64_t target =
        __double2ull_rd(__dmul_rn(uniform_of(t.row.seed, t.row.step), __ull2double_rn(total)));
#pragma unroll
    for (int i = 0; i < kEach; i++) {
        if (sum <= target && target < sum + part[i]) {
            s_found[1] = first + i;
            s_hist[0] = target - sum;
        }
        sum += part[i];
    }
    __syncthreads();
    const int from = s_found[1] * kSegment, n = min(kSegment, t.p->a.vocab - from);
    const uint64_t rest = s_hist[0];
    load_edited(t.row, t.logits + from, from, n, t.l);
    const uint64_t least = least_of(t.row);
    static_assert(kSegment == 2 * kThreads, "two tokens a thread");
    uint64_t weight[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float e = t.l[tid * 2 + i];
        const uint64_t w = weight_of(exponent_of(e, t.d.max, t.d.scale));
        weight[i] = w >= least && rank_of(e, from + tid * 2 + i) >= border ? w : 0;
    }
    sum = block_prefix(weight[0] + weight[1], &total);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (sum <= rest && rest < sum + weight[i]) {
            s_found[2] = from + tid * 2 + i;
        }
        sum += weight[i];
    }
    __syncthreads();
    return s_found[2];
}

// ---- logprobs ----

K_DEV void write_logprobs(const task &t, int token, k_sample_out *out)
{
    const int tid = (int)threadIdx.x, stretches = t.p->n_stretches;
    const uint64_t *raw = k_at<const uint64_t>(t.p->raw_sums) + (int64_t)t.b * stretches;
    const uint64_t total = block_sum(tid < stretches ? raw[tid] : 0);
    const double log_sum = log(__dmul_rn(__ull2double_rn(total), 0x1p-34));
    if (tid == 0) {
        *out = {token, (float)((double)t.logits[token] - (double)t.d.raw_max - log_sum)};
    }
    k_sample_top *top = k_at<k_sample_top>(t.p->a.top) + (int64_t)t.b * t.p->a.max_top;
    const uint64_t *lists =
        k_at<const uint64_t>(t.p->tops) + (int64_t)t.b * stretches * K_SAMPLE_MAX_TOP;
    uint64_t best = ~0ull;
    for (int i = 0; i < t.row.n_top; i++) {
        uint64_t mine = 0;
#pragma unroll 1
        for (int j = tid; j < stretches * t.row.n_top; j += kThreads) {
            const uint64_t rank = lists[j / t.row.n_top * K_SAMPLE_MAX_TOP + j % t.row.n_top];
            mine = rank < best && rank > mine ? rank : mine;
        }
        best = block_max(mine);
        if (tid == 0) {
            top[i] = best ? k_sample_top{token_of(best), (float)((double)logit_of(best) -
                                                                 (double)t.d.raw_max - log_sum)}
                          : k_sample_top{-1, -K_INFINITY};
        }
    }
}

// ---- the kernel ----

extern "C" __global__ void __launch_bounds__(kThreads)
    sample_pick_f32(const __grid_constant__ args_t p)
{
    extern __shared__ __align__(16) float l[];
    k_pdl_launch();
    k_pdl_wait();
    const int tid = (int)threadIdx.x;
    const place w = place_of(p);
    if (tid == 0) {
        s_row = w.row;
    }
    __syncthreads();
    const bool border_asked = asks_border(s_row, p.a.vocab);
    if (!border_asked && blockIdx.x > 0) {
        return;
    }
    task t = {&p, w.b, s_row, w.logits - w.from, head_of(p, s_row, w.b), l};
    k_sample_out *out = k_at<k_sample_out>(p.a.out) + w.b;
    if (t.d.refused) {
        if (tid == 0 && blockIdx.x == 0) {
            out->token = K_SAMPLE_NOT_A_NUMBER;
        }
        return;
    }
    uint64_t border = 0;
    if (border_asked) {
        const border_plan g = plan_border(t);
        load_edited(s_row, w.logits, w.from, w.n, l);
        sort_out(t, g, w.from, w.n);
        // The last block of the row goes on.
        __syncthreads();
        if (tid == 0) {
            uint32_t *ticket = k_at<uint32_t>(p.tickets) + w.b;
            __threadfence();
            const bool last = atomicAdd(ticket, 1u) + 1 == gridDim.x;
            if (last) {
                *ticket = 0;
                __threadfence();
            }
            s_found[3] = last;
        }
        __syncthreads();
        if (!s_found[3]) {
            return;
        }
        border = settle(t, g);
    }
    const int token = s_row.given              ? s_row.given - 1
                      : s_row.temperature == 0 ? t.d.best
                                               : draw(t, border);
    if (s_row.n_top < 0) {
        if (tid == 0) {
            *out = {token, 0};
        }
        return;
    }
    write_logprobs(t, token, out);
}
