// SPDX-License-Identifier: Apache-2.0
//
// order.h - see order.c. Both under the driver's lock.
#ifndef VG_ORDER_H
#define VG_ORDER_H

#include "driver.h"

void vg_order_submitted(struct vg_op *op);
void vg_order_forget(uint64_t addr,
                     uint64_t bytes); // memory was freed, or the host may have synced
// Uses of stream-ordered memory before its allocation or after its free (cu_pool.c).
void vg_pool_submitted(struct vg_op *op);

#endif
