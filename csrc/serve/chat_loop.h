/* SPDX-License-Identifier: Apache-2.0
 *
 * chat_loop.h - a conversation at a terminal. */
#ifndef OCT_SERVE_CHAT_LOOP_H
#define OCT_SERVE_CHAT_LOOP_H

#include "serve/answer.h"

/* Reads from standard input until it ends, /exit, or Ctrl-C twice at the prompt. k->raw: each line
 * is continued by itself, nothing is remembered. system may be NULL. A request the engine refuses
 * is told and the loop goes on; what ends it is the device's failure, or output that cannot be
 * written. */
OCT_CHECKED oct_status oct_chat_loop(struct oct_asker *k, const char *system);

#endif
