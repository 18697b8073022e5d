/* SPDX-License-Identifier: Apache-2.0
 *
 * detok_twin.h - the slow twin of the streaming detokeniser: decodes all ids at once and cuts the
 * text at the first stop string, without any state. */
#ifndef OCT_TESTS_TEXT_DETOK_TWIN_H
#define OCT_TESTS_TEXT_DETOK_TWIN_H

#include "text/detok.h"

#include <string.h>

/* text[len]: all ids decoded. *cut: how much of it may be given out. Returns the stop string, or
 * -1. */
static inline int detok_twin(const char *text, size_t len, const char *const *stops, size_t n_stops,
                             size_t *cut)
{
    for (size_t end = 1; end <= len; end++) {
        int found = -1;
        for (size_t i = 0; i < n_stops; i++) {
            const size_t n = strlen(stops[i]);
            if (n <= end && strncmp(text + end - n, stops[i], n) == 0 &&
                (found < 0 || n > strlen(stops[found]))) {
                found = (int)i;
            }
        }
        if (found >= 0) {
            *cut = end - strlen(stops[found]);
            return found;
        }
    }
    *cut = len;
    return -1;
}

#endif
