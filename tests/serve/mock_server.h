/* SPDX-License-Identifier: Apache-2.0
 *
 * mock_server.h - a server on a thread of the test that speaks OpenAI's streams by a script: with
 * delays, cut in the middle, refusals, garbage. It remembers what it did, for comparison with what
 * a client says. Its answer to a prompt is a function of the prompt. */
#ifndef OCT_TEST_MOCK_SERVER_H
#define OCT_TEST_MOCK_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mock_kind {
    MOCK_OK,          /* a whole answer */
    MOCK_NO_USAGE,    /* one that does not count tokens */
    MOCK_NO_DONE,     /* finish_reason, but no [DONE] */
    MOCK_CLOSES,      /* whole; says Connection: close */
    MOCK_UNTIL_CLOSE, /* whole; no length and no chunks: it lasts until the connection ends */
    MOCK_DROPS_IDLE,  /* whole; the connection is closed, unannounced, right after */
    MOCK_OTHER_TEXT,  /* whole; its second token is wrong */
    MOCK_SPLIT,       /* whole; in pieces of three bytes, with comments and CRLF */
    /* what is none: */
    MOCK_STATUS,    /* the HTTP status of the script, with a JSON error */
    MOCK_CUT,       /* the connection ends after two tokens */
    MOCK_CUT_DONE,  /* all is there but the end of the chunks: whole all the same */
    MOCK_NO_ANSWER, /* the connection ends without a byte */
    MOCK_SILENT,    /* nothing, ever */
    MOCK_NO_END,    /* ends after two tokens as if that were all */
    MOCK_NOT_HTTP,
    MOCK_NOT_JSON,    /* an event that is no JSON */
    MOCK_ERROR_EVENT, /* an event {"error"} after two tokens, then [DONE] */
    MOCK_ERROR_CUT,   /* the same, and the connection ends */
};

struct mock_row {
    enum mock_kind kind;
    int status;
    int first_ms, gap_ms;
    int n_tokens; /* 0: as many as the request's max_tokens */
};

enum { MOCK_MAX_REQUESTS = 4096 };

struct mock_request {                  /* in order of arrival */
    int64_t got_us, first_us, last_us; /* of tokens; oct_clock_us */
    int n_tokens, max_tokens;
    int n_words; /* of the prompt: what usage says */
    uint64_t prompt_hash;
    bool streamed, greedy, ignore_eos, chat, with_key;
};

struct mock {
    struct mock_row script[64]; /* request i gets row i % n_rows */
    size_t n_rows;
    const char *uds;        /* listens there instead, if set */
    bool tls;               /* with a certificate of its own making */
    int stall_at, stall_ms; /* when request number stall_at comes, the whole server sleeps */
    /* to read after mock_stop */
    int port; /* at once */
    struct mock_request requests[MOCK_MAX_REQUESTS];
    int n_requests, n_models, n_connections, max_at_once;
    /* its own */
    int at_once;
    struct mock_inside *inside;
};

/* Fills in nothing that is already set. A failure fails the test. */
void mock_start(struct mock *m);
void mock_stop(struct mock *m);

#endif
