// SPDX-License-Identifier: Apache-2.0
//
// sample_pick.cu - the last launch of sampling: the border of top-k and top-p, the draw, logprobs.
//
// A row without a border is finished by its first block, the others leave at once. With a border,
// the buckets that sample_sum filled say in which of them it lies. Each block sums what is above,
// by segment, and lists the tokens of those buckets, first in shared memory and then in one piece
// of the row's list; the block that comes last for its row (a ticket) finds the border among the
// listed ones and finishes. Where they are too many for the list (a vocabulary of near-equals), it
// walks the row again.
#include "sample.cuh"

// The buckets in which borders may lie.
struct border_plan {
    int k, first, last; // that of top_k (none: past all), the range of that of top_p
    uint32_t n_above_k; // tokens in the buckets above k
};

struct task {
    const args_t *p;
    int b;
    const row_t &row;    // in shared memory
    const float *logits; // the row
    const head &d;       // in shared memory
    float *l;            // a stretch in shared memory, or the row's list
};

// Used one after the other: what a block lists; counters of digits; weights by segment.
constexpr int kOwnList = 1024, kDigitBits = 5, kDigits = 1 << kDigitBits;
constexpr int kMaxSegments = K_SAMPLE_MAX_VOCAB / kSegment;
// An integer below 2^53 is a sum of such, in two words: as many low ones as there are tokens fit.
constexpr int kLowBits = 17;
union scratch {
    uint64_t list[kOwnList];
    uint32_t digits[2][kDigits][32]; // low and high words; each lane has its own column
    uint32_t segments[2][kMaxSegments];
};
static_assert((uint64_t)K_SAMPLE_MAX_VOCAB / 32 << kLowBits < 1ull << 32, "a column's weight fits");

__shared__ __align__(16) scratch s_scratch;
__shared__ row_t s_row;
__shared__ head s_head;
__shared__ border_plan s_plan;
__shared__ uint64_t s_weight[2], s_limit, s_total; // what one thread tells all
__shared__ uint32_t s_n[2];
__shared__ int s_found[4];

K_DEV uint64_t minus(uint64_t a, uint64_t b) // not below 0
{
    return a > b ? a - b : 0;
}

K_DEV void clear_scratch()
{
    static_assert(sizeof s_scratch == 8192, "cleared by 16 bytes");
    uint4 *at = reinterpret_cast<uint4 *>(&s_scratch);
    at[threadIdx.x] = at[threadIdx.x + kThreads] = make_uint4(0, 0, 0, 0);
}

K_DEV void add_shared(uint32_t *to, uint32_t v)
{
    asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(k_smem(to)), "r"(v) : "memory");
}

K_DEV k_sample_buckets *row_buckets(const task &t)
{
    return k_at<k_sample_buckets>(t.p->buckets) + t.b;
}

K_DEV unsigned long long *row_list(const task &t)
{
    return k_at<unsigned long long>(t.p->candidates) + (int64_t)t.b * K_SAMPLE_MAX_CANDIDATES;
}

// What other blocks have added.
K_DEV uint64_t read_sum(const uint64_t *sum)
{
    return __ldcg(reinterpret_cast<const unsigned long long *>(sum));
}

// ---- buckets ----

// top_p times a weight, as the smallest integer not below; at least 1.
K_DEV uint64_t part_of(float top_p, uint64_t total)
{
    const uint64_t part = __double2ull_ru(__dmul_rn((double)top_p, __ull2double_rn(total)));
    return part > 0 ? part : 1;
}

// How many of the first `n` threads have not reached what later ones have: the first that has.
K_DEV int first_of(bool reached, int n)
{
    return __syncthreads_count((int)threadIdx.x < n && !reached);
}

// Sums of buckets are known nearly (sample.cuh), and that is enough to say in which buckets the
// border of top_p may lie. Compared is what is below a bucket of all that top_k keeps with what
// top_p leaves out, not what is above with what it keeps: so what is not known is a part of the
// lesser, of at most 2^-12 of the weight of at most all tokens, each below the border and lighter
// than it. That is a few tokens more to list.
K_DEV border_plan plan_border(const task &t)
{
    constexpr int kAllOf = K_SAMPLE_BUCKETS;
    const int i = (int)threadIdx.x;
    uint64_t mass = 0, n = 0;
    if (i < kAllOf) {
        const uint64_t sum = row_buckets(t)->sum[i];
        const float middle = exp_of(__fmul_rn((float)i, t.d.width));
        const float units = __ull2float_rn(sum & ((1ull << kSumBits) - 1));
        mass = __float2ull_rn(__fmul_rn(__fmul_rn(units, middle), 0x1p34f / kMiddle));
        n = sum >> kSumBits;
    }
    uint64_t total, count;
    const uint64_t upto = block_prefix(mass, &total) + mass;
    const uint64_t n_upto = block_prefix(n, &count) + n;
    border_plan g = {kAllOf, kAllOf, kAllOf, 0};
    // What top_k keeps: all that is above its bucket, at most all that is in it too.
    uint64_t low = total, high = total, n_low = count, n_high = count;
    if (asks_top_k(t.row, t.p->a.vocab)) {
        g.k = first_of(n_upto >= (uint64_t)t.row.top_k, kAllOf);
        if (i == g.k) {
            s_weight[0] = upto - mass;
            s_weight[1] = upto;
            s_n[0] = (uint32_t)(n_upto - n);
            s_n[1] = (uint32_t)n_upto;
        }
        __syncthreads();
        if (g.k < kAllOf) {
            low = s_weight[0];
            high = s_weight[1];
            g.n_above_k = s_n[0];
            n_low = s_n[0];
            n_high = s_n[1];
        }
        g.first = g.last = g.k;
    }
    if (t.row.top_p < 1) {
        // The border may be in this bucket or before ...
        const uint64_t most = low + (low >> kSlackBits) + n_low;
        uint64_t below = minus(low, upto);
        below = minus(below, (below >> kSlackBits) + minus(n_low, n_upto));
        g.first = first_of(below <= most - part_of(t.row.top_p, most) + 2, kAllOf);
        // ... and it is.
        const uint64_t least = minus(high, (high >> kSlackBits) + n_high);
        below = minus(high, upto);
        below += (below >> kSlackBits) + minus(n_high, n_upto);
        g.last = first_of(below <= minus(least, part_of(t.row.top_p, least) + 2), kAllOf);
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

// Adds the warps' sums to one of the row's.
K_DEV void add_to_row(uint64_t *sum, uint64_t v)
{
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0 && v) {
        atomicAdd(reinterpret_cast<unsigned long long *>(sum), v);
    }
}

// The stretch of this block: the weight above the border, by segment, and the list.
K_DEV void sort_out(const task &t, const border_plan &g, int from, int n)
{
    const int tid = (int)threadIdx.x;
    const head d = t.d;
    const uint64_t least = least_of(t.row);
    uint64_t *segments =
        k_at<uint64_t>(t.p->segments) + (int64_t)t.b * t.p->n_segments + from / kSegment;
    // Nearly all tokens of a likely row are below this, and need no more than to be compared.
    const float lowest = lowest_in(d, top_k_or_p_last(g));
    if (tid == 0) {
        s_n[0] = 0;
    }
    __syncthreads();
    uint64_t kept = 0, above_first = 0, above_k = 0;
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
                const float x = exponent_of(e[j], d.max, d.scale);
                const int bucket = bucket_of(x, d.per_bucket);
                const uint64_t weight = weight_of(x);
                above_k += bucket < g.k ? weight : 0;
                if (bucket < g.first) {
                    above_first += weight;
                    kept += weight >= least ? weight : 0;
                } else if (is_listed(g, bucket) && weight) {
                    const uint32_t at = atomicAdd(&s_n[0], 1u);
                    if (at < kOwnList) {
                        s_scratch.list[at] = rank_of(e[j], from + i + j);
                    }
                }
            }
        },
        [&](int s) {
            kept = warp_sum(kept);
            if (tid % 32 == 0) {
                segments[s] = kept;
            }
            kept = 0;
        });
    add_to_row(&row_buckets(t)->above_first, above_first);
    add_to_row(&row_buckets(t)->above_k, above_k);
    __syncthreads();
    const uint32_t own = s_n[0];
    if (own > 0 && tid == 0) { // more than fit here do not fit there
        s_n[1] = atomicAdd(&row_buckets(t)->n_candidates,
                           own > kOwnList ? (uint32_t)K_SAMPLE_MAX_CANDIDATES + 1 : own);
    }
    __syncthreads();
    if (own <= kOwnList) {
        for (uint32_t i = (uint32_t)tid; i < own && s_n[1] + i < K_SAMPLE_MAX_CANDIDATES;
             i += kThreads) {
            row_list(t)[s_n[1] + i] = s_scratch.list[i];
        }
    }
}

// ---- the border, exactly ----

// The walks over the listed tokens: descents to the last token that top_k keeps, and that top_p
// keeps, with the weight of what top_k keeps between them; and in the end what is kept, by segment.
enum stage { kBorderK, kKeptByK, kBorderP, kSegments };
struct search {
    int n;           // on the list; more than it holds: the row is walked instead
    int first, last; // buckets that take part
    uint64_t floor;  // ranks below do not
    uint64_t prefix; // descents: only ranks that begin with it,
    int above;       // which is to say rank >> above; 0: at the end
    int shift;       // and the digit: rank >> shift, without those above
};

K_DEV uint64_t look_at(const task &t, const head &d, const search &s, stage what, uint64_t rank)
{
    const bool descends = what == kBorderK || what == kBorderP;
    if ((descends && rank >> s.above != s.prefix) || rank < s.floor) {
        return 0;
    }
    const float x = exponent_of(logit_of(rank), d.max, d.scale);
    const int bucket = bucket_of(x, d.per_bucket);
    const uint64_t weight = weight_of(x);
    if (bucket < s.first || bucket > s.last || weight == 0) {
        return 0;
    }
    const uint64_t add = what == kBorderK ? 1 : weight;
    const uint32_t low = (uint32_t)add & ((1u << kLowBits) - 1), high = (uint32_t)(add >> kLowBits);
    if (descends) { // larger digits come first
        const uint32_t mask = (1u << (s.above - s.shift)) - 1, lane = threadIdx.x % 32;
        const uint32_t digit = ~(uint32_t)(rank >> s.shift) & mask;
        add_shared(&s_scratch.digits[0][digit][lane], low);
        add_shared(&s_scratch.digits[1][digit][lane], high);
    } else if (what == kSegments && weight >= least_of(t.row)) {
        const int segment = token_of(rank) / kSegment;
        add_shared(&s_scratch.segments[0][segment], low);
        add_shared(&s_scratch.segments[1][segment], high);
    }
    return weight;
}

// Every thread of the block calls it, and it ends with a barrier. again: what a walk brought last
// is still there. Returns the weight of the thread's share.
K_DEV uint64_t each_listed(const task &t, const search &s, stage what, bool again)
{
    uint64_t weight = 0;
    const head d = t.d;
    const int tid = (int)threadIdx.x;
    const bool listed = s.n <= K_SAMPLE_MAX_CANDIDATES;
    const int n = listed ? s.n : t.p->a.vocab;
    const int step = listed ? max(t.p->stretch / 2, K_SAMPLE_NEAR_LIST) : t.p->stretch;
#pragma unroll 1
    for (int from = 0; from < n; from += step) {
        const int m = min(step, n - from);
        if (!again || n > step) {
            __syncthreads();
            const float *list = reinterpret_cast<const float *>(row_list(t) + from);
            load_stretch(listed ? list : t.logits + from, listed ? 2 * m : m, t.l);
            if (!listed && has_edits(t.row)) {
                edit_stretch(t.row, from, m, t.l);
            }
        }
#pragma unroll 1
        for (int i = tid; i < m; i += kThreads) {
            const uint64_t rank =
                listed ? reinterpret_cast<const uint64_t *>(t.l)[i] : rank_of(t.l[i], from + i);
            weight += look_at(t, d, s, what, rank);
        }
    }
    __syncthreads();
    return weight;
}

// All logits of the buckets s.first to s.last lie between those that they begin and end with: the
// bits that the keys of these have in common need no descent.
K_DEV void begin_descent(const task &t, search *s, uint64_t limit)
{
    if (threadIdx.x == 0) {
        s_limit = limit;
    }
    const head d = t.d;
    uint32_t lowest = 0, highest = key_of(d.max);
#pragma unroll 1
    for (int last = s->first > 0 ? s->first - 1 : s->last;; last = s->last) {
        lowest = key_of(lowest_in(d, last));
        if (last == s->last) {
            break;
        }
        highest = lowest;
    }
    s->above = kIndexBits + 32 - __clz((int)(lowest ^ highest));
    s->prefix = (uint64_t)lowest << kIndexBits >> s->above;
}

// One digit of a descent to where s_limit is reached, of which it takes what is before the digit.
// At the end the floor is the token; or it stays, if the limit is never reached.
K_DEV void descend(search *s)
{
    // Eight threads a digit, four columns each.
    static_assert(kDigits * 8 == kThreads, "all threads");
    const int tid = (int)threadIdx.x;
    const uint4 low = reinterpret_cast<const uint4 *>(s_scratch.digits[0])[tid];
    const uint4 high = reinterpret_cast<const uint4 *>(s_scratch.digits[1])[tid];
    const uint64_t mine =
        (((uint64_t)high.x + high.y + high.z + high.w) << kLowBits) + low.x + low.y + low.z + low.w;
    uint64_t total;
    const uint64_t before = block_prefix(mine, &total), limit = s_limit;
    const int found = first_of(before + mine >= limit, kThreads) / 8;
    if (total < limit) {
        s->above = 0;
        return;
    }
    if (tid == found * 8) {
        s_limit = limit - before;
    }
    const int bits = s->above - s->shift;
    s->prefix = s->prefix << bits | (((1u << bits) - 1) ^ (uint32_t)found);
    s->above = s->shift;
    s->floor = s->above == 0 ? s->prefix : s->floor;
}

// Both borders: returns the last token kept, as its rank. The scratch gets, by segment, what is
// kept of the listed tokens. One loop, because the walk in it is long code.
K_DEV uint64_t settle(const task &t, const border_plan &g)
{
    const int tid = (int)threadIdx.x, stretches = t.p->n_stretches;
    k_sample_buckets *sums = row_buckets(t);
    const bool top_k = g.k < K_SAMPLE_BUCKETS, top_p = t.row.top_p < 1;
    search s = {};
    s.n = (int)min(__ldcg(&sums->n_candidates), (uint32_t)K_SAMPLE_MAX_CANDIDATES + 1);
    const uint64_t *parts = k_at<const uint64_t>(t.p->sums) + (int64_t)t.b * stretches;
    const uint64_t all = block_sum(tid < stretches ? parts[tid] : 0);
    if (tid == 0) {
        s_total = all;
    }
    __syncthreads();
    stage what = top_k ? kBorderK : top_p ? kBorderP : kSegments;
#pragma unroll 1
    for (bool again = false;; again = true) {
        if (s.above == 0 && what == kBorderK) {
            s.first = s.last = g.k;
            begin_descent(t, &s, (uint64_t)(t.row.top_k - (int)g.n_above_k));
        } else if (s.above == 0 && what == kBorderP) {
            s.first = g.first;
            s.last = g.last;
            begin_descent(t, &s, part_of(t.row.top_p, s_total) - read_sum(&sums->above_first));
        } else if (what == kSegments) {
            s.first = g.first;
            s.last = top_k ? max(g.k, g.last) : g.last;
        }
        s.shift = max(s.above - kDigitBits, 0);
        __syncthreads();
        clear_scratch();
        __syncthreads();
        const uint64_t weight = each_listed(t, s, what, again);
        if (what == kSegments) {
            return s.floor;
        }
        if (what == kKeptByK) {
            const uint64_t kept = read_sum(&sums->above_k) + block_sum(weight);
            if (tid == 0) {
                s_total = kept;
            }
            __syncthreads();
            what = kBorderP;
            continue;
        }
        descend(&s);
        if (s.above == 0) {
            what = what == kBorderK && top_p ? kKeptByK : kSegments;
        }
    }
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

// The first token whose running sum exceeds the drawn part of all that is kept. added: the scratch
// has weights by segment, too. For all threads.
K_DEV int draw(const task &t, uint64_t border, bool added)
{
    const int tid = (int)threadIdx.x, segments = t.p->n_segments;
    const unsigned long long *sums =
        k_at<const unsigned long long>(t.p->segments) + (int64_t)t.b * segments;
    const auto sum_of = [&](int i) {
        uint64_t sum = 0;
        if (i < segments) {
            sum = __ldcg(sums + i);
            sum += added
                       ? ((uint64_t)s_scratch.segments[1][i] << kLowBits) + s_scratch.segments[0][i]
                       : 0;
        }
        return sum;
    };
    uint64_t total = 0;
#pragma unroll 1
    for (int i = tid; i < segments; i += kThreads) {
        total += sum_of(i);
    }
    total = block_sum(total);
    const uint64_t target =
        __double2ull_rd(__dmul_rn(uniform_of(t.row.seed, t.row.step), __ull2double_rn(total)));
    uint64_t before = 0;
#pragma unroll 1
    for (int i = tid; i - tid < segments; i += kThreads) {
        const uint64_t part = sum_of(i), sum = before + block_prefix(part, &total);
        if (sum <= target && target < sum + part) {
            s_found[1] = i;
            s_weight[0] = target - sum;
        }
        before += total;
    }
    __syncthreads();
    const int from = s_found[1] * kSegment, n = min(kSegment, t.p->a.vocab - from);
    const uint64_t rest = s_weight[0];
    load_edited(t.row, t.logits + from, from, n, t.l);
    const uint64_t least = least_of(t.row);
    static_assert(kSegment == 2 * kThreads, "two tokens a thread");
    const float2 e2 = *reinterpret_cast<const float2 *>(t.l + tid * 2);
    uint64_t weight[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float e = i == 0 ? e2.x : e2.y;
        const uint64_t w = weight_of(exponent_of(e, t.d.max, t.d.scale));
        weight[i] = w >= least && rank_of(e, from + tid * 2 + i) >= border ? w : 0;
    }
    uint64_t sum = block_prefix(weight[0] + weight[1], &total);
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
            const uint64_t rank = lists[j];
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

// Three blocks: with long stretches, sm_80 has shared memory for no more. With four, 64 registers,
// the assembler is one value away from spilling.
extern "C" __global__ void __launch_bounds__(kThreads, 3)
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
    const head d = head_of(p, s_row, w.b);
    if (tid == 0) {
        s_head = d;
    }
    __syncthreads();
    const task t = {&p, w.b, s_row, w.logits - w.from, s_head, l};
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
        if (tid == 0) {
            s_plan = g;
        }
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
        border = settle(t, s_plan);
    }
    const int token = s_row.given              ? s_row.given - 1
                      : s_row.temperature == 0 ? t.d.best
                                               : draw(t, border, border_asked);
    if (s_row.n_top < 0) {
        if (tid == 0) {
            *out = {token, 0};
        }
        return;
    }
    write_logprobs(t, token, out);
}
