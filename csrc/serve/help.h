/* SPDX-License-Identifier: Apache-2.0
 *
 * help.h - the help texts and docs/cli.md, printed from the tables of commands and knobs. */
#ifndef OCT_SERVE_HELP_H
#define OCT_SERVE_HELP_H

#include "serve/command.h"

/* Prints the help of a command, or the overview if c is NULL, wrapped to the terminal's width. */
enum oct_exit oct_help_print(int fd, const struct oct_command *c);
enum oct_exit oct_help_markdown(void); /* docs/cli.md, on standard output */

#endif
