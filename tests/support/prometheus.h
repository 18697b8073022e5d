/* SPDX-License-Identifier: Apache-2.0
 *
 * prometheus.h - reads Prometheus' text format as strictly as a scraper does, and more: what is
 * wrong fails the test. */
#ifndef OCT_TEST_PROMETHEUS_H
#define OCT_TEST_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

/* Every line is a HELP, then its TYPE, or a sample of the family that stands above it; families and
 * series come once; counters end in _total and are not negative; the buckets of a histogram ascend,
 * their counts too, and the last is +Inf and equal to _count. Returns how many samples there are.
 */
size_t prometheus_check(const char *text);

/* The value of the series as it is written ("a_total{b=\"c\"}"); NAN if there is none. */
double prometheus_value(const char *text, const char *series);
/* There is a sample of this name, with whatever labels. */
bool prometheus_has(const char *text, const char *name);

/* Has `promtool` run with these arguments and `input`; its exit code, and its output in out[size].
 * -1 if there is no promtool (PATH, or the variable PROMTOOL). */
int promtool(const char *const *args, const char *input, char *out, size_t size);

#endif
