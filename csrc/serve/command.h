/* SPDX-License-Identifier: Apache-2.0
 *
 * command.h - the commands of the program: one row each in command.c. To add one, add its name to
 * OCT_COMMANDS (base/param.h), a row in command.c and a function here. */
#ifndef OCT_SERVE_COMMAND_H
#define OCT_SERVE_COMMAND_H

#include "base/param.h"

/* What the process ends with; printed by octavo --help. */
// clang-format off
#define OCT_EXITS(X)                                                                        \
    X(OK,            0, "done")                                                             \
    X(OTHER,         1, "something else, such as output that cannot be written")            \
    X(INPUT,         2, "a flag, the prompt or the model file is not right")                \
    X(MEMORY,        3, "not enough memory")                                                \
    X(DEVICE,        4, "the device failed")                                                \
    X(INTERRUPTED, 130, "stopped by Ctrl-C")                                                \
    X(PIPE,        141, "whoever read the output has gone")
// clang-format on

enum oct_exit {
#define OCT_EXIT_ENUM(id, value, text) OCT_EXIT_##id = value,
    OCT_EXITS(OCT_EXIT_ENUM)
#undef OCT_EXIT_ENUM
};

struct oct_command {
    enum oct_command_bit bit;
    const char *args;    /* "MODEL [TEXT]" */
    const char *summary; /* one line */
    const char *details; /* paragraphs, '\n' between them; NULL: none */
    size_t max_args;     /* arguments that are no flags */
    enum oct_exit (*run)(const struct oct_params *p);
};
extern const struct oct_command oct_commands[OCT_N_COMMANDS]; /* indexed by bit */

enum oct_exit oct_command_run(const struct oct_params *p);
enum oct_exit oct_command_info(const struct oct_params *p);
enum oct_exit oct_command_selftest(const struct oct_params *p);
enum oct_exit oct_command_tokenize(const struct oct_params *p);
enum oct_exit oct_command_template(const struct oct_params *p);
enum oct_exit oct_command_batch(const struct oct_params *p);
enum oct_exit oct_command_serve(const struct oct_params *p);
enum oct_exit oct_command_bench(const struct oct_params *p);
enum oct_exit oct_command_version(const struct oct_params *p);
enum oct_exit oct_command_help(const struct oct_params *p);

/* OCT_E_ARG names the nearest command. */
OCT_CHECKED oct_status oct_command_find(const char *name, const struct oct_command **out);

/* Prints "octavo: " and the last sentence on standard error; returns the exit code of the status.
 */
enum oct_exit oct_command_failed(oct_status st);

/* The model's path and the index in p->args of the argument after it: --model, else the first
 * argument, else OCTAVO_MODEL. */
OCT_CHECKED oct_status oct_command_model(const struct oct_params *p, const char **path,
                                         size_t *next_arg);

/* The exit code of a status. */
enum oct_exit oct_command_exit(oct_status st);

/* Gives up what the command does not need (serve/sandbox.h), unless --no-sandbox. needs: NULL for
 * none. */
struct oct_sandbox_needs;
void oct_command_sandbox(const struct oct_params *p, const char *model_path,
                         const struct oct_sandbox_needs *needs);

#endif
