// SPDX-License-Identifier: Apache-2.0
// access.h - from lane addresses of any state space to checked host pointers.
#ifndef VG_ACCESS_H
#define VG_ACCESS_H

#include "check.h"
#include "ptx.h"
#include "warp.h"

struct vg_touch { // one access of a warp
    enum ptx_space space;
    enum vg_access kind;
    unsigned bytes; // per lane
    bool reads, writes, strong, acquire, release;
};

// addr: lane addresses in the space. host: where the lanes' bytes lie. False: fault, reported.
bool vg_touch(struct vg_warp *w, const struct vg_touch *t, uint64_t addr[32], uint32_t m,
              uint64_t host[32]);

// Spaces and orders that an ld, st, atom or red names.
enum ptx_space vg_space_of(const struct ptx_inst *in);

#endif
