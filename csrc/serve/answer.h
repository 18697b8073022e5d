/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.h - one prompt answered: submitted, stepped to its end, shown as it comes or as one JSON
 * object, with its speeds. Ctrl-C ends the answer, not the program. */
#ifndef OCT_SERVE_ANSWER_H
#define OCT_SERVE_ANSWER_H

#include "serve/terminal.h"

#include <jansson.h>

/* What all answers of one `octavo run` share. */
struct oct_asker {
    oct_engine *engine;
    struct oct_sampling sampling;
    struct oct_output out;
    bool raw, json, stats;
    int64_t load_us; /* told with the first answer */
    bool load_told;
};

struct oct_answer {
    struct oct_buf text;
    int32_t *ids; /* [n_ids], owned */
    size_t n_ids, ids_cap;
    json_t *logprobs; /* owned; NULL unless asked for */
    oct_finish finish;
    int32_t n_prompt;
    int64_t submit_us, first_us, end_us;
};

/* Answers the prompt ids[n]. The answer is shown; *a is filled for whoever goes on with it, and
 * belongs to the caller whatever is returned (oct_answer_deinit). An answer ended by Ctrl-C is
 * OCT_OK with OCT_FINISH_CANCELLED. */
OCT_CHECKED oct_status oct_answer(struct oct_asker *k, const int32_t *ids, size_t n,
                                  struct oct_answer *a);
/* The ids of a text to be continued as it is (--raw): special tokens may be spelled in it. Given
 * away (oct_buffer_free). */
OCT_CHECKED oct_status oct_raw_prompt(const struct oct_asker *k, const char *text, size_t len,
                                      int32_t **ids, size_t *n);
void oct_answer_deinit(struct oct_answer *a);

#endif
