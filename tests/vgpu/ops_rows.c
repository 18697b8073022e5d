// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

#include "lanes.h"

typedef uint16_t any16 __attribute__((aligned(1), may_alias));
typedef uint32_t any32 __attribute__((aligned(1), may_alias));
typedef uint64_t any64 __attribute__((aligned(1), may_alias));

static bool in_line(const uint64_t host[32], uint64_t step)
{
    uint64_t bad = 0, base = host[0];
    VG_LANES
    {
        bad |= host[l] ^ (base + (uint64_t)l * step);
    }
    return bad == 0;
}

static void load32(uint32_t *const d[], unsigned n, const uint8_t *from)
{
    const any32 *s = (const any32 *)(const void *)from;
    if (n == 1) {
        uint32_t *a = d[0];
        VG_LANES
        {
            a[l] = s[l];
        }
    } else if (n == 2) {
        uint32_t *a = d[0], *b = d[1];
        VG_LANES
        {
            a[l] = s[2 * l];
            b[l] = s[2 * l + 1];
        }
    } else {
        uint32_t *a = d[0], *b = d[1], *c = d[2], *e = d[3];
        VG_LANES
        {
            a[l] = s[4 * l];
            b[l] = s[4 * l + 1];
            c[l] = s[4 * l + 2];
            e[l] = s[4 * l + 3];
        }
    }
}

static void store32(uint8_t *to, unsigned n, const uint32_t *const s[])
{
    any32 *d = (any32 *)(void *)to;
    if (n == 1) {
        const uint32_t *a = s[0];
        VG_LANES
        {
            d[l] = a[l];
        }
    } else if (n == 2) {
        const uint32_t *a = s[0], *b = s[1];
        VG_LANES
        {
            d[2 * l] = a[l];
            d[2 * l + 1] = b[l];
        }
    } else {
        const uint32_t *a = s[0], *b = s[1], *c = s[2], *e = s[3];
        VG_LANES
        {
            d[4 * l] = a[l];
            d[4 * l + 1] = b[l];
            d[4 * l + 2] = c[l];
            d[4 * l + 3] = e[l];
        }
    }
}

static void load64(uint64_t *const d[], unsigned n, const uint8_t *from)
{
    const any64 *s = (const any64 *)(const void *)from;
    for (unsigned i = 0; i < n; i++) {
        uint64_t *a = d[i];
        VG_LANES
        {
            a[l] = s[(unsigned)l * n + i];
        }
    }
}

static void store64(uint8_t *to, unsigned n, const uint64_t *const s[])
{
    any64 *d = (any64 *)(void *)to;
    for (unsigned i = 0; i < n; i++) {
        const uint64_t *a = s[i];
        VG_LANES
        {
            d[(unsigned)l * n + i] = a[l];
        }
    }
}

static void load16(uint32_t *d, const uint8_t *from)
{
    const any16 *s = (const any16 *)(const void *)from;
    VG_LANES
    {
        d[l] = s[l];
    }
}

extern const struct vg_rows VG_PASTE(vg_rows, VG_LEVEL);
const struct vg_rows VG_PASTE(vg_rows, VG_LEVEL) = {in_line, load32,  store32,
                                                    load64,  store64, load16};
