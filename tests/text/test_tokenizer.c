/* SPDX-License-Identifier: Apache-2.0 */
#include "small_vocab.h"

#include <criterion/criterion.h>
#include <string.h>

static uint64_t state = 1;
static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

/* ---- a slow twin of BPE: token texts as strings, every pair looked at for every merge ---- */

struct twin {
    const json_t *vocab, *merges;
    char text[130][64];
    size_t n;
};

static int rank_of(const struct twin *w, const char *left, const char *right)
{
    const json_t *pair;
    size_t i;
    json_array_foreach(w->merges, i, pair)
    {
        if (strcmp(json_string_value(json_array_get(pair, 0)), left) == 0 &&
            strcmp(json_string_value(json_array_get(pair, 1)), right) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void twin_merge(struct twin *w)
{
    for (;;) {
        int best_rank = -1;
        size_t best = 0;
        for (size_t i = 0; i + 1 < w->n; i++) {
            const int rank = rank_of(w, w->text[i], w->text[i + 1]);
            if (rank >= 0 && (best_rank < 0 || rank < best_rank)) {
                best_rank = rank;
                best = i;
            }
        }
        if (best_rank < 0) {
            return;
        }
        const size_t len = strlen(w->text[best]), more = strlen(w->text[best + 1]);
        cr_assert_lt(len + more, sizeof w->text[0]);
        memcpy(w->text[best] + len, w->text[best + 1], more + 1);
        w->n--;
        memmove(w->text[best + 1], w->text[best + 2], (w->n - best - 1) * sizeof w->text[0]);
    }
}

Test(tokenizer, words_of_every_length_merge_as_the_slow_twin_does, .timeout = 300)
{
    static struct twin w;
    json_t *file = golden_json("tokenizer_bytes.json"), *model = json_object_get(file, "model");
    w.vocab = json_object_get(model, "vocab");
    w.merges = json_object_get(model, "merges");
    /* no words: all of the text is one */
    struct oct_tokenizer *t =
        small_vocab("tokenizer_bytes.json", "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_"
                                            "prefix_space\":false,\"use_regex\":false}}");
    static const char letters[] = "theandoisr";
    for (int k = 0; k < 120; k++) {
        char text[128] = "";
        const size_t len = k < 100 ? 1 + below(60) : 90 + below(30);
        const uint32_t n_letters = 2 + below(9);
        w.n = len;
        for (size_t i = 0; i < len; i++) {
            text[i] = letters[below(n_letters)];
            w.text[i][0] = text[i];
            w.text[i][1] = '\0';
        }
        twin_merge(&w);
        struct oct_ids ids = {0};
        cr_assert_eq(oct_tokenizer_encode(t, text, len, 0, &ids), OCT_OK);
        cr_assert_eq(ids.len, w.n, "\"%s\": %zu ids, want %zu", text, ids.len, w.n);
        for (size_t i = 0; i < w.n; i++) {
            const int want = (int)json_integer_value(json_object_get(w.vocab, w.text[i]));
            cr_assert_eq(ids.data[i], want, "\"%s\" at %zu: %d, want %d (%s)", text, i, ids.data[i],
                         want, w.text[i]);
        }
        oct_ids_free(&ids);
    }
    oct_tokenizer_destroy(t);
    json_decref(file);
}

/* Pairs of one rank overlap: the leftmost goes first, in short words and in long ones. */
Test(tokenizer, equal_ranks_go_from_left_to_right)
{
    static const char json[] = "{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\"]}}";
    struct oct_tokenizer *t = NULL;
    char text[201];
    memset(text, 'a', sizeof text);
    cr_assert_eq(oct_tokenizer_from_json(json, sizeof json - 1, NULL, 0, &t), OCT_OK);
    for (size_t len = 1; len <= sizeof text; len += 2) {
        struct oct_ids ids = {0};
        cr_assert_eq(oct_tokenizer_encode(t, text, len, 0, &ids), OCT_OK);
        cr_assert_eq(ids.len, len / 2 + 1, "%zu letters: %zu ids", len, ids.len);
        for (size_t i = 0; i < ids.len; i++) {
            cr_assert_eq(ids.data[i], i < len / 2, "%zu letters: id %zu is %d", len, i,
                         ids.data[i]);
        }
        oct_ids_free(&ids);
    }
    oct_tokenizer_destroy(t);
}

/* As in the reference, the search goes on behind a match that is not taken. */
Test(tokenizer, what_a_disabled_special_token_covers_is_not_searched_again)
{
    static const char json[] =
        "{\"added_tokens\":[{\"id\":9,\"content\":\"abab\",\"special\":true,\"normalized\":false},"
        "{\"id\":8,\"content\":\"ba\",\"special\":false,\"normalized\":false}],"
        "\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    static const int32_t on[] = {8, 9, 8}, off[] = {8, 0, 1, 0, 1, 8};
    struct oct_tokenizer *t = NULL;
    cr_assert_eq(oct_tokenizer_from_json(json, sizeof json - 1, NULL, 0, &t), OCT_OK);
    struct oct_ids ids = {0};
    cr_assert_eq(oct_tokenizer_encode(t, "baababba", 8, OCT_ENCODE_SPECIAL, &ids), OCT_OK);
    cr_assert(ids.len == 3 && memcmp(ids.data, on, sizeof on) == 0, "%zu ids", ids.len);
    ids.len = 0;
    cr_assert_eq(oct_tokenizer_encode(t, "baababba", 8, 0, &ids), OCT_OK);
    cr_assert(ids.len == 6 && memcmp(ids.data, off, sizeof off) == 0, "%zu ids", ids.len);
    oct_ids_free(&ids);
    oct_tokenizer_destroy(t);
}

/* A text of kilobytes remembers its words, short ones do not: the ids must not differ. */
Test(tokenizer, a_long_text_gives_the_ids_of_its_parts)
{
    struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", "{}");
    struct oct_ids whole = {0}, parts = {0};
    struct oct_buf text = {0};
    for (int i = 0; i < 20000; i++) {
        char word[40] = " ";
        size_t len = 1 + below(below(20) ? 6 : 38);
        for (size_t k = 1; k < len; k++) {
            word[k] = (char)('a' + below(below(3) ? 2 : 26));
        }
        word[len] = 'e';
        len++;
        cr_assert_eq(oct_buf_append(&text, word, len), OCT_OK);
        cr_assert_eq(oct_tokenizer_encode(t, word, len, 0, &parts), OCT_OK);
    }
    cr_assert_eq(oct_tokenizer_encode(t, text.data, text.len, 0, &whole), OCT_OK);
    cr_assert_eq(whole.len, parts.len, "%zu, want %zu", whole.len, parts.len);
    cr_assert_eq(memcmp(whole.data, parts.data, whole.len * sizeof *whole.data), 0);
    oct_ids_free(&whole);
    oct_ids_free(&parts);
    oct_buf_free(&text);
    oct_tokenizer_destroy(t);
}

Test(tokenizer, a_word_of_a_megabyte_takes_no_quadratic_time, .timeout = 120)
{
    enum { N = 1 << 20 };
    static const struct {
        const char *file, *members;
    } row[] = {{"tokenizer_bytes.json", "{}"},
               {"tokenizer_spm.json", "{}"},
               {"tokenizer_spm.json", "{\"model\":{\"byte_fallback\":false}}"}};
    char *text = oct_malloc(N);
    cr_assert_not_null(text);
    for (size_t i = 0; i < 3 * sizeof row / sizeof *row; i++) {
        struct oct_tokenizer *t = small_vocab(row[i / 3].file, row[i / 3].members);
        for (size_t k = 0; k < N; k++) {
            text[k] = i % 3 == 0 ? 'e' : i % 3 == 1 ? (char)('a' + below(26)) : (char)0xf1;
        }
        struct oct_ids ids = {0};
        struct oct_buf back = {0};
        cr_assert_eq(oct_tokenizer_encode(t, text, N, 0, &ids), OCT_OK, "%s", oct_last_error());
        cr_assert_gt(ids.len, 0u);
        if (i % 3 != 2 && i < 6) {
            cr_assert_eq(oct_tokenizer_decode(t, ids.data, ids.len, false, &back), OCT_OK);
            cr_assert(back.len == N && memcmp(back.data, text, N) == 0, "%s: %zu bytes",
                      row[i / 3].file, back.len);
        }
        oct_buf_free(&back);
        oct_ids_free(&ids);
        oct_tokenizer_destroy(t);
    }
    oct_free(text);
}

Test(tokenizer, texts_come_back_from_their_ids, .timeout = 120)
{
    static const char *const files[] = {"tokenizer_bytes.json", "tokenizer_spm.json"};
    for (int f = 0; f < 2; f++) {
        struct oct_tokenizer *t = small_vocab(files[f], "{}");
        for (int k = 0; k < 3000; k++) {
            char text[256];
            size_t len = 0;
            for (uint32_t n = below(40); n > 0; n--) {
                static const char *const parts[] = {"a", " ",         "\n", "é", "漢",  "👍",  "'ll",
                                                    "0", "e\xcc\x81", "\t", "ﷺ", "the", "  ", "."};
                const char *part = parts[below(sizeof parts / sizeof *parts)];
                memcpy(text + len, part, strlen(part));
                len += strlen(part);
            }
            struct oct_ids ids = {0};
            struct oct_buf back = {0};
            cr_assert_eq(oct_tokenizer_encode(t, text, len, 0, &ids), OCT_OK);
            cr_assert_eq(oct_tokenizer_decode(t, ids.data, ids.len, true, &back), OCT_OK);
            cr_assert(back.len == len && (!len || memcmp(back.data, text, len) == 0),
                      "\"%.*s\" came back as \"%s\"", (int)len, text, back.data ? back.data : "");
            oct_buf_free(&back);
            oct_ids_free(&ids);
        }
        oct_tokenizer_destroy(t);
    }
}

Test(tokenizer, special_tokens_in_a_users_text_stay_text)
{
    struct oct_tokenizer *t = small_vocab("tokenizer_spm.json", "{}");
    struct oct_ids ids = {0};
    cr_assert_eq(oct_tokenizer_encode(t, "a<s>b</s>", 9, 0, &ids), OCT_OK);
    for (size_t i = 0; i < ids.len; i++) {
        cr_assert(!oct_tokenizer_is_special(t, ids.data[i]), "id %d at %zu", ids.data[i], i);
    }
    ids.len = 0;
    cr_assert_eq(
        oct_tokenizer_encode(t, "a<s>b</s>", 9, OCT_ENCODE_SPECIAL | OCT_ENCODE_BOS_EOS, &ids),
        OCT_OK);
    cr_assert_eq(ids.len, 5u, "%zu", ids.len);
    cr_assert(ids.data[0] == 1 && ids.data[2] == 1 && ids.data[4] == 2, "%d %d %d", ids.data[0],
              ids.data[2], ids.data[4]);
    oct_ids_free(&ids);
    oct_tokenizer_destroy(t);
}

Test(tokenizer, ids_are_appended_and_a_failure_leaves_them_alone)
{
    struct oct_tokenizer *t = small_vocab(
        "tokenizer_bytes.json", "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
                                "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(x+x+)+y\"},"
                                "\"behavior\":\"Isolated\",\"invert\":false},"
                                "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                "\"use_regex\":false}]}}");
    struct oct_ids ids = {0};
    cr_assert_eq(oct_tokenizer_encode(t, "ab", 2, 0, &ids), OCT_OK);
    const size_t n = ids.len;
    cr_assert_eq(oct_tokenizer_encode(t, "cd", 2, 0, &ids), OCT_OK);
    cr_assert_gt(ids.len, n);
    const size_t before = ids.len;
    char hard[64];
    memset(hard, 'x', sizeof hard);
    memcpy(hard + sizeof hard - 2, "!y", 2); /* a y is somewhere, so the engine must look */
    cr_assert_eq(oct_tokenizer_encode(t, hard, sizeof hard, 0, &ids), OCT_E_LIMIT, "%s",
                 oct_last_error());
    cr_assert_eq(ids.len, before);
    oct_ids_free(&ids);
    oct_tokenizer_destroy(t);
}

Test(tokenizer, tokens_are_found_by_text_and_pieces_are_bytes)
{
    struct oct_tokenizer *t =
        small_vocab("tokenizer_bytes.json",
                    "{\"added_tokens\":[{\"id\":700,\"content\":\"<｜x｜>\",\"special\":true,"
                    "\"normalized\":false}]}");
    size_t len;
    const int32_t th = oct_tokenizer_find(t, "Ġth", strlen("Ġth"));
    cr_assert_geq(th, 0);
    const char *piece = oct_tokenizer_piece(t, th, &len);
    cr_assert(len == 3 && memcmp(piece, " th", 3) == 0, "\"%.*s\"", (int)len, piece);
    cr_assert_eq(oct_tokenizer_find(t, " th", 3), -1);
    cr_assert_eq(oct_tokenizer_find(t, "", 0), -1);
    cr_assert_eq(oct_tokenizer_find(t, "<｜x｜>", strlen("<｜x｜>")), 700);
    piece = oct_tokenizer_piece(t, 700, &len);
    cr_assert(len == strlen("<｜x｜>") && memcmp(piece, "<｜x｜>", len) == 0);
    cr_assert(oct_tokenizer_is_special(t, 700));
    cr_assert(!oct_tokenizer_is_special(t, th) && !oct_tokenizer_is_special(t, -1) &&
              !oct_tokenizer_is_special(t, 701));
    cr_assert_eq(oct_tokenizer_n_tokens(t), 701);
    (void)oct_tokenizer_piece(t, 690, &len); /* a hole between vocabulary and added token */
    cr_assert_eq(len, 0u);
    (void)oct_tokenizer_piece(t, 701, &len);
    cr_assert_eq(len, 0u);
    (void)oct_tokenizer_piece(t, -1, &len);
    cr_assert_eq(len, 0u);
    struct oct_buf out = {0};
    const int32_t ids[] = {th, 690, 700};
    cr_assert_eq(oct_tokenizer_decode(t, ids, 3, true, &out), OCT_OK);
    cr_assert_str_eq(out.data, " th");
    const int32_t bad[][2] = {{th, -1}, {th, 701}, {INT32_MIN, th}, {INT32_MAX, th}};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(oct_tokenizer_decode(t, bad[i], 2, true, &out), OCT_E_ARG);
        cr_assert_not_null(strstr(oct_last_error(), "token id"), "%s", oct_last_error());
        cr_assert_str_eq(out.data, " th");
    }
    oct_buf_free(&out);
    oct_tokenizer_destroy(t);
}

/* ---- tokenizer_config.json ---- */

Test(tokenizer, the_configuration_says_what_stands_around_a_prompt)
{
    static const struct {
        const char *config;
        size_t n;
        int32_t first, last, bos, eos;
    } row[] = {
        {NULL, 3, 1, -1, -1, -1}, /* the template puts <s> there; nobody says that it is bos */
        {"{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}", 3, 1, -1, 1, 2},
        {"{\"bos_token\":\"<s>\",\"add_bos_token\":true}", 3, 1, -1, 1, -1},
        {"{\"bos_token\":\"<s>\",\"add_bos_token\":false}", 2, -1, -1, 1, -1},
        {"{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_eos_token\":true}", 4, 1, 2, 1, 2},
        {"{\"bos_token\":\"<nowhere>\",\"eos_token\":null,\"add_eos_token\":true}", 3, 1, -1, -1,
         -1},
        {"{\"model_max_length\":1000000000000000019884624838656}", 3, 1, -1, -1, -1},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_tokenizer *t = small_vocab_config("tokenizer_spm.json", "{}", row[i].config);
        struct oct_ids ids = {0};
        cr_assert_eq(oct_tokenizer_encode(t, "ij", 2, OCT_ENCODE_BOS_EOS, &ids), OCT_OK);
        const size_t plain = ids.len;
        cr_expect(row[i].first < 0 || ids.data[0] == row[i].first, "row %zu: %d", i, ids.data[0]);
        cr_expect(row[i].last < 0 || ids.data[plain - 1] == row[i].last, "row %zu", i);
        ids.len = 0;
        cr_assert_eq(oct_tokenizer_encode(t, "ij", 2, 0, &ids), OCT_OK);
        cr_expect_eq(plain - ids.len, row[i].n - 2, "row %zu: %zu and %zu ids", i, plain, ids.len);
        cr_expect_eq(oct_tokenizer_bos(t), row[i].bos, "row %zu: %d", i, oct_tokenizer_bos(t));
        cr_expect_eq(oct_tokenizer_eos(t), row[i].eos, "row %zu: %d", i, oct_tokenizer_eos(t));
        oct_ids_free(&ids);
        oct_tokenizer_destroy(t);
    }
}
