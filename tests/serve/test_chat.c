/* SPDX-License-Identifier: Apache-2.0
 *
 * The conversation at a terminal, with a tiny model that never stops by itself. */
#include "serve/demo.h"
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 512 };

static char *dir;
static char model[PATH_BYTES];
/* no style: what is shown is what the tests wait for */
static const char *const plain[] = {"NO_COLOR=1", NULL};

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    t.max_positions = 100000; /* an answer that lasts until somebody stops it */
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(chat, .init = write_model, .fini = remove_model, .timeout = 300);

Test(chat, a_conversation_answers_remembers_and_leaves)
{
    const char *const args[] = {"run",          model,           "-n", "4",
                                "--ignore-eos", "--temperature", "0",  NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "/help lists the commands\n> ");
    terminal_type(&t, "hello\n");
    terminal_expect(&t, "prompt ");
    terminal_expect(&t, "| generated 4 tokens");
    terminal_expect(&t, " | load ");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/help\n");
    terminal_expect(&t, "/system [TEXT]");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/nonsense\n");
    terminal_expect(&t, "octavo: unknown command /nonsense;");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/system\n");
    terminal_expect(&t, "there is no system message of yours\n> ");
    terminal_type(&t, "/system be brief\n");
    terminal_expect(&t, "a new conversation, with this system message\n> ");
    terminal_type(&t, "/system\n");
    terminal_expect(&t, "be brief\n> ");
    terminal_type(&t, "/reset\n");
    terminal_expect(&t, "a new conversation\n> ");
    terminal_type(&t, "\n");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "a \\\n");
    terminal_expect(&t, "\n. ");
    terminal_type(&t, "b\n");
    terminal_expect(&t, "| generated 4 tokens");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/exit\n");
    cr_assert_eq(terminal_end(&t), 0);
}

/* The number of prompt tokens that the next line of speeds tells. */
static int next_prompt_tokens(struct terminal *t)
{
    int n = 0;
    terminal_expect(t, "\nprompt ");
    const size_t at = t->seen;
    terminal_expect(t, " | ");
    cr_assert_eq(sscanf(t->screen.data + at, "%d", &n), 1);
    terminal_expect(t, "\n> ");
    return n;
}

Test(chat, the_conversation_grows_until_it_is_reset)
{
    const char *const args[] = {"run",          model,           "-n", "4",
                                "--ignore-eos", "--temperature", "0",  NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "> ");
    terminal_type(&t, "hello\n");
    const int first = next_prompt_tokens(&t);
    terminal_type(&t, "hello\n");
    const int second = next_prompt_tokens(&t);
    cr_assert_gt(second, first + 5, "%d, then %d", first, second);
    terminal_type(&t, "/reset\n");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "hello\n");
    cr_assert_eq(next_prompt_tokens(&t), first);
    terminal_type(&t, "\x04"); /* Ctrl-D */
    cr_assert_eq(terminal_end(&t), 0);
}

Test(chat, ctrl_c_stops_the_answer_and_twice_at_the_prompt_the_program)
{
    const char *const args[] = {"run", model, "--ignore-eos", "--temperature", "0", NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "hello\n");
    terminal_expect(&t, "hello\n");
    terminal_expect_some(&t);
    terminal_type(&t, "\x03");
    terminal_expect(&t, "| generated ");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "half a li\x03");
    terminal_expect(&t, "(Ctrl-C again, Ctrl-D or /exit leaves)\n> ");
    terminal_type(&t, "/reset\n"); /* in between: the next one is the first again */
    terminal_expect(&t, "a new conversation\n> ");
    terminal_type(&t, "\x03");
    terminal_expect(&t, "leaves)\n> ");
    terminal_type(&t, "\x03");
    cr_assert_eq(terminal_end(&t), 0);
}

Test(chat, ctrl_c_ends_a_single_answer_with_what_came_and_code_130)
{
    const char *const args[] = {"run", model, "--ignore-eos", "-p", "hello", "--temperature",
                                "0",   NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect_some(&t);
    terminal_type(&t, "\x03");
    terminal_expect(&t, "| generated ");
    terminal_expect(&t, "first token");
    cr_assert_eq(terminal_end(&t), 130);
}

Test(chat, pasted_lines_are_one_message)
{
    const char *const args[] = {"run", model, "--raw", "-n", "1", "--ignore-eos", NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "each line is continued by itself; /help lists the commands\n> ");
    terminal_type(&t, "a\nb\nc\n");
    cr_assert_eq(next_prompt_tokens(&t), 5); /* three letters and two newlines */
    terminal_type(&t, "/reset\n");
    terminal_expect(&t, "/reset belongs to chat");
    terminal_type(&t, "/exit\n");
    cr_assert_eq(terminal_end(&t), 0);
}

Test(chat, a_message_that_is_too_long_does_not_end_it)
{
    const char *const args[] = {"run", model, "--max-model-len", "64", NULL};
    struct terminal t;
    char text[202];
    memset(text, 'x', 200);
    strcpy(text + 200, "\n");
    terminal_start(&t, args, plain);
    terminal_expect(&t, "\n> ");
    terminal_type(&t, text);
    terminal_expect(&t, "octavo: the prompt has ");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "hi\n"); /* the long one is forgotten */
    terminal_expect(&t, "| generated ");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/exit\n");
    cr_assert_eq(terminal_end(&t), 0);
}

Test(chat, the_terminal_may_go_away)
{
    const char *const args[] = {"run", model, "-n", "4", NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "\n> ");
    const int code = terminal_hang_up(&t);
    cr_assert_eq(code, 1000 + SIGHUP, "%d", code);
}

Test(demo_chat, the_demo_model_remembers_what_it_was_told, .timeout = 300)
{
    demo_path(model, sizeof model);
    const char *const args[] = {"run", model, "-n", "40", "--temperature", "0", NULL};
    struct terminal t;
    terminal_start(&t, args, plain);
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "What is the capital of France?\n");
    terminal_expect(&t, "Paris");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "And in which country is that city?\n");
    terminal_expect(&t, "France");
    terminal_expect(&t, "\n> ");
    terminal_type(&t, "/exit\n");
    cr_assert_eq(terminal_end(&t), 0);
}
