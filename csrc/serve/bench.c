/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.c - finds the suite. */
#include "serve/bench.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t oct_bench_median(int64_t *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static const struct {
    const char *name;
    oct_status (*run)(const struct oct_params *p, const char *path, struct oct_output *out);
    bool takes_many; /* arguments */
} suites[] = {
    // clang-format off
    {"kernels", oct_bench_kernels,   false},
    {"model",   oct_bench_model,     false},
    {"report",  oct_bench_report,    true},
    {"sched",   oct_bench_scheduler, false},
    {"serve",   oct_bench_serve,     false},
    {"text",    oct_bench_text,      false},
    // clang-format on
};
enum { N_SUITES = sizeof suites / sizeof *suites };

static oct_status run(const struct oct_params *p, struct oct_output *out)
{
    const char *names[N_SUITES];
    char list[128] = "";
    for (size_t i = 0; i < N_SUITES; i++) {
        names[i] = suites[i].name;
        if (p->n_args > 0 && !strcmp(p->args[0], suites[i].name)) {
            const char *model = oct_param_str(p, OCT_P_MODEL, NULL);
            if (p->n_args > 2 && !suites[i].takes_many) {
                char shown[96];
                oct_error_quote(shown, sizeof shown, p->args[2], strlen(p->args[2]));
                return OCT_FAIL(OCT_E_ARG, "octavo bench %s does not know what to do with \"%s\"",
                                suites[i].name, shown);
            }
            return suites[i].run(p, p->n_args > 1 ? p->args[1] : model, out);
        }
        (void)strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        (void)strncat(list, suites[i].name, sizeof list - strlen(list) - 1);
    }
    if (p->n_args == 0) {
        return OCT_FAIL(OCT_E_ARG, "which suite? There is: %s", list);
    }
    const char *near = oct_param_nearest(p->args[0], names, N_SUITES);
    return OCT_FAIL(OCT_E_ARG, "there is no suite \"%.40s\"%s%s; there is: %s", p->args[0],
                    near ? "; did you mean " : "", near ? near : "", list);
}

enum oct_exit oct_command_bench(const struct oct_params *p)
{
    struct oct_output out;
    oct_output_init(&out, 1);
    return oct_output_finish(&out, run(p, &out));
}
