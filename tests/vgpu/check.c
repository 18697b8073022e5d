// SPDX-License-Identifier: Apache-2.0
// check.c - accesses of a warp against the shadow: bounds, alignment, uninitialised, in flight.
#include "chk.h"
#include "foot.h"
#include "quad.h"

#include <stdlib.h>
#include <string.h>

#define ONES UINT64_C(0x0101010101010101)

uint8_t *vg_shadow_global(uint64_t addr)
{
    const struct vg_arena *a = vg_arena_of(addr);
    return a ? a->shadow + (addr - a->base) : NULL;
}

// First byte of s[0..n) that lacks a bit of want or has one of ban; n: none.
static uint64_t first_bad(const uint8_t *s, uint64_t n, uint8_t want, uint8_t ban)
{
    const uint64_t care = (uint64_t)(want | ban) * ONES, good = want * ONES;
    typedef uint64_t pair __attribute__((vector_size(16), aligned(1), may_alias));
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const pair *v = (const pair *)(const void *)(s + i);
        pair bad = (v[0] ^ good) | (v[1] ^ good) | (v[2] ^ good) | (v[3] ^ good);
        if ((bad[0] | bad[1]) & care) {
            break;
        }
    }
    for (; i + 16 <= n; i += 16) {
        pair bad = *(const pair *)(const void *)(s + i) ^ good;
        if ((bad[0] | bad[1]) & care) {
            break;
        }
    }
    for (; i < n; i++) {
        if ((s[i] & (want | ban)) != want) {
            return i;
        }
    }
    return n;
}

static void set_bits(uint8_t *s, uint64_t n, uint8_t bits)
{
    const uint64_t b = bits * ONES;
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, s + i, 8);
        if ((v & b) != b) {
            v |= b;
            memcpy(s + i, &v, 8);
        }
    }
    for (; i < n; i++) {
        s[i] |= bits;
    }
}

void vg_shadow_pending(uint8_t *s, uint32_t bytes)
{
    set_bits(s, bytes, VG_SH_PENDING);
}

void vg_shadow_delivered(uint8_t *s, uint32_t bytes)
{
    uint32_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t v;
        memcpy(&v, s + i, 8);
        v = (v & ~(VG_SH_PENDING * ONES)) | VG_SH_INIT * ONES;
        memcpy(s + i, &v, 8);
    }
    for (; i < bytes; i++) {
        s[i] = (uint8_t)((s[i] & ~VG_SH_PENDING) | VG_SH_INIT);
    }
}

void vg_shadow_reader(uint8_t *s, uint32_t bytes, int add)
{
    typedef uint8_t line __attribute__((vector_size(16), aligned(1), may_alias));
    uint32_t i = 0;
    for (; i + 16 <= bytes; i += 16) { // as below
        line *v = (line *)(void *)(s + i);
        *v = add > 0 ? *v + ((line)(*v < 31 * VG_SH_READER) & VG_SH_READER)
                     : *v - ((line)(*v >= VG_SH_READER) & VG_SH_READER);
    }
    for (; i < bytes; i++) {
        unsigned n = s[i] >> 3;
        // A full count stays full until its CTA ends: 31 unfinished readers of one byte do not
        // occur in programs that wait.
        if (add > 0 && n < 31) {
            s[i] = (uint8_t)(s[i] + VG_SH_READER);
        } else if (add < 0 && n > 0) {
            s[i] = (uint8_t)(s[i] - VG_SH_READER);
        }
    }
}

// ---- reports ----

static const char *verb(enum vg_access kind)
{
    return kind == VG_STORE || kind == VG_STORE_STRONG ? "write"
           : kind == VG_ATOMIC                         ? "atomic"
                                                       : "read";
}

static bool is_write(enum vg_access kind)
{
    return kind == VG_STORE || kind == VG_STORE_STRONG || kind == VG_ATOMIC;
}

static bool is_read(enum vg_access kind)
{
    return kind != VG_STORE && kind != VG_STORE_STRONG;
}

static void bad_global(struct vg_warp *w, int lane, uint64_t addr, unsigned bytes,
                       enum vg_access kind)
{
    char text[256];
    vg_mem_describe(addr, text, sizeof(text));
    bool freed = vg_mem_was_freed(addr);
    VG_FIND(w, lane, freed ? VG_USE_AFTER_FREE : VG_OUT_OF_BOUNDS,
            "%s of %u bytes at global address 0x%llx: %s", verb(kind), bytes,
            (unsigned long long)addr, text);
}

// Words about an offset in shared memory that no variable covers.
static void describe_shared(const struct vg_chk_cta *c, uint32_t off, char *buf, size_t n)
{
    const struct vg_program *p = c->grid->grid->program;
    uint32_t dyn = c->cta->dyn_offset;
    const struct vg_shared_var *before = NULL;
    for (uint32_t i = 0; i < p->n_shared_var && p->shared_var[i].at <= off; i++) {
        before = &p->shared_var[i];
    }
    if (c->cta->dyn_bytes && off >= dyn) {
        snprintf(buf, n, "%u bytes past the end of dynamic shared memory (%u bytes)",
                 off - dyn - c->cta->dyn_bytes, c->cta->dyn_bytes);
    } else if (before && (!c->cta->dyn_bytes || off - before->at - before->bytes < dyn - off)) {
        snprintf(buf, n, "%u bytes past the end of %s (%u bytes)", off - before->at - before->bytes,
                 before->name, before->bytes);
    } else if (c->cta->dyn_bytes) {
        snprintf(buf, n, "%u bytes before dynamic shared memory", dyn - off);
    } else {
        snprintf(buf, n, "the kernel has no shared memory there");
    }
}

static void bad_shared(struct vg_warp *w, int lane, const struct vg_chk_cta *c, uint32_t off,
                       unsigned bytes, const char *what)
{
    char text[192];
    uint32_t at = off;
    while (at < c->smem_bytes && at - off + 1 < bytes && (c->shadow[at] & VG_SH_ADDR)) {
        at++;
    }
    describe_shared(c, at, text, sizeof(text));
    VG_FIND(w, lane, VG_OUT_OF_BOUNDS, "%s of %u bytes at shared memory offset 0x%x: %s", what,
            bytes, off, text);
}

// The shadow of one lane's bytes is not as it should be. false: fault.
static bool judge(struct vg_warp *w, int lane, const uint8_t *s, unsigned n, uint64_t at,
                  const char *space, enum vg_access kind)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned long long where = at + i;
        if (!(s[i] & VG_SH_ADDR)) {
            return false;
        }
        if (s[i] & VG_SH_PENDING) {
            VG_FIND(w, lane, is_read(kind) ? VG_IN_FLIGHT_READ : VG_IN_FLIGHT_WRITE,
                    "%s of %s 0x%llx hits an asynchronous copy still in flight", verb(kind), space,
                    where);
            return true;
        }
        if (is_write(kind) && (s[i] & VG_SH_READERS)) {
            VG_FIND(w, lane, VG_IN_FLIGHT_WRITE,
                    "%s of %s 0x%llx, which an unfinished asynchronous operation still reads",
                    verb(kind), space, where);
            return true;
        }
        if (is_read(kind) && !(s[i] & VG_SH_INIT)) {
            VG_FIND(w, lane, VG_UNINITIALISED, "%s of %s 0x%llx, which was never written",
                    verb(kind), space, where);
            return true;
        }
    }
    return true;
}

static void masks(enum vg_access kind, uint8_t *want, uint8_t *ban)
{
    *want = is_read(kind) ? VG_SH_ADDR | VG_SH_INIT : VG_SH_ADDR;
    *ban = is_write(kind) ? VG_SH_PENDING | VG_SH_READERS : VG_SH_PENDING;
}

// Shadow of one lane is fine: quick test for 1..16 bytes.
static inline bool lane_fine(const uint8_t *s, unsigned bytes, uint64_t care, uint64_t good)
{
    uint64_t v, v2;
    switch (bytes) {
    case 1:
        return ((s[0] ^ good) & care & 0xFF) == 0;
    case 2: {
        uint16_t h;
        memcpy(&h, s, 2);
        return ((h ^ good) & care & 0xFFFF) == 0;
    }
    case 4: {
        uint32_t u;
        memcpy(&u, s, 4);
        return ((u ^ good) & care & 0xFFFFFFFFu) == 0;
    }
    case 8:
        memcpy(&v, s, 8);
        return ((v ^ good) & care) == 0;
    case 16:
        memcpy(&v, s, 8);
        memcpy(&v2, s + 8, 8);
        return (((v ^ good) | (v2 ^ good)) & care) == 0;
    default:
        return lane_fine(s, 16, care, good) && lane_fine(s + 16, 16, care, good);
    }
}

static inline void lane_init(uint8_t *s, unsigned bytes)
{
    if (bytes == 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        v |= VG_SH_INIT * ONES;
        memcpy(s, &v, 8);
        return;
    }
    if (bytes == 4) {
        uint32_t v;
        memcpy(&v, s, 4);
        v |= (uint32_t)(VG_SH_INIT * ONES);
        memcpy(s, &v, 4);
        return;
    }
    if (bytes == 16) {
        uint64_t v[2];
        memcpy(v, s, 16);
        v[0] |= VG_SH_INIT * ONES;
        v[1] |= VG_SH_INIT * ONES;
        memcpy(s, v, 16);
        return;
    }
    set_bits(s, bytes, VG_SH_INIT);
}

// Full warp, lane i at first + i * bytes.
static bool is_row64(const uint64_t a[32], unsigned bytes)
{
    uint64_t bad = 0, first = a[0];
    for (unsigned i = 0; i < 32; i++) {
        bad |= a[i] ^ (first + (uint64_t)i * bytes);
    }
    return bad == 0;
}

static bool is_row32(const uint32_t a[32], unsigned bytes)
{
    uint32_t bad = 0, first = a[0];
    for (unsigned i = 0; i < 32; i++) {
        bad |= a[i] ^ (first + i * bytes);
    }
    return bad == 0;
}

// ---- 16 bytes by each of 32 lanes: ldmatrix, cp.async, vectors ----

typedef uint8_t line __attribute__((vector_size(16), aligned(1), may_alias));

// The same of lanes that read 64 bytes by fours, as a tile's rows are.
static inline bool quads_fine(const uint8_t *s, const uint64_t off[32], uint8_t want, uint8_t ban)
{
    const vg_quad good = (vg_quad){0} + want;
    vg_quad bad = {0};
    for (unsigned i = 0; i < 32; i += 4) {
        bad |= *(const vg_quad *)(const void *)(s + off[i]) ^ good;
    }
    bad &= (uint8_t)(want | ban);
    return vg_quad_is_zero(bad);
}

// The shadow at off of every lane is as wanted; writes are marked then.
static inline bool lines_fine(uint8_t *s, const uint64_t off[32], uint8_t want, uint8_t ban,
                              bool write)
{
    if (!write && vg_are_quads(off)) {
        return quads_fine(s, off, want, ban);
    }
    const line good = (line){0} + want;
    line two_bad[2] = {{0}, {0}};
    for (unsigned i = 0; i < 32; i += 4) { // loads of a round do not wait for each other
        two_bad[0] |= (*(const line *)(const void *)(s + off[i]) ^ good) |
                      (*(const line *)(const void *)(s + off[i + 1]) ^ good);
        two_bad[1] |= (*(const line *)(const void *)(s + off[i + 2]) ^ good) |
                      (*(const line *)(const void *)(s + off[i + 3]) ^ good);
    }
    line bad = two_bad[0] | two_bad[1];
    bad &= (uint8_t)(want | ban);
    uint64_t two[2];
    memcpy(two, &bad, 16);
    if (two[0] | two[1]) {
        return false;
    }
    for (unsigned i = 0; i < 32 && write; i++) {
        *(line *)(void *)(s + off[i]) |= VG_SH_INIT;
    }
    return true;
}

bool vg_chunks_fine(const struct vg_cta *cta, const uint32_t *off, unsigned n)
{
    const struct vg_chk_cta *t = cta->chk;
    const bool bounds = cta->grid->chk->bounds;
    uint8_t want = VG_SH_ADDR, ban = 0;
    if (bounds) {
        masks(VG_LOAD, &want, &ban);
    }
    const line good = (line){0} + want;
    line bad = {0};
    for (unsigned i = 0; i < n; i++) {
        if (off[i] >= (t->smem_bytes & ~15u)) {
            return false;
        }
        bad |= *(const line *)(const void *)(t->shadow + off[i]) ^ good;
    }
    bad &= (uint8_t)(want | ban);
    uint64_t two[2];
    memcpy(two, &bad, 16);
    return !(two[0] | two[1]);
}

static bool shared_lines_fine(const struct vg_chk_cta *t, const uint32_t off[32], uint8_t want,
                              uint8_t ban, bool write)
{
    uint32_t odd = 0, past = 0;
    const uint32_t end = t->smem_bytes & ~15u;
    for (unsigned i = 0; i < 32; i++) {
        odd |= off[i] & 15;
        past |= off[i] >= end ? 1u : 0u;
    }
    if (odd | past) {
        return false;
    }
    const line good = (line){0} + want;
    line bad = {0};
    uint8_t *s = t->shadow;
#pragma GCC unroll 8
    for (unsigned i = 0; i < 32; i++) {
        bad |= *(const line *)(const void *)(s + off[i]) ^ good;
    }
    bad &= (uint8_t)(want | ban);
    uint64_t two[2];
    memcpy(two, &bad, 16);
    if (two[0] | two[1]) {
        return false;
    }
    for (unsigned i = 0; i < 32 && write; i++) {
        *(line *)(void *)(s + off[i]) |= VG_SH_INIT;
    }
    return true;
}

static bool global_lines_fine(const uint64_t addr[32], uint8_t want, uint8_t ban, bool write)
{
    const struct vg_arena *a = vg_arena_of(addr[0]);
    if (!a) {
        return false;
    }
    const uint64_t base = a->base, bytes = a->bytes;
    uint64_t at[32], odd = 0, past = 0;
    for (unsigned i = 0; i < 32; i++) {
        at[i] = addr[i] - base;
        odd |= addr[i] & 15;
        past |= at[i] >= bytes ? 1u : 0u;
    }
    return !(odd | past) && lines_fine(a->shadow, at, want, ban, write);
}

// 4 or 8 bytes a lane, wherever they lie in one arena: no branch for each.
static bool global_words_fine(const uint64_t addr[32], uint32_t mask, unsigned bytes, uint64_t care,
                              uint64_t good, bool write)
{
    const struct vg_arena *a = vg_arena_of(addr[__builtin_ctz(mask)]);
    if (!a) {
        return false;
    }
    const uint64_t base = a->base, end = a->bytes - bytes;
    uint64_t odd = 0, past = 0, bad = 0, set = UINT64_MAX;
    for (uint32_t m = mask; m; m &= m - 1) {
        const uint64_t at = addr[__builtin_ctz(m)];
        odd |= at & (bytes - 1);
        past |= at - base > end ? 1u : 0u;
    }
    if (odd | past) {
        return false;
    }
    uint8_t *s = a->shadow;
    for (uint32_t m = mask; m; m &= m - 1) {
        const uint8_t *lane = s + (addr[__builtin_ctz(m)] - base);
        uint64_t v = 0;
        bytes == 4 ? memcpy(&v, lane, 4) : memcpy(&v, lane, 8);
        bad |= v ^ good;
        set &= v;
    }
    const uint64_t all = bytes == 4 ? 0xFFFFFFFFu : UINT64_MAX;
    if (bad & care & all) {
        return false;
    }
    const bool mark = write && (~set & (VG_SH_INIT * ONES) & all);
    for (uint32_t m = mark ? mask : 0; m; m &= m - 1) {
        lane_init(s + (addr[__builtin_ctz(m)] - base), bytes);
    }
    return true;
}

// Whether the context of the launch may touch the device that owns an address.
static bool in_reach(struct vg_warp *w, int lane, uint64_t addr, unsigned bytes,
                     enum vg_access kind)
{
    const struct vg_launch *l = w->cta->grid->launch;
    const struct vg_arena *a = vg_arena_of(addr);
    if (!a || !(l->hidden >> (a - vg_arenas) & 1)) {
        return true;
    }
    char text[256];
    vg_mem_describe(addr, text, sizeof(text));
    VG_FIND(w, lane, VG_OUT_OF_BOUNDS,
            "%s of %u bytes at global address 0x%llx (%s): memory of device %d, to which the "
            "launch's context on device %d has no access (cuCtxEnablePeerAccess)",
            verb(kind), bytes, (unsigned long long)addr, text, (int)(a - vg_arenas), l->device);
    return false;
}

bool vg_check_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                     enum vg_access kind)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    bool local_order = (kind & VG_ACCESS_LOCAL_ORDER) != 0;
    kind &= ~(unsigned)VG_ACCESS_LOCAL_ORDER;
    if (mask == 0) {
        return true;
    }
    uint8_t want, ban;
    masks(kind, &want, &ban);
    const uint64_t care = (uint64_t)(want | ban) * ONES, good = want * ONES;
    bool row = mask == 0xFFFFFFFFu && is_row64(addr, bytes);
    bool fine = false;
    if (row && (addr[0] & (bytes - 1)) == 0) {
        const struct vg_arena *a = vg_arena_of(addr[0]);
        if (a && 32ull * bytes <= a->bytes - (addr[0] - a->base)) {
            uint8_t *s = a->shadow + (addr[0] - a->base);
            if (!g->bounds) {
                fine = first_bad(s, 32ull * bytes, VG_SH_ADDR, 0) == 32ull * bytes;
            } else {
                fine = first_bad(s, 32ull * bytes, want, ban) == 32ull * bytes;
            }
            if (fine && is_write(kind)) {
                set_bits(s, 32ull * bytes, VG_SH_INIT);
            }
        }
    } else if (mask == 0xFFFFFFFFu && bytes == 16) {
        fine = global_lines_fine(addr, g->bounds ? want : VG_SH_ADDR, g->bounds ? ban : 0,
                                 is_write(kind));
    } else if (bytes == 4 || bytes == 8) {
        fine = global_words_fine(addr, mask, bytes, care, good, is_write(kind));
    }
    if (!fine) {
        const struct vg_arena *a = NULL;
        for (uint32_t m = mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            uint64_t at = addr[lane];
            if (at & (bytes - 1)) {
                char text[256];
                vg_mem_describe(at, text, sizeof(text));
                VG_FIND(w, lane, VG_MISALIGNED, "misaligned %u-byte %s at 0x%llx: %s", bytes,
                        verb(kind), (unsigned long long)at, text);
                return false;
            }
            if (!a || at - a->base >= a->bytes) {
                a = vg_arena_of(at);
            }
            if (!a) {
                bad_global(w, lane, at, bytes, kind);
                return false;
            }
            uint8_t *s = a->shadow + (at - a->base);
            if (!lane_fine(s, bytes, care, good)) {
                bool usable = true;
                for (unsigned i = 0; i < bytes; i++) {
                    usable = usable && (s[i] & VG_SH_ADDR);
                }
                if (!usable) {
                    bad_global(w, lane, at, bytes, kind);
                    return false;
                }
                if (g->bounds) {
                    judge(w, lane, s, bytes, at, "global address", kind);
                }
            }
            if (is_write(kind)) {
                lane_init(s, bytes);
            }
        }
    }
    const struct vg_launch *l = w->cta->grid->launch;
    // The memory of two devices does not touch: a dense row lies in one.
    for (uint32_t m = l->hidden ? (row ? 1 : mask) : 0; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        if (!in_reach(w, lane, addr[lane], bytes, kind)) {
            return false;
        }
    }
    if (g->count) {
        vg_count_global(w, addr, mask, bytes, is_read(kind), is_write(kind));
        if (kind == VG_LOAD_STRONG) {
            w->cta->counts->n[VG_N_GLOBAL_STRONG_BYTES] +=
                (uint64_t)__builtin_popcount(mask) * bytes;
        }
    }
    if (g->race && !local_order) {
        vg_race_global(w, addr, mask, bytes, kind);
    }
    if (l->foot) {
        vg_foot_lanes(w, addr, mask, bytes, row, kind);
    }
    return true;
}

// Alignment and bounds of lanes in shared memory; reports the first that has neither.
static bool places_fine(struct vg_warp *w, const struct vg_chk_cta *t, const uint32_t off[32],
                        uint32_t mask, unsigned bytes, enum vg_access kind)
{
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        if (off[lane] & (bytes - 1)) {
            VG_FIND(w, lane, VG_MISALIGNED, "misaligned %u-byte %s at shared memory offset 0x%x",
                    bytes, verb(kind), off[lane]);
            return false;
        }
        if (off[lane] >= t->smem_bytes || bytes > t->smem_bytes - off[lane]) {
            bad_shared(w, lane, t, off[lane], bytes, verb(kind));
            return false;
        }
    }
    return true;
}

// Shadows of all lanes at once, without a branch for each.
static inline bool lanes_fine(const uint8_t *s, const uint32_t off[32], uint32_t mask,
                              unsigned bytes, uint64_t care, uint64_t good)
{
    uint64_t bad = 0;
    if (bytes == 16) {
        for (uint32_t m = mask; m; m &= m - 1) {
            uint64_t v[2];
            memcpy(v, s + off[__builtin_ctz(m)], 16);
            bad |= (v[0] ^ good) | (v[1] ^ good);
        }
        return (bad & care) == 0;
    }
    if (bytes == 4) {
        for (uint32_t m = mask; m; m &= m - 1) {
            uint32_t v;
            memcpy(&v, s + off[__builtin_ctz(m)], 4);
            bad |= v ^ (uint32_t)good;
        }
        return (bad & (uint32_t)care) == 0;
    }
    for (uint32_t m = mask; m; m &= m - 1) {
        bad |= !lane_fine(s + off[__builtin_ctz(m)], bytes, care, good);
    }
    return bad == 0;
}

bool vg_check_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                     uint32_t mask, unsigned bytes, enum vg_access kind)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    struct vg_chk_cta *t = target->chk;
    bool local_order = (kind & VG_ACCESS_LOCAL_ORDER) != 0, matrix = (kind & VG_ACCESS_MATRIX) != 0;
    kind &= ~(unsigned)(VG_ACCESS_LOCAL_ORDER | VG_ACCESS_MATRIX);
    if (mask == 0) {
        return true;
    }
    uint8_t want, ban;
    masks(kind, &want, &ban);
    if (!g->bounds) {
        want = VG_SH_ADDR;
        ban = 0;
    }
    const uint32_t n = t->smem_bytes;
    bool fine = false;
    if (mask == 0xFFFFFFFFu && is_row32(off, bytes) && (off[0] & (bytes - 1)) == 0 && off[0] < n &&
        32 * bytes <= n - off[0]) {
        fine = first_bad(t->shadow + off[0], 32ull * bytes, want, ban) == 32ull * bytes;
        if (fine && is_write(kind)) {
            set_bits(t->shadow + off[0], 32ull * bytes, VG_SH_INIT);
        }
    } else if (mask == 0xFFFFFFFFu && bytes == 16) {
        fine = shared_lines_fine(t, off, want, ban, is_write(kind));
    }
    if (!fine) {
        const uint64_t care = (uint64_t)(want | ban) * ONES, good = want * ONES;
        uint32_t bad = 0; // sign bit: outside; else: misaligned
        for (unsigned i = 0; i < 32; i++) {
            bad |= (off[i] & (bytes - 1)) | ((off[i] | (n - bytes - off[i])) & 1u << 31);
        }
        if (bad && !places_fine(w, t, off, mask, bytes, kind)) {
            return false;
        }
        if (!lanes_fine(t->shadow, off, mask, bytes, care, good)) {
            for (uint32_t m = mask; m; m &= m - 1) {
                int lane = __builtin_ctz(m);
                uint8_t *s = t->shadow + off[lane];
                if (!lane_fine(s, bytes, care, good) &&
                    !judge(w, lane, s, bytes, off[lane], "shared memory offset", kind)) {
                    bad_shared(w, lane, t, off[lane], bytes, verb(kind));
                    return false;
                }
            }
        }
        if (is_write(kind)) {
            for (uint32_t m = mask; m; m &= m - 1) {
                lane_init(t->shadow + off[__builtin_ctz(m)], bytes);
            }
        }
    }
    if (g->count) {
        struct vg_counts *c = w->cta->counts;
        unsigned waves = vg_count_waves(off, mask, bytes);
        unsigned ideal = vg_count_waves_ideal(mask, bytes);
        c->n[VG_N_SHARED_WAVES] += waves;
        c->n[VG_N_SHARED_WAVES_IDEAL] += ideal;
        c->n[VG_N_LDMATRIX_WAVES] += matrix ? waves : 0;
        c->n[VG_N_LDMATRIX_IDEAL] += matrix ? ideal : 0;
    }
    if (g->race && !local_order) {
        vg_race_shared(w, target, off, mask, bytes, kind);
    }
    return true;
}

bool vg_range_global(struct vg_warp *w, int lane, uint64_t addr, uint64_t bytes, bool write,
                     const char *what)
{
    const struct vg_arena *a = vg_arena_of(addr);
    enum vg_access kind = write ? VG_STORE : VG_LOAD;
    if (!a || bytes > a->bytes - (addr - a->base)) {
        bad_global(w, lane, addr, (unsigned)bytes, kind);
        return false;
    }
    const struct vg_launch *l = w->cta->grid->launch;
    if (l->hidden && !in_reach(w, lane, addr, (unsigned)bytes, kind)) {
        return false;
    }
    uint8_t *s = a->shadow + (addr - a->base), want = VG_SH_ADDR, ban = 0;
    if (w->cta->grid->chk->bounds) {
        masks(kind, &want, &ban);
    }
    const uint64_t first = first_bad(s, bytes, want, ban);
    if (first < bytes) {
        uint64_t i = first_bad(s, bytes, VG_SH_ADDR, 0);
        if (i < bytes) {
            char text[256];
            vg_mem_describe(addr + i, text, sizeof(text));
            VG_FIND(w, lane, vg_mem_was_freed(addr + i) ? VG_USE_AFTER_FREE : VG_OUT_OF_BOUNDS,
                    "%s of %llu bytes at 0x%llx: byte %llu is %s", what, (unsigned long long)bytes,
                    (unsigned long long)addr, (unsigned long long)i, text);
            return false;
        }
        judge(w, lane, s + first, 1, addr + first, what, kind);
    }
    if (l->foot) {
        vg_foot_span(w, lane, addr, bytes, kind);
    }
    return true;
}

bool vg_range_shared(struct vg_warp *w, int lane, struct vg_cta *t, uint32_t off, uint32_t bytes,
                     bool write, const char *what)
{
    struct vg_chk_cta *c = t->chk;
    enum vg_access kind = write ? VG_STORE : VG_LOAD;
    if (off >= c->smem_bytes || bytes > c->smem_bytes - off) {
        bad_shared(w, lane, c, off, bytes, what);
        return false;
    }
    uint8_t want = VG_SH_ADDR, ban = 0;
    if (w->cta->grid->chk->bounds) {
        masks(kind, &want, &ban);
    }
    uint64_t i = first_bad(c->shadow + off, bytes, want, ban);
    if (i < bytes) {
        if (first_bad(c->shadow + off, bytes, VG_SH_ADDR, 0) < bytes) {
            bad_shared(w, lane, c, off, bytes, what);
            return false;
        }
        char text[64];
        snprintf(text, sizeof(text), "%s, shared memory offset", what);
        judge(w, lane, c->shadow + off + i, 1, off + i, text, kind);
    }
    return true;
}
