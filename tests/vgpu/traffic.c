// SPDX-License-Identifier: Apache-2.0
// traffic.c - counters of global memory: bytes and sectors of each instruction, and the distinct
// sectors that a launch reads and writes, which is what must cross the memory bus at least.
#include "chk.h"

#include <sys/mman.h>

static unsigned last_epoch;
// Guards last_epoch and the wiping of marks when epochs start again.
static pthread_mutex_t epoch_lock = PTHREAD_MUTEX_INITIALIZER;

uint16_t vg_traffic_epoch(void)
{
    pthread_mutex_lock(&epoch_lock);
    if (++last_epoch > UINT16_MAX) {
        for (int d = 0; d < VG_ARENAS; d++) {
            if (vg_arenas[d].bytes) {
                madvise(vg_arenas[d].sectors,
                        vg_arenas[d].bytes / VG_SECTOR * sizeof(struct vg_sector), MADV_DONTNEED);
            }
        }
        last_epoch = 1;
    }
    unsigned e = last_epoch;
    pthread_mutex_unlock(&epoch_lock);
    return (uint16_t)e;
}

// Marks a sector; 1 when it is the first time in this launch. CTAs of other threads do the same.
static inline unsigned mark(uint16_t *p, uint16_t epoch)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED) != epoch &&
           __atomic_exchange_n(p, epoch, __ATOMIC_RELAXED) != epoch;
}

static unsigned mark_run(const struct vg_chk_grid *g, uint64_t addr, uint64_t bytes, bool write)
{
    const struct vg_arena *a = vg_arena_of(addr);
    unsigned n = 0;
    if (a) {
        struct vg_sector *s = a->sectors + (addr - a->base) / VG_SECTOR;
        const struct vg_sector *end = a->sectors + (addr + bytes - 1 - a->base) / VG_SECTOR;
        for (; s <= end; s++) {
            n += mark(write ? &s->write : &s->read, g->epoch);
        }
    }
    return n;
}

static void add(struct vg_counts *c, uint64_t bytes, uint64_t sect, uint64_t least, uint64_t unique,
                bool write)
{
    c->n[write ? VG_N_GLOBAL_WRITE_BYTES : VG_N_GLOBAL_READ_BYTES] += bytes;
    c->n[write ? VG_N_GLOBAL_WRITE_SECT : VG_N_GLOBAL_READ_SECT] += sect;
    c->n[write ? VG_N_GLOBAL_WRITE_MIN : VG_N_GLOBAL_READ_MIN] += least;
    c->n[write ? VG_N_GLOBAL_WRITE_UNIQUE : VG_N_GLOBAL_READ_UNIQUE] += unique;
}

void vg_count_global_range(struct vg_warp *w, uint64_t addr, uint64_t bytes, bool reads,
                           bool writes)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->count || bytes == 0) {
        return;
    }
    uint64_t sect = (addr + bytes - 1) / VG_SECTOR - addr / VG_SECTOR + 1;
    uint64_t least = (bytes + VG_SECTOR - 1) / VG_SECTOR;
    for (int write = 0; write < 2; write++) {
        if (write ? writes : reads) {
            add(w->cta->counts, bytes, sect, least, mark_run(g, addr, bytes, write), write);
        }
    }
}

void vg_count_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                     bool reads, bool writes)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    const struct vg_grid *grid = w->cta->grid;
    // Parameters that a program took the address of: on hardware they are in the constant bank.
    if (addr[__builtin_ctz(mask)] - grid->params_addr < grid->launch->kernel->params_bytes) {
        return;
    }
    unsigned lanes = (unsigned)__builtin_popcount(mask);
    unsigned sect = 0, unique[2] = {0, 0};
    bool ascending = true;
    // Minimal: as if the distinct bytes were dense. Lanes on one address count once.
    uint64_t lo = UINT64_MAX, hi = 0, last = UINT64_MAX;
    const struct vg_arena *a = NULL;
    for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t x = addr[__builtin_ctz(m)];
        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
        if (x / VG_SECTOR == last) { // an aligned access of up to 32 bytes lies in one sector
            continue;
        }
        ascending &= sect == 0 || x / VG_SECTOR > last;
        sect++;
        last = x / VG_SECTOR;
        a = a && x - a->base < a->bytes ? a : vg_arena_of(x);
        if (a) {
            struct vg_sector *s = &a->sectors[(x - a->base) / VG_SECTOR];
            unique[0] += reads ? mark(&s->read, g->epoch) : 0;
            unique[1] += writes ? mark(&s->write, g->epoch) : 0;
        }
    }
    if (!ascending) {
        sect = vg_count_sectors(addr, mask, bytes);
    }
    uint64_t span = hi + bytes - lo, dense = (uint64_t)lanes * bytes;
    uint64_t least = ((span < dense ? span : dense) + VG_SECTOR - 1) / VG_SECTOR;
    least = least < sect ? least : sect;
    for (int write = 0; write < 2; write++) {
        if (write ? writes : reads) {
            add(w->cta->counts, dense, sect, least, unique[write], write);
        }
    }
}
