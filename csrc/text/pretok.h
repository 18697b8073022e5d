/* SPDX-License-Identifier: Apache-2.0
 *
 * pretok.h - cuts a text into the words that BPE works on, as tokenizer.json's "pre_tokenizer"
 * says: a chain of stages, each of which cuts the pieces of the one before.
 *
 * The expressions that models really use are recognised by their text and run as hand-written
 * scanners, linear in the text (pretok_scan.c); any other goes through PCRE2 with limits
 * (pretok_regex.c). Both see Unicode as the reference does, PCRE2 as far as its own tables go. */
#ifndef OCT_TEXT_PRETOK_H
#define OCT_TEXT_PRETOK_H

#include "base/mem.h"

/* Where the piece that starts at pos < end ends. Looks at s[pos..end) only. */
typedef size_t (*oct_scan_fn)(const unsigned char *s, size_t pos, size_t end);

/* What becomes of the parts that match; names of the reference. */
enum oct_split_behavior {
    OCT_SPLIT_ISOLATED,
    OCT_SPLIT_REMOVED,
    OCT_SPLIT_WITH_PREVIOUS,
    OCT_SPLIT_WITH_NEXT,
    OCT_SPLIT_CONTIGUOUS,
};
enum oct_metaspace_prepend { OCT_PREPEND_NEVER, OCT_PREPEND_FIRST, OCT_PREPEND_ALWAYS };

enum { OCT_PRETOK_MAX_STAGES = 16 };

struct oct_pretok_stage {
    enum { STAGE_SCAN, STAGE_REGEX, STAGE_LITERAL, STAGE_PREFIX_SPACE, STAGE_METASPACE } kind;
    oct_scan_fn scan;
    struct oct_regex *regex; /* owned */
    char *literal;           /* owned; STAGE_LITERAL: pattern, STAGE_METASPACE: replacement */
    size_t literal_len;
    enum oct_split_behavior behavior;
    bool invert;
    enum oct_metaspace_prepend prepend;
    bool split; /* STAGE_METASPACE: cut before each replacement */
};
struct oct_pretok {
    struct oct_pretok_stage stages[OCT_PRETOK_MAX_STAGES];
    unsigned n_stages; /* 0: the whole text is one word */
};

/* Each adds one stage; on failure the chain is as it was. */
OCT_CHECKED oct_status oct_pretok_add_regex(struct oct_pretok *p, const char *pattern, size_t len,
                                            enum oct_split_behavior behavior, bool invert);
OCT_CHECKED oct_status oct_pretok_add_literal(struct oct_pretok *p, const char *text, size_t len,
                                              enum oct_split_behavior behavior, bool invert);
OCT_CHECKED oct_status oct_pretok_add_digits(struct oct_pretok *p, bool individual);
OCT_CHECKED oct_status oct_pretok_add_prefix_space(struct oct_pretok *p);
OCT_CHECKED oct_status oct_pretok_add_metaspace(struct oct_pretok *p, const char *replacement,
                                                size_t len, enum oct_metaspace_prepend prepend,
                                                bool split);
/* Like oct_pretok_add_regex, but never through a scanner: the tests' slow twin. */
OCT_CHECKED oct_status oct_pretok_add_slow_regex(struct oct_pretok *p, const char *pattern,
                                                 size_t len, enum oct_split_behavior behavior,
                                                 bool invert);
void oct_pretok_deinit(struct oct_pretok *p);

/* The expressions of tokenizer.ggml.pre by name, and what else the name implies. NULL: "default".
 * OCT_E_UNSUPPORTED if the name is unknown. */
struct oct_pre_traits {
    bool nfc, ignore_merges, add_bos;
};
OCT_CHECKED oct_status oct_pretok_add_named(struct oct_pretok *p, const char *name,
                                            struct oct_pre_traits *traits);

/* The expressions that have scanners; GPT-2's is what "ByteLevel" with use_regex means. */
extern const char oct_pretok_gpt2[], oct_pretok_llama3[], oct_pretok_qwen2[],
    oct_pretok_three_digits[], oct_pretok_cjk[], oct_pretok_deepseek_v3[], oct_pretok_o200k[],
    oct_pretok_tekken[], oct_pretok_number[], oct_pretok_numbers[], oct_pretok_qwen35[],
    oct_pretok_line_end[];

/* Is told each word, in order; none is empty. */
typedef oct_status (*oct_word_fn)(void *user, const unsigned char *word, size_t len);
/* text[len]: valid UTF-8. at_start: it is the beginning of the whole input. */
OCT_CHECKED oct_status oct_pretok_run(const struct oct_pretok *p, const unsigned char *text,
                                      size_t len, bool at_start, oct_word_fn word, void *user);
/* The same for many parts of one text, with memory that is kept and a budget for all of it. {0} is
 * fine; not shared. */
struct oct_pretok_work {
    struct oct_regex_run *regex[OCT_PRETOK_MAX_STAGES]; /* owned; of the stages that need one */
};
OCT_CHECKED oct_status oct_pretok_run_part(const struct oct_pretok *p, struct oct_pretok_work *w,
                                           const unsigned char *text, size_t len, bool at_start,
                                           oct_word_fn word, void *user);
void oct_pretok_work_deinit(struct oct_pretok_work *w);

/* ---- the parts, for pretok.c and its tests ---- */

/* The scanner of a known expression, or NULL. */
oct_scan_fn oct_scan_find(const char *pattern, size_t len);
/* The text of known expression i, NULL past the last. */
const char *oct_scan_pattern(size_t i);
oct_scan_fn oct_scan_digits(bool individual);

/* An expression compiled by PCRE2, immutable. */
struct oct_regex;
struct oct_regex_run; /* one thread's state for matching */
OCT_CHECKED oct_status oct_regex_compile(const char *pattern, size_t len, struct oct_regex **out);
void oct_regex_destroy(struct oct_regex *r);
OCT_CHECKED oct_status oct_regex_run_create(const struct oct_regex *r, struct oct_regex_run **out);
void oct_regex_run_destroy(struct oct_regex_run *m);
/* Lets it take the steps that len more bytes of text may need. */
void oct_regex_run_allow(struct oct_regex_run *m, size_t len);
/* First match in s[n] (valid UTF-8) at or after pos; *found says whether there is one.
 * OCT_E_LIMIT if the steps allowed are used up. */
OCT_CHECKED oct_status oct_regex_find(struct oct_regex_run *m, const unsigned char *s, size_t n,
                                      size_t pos, size_t *start, size_t *end, bool *found);

#endif
