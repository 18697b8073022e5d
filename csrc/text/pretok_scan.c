/* SPDX-License-Identifier: Apache-2.0
 *
 * The expressions that models really use, as scanners. Each comment quotes the alternatives of an
 * expression in their order; as in any backtracking engine the first that matches wins. All of
 * them look ahead over at most the piece they return and one run that the next call then takes
 * whole, so that a text is read a bounded number of times. */
#include "text/pretok.h"
#include "text/unicode.h"

#include <string.h>

enum {
    L = OCT_UNI_LETTER,
    N = OCT_UNI_NUMBER,
    M = OCT_UNI_MARK,
    PS = OCT_UNI_PUNCT,
    S = OCT_UNI_SPACE,
    UP = OCT_UNI_UPPER,
    LOW = OCT_UNI_LOWER
};

/* Class of the character at pos; *step: its bytes. */
static inline unsigned class_at(const unsigned char *s, size_t pos, size_t *step)
{
    if (s[pos] < 0x80) {
        *step = 1;
        return oct_uni_class_block[s[pos]]; /* block 0 is the first: ASCII needs no index */
    }
    return oct_uni_class(oct_utf8_get(s + pos, step));
}

/* End of the run of characters with a bit of mask (in), or with none (out). */
static inline size_t span_in(const unsigned char *s, size_t pos, size_t end, unsigned mask)
{
    size_t step;
    while (pos < end && (class_at(s, pos, &step) & mask)) {
        pos += step;
    }
    return pos;
}
static inline size_t span_out(const unsigned char *s, size_t pos, size_t end, unsigned mask)
{
    size_t step;
    while (pos < end && !(class_at(s, pos, &step) & mask)) {
        pos += step;
    }
    return pos;
}
static inline size_t span_at_most(const unsigned char *s, size_t pos, size_t end, unsigned mask,
                                  int max)
{
    size_t step;
    while (max-- > 0 && pos < end && (class_at(s, pos, &step) & mask)) {
        pos += step;
    }
    return pos;
}
static inline size_t span_newlines(const unsigned char *s, size_t pos, size_t end, bool slash)
{
    while (pos < end && (s[pos] == '\r' || s[pos] == '\n' || (slash && s[pos] == '/'))) {
        pos++;
    }
    return pos;
}
static inline size_t step_back(const unsigned char *s, size_t pos)
{
    do {
        pos--;
    } while ((s[pos] & 0xc0) == 0x80);
    return pos;
}

/* 's|'t|'re|'ve|'m|'ll|'d at pos: its end, or pos. With fold as (?i:...) matches: that includes
 * U+017F, the long s, which folds to s. */
static size_t contraction(const unsigned char *s, size_t pos, size_t end, bool fold)
{
    if (end - pos < 2 || s[pos] != '\'') {
        return pos;
    }
    const unsigned char bit = fold ? 0x20 : 0;
    const unsigned a = s[pos + 1] | bit, b = end - pos > 2 ? s[pos + 2] | bit : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return pos + 2;
    }
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) {
        return pos + 3;
    }
    if (fold && s[pos + 1] == 0xc5 && end - pos > 2 && s[pos + 2] == 0xbf) {
        return pos + 3;
    }
    return pos;
}

/* \s*[\r\n]+ (only with newlines) | \s+(?!\S) | \s+   at a White_Space character */
static inline size_t white(const unsigned char *s, size_t pos, size_t end, bool newlines)
{
    const size_t run = span_in(s, pos, end, S);
    if (newlines) {
        for (size_t at = run; at > pos; at--) {
            if (s[at - 1] == '\n' || s[at - 1] == '\r') {
                return at;
            }
        }
    }
    if (run == end) {
        return run;
    }
    const size_t last = step_back(s, run);
    return last > pos ? last : run;
}

const char oct_pretok_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static size_t scan_gpt2(const unsigned char *s, size_t pos, size_t end)
{
    size_t step;
    const size_t short_form = contraction(s, pos, end, false);
    if (short_form > pos) {
        return short_form;
    }
    const size_t start = s[pos] == ' ' && end - pos > 1 ? pos + 1 : pos;
    const unsigned c = class_at(s, start, &step);
    if (c & L) {
        return span_in(s, start + step, end, L);
    }
    if (c & N) {
        return span_in(s, start + step, end, N);
    }
    if (!(c & S)) {
        return span_out(s, start + step, end, S | L | N);
    }
    return white(s, pos, end, false);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?W+ | \p{N}{1,max} |
 *  ?[^\sW\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+      with W = \p{L} or [\p{L}\p{M}].
 * A mark that W has may be the character before W+ as well: the same piece either way. */
static inline size_t llama3(const unsigned char *s, size_t pos, size_t end, int max_digits,
                            unsigned w)
{
    size_t step, next_step;
    const size_t short_form = contraction(s, pos, end, true);
    if (short_form > pos) {
        return short_form;
    }
    const unsigned c = class_at(s, pos, &step);
    const size_t next = pos + step;
    if (c & w) {
        return span_in(s, next, end, w);
    }
    if (c & N) {
        return span_at_most(s, next, end, N, max_digits - 1);
    }
    const unsigned d = next < end ? class_at(s, next, &next_step) : S;
    if ((d & w) && s[pos] != '\r' && s[pos] != '\n') {
        return span_in(s, next + next_step, end, w);
    }
    if (!(c & S) || (s[pos] == ' ' && !(d & (S | w | N)))) {
        return span_newlines(s, span_out(s, next, end, S | w | N), end, false);
    }
    return white(s, pos, end, true);
}
static size_t scan_llama3(const unsigned char *s, size_t pos, size_t end)
{
    return llama3(s, pos, end, 3, L);
}
static size_t scan_qwen2(const unsigned char *s, size_t pos, size_t end)
{
    return llama3(s, pos, end, 1, L);
}
static size_t scan_qwen35(const unsigned char *s, size_t pos, size_t end)
{
    return llama3(s, pos, end, 1, L | M);
}

/* \p{N}{1,3} */
static size_t scan_three_digits(const unsigned char *s, size_t pos, size_t end)
{
    const size_t digits = span_at_most(s, pos, end, N, 3);
    return digits > pos ? digits : span_out(s, pos, end, N);
}

/* [一-龥぀-ゟ゠-ヿ]+ */
static inline size_t span_cjk(const unsigned char *s, size_t pos, size_t end, bool in)
{
    while (pos < end) {
        size_t step;
        const uint32_t c = oct_utf8_get(s + pos, &step);
        const bool cjk = (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff);
        if (cjk != in) {
            break;
        }
        pos += step;
    }
    return pos;
}
static size_t scan_cjk(const unsigned char *s, size_t pos, size_t end)
{
    const size_t run = span_cjk(s, pos, end, true);
    return run > pos ? run : span_cjk(s, pos, end, false);
}

/* [ASCII punctuation][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ | ?[\p{P}\p{S}]+[\r\n]* |
 * \s*[\r\n]+ | \s+(?!\S) | \s+     or pos, if none matches */
static size_t match_deepseek_v3(const unsigned char *s, size_t pos, size_t end)
{
    size_t step, next_step;
    const unsigned c = class_at(s, pos, &step);
    const size_t next = pos + step;
    if (s[pos] < 0x80 && (c & PS)) {
        size_t at = next;
        while (at < end && (s[at] | 0x20) >= 'a' && (s[at] | 0x20) <= 'z') {
            at++;
        }
        if (at > next) {
            return at;
        }
    }
    if (c & (L | M)) {
        return span_in(s, next, end, L | M);
    }
    const unsigned d = next < end ? class_at(s, next, &next_step) : 0;
    if ((d & (L | M)) && !(c & PS) && s[pos] != '\r' && s[pos] != '\n') {
        return span_in(s, next, end, L | M);
    }
    if ((c & PS) || (s[pos] == ' ' && (d & PS))) {
        return span_newlines(s, span_in(s, next, end, PS), end, false);
    }
    return c & S ? white(s, pos, end, true) : pos;
}
static size_t scan_deepseek_v3(const unsigned char *s, size_t pos, size_t end)
{
    const size_t matched = match_deepseek_v3(s, pos, end);
    if (matched > pos) {
        return matched;
    }
    do { /* what no alternative takes stays together up to the next match */
        pos += oct_utf8_step(s[pos]);
    } while (pos < end && match_deepseek_v3(s, pos, end) == pos);
    return pos;
}

/* U*W+ at pos, U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], W = [\p{Ll}\p{Lm}\p{Lo}\p{M}]: its end, or pos.
 * *upper: end of the run of U. */
static size_t upper_lower(const unsigned char *s, size_t pos, size_t end, size_t *upper)
{
    size_t step;
    const size_t run = span_in(s, pos, end, UP);
    *upper = run;
    if (run < end && (class_at(s, run, &step) & LOW)) {
        return span_in(s, run + step, end, LOW);
    }
    for (size_t at = run; at > pos;) { /* U* gives back until W+ finds something */
        const size_t last = at;
        at = step_back(s, at);
        if (class_at(s, at, &step) & LOW) {
            return last;
        }
    }
    return pos;
}

/* P?U*W+(short)? | P?U+W*(short)? | \p{N}{1,max} | ?[^\s\p{L}\p{N}]+[\r\n/]* | \s*[\r\n]+ |
 * \s+(?!\S) | \s+      with P = [^\r\n\p{L}\p{N}], (short) = (?i:'s|'t|'re|'ve|'m|'ll|'d) */
static inline size_t o200k(const unsigned char *s, size_t pos, size_t end, int max_digits,
                           bool short_forms)
{
    size_t step, next_step, upper;
    const unsigned c = class_at(s, pos, &step);
    const size_t next = pos + step;
    if (c & N) {
        return span_at_most(s, next, end, N, max_digits - 1);
    }
    const bool prefix = !(c & L) && s[pos] != '\r' && s[pos] != '\n';
    size_t word = pos;
    if (prefix) {
        word = upper_lower(s, next, end, &upper);
        if (word > next) {
            /* P?U*W+ */
        } else if (c &
                   M) { /* a mark is P, U and W: without it as P the first alternative matches */
            word = next;
        } else {
            word = upper > next ? upper : pos;
        }
    } else if (c & L) {
        word = upper_lower(s, pos, end, &upper);
        word = word > pos ? word : upper;
    }
    if (word > pos) {
        return short_forms ? contraction(s, word, end, true) : word;
    }
    const unsigned d = next < end ? class_at(s, next, &next_step) : S;
    if (!(c & S) || (s[pos] == ' ' && !(d & (S | L | N)))) {
        return span_newlines(s, span_out(s, next, end, S | L | N), end, true);
    }
    return white(s, pos, end, true);
}
static size_t scan_o200k(const unsigned char *s, size_t pos, size_t end)
{
    return o200k(s, pos, end, 3, true);
}
static size_t scan_tekken(const unsigned char *s, size_t pos, size_t end)
{
    return o200k(s, pos, end, 1, false);
}

static size_t scan_each_digit(const unsigned char *s, size_t pos, size_t end)
{
    size_t step;
    if (oct_uni_is_numeric(oct_utf8_get(s + pos, &step))) {
        return pos + step;
    }
    do {
        pos += step;
    } while (pos < end && !oct_uni_is_numeric(oct_utf8_get(s + pos, &step)));
    return pos;
}
static size_t scan_digit_runs(const unsigned char *s, size_t pos, size_t end)
{
    size_t step;
    const bool digits = oct_uni_is_numeric(oct_utf8_get(s + pos, &step));
    do {
        pos += step;
    } while (pos < end && oct_uni_is_numeric(oct_utf8_get(s + pos, &step)) == digits);
    return pos;
}
oct_scan_fn oct_scan_digits(bool individual)
{
    return individual ? scan_each_digit : scan_digit_runs;
}

/* \p{N} and \p{N}+, which GGUF names use; the tables here are the reference's, without Unicode 17.
 */
static size_t scan_one_number(const unsigned char *s, size_t pos, size_t end)
{
    const size_t digits = span_at_most(s, pos, end, N, 1);
    return digits > pos ? digits : span_out(s, pos, end, N);
}
static size_t scan_numbers(const unsigned char *s, size_t pos, size_t end)
{
    const size_t digits = span_in(s, pos, end, N);
    return digits > pos ? digits : span_out(s, pos, end, N);
}

/* \s+$, where $ is also before a newline: of a run of spaces that ends with the text all, of any
 * other what is before its last newline. */
static size_t scan_line_end(const unsigned char *s, size_t pos, size_t end)
{
    for (size_t at = pos; at < end;) {
        const size_t start = span_out(s, at, end, S), run = span_in(s, start, end, S);
        size_t stop = run;
        while (run < end && stop > start && s[stop] != '\n') {
            stop--;
        }
        if (stop > start) {
            return start > pos ? start : stop;
        }
        at = run;
    }
    return end;
}

// clang-format off
#define SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PREFIX "[^\\r\\n\\p{L}\\p{N}]?"
#define WHITE "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define U "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define W "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
const char oct_pretok_llama3[] =
    SHORT "|" PREFIX "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" WHITE;
const char oct_pretok_qwen2[] =
    SHORT "|" PREFIX "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" WHITE;
const char oct_pretok_qwen35[] =
    SHORT "|" PREFIX "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" WHITE;
const char oct_pretok_three_digits[] = "\\p{N}{1,3}";
const char oct_pretok_cjk[] = "[一-龥぀-ゟ゠-ヿ]+";
const char oct_pretok_deepseek_v3[] =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" WHITE;
const char oct_pretok_o200k[] =
    PREFIX U "*" W "+" SHORT "?|" PREFIX U "+" W "*" SHORT "?"
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" WHITE;
const char oct_pretok_tekken[] =
    PREFIX U "*" W "+|" PREFIX U "+" W "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" WHITE;
const char oct_pretok_number[] = "\\p{N}";
const char oct_pretok_numbers[] = "\\p{N}+";
const char oct_pretok_line_end[] = "\\s+$";
// clang-format on

static const struct {
    const char *pattern;
    oct_scan_fn scan;
} known[] = {
    {oct_pretok_gpt2, scan_gpt2},         {oct_pretok_llama3, scan_llama3},
    {oct_pretok_qwen2, scan_qwen2},       {oct_pretok_three_digits, scan_three_digits},
    {oct_pretok_cjk, scan_cjk},           {oct_pretok_deepseek_v3, scan_deepseek_v3},
    {oct_pretok_o200k, scan_o200k},       {oct_pretok_tekken, scan_tekken},
    {oct_pretok_number, scan_one_number}, {oct_pretok_numbers, scan_numbers},
    {oct_pretok_qwen35, scan_qwen35},     {oct_pretok_line_end, scan_line_end},
};

const char *oct_scan_pattern(size_t i)
{
    return i < sizeof known / sizeof *known ? known[i].pattern : NULL;
}

oct_scan_fn oct_scan_find(const char *pattern, size_t len)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        /* A file may spell \r as the two characters or as the control character itself. */
        const char *want = known[i].pattern;
        size_t at = 0;
        while (at < len && *want) {
            const char control = want[0] != '\\'  ? 0
                                 : want[1] == 'r' ? '\r'
                                 : want[1] == 'n' ? '\n'
                                                  : 0;
            if (control && pattern[at] == control) {
                want += 2;
            } else if (pattern[at] == *want) {
                want++;
            } else {
                break;
            }
            at++;
        }
        if (at == len && !*want) {
            return known[i].scan;
        }
    }
    return NULL;
}
