/* SPDX-License-Identifier: Apache-2.0 */
#include "text/detok.h"

#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <string.h>

static const char broken[] = "\xef\xbf\xbd"; /* U+FFFD */

void oct_detok_init(struct oct_detok *d, const struct oct_tokenizer *tok, const char *const *stops,
                    size_t n_stops, bool skip_special)
{
    *d = (struct oct_detok){.tok = tok,
                            .stops = stops,
                            .n_stops = n_stops,
                            .skip_special = skip_special,
                            .stopped = -1};
}

void oct_detok_deinit(struct oct_detok *d)
{
    oct_buf_free(&d->held);
    oct_buf_free(&d->scratch);
}

/* ---- bytes to text: held = text, then n_raw bytes ---- */

/* Appends text behind the text in `held`; there are no raw bytes at this moment. */
static oct_status hold_text(struct oct_detok *d, const char *text, size_t len)
{
    if (len > 0 && !d->started) {
        d->started = true;
        if (d->tok->decoder.strip_left && text[0] == ' ') {
            text++;
            len--;
        }
    }
    return oct_buf_append(&d->held, text, len);
}

/* Byte-level: takes every whole sequence out of the raw bytes; an incomplete one stays, unless
 * `all`. */
static oct_status settle_bytes(struct oct_detok *d, bool all)
{
    const size_t n_text = d->held.len - d->n_raw;
    if (d->n_raw == 0) {
        return OCT_OK;
    }
    const unsigned char *raw = (const unsigned char *)d->held.data + n_text;
    const size_t good = oct_utf8_valid_prefix(raw, d->n_raw);
    if (good == d->n_raw) { /* nearly always */
        d->n_raw = 0;
        d->started = true;
        return OCT_OK;
    }
    struct oct_buf *text = &d->scratch;
    oct_buf_clear(text);
    size_t at = 0;
    while (at < d->n_raw) {
        const size_t valid = oct_utf8_valid_prefix(raw + at, d->n_raw - at);
        OCT_TRY(oct_buf_append(text, raw + at, valid));
        at += valid;
        const int bad = at < d->n_raw ? oct_utf8_check(raw + at, d->n_raw - at) : 1;
        if (bad == 0 && !all) {
            break; /* more bytes may complete it */
        }
        if (bad <= 0) {
            OCT_TRY(oct_buf_append(text, broken, 3));
            at = bad == 0 ? d->n_raw : at + (size_t)-bad;
        }
    }
    const size_t left = d->n_raw - at;
    const size_t text_len = text->len;
    OCT_TRY(oct_buf_append(text, raw + at, left));
    OCT_TRY(oct_buf_reserve(&d->held, text->len));
    memcpy(d->held.data + n_text, text->data, text->len);
    d->held.len = n_text + text->len;
    d->held.data[d->held.len] = '\0';
    d->n_raw = left;
    d->started = d->started || text_len > 0;
    return OCT_OK;
}

/* Byte tokens (<0xNN>): a run of them is text if all of it is UTF-8, else one U+FFFD for each. */
static oct_status settle_run(struct oct_detok *d)
{
    if (d->n_raw == 0) {
        return OCT_OK;
    }
    const size_t n_text = d->held.len - d->n_raw, n = d->n_raw;
    struct oct_buf *run = &d->scratch;
    oct_buf_clear(run);
    OCT_TRY(oct_buf_append(run, d->held.data + n_text, n));
    const bool good = oct_utf8_valid_prefix((const unsigned char *)run->data, n) == n;
    OCT_TRY(oct_buf_reserve(&d->held, 3 * n)); /* nothing below fails */
    d->held.len = n_text;
    d->n_raw = 0;
    oct_status st = good ? hold_text(d, run->data, n) : OCT_OK;
    for (size_t i = 0; i < n && !good && st == OCT_OK; i++) {
        st = hold_text(d, broken, 3);
    }
    return st;
}

/* Metaspace: the first token loses all its marks instead of showing them as spaces. */
static oct_status hold_without_marks(struct oct_detok *d, int32_t id)
{
    const char *mark = d->tok->decoder.mark;
    const size_t mark_len = strlen(mark);
    size_t len;
    const char *text = oct_tokens_text(&d->tok->tokens, (uint32_t)id, &len);
    const size_t n_text = d->held.len;
    for (size_t pos = 0; pos < len;) {
        const char *hit = memmem(text + pos, len - pos, mark, mark_len);
        const size_t end = hit ? (size_t)(hit - text) : len;
        const oct_status st = oct_buf_append(&d->held, text + pos, end - pos);
        if (st != OCT_OK) {
            d->held.len = n_text;
            return st;
        }
        pos = end + (hit ? mark_len : 0);
    }
    d->started = true;
    return OCT_OK;
}

static oct_status hold_token(struct oct_detok *d, int32_t id)
{
    const struct oct_decoder *decoder = &d->tok->decoder;
    size_t len;
    const char *piece = oct_tokenizer_piece(d->tok, id, &len);
    const uint8_t flags = d->tok->tokens.flags[id];
    if (decoder->kind == DECODE_BYTES) {
        OCT_TRY(oct_buf_append(&d->held, piece, len));
        d->n_raw += len;
        return settle_bytes(d, false);
    }
    if (flags & OCT_TOKEN_BYTE) {
        OCT_TRY(oct_buf_append(&d->held, piece, 1));
        d->n_raw++;
        return OCT_OK;
    }
    OCT_TRY(settle_run(d));
    if (decoder->first_drops_mark && !d->started) {
        return hold_without_marks(d, id);
    }
    if (decoder->kind == DECODE_JOINED) {
        OCT_TRY(oct_buf_reserve(&d->held, len + 1));
        if (d->started) {
            OCT_TRY(oct_buf_append(&d->held, " ", 1));
        }
        d->started = true;
        return oct_buf_append(&d->held, piece, len);
    }
    return hold_text(d, piece, len);
}

/* ---- stop strings, and giving out ---- */

/* The stop string that is complete first in text[len], looking only at ends after `from`. */
static int find_stop(const struct oct_detok *d, const char *text, size_t from, size_t len,
                     size_t *start)
{
    for (size_t end = from + 1; end <= len; end++) {
        int best = -1;
        size_t best_len = 0;
        for (size_t i = 0; i < d->n_stops; i++) {
            const size_t n = strlen(d->stops[i]);
            if (n > best_len && n <= end && memcmp(text + end - n, d->stops[i], n) == 0) {
                best = (int)i;
                best_len = n;
            }
        }
        if (best >= 0) {
            *start = end - best_len;
            return best;
        }
    }
    return -1;
}

/* Length of the longest end of text[len] that begins a stop string. */
static size_t maybe_stop(const struct oct_detok *d, const char *text, size_t len)
{
    size_t longest = 0;
    for (size_t i = 0; i < d->n_stops; i++) {
        const size_t n = strlen(d->stops[i]), most = n ? n - 1 : 0;
        for (size_t k = most < len ? most : len; k > longest; k--) {
            if (memcmp(text + len - k, d->stops[i], k) == 0) {
                longest = k;
            }
        }
    }
    return longest;
}

/* Gives out what is certain of the held text. seen: bytes of it that were searched before. */
static oct_status give_out(struct oct_detok *d, size_t seen, bool last, struct oct_buf *out)
{
    const size_t n_text = d->held.len - d->n_raw;
    const char *text = d->held.data ? d->held.data : "";
    size_t start = 0;
    const int stop = find_stop(d, text, seen, n_text, &start);
    if (stop >= 0) {
        OCT_TRY(oct_buf_append(out, text, start));
        d->stopped = stop;
        d->n_raw = 0;
        oct_buf_clear(&d->held);
        return OCT_OK;
    }
    const size_t give = n_text - (last ? 0 : maybe_stop(d, text, n_text));
    OCT_TRY(oct_buf_append(out, text, give));
    if (give > 0) {
        memmove(d->held.data, d->held.data + give, d->held.len - give);
        d->held.len -= give;
        d->held.data[d->held.len] = '\0';
    }
    return OCT_OK;
}

oct_status oct_detok_add(struct oct_detok *d, int32_t id, struct oct_buf *out)
{
    if (id < 0) {
        return OCT_FAIL(OCT_E_ARG, "token id %d is negative", id);
    }
    if (d->stopped >= 0 || (uint32_t)id >= d->tok->tokens.n_ids || !d->tok->tokens.flags[id] ||
        (d->skip_special && (d->tok->tokens.flags[id] & OCT_TOKEN_SPECIAL))) {
        return OCT_OK;
    }
    const size_t seen = d->held.len - d->n_raw;
    OCT_TRY(hold_token(d, id));
    return give_out(d, seen, false, out);
}

oct_status oct_detok_finish(struct oct_detok *d, struct oct_buf *out)
{
    if (d->stopped >= 0) {
        return OCT_OK;
    }
    const size_t seen = d->held.len - d->n_raw;
    OCT_TRY(d->tok->decoder.kind == DECODE_BYTES ? settle_bytes(d, true) : settle_run(d));
    return give_out(d, seen, true, out);
}
