// SPDX-License-Identifier: Apache-2.0
//
// The corpus of injected bugs of the host side: each program runs in two versions, with the bug and
// without, in many seeds. The bug must be caught in every seed, the right version must be without a
// finding in the same seeds.
//
// Caught: a finding of the row's kind that holds the row's text; for rows of kind "data", where the
// host reads memory and no tool can look on, a result that is wrong for certain.
#include "cu_bugs.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 8 };
#else
enum { SEEDS = 100 };
#endif

// clang-format off
// Kernels over n elements; every thread has its element's offset in %rd3, those beyond n leave.
#define REGS "    .reg .pred %p<2>; .reg .b32 %r<10>; .reg .b64 %rd<8>;\n"
#define INDEX \
    "    mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n" \
    "    mad.lo.s32 %r6, %r3, %r4, %r5;\n" \
    "    setp.ge.u32 %p1, %r6, %r1;\n" \
    "    mul.wide.u32 %rd3, %r6, 4;\n"
// name(dst, src, n): dst[i] = src[i]
#define COPY_KERNEL(name, before) \
    ".visible .entry " name "(.param .u64 d, .param .u64 s, .param .u32 n)\n{\n" REGS \
    "    ld.param.u64 %rd1, [d]; ld.param.u64 %rd2, [s]; ld.param.u32 %r1, [n];\n" INDEX before \
    "    @%p1 bra DONE;\n" \
    "    add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n" \
    "    ld.global.u32 %r7, [%rd5]; st.global.u32 [%rd4], %r7;\n" \
    "DONE:\n    ret;\n}\n"
// name(dst, n, v): dst[i] = v
#define SET_KERNEL(name, before) \
    ".visible .entry " name "(.param .u64 d, .param .u32 n, .param .u32 v)\n{\n" REGS \
    "    ld.param.u64 %rd1, [d]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [v];\n" INDEX before \
    "    @%p1 bra DONE;\n" \
    "    add.s64 %rd4, %rd1, %rd3; st.global.u32 [%rd4], %r2;\n" \
    "DONE:\n    ret;\n}\n"
#define TRIGGER "    griddepcontrol.launch_dependents;\n"
#define WAIT "    griddepcontrol.wait;\n"
const char cu_bugs_ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    COPY_KERNEL("copy", "")
    COPY_KERNEL("early", TRIGGER)
    COPY_KERNEL("late", WAIT)
    SET_KERNEL("trigger", TRIGGER)
    SET_KERNEL("waits", WAIT TRIGGER)
    SET_KERNEL("deaf", TRIGGER)
    // Warp 0 waits, the others meet it at a barrier.
    COPY_KERNEL("relay",
    "    setp.ge.u32 %p0, %r5, 32;\n"
    "    @%p0 bra MEET;\n"
    WAIT
    "MEET:\n"
    "    bar.sync 0;\n")
    // bump(p): atomic p[0] += 1
    ".visible .entry bump(.param .u64 d)\n{\n" REGS
    "    ld.param.u64 %rd1, [d]; red.global.add.u32 [%rd1], 1;\n    ret;\n}\n"
    // meet(mine, theirs, my_flag, their_flag, wait): one of two devices that exchange a word
    ".visible .entry meet(.param .u64 d, .param .u64 s, .param .u64 f, .param .u64 g,\n"
    "    .param .u32 n)\n{\n" REGS
    "    ld.param.u64 %rd1, [d]; ld.param.u64 %rd2, [s]; ld.param.u64 %rd3, [f];\n"
    "    ld.param.u64 %rd4, [g]; ld.param.u32 %r1, [n];\n"
    "    st.global.u32 [%rd1], 7;\n"
    "    setp.eq.u32 %p0, %r1, 0;\n"
    "    @%p0 bra READ;\n"
    "    mov.u32 %r2, 1;\n"
    "    st.release.sys.global.u32 [%rd4], %r2;\n"
    "WAIT:\n"
    "    ld.acquire.sys.global.u32 %r3, [%rd3];\n"
    "    setp.eq.u32 %p1, %r3, 0;\n"
    "    @%p1 bra WAIT;\n"
    "READ:\n"
    "    ld.global.u32 %r4, [%rd2];\n"
    "    st.global.u32 [%rd1+4], %r4;\n"
    "    ret;\n}\n";
// clang-format on

struct cu_world w;

static void open_world(void)
{
    OK(cu.cuInit(0));
    OK(cu.cuDevicePrimaryCtxRetain(&w.ctx, 0));
    OK(cu.cuCtxSetCurrent(w.ctx));
    struct cu_kernels k = cu_kernels();
    w.set = k.set;
    w.add = k.add;
    OK(cu.cuModuleLoadData(&w.module, cu_bugs_ptx));
    const struct {
        CUfunction *f;
        const char *name;
    } name[] = {{&w.copy, "copy"},       {&w.early, "early"}, {&w.late, "late"},
                {&w.trigger, "trigger"}, {&w.waits, "waits"}, {&w.deaf, "deaf"},
                {&w.relay, "relay"},     {&w.bump, "bump"},   {&w.meet, "meet"}};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        OK(cu.cuModuleGetFunction(name[i].f, w.module, name[i].name));
    }
    OK(cu.cuStreamCreate(&w.a, CU_STREAM_NON_BLOCKING));
    OK(cu.cuStreamCreate(&w.b, CU_STREAM_NON_BLOCKING));
    OK(cu.cuEventCreate(&w.e, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuMemAlloc(&w.p, N * 4));
    OK(cu.cuMemAlloc(&w.q, N * 4));
    OK(cu.cuMemAlloc(&w.r, N * 4));
    OK(cu.cuMemHostAlloc((void **)&w.host, N * 4, 0));
    memset(w.host, 0, N * 4);
    OK(cu.cuMemsetD32(w.p, 1, N));
    OK(cu.cuMemsetD32(w.q, 2, N));
    OK(cu.cuMemsetD32(w.r, 3, N));
    OK(cu.cuCtxSynchronize());
}

void set(CUdeviceptr p, unsigned v, CUstream s)
{
    OK(cu_launch(w.set, p, N, v, s));
}

void add(CUdeviceptr p, unsigned v, CUstream s)
{
    OK(cu_launch(w.add, p, N, v, s));
}

void copy(CUdeviceptr dst, CUdeviceptr src, CUstream s)
{
    unsigned n = N;
    void *params[] = {&dst, &src, &n};
    OK(cu.cuLaunchKernel(w.copy, N / 128, 1, 1, 128, 1, 1, 0, s, params, NULL));
}

// b comes after a, if really.
void a_then_b(bool really)
{
    if (really) {
        OK(cu.cuEventRecord(w.e, w.a));
        OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    }
}

void sync_all(void)
{
    cu.cuCtxSynchronize(); // fails where the bug is a fault
}
// In a child: 0 clean, 2 caught, WRONG, 4 another finding; all else: it broke.
static int run(const struct cu_bug *r, bool bug, int seed)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cu_is_child = true;
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        setenv("VGPU_SEED", text, 1);
        if (getenv("VGT_ONLY") == NULL && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(99);
        }
        open_world();
        w.bug = bug;
        r->body();
        unsigned n = cu.vgpu_findings();
        for (unsigned i = 0; i < n; i++) {
            const char *f = cu.vgpu_finding(i);
            if (strncmp(f, r->kind, strlen(r->kind)) == 0 && strstr(f, r->text) != NULL) {
                _exit(2);
            }
        }
        _exit(n == 0 ? 0 : 4);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void run_row(const struct cu_bug *r)
{
    int caught = 0, clean = 0, last_bug = 0, last_clean = 0;
    int want = strcmp(r->kind, "data") == 0 ? WRONG : 2;
    for (int seed = 1; seed <= SEEDS; seed++) {
        int got = run(r, true, seed);
        caught += got == want;
        last_bug = got == want ? last_bug : got;
        got = run(r, false, seed);
        clean += got == 0;
        last_clean = got == 0 ? last_clean : got;
    }
    cr_expect(caught == SEEDS, "%s: the bug is caught in %d of %d seeds (else: %d)", r->name,
              caught, SEEDS, last_bug);
    cr_expect(clean == SEEDS, "%s: the right version is clean in %d of %d seeds (else: %d)",
              r->name, clean, SEEDS, last_clean);
}

static void run_rows(size_t part, size_t parts)
{
    const struct {
        const struct cu_bug *bugs;
        size_t n;
    } table[] = {{cu_bugs_order, cu_n_bugs_order},
                 {cu_bugs_host, cu_n_bugs_host},
                 {cu_bugs_capture, cu_n_bugs_capture}};
    const char *only = getenv("VGT_ONLY");
    setenv("VGPU_ARCH", "h100", 1);
    setenv("VGPU_DEVICES", "2", 1);
    setenv("VGPU_THREADS", "1", 1);
    setenv("VGPU_MEM", "16M", 1);
    setenv("VGPU_PINNED", "4M", 1);
    cu_open();
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        for (size_t i = part; i < table[t].n; i += parts) {
            if (only == NULL || strcmp(only, table[t].bugs[i].name) == 0) {
                run_row(&table[t].bugs[i]);
            }
        }
    }
}

// Two tests, because Criterion runs tests beside each other.
Test(cu_bugs, every_bug_is_caught_in_every_seed_and_its_twin_is_clean, .timeout = 300)
{
    run_rows(0, 2);
}

Test(cu_bugs, the_other_half, .timeout = 300)
{
    run_rows(1, 2);
}
