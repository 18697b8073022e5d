// SPDX-License-Identifier: Apache-2.0
// sync.h - barriers of the CTA and of the cluster.
#ifndef VG_SYNC_H
#define VG_SYNC_H

#include "dec.h"

bool vg_dec_barrier(struct vg_dec *dc); // bar.*, barrier.*

#endif
