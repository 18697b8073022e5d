// SPDX-License-Identifier: Apache-2.0
// tensor.h - what decode.c calls of the tensor and async instructions: mma, ldmatrix, stmatrix,
// movmatrix, wgmma | cp.async, mbarrier, cp.async.bulk, TMA, fence.proxy, fence.mbarrier_init.
#ifndef VG_TENSOR_H
#define VG_TENSOR_H

#include "decode.h"

enum vg_decoded vg_tensor_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_async_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);

#endif
