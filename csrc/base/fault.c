/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#if OCT_FAULTS

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct site {
    atomic_uint_fast64_t count;
    atomic_uint_fast64_t at; /* fails when count reaches this; 0: not armed */
    atomic_bool forever;
    atomic_int kind;
    atomic_uint delay_ms; /* of OCT_FAULT_DELAY */
};

static struct site sites[OCT_FAULT_N_SITES];

static const char *const site_names[] = {
#define FAULT_NAME(id, name) name,
    OCT_FAULT_SITES(FAULT_NAME)
#undef FAULT_NAME
};

void oct_fault_arm(enum oct_fault_site site, uint64_t k, bool forever, enum oct_fault_kind kind)
{
    struct site *s = &sites[site];
    atomic_store(&s->forever, forever);
    atomic_store(&s->kind, (int)kind);
    atomic_store(&s->at, atomic_load(&s->count) + k);
}

void oct_fault_arm_delay(enum oct_fault_site site, uint64_t k, uint32_t ms)
{
    atomic_store(&sites[site].delay_ms, ms);
    oct_fault_arm(site, k, false, OCT_FAULT_DELAY);
}

void oct_fault_reset(void)
{
    for (int i = 0; i < OCT_FAULT_N_SITES; i++) {
        atomic_store(&sites[i].at, 0);
        atomic_store(&sites[i].count, 0);
    }
}

uint64_t oct_fault_count(enum oct_fault_site site)
{
    return atomic_load(&sites[site].count);
}

enum oct_fault_kind oct_fault_hit_(enum oct_fault_site site)
{
    struct site *s = &sites[site];
    uint64_t n = atomic_fetch_add(&s->count, 1) + 1;
    uint64_t at = atomic_load(&s->at);
    if (at == 0 || n < at || (n > at && !atomic_load(&s->forever))) {
        return OCT_FAULT_NONE;
    }
    const enum oct_fault_kind kind = (enum oct_fault_kind)atomic_load(&s->kind);
    while (kind == OCT_FAULT_HANG) {
        (void)pause();
    }
    if (kind == OCT_FAULT_DELAY) {
        const unsigned ms = atomic_load(&s->delay_ms);
        const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
        (void)nanosleep(&t, NULL);
        return OCT_FAULT_NONE;
    }
    return kind;
}

static void bad_plan(const char *plan)
{
    (void)fprintf(
        stderr,
        "octavo: cannot read OCT_FAULT=%s; write site@k, site@k+, or site@k= with nan, hang, flip "
        "or 800ms\n",
        plan);
    exit(2);
}

void oct_fault_from_env(void)
{
    const char *plan = getenv("OCT_FAULT");
    for (const char *p = plan; p && *p;) {
        size_t len = strcspn(p, ",");
        const char *at = memchr(p, '@', len);
        int site = -1;
        for (int i = 0; at && i < OCT_FAULT_N_SITES; i++) {
            if (strlen(site_names[i]) == (size_t)(at - p) &&
                !strncmp(site_names[i], p, (size_t)(at - p))) {
                site = i;
            }
        }
        if (site < 0) {
            bad_plan(plan);
        }
        char *end;
        uint64_t k = strtoull(at + 1, &end, 10);
        bool forever = *end == '+';
        end += forever;
        enum oct_fault_kind kind = OCT_FAULT_FAIL;
        unsigned long ms = 0;
        if (!strncmp(end, "=nan", 4)) {
            kind = OCT_FAULT_NAN;
            end += 4;
        } else if (!strncmp(end, "=hang", 5)) {
            kind = OCT_FAULT_HANG;
            end += 5;
        } else if (!strncmp(end, "=flip", 5)) {
            kind = OCT_FAULT_FLIP;
            end += 5;
        } else if (*end == '=') {
            char *unit;
            ms = strtoul(end + 1, &unit, 10);
            kind = OCT_FAULT_DELAY;
            end = !strncmp(unit, "ms", 2) ? unit + 2 : end;
        }
        if (k == 0 || end != p + len) {
            bad_plan(plan);
        }
        if (kind == OCT_FAULT_DELAY) {
            oct_fault_arm_delay((enum oct_fault_site)site, k, (uint32_t)ms);
        } else {
            oct_fault_arm((enum oct_fault_site)site, k, forever, kind);
        }
        p += len + (p[len] == ',');
    }
}

#else
typedef int oct_fault_not_in_this_build; /* an empty translation unit is not C */
#endif
