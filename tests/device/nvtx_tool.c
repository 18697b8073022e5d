/* SPDX-License-Identifier: Apache-2.0
 *
 * nvtx_tool.c - a profiler's library as csrc/device/nvtx.c meets one: it takes the slots of push
 * and pop, and every other slot, and writes down what is pushed. Written from NVTX 3's headers. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef void fn(void);

EXPORT extern char nvtx_tool_heard[4096]; /* "push gemm\npop\n" */
char nvtx_tool_heard[4096];
EXPORT int InitializeInjectionNvtx2(const void *(*get_table)(uint32_t));

static void hear(const char *what, const char *name)
{
    const size_t at = strlen(nvtx_tool_heard);
    (void)snprintf(nvtx_tool_heard + at, sizeof nvtx_tool_heard - at, "%s%s\n", what, name);
}

static int push(const char *name)
{
    hear("push ", name);
    return 0;
}

static int pop(void)
{
    hear("pop", "");
    return 0;
}

static void unexpected(void)
{
    hear("unexpected", "");
}

int InitializeInjectionNvtx2(const void *(*get_table)(uint32_t))
{
    const struct {
        size_t bytes;
        int (*get)(int32_t module, fn ****table, unsigned *n);
    } *callbacks = get_table(1);
    const struct {
        size_t bytes;
        uint32_t version, reserved;
        void (*set)(uint32_t);
    } *version = get_table(3);
    if (!callbacks || callbacks->bytes < 16 || !version || version->version != 3 || get_table(9)) {
        return 0;
    }
    version->set(3);
    for (int32_t module = 0; module < 9; module++) {
        fn ***table;
        unsigned n = 0;
        if (!callbacks->get(module, &table, &n)) {
            continue;
        }
        for (unsigned i = 1; i < n; i++) {
            *table[i] = unexpected;
        }
        if (module == 1) {
            *table[9] = (fn *)push;
            *table[11] = (fn *)pop;
        }
    }
    return 1;
}
