// SPDX-License-Identifier: Apache-2.0
// tensormap.c - the tensor map: made by cuTensorMapEncodeTiled, read by tma.c.
#include "tma.h"

#include <stdio.h>
#include <string.h>

unsigned vg_tensormap_elem_bytes(unsigned type)
{
    static const uint8_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
    return type < sizeof(bytes) ? bytes[type] : 0;
}

static uint32_t sum_of(const struct vg_tensormap *m)
{
    const uint8_t *p = (const uint8_t *)m;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < offsetof(struct vg_tensormap, sum); i++) {
        h = (h ^ p[i]) * 16777619u;
    }
    return h;
}

bool vg_tensormap_valid(const struct vg_tensormap *m)
{
    return m->magic == VG_TENSORMAP_MAGIC && m->sum == sum_of(m);
}

#define REFUSE(...) \
    do { \
        snprintf(err, err_bytes, __VA_ARGS__); \
        return false; \
    } while (0)

bool vg_tensormap_encode(struct vg_tensormap *out, unsigned type, unsigned rank, uint64_t base,
                         const uint64_t *dim, const uint64_t *stride, const uint32_t *box,
                         const uint32_t *elem_stride, unsigned interleave, unsigned swizzle,
                         unsigned l2, unsigned fill, char *err, size_t err_bytes)
{
    struct vg_tensormap m = {.magic = VG_TENSORMAP_MAGIC, .base = base};
    unsigned elem = vg_tensormap_elem_bytes(type);
    if (elem == 0) {
        REFUSE("data type %u is unknown", type);
    }
    if (rank < 1 || rank > 5) {
        REFUSE("rank %u is not 1 to 5", rank);
    }
    if (base == 0 || base % 16 != 0) {
        REFUSE("global address 0x%llx is not a multiple of 16", (unsigned long long)base);
    }
    if (interleave != 0) {
        REFUSE("interleaved layouts (%u) are not modelled by the virtual GPU", interleave);
    }
    if (swizzle > VG_TM_SWIZZLE_128) {
        REFUSE("swizzle %u is unknown", swizzle);
    }
    if (fill > 1) {
        REFUSE("out-of-bounds fill %u is unknown", fill);
    }
    if (fill == 1 && type < VG_TM_F16) {
        REFUSE("NaN fill needs a floating-point type");
    }
    for (unsigned i = 0; i < rank; i++) {
        if (dim[i] == 0 || dim[i] > UINT64_C(1) << 32) {
            REFUSE("dimension %u of %llu elements is not 1 to 2^32", i, (unsigned long long)dim[i]);
        }
        if (box[i] == 0 || box[i] > 256) {
            REFUSE("box of %u elements in dimension %u is not 1 to 256", box[i], i);
        }
        if (elem_stride[i] == 0 || elem_stride[i] > 8) {
            REFUSE("element stride %u of dimension %u is not 1 to 8", elem_stride[i], i);
        }
        if (i > 0) {
            uint64_t s = stride[i - 1];
            if (s == 0 || s % 16 != 0 || s >= UINT64_C(1) << 40) {
                REFUSE("stride of %llu bytes in dimension %u is not a multiple of 16 below 2^40",
                       (unsigned long long)s, i);
            }
            m.stride[i - 1] = s;
        }
        m.size[i] = (uint32_t)(dim[i] - 1);
        m.box[i] = (uint16_t)box[i];
        m.elem_stride[i] = (uint8_t)elem_stride[i];
    }
    unsigned inner = box[0] * elem;
    if (inner % 16 != 0) {
        REFUSE("inner box of %u bytes is not a multiple of 16", inner);
    }
    if (swizzle != VG_TM_SWIZZLE_NONE) {
        unsigned span = 16u << swizzle;
        if (inner > span) {
            REFUSE("inner box of %u bytes is wider than the %u-byte swizzle", inner, span);
        }
    }
    m.rank = (uint8_t)rank;
    m.type = (uint8_t)type;
    m.swizzle = (uint8_t)swizzle;
    m.l2 = (uint8_t)l2;
    m.fill = (uint8_t)fill;
    m.sum = sum_of(&m);
    *out = m;
    return true;
}

bool vg_tensormap_replace(struct vg_tensormap *m, uint64_t base, char *err, size_t err_bytes)
{
    if (!vg_tensormap_valid(m)) {
        REFUSE("not a tensor map");
    }
    if (base == 0 || base % 16 != 0) {
        REFUSE("global address 0x%llx is not a multiple of 16", (unsigned long long)base);
    }
    m->base = base;
    m->sum = sum_of(m);
    return true;
}
