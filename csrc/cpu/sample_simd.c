/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/sample_simd.h"

#include "cpu/simd_vec.h"

float OCT_SIMD(oct_simd_sample_max)(const float *l, int32_t n, bool *bad)
{
    float max = -INFINITY;
    int32_t n_nan = 0;
    for (int32_t from = 0; from < n; from += OCT_SAMPLE_BLOCK) {
        const int32_t to = n - from < OCT_SAMPLE_BLOCK ? n : from + OCT_SAMPLE_BLOCK;
        vf most[2] = {vf_set1(max), vf_set1(max)};
        int32_t i = from;
        for (; i + 2 * VF <= to; i += 2 * VF) { /* a NaN is not larger than anything */
            most[0] = vf_max(vf_load(l + i), most[0]);
            most[1] = vf_max(vf_load(l + i + VF), most[1]);
        }
        max = vf_max_lane(vf_max(most[0], most[1]));
        for (; i < to; i++) {
            max = l[i] > max ? l[i] : max;
        }
#pragma omp simd reduction(+ : n_nan)
        for (i = from; i < to; i++) {
            n_nan += l[i] != l[i];
        }
    }
    *bad = n_nan > 0 || max == INFINITY;
    return max;
}

int32_t OCT_SIMD(oct_simd_sample_find)(const float *l, int32_t n, float value)
{
    for (int32_t from = 0; from < n; from += OCT_SAMPLE_BLOCK) {
        const int32_t to = n - from < OCT_SAMPLE_BLOCK ? n : from + OCT_SAMPLE_BLOCK;
        int32_t hit = 0;
#pragma omp simd reduction(| : hit)
        for (int32_t i = from; i < to; i++) {
            hit |= l[i] == value;
        }
        if (hit) {
            int32_t i = from;
            while (!(l[i] == value)) {
                i++;
            }
            return i;
        }
    }
    return n;
}

/* exp((l - max) * scale) of one block. */
VF_INLINE void exponentials(const float *l, int32_t n, float max, float scale, float *w)
{
    const vf m = vf_set1(max), s = vf_set1(scale);
    int32_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf_store(w + i, vf_exp(vf_mul(vf_sub(vf_load(l + i), m), s)));
    }
    if (i < n) {
        float rest[VF] = {0};
        memcpy(rest, l + i, (size_t)(n - i) * sizeof *l);
        vf_store(rest, vf_exp(vf_mul(vf_sub(vf_load(rest), m), s)));
        memcpy(w + i, rest, (size_t)(n - i) * sizeof *w);
    }
}

double OCT_SIMD(oct_simd_sample_weights)(const float *l, int32_t n, float max, float scale,
                                         float *w, double *block)
{
    double total = 0;
    for (int32_t from = 0; from < n; from += OCT_SAMPLE_BLOCK) {
        const int32_t m = n - from < OCT_SAMPLE_BLOCK ? n - from : OCT_SAMPLE_BLOCK;
        exponentials(l + from, m, max, scale, w + from);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int32_t i = from; i < from + m; i++) {
            /* A float of 2^-11 or more is a multiple of 2^-34 already; below, the sum with 2^-11
             * has that as its last bit. */
            const float q = w[i] < 0x1p-11f ? (w[i] + 0x1p-11f) - 0x1p-11f : w[i];
            w[i] = q;
            sum += (double)q;
        }
        block[from / OCT_SAMPLE_BLOCK] = sum;
        total += sum;
    }
    return total;
}

double OCT_SIMD(oct_simd_sample_keep)(const float *l, int32_t n, float border, int32_t last,
                                      float least, float *w, double *block)
{
    double total = 0;
    for (int32_t from = 0; from < n; from += OCT_SAMPLE_BLOCK) {
        const int32_t to = n - from < OCT_SAMPLE_BLOCK ? n : from + OCT_SAMPLE_BLOCK;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int32_t i = from; i < to; i++) {
            const int32_t in = (l[i] > border) | ((l[i] == border) & (i <= last));
            const float q = (in & (w[i] >= least)) ? w[i] : 0.0f;
            w[i] = q;
            sum += (double)q;
        }
        block[from / OCT_SAMPLE_BLOCK] = sum;
        total += sum;
    }
    return total;
}

void OCT_SIMD(oct_simd_sample_mask)(float *l, int32_t n, const uint32_t *mask)
{
    for (int32_t from = 0; from < n; from += 32) {
        const uint32_t word = mask[from / 32];
        if (word == UINT32_MAX) {
            continue;
        }
        const int32_t m = n - from < 32 ? n - from : 32;
        for (int32_t i = 0; i < m; i++) {
            l[from + i] = (word >> i & 1u) ? l[from + i] : -INFINITY;
        }
    }
}

int32_t OCT_SIMD(oct_simd_sample_top)(const float *l, int32_t n, int32_t k, int32_t *token,
                                      float *value)
{
    enum { STRIDE = 64 };
    int32_t have = 0;
    for (int32_t from = 0; from < n; from += STRIDE) {
        const int32_t to = n - from < STRIDE ? n : from + STRIDE;
        if (have == k) {
            /* Nearly every block ends here: nothing in it beats the last of the list. */
            const float worst = value[k - 1];
            int32_t hit = 0;
#pragma omp simd reduction(| : hit)
            for (int32_t i = from; i < to; i++) {
                hit |= l[i] > worst;
            }
            if (!hit) {
                continue;
            }
        }
        for (int32_t i = from; i < to; i++) {
            if (have == k && !(l[i] > value[k - 1])) {
                continue;
            }
            int32_t at = have < k ? have++ : k - 1;
            for (; at > 0 && l[i] > value[at - 1]; at--) {
                value[at] = value[at - 1];
                token[at] = token[at - 1];
            }
            value[at] = l[i];
            token[at] = i;
        }
    }
    return have;
}
