/* SPDX-License-Identifier: Apache-2.0
 *
 * chat_template.h - what --chat-template says: a file, a template's text, or the name of one of the
 * model's. */
#ifndef OCT_SERVE_CHAT_TEMPLATE_H
#define OCT_SERVE_CHAT_TEMPLATE_H

#include "serve/command.h"

struct oct_chat_template {
    char *text;       /* owned; NULL: the model's */
    const char *name; /* of the model's; borrowed from the arguments; NULL: the usual one */
};

/* Reads the file, so it comes before the sandbox. A value with "{{" or "{%" in it is a template
 * itself; else a path that exists is a file; else it is a name, of letters, digits, '_', '-', '.'.
 */
OCT_CHECKED oct_status oct_chat_template_read(const struct oct_params *p,
                                              struct oct_chat_template *out);
void oct_chat_template_free(struct oct_chat_template *t);

#endif
