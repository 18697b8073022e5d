/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers here come from tests/golden/tiny_values.py (numpy, written from the text of tiny.h
 * alone): whoever makes the same model elsewhere gets the same bits. */
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <string.h>

static uint32_t bits_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

Test(tiny, values_have_the_bits_that_the_formula_gives_in_numpy)
{
    static const struct {
        const char *name;
        int32_t in;
        uint64_t seed, first;
        uint32_t want[4];
    } row[] = {
#include "../golden/tiny_values.inc"
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        float v[4];
        oct_tiny_values(row[i].seed, row[i].name, row[i].in, row[i].first, v, 4);
        for (int j = 0; j < 4; j++) {
            cr_assert_eq(bits_of(v[j]), row[i].want[j], "%s[%llu]: %a", row[i].name,
                         (unsigned long long)row[i].first + (unsigned)j, (double)v[j]);
        }
    }
}

Test(tiny, half_precision_rounds_to_nearest_even)
{
    static const struct {
        float v;
        uint16_t f16, bf16;
    } row[] = {
        {0.0f, 0x0000, 0x0000},         {-0.0f, 0x8000, 0x8000},
        {1.0f, 0x3c00, 0x3f80},         {0x1p-24f, 0x0001, 0x3380},
        {0x1p-25f, 0x0000, 0x3300},     {0x1.8p-25f, 0x0001, 0x3340},
        {0x1.8p-24f, 0x0002, 0x33c0},   {0x1.ff8p-15f, 0x03ff, 0x3880},
        {0x1.ffep-15f, 0x0400, 0x3880}, {65504.0f, 0x7bff, 0x4780},
        {65519.0f, 0x7bff, 0x4780},     {65520.0f, 0x7c00, 0x4780},
        {-70000.0f, 0xfc00, 0xc789},    {0x1.002p0f, 0x3c00, 0x3f80},
        {0x1.006p0f, 0x3c02, 0x3f80},   {0x1.01p0f, 0x3c04, 0x3f80},
        {0x1.03p0f, 0x3c0c, 0x3f82},    {-0x1.abcdefp10f, 0xe6af, 0xc4d6},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        cr_assert_eq(oct_test_f32_to_f16(row[i].v), row[i].f16, "%a gives %04x, want %04x",
                     (double)row[i].v, oct_test_f32_to_f16(row[i].v), row[i].f16);
        cr_assert_eq(oct_test_f32_to_bf16(row[i].v), row[i].bf16, "%a gives %04x, want %04x",
                     (double)row[i].v, oct_test_f32_to_bf16(row[i].v), row[i].bf16);
    }
}
