/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - the fault plan: lets a test make the k-th call at a seam fail.
 *
 * Only test builds (OCT_FAULTS=1) contain it; in a release build oct_fault_hit() is the constant
 * false and the plan in the environment is never read. Seams ask oct_fault_hit(SITE) once per call.
 *
 *   OCT_FAULT=mem@137            the 137th allocation fails, once
 *   OCT_FAULT=read@5+            the fifth read and every later one fail
 *   OCT_FAULT=dev_op@3=nan       the third device op writes NaN (device sites only)
 *   OCT_FAULT=dev_op@100=hang    the hundredth device op never comes back
 *   OCT_FAULT=dev_op@100=800ms   it comes so much later
 *   OCT_FAULT=dev_op@100=flip    from then on a bit of a weight is the other way round
 *   OCT_FAULT=mem@10,read@2      several, by commas
 *
 * Counting is process-wide and atomic; tests that arm faults run one thread at a time. */
#ifndef OCT_BASE_FAULT_H
#define OCT_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* One row a seam: name in a plan. */
// clang-format off
#define OCT_FAULT_SITES(X)         \
    X(MEM, "mem")                  \
    X(OPEN, "open")                \
    X(READ, "read")                \
    X(WRITE, "write")              \
    X(RNG, "rng")                  \
    X(ACCEPT, "accept")            \
    X(DEV_ALLOC, "dev_alloc")      \
    X(DEV_UPLOAD, "dev_upload")    \
    X(DEV_OP, "dev_op")            \
    X(DEV_SYNC, "dev_sync")
// clang-format on

enum oct_fault_site {
#define OCT_FAULT_ENUM(id, name) OCT_FAULT_##id,
    OCT_FAULT_SITES(OCT_FAULT_ENUM)
#undef OCT_FAULT_ENUM
        OCT_FAULT_N_SITES
};

/* What a device site does when its turn comes; other sites only fail or hang. */
enum oct_fault_kind {
    OCT_FAULT_NONE,
    OCT_FAULT_FAIL,  /* the call reports an error */
    OCT_FAULT_NAN,   /* the op runs, then its first output row is NaN */
    OCT_FAULT_HANG,  /* the call never returns; the seam does not see it */
    OCT_FAULT_DELAY, /* the call waits, then it is as any other; the seam does not see it */
    OCT_FAULT_FLIP,  /* device ops: the sign of a weight that the op reads changes, for good */
};

#if OCT_FAULTS

/* Arms `site`: call number `k` from now (1 = the next) fails; with `forever` all later ones too. */
void oct_fault_arm(enum oct_fault_site site, uint64_t k, bool forever, enum oct_fault_kind kind);
/* The same, once, for OCT_FAULT_DELAY. */
void oct_fault_arm_delay(enum oct_fault_site site, uint64_t k, uint32_t ms);
/* Disarms everything and sets all counters to zero. */
void oct_fault_reset(void);
/* Calls seen at `site` since the last reset. */
uint64_t oct_fault_count(enum oct_fault_site site);
/* Reads OCT_FAULT from the environment; a plan that cannot be read ends the process with a
 * sentence (this is a test build). Called by main() of the test build only. */
void oct_fault_from_env(void);

enum oct_fault_kind oct_fault_hit_(enum oct_fault_site site);
#define oct_fault_hit(site) (oct_fault_hit_(site) != OCT_FAULT_NONE)
#define oct_fault_kind_hit(site) oct_fault_hit_(site)

#else

#define oct_fault_hit(site) false
#define oct_fault_kind_hit(site) OCT_FAULT_NONE
#define oct_fault_from_env() ((void)0)

#endif
#endif
