// SPDX-License-Identifier: Apache-2.0
// Names of types, and questions about an instruction's spelling.
#include <stdio.h>
#include <string.h>

#include "ptx.h"

static const struct {
    const char *name;
    enum ptx_type type;
    uint8_t bytes;
} types[] = {
    {"pred", PTX_PRED, 0},     {"b8", PTX_B8, 1},       {"b16", PTX_B16, 2},
    {"b32", PTX_B32, 4},       {"b64", PTX_B64, 8},     {"b128", PTX_B128, 16},
    {"u8", PTX_U8, 1},         {"u16", PTX_U16, 2},     {"u32", PTX_U32, 4},
    {"u64", PTX_U64, 8},       {"s8", PTX_S8, 1},       {"s16", PTX_S16, 2},
    {"s32", PTX_S32, 4},       {"s64", PTX_S64, 8},     {"f16", PTX_F16, 2},
    {"f16x2", PTX_F16X2, 4},   {"bf16", PTX_BF16, 2},   {"bf16x2", PTX_BF16X2, 4},
    {"f32", PTX_F32, 4},       {"f64", PTX_F64, 8},     {"tf32", PTX_TF32, 4},
    {"e4m3", PTX_E4M3, 1},     {"e5m2", PTX_E5M2, 1},   {"e4m3x2", PTX_E4M3X2, 2},
    {"e5m2x2", PTX_E5M2X2, 2}, {"f32x2", PTX_F32X2, 8}, {"s4", PTX_S4, 1},
    {"u4", PTX_U4, 1},         {"b1", PTX_B1, 1},       {"u16x2", PTX_U16X2, 4},
    {"s16x2", PTX_S16X2, 4},
};

unsigned ptx_type_bytes(enum ptx_type t)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].type == t) {
            return types[i].bytes;
        }
    }
    return 0;
}

enum ptx_type ptx_type_named(const char *tok)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, tok) == 0) {
            return types[i].type;
        }
    }
    return PTX_NO_TYPE;
}

bool ptx_type_is_float(enum ptx_type t)
{
    return (t >= PTX_F16 && t <= PTX_F32X2);
}

bool ptx_type_is_signed(enum ptx_type t)
{
    return (t >= PTX_S8 && t <= PTX_S64) || t == PTX_S4 || t == PTX_S16X2;
}

bool ptx_has(const struct ptx_inst *in, const char *tok)
{
    for (unsigned i = 1; i < in->n_tok; i++) {
        if (strcmp(in->tok[i], tok) == 0) {
            return true;
        }
    }
    return false;
}

const char *ptx_spell(const struct ptx_inst *in, char *buf, size_t n)
{
    size_t at = 0;
    buf[0] = 0;
    for (unsigned i = 0; i < in->n_tok && at < n; i++) {
        int k = snprintf(buf + at, n - at, "%s%s", i ? "." : "", in->tok[i]);
        at += k > 0 ? (size_t)k : 0;
    }
    return buf;
}

enum ptx_type ptx_inst_type(const struct ptx_inst *in, unsigned nth)
{
    for (unsigned i = 1; i < in->n_tok; i++) {
        enum ptx_type t = ptx_type_named(in->tok[i]);
        if (t != PTX_NO_TYPE && nth-- == 0) {
            return t;
        }
    }
    return PTX_NO_TYPE;
}
