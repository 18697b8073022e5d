/* SPDX-License-Identifier: Apache-2.0 */
#include "base/param.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct oct_param rows[] = {
#define PARAM_ROW(id, name, short_name, type, range, def, def_text, group, commands, metavar, \
                  help) \
    {name,     short_name,        OCT_PARAM_##type,     range,   def, \
     def_text, OCT_GROUP_##group, (uint32_t)(commands), metavar, help},
    OCT_PARAMS(PARAM_ROW)
#undef PARAM_ROW
};

static const char *const command_names[] = {
#define COMMAND_NAME(id, name) name,
    OCT_COMMANDS(COMMAND_NAME)
#undef COMMAND_NAME
};

const struct oct_param *oct_param_row(enum oct_param_id id)
{
    OCT_ASSERT((unsigned)id < OCT_N_PARAMS);
    return &rows[id];
}

const char *oct_command_name(enum oct_command_bit bit)
{
    OCT_ASSERT((unsigned)bit < OCT_N_COMMANDS);
    return command_names[bit];
}

const char *oct_param_env_name(enum oct_param_id id, char dst[OCT_PARAM_ENV_BYTES])
{
    const struct oct_param *row = oct_param_row(id);
    dst[0] = '\0';
    if (row->group == OCT_GROUP_HIDDEN) {
        return dst;
    }
    const int n = snprintf(dst, OCT_PARAM_ENV_BYTES, "OCTAVO_%s", row->name);
    OCT_ASSERT(n > 0 && n < OCT_PARAM_ENV_BYTES);
    for (char *c = dst; *c; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
    return dst;
}

/* ---- near words ---- */

enum { MAX_WORD = 64 };

/* Edits (insert, delete, change, swap of neighbours) that turn a into b; both at most MAX_WORD. */
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t d[3][MAX_WORD + 1]; /* rows i-2, i-1, i, in turn */
    for (size_t j = 0; j <= n_b; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t *row = d[i % 3];
        const size_t *up = d[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                const size_t swapped = d[(i - 2) % 3][j - 2] + 1;
                best = swapped < best ? swapped : best;
            }
            row[j] = best;
        }
    }
    return d[n_a % 3][n_b];
}

const char *oct_param_nearest(const char *text, const char *const *words, size_t n)
{
    const size_t len = strlen(text);
    if (len > MAX_WORD) {
        return NULL;
    }
    const char *best = NULL;
    size_t best_distance = len / 3 + 2; /* must be nearer than this */
    for (size_t i = 0; i < n; i++) {
        const size_t word_len = strlen(words[i]);
        OCT_ASSERT(word_len <= MAX_WORD);
        const size_t distance = edit_distance(text, len, words[i], word_len);
        /* a word that shares no more than its length is not near: "x" is no "-h" */
        if (distance < best_distance && distance < word_len) {
            best = words[i];
            best_distance = distance;
        }
    }
    return best;
}

/* ---- values ---- */

/* Copies what the user wrote into dst, for sentences. */
#define SHOWN_BYTES 96

struct interval {
    double min, max;
    bool min_open, max_open;
};

static struct interval parse_range(const char *range)
{
    struct interval r = {.min = -HUGE_VAL, .max = HUGE_VAL};
    if (range) {
        char *end;
        r.min_open = range[0] == '(';
        r.min = strtod(range + 1, &end);
        OCT_ASSERT((range[0] == '(' || range[0] == '[') && *end == ',');
        r.max = strtod(end + 1, &end);
        r.max_open = *end == ')';
        OCT_ASSERT((*end == ')' || *end == ']') && end[1] == '\0');
    }
    return r;
}

static bool in_range(double v, const char *range)
{
    const struct interval r = parse_range(range);
    return (r.min_open ? v > r.min : v >= r.min) && (r.max_open ? v < r.max : v <= r.max);
}

static bool starts_a_number(const char *s)
{
    s += *s == '-' || *s == '+';
    return isdigit((unsigned char)*s) || (*s == '.' && isdigit((unsigned char)s[1]));
}

/* The factor a suffix of a size stands for; 0: no such suffix. */
static int64_t size_factor(const char *suffix)
{
    static const char letters[] = "kMGT";
    if (*suffix == '\0' || !strcmp(suffix, "B")) {
        return 1;
    }
    const char *letter = strchr(letters, *suffix == 'K' ? 'k' : *suffix);
    if (!letter) {
        return 0;
    }
    const bool binary = suffix[1] == 'i';
    const char *rest = suffix + 1 + binary;
    if (*rest != '\0' && strcmp(rest, "B") != 0) {
        return 0;
    }
    int64_t factor = 1;
    for (const char *l = letters; l <= letter; l++) {
        factor *= binary ? 1024 : 1000;
    }
    return factor;
}

static const char *kind_of_value(enum oct_param_type type)
{
    switch (type) {
    case OCT_PARAM_BOOL:
        return "true or false";
    case OCT_PARAM_INT:
        return "a whole number";
    case OCT_PARAM_FLOAT:
        return "a number";
    case OCT_PARAM_BYTES:
        return "a size in bytes such as 1000000, 500M or 2GiB";
    case OCT_PARAM_CHOICE:
    case OCT_PARAM_STRING:
    case OCT_PARAM_STRINGS:
        break;
    }
    return "a text";
}

static oct_status wrong_value(const struct oct_param *row, const char *who, const char *text)
{
    char shown[SHOWN_BYTES];
    oct_error_quote(shown, sizeof shown, text, strlen(text));
    if (row->type == OCT_PARAM_CHOICE) {
        return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" is not one of %s", who, shown, row->metavar);
    }
    if (row->range) {
        return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" is not %s in %s", who, shown,
                        kind_of_value(row->type), row->range);
    }
    return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" is not %s", who, shown, kind_of_value(row->type));
}

static bool parse_bool(const char *text, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strcmp(text, words[i].word)) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

static bool parse_int(const char *text, enum oct_param_type type, int64_t *out)
{
    if (!starts_a_number(text) || *text == '+') {
        return false;
    }
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    int64_t factor = 1;
    if (type == OCT_PARAM_BYTES) {
        factor = size_factor(end);
    } else if (*end != '\0') {
        return false;
    }
    return factor != 0 && end != text && !__builtin_mul_overflow((int64_t)v, factor, out);
}

static bool is_choice(const char *text, const char *choices)
{
    const size_t len = strlen(text);
    for (const char *c = choices; *c;) {
        const size_t n = strcspn(c, "|");
        if (n == len && !memcmp(c, text, n)) {
            return true;
        }
        c += n + (c[n] == '|');
    }
    return false;
}

static oct_status append_string(struct oct_arena *arena, struct oct_param_value *v, const char *s)
{
    if (v->n_list == v->list_cap) {
        const size_t cap = v->list_cap ? 2 * v->list_cap : 8;
        const char **grown = oct_arena_alloc(arena, cap * sizeof *grown);
        if (!grown) {
            return oct_no_memory("the arguments", cap * sizeof *grown);
        }
        if (v->n_list) {
            memcpy(grown, v->list, v->n_list * sizeof *grown);
        }
        v->list = grown;
        v->list_cap = cap;
    }
    v->list[v->n_list++] = s;
    return OCT_OK;
}

/* Sets the value from text; `who` is the flag or the variable, for the sentence. */
static oct_status set_value(struct oct_params *p, enum oct_param_id id, const char *who,
                            const char *text, enum oct_param_origin origin)
{
    const struct oct_param *row = &rows[id];
    struct oct_param_value *v = &p->values[id];
    char *end;
    bool ok = true;
    switch (row->type) {
    case OCT_PARAM_BOOL:
        ok = parse_bool(text, &v->b);
        break;
    case OCT_PARAM_INT:
    case OCT_PARAM_BYTES:
        ok = parse_int(text, row->type, &v->i) && in_range((double)v->i, row->range);
        break;
    case OCT_PARAM_FLOAT:
        v->f = strtod(text, &end);
        ok = starts_a_number(text) && *end == '\0' && isfinite(v->f) && in_range(v->f, row->range);
        break;
    case OCT_PARAM_CHOICE:
        v->s = text;
        ok = is_choice(text, row->metavar);
        break;
    case OCT_PARAM_STRING:
        v->s = text;
        break;
    case OCT_PARAM_STRINGS:
        OCT_TRY(append_string(&p->arena, v, text));
        break;
    }
    if (!ok) {
        return wrong_value(row, who, text);
    }
    v->set = true;
    v->origin = origin;
    return OCT_OK;
}

/* ---- the command line ---- */

struct flag {
    enum oct_param_id id;
    bool negated;      /* --no-name */
    const char *value; /* after '=' or joined to a short flag; NULL: none */
};

/* Compares a flag as typed (len bytes) with a name; '_' counts as '-'. */
static bool same_name(const char *typed, size_t len, const char *name)
{
    if (strlen(name) != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((typed[i] == '_' ? '-' : typed[i]) != name[i]) {
            return false;
        }
    }
    return true;
}

/* Finds the knob an argument names, among those of the commands in mask. */
static bool find_flag(const char *arg, uint32_t mask, struct flag *out)
{
    const bool is_long = arg[0] == '-' && arg[1] == '-';
    const char *name = arg + (is_long ? 2 : 1);
    const size_t len = strcspn(name, "=");
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        const struct oct_param *row = &rows[i];
        if (!(row->commands & mask)) {
            continue;
        }
        const char *value = name[len] == '=' ? name + len + 1 : NULL;
        if (!is_long) {
            if (row->short_name && name[0] == row->short_name) {
                value = name[1] == '\0' ? NULL : name[1] == '=' ? name + 2 : name + 1;
                *out = (struct flag){(enum oct_param_id)i, false, value};
                return true;
            }
            continue;
        }
        if (same_name(name, len, row->name)) {
            *out = (struct flag){(enum oct_param_id)i, false, value};
            return true;
        }
        if (row->type == OCT_PARAM_BOOL && len > 3 && same_name(name, 3, "no-") &&
            same_name(name + 3, len - 3, row->name)) {
            *out = (struct flag){(enum oct_param_id)i, true, value};
            return true;
        }
    }
    return false;
}

static oct_status unknown_flag(const char *arg, enum oct_command_bit command)
{
    char shown[SHOWN_BYTES];
    const size_t len = strcspn(arg, "=");
    oct_error_quote(shown, sizeof shown, arg, len);
    struct flag other;
    if (find_flag(arg, OCT_CMD_ALL, &other)) {
        enum oct_command_bit owner = 0;
        while (!(rows[other.id].commands & (1u << owner))) {
            owner++;
        }
        return OCT_FAIL(OCT_E_ARG, "%s belongs to octavo %s, octavo %s does not have it", shown,
                        command_names[owner], command_names[command]);
    }
    char typed[MAX_WORD + 1];
    const char *names[OCT_N_PARAMS];
    size_t n = 0;
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        if (rows[i].commands & (1u << command) &&
            (rows[i].group != OCT_GROUP_HIDDEN || i == OCT_P_HELP)) {
            names[n++] = rows[i].name;
        }
    }
    const size_t dashes = arg[1] == '-' ? 2 : 1;
    const char *near = NULL;
    if (len - dashes <= MAX_WORD) {
        memcpy(typed, arg + dashes, len - dashes);
        typed[len - dashes] = '\0';
        for (char *c = typed; *c; c++) {
            *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        }
        near = oct_param_nearest(typed, names, n);
    }
    if (near) {
        return OCT_FAIL(OCT_E_ARG, "unknown flag %s; did you mean --%s?", shown, near);
    }
    return OCT_FAIL(OCT_E_ARG, "unknown flag %s; octavo %s --help lists the flags", shown,
                    command_names[command]);
}

static oct_status take_flag(struct oct_params *p, enum oct_command_bit command, int argc,
                            const char *const *argv, int *at)
{
    const char *arg = argv[*at];
    struct flag f;
    if (!find_flag(arg, 1u << command, &f)) {
        return unknown_flag(arg, command);
    }
    const struct oct_param *row = &rows[f.id];
    char who[MAX_WORD + 8];
    (void)snprintf(who, sizeof who, "--%s%s", f.negated ? "no-" : "", row->name);
    if (row->type == OCT_PARAM_BOOL) {
        if (f.negated && f.value) {
            return OCT_FAIL(OCT_E_ARG, "%s takes no value", who);
        }
        OCT_TRY(set_value(p, f.id, who, f.value ? f.value : "true", OCT_FROM_FLAG));
        p->values[f.id].b ^= f.negated;
        return OCT_OK;
    }
    if (!f.value) {
        if (*at + 1 == argc) {
            return OCT_FAIL(OCT_E_ARG, "%s needs a value: %s", who, row->help);
        }
        f.value = argv[++*at];
        /* A forgotten value would swallow the flag after it. */
        struct flag next;
        const bool dashed = f.value[0] == '-' && f.value[1] != '\0';
        if (dashed && strcmp(f.value, "--") != 0 && !starts_a_number(f.value) &&
            find_flag(f.value, 1u << command, &next) && (f.value[1] == '-' || f.value[2] == '\0')) {
            return OCT_FAIL(OCT_E_ARG,
                            "%s needs a value, and %s after it is a flag; write %s=%s if that is "
                            "the value",
                            who, f.value, who, f.value);
        }
    }
    return set_value(p, f.id, who, f.value, OCT_FROM_FLAG);
}

/* ---- environment and defaults ---- */

static oct_status set_from_env(struct oct_params *p, enum oct_param_id id, const char *who,
                               const char *text)
{
    if (rows[id].type != OCT_PARAM_STRINGS) {
        return set_value(p, id, who, text, OCT_FROM_ENV);
    }
    for (const char *line = text; *line;) {
        const size_t len = strcspn(line, "\n");
        if (len > 0) {
            const char *copy = oct_arena_strndup(&p->arena, line, len);
            if (!copy) {
                return oct_no_memory("the arguments", len + 1);
            }
            OCT_TRY(set_value(p, id, who, copy, OCT_FROM_ENV));
        }
        line += len + (line[len] == '\n');
    }
    return OCT_OK;
}

oct_status oct_params_parse(enum oct_command_bit command, int argc, const char *const *argv,
                            struct oct_params *out)
{
    struct oct_params p = {0};
    oct_status st = OCT_OK;
    bool only_args = false;
    p.args = oct_arena_alloc(&p.arena, ((size_t)argc + 1) * sizeof *p.args);
    if (!p.args) {
        st = oct_no_memory("the arguments", ((size_t)argc + 1) * sizeof *p.args);
        goto fail;
    }
    for (int i = 0; i < argc; i++) {
        if (!only_args && !strcmp(argv[i], "--")) {
            only_args = true;
        } else if (only_args || argv[i][0] != '-' || argv[i][1] == '\0') {
            p.args[p.n_args++] = argv[i];
        } else {
            OCT_TRY_GOTO(take_flag(&p, command, argc, argv, &i), st, fail);
        }
    }
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        const enum oct_param_id id = (enum oct_param_id)i;
        if (!(rows[i].commands & (1u << command)) || p.values[i].set) {
            continue;
        }
        char name[OCT_PARAM_ENV_BYTES];
        const char *text = *oct_param_env_name(id, name) ? getenv(name) : NULL;
        if (text && *text) {
            OCT_TRY_GOTO(set_from_env(&p, id, name, text), st, fail);
        } else if (rows[i].def) {
            OCT_TRY_GOTO(set_value(&p, id, rows[i].name, rows[i].def, OCT_FROM_DEFAULT), st, fail);
        }
    }
    *out = p;
    return OCT_OK;
fail:
    oct_arena_free(&p.arena);
    return st;
}

void oct_params_deinit(struct oct_params *p)
{
    oct_arena_free(&p->arena);
    *p = (struct oct_params){0};
}

/* ---- reading ---- */

bool oct_param_is_set(const struct oct_params *p, enum oct_param_id id)
{
    return p->values[id].set;
}

bool oct_param_bool(const struct oct_params *p, enum oct_param_id id)
{
    OCT_ASSERT(rows[id].type == OCT_PARAM_BOOL);
    return p->values[id].b;
}

int64_t oct_param_int(const struct oct_params *p, enum oct_param_id id, int64_t unset)
{
    OCT_ASSERT(rows[id].type == OCT_PARAM_INT || rows[id].type == OCT_PARAM_BYTES);
    return p->values[id].set ? p->values[id].i : unset;
}

double oct_param_float(const struct oct_params *p, enum oct_param_id id, double unset)
{
    OCT_ASSERT(rows[id].type == OCT_PARAM_FLOAT);
    return p->values[id].set ? p->values[id].f : unset;
}

const char *oct_param_str(const struct oct_params *p, enum oct_param_id id, const char *unset)
{
    OCT_ASSERT(rows[id].type == OCT_PARAM_STRING || rows[id].type == OCT_PARAM_CHOICE);
    return p->values[id].set ? p->values[id].s : unset;
}
