// SPDX-License-Identifier: Apache-2.0
// Which registers an instruction reads and writes; a dataflow pass that finds the reads that may
// come before any write. Only those are checked at run time, lane by lane. And the plain loads
// whose value only serves a compare-and-swap.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dec.h"
#include "warp.h"

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

// Whether the first operand is written.
static bool writes_first(const struct ptx_inst *in)
{
    static const char *const none[] = {
        "st",         "red",           "bra",     "brx",      "call",      "ret",
        "exit",       "trap",          "brkpt",   "membar",   "fence",     "cp",
        "prefetch",   "prefetchu",     "discard", "stmatrix", "nanosleep", "griddepcontrol",
        "setmaxnreg", "applypriority", "pmevent", "multimem"};
    const char *op = in->tok[0];
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        if (is(op, none[i])) {
            return false;
        }
    }
    if (is(op, "wmma")) {
        return !ptx_has(in, "store");
    }
    if (is(op, "bar") || is(op, "barrier")) {
        return ptx_has(in, "red");
    }
    return in->n_op > 0 && in->op[0].kind != PTX_O_ADDR;
}

static unsigned collect(struct vg_dec *dc, const struct ptx_operand *o, bool write,
                        struct vg_use *out, unsigned n, unsigned max, unsigned depth)
{
    if (n + 4 > max || depth > 4) {
        return n;
    }
    if (o->kind == PTX_O_REG) {
        struct vg_dec_reg *r = &dc->reg[o->reg];
        for (unsigned i = 0; r->row != UINT32_MAX && i < (r->twin ? 2u : 1u); i++) {
            out[n++] = (struct vg_use){.row = r->row + i,
                                       .file = r->file,
                                       .write = write,
                                       .name = dc->f->reg[o->reg].name};
        }
    }
    if ((o->kind == PTX_O_REG || o->kind == PTX_O_SINK) && o->reg2 >= 0 &&
        dc->reg[o->reg2].row != UINT32_MAX) {
        out[n++] = (struct vg_use){.row = dc->reg[o->reg2].row,
                                   .file = dc->reg[o->reg2].file,
                                   .write = write,
                                   .name = dc->f->reg[o->reg2].name};
    }
    for (uint32_t i = 0; i < o->n_elem; i++) {
        bool w = write && o->kind != PTX_O_ADDR;
        n = collect(dc, &o->elem[i], w, out, n, max, depth + 1);
    }
    return n;
}

void vg_dec_uses(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    enum { MAX = 1200 };
    struct vg_use use[MAX];
    unsigned n = 0;
    bool writes = writes_first(in), both = is(in->tok[0], "wgmma");
    if (in->guard >= 0 && dc->reg[in->guard].row != UINT32_MAX) {
        use[n++] = (struct vg_use){
            .row = dc->reg[in->guard].row, .file = VG_FILE_P, .name = dc->f->reg[in->guard].name};
    }
    for (unsigned i = 0; i < in->n_op; i++) {
        n = collect(dc, &in->op[i], writes && i == 0, use, n, MAX, 0);
        if (both && i == 0) {
            n = collect(dc, &in->op[i], false, use, n, MAX, 0);
        }
    }
    struct vg_use *kept = vg_dec_alloc(dc, (n + 1) * sizeof(*kept));
    memcpy(kept, use, n * sizeof(*kept));
    op->uses = kept;
    op->n_uses = (uint16_t)n;
}

// ---- dataflow ----

struct flow {
    struct vg_dec *dc;
    uint32_t first, n; // ops
    uint32_t base_d, base_p, bits, words;
    uint64_t *in; // [n][words] surely written before op; ops share a set within a block
    uint8_t *queued;
    uint32_t *queue;
    uint8_t *known;   // op's set is valid
    uint8_t *tracked; // by bit: some read may come first
};

static uint32_t bit_of(const struct flow *f, const struct vg_use *u)
{
    return u->row + (u->file == VG_FILE_D ? f->base_d : u->file == VG_FILE_P ? f->base_p : 0);
}
static bool get(const uint64_t *set, uint32_t bit)
{
    return set[bit / 64] >> (bit % 64) & 1;
}

// A plain move hands its source's state on.
static bool is_move(const struct vg_op *op)
{
    return op->inst && is(op->inst->tok[0], "mov");
}

static bool reads_known(const struct flow *f, const struct vg_op *op, const uint64_t *set)
{
    for (unsigned i = 0; i < op->n_uses; i++) {
        if (!op->uses[i].write && !get(set, bit_of(f, &op->uses[i]))) {
            return false;
        }
    }
    return true;
}

static void apply(const struct flow *f, const struct vg_op *op, uint64_t *set)
{
    bool sure = op->guard == VG_P_TRUE && (!is_move(op) || reads_known(f, op, set));
    for (unsigned i = 0; sure && i < op->n_uses; i++) {
        if (op->uses[i].write) {
            uint32_t b = bit_of(f, &op->uses[i]);
            set[b / 64] |= 1ull << (b % 64);
        }
    }
}

// Merges `set` into the entry of op `to`; queues it when that changes.
static void reach(struct flow *f, uint32_t to, const uint64_t *set, uint32_t *tail)
{
    uint64_t *have = f->in + (size_t)to * f->words;
    bool changed = !f->known[to];
    for (uint32_t i = 0; i < f->words; i++) {
        uint64_t v = f->known[to] ? have[i] & set[i] : set[i];
        changed |= v != have[i];
        have[i] = v;
    }
    f->known[to] = 1;
    if (changed && !f->queued[to]) {
        f->queued[to] = 1;
        f->queue[(*tail)++ % f->n] = to;
    }
}

static bool ends_block(const struct vg_op *op)
{
    const char *t = op->inst ? op->inst->tok[0] : "ret";
    return is(t, "bra") || is(t, "brx") || is(t, "ret") || is(t, "exit") || is(t, "trap");
}

static void solve(struct flow *f, uint64_t *set, const uint8_t *leader)
{
    uint32_t head = 0, tail = 0;
    struct vg_op *ops = f->dc->ops + f->first;
    memset(set, 0, f->words * 8);
    reach(f, 0, set, &tail);
    while (head != tail) {
        uint32_t i = f->queue[head++ % f->n];
        f->queued[i] = 0;
        memcpy(set, f->in + (size_t)i * f->words, f->words * 8);
        for (;;) {
            struct vg_op *op = &ops[i];
            apply(f, op, set);
            const char *t = op->inst ? op->inst->tok[0] : "ret";
            if (ends_block(op)) {
                if (is(t, "bra")) {
                    reach(f, (uint32_t)op->imm - f->first, set, &tail);
                } else if (is(t, "brx")) {
                    for (unsigned k = 0; k < op->n_x; k++) {
                        reach(f, op->x[k] - f->first, set, &tail);
                    }
                }
                if (op->guard != VG_P_TRUE && i + 1 < f->n) {
                    reach(f, i + 1, set, &tail);
                }
                break;
            }
            if (++i >= f->n) {
                break;
            }
            if (leader[i]) {
                reach(f, i, set, &tail);
                break;
            }
        }
    }
}

// Walks every block once more: notes doubtful reads (mark 0), then marks the ops (mark 1).
static void mark(struct flow *f, uint64_t *set, const uint8_t *leader, bool ops_too)
{
    struct vg_op *ops = f->dc->ops + f->first;
    bool live = false;
    for (uint32_t i = 0; i < f->n; i++) {
        if (leader[i]) {
            live = f->known[i];
            if (live) {
                memcpy(set, f->in + (size_t)i * f->words, f->words * 8);
            }
        }
        if (!live) {
            continue;
        }
        struct vg_op *op = &ops[i];
        for (unsigned k = 0; k < op->n_uses; k++) {
            uint32_t b = bit_of(f, &op->uses[k]);
            if (!ops_too && !op->uses[k].write && !get(set, b)) {
                f->tracked[b] = 1;
            }
            op->uses[k].tracked = ops_too && f->tracked[b];
            op->checked |= op->uses[k].tracked;
        }
        apply(f, op, set);
        if (ends_block(op) && op->guard == VG_P_TRUE) {
            live = false;
        }
    }
}

// A move of a tracked register makes its destination tracked.
static void spread(struct flow *f)
{
    struct vg_op *ops = f->dc->ops + f->first;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < f->n; i++) {
            bool from = false;
            for (unsigned k = 0; is_move(&ops[i]) && k < ops[i].n_uses; k++) {
                from |= !ops[i].uses[k].write && f->tracked[bit_of(f, &ops[i].uses[k])];
            }
            for (unsigned k = 0; from && k < ops[i].n_uses; k++) {
                uint32_t b = bit_of(f, &ops[i].uses[k]);
                changed |= !f->tracked[b];
                f->tracked[b] = 1;
            }
        }
    }
}

void vg_dec_flow(struct vg_dec *dc, uint32_t first)
{
    struct flow f = {.dc = dc, .first = first, .n = dc->n_ops - first};
    f.base_d = dc->frame.n_r;
    f.base_p = f.base_d + dc->frame.n_d;
    f.bits = f.base_p + dc->frame.n_p;
    f.words = (f.bits + 63) / 64;
    f.in = calloc(f.n + 1, f.words * 8);
    f.queued = calloc(f.n + 1, 1);
    f.queue = calloc(f.n + 1, sizeof(*f.queue));
    f.known = calloc(f.n + 1, 1);
    f.tracked = calloc(f.bits + 1, 1);
    uint8_t *leader = calloc(f.n + 1, 1);
    uint64_t *set = calloc(f.words + 1, 8);
    if (!f.in || !f.queued || !f.queue || !f.known || !f.tracked || !leader || !set) {
        abort();
    }
    struct vg_op *ops = dc->ops + first;
    leader[0] = 1;
    for (uint32_t i = 0; i < f.n; i++) {
        if (!ops[i].inst || !ends_block(&ops[i])) {
            continue;
        }
        leader[i + 1] = 1;
        if (is(ops[i].inst->tok[0], "bra")) {
            leader[ops[i].imm - first] = 1;
        } else if (is(ops[i].inst->tok[0], "brx")) {
            for (unsigned k = 0; k < ops[i].n_x; k++) {
                leader[ops[i].x[k] - first] = 1;
            }
        }
    }
    solve(&f, set, leader);
    mark(&f, set, leader, false);
    spread(&f);
    mark(&f, set, leader, true);
    for (uint32_t i = 0; i < f.n; i++) {
        ops[i].slow = ops[i].checked || ops[i].collect != VG_COLL_NONE;
    }
    free(f.in);
    free(f.queued);
    free(f.queue);
    free(f.known);
    free(f.tracked);
    free(leader);
    free(set);
}

// ---- loads before a compare-and-swap ----

// "old = *p; do { assumed = old; old = atomicCAS(p, assumed, f(assumed)); } ...": the headers of
// the toolkit read the word plainly. Whatever that read returns, a wrong value only fails the
// exchange, so the load counts as an atomic one: it races with plain writes, not with other
// exchanges.

static bool same_address(const struct ptx_operand *a, const struct ptx_operand *b)
{
    return a->kind == PTX_O_ADDR && b->kind == PTX_O_ADDR && a->elem[0].kind == b->elem[0].kind &&
           a->elem[0].kind == PTX_O_REG && a->elem[0].reg == b->elem[0].reg &&
           a->elem[0].offset == b->elem[0].offset && a->offset == b->offset;
}

void vg_dec_cas_loads(struct vg_dec *dc, uint32_t first)
{
    uint8_t *feeds = calloc(dc->f->n_reg + 1u, 1); // registers that become the compared value
    if (!feeds) {
        abort();
    }
    for (uint32_t i = first; i < dc->n_ops; i++) {
        const struct ptx_inst *cas = dc->ops[i].inst;
        if (!cas || !is(cas->tok[0], "atom") || !ptx_has(cas, "cas") || cas->n_op < 4 ||
            cas->op[2].kind != PTX_O_REG) {
            continue;
        }
        memset(feeds, 0, dc->f->n_reg);
        feeds[cas->op[2].reg] = 1;
        for (bool changed = true; changed;) {
            changed = false;
            for (uint32_t k = first; k < dc->n_ops; k++) {
                const struct ptx_inst *in = dc->ops[k].inst;
                if (in && is(in->tok[0], "mov") && in->op[0].kind == PTX_O_REG &&
                    in->op[1].kind == PTX_O_REG && feeds[in->op[0].reg] && !feeds[in->op[1].reg]) {
                    feeds[in->op[1].reg] = 1;
                    changed = true;
                }
            }
        }
        for (uint32_t k = first; k < dc->n_ops; k++) {
            const struct ptx_inst *in = dc->ops[k].inst;
            if (in && is(in->tok[0], "ld") && dc->ops[k].aux == VG_LOAD && in->n_op == 2 &&
                in->op[0].kind == PTX_O_REG && feeds[in->op[0].reg] &&
                same_address(&in->op[1], &cas->op[1])) {
                dc->ops[k].aux = VG_LOAD_STRONG;
            }
        }
    }
    free(feeds);
}
