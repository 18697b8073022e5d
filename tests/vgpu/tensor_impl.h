// SPDX-License-Identifier: Apache-2.0
// tensor_impl.h - shared by mma.c, ldmatrix.c, wgmma.c.
#ifndef VG_TENSOR_IMPL_H
#define VG_TENSOR_IMPL_H

#include "chk.h"
#include "tcore.h"
#include "tensor.h"

enum vg_decoded vg_mma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_matrix_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_wmma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_wgmma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);

// All 32 lanes are here; else a finding.
bool vg_tc_whole_warp(struct vg_warp *w, uint32_t mask, const char *what);
// "m16n8k32"; false: not a shape.
bool vg_tc_shape(const char *tok, unsigned *m, unsigned *n, unsigned *k);
const uint32_t *vg_tc_rows64(struct vg_dec *dc, const struct ptx_operand *o, unsigned *n);
// Appends the type tokens of the spelling: ".f32.bf16.bf16.f32".
void vg_tc_name_types(const struct ptx_inst *in, char *name, unsigned n);

// ---- shared-memory addresses of any spelling ----
struct vg_sh_addr {
    struct vg_addr at;
    bool generic;
};
struct vg_sh_addr vg_dec_shared(struct vg_dec *dc, const struct ptx_inst *in,
                                const struct ptx_operand *o, bool has_space);
// CTA and offset for one lane; false: no shared memory there (the finding is reported).
bool vg_sh_lane(struct vg_warp *w, struct vg_sh_addr a, unsigned lane, struct vg_cta **t,
                uint32_t *off);
// The same for all lanes of mask, which must lie in one CTA.
bool vg_sh_lanes(struct vg_warp *w, struct vg_sh_addr a, uint32_t mask, struct vg_cta **t,
                 uint32_t off[32]);

#endif
