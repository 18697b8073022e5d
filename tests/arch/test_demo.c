/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo model (SmolLM2-135M-Instruct, Q4_1 GGUF) against Hugging Face transformers, which ran
 * the same dequantised weights in fp32 and in bf16 (scripts/golden.py smollm2). Skips, visibly,
 * where the model file is not: scripts/quickstart.sh puts it there. */
#include "support/golden.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oct_engine *open_demo(const char *dtype)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = run_demo_path();
    o.device = "cpu";
    o.dtype = dtype;
    o.max_model_len = 512;
    o.max_num_seqs = 16;
    o.manual = 1;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    return e;
}

/* All prompts of the golden run as one batch; each continuation must be the reference's. A step
 * where the reference itself saw the two best logits closer than `tie` may go either way, and what
 * follows it is not compared: from there on the two read different texts. */
static void check_continuations(const char *dtype, const char *run, double tie, int min_compared)
{
    oct_engine *e = open_demo(dtype);
    json_t *root = oct_golden_json("smollm2.json");
    const json_t *prompts = json_object_get(root, "prompts");
    const size_t n = json_array_size(prompts);
    struct run_answer *a = calloc(n, sizeof *a);
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = 0;
    s.ignore_eos = true;
    s.max_tokens = (int32_t)json_integer_value(json_object_get(root, "n_greedy"));
    for (size_t i = 0; i < n; i++) {
        int32_t n_ids,
            *ids = oct_golden_ints(json_object_get(json_array_get(prompts, i), "ids"), &n_ids);
        run_submit(e, ids, (size_t)n_ids, &s, &a[i]);
        oct_free(ids);
    }
    run_to_end(e);
    int compared = 0, ties = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *want = json_object_get(json_array_get(prompts, i), run);
        int32_t n_ids, n_gaps, *ids = oct_golden_ints(json_object_get(want, "ids"), &n_ids);
        float *gaps = oct_golden_floats(json_object_get(want, "gaps"), &n_gaps);
        for (int32_t k = 0; k < n_ids && k < a[i].n_tokens; k++) {
            if (a[i].tokens[k] != ids[k] && (double)gaps[k] <= tie) {
                ties++;
                break;
            }
            cr_assert_eq(a[i].tokens[k], ids[k],
                         "%s prompt %zu token %d: %d, reference %d, its gap %g", dtype, i, k,
                         a[i].tokens[k], ids[k], (double)gaps[k]);
            compared++;
        }
        oct_free(ids);
        oct_free(gaps);
    }
    (void)printf("%s: %d tokens of %zu prompts equal, %d prompts left at a tie\n", dtype, compared,
                 n, ties);
    cr_assert_geq(compared, min_compared);
    free(a);
    json_decref(root);
    oct_engine_close(e);
}

/* fp32: the sums of two engines differ by some 1e-4 in logits of size 20; no step of the golden is
 * closer than that, so nothing may differ. */
Test(demo, greedy_continuations_in_fp32_are_those_of_transformers, .timeout = 600)
{
    check_continuations("float32", "fp32", 0.0, 20 * 10);
}

/* bf16: weights agree to the bit, activations are rounded at other places: the reference's own bf16
 * run differs from its fp32 run by up to max_abs_diff (golden); a gap below a quarter of it is a
 * tie. */
Test(demo, greedy_continuations_in_bf16_are_those_of_transformers, .timeout = 600)
{
    check_continuations("bfloat16", "bf16", 0.25, 10 * 10);
}

struct rows {
    double *logits; /* [n, vocab] */
    int32_t n, vocab;
};

static void keep(void *user, uint64_t request, int32_t position, const float *row, int32_t n)
{
    struct rows *r = user;
    (void)request;
    if (position < r->n) {
        for (int32_t v = 0; v < n; v++) {
            r->logits[(size_t)position * (size_t)r->vocab + (size_t)v] = (double)row[v];
        }
    }
}

/* Largest and mean distance of our logits from the reference's `run`, over the stored columns. */
static void distance(const char *dtype, const char *run, double *max, double *mean)
{
    oct_engine *e = open_demo(dtype);
    json_t *root = oct_golden_json("smollm2.json");
    const json_t *l = json_object_get(root, "logits");
    const json_t *prompt = json_array_get(json_object_get(root, "prompts"),
                                          (size_t)json_integer_value(json_object_get(l, "prompt")));
    int32_t n_ids, *ids = oct_golden_ints(json_object_get(prompt, "ids"), &n_ids);
    struct rows r = {.n = n_ids, .vocab = e->cfg.vocab_size};
    r.logits = calloc((size_t)n_ids * (size_t)r.vocab, sizeof *r.logits);
    oct_engine_on_logits(e, keep, &r);
    static struct run_answer a;
    memset(&a, 0, sizeof a);
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.max_tokens = 1;
    run_submit(e, ids, (size_t)n_ids, &s, &a);
    run_to_end(e);
    double sum = 0;
    int n = 0;
    *max = 0;
    for (int32_t p = 0; p < n_ids; p++) {
        int32_t n_columns, n_values;
        int32_t *columns =
            oct_golden_ints(json_array_get(json_object_get(l, "columns"), (size_t)p), &n_columns);
        float *want =
            oct_golden_floats(json_array_get(json_object_get(l, run), (size_t)p), &n_values);
        cr_assert_eq(n_columns, n_values);
        for (int32_t c = 0; c < n_columns; c++) {
            const double d =
                fabs(r.logits[(size_t)p * (size_t)r.vocab + (size_t)columns[c]] - (double)want[c]);
            *max = d > *max ? d : *max;
            sum += d;
            n++;
        }
        oct_free(columns);
        oct_free(want);
    }
    *mean = sum / n;
    (void)printf("%s against the reference's %s: max %.3g, mean %.3g over %d logits\n", dtype, run,
                 *max, *mean, n);
    free(r.logits);
    oct_free(ids);
    json_decref(root);
    oct_engine_close(e);
}

Test(demo, logits_in_fp32_are_those_of_transformers, .timeout = 600)
{
    double max, mean;
    distance("float32", "fp32", &max, &mean);
    /* 30 layers, sums over up to 1,536 products, logits up to 30: fp32 has 24 bits, so a relative
     * error of 2^-24 * sqrt(1536) * sqrt(2 * 30) ~ 2e-5 of logits of size 30, with a factor 2 of
     * room. */
    cr_assert_leq(max, 1.2e-3, "%g", max);
}

Test(demo, logits_in_bf16_are_as_near_to_the_truth_as_those_of_transformers, .timeout = 600)
{
    double max, mean;
    json_t *root = oct_golden_json("smollm2.json");
    const json_t *l = json_object_get(root, "logits");
    const double ref_max = json_number_value(json_object_get(l, "max_abs_diff"));
    const double ref_mean = json_number_value(json_object_get(l, "mean_abs_diff"));
    distance("bfloat16", "fp32", &max, &mean);
    /* bf16 costs the reference ref_mean on average; the same storage, rounded at fewer places (sums
     * and rotary tables stay fp32), must not cost more than that by a quarter, nor its maximum
     * double. */
    cr_assert_leq(mean, 1.25 * ref_mean, "mean %g, the reference's %g", mean, ref_mean);
    cr_assert_leq(max, 2.0 * ref_max, "max %g, the reference's %g", max, ref_max);
    json_decref(root);
}
