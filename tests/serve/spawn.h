/* SPDX-License-Identifier: Apache-2.0
 *
 * spawn.h - runs the program as a user does: with arguments, input and environment, through pipes
 * or at a terminal. Whatever goes wrong here fails the test. */
#ifndef OCT_TEST_SPAWN_H
#define OCT_TEST_SPAWN_H

#include "base/mem.h"

#include <sys/types.h>

enum { SPAWN_MAX_ARGS = 32 };

/* What a run of the program left behind. */
struct spawned {
    struct oct_buf out, err; /* NUL-terminated, never NULL */
    int code;                /* exit code; 1000 + signal if one killed it */
};

/* args and env end with NULL; env ("NAME=value") may be NULL. No other OCTAVO_ variable and no
 * OCT_FAULT is passed on. input: what standard input holds; NULL: it is empty. */
void spawn(struct spawned *s, const char *const *args, const char *input, const char *const *env);
/* The arguments in one string, with '|' between them. */
void spawn_line(struct spawned *s, const char *line, const char *input);
void spawned_free(struct spawned *s);

/* In a child: the program in place of the test. */
_Noreturn void spawn_become(const char *const *args, const char *const *env);
/* Waits for a child's end; its exit code as in struct spawned. */
int spawn_wait(pid_t pid);

/* The program at a terminal of 80 columns. */
struct terminal {
    int fd; /* what a terminal emulator holds */
    pid_t pid;
    struct oct_buf screen; /* all that was shown, carriage returns left out */
    size_t seen;           /* up to where terminal_expect has looked */
};

void terminal_start(struct terminal *t, const char *const *args, const char *const *env);
void terminal_type(struct terminal *t, const char *keys);
/* Waits until `text` is shown after what the last call waited for; a minute, then the test
 * fails. */
void terminal_expect(struct terminal *t, const char *text);
/* Waits until anything is shown after that. */
void terminal_expect_some(struct terminal *t);
/* Waits for the end of the program; its exit code as in struct spawned. */
int terminal_end(struct terminal *t);
/* Takes the terminal away; the same result. */
int terminal_hang_up(struct terminal *t);

/* A number in the text of a JSON object, by a path such as "usage.total_tokens". */
double spawn_json_number(const char *text, const char *path);

#endif
