/* SPDX-License-Identifier: Apache-2.0 */
#include "detok_twin.h"
#include "small_vocab.h"

#include "text/unicode.h"

#include <criterion/criterion.h>

static uint64_t state = 1;
static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

static const char fuse_only[] = "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
                                "\"ByteFallback\"},{\"type\":\"Fuse\"}]}}";
static const char metaspace[] = "{\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\","
                                "\"prepend_scheme\":\"always\",\"split\":true}}";
static const struct {
    const char *file, *members;
} vocabs[] = {{"tokenizer_bytes.json", "{}"},
              {"tokenizer_spm.json", "{}"},
              {"tokenizer_spm.json", fuse_only},
              {"tokenizer_spm.json", metaspace},
              {"tokenizer_spm.json", "{\"decoder\":null}"}};
enum { N_VOCABS = sizeof vocabs / sizeof *vocabs };

/* What the reference's decode gives, worked out the long way from the texts of the tokens: for
 * byte-level, bytes and one repair at the end; for byte fallback, run by run. */
static void decode_twin(int vocab, const struct oct_tokenizer *t, const int32_t *ids, size_t n,
                        bool skip, struct oct_buf *out)
{
    struct oct_buf bytes = {0}, run = {0};
    bool first = true;
    for (size_t i = 0; i <= n; i++) {
        size_t len = 0;
        const char *piece = "";
        if (i < n) {
            if (skip && oct_tokenizer_is_special(t, ids[i])) {
                continue;
            }
            piece = oct_tokenizer_piece(t, ids[i], &len);
        }
        /* in these vocabularies <0x00> is 3, and so on up to 258 */
        const bool byte = i < n && (vocab == 1 || vocab == 2) && ids[i] >= 3 && ids[i] < 259;
        if (byte) {
            cr_assert_eq(len, 1u);
            cr_assert_eq((unsigned char)piece[0], ids[i] - 3);
            cr_assert_eq(oct_buf_append(&run, piece, 1), OCT_OK);
            continue;
        }
        const bool good = oct_utf8_valid_prefix((unsigned char *)run.data, run.len) == run.len;
        for (size_t k = 0; k < run.len; k++) {
            cr_assert_eq(good ? oct_buf_append(&bytes, run.data + k, 1)
                              : oct_buf_append(&bytes, "\xef\xbf\xbd", 3),
                         OCT_OK);
        }
        oct_buf_clear(&run);
        if (i == n) {
            break;
        }
        if (vocab == 4 && !first) {
            cr_assert_eq(oct_buf_append(&bytes, " ", 1), OCT_OK);
        }
        if (vocab == 3 && first) { /* the first token shows none of its marks */
            for (size_t k = 0; k < len; k++) {
                if (piece[k] != ' ') {
                    cr_assert_eq(oct_buf_append(&bytes, piece + k, 1), OCT_OK);
                }
            }
        } else {
            cr_assert_eq(oct_buf_append(&bytes, piece, len), OCT_OK);
        }
        first = false;
    }
    const size_t skip_space = vocab == 1 && bytes.len && bytes.data[0] == ' ';
    cr_assert_eq(
        oct_utf8_repair((unsigned char *)bytes.data + skip_space, bytes.len - skip_space, out),
        OCT_OK);
    oct_buf_free(&bytes);
    oct_buf_free(&run);
}

static size_t random_ids(const struct oct_tokenizer *t, int32_t *ids, size_t cap)
{
    const size_t n = below((uint32_t)cap + 1);
    const uint32_t top = (uint32_t)oct_tokenizer_n_tokens(t);
    struct oct_ids some = {0};
    static const char text[] = " the 漢字👍🏽 e\xcc\x81\n  stop\nEND\xf0\x9f\x91";
    cr_assert_eq(oct_tokenizer_encode(t, text, sizeof text - 1, 0, &some), OCT_OK);
    for (size_t i = 0; i < n; i++) {
        ids[i] =
            below(3) ? some.data[below((uint32_t)some.len)] : (int32_t)below(below(2) ? 260 : top);
        for (; i > 0 && i + 1 < n && below(3); i++) { /* pieces of the text in order */
            ids[i + 1] = ids[i];
            for (size_t k = 0; k + 1 < some.len; k++) {
                ids[i + 1] = some.data[k] == ids[i] ? some.data[k + 1] : ids[i + 1];
            }
        }
    }
    oct_ids_free(&some);
    return n;
}

Test(detok, streams_what_decoding_at_once_gives, .timeout = 120)
{
    int32_t ids[24];
    for (int v = 0; v < N_VOCABS; v++) {
        struct oct_tokenizer *t = small_vocab(vocabs[v].file, vocabs[v].members);
        for (int k = 0; k < 4000; k++) {
            const size_t n = random_ids(t, ids, 24);
            const bool skip = below(2);
            struct oct_buf want = {0}, whole = {0}, got = {0};
            decode_twin(v, t, ids, n, skip, &want);
            cr_assert_eq(oct_tokenizer_decode(t, ids, n, skip, &whole), OCT_OK);
            struct oct_detok d;
            oct_detok_init(&d, t, NULL, 0, skip);
            for (size_t i = 0; i < n; i++) {
                cr_assert_eq(oct_detok_add(&d, ids[i], &got), OCT_OK);
                cr_assert_eq(oct_utf8_valid_prefix((unsigned char *)got.data, got.len), got.len,
                             "half a sequence after token %zu", i);
            }
            cr_assert_eq(oct_detok_finish(&d, &got), OCT_OK);
            oct_detok_deinit(&d);
            cr_assert_eq(whole.len, want.len, "vocabulary %d: \"%s\", want \"%s\"", v, whole.data,
                         want.data);
            cr_assert_eq(got.len, want.len, "vocabulary %d", v);
            cr_assert(want.len == 0 || (memcmp(whole.data, want.data, want.len) == 0 &&
                                        memcmp(got.data, want.data, want.len) == 0),
                      "vocabulary %d: \"%s\", want \"%s\"", v, got.data, want.data);
            oct_buf_free(&want);
            oct_buf_free(&whole);
            oct_buf_free(&got);
        }
        oct_tokenizer_destroy(t);
    }
}

Test(detok, cuts_at_the_first_stop_string_wherever_tokens_end, .timeout = 120)
{
    static const char *const pool[] = {"stop", "top\n", "\n",           "th", "the", "e\xcc\x81",
                                       "END",  "漢字",  "字",           "ND", " ",   "aa",
                                       "op",   "p\nEN", "\xef\xbf\xbd", "👍",  "s",   "  st"};
    int32_t ids[24];
    size_t n_stopped = 0, n_not = 0;
    for (int v = 0; v < N_VOCABS; v++) {
        struct oct_tokenizer *t = small_vocab(vocabs[v].file, vocabs[v].members);
        for (int k = 0; k < 6000; k++) {
            const char *stops[4];
            const size_t n_stops = 1 + below(4);
            for (size_t i = 0; i < n_stops; i++) {
                stops[i] = pool[below(sizeof pool / sizeof *pool)];
            }
            const size_t n = random_ids(t, ids, 24);
            struct oct_buf whole = {0}, got = {0};
            cr_assert_eq(oct_tokenizer_decode(t, ids, n, true, &whole), OCT_OK);
            size_t cut;
            const int want =
                detok_twin(whole.data ? whole.data : "", whole.len, stops, n_stops, &cut);
            struct oct_detok d;
            oct_detok_init(&d, t, stops, n_stops, true);
            for (size_t i = 0; i < n; i++) {
                cr_assert_eq(oct_detok_add(&d, ids[i], &got), OCT_OK);
                cr_assert_leq(got.len, cut, "text past the stop string, or part of it, got out");
            }
            cr_assert_eq(oct_detok_finish(&d, &got), OCT_OK);
            const bool same_stop = d.stopped == want || (want >= 0 && d.stopped >= 0 &&
                                                         !strcmp(stops[want], stops[d.stopped]));
            cr_assert(same_stop, "stop %d, want %d in \"%s\"", d.stopped, want, whole.data);
            cr_assert_eq(got.len, cut, "%zu bytes, want %zu of \"%s\"", got.len, cut, whole.data);
            cr_assert(cut == 0 || memcmp(got.data, whole.data, cut) == 0);
            const size_t len = got.len;
            if (d.stopped >= 0) {
                cr_assert_eq(oct_detok_add(&d, 5, &got), OCT_OK); /* nothing comes after a stop */
                cr_assert_eq(oct_detok_finish(&d, &got), OCT_OK);
                cr_assert_eq(got.len, len);
            }
            n_stopped += want >= 0;
            n_not += want < 0;
            oct_detok_deinit(&d);
            oct_buf_free(&whole);
            oct_buf_free(&got);
        }
        oct_tokenizer_destroy(t);
    }
    cr_assert(n_stopped > 1000 && n_not > 1000, "%zu stopped, %zu did not", n_stopped, n_not);
}

/* What can be given out is given out at once: a user must not wait for text that is certain. */
Test(detok, holds_back_no_more_than_it_must)
{
    struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", "{}");
    static const char text[] = "ab\xf0\x9f\x98\x80 STOx";
    static const char *const stops[] = {"STOP"};
    struct oct_detok d;
    struct oct_buf got = {0};
    oct_detok_init(&d, t, stops, 1, false);
    /* bytes one by one: the alphabet's own tokens */
    static const size_t want[] = {1, 2, 2, 2, 2, 6, 7, 7, 7, 7, 11};
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char name[4];
        const size_t len = oct_utf8_put((unsigned char)text[i] == 0xf0   ? 0xf0
                                        : (unsigned char)text[i] == 0x9f ? 0x141
                                        : (unsigned char)text[i] == 0x98 ? 0x13a
                                        : (unsigned char)text[i] == 0x80 ? 0x122
                                        : text[i] == ' '                 ? 0x120
                                                                         : (unsigned char)text[i],
                                        (unsigned char *)name);
        const int32_t id = oct_tokenizer_find(t, name, len);
        cr_assert_geq(id, 0, "byte %zu", i);
        cr_assert_eq(oct_detok_add(&d, id, &got), OCT_OK);
        cr_assert_eq(got.len, want[i], "after byte %zu: %zu, want %zu", i, got.len, want[i]);
    }
    cr_assert_eq(oct_detok_finish(&d, &got), OCT_OK);
    cr_assert_str_eq(got.data, text);
    oct_detok_deinit(&d);
    oct_buf_free(&got);
    oct_tokenizer_destroy(t);
}

Test(detok, ids_past_the_vocabulary_add_nothing_and_negative_ones_are_refused)
{
    struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", "{}");
    struct oct_detok d;
    struct oct_buf got = {0};
    oct_detok_init(&d, t, NULL, 0, false);
    cr_assert_eq(oct_detok_add(&d, oct_tokenizer_n_tokens(t), &got), OCT_OK);
    cr_assert_eq(oct_detok_add(&d, INT32_MAX, &got), OCT_OK);
    cr_assert_eq(oct_detok_add(&d, -1, &got), OCT_E_ARG);
    cr_assert_eq(oct_detok_add(&d, INT32_MIN, &got), OCT_E_ARG);
    cr_assert_eq(got.len, 0u);
    oct_detok_deinit(&d);
    oct_tokenizer_destroy(t);
}
