/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_filter.h - the rows of the filter table: jinja_filter_text.c and jinja_filter_seq.c hold
 * the functions, jinja_filters.c the table. */
#ifndef OCT_TEXT_JINJA_FILTER_H
#define OCT_TEXT_JINJA_FILTER_H

#include "text/jinja_run.h"

enum { OCT_JFILTER_MAX_PARAMS = 5 };

/* p: the parameters of the row, missing where not given. */
typedef oct_status (*oct_jfilter_fn)(struct oct_jr *r, const struct oct_jv *v,
                                     const struct oct_jv *p, struct oct_jv *out);
/* For filters that take any arguments. */
typedef oct_status (*oct_jfilter_raw_fn)(struct oct_jr *r, const struct oct_jv *v,
                                         const struct oct_jargs *args, struct oct_jv *out);

#define OCT_JFILTER(name) \
    OCT_CHECKED oct_status name(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p, \
                                struct oct_jv *out)
#define OCT_JFILTER_RAW(name) \
    OCT_CHECKED oct_status name(struct oct_jr *r, const struct oct_jv *v, \
                                const struct oct_jargs *args, struct oct_jv *out)

/* text and numbers */
OCT_JFILTER(oct_jf_abs);
OCT_JFILTER(oct_jf_capitalize);
OCT_JFILTER(oct_jf_center);
OCT_JFILTER(oct_jf_escape);
OCT_JFILTER(oct_jf_float);
OCT_JFILTER(oct_jf_forceescape);
OCT_JFILTER_RAW(oct_jf_format);
OCT_JFILTER(oct_jf_indent);
OCT_JFILTER(oct_jf_int);
OCT_JFILTER(oct_jf_lower);
OCT_JFILTER(oct_jf_replace);
OCT_JFILTER(oct_jf_round);
OCT_JFILTER(oct_jf_safe);
OCT_JFILTER(oct_jf_string);
OCT_JFILTER(oct_jf_title);
OCT_JFILTER(oct_jf_tojson);
OCT_JFILTER(oct_jf_trim);
OCT_JFILTER(oct_jf_truncate);
OCT_JFILTER(oct_jf_upper);
OCT_JFILTER(oct_jf_urlencode);
OCT_JFILTER(oct_jf_wordcount);

/* sequences and mappings */
OCT_JFILTER(oct_jf_attr);
OCT_JFILTER(oct_jf_batch);
OCT_JFILTER(oct_jf_default);
OCT_JFILTER(oct_jf_dictsort);
OCT_JFILTER(oct_jf_first);
OCT_JFILTER(oct_jf_groupby);
OCT_JFILTER(oct_jf_items);
OCT_JFILTER(oct_jf_join);
OCT_JFILTER(oct_jf_last);
OCT_JFILTER(oct_jf_length);
OCT_JFILTER(oct_jf_list);
OCT_JFILTER_RAW(oct_jf_map);
OCT_JFILTER(oct_jf_max);
OCT_JFILTER(oct_jf_min);
OCT_JFILTER_RAW(oct_jf_reject);
OCT_JFILTER_RAW(oct_jf_rejectattr);
OCT_JFILTER(oct_jf_reverse);
OCT_JFILTER_RAW(oct_jf_select);
OCT_JFILTER_RAW(oct_jf_selectattr);
OCT_JFILTER(oct_jf_slice);
OCT_JFILTER(oct_jf_sort);
OCT_JFILTER(oct_jf_sum);
OCT_JFILTER(oct_jf_unique);

#endif
