// SPDX-License-Identifier: Apache-2.0
// wmma.load, wmma.mma, wmma.store (mma.h). Which lane holds which element is the implementation's
// own business: here element e of lane l is number (l * elements per lane + e) of the matrix, row
// by row; fragments with room to spare hold the matrix several times.
#include <string.h>

#include "access.h"
#include "count.h"
#include "dec.h"
#include "exec.h"
#include "lanes.h"
#include "tensor_impl.h"

enum part { PART_A, PART_B, PART_C };

struct frag {
    enum ptx_type t;
    unsigned rows, cols, n, per; // n: elements per lane, per: elements per register
    const uint32_t *x;           // registers
};
struct wmma {
    struct frag f[4]; // a, b, c, d; loads and stores: f[0]
    struct vg_addr addr;
    uint32_t stride; // row
    bool has_stride, col_major, store, satfinite;
    enum ptx_space space;
    unsigned m, n, k;
};
enum { MAX_ELEMENTS = 512 };

static unsigned element_bits(enum ptx_type t)
{
    return 8 * ptx_type_bytes(t);
}

static uint64_t get(const struct vg_warp *w, const struct frag *f, unsigned lane, unsigned e)
{
    uint32_t row = f->x[e / f->per];
    if (f->t == PTX_F64) {
        return vg_d(w, row)[lane];
    }
    unsigned bits = element_bits(f->t);
    uint32_t v = vg_r(w, row)[lane] >> (e % f->per * bits);
    return bits == 32 ? v : v & ((1u << bits) - 1);
}
static void set(struct vg_warp *w, const struct frag *f, unsigned lane, unsigned e, uint64_t v)
{
    uint32_t row = f->x[e / f->per];
    if (f->t == PTX_F64) {
        vg_d(w, row)[lane] = v;
        return;
    }
    unsigned bits = element_bits(f->t), at = e % f->per * bits;
    uint32_t mask = bits == 32 ? ~0u : ((1u << bits) - 1) << at;
    uint32_t *r = &vg_r(w, row)[lane];
    *r = (*r & ~mask) | ((uint32_t)v << at & mask);
}

static int op_move(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct wmma *q = op->ext;
    const struct frag *f = &q->f[0];
    unsigned bytes = ptx_type_bytes(f->t), total = f->rows * f->cols;
    uint64_t base[32];
    vg_lane_addrs(w, q->addr, base);
    struct vg_touch t = {.space = q->space,
                         .kind = q->store ? VG_STORE : VG_LOAD,
                         .bytes = bytes,
                         .reads = !q->store,
                         .writes = q->store};
    // Elements beyond the matrix are repetitions: they are loaded, but not stored twice.
    for (unsigned e = 0; e < f->n; e++) {
        uint64_t addr[32];
        uint32_t some = 0;
        for (unsigned l = 0; l < 32; l++) {
            unsigned i = l * f->n + e, at = i % total, row = at / f->cols, col = at % f->cols;
            uint64_t stride = q->has_stride  ? vg_r(w, q->stride)[l]
                              : q->col_major ? f->rows
                                             : f->cols;
            addr[l] = base[l] + (q->col_major ? col * stride + row : row * stride + col) * bytes;
            some |= (uint32_t)(!q->store || i < total) << l;
        }
        some &= m;
        if (!some) {
            continue;
        }
        if (!vg_touch(w, &t, addr, some, addr)) {
            return VG_STEP_FAULT;
        }
        for (uint32_t k = some; k; k &= k - 1) {
            unsigned l = vg_first(k);
            void *p = (void *)(uintptr_t)addr[l];
            uint64_t v = q->store ? get(w, f, l, e) : 0;
            if (q->store) {
                memcpy(p, &v, bytes);
            } else {
                memcpy(&v, p, bytes);
                set(w, f, l, e, v);
            }
        }
    }
    return VG_STEP_DONE;
}

static double number(enum ptx_type t, uint64_t v)
{
    switch (t) {
    case PTX_F16:
        return (double)vg_h2f((uint32_t)v);
    case PTX_BF16:
        return (double)vg_b2f((uint32_t)v);
    case PTX_TF32: // the low 13 bits do not count
        return (double)vg_float((uint32_t)v & 0xffffe000);
    case PTX_F32:
        return (double)vg_float((uint32_t)v);
    case PTX_F64:
        return vg_double(v);
    case PTX_S8:
        return (double)(int8_t)v;
    case PTX_U8:
        return (double)(uint8_t)v;
    default:
        return (double)(int32_t)v;
    }
}
static void read_all(const struct vg_warp *w, const struct frag *f, double *out)
{
    unsigned total = f->rows * f->cols;
    for (unsigned i = 0; i < total; i++) {
        out[i] = number(f->t, get(w, f, i / f->n, i % f->n));
    }
}
static uint64_t result(const struct wmma *q, double sum, double c)
{
    switch (q->f[3].t) {
    case PTX_F16:
        return vg_f2h((float)sum + (float)c);
    case PTX_F32:
        return vg_bits((float)sum + (float)c);
    case PTX_F64:
        return vg_bits64(sum + c);
    default: {
        int64_t v = (int64_t)sum + (int64_t)c;
        if (q->satfinite) {
            v = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
        }
        return (uint32_t)(uint64_t)v;
    }
    }
}

// Products are exact in double; the sum over k is rounded once where the format of D is smaller.
static int op_mma(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct wmma *q = op->ext;
    double a[MAX_ELEMENTS], b[MAX_ELEMENTS], c[MAX_ELEMENTS];
    uint64_t d[MAX_ELEMENTS];
    read_all(w, &q->f[0], a);
    read_all(w, &q->f[1], b);
    read_all(w, &q->f[2], c);
    for (unsigned i = 0; i < q->m; i++) {
        for (unsigned j = 0; j < q->n; j++) {
            double s = 0;
            for (unsigned k = 0; k < q->k; k++) {
                s += a[i * q->k + k] * b[k * q->n + j];
            }
            d[i * q->n + j] = result(q, s, c[i * q->n + j]);
        }
    }
    const struct frag *f = &q->f[3];
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        for (unsigned e = 0; e < f->n; e++) {
            set(w, f, l, e, d[(l * f->n + e) % (q->m * q->n)]);
        }
    }
    return VG_STEP_DONE;
}

// ---- decode ----

static bool shape_of(const struct ptx_inst *in, struct wmma *q)
{
    static const struct {
        const char *name;
        unsigned m, n, k;
    } rows[] = {{"m16n16k16", 16, 16, 16},
                {"m8n32k16", 8, 32, 16},
                {"m32n8k16", 32, 8, 16},
                {"m16n16k8", 16, 16, 8},
                {"m8n8k4", 8, 8, 4}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ptx_has(in, rows[i].name)) {
            q->m = rows[i].m;
            q->n = rows[i].n;
            q->k = rows[i].k;
            return true;
        }
    }
    return false;
}

static bool known(enum ptx_type t)
{
    return t == PTX_F16 || t == PTX_BF16 || t == PTX_TF32 || t == PTX_F32 || t == PTX_F64 ||
           t == PTX_S8 || t == PTX_U8 || t == PTX_S32;
}

static bool set_frag(struct vg_dec *dc, struct wmma *q, unsigned i, enum part part, enum ptx_type t,
                     const struct ptx_operand *o)
{
    struct frag *f = &q->f[i];
    unsigned n;
    f->t = t;
    f->rows = part == PART_B ? q->k : q->m;
    f->cols = part == PART_A ? q->k : q->n;
    f->x = vg_dec_rows(dc, o, &n);
    f->per = t == PTX_F64 ? 1 : 32 / (element_bits(t) ? element_bits(t) : 32);
    f->n = n * f->per;
    unsigned total = f->rows * f->cols;
    return known(t) && n > 0 && 32 * f->n >= total && 32 * f->n % total == 0 &&
           total <= MAX_ELEMENTS;
}

enum vg_decoded vg_wmma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    if (in->n_tok < 3) {
        return VG_DEC_NOT_MINE;
    }
    struct wmma *q = vg_dec_alloc(dc, sizeof(*q));
    enum ptx_type t0 = ptx_inst_type(in, 0), t1 = ptx_inst_type(in, 1), t2 = ptx_inst_type(in, 2);
    bool mma = strcmp(in->tok[1], "mma") == 0;
    bool ok = shape_of(in, q) && in->n_op >= (mma ? 4 : 2);
    if (ok && mma) {
        bool four = t2 != PTX_NO_TYPE; // d.a.b.c; else d.c of f16 matrices
        enum ptx_type ta = four ? t1 : PTX_F16, tb = four ? t2 : PTX_F16;
        enum ptx_type tc = four ? ptx_inst_type(in, 3) : t1;
        q->satfinite = ptx_has(in, "satfinite");
        ok = set_frag(dc, q, 0, PART_A, ta, &in->op[1]) &&
             set_frag(dc, q, 1, PART_B, tb, &in->op[2]) &&
             set_frag(dc, q, 2, PART_C, tc, &in->op[3]) &&
             set_frag(dc, q, 3, PART_C, t0, &in->op[0]);
    } else if (ok) {
        q->store = strcmp(in->tok[1], "store") == 0;
        enum part part = strcmp(in->tok[2], "a") == 0   ? PART_A
                         : strcmp(in->tok[2], "b") == 0 ? PART_B
                                                        : PART_C;
        q->col_major = ptx_has(in, "col");
        q->space = vg_space_of(in);
        ok = set_frag(dc, q, 0, part, t0, &in->op[q->store ? 1 : 0]);
        q->addr = vg_dec_addr(dc, &in->op[q->store ? 0 : 1]);
        q->has_stride = in->n_op > 2;
        q->stride = q->has_stride ? vg_dec_r(dc, &in->op[2]) : 0;
    }
    if (!ok) {
        vg_dec_fail(dc, in, "shape, type or fragment not supported by the virtual GPU");
        return VG_DEC_BAD;
    }
    op->fn = mma ? op_mma : op_move;
    op->count = mma                      ? VG_N_WARP_TENSOR
                : q->space == PTX_SHARED ? VG_N_WARP_SHARED
                                         : VG_N_WARP_GLOBAL;
    op->ext = q;
    op->collect = VG_COLL_WARP;
    return VG_DEC_OK;
}
