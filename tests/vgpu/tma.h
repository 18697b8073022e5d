// SPDX-License-Identifier: Apache-2.0
// tma.h - the CUtensorMap of the stand-in: what cuTensorMapEncodeTiled writes and TMA copies read.
#ifndef VG_TMA_H
#define VG_TMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VG_TENSORMAP_MAGIC 0x50414D544756ull // "VGTMAP"

// Values as in cuda.h (CUtensorMapDataType, ...Interleave, ...Swizzle, ...FloatOOBfill).
enum {
    VG_TM_U8,
    VG_TM_U16,
    VG_TM_U32,
    VG_TM_S32,
    VG_TM_U64,
    VG_TM_S64,
    VG_TM_F16,
    VG_TM_F32,
    VG_TM_F64,
    VG_TM_BF16,
    VG_TM_F32_FTZ,
    VG_TM_TF32,
    VG_TM_TF32_FTZ
};
enum { VG_TM_SWIZZLE_NONE, VG_TM_SWIZZLE_32, VG_TM_SWIZZLE_64, VG_TM_SWIZZLE_128 };

struct vg_tensormap { // exactly 128 bytes; 64-byte aligned where it is used
    uint64_t magic;
    uint64_t base;
    uint64_t stride[4]; // bytes, of dimensions 1..4
    uint32_t size[5];   // elements - 1
    uint16_t box[5];
    uint8_t elem_stride[5];
    uint8_t rank, type, interleave, swizzle, l2, fill; // fill 1: NaN
    uint8_t pad0_;
    uint32_t sum; // check sum of all above
    uint8_t pad_[32];
};
_Static_assert(sizeof(struct vg_tensormap) == 128, "CUtensorMap is 128 bytes");

// Fills *out, as cuTensorMapEncodeTiled does. dim: elements; stride: rank-1 byte strides
// (dimensions 1..); false with one sentence in err when the driver would refuse.
bool vg_tensormap_encode(struct vg_tensormap *out, unsigned type, unsigned rank, uint64_t base,
                         const uint64_t *dim, const uint64_t *stride, const uint32_t *box,
                         const uint32_t *elem_stride, unsigned interleave, unsigned swizzle,
                         unsigned l2, unsigned fill, char *err, size_t err_bytes);
// cuTensorMapReplaceAddress.
bool vg_tensormap_replace(struct vg_tensormap *m, uint64_t base, char *err, size_t err_bytes);
bool vg_tensormap_valid(const struct vg_tensormap *m);
unsigned vg_tensormap_elem_bytes(unsigned type); // 0: unknown type

#endif
