/* SPDX-License-Identifier: Apache-2.0
 *
 * What octavo bench serve sends, as functions of a seed, and how it sums up: no server here. */
#include "serve/bench_serve.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* n arrivals end at n / rate; the gaps' coefficient of variation is 1 / sqrt(burstiness). Over
 * 4,000 gaps its estimate is good to 5 % for shapes of 0.5 and more. */
Test(bench_load, arrivals_have_the_rate_and_the_burstiness_that_were_asked)
{
    static const double shapes[] = {0.5, 1, 4};
    enum { N = 4000 };
    int64_t us[N], again[N];
    for (size_t s = 0; s < 3; s++) {
        oct_load_arrivals(42, 50, shapes[s], N, us);
        oct_load_arrivals(42, 50, shapes[s], N, again);
        cr_assert_arr_eq(us, again, sizeof us);
        cr_assert(llabs(us[N - 1] - (int64_t)(N / 50.0 * 1e6)) <= 1, "%lld", (long long)us[N - 1]);
        double squares = 0;
        const double mean = 20000;
        for (int i = 0; i < N; i++) {
            const double gap = (double)(us[i] - (i ? us[i - 1] : 0));
            cr_assert_geq(gap, 0.0);
            squares += (gap - mean) * (gap - mean);
        }
        const double cv = sqrt(squares / N) / mean;
        cr_assert(fabs(cv * sqrt(shapes[s]) - 1) < 0.12, "shape %g: variation %g", shapes[s], cv);
    }
}

Test(bench_load, lengths_are_log_normal_and_a_function_of_the_seed)
{
    enum { N = 20000 };
    const struct oct_load l = {.kind = OCT_LOAD_SHAREGPT, .seed = 3};
    double in = 0, out = 0;
    int below = 0;
    for (size_t i = 0; i < N; i++) {
        int32_t a, b, c, d;
        oct_load_lengths(&l, i, &a, &b);
        oct_load_lengths(&l, i, &c, &d);
        cr_assert(a == c && b == d);
        cr_assert(a >= 4 && a <= 1024 && b >= 4 && b <= 1024, "%d, %d", a, b);
        in += a;
        out += b;
        below += a < 75;
    }
    /* means as bench_serve.h says; their deviation over 20,000 draws is under 2 */
    cr_assert(fabs(in / N - 191) < 8, "%g", in / N);
    cr_assert(fabs(out / N - 203) < 8, "%g", out / N);
    cr_assert(abs(below - N / 2) < 4 * 71, "%d", below); /* 4 deviations of a fair coin */
}

Test(bench_load, quantiles_are_numpys)
{
    /* numpy.quantile([1, 2, 4, 8], q) */
    static const double v[] = {1, 2, 4, 8};
    static const struct {
        double q, want;
    } row[] = {{0, 1}, {0.25, 1.75}, {0.5, 3}, {0.9, 6.8}, {0.99, 7.88}, {1, 8}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const double got = oct_quantile(v, 4, row[i].q);
        cr_assert(fabs(got - row[i].want) < 1e-12, "%g: %g", row[i].q, got);
    }
    cr_assert_eq(oct_quantile(v, 1, 0.5), 1.0);
}

/* Words are a function of (seed, round, index); what --extra-body says wins. */
Test(bench_load, a_body_is_what_the_knobs_say)
{
    json_t *extra = json_pack("{s:f, s:b}", "temperature", 0.5, "cache_prompt", 0);
    struct oct_load l = {.kind = OCT_LOAD_RANDOM,
                         .seed = 1,
                         .n_input = 7,
                         .n_output = 9,
                         .n_prefix = 5,
                         .chat = true,
                         .ignore_eos = true,
                         .model = "m \"quoted\"",
                         .extra = extra};
    struct oct_buf a = {0}, b = {0};
    char prefix[256] = "";
    for (uint32_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 8; i++) {
            cr_assert_eq(oct_load_body(&l, round, i, &a), OCT_OK);
            cr_assert_eq(oct_load_body(&l, round, i, &b), OCT_OK);
            cr_assert_str_eq(a.data, b.data);
            json_t *o = json_loads(a.data, 0, NULL);
            cr_assert_not_null(o, "%s", a.data);
            cr_assert_str_eq(json_string_value(json_object_get(o, "model")), l.model);
            cr_assert_eq(json_integer_value(json_object_get(o, "max_tokens")), 9);
            cr_assert_eq(json_real_value(json_object_get(o, "temperature")), 0.5);
            cr_assert(json_is_true(json_object_get(o, "ignore_eos")));
            cr_assert(json_is_false(json_object_get(o, "cache_prompt")));
            const json_t *message = json_array_get(json_object_get(o, "messages"), 0);
            const char *text = json_string_value(json_object_get(message, "content"));
            int spaces = 0;
            size_t end = 0; /* of the five words that all have */
            for (size_t c = 0; text[c]; c++) {
                spaces += text[c] == ' ';
                end = spaces == 5 && end == 0 ? c : end;
            }
            cr_assert_eq(spaces, 5 + 7 - 1, "%s", text);
            if (*prefix) {
                cr_assert_eq(strncmp(text, prefix, end + 1), 0, "%s: %s", prefix, text);
            }
            cr_assert_lt(end + 1, sizeof prefix);
            memcpy(prefix, text, end + 1);
            prefix[end + 1] = '\0';
            json_decref(o);
        }
    }
    json_decref(extra);
    oct_buf_free(&a);
    oct_buf_free(&b);
}
