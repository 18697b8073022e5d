/* SPDX-License-Identifier: Apache-2.0
 *
 * Bad vocabularies get a sentence that names the member, or load and work; never a crash. */
#include "small_vocab.h"

#include "base/clock.h"
#include "base/fault.h"
#include "text/tokenizer_int.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A whole file around a model. */
#define MODEL(vocab, merges) \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
#define WITH(members) \
    "{" members \
    ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}"

struct bad {
    const char *json;
    oct_status want;
    const char *says; /* in the sentence */
};

// clang-format off
static const struct bad bad[] = {
    {"", OCT_E_FORMAT, "tokenizer.json"},
    {"[]", OCT_E_FORMAT, "an object expected"},
    {"{", OCT_E_FORMAT, "tokenizer.json"},
    {"nonsense", OCT_E_FORMAT, "tokenizer.json"},
    {"{\"model\":{\"vocab\":{\"a\":0", OCT_E_FORMAT, "tokenizer.json"},
    {"\xff{}", OCT_E_FORMAT, "byte 0 is not UTF-8"},
    {"{}", OCT_E_FORMAT, "\"model\""},
    {"{\"model\":3}", OCT_E_FORMAT, "\"model\""},
    {"{\"model\":{}}", OCT_E_FORMAT, "vocab"},
    {"{\"model\":{\"vocab\":{}}}", OCT_E_FORMAT, "merges"},
    {"{\"model\":{\"vocab\":[],\"merges\":{}}}", OCT_E_FORMAT, "vocab"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5]]}}", OCT_E_UNSUPPORTED, "Unigram"},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"merges\":[]}}", OCT_E_UNSUPPORTED, "WordPiece"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", OCT_E_FORMAT, "duplicate"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"vocab\":{\"b\":0},\"merges\":[]}}", OCT_E_FORMAT, "duplicate"},
    /* vocabulary */
    {MODEL("{}", "[]"), OCT_E_FORMAT, "empty"},
    {MODEL("{\"a\":-1}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":1.5}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":1e3}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":\"0\"}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":null}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":007}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":2097152}", "[]"), OCT_E_FORMAT, "ids go up to 2097151"},
    {MODEL("{\"a\":9223372036854775807}", "[]"), OCT_E_FORMAT, "too large"},
    {MODEL("{\"a\":99999999999999999999999999}", "[]"), OCT_E_FORMAT, "too large"},
    {MODEL("{\"a\":0,\"a\":1}", "[]"), OCT_E_FORMAT, "\"a\" is in the vocabulary twice"},
    {MODEL("{\"a\":0,\"\\u0061\":1}", "[]"), OCT_E_FORMAT, "\"a\" is in the vocabulary twice"},
    {MODEL("{\"a\":0,\"b\":0}", "[]"), OCT_E_FORMAT, "same id 0"},
    {MODEL("{\"a\":0,}", "[]"), OCT_E_FORMAT, "vocab"},
    {MODEL("{\"a\" 0}", "[]"), OCT_E_FORMAT, "':' expected"},
    {MODEL("{\"a\":0 \"b\":1}", "[]"), OCT_E_FORMAT, "',' expected"},
    {MODEL("{a:0}", "[]"), OCT_E_FORMAT, "'\"' expected"},
    {MODEL("{\"a\\x\":0}", "[]"), OCT_E_FORMAT, "unknown escape"},
    {MODEL("{\"\\u12g4\":0}", "[]"), OCT_E_FORMAT, "hexadecimal"},
    {MODEL("{\"\\ud800\":0}", "[]"), OCT_E_FORMAT, "surrogate"},
    {MODEL("{\"\\ud800\\u0041\":0}", "[]"), OCT_E_FORMAT, "surrogate"},
    {MODEL("{\"\\udc00\":0}", "[]"), OCT_E_FORMAT, "surrogate"},
    {MODEL("{\"a\nb\":0}", "[]"), OCT_E_FORMAT, "control character"},
    {MODEL("{\"a\":[0]}", "[]"), OCT_E_FORMAT, "an id expected"},
    {MODEL("{\"a\":0]", "[]"), OCT_E_FORMAT, "vocab"},
    {MODEL("{\"a\":0,\"\xc3(\":1}", "[]"), OCT_E_FORMAT, "byte 39 is not UTF-8"},
    {MODEL("{\"a\":0,\"\xed\xa0\x80\":1}", "[]"), OCT_E_FORMAT, "byte 39 is not UTF-8"},
    /* merges */
    {MODEL("{\"a\":0,\"b\":1}", "[\"a b\"]"), OCT_E_FORMAT, "what they make is no token"},
    {MODEL("{\"a\":0,\"ab\":1}", "[\"a b\"]"), OCT_E_FORMAT, "the second is no token"},
    {MODEL("{\"b\":0,\"ab\":1}", "[[\"a\",\"b\"]]"), OCT_E_FORMAT, "the first is no token"},
    {MODEL("{\"a\":0}", "[\"a\"]"), OCT_E_FORMAT, "two tokens with one space"},
    {MODEL("{\"a\":0}", "[\"a a a\"]"), OCT_E_FORMAT, "two tokens with one space"},
    {MODEL("{\"a\":0}", "[\"a  a\"]"), OCT_E_FORMAT, "two tokens with one space"},
    {MODEL("{\"a\":0,\"aa\":1}", "[[\"a\"]]"), OCT_E_FORMAT, "',' expected"},
    {MODEL("{\"a\":0,\"aa\":1}", "[[\"a\",\"a\",\"a\"]]"), OCT_E_FORMAT, "']' expected"},
    {MODEL("{\"a\":0,\"aa\":1}", "[[\"a\",\"a\"],\"a a\",\"a a\"]"), OCT_E_FORMAT, "mixed"},
    {MODEL("{\"a\":0}", "[7]"), OCT_E_FORMAT, "'\"' expected"},
    {MODEL("{\"a\":0}", "[null]"), OCT_E_FORMAT, "'\"' expected"},
    /* the other members */
    {WITH("\"normalizer\":7"), OCT_E_FORMAT, "normalizer"},
    {WITH("\"normalizer\":{\"type\":\"Lowercase\"}"), OCT_E_UNSUPPORTED, "normalizer: octavo has no \"Lowercase\""},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}"), OCT_E_UNSUPPORTED, "regular expression"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}"), OCT_E_FORMAT, "pattern"},
    {WITH("\"normalizer\":{\"type\":\"Prepend\"}"), OCT_E_FORMAT, "prepend"},
    {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), OCT_E_FORMAT, "normalizers"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Whitespace\"}"), OCT_E_UNSUPPORTED, "pre_tokenizer: octavo has no \"Whitespace\""},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}"), OCT_E_FORMAT, "\"(\" is wrong"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Odd\"}"), OCT_E_FORMAT, "behavior"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\"}"), OCT_E_FORMAT, "Regex"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Isolated\"}"), OCT_E_FORMAT, "empty string"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), OCT_E_FORMAT, "replacement"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"a\",\"prepend_scheme\":\"x\"}"), OCT_E_FORMAT, "prepend_scheme"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":1}"), OCT_E_FORMAT, "individual_digits"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"ByteLevel\"}]}"), OCT_E_UNSUPPORTED, "after \"ByteLevel\""},
    {WITH("\"decoder\":{\"type\":\"WordPiece\"}"), OCT_E_UNSUPPORTED, "WordPiece"},
    {WITH("\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"), OCT_E_UNSUPPORTED, "Strip"},
    {WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"}]}"), OCT_E_UNSUPPORTED, "ByteFallback"},
    {WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Fuse\"}]}"), OCT_E_UNSUPPORTED, "ByteLevel"},
    {WITH("\"post_processor\":{\"type\":\"Odd\"}"), OCT_E_UNSUPPORTED, "post_processor"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\"}"), OCT_E_FORMAT, "single"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), OCT_E_FORMAT, "single"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{}},{\"Sequence\":{}}]}"), OCT_E_UNSUPPORTED, "twice"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}"), OCT_E_FORMAT, "single"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{}}],\"special_tokens\":{\"x\":{\"ids\":[3]}}}"), OCT_E_FORMAT, "ids"},
    {WITH("\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",-1],\"sep\":[\"a\",0]}"), OCT_E_FORMAT, "ids"},
    /* added tokens */
    {WITH("\"added_tokens\":{}"), OCT_E_FORMAT, "added_tokens"},
    {WITH("\"added_tokens\":[3]"), OCT_E_FORMAT, "content"},
    {WITH("\"added_tokens\":[{\"content\":\"x\"}]"), OCT_E_FORMAT, "\"id\""},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":-3}]"), OCT_E_FORMAT, "\"id\""},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":2147483648}]"), OCT_E_FORMAT, "\"id\""},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":0}]"), OCT_E_FORMAT, "same id 0"},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":3},{\"content\":\"y\",\"id\":3}]"), OCT_E_FORMAT, "same id 3"},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":3},{\"content\":\"x\",\"id\":3}]"), OCT_E_FORMAT, "twice"},
    {WITH("\"added_tokens\":[{\"content\":\"x\",\"id\":3,\"special\":\"yes\"}]"), OCT_E_FORMAT, "special"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"\"},\"added_tokens\":[{\"content\":\"xx\",\"id\":3,\"normalized\":true}]"), OCT_E_FORMAT, "token 3 has no text"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"y\"},\"added_tokens\":[{\"content\":\"x\",\"id\":3,\"normalized\":true},{\"content\":\"y\",\"id\":4,\"normalized\":true}]"), OCT_E_FORMAT, "\"y\" is there twice"},
    {WITH("\"version\":\"1.0\",\"version\":\"1.0\""), OCT_E_FORMAT, "duplicate"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", OCT_E_UNSUPPORTED, "dropout"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}", OCT_E_UNSUPPORTED, "end_of_word_suffix"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":1}}", OCT_E_FORMAT, "byte_fallback"},
};

/* What looks odd and is legal. */
static const char *const fine[] = {
    MODEL("{\"a\":0,\"b\":7}", "[]"), /* holes */
    MODEL("{\"\":0,\"\\u0000\":1,\"\\ud83d\\ude00\":2}", "[]"),
    MODEL(" { \"a\" : 0 , \"aa\" : 2097151 } ", " [ \"a a\" , \"a a\" ] "),
    MODEL("{\"a\":0,\"aa\":1,\"aaa\":2}", "[\"#version: 0.2\",\"a a\",\"a aa\",\"aa a\"]"), /* two ways to one token */
    MODEL("{\"\":0,\"a\":1,\"b\":2,\"ab\":3}", "[[\"\",\"a\"],[\"a\",\"\"],[\"a\",\"b\"],[\"\",\"\"]]"), /* merges that make what they are made of */
    WITH("\"added_tokens\":[{\"content\":\"<s>\",\"id\":3},{\"content\":\"<s><s>\",\"id\":4},{\"content\":\"a\",\"id\":0},{\"content\":\"<\",\"id\":5}]"), /* added tokens inside each other */
    "{\"model\":{\"merges\":[\"a a\"],\"vocab\":{\"a\":0,\"aa\":1},\"unk_token\":\"<nowhere>\"}}",
    WITH("\"added_tokens\":[{\"content\":\"\",\"id\":3},{\"content\":\"ab\",\"id\":77},{\"content\":\"x\",\"id\":12}]"),
    WITH("\"other\":{\"model\":{\"vocab\":{\"z\":-1}}},\"vocab\":{},\"merges\":[1,2]"),
    WITH("\"normalizer\":null,\"pre_tokenizer\":null,\"decoder\":null,\"post_processor\":null,\"added_tokens\":null"),
};
// clang-format on

static void use(const struct oct_tokenizer *t)
{
    static const char text[] = "ab <s>a</s> \xe4\xb8\xad\xff 12 x\xe2\x96\x81";
    struct oct_ids ids = {0};
    struct oct_buf out = {0};
    const oct_status st =
        oct_tokenizer_encode(t, text, sizeof text, OCT_ENCODE_SPECIAL | OCT_ENCODE_BOS_EOS, &ids);
    /* an unknown character may need an unk_token that is missing; an odd expression may explode */
    cr_assert(st == OCT_OK || st == OCT_E_FORMAT || st == OCT_E_LIMIT, "%d %s", st,
              oct_last_error());
    cr_assert_eq(oct_tokenizer_decode(t, ids.data, ids.len, false, &out), OCT_OK, "%s",
                 oct_last_error());
    const int32_t n = oct_tokenizer_n_tokens(t);
    for (size_t i = 0; i < ids.len; i++) {
        cr_assert(ids.data[i] >= 0 && ids.data[i] < n, "id %d of %d", ids.data[i], n);
    }
    for (int32_t id = 0; id < n && id < 2000; id++) {
        size_t len;
        (void)oct_tokenizer_piece(t, id, &len);
    }
    oct_ids_free(&ids);
    oct_buf_free(&out);
}

Test(tokenizer_bad, files_that_are_wrong_are_refused_with_their_member_named)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct oct_tokenizer *t = NULL;
        const oct_status st =
            oct_tokenizer_from_json(bad[i].json, strlen(bad[i].json), NULL, 0, &t);
        cr_expect_eq(st, bad[i].want, "row %zu: %d: %s\n%s", i, st,
                     st == OCT_OK ? "" : oct_last_error(), bad[i].json);
        cr_expect(st == OCT_OK || strstr(oct_last_error(), bad[i].says),
                  "row %zu: \"%s\" lacks \"%s\"", i, oct_last_error(), bad[i].says);
        cr_expect(st == OCT_OK || !t);
        oct_tokenizer_destroy(t);
    }
}

Test(tokenizer_bad, files_that_are_only_odd_load)
{
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        struct oct_tokenizer *t = NULL;
        cr_expect_eq(oct_tokenizer_from_json(fine[i], strlen(fine[i]), NULL, 0, &t), OCT_OK,
                     "row %zu: %s", i, oct_last_error());
        if (t) {
            use(t);
        }
        oct_tokenizer_destroy(t);
    }
}

Test(tokenizer_bad, limits_hold_on_both_sides)
{
    for (int over = 0; over < 2; over++) {
        char json[4096], content[OCT_ADDED_MAX_BYTES + 2];
        memset(content, 'q', sizeof content);
        content[OCT_ADDED_MAX_BYTES + over] = '\0';
        (void)snprintf(json, sizeof json, WITH("\"added_tokens\":[{\"content\":\"%s\",\"id\":3}]"),
                       content);
        struct oct_tokenizer *t = NULL;
        const oct_status st = oct_tokenizer_from_json(json, strlen(json), NULL, 0, &t);
        cr_expect_eq(st, over ? OCT_E_LIMIT : OCT_OK, "%s", oct_last_error());
        oct_tokenizer_destroy(t);
        for (int kind = 0; kind < 3; kind++) { /* steps of a normaliser, stages, nesting */
            static const struct {
                const char *open, *step, *close;
                int most;
            } row[] = {
                {"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[", "{\"type\":\"NFC\"}",
                 "]}", OCT_TOKENIZER_MAX_STEPS},
                {"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[",
                 "{\"type\":\"Digits\"}", "]}", OCT_PRETOK_MAX_STAGES},
                {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"special_tokens\":{\"x\":{"
                 "\"ids\":"
                 "[0]}},\"single\":[",
                 "{\"SpecialToken\":{\"id\":\"x\"}}", ",{\"Sequence\":{}}]}",
                 OCT_TOKENIZER_MAX_AROUND},
            };
            struct oct_buf b = {0};
            cr_assert_eq(oct_buf_printf(&b, "{%s", row[kind].open), OCT_OK);
            for (int i = 0; i < row[kind].most + over; i++) {
                cr_assert_eq(oct_buf_printf(&b, "%s%s", i ? "," : "", row[kind].step), OCT_OK);
            }
            cr_assert_eq(oct_buf_printf(&b, "%s,\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
                                        row[kind].close),
                         OCT_OK);
            t = NULL;
            const oct_status got = oct_tokenizer_from_json(b.data, b.len, NULL, 0, &t);
            cr_expect_eq(got, over ? OCT_E_LIMIT : OCT_OK, "kind %d: %s", kind, oct_last_error());
            oct_tokenizer_destroy(t);
            oct_buf_free(&b);
        }
    }
    /* nesting of sequences, and of JSON itself */
    for (int depth = 4; depth <= 100000; depth *= 25) {
        struct oct_buf b = {0};
        cr_assert_eq(
            oct_buf_printf(&b, "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":"),
            OCT_OK);
        for (int i = 0; i < depth; i++) {
            cr_assert_eq(oct_buf_printf(&b, "{\"type\":\"Sequence\",\"normalizers\":["), OCT_OK);
        }
        for (int i = 0; i < depth; i++) {
            cr_assert_eq(oct_buf_printf(&b, "]}"), OCT_OK);
        }
        cr_assert_eq(oct_buf_printf(&b, "}"), OCT_OK);
        struct oct_tokenizer *t = NULL;
        const oct_status st = oct_tokenizer_from_json(b.data, b.len, NULL, 0, &t);
        cr_expect_eq(st, depth == 4 ? OCT_OK : OCT_E_LIMIT, "depth %d: %d %s", depth, st,
                     oct_last_error());
        oct_tokenizer_destroy(t);
        oct_buf_free(&b);
    }
    struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", "{}");
    struct oct_ids ids = {0};
    cr_expect_eq(oct_tokenizer_encode(t, "", OCT_TOKENIZER_MAX_TEXT_BYTES + 1, 0, &ids),
                 OCT_E_LIMIT);
    cr_expect_eq(oct_tokenizer_encode(t, "", 0, 0, &ids), OCT_OK);
    cr_expect_eq(ids.len, 0u);
    oct_tokenizer_destroy(t);
}

/* A piece of a megabyte is odd, not wrong: it loads, is found, and comes back. As an added token it
 * is refused; merges that GGUF's scores imply are not sought in it. */
Test(tokenizer_bad, pieces_of_a_megabyte_load_and_work, .timeout = 60)
{
    enum { N = 1 << 20 };
    char *piece = oct_malloc(N);
    struct oct_buf b = {0};
    cr_assert_not_null(piece);
    memset(piece, 'a', N);
    for (int added = 0; added < 2; added++) {
        oct_buf_clear(&b);
        cr_assert_eq(oct_buf_printf(&b, "{\"added_tokens\":[{\"id\":1,\"content\":\""), OCT_OK);
        cr_assert_eq(oct_buf_append(&b, piece, added ? N : 3), OCT_OK);
        cr_assert_eq(oct_buf_printf(&b, "\"}],\"model\":{\"ignore_merges\":true,\"merges\":[],"
                                        "\"vocab\":{\"a\":0,\""),
                     OCT_OK);
        cr_assert_eq(oct_buf_append(&b, piece, N), OCT_OK);
        cr_assert_eq(oct_buf_printf(&b, "b\":2}}}"), OCT_OK);
        struct oct_tokenizer *t = NULL;
        const oct_status st = oct_tokenizer_from_json(b.data, b.len, NULL, 0, &t);
        cr_expect_eq(st, added ? OCT_E_LIMIT : OCT_OK, "%s", oct_last_error());
        if (st == OCT_OK) {
            size_t len;
            use(t);
            cr_expect(oct_tokenizer_piece(t, 2, &len) && len == N + 1);
            cr_expect_eq(oct_tokenizer_find(t, b.data + b.len - N - 7, N + 1), 2);
        }
        oct_tokenizer_destroy(t);
    }
    const char *const tokens[] = {"<unk>", "a", "aa", piece};
    const size_t lens[] = {5, 1, 2, N};
    const int32_t types[] = {2, 1, 1, 1};
    const float scores[] = {0, -1, -2, -3};
    const struct oct_tokenizer_gguf g = {.model = "llama",
                                         .n_tokens = 4,
                                         .tokens = tokens,
                                         .token_lens = lens,
                                         .types = types,
                                         .scores = scores,
                                         .bos = -1,
                                         .eos = -1,
                                         .unk = 0,
                                         .pad = -1,
                                         .add_bos = -1,
                                         .add_eos = -1,
                                         .add_space_prefix = -1};
    struct oct_tokenizer *t = NULL;
    cr_assert_eq(oct_tokenizer_from_gguf(&g, &t), OCT_OK, "%s", oct_last_error());
    use(t);
    oct_tokenizer_destroy(t);
    oct_buf_free(&b);
    oct_free(piece);
}

Test(tokenizer_bad, configurations_that_are_wrong_are_refused)
{
    static const char *const configs[] = {
        "", "{", "[]", "7", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}"};
    const char json[] = MODEL("{\"a\":0}", "[]");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct oct_tokenizer *t = NULL;
        cr_expect_eq(
            oct_tokenizer_from_json(json, sizeof json - 1, configs[i], strlen(configs[i]), &t),
            OCT_E_FORMAT, "%s", configs[i]);
        cr_expect_not_null(strstr(oct_last_error(), "tokenizer_config.json"), "%s",
                           oct_last_error());
        oct_tokenizer_destroy(t);
    }
}

/* A list of strings that turns out to have a pair in it, with more merges than half the strings. */
Test(tokenizer_bad, mixed_merges_are_refused_however_many)
{
    enum { N = 3000 };
    struct oct_buf b = {0};
    cr_assert_eq(oct_buf_printf(&b, "{\"model\":{\"vocab\":{\"a\":0"), OCT_OK);
    for (int i = 1; i < N; i++) {
        cr_assert_eq(oct_buf_printf(&b, ",\"%d\":%d,\"%da\":%d", i, i, i, N + i), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&b, "},\"merges\":["), OCT_OK);
    for (int i = 1; i < N; i++) {
        cr_assert_eq(oct_buf_printf(&b, "\"%d a\",", i), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&b, "[\"1\",\"a\"]]}}"), OCT_OK);
    struct oct_tokenizer *t = NULL;
    cr_assert_eq(oct_tokenizer_from_json(b.data, b.len, NULL, 0, &t), OCT_E_FORMAT);
    cr_assert_not_null(strstr(oct_last_error(), "mixed"), "%s", oct_last_error());
    oct_buf_free(&b);
}

/* Every cut of a whole file, and every byte of it made something else. */
Test(tokenizer_bad, damaged_files_are_refused_or_work, .timeout = 300)
{
    json_t *none = json_object();
    char *whole = small_vocab_json("tokenizer_spm.json", none);
    json_decref(none);
    const size_t len = strlen(whole);
    size_t n_loaded = 0;
    for (size_t n = 0; n < len; n++) {
        struct oct_tokenizer *t = NULL;
        char *cut = oct_strndup(whole, n); /* so that a read past the end is seen */
        const oct_status st = oct_tokenizer_from_json(cut, n, NULL, 0, &t);
        cr_assert_eq(st, OCT_E_FORMAT, "cut to %zu: %d %s", n, st, oct_last_error());
        oct_free(cut);
    }
    for (size_t i = 0; i < len; i++) {
        static const char values[] = "\0\"\\{}[],:0 \xff";
        const char old = whole[i];
        whole[i] = values[i / 3 % (sizeof values - 1)];
        if (i % 3) {
            whole[i] = (char)(old ^ (char)(1 << i % 7));
        }
        struct oct_tokenizer *t = NULL;
        const oct_status st = oct_tokenizer_from_json(whole, len, NULL, 0, &t);
        cr_assert(st == OCT_OK || st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED ||
                      st == OCT_E_LIMIT,
                  "byte %zu: %d %s", i, st, oct_last_error());
        if (st == OCT_OK) {
            n_loaded++;
            use(t);
        }
        oct_tokenizer_destroy(t);
        whole[i] = old;
    }
    cr_assert_gt(n_loaded, 100u, "%zu", n_loaded);
    free(whole);
}

/* ---- GGUF keys ---- */

Test(tokenizer_bad, gguf_keys_that_are_wrong_are_refused_by_name)
{
    static const char *const tokens[] = {"<unk>", "a", "b", "ab", "<0x41>"};
    static const size_t lens[] = {5, 1, 1, 2, 6};
    static const int32_t types[] = {2, 1, 1, 1, 6};
    static const float scores[] = {0, -1, -2, -3, 0};
    static const float nans[] = {0, -1, __builtin_nanf(""), -3, 0};
    static const char *const merges[] = {"a b"}, *const odd[] = {"ab"}, *const unknown[] = {"a c"};
    static const size_t three[] = {3}, two[] = {2}, ones[] = {1, 1}, zero[] = {0};
    static const char *const same[] = {"a", "a"}, *const broken[] = {"\xc3"};
    const struct oct_tokenizer_gguf good = {.model = "gpt2",
                                            .pre = "gpt-2",
                                            .n_tokens = 5,
                                            .tokens = tokens,
                                            .token_lens = lens,
                                            .types = types,
                                            .scores = scores,
                                            .n_merges = 1,
                                            .merges = merges,
                                            .merge_lens = three,
                                            .bos = -1,
                                            .eos = -1,
                                            .unk = 0,
                                            .pad = -1,
                                            .add_bos = -1,
                                            .add_eos = -1,
                                            .add_space_prefix = -1};
    struct row {
        const char *says; /* NULL: it loads */
        struct oct_tokenizer_gguf g;
    } row[20];
    size_t n = 0;
#define ROW(text, change) \
    do { \
        row[n] = (struct row){(text), good}; \
        struct oct_tokenizer_gguf *g = &row[n++].g; \
        change; \
    } while (0)
    ROW(NULL, (void)g);
    ROW(NULL, g->model = "llama");
    ROW(NULL, g->types = NULL);
    ROW(NULL, g->pre = NULL);
    ROW("tokenizer.ggml.model", g->model = NULL);
    ROW("bert", g->model = "bert");
    ROW("klingon", g->pre = "klingon");
    ROW("empty", g->n_tokens = 0);
    ROW("bos_token_id is 5", g->bos = 5);
    ROW("eos_token_id is 2147483647", g->eos = INT32_MAX);
    ROW("not two tokens", (g->merges = odd, g->merge_lens = two));
    ROW("not two tokens", g->merge_lens = zero);
    ROW("the second is no token", g->merges = unknown);
    ROW("twice", (g->tokens = same, g->token_lens = ones, g->n_tokens = 2));
    ROW("token 0 is not UTF-8", (g->tokens = broken, g->token_lens = ones, g->n_tokens = 1));
    ROW("scores is missing", (g->model = "llama", g->scores = NULL));
    ROW("token 2 is no number", (g->model = "llama", g->scores = nans));
    ROW(NULL, (g->add_bos = 1, g->add_eos = 1, g->unk = 99));
#undef ROW
    for (size_t i = 0; i < n; i++) {
        struct oct_tokenizer *t = NULL;
        const oct_status st = oct_tokenizer_from_gguf(&row[i].g, &t);
        cr_expect_eq(st == OCT_OK, !row[i].says, "row %zu: %d %s", i, st, oct_last_error());
        cr_expect(st == OCT_OK || (row[i].says && strstr(oct_last_error(), row[i].says)),
                  "row %zu: %s", i, oct_last_error());
        if (t) {
            use(t);
        }
        oct_tokenizer_destroy(t);
    }
}

#if OCT_FAULTS
/* The k-th allocation fails, for every k of loading, encoding and decoding. */
Test(tokenizer_bad, every_allocation_may_fail, .timeout = 600)
{
    static const char *const members[][2] = {
        {"tokenizer_spm.json", "{}"},
        {"tokenizer_bytes.json",
         "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
         "\"pretokenizers\":[{"
         "\"type\":\"Split\",\"pattern\":{\"Regex\":\"[^a]+b?\"},\"behavior\":\"MergedWithNext\","
         "\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}]}"
         ","
         "\"added_tokens\":[{\"id\":640,\"content\":\"e\\u0301t\",\"normalized\":true},{\"id\":641,"
         "\"content\":\"<x>\",\"special\":true}]}"},
    };
    char text[4000];
    memset(text, 'e', sizeof text);
    memcpy(text, "e\xcc\x81t <x> \xff", 10);
    for (size_t f = 0; f < 2; f++) {
        json_t *o = json_loads(members[f][1], 0, NULL);
        char *json = small_vocab_json(members[f][0], o);
        json_decref(o);
        bool failed = true;
        uint64_t k = 1;
        for (; failed; k++) {
            cr_assert_lt(k, 5000u);
            struct oct_tokenizer *t = NULL;
            struct oct_ids ids = {0};
            struct oct_buf out = {0};
            oct_fault_reset();
            oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
            oct_status st = oct_tokenizer_from_json(json, strlen(json), NULL, 0, &t);
            cr_assert_eq(st != OCT_OK, !t);
            if (st == OCT_OK) {
                st = oct_tokenizer_encode(t, text, sizeof text, OCT_ENCODE_SPECIAL, &ids);
                cr_assert(st == OCT_OK || ids.len == 0);
            }
            if (st == OCT_OK) {
                st = oct_tokenizer_decode(t, ids.data, ids.len, false, &out);
                cr_assert(st == OCT_OK || out.len == 0);
            }
            failed = oct_fault_count(OCT_FAULT_MEM) >= k;
            oct_fault_reset();
            cr_assert(st == OCT_OK || st == OCT_E_MEM, "allocation %llu: %d %s",
                      (unsigned long long)k, st, oct_last_error());
            oct_buf_free(&out);
            oct_ids_free(&ids);
            oct_tokenizer_destroy(t);
        }
        cr_assert_gt(k, 20u);
        free(json);
    }
}
#endif
