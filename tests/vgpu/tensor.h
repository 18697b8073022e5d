// SPDX-License-Identifier: Apache-2.0
// tensor.h - what decode.c, the interpreter and the CTA life cycle call of the tensor and async
// instructions (mma, ldmatrix, stmatrix, wgmma | cp.async, mbarrier, cp.async.bulk, TMA, fences).
#ifndef VG_TENSOR_H
#define VG_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

struct ptx_inst;
struct vg_op;
struct vg_warp;
struct vg_cta;
struct vg_async;

// Fill handler and immediates of op. false: not one of ours, or not supported (decode.c names it).
bool vg_tensor_decode(const struct ptx_inst *inst, struct vg_op *op);
bool vg_async_decode(const struct ptx_inst *inst, struct vg_op *op);

// Queues and barriers of a CTA. The owner keeps the pointer in the CTA (field `async`).
struct vg_async *vg_async_create(struct vg_cta *cta, uint64_t seed, bool eager);
void vg_async_destroy(struct vg_async *a);
// All threads of the CTA have exited: reports transfers in flight and unread sources.
void vg_async_cta_exit(struct vg_cta *cta);
// One line per mbarrier that somebody may wait for and per transfer in flight, for deadlock
// reports.
void vg_async_describe(struct vg_cta *cta, char *buf, unsigned n);

// Registers of unfinished wgmma. The interpreter calls it before an instruction when
// vg_wgmma_live(w) is not 0 and the instruction is none of ours.
uint32_t vg_wgmma_live(const struct vg_warp *w);
void vg_wgmma_check_regs(struct vg_warp *w, const struct vg_op *op);

#endif
