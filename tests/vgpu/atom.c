// SPDX-License-Identifier: Apache-2.0
#include "atom.h"

#include <pthread.h>
#include <string.h>

#include "access.h"
#include "count.h"
#include "exec.h"
#include "lanes.h"
#include "mem.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // a leaf: nothing else is taken inside

void vg_atom_lock(void)
{
    pthread_mutex_lock(&lock);
}
void vg_atom_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static uint64_t half_op(enum vg_atom what, bool bf, uint32_t a, uint32_t b)
{
    float x = bf ? vg_b2f(a) : vg_h2f(a), y = bf ? vg_b2f(b) : vg_h2f(b), r;
    switch (what) {
    case VG_AT_ADD:
        r = x + y;
        break;
    case VG_AT_MIN:
        r = x != x ? y : y != y ? x : x < y || (x == y && signbit(x)) ? x : y;
        break;
    default:
        r = x != x ? y : y != y ? x : x < y || (x == y && signbit(x)) ? y : x;
        break;
    }
    return bf ? vg_f2b(r) : vg_f2h(r);
}

static uint64_t float_op(enum vg_atom what, enum ptx_type t, uint64_t old, uint64_t b)
{
    switch (t) {
    case PTX_F32: {
        float x = vg_float((uint32_t)old), y = vg_float((uint32_t)b);
        float r = what == VG_AT_ADD ? x + y : what == VG_AT_MIN ? fminf(x, y) : fmaxf(x, y);
        return vg_bits(vg_nan1(r));
    }
    case PTX_F64: {
        double x = vg_double(old), y = vg_double(b);
        return vg_bits64(what == VG_AT_ADD ? x + y : what == VG_AT_MIN ? fmin(x, y) : fmax(x, y));
    }
    case PTX_F16:
    case PTX_BF16:
        return half_op(what, t == PTX_BF16, (uint32_t)old & 0xffff, (uint32_t)b & 0xffff);
    default: {
        bool bf = t == PTX_BF16X2;
        uint32_t o = (uint32_t)old, v = (uint32_t)b;
        return half_op(what, bf, o & 0xffff, v & 0xffff) | half_op(what, bf, o >> 16, v >> 16)
                                                               << 16;
    }
    }
}

uint64_t vg_atom_apply(enum vg_atom what, enum ptx_type t, uint64_t old, uint64_t b, uint64_t c)
{
    if (ptx_type_is_float(t) && what != VG_AT_EXCH && what != VG_AT_CAS) {
        return float_op(what, t, old, b);
    }
    unsigned bytes = ptx_type_bytes(t);
    unsigned shift = 64 - 8 * bytes;
    int64_t so = (int64_t)(old << shift) >> shift, sb = (int64_t)(b << shift) >> shift;
    uint64_t uo = old << shift >> shift, ub = b << shift >> shift;
    bool is_signed = ptx_type_is_signed(t);
    switch (what) {
    case VG_AT_AND:
        return old & b;
    case VG_AT_OR:
        return old | b;
    case VG_AT_XOR:
        return old ^ b;
    case VG_AT_CAS:
        return uo == ub ? c : old;
    case VG_AT_EXCH:
        return b;
    case VG_AT_ADD:
        return old + b;
    case VG_AT_INC:
        return uo >= ub ? 0 : uo + 1;
    case VG_AT_DEC:
        return uo == 0 || uo > ub ? ub : uo - 1;
    case VG_AT_MIN:
        return is_signed ? (uint64_t)(so < sb ? so : sb) : uo < ub ? uo : ub;
    case VG_AT_MAX:
        return is_signed ? (uint64_t)(so > sb ? so : sb) : uo > ub ? uo : ub;
    case VG_AT_NONE:
        break;
    }
    return old;
}

enum vg_atom vg_atom_of(const struct ptx_inst *in)
{
    static const struct {
        const char *name;
        enum vg_atom what;
    } rows[] = {{"and", VG_AT_AND},   {"or", VG_AT_OR},   {"xor", VG_AT_XOR}, {"cas", VG_AT_CAS},
                {"exch", VG_AT_EXCH}, {"add", VG_AT_ADD}, {"inc", VG_AT_INC}, {"dec", VG_AT_DEC},
                {"min", VG_AT_MIN},   {"max", VG_AT_MAX}};
    for (unsigned i = 1; i < in->n_tok; i++) {
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
            if (strcmp(rows[k].name, in->tok[i]) == 0) {
                return rows[k].what;
            }
        }
    }
    return VG_AT_NONE;
}

// x: n destinations (sinks of red too), then n values, then the swap value of cas.
struct atom {
    struct vg_addr addr;
    struct vg_touch touch;
    enum vg_atom what;
    enum ptx_type t;
    unsigned n, bytes;
    bool wide, returns;
};

static void one_lane(struct vg_warp *w, const struct vg_op *op, const struct atom *a, unsigned l,
                     uint8_t *p)
{
    for (unsigned i = 0; i < a->n; i++, p += a->bytes) {
        uint64_t old = 0, next;
        if (a->bytes == 16) { // .b128: exch and cas
            uint64_t was[2], b[2], c[2];
            memcpy(was, p, 16);
            for (unsigned k = 0; k < 2; k++) {
                b[k] = vg_d(w, op->x[1] + k)[l];
                c[k] = a->what == VG_AT_CAS ? vg_d(w, op->x[2] + k)[l] : 0;
            }
            bool equal = was[0] == b[0] && was[1] == b[1];
            if (a->what == VG_AT_EXCH || equal) {
                memcpy(p, a->what == VG_AT_EXCH ? b : c, 16);
                vg_progress(w->cta);
            }
            vg_d(w, op->x[0])[l] = was[0];
            vg_d(w, op->x[0] + 1)[l] = was[1];
            continue;
        }
        memcpy(&old, p, a->bytes);
        uint64_t b = a->wide ? vg_d(w, op->x[a->n + i])[l] : vg_r(w, op->x[a->n + i])[l], c = 0;
        if (a->what == VG_AT_CAS) {
            c = a->wide ? vg_d(w, op->x[2 * a->n + i])[l] : vg_r(w, op->x[2 * a->n + i])[l];
        }
        next = vg_atom_apply(a->what, a->t, old, b, c);
        if (memcmp(&next, &old, a->bytes) != 0) {
            memcpy(p, &next, a->bytes);
            vg_progress(w->cta);
        }
        if (a->returns && a->wide) {
            vg_d(w, op->x[i])[l] = old;
        } else if (a->returns) {
            vg_r(w, op->x[i])[l] = (uint32_t)old;
        }
    }
}

static int op_atom(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct atom *a = op->ext;
    uint64_t addr[32] = {0};
    w->polls++;
    vg_lane_addrs(w, a->addr, addr);
    if (!vg_touch(w, &a->touch, addr, m, addr)) {
        return VG_STEP_FAULT;
    }
    unsigned first =
        w->cta->grid->launch->checks & VG_CHECK_SCHED ? (unsigned)vg_random(&w->rng) & 31 : 0;
    bool locked = a->touch.space != PTX_SHARED;
    if (locked) {
        vg_atom_lock();
    }
    uint32_t late = m & ((1u << first) - 1);
    for (uint32_t k = m & ~late; k; k &= k - 1) {
        one_lane(w, op, a, vg_first(k), (uint8_t *)(uintptr_t)addr[vg_first(k)]);
    }
    for (uint32_t k = late; k; k &= k - 1) {
        one_lane(w, op, a, vg_first(k), (uint8_t *)(uintptr_t)addr[vg_first(k)]);
    }
    if (locked) {
        vg_atom_unlock();
    }
    return VG_STEP_DONE;
}

bool vg_dec_atomic(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    bool returns = strcmp(in->tok[0], "atom") == 0;
    if (ptx_has(in, "async")) {
        return false;
    }
    struct atom *a = vg_dec_alloc(dc, sizeof(*a));
    a->what = vg_atom_of(in);
    a->t = ptx_inst_type(in, 0);
    a->bytes = ptx_type_bytes(a->t);
    a->n = ptx_has(in, "v2") ? 2 : ptx_has(in, "v4") ? 4 : ptx_has(in, "v8") ? 8 : 1;
    a->wide = a->bytes >= 8;
    a->returns = returns;
    unsigned i = returns ? 1 : 0;
    bool cas = a->what == VG_AT_CAS;
    if (a->what == VG_AT_NONE || a->bytes == 0 || in->n_op < i + 2u + cas) {
        vg_dec_fail(dc, in, "unknown atomic, or operands are missing");
        return true;
    }
    if (a->bytes == 16 && !cas && a->what != VG_AT_EXCH) {
        vg_dec_fail(dc, in, "only cas and exch are known of .b128");
        return true;
    }
    a->addr = vg_dec_addr(dc, &in->op[i]);
    bool release = ptx_has(in, "release") || ptx_has(in, "acq_rel");
    bool acquire = ptx_has(in, "acquire") || ptx_has(in, "acq_rel");
    a->touch = (struct vg_touch){.space = vg_space_of(in),
                                 .kind = VG_ATOMIC,
                                 .bytes = a->bytes * a->n,
                                 .reads = true,
                                 .writes = true,
                                 .strong = true,
                                 .acquire = acquire,
                                 .release = release};
    uint32_t *x = vg_dec_alloc(dc, 3 * (a->n + 1) * sizeof(*x));
    for (unsigned part = 0; part < 2u + cas; part++) {
        if (part == 0 && !returns) {
            continue;
        }
        const struct ptx_operand *o = &in->op[part == 0 ? 0 : i + part];
        if ((o->kind == PTX_O_VEC ? o->n_elem : 1) != a->n) {
            vg_dec_fail(dc, in, "%u registers wanted", a->n);
            return true;
        }
        for (unsigned k = 0; k < a->n; k++) {
            const struct ptx_operand *e = o->kind == PTX_O_VEC ? &o->elem[k] : o;
            x[part * a->n + k] = a->wide ? vg_dec_d(dc, e) : vg_dec_r(dc, e);
        }
    }
    struct vg_op *op = vg_dec_op(dc, op_atom, VG_N_WARP_ATOMIC);
    op->ext = a;
    op->x = x;
    op->n_x = (uint16_t)(3 * a->n);
    dc->prog->talks |= a->touch.space != PTX_SHARED;
    return true;
}
