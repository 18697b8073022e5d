// SPDX-License-Identifier: Apache-2.0
// Arithmetic: an instruction's spelling becomes the key of the op table, or one of the slow ops.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "count.h"
#include "dec.h"
#include "ops.h"
#include "slow.h"

struct spell { // what the modifiers say
    const char *op;
    enum ptx_type t, t2;
    unsigned flags;
    enum vg_round round;
    bool directed, approx, cc, xorsign;
};

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static struct spell read_spelling(const struct ptx_inst *in)
{
    struct spell s = {.op = in->tok[0], .t = ptx_inst_type(in, 0), .t2 = ptx_inst_type(in, 1)};
    for (unsigned i = 1; i < in->n_tok; i++) {
        const char *t = in->tok[i];
        s.flags |= is(t, "ftz")         ? VG_F_FTZ
                   : is(t, "sat")       ? VG_F_SAT
                   : is(t, "relu")      ? VG_F_RELU
                   : is(t, "satfinite") ? VG_F_SATFINITE
                   : is(t, "NaN")       ? VG_F_NAN
                                        : 0u;
        s.approx |= is(t, "approx") || is(t, "full");
        s.cc |= is(t, "cc");
        s.xorsign |= is(t, "xorsign");
        if (t[0] == 'r' && (t[1] == 'n' || t[1] == 'z' || t[1] == 'm' || t[1] == 'p') &&
            (t[2] == 0 || is(t + 2, "i") || is(t, "rna"))) {
            s.round = t[1] == 'n' ? VG_RN : t[1] == 'z' ? VG_RZ : t[1] == 'm' ? VG_RM : VG_RP;
            s.round = is(t, "rna") ? VG_RNA : s.round;
            s.flags |= t[2] == 'i' ? VG_F_INT : 0u;
            s.directed |= t[1] != 'n' && t[2] == 0;
        }
    }
    return s;
}

static const char *type_name(enum ptx_type t)
{
    static const char *const names[] = {
        [PTX_B8] = "b8",       [PTX_B16] = "b16",       [PTX_B32] = "b32",
        [PTX_B64] = "b64",     [PTX_U8] = "u8",         [PTX_U16] = "u16",
        [PTX_U32] = "u32",     [PTX_U64] = "u64",       [PTX_S8] = "s8",
        [PTX_S16] = "s16",     [PTX_S32] = "s32",       [PTX_S64] = "s64",
        [PTX_F16] = "f16",     [PTX_F16X2] = "f16x2",   [PTX_BF16] = "bf16",
        [PTX_F32] = "f32",     [PTX_BF16X2] = "bf16x2", [PTX_F64] = "f64",
        [PTX_U16X2] = "u16x2", [PTX_S16X2] = "s16x2",   [PTX_PRED] = "pred",
        [PTX_TF32] = "tf32",   [PTX_E4M3X2] = "e4m3x2", [PTX_E5M2X2] = "e5m2x2"};
    return t < sizeof(names) / sizeof(names[0]) && names[t] ? names[t] : "?";
}

// b16, b32, b64 of a type's width.
static const char *width_name(enum ptx_type t)
{
    unsigned n = ptx_type_bytes(t);
    return n == 8 ? "b64" : n == 4 ? "b32" : "b16";
}

// Operands by the signature of the table's row. narrow: immediates are of 16 bits.
static struct vg_op *emit(struct vg_dec *dc, const char *key, bool narrow)
{
    const struct ptx_inst *in = dc->in;
    const struct vg_alu *row = vg_alu_find(key);
    if (!row) {
        vg_dec_fail(dc, in, "instruction not supported by the virtual GPU (no op %s)", key);
        return NULL;
    }
    size_t n = strlen(row->sig);
    if (in->n_op < n) {
        vg_dec_fail(dc, in, "%u operands, %zu wanted", in->n_op, n);
        return NULL;
    }
    uint32_t rows[5] = {0, 0, 0, 0, VG_P_SINK};
    unsigned negated = 0;
    uint64_t imm = 0;
    for (size_t i = 0; i < n && i < 5; i++) {
        struct ptx_operand o = in->op[i];
        if (narrow && o.kind == PTX_O_INT) {
            o.imm &= 0xffff;
        }
        switch (row->sig[i]) {
        case 'R':
        case 'r':
            rows[i] = vg_dec_r(dc, &o);
            break;
        case 'D':
        case 'd':
            rows[i] = vg_dec_d(dc, &o);
            break;
        case 'i':
            imm = o.imm;
            break;
        default:
            rows[i] = vg_dec_p(dc, &o);
            negated |= o.neg && i > 0 ? 1u << (i - 1) : 0;
            break;
        }
    }
    struct vg_op *op = vg_dec_op(dc, row->fn, row->count);
    op->d = rows[0];
    op->a = rows[1];
    op->b = rows[2];
    op->c = rows[3];
    op->e = rows[4];
    op->flags = (uint8_t)negated;
    op->imm = imm;
    return op;
}

__attribute__((format(printf, 3, 4))) static struct vg_op *emitf(struct vg_dec *dc, bool narrow,
                                                                 const char *fmt, ...)
{
    char key[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(key, sizeof(key), fmt, ap);
    va_end(ap);
    return emit(dc, key, narrow);
}

static bool is_half(enum ptx_type t)
{
    return t == PTX_F16 || t == PTX_BF16 || t == PTX_F16X2 || t == PTX_BF16X2;
}

// Directed rounding: operands as the plain op has them.
static void slow_round(struct vg_dec *dc, const struct spell *s, enum vg_arith what, unsigned n_src)
{
    const struct ptx_inst *in = dc->in;
    bool wide = s->t == PTX_F64;
    uint32_t rows[4] = {0};
    if (in->n_op < n_src + 1) {
        vg_dec_fail(dc, in, "operands are missing");
        return;
    }
    for (unsigned i = 0; i <= n_src; i++) {
        rows[i] = wide ? vg_dec_d(dc, &in->op[i]) : vg_dec_r(dc, &in->op[i]);
    }
    struct vg_op *op =
        vg_dec_op(dc, wide ? vg_round_f64 : vg_round_f32, wide ? VG_N_WARP_F64 : VG_N_WARP_F32);
    op->d = rows[0];
    op->a = rows[1];
    op->b = n_src > 1 ? rows[2] : rows[1];
    op->c = n_src > 2 ? rows[3] : rows[1];
    op->imm = what;
    op->aux = (uint8_t)s->round;
    op->flags = (uint8_t)s->flags;
}

static void float_arith(struct vg_dec *dc, const struct spell *s)
{
    static const struct {
        const char *op;
        enum vg_arith what;
        unsigned n_src;
    } rows[] = {{"add", VG_A_ADD, 2}, {"sub", VG_A_SUB, 2},  {"mul", VG_A_MUL, 2},
                {"fma", VG_A_FMA, 3}, {"mad", VG_A_FMA, 3},  {"div", VG_A_DIV, 2},
                {"rcp", VG_A_RCP, 1}, {"sqrt", VG_A_SQRT, 1}};
    const char *name = is(s->op, "mad") ? "fma" : s->op;
    if (is_half(s->t)) {
        struct vg_op *op = emitf(dc, ptx_type_bytes(s->t) == 2, "%s.%s", name, type_name(s->t));
        if (op) {
            op->flags = (uint8_t)s->flags;
        }
        return;
    }
    if (s->directed && !s->approx) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            if (is(rows[i].op, s->op)) {
                slow_round(dc, s, rows[i].what, rows[i].n_src);
                return;
            }
        }
    }
    if (s->t == PTX_F64) {
        emitf(dc, false, "%s%s.f64", name,
              s->approx && (is(name, "rcp") || is(name, "rsqrt")) ? ".approx" : "");
        return;
    }
    emitf(dc, false, "%s%s%s.f32", name, s->flags & VG_F_FTZ ? ".ftz" : "",
          s->flags & VG_F_SAT ? ".sat" : "");
}

// add.cc, addc, mad.cc, ... : bit 0 of flags reads the condition code, bit 1 writes it.
static void carry(struct vg_dec *dc, const struct spell *s)
{
    const char *op = s->op;
    bool reads = is(op, "addc") || is(op, "subc") || is(op, "madc");
    bool hi = ptx_has(dc->in, "hi");
    struct vg_op *o =
        op[0] == 'm' ? emitf(dc, false, "madc.%s.%s", hi ? "hi" : "lo",
                             hi ? type_name(s->t) : width_name(s->t))
                     : emitf(dc, false, "%sc.%s", op[0] == 'a' ? "add" : "sub", width_name(s->t));
    if (o) {
        o->flags = (uint8_t)((reads ? 1 : 0) | (s->cc ? 2 : 0));
    }
}

static bool integer_arith(struct vg_dec *dc, const struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    const char *op = s->op, *w = width_name(s->t), *t = type_name(s->t);
    bool narrow = ptx_type_bytes(s->t) == 2;
    const char *part = ptx_has(in, "hi") ? "hi" : ptx_has(in, "wide") ? "wide" : "lo";
    if (s->cc || is(op, "addc") || is(op, "subc") || is(op, "madc")) {
        carry(dc, s);
    } else if (is(op, "add") || is(op, "sub")) {
        if (s->t == PTX_U16X2 || s->t == PTX_S16X2) {
            emitf(dc, false, "%s.%s", op, t);
        } else {
            emitf(dc, narrow, "%s%s.%s", op, s->flags & VG_F_SAT ? ".sat" : "",
                  s->flags & VG_F_SAT ? t : w);
        }
    } else if (is(op, "mul") || is(op, "mad")) {
        emitf(dc, narrow, "%s.%s%s.%s", op, part, s->flags & VG_F_SAT ? ".sat" : "",
              is(part, "lo") ? w : t);
    } else if (is(op, "mul24") || is(op, "mad24")) {
        emitf(dc, false, "%s.%s%s.%s", op, part, s->flags & VG_F_SAT ? ".sat" : "", t);
    } else if (is(op, "min") || is(op, "max")) {
        emitf(dc, narrow, "%s%s.%s", op, s->flags & VG_F_RELU ? ".relu" : "", t);
    } else if (is(op, "div") || is(op, "rem") || is(op, "sad") || is(op, "abs") || is(op, "neg")) {
        emitf(dc, narrow, "%s.%s", op, t);
    } else {
        return false;
    }
    return true;
}

static bool bits(struct vg_dec *dc, const struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    const char *op = s->op, *w = width_name(s->t), *t = type_name(s->t);
    bool narrow = ptx_type_bytes(s->t) == 2;
    if (s->t == PTX_PRED && (is(op, "and") || is(op, "or") || is(op, "xor") || is(op, "not"))) {
        emitf(dc, false, "%s.pred", op);
    } else if (is(op, "and") || is(op, "or") || is(op, "xor") || is(op, "not") || is(op, "cnot") ||
               is(op, "shl")) {
        emitf(dc, narrow, "%s.%s", op, w);
    } else if (is(op, "shr")) {
        emitf(dc, narrow, "shr.%c%u", ptx_type_is_signed(s->t) ? 's' : 'u',
              ptx_type_bytes(s->t) * 8);
    } else if (is(op, "popc") || is(op, "clz") || is(op, "brev") || is(op, "bfi") ||
               is(op, "fns")) {
        emitf(dc, false, "%s.%s", op, w);
    } else if (is(op, "bfe")) {
        emitf(dc, false, "bfe.%s", t);
    } else if (is(op, "bfind")) {
        struct vg_op *o = emitf(dc, false, "bfind.%s", t);
        if (o) {
            o->flags = ptx_has(in, "shiftamt");
        }
    } else if (is(op, "shf")) {
        emitf(dc, false, "shf.%s.%s.b32", ptx_has(in, "l") ? "l" : "r",
              ptx_has(in, "clamp") ? "clamp" : "wrap");
    } else if (is(op, "bmsk")) {
        emitf(dc, false, "bmsk.%s.b32", ptx_has(in, "wrap") ? "wrap" : "clamp");
    } else if (is(op, "szext")) {
        emitf(dc, false, "szext.%s.%s", ptx_has(in, "wrap") ? "wrap" : "clamp", t);
    } else if (is(op, "prmt")) {
        const char *mode = in->n_tok > 2 ? in->tok[2] : NULL;
        emitf(dc, false, "prmt.b32%s%s", mode ? "." : "", mode ? mode : "");
    } else if (is(op, "lop3") && in->n_tok == 2) {
        emit(dc, "lop3.b32", false);
    } else if (is(op, "dp4a")) {
        emitf(dc, false, "dp4a.%s.%s", t, type_name(s->t2));
    } else if (is(op, "dp2a")) {
        emitf(dc, false, "dp2a.%s.%s.%s", ptx_has(in, "hi") ? "hi" : "lo", t, type_name(s->t2));
    } else {
        return false;
    }
    return true;
}

// ---- comparisons ----

static const char *const cmps[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                   "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

// The comparison as op->d (and op->e), combined with the predicate operand if there is one.
static struct vg_op *compare(struct vg_dec *dc, enum ptx_type t, unsigned flags,
                             const struct ptx_operand *c)
{
    const struct ptx_inst *in = dc->in;
    const char *cmp = in->n_tok > 1 ? in->tok[1] : "";
    enum vg_bool how = ptx_has(in, "and")   ? VG_BOOL_AND
                       : ptx_has(in, "or")  ? VG_BOOL_OR
                       : ptx_has(in, "xor") ? VG_BOOL_XOR
                                            : VG_BOOL_NONE;
    bool is_float = ptx_type_is_float(t);
    cmp = is(cmp, "lo")   ? "lt"
          : is(cmp, "ls") ? "le"
          : is(cmp, "hi") ? "gt"
          : is(cmp, "hs") ? "ge"
                          : cmp;
    unsigned code = 0;
    while (code < 14 && !is(cmps[code], cmp)) {
        code++;
    }
    if (code == 14 || in->n_op < 3) {
        vg_dec_fail(dc, in, "unknown comparison");
        return NULL;
    }
    char key[64];
    unsigned bytes = ptx_type_bytes(t);
    if (t == PTX_F16X2 || t == PTX_BF16X2) {
        snprintf(key, sizeof(key), "setp.%s", type_name(t));
    } else if (is_float) {
        snprintf(key, sizeof(key), "setp.%s%s.%s", cmp,
                 t == PTX_F32 && (flags & VG_F_FTZ) ? ".ftz" : "", type_name(t));
    } else {
        snprintf(key, sizeof(key), "setp.%s.%c%u", cmp, ptx_type_is_signed(t) ? 's' : 'u',
                 bytes == 2 && !ptx_type_is_signed(t) ? 32 : bytes * 8);
    }
    const struct vg_alu *row = vg_alu_find(key);
    if (!row) {
        vg_dec_fail(dc, in, "instruction not supported by the virtual GPU (no op %s)", key);
        return NULL;
    }
    uint32_t r[2];
    for (int i = 0; i < 2; i++) {
        struct ptx_operand o = in->op[1 + i];
        o.imm &= o.kind == PTX_O_INT && bytes == 2 ? 0xffff : ~0ull;
        r[i] = row->sig[1] == 'd' ? vg_dec_d(dc, &o) : vg_dec_r(dc, &o);
    }
    uint32_t pc = c && how != VG_BOOL_NONE ? vg_dec_p(dc, c) : VG_P_TRUE;
    struct vg_op *op = vg_dec_op(dc, row->fn, row->count);
    op->a = r[0];
    op->b = r[1];
    op->c = pc;
    op->aux = (uint8_t)how;
    op->flags = c && c->neg ? 4 : 0;
    op->imm = code;
    op->d = op->e = VG_P_SINK;
    return op;
}

static void set_predicate(struct vg_dec *dc, const struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    uint32_t p = vg_dec_p(dc, &in->op[0]), q = vg_dec_p2(dc, &in->op[0]);
    struct vg_op *op = compare(dc, s->t, s->flags, in->n_op > 3 ? &in->op[3] : NULL);
    if (op) {
        op->d = p;
        op->e = q;
    }
}

// set.cmp.dtype.stype: compare into fresh predicates, then select.
static void set_value(struct vg_dec *dc, const struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    enum ptx_type to = s->t, from = s->t2 == PTX_NO_TYPE ? s->t : s->t2;
    bool pair = from == PTX_F16X2 || from == PTX_BF16X2;
    uint32_t d = vg_dec_r(dc, &in->op[0]), p = vg_dec_temp_p(dc),
             q = pair ? vg_dec_temp_p(dc) : VG_P_SINK;
    struct vg_op *op = compare(dc, from, s->flags, in->n_op > 3 ? &in->op[3] : NULL);
    if (!op) {
        return;
    }
    op->d = p;
    op->e = q;
    uint32_t one = to == PTX_F32             ? 0x3f800000
                   : to == PTX_F16           ? 0x3c00
                   : to == PTX_BF16          ? 0x3f80
                   : to == PTX_F16X2         ? 0x3c003c00
                   : to == PTX_BF16X2        ? 0x3f803f80
                   : ptx_type_bytes(to) == 2 ? 0xffff
                                             : 0xffffffff;
    const struct vg_alu *row = vg_alu_find(pair ? "sel.halves" : "selp.r");
    uint32_t a = vg_dec_const32(dc, one), b = vg_dec_const32(dc, 0);
    struct vg_op *sel = vg_dec_op(dc, row->fn, row->count);
    sel->d = d;
    sel->a = a;
    sel->b = b;
    sel->c = p;
    sel->e = q;
    sel->imm = one;
}

// ---- conversions ----

static void convert(struct vg_dec *dc, struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    enum ptx_type to = s->t, from = s->t2;
    bool to_int = !ptx_type_is_float(to), from_int = !ptx_type_is_float(from);
    if (in->n_op < 2 || to == PTX_NO_TYPE || from == PTX_NO_TYPE) {
        vg_dec_fail(dc, in, "types or operands are missing");
        return;
    }
    bool dst_wide = vg_dec_is_wide(dc, &in->op[0]), src_wide = vg_dec_is_wide(dc, &in->op[1]);
    if (to_int && from_int && !(s->flags & VG_F_SAT)) {
        // A signed value in a register wider than the type keeps its sign there.
        unsigned bytes = ptx_type_bytes(to);
        if (bytes == 8 || !dst_wide) {
            enum ptx_type dreg = dc->f->reg[in->op[0].kind == PTX_O_REG ? in->op[0].reg : 0].type;
            unsigned reg_bytes = in->op[0].kind == PTX_O_REG ? ptx_type_bytes(dreg) : bytes;
            unsigned out = bytes;
            if (ptx_type_is_signed(to) && reg_bytes > bytes && ptx_type_bytes(from) <= bytes) {
                out = reg_bytes;
            }
            if (ptx_type_bytes(from) == 8 || !src_wide) {
                emitf(dc, false, "cvt.%s.r%u", ptx_type_bytes(from) == 8 ? "u64" : type_name(from),
                      out * 8);
                return;
            }
        }
    }
    if (!s->directed || (s->flags & VG_F_INT)) {
        char key[64];
        const char *r = s->flags & VG_F_INT ? (s->round == VG_RN   ? "rni."
                                               : s->round == VG_RZ ? "rzi."
                                               : s->round == VG_RM ? "rmi."
                                                                   : "rpi.")
                        : ptx_has(in, "rn") ? "rn."
                                            : "";
        unsigned odd = s->flags & ~(unsigned)VG_F_INT;
        bool int_dst_sat = to_int && !from_int; // always saturates
        bool plain = odd == 0 || (odd == VG_F_SAT && int_dst_sat);
        bool sat = odd == VG_F_SAT && to == PTX_F32 && from == PTX_F32 && r[0] == 0;
        if ((plain || sat) && s->round != VG_RNA) {
            snprintf(key, sizeof(key), "cvt.%s%s%s.%s", r, sat ? "sat." : "", type_name(to),
                     type_name(from));
            if (vg_alu_find(key) && (!to_int || !dst_wide)) {
                emit(dc, key, false);
                return;
            }
        }
    }
    struct ptx_operand src = in->op[1];
    uint32_t a = ptx_type_bytes(from) == 8 ? vg_dec_d(dc, &src) : vg_dec_r(dc, &src);
    uint32_t b =
        in->n_op > 2 && from == PTX_F32 && ptx_type_bytes(to) != 8 ? vg_dec_r(dc, &in->op[2]) : a;
    uint32_t d = ptx_type_bytes(to) == 8 ? vg_dec_d(dc, &in->op[0]) : vg_dec_r(dc, &in->op[0]);
    struct vg_op *op = vg_dec_op(dc, vg_cvt, VG_N_WARP_CVT);
    op->d = d;
    op->a = a;
    op->b = b;
    op->kind = (uint8_t)from;
    op->bytes = (uint8_t)to;
    op->aux = (uint8_t)s->round;
    op->flags = (uint8_t)s->flags;
}

static void convert_pack(struct vg_dec *dc, const struct spell *s)
{
    const struct ptx_inst *in = dc->in;
    uint32_t d = vg_dec_r(dc, &in->op[0]), a = vg_dec_r(dc, &in->op[1]),
             b = vg_dec_r(dc, &in->op[2]);
    uint32_t c = in->n_op > 3 ? vg_dec_r(dc, &in->op[3]) : a;
    struct vg_op *op = vg_dec_op(dc, vg_cvt_pack, VG_N_WARP_CVT);
    op->d = d;
    op->a = a;
    op->b = b;
    op->c = c;
    op->bytes = (uint8_t)s->t;
    op->flags = in->n_op > 3;
}

static void select(struct vg_dec *dc, const struct spell *s)
{
    if (is(s->op, "selp")) {
        emitf(dc, ptx_type_bytes(s->t) == 2, "selp.%c", ptx_type_bytes(s->t) == 8 ? 'd' : 'r');
    } else {
        emitf(dc, ptx_type_bytes(s->t) == 2, "slct.%c.%s%s", ptx_type_bytes(s->t) == 8 ? 'd' : 'r',
              s->flags & VG_F_FTZ ? "ftz." : "", type_name(s->t2));
    }
}

static void min_max(struct vg_dec *dc, const struct spell *s)
{
    bool max = is(s->op, "max");
    if (s->t == PTX_F64) {
        emitf(dc, false, "%s.f64", s->op);
    } else if (s->t == PTX_F32 && s->flags == 0 && !s->xorsign) {
        emitf(dc, false, "%s.f32", s->op);
    } else {
        struct vg_op *op = emitf(dc, ptx_type_bytes(s->t) == 2, "minmax.%s", type_name(s->t));
        if (op) {
            op->aux = max;
            op->flags = (uint8_t)s->flags;
            op->imm = s->xorsign;
        }
    }
}

static void test_property(struct vg_dec *dc, const struct spell *s)
{
    static const char *const what[] = {"finite",     "infinite", "number",
                                       "notanumber", "normal",   "subnormal"};
    struct vg_op *op = emitf(dc, false, "testp.%s", type_name(s->t));
    for (unsigned i = 0; op && i < 6; i++) {
        if (ptx_has(dc->in, what[i])) {
            op->aux = (uint8_t)i;
        }
    }
}

bool vg_dec_alu(struct vg_dec *dc)
{
    struct spell s = read_spelling(dc->in);
    const char *op = s.op;
    bool is_float = ptx_type_is_float(s.t);
    if (is(op, "setp")) {
        set_predicate(dc, &s);
    } else if (is(op, "set")) {
        set_value(dc, &s);
    } else if (is(op, "selp") || is(op, "slct")) {
        select(dc, &s);
    } else if (is(op, "cvt") && ptx_has(dc->in, "pack")) {
        convert_pack(dc, &s);
    } else if (is(op, "cvt")) {
        convert(dc, &s);
    } else if (is(op, "testp")) {
        test_property(dc, &s);
    } else if (is_float && (is(op, "min") || is(op, "max"))) {
        min_max(dc, &s);
    } else if (is_float && (is(op, "neg") || is(op, "abs") || is(op, "copysign"))) {
        emitf(dc, ptx_type_bytes(s.t) == 2, "%s%s.%s", op,
              (s.flags & VG_F_FTZ) && s.t == PTX_F32 ? ".ftz" : "", type_name(s.t));
    } else if (is_float && (is(op, "add") || is(op, "sub") || is(op, "mul") || is(op, "fma") ||
                            is(op, "mad") || is(op, "div") || is(op, "rcp") || is(op, "sqrt") ||
                            is(op, "rsqrt") || is(op, "sin") || is(op, "cos") || is(op, "lg2") ||
                            is(op, "ex2") || is(op, "tanh"))) {
        float_arith(dc, &s);
    } else {
        return (!is_float && integer_arith(dc, &s)) || (!dc->failed && bits(dc, &s));
    }
    return true;
}
