// SPDX-License-Identifier: Apache-2.0
// mem.h - device memory of the virtual GPU. A device address is a host address inside one reserved
// arena per device. Each byte has a shadow byte; allocations stand apart by red zones; freed memory
// stays unaddressable for long, so that late users are caught.
// Thread safe, except that a byte's shadow follows the byte: two threads that race on a byte race
// on its shadow, with relaxed byte stores.
#ifndef VG_MEM_H
#define VG_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Device numbers 0..VG_MAX_DEVICES-1; VG_HOST_DEVICE is the arena of pinned host memory, which
// kernels of every device may touch.
enum { VG_MAX_DEVICES = 8, VG_HOST_DEVICE = 8, VG_ARENAS = 9 };

// Fresh bytes of any memory: a NaN in bf16/f16/f32, an absurd integer.
enum { VG_FRESH_BYTE = 0xCB, VG_POISON_BYTE = 0xA5 };

// Shadow bits of a byte of global or shared memory. Bits 3..7 count the unfinished asynchronous
// operations that still read the byte (saturating).
enum {
    VG_SH_ADDR = 1,    // inside a live allocation
    VG_SH_INIT = 2,    // written since it was allocated
    VG_SH_PENDING = 4, // an asynchronous write is on its way
    VG_SH_READER = 8,  // one reader, shifted into the count
    VG_SH_READERS = 0xF8
};

// Bits of vg_launch.checks, and of VGPU_CHECKS (none | bounds | all).
enum {
    VG_CHECK_BOUNDS = 1, // addresses, alignment, shadow (uninitialised, pending)
    VG_CHECK_RACE = 2,   // shared and global races, proxy fences
    VG_CHECK_COUNT = 4,  // byte, sector and wavefront counters
    VG_CHECK_SCHED = 8,  // random scheduling by the launch's seed (else in order)
    VG_CHECK_ALL = 15
};
unsigned vg_checks_env(void); // of VGPU_CHECKS; all when it is not set

// Reserves the arena of a device, once; later calls with the same device return true. The address
// range costs no memory until it is touched.
bool vg_mem_init(int device, uint64_t bytes);
// Gives everything back (tests).
void vg_mem_reset(void);

// 0: out of memory. align is a power of two, at least 256 is used. `what` names the owner
// ("cuMemAlloc", "module global x"), copied.
uint64_t vg_mem_alloc(int device, uint64_t bytes, uint64_t align, const char *what);
// false: not the start of a live allocation.
bool vg_mem_free(uint64_t addr);
// The live allocation that holds addr.
bool vg_mem_find(uint64_t addr, uint64_t *base, uint64_t *bytes, int *device);
// Device whose arena holds addr, -1: none. Never locks.
int vg_mem_device(uint64_t addr);

// The next five are false when some byte is not addressable; nothing is written then.
bool vg_mem_host_write(uint64_t dst, const void *src, uint64_t bytes);
bool vg_mem_host_read(void *dst, uint64_t src, uint64_t bytes, bool *uninit);
bool vg_mem_fill(uint64_t dst, uint32_t value, unsigned elem_bytes, uint64_t count);
bool vg_mem_copy(uint64_t dst, uint64_t src, uint64_t bytes); // copies the init bits too
bool vg_mem_mark_init(uint64_t addr, uint64_t bytes);

void vg_mem_info(int device, uint64_t *free_bytes, uint64_t *total_bytes);

// Words about an address for findings: "12 bytes past the end of cuMemAlloc (1024 bytes at 0x...)".
void vg_mem_describe(uint64_t addr, char *buf, size_t n);
// True when addr lies in a freed allocation that is still in quarantine.
bool vg_mem_was_freed(uint64_t addr);

// Race records of 16 bytes of global memory (grace.c): the last write of two CTAs, the last read.
struct vg_gword {
    uint64_t w[2], r;
    uint16_t wmask[2], rmask, pad_; // bytes of the granule
};

// Which launch last read and wrote a 32-byte sector (traffic.c).
enum { VG_SECTOR = 32 };
struct vg_sector {
    uint16_t read, write;
};

// Shadow of a device address: one table lookup. NULL outside every arena.
struct vg_arena {
    uint64_t base, bytes;      // bytes 0: device not there
    uint8_t *shadow;           // [bytes]
    struct vg_gword *words;    // [bytes / 16] race records (grace.c); reserved, touched on use
    struct vg_sector *sectors; // [bytes / VG_SECTOR], reserved as well
};
extern struct vg_arena vg_arenas[VG_ARENAS];

static inline struct vg_arena *vg_arena_of(uint64_t addr)
{
    for (int d = 0; d < VG_ARENAS; d++) {
        struct vg_arena *a = &vg_arenas[d];
        if (addr - a->base < a->bytes) {
            return a;
        }
    }
    return NULL;
}

#endif
