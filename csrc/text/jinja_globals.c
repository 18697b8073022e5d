/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_globals.c - the functions a template finds without being given them. */
#include "text/jinja_run.h"
#include "text/jinja_str.h"

#include <string.h>
#include <time.h>

static oct_status call_range(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    int64_t v[3] = {0, 0, 1};
    if (args->n_pos < 1 || args->n_pos > 3 || args->n_kw) {
        return oct_jr_fail(r, OCT_E_FORMAT, "range takes one to three integers");
    }
    for (uint32_t i = 0; i < args->n_pos; i++) {
        OCT_TRY(oct_jarg_int(r, &args->pos[i], 0, &v[args->n_pos == 1 ? 1 : i]));
    }
    if (v[2] == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the step of a range cannot be zero");
    }
    const __int128 span = v[2] > 0 ? (__int128)v[1] - v[0] : (__int128)v[0] - v[1];
    const __int128 step = v[2] > 0 ? v[2] : -(__int128)v[2];
    const __int128 n = span > 0 ? (span - 1) / step + 1 : 0;
    if (n > OCT_JINJA_MAX_RANGE) {
        return oct_jr_fail(r, OCT_E_LIMIT, "a range over %d numbers", OCT_JINJA_MAX_RANGE);
    }
    struct oct_jrange *g = oct_jr_alloc(r, 1, sizeof *g);
    if (!g) {
        return oct_jr_out_of_memory(r);
    }
    *g = (struct oct_jrange){.start = v[0], .stop = v[1], .step = v[2], .n = (uint32_t)n};
    *out = (struct oct_jv){.type = OCT_JV_RANGE, .u.range = g};
    return OCT_OK;
}

/* Pairs or a mapping into d. */
static oct_status update(struct oct_jr *r, struct oct_jdict *d, const struct oct_jv *from)
{
    struct oct_jv pairs = *from, pair, both;
    struct oct_jit it;
    bool more;
    if (from->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, from);
    }
    if (from->type == OCT_JV_DICT) {
        pairs = (struct oct_jv){.type = OCT_JV_VIEW, .sub = OCT_JV_ITEMS, .u.dict = from->u.dict};
    }
    OCT_TRY(oct_jit_init(r, &pairs, &it));
    for (;;) {
        OCT_TRY(oct_jit_next(r, &it, &pair, &more));
        if (!more) {
            return OCT_OK;
        }
        OCT_TRY(oct_jv_to_list(r, OCT_JV_TUPLE, &pair, &both));
        if (both.u.list->n != 2) {
            return oct_jr_fail(r, OCT_E_FORMAT, "a dict is made of pairs, not of %u values",
                               both.u.list->n);
        }
        OCT_TRY(oct_jdict_set(r, d, &both.u.list->items[0], &both.u.list->items[1]));
    }
}

static oct_status make_dict(struct oct_jr *r, const struct oct_jargs *args, struct oct_jdict **out)
{
    if (args->n_pos > 1) {
        return oct_jr_fail(r, OCT_E_FORMAT, "at most one mapping or list of pairs is taken");
    }
    OCT_TRY(oct_jdict_new(r, args->n_kw, out));
    if (args->n_pos) {
        OCT_TRY(update(r, *out, &args->pos[0]));
    }
    for (uint32_t i = 0; i < args->n_kw; i++) {
        OCT_TRY(oct_jdict_set(r, *out, &args->names[i], &args->kw[i]));
    }
    return OCT_OK;
}

static oct_status call_dict(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jdict *d;
    OCT_TRY(make_dict(r, args, &d));
    *out = (struct oct_jv){.type = OCT_JV_DICT, .u.dict = d};
    return OCT_OK;
}

static oct_status call_namespace(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jdict *d;
    OCT_TRY(make_dict(r, args, &d));
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->e[i].key.type == OCT_JV_STR && d->e[i].key.len && d->e[i].key.u.s[0] == '_') {
            return oct_jr_fail(r, OCT_E_FORMAT, "names in a namespace cannot begin with '_'");
        }
    }
    *out = (struct oct_jv){.type = OCT_JV_NS, .u.dict = d};
    return OCT_OK;
}

static oct_status call_raise(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jv message, text;
    char quoted[400];
    (void)out;
    OCT_TRY(oct_jargs_bind(r, args, "raise_exception", "message", 1, 0, &message));
    OCT_TRY(oct_jv_str(r, &message, &text));
    return OCT_FAIL(OCT_E_ARG, "the chat template refuses the messages (line %u): %s", r->cur->line,
                    oct_error_quote(quoted, sizeof quoted, text.u.s, text.len));
}

/* Python's strftime of a time without a zone: %z and %Z are empty, %f the microseconds. */
static oct_status call_strftime(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jv format;
    OCT_TRY(oct_jargs_bind(r, args, "strftime_now", "format", 1, 0, &format));
    if (format.type != OCT_JV_STR || format.len > 200 || memchr(format.u.s, '\0', format.len)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "strftime_now needs a format of at most 200 bytes");
    }
    char fmt[1600] = "x", text[8192]; /* %f grows most: 2 bytes to 6 */
    size_t n = 1;
    for (uint32_t i = 0; i < format.len; i++) {
        const char c = format.u.s[i], next = i + 1 < format.len ? format.u.s[i + 1] : '\0';
        if (c == '%' && (next == 'z' || next == 'Z' || next == 'f')) {
            memcpy(fmt + n, "000000", 6);
            n += next == 'f' ? 6 : 0;
            i++;
        } else {
            fmt[n++] = c;
            if (c == '%' && next) {
                fmt[n++] = next;
                i++;
            }
        }
    }
    fmt[n] = '\0';
    struct tm tm;
    const time_t now = (time_t)r->now_s;
    if (!gmtime_r(&now, &tm)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the time cannot be shown as a date");
    }
    const size_t len = strftime(text, sizeof text, fmt, &tm);
    if (len == 0) { /* fmt begins with x, so nothing at all means too long */
        return oct_jr_fail(r, OCT_E_FORMAT, "strftime_now writes over %zu bytes", sizeof text);
    }
    const size_t mark = r->out.len;
    OCT_TRY(oct_jr_put(r, text + 1, len - 1));
    return oct_jr_take(r, mark, out);
}

static oct_status new_cycler(struct oct_jr *r, enum oct_jv_type type, const struct oct_jv *items,
                             uint32_t n, struct oct_jv *out)
{
    struct oct_jcycler *c = oct_jr_alloc(r, 1, sizeof *c);
    struct oct_jv *copy = c ? oct_jr_alloc(r, n, sizeof *copy) : NULL;
    if (!copy) {
        return oct_jr_out_of_memory(r);
    }
    memcpy(copy, items, n * sizeof *copy);
    *c = (struct oct_jcycler){.items = copy, .n = n};
    *out = (struct oct_jv){.type = (uint8_t)type, .u.cycler = c};
    return OCT_OK;
}

static oct_status call_cycler(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    if (args->n_pos == 0 || args->n_kw) {
        return oct_jr_fail(r, OCT_E_FORMAT, "cycler needs at least one item");
    }
    return new_cycler(r, OCT_JV_CYCLER, args->pos, args->n_pos, out);
}

static oct_status call_joiner(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jv sep;
    OCT_TRY(oct_jargs_bind(r, args, "joiner", "sep", 0, 0, &sep));
    if (sep.type == OCT_JV_MISSING) {
        sep = oct_jv_strn(", ", 2);
    }
    return new_cycler(r, OCT_JV_JOINER, &sep, 1, out);
}

static const struct {
    const char *name;
    /* NULL: Jinja has it, this interpreter does not */
    oct_status (*call)(struct oct_jr *r, const struct oct_jargs *args, struct oct_jv *out);
} row[] = {
    {"range", call_range},
    {"namespace", call_namespace},
    {"dict", call_dict},
    {"raise_exception", call_raise},
    {"strftime_now", call_strftime},
    {"cycler", call_cycler},
    {"joiner", call_joiner},
    {"lipsum", NULL},
};

int oct_jglobal_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (strlen(row[i].name) == len && memcmp(row[i].name, name, len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

oct_status oct_jglobal_call(struct oct_jr *r, const struct oct_jv *global,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    if (global->type == OCT_JV_JOINER) { /* "" the first time, the separator from then on */
        struct oct_jcycler *c = global->u.cycler;
        OCT_TRY(oct_jargs_bind(r, args, "the joiner", "", 0, 0, out));
        *out = c->pos++ ? c->items[0] : oct_jv_strn("", 0);
        c->pos = 1;
        return OCT_OK;
    }
    if (!row[global->sub].call) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "the function '%s' is not supported",
                           row[global->sub].name);
    }
    return row[global->sub].call(r, args, out);
}
