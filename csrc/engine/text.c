/* SPDX-License-Identifier: Apache-2.0
 *
 * text.c - the text calls of octavo.h: tokenize, detokenize (chat.c has those of conversations).
 * They touch only what is immutable once the engine is open, so any thread may call them. */
#include "engine/engine.h"

#include "base/mem.h"

oct_status oct_engine_tokenize(const oct_engine *e, const char *text, size_t len, unsigned flags,
                               int32_t **ids, size_t *n)
{
    struct oct_ids list = {0};
    unsigned f = 0;
    f |= flags & OCT_TOKENIZE_SPECIAL ? (unsigned)OCT_ENCODE_SPECIAL : 0u;
    f |= flags & OCT_TOKENIZE_BOS_EOS ? (unsigned)OCT_ENCODE_BOS_EOS : 0u;
    const oct_status st = oct_tokenizer_encode(e->vocab->tokenizer, text, len, f, &list);
    if (st != OCT_OK) {
        oct_ids_free(&list);
        return st;
    }
    if (!list.data) { /* an empty text still gives a buffer to free */
        list.data = oct_malloc(0);
        if (!list.data) {
            return oct_no_memory("token ids", 0);
        }
    }
    *ids = list.data;
    *n = list.len;
    return OCT_OK;
}

/* Hands the buffer's memory to the caller, never NULL. */
static oct_status give_away(struct oct_buf *b, oct_status st, char **text, size_t *len)
{
    if (st == OCT_OK) {
        st = oct_buf_reserve(b, 0);
    }
    if (st != OCT_OK) {
        oct_buf_free(b);
        return st;
    }
    *text = b->data;
    *len = b->len;
    return OCT_OK;
}

oct_status oct_engine_detokenize(const oct_engine *e, const int32_t *ids, size_t n,
                                 bool keep_special, char **text, size_t *len)
{
    const int32_t n_tokens = oct_tokenizer_n_tokens(e->vocab->tokenizer);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= n_tokens) {
            return OCT_FAIL(OCT_E_ARG, "token %zu is %d; ids go from 0 to %d", i, ids[i],
                            n_tokens - 1);
        }
    }
    struct oct_buf b = {0};
    const oct_status st = oct_tokenizer_decode(e->vocab->tokenizer, ids, n, !keep_special, &b);
    return give_away(&b, st, text, len);
}

void oct_buffer_free(void *p)
{
    oct_free(p);
}
