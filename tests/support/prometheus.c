/* SPDX-License-Identifier: Apache-2.0 */
#include "support/prometheus.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAME_BYTES = 128, MAX_FAMILIES = 512, MAX_SERIES = 8192, LINE_BYTES = 2048 };

struct check {
    char families[MAX_FAMILIES][NAME_BYTES];
    size_t n_families;
    char *series[MAX_SERIES]; /* name and labels */
    size_t n_series;
    char family[NAME_BYTES], type[16];
    bool has_help;
    /* of the histogram that is being read */
    char group[LINE_BYTES]; /* labels without le */
    double last_bound, last_count;
    bool has_group;
};

static size_t name_length(const char *s)
{
    size_t n = 0;
    while (isalpha((unsigned char)s[n]) || s[n] == '_' || s[n] == ':' ||
           (n > 0 && isdigit((unsigned char)s[n]))) {
        n++;
    }
    return n;
}

/* Past one label's value, from after its opening quote to after its closing one. */
static const char *skip_value(const char *s, const char *line)
{
    for (; *s != '"'; s++) {
        cr_assert(*s != '\0', "a label does not end: %s", line);
        if (*s == '\\') {
            s++;
            cr_assert(*s == '\\' || *s == '"' || *s == 'n', "a bad escape: %s", line);
        }
    }
    return s + 1;
}

/* Reads {a="b",...}: its end; le's value into le, and the other labels into rest. */
static const char *read_labels(const char *s, const char *line, char le[64], char rest[LINE_BYTES])
{
    size_t n_rest = 0;
    le[0] = '\0';
    s++;
    for (;;) {
        const char *begin = s;
        const size_t n = name_length(s);
        cr_assert(n > 0 && !memchr(s, ':', n) && s[n] == '=' && s[n + 1] == '"',
                  "a label is malformed: %s", line);
        s = skip_value(s + n + 2, line);
        if (n == 2 && !strncmp(begin, "le", 2)) {
            const size_t len = (size_t)(s - begin) - 5;
            cr_assert_lt(len, 64u);
            memcpy(le, begin + 4, len);
            le[len] = '\0';
        } else {
            memcpy(rest + n_rest, begin, (size_t)(s - begin));
            n_rest += (size_t)(s - begin);
            rest[n_rest++] = ',';
        }
        if (*s == '}') {
            rest[n_rest] = '\0';
            return s + 1;
        }
        cr_assert_eq(*s, ',', "no comma between labels: %s", line);
        s++;
    }
}

static bool ends_with(const char *s, const char *tail)
{
    const size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static void check_comment(struct check *c, const char *line)
{
    const bool help = !strncmp(line, "# HELP ", 7);
    cr_assert(help || !strncmp(line, "# TYPE ", 7), "an unknown comment: %s", line);
    const char *name = line + 7;
    const size_t n = name_length(name);
    cr_assert(n > 0 && n < NAME_BYTES && name[n] == ' ' && name[n + 1] != '\0', "no text: %s",
              line);
    if (help) {
        cr_assert(!c->has_help, "a HELP without a TYPE before: %s", line);
        cr_assert(!c->has_group, "a histogram without its count before: %s", line);
        memcpy(c->family, name, n);
        c->family[n] = '\0';
        for (size_t i = 0; i < c->n_families; i++) {
            cr_assert_str_neq(c->families[i], c->family, "a family comes twice: %s", line);
        }
        cr_assert_lt(c->n_families, (size_t)MAX_FAMILIES);
        strcpy(c->families[c->n_families++], c->family);
        c->has_help = true;
        return;
    }
    cr_assert(c->has_help && strlen(c->family) == n && !strncmp(c->family, name, n),
              "a TYPE that does not follow its HELP: %s", line);
    const char *type = name + n + 1;
    cr_assert(!strcmp(type, "counter") || !strcmp(type, "gauge") || !strcmp(type, "histogram"),
              "an unknown type: %s", line);
    cr_assert_eq(!strcmp(type, "counter"), ends_with(c->family, "_total"),
                 "counters, and only they, end in _total: %s", line);
    strcpy(c->type, type);
    c->has_help = false;
}

static void check_histogram(struct check *c, const char *line, const char *suffix, const char *le,
                            const char *rest, double value)
{
    if (!strcmp(suffix, "_bucket")) {
        const double bound = !strcmp(le, "+Inf") ? HUGE_VAL : atof(le);
        cr_assert(*le, "a bucket without le: %s", line);
        if (!c->has_group) {
            strcpy(c->group, rest);
            c->has_group = true;
            c->last_bound = -HUGE_VAL;
            c->last_count = 0;
        }
        cr_assert_str_eq(c->group, rest, "buckets of two series are mixed: %s", line);
        cr_assert_gt(bound, c->last_bound, "the bounds do not ascend: %s", line);
        cr_assert_geq(value, c->last_count, "the counts do not ascend: %s", line);
        c->last_bound = bound;
        c->last_count = value;
        return;
    }
    cr_assert(c->has_group && !strcmp(c->group, rest) && *le == '\0', "no buckets before: %s",
              line);
    if (!strcmp(suffix, "_count")) {
        cr_assert(isinf(c->last_bound), "no bucket +Inf before: %s", line);
        cr_assert_eq(value, c->last_count, "+Inf is not the count: %s", line);
        c->has_group = false;
    } else {
        cr_assert_str_eq(suffix, "_sum", "%s", line);
    }
}

static void check_sample(struct check *c, const char *line)
{
    char le[64] = "", rest[LINE_BYTES] = "", *end;
    const size_t n_family = strlen(c->family), n = name_length(line);
    cr_assert(n >= n_family && !strncmp(line, c->family, n_family) && n_family > 0 && !c->has_help,
              "a sample that is not of the family %s above it: %s", c->family, line);
    const char *after = line + n;
    if (*after == '{') {
        after = read_labels(after, line, le, rest);
    }
    cr_assert_eq(*after, ' ', "no space before the value: %s", line);
    const double value = strtod(after + 1, &end);
    cr_assert(end != after + 1 && *end == '\0', "the value is no number: %s", line);
    cr_assert(isfinite(value), "not finite: %s", line);
    char suffix[NAME_BYTES];
    memcpy(suffix, line + n_family, n - n_family);
    suffix[n - n_family] = '\0';
    if (!strcmp(c->type, "histogram")) {
        check_histogram(c, line, suffix, le, rest, value);
    } else {
        cr_assert_str_eq(suffix, "", "%s", line);
        cr_assert(strcmp(c->type, "counter") != 0 || value >= 0, "a negative counter: %s", line);
    }
    char *series = strndup(line, (size_t)(after - line));
    for (size_t i = 0; i < c->n_series; i++) {
        cr_assert_str_neq(c->series[i], series, "a series comes twice: %s", line);
    }
    cr_assert_lt(c->n_series, (size_t)MAX_SERIES);
    c->series[c->n_series++] = series;
}

size_t prometheus_check(const char *text)
{
    struct check *c = calloc(1, sizeof *c);
    cr_assert_not_null(c);
    for (const char *s = text; *s;) {
        char line[LINE_BYTES];
        const size_t len = strcspn(s, "\n");
        cr_assert(s[len] == '\n' && len > 0 && len < sizeof line, "line %.100s", s);
        memcpy(line, s, len);
        line[len] = '\0';
        if (line[0] == '#') {
            check_comment(c, line);
        } else {
            check_sample(c, line);
        }
        s += len + 1;
    }
    cr_assert(!c->has_help && !c->has_group, "the text ends in the middle of %s", c->family);
    const size_t n = c->n_series;
    for (size_t i = 0; i < n; i++) {
        free(c->series[i]);
    }
    free(c);
    return n;
}

/* The place after `what` where a line begins with it and with what `next` holds; NULL. */
static const char *find_line(const char *text, const char *what, const char *next)
{
    const size_t len = strlen(what);
    for (const char *s = text; *s; s += strcspn(s, "\n"), s += *s == '\n') {
        if (!strncmp(s, what, len) && strchr(next, s[len]) && s[len]) {
            return s + len;
        }
    }
    return NULL;
}

double prometheus_value(const char *text, const char *series)
{
    const char *at = find_line(text, series, " ");
    return at ? atof(at) : NAN;
}

bool prometheus_has(const char *text, const char *name)
{
    return find_line(text, name, " {") != NULL;
}

int promtool(const char *const *args, const char *input, char *out, size_t size)
{
    const char *program = getenv("PROMTOOL");
    const char *argv[16] = {program && *program ? program : "promtool"};
    int in[2], from[2], status;
    for (int i = 0; args[i]; i++) {
        cr_assert_lt(i, 14);
        argv[i + 1] = args[i];
    }
    cr_assert(pipe(in) == 0 && pipe(from) == 0);
    const pid_t reader = fork();
    cr_assert_geq(reader, 0);
    if (reader == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(from[1], 1);
        (void)dup2(from[1], 2);
        (void)close(in[1]);
        (void)close(from[0]);
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(from[1]);
    /* promtool reads all of its input before it writes */
    signal(SIGPIPE, SIG_IGN);
    for (size_t done = 0, len = strlen(input); done < len;) {
        const ssize_t n = write(in[1], input + done, len - done);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    (void)close(in[1]);
    size_t n_out = 0;
    for (ssize_t n; (n = read(from[0], out + n_out, size - 1 - n_out)) > 0;) {
        n_out += (size_t)n;
    }
    out[n_out] = '\0';
    (void)close(from[0]);
    cr_assert_eq(waitpid(reader, &status, 0), reader);
    return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}
