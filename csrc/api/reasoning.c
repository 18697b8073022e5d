/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"

#include <string.h>

static const char OPEN[] = "<think>", CLOSE[] = "</think>";

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool begins(const char *tag, const char *s, size_t n)
{
    return n <= strlen(tag) && !memcmp(tag, s, n);
}

static void enter(struct oct_reasoning *r, enum oct_reasoning_state state)
{
    r->state = state;
    r->has_text = false;
    r->n_held = 0;
}

/* Text of the part that r is in; white space at its beginning is left out. */
static oct_status put(struct oct_reasoning *r, const char *s, size_t n, struct oct_buf *out)
{
    while (!r->has_text && n > 0 && is_space(*s)) {
        s++, n--;
    }
    r->has_text = r->has_text || n > 0;
    return oct_buf_append(out, s, n);
}

static oct_status give_up_maybe(struct oct_reasoning *r, struct oct_buf *answer)
{
    const size_t n = r->n_held;
    enter(r, OCT_REASONING_NONE);
    return oct_buf_append(answer, r->held, n);
}

/* Before the first word: held is white space and what may be the beginning of <think>. */
static oct_status take_maybe(struct oct_reasoning *r, char c, struct oct_buf *answer)
{
    size_t spaces = 0;
    r->held[r->n_held++] = c;
    while (spaces < r->n_held && is_space(r->held[spaces])) {
        spaces++;
    }
    const size_t n = r->n_held - spaces;
    if (n == strlen(OPEN) && begins(OPEN, r->held + spaces, n)) {
        enter(r, OCT_REASONING_INSIDE);
        return OCT_OK;
    }
    return begins(OPEN, r->held + spaces, n) && r->n_held < sizeof r->held
               ? OCT_OK
               : give_up_maybe(r, answer);
}

/* Inside: held begins with '<', or is empty. A tag has that character at its beginning alone. */
static oct_status take_inside(struct oct_reasoning *r, char c, struct oct_buf *thought)
{
    if (c == '<' && r->n_held > 0) {
        OCT_TRY(put(r, r->held, r->n_held, thought));
        r->n_held = 0;
    }
    r->held[r->n_held++] = c;
    if (begins(CLOSE, r->held, r->n_held)) {
        if (r->n_held == strlen(CLOSE)) {
            enter(r, OCT_REASONING_AFTER);
        }
        return OCT_OK;
    }
    /* the model may write the <think> that its prompt has already opened */
    if (!r->has_text && begins(OPEN, r->held, r->n_held)) {
        r->n_held = r->n_held == strlen(OPEN) ? 0 : r->n_held;
        return OCT_OK;
    }
    const size_t n = r->n_held;
    r->n_held = 0;
    return put(r, r->held, n, thought);
}

oct_status oct_reasoning_split(struct oct_reasoning *r, const char *text, size_t len, bool last,
                               struct oct_buf *thought, struct oct_buf *answer)
{
    size_t i = 0;
    while (i < len) {
        if (r->state == OCT_REASONING_MAYBE) {
            OCT_TRY(take_maybe(r, text[i++], answer));
        } else if (r->state == OCT_REASONING_INSIDE) {
            const char *tag = r->n_held > 0 ? text + i : memchr(text + i, '<', len - i);
            const size_t n = tag ? (size_t)(tag - text) - i : len - i;
            OCT_TRY(put(r, text + i, n, thought));
            i += n;
            if (i < len) {
                OCT_TRY(take_inside(r, text[i++], thought));
            }
        } else if (r->state == OCT_REASONING_AFTER) {
            OCT_TRY(put(r, text + i, len - i, answer));
            i = len;
        } else {
            OCT_TRY(oct_buf_append(answer, text + i, len - i));
            i = len;
        }
    }
    if (last && r->n_held > 0) {
        const size_t n = r->n_held;
        if (r->state == OCT_REASONING_MAYBE) {
            return give_up_maybe(r, answer);
        }
        r->n_held = 0;
        return put(r, r->held, n, thought);
    }
    return OCT_OK;
}

/* ---- where an answer begins ---- */

enum { TAIL_TOKENS = 24 };

oct_status oct_reasoning_begin(const struct oct_api *a, const int32_t *prompt, size_t n,
                               enum oct_reasoning_state *out)
{
    const bool forced = !strcmp(a->config.reasoning_parser, "think");
    const size_t from = n > TAIL_TOKENS ? n - TAIL_TOKENS : 0;
    char *tail;
    size_t len;
    if (!strcmp(a->config.reasoning_parser, "none")) {
        *out = OCT_REASONING_NONE;
        return OCT_OK;
    }
    OCT_TRY(oct_engine_detokenize(a->engine, prompt + from, n - from, true, &tail, &len));
    while (len > 0 && is_space(tail[len - 1])) {
        len--;
    }
    const size_t open = strlen(OPEN), close = strlen(CLOSE);
    const bool is_open = len >= open && !memcmp(tail + len - open, OPEN, open);
    const bool is_closed = len >= close && !memcmp(tail + len - close, CLOSE, close);
    oct_buffer_free(tail);
    *out = is_closed           ? OCT_REASONING_AFTER
           : is_open || forced ? OCT_REASONING_INSIDE
                               : OCT_REASONING_MAYBE;
    return OCT_OK;
}
