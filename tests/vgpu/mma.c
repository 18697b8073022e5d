// SPDX-License-Identifier: Apache-2.0
// mma.c - mma.sync: s8/u8/s4/u4, f16, bf16, tf32, fp8 and f64, all shapes of sm_80 and sm_89.
#include "tensor_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct mma {
    enum ptx_type td, ta, tb, tc;
    uint8_t m, n, k, n_i; // n_i: groups of 8 rows
    uint8_t n_a, n_b, n_d, n_c;
    bool sat;
    uint16_t shape;
    uint32_t macs;
    const struct vg_tensor *t;
    const uint32_t *a, *b, *c, *d; // 32-bit rows; f64: 64-bit rows
};

static void count(struct vg_warp *w, const struct mma *x)
{
    struct vg_counts *c = w->cta->counts;
    c->n[VG_N_MMA_MACS] += x->macs;
    c->shape[x->shape]++;
}

bool vg_tc_whole_warp(struct vg_warp *w, uint32_t mask, const char *what)
{
    if (mask == 0xFFFFFFFFu) {
        return true;
    }
    VG_FIND(w, -1, VG_COLLECTIVE, "%s needs all 32 lanes, these are here: 0x%08x", what, mask);
    return false;
}

static int mma_small(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mma *x = op->ext;
    const struct vg_tensor *t = x->t;
    if (!vg_tc_whole_warp(w, mask, "mma.sync")) {
        return VG_STEP_FAULT;
    }
    const uint32_t *ra[8], *rb[4];
    for (unsigned i = 0; i < x->n_a; i++) {
        ra[i] = vg_r(w, x->a[i]);
    }
    for (unsigned i = 0; i < x->n_b; i++) {
        rb[i] = vg_r(w, x->b[i]);
    }
    VG_TC_RAW uint32_t acc[128] __attribute__((aligned(64)));
    t->mma(x->ta, x->tb, x->n_i, x->k, ra, rb, acc);
    const unsigned wide = x->td == PTX_F16 ? 64 : 32; // of acc per register
    for (unsigned i = 0; i < x->n_d; i++) {
        uint32_t *sum = acc + i * wide;
        const uint32_t *c = vg_r(w, x->c[i]);
        if (x->td == PTX_F32) {
            t->add_f32(sum, c, sum, false);
        } else if (x->td == PTX_F16) {
            t->add_f16(sum, c, sum, false);
        } else {
            t->add_s32(sum, c, sum, x->sat);
        }
    }
    for (unsigned i = 0; i < x->n_d; i++) { // all of C is read before: registers may be shared
        memcpy(vg_r(w, x->d[i]), acc + i * wide, 128);
    }
    count(w, x);
    return VG_STEP_DONE;
}

static double as_double(uint64_t u)
{
    double f;
    memcpy(&f, &u, 8);
    return f;
}

static int mma_f64(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mma *x = op->ext;
    if (!vg_tc_whole_warp(w, mask, "mma.sync")) {
        return VG_STEP_FAULT;
    }
    double out[4][32];
    for (unsigned i = 0; i < x->n_i; i++) {
        for (unsigned e = 0; e < 2; e++) {
            const uint64_t *c = vg_d(w, x->c[i * 2 + e]);
            for (unsigned l = 0; l < 32; l++) {
                unsigned g = l / 4, n = 2 * (l % 4) + e;
                double s = as_double(c[l]);
                for (unsigned k = 0; k < x->k; k++) { // f64 is fused, in ascending k
                    double a = as_double(vg_d(w, x->a[i + x->n_i * (k / 4)])[4 * g + k % 4]);
                    double b = as_double(vg_d(w, x->b[k / 4])[4 * n + k % 4]);
                    s = fma(a, b, s);
                }
                out[i * 2 + e][l] = s;
            }
        }
    }
    for (unsigned i = 0; i < x->n_d; i++) {
        memcpy(vg_d(w, x->d[i]), out[i], sizeof(out[i]));
    }
    count(w, x);
    return VG_STEP_DONE;
}

const uint32_t *vg_tc_rows64(struct vg_dec *dc, const struct ptx_operand *o, unsigned *n)
{
    unsigned k = o->kind == PTX_O_VEC ? o->n_elem : 1;
    uint32_t *r = vg_dec_alloc(dc, k * sizeof(*r));
    for (unsigned i = 0; i < k; i++) {
        r[i] = vg_dec_d(dc, o->kind == PTX_O_VEC ? &o->elem[i] : o);
    }
    *n = k;
    return r;
}

bool vg_tc_shape(const char *tok, unsigned *m, unsigned *n, unsigned *k)
{
    int used = 0;
    return sscanf(tok, "m%un%uk%u%n", m, n, k, &used) == 3 && tok[used] == 0;
}

static bool is_fp8(enum ptx_type t)
{
    return t == PTX_E4M3 || t == PTX_E5M2;
}

// What the ISA allows of shape and types.
static bool allowed(const struct mma *x)
{
    unsigned m = x->m, k = x->k;
    if (x->n != 8 || (m != 16 && m != 8)) {
        return false;
    }
    if (vg_tc_is_int(x->ta) && vg_tc_is_int(x->tb)) {
        bool four = x->ta == PTX_S4 || x->ta == PTX_U4;
        bool same = four == (x->tb == PTX_S4 || x->tb == PTX_U4);
        unsigned small = four ? 32 : 16;
        return same && x->td == PTX_S32 && x->tc == PTX_S32 &&
               (m == 8 ? k == small : k == small || k == 2 * small);
    }
    if (x->ta == PTX_F64) {
        return x->tb == PTX_F64 && x->tc == PTX_F64 && x->td == PTX_F64 &&
               (m == 8 ? k == 4 : k == 4 || k == 8 || k == 16);
    }
    bool f32 = x->td == PTX_F32 && x->tc == PTX_F32;
    bool f16 = x->td == PTX_F16 && x->tc == PTX_F16;
    if (m != 16) {
        return false;
    }
    if (is_fp8(x->ta) && is_fp8(x->tb)) {
        return (f32 || f16) && (k == 16 || k == 32);
    }
    if (x->ta != x->tb) {
        return false;
    }
    if (x->ta == PTX_F16) {
        return (f32 || f16) && (k == 8 || k == 16);
    }
    if (x->ta == PTX_BF16) {
        return f32 && (k == 8 || k == 16);
    }
    return x->ta == PTX_TF32 && f32 && (k == 4 || k == 8);
}

enum vg_decoded vg_mma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    struct mma *x = vg_dec_alloc(dc, sizeof(*x));
    unsigned m = 0, n = 0, k = 0;
    for (unsigned i = 1; i < in->n_tok; i++) {
        vg_tc_shape(in->tok[i], &m, &n, &k);
    }
    x->m = (uint8_t)(m <= 16 ? m : 0);
    x->n = (uint8_t)(n <= 8 ? n : 0);
    x->k = (uint8_t)(k <= 64 ? k : 0);
    x->td = ptx_inst_type(in, 0);
    x->ta = ptx_inst_type(in, 1);
    x->tb = ptx_inst_type(in, 2);
    x->tc = ptx_inst_type(in, 3);
    x->sat = ptx_has(in, "satfinite");
    if (in->n_op != 4 || !ptx_has(in, "sync") || !ptx_has(in, "row") || !ptx_has(in, "col") ||
        !allowed(x)) {
        vg_dec_fail(dc, in, "this shape or type of mma is not supported");
        return VG_DEC_BAD;
    }
    x->n_i = (uint8_t)(m / 8);
    unsigned na, nb, nc, nd;
    unsigned per = x->ta == PTX_F64 ? 1 : vg_tc_per_reg(x->ta);
    unsigned want_a = x->n_i * (k / (4 * per)), want_b = k / (4 * per), want_d = x->n_i * 2u;
    if (x->ta == PTX_F64) {
        x->d = vg_tc_rows64(dc, &in->op[0], &nd);
        x->a = vg_tc_rows64(dc, &in->op[1], &na);
        x->b = vg_tc_rows64(dc, &in->op[2], &nb);
        x->c = vg_tc_rows64(dc, &in->op[3], &nc);
        op->fn = mma_f64;
    } else {
        x->d = vg_dec_rows(dc, &in->op[0], &nd);
        x->a = vg_dec_rows(dc, &in->op[1], &na);
        x->b = vg_dec_rows(dc, &in->op[2], &nb);
        x->c = vg_dec_rows(dc, &in->op[3], &nc);
        x->t = vg_tensor();
        op->fn = mma_small;
    }
    unsigned want_dd = x->td == PTX_F16 ? want_d / 2 : want_d;
    unsigned want_c = x->tc == PTX_F16 ? want_d / 2 : want_d;
    if (na != want_a || nb != want_b || nd != want_dd || nc != want_c) {
        vg_dec_fail(dc, in, "mma takes %u, %u, %u, %u registers", want_dd, want_a, want_b, want_c);
        return VG_DEC_BAD;
    }
    x->n_a = (uint8_t)na;
    x->n_b = (uint8_t)nb;
    x->n_c = (uint8_t)nc;
    x->n_d = (uint8_t)nd;
    x->macs = m * n * k;
    char name[96];
    snprintf(name, sizeof(name), "mma.m%un%uk%u", m, n, k);
    vg_tc_name_types(in, name, sizeof(name));
    x->shape = (uint16_t)vg_count_shape_id(name);
    op->ext = x;
    op->collect = VG_COLL_WARP;
    op->count = VG_N_WARP_TENSOR;
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}
