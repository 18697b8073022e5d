/* SPDX-License-Identifier: Apache-2.0
 *
 * Bit for bit against tests/golden/dequant.bin, which dequant.py made with the Python package gguf.
 * NaNs are compared as such: which NaN a product gives is the processor's choice, not the
 * format's. */
#include "model/tensor.h"
#include "base/io.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static uint32_t bits_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static bool same(float a, float b)
{
    return (isnan(a) && isnan(b)) || bits_of(a) == bits_of(b);
}

static enum oct_dtype dtype_named(const char *name)
{
    for (int t = 0; t < OCT_N_DTYPES; t++) {
        if (!strcmp(oct_dtype_info((enum oct_dtype)t)->name, name)) {
            return (enum oct_dtype)t;
        }
    }
    cr_assert_fail("no dtype %s", name);
    return OCT_DTYPE_F32;
}

Test(dequant, every_block_type_has_the_bits_of_the_reference)
{
    struct oct_file f;
    cr_assert_eq(oct_file_open(OCT_SOURCE_DIR "/tests/golden/dequant.bin", &f), OCT_OK, "%s",
                 oct_last_error());
    char *data;
    size_t len, at = 0;
    cr_assert_eq(oct_file_slurp(&f, 1 << 20, &data, &len), OCT_OK, "%s", oct_last_error());
    int n_types = 0, n_nan = 0;
    for (; at < len; n_types++) {
        char name[9] = {0};
        uint32_t n_blocks, size, elems;
        memcpy(name, data + at, 8);
        memcpy(&n_blocks, data + at + 8, 4);
        memcpy(&size, data + at + 12, 4);
        memcpy(&elems, data + at + 16, 4);
        const enum oct_dtype t = dtype_named(name);
        cr_assert_eq(oct_dtype_info(t)->block_bytes, size, "%s", name);
        cr_assert_eq(oct_dtype_info(t)->block_elems, elems, "%s", name);
        const size_t n = (size_t)n_blocks * elems;
        const char *src = data + at + 20;
        float *got = oct_malloc((n + 1) * sizeof *got);
        got[n] = 12345.0f; /* a guard behind the last value */
        oct_dequant(t, src, got, n);
        for (size_t i = 0; i < n; i++) {
            float want;
            memcpy(&want, src + (size_t)n_blocks * size + i * 4, 4);
            n_nan += isnan(want) != 0;
            cr_assert(same(got[i], want), "%s block %zu value %zu: %a (%08x), want %a (%08x)", name,
                      i / elems, i % elems, (double)got[i], bits_of(got[i]), (double)want,
                      bits_of(want));
        }
        cr_assert_eq(got[n], 12345.0f, "%s writes past the end", name);
        oct_free(got);
        at += 20 + (size_t)n_blocks * size + n * 4;
    }
    cr_assert_eq(n_types, 8);
    cr_assert_gt(n_nan, 0);
    oct_free(data);
    oct_file_close(&f);
}

/* A half from its definition: sign, 5 bits of exponent biased by 15, 10 bits of fraction. */
static float half_by_definition(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    const float a = e == 0    ? ldexpf((float)m, -24)
                    : e == 31 ? (m ? NAN : INFINITY)
                              : ldexpf((float)(1024 + m), e - 25);
    return h & 0x8000 ? -a : a;
}

Test(dequant, all_halves_convert_exactly_at_any_alignment_and_length)
{
    enum { N = 65536 };
    uint8_t *src = oct_malloc(2 * N + 1);
    float *got = oct_malloc(N * sizeof *got);
    for (size_t i = 0; i < N; i++) {
        const uint16_t h = (uint16_t)i;
        memcpy(src + 1 + 2 * i, &h, 2);
    }
    for (size_t n = N; n > N - 70; n--) { /* tails of every length */
        memset(got, 0x55, N * sizeof *got);
        oct_dequant(OCT_DTYPE_F16, src + 1, got, n);
        for (size_t i = n < N ? n - 70 : 0; i < n; i++) {
            const float want = half_by_definition((uint16_t)i);
            cr_assert(same(got[i], want), "half %04zx: %a, want %a", i, (double)got[i],
                      (double)want);
        }
        if (n < N) {
            cr_assert_eq(bits_of(got[n]), 0x55555555u, "n=%zu writes past the end", n);
        }
    }
    for (size_t i = 0; i < N; i++) {
        if (isnan(half_by_definition((uint16_t)i))) {
            oct_dequant(OCT_DTYPE_F16, src + 1 + 2 * i, got, 1);
            cr_assert(isnan(got[0]) && (bits_of(got[0]) & 0x400000u), "half %04zx stays signalling",
                      i);
        }
    }
    oct_dequant(OCT_DTYPE_BF16, src + 1, got, N);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(bits_of(got[i]), (uint32_t)i << 16, "bf16 %04zx", i);
    }
    oct_dequant(OCT_DTYPE_F32, src + 1, got, 3);
    cr_assert_eq(memcmp(got, src + 1, 12), 0);
    oct_free(src);
    oct_free(got);
}
