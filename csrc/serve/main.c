/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/command.h"

#include "serve/help.h"
#include "serve/terminal.h"

#include "base/fault.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum oct_exit dispatch(const struct oct_command *c, int argc, const char *const *argv)
{
    struct oct_params p;
    oct_status st = oct_params_parse(c->bit, argc, argv, &p);
    if (st != OCT_OK) {
        return oct_command_failed(st);
    }
    const bool model_by_flag = p.values[OCT_P_MODEL].origin == OCT_FROM_FLAG;
    const size_t max_args = c->max_args - (model_by_flag && c->max_args > 0);
    enum oct_exit code;
    if (p.n_args > max_args) {
        char shown[96];
        const char *extra = p.args[max_args];
        oct_error_quote(shown, sizeof shown, extra, strlen(extra));
        code = oct_command_failed(
            OCT_FAIL(OCT_E_ARG, "octavo %s does not know what to do with the argument \"%s\"%s",
                     oct_command_name(c->bit), shown,
                     c->bit == OCT_CMD_BIT_RUN ? "; give the prompt with -p, in quotes" : ""));
    } else {
        code = c->run(&p);
    }
    oct_params_deinit(&p);
    return code;
}

static bool asks_for_help(int argc, const char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            return true;
        }
    }
    return false;
}

static enum oct_exit octavo(int n_args, const char *const *args)
{
    if (n_args == 0) {
        (void)oct_help_print(2, NULL);
        return OCT_EXIT_INPUT;
    }
    if (!strcmp(args[0], "--help") || !strcmp(args[0], "-h")) {
        return oct_help_print(1, NULL);
    }
    if (!strcmp(args[0], "--version")) {
        return oct_command_version(NULL);
    }
    if (args[0][0] == '-') {
        char shown[96];
        oct_error_quote(shown, sizeof shown, args[0], strlen(args[0]));
        return oct_command_failed(OCT_FAIL(
            OCT_E_ARG, "the command comes first, as in octavo run MODEL; %s is a flag", shown));
    }
    const struct oct_command *c;
    const oct_status st = oct_command_find(args[0], &c);
    if (st != OCT_OK) {
        return oct_command_failed(st);
    }
    if (asks_for_help(n_args - 1, args + 1)) {
        return oct_help_print(1, c);
    }
    return dispatch(c, n_args - 1, args + 1);
}

int main(int argc, char **argv)
{
    oct_fault_from_env();
    json_set_alloc_funcs(oct_malloc, oct_free);
    json_object_seed(0);            /* before there are threads */
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that left shows as EPIPE */
    const enum oct_exit code = octavo(argc > 0 ? argc - 1 : 0, (const char *const *)argv + 1);
    if (code == OCT_EXIT_DEVICE) { /* the driver's exit handlers may wait for a device that hangs */
        (void)fflush(NULL);
        _exit((int)code);
    }
    return (int)code;
}
