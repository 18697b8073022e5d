/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - `octavo bench SUITE`: one function a suite. Timings are wall clock on one thread unless
 * a suite says otherwise; each figure is the median of --repeat rounds. */
#ifndef OCT_SERVE_BENCH_H
#define OCT_SERVE_BENCH_H

#include "serve/terminal.h"

/* path: what follows the suite's name; NULL: none. */
OCT_CHECKED oct_status oct_bench_text(const struct oct_params *p, const char *path,
                                      struct oct_output *out);

OCT_CHECKED oct_status oct_bench_model(const struct oct_params *p, const char *path,
                                       struct oct_output *out);
OCT_CHECKED oct_status oct_bench_scheduler(const struct oct_params *p, const char *path,
                                           struct oct_output *out);

/* bench_serve.c: load on a server; path: its URL. bench_report.c: pages of saved results, all
 * arguments after the suite's name. */
OCT_CHECKED oct_status oct_bench_serve(const struct oct_params *p, const char *path,
                                       struct oct_output *out);
OCT_CHECKED oct_status oct_bench_report(const struct oct_params *p, const char *path,
                                        struct oct_output *out);

/* Predictions need no GPU; with one, measured there too. */
OCT_CHECKED oct_status oct_bench_kernels(const struct oct_params *p, const char *path,
                                         struct oct_output *out);
struct oct_device;
struct oct_kernel_case;
/* Microseconds of one run of the case's ops on a device that nobody has used yet. */
OCT_CHECKED oct_status oct_bench_measure_case(struct oct_device *d, const struct oct_kernel_case *c,
                                              int rounds, double *us);

/* What oct_bench_kernels does, with these cases: rows on `out`, or as objects in the list results.
 */
OCT_CHECKED oct_status oct_bench_kernel_rows(const struct oct_kernel_case *cases, int n_cases,
                                             const char *device, int rounds, struct oct_output *out,
                                             json_t *results);

enum { OCT_BENCH_MAX_ROUNDS = 101 };
/* The median of v[n], 1 <= n <= OCT_BENCH_MAX_ROUNDS. Sorts v. */
int64_t oct_bench_median(int64_t *v, int n);

/* ---- bench_words.c: text to measure with ---- */

/* About `bytes` bytes of English-like prose out of a fixed generator: the same on every machine.
 * Words follow a Zipf distribution over some thousand forms. */
OCT_CHECKED oct_status oct_bench_prose(uint64_t seed, size_t bytes, struct oct_buf *out);

/* ---- bench_peer.c: Hugging Face tokenizers and jinja2, in a Python of the user's ---- */

struct oct_bench_peer_job {
    const char *python;         /* a program name or path */
    const char *tokenizer_json; /* NULL: the model has none, tokenizers is not asked */
    const char *text;           /* [len]; pieces of chunk_bytes each are one document */
    size_t len, chunk_bytes;
    const char *chat_template; /* NULL: none */
    const char *vars_json;     /* what it is rendered with */
    int rounds;
};
struct oct_bench_peer {
    bool has_tokenizers, has_jinja;
    char tokenizers_version[32], jinja_version[32];
    double load_us, encode_us, decode_us, render_us;
    uint64_t ids_hash; /* FNV-1a 64 over all ids as little-endian int32 */
    uint64_t n_ids;
};
/* OCT_E_NOTFOUND if there is no such Python; out says what it has. Runs another program: call it
 * before the sandbox is entered. */
OCT_CHECKED oct_status oct_bench_peer_run(const struct oct_bench_peer_job *job,
                                          struct oct_bench_peer *out);

#endif
