// SPDX-License-Identifier: Apache-2.0
//
// facts.h - what the virtual devices say of themselves: the numbers of an A100 SXM 80 GB and of an
// H100 SXM 80 GB, as the CUDA programming guide and cudaDeviceProp print them.
#ifndef VG_FACTS_H
#define VG_FACTS_H

#include <stdint.h>

struct vg_facts {
    const char *arch; // value of VGPU_ARCH
    const char *name;
    int cc_major, cc_minor;
    int sms;
    int smem_per_sm, smem_optin; // bytes; optin: the most one block can have
    int max_blocks_per_sm;
    int max_cluster; // portable; 0: no clusters
    int l2_bytes, persisting_l2_bytes;
    int clock_khz, memory_clock_khz, bus_bits;
    int mem_sync_domains;
    uint64_t memory_bytes; // of the real one
};

// By the value of VGPU_ARCH; NULL: unknown.
const struct vg_facts *vg_facts_find(const char *arch);
// -1: no such attribute. `attribute` is a CUdevice_attribute.
int vg_facts_attribute(const struct vg_facts *f, int ordinal, int attribute, int *value);

#endif
