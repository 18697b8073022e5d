// SPDX-License-Identifier: Apache-2.0
//
// Random programs of kernels, copies, memsets, events and waits over three streams: a stream-order
// finding is made exactly when the program has a race, as a model of sets says: each operation
// knows the operations before it, and two that touch a common byte without knowing of each other
// race if one of them writes.
#include "cu_test.h"

enum { STREAMS = 3, EVENTS = 3, STEPS = 40, ELEMS = 512, PROGRAMS = 600 };

struct model_op {
    uint64_t knows; // bit per operation
    int n_ranges;
    struct {
        unsigned at, n; // elements
        bool writes;
    } range[2];
};

struct model {
    struct model_op op[STEPS];
    int n_ops;
    uint64_t stream[STREAMS], event[EVENTS], host;
    bool race;
};

static uint64_t state;
static unsigned pick(unsigned below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % below;
}

static void touch(struct model_op *o, unsigned at, unsigned n, bool writes)
{
    o->range[o->n_ranges].at = at;
    o->range[o->n_ranges].n = n;
    o->range[o->n_ranges++].writes = writes;
}

static bool meet(const struct model_op *a, const struct model_op *b)
{
    for (int i = 0; i < a->n_ranges; i++) {
        for (int k = 0; k < b->n_ranges; k++) {
            if (a->range[i].at < b->range[k].at + b->range[k].n &&
                b->range[k].at < a->range[i].at + a->range[i].n &&
                (a->range[i].writes || b->range[k].writes)) {
                return true;
            }
        }
    }
    return false;
}

static void submit(struct model *m, unsigned s, struct model_op o)
{
    o.knows = m->stream[s] | m->host;
    for (int i = 0; i < m->n_ops; i++) {
        m->race |= (o.knows >> i & 1) == 0 && meet(&m->op[i], &o);
    }
    m->stream[s] = o.knows | UINT64_C(1) << m->n_ops;
    m->op[m->n_ops++] = o;
}

// 0: finding and model agree; 1, 2: which of them says there is a race; + 4 if there is one.
static int program(unsigned long seed)
{
    state = seed * 77 + 5;
    cu_is_child = true;
    OK(cu.cuInit(0));
    CUcontext ctx = NULL;
    OK(cu.cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cu.cuCtxSetCurrent(ctx));
    struct cu_kernels k = cu_kernels();
    CUstream s[STREAMS];
    CUevent e[EVENTS];
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, ELEMS * 4));
    OK(cu.cuMemsetD32(p, 0, ELEMS));
    for (int i = 0; i < STREAMS; i++) {
        OK(cu.cuStreamCreate(&s[i], CU_STREAM_NON_BLOCKING));
    }
    for (int i = 0; i < EVENTS; i++) {
        OK(cu.cuEventCreate(&e[i], CU_EVENT_DISABLE_TIMING));
    }
    OK(cu.cuCtxSynchronize());
    struct model m = {.n_ops = 0};
    unsigned order = pick(60); // some programs synchronise a lot, some hardly ever
    for (int step = 0; step < STEPS; step++) {
        unsigned a = pick(STREAMS), b = pick(STREAMS), ev = pick(EVENTS);
        unsigned n = 1 + pick(16), at = pick(ELEMS - n), from = pick(ELEMS - n);
        struct model_op o = {.n_ranges = 0};
        switch (pick(8 + order)) {
        case 0:
        case 1:
            OK(cu_launch(k.set, p + at * 4, n, 1, s[a]));
            touch(&o, at, n, true);
            submit(&m, a, o);
            break;
        case 2:
        case 3:
            OK(cu_launch(k.add, p + at * 4, n, 1, s[a]));
            touch(&o, at, n, true);
            submit(&m, a, o);
            break;
        case 4:
            OK(cu.cuMemsetD32Async(p + at * 4, 7, n, s[a]));
            touch(&o, at, n, true);
            submit(&m, a, o);
            break;
        case 5:
            if (at + n <= from || from + n <= at) {
                OK(cu.cuMemcpyDtoDAsync(p + at * 4, p + from * 4, n * 4, s[a]));
                touch(&o, at, n, true);
                touch(&o, from, n, false);
                submit(&m, a, o);
            }
            break;
        case 6:
            OK(cu.cuEventRecord(e[ev], s[a]));
            m.event[ev] = m.stream[a] | m.host;
            break;
        case 7:
            OK(cu.cuStreamSynchronize(s[a]));
            m.host |= m.stream[a];
            break;
        case 8:
            OK(cu.cuCtxSynchronize());
            for (int i = 0; i < STREAMS; i++) {
                m.host |= m.stream[i];
            }
            break;
        case 9:
            OK(cu.cuEventSynchronize(e[ev]));
            m.host |= m.event[ev];
            break;
        default: // b waits for a
            OK(cu.cuEventRecord(e[ev], s[a]));
            m.event[ev] = m.stream[a] | m.host;
            OK(cu.cuStreamWaitEvent(s[b], e[ev], 0));
            m.stream[b] |= m.event[ev];
            break;
        }
    }
    OK(cu.cuCtxSynchronize());
    bool found = false;
    for (unsigned i = 0; i < cu.vgpu_findings(); i++) {
        if (strstr(cu.vgpu_finding(i), "nothing orders them") == NULL) {
            return 99; // nothing else is wrong with these programs
        }
        found = true;
    }
    return (found == m.race ? 0 : found ? 1 : 2) + (m.race ? 4 : 0);
}

Test(cu_order, findings_are_made_exactly_for_programs_with_a_race, .timeout = 120)
{
    setenv("VGPU_MEM", "16M", 1);
    setenv("VGPU_PINNED", "4M", 1);
    setenv("VGPU_THREADS", "1", 1);
    cu_open();
    int races = 0;
    for (int i = 1; i <= PROGRAMS; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            char text[16];
            snprintf(text, sizeof text, "%d", i);
            setenv("VGPU_SEED", text, 1);
            if (freopen("/dev/null", "w", stderr) == NULL) {
                _exit(98);
            }
            _exit(program((unsigned long)i));
        }
        int status = -1;
        waitpid(child, &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        cr_assert(code == 0 || code == 4, "program %d: %s (%d)", i,
                  code == 1   ? "a finding without a race"
                  : code == 6 ? "a race without a finding"
                              : "it broke",
                  code);
        races += code == 4;
    }
    cr_assert(races > PROGRAMS / 5 && races < PROGRAMS * 4 / 5, "%d of %d programs race", races,
              PROGRAMS);
}
