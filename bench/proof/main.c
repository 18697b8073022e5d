/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - proof_client ROW [name=value...]: one row of the comparison against the server at
 * 127.0.0.1:port, as a JSON object on standard output. proof.py knows the rows and their
 * arguments. */
#include "proof.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_args;
static char **args;

const char *arg_text(const char *name, const char *otherwise)
{
    const size_t n = strlen(name);
    for (int i = 0; i < n_args; i++) {
        if (!strncmp(args[i], name, n) && args[i][n] == '=') {
            return args[i] + n + 1;
        }
    }
    return otherwise;
}

int64_t arg_number(const char *name, int64_t otherwise)
{
    const char *text = arg_text(name, NULL);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        json_t *(*run)(const struct target *to);
    } rows[] = {
        {"load", row_load}, {"live", row_live}, {"leave", row_leave},     {"prefill", row_prefill},
        {"stop", row_stop}, {"bad", row_bad},   {"mutated", row_mutated}, {"big", row_big},
    };
    (void)signal(SIGPIPE, SIG_IGN);
    n_args = argc > 2 ? argc - 2 : 0;
    args = argv + 2;
    const struct target to = {.host = arg_text("host", "127.0.0.1"),
                              .port = (uint16_t)arg_number("port", 0),
                              .model = arg_text("model", "tiny")};
    for (size_t i = 0; argc > 1 && i < sizeof rows / sizeof *rows; i++) {
        if (!strcmp(argv[1], rows[i].name) && to.port) {
            json_t *o = rows[i].run(&to);
            const int rc = json_dumpf(o, stdout, JSON_COMPACT);
            (void)fputc('\n', stdout);
            json_decref(o);
            return rc ? 1 : 0;
        }
    }
    (void)fprintf(stderr, "usage: proof_client load|live|leave|prefill|stop|bad|mutated|big port=N "
                          "[name=value...]\n");
    return 2;
}
