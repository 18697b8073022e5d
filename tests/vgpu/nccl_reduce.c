// SPDX-License-Identifier: Apache-2.0
#include "half.h"
#include "nccl_impl.h"

static const struct {
    unsigned bytes;
    const char *name;
} types[ncclNumTypes] = {
    [ncclInt8] = {1, "int8"},          [ncclUint8] = {1, "uint8"},
    [ncclInt32] = {4, "int32"},        [ncclUint32] = {4, "uint32"},
    [ncclInt64] = {8, "int64"},        [ncclUint64] = {8, "uint64"},
    [ncclFloat16] = {2, "float16"},    [ncclFloat32] = {4, "float32"},
    [ncclFloat64] = {8, "float64"},    [ncclBfloat16] = {2, "bfloat16"},
    [ncclFloat8e4m3] = {1, "fp8e4m3"}, [ncclFloat8e5m2] = {1, "fp8e5m2"},
};

unsigned nc_type_bytes(uint32_t type)
{
    return type < ncclNumTypes ? types[type].bytes : 0;
}

const char *nc_type_name(uint32_t type)
{
    return type < ncclNumTypes ? types[type].name : "unknown type";
}

static double apply(uint32_t red, double a, double b)
{
    switch (red) {
    case ncclProd:
        return a * b;
    case ncclMax:
        return a > b || a != a ? a : b;
    case ncclMin:
        return a < b || a != a ? a : b;
    default:
        return a + b;
    }
}

// Integers wrap. Unsigned arithmetic gives the bits for signed types too, but for max and min.
#define INTEGERS(type, wide) \
    for (uint64_t i = 0; i < count; i++) { \
        type a, b; \
        memcpy(&a, to + i * sizeof a, sizeof a); \
        memcpy(&b, from + i * sizeof b, sizeof b); \
        type r = red == ncclProd  ? (type)((wide)a * (wide)b) \
                 : red == ncclMax ? (a > b ? a : b) \
                 : red == ncclMin ? (a < b ? a : b) \
                                  : (type)((wide)a + (wide)b); \
        memcpy(to + i * sizeof r, &r, sizeof r); \
    } \
    break

// A double holds sums and products of two values of the smaller types exactly, so that one rounding
// to the type is what hardware does.
static double load(uint32_t type, const uint8_t *p)
{
    uint16_t h = 0;
    switch (type) {
    case ncclFloat16:
        memcpy(&h, p, 2);
        return (double)vg_f16_float(h);
    case ncclBfloat16:
        memcpy(&h, p, 2);
        return (double)vg_bf16_float(h);
    case ncclFloat8e4m3:
        return (double)vg_small_float(*p, 4, 3, false);
    case ncclFloat8e5m2:
        return (double)vg_small_float(*p, 5, 2, true);
    case ncclFloat32: {
        float f;
        memcpy(&f, p, 4);
        return (double)f;
    }
    default: {
        double d;
        memcpy(&d, p, 8);
        return d;
    }
    }
}

static void store(uint32_t type, uint8_t *p, double v)
{
    uint16_t h = 0;
    switch (type) {
    case ncclFloat16:
        h = vg_float_f16((float)v);
        memcpy(p, &h, 2);
        break;
    case ncclBfloat16:
        h = vg_float_bf16((float)v);
        memcpy(p, &h, 2);
        break;
    case ncclFloat8e4m3:
        *p = (uint8_t)vg_float_small((float)v, 4, 3, false);
        break;
    case ncclFloat8e5m2:
        *p = (uint8_t)vg_float_small((float)v, 5, 2, true);
        break;
    case ncclFloat32: {
        float f = (float)v;
        memcpy(p, &f, 4);
        break;
    }
    default:
        memcpy(p, &v, 8);
        break;
    }
}

void nc_reduce(uint32_t type, uint32_t red, void *acc, const void *x, uint64_t count)
{
    uint8_t *to = acc;
    const uint8_t *from = x;
    switch (type) {
    case ncclInt8:
        INTEGERS(int8_t, int32_t);
    case ncclUint8:
        INTEGERS(uint8_t, uint32_t);
    case ncclInt32:
        INTEGERS(int32_t, uint32_t);
    case ncclUint32:
        INTEGERS(uint32_t, uint32_t);
    case ncclInt64:
        INTEGERS(int64_t, uint64_t);
    case ncclUint64:
        INTEGERS(uint64_t, uint64_t);
    default: {
        unsigned n = nc_type_bytes(type);
        for (uint64_t i = 0; i < count; i++) {
            store(type, to + i * n, apply(red, load(type, to + i * n), load(type, from + i * n)));
        }
    }
    }
}

void nc_average(uint32_t type, void *acc, uint64_t count, unsigned n)
{
    uint8_t *p = acc;
    unsigned bytes = nc_type_bytes(type);
    for (uint64_t i = 0; i < count; i++, p += bytes) {
        switch (type) {
        case ncclInt8: {
            int8_t v = (int8_t)(*(int8_t *)p / (int)n);
            memcpy(p, &v, 1);
            break;
        }
        case ncclUint8:
            *p = (uint8_t)(*p / n);
            break;
        case ncclInt32: {
            int32_t v;
            memcpy(&v, p, 4);
            v /= (int32_t)n;
            memcpy(p, &v, 4);
            break;
        }
        case ncclUint32: {
            uint32_t v;
            memcpy(&v, p, 4);
            v /= n;
            memcpy(p, &v, 4);
            break;
        }
        case ncclInt64: {
            int64_t v;
            memcpy(&v, p, 8);
            v /= (int64_t)n;
            memcpy(p, &v, 8);
            break;
        }
        case ncclUint64: {
            uint64_t v;
            memcpy(&v, p, 8);
            v /= n;
            memcpy(p, &v, 8);
            break;
        }
        default:
            store(type, p, load(type, p) / n);
            break;
        }
    }
}
