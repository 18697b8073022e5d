/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_scheduler.c - what a scheduling step costs by itself, over the number of running requests
 * and after many have come and gone. */
#include "serve/bench.h"

#include "engine/bench_sched.h"

#include <stdio.h>

static const struct {
    int32_t n_running, n_finished;
} cases[] = {{1, 0}, {16, 0}, {64, 0}, {256, 0}, {1024, 0}, {4096, 0}, {256, 10000}, {256, 100000}};
enum { N_CASES = sizeof cases / sizeof *cases, STEPS = 1000 };

static oct_status print_row(struct oct_output *out, const struct oct_bench_sched *r)
{
    char line[128];
    const int n = snprintf(line, sizeof line, "%8d %10d %12.2f %12.2f %12.2f %14.1f\n",
                           r->n_running, r->n_finished, r->median_us, r->p90_us, r->max_us,
                           r->median_us * 1000 / r->n_running);
    return oct_output_write(out, line, (size_t)n);
}

oct_status oct_bench_scheduler(const struct oct_params *p, const char *path, struct oct_output *out)
{
    const bool as_json = oct_param_bool(p, OCT_P_JSON);
    oct_status st = OCT_OK;
    json_t *rows = json_array();
    (void)path; /* no model: what --model or OCTAVO_MODEL says is not looked at */
    if (!rows) {
        return oct_no_memory("results", 1);
    }
    if (!as_json) {
        char line[128];
        const int n = snprintf(line, sizeof line, "%8s %10s %12s %12s %12s %14s\n", "running",
                               "finished", "median us", "90 % us", "longest us", "ns a request");
        OCT_TRY_GOTO(oct_output_write(out, line, (size_t)n), st, done);
    }
    for (int i = 0; i < N_CASES; i++) {
        struct oct_bench_sched r;
        OCT_TRY_GOTO(oct_bench_sched(cases[i].n_running, cases[i].n_finished, STEPS, &r), st, done);
        if (!as_json) {
            OCT_TRY_GOTO(print_row(out, &r), st, done);
        } else if (json_array_append_new(rows, json_pack("{s:i, s:i, s:f, s:f, s:f}", "running",
                                                         r.n_running, "finished", r.n_finished,
                                                         "median_us", r.median_us, "p90_us",
                                                         r.p90_us, "max_us", r.max_us)) != 0) {
            OCT_TRY_GOTO(oct_no_memory("results", 1), st, done);
        }
    }
    if (as_json) {
        json_t *o = json_pack("{s:s, s:O}", "suite", "sched", "results", rows);
        st = o ? oct_output_json(out, o, false) : oct_no_memory("results", 1);
        json_decref(o);
    }
done:
    json_decref(rows);
    return st;
}
