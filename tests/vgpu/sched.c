// SPDX-License-Identifier: Apache-2.0
// Launches: CTAs come and go in slots, warps take turns. Kernels whose CTAs cannot wait for each
// other run one CTA after the other, on as many threads as there are cores; the others run on one
// thread with several CTAs alive, more of them when nothing moves, never more than the device could
// hold.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "exec.h"
#include "rows.h"
#include "run.h"
#include "slot.h"

uint64_t vg_window;

enum {
    TURN = 512,        // back-edges a warp may take before others have their turn
    STUCK_ROUNDS = 64, // rounds without progress before more CTAs are let in
    FIRST_RESIDENT = 4
};
// Warp instructions while no store, arrival or exit happens in the whole grid; more are a deadlock.
// Of warps that poll memory, and of warps that only compute.
static const uint64_t poll_limit = 4000000, idle_limit = 400000000;

static void reserve_window(void)
{
    void *p =
        mmap(NULL, VG_WINDOW_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        abort();
    }
    vg_window = (uint64_t)(uintptr_t)p;
}
void vg_window_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, reserve_window);
}

// ---- one launch ----

struct run {
    struct vg_grid *grid;
    unsigned n_units;   // clusters, or CTAs
    unsigned *order;    // NULL: ascending
    unsigned next;      // unit to start, atomic
    unsigned max_units; // alive at once, per thread
    unsigned first_units;
    pthread_mutex_t lock; // guards counts
    struct vg_counts counts;
    uint64_t warp_ops;
};

struct worker {
    struct run *run;
    struct vg_slot **unit; // alive: each is a list of the cluster's CTAs
    unsigned n_units, want;
    struct vg_counts counts;
    uint64_t progress, seen, idle_ops, poll_ops, rng;
    unsigned idle_rounds;
    uint64_t ops;
};

static bool faulted(const struct run *r)
{
    return __atomic_load_n(&r->grid->fault, __ATOMIC_RELAXED);
}

static bool start_unit(struct worker *k)
{
    struct run *r = k->run;
    unsigned i = __atomic_fetch_add(&r->next, 1, __ATOMIC_RELAXED);
    if (i >= r->n_units) {
        return false;
    }
    k->unit[k->n_units++] =
        vg_slot_open(r->grid, r->order ? r->order[i] : i, &k->counts, &k->progress);
    return true;
}

static bool unit_done(const struct vg_slot *s)
{
    for (; s; s = s->next) {
        if (s->cta.live_threads) {
            return false;
        }
    }
    return true;
}

// One turn of a warp. False: fault.
static bool turn(struct worker *k, struct vg_warp *w, bool *moved)
{
    if (!w->live || (w->wait_on && *w->wait_on == w->wait_value)) {
        return true;
    }
    const struct vg_grid *g = k->run->grid;
    w->budget = g->launch->checks & VG_CHECK_SCHED ? 1 + (uint32_t)(vg_random(&w->rng) % 24) : TURN;
    uint64_t before = w->n_ops;
    uint32_t polls = w->polls;
    unsigned live = w->cta->live_threads;
    enum vg_run result = vg_warp_run(w, &k->counts);
    k->ops += w->n_ops - before;
    k->idle_ops += w->n_ops - before;
    k->poll_ops += w->polls != polls ? w->n_ops - before : 0;
    if (w->cta->live_threads != live) {
        vg_barriers_exit(w->cta);
        if (!w->cta->live_threads) {
            vg_chk_cta_exit(w->cta);
        }
    }
    *moved |= result != VG_RUN_BLOCKED;
    return result != VG_RUN_FAULT;
}

static bool round_of(struct worker *k, bool *moved)
{
    bool mix = k->run->grid->launch->checks & VG_CHECK_SCHED;
    unsigned first_unit = mix ? (unsigned)vg_random(&k->rng) : 0;
    for (unsigned u = 0; u < k->n_units; u++) {
        for (struct vg_slot *s = k->unit[(first_unit + u) % k->n_units]; s; s = s->next) {
            unsigned n = s->cta.n_warps, first = mix ? (unsigned)vg_random(&k->rng) % n : 0;
            // an odd step of a power-of-two sized ring visits every warp once, in another order
            unsigned step = mix && (n & (n - 1)) == 0 ? ((unsigned)vg_random(&k->rng) | 1) : 1;
            for (unsigned i = 0; i < n; i++) {
                unsigned at = (first + i * step) % n;
                if (!turn(k, &s->cta.warps[at], moved)) {
                    return false;
                }
            }
        }
    }
    return true;
}

static void report(struct worker *k, const char *why)
{
    struct vg_cta *cta[64];
    unsigned n = 0;
    for (unsigned u = 0; u < k->n_units; u++) {
        for (struct vg_slot *s = k->unit[u]; s && n < 64; s = s->next) {
            cta[n++] = &s->cta;
        }
    }
    vg_report_deadlock(cta, n, why);
}

// Whether the grid can go on after a round that did not get anywhere.
static bool unstick(struct worker *k, bool moved)
{
    if (k->progress != k->seen) {
        k->seen = k->progress;
        k->idle_rounds = 0;
        k->idle_ops = k->poll_ops = 0;
        return true;
    }
    bool more = k->n_units < k->run->max_units &&
                __atomic_load_n(&k->run->next, __ATOMIC_RELAXED) < k->run->n_units;
    if (more && (!moved || ++k->idle_rounds >= STUCK_ROUNDS)) {
        k->want = k->n_units * 2;
        k->idle_rounds = 0;
        return true;
    }
    if (moved && k->idle_ops < idle_limit && k->poll_ops < poll_limit) {
        return true;
    }
    bool left = __atomic_load_n(&k->run->next, __ATOMIC_RELAXED) < k->run->n_units;
    report(k, moved  ? "warps spin and nothing changes"
              : left ? "no warp can run; CTAs that do not fit on the device are not started"
                     : "no warp can run");
    return false;
}

static void *work(void *arg)
{
    struct worker *k = arg;
    struct run *r = k->run;
    k->unit = calloc(r->max_units, sizeof(struct vg_slot *));
    if (!k->unit) {
        abort();
    }
    k->want = r->first_units;
    while (!faulted(r)) {
        unsigned want = k->want < r->max_units ? k->want : r->max_units;
        while (k->n_units < want && start_unit(k)) {
        }
        if (k->n_units == 0) {
            break;
        }
        bool moved = false;
        if (!round_of(k, &moved)) {
            __atomic_store_n(&r->grid->fault, true, __ATOMIC_RELAXED);
            break;
        }
        bool finished = false;
        for (unsigned u = 0; u < k->n_units;) {
            if (unit_done(k->unit[u])) {
                vg_slot_close(r->grid, k->unit[u]);
                k->unit[u] = k->unit[--k->n_units];
                finished = true;
            } else {
                u++;
            }
        }
        if (!finished && !unstick(k, moved)) {
            __atomic_store_n(&r->grid->fault, true, __ATOMIC_RELAXED);
            break;
        }
    }
    while (k->n_units) {
        vg_slot_close(r->grid, k->unit[--k->n_units]);
    }
    free(k->unit);
    pthread_mutex_lock(&r->lock);
    vg_counts_add(&r->counts, &k->counts);
    r->warp_ops += k->ops;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

// Asking the system opens a file, too much for each launch.
static long core_count(void)
{
    static long n; // atomic
    long v = __atomic_load_n(&n, __ATOMIC_RELAXED);
    if (v == 0) {
        v = sysconf(_SC_NPROCESSORS_ONLN);
        __atomic_store_n(&n, v, __ATOMIC_RELAXED);
    }
    return v;
}

static unsigned thread_count(const struct run *r)
{
    const struct vg_grid *g = r->grid;
    const char *want = getenv("VGPU_THREADS");
    long n = want && atoi(want) > 0 ? atoi(want) : core_count();
    if (g->program->talks || g->launch->cooperative || r->n_units < 4 ||
        (uint64_t)g->n_ctas * g->threads_per_cta < 2048 || n < 1) {
        return 1;
    }
    return n > 16 ? 16 : (unsigned)n;
}

static void shuffle(struct run *r, uint64_t seed)
{
    r->order = calloc(r->n_units, sizeof(*r->order));
    if (!r->order) {
        abort();
    }
    for (unsigned i = 0; i < r->n_units; i++) {
        unsigned j = (unsigned)(vg_random(&seed) % (i + 1));
        r->order[i] = r->order[j];
        r->order[j] = i;
    }
}

static void execute(struct vg_grid *g, struct vg_launch_stats *stats)
{
    const struct vg_launch *l = g->launch;
    struct run r = {.grid = g, .n_units = g->n_ctas / g->cluster_ctas};
    unsigned per_sm = vg_resident_ctas(l->kernel, g->threads_per_cta, l->dynamic_smem_bytes);
    unsigned fit = per_sm * vg_sm_count(l->device) / g->cluster_ctas;
    bool mix = l->checks & VG_CHECK_SCHED;
    uint64_t seed = l->seed;
    pthread_mutex_init(&r.lock, NULL);
    r.max_units = fit ? fit : 1;
    if (r.max_units > r.n_units) {
        r.max_units = r.n_units;
    }
    unsigned n = thread_count(&r);
    if (!g->program->talks && !l->cooperative) {
        r.max_units = r.first_units = 1;
    } else {
        r.first_units = l->cooperative ? r.max_units
                        : mix          ? 1 + (unsigned)(vg_random(&seed) % 8)
                                       : FIRST_RESIDENT;
    }
    if (mix) {
        shuffle(&r, vg_random(&seed));
    }
    struct worker *k = calloc(n, sizeof(*k));
    pthread_t *t = calloc(n, sizeof(*t));
    if (!k || !t) {
        abort();
    }
    unsigned started = 1;
    for (unsigned i = 0; i < n; i++) {
        k[i].run = &r;
        k[i].rng = l->seed * 31 + i;
    }
    while (started < n && pthread_create(&t[started], NULL, work, &k[started]) == 0) {
        started++;
    }
    work(&k[0]);
    for (unsigned i = 1; i < started; i++) {
        pthread_join(t[i], NULL);
    }
    free(k);
    free(t);
    free(r.order);
    pthread_mutex_destroy(&r.lock);
    if (l->checks & VG_CHECK_COUNT) {
        vg_counts_launch(l->kernel->name, &r.counts);
    }
    stats->thread_ops = r.counts.n[VG_N_THREAD_INST];
    stats->warp_ops = r.warp_ops;
}

static bool set_shape(struct vg_grid *g, const struct vg_launch *l, char *err, size_t n)
{
    uint64_t ctas = 1, threads = 1, cluster = 1;
    for (int i = 0; i < 3; i++) {
        g->grid[i] = l->grid[i];
        g->block[i] = l->block[i];
        g->cluster[i] = l->cluster[0] ? l->cluster[i] : l->kernel->cluster[i];
        g->cluster[i] = g->cluster[i] ? g->cluster[i] : 1;
        if (!l->grid[i] || !l->block[i] || l->grid[i] % g->cluster[i]) {
            snprintf(err, n, "dimension %d: grid %u, block %u, cluster %u", i, l->grid[i],
                     l->block[i], g->cluster[i]);
            return false;
        }
        ctas *= l->grid[i];
        threads *= l->block[i];
        cluster *= g->cluster[i];
        if (ctas > 1u << 30 || threads > 1024 || cluster > VG_MAX_CLUSTER) {
            snprintf(err, n, "%llu CTAs of %llu threads in clusters of %llu",
                     (unsigned long long)ctas, (unsigned long long)threads,
                     (unsigned long long)cluster);
            return false;
        }
    }
    g->n_ctas = (unsigned)ctas;
    g->threads_per_cta = (unsigned)threads;
    g->warps_per_cta = (unsigned)(threads + 31) / 32;
    g->cluster_ctas = (unsigned)cluster;
    if (l->param_bytes < l->kernel->params_bytes) {
        snprintf(err, n, "%zu bytes of parameters, kernel %s has %u", l->param_bytes,
                 l->kernel->name, l->kernel->params_bytes);
        return false;
    }
    return true;
}

static void free_memory(struct vg_grid *g)
{
    if (g->params_addr) {
        vg_mem_free(g->params_addr);
    }
    if (g->workspace) {
        vg_mem_free(g->workspace);
    }
}

// Device memory that a launch needs for itself.
static bool place_memory(struct vg_grid *g)
{
    const struct vg_launch *l = g->launch;
    static const uint32_t workspace[2] = {sizeof(workspace), 0}; // size, barrier
    if (g->program->params_addressed) {
        g->params_addr = vg_mem_alloc(l->device, l->kernel->params_bytes, 256, "kernel parameters");
        if (!g->params_addr ||
            !vg_mem_host_write(g->params_addr, l->params, l->kernel->params_bytes)) {
            free_memory(g);
            return false;
        }
    }
    if (l->cooperative) {
        g->workspace = vg_mem_alloc(l->device, sizeof(workspace), 256, "grid workspace");
        if (!g->workspace || !vg_mem_host_write(g->workspace, workspace, sizeof(workspace))) {
            free_memory(g);
            return false;
        }
    }
    return true;
}

enum vg_result vg_launch_run(const struct vg_launch *l, struct vg_launch_stats *stats)
{
    static uint64_t launches;
    struct vg_launch_stats local;
    stats = stats ? stats : &local;
    *stats = (struct vg_launch_stats){0};
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    vg_window_open();
    struct vg_program *p = vg_kernel_program(l->kernel, stats->err, sizeof(stats->err));
    if (!p) {
        return VG_UNSUPPORTED;
    }
    struct vg_grid g = {.launch = l, .program = p, .params = l->params, .rows = vg_rows()};
    if (!set_shape(&g, l, stats->err, sizeof(stats->err))) {
        return VG_BAD_LAUNCH;
    }
    const struct vg_frame *entry = &p->code[p->n_code - 1].frame;
    g.id = __atomic_add_fetch(&launches, 1, __ATOMIC_RELAXED);
    g.param_stride = entry->param_bytes + p->max_depth * p->callee.param_bytes;
    g.local_stride = entry->local_bytes + p->max_depth * p->callee.local_bytes;
    if (!place_memory(&g)) {
        snprintf(stats->err, sizeof(stats->err), "out of device memory for the launch itself");
        return VG_BAD_LAUNCH;
    }
    vg_chk_grid_create(&g);
    execute(&g, stats);
    vg_chk_grid_destroy(&g);
    free_memory(&g);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    stats->seconds = (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
    return g.fault ? VG_FAULT : VG_OK;
}

// ---- facts of the device ----

static unsigned n_sms = 132;
static uint32_t sm_smem = 228 * 1024;

void vg_device_shape(unsigned sms, uint32_t smem_per_sm)
{
    n_sms = sms;
    sm_smem = smem_per_sm;
}

unsigned vg_sm_count(int device)
{
    (void)device;
    return n_sms;
}

// As cuda_occupancy.h counts for compute capability 8.0 and 9.0.
unsigned vg_resident_ctas(const struct vg_kernel *k, unsigned threads, uint32_t dynamic_smem_bytes)
{
    enum { REGS = 65536, PARTS = 4, WARPS = 64, MAX_CTAS = 32 };
    unsigned warps = (threads + 31) / 32, per_warp = (k->regs * 32 + 255) / 256 * 256;
    if (warps == 0 || (warps + PARTS - 1) / PARTS * PARTS * per_warp > REGS) {
        return 0; // the hardware wants the registers of as many warps in each quarter
    }
    unsigned by_regs = per_warp ? REGS / PARTS / per_warp * PARTS / warps : MAX_CTAS;
    // 1 KiB per CTA is the system's; allocated in units of 128 bytes.
    uint64_t smem = ((uint64_t)k->shared_bytes + dynamic_smem_bytes + 127) / 128 * 128 + 1024;
    unsigned by_smem = (unsigned)(sm_smem / smem), n = WARPS / warps;
    n = n < by_regs ? n : by_regs;
    n = n < by_smem ? n : by_smem;
    return n < MAX_CTAS ? n : MAX_CTAS;
}
