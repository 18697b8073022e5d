/* SPDX-License-Identifier: Apache-2.0
 *
 * demo.h - where the demo model is: OCTAVO_DEMO_MODEL, or where scripts/quickstart.sh puts it. */
#ifndef OCT_TEST_DEMO_H
#define OCT_TEST_DEMO_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Skips the test, visibly, where there is none. */
static inline void demo_path(char *dst, size_t size)
{
    const char *given = getenv("OCTAVO_DEMO_MODEL"), *home = getenv("HOME");
    (void)snprintf(dst, size, "%s%s",
                   given  ? given
                   : home ? home
                          : "",
                   given ? "" : "/.cache/octavo/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (access(dst, R_OK) != 0) {
        cr_skip_test("no demo model at %s", dst);
    }
}

#endif
