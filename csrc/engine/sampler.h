/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler.h - a request's sampling parameters, checked and resolved once, and the lists that grow
 * as tokens are generated. The arithmetic is the op's (cuda/sample.h). */
#ifndef OCT_ENGINE_SAMPLER_H
#define OCT_ENGINE_SAMPLER_H

#include "model/config.h"
#include "model/vocab.h"
#include "ops.h"

enum { OCT_SAMPLER_MAX_STOP_TOKENS = 64, OCT_SAMPLER_MAX_BIAS = 1024 }; /* of a request */

struct oct_sampler {
    struct k_sample_row row; /* what does not change; step, lists and banned are set per step */
    struct k_sample_count *counts; /* owned; NULL unless a penalty is set */
    int32_t n_counts;
    int32_t *count_index; /* owned; open-addressing hash: token -> place in counts, -1 empty */
    uint32_t index_mask;
    struct k_sample_bias *bias; /* owned */
    int32_t *banned;            /* owned: every stop token, masked while below min_tokens */
    int32_t n_stop_tokens;      /* banned[0..n) also ends the request when chosen */
    uint32_t *mask;             /* owned; NULL without token_mask */
    size_t n_mask_words;
    oct_token_mask_fn token_mask;
    void *token_mask_user;
    char **stops; /* owned; [n_stops] NUL-terminated */
    size_t n_stops;
    int32_t max_tokens, min_tokens; /* max_tokens resolved: >= 1 */
    bool keep_special;
};

/* Checks every field of `s` (NULL: all defaults); an error names the field. n_prompt + max_tokens
 * must fit max_model_len. */
OCT_CHECKED oct_status oct_sampler_init(struct oct_sampler *out, const struct oct_sampling *s,
                                        const struct oct_model_config *c, const struct oct_vocab *v,
                                        int32_t n_vocab, const int32_t *prompt, int32_t n_prompt,
                                        int32_t max_model_len);
void oct_sampler_deinit(struct oct_sampler *s);

/* A token was generated. */
void oct_sampler_add(struct oct_sampler *s, int32_t token);
bool oct_sampler_is_stop(const struct oct_sampler *s, int32_t token);
/* The row for the op, n_output tokens into the answer. False if token_mask ended the request. */
bool oct_sampler_row(struct oct_sampler *s, const int32_t *output, int32_t n_output,
                     struct k_sample_row *row);

#endif
