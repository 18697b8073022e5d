/* SPDX-License-Identifier: Apache-2.0
 *
 * A tokenizer from tokenizer.json and tokenizer_config.json. What the file asks for and octavo does
 * not do is refused by name, never left out. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include "base/json.h"

#include <string.h>

enum { MAX_REPLACES = 8, MAX_NESTING = 8 };

/* ---- reading members ---- */

static oct_status bad(const char *where, const char *member, const char *want)
{
    return OCT_FAIL(OCT_E_FORMAT, "%s: \"%s\" must be %s", where, member, want);
}

static oct_status unsupported(const char *where, const char *type)
{
    char quoted[100];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s: octavo has no \"%s\"; it reads BPE tokenizers (byte-level, and "
                    "SentencePiece with byte fallback)",
                    where, oct_error_quote(quoted, sizeof quoted, type, strlen(type)));
}

/* The member's text; *len bytes. */
static oct_status get_text(const json_t *o, const char *where, const char *member,
                           const char **text, size_t *len)
{
    const json_t *v = json_object_get(o, member);
    if (!json_is_string(v)) {
        return bad(where, member, "a string");
    }
    *text = json_string_value(v);
    *len = json_string_length(v);
    return OCT_OK;
}

/* true, false, or what it is when absent or null. */
static oct_status get_bool(const json_t *o, const char *where, const char *member, bool absent,
                           bool *out)
{
    const json_t *v = json_object_get(o, member);
    *out = json_is_boolean(v) ? json_is_true(v) : absent;
    return !v || json_is_null(v) || json_is_boolean(v) ? OCT_OK
                                                       : bad(where, member, "true or false");
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    return type ? type : "(no type)";
}

static bool is_type(const json_t *o, const char *type)
{
    return strcmp(type_of(o), type) == 0;
}

/* Calls `one` for `o`, or for each member of a "Sequence", nested ones too. */
typedef oct_status (*step_fn)(void *user, const json_t *o);
static oct_status each_step(const json_t *o, const char *where, const char *list, int depth,
                            step_fn one, void *user)
{
    if (!o || json_is_null(o)) {
        return OCT_OK;
    }
    if (!json_is_object(o)) {
        return bad("tokenizer.json", where, "an object or null");
    }
    if (!is_type(o, "Sequence")) {
        return one(user, o);
    }
    const json_t *steps = json_object_get(o, list);
    if (!json_is_array(steps)) {
        return bad(where, list, "an array");
    }
    if (depth == MAX_NESTING) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: sequences nested more than %d deep", where, MAX_NESTING);
    }
    for (size_t i = 0; i < json_array_size(steps); i++) {
        OCT_TRY(each_step(json_array_get(steps, i), where, list, depth + 1, one, user));
    }
    return OCT_OK;
}

/* ---- normalizer ---- */

/* {"String": "..."} */
static oct_status string_pattern(const json_t *o, const char *where, const char **text, size_t *len)
{
    const json_t *pattern = json_object_get(o, "pattern");
    if (json_is_string(json_object_get(pattern, "Regex"))) {
        return unsupported(where, "Replace by a regular expression");
    }
    OCT_TRY(get_text(pattern, where, "String", text, len));
    return *len ? OCT_OK : bad(where, "pattern", "a string that is not empty");
}

static oct_status normal_step(void *user, const json_t *o)
{
    struct oct_tokenizer *t = user;
    const char *text, *pattern;
    size_t len, pattern_len;
    if (is_type(o, "NFC")) {
        return oct_normal_add(t, NORMAL_NFC, "", 0, "", 0);
    }
    if (is_type(o, "Prepend")) {
        OCT_TRY(get_text(o, "normalizer", "prepend", &text, &len));
        return oct_normal_add(t, NORMAL_PREPEND, "", 0, text, len);
    }
    if (is_type(o, "Replace")) {
        OCT_TRY(string_pattern(o, "normalizer", &pattern, &pattern_len));
        OCT_TRY(get_text(o, "normalizer", "content", &text, &len));
        return oct_normal_add(t, NORMAL_REPLACE, pattern, pattern_len, text, len);
    }
    return unsupported("normalizer", type_of(o));
}

/* ---- pre_tokenizer ---- */

static oct_status metaspace_mark(const json_t *o, const char *where, const char **mark, size_t *len)
{
    OCT_TRY(get_text(o, where, "replacement", mark, len));
    if (*len == 0 || *len != oct_utf8_step((unsigned char)(*mark)[0]) ||
        memchr(*mark, '\0', *len)) {
        return bad(where, "replacement", "one character");
    }
    return OCT_OK;
}

static oct_status metaspace_prepend(const json_t *o, const char *where,
                                    enum oct_metaspace_prepend *out)
{
    const char *scheme = json_string_value(json_object_get(o, "prepend_scheme"));
    bool add_prefix_space;
    OCT_TRY(get_bool(o, where, "add_prefix_space", true, &add_prefix_space));
    if (!add_prefix_space || (scheme && strcmp(scheme, "never") == 0)) {
        *out = OCT_PREPEND_NEVER;
    } else if (!scheme || strcmp(scheme, "always") == 0) {
        *out = OCT_PREPEND_ALWAYS;
    } else if (strcmp(scheme, "first") == 0) {
        *out = OCT_PREPEND_FIRST;
    } else {
        return bad(where, "prepend_scheme", "\"first\", \"always\" or \"never\"");
    }
    return OCT_OK;
}

static oct_status add_split(struct oct_tokenizer *t, const json_t *o)
{
    static const struct {
        const char *name;
        enum oct_split_behavior behavior;
    } behaviors[] = {{"Isolated", OCT_SPLIT_ISOLATED},
                     {"Removed", OCT_SPLIT_REMOVED},
                     {"MergedWithPrevious", OCT_SPLIT_WITH_PREVIOUS},
                     {"MergedWithNext", OCT_SPLIT_WITH_NEXT},
                     {"Contiguous", OCT_SPLIT_CONTIGUOUS}};
    const json_t *pattern = json_object_get(o, "pattern");
    const char *name = json_string_value(json_object_get(o, "behavior"));
    const char *text;
    size_t len, i;
    bool invert;
    OCT_TRY(get_bool(o, "pre_tokenizer", "invert", false, &invert));
    for (i = 0; i < 5 && (!name || strcmp(name, behaviors[i].name) != 0); i++) {
    }
    if (i == 5) {
        return bad("pre_tokenizer", "behavior", "Isolated, Removed, Merged... or Contiguous");
    }
    if (json_is_string(json_object_get(pattern, "String"))) {
        OCT_TRY(get_text(pattern, "pre_tokenizer", "String", &text, &len));
        return oct_pretok_add_literal(&t->pretok, text, len, behaviors[i].behavior, invert);
    }
    OCT_TRY(get_text(pattern, "pre_tokenizer", "Regex", &text, &len));
    return oct_pretok_add_regex(&t->pretok, text, len, behaviors[i].behavior, invert);
}

static oct_status pretok_step(void *user, const json_t *o)
{
    struct oct_tokenizer *t = user;
    if (t->bpe.byte_level) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "pre_tokenizer: \"%s\" after \"ByteLevel\"; nothing may follow that",
                        is_type(o, "ByteLevel") ? "ByteLevel" : "another step");
    }
    if (is_type(o, "Split")) {
        return add_split(t, o);
    }
    if (is_type(o, "Digits")) {
        bool individual;
        OCT_TRY(get_bool(o, "pre_tokenizer", "individual_digits", false, &individual));
        return oct_pretok_add_digits(&t->pretok, individual);
    }
    if (is_type(o, "ByteLevel")) {
        bool prefix, regex;
        OCT_TRY(get_bool(o, "pre_tokenizer", "add_prefix_space", true, &prefix));
        OCT_TRY(get_bool(o, "pre_tokenizer", "use_regex", true, &regex));
        if (prefix) {
            OCT_TRY(oct_pretok_add_prefix_space(&t->pretok));
        }
        if (regex) {
            OCT_TRY(oct_pretok_add_regex(&t->pretok, oct_pretok_gpt2, strlen(oct_pretok_gpt2),
                                         OCT_SPLIT_ISOLATED, false));
        }
        t->bpe.byte_level = true;
        return OCT_OK;
    }
    if (is_type(o, "Metaspace")) {
        const char *mark;
        size_t len;
        bool split;
        enum oct_metaspace_prepend prepend;
        OCT_TRY(metaspace_mark(o, "pre_tokenizer", &mark, &len));
        OCT_TRY(metaspace_prepend(o, "pre_tokenizer", &prepend));
        OCT_TRY(get_bool(o, "pre_tokenizer", "split", true, &split));
        return oct_pretok_add_metaspace(&t->pretok, mark, len, prepend, split);
    }
    return unsupported("pre_tokenizer", type_of(o));
}

/* ---- decoder ---- */

struct decoder_steps {
    struct oct_tokenizer *t;
    struct oct_replace replace[MAX_REPLACES];
    size_t n_replace, n_steps;
    bool fused;
};

/* The order in which steps make sense to us: replacing, then bytes, then fusing, then stripping. */
static oct_status decoder_step(void *user, const json_t *o)
{
    struct decoder_steps *d = user;
    struct oct_decoder *decoder = &d->t->decoder;
    const char *text;
    size_t len;
    const bool first = d->n_steps++ == 0;
    if (!first && decoder->kind == DECODE_BYTES) {
        return unsupported("decoder", "step beside ByteLevel");
    }
    if (is_type(o, "ByteLevel") && first) {
        decoder->kind = DECODE_BYTES;
        return OCT_OK;
    }
    decoder->kind = DECODE_PIECES;
    const bool early = !decoder->byte_fallback && !d->fused;
    if ((is_type(o, "Replace") || is_type(o, "Metaspace")) && early) {
        if (d->n_replace == MAX_REPLACES) {
            return OCT_FAIL(OCT_E_LIMIT, "decoder: more than %d replacements", MAX_REPLACES);
        }
        struct oct_replace *r = &d->replace[d->n_replace++];
        if (is_type(o, "Replace")) {
            OCT_TRY(string_pattern(o, "decoder", &r->from, &r->from_len));
            return get_text(o, "decoder", "content", &r->to, &r->to_len);
        }
        enum oct_metaspace_prepend prepend;
        OCT_TRY(metaspace_mark(o, "decoder", &r->from, &r->from_len));
        OCT_TRY(metaspace_prepend(o, "decoder", &prepend));
        if (!first && prepend != OCT_PREPEND_NEVER) {
            return unsupported("decoder", "Metaspace after another step");
        }
        decoder->first_drops_mark = prepend != OCT_PREPEND_NEVER;
        memcpy(decoder->mark, r->from, r->from_len);
        r->to = " ";
        r->to_len = 1;
        return OCT_OK;
    }
    if (is_type(o, "ByteFallback") && early) {
        decoder->byte_fallback = true;
        return OCT_OK;
    }
    if (is_type(o, "Fuse")) {
        d->fused = true;
        return OCT_OK;
    }
    if (is_type(o, "Strip") && d->fused && !decoder->strip_left) {
        OCT_TRY(get_text(o, "decoder", "content", &text, &len));
        if (len == 1 && text[0] == ' ' && json_integer_value(json_object_get(o, "start")) == 1 &&
            json_integer_value(json_object_get(o, "stop")) == 0) {
            decoder->strip_left = true;
            return OCT_OK;
        }
    }
    char what[80] = "step at this place: ";
    (void)strncat(what, type_of(o), 40);
    return unsupported("decoder", what);
}

/* ---- post_processor ---- */

static oct_status around_id(struct oct_tokenizer *t, bool before, const json_t *id)
{
    struct oct_around *a = before ? &t->before : &t->after;
    const json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value >= t->tokens.n_ids) {
        return bad("post_processor", "ids", "ids of the vocabulary");
    }
    if (a->n == OCT_TOKENIZER_MAX_AROUND) {
        return OCT_FAIL(OCT_E_LIMIT, "post_processor: more than %d tokens before or after a prompt",
                        OCT_TOKENIZER_MAX_AROUND);
    }
    a->ids[a->n++] = (int32_t)value;
    return OCT_OK;
}

static oct_status template_step(struct oct_tokenizer *t, const json_t *o)
{
    const json_t *single = json_object_get(o, "single");
    const json_t *specials = json_object_get(o, "special_tokens");
    bool before = true;
    if (!json_is_array(single)) {
        return bad("post_processor", "single", "an array");
    }
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        if (json_object_get(item, "Sequence")) {
            if (!before) {
                return unsupported("post_processor", "template with the text twice");
            }
            before = false;
            continue;
        }
        const char *name = json_string_value(json_object_get(special, "id"));
        const json_t *ids = json_object_get(json_object_get(specials, name ? name : ""), "ids");
        if (!json_is_array(ids)) {
            return bad("post_processor", "single", "made of Sequence and of known SpecialToken");
        }
        for (size_t k = 0; k < json_array_size(ids); k++) {
            OCT_TRY(around_id(t, before, json_array_get(ids, k)));
        }
    }
    return before ? bad("post_processor", "single", "a template with the text in it") : OCT_OK;
}

static oct_status post_step(void *user, const json_t *o)
{
    struct oct_tokenizer *t = user;
    if (is_type(o, "ByteLevel")) {
        return OCT_OK; /* it moves offsets, not ids */
    }
    if (is_type(o, "TemplateProcessing")) {
        return template_step(t, o);
    }
    if (is_type(o, "RobertaProcessing") || is_type(o, "BertProcessing")) {
        OCT_TRY(around_id(t, true, json_array_get(json_object_get(o, "cls"), 1)));
        return around_id(t, false, json_array_get(json_object_get(o, "sep"), 1));
    }
    return unsupported("post_processor", type_of(o));
}

/* ---- model ---- */

static oct_status read_model(struct oct_tokenizer *t, const json_t *model,
                             const struct oct_skim *skim)
{
    const json_t *type = json_object_get(model, "type");
    if (!json_is_object(model)) {
        return bad("tokenizer.json", "model", "an object");
    }
    if (type && !is_type(model, "BPE")) { /* old files leave the type out */
        return unsupported("model", type_of(model));
    }
    if (!skim->vocab || !skim->merges) {
        return bad("model", skim->vocab ? "merges" : "vocab",
                   skim->vocab ? "an array of merges" : "an object of tokens and ids");
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0) {
        return unsupported("model", "dropout");
    }
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        if (json_string_length(json_object_get(model, affixes[i])) > 0) {
            return unsupported("model", affixes[i]);
        }
    }
    OCT_TRY(get_bool(model, "model", "byte_fallback", false, &t->bpe.byte_fallback));
    OCT_TRY(get_bool(model, "model", "fuse_unk", false, &t->bpe.fuse_unk));
    OCT_TRY(get_bool(model, "model", "ignore_merges", false, &t->bpe.ignore_merges));
    OCT_TRY(oct_tokens_init(&t->tokens, skim->n_tokens, skim->vocab_len / 2));
    OCT_TRY(oct_skim_vocab(skim, &t->tokens));
    t->bpe.cut = 1;
    OCT_TRY(oct_skim_merges(skim, &t->bpe));
    const json_t *unk = json_object_get(model, "unk_token");
    if (json_is_string(unk)) {
        t->bpe.unk = oct_tokens_find(&t->tokens, json_string_value(unk), json_string_length(unk));
        t->bpe.unk_missing = t->bpe.unk < 0;
    }
    return OCT_OK;
}

/* ---- added_tokens ---- */

/* As in the reference, a token that the vocabulary has keeps the vocabulary's id, whatever is said
 * here. For one that it lacks the reference counts on from the size of the vocabulary; in every
 * sound file that is the number in the file. Where it is not (holes in the vocabulary), the file's
 * number is the one that the weights know. */
static oct_status added_id(struct oct_tokenizer *t, const json_t *o, const char *text, size_t len,
                           uint32_t *out)
{
    const json_t *number = json_object_get(o, "id");
    const json_int_t id = json_integer_value(number);
    const int32_t known = oct_tokens_find(&t->tokens, text, len);
    if (!json_is_integer(number) || id < 0 || id >= OCT_TOKENS_MAX_IDS) {
        return bad("added_tokens", "id", "a whole number from 0 on, and not absurdly large");
    }
    if (known < 0) {
        OCT_TRY(oct_tokens_add(&t->tokens, (uint64_t)id, text, len, 0));
    }
    *out = known < 0 ? (uint32_t)id : (uint32_t)known;
    return OCT_OK;
}

static oct_status read_added(struct oct_tokenizer *t, const json_t *list)
{
    if (list && !json_is_null(list) && !json_is_array(list)) {
        return bad("tokenizer.json", "added_tokens", "an array");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *text;
        size_t len;
        struct oct_added token = {0};
        bool normalized;
        OCT_TRY(get_text(o, "added_tokens", "content", &text, &len));
        if (len == 0) {
            continue; /* the reference ignores it */
        }
        OCT_TRY(get_bool(o, "added_tokens", "special", false, &token.special));
        OCT_TRY(get_bool(o, "added_tokens", "lstrip", false, &token.lstrip));
        OCT_TRY(get_bool(o, "added_tokens", "rstrip", false, &token.rstrip));
        OCT_TRY(get_bool(o, "added_tokens", "single_word", false, &token.single_word));
        OCT_TRY(get_bool(o, "added_tokens", "normalized", !token.special, &normalized));
        OCT_TRY(added_id(t, o, text, len, &token.id));
        OCT_TRY(oct_tokenizer_add(t, &token, normalized));
    }
    return OCT_OK;
}

/* ---- tokenizer_config.json ---- */

/* A token by its text, or by an object with "content". */
static int32_t config_token(const struct oct_tokenizer *t, const json_t *config, const char *name)
{
    const json_t *v = json_object_get(config, name);
    v = json_is_object(v) ? json_object_get(v, "content") : v;
    return json_is_string(v)
               ? oct_tokens_find(&t->tokens, json_string_value(v), json_string_length(v))
               : -1;
}

static int config_switch(const json_t *config, const char *name)
{
    const json_t *v = json_object_get(config, name);
    return json_is_boolean(v) ? json_is_true(v) : -1;
}

static oct_status read_config(struct oct_tokenizer *t, const char *data, size_t len)
{
    json_t *config = NULL;
    OCT_TRY(oct_json_parse(data, len, "tokenizer_config.json", OCT_JSON_MAX_DEPTH, OCT_JSON_NUL,
                           &config));
    if (!json_is_object(config)) {
        json_decref(config);
        return OCT_FAIL(OCT_E_FORMAT, "tokenizer_config.json: an object expected");
    }
    t->bos = config_token(t, config, "bos_token");
    t->eos = config_token(t, config, "eos_token");
    oct_tokenizer_set_around(t, config_switch(config, "add_bos_token"),
                             config_switch(config, "add_eos_token"));
    json_decref(config);
    return OCT_OK;
}

/* ---- all of it ---- */

static oct_status build(struct oct_tokenizer *t, const json_t *root, const struct oct_skim *skim)
{
    struct decoder_steps d = {.t = t};
    if (!json_is_object(root)) {
        return OCT_FAIL(OCT_E_FORMAT, "tokenizer.json: an object expected");
    }
    OCT_TRY(read_model(t, json_object_get(root, "model"), skim));
    OCT_TRY(each_step(json_object_get(root, "normalizer"), "normalizer", "normalizers", 0,
                      normal_step, t));
    OCT_TRY(each_step(json_object_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", 0,
                      pretok_step, t));
    OCT_TRY(
        each_step(json_object_get(root, "decoder"), "decoder", "decoders", 0, decoder_step, &d));
    OCT_TRY(read_added(t, json_object_get(root, "added_tokens")));
    OCT_TRY(each_step(json_object_get(root, "post_processor"), "post_processor", "processors", 0,
                      post_step, t));
    return oct_tokenizer_finish(t, d.replace, d.n_replace);
}

oct_status oct_tokenizer_from_json(const char *tokenizer_json, size_t len, const char *config_json,
                                   size_t config_len, struct oct_tokenizer **out)
{
    if (len > OCT_TOKENIZER_MAX_FILE) {
        return OCT_FAIL(OCT_E_LIMIT, "tokenizer.json: %zu bytes; at most %d", len,
                        OCT_TOKENIZER_MAX_FILE);
    }
    const size_t valid = oct_utf8_valid_prefix((const unsigned char *)tokenizer_json, len);
    if (valid < len) {
        return OCT_FAIL(OCT_E_FORMAT, "tokenizer.json: byte %zu is not UTF-8", valid);
    }
    struct oct_skim skim = {0};
    struct oct_tokenizer *t = NULL;
    json_t *root = NULL;
    oct_status st;
    OCT_TRY_GOTO(oct_skim_json(tokenizer_json, len, &skim), st, done);
    OCT_TRY_GOTO(oct_json_parse(skim.rest.data ? skim.rest.data : "", skim.rest.len,
                                "tokenizer.json (but for its vocab and merges)", OCT_JSON_MAX_DEPTH,
                                OCT_JSON_NUL, &root),
                 st, done);
    OCT_TRY_GOTO(oct_tokenizer_new(&t), st, done);
    OCT_TRY_GOTO(build(t, root, &skim), st, done);
    if (config_json) {
        OCT_TRY_GOTO(read_config(t, config_json, config_len), st, done);
    }
    *out = t;
    t = NULL;
done:
    oct_tokenizer_destroy(t);
    json_decref(root);
    oct_buf_free(&skim.rest);
    return st;
}
