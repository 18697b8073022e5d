/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/kernel_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tables as they are; the assembler finds them on its include path. */
__asm__(".pushsection .rodata\n"
        "kernel_gates:\n"
        ".incbin \"gates.tsv\"\n"
        ".byte 0\n"
        "kernel_moves:\n"
        ".incbin \"moves.tsv\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char kernel_gates[], kernel_moves[];

enum { MAX_COLUMNS = 16, CELL_BYTES = 64 };

struct line {
    char cell[MAX_COLUMNS][CELL_BYTES];
    int n;
};

/* The line at `at`; the next one's address, NULL after the last. */
static const char *read_line(const char *at, struct line *l)
{
    l->n = 0;
    if (!*at) {
        return NULL;
    }
    for (bool more = true; more; l->n++) {
        const size_t len = strcspn(at, "\t\n");
        OCT_ASSERT(l->n < MAX_COLUMNS && len < CELL_BYTES);
        memcpy(l->cell[l->n], at, len);
        l->cell[l->n][len] = '\0';
        more = at[len] == '\t';
        at += len + (at[len] != '\0');
    }
    return at;
}

/* Past the comment: names of the columns. */
static const char *read_head(const char *table, struct line *names)
{
    const char *at = strchr(table, '\n');
    OCT_ASSERT(at);
    at = read_line(at + 1, names);
    OCT_ASSERT(at);
    return at;
}

static const char *cell(const struct line *names, const struct line *l, const char *name)
{
    int i = 0;
    while (i < names->n && strcmp(names->cell[i], name) != 0) {
        i++;
    }
    OCT_ASSERT(i < names->n && i < l->n);
    return l->cell[i];
}

/* Calls fn for each line of the moves of a kernel. */
typedef oct_status (*each_fn)(void *self, const struct line *names, const struct line *l);

static oct_status each_move(const char *kernel, const char *arch, each_fn fn, void *self)
{
    struct line names, l;
    const char *at = read_head(kernel_moves, &names);
    while ((at = read_line(at, &l)) != NULL) {
        if (!strcmp(cell(&names, &l, "kernel"), kernel) &&
            !strcmp(cell(&names, &l, "arch"), arch)) {
            OCT_TRY(fn(self, &names, &l));
        }
    }
    return OCT_OK;
}

/* ---- as lines ---- */

struct text {
    char at[512];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(t->at + t->len, sizeof t->at - t->len, fmt, args);
    va_end(args);
    OCT_ASSERT(n >= 0 && (size_t)n < sizeof t->at - t->len);
    t->len += (size_t)n;
}

/* What does not apply is 0 in the table. */
static const char *counted(const struct line *names, const struct line *l, const char *name)
{
    const char *value = cell(names, l, name);
    return strtod(value, NULL) > 0 ? value : "-";
}

static oct_status put_move(void *self, const struct line *names, const struct line *l)
{
    struct text *t = self;
    if (t->len == 0) { /* not the first: the kernel's columns are said */
        put(t, "%82s", "");
    }
    put(t, " %6s %7s %6s  %s\n", counted(names, l, "waves"), counted(names, l, "sectors"),
        counted(names, l, "bytes"), cell(names, l, "case"));
    return OCT_OK;
}

struct moves {
    struct oct_output *out;
    struct text t;
};

static oct_status print_move(void *self, const struct line *names, const struct line *l)
{
    struct moves *m = self;
    OCT_TRY(put_move(&m->t, names, l));
    const oct_status st = oct_output_write(m->out, m->t.at, m->t.len);
    m->t.len = 0;
    return st;
}

oct_status oct_kernel_tables_print(struct oct_output *out)
{
    struct line names, l;
    struct text head = {.len = 0};
    put(&head,
        "\nThe kernels: what the compiler made of them, and on the virtual GPU wavefronts, sectors "
        "and bytes\nover the least (docs/kernels.md). MMA, stalls, eta: of the hot loop.\n");
    put(&head, "%-27s %-6s %5s %6s %6s %9s %4s %6s %5s %6s %7s %6s  %s\n", "", "", "regs", "spills",
        "blocks", "shared", "MMA", "stalls", "eta", "waves", "sectors", "bytes", "at");
    OCT_TRY(oct_output_write(out, head.at, head.len));
    const char *at = read_head(kernel_gates, &names);
    while ((at = read_line(at, &l)) != NULL) {
        struct moves m = {.out = out, .t = {.len = 0}};
        const char *kernel = cell(&names, &l, "kernel"), *arch = cell(&names, &l, "arch");
        put(&m.t, "%-27s %-6s %5s %6s %6s %9s %4s %6s %5s", kernel, arch, cell(&names, &l, "regs"),
            cell(&names, &l, "spills"), cell(&names, &l, "blocks_per_sm"), cell(&names, &l, "smem"),
            cell(&names, &l, "loop_mma"), cell(&names, &l, "stall"), cell(&names, &l, "eta"));
        OCT_TRY(each_move(kernel, arch, print_move, &m));
        if (m.t.len > 0) { /* nothing was counted */
            put(&m.t, "\n");
            OCT_TRY(oct_output_write(out, m.t.at, m.t.len));
        }
    }
    return OCT_OK;
}

/* ---- as JSON ---- */

static json_t *value_of(const char *text)
{
    char *end;
    const double x = strtod(text, &end);
    if (end == text || *end) {
        return strcmp(text, "-") == 0 ? json_null() : json_string(text);
    }
    return strchr(text, '.') ? json_real(x) : json_integer((json_int_t)x);
}

/* NULL: no memory. */
static json_t *object_of(const struct line *names, const struct line *l)
{
    json_t *o = json_object();
    for (int i = 0; o && i < names->n && i < l->n; i++) {
        if (json_object_set_new(o, names->cell[i], value_of(l->cell[i])) != 0) {
            json_decref(o);
            o = NULL;
        }
    }
    return o;
}

static oct_status append_move(void *self, const struct line *names, const struct line *l)
{
    return json_array_append_new(self, object_of(names, l)) == 0 ? OCT_OK
                                                                 : oct_no_memory("results", 1);
}

json_t *oct_kernel_tables_json(void)
{
    struct line names, l;
    json_t *all = json_array();
    const char *at = read_head(kernel_gates, &names);
    while (all && (at = read_line(at, &l)) != NULL) {
        json_t *o = object_of(&names, &l), *moves = json_array();
        const bool ok = o && moves &&
                        each_move(cell(&names, &l, "kernel"), cell(&names, &l, "arch"), append_move,
                                  moves) == OCT_OK &&
                        json_object_set(o, "counted", moves) == 0 && json_array_append(all, o) == 0;
        json_decref(o);
        json_decref(moves);
        if (!ok) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}
