/* SPDX-License-Identifier: Apache-2.0
 *
 * The program without a model: help, versions, and what is refused. */
#include "base/io.h"
#include "base/param.h"
#include "serve/spawn.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* An error is one line on standard error, "octavo: " and a sentence; nothing on standard output. */
static void assert_refused(const struct spawned *s, const char *what, int code, const char *want)
{
    cr_assert_eq(s->code, code, "%s: exit code %d\n%s", what, s->code, s->err.data);
    cr_assert_eq(s->out.len, 0u, "%s: output %s", what, s->out.data);
    cr_assert_eq(strncmp(s->err.data, "octavo: ", 8), 0, "%s: %s", what, s->err.data);
    const char *newline = strchr(s->err.data, '\n');
    cr_assert(newline && newline[1] == '\0', "%s: not one line: %s", what, s->err.data);
    cr_assert(strstr(s->err.data, want), "%s: %s", what, s->err.data);
}

Test(cli, the_overview_lists_commands_and_exit_codes)
{
    static const char *const ways[] = {"--help", "-h", "help"};
    for (size_t w = 0; w < 3; w++) {
        struct spawned s;
        spawn_line(&s, ways[w], NULL);
        cr_assert_eq(s.code, 0, "%s: %d", ways[w], s.code);
        for (int c = 0; c < OCT_N_COMMANDS; c++) {
            char line[64];
            (void)snprintf(line, sizeof line, "\n  %s", oct_command_name((enum oct_command_bit)c));
            cr_assert(strstr(s.out.data, line), "%s: no %s in\n%s", ways[w], line, s.out.data);
        }
        cr_assert(strstr(s.out.data, "130  stopped by Ctrl-C"), "%s", s.out.data);
        spawned_free(&s);
    }
}

Test(cli, without_arguments_it_shows_how_to_use_it_and_fails)
{
    struct spawned s;
    spawn_line(&s, "", NULL);
    cr_assert_eq(s.code, 2);
    cr_assert_eq(s.out.len, 0u);
    cr_assert(strstr(s.err.data, "usage: octavo COMMAND"), "%s", s.err.data);
    spawned_free(&s);
}

Test(cli, the_version_is_one_line)
{
    static const char *const ways[] = {"--version", "version"};
    for (size_t w = 0; w < 2; w++) {
        struct spawned s;
        char want[64];
        (void)snprintf(want, sizeof want, "octavo %s\n", oct_version());
        spawn_line(&s, ways[w], NULL);
        cr_assert_eq(s.code, 0);
        cr_assert_str_eq(s.out.data, want);
        spawned_free(&s);
    }
}

Test(cli, the_help_of_a_command_shows_all_its_flags_and_variables_in_80_columns)
{
    for (int c = 0; c < OCT_N_COMMANDS; c++) {
        struct spawned s, same;
        const char *name = oct_command_name((enum oct_command_bit)c);
        const char *flag[] = {name, "--help", NULL}, *word[] = {"help", name, NULL};
        spawn(&s, flag, NULL, NULL);
        spawn(&same, word, NULL, NULL);
        cr_assert_eq(s.code, 0, "%s: %d %s", name, s.code, s.err.data);
        cr_assert_str_eq(s.out.data, same.out.data);
        for (int i = 0; i < OCT_N_PARAMS; i++) {
            const struct oct_param *row = oct_param_row((enum oct_param_id)i);
            const bool here = (row->commands & (1u << c)) != 0 && row->group != OCT_GROUP_HIDDEN;
            char env[OCT_PARAM_ENV_BYTES], text[OCT_PARAM_ENV_BYTES + 2];
            if (row->group != OCT_GROUP_HIDDEN) {
                (void)snprintf(text, sizeof text, "%s]",
                               oct_param_env_name((enum oct_param_id)i, env));
                cr_assert_eq(strstr(s.out.data, text) != NULL, here, "%s: %s", name, text);
                cr_assert_eq(strstr(s.out.data, row->name) == NULL && here, false, "%s: --%s", name,
                             row->name);
            }
        }
        for (const char *line = s.out.data; *line;) {
            const size_t len = strcspn(line, "\n");
            cr_assert_leq(len, 80u, "%s: %.*s", name, (int)len, line);
            line += len + (line[len] == '\n');
        }
        spawned_free(&s);
        spawned_free(&same);
    }
}

Test(cli, docs_cli_md_is_what_the_tables_say)
{
    struct spawned s;
    struct oct_file f;
    char *docs;
    size_t len;
    spawn_line(&s, "help|--markdown", NULL);
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    cr_assert_eq(oct_file_open(OCT_SOURCE_DIR "/docs/cli.md", &f), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_file_slurp(&f, 1 << 20, &docs, &len), OCT_OK, "%s", oct_last_error());
    cr_assert_str_eq(docs, s.out.data, "run: octavo help --markdown > docs/cli.md");
    oct_free(docs);
    oct_file_close(&f);
    spawned_free(&s);
}

Test(cli, bad_usage_gets_one_sentence_and_code_2)
{
    static const struct {
        const char *line, *want;
    } row[] = {
        {"rnu", "unknown command rnu; did you mean octavo run?"},
        {"zzzzzz", "unknown command zzzzzz; octavo --help lists the commands"},
        {"help|rnu", "did you mean octavo run?"},
        {"--raw|run", "the command comes first"},
        {"run", "no model is given"},
        {"run|", "the model's path is empty"},
        {"run|m|hello", "does not know what to do with the argument \"hello\"; give the prompt"},
        {"run|-m|m|hello", "does not know what to do with the argument \"hello\""},
        {"info|a|b", "octavo info does not know what to do with the argument \"b\""},
        {"version|x", "does not know what to do with the argument \"x\""},
        {"run|m|--temprature|1", "unknown flag --temprature; did you mean --temperature?"},
        {"run|m|--max_tokens|0", "--max-tokens: \"0\" is not a whole number in [1, 134217728]"},
        {"run|m|--top_p=2", "--top-p: \"2\" is not a number in (0, 1]"},
        {"info|m|--top-p|1", "--top-p belongs to octavo run, octavo info does not have it"},
        {"run|m|-p|x|--logprobs|3", "--logprobs are shown in JSON only; add --json"},
        {"run|m|-p|x|--system|s|--raw", "--system needs the chat template"},
        {"run|m|-p|\xff", "--prompt is not UTF-8 at byte 0 (0xff)"},
        {"run|m", "standard input is empty"},
        {"run|m|-p|-", "standard input is empty"},
        {"tokenize|m|text|--decode|1", "--decode takes ids and no text"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct spawned s;
        spawn_line(&s, row[i].line, NULL);
        assert_refused(&s, row[i].line, 2, row[i].want);
        spawned_free(&s);
    }
}

Test(cli, a_variable_is_checked_like_a_flag_and_named)
{
    const char *const args[] = {"run", "m", "-p", "x", NULL};
    const char *const env[] = {"OCTAVO_MAX_TOKENS=lots", NULL};
    struct spawned s;
    spawn(&s, args, NULL, env);
    assert_refused(&s, env[0], 2, "OCTAVO_MAX_TOKENS: \"lots\" is not a whole number");
    spawned_free(&s);
}

Test(cli, a_model_that_is_none_gets_one_sentence_and_code_2)
{
    char *dir = oct_test_make_dir();
    char path[5][256];
    static const char garbage[4096] = "GGUF? No: just some bytes.";
    static const char *const want[] = {"no such file", "config.json", "", "", "no such file"};
    (void)snprintf(path[0], sizeof path[0], "%s/none.gguf", dir);
    (void)snprintf(path[1], sizeof path[1], "%s", dir);
    (void)snprintf(path[2], sizeof path[2], "%s/garbage.gguf", dir);
    (void)snprintf(path[3], sizeof path[3], "%s/empty.gguf", dir);
    (void)snprintf(path[4], sizeof path[4], "%s/garbage.gguf/x", dir);
    oct_test_write_file(dir, "garbage.gguf", garbage, sizeof garbage);
    oct_test_write_file(dir, "empty.gguf", "", 0);
    for (size_t i = 0; i < 5; i++) {
        const char *const lines[][6] = {{"run", path[i], "-p", "x", NULL},
                                        {"info", path[i], NULL},
                                        {"info", path[i], "--json", NULL},
                                        {"tokenize", path[i], "x", NULL}};
        for (size_t l = 0; l < 4; l++) {
            struct spawned s;
            spawn(&s, lines[l], NULL, NULL);
            assert_refused(&s, path[i], 2, want[i]);
            cr_assert(strstr(s.err.data, dir), "the sentence does not say which: %s", s.err.data);
            spawned_free(&s);
        }
    }
    oct_test_remove_dir(dir);
}

Test(cli, the_model_may_come_from_the_environment)
{
    const char *const args[] = {"info", NULL};
    const char *const env[] = {"OCTAVO_MODEL=/nowhere/at/all.gguf", NULL};
    struct spawned s;
    spawn(&s, args, NULL, env);
    assert_refused(&s, env[0], 2, "/nowhere/at/all.gguf");
    spawned_free(&s);
}

/* Runs `octavo --help` with standard output at fd. */
static int help_to(int fd)
{
    const int old = dup(1);
    cr_assert(old >= 0 && dup2(fd, 1) == 1);
    const int status = system("trap '' PIPE; " OCT_BINARY " --help 2>/dev/null");
    cr_assert_eq(dup2(old, 1), 1);
    (void)close(old);
    return status >= 0 && (status & 0x7f) == 0 ? status >> 8 : -1;
}

Test(cli, output_that_cannot_be_written_is_told_by_the_exit_code)
{
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0) {
        cr_skip_test("no /dev/full here");
    }
    cr_assert_eq(help_to(full), 1);
    (void)close(full);
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    (void)close(ends[0]);
    cr_assert_eq(help_to(ends[1]), 141);
    (void)close(ends[1]);
}
