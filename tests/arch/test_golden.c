/* SPDX-License-Identifier: Apache-2.0
 *
 * Every family against Hugging Face transformers: logits of every position of an 80-token text, the
 * same weights from a Hugging Face directory and from a GGUF file. */
#include "support/golden.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Logits of all positions of the golden's text, in chunks of `rows` rows. */
static float *run_model(const char *path, const struct oct_golden *g, const char *dtype, int rows)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = path;
    o.device = "cpu";
    o.dtype = dtype;
    o.n_threads = 2;
    o.max_num_seqs = rows;
    o.max_num_batched_tokens = rows;
    o.manual = 1;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    float *logits = run_logits(e, g->ids, g->n_positions, g->tiny.vocab_size);
    oct_engine_close(e);
    return logits;
}

/* Two fp32 evaluations of one model that differ only in the order of sums stand as far from each
 * other as each stands from the exact result, which golden.py measured for the reference
 * (fp32_error: the largest distance of its fp32 run from its fp64 run). Ours has about the same
 * error of its own, with other roundings: at most the sum of both, taken with a factor 4 for the
 * spread of a maximum over 80 x 48 values. What must not be wrong moves logits by far more
 * (golden.h). */
static double bound(const struct oct_golden *g)
{
    return 4.0 * 2.0 * g->fp32_error;
}

static void check(const char *name, const struct oct_golden *g, const float *logits)
{
    double worst = 0;
    int at_p = 0, at_c = 0;
    for (int32_t p = 0; p < g->n_positions; p++) {
        const float *row = logits + (size_t)p * (size_t)g->tiny.vocab_size;
        for (int32_t c = 0; c < g->n_columns; c++) {
            const double d = fabs((double)row[g->columns[c]] -
                                  (double)g->logits[(size_t)p * (size_t)g->n_columns + (size_t)c]);
            if (!(d <= worst)) {
                worst = d;
                at_p = p;
                at_c = g->columns[c];
            }
        }
        double sum = 0, max = -INFINITY;
        int32_t best = 0;
        for (int32_t v = 0; v < g->tiny.vocab_size; v++) {
            if ((double)row[v] > max) {
                max = (double)row[v];
                best = v;
            }
        }
        for (int32_t v = 0; v < g->tiny.vocab_size; v++) {
            sum += exp((double)row[v] - max);
        }
        cr_assert_leq(fabs(max + log(sum) - (double)g->logsumexp[p]), bound(g) + 1e-6,
                      "%s position %d: logsumexp %.9g, reference %.9g", name, p, max + log(sum),
                      (double)g->logsumexp[p]);
        cr_assert(best == g->argmax[p] || (double)g->gap[p] <= bound(g),
                  "%s position %d: argmax %d, reference %d", name, p, best, g->argmax[p]);
    }
    (void)printf("%-14s max |difference| %.2e, bound %.2e, largest |logit| %.1f\n", name, worst,
                 bound(g), g->max_abs_logit);
    cr_assert(worst <= bound(g), "%s: logit %d of position %d is off by %g; the bound is %g", name,
              at_c, at_p, worst, bound(g));
}

Test(golden, logits_in_fp32_are_those_of_transformers, .timeout = 120)
{
    for (int i = 0; oct_golden_names[i]; i++) {
        char dir[256];
        struct oct_golden *g = oct_golden_load(oct_golden_names[i]);
        run_make_dir(dir, sizeof dir);
        oct_tiny_write_hf(&g->tiny, dir);
        float *logits = run_model(dir, g, "float32", 16);
        check(oct_golden_names[i], g, logits);
        free(logits);
        run_remove_dir(dir);
        oct_golden_close(g);
    }
}

/* Window from a layer on, YaRN without truncation or with an mscale: GGUF has no key for these. */
static bool gguf_can_say(const struct oct_tiny *t)
{
    const struct oct_rope_config *r = &t->rope;
    const bool window = t->arch != OCT_ARCH_QWEN2 || t->window == 0;
    return window && (r->kind != OCT_ROPE_YARN || (r->truncate && r->mscale == 0.0));
}

Test(golden, the_same_weights_in_gguf_give_the_same_logits, .timeout = 120)
{
    int n = 0;
    for (int i = 0; oct_golden_names[i]; i++) {
        char dir[256], path[300];
        struct oct_golden *g = oct_golden_load(oct_golden_names[i]);
        if (gguf_can_say(&g->tiny)) {
            run_make_dir(dir, sizeof dir);
            oct_tiny_write_gguf(&g->tiny, dir, "m");
            (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
            float *logits = run_model(path, g, "float32", 16);
            check(oct_golden_names[i], g, logits);
            free(logits);
            run_remove_dir(dir);
            n++;
        }
        oct_golden_close(g);
    }
    cr_assert_geq(n, 8, "%d", n);
}

Test(golden, old_and_new_spellings_of_config_json_mean_the_same, .timeout = 120)
{
    for (int i = 0; oct_golden_names[i]; i++) {
        char dir[256];
        struct oct_golden *g = oct_golden_load(oct_golden_names[i]);
        float *both[2];
        for (int v5 = 0; v5 < 2; v5++) {
            run_make_dir(dir, sizeof dir);
            g->tiny.v5 = v5;
            oct_tiny_write_hf(&g->tiny, dir);
            both[v5] = run_model(dir, g, "float32", v5 ? 7 : 16);
            run_remove_dir(dir);
        }
        const size_t bytes = (size_t)g->n_positions * (size_t)g->tiny.vocab_size * sizeof(float);
        cr_assert_eq(memcmp(both[0], both[1], bytes), 0, "%s", oct_golden_names[i]);
        free(both[0]);
        free(both[1]);
        oct_golden_close(g);
    }
}
