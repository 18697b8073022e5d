/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/param.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 16 };

/* Parses arguments that one string holds, separated by '|'. */
static oct_status parse(enum oct_command_bit command, const char *line, struct oct_params *out)
{
    static char text[512];
    const char *argv[MAX_ARGS] = {0};
    int argc = 0;
    cr_assert_lt(strlen(line), sizeof text);
    strcpy(text, line);
    for (char *s = text; *line && s; argc++) {
        cr_assert_lt(argc, MAX_ARGS);
        argv[argc] = s;
        s = strchr(s, '|');
        if (s) {
            *s++ = '\0';
        }
    }
    return oct_params_parse(command, argc, argv, out);
}

Test(param, every_row_is_well_formed)
{
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        const struct oct_param *row = oct_param_row((enum oct_param_id)i);
        cr_assert_neq(row->commands, 0u, "--%s belongs to no command", row->name);
        cr_assert_null(strchr(row->name, '_'), "--%s: write '-'", row->name);
        cr_assert(strncmp(row->name, "no-", 3) != 0, "--%s: name what it is, not what not",
                  row->name);
        cr_assert(row->def || row->def_text, "--%s: its help cannot say the default", row->name);
        cr_assert_eq(row->type == OCT_PARAM_BOOL, row->metavar[0] == '\0', "--%s", row->name);
        char env[OCT_PARAM_ENV_BYTES];
        cr_assert_eq(row->group == OCT_GROUP_HIDDEN,
                     oct_param_env_name((enum oct_param_id)i, env)[0] == '\0', "--%s", row->name);
        for (int j = 0; j < i; j++) {
            const struct oct_param *other = oct_param_row((enum oct_param_id)j);
            cr_assert(strcmp(row->name, other->name) != 0, "--%s twice", row->name);
            cr_assert(!row->short_name || row->short_name != other->short_name ||
                          !(row->commands & other->commands),
                      "-%c is --%s and --%s", row->short_name, row->name, other->name);
        }
    }
    for (int c = 0; c < OCT_N_COMMANDS; c++) { /* defaults lie in their own ranges */
        struct oct_params p;
        cr_assert_eq(oct_params_parse((enum oct_command_bit)c, 0, NULL, &p), OCT_OK, "%s: %s",
                     oct_command_name((enum oct_command_bit)c), oct_last_error());
        oct_params_deinit(&p);
    }
}

Test(param, a_value_may_be_joined_or_follow_and_underscores_are_dashes)
{
    static const char *const lines[] = {"--max-tokens|7", "--max-tokens=7", "--max_tokens|7",
                                        "--max_tokens=7", "-n|7",           "-n7",
                                        "-n=7",           "-n|3|-n|7"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct oct_params p;
        cr_assert_eq(parse(OCT_CMD_BIT_RUN, lines[i], &p), OCT_OK, "%s: %s", lines[i],
                     oct_last_error());
        cr_assert_eq(oct_param_int(&p, OCT_P_MAX_TOKENS, -1), 7, "%s", lines[i]);
        cr_assert_eq(p.values[OCT_P_MAX_TOKENS].origin, OCT_FROM_FLAG, "%s", lines[i]);
        cr_assert_eq(p.n_args, 0u, "%s", lines[i]);
        oct_params_deinit(&p);
    }
}

Test(param, a_switch_has_four_spellings)
{
    static const struct {
        const char *line;
        bool want;
    } row[] = {{"", true},
               {"--stats", true},
               {"--no-stats", false},
               {"--no_stats", false},
               {"--stats=false", false},
               {"--stats=1", true},
               {"--no-stats|--stats", true}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_params p;
        cr_assert_eq(parse(OCT_CMD_BIT_RUN, row[i].line, &p), OCT_OK, "%s: %s", row[i].line,
                     oct_last_error());
        cr_assert_eq(oct_param_bool(&p, OCT_P_STATS), row[i].want, "%s", row[i].line);
        oct_params_deinit(&p);
    }
}

Test(param, what_is_no_flag_is_an_argument)
{
    struct oct_params p;
    cr_assert_eq(parse(OCT_CMD_BIT_RUN, "a|--raw|b|-|--|--raw|-p", &p), OCT_OK, "%s",
                 oct_last_error());
    static const char *const want[] = {"a", "b", "-", "--raw", "-p"};
    cr_assert_eq(p.n_args, 5u, "%zu", p.n_args);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_str_eq(p.args[i], want[i]);
    }
    cr_assert(oct_param_bool(&p, OCT_P_RAW));
    oct_params_deinit(&p);
}

Test(param, values_may_begin_with_a_dash)
{
    struct oct_params p;
    cr_assert_eq(parse(OCT_CMD_BIT_RUN,
                       "--presence-penalty|-1.5|-p|- a list|--system=--raw|"
                       "--stop|--- |--stop|-x",
                       &p),
                 OCT_OK, "%s", oct_last_error());
    cr_assert_float_eq(oct_param_float(&p, OCT_P_PRESENCE_PENALTY, 0), -1.5, 0);
    cr_assert_str_eq(oct_param_str(&p, OCT_P_PROMPT, ""), "- a list");
    cr_assert_str_eq(oct_param_str(&p, OCT_P_SYSTEM, ""), "--raw");
    cr_assert_eq(p.values[OCT_P_STOP].n_list, 2u);
    cr_assert_str_eq(p.values[OCT_P_STOP].list[0], "--- ");
    cr_assert_str_eq(p.values[OCT_P_STOP].list[1], "-x");
    oct_params_deinit(&p);
}

Test(param, a_list_keeps_every_item_in_order)
{
    const char *argv[40];
    static const char items[] = "a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q\0r\0s\0t";
    for (int i = 0; i < 20; i++) {
        argv[2 * i] = "--stop";
        argv[2 * i + 1] = items + 2 * i;
    }
    struct oct_params p;
    cr_assert_eq(oct_params_parse(OCT_CMD_BIT_RUN, 40, argv, &p), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(p.values[OCT_P_STOP].n_list, 20u);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_str_eq(p.values[OCT_P_STOP].list[i], items + 2 * i);
    }
    oct_params_deinit(&p);
}

Test(param, sizes_have_decimal_and_binary_suffixes)
{
    static const struct {
        const char *text;
        int64_t want;
    } row[] = {
        {"1", 1},     {"500M", 500000000}, {"500MB", 500000000}, {"2k", 2000},
        {"2K", 2000}, {"2KiB", 2048},      {"3Gi", 3ll << 30},   {"8388607TiB", 8388607ll << 40}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *argv[] = {"--kv-cache-bytes", row[i].text};
        struct oct_params p;
        cr_assert_eq(oct_params_parse(OCT_CMD_BIT_RUN, 2, argv, &p), OCT_OK, "%s: %s", row[i].text,
                     oct_last_error());
        cr_assert_eq(oct_param_int(&p, OCT_P_KV_CACHE_BYTES, 0), row[i].want, "%s", row[i].text);
        oct_params_deinit(&p);
    }
}

Test(param, a_bad_line_gets_a_sentence_that_names_flag_value_and_range)
{
    static const struct {
        enum oct_command_bit command;
        const char *line, *want;
    } row[] = {
        {OCT_CMD_BIT_RUN, "--max-tokens|0", "--max-tokens: \"0\" is not a whole number in [1, "},
        {OCT_CMD_BIT_RUN, "--max-tokens|x", "--max-tokens: \"x\" is not a whole number in [1, "},
        {OCT_CMD_BIT_RUN, "--max-tokens|", "--max-tokens: \"\" is not"},
        {OCT_CMD_BIT_RUN, "--max-tokens|7x", "\"7x\" is not a whole number"},
        {OCT_CMD_BIT_RUN, "--max-tokens| 7", "\" 7\" is not a whole number"},
        {OCT_CMD_BIT_RUN, "--max-tokens|1.5", "\"1.5\" is not a whole number"},
        {OCT_CMD_BIT_RUN, "--seed|99999999999999999999", "\"99999999999999999999\" is not"},
        {OCT_CMD_BIT_RUN, "--seed|-1", "--seed: \"-1\" is not a whole number in [0, inf)"},
        {OCT_CMD_BIT_RUN, "--top-p|0", "--top-p: \"0\" is not a number in (0, 1]"},
        {OCT_CMD_BIT_RUN, "--top-p|1.01", "--top-p: \"1.01\" is not a number in (0, 1]"},
        {OCT_CMD_BIT_RUN, "--top-p|nan", "\"nan\" is not a number"},
        {OCT_CMD_BIT_RUN, "--temperature|inf", "\"inf\" is not a number in [0, 100]"},
        {OCT_CMD_BIT_RUN, "--temperature|1e999", "\"1e999\" is not a number"},
        {OCT_CMD_BIT_RUN, "--presence-penalty|-2.5", "in [-2, 2]"},
        {OCT_CMD_BIT_RUN, "--kv-cache-bytes|2X", "\"2X\" is not a size in bytes"},
        {OCT_CMD_BIT_RUN, "--kv-cache-bytes|2GiBs", "\"2GiBs\" is not a size in bytes"},
        {OCT_CMD_BIT_RUN, "--kv-cache-bytes|8388608TiB", "is not a size in bytes"},
        {OCT_CMD_BIT_RUN, "--dtype|fp4", "\"fp4\" is not one of auto|bfloat16|float32"},
        {OCT_CMD_BIT_RUN, "--dtype|auto|--dtype|bf", "\"bf\" is not one of"},
        {OCT_CMD_BIT_RUN, "--raw=maybe", "--raw: \"maybe\" is not true or false"},
        {OCT_CMD_BIT_RUN, "--no-raw=1", "--no-raw takes no value"},
        {OCT_CMD_BIT_RUN, "--system", "--system needs a value"},
        {OCT_CMD_BIT_RUN, "--system|--raw", "--system needs a value, and --raw after it is a flag"},
        {OCT_CMD_BIT_RUN, "-p|-h", "--prompt needs a value, and -h after it is a flag"},
        {OCT_CMD_BIT_RUN, "--temprature|1",
         "unknown flag --temprature; did you mean --temperature?"},
        {OCT_CMD_BIT_RUN, "--TOP_P=1", "unknown flag --TOP_P; did you mean --top-p?"},
        {OCT_CMD_BIT_RUN, "--hlep", "did you mean --help?"},
        {OCT_CMD_BIT_RUN, "--no-max-tokens", "did you mean --max-tokens?"},
        {OCT_CMD_BIT_RUN, "--qqqqqqqqq", "unknown flag --qqqqqqqqq; octavo run --help"},
        {OCT_CMD_BIT_RUN, "-Z", "unknown flag -Z; octavo run --help"},
        {OCT_CMD_BIT_INFO, "--temperature|1", "--temperature belongs to octavo run, octavo info"},
        {OCT_CMD_BIT_RUN, "--\x1b[31m", "unknown flag --?[31m"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_params p;
        cr_assert_eq(parse(row[i].command, row[i].line, &p), OCT_E_ARG, "%s", row[i].line);
        cr_assert(strstr(oct_last_error(), row[i].want), "%s: %s", row[i].line, oct_last_error());
    }
}

Test(param, the_command_line_wins_over_the_environment_and_that_over_the_default)
{
    setenv("OCTAVO_MAX_NUM_BATCHED_TOKENS", "100", 1);
    setenv("OCTAVO_MIN_TOKENS", "3", 1);
    setenv("OCTAVO_SYSTEM", "", 1);
    setenv("OCTAVO_STATS", "off", 1);
    setenv("OCTAVO_STOP", "one\n\ntwo words\n", 1);
    struct oct_params p;
    cr_assert_eq(parse(OCT_CMD_BIT_RUN, "--min-tokens|4", &p), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_param_int(&p, OCT_P_MAX_NUM_BATCHED_TOKENS, 0), 100);
    cr_assert_eq(p.values[OCT_P_MAX_NUM_BATCHED_TOKENS].origin, OCT_FROM_ENV);
    cr_assert_eq(oct_param_int(&p, OCT_P_MIN_TOKENS, 0), 4);
    cr_assert_not(oct_param_is_set(&p, OCT_P_SYSTEM), "an empty variable is an absent one");
    cr_assert_not(oct_param_bool(&p, OCT_P_STATS));
    cr_assert_eq(p.values[OCT_P_STOP].n_list, 2u);
    cr_assert_str_eq(p.values[OCT_P_STOP].list[1], "two words");
    cr_assert_not(oct_param_is_set(&p, OCT_P_SEED));
    cr_assert_eq(oct_param_int(&p, OCT_P_SEED, 42), 42);
    cr_assert_str_eq(oct_param_str(&p, OCT_P_DTYPE, ""), "auto");
    oct_params_deinit(&p);

    /* given on the command line, a list replaces the environment's */
    cr_assert_eq(parse(OCT_CMD_BIT_RUN, "--stop|x", &p), OCT_OK);
    cr_assert_eq(p.values[OCT_P_STOP].n_list, 1u);
    oct_params_deinit(&p);

    setenv("OCTAVO_MIN_TOKENS", "many", 1);
    cr_assert_eq(parse(OCT_CMD_BIT_RUN, "", &p), OCT_E_ARG);
    cr_assert_str_eq(oct_last_error(),
                     "OCTAVO_MIN_TOKENS: \"many\" is not a whole number in [0, 134217728]");
    cr_assert_eq(parse(OCT_CMD_BIT_INFO, "", &p), OCT_OK, "another command's knob is not read: %s",
                 oct_last_error());
    oct_params_deinit(&p);
}

Test(param, near_words_are_near_and_far_ones_are_not)
{
    static const char *const words[] = {"run", "info", "tokenize", "version", "help"};
    static const struct {
        const char *text, *want;
    } row[] = {{"rnu", "run"},  {"inof", "info"},       {"tokenise", "tokenize"},
               {"token", NULL}, {"versoin", "version"}, {"x", NULL},
               {"", NULL},      {"serve", NULL},        {"hepl", "help"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *got = oct_param_nearest(row[i].text, words, 5);
        cr_assert(got == row[i].want || (got && row[i].want && !strcmp(got, row[i].want)),
                  "%s: %s instead of %s", row[i].text, got ? got : "none",
                  row[i].want ? row[i].want : "none");
    }
}

#if OCT_FAULTS
Test(param, every_failing_allocation_is_reported)
{
    setenv("OCTAVO_STOP", "one\ntwo", 1);
    for (uint64_t k = 1;; k++) {
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        struct oct_params p;
        const oct_status st = parse(OCT_CMD_BIT_RUN, "model|--raw", &p);
        if (st == OCT_OK) {
            cr_assert_gt(k, 1u);
            oct_params_deinit(&p);
            break;
        }
        cr_assert_eq(st, OCT_E_MEM, "k=%d: %s", (int)k, oct_last_error());
    }
}
#endif
