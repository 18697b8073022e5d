// SPDX-License-Identifier: Apache-2.0
// grace.c - races on global memory between the CTAs (and warps) of one launch, and ld.global.nc of
// what the launch writes. One record per 16 bytes with a byte mask; launches order everything
// before them.
#include "chk.h"

#include <string.h>
#include <sys/mman.h>

// Record: launch << 54 | cta << 34 | warp << 29 | clock << 5 | flags. 0: none.
enum { G_STRONG = 1, G_NC = 2, G_MANY_CTAS = 4, G_MANY_WARPS = 8, G_ASYNC = 16 };
enum { G_LAUNCHES = 1 << 10, G_CTAS = 1 << 20 };

static uint32_t last_launch;
// Guards last_launch and the wiping of records when launch ids start again.
static pthread_mutex_t launch_lock = PTHREAD_MUTEX_INITIALIZER;

uint32_t vg_race_launch_id(void)
{
    pthread_mutex_lock(&launch_lock);
    uint32_t id = ++last_launch;
    if (id == G_LAUNCHES) {
        for (int d = 0; d < VG_ARENAS; d++) {
            if (vg_arenas[d].bytes) {
                madvise(vg_arenas[d].words, vg_arenas[d].bytes * 2, MADV_DONTNEED);
            }
        }
        id = last_launch = 1;
    }
    pthread_mutex_unlock(&launch_lock);
    return id;
}

struct access {
    struct vg_warp *w;
    const struct vg_chk_grid *g;
    uint64_t self; // record of this access
    enum vg_access kind;
    bool writes, reads, async, reported;
};

static unsigned rec_launch(uint64_t r)
{
    return (unsigned)(r >> 54);
}
static unsigned rec_cta(uint64_t r)
{
    return (unsigned)(r >> 34) & (G_CTAS - 1);
}
static unsigned rec_warp(uint64_t r)
{
    return (unsigned)(r >> 29) & 31;
}
static uint32_t rec_clock(uint64_t r)
{
    return (uint32_t)(r >> 5) & 0xFFFFFF;
}

// What the record tells is ordered before the running instruction.
static bool ordered(const struct access *a, uint64_t rec)
{
    const struct vg_cta *c = a->w->cta;
    const struct vg_chk_warp *k = a->w->chk;
    unsigned cta = rec_cta(rec), warp = rec_warp(rec), n_warps = a->g->n_warps;
    if (rec & G_MANY_CTAS) {
        // The clocks of the other readers are lost: a race only if this warp knows of no other CTA.
        return k->far != NULL || a->g->n_far == 0 || a->g->cluster_ctas > 1;
    }
    if (cta - (c->linear - c->rank) < a->g->cluster_ctas) {
        if (rec & G_MANY_WARPS) {
            return true;
        }
        unsigned rank = cta - (c->linear - c->rank);
        return (rank == c->rank && warp == a->w->id) ||
               rec_clock(rec) <= k->vc[rank * (n_warps + 1) + warp];
    }
    if (a->g->n_far == 0) {
        return a->g->gsync_used;
    }
    return k->far && rec_clock(rec) <= k->far[cta * n_warps + warp];
}

// The write that the record tells of has passed a proxy fence on its way to the running warp.
static bool fenced(const struct vg_warp *w, uint64_t rec, unsigned view)
{
    const struct vg_cta *c = w->cta;
    const struct vg_chk_warp *k = w->chk;
    const struct vg_chk_grid *g = c->grid->chk;
    unsigned cta = rec_cta(rec), warp = rec_warp(rec), first = c->linear - c->rank;
    if (cta - first < g->cluster_ctas) {
        return rec_clock(rec) <= vg_view(g, k->vc, view)[(cta - first) * (g->n_warps + 1) + warp];
    }
    return g->n_far == 0 ||
           (k->far && rec_clock(rec) <= vg_far_view(g, k->far, view)[cta * g->n_warps + warp]);
}

static void report_unfenced(struct access *a, uint64_t addr, int lane, uint64_t rec)
{
    if (a->reported) {
        return;
    }
    a->reported = true;
    char text[256];
    vg_mem_describe(addr, text, sizeof(text));
    VG_FIND(
        a->w, lane, VG_PROXY_FENCE,
        "an asynchronous copy %s global address 0x%llx (%s), written by CTA %u, warp %u with no "
        "fence.proxy.async of global memory since",
        a->writes ? "writes" : "reads", (unsigned long long)addr, text, rec_cta(rec),
        rec_warp(rec));
}

static void report(struct access *a, uint64_t addr, int lane, uint64_t rec, const char *did)
{
    if (a->reported) {
        return;
    }
    a->reported = true;
    char text[256];
    vg_mem_describe(addr, text, sizeof(text));
    const char *now = a->kind == VG_ATOMIC ? "atomic on" : a->writes ? "write to" : "read of";
    if ((rec & G_NC) || a->kind == VG_LOAD_NC) {
        VG_FIND(a->w, lane, VG_NC_LOAD,
                "%s global address 0x%llx (%s), %s by CTA %u, warp %u in the same launch: "
                "ld.global.nc must only read what the launch does not write",
                now, (unsigned long long)addr, text, did, rec_cta(rec), rec_warp(rec));
        return;
    }
    VG_FIND(a->w, lane, VG_GLOBAL_RACE,
            "%s global address 0x%llx (%s), %s by %s CTA %u, warp %u with no order between", now,
            (unsigned long long)addr, text, did,
            rec_cta(rec) == a->w->cta->linear ? "the same" : "another", rec_cta(rec),
            rec_warp(rec));
}

static uint64_t load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static void store(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

// The same of masks. A record and its mask are written together, under a lock of the granule's
// (CTAs on two host threads may share a granule without a race); who reads them without it finds at
// worst a record to make.
static uint16_t get(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static void put(uint16_t *p, unsigned v)
{
    __atomic_store_n(p, (uint16_t)v, __ATOMIC_RELAXED);
}

enum { STRIPES = 1024 };
static uint8_t stripe[STRIPES];

static uint8_t *lock_of(const struct vg_gword *q)
{
    uint8_t *s = &stripe[(uintptr_t)q / sizeof(*q) % STRIPES];
    while (__atomic_exchange_n(s, 1, __ATOMIC_ACQUIRE)) {
        // held for some twenty instructions
    }
    return s;
}
static void unlock(uint8_t *s)
{
    __atomic_store_n(s, 0, __ATOMIC_RELEASE);
}

// One granule, `mask` of its 16 bytes.
static void granule_locked(struct access *a, struct vg_gword *q, uint64_t addr, uint16_t mask,
                           int lane)
{
    unsigned launch = a->g->launch;
    uint64_t w0 = load(&q->w[0]), w1 = load(&q->w[1]), r = load(&q->r);
    bool l0 = rec_launch(w0) == launch, l1 = rec_launch(w1) == launch;
    bool strong = (a->self & G_STRONG) != 0;
    for (int i = 0; i < 2; i++) {
        uint64_t rec = i ? w1 : w0;
        if (!(i ? l1 : l0) || !(get(&q->wmask[i]) & mask) || (strong && (rec & G_STRONG))) {
            continue;
        }
        if (a->kind == VG_LOAD_NC || !ordered(a, rec)) {
            report(a, addr, lane, rec, "written");
        } else if (a->async && !(rec & G_ASYNC) && !fenced(a->w, rec, VG_VIEW_GLOBAL)) {
            report_unfenced(a, addr, lane, rec);
        }
    }
    bool lr = rec_launch(r) == launch;
    if (a->writes) {
        if (lr && (get(&q->rmask) & mask) && !(strong && (r & G_STRONG)) &&
            ((r & G_NC) || !ordered(a, r))) {
            report(a, addr, lane, r, "read");
        }
        if (!l0 || w0 == a->self || (get(&q->wmask[0]) & ~mask) == 0) {
            put(&q->wmask[0], l0 && w0 == a->self ? get(&q->wmask[0]) | mask : mask);
            store(&q->w[0], a->self);
            if (l1) {
                put(&q->wmask[1], (uint16_t)(get(&q->wmask[1]) & ~mask));
            }
        } else {
            put(&q->wmask[1], l1 && w1 == a->self ? get(&q->wmask[1]) | mask : mask);
            store(&q->w[1], a->self);
            put(&q->wmask[0], (uint16_t)(get(&q->wmask[0]) & ~mask));
        }
    } else {
        uint64_t fresh = a->self;
        uint16_t m = mask;
        if (lr) {
            m |= get(&q->rmask);
            fresh |= r & (G_NC | G_MANY_CTAS | G_MANY_WARPS);
            if (!(r & G_STRONG)) {
                fresh &= ~(uint64_t)G_STRONG;
            }
            if (rec_cta(r) != rec_cta(fresh)) {
                fresh |= G_MANY_CTAS;
            } else if (rec_warp(r) != rec_warp(fresh)) {
                fresh |= G_MANY_WARPS;
            }
        }
        if (fresh != r || m != get(&q->rmask)) {
            put(&q->rmask, m);
            store(&q->r, fresh);
        }
    }
}

static void granule(struct access *a, struct vg_gword *q, uint64_t addr, uint16_t mask, int lane)
{
    uint8_t *s = lock_of(q);
    granule_locked(a, q, addr, mask, lane);
    unlock(s);
}

static bool begin(struct access *a, struct vg_warp *w, enum vg_access kind)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->race || w->cta->linear >= G_CTAS) {
        return false;
    }
    const struct vg_chk_warp *k = w->chk;
    a->async = (kind & VG_ACCESS_ASYNC) != 0;
    kind &= ~(unsigned)VG_ACCESS_ASYNC;
    bool strong = kind == VG_ATOMIC || kind == VG_LOAD_STRONG || kind == VG_STORE_STRONG;
    uint32_t clock = k->vc[k->agent];
    if (strong && k->has_fence) {
        // An atomic that follows a fence is the flag itself: whoever learns of the fence knows of
        // it.
        clock = k->fence.vc[k->agent];
    }
    a->w = w;
    a->g = g;
    a->kind = kind;
    a->writes = kind == VG_STORE || kind == VG_STORE_STRONG || kind == VG_ATOMIC;
    a->reads = !a->writes;
    a->reported = false;
    a->self = (uint64_t)g->launch << 54 | (uint64_t)w->cta->linear << 34 | (uint64_t)w->id << 29 |
              (uint64_t)clock << 5 | (strong ? G_STRONG : 0) | (kind == VG_LOAD_NC ? G_NC : 0) |
              (a->async && a->writes ? G_ASYNC : 0);
    return true;
}

void vg_race_global_range(struct vg_warp *w, uint64_t addr, uint64_t bytes, int lane,
                          enum vg_access kind)
{
    struct access a;
    const struct vg_arena *ar = vg_arena_of(addr);
    if (!ar || bytes == 0 || !begin(&a, w, kind)) {
        return;
    }
    uint64_t end = addr + bytes;
    while (addr < end) {
        uint64_t off = addr - ar->base;
        unsigned at = (unsigned)(off & 15), n = 16 - at;
        n = end - addr < n ? (unsigned)(end - addr) : n;
        granule(&a, &ar->words[off / 16], addr, (uint16_t)(((1u << n) - 1) << at), lane);
        addr += n;
    }
}

// A read of a granule that nobody has written in this launch and that needs no new record, or a
// plain one.
static inline bool plain_read(const struct access *a, struct vg_gword *q, uint16_t bits)
{
    unsigned launch = a->g->launch;
    if (a->writes || rec_launch(load(&q->w[0])) == launch || rec_launch(load(&q->w[1])) == launch) {
        return false;
    }
    uint64_t r = load(&q->r);
    if (rec_launch(r) != launch) {
        uint8_t *s = lock_of(q);
        bool first = load(&q->r) == r;
        if (first) {
            put(&q->rmask, bits);
            store(&q->r, a->self);
        }
        unlock(s);
        return first;
    }
    const uint64_t flags = G_STRONG | G_NC;
    return (get(&q->rmask) & bits) == bits &&
           (r == a->self || ((r & G_MANY_CTAS) && (r & flags) == (a->self & flags)));
}

static inline void one(struct access *a, struct vg_gword *q, uint64_t addr, uint16_t bits, int lane)
{
    if (!plain_read(a, q, bits)) {
        granule(a, q, addr, bits, lane);
    }
}

void vg_race_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                    enum vg_access kind)
{
    struct access a;
    if (!begin(&a, w, kind)) {
        return;
    }
    const struct vg_arena *ar = NULL;
    struct vg_gword *q = NULL;
    uint16_t bits = 0;
    uint64_t at = 0;
    int first = -1;
    // Lanes that share a granule go together.
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        uint64_t x = addr[lane];
        if (!ar || x - ar->base >= ar->bytes) {
            ar = vg_arena_of(x);
            if (!ar) {
                continue;
            }
        }
        uint64_t off = x - ar->base;
        struct vg_gword *now = &ar->words[off / 16];
        unsigned lo = (unsigned)(off & 15), n = bytes > 16 ? 16 : bytes;
        uint16_t now_bits = (uint16_t)(((1u << n) - 1) << lo);
        if (now != q) {
            if (q) {
                one(&a, q, at, bits, first);
            }
            q = now;
            bits = 0;
            at = x;
            first = lane;
        }
        bits |= now_bits;
        if (bytes == 32) {
            one(&a, q, at, 0xFFFF, first);
            q = now + 1;
            bits = 0xFFFF;
            at = x + 16;
        }
    }
    if (q) {
        one(&a, q, at, bits, first);
    }
}

// ---- tensor maps ----

// A digest of the writes of this launch to a map; 0: none.
static uint64_t map_state(const struct vg_warp *w, uint64_t addr)
{
    const struct vg_arena *ar = vg_arena_of(addr);
    uint64_t h = 0;
    for (unsigned i = 0; ar && i < 128 / 16; i++) {
        const struct vg_gword *q = &ar->words[(addr - ar->base) / 16 + i];
        for (unsigned k = 0; k < 2; k++) {
            uint64_t rec = load(&q->w[k]);
            if (rec_launch(rec) == w->cta->grid->chk->launch) {
                h = (h ^ rec) * UINT64_C(0x9E3779B97F4A7C15) | 1;
            }
        }
    }
    return h;
}

void vg_race_map_fence(struct vg_warp *w, uint64_t addr)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct vg_chk_cta *c = w->cta->chk;
    unsigned max = sizeof(c->map_fence) / sizeof(c->map_fence[0]);
    c->map_fence[c->n_map_fences++ % max] = (struct vg_map_fence){addr, map_state(w, addr)};
}

void vg_race_map_use(struct vg_warp *w, uint64_t addr, int lane)
{
    struct access a;
    uint64_t state;
    if (!begin(&a, w, VG_LOAD) || (state = map_state(w, addr)) == 0) {
        return;
    }
    vg_race_global_range(w, addr, 128, lane, VG_LOAD);
    const struct vg_arena *ar = vg_arena_of(addr);
    for (unsigned i = 0; i < 2 * 128 / 16; i++) {
        uint64_t rec = load(&ar->words[(addr - ar->base) / 16 + i / 2].w[i & 1]);
        if (rec_launch(rec) == a.g->launch && !fenced(w, rec, VG_VIEW_MAP)) {
            VG_FIND(
                w, lane, VG_TENSORMAP,
                "the tensor map at 0x%llx was written by CTA %u, warp %u in this launch with no "
                "fence.proxy.tensormap::generic.release since",
                (unsigned long long)addr, rec_cta(rec), rec_warp(rec));
            return;
        }
    }
    const struct vg_chk_cta *c = w->cta->chk;
    for (unsigned i = 0; i < sizeof(c->map_fence) / sizeof(c->map_fence[0]); i++) {
        if (i < c->n_map_fences && c->map_fence[i].addr == addr && c->map_fence[i].state == state) {
            return;
        }
    }
    VG_FIND(w, lane, VG_TENSORMAP,
            "the tensor map at 0x%llx was written in this launch, and no "
            "fence.proxy.tensormap::generic.acquire of it comes before this use",
            (unsigned long long)addr);
}
