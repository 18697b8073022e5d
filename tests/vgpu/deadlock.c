// SPDX-License-Identifier: Apache-2.0
// Who waits where, when nothing moves any more.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "run.h"

struct text {
    char buf[3000];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int k = vsnprintf(t->buf + t->n, sizeof(t->buf) - t->n, fmt, ap);
    va_end(ap);
    t->n += k > 0 ? (size_t)k : 0;
    t->n = t->n < sizeof(t->buf) ? t->n : sizeof(t->buf) - 1;
}

static bool is_barrier(const struct ptx_inst *in)
{
    return strcmp(in->tok[0], "bar") == 0 || strcmp(in->tok[0], "barrier") == 0;
}

// Groups of a warp, one line each. Returns what is wrong with the warp itself, VG_DEADLOCK:
// nothing.
static enum vg_kind add_warp(struct text *t, const struct vg_warp *w, struct vg_where *first)
{
    enum vg_kind kind = VG_DEADLOCK;
    unsigned groups = 0;
    bool gathering = false, barrier = false;
    struct vg_warp copy = *w;
    vg_park(&copy);
    for (uint32_t left = w->live; left;) {
        unsigned l = vg_first(left);
        uint32_t pc = copy.lane_pc[l], same = 0;
        for (uint32_t k = left; k; k &= k - 1) {
            same |= copy.lane_pc[vg_first(k)] == pc ? 1u << vg_first(k) : 0;
        }
        left &= ~same;
        struct vg_where at;
        vg_where_at(w, pc, (int)l, &at);
        if (!first->kernel) {
            *first = at;
        }
        const struct vg_op *op = &w->ops[pc];
        char spelling[96] = "the end";
        if (op->inst) {
            ptx_spell(op->inst, spelling, sizeof(spelling));
            gathering |= op->collect != VG_COLL_NONE;
            barrier |= is_barrier(op->inst);
        }
        add(t, "\n  CTA (%u,%u,%u) warp %u lanes 0x%08x at %s, %s:%u (PTX line %u)", w->cta->id[0],
            w->cta->id[1], w->cta->id[2], w->id, same, spelling, at.file ? at.file : "?", at.line,
            at.ptx_line);
        groups++;
    }
    if (groups > 1 && gathering) {
        kind = barrier ? VG_BARRIER : VG_COLLECTIVE;
    }
    return kind;
}

void vg_report_deadlock(struct vg_cta *const cta[], unsigned n, const char *why)
{
    struct text t = {.n = 0};
    struct vg_where first = {0};
    enum vg_kind kind = VG_DEADLOCK;
    unsigned shown = 0;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < cta[i]->n_warps; k++) {
            const struct vg_warp *w = &cta[i]->warps[k];
            if (!w->live || shown > 40) {
                continue;
            }
            enum vg_kind of = add_warp(&t, w, &first);
            kind = kind == VG_DEADLOCK ? of : kind;
            shown++;
        }
        char async[500] = "";
        vg_chk_cta_describe(cta[i], async, sizeof(async));
        if (async[0]) {
            add(&t, "\n  CTA (%u,%u,%u): %s", cta[i]->id[0], cta[i]->id[1], cta[i]->id[2], async);
        }
    }
    vg_finding(kind, &first, "%s%s:%s",
               kind == VG_DEADLOCK  ? ""
               : kind == VG_BARRIER ? "lanes of one warp wait at different places for a barrier; "
                                    : "lanes of one warp wait for others that are elsewhere; ",
               why, t.buf);
}
