/* SPDX-License-Identifier: Apache-2.0 */
#include "text/pretok.h"

#include "text/unicode.h"

#include <string.h>

/* ---- building ---- */

void oct_pretok_deinit(struct oct_pretok *p)
{
    for (unsigned i = 0; i < p->n_stages; i++) {
        oct_regex_destroy(p->stages[i].regex);
        oct_free(p->stages[i].literal);
    }
    *p = (struct oct_pretok){0};
}

static oct_status add(struct oct_pretok *p, const struct oct_pretok_stage *stage)
{
    if (p->n_stages == OCT_PRETOK_MAX_STAGES) {
        return OCT_FAIL(OCT_E_LIMIT, "pre_tokenizer: more than %d stages", OCT_PRETOK_MAX_STAGES);
    }
    p->stages[p->n_stages++] = *stage;
    return OCT_OK;
}

oct_status oct_pretok_add_slow_regex(struct oct_pretok *p, const char *pattern, size_t len,
                                     enum oct_split_behavior behavior, bool invert)
{
    struct oct_pretok_stage stage = {.kind = STAGE_REGEX, .behavior = behavior, .invert = invert};
    OCT_TRY(oct_regex_compile(pattern, len, &stage.regex));
    const oct_status st = add(p, &stage);
    if (st != OCT_OK) {
        oct_regex_destroy(stage.regex);
    }
    return st;
}

oct_status oct_pretok_add_regex(struct oct_pretok *p, const char *pattern, size_t len,
                                enum oct_split_behavior behavior, bool invert)
{
    const oct_scan_fn scan = oct_scan_find(pattern, len);
    if (scan && behavior == OCT_SPLIT_ISOLATED) { /* isolated: invert changes nothing */
        return add(p, &(struct oct_pretok_stage){.kind = STAGE_SCAN, .scan = scan});
    }
    return oct_pretok_add_slow_regex(p, pattern, len, behavior, invert);
}

static oct_status add_with_text(struct oct_pretok *p, struct oct_pretok_stage stage,
                                const char *text, size_t len)
{
    stage.literal = oct_strndup(text, len);
    stage.literal_len = len;
    if (!stage.literal) {
        return oct_no_memory("a pre-tokeniser", len);
    }
    const oct_status st = add(p, &stage);
    if (st != OCT_OK) {
        oct_free(stage.literal);
    }
    return st;
}

oct_status oct_pretok_add_literal(struct oct_pretok *p, const char *text, size_t len,
                                  enum oct_split_behavior behavior, bool invert)
{
    if (len == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "pre_tokenizer: Split by an empty string");
    }
    const struct oct_pretok_stage stage = {
        .kind = STAGE_LITERAL, .behavior = behavior, .invert = invert};
    return add_with_text(p, stage, text, len);
}

oct_status oct_pretok_add_digits(struct oct_pretok *p, bool individual)
{
    return add(p,
               &(struct oct_pretok_stage){.kind = STAGE_SCAN, .scan = oct_scan_digits(individual)});
}

oct_status oct_pretok_add_prefix_space(struct oct_pretok *p)
{
    return add(p, &(struct oct_pretok_stage){.kind = STAGE_PREFIX_SPACE});
}

oct_status oct_pretok_add_metaspace(struct oct_pretok *p, const char *replacement, size_t len,
                                    enum oct_metaspace_prepend prepend, bool split)
{
    const struct oct_pretok_stage stage = {
        .kind = STAGE_METASPACE, .prepend = prepend, .split = split};
    return add_with_text(p, stage, replacement, len);
}

/* ---- running ---- */

struct run {
    const struct oct_pretok *p;
    oct_word_fn word;
    void *user;
    const struct oct_pretok_work *work;
};

static oct_status run_stage(struct run *r, unsigned k, const unsigned char *s, size_t n,
                            bool first);

/* A piece that stage k found goes to the next stage. */
static inline oct_status pass_on(struct run *r, unsigned k, const unsigned char *s, size_t n,
                                 bool first)
{
    if (n == 0) {
        return OCT_OK;
    }
    return k + 1 == r->p->n_stages ? r->word(r->user, s, n) : run_stage(r, k + 1, s, n, first);
}

static oct_status run_scan(struct run *r, unsigned k, const unsigned char *s, size_t n, bool first)
{
    const oct_scan_fn scan = r->p->stages[k].scan;
    for (size_t pos = 0; pos < n;) {
        const size_t end = scan(s, pos, n);
        OCT_TRY(pass_on(r, k, s + pos, end - pos, first && pos == 0));
        pos = end;
    }
    return OCT_OK;
}

/* Joins matches and gaps to pieces as the stage's behaviour says. One piece is always pending. */
struct joiner {
    struct run *r;
    unsigned k;
    const unsigned char *s;
    bool first;
    bool has;        /* s[start..end) is pending */
    bool last_match; /* the last part was a match */
    size_t start, end;
};

static oct_status flush(struct joiner *j)
{
    if (!j->has) {
        return OCT_OK;
    }
    j->has = false;
    return pass_on(j->r, j->k, j->s + j->start, j->end - j->start, j->first && j->start == 0);
}

static oct_status part(struct joiner *j, size_t start, size_t end, bool match)
{
    const struct oct_pretok_stage *stage = &j->r->p->stages[j->k];
    match = match != stage->invert;
    bool join = false;
    switch (stage->behavior) {
    case OCT_SPLIT_ISOLATED:
        break;
    case OCT_SPLIT_REMOVED:
        if (match) {
            return flush(j);
        }
        break;
    case OCT_SPLIT_WITH_PREVIOUS:
        join = match && !j->last_match;
        break;
    case OCT_SPLIT_WITH_NEXT:
        join = !match && j->last_match;
        break;
    case OCT_SPLIT_CONTIGUOUS:
        join = match == j->last_match;
        break;
    }
    j->last_match = match;
    if (join && j->has) {
        j->end = end;
        return OCT_OK;
    }
    OCT_TRY(flush(j));
    j->has = true;
    j->start = start;
    j->end = end;
    return OCT_OK;
}

static oct_status next_match(struct run *r, unsigned k, const unsigned char *s, size_t n,
                             size_t pos, size_t *start, size_t *end, bool *found)
{
    const struct oct_pretok_stage *stage = &r->p->stages[k];
    if (stage->kind == STAGE_REGEX) {
        return oct_regex_find(r->work->regex[k], s, n, pos, start, end, found);
    }
    const unsigned char *at = memmem(s + pos, n - pos, stage->literal, stage->literal_len);
    *found = at != NULL;
    if (at) {
        *start = (size_t)(at - s);
        *end = *start + stage->literal_len;
    }
    return OCT_OK;
}

static oct_status run_matches(struct run *r, unsigned k, const unsigned char *s, size_t n,
                              bool first)
{
    struct joiner j = {.r = r, .k = k, .s = s, .first = first};
    size_t done = 0, pos = 0; /* s[..done) is in parts; the next search starts at pos */
    bool any = false;
    while (pos <= n) {
        size_t start, end;
        bool found;
        OCT_TRY(next_match(r, k, s, n, pos, &start, &end, &found));
        if (!found) {
            break;
        }
        if (start == end && any && start == done) { /* no empty match right after a match */
            if (pos >= n) {
                break;
            }
            pos += oct_utf8_step(s[pos]);
            continue;
        }
        if (done < start) {
            OCT_TRY(part(&j, done, start, false));
        }
        OCT_TRY(part(&j, start, end, true));
        any = true;
        done = end;
        pos = end;
        if (start == end) {
            if (end >= n) {
                break;
            }
            pos = end + oct_utf8_step(s[end]);
        }
    }
    if (done < n) {
        OCT_TRY(part(&j, done, n, false));
    }
    return flush(&j);
}

static oct_status run_prefix_space(struct run *r, unsigned k, const unsigned char *s, size_t n,
                                   bool first)
{
    if (s[0] == ' ') {
        return pass_on(r, k, s, n, first);
    }
    struct oct_buf text = {0};
    oct_status st = OCT_OK;
    OCT_TRY_GOTO(oct_buf_append(&text, " ", 1), st, done);
    OCT_TRY_GOTO(oct_buf_append(&text, s, n), st, done);
    st = pass_on(r, k, (const unsigned char *)text.data, text.len, first);
done:
    oct_buf_free(&text);
    return st;
}

/* Spaces become the replacement; one is put in front; cuts before each, if asked for. */
static oct_status run_metaspace(struct run *r, unsigned k, const unsigned char *s, size_t n,
                                bool first)
{
    const struct oct_pretok_stage *stage = &r->p->stages[k];
    const char *mark = stage->literal;
    const size_t mark_len = stage->literal_len;
    struct oct_buf text = {0};
    oct_status st = OCT_OK;
    const bool starts = s[0] == ' ' || (n >= mark_len && memcmp(s, mark, mark_len) == 0);
    if (!starts &&
        (stage->prepend == OCT_PREPEND_ALWAYS || (stage->prepend == OCT_PREPEND_FIRST && first))) {
        OCT_TRY_GOTO(oct_buf_append(&text, mark, mark_len), st, done);
    }
    for (size_t pos = 0; pos < n;) {
        const unsigned char *space = memchr(s + pos, ' ', n - pos);
        const size_t end = space ? (size_t)(space - s) : n;
        OCT_TRY_GOTO(oct_buf_append(&text, s + pos, end - pos), st, done);
        if (space) {
            OCT_TRY_GOTO(oct_buf_append(&text, mark, mark_len), st, done);
        }
        pos = end + (space ? 1 : 0);
    }
    const unsigned char *t = (const unsigned char *)text.data;
    if (!stage->split) {
        st = pass_on(r, k, t, text.len, first);
        goto done;
    }
    for (size_t pos = 0; pos < text.len;) {
        const bool marked = text.len - pos >= mark_len && memcmp(t + pos, mark, mark_len) == 0;
        const size_t from = pos + (marked ? mark_len : 0);
        const unsigned char *next = memmem(t + from, text.len - from, mark, mark_len);
        const size_t end = next ? (size_t)(next - t) : text.len;
        OCT_TRY_GOTO(pass_on(r, k, t + pos, end - pos, first && pos == 0), st, done);
        pos = end;
    }
done:
    oct_buf_free(&text);
    return st;
}

static oct_status run_stage(struct run *r, unsigned k, const unsigned char *s, size_t n, bool first)
{
    switch (r->p->stages[k].kind) {
    case STAGE_SCAN:
        return run_scan(r, k, s, n, first);
    case STAGE_REGEX:
    case STAGE_LITERAL:
        return run_matches(r, k, s, n, first);
    case STAGE_PREFIX_SPACE:
        return run_prefix_space(r, k, s, n, first);
    case STAGE_METASPACE:
        break;
    }
    return run_metaspace(r, k, s, n, first);
}

void oct_pretok_work_deinit(struct oct_pretok_work *w)
{
    for (unsigned k = 0; k < OCT_PRETOK_MAX_STAGES; k++) {
        oct_regex_run_destroy(w->regex[k]);
    }
    *w = (struct oct_pretok_work){0};
}

oct_status oct_pretok_run_part(const struct oct_pretok *p, struct oct_pretok_work *w,
                               const unsigned char *text, size_t len, bool at_start,
                               oct_word_fn word, void *user)
{
    if (len == 0) {
        return OCT_OK;
    }
    if (p->n_stages == 0) {
        return word(user, text, len);
    }
    for (unsigned k = 0; k < p->n_stages; k++) {
        if (p->stages[k].kind != STAGE_REGEX) {
            continue;
        }
        if (!w->regex[k]) {
            OCT_TRY(oct_regex_run_create(p->stages[k].regex, &w->regex[k]));
        }
        oct_regex_run_allow(w->regex[k], len);
    }
    struct run r = {.p = p, .word = word, .user = user, .work = w};
    return run_stage(&r, 0, text, len, at_start);
}

oct_status oct_pretok_run(const struct oct_pretok *p, const unsigned char *text, size_t len,
                          bool at_start, oct_word_fn word, void *user)
{
    struct oct_pretok_work w = {0};
    const oct_status st = oct_pretok_run_part(p, &w, text, len, at_start, word, user);
    oct_pretok_work_deinit(&w);
    return st;
}
