/* SPDX-License-Identifier: Apache-2.0
 *
 * The programs of docs/api.md, in C and in Python, run against the shared library and answer the
 * same questions alike. */
#include "support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static int run(const char *command, char *out, size_t size, size_t *len)
{
    FILE *p = popen(command, "r");
    cr_assert_not_null(p, "cannot run %s", command);
    const size_t n = fread(out, 1, size - 1, p);
    out[n] = '\0';
    *len = n;
    const int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static void write_model(char *dir, size_t size)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.vocab_size = OCT_TINY_N_TOKENS;
    run_make_dir(dir, size);
    oct_tiny_write_hf(&t, dir);
}

static const char questions[] = "'Hello?' 'And you?' 'Hello again?'";

Test(examples, of_the_api_answer_in_c_and_in_python, .timeout = 120)
{
    char dir[256], command[1024], c[16384], python[16384];
    size_t c_len, python_len;
    write_model(dir, sizeof dir);
    (void)snprintf(command, sizeof command, "'%s' '%s' %s 2>&1", OCT_EXAMPLE, dir, questions);
    cr_assert_eq(run(command, c, sizeof c, &c_len), 0, "%s", c);
    cr_assert_not_null(strstr(c, "Hello?\n"), "%s", c);
    cr_assert_gt(c_len, 100u, "%s", c); /* a tiny model may say zero bytes, too */
    (void)snprintf(command, sizeof command, "'%s' /no/such/model x 2>&1", OCT_EXAMPLE);
    cr_assert_eq(run(command, python, sizeof python, &python_len), 1);
    cr_assert_not_null(strstr(python, "/no/such/model"), "%s", python);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    run_remove_dir(dir);
    cr_skip_test("C is well; python3 cannot load a library built with a sanitizer");
#else
    if (run("python3 -c 'import ctypes' 2>&1", python, sizeof python, &python_len) != 0) {
        run_remove_dir(dir);
        cr_skip_test("C is well; python3 is not here");
    }
    (void)snprintf(command, sizeof command, "python3 '%s/docs/example.py' '%s' '%s' %s 2>&1",
                   OCT_SOURCE_DIR, OCT_LIBRARY, dir, questions);
    cr_assert_eq(run(command, python, sizeof python, &python_len), 0, "%s", python);
    run_remove_dir(dir);
    cr_assert(c_len == python_len && memcmp(c, python, c_len) == 0, "%s\n%s", c, python);
#endif
}
