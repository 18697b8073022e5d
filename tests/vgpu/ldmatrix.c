// SPDX-License-Identifier: Apache-2.0
// ldmatrix.c - ldmatrix, stmatrix, movmatrix; the decoder's door to all tensor instructions.
#include "tensor_impl.h"

#include <stdio.h>

struct matrix {
    struct vg_sh_addr at;
    uint8_t n; // matrices
    bool trans;
    const uint32_t *row;
};

void vg_tc_name_types(const struct ptx_inst *in, char *name, unsigned n)
{
    size_t used = strlen(name);
    for (unsigned i = 1; i < in->n_tok && used < n; i++) {
        if (ptx_type_named(in->tok[i]) != PTX_NO_TYPE) {
            used += (size_t)snprintf(name + used, n - used, ".%s", in->tok[i]);
        }
    }
}

struct vg_sh_addr vg_dec_shared(struct vg_dec *dc, const struct ptx_inst *in,
                                const struct ptx_operand *o, bool has_space)
{
    (void)in;
    return (struct vg_sh_addr){vg_dec_addr(dc, o), !has_space};
}

static bool locate(struct vg_warp *w, unsigned lane, uint64_t addr, bool generic, struct vg_cta **t,
                   uint32_t *off)
{
    if (generic) {
        if (!vg_is_shared(addr)) {
            VG_FIND(w, (int)lane, VG_OUT_OF_BOUNDS, "0x%llx is no address of shared memory",
                    (unsigned long long)addr);
            return false;
        }
        addr -= vg_window;
    }
    *t = vg_shared_target(w->cta, (uint32_t)addr, off);
    if (!*t || addr >> 32 != 0 || *off >= (*t)->smem_bytes) {
        VG_FIND(w, (int)lane, VG_OUT_OF_BOUNDS,
                "shared memory address 0x%llx lies outside the CTA's 0x%x bytes",
                (unsigned long long)addr, *t ? (*t)->smem_bytes : 0);
        return false;
    }
    return true;
}

bool vg_sh_lane(struct vg_warp *w, struct vg_sh_addr a, unsigned lane, struct vg_cta **t,
                uint32_t *off)
{
    return locate(w, lane, vg_lane_addr(w, a.at, lane), a.generic, t, off);
}

bool vg_sh_lanes(struct vg_warp *w, struct vg_sh_addr a, uint32_t mask, struct vg_cta **t,
                 uint32_t off[32])
{
    if (mask == 0xFFFFFFFFu && !a.generic && !a.at.wide) { // all in the CTA's own memory?
        const uint32_t *r = vg_r(w, a.at.row), add = (uint32_t)a.at.offset - VG_SMEM_BASE;
        const uint32_t n = w->cta->smem_bytes;
        uint32_t past = 0;
        for (unsigned l = 0; l < 32; l++) {
            off[l] = r[l] + add;
            past |= off[l] >= n ? 1u : 0u;
        }
        if (!past) {
            *t = w->cta;
            return true;
        }
    }
    *t = NULL;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned lane = vg_first(m);
        struct vg_cta *c;
        if (!vg_sh_lane(w, a, lane, &c, &off[lane])) {
            return false;
        }
        if (*t && c != *t) {
            VG_FIND(w, (int)lane, VG_COLLECTIVE,
                    "the lanes of one instruction address different CTAs");
            return false;
        }
        *t = c;
    }
    return true;
}

static uint32_t row_mask(const struct matrix *x)
{
    return x->n == 4 ? 0xFFFFFFFFu : (1u << (8 * x->n)) - 1;
}

typedef uint16_t half8 __attribute__((vector_size(16), aligned(4), may_alias));

// 8 x 8 halves, a row of them in four lanes.
static void transpose(uint32_t *d)
{
    half8 *h = (half8 *)(void *)d, a[8], b[8];
    for (unsigned i = 0; i < 8; i++) { // element i: rows i/2 and i/2 + 4, interleaved
        a[i] = i & 1 ? __builtin_shufflevector(h[i / 2], h[i / 2 + 4], 4, 12, 5, 13, 6, 14, 7, 15)
                     : __builtin_shufflevector(h[i / 2], h[i / 2 + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    }
    for (unsigned i = 0; i < 8; i++) {
        b[i] = i & 1 ? __builtin_shufflevector(a[i / 2], a[i / 2 + 4], 4, 12, 5, 13, 6, 14, 7, 15)
                     : __builtin_shufflevector(a[i / 2], a[i / 2 + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    }
    for (unsigned i = 0; i < 8; i++) {
        h[i] = i & 1 ? __builtin_shufflevector(b[i / 2], b[i / 2 + 4], 4, 12, 5, 13, 6, 14, 7, 15)
                     : __builtin_shufflevector(b[i / 2], b[i / 2 + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    }
}

static int ldmatrix(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct matrix *x = op->ext;
    uint32_t off[32] = {0};
    struct vg_cta *t;
    if (!vg_tc_whole_warp(w, mask, "ldmatrix") || !vg_sh_lanes(w, x->at, row_mask(x), &t, off) ||
        !vg_check_shared(w, t, off, row_mask(x), 16, VG_LOAD | VG_ACCESS_MATRIX)) {
        return VG_STEP_FAULT;
    }
    for (unsigned q = 0; q < x->n; q++) {
        uint32_t *d = vg_r(w, x->row[q]);
        for (unsigned r = 0; r < 8; r++) {
            memcpy(d + 4 * r, t->smem + off[q * 8 + r], 16);
        }
        if (x->trans) {
            transpose(d);
        }
    }
    return VG_STEP_DONE;
}

static int stmatrix(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct matrix *x = op->ext;
    uint32_t off[32] = {0};
    struct vg_cta *t;
    if (!vg_tc_whole_warp(w, mask, "stmatrix") || !vg_sh_lanes(w, x->at, row_mask(x), &t, off) ||
        !vg_check_shared(w, t, off, row_mask(x), 16, VG_STORE | VG_ACCESS_MATRIX)) {
        return VG_STEP_FAULT;
    }
    for (unsigned q = 0; q < x->n; q++) {
        const uint32_t *s = vg_r(w, x->row[q]);
        uint32_t m[8][4];
        if (!x->trans) {
            memcpy(m, s, 128);
        } else {
            uint16_t(*h)[8] = (uint16_t(*)[8])(void *)m;
            for (unsigned l = 0; l < 32; l++) {
                h[2 * (l % 4)][l / 4] = (uint16_t)s[l];
                h[2 * (l % 4) + 1][l / 4] = (uint16_t)(s[l] >> 16);
            }
        }
        for (unsigned r = 0; r < 8; r++) {
            memcpy(t->smem + off[q * 8 + r], m[r], 16);
        }
    }
    return VG_STEP_DONE;
}

static int movmatrix(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    if (!vg_tc_whole_warp(w, mask, "movmatrix")) {
        return VG_STEP_FAULT;
    }
    uint16_t h[8][8];
    memcpy(h, vg_r(w, op->a), 128);
    uint32_t *d = vg_r(w, op->d);
    for (unsigned l = 0; l < 32; l++) {
        d[l] = h[2 * (l % 4)][l / 4] | (uint32_t)h[2 * (l % 4) + 1][l / 4] << 16;
    }
    return VG_STEP_DONE;
}

enum vg_decoded vg_matrix_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    op->collect = VG_COLL_WARP;
    if (strcmp(in->tok[0], "movmatrix") == 0) {
        if (in->n_op != 2 || !ptx_has(in, "m8n8") || !ptx_has(in, "trans")) {
            vg_dec_fail(dc, in, "movmatrix.sync.aligned.m8n8.trans.b16 is the only form");
            return VG_DEC_BAD;
        }
        op->d = vg_dec_r(dc, &in->op[0]);
        op->a = vg_dec_r(dc, &in->op[1]);
        op->fn = movmatrix;
        op->count = VG_N_WARP_COLLECTIVE;
        return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
    }
    bool load = in->tok[0][0] == 'l';
    struct matrix *x = vg_dec_alloc(dc, sizeof(*x));
    x->n = ptx_has(in, "x4") ? 4 : ptx_has(in, "x2") ? 2 : ptx_has(in, "x1") ? 1 : 0;
    x->trans = ptx_has(in, "trans");
    if (in->n_op != 2 || x->n == 0 || !ptx_has(in, "m8n8") || !ptx_has(in, "b16")) {
        vg_dec_fail(dc, in, "only the forms m8n8.x1, .x2, .x4 of .b16 are supported");
        return VG_DEC_BAD;
    }
    const struct ptx_operand *regs = &in->op[load ? 0 : 1], *at = &in->op[load ? 1 : 0];
    unsigned n;
    x->row = vg_dec_rows(dc, regs, &n);
    x->at = vg_dec_shared(dc, in, at, ptx_has(in, "shared") || ptx_has(in, "shared::cta"));
    if (n != x->n) {
        vg_dec_fail(dc, in, "%u registers for %u matrices", n, x->n);
        return VG_DEC_BAD;
    }
    op->ext = x;
    op->fn = load ? ldmatrix : stmatrix;
    op->count = VG_N_WARP_SHARED;
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}

enum vg_decoded vg_tensor_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    const char *name = in->tok[0];
    if (strcmp(name, "mma") == 0) {
        return vg_mma_decode(dc, in, op);
    }
    if (strcmp(name, "ldmatrix") == 0 || strcmp(name, "stmatrix") == 0 ||
        strcmp(name, "movmatrix") == 0) {
        return vg_matrix_decode(dc, in, op);
    }
    if (strcmp(name, "wgmma") == 0) {
        return vg_wgmma_decode(dc, in, op);
    }
    if (strcmp(name, "wmma") == 0) {
        return vg_wmma_decode(dc, in, op);
    }
    return VG_DEC_NOT_MINE;
}
