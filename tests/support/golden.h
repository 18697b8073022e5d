/* SPDX-License-Identifier: Apache-2.0
 *
 * golden.h - reads the files that scripts/golden.py wrote into tests/golden. They are committed, so
 * a file that is absent or broken is an assertion.
 *
 * A test of an architecture:
 *     struct oct_golden *g = oct_golden_load("qwen3");
 *     oct_tiny_write_hf(&g->tiny, dir);                     the checkpoint that was run
 *     ... run g->ids, compare logit (p, g->columns[c]) with g->logits[p * g->n_columns + c] ...
 *     oct_golden_close(g);
 * A right fp32 engine differs by about fp32_error, the distance of the reference's own fp32 run
 * from its fp64 run (1e-6 for untied, 1e-5 for tied models, whose logits are ten times as large).
 * What the engine must not get wrong moves logits by much more: rope theta by 1 % moves them by
 * over 6e-4, a doubled norm_eps by over 7e-5, a window longer by one by over 0.2. */
#ifndef OCT_TEST_GOLDEN_H
#define OCT_TEST_GOLDEN_H

#include "support/tiny.h"

#include <jansson.h>

struct oct_golden {
    json_t *root;         /* owned */
    const json_t *config; /* config.json as transformers 5 saves it; in root */
    struct oct_tiny tiny; /* the same model for tests/support/tiny.h, dtype F32, one shard */
    int32_t n_positions, n_columns;
    int32_t *ids;     /* [n_positions] */
    int32_t *columns; /* [n_columns]: the vocabulary entries whose logits are stored */
    float *logits;    /* [n_positions, n_columns] */
    float *logsumexp; /* [n_positions], over the whole vocabulary */
    int32_t *argmax;  /* [n_positions], over the whole vocabulary */
    float *gap;       /* [n_positions]: largest logit less the second: a tie is no error */
    double fp32_error, max_abs_logit;
};

/* Every configuration of tests/golden/arch; ends with NULL. */
extern const char *const oct_golden_names[];

struct oct_golden *oct_golden_load(const char *name);
void oct_golden_close(struct oct_golden *g);

/* tests/golden/<name>; the caller drops the reference. smollm2.json:
 * {"sha256", "eos", "n_greedy", "prompts": [{"text", "chat", "ids", "fp32": {"ids", "gaps"},
 * "bf16":
 * {"ids", "gaps"}}], "logits": {"prompt", "columns": [p][32], "fp32", "bf16", "logsumexp_fp32",
 * "logsumexp_bf16", "max_abs_diff", "mean_abs_diff"}} */
json_t *oct_golden_json(const char *name);
/* A list of integers or of numbers; given away: oct_free. */
int32_t *oct_golden_ints(const json_t *list, int32_t *n);
float *oct_golden_floats(const json_t *list, int32_t *n);
/* {"kind": "yarn", "theta": ...} as golden.py spells it. */
void oct_golden_rope(const json_t *obj, struct oct_rope_config *out);

#endif
