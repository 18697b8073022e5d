/* SPDX-License-Identifier: Apache-2.0
 *
 * detok.h - streaming text out of token ids: what is printed is always whole UTF-8, equals what
 * decoding all ids at once would give, and never contains the beginning of a stop string that
 * turns out to be one. */
#ifndef OCT_TEXT_DETOK_H
#define OCT_TEXT_DETOK_H

#include "text/tokenizer.h"

struct oct_detok {
    const struct oct_tokenizer *tok; /* borrowed */
    const char *const *stops;        /* borrowed; NUL-terminated UTF-8, none empty */
    size_t n_stops;
    bool skip_special;
    bool started;        /* something was decoded: the reference strips only a leading space */
    int stopped;         /* index of the stop string that was found; -1 */
    struct oct_buf held; /* not given out yet: text that may begin a stop string, then n_raw bytes
                            that are not text yet (half a sequence, a run of byte tokens) */
    size_t n_raw;
    struct oct_buf scratch; /* kept, so that a token allocates nothing */
};

void oct_detok_init(struct oct_detok *d, const struct oct_tokenizer *tok, const char *const *stops,
                    size_t n_stops, bool skip_special);
void oct_detok_deinit(struct oct_detok *d);

/* Adds one token; appends to `out` the text that is now certain. Sets d->stopped when a stop string
 * is complete: the text before it has been given out, the stop string itself never is, and tokens
 * that come later add nothing. Of several stop strings the one that is complete first counts; of
 * those that end together, the longest. An id past the vocabulary (a padded embedding has rows for
 * them) adds nothing, as in the reference; a negative one is OCT_E_ARG. */
OCT_CHECKED oct_status oct_detok_add(struct oct_detok *d, int32_t id, struct oct_buf *out);
/* No more tokens: gives out what was held (a broken sequence as U+FFFD). */
OCT_CHECKED oct_status oct_detok_finish(struct oct_detok *d, struct oct_buf *out);

#endif
