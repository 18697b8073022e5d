/* SPDX-License-Identifier: Apache-2.0
 *
 * self_test.h - a known vector for a device that may give wrong results without an error: one fixed
 * request, run again and again. The engine promises that a request's bits depend on nothing that
 * runs beside it, so whenever a token or a bit of a logprob is another, the weights in memory, the
 * device or the program is broken.
 *
 * It sees what changes those bits: most flipped bits of the weights that its tokens go through, and
 * units that compute wrongly. Not rows of the embedding that its tokens do not name, not the KV
 * cache of others, not what rounding hides (docs/reliability.md has the figures). */
#ifndef OCT_SERVE_SELF_TEST_H
#define OCT_SERVE_SELF_TEST_H

#include "octavo.h"

#include <pthread.h>

enum {
    OCT_SELF_TEST_PROMPT = 64, /* tokens, less if the context holds fewer */
    OCT_SELF_TEST_OUTPUT = 8,
    OCT_SELF_TEST_TOP = 5, /* alternatives whose logprobs count too */
    OCT_SELF_TEST_WORDS =
        (OCT_SELF_TEST_PROMPT + OCT_SELF_TEST_OUTPUT) * 2 * (1 + OCT_SELF_TEST_TOP),
    OCT_SELF_TEST_DIGEST_BYTES = 33, /* 32 hexadecimal digits and the end */
};

struct oct_self_test_run {
    uint32_t words[OCT_SELF_TEST_WORDS]; /* a token, then the bits of its logprob, and so on */
    size_t n;
};

struct oct_self_test {
    int32_t prompt[OCT_SELF_TEST_PROMPT], n_prompt, n_output;
    struct oct_self_test_run known;          /* the first run's; n 0: there was none */
    char digest[OCT_SELF_TEST_DIGEST_BYTES]; /* of known; "" before it */
    bool is_running;
    pthread_mutex_t
        lock; /* of the five below, between the engine's thread and the owner's; a leaf */
    struct oct_self_test_run run;
    bool is_over;
    oct_finish finish;
    oct_status status;
    char error[256];
};

enum oct_self_test_verdict {
    OCT_SELF_TEST_FIRST,   /* there was nothing to compare with; now there is */
    OCT_SELF_TEST_SAME,    /* every bit as in the first run */
    OCT_SELF_TEST_DIFFERS, /* text says where */
    OCT_SELF_TEST_NUMERIC, /* the model gave values that are not numbers */
    OCT_SELF_TEST_NOT_RUN, /* no room, no memory, closed: it says nothing of the device; text */
};

struct oct_self_test_result {
    enum oct_self_test_verdict verdict;
    oct_status status;                       /* of the request, if it failed */
    char digest[OCT_SELF_TEST_DIGEST_BYTES]; /* of this run; "" if it did not come to its end */
    char text[400];
};

/* The request for this engine. Allocates nothing. */
void oct_self_test_init(struct oct_self_test *t, const oct_engine *e);
void oct_self_test_deinit(struct oct_self_test *t); /* the engine is closed */

/* One run, if none is under way; it takes its place among the engine's requests, before those that
 * wait. OCT_E_BUSY and the like: not now. *id may be NULL. */
OCT_CHECKED oct_status oct_self_test_begin(struct oct_self_test *t, oct_engine *e, uint64_t *id);
/* Once for each run: true when it has ended. */
bool oct_self_test_take(struct oct_self_test *t, struct oct_self_test_result *out);

#endif
