/* SPDX-License-Identifier: Apache-2.0
 *
 * Are the golden files what they say: made from the weights that tests/support/tiny.h makes, whole,
 * and written by the same script? */
#include "support/golden.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(golden, its_weights_are_ours_bit_for_bit)
{
    for (int i = 0; oct_golden_names[i]; i++) {
        struct oct_golden *g = oct_golden_load(oct_golden_names[i]);
        const json_t *weights = json_object_get(g->root, "weights");
        const char *name;
        json_t *w;
        size_t n = 0;
        json_object_foreach((json_t *)weights, name, w)
        {
            int32_t n_index;
            int32_t *index = oct_golden_ints(json_object_get(w, "index"), &n_index);
            const json_t *bits = json_object_get(w, "bits");
            const int32_t in = (int32_t)json_integer_value(json_object_get(w, "in"));
            for (int32_t j = 0; j < n_index; j++) {
                float v;
                uint32_t got;
                oct_tiny_values(g->tiny.seed, name, in, (uint64_t)index[j], &v, 1);
                memcpy(&got, &v, 4);
                const uint32_t want = (uint32_t)json_integer_value(json_array_get(bits, (size_t)j));
                cr_assert_eq(got, want, "%s: %s[%d]: %08x, the script's %08x", oct_golden_names[i],
                             name, index[j], got, want);
                n++;
            }
            oct_free(index);
        }
        cr_assert_geq(n, 12u, "%s", oct_golden_names[i]);
        oct_golden_close(g);
    }
}

Test(golden, its_logits_fit_together)
{
    for (int i = 0; oct_golden_names[i]; i++) {
        const char *name = oct_golden_names[i];
        struct oct_golden *g = oct_golden_load(name);
        cr_assert_geq(g->n_positions, 80, "%s", name);
        cr_assert_geq(g->n_columns, 48, "%s", name);
        cr_assert(g->fp32_error > 0 && g->fp32_error < 1e-4, "%s: %g", name, g->fp32_error);
        /* a window must be shorter than the text to be seen */
        cr_assert_lt(g->tiny.window, g->n_positions, "%s", name);
        for (int32_t p = 0; p < g->n_positions; p++) {
            cr_assert(g->ids[p] >= 0 && g->ids[p] < g->tiny.vocab_size, "%s: id %d", name,
                      g->ids[p]);
            cr_assert(g->gap[p] >= 0, "%s: %g", name, (double)g->gap[p]);
            double sum = 0;
            for (int32_t c = 0; c < g->n_columns; c++) {
                const double l = (double)g->logits[p * g->n_columns + c];
                cr_assert_leq(fabs(l), g->max_abs_logit * 1.000001, "%s: %g", name, l);
                sum += exp(l);
            }
            /* a part of the vocabulary has a part of the sum; it was rounded to fp32 */
            const double lse = (double)g->logsumexp[p];
            cr_assert_leq(log(sum), lse + 6e-8 * fabs(lse), "%s: position %d", name, p);
        }
        oct_golden_close(g);
    }
}
