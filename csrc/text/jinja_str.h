/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_str.h - what Python's strings can do, for methods and filters alike. Results of a marked
 * string are marked, as markupsafe does it. */
#ifndef OCT_TEXT_JINJA_STR_H
#define OCT_TEXT_JINJA_STR_H

#include "text/jinja_run.h"

enum oct_jstr_case {
    OCT_JSTR_UPPER,
    OCT_JSTR_LOWER,
    OCT_JSTR_TITLE,
    OCT_JSTR_CAPITALIZE,
    OCT_JSTR_SWAP
};
OCT_CHECKED oct_status oct_jstr_case(struct oct_jr *r, const struct oct_jv *s,
                                     enum oct_jstr_case how, struct oct_jv *out);
/* Appends to r->out: s in upper or lower case. */
OCT_CHECKED oct_status oct_jstr_put_case(struct oct_jr *r, const char *s, size_t len,
                                         enum oct_jstr_case how);

/* str.isupper, .islower, .istitle. */
bool oct_jstr_is_case(const struct oct_jv *s, enum oct_jstr_case how);

enum oct_jstr_sides { OCT_JSTR_LEFT = 1, OCT_JSTR_RIGHT = 2, OCT_JSTR_BOTH = 3 };
/* chars: missing or none for white space. */
OCT_CHECKED oct_status oct_jstr_strip(struct oct_jr *r, const struct oct_jv *s,
                                      const struct oct_jv *chars, unsigned sides,
                                      struct oct_jv *out);
/* max < 0: all. */
OCT_CHECKED oct_status oct_jstr_replace(struct oct_jr *r, const struct oct_jv *s,
                                        const struct oct_jv *old, const struct oct_jv *new,
                                        int64_t max, struct oct_jv *out);
/* sep: missing or none for runs of white space. */
OCT_CHECKED oct_status oct_jstr_split(struct oct_jr *r, const struct oct_jv *s,
                                      const struct oct_jv *sep, int64_t max, bool from_right,
                                      struct oct_jv *out);
OCT_CHECKED oct_status oct_jstr_splitlines(struct oct_jr *r, const struct oct_jv *s, bool keep,
                                           struct oct_jv *out);
/* Pads to `width` code points: fill on the left, on the right, or both (str.center). */
OCT_CHECKED oct_status oct_jstr_pad(struct oct_jr *r, const struct oct_jv *s, int64_t width,
                                    uint32_t fill, unsigned sides, struct oct_jv *out);
/* First or last occurrence in s[from, to) (bytes); SIZE_MAX: none. */
size_t oct_jstr_find(const struct oct_jv *s, const struct oct_jv *sub, size_t from, size_t to,
                     bool last);

/* Steps that a search costs: backwards it compares at every place. */
static inline uint64_t oct_jstr_find_steps(const struct oct_jv *s, const struct oct_jv *sub,
                                           bool last)
{
    const uint64_t places = last && s->len > sub->len ? s->len - sub->len : 0;
    return (uint64_t)s->len / OCT_JINJA_STEP_BYTES + places / 16 + places * sub->len / 256;
}

/* Items gathered before their number is known. */
struct oct_jgather {
    struct oct_jv *items;
    uint32_t n, cap;
};
OCT_CHECKED oct_status oct_jgather_add(struct oct_jr *r, struct oct_jgather *g,
                                       const struct oct_jv *item);
OCT_CHECKED oct_status oct_jgather_list(struct oct_jr *r, struct oct_jgather *g,
                                        struct oct_jv *out);

#endif
