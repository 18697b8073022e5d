/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "support/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static int64_t ulps_between(float a, float b)
{
    int32_t x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    return llabs((int64_t)x - (int64_t)y); /* both are positive */
}

/* The reference takes theta^x from a vectorised pow that is right to 1 ulp; ours is rounded once.
 * Every later step is the same rounded fp32 operation on numbers 1 ulp apart: 1/power adds half an
 * ulp, a quotient or product by a scalar half an ulp each, and llama3's and yarn's sums of two
 * positive terms as much again, with their weights off by 1e-7 of 1. 6 ulps cover the longest
 * chain. A wrong formula is off by 1e-3 and more: 10,000 ulps. */
enum { MAX_ULPS = 6 };

Test(rope, the_frequencies_are_those_of_transformers)
{
    json_t *root = oct_golden_json("rope.json");
    const json_t *cases = json_object_get(root, "cases");
    int64_t worst = 0;
    cr_assert_geq(json_array_size(cases), 11u);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *bits = json_object_get(one, "inv_freq_bits");
        struct oct_rope_config r;
        float got[512], factor;
        oct_golden_rope(json_object_get(one, "rope"), &r);
        cr_assert_eq(json_array_size(bits), (size_t)r.rot_dim / 2);
        oct_rope_frequencies(&r, got, &factor);
        for (size_t j = 0; j < json_array_size(bits); j++) {
            const uint32_t b = (uint32_t)json_integer_value(json_array_get(bits, j));
            float want;
            memcpy(&want, &b, 4);
            const int64_t off = ulps_between(got[j], want);
            worst = off > worst ? off : worst;
            cr_assert_leq(off, MAX_ULPS, "case %zu, frequency %zu: %.9g, the reference %.9g", i, j,
                          (double)got[j], (double)want);
        }
        /* computed in double there and here */
        const double want = json_number_value(json_object_get(one, "attention_factor"));
        cr_assert_lt(fabs((double)factor - want), 1.2e-7 * want, "case %zu: %.9g, not %.9g", i,
                     (double)factor, want);
    }
    cr_log_info("largest difference %d ulps", (int)worst);
    json_decref(root);
}

Test(rope, ends_of_the_ranges_give_finite_numbers)
{
    /* beta_fast over the original length: a negative bound; theta near 1: huge bounds */
    static const struct oct_rope_config cases[] = {
        {.kind = OCT_ROPE_YARN,
         .theta = 10000.0,
         .factor = 1.0,
         .beta_fast = 1e6,
         .beta_slow = 1e-6,
         .original_max_positions = 1,
         .rot_dim = 2,
         .truncate = true},
        {.kind = OCT_ROPE_YARN,
         .theta = 1.0000001,
         .factor = 1e6,
         .beta_fast = 1e6,
         .beta_slow = 1e-6,
         .original_max_positions = 1 << 27,
         .rot_dim = 1024},
        {.kind = OCT_ROPE_LLAMA3,
         .theta = 1e18,
         .factor = 1e6,
         .low_freq_factor = 1e-6,
         .high_freq_factor = 1e6,
         .original_max_positions = 1,
         .rot_dim = 1024},
        {.kind = OCT_ROPE_LINEAR, .theta = 1e18, .factor = 1e6, .rot_dim = 1024},
        {.kind = OCT_ROPE_DEFAULT, .theta = 1.0, .rot_dim = 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float f[512], factor;
        oct_rope_frequencies(&cases[i], f, &factor);
        for (int32_t j = 0; j < cases[i].rot_dim / 2; j++) {
            cr_assert(isfinite(f[j]) && f[j] >= 0.0F && f[j] <= 1.0F, "case %zu, %d: %g", i, j,
                      (double)f[j]);
        }
        cr_assert(isfinite(factor) && factor >= 1.0F, "case %zu: %g", i, (double)factor);
    }
}
