/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include "base/fault.h"

#include <sys/random.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    const uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    const uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
    const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[1] = (uint32_t)p1;
    c[3] = (uint32_t)p0;
    c[0] = n0;
    c[2] = n2;
}

void oct_rng_philox(uint64_t key, uint64_t counter_lo, uint64_t counter_hi, uint32_t out[4])
{
    uint32_t c[4] = {(uint32_t)counter_lo, (uint32_t)(counter_lo >> 32), (uint32_t)counter_hi,
                     (uint32_t)(counter_hi >> 32)};
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u; /* Weyl constants of the paper */
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) {
        out[i] = c[i];
    }
}

oct_status oct_rng_fresh_seed(uint64_t *seed)
{
    uint64_t value;
    if (oct_fault_hit(OCT_FAULT_RNG) ||
        getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value) {
        return OCT_FAIL(OCT_E_IO, "the system gives no random seed; pass one yourself");
    }
    *seed = value;
    return OCT_OK;
}
