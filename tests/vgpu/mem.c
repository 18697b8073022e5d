// SPDX-License-Identifier: Apache-2.0
// mem.c - device arenas: allocation with red zones, shadow bytes, quarantine of freed memory.
//
// Addresses only grow until the reserved range (several times the device's memory) is used up; then
// the oldest freed ranges are reused. Freed pages go back to the kernel, which also clears their
// shadow.
#include "mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GRANULE = 256, RED_MIN = 512, RED_MAX = 1 << 20, PAGE = 4096, RANGE_FACTOR = 4 };

struct block {
    uint64_t base, bytes;   // what the caller sees
    uint64_t start, length; // with its red zones
    char *what;
};

struct heap {
    uint64_t budget, used; // bytes of live allocations, in granules
    uint64_t range;        // reserved bytes
    uint64_t next;         // first address never handed out
    struct block *live;    // by base
    size_t n_live, cap_live;
    struct block *dead; // quarantine, oldest first
    size_t n_dead, cap_dead;
};

struct vg_arena vg_arenas[VG_ARENAS];
static struct heap heaps[VG_ARENAS];
// Guards heaps. Shadow and data are read and written without it.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

unsigned vg_checks_env(void)
{
    const char *s = getenv("VGPU_CHECKS");
    if (s && strcmp(s, "none") == 0) {
        return 0;
    }
    if (s && strcmp(s, "bounds") == 0) {
        return VG_CHECK_BOUNDS;
    }
    return VG_CHECK_ALL;
}

static void *reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

bool vg_mem_init(int device, uint64_t bytes)
{
    if (device < 0 || device >= VG_ARENAS || bytes == 0 || bytes > (uint64_t)1 << 42) {
        return false;
    }
    bool ok = true;
    pthread_mutex_lock(&lock);
    struct vg_arena *a = &vg_arenas[device];
    struct heap *h = &heaps[device];
    if (a->bytes == 0) {
        uint64_t range = (bytes + (64u << 20)) * RANGE_FACTOR & ~(uint64_t)(PAGE - 1);
        uint8_t *data = reserve(range);
        uint8_t *shadow = reserve(range);
        // A record of 32 bytes for each 16 bytes of memory (grace.c).
        void *words = reserve(range * 2), *sectors = reserve(range / 8);
        if (data && shadow && words && sectors) {
            a->shadow = shadow;
            a->words = words;
            a->sectors = sectors;
            a->base = (uint64_t)(uintptr_t)data;
            *h = (struct heap){.budget = bytes, .range = range, .next = a->base};
            __atomic_store_n(&a->bytes, range, __ATOMIC_RELEASE);
        } else {
            ok = false;
            if (data) {
                munmap(data, range);
            }
            if (shadow) {
                munmap(shadow, range);
            }
            if (words) {
                munmap(words, range * 2);
            }
            if (sectors) {
                munmap(sectors, range / 8);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

void vg_mem_reset(void)
{
    pthread_mutex_lock(&lock);
    for (int d = 0; d < VG_ARENAS; d++) {
        struct vg_arena *a = &vg_arenas[d];
        struct heap *h = &heaps[d];
        if (a->bytes == 0) {
            continue;
        }
        munmap((void *)(uintptr_t)a->base, a->bytes);
        munmap(a->shadow, a->bytes);
        munmap(a->words, a->bytes * 2);
        munmap(a->sectors, a->bytes / 8);
        for (size_t i = 0; i < h->n_live; i++) {
            free(h->live[i].what);
        }
        for (size_t i = 0; i < h->n_dead; i++) {
            free(h->dead[i].what);
        }
        free(h->live);
        free(h->dead);
        *h = (struct heap){0};
        *a = (struct vg_arena){0};
    }
    pthread_mutex_unlock(&lock);
}

static void give_up(const char *what)
{
    fprintf(stderr, "vgpu: out of host memory for %s\n", what);
    abort();
}

static void push(struct block **v, size_t *n, size_t *cap, size_t at, struct block b)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *v = realloc(*v, *cap * sizeof(**v));
        if (!*v) {
            give_up("the allocation table");
        }
    }
    memmove(*v + at + 1, *v + at, (*n - at) * sizeof(**v));
    (*v)[at] = b;
    (*n)++;
}

static void erase(struct block *v, size_t *n, size_t at)
{
    memmove(v + at, v + at + 1, (*n - at - 1) * sizeof(*v));
    (*n)--;
}

// Index of the first block with base > addr.
static size_t above(const struct block *v, size_t n, uint64_t addr)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v[mid].base > addr) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static uint64_t round_up(uint64_t x, uint64_t to)
{
    return (x + to - 1) & ~(to - 1);
}

uint64_t vg_mem_alloc(int device, uint64_t bytes, uint64_t align, const char *what)
{
    if (device < 0 || device >= VG_ARENAS || bytes == 0 || (align & (align - 1)) != 0 ||
        align > (uint64_t)1 << 30) {
        return 0;
    }
    if (align < GRANULE) {
        align = GRANULE;
    }
    uint64_t addr = 0;
    pthread_mutex_lock(&lock);
    struct vg_arena *a = &vg_arenas[device];
    struct heap *h = &heaps[device];
    if (bytes > h->budget || h->used > h->budget - round_up(bytes, GRANULE)) {
        pthread_mutex_unlock(&lock);
        return 0;
    }
    // The red zone grows with the block, so that a wrong row stride still lands in it.
    uint64_t red = bytes / 8;
    red = round_up(red < RED_MIN ? RED_MIN : red > RED_MAX ? RED_MAX : red, GRANULE);
    struct block b = {.bytes = bytes};
    uint64_t end = a->base + h->range;
    b.start = h->next;
    b.base = round_up(b.start + red, align);
    b.length = round_up(b.base + bytes + red - b.start, GRANULE);
    if (a->bytes != 0 && b.start + b.length <= end) {
        h->next = b.start + b.length;
        addr = b.base;
    } else {
        for (size_t i = 0; i < h->n_dead; i++) { // oldest first
            const struct block *q = &h->dead[i];
            uint64_t base = round_up(q->start + red, align);
            if (base + bytes + red <= q->start + q->length) {
                b.start = q->start;
                b.length = q->length;
                b.base = base;
                addr = base;
                free(q->what);
                erase(h->dead, &h->n_dead, i);
                break;
            }
        }
    }
    if (addr) {
        b.what = strdup(what ? what : "memory");
        if (!b.what) {
            give_up("a name");
        }
        h->used += round_up(bytes, GRANULE);
        push(&h->live, &h->n_live, &h->cap_live, above(h->live, h->n_live, addr), b);
        memset((void *)(uintptr_t)addr, VG_FRESH_BYTE, bytes);
        memset(a->shadow + (addr - a->base), VG_SH_ADDR, bytes);
    }
    pthread_mutex_unlock(&lock);
    return addr;
}

// Returns whole pages inside [start, end) to the kernel (they read as zero again) and clears the
// rest.
static void drop(uint8_t *p, uint64_t bytes)
{
    uint64_t start = (uint64_t)(uintptr_t)p, end = start + bytes;
    uint64_t first = round_up(start, PAGE), last = end & ~(uint64_t)(PAGE - 1);
    if (first >= last) {
        memset(p, 0, bytes);
        return;
    }
    memset(p, 0, first - start);
    memset((void *)(uintptr_t)last, 0, end - last);
    madvise((void *)(uintptr_t)first, last - first, MADV_DONTNEED);
}

bool vg_mem_free(uint64_t addr)
{
    struct vg_arena *a = vg_arena_of(addr);
    if (!a) {
        return false;
    }
    struct heap *h = &heaps[a - vg_arenas];
    bool ok = false;
    pthread_mutex_lock(&lock);
    size_t i = above(h->live, h->n_live, addr);
    if (i > 0 && h->live[i - 1].base == addr) {
        struct block b = h->live[i - 1];
        erase(h->live, &h->n_live, i - 1);
        h->used -= round_up(b.bytes, GRANULE);
        uint64_t off = addr - a->base;
        drop(a->shadow + off, b.bytes);
        drop((uint8_t *)(uintptr_t)addr, b.bytes);
        drop((uint8_t *)a->words + off * 2, round_up(b.bytes, 16) * 2);
        push(&h->dead, &h->n_dead, &h->cap_dead, h->n_dead, b);
        ok = true;
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

bool vg_mem_find(uint64_t addr, uint64_t *base, uint64_t *bytes, int *device)
{
    struct vg_arena *a = vg_arena_of(addr);
    if (!a) {
        return false;
    }
    struct heap *h = &heaps[a - vg_arenas];
    bool ok = false;
    pthread_mutex_lock(&lock);
    size_t i = above(h->live, h->n_live, addr);
    if (i > 0 && addr - h->live[i - 1].base < h->live[i - 1].bytes) {
        *base = h->live[i - 1].base;
        *bytes = h->live[i - 1].bytes;
        *device = (int)(a - vg_arenas);
        ok = true;
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

int vg_mem_device(uint64_t addr)
{
    struct vg_arena *a = vg_arena_of(addr);
    return a ? (int)(a - vg_arenas) : -1;
}

bool vg_mem_was_freed(uint64_t addr)
{
    struct vg_arena *a = vg_arena_of(addr);
    if (!a) {
        return false;
    }
    struct heap *h = &heaps[a - vg_arenas];
    bool yes = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < h->n_dead && !yes; i++) {
        yes = addr - h->dead[i].base < h->dead[i].bytes;
    }
    pthread_mutex_unlock(&lock);
    return yes;
}

void vg_mem_describe(uint64_t addr, char *buf, size_t n)
{
    struct vg_arena *a = vg_arena_of(addr);
    if (!a) {
        snprintf(buf, n, "0x%llx is no device address", (unsigned long long)addr);
        return;
    }
    struct heap *h = &heaps[a - vg_arenas];
    pthread_mutex_lock(&lock);
    for (size_t i = h->n_dead; i > 0; i--) {
        const struct block *q = &h->dead[i - 1];
        if (addr - q->base < q->bytes) {
            snprintf(buf, n, "byte %llu of freed %s (%llu bytes at 0x%llx)",
                     (unsigned long long)(addr - q->base), q->what, (unsigned long long)q->bytes,
                     (unsigned long long)q->base);
            pthread_mutex_unlock(&lock);
            return;
        }
    }
    size_t i = above(h->live, h->n_live, addr);
    const struct block *before = i > 0 ? &h->live[i - 1] : NULL;
    const struct block *after = i < h->n_live ? &h->live[i] : NULL;
    if (before && addr - before->base < before->bytes) {
        snprintf(buf, n, "byte %llu of %s (%llu bytes at 0x%llx)",
                 (unsigned long long)(addr - before->base), before->what,
                 (unsigned long long)before->bytes, (unsigned long long)before->base);
    } else if (after && (!before || after->base - addr < addr - before->base - before->bytes)) {
        snprintf(buf, n, "%llu bytes before %s (%llu bytes at 0x%llx)",
                 (unsigned long long)(after->base - addr), after->what,
                 (unsigned long long)after->bytes, (unsigned long long)after->base);
    } else if (before) {
        snprintf(buf, n, "%llu bytes past the end of %s (%llu bytes at 0x%llx)",
                 (unsigned long long)(addr - before->base - before->bytes), before->what,
                 (unsigned long long)before->bytes, (unsigned long long)before->base);
    } else {
        snprintf(buf, n, "0x%llx, with nothing allocated", (unsigned long long)addr);
    }
    pthread_mutex_unlock(&lock);
}

// All of s[0..n) have the bits of want.
static bool all_have(const uint8_t *s, uint64_t n, uint8_t want)
{
    const uint64_t w8 = want * UINT64_C(0x0101010101010101);
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t v[8], x = w8;
        memcpy(v, s + i, 64);
        for (int k = 0; k < 8; k++) {
            x &= v[k];
        }
        if (x != w8) {
            return false;
        }
    }
    for (; i < n; i++) {
        if ((s[i] & want) != want) {
            return false;
        }
    }
    return true;
}

// Shadow of [addr, addr + bytes) when all of it is addressable.
static uint8_t *range_shadow(uint64_t addr, uint64_t bytes)
{
    struct vg_arena *a = vg_arena_of(addr);
    if (!a || bytes > a->bytes - (addr - a->base)) {
        return NULL;
    }
    uint8_t *s = a->shadow + (addr - a->base);
    return all_have(s, bytes, VG_SH_ADDR) ? s : NULL;
}

static void set_init(uint8_t *s, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        s[i] |= VG_SH_INIT;
    }
}

bool vg_mem_host_write(uint64_t dst, const void *src, uint64_t bytes)
{
    uint8_t *s = range_shadow(dst, bytes);
    if (!s) {
        return false;
    }
    memcpy((void *)(uintptr_t)dst, src, bytes);
    set_init(s, bytes);
    return true;
}

bool vg_mem_host_read(void *dst, uint64_t src, uint64_t bytes, bool *uninit)
{
    const uint8_t *s = range_shadow(src, bytes);
    if (!s) {
        return false;
    }
    memcpy(dst, (const void *)(uintptr_t)src, bytes);
    if (uninit) {
        *uninit = !all_have(s, bytes, VG_SH_INIT);
    }
    return true;
}

bool vg_mem_fill(uint64_t dst, uint32_t value, unsigned elem_bytes, uint64_t count)
{
    if ((elem_bytes != 1 && elem_bytes != 2 && elem_bytes != 4) || count > UINT64_MAX / 4) {
        return false;
    }
    uint8_t *s = range_shadow(dst, count * elem_bytes);
    if (!s) {
        return false;
    }
    uint8_t *p = (uint8_t *)(uintptr_t)dst;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(p + i * elem_bytes, &value, elem_bytes); // little endian
    }
    set_init(s, count * elem_bytes);
    return true;
}

bool vg_mem_copy(uint64_t dst, uint64_t src, uint64_t bytes)
{
    uint8_t *d = range_shadow(dst, bytes);
    const uint8_t *s = range_shadow(src, bytes);
    if (!d || !s) {
        return false;
    }
    memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, bytes);
    if (dst < src) {
        for (uint64_t i = 0; i < bytes; i++) {
            d[i] = (uint8_t)((d[i] & ~VG_SH_INIT) | (s[i] & VG_SH_INIT));
        }
    } else {
        for (uint64_t i = bytes; i > 0; i--) {
            d[i - 1] = (uint8_t)((d[i - 1] & ~VG_SH_INIT) | (s[i - 1] & VG_SH_INIT));
        }
    }
    return true;
}

bool vg_mem_mark_init(uint64_t addr, uint64_t bytes)
{
    uint8_t *s = range_shadow(addr, bytes);
    if (s) {
        set_init(s, bytes);
    }
    return s != NULL;
}

void vg_mem_info(int device, uint64_t *free_bytes, uint64_t *total_bytes)
{
    pthread_mutex_lock(&lock);
    *total_bytes = heaps[device].budget;
    *free_bytes = heaps[device].budget - heaps[device].used;
    pthread_mutex_unlock(&lock);
}
