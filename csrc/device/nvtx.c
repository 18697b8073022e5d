/* SPDX-License-Identifier: Apache-2.0
 *
 * nvtx.c - our side of the protocol by which a profiler attaches (NVTX 3): its library is opened,
 * its entry is given a function that hands out tables, and it writes its own functions into their
 * slots. A slot of which we never call the function takes it all the same. */
#include "device/nvtx.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { /* numbers of the protocol */
       TABLE_CALLBACKS = 1,
       TABLE_VERSION = 3,
       MODULE_CORE = 1,
       N_MODULES = 7,
       N_SLOTS = 16, /* the most that a module has, slot 0 being none */
       RANGE_PUSH = 9,
       RANGE_POP = 11,
       VERSION = 3,
};

typedef void slot_fn(void);

static const unsigned n_slots[N_MODULES] = {0, 16, 9, 15, 7, 16, 7};
static slot_fn *slots[N_MODULES][N_SLOTS];
static slot_fn **tables[N_MODULES][N_SLOTS + 1]; /* what is handed out: the slots' addresses */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int (*range_push)(const char *name);
static int (*range_pop)(void);

static int get_module_table(int32_t module, slot_fn ****out, unsigned *n)
{
    if (module < 1 || module >= N_MODULES) {
        return 0;
    }
    for (unsigned i = 1; i < n_slots[module]; i++) {
        tables[module][i] = &slots[module][i];
    }
    if (out) {
        *out = tables[module];
    }
    if (n) {
        *n = n_slots[module];
    }
    return 1;
}

static void set_tool_version(uint32_t version)
{
    (void)version;
}

static const void *get_export_table(uint32_t id)
{
    static const struct {
        size_t bytes;
        int (*get)(int32_t, slot_fn ****, unsigned *);
    } callbacks = {sizeof callbacks, get_module_table};
    static const struct {
        size_t bytes;
        uint32_t version, reserved;
        void (*set)(uint32_t);
    } version = {sizeof version, VERSION, 0, set_tool_version};
    return id == TABLE_CALLBACKS ? (const void *)&callbacks
           : id == TABLE_VERSION ? (const void *)&version
                                 : NULL;
}

static void attach(void)
{
    const char *path = getenv("NVTX_INJECTION64_PATH");
    void *lib = path && *path ? dlopen(path, RTLD_LAZY | RTLD_LOCAL) : NULL;
    void *entry = lib ? dlsym(lib, "InitializeInjectionNvtx2") : NULL;
    int (*initialise)(const void *(*)(uint32_t));
    memcpy(&initialise, &entry, sizeof initialise);
    if (initialise && initialise(get_export_table)) {
        memcpy(&range_push, &slots[MODULE_CORE][RANGE_PUSH], sizeof range_push);
        memcpy(&range_pop, &slots[MODULE_CORE][RANGE_POP], sizeof range_pop);
    }
}

void oct_nvtx_push(const char *name)
{
    (void)pthread_once(&once, attach);
    if (range_push && range_pop) {
        (void)range_push(name);
    }
}

void oct_nvtx_pop(void)
{
    if (range_push && range_pop) {
        (void)range_pop();
    }
}
