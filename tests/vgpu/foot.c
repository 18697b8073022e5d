// SPDX-License-Identifier: Apache-2.0
// foot.c - footprints as bit maps, one bit per byte and kind of access, in chunks of 16 KiB of
// device memory that hang in a hash table. Long ranges (copies) are kept as ranges.
#include "foot.h"

#include <stdlib.h>
#include <string.h>

#include "chk.h"

enum {
    CHUNK_SHIFT = 14,
    CHUNK_BYTES = 1 << CHUNK_SHIFT,
    CHUNK_WORDS = CHUNK_BYTES / 64,
    N_HEADS = 512,
    MAX_RANGES = 6,
    LONG_RANGE = 4096
};

struct chunk {
    uint64_t key;                    // address >> CHUNK_SHIFT
    struct chunk *next, *older;      // of the same head; of all
    uint64_t *plane[VG_FOOT_PLANES]; // [CHUNK_WORDS], NULL: nothing
};

struct range {
    uint64_t addr, bytes; // bytes 0: not used
    enum vg_foot_plane plane;
};

struct vg_foot {
    struct chunk *head[N_HEADS], *newest; // pushed to without a lock
    struct range range[MAX_RANGES];
    unsigned n_ranges;
};

// What an access of a kind conflicts with, as a mask of planes.
static const uint8_t conflicts[VG_FOOT_PLANES] = {
    [VG_FOOT_READ] = 1 << VG_FOOT_WRITE | 1 << VG_FOOT_SYNC_WRITE,
    [VG_FOOT_WRITE] = 15,
    [VG_FOOT_SYNC_READ] = 1 << VG_FOOT_WRITE,
    [VG_FOOT_SYNC_WRITE] = 1 << VG_FOOT_READ | 1 << VG_FOOT_WRITE,
};

static bool plane_writes(unsigned plane)
{
    return plane == VG_FOOT_WRITE || plane == VG_FOOT_SYNC_WRITE;
}

struct vg_foot *vg_foot_new(void)
{
    return vg_chk_alloc(1, sizeof(struct vg_foot));
}

void vg_foot_free(struct vg_foot *f)
{
    while (f && f->newest) {
        struct chunk *c = f->newest;
        f->newest = c->older;
        for (int p = 0; p < VG_FOOT_PLANES; p++) {
            free(c->plane[p]);
        }
        free(c);
    }
    free(f);
}

static unsigned head_of(uint64_t key)
{
    return (unsigned)(key * UINT64_C(0x9E3779B97F4A7C15) >> 55);
}

static struct chunk *find(const struct vg_foot *f, uint64_t key)
{
    struct chunk *c = __atomic_load_n(&f->head[head_of(key)], __ATOMIC_ACQUIRE);
    while (c && c->key != key) {
        c = c->next;
    }
    return c;
}

static struct chunk *find_or_add(struct vg_foot *f, uint64_t key)
{
    struct chunk *c = find(f, key);
    if (c) {
        return c;
    }
    struct chunk **head = &f->head[head_of(key)], *fresh = vg_chk_alloc(1, sizeof(*fresh));
    fresh->key = key;
    // Two threads may add the same key: then both chunks stay, and count together.
    fresh->older = __atomic_load_n(&f->newest, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&f->newest, &fresh->older, fresh, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
    }
    fresh->next = __atomic_load_n(head, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(head, &fresh->next, fresh, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
    }
    return fresh;
}

static uint64_t *plane_of(struct chunk *c, enum vg_foot_plane plane)
{
    uint64_t *p = __atomic_load_n(&c->plane[plane], __ATOMIC_ACQUIRE);
    if (!p) {
        uint64_t *fresh = vg_chk_alloc(CHUNK_WORDS, sizeof(*fresh));
        if (__atomic_compare_exchange_n(&c->plane[plane], &p, fresh, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            return fresh;
        }
        free(fresh);
    }
    return p;
}

static void set_bits(uint64_t *word, uint64_t bits)
{
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bits) != bits) {
        __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
    }
}

// Bits [at, at + n) of a word, n >= 1.
static uint64_t bits_of(unsigned at, uint64_t n)
{
    return (n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << at;
}

static void set_range(struct vg_foot *f, uint64_t addr, uint64_t bytes, enum vg_foot_plane plane)
{
    while (bytes > 0) {
        uint64_t *p = plane_of(find_or_add(f, addr >> CHUNK_SHIFT), plane);
        uint64_t off = addr & (CHUNK_BYTES - 1), n = CHUNK_BYTES - off;
        n = bytes < n ? bytes : n;
        addr += n;
        bytes -= n;
        while (n > 0) {
            unsigned at = (unsigned)(off & 63);
            uint64_t part = 64 - at < n ? 64 - at : n;
            set_bits(&p[off / 64], bits_of(at, part));
            off += part;
            n -= part;
        }
    }
}

void vg_foot_range(struct vg_foot *f, uint64_t addr, uint64_t bytes, enum vg_foot_plane plane)
{
    if (bytes >= LONG_RANGE && f->n_ranges < MAX_RANGES) {
        f->range[f->n_ranges++] = (struct range){addr, bytes, plane};
    } else {
        set_range(f, addr, bytes, plane);
    }
}

void vg_foot_forget(struct vg_foot *f, uint64_t addr, uint64_t bytes)
{
    for (unsigned i = 0; i < f->n_ranges; i++) {
        struct range *r = &f->range[i];
        if (r->addr < addr + bytes && addr < r->addr + r->bytes) {
            r->bytes = 0; // copies stay inside one allocation
        }
    }
    uint64_t first = addr >> CHUNK_SHIFT, last = (addr + bytes - 1) >> CHUNK_SHIFT;
    for (struct chunk *c = bytes > 0 ? f->newest : NULL; c; c = c->older) {
        if (c->key < first || c->key > last) {
            continue;
        }
        for (unsigned i = 0; i < CHUNK_WORDS; i++) {
            uint64_t at = (c->key << CHUNK_SHIFT) + i * 64;
            // Allocations begin and end apart by more than a word of 64 bytes.
            if (at + 64 <= addr || at >= addr + bytes) {
                continue;
            }
            for (int p = 0; p < VG_FOOT_PLANES; p++) {
                if (c->plane[p]) {
                    c->plane[p][i] = 0;
                }
            }
        }
    }
}

// ---- comparing ----

// The first byte of [addr, addr + bytes) that f touched in one of the planes of `mask`.
static bool hit(const struct vg_foot *f, uint64_t addr, uint64_t bytes, unsigned mask,
                uint64_t *where, unsigned *plane)
{
    for (unsigned i = 0; i < f->n_ranges; i++) {
        const struct range *r = &f->range[i];
        if (r->bytes && (mask >> r->plane & 1) && r->addr < addr + bytes &&
            addr < r->addr + r->bytes) {
            *where = r->addr > addr ? r->addr : addr;
            *plane = r->plane;
            return true;
        }
    }
    uint64_t end = addr + bytes;
    while (addr < end) {
        uint64_t key = addr >> CHUNK_SHIFT, next = (key + 1) << CHUNK_SHIFT;
        uint64_t stop = end < next ? end : next;
        const struct chunk *c = __atomic_load_n(&f->head[head_of(key)], __ATOMIC_ACQUIRE);
        for (; c; c = c->next) {
            for (unsigned p = 0; c->key == key && p < VG_FOOT_PLANES; p++) {
                if (!(mask >> p & 1) || !c->plane[p]) {
                    continue;
                }
                for (uint64_t at = addr; at < stop;) {
                    unsigned bit = (unsigned)(at & 63);
                    uint64_t n = 64 - bit < stop - at ? 64 - bit : stop - at;
                    uint64_t found = c->plane[p][(at & (CHUNK_BYTES - 1)) / 64] & bits_of(bit, n);
                    if (found) {
                        *where = (at & ~UINT64_C(63)) + (unsigned)__builtin_ctzll(found);
                        *plane = p;
                        return true;
                    }
                    at += n;
                }
            }
        }
        addr = stop;
    }
    return false;
}

// A byte that `a` touched in plane p and `b` in one of the planes of `mask`.
static bool chunk_meets(const struct chunk *a, unsigned p, const struct vg_foot *b, unsigned mask,
                        uint64_t *where, unsigned *plane)
{
    const struct chunk *c = b->head[head_of(a->key)];
    for (; c && a->plane[p]; c = c->next) {
        for (unsigned q = 0; c->key == a->key && q < VG_FOOT_PLANES; q++) {
            for (unsigned i = 0; (mask >> q & 1) && c->plane[q] && i < CHUNK_WORDS; i++) {
                uint64_t both = a->plane[p][i] & c->plane[q][i];
                if (both) {
                    *where = (a->key << CHUNK_SHIFT) + i * 64 + (unsigned)__builtin_ctzll(both);
                    *plane = q;
                    return true;
                }
            }
        }
    }
    // Ranges of b, looked up in a.
    for (unsigned i = 0; i < b->n_ranges; i++) {
        const struct range *r = &b->range[i];
        uint64_t lo = a->key << CHUNK_SHIFT, hi = lo + CHUNK_BYTES;
        if (!r->bytes || !(mask >> r->plane & 1) || !a->plane[p] || r->addr >= hi ||
            r->addr + r->bytes <= lo) {
            continue;
        }
        lo = r->addr > lo ? r->addr : lo;
        hi = r->addr + r->bytes < hi ? r->addr + r->bytes : hi;
        for (uint64_t at = lo; at < hi;) {
            unsigned bit = (unsigned)(at & 63);
            uint64_t n = 64 - bit < hi - at ? 64 - bit : hi - at;
            uint64_t found = a->plane[p][(at & (CHUNK_BYTES - 1)) / 64] & bits_of(bit, n);
            if (found) {
                *where = (at & ~UINT64_C(63)) + (unsigned)__builtin_ctzll(found);
                *plane = r->plane;
                return true;
            }
            at += n;
        }
    }
    return false;
}

static bool meets(const struct vg_foot *a, unsigned p, const struct vg_foot *b, unsigned mask,
                  uint64_t *where, unsigned *plane)
{
    for (unsigned i = 0; i < a->n_ranges; i++) {
        const struct range *r = &a->range[i];
        if (r->bytes && (unsigned)r->plane == p && hit(b, r->addr, r->bytes, mask, where, plane)) {
            return true;
        }
    }
    for (const struct chunk *c = a->newest; c; c = c->older) {
        if (chunk_meets(c, p, b, mask, where, plane)) {
            return true;
        }
    }
    return false;
}

bool vg_foot_meets(const struct vg_foot *first, const struct vg_foot *second,
                   struct vg_foot_meet *out)
{
    uint64_t where = 0, ignored = 0;
    unsigned plane = 0, sync = 0;
    for (unsigned p = 0; p < VG_FOOT_PLANES; p++) {
        if (!meets(first, p, second, conflicts[p], &where, &plane)) {
            continue;
        }
        unsigned both = 1 << VG_FOOT_SYNC_READ | 1 << VG_FOOT_SYNC_WRITE;
        if (meets(first, VG_FOOT_SYNC_WRITE, second, both, &ignored, &sync) ||
            meets(first, VG_FOOT_SYNC_READ, second, 1 << VG_FOOT_SYNC_WRITE, &ignored, &sync)) {
            return false;
        }
        *out = (struct vg_foot_meet){where, plane_writes(p), plane_writes(plane)};
        return true;
    }
    return false;
}

// ---- a launch under way ----

static enum vg_foot_plane plane_for(enum vg_access kind)
{
    switch (kind) {
    case VG_STORE:
        return VG_FOOT_WRITE;
    case VG_ATOMIC:
    case VG_STORE_STRONG:
        return VG_FOOT_SYNC_WRITE;
    case VG_LOAD_STRONG:
        return VG_FOOT_SYNC_READ;
    default:
        return VG_FOOT_READ;
    }
}

// Whether what `w` does now comes after a griddepcontrol.wait: its own, or one of a warp that it
// has heard of since.
static bool after_wait(struct vg_warp *w)
{
    if (w->dep_after) {
        return true;
    }
    struct vg_cta *self = w->cta;
    unsigned n = self->cluster ? self->cluster->n : 1;
    for (unsigned r = 0; r < n; r++) {
        const struct vg_cta *c = self->cluster ? self->cluster->cta[r] : self;
        for (unsigned i = 0; i < c->n_warps; i++) {
            const struct vg_warp *o = &c->warps[i];
            if (o->dep_clock &&
                (!w->chk->vc || !o->chk || w->chk->vc[o->chk->agent] >= o->dep_clock)) {
                w->dep_after = true;
                return true;
            }
        }
    }
    return false;
}

static void check_dep(struct vg_warp *w, int lane, uint64_t addr, uint64_t bytes,
                      enum vg_foot_plane plane)
{
    const struct vg_dep *d = w->cta->grid->launch->dep;
    bool after = after_wait(w);
    unsigned n = after ? d->n_wait : d->n_start;
    for (unsigned i = 0; i < n; i++) {
        uint64_t where = 0;
        unsigned other = 0;
        const char *name = after ? d->wait[i].name : d->start[i].name;
        if (!hit(after ? d->wait[i].foot : d->start[i].foot, addr, bytes, conflicts[plane], &where,
                 &other)) {
            continue;
        }
        char text[256];
        vg_mem_describe(where, text, sizeof(text));
        VG_FIND(w, lane, VG_STREAM_ORDER,
                "%s of global address 0x%llx (%s) %s griddepcontrol.wait, which %s %s: it "
                "may still be running%s",
                plane_writes(plane) ? "write" : "read", (unsigned long long)where, text,
                after ? "after" : "before", name, plane_writes(other) ? "writes" : "reads",
                after ? ", because the kernel between the two did not wait for it" : "");
        return;
    }
}

// Whether there is anybody that this access could meet.
static bool overlapped(const struct vg_warp *w)
{
    const struct vg_dep *d = w->cta->grid->launch->dep;
    return d && (d->n_wait || (d->n_start && !w->dep_after));
}

void vg_foot_lanes(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                   bool row, enum vg_access kind)
{
    struct vg_foot *f = w->cta->grid->launch->foot;
    enum vg_foot_plane plane = plane_for(kind);
    uint64_t *p = NULL, key = ~UINT64_C(0), *word = NULL, pending = 0;
    if (row) {
        set_range(f, addr[0], 32ull * bytes, plane);
    }
    for (uint32_t m = row ? 0 : mask; m; m &= m - 1) {
        uint64_t a = addr[__builtin_ctz(m)];
        if (a >> CHUNK_SHIFT != key) {
            key = a >> CHUNK_SHIFT;
            p = plane_of(find_or_add(f, key), plane);
        }
        // Aligned to its size, so the access lies in one word of 64 bytes.
        uint64_t *at = &p[(a & (CHUNK_BYTES - 1)) / 64];
        if (at != word) {
            if (word) {
                set_bits(word, pending);
            }
            word = at;
            pending = 0;
        }
        pending |= bits_of((unsigned)(a & 63), bytes);
    }
    if (word) {
        set_bits(word, pending);
    }
    for (uint32_t m = overlapped(w) ? mask : 0; m; m &= m - 1) {
        check_dep(w, __builtin_ctz(m), addr[__builtin_ctz(m)], bytes, plane);
    }
}

void vg_foot_span(struct vg_warp *w, int lane, uint64_t addr, uint64_t bytes, enum vg_access kind)
{
    enum vg_foot_plane plane = plane_for(kind);
    set_range(w->cta->grid->launch->foot, addr, bytes, plane);
    if (overlapped(w)) {
        check_dep(w, lane, addr, bytes, plane);
    }
}

void vg_dep_wait(struct vg_warp *w)
{
    struct vg_dep *d = w->cta->grid->launch->dep;
    if (!d) {
        return;
    }
    __atomic_store_n(&d->waited, true, __ATOMIC_RELAXED);
    w->dep_after = true;
    if (!w->dep_clock) {
        w->dep_clock = w->chk && w->chk->vc ? w->chk->vc[w->chk->agent] : 1;
    }
}

void vg_dep_trigger(struct vg_warp *w)
{
    struct vg_dep *d = w->cta->grid->launch->dep;
    if (!d) {
        return;
    }
    __atomic_store_n(&d->triggered, true, __ATOMIC_RELAXED);
    if (after_wait(w)) {
        __atomic_store_n(&d->waited_first, true, __ATOMIC_RELAXED);
    }
}
