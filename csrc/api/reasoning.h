/* SPDX-License-Identifier: Apache-2.0
 *
 * reasoning.h - splits what a model writes between <think> and </think> from its answer, while the
 * text comes in pieces that may end within a tag. Only a <think> at the very beginning (after white
 * space) opens, and the first </think> closes: later ones are text. White space at the beginning of
 * either part is left out; nothing else is. */
#ifndef OCT_API_REASONING_H
#define OCT_API_REASONING_H

#include "base/mem.h"

enum oct_reasoning_state {
    OCT_REASONING_NONE,  /* all is answer, tags too */
    OCT_REASONING_MAYBE, /* before the first word: a <think> may come */
    OCT_REASONING_INSIDE,
    OCT_REASONING_AFTER,
};

struct oct_reasoning {
    enum oct_reasoning_state state;
    bool has_text; /* of the part it is in: white space counts from now on */
    size_t n_held; /* bytes of `held` that may yet be a tag */
    char held[64];
};

/* Appends text[len] to what is thought and what is answered. last: nothing more comes, what was
 * held back is text after all. */
OCT_CHECKED oct_status oct_reasoning_split(struct oct_reasoning *r, const char *text, size_t len,
                                           bool last, struct oct_buf *thought,
                                           struct oct_buf *answer);

#endif
