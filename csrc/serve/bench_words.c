/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_words.c - prose that no one has written: common words as often as they are in English,
 * rarer ones made of stems and endings, sentences, paragraphs, now and then a number or a name. */
#include "serve/bench.h"

#include "base/rng.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const common[] = {
    "the",   "of",      "and",    "to",     "a",       "in",     "is",    "that",   "it",
    "was",   "for",     "on",     "are",    "as",      "with",   "his",   "they",   "at",
    "be",    "this",    "from",   "have",   "or",      "by",     "one",   "had",    "not",
    "but",   "what",    "all",    "were",   "when",    "we",     "there", "can",    "an",
    "your",  "which",   "their",  "said",   "if",      "do",     "will",  "each",   "about",
    "how",   "up",      "out",    "them",   "then",    "she",    "many",  "some",   "so",
    "these", "would",   "other",  "into",   "has",     "more",   "her",   "two",    "like",
    "him",   "see",     "time",   "could",  "no",      "make",   "than",  "first",  "been",
    "its",   "who",     "now",    "people", "my",      "made",   "over",  "did",    "down",
    "only",  "way",     "find",   "use",    "may",     "water",  "long",  "little", "very",
    "after", "words",   "called", "just",   "where",   "most",   "know",  "get",    "through",
    "back",  "don't",   "it's",   "we'll",  "they've", "you're", "isn't", "I'd",    "work",
    "year",  "because",
};
static const char *const stems[] = {
    "govern",  "observ",    "construct", "relat",     "develop",   "inform",   "electr",
    "organ",   "transport", "commun",    "perform",   "represent", "consider", "product",
    "reduct",  "collect",   "direct",    "connect",   "protect",   "express",  "impress",
    "press",   "port",      "form",      "struct",    "vers",      "graph",    "scien",
    "histor",  "mathemat",  "philosoph", "techn",     "therm",     "hydr",     "geolog",
    "psych",   "kernel",    "tensor",    "paragraph", "mountain",  "river",    "harbour",
    "captain", "garden",    "winter",    "market",    "theatre",   "orchestr", "engine",
    "matter",  "measure",   "quantit",   "silver",    "copper",
};
static const char *const endings[] = {"",     "s",    "ed",    "ing",  "er",  "ers",  "ation",
                                      "ical", "ment", "ments", "ally", "ive", "able", "ability",
                                      "ance", "ful",  "less",  "ness", "ity", "ism",  "ist"};
static const char *const starts[] = {"", "", "", "", "re", "un", "inter", "over", "counter", "sub"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct writer {
    uint64_t seed, n;
    uint32_t word[4];
    int left;
};

/* In [0, limit). */
static uint32_t draw(struct writer *w, uint32_t limit)
{
    if (w->left == 0) {
        oct_rng_philox(w->seed, w->n++, 0, w->word);
        w->left = 4;
    }
    return (uint32_t)(((uint64_t)w->word[--w->left] * limit) >> 32);
}

static size_t make_word(struct writer *w, char *dst, size_t size)
{
    const uint32_t kind = draw(w, 100);
    int n;
    if (kind < 62) { /* Zipf: rank r with weight 1 / r; the inverse of its logarithmic sum */
        const double u = draw(w, 1u << 20) / (double)(1u << 20);
        const size_t rank = (size_t)(exp(u * log((double)COUNT(common))) - 1);
        n = snprintf(dst, size, "%s", common[rank < COUNT(common) ? rank : COUNT(common) - 1]);
    } else if (kind < 97) {
        n = snprintf(dst, size, "%s%s%s", starts[draw(w, COUNT(starts))],
                     stems[draw(w, COUNT(stems))], endings[draw(w, COUNT(endings))]);
    } else if (kind < 99) {
        n = snprintf(dst, size, "%u", draw(w, 1u << draw(w, 20)));
    } else {
        n = snprintf(dst, size, "%s", stems[draw(w, COUNT(stems))]);
        dst[0] = (char)toupper((unsigned char)dst[0]);
    }
    return (size_t)n;
}

oct_status oct_bench_prose(uint64_t seed, size_t bytes, struct oct_buf *out)
{
    struct writer w = {.seed = seed};
    const size_t end = out->len + bytes;
    char word[64];
    while (out->len < end) {
        const uint32_t n_words = 4 + draw(&w, 18);
        for (uint32_t i = 0; i < n_words; i++) {
            const size_t len = make_word(&w, word, sizeof word);
            if (i == 0) {
                word[0] = (char)toupper((unsigned char)word[0]);
            }
            OCT_TRY(oct_buf_append(out, word, len));
            const bool last = i + 1 == n_words;
            const char *gap = !last               ? draw(&w, 12) == 0 ? ", " : " "
                              : draw(&w, 9) == 0  ? ".\n\n"
                              : draw(&w, 12) == 0 ? "? "
                                                  : ". ";
            OCT_TRY(oct_buf_append(out, gap, strlen(gap)));
        }
    }
    return OCT_OK;
}
