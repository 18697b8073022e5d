/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer.h - text to token ids and back, to the letter as the model's own tokenizer does it.
 *
 * Built from tokenizer.json (+ tokenizer_config.json) or from GGUF keys; immutable afterwards, so
 * any number of threads may use it. Whatever the files hold, the answer is a status. */
#ifndef OCT_TEXT_TOKENIZER_H
#define OCT_TEXT_TOKENIZER_H

#include "base/mem.h"

struct oct_tokenizer;

/* What the builder of a tokenizer takes from GGUF keys: the room text/ knows no file formats, the
 * caller (model/vocab.c) fills this. All borrowed until the call returns. */
struct oct_tokenizer_gguf {
    const char *model; /* tokenizer.ggml.model: "gpt2" or "llama" */
    const char *pre;   /* tokenizer.ggml.pre; NULL: absent */
    uint32_t n_tokens;
    const char *const *tokens; /* [n_tokens] */
    const size_t *token_lens;
    const int32_t *types; /* [n_tokens]: 1 normal .. 6 byte; NULL: absent */
    const float *scores;  /* [n_tokens]; NULL: absent */
    uint32_t n_merges;
    const char *const *merges; /* "A B" */
    const size_t *merge_lens;
    int32_t bos, eos, unk, pad;             /* -1: absent */
    int add_bos, add_eos, add_space_prefix; /* 0, 1; -1: absent */
};

/* tokenizer_json[len]: the file's bytes. config_json: tokenizer_config.json's, NULL if absent. */
OCT_CHECKED oct_status oct_tokenizer_from_json(const char *tokenizer_json, size_t len,
                                               const char *config_json, size_t config_len,
                                               struct oct_tokenizer **out);
OCT_CHECKED oct_status oct_tokenizer_from_gguf(const struct oct_tokenizer_gguf *g,
                                               struct oct_tokenizer **out);
void oct_tokenizer_destroy(struct oct_tokenizer *t); /* NULL is fine */

enum oct_encode_flags {
    OCT_ENCODE_SPECIAL = 1, /* special tokens written in the text become their ids; without it they
                               stay text, so that a user's text never becomes a control token */
    OCT_ENCODE_BOS_EOS = 2, /* add what the tokenizer adds around a whole prompt */
};

/* Token ids of text[len] (any bytes; invalid UTF-8 as the reference treats it), appended to ids. */
struct oct_ids {
    int32_t *data; /* owned; oct_free */
    size_t len, cap;
};
OCT_CHECKED oct_status oct_tokenizer_encode(const struct oct_tokenizer *t, const char *text,
                                            size_t len, unsigned flags, struct oct_ids *ids);
/* The same with OCT_ENCODE_SPECIAL for a text that several have written, as a rendered chat
 * template gives it: own[len] has 1 for a byte that may be part of a control token, 0 for one of a
 * text that never names one. Control tokens are the special ones and other added tokens that are
 * spelled like them, <|...|> or <｜...｜>; the rest (<think>) are found anywhere. The text must be
 * UTF-8. */
OCT_CHECKED oct_status oct_tokenizer_encode_marked(const struct oct_tokenizer *t, const char *text,
                                                   size_t len, const char *own,
                                                   struct oct_ids *ids);
void oct_ids_free(struct oct_ids *ids);

/* Number of ids: every id is in 0..n-1. */
int32_t oct_tokenizer_n_tokens(const struct oct_tokenizer *t);
/* The id of a token by its exact text (special and added tokens too), or -1. */
int32_t oct_tokenizer_find(const struct oct_tokenizer *t, const char *text, size_t len);
bool oct_tokenizer_is_special(const struct oct_tokenizer *t, int32_t id);
/* The bytes a token stands for in the middle of a text ("Ġthe" gives " the"); a hole gives len 0.
 * Borrowed from the tokenizer. */
const char *oct_tokenizer_piece(const struct oct_tokenizer *t, int32_t id, size_t *len);
/* -1: none. */
int32_t oct_tokenizer_bos(const struct oct_tokenizer *t);
int32_t oct_tokenizer_eos(const struct oct_tokenizer *t);
bool oct_tokenizer_adds_bos(const struct oct_tokenizer *t);

/* The whole text of ids, as the reference's decode writes it. skip_special leaves special tokens
 * out. Invalid byte runs become U+FFFD as the reference writes them. */
OCT_CHECKED oct_status oct_tokenizer_decode(const struct oct_tokenizer *t, const int32_t *ids,
                                            size_t n, bool skip_special, struct oct_buf *out);

#endif
