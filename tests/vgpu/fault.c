// SPDX-License-Identifier: Apache-2.0
//
// fault.c - VGPU_FAIL: which calls shall fail. A comma separated list of
//
//     NAME:N[+][=CODE]     the N-th call of NAME (counted from 1; + : and all after it)
//     launch:N[+][=CODE]   the N-th kernel that runs faults (default 719)
//     hang:N               the N-th kernel that runs never ends
//     lost[@DEVICE]:N[=CODE]   at the N-th call of anything the device is lost: every later call
//                          with a context of it gives CODE (default 999)
//
// NAME is a driver function without its version suffix: cuMemAlloc:17. Allocations fail with
// CUDA_ERROR_OUT_OF_MEMORY unless CODE says otherwise, everything else with CUDA_ERROR_UNKNOWN.
// NCCL calls can be named too (ncclAllReduce:3=2); CODE is then an ncclResult_t.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

struct rule {
    char name[48];
    uint64_t n, met;
    bool onwards, has_code;
    int device; // of lost; -1: all
    unsigned code;
};

static struct rule rules[32];
static unsigned n_rules;

static bool parse_rule(char *text, struct rule *r)
{
    *r = (struct rule){.device = -1};
    char *colon = strchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = 0;
    char *at = strchr(text, '@');
    if (at != NULL) {
        *at = 0;
        r->device = atoi(at + 1);
    }
    if (*text == 0 || strlen(text) >= sizeof r->name) {
        return false;
    }
    strcpy(r->name, text);
    char *end = NULL;
    r->n = strtoull(colon + 1, &end, 10);
    if (end == colon + 1 || r->n == 0) {
        return false;
    }
    if (*end == '+') {
        r->onwards = true;
        end++;
    }
    if (*end == '=') {
        char *code_end = NULL;
        r->code = (unsigned)strtoul(end + 1, &code_end, 10);
        r->has_code = true;
        end = code_end;
    }
    return *end == 0;
}

void vg_fault_init(void)
{
    n_rules = 0;
    const char *env = getenv("VGPU_FAIL");
    if (env == NULL || *env == 0) {
        return;
    }
    char *copy = strdup(env);
    if (copy == NULL) {
        return;
    }
    char *save = NULL;
    for (char *t = strtok_r(copy, ",", &save); t != NULL; t = strtok_r(NULL, ",", &save)) {
        if (n_rules == sizeof rules / sizeof rules[0] || !parse_rule(t, &rules[n_rules])) {
            // A plan that is not understood must not pass for one that found nothing.
            fprintf(stderr, "vgpu: VGPU_FAIL: cannot read the rule at \"%s\"\n", t);
            abort();
        }
        n_rules++;
    }
    free(copy);
}

// Names match without version suffixes (_v2, _v4).
static bool same_name(const char *rule, const char *call)
{
    size_t n = strlen(rule);
    if (strncmp(rule, call, n) != 0) {
        return false;
    }
    const char *rest = call + n;
    return *rest == 0 ||
           (rest[0] == '_' && rest[1] == 'v' && rest[2] >= '2' && rest[2] <= '9' && rest[3] == 0);
}

static bool hit(struct rule *r)
{
    r->met++;
    return r->met == r->n || (r->onwards && r->met > r->n);
}

unsigned vg_fault_named(const char *name, unsigned usual)
{
    unsigned code = 0;
    for (unsigned i = 0; i < n_rules; i++) {
        struct rule *r = &rules[i];
        if (same_name(r->name, name) && hit(r)) {
            code = r->has_code ? r->code : usual;
        }
    }
    return code;
}

CUresult vg_fault_call(const char *name)
{
    for (unsigned i = 0; i < n_rules; i++) {
        struct rule *r = &rules[i];
        if (strcmp(r->name, "lost") != 0 || !hit(r)) {
            continue;
        }
        for (int d = 0; d < vg_driver.n_devices; d++) {
            if (r->device < 0 || r->device == d) {
                vg_driver.lost[d] = r->has_code ? (CUresult)r->code : CUDA_ERROR_UNKNOWN;
            }
        }
    }
    bool allocates = strstr(name, "Alloc") != NULL || strstr(name, "HostRegister") != NULL;
    return (CUresult)vg_fault_named(name,
                                    allocates ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_UNKNOWN);
}

CUresult vg_fault_launch(void)
{
    if (vg_fault_named("hang", 1) != 0) {
        for (;;) {
            (void)pause();
        }
    }
    return (CUresult)vg_fault_named("launch", CUDA_ERROR_LAUNCH_FAILED);
}
