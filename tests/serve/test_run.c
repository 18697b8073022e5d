/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo run, info and tokenize as a user sees them, on a tiny model with random weights (its
 * answers mean nothing, but are the same each time) and, where it is, on the demo model. */
#include "serve/demo.h"
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

static char *dir;
static char model[PATH_BYTES];

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

/* Runs octavo COMMAND MODEL and the arguments of `line`, with '|' between them. */
static void octavo(struct spawned *s, const char *command, const char *line, const char *input)
{
    char all[PATH_BYTES * 2];
    (void)snprintf(all, sizeof all, "%s|%s%s%s", command, model, *line ? "|" : "", line);
    spawn_line(s, all, input);
}

static void assert_ok(const struct spawned *s, const char *what)
{
    cr_assert_eq(s->code, 0, "%s: exit code %d\n%s", what, s->code, s->err.data);
}

TestSuite(run, .init = write_model, .fini = remove_model);

Test(run, an_answer_goes_to_output_and_speeds_go_to_standard_error)
{
    struct spawned s;
    octavo(&s, "run", "-p|hello|--max-tokens|8|--ignore-eos|--temperature|0", NULL);
    assert_ok(&s, "run");
    cr_assert_gt(s.out.len, 1u);
    cr_assert_eq(s.out.data[s.out.len - 1], '\n');
    int prompt, generated;
    double a, b, load, first;
    cr_assert_eq(sscanf(s.err.data,
                        "prompt %d tokens, %lf tokens/s | generated %d tokens, %lf tokens/s | load "
                        "%lf s | first token %lf s\n",
                        &prompt, &a, &generated, &b, &load, &first),
                 6, "%s", s.err.data);
    cr_assert_eq(generated, 8);
    cr_assert_gt(prompt, 5); /* the template's tokens too */
    cr_assert_null(strchr(s.err.data, '\x1b'), "no style where there is no terminal");
    cr_assert_eq(strchr(s.err.data, '\n')[1], '\0', "more than one line: %s", s.err.data);
    spawned_free(&s);
    octavo(&s, "run", "-p|hello|--max-tokens|8|--no-stats", NULL);
    assert_ok(&s, "--no-stats");
    cr_assert_eq(s.err.len, 0u, "%s", s.err.data);
    spawned_free(&s);
}

Test(run, the_prompt_may_come_from_standard_input)
{
    static const char *const inputs[] = {"tell me", "tell me\n"};
    struct spawned flag, piped;
    octavo(&flag, "run", "-p|tell me|--max-tokens|6|--temperature|0", NULL);
    assert_ok(&flag, "-p");
    for (size_t i = 0; i < 2; i++) {
        octavo(&piped, "run", "--max-tokens|6|--temperature|0", inputs[i]);
        assert_ok(&piped, "input");
        cr_assert_str_eq(piped.out.data, flag.out.data);
        spawned_free(&piped);
        octavo(&piped, "run", "-p|-|--max-tokens|6|--temperature|0", inputs[i]);
        assert_ok(&piped, "-p -");
        cr_assert_str_eq(piped.out.data, flag.out.data);
        spawned_free(&piped);
    }
    spawned_free(&flag);
}

Test(run, the_environment_and_the_sandbox_change_nothing_else)
{
    const char *const args[] = {"run", model,           "-p",  "hi", "--seed",
                                "5",   "--temperature", "0.9", NULL};
    const char *const env[] = {"OCTAVO_MAX_TOKENS=5", "OCTAVO_STATS=0", NULL};
    struct spawned a, b;
    spawn(&a, args, NULL, env);
    assert_ok(&a, "environment");
    octavo(&b, "run", "-p|hi|-s|5|--temperature=0.9|-n5|--no-stats|--no-sandbox", NULL);
    assert_ok(&b, "flags");
    cr_assert_str_eq(a.out.data, b.out.data);
    cr_assert_eq(a.err.len, 0u, "%s", a.err.data);
    spawned_free(&a);
    spawned_free(&b);
}

Test(run, json_holds_the_whole_answer)
{
    struct spawned s, text;
    json_error_t error;
    octavo(&s, "run", "-p|hello|--max-tokens|7|--ignore-eos|--temperature|0|--json|--logprobs|3",
           NULL);
    assert_ok(&s, "--json");
    cr_assert_eq(s.err.len, 0u, "%s", s.err.data);
    cr_assert_eq(strchr(s.out.data, '\n'), s.out.data + s.out.len - 1, "not one line");
    json_t *o = json_loads(s.out.data, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(o, "%s", error.text);
    cr_assert_str_eq(json_string_value(json_object_get(o, "finish_reason")), "length");
    cr_assert_eq(json_array_size(json_object_get(o, "token_ids")), 7u);
    cr_assert_eq(spawn_json_number(s.out.data, "usage.completion_tokens"), 7);
    cr_assert_eq(spawn_json_number(s.out.data, "usage.total_tokens"),
                 7 + spawn_json_number(s.out.data, "usage.prompt_tokens"));
    cr_assert_gt(spawn_json_number(s.out.data, "timings.prompt_tokens_per_s"), 0);
    const json_t *logprobs = json_object_get(o, "logprobs");
    cr_assert_eq(json_array_size(logprobs), 7u);
    for (size_t i = 0; i < 7; i++) { /* greedy: the token is the first of its alternatives */
        const json_t *t = json_array_get(logprobs, i), *top = json_object_get(t, "top");
        cr_assert_eq(json_array_size(top), 3u);
        const json_t *best = json_array_get(top, 0);
        cr_assert(json_equal(json_object_get(t, "token"), json_object_get(best, "token")));
        cr_assert(json_equal(json_object_get(t, "token"),
                             json_array_get(json_object_get(o, "token_ids"), i)));
        const double p = json_real_value(json_object_get(t, "logprob"));
        const double p2 = json_real_value(json_object_get(json_array_get(top, 1), "logprob"));
        cr_assert(p <= 0 && p2 <= p, "%g, then %g", p, p2);
    }
    octavo(&text, "run", "-p|hello|--max-tokens|7|--ignore-eos|--temperature|0", NULL);
    const char *answer = json_string_value(json_object_get(o, "text"));
    cr_assert_eq(strncmp(text.out.data, answer, strlen(answer)), 0, "%s: %s", text.out.data,
                 answer);
    json_decref(o);
    spawned_free(&s);
    spawned_free(&text);
}

Test(run, a_raw_continuation_adds_nothing)
{
    struct spawned raw, json;
    octavo(&raw, "run", "--raw|-p|the|--max-tokens|9|--ignore-eos|--temperature|0", NULL);
    octavo(&json, "run", "--raw|-p|the|--max-tokens|9|--ignore-eos|--temperature|0|--json", NULL);
    assert_ok(&raw, "--raw");
    assert_ok(&json, "--raw --json");
    json_t *o = json_loads(json.out.data, 0, NULL);
    cr_assert_str_eq(raw.out.data, json_string_value(json_object_get(o, "text")));
    json_decref(o);
    spawned_free(&json);
    octavo(&json, "run", "--raw|-p|<|im_start|>x",
           NULL); /* '|' cuts it: a text, and a flag's end */
    cr_assert_eq(json.code, 2);
    spawned_free(&json);
    spawned_free(&raw);
}

Test(run, special_tokens_may_be_written_in_a_raw_prompt)
{
    const char *const args[] = {"run",    model, "--raw", "-p", "<|im_start|>the",
                                "--json", "-n",  "1",     NULL};
    struct spawned s;
    spawn(&s, args, NULL, NULL);
    assert_ok(&s, "special");
    cr_assert_eq(spawn_json_number(s.out.data, "usage.prompt_tokens"), 3, "%s", s.out.data);
    spawned_free(&s);
}

Test(run, the_system_message_is_part_of_the_prompt)
{
    struct spawned with, without;
    octavo(&with, "run", "-p|hi|--system|xyzxyz|-n|1|--json", NULL);
    octavo(&without, "run", "-p|hi|--system|x|-n|1|--json", NULL);
    assert_ok(&with, "--system");
    assert_ok(&without, "--system");
    cr_assert_eq(spawn_json_number(with.out.data, "usage.prompt_tokens"),
                 spawn_json_number(without.out.data, "usage.prompt_tokens") + 5);
    spawned_free(&with);
    spawned_free(&without);
}

Test(run, what_the_engine_refuses_ends_with_its_sentence_and_code)
{
    char long_prompt[600];
    memset(long_prompt, 'x', sizeof long_prompt - 1);
    long_prompt[sizeof long_prompt - 1] = '\0';
    static const struct {
        const char *line, *want;
        int code;
    } row[] = {
        {"-n|1", "the prompt has ", 2}, /* 599 tokens and more; the model takes 256 */
        {"--max-model-len|100000|-n|1", "100000", 2},
        {"--kv-cache-bytes|1|-n|1", "KV cache", 3},
        {"-n|3|--min-tokens|4", "min_tokens", 2},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct spawned s;
        octavo(&s, "run", row[i].line, i == 0 ? long_prompt : "hi");
        cr_assert_eq(s.code, row[i].code, "%s: %d %s", row[i].line, s.code, s.err.data);
        cr_assert_eq(s.out.len, 0u, "%s", s.out.data);
        cr_assert(!strncmp(s.err.data, "octavo: ", 8) && strstr(s.err.data, row[i].want), "%s: %s",
                  row[i].line, s.err.data);
        spawned_free(&s);
    }
}

Test(run, verbose_says_what_was_reserved_and_how_it_is_sandboxed)
{
    struct spawned s;
    octavo(&s, "run", "-p|hi|-n|1|-v", NULL);
    assert_ok(&s, "-v");
    cr_assert(strstr(s.err.data, "octavo: sandbox: "), "%s", s.err.data);
    cr_assert(strstr(s.err.data, "octavo: qwen2, "), "%s", s.err.data);
    cr_assert(strstr(s.err.data, " threads"), "%s", s.err.data);
    spawned_free(&s);
}

#if OCT_FAULTS
Test(run, a_device_that_fails_ends_with_code_4_and_memory_with_code_3)
{
    static const struct {
        const char *fault;
        int code;
    } row[] = {{"OCT_FAULT=dev_op@20", 4},   {"OCT_FAULT=dev_sync@1+", 4}, {"OCT_FAULT=mem@40", 3},
               {"OCT_FAULT=dev_alloc@2", 3}, {"OCT_FAULT=read@3", 2},      {"OCT_FAULT=open@1", 2}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *const args[] = {"run", model, "-p", "hi", "-n", "4", NULL};
        const char *const env[] = {row[i].fault, NULL};
        struct spawned s;
        spawn(&s, args, NULL, env);
        cr_assert_eq(s.code, row[i].code, "%s: %d %s", row[i].fault, s.code, s.err.data);
        cr_assert(strstr(s.err.data, "octavo: "), "%s: %s", row[i].fault, s.err.data);
        spawned_free(&s);
    }
}

/* A matrix product that gives NaN is told where it reaches the answer, and never answered over. */
Test(run, an_answer_that_is_not_a_number_ends_with_code_1)
{
    int n_told = 0;
    for (int k = 18; k < 30; k++) { /* the end of the prompt's step, the beginning of the next */
        char fault[48];
        (void)snprintf(fault, sizeof fault, "OCT_FAULT=dev_op@%d=nan", k);
        const char *const args[] = {"run", model, "-p", "hi", "-n", "4", "--ignore-eos", NULL};
        const char *const env[] = {fault, NULL};
        struct spawned s;
        spawn(&s, args, NULL, env);
        const bool told = strstr(s.err.data, "octavo: the model's output is not a number") != NULL;
        cr_assert(s.code == told, "%s: %d %s", fault, s.code, s.err.data);
        n_told += told;
        spawned_free(&s);
    }
    cr_assert_gt(n_told, 0, "no fault reached an answer: the test has lost its aim");
}
#endif

Test(run, info_tells_the_same_in_both_forms)
{
    struct spawned text, json;
    octavo(&text, "info", "", NULL);
    octavo(&json, "info", "--json", NULL);
    assert_ok(&text, "info");
    assert_ok(&json, "info --json");
    static const struct {
        const char *path;
        double want;
    } number[] = {{"layers", 2},
                  {"dim", 64},
                  {"ff_dim", 160},
                  {"heads", 4},
                  {"kv_heads", 2},
                  {"head_dim", 16},
                  {"vocab_size", 300},
                  {"files", 1},
                  {"context_length", 256},
                  {"tokenizer.n_tokens", 300},
                  {"memory_plan.max_model_len", 256},
                  {"memory_plan.max_num_seqs", 1},
                  {"rope.theta", 10000}};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        cr_expect_eq(spawn_json_number(json.out.data, number[i].path), number[i].want, "%s: %g",
                     number[i].path, spawn_json_number(json.out.data, number[i].path));
    }
    static const char *const lines[] = {
        "architecture    qwen2 (qwen2)\n",
        "layers          2\n",
        "width           64, feed-forward 160\n",
        "heads           4, key/value heads 2, each 16 wide, with bias\n",
        "context         256 tokens\n",
        "window          none\n",
        "chat template   yes\n",
        "\"<|im_end|>\"",
        "\n  total"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cr_expect(strstr(text.out.data, lines[i]), "no \"%s\" in\n%s", lines[i], text.out.data);
    }
    /* by hand: embedding and head 2 * 300 * 64; a layer q 64*64+64, k and v 2 * (32*64+32),
     * o 64*64, MLP 3 * 64*160, norms 2 * 64; the last norm 64 */
    const double want =
        2 * 300 * 64 + 2 * (64 * 64 + 64 + 2 * (32 * 64 + 32) + 64 * 64 + 3 * 64 * 160 + 128) + 64;
    cr_assert_eq(spawn_json_number(json.out.data, "parameters"), want);
    cr_assert_eq(spawn_json_number(json.out.data, "memory_plan.weight_bytes") +
                     spawn_json_number(json.out.data, "memory_plan.kv_cache_bytes") +
                     spawn_json_number(json.out.data, "memory_plan.workspace_bytes"),
                 spawn_json_number(json.out.data, "memory_plan.total_bytes"));
    spawned_free(&text);
    spawned_free(&json);
}

Test(run, tokenize_shows_ids_and_decode_takes_them_back)
{
    struct spawned s;
    octavo(&s, "tokenize", "the \"\xc3\xa9\n", NULL);
    assert_ok(&s, "tokenize");
    /* ids of the tiny tokenizer: 3 + byte, then its merges ("he" is the first) */
    cr_assert_str_eq(s.out.data, "     119  \"t\"\n"
                                 "     259  \"he\"\n"
                                 "      35  \" \"\n"
                                 "      37  \"\\\"\"\n"
                                 "     198  \"\\xc3\"\n"
                                 "     172  \"\\xa9\"\n"
                                 "      13  \"\\n\"\n");
    cr_assert_str_eq(s.err.data, "7 tokens, 8 bytes; decoding gives the same text\n");
    spawned_free(&s);
    octavo(&s, "tokenize", "--decode|[119, 259,35 37 198,172]", NULL);
    assert_ok(&s, "--decode");
    cr_assert_str_eq(s.out.data, "the \"\xc3\xa9");
    spawned_free(&s);
    octavo(&s, "tokenize", "--decode|-|--json", "119\n198\n");
    assert_ok(&s, "--decode -");
    cr_assert_str_eq(s.out.data, "{\"text\": \"t\xef\xbf\xbd\", \"n_tokens\": 2}\n");
    spawned_free(&s);
    octavo(&s, "tokenize", "--json", "t\xc3\xa9"); /* a piece that is half a letter */
    assert_ok(&s, "--json");
    cr_assert_str_eq(s.out.data, "{\"ids\": [119, 198, 172], \"pieces\": [\"t\", \"\xef\xbf\xbd\", "
                                 "\"\xef\xbf\xbd\"], \"n_tokens\": 3, \"n_bytes\": 3, "
                                 "\"decoded\": \"t\xc3\xa9\", \"decodes_back\": true}\n");
    spawned_free(&s);
    octavo(&s, "tokenize", "--bos",
           "\xff!"); /* no UTF-8: it comes back as the reference repairs it */
    assert_ok(&s, "broken text");
    cr_assert(strstr(s.err.data, "decoding gives \"\xef\xbf\xbd!\"\n"), "%s", s.err.data);
    spawned_free(&s);
    static const char *const bad[] = {"--decode|300", "--decode|-1", "--decode|1x",
                                      "--decode|99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        octavo(&s, "tokenize", bad[i], NULL);
        cr_assert_eq(s.code, 2, "%s: %d", bad[i], s.code);
        cr_assert(strstr(s.err.data, "is not a token id of this model, 0 to 299"), "%s: %s", bad[i],
                  s.err.data);
        spawned_free(&s);
    }
}

Test(run, special_tokens_are_text_unless_asked_for)
{
    const char *const text[] = {"tokenize", model, "<|im_end|>", NULL};
    const char *const special[] = {"tokenize", model, "<|im_end|>", "--special", NULL};
    struct spawned s;
    spawn(&s, text, NULL, NULL);
    cr_assert_str_eq(s.err.data, "10 tokens, 10 bytes; decoding gives the same text\n");
    spawned_free(&s);
    spawn(&s, special, NULL, NULL);
    cr_assert_str_eq(s.out.data, "       2  \"<|im_end|>\"\n");
    spawned_free(&s);
    octavo(&s, "tokenize", "--decode|2 119", NULL);
    cr_assert_str_eq(s.out.data, "t");
    spawned_free(&s);
    octavo(&s, "tokenize", "--decode|2 119|--special", NULL);
    cr_assert_str_eq(s.out.data, "<|im_end|>t");
    spawned_free(&s);
}

Test(run, a_directory_runs_like_the_file)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct spawned s;
    oct_tiny_write_hf(&t, dir);
    (void)snprintf(model, sizeof model, "%s", dir);
    octavo(&s, "run", "-p|hello|-n|4|--ignore-eos", NULL);
    assert_ok(&s, "directory");
    cr_assert_gt(s.out.len, 1u);
    spawned_free(&s);
    octavo(&s, "info", "--json", NULL);
    assert_ok(&s, "directory");
    cr_assert(strstr(s.out.data, "\"architecture\": \"llama\""), "%s", s.out.data);
    spawned_free(&s);
}

Test(run, a_model_without_a_template_continues_the_text_and_says_so)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char path[PATH_BYTES];
    struct spawned s;
    oct_tiny_write_hf(&t, dir);
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    cr_assert_eq(unlink(path), 0);
    (void)snprintf(model, sizeof model, "%s", dir);
    octavo(&s, "run", "-p|hello|-n|4|--ignore-eos", NULL);
    assert_ok(&s, "no template");
    cr_assert(strstr(s.err.data, "the model has no chat template, so it continues the text"), "%s",
              s.err.data);
    spawned_free(&s);
    octavo(&s, "run", "-p|hello|-n|4|--system|x", NULL);
    cr_assert_eq(s.code, 2, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "no chat template"), "%s", s.err.data);
    spawned_free(&s);
}

Test(demo, the_demo_model_knows_the_capital_of_france, .timeout = 300)
{
    demo_path(model, sizeof model);
    struct spawned s;
    octavo(&s, "run", "-p|What is the capital of France?|--temperature|0|-n|20", NULL);
    assert_ok(&s, "demo");
    cr_assert(strstr(s.out.data, "Paris"), "%s", s.out.data);
    spawned_free(&s);
    octavo(&s, "info", "--json", NULL);
    assert_ok(&s, "demo info");
    cr_assert_eq(spawn_json_number(s.out.data, "parameters"), 134515008);
    cr_assert_eq(spawn_json_number(s.out.data, "context_length"), 8192);
    spawned_free(&s);
}
