/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_filters.c - the table of filters. To add one: a function in one of the two files beside it,
 * a line in jinja_filter.h, a row here. */
#include "text/jinja_filter.h"

#include <string.h>

// clang-format off
static const struct {
    const char *name;
    const char *params; /* behind the value itself */
    uint8_t n_required, n_pos_only;
    oct_jfilter_fn fn;
    oct_jfilter_raw_fn raw; /* both NULL: Jinja has it, this interpreter does not */
} row[] = {
    {"abs", "", 0, 0, oct_jf_abs, NULL},
    {"attr", "name", 1, 0, oct_jf_attr, NULL},
    {"batch", "linecount,fill_with", 1, 0, oct_jf_batch, NULL},
    {"capitalize", "", 0, 0, oct_jf_capitalize, NULL},
    {"center", "width", 0, 0, oct_jf_center, NULL},
    {"count", "", 0, 0, oct_jf_length, NULL},
    {"d", "default_value,boolean", 0, 0, oct_jf_default, NULL},
    {"default", "default_value,boolean", 0, 0, oct_jf_default, NULL},
    {"dictsort", "case_sensitive,by,reverse", 0, 0, oct_jf_dictsort, NULL},
    {"e", "", 0, 0, oct_jf_escape, NULL},
    {"escape", "", 0, 0, oct_jf_escape, NULL},
    {"first", "", 0, 0, oct_jf_first, NULL},
    {"float", "default", 0, 0, oct_jf_float, NULL},
    {"forceescape", "", 0, 0, oct_jf_forceescape, NULL},
    {"format", NULL, 0, 0, NULL, oct_jf_format},
    {"groupby", "attribute,default,case_sensitive", 1, 0, oct_jf_groupby, NULL},
    {"indent", "width,first,blank", 0, 0, oct_jf_indent, NULL},
    {"int", "default,base", 0, 0, oct_jf_int, NULL},
    {"items", "", 0, 0, oct_jf_items, NULL},
    {"join", "d,attribute", 0, 0, oct_jf_join, NULL},
    {"last", "", 0, 0, oct_jf_last, NULL},
    {"length", "", 0, 0, oct_jf_length, NULL},
    {"list", "", 0, 0, oct_jf_list, NULL},
    {"lower", "", 0, 0, oct_jf_lower, NULL},
    {"map", NULL, 0, 0, NULL, oct_jf_map},
    {"max", "case_sensitive,attribute", 0, 0, oct_jf_max, NULL},
    {"min", "case_sensitive,attribute", 0, 0, oct_jf_min, NULL},
    {"reject", NULL, 0, 0, NULL, oct_jf_reject},
    {"rejectattr", NULL, 0, 0, NULL, oct_jf_rejectattr},
    {"replace", "old,new,count", 2, 0, oct_jf_replace, NULL},
    {"reverse", "", 0, 0, oct_jf_reverse, NULL},
    {"round", "precision,method", 0, 0, oct_jf_round, NULL},
    {"safe", "", 0, 0, oct_jf_safe, NULL},
    {"select", NULL, 0, 0, NULL, oct_jf_select},
    {"selectattr", NULL, 0, 0, NULL, oct_jf_selectattr},
    {"slice", "slices,fill_with", 1, 0, oct_jf_slice, NULL},
    {"sort", "reverse,case_sensitive,attribute", 0, 0, oct_jf_sort, NULL},
    {"string", "", 0, 0, oct_jf_string, NULL},
    {"sum", "attribute,start", 0, 0, oct_jf_sum, NULL},
    {"title", "", 0, 0, oct_jf_title, NULL},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, 0, oct_jf_tojson, NULL},
    {"trim", "chars", 0, 0, oct_jf_trim, NULL},
    {"truncate", "length,killwords,end,leeway", 0, 0, oct_jf_truncate, NULL},
    {"unique", "case_sensitive,attribute", 0, 0, oct_jf_unique, NULL},
    {"upper", "", 0, 0, oct_jf_upper, NULL},
    {"urlencode", "", 0, 0, oct_jf_urlencode, NULL},
    {"wordcount", "", 0, 0, oct_jf_wordcount, NULL},
    {"filesizeformat", NULL, 0, 0, NULL, NULL},
    {"pprint", NULL, 0, 0, NULL, NULL},
    {"random", NULL, 0, 0, NULL, NULL},
    {"striptags", NULL, 0, 0, NULL, NULL},
    {"urlize", NULL, 0, 0, NULL, NULL},
    {"wordwrap", NULL, 0, 0, NULL, NULL},
    {"xmlattr", NULL, 0, 0, NULL, NULL},
};
// clang-format on

int32_t oct_jfilter_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (strlen(row[i].name) == len && memcmp(row[i].name, name, len) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static oct_status apply(struct oct_jr *r, int32_t fn, const struct oct_jv *v,
                        const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jv p[OCT_JFILTER_MAX_PARAMS];
    if (row[fn].raw) {
        return row[fn].raw(r, v, args, out);
    }
    if (!row[fn].fn) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "the filter '%s' is not supported", row[fn].name);
    }
    OCT_TRY(oct_jargs_bind(r, args, row[fn].name, row[fn].params, row[fn].n_required,
                           row[fn].n_pos_only, p));
    return row[fn].fn(r, v, p, out);
}

oct_status oct_jfilter_apply(struct oct_jr *r, int32_t fn, const struct oct_jv *v,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    OCT_TRY(oct_jr_charge(r, 1));
    OCT_TRY(oct_jr_enter(r)); /* map('map', 'map', ...) */
    struct oct_jv result = {0};
    const oct_status st = apply(r, fn, v, args, &result);
    oct_jr_leave(r);
    *out = result; /* v and out may be the same value */
    return st;
}
