/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_client.c - what a server sends to octavo bench serve: events in any pieces mean what they
 * mean in one, and whatever comes is taken or refused with a sentence. The first byte says how long
 * the pieces are. */
#include "serve/bench_client_answer.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static int take(const char *data, size_t size, size_t piece, struct oct_call *call)
{
    struct oct_sse s = {.now_us = 1};
    int failed = 0;
    *call = (struct oct_call){.keep_text = true, .n_prompt = -1, .n_output = -1};
    oct_sse_init(&s);
    for (size_t at = 0; at < size && !failed; at += piece) {
        failed = oct_sse_take(&s, data + at, size - at < piece ? size - at : piece, call);
    }
    oct_sse_deinit(&s);
    return failed;
}

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct oct_call whole, pieces, body = {.status = 500};
    const char *text = (const char *)data + 1;
    const int a = take(text, size - 1, size, &whole);
    const int b = take(text, size - 1, (size_t)data[0] % 7 + 1, &pieces);
    check(a == b && whole.n_chunks == pieces.n_chunks && whole.n_prompt == pieces.n_prompt &&
          whole.n_output == pieces.n_output && whole.saw_done == pieces.saw_done &&
          whole.saw_error == pieces.saw_error && whole.saw_finish == pieces.saw_finish);
    check(!strcmp(whole.error, pieces.error) && whole.text.len == pieces.text.len);
    check(whole.text.len == 0 || !memcmp(whole.text.data, pieces.text.data, whole.text.len));
    check(!a == !*whole.error || whole.saw_error); /* a refusal has its sentence */
    for (const char *c = whole.error; *c; c++) {
        check((unsigned char)*c >= ' '); /* which goes to a terminal */
    }
    if (oct_body_take(&body, text, size - 1) == 0) {
        oct_body_error(&body);
        check(*body.error != '\0');
    }
    oct_call_deinit(&whole);
    oct_call_deinit(&pieces);
    oct_call_deinit(&body);
    return 0;
}
