/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/help.h"

#include "serve/terminal.h"

#include <string.h>

enum {
    MIN_WIDTH = 40,
    MAX_WIDTH = 100, /* longer lines are hard to read */
    TEXT_COLUMN = 30,
    NARROW_COLUMN = 8, /* when the terminal is too narrow for two columns */
};

static const char *const group_titles[OCT_N_GROUPS] = {
    [OCT_GROUP_MODEL] = "Model",
    [OCT_GROUP_PROMPT] = "Prompt",
    [OCT_GROUP_SAMPLING] = "How tokens are chosen",
    [OCT_GROUP_TEXT] = "Text and ids",
    [OCT_GROUP_LOAD] = "Load of bench serve",
    [OCT_GROUP_SERVER] = "Server",
    [OCT_GROUP_OUTPUT] = "Output",
    [OCT_GROUP_PROCESS] = "Process",
};

static const char environment_text[] =
    "Every flag is also a variable of the environment, OCTAVO_ and its name in capitals with '_' "
    "for '-': OCTAVO_MAX_TOKENS=64. The command line wins over the environment. In a flag '_' and "
    "'-' are the same; a switch --x is turned off by --no-x; a list has one item a line in the "
    "environment.";

static const struct {
    int code;
    const char *text;
} exits[] = {
#define EXIT_ROW(id, value, text) {value, text},
    OCT_EXITS(EXIT_ROW)
#undef EXIT_ROW
};
enum { N_EXITS = sizeof exits / sizeof *exits };

/* ---- wrapped text ---- */

/* Columns a UTF-8 text takes; our own texts have no wide characters. */
static size_t columns_of(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return n;
}

/* A space that no line is broken at. */
#define HARD_SPACE '\x1f'

/* Appends words of `text`, starting at column `at`, each line but the first indented by `indent`,
 * no line longer than width unless one word is; ends with a newline. A '\n' begins a new line. */
static oct_status append_wrapped(struct oct_buf *b, const char *text, size_t at, size_t indent,
                                 size_t width)
{
    bool first = true; /* no word on this line yet */
    for (const char *s = text; *s;) {
        if (*s == '\n') {
            OCT_TRY(oct_buf_printf(b, "\n%*s", (int)indent, ""));
            at = indent;
            first = true;
            s++;
            continue;
        }
        const size_t len = strcspn(s, " \n");
        const size_t columns = columns_of(s, len);
        if (!first && at + 1 + columns > width) {
            OCT_TRY(oct_buf_printf(b, "\n%*s", (int)indent, ""));
            at = indent;
            first = true;
        }
        OCT_TRY(oct_buf_printf(b, "%s%.*s", first ? "" : " ", (int)len, s));
        for (char *c = b->data + b->len - len; *c; c++) {
            *c = *c == HARD_SPACE ? ' ' : *c;
        }
        at += columns + !first;
        first = false;
        s += len;
        s += *s == ' ';
    }
    return oct_buf_append(b, "\n", 1);
}

/* A left column and a text beside it, or below it where there is no room. */
static oct_status append_pair(struct oct_buf *b, const char *left, const char *text, size_t column,
                              size_t width)
{
    const size_t len = columns_of(left, strlen(left));
    OCT_TRY(oct_buf_append(b, left, strlen(left)));
    if (len + 2 > column) {
        OCT_TRY(oct_buf_printf(b, "\n%*s", (int)column, ""));
    } else {
        OCT_TRY(oct_buf_printf(b, "%*s", (int)(column - len), ""));
    }
    return append_wrapped(b, text, column, column, width);
}

/* ---- one knob ---- */

static oct_status append_flag(struct oct_buf *b, const struct oct_param *row)
{
    if (row->short_name) {
        OCT_TRY(oct_buf_printf(b, "-%c, ", row->short_name));
    }
    const bool on_by_default = row->type == OCT_PARAM_BOOL && !strcmp(row->def, "true");
    return oct_buf_printf(b, "--%s%s%s%s", on_by_default ? "[no-]" : "", row->name,
                          *row->metavar ? " " : "", row->metavar);
}

static oct_status append_default(struct oct_buf *b, const struct oct_param *row)
{
    if (row->type == OCT_PARAM_BOOL) {
        return oct_buf_printf(b, "%s", !strcmp(row->def, "true") ? "on" : "off");
    }
    return oct_buf_printf(b, "%s", row->def ? row->def : row->def_text);
}

static oct_status append_knob_help(struct oct_buf *b, enum oct_param_id id, size_t column,
                                   size_t width)
{
    const struct oct_param *row = oct_param_row(id);
    struct oct_buf left = {0}, text = {0};
    char env[OCT_PARAM_ENV_BYTES];
    oct_status st;
    OCT_TRY_GOTO(oct_buf_printf(&left, "%s", row->short_name ? "  " : "      "), st, done);
    OCT_TRY_GOTO(append_flag(&left, row), st, done);
    OCT_TRY_GOTO(oct_buf_printf(&text, "%s\n[default: ", row->help), st, done);
    OCT_TRY_GOTO(append_default(&text, row), st, done);
    if (row->range) {
        const char *space = strchr(row->range, ' ');
        OCT_ASSERT(space);
        OCT_TRY_GOTO(oct_buf_printf(&text, "; range: %.*s%c%s", (int)(space - row->range),
                                    row->range, HARD_SPACE, space + 1),
                     st, done);
    }
    OCT_TRY_GOTO(oct_buf_printf(&text, "; %s]", oct_param_env_name(id, env)), st, done);
    OCT_TRY_GOTO(append_pair(b, left.data, text.data, column, width), st, done);
done:
    oct_buf_free(&left);
    oct_buf_free(&text);
    return st;
}

static bool has_group(const struct oct_command *c, int group)
{
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        const struct oct_param *row = oct_param_row((enum oct_param_id)i);
        if ((int)row->group == group && (row->commands & (1u << c->bit))) {
            return true;
        }
    }
    return false;
}

/* ---- whole texts ---- */

static oct_status append_overview(struct oct_buf *b, size_t width)
{
    const size_t column = width < 72 ? NARROW_COLUMN : TEXT_COLUMN;
    OCT_TRY(oct_buf_printf(b, "octavo %s: runs language models\n\nusage: octavo COMMAND ...\n\n",
                           oct_version()));
    for (int i = 0; i < OCT_N_COMMANDS; i++) {
        struct oct_buf left = {0};
        oct_status st = oct_buf_printf(&left, "  %s %s", oct_command_name((enum oct_command_bit)i),
                                       oct_commands[i].args);
        if (st == OCT_OK) {
            st = append_pair(b, left.data, oct_commands[i].summary, column, width);
        }
        oct_buf_free(&left);
        OCT_TRY(st);
    }
    OCT_TRY(
        append_wrapped(b, "\noctavo COMMAND --help lists the flags of a command.\n", 0, 0, width));
    OCT_TRY(append_wrapped(b, environment_text, 0, 0, width));
    OCT_TRY(oct_buf_printf(b, "\nExit codes\n"));
    for (int i = 0; i < N_EXITS; i++) {
        OCT_TRY(oct_buf_printf(b, "  %3d  ", exits[i].code));
        OCT_TRY(append_wrapped(b, exits[i].text, 7, 7, width));
    }
    return OCT_OK;
}

static oct_status append_command(struct oct_buf *b, const struct oct_command *c, size_t width)
{
    const size_t column = width < 72 ? NARROW_COLUMN : TEXT_COLUMN;
    bool has_flags = false;
    for (int g = 0; g < OCT_GROUP_HIDDEN; g++) {
        has_flags = has_flags || has_group(c, g);
    }
    OCT_TRY(oct_buf_printf(b, "usage: octavo %s%s%s%s\n\n", oct_command_name(c->bit),
                           *c->args ? " " : "", c->args, has_flags ? " [FLAGS]" : ""));
    OCT_TRY(append_wrapped(b, c->summary, 0, 0, width));
    if (c->details) {
        OCT_TRY(append_wrapped(b, c->details, 0, 0, width));
    }
    for (int g = 0; g < OCT_GROUP_HIDDEN; g++) {
        if (!has_group(c, g)) {
            continue;
        }
        OCT_TRY(oct_buf_printf(b, "\n%s\n", group_titles[g]));
        for (int i = 0; i < OCT_N_PARAMS; i++) {
            const struct oct_param *row = oct_param_row((enum oct_param_id)i);
            if ((int)row->group == g && (row->commands & (1u << c->bit))) {
                OCT_TRY(append_knob_help(b, (enum oct_param_id)i, column, width));
            }
        }
    }
    return OCT_OK;
}

/* A cell of a table: '|' would end it. */
static oct_status append_cell(struct oct_buf *b, const char *text)
{
    for (const char *s = text; *s; s++) {
        OCT_TRY(oct_buf_printf(b, "%s%c", *s == '|' ? "\\" : "", *s));
    }
    return OCT_OK;
}

static oct_status append_markdown_row(struct oct_buf *b, enum oct_param_id id)
{
    const struct oct_param *row = oct_param_row(id);
    char env[OCT_PARAM_ENV_BYTES];
    struct oct_buf flag = {0};
    oct_status st;
    OCT_TRY_GOTO(append_flag(&flag, row), st, done);
    OCT_TRY_GOTO(oct_buf_printf(b, "| `"), st, done);
    OCT_TRY_GOTO(append_cell(b, flag.data), st, done);
    OCT_TRY_GOTO(oct_buf_printf(b, "` | "), st, done);
    OCT_TRY_GOTO(append_cell(b, row->help), st, done);
    OCT_TRY_GOTO(oct_buf_printf(b, " | "), st, done);
    OCT_TRY_GOTO(append_default(b, row), st, done);
    OCT_TRY_GOTO(oct_buf_printf(b, " | %s | `%s` |\n", row->range ? row->range : "",
                                oct_param_env_name(id, env)),
                 st, done);
done:
    oct_buf_free(&flag);
    return st;
}

static oct_status append_markdown(struct oct_buf *b)
{
    OCT_TRY(oct_buf_printf(
        b, "<!-- Made by `octavo help --markdown`; a test checks that it is current. -->\n"
           "# The command line\n\n"));
    OCT_TRY(
        oct_buf_printf(b, "%s\nAn empty variable counts as an absent one.\n\n", environment_text));
    for (int i = 0; i < OCT_N_COMMANDS; i++) {
        const struct oct_command *c = &oct_commands[i];
        OCT_TRY(oct_buf_printf(b, "## octavo %s%s%s\n\n", oct_command_name(c->bit),
                               *c->args ? " " : "", c->args));
        OCT_TRY(oct_buf_printf(b, "Purpose: %s.\n", c->summary));
        if (c->details) {
            OCT_TRY(oct_buf_printf(b, "%s\n", c->details));
        }
        for (int g = 0; g < OCT_GROUP_HIDDEN; g++) {
            if (!has_group(c, g)) {
                continue;
            }
            OCT_TRY(oct_buf_printf(b,
                                   "\n| %s | | default | range | environment |\n"
                                   "|---|---|---|---|---|\n",
                                   group_titles[g]));
            for (int k = 0; k < OCT_N_PARAMS; k++) {
                const struct oct_param *row = oct_param_row((enum oct_param_id)k);
                if ((int)row->group == g && (row->commands & (1u << c->bit))) {
                    OCT_TRY(append_markdown_row(b, (enum oct_param_id)k));
                }
            }
        }
        OCT_TRY(oct_buf_printf(b, "\n"));
    }
    OCT_TRY(oct_buf_printf(b, "## Exit codes\n\n| code | |\n|---|---|\n"));
    for (int i = 0; i < N_EXITS; i++) {
        OCT_TRY(oct_buf_printf(b, "| %d | %s |\n", exits[i].code, exits[i].text));
    }
    return OCT_OK;
}

/* ---- printing ---- */

static enum oct_exit print(int fd, struct oct_buf *b, oct_status st)
{
    struct oct_output out;
    oct_output_init(&out, fd);
    if (st == OCT_OK) {
        st = oct_output_write(&out, b->data, b->len);
    }
    oct_buf_free(b);
    return oct_output_finish(&out, st);
}

enum oct_exit oct_help_print(int fd, const struct oct_command *c)
{
    int width = oct_terminal_width(fd, 80);
    width = width < MIN_WIDTH ? MIN_WIDTH : width > MAX_WIDTH ? MAX_WIDTH : width;
    struct oct_buf b = {0};
    const oct_status st =
        c ? append_command(&b, c, (size_t)width) : append_overview(&b, (size_t)width);
    return print(fd, &b, st);
}

enum oct_exit oct_help_markdown(void)
{
    struct oct_buf b = {0};
    const oct_status st = append_markdown(&b);
    return print(1, &b, st);
}
