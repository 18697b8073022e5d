// SPDX-License-Identifier: Apache-2.0
// count.h - what a launch did, in numbers: bytes and sectors, shared-memory wavefronts, tensor-core
// operations, instructions by class. One struct per executing host thread, added up per launch and
// then per kernel; printed as a table and as JSON ($VGPU_COUNTERS = path, or "-" for stderr).
#ifndef VG_COUNT_H
#define VG_COUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// Thread instructions are counted per active lane, everything else per warp instruction.
// clang-format off
#define VG_COUNT_MAP(X)                                                                \
    X(THREAD_INST,        "thread_instructions")                                       \
    X(WARP_INT,           "warp_inst_int")        X(WARP_F32,    "warp_inst_f32")      \
    X(WARP_F16,           "warp_inst_f16")        X(WARP_F64,    "warp_inst_f64")      \
    X(WARP_CVT,           "warp_inst_convert")    X(WARP_SFU,    "warp_inst_special")  \
    X(WARP_CONTROL,       "warp_inst_control")    X(WARP_GLOBAL, "warp_inst_global")   \
    X(WARP_SHARED,        "warp_inst_shared")     X(WARP_LOCAL,  "warp_inst_local")    \
    X(WARP_ATOMIC,        "warp_inst_atomic")     X(WARP_TENSOR, "warp_inst_tensor")   \
    X(WARP_ASYNC,         "warp_inst_async")      X(WARP_SYNC,   "warp_inst_sync")     \
    X(WARP_COLLECTIVE,    "warp_inst_collective") X(WARP_OTHER,  "warp_inst_other")    \
    X(GLOBAL_READ_BYTES,  "global_read_bytes")    /* lanes x size */                   \
    X(GLOBAL_STRONG_BYTES, "global_strong_read_bytes") /* of them */                   \
    X(GLOBAL_READ_SECT,   "global_read_sectors")  /* distinct 32 B sectors per inst */ \
    X(GLOBAL_READ_MIN,    "global_read_sectors_minimal")                               \
    X(GLOBAL_WRITE_BYTES, "global_write_bytes")                                        \
    X(GLOBAL_WRITE_SECT,  "global_write_sectors")                                      \
    X(GLOBAL_WRITE_MIN,   "global_write_sectors_minimal")                              \
    /* distinct sectors in a launch */                                                \
    X(GLOBAL_READ_UNIQUE,  "global_read_sectors_unique")                               \
    X(GLOBAL_WRITE_UNIQUE, "global_write_sectors_unique")                              \
    X(SHARED_WAVES,       "shared_wavefronts")                                         \
    X(SHARED_WAVES_IDEAL, "shared_wavefronts_ideal")                                   \
    /* of these, by ldmatrix and stmatrix */                                           \
    X(LDMATRIX_WAVES,     "ldmatrix_wavefronts")                                       \
    X(LDMATRIX_IDEAL,     "ldmatrix_wavefronts_ideal")                                 \
    X(CP_ASYNC_BYTES,     "cp_async_bytes")       X(BULK_BYTES,  "bulk_bytes")         \
    X(TMA_LOAD_BYTES,     "tma_load_bytes")       X(TMA_STORE_BYTES, "tma_store_bytes")\
    X(BARRIERS,           "cta_barriers")         X(MBAR_ARRIVE, "mbarrier_arrivals")  \
    X(MBAR_WAIT,          "mbarrier_waits")                                            \
    X(MMA_MACS,           "mma_macs")             X(WGMMA_MACS,  "wgmma_macs")
// clang-format on

enum vg_count {
#define VG_X(name, text) VG_N_##name,
    VG_COUNT_MAP(VG_X)
#undef VG_X
        VG_N_COUNT
};

// Tensor instructions by shape and type: the id is stable for a process (vg_count_shape_id).
enum { VG_COUNT_SHAPES = 64 };

struct vg_counts {
    uint64_t n[VG_N_COUNT];
    uint64_t shape[VG_COUNT_SHAPES]; // warp (mma) or warpgroup (wgmma) instructions
};

// Id of a spelling such as "mma.m16n8k32.s8.s8.s32"; made when an instruction is decoded. When all
// ids are taken, the last one collects the rest.
unsigned vg_count_shape_id(const char *spelling);
const char *vg_count_shape_name(unsigned id); // NULL: not in use

const char *vg_count_name(enum vg_count c);
void vg_counts_add(struct vg_counts *to, const struct vg_counts *from);

// Adds a finished launch to the kernel's row (any thread). The name is copied.
void vg_counts_launch(const char *kernel, const struct vg_counts *c);
// The row of a kernel: launches so far, 0 if it never ran; *c may be NULL.
uint64_t vg_counts_kernel(const char *kernel, struct vg_counts *c);
// One counter by its name in the reports, or the instructions of a tensor shape
// ("mma.m16n8k16..."). 0: no such name.
uint64_t vg_counts_named(const struct vg_counts *c, const char *name);
void vg_counts_clear(void);
void vg_counts_table(FILE *f);
void vg_counts_json(FILE *f);

// Distinct 32-byte sectors of a warp access, and wavefronts of a shared access (lanes of mask, all
// of `bytes` bytes). Wavefronts: 16-byte accesses go in 4 phases of 8 lanes, 8-byte ones in 2
// of 16.
unsigned vg_count_sectors(const uint64_t addr[32], uint32_t mask, unsigned bytes);
unsigned vg_count_waves(const uint32_t off[32], uint32_t mask, unsigned bytes);
unsigned vg_count_waves_ideal(uint32_t mask, unsigned bytes);

#endif
