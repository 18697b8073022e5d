// SPDX-License-Identifier: Apache-2.0
// One warp: groups of lanes with one pc run until they block, exit or have had their share. The
// group with the lowest pc goes first, groups that meet become one again; callees stand before
// callers, so they return before their callers go on.
#include "exec.h"

#include <string.h>

#include "check.h"
#include "run.h"
#include "warp.h"

// ---- frames ----

void vg_set_frame(struct vg_warp *w)
{
    const struct vg_program *p = w->cta->grid->program;
    const struct vg_frame *k = &p->code[p->n_code - 1].frame, *c = &p->callee;
    size_t up = w->depth ? w->depth - 1 : 0, in = w->depth ? 1 : 0;
    w->r = w->r0 + (in * k->n_r + up * c->n_r) * 32;
    w->d = w->d0 + (in * k->n_d + up * c->n_d) * 32;
    w->p = w->p0 + in * k->n_p + up * c->n_p;
}

uint32_t vg_local_base(const struct vg_warp *w)
{
    const struct vg_program *p = w->cta->grid->program;
    return w->depth
               ? p->code[p->n_code - 1].frame.local_bytes + (w->depth - 1) * p->callee.local_bytes
               : 0;
}

uint8_t *vg_param_ptr(const struct vg_warp *w, unsigned lane, uint32_t depth)
{
    const struct vg_program *p = w->cta->grid->program;
    uint32_t at =
        depth ? p->code[p->n_code - 1].frame.param_bytes + (depth - 1) * p->callee.param_bytes : 0;
    return w->param0 + (size_t)lane * w->cta->grid->param_stride + at;
}

void vg_fill_consts(struct vg_warp *w, const struct vg_code *code, uint32_t depth, uint32_t mask)
{
    struct vg_warp f = *w; // for its pointers
    f.depth = depth;
    vg_set_frame(&f);
    for (uint32_t i = 0; i < code->n_c32; i++) {
        uint32_t v = code->c32[i].is_dyn ? VG_SMEM_BASE + w->cta->dyn_offset : code->c32[i].value;
        uint32_t *row = vg_r(&f, code->c32[i].row);
        if (mask == ~0u) {
            for (int l = 0; l < 32; l++) {
                row[l] = v;
            }
            continue;
        }
        for (uint32_t k = mask; k; k &= k - 1) {
            row[vg_first(k)] = v;
        }
    }
    for (uint32_t i = 0; i < code->n_c64; i++) {
        uint64_t *row = vg_d(&f, code->c64[i].row);
        if (mask == ~0u) {
            for (int l = 0; l < 32; l++) {
                row[l] = code->c64[i].value;
            }
            continue;
        }
        for (uint32_t k = mask; k; k &= k - 1) {
            row[vg_first(k)] = code->c64[i].value;
        }
    }
    vg_p_set(&f, VG_P_TRUE, ~0u, mask);
    vg_p_set(&f, VG_P_FALSE, 0, mask);
    size_t r = (size_t)(f.r - w->r0) / 32, d = (size_t)(f.d - w->d0) / 32,
           p = (size_t)(f.p - w->p0);
    for (uint32_t i = 0; i < code->frame.n_r; i++) {
        w->def_r[r + i] &= ~mask;
    }
    for (uint32_t i = 0; i < code->frame.n_d; i++) {
        w->def_d[d + i] &= ~mask;
    }
    for (uint32_t i = 0; i < code->frame.n_p; i++) {
        w->def_p[p + i] &= ~mask;
    }
}

void vg_where_now(const struct vg_warp *w, int lane, struct vg_where *out)
{
    vg_where_at(w, w->pc, lane, out);
}

void vg_where_at(const struct vg_warp *w, uint32_t pc, int lane, struct vg_where *out)
{
    const struct ptx_inst *in = pc < w->cta->grid->program->n_ops ? w->ops[pc].inst : NULL;
    *out = (struct vg_where){.kernel = w->cta->grid->launch->kernel->name,
                             .warp = w->id,
                             .lane = lane,
                             .cta = {w->cta->id[0], w->cta->id[1], w->cta->id[2]}};
    if (in) {
        out->line = in->line;
        out->ptx_line = in->ptx_line;
        out->file = vg_module_file(w->cta->grid->launch->kernel->module, in->file);
    }
}

// ---- groups ----

void vg_park(struct vg_warp *w)
{
    for (uint32_t k = w->active; k; k &= k - 1) {
        unsigned l = vg_first(k);
        w->lane_pc[l] = w->pc;
        w->lane_depth[l] = w->depth;
    }
    w->active = 0;
}

// Chooses the next group among lanes that may run. False: there is none.
static bool choose(struct vg_warp *w)
{
    uint32_t may = w->live & ~w->blocked;
    if (!may) {
        return false;
    }
    unsigned best = vg_first(may);
    bool stir = (++w->stirs & 63) == 0;
    if (w->cta->grid->launch->checks & VG_CHECK_SCHED) {
        stir |= (vg_random(&w->rng) & 15) == 0;
    }
    if (stir) { // else lanes that spin at a low pc could starve those they wait for
        unsigned skip = (unsigned)vg_random(&w->rng) % (unsigned)__builtin_popcount(may);
        uint32_t k = may;
        while (skip--) {
            k &= k - 1;
        }
        best = vg_first(k);
    } else { // lowest pc first, then the deepest call
        uint64_t least = UINT64_MAX;
        for (unsigned l = 0; l < 32; l++) {
            uint64_t key = (uint64_t)w->lane_pc[l] << 32 | (~w->lane_depth[l] << 5) | l;
            key = may >> l & 1 ? key : UINT64_MAX;
            least = key < least ? key : least;
        }
        best = (unsigned)(least & 31);
    }
    uint32_t pc = w->lane_pc[best], depth = w->lane_depth[best], group = 0, limit = UINT32_MAX;
    for (unsigned l = 0; l < 32; l++) {
        uint32_t at = w->lane_pc[l];
        group |= (uint32_t)(at == pc && w->lane_depth[l] == depth) << l;
        at = (w->live >> l & 1) && at > pc ? at : UINT32_MAX;
        limit = at < limit ? at : limit;
    }
    group &= w->live;
    w->active = group;
    w->blocked &= ~group;
    w->pc = pc;
    w->limit = limit;
    if (w->depth != depth) {
        w->depth = depth;
        vg_set_frame(w);
    }
    return true;
}

// ---- definedness ----

static uint32_t *defined(struct vg_warp *w, const struct vg_use *u)
{
    switch ((enum vg_file)u->file) {
    case VG_FILE_R:
        return w->def_r + (size_t)(w->r - w->r0) / 32 + u->row;
    case VG_FILE_D:
        return w->def_d + (size_t)(w->d - w->d0) / 32 + u->row;
    default:
        return w->def_p + (size_t)(w->p - w->p0) + u->row;
    }
}

static void check_defined(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    bool move = op->inst && strcmp(op->inst->tok[0], "mov") == 0;
    uint32_t all = ~0u;
    for (unsigned i = 0; i < op->n_uses; i++) {
        const struct vg_use *u = &op->uses[i];
        if (u->write || !u->tracked) {
            continue;
        }
        uint32_t *def = defined(w, u), missing = m & ~*def;
        all &= *def;
        if (missing && !move) {
            struct vg_where at;
            vg_where_now(w, (int)vg_first(missing), &at);
            vg_finding(VG_UNINITIALISED, &at, "register %s read before it was written", u->name);
            *def |= missing;
        }
    }
    for (unsigned i = 0; i < op->n_uses; i++) {
        if (op->uses[i].write && op->uses[i].tracked) {
            uint32_t *def = defined(w, &op->uses[i]);
            *def = move ? (*def & ~m) | (all & m) : *def | m;
        }
    }
}

// ---- collectives ----

static int block_some(struct vg_warp *w, uint32_t blocked)
{
    uint32_t done = w->active & ~blocked, pc = w->pc;
    vg_park(w);
    for (uint32_t k = done; k; k &= k - 1) {
        w->lane_pc[vg_first(k)] = pc + 1;
    }
    w->blocked |= blocked;
    return VG_STEP_JUMP;
}

static int gather(struct vg_warp *w, const struct vg_op *op, uint32_t m, bool *did)
{
    if (op->collect == VG_COLL_WARP) {
        if (w->live & ~m) {
            *did |= (w->active & ~m) != 0;
            return block_some(w, m);
        }
        return op->fn(w, op, m);
    }
    const uint32_t *member = vg_r(w, op->member);
    uint32_t waiting = 0;
    for (uint32_t left = m; left;) {
        uint32_t want = member[vg_first(left)], same = 0;
        for (uint32_t k = left; k; k &= k - 1) {
            same |= member[vg_first(k)] == want ? 1u << vg_first(k) : 0;
        }
        left &= ~same;
        if (same & ~want) {
            struct vg_where at;
            vg_where_now(w, (int)vg_first(same & ~want), &at);
            vg_finding(VG_COLLECTIVE, &at, "executing lane is not in its own member mask 0x%08x",
                       want);
            return VG_STEP_FAULT;
        }
        if (want & w->live & ~same) {
            waiting |= same;
            continue;
        }
        int s = op->fn(w, op, same);
        if (s == VG_STEP_BLOCK) {
            waiting |= same;
        } else if (s != VG_STEP_DONE) {
            return s;
        } else {
            *did = true;
        }
    }
    *did |= (w->active & ~m) != 0;
    return waiting ? block_some(w, waiting) : VG_STEP_DONE;
}

static int step_slow(struct vg_warp *w, const struct vg_op *op, uint32_t m, bool *did)
{
    if (op->checked && (w->cta->grid->launch->checks & VG_CHECK_BOUNDS)) {
        check_defined(w, op, m);
    }
    if (w->watch && !vg_watch_touch(w, op, m)) {
        return VG_STEP_FAULT;
    }
    return op->collect == VG_COLL_NONE ? op->fn(w, op, m) : gather(w, op, m, did);
}

// ---- the loop ----

enum vg_run vg_warp_run(struct vg_warp *w, struct vg_counts *counts)
{
    const struct vg_op *const ops = w->ops;
    uint64_t thread_ops = 0, n_ops = 0;
    bool did = false, useful = false;
    enum vg_run result = VG_RUN_YIELD;
    unsigned waiters = 0;
    w->wait_on = NULL;
    w->blocked = 0;
    vg_park(w);
    if (!choose(w)) {
        return VG_RUN_DONE;
    }
    for (;;) {
        const struct vg_op *op = &ops[w->pc];
        uint32_t m = w->active & (w->p[op->guard] ^ op->guard_xor);
        int s = VG_STEP_DONE;
        n_ops++;
        if (m) {
            thread_ops += m == ~0u ? 32 : (unsigned)__builtin_popcount(m);
            counts->n[op->count]++;
            if (__builtin_expect(op->slow || w->watch != NULL, 0)) {
                w->n_ops = w->n_ops + n_ops;
                n_ops = 0;
                s = step_slow(w, op, m, &did);
            } else {
                s = op->fn(w, op, m);
            }
        }
        if (__builtin_expect(s == VG_STEP_DONE, 1)) {
            did = true;
            w->pc++;
            if (__builtin_expect(w->pc < w->limit, 1)) {
                continue;
            }
            vg_park(w);
        } else if (s == VG_STEP_JUMP) {
            if (w->active) {
                did = true;
                if (w->budget == 0) {
                    break;
                }
                if (w->limit == UINT32_MAX) {
                    continue;
                }
                vg_park(w);
            } else if (op->collect == VG_COLL_NONE) {
                did = true;
            }
        } else if (s == VG_STEP_YIELD) {
            useful = true;
            w->polls++;
            w->pc++;
            vg_park(w);
            break;
        } else if (s == VG_STEP_BLOCK) {
            did |= (w->active & ~m) != 0;
            thread_ops -= (unsigned)__builtin_popcount(m);
            if (waiters++) {
                w->wait_on = NULL; // two groups wait for two events: poll
            }
            block_some(w, m);
        } else {
            result = VG_RUN_FAULT;
            break;
        }
        if (!w->live) {
            result = VG_RUN_DONE;
            break;
        }
        if (w->budget == 0) {
            break;
        }
        useful |= did;
        if (!choose(w)) { // all wait: once more if something has changed meanwhile
            if (!did) {
                result = useful ? VG_RUN_YIELD : VG_RUN_BLOCKED;
                break;
            }
            did = false;
            w->blocked = 0;
            w->wait_on = NULL;
            waiters = 0;
            if (!choose(w)) {
                result = VG_RUN_BLOCKED;
                break;
            }
        }
    }
    if (result == VG_RUN_YIELD && w->blocked != w->live) {
        w->wait_on = NULL; // some group can run
    }
    w->n_ops += n_ops;
    counts->n[VG_N_THREAD_INST] += thread_ops;
    return result;
}
