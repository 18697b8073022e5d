/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_str.h"

#include "text/jinja_utf8.h"

#include <string.h>

oct_status oct_jgather_add(struct oct_jr *r, struct oct_jgather *g, const struct oct_jv *item)
{
    if (g->n == g->cap) {
        const uint32_t cap = g->cap ? 2 * g->cap : 8;
        struct oct_jv *items = oct_jr_alloc(r, cap, sizeof *items);
        if (!items) {
            return oct_jr_out_of_memory(r);
        }
        if (g->n) {
            memcpy(items, g->items, g->n * sizeof *items);
        }
        g->items = items;
        g->cap = cap;
    }
    g->items[g->n++] = *item;
    return oct_jr_charge(r, g->n % 4 == 0);
}

oct_status oct_jgather_list(struct oct_jr *r, struct oct_jgather *g, struct oct_jv *out)
{
    struct oct_jlist *l = oct_jr_alloc(r, 1, sizeof *l);
    if (l && !g->items) {
        g->items = oct_jr_alloc(r, 1, sizeof *g->items);
    }
    if (!l || !g->items) {
        return oct_jr_out_of_memory(r);
    }
    *l = (struct oct_jlist){.n = g->n, .items = g->items};
    *out = (struct oct_jv){.type = OCT_JV_LIST, .u.list = l};
    return OCT_OK;
}

/* ---- case ---- */

static bool is_cased(uint32_t cp)
{
    return oct_ju_is_upper(cp) || oct_ju_is_lower(cp) || oct_ju_is_title(cp);
}

static uint32_t map_one(const char *s, size_t len, size_t at, uint32_t cp, enum oct_ju_case how,
                        char *dst)
{
    uint32_t to[3], n = 0;
    if (how == OCT_JU_LOWER && cp == 0x3a3) { /* capital sigma */
        return oct_ju_put(dst, oct_ju_is_final_sigma(s, len, at) ? 0x3c2 : 0x3c3);
    }
    const unsigned k = oct_ju_map(how, cp, to);
    for (unsigned i = 0; i < k; i++) {
        n += oct_ju_put(dst + n, to[i]);
    }
    return n;
}

oct_status oct_jstr_put_case(struct oct_jr *r, const char *s, size_t len, enum oct_jstr_case how)
{
    char buf[256];
    uint32_t used = 0, n;
    bool after_cased = false;
    OCT_TRY(oct_jr_charge(r, len / 8)); /* looks at tables */
    for (size_t i = 0; i < len; i += n) {
        const uint32_t cp = oct_ju_next(s + i, &n);
        enum oct_ju_case map = how == OCT_JSTR_UPPER ? OCT_JU_UPPER : OCT_JU_LOWER;
        bool keep = false;
        if (how == OCT_JSTR_TITLE) {
            map = after_cased ? OCT_JU_LOWER : OCT_JU_TITLE;
            after_cased = is_cased(cp);
        } else if (how == OCT_JSTR_CAPITALIZE) {
            map = i == 0 ? OCT_JU_TITLE : OCT_JU_LOWER;
        } else if (how == OCT_JSTR_SWAP) {
            map = oct_ju_is_lower(cp) ? OCT_JU_UPPER : OCT_JU_LOWER;
            keep = !oct_ju_is_lower(cp) && !oct_ju_is_upper(cp);
        }
        if (used > sizeof buf - 12) {
            OCT_TRY(oct_jr_put(r, buf, used));
            used = 0;
        }
        if (cp == 0x3a3) { /* looks around: costs what it looks at */
            OCT_TRY(oct_jr_charge(r, 1 + len / 8));
        }
        used += keep ? oct_ju_put(buf + used, cp) : map_one(s, len, i, cp, map, buf + used);
    }
    return oct_jr_put(r, buf, used);
}

oct_status oct_jstr_case(struct oct_jr *r, const struct oct_jv *s, enum oct_jstr_case how,
                         struct oct_jv *out)
{
    const size_t mark = r->out.len;
    OCT_TRY(oct_jstr_put_case(r, s->u.s, s->len, how));
    const uint8_t flags = s->flags;
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = flags;
    return OCT_OK;
}

/* ---- strip, pad ---- */

static bool strips(const struct oct_jv *chars, const char *s, uint32_t n, uint32_t cp)
{
    if (chars->type != OCT_JV_STR) {
        return oct_ju_is_space(cp);
    }
    return memmem(chars->u.s, chars->len, s, n) != NULL; /* UTF-8: only whole characters match */
}

oct_status oct_jstr_strip(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *chars,
                          unsigned sides, struct oct_jv *out)
{
    if (chars->type != OCT_JV_STR && chars->type != OCT_JV_NONE && chars->type != OCT_JV_MISSING) {
        return oct_jr_fail(r, OCT_E_FORMAT, "strip needs a string or none, not %s",
                           oct_jv_type_name(chars));
    }
    size_t from = 0, to = s->len;
    const uint64_t cost = 1 + (chars->type == OCT_JV_STR ? chars->len / 16 : 0);
    uint32_t n;
    while ((sides & OCT_JSTR_LEFT) && from < to) {
        const uint32_t cp = oct_ju_next(s->u.s + from, &n);
        if (!strips(chars, s->u.s + from, n, cp)) {
            break;
        }
        from += n;
        OCT_TRY(oct_jr_charge(r, cost > 1 || from % 16 == 0 ? cost : 0));
    }
    while ((sides & OCT_JSTR_RIGHT) && from < to) {
        const uint32_t cp = oct_ju_prev(s->u.s, to, &n);
        if (!strips(chars, s->u.s + to - n, n, cp)) {
            break;
        }
        to -= n;
        OCT_TRY(oct_jr_charge(r, cost > 1 || to % 16 == 0 ? cost : 0));
    }
    const uint8_t flags = s->flags;
    *out = oct_jv_strn(s->u.s + from, to - from);
    out->flags = flags;
    return OCT_OK;
}

static oct_status put_fill(struct oct_jr *r, uint32_t cp, int64_t n)
{
    char text[4];
    const uint32_t len = oct_ju_put(text, cp);
    OCT_TRY(oct_jr_charge(r, n > 0 ? (uint64_t)n / 8 : 0));
    for (int64_t i = 0; i < n; i++) {
        OCT_TRY(oct_jr_put(r, text, len));
    }
    return OCT_OK;
}

oct_status oct_jstr_pad(struct oct_jr *r, const struct oct_jv *s, int64_t width, uint32_t fill,
                        unsigned sides, struct oct_jv *out)
{
    int64_t len;
    OCT_TRY(oct_jv_len(r, s, &len));
    if (width <= len) {
        *out = *s;
        return OCT_OK;
    }
    if (width > OCT_JINJA_MAX_STRING) {
        return oct_jr_fail(r, OCT_E_LIMIT, "a string over %d MiB", OCT_JINJA_MAX_STRING >> 20);
    }
    const int64_t pad = width - len;
    const int64_t left = sides == OCT_JSTR_BOTH   ? pad / 2 + (pad & width & 1)
                         : sides == OCT_JSTR_LEFT ? pad
                                                  : 0;
    const size_t mark = r->out.len;
    const uint8_t flags = s->flags;
    OCT_TRY(put_fill(r, fill, left));
    OCT_TRY(oct_jr_put(r, s->u.s, s->len));
    OCT_TRY(put_fill(r, fill, pad - left));
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = flags;
    return OCT_OK;
}

/* ---- find, replace, split ---- */

size_t oct_jstr_find(const struct oct_jv *s, const struct oct_jv *sub, size_t from, size_t to,
                     bool last)
{
    if (from > to || to - from < sub->len) {
        return SIZE_MAX;
    }
    if (!last) {
        const char *p = sub->len == 1 ? memchr(s->u.s + from, sub->u.s[0], to - from)
                                      : memmem(s->u.s + from, to - from, sub->u.s, sub->len);
        return p ? (size_t)(p - s->u.s) : SIZE_MAX;
    }
    for (size_t at = to - sub->len + 1; at > from; at--) {
        if (memcmp(s->u.s + at - 1, sub->u.s, sub->len) == 0) {
            return at - 1;
        }
    }
    return SIZE_MAX;
}

/* An empty `old` stands between all characters. */
static oct_status replace_empty(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *new,
                                int64_t max)
{
    uint32_t n = 0;
    OCT_TRY(oct_jr_charge(r, s->len / 4));
    for (size_t i = 0; i <= s->len; i += n) {
        if (max != 0) {
            OCT_TRY(oct_jr_put(r, new->u.s, new->len));
            max--;
        }
        if (i == s->len) {
            break;
        }
        (void)oct_ju_next(s->u.s + i, &n);
        OCT_TRY(oct_jr_put(r, s->u.s + i, n));
    }
    return OCT_OK;
}

oct_status oct_jstr_replace(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *old,
                            const struct oct_jv *new, int64_t max, struct oct_jv *out)
{
    const size_t mark = r->out.len;
    const uint8_t flags = s->flags;
    OCT_TRY(oct_jr_charge_bytes(r, s->len));
    if (old->len == 0) {
        OCT_TRY(replace_empty(r, s, new, max));
    } else {
        size_t from = 0;
        for (; max != 0; max--) {
            const size_t at = oct_jstr_find(s, old, from, s->len, false);
            if (at == SIZE_MAX) {
                break;
            }
            OCT_TRY(oct_jr_charge(r, 1));
            OCT_TRY(oct_jr_put(r, s->u.s + from, at - from));
            OCT_TRY(oct_jr_put(r, new->u.s, new->len));
            from = at + old->len;
        }
        if (from == 0) { /* nothing found: the string itself */
            r->out.len = mark;
            *out = *s;
            return OCT_OK;
        }
        OCT_TRY(oct_jr_put(r, s->u.s + from, s->len - from));
    }
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = flags;
    return OCT_OK;
}

static oct_status add_part(struct oct_jr *r, struct oct_jgather *g, const struct oct_jv *s,
                           size_t from, size_t to)
{
    struct oct_jv part = oct_jv_strn(s->u.s + from, to - from);
    part.flags = s->flags;
    OCT_TRY(oct_jr_charge(r, 1));
    return oct_jgather_add(r, g, &part);
}

static size_t skip_space(const struct oct_jv *s, size_t at, bool space)
{
    uint32_t n;
    while (at < s->len && oct_ju_is_space(oct_ju_next(s->u.s + at, &n)) == space) {
        at += n;
    }
    return at;
}

static size_t skip_space_back(const struct oct_jv *s, size_t at, bool space)
{
    uint32_t n;
    while (at > 0 && oct_ju_is_space(oct_ju_prev(s->u.s, at, &n)) == space) {
        at -= n;
    }
    return at;
}

static oct_status split_space(struct oct_jr *r, const struct oct_jv *s, int64_t max,
                              struct oct_jgather *g)
{
    size_t at = skip_space(s, 0, true);
    while (at < s->len) {
        const size_t end = max-- == 0 ? s->len : skip_space(s, at, false);
        OCT_TRY(add_part(r, g, s, at, end));
        at = skip_space(s, end, true);
    }
    return OCT_OK;
}

static oct_status split_space_back(struct oct_jr *r, const struct oct_jv *s, int64_t max,
                                   struct oct_jgather *g)
{
    size_t at = skip_space_back(s, s->len, true);
    while (at > 0) {
        const size_t from = max-- == 0 ? 0 : skip_space_back(s, at, false);
        OCT_TRY(add_part(r, g, s, from, at));
        at = skip_space_back(s, from, true);
    }
    return OCT_OK;
}

static oct_status split_at(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *sep,
                           int64_t max, bool from_right, struct oct_jgather *g)
{
    size_t from = 0, to = s->len;
    OCT_TRY(oct_jr_charge(r, oct_jstr_find_steps(s, sep, from_right)));
    for (; max != 0; max--) {
        const size_t at = oct_jstr_find(s, sep, from, to, from_right);
        if (at == SIZE_MAX) {
            break;
        }
        if (from_right) {
            OCT_TRY(add_part(r, g, s, at + sep->len, to));
            to = at;
        } else {
            OCT_TRY(add_part(r, g, s, from, at));
            from = at + sep->len;
        }
    }
    return add_part(r, g, s, from, to);
}

oct_status oct_jstr_split(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *sep,
                          int64_t max, bool from_right, struct oct_jv *out)
{
    struct oct_jgather g = {0};
    OCT_TRY(oct_jr_charge_bytes(r, s->len));
    if (sep->type == OCT_JV_MISSING || sep->type == OCT_JV_NONE) {
        OCT_TRY(from_right ? split_space_back(r, s, max, &g) : split_space(r, s, max, &g));
    } else if (sep->type != OCT_JV_STR || sep->len == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "split needs a separator that is a string, not empty");
    } else {
        OCT_TRY(split_at(r, s, sep, max, from_right, &g));
    }
    for (uint32_t i = 0; from_right && i < g.n / 2; i++) {
        const struct oct_jv swap = g.items[i];
        g.items[i] = g.items[g.n - 1 - i];
        g.items[g.n - 1 - i] = swap;
    }
    return oct_jgather_list(r, &g, out);
}

oct_status oct_jstr_splitlines(struct oct_jr *r, const struct oct_jv *s, bool keep,
                               struct oct_jv *out)
{
    struct oct_jgather g = {0};
    uint32_t n;
    size_t from = 0;
    OCT_TRY(oct_jr_charge(r, s->len / 16)); /* character by character */
    for (size_t i = 0; i < s->len; i += n) {
        if (!oct_ju_is_line_break(oct_ju_next(s->u.s + i, &n))) {
            continue;
        }
        const size_t end = i;
        n += s->u.s[i] == '\r' && i + 1 < s->len && s->u.s[i + 1] == '\n';
        OCT_TRY(add_part(r, &g, s, from, keep ? i + n : end));
        from = i + n;
    }
    if (from < s->len) {
        OCT_TRY(add_part(r, &g, s, from, s->len));
    }
    return oct_jgather_list(r, &g, out);
}
