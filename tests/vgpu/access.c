// SPDX-License-Identifier: Apache-2.0
#include "access.h"

#include <string.h>

#include "chk.h"
#include "dec.h"
#include "exec.h"
#include "mem.h"

static bool bad(struct vg_warp *w, enum vg_kind kind, unsigned lane, const char *what,
                uint64_t addr)
{
    struct vg_where at;
    vg_where_now(w, (int)lane, &at);
    vg_finding(kind, &at, "%s at 0x%llx", what, (unsigned long long)addr);
    return false;
}

static bool touch_global(struct vg_warp *w, const struct vg_touch *t, const uint64_t addr[32],
                         uint32_t m, uint64_t host[32])
{
    unsigned checks = w->cta->grid->launch->checks;
    if (checks) {
        bool released = false;
        if (t->strong && (checks & VG_CHECK_RACE)) {
            released =
                vg_sync_atomic_global(w, addr, m, t->reads, t->writes, t->acquire, t->release);
        }
        if (!vg_check_global(w, addr, m, t->bytes, t->kind)) {
            return false;
        }
        if (released) { // only now: who acquires it knows of the releasing write itself too
            vg_clock_tick(w);
        }
    }
    if (host != addr) {
        for (uint32_t k = m; k; k &= k - 1) {
            unsigned l = vg_first(k);
            host[l] = addr[l];
        }
    }
    return true;
}

static bool touch_shared_of(struct vg_warp *w, const struct vg_touch *t, struct vg_cta *c,
                            const uint32_t off[32], uint32_t m, uint64_t host[32])
{
    unsigned checks = w->cta->grid->launch->checks;
    if (checks) {
        if (t->strong && (checks & VG_CHECK_RACE)) {
            vg_sync_atomic_shared(w, c, off, m, t->reads, t->writes, t->acquire, t->release);
        }
        if (!vg_check_shared(w, c, off, m, t->bytes, t->kind)) {
            return false;
        }
    } else { // never outside the block, whatever is checked
        for (uint32_t k = m; k; k &= k - 1) {
            unsigned l = vg_first(k);
            if (off[l] > c->smem_bytes || t->bytes > c->smem_bytes - off[l]) {
                return bad(w, VG_OUT_OF_BOUNDS, l, "shared access", off[l]);
            }
        }
    }
    for (int l = 0; l < 32; l++) {
        host[l] = (uint64_t)(uintptr_t)c->smem + off[l];
    }
    return true;
}

static bool touch_shared(struct vg_warp *w, const struct vg_touch *t, const uint64_t addr[32],
                         uint32_t m, uint64_t host[32])
{
    uint32_t off[32], far = 0;
    for (int l = 0; l < 32; l++) {
        off[l] = (uint32_t)addr[l] - VG_SMEM_BASE;
        far |= addr[l] >> 24 ? 1u << l : 0;
    }
    if (!(far & m)) {
        return touch_shared_of(w, t, w->cta, off, m, host);
    }
    for (uint32_t left = m; left;) {
        struct vg_cta *c = NULL;
        uint32_t same = 0;
        for (uint32_t k = left; k; k &= k - 1) {
            unsigned l = vg_first(k);
            uint32_t o;
            struct vg_cta *mine = vg_shared_target(w->cta, (uint32_t)addr[l], &o);
            if (!mine || addr[l] >> 32) {
                return bad(w, VG_OUT_OF_BOUNDS, l, "shared access", addr[l]);
            }
            if (!c || c == mine) {
                c = mine;
                same |= 1u << l;
                off[l] = o;
            }
        }
        uint64_t part[32];
        if (!c || !touch_shared_of(w, t, c, off, same, part)) {
            return false;
        }
        for (uint32_t k = same; k; k &= k - 1) {
            host[vg_first(k)] = part[vg_first(k)];
        }
        left &= ~same;
    }
    return true;
}

static bool touch_local(struct vg_warp *w, const struct vg_touch *t, const uint64_t addr[32],
                        uint32_t m, uint64_t host[32])
{
    const struct vg_grid *g = w->cta->grid;
    bool check = g->launch->checks & VG_CHECK_BOUNDS;
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        uint64_t off = addr[l] - VG_LOCAL_BASE;
        if (off > g->local_stride || t->bytes > g->local_stride - off) {
            return bad(w, VG_OUT_OF_BOUNDS, l, "local access", addr[l]);
        }
        uint64_t at = (uint64_t)l * g->local_stride + off;
        if (check) {
            if (addr[l] % t->bytes) {
                return bad(w, VG_MISALIGNED, l, "local access", addr[l]);
            }
            uint8_t *s = w->local_shadow + at;
            if (t->reads) {
                for (unsigned i = 0; i < t->bytes; i++) {
                    if (!s[i]) {
                        return bad(w, VG_UNINITIALISED, l, "local memory read before it is written",
                                   addr[l]);
                    }
                }
            }
            if (t->writes) {
                memset(s, 1, t->bytes);
            }
        }
        host[l] = (uint64_t)(uintptr_t)w->local0 + at;
    }
    return true;
}

bool vg_touch(struct vg_warp *w, const struct vg_touch *t, uint64_t addr[32], uint32_t m,
              uint64_t host[32])
{
    switch (t->space) {
    case PTX_GLOBAL:
    case PTX_CONST:
        return touch_global(w, t, addr, m, host);
    case PTX_SHARED:
    case PTX_SHARED_CLUSTER:
        return touch_shared(w, t, addr, m, host);
    case PTX_LOCAL:
        return touch_local(w, t, addr, m, host);
    default:
        break;
    }
    uint32_t window = 0;
    for (int l = 0; l < 32; l++) {
        window |= addr[l] - vg_window < VG_WINDOW_BYTES ? 1u << l : 0;
    }
    window &= m;
    if (!window) {
        return touch_global(w, t, addr, m, host);
    }
    uint32_t shared = 0;
    uint64_t inner[32];
    for (uint32_t k = window; k; k &= k - 1) {
        unsigned l = vg_first(k);
        uint64_t off = addr[l] - vg_window;
        shared |= off < VG_WINDOW_LOCAL ? 1u << l : 0;
        inner[l] = off < VG_WINDOW_LOCAL ? off : off - VG_WINDOW_LOCAL;
    }
    for (uint32_t k = ~shared; k; k &= k - 1) { // touch_shared looks at every lane's window
        unsigned l = vg_first(k);
        inner[l] = window & 1u << l ? inner[l] : VG_SMEM_BASE;
    }
    uint32_t local = window & ~shared, global = m & ~window;
    return (!shared || touch_shared(w, t, inner, shared, host)) &&
           (!local || touch_local(w, t, inner, local, host)) &&
           (!global || touch_global(w, t, addr, global, host));
}

uint8_t *vg_host_ptr(struct vg_warp *w, uint64_t addr, uint64_t bytes, unsigned lane)
{
    const struct vg_grid *g = w->cta->grid;
    if (vg_is_local(addr)) {
        uint64_t off = addr - vg_window - VG_WINDOW_LOCAL - VG_LOCAL_BASE;
        return off <= g->local_stride && bytes <= g->local_stride - off
                   ? w->local0 + (uint64_t)lane * g->local_stride + off
                   : NULL;
    }
    if (vg_is_shared(addr)) {
        uint32_t off;
        struct vg_cta *c = vg_shared_target(w->cta, (uint32_t)(addr - vg_window), &off);
        return c && off <= c->smem_bytes && bytes <= c->smem_bytes - off ? c->smem + off : NULL;
    }
    uint64_t base, n;
    int device;
    if (!vg_mem_find(addr, &base, &n, &device) || bytes > n - (addr - base)) {
        return NULL;
    }
    return (uint8_t *)(uintptr_t)addr; // NOLINT: device addresses are host addresses
}

enum ptx_space vg_space_of(const struct ptx_inst *in)
{
    for (unsigned i = 1; i < in->n_tok; i++) {
        static const struct {
            const char *name;
            enum ptx_space space;
        } rows[] = {{"global", PTX_GLOBAL},      {"shared", PTX_SHARED},
                    {"shared::cta", PTX_SHARED}, {"shared::cluster", PTX_SHARED_CLUSTER},
                    {"local", PTX_LOCAL},        {"const", PTX_CONST},
                    {"param", PTX_PARAM},        {"param::entry", PTX_PARAM},
                    {"param::func", PTX_PARAM}};
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
            if (strcmp(rows[k].name, in->tok[i]) == 0) {
                return rows[k].space;
            }
        }
    }
    return PTX_GENERIC;
}
