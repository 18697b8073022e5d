// SPDX-License-Identifier: Apache-2.0
// Launches on several host threads, from two host threads at once, with all checks. For
// ThreadSanitizer: a plain program, as those of tests/race. The kernel has no race of its own: a
// kernel's race is one of its shadow, too (mem.h).
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exec.h"
#include "mem.h"
#include "report.h"

enum { CTAS = 64, THREADS = 128, N = CTAS * THREADS };

#define HEAD ".version 8.0\n.target sm_80\n.address_size 64\n"
// Each CTA turns its row round through shared memory, with cp.async in and a product of tiles; all
// read the first row as well.
static const char good[] =
    HEAD ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
         ".reg .b32 %r<30>; .reg .b64 %rd<8>;\n.shared .align 16 .b8 sm[512];\n"
         "ld.param.u64 %rd0, [in];\nld.param.u64 %rd1, [out];\n"
         "mov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nmad.lo.u32 %r2, %r1, 128, %r0;\n"
         "mul.wide.u32 %rd2, %r2, 4;\nadd.u64 %rd3, %rd0, %rd2;\nadd.u64 %rd4, %rd1, %rd2;\n"
         "mov.u32 %r3, sm;\nshl.b32 %r4, %r0, 2;\nadd.u32 %r4, %r3, %r4;\n"
         "cp.async.ca.shared.global [%r4], [%rd3], 4;\ncp.async.wait_all;\nbar.sync 0;\n"
         "sub.u32 %r5, 127, %r0;\nshl.b32 %r5, %r5, 2;\nadd.u32 %r5, %r3, %r5;\n"
         "ld.shared.u32 %r6, [%r5];\nmov.u32 %r7, 0;\n"
         "mul.wide.u32 %rd5, %r0, 4;\nadd.u64 %rd5, %rd0, %rd5;\nld.global.u32 %r8, [%rd5];\n"
         "and.b32 %r8, %r8, 0;\nadd.u32 %r6, %r6, %r8;\n"
         "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r10, %r11, %r12, %r13}, "
         "{%r7, %r7, %r7, %r7}, {%r6, %r6}, {%r6, %r6, %r6, %r6};\n"
         "st.global.u32 [%rd4], %r10;\nret;\n}\n";
static struct vg_module *load(const char *ptx)
{
    char err[256] = "";
    struct vg_module *m = vg_module_load(ptx, strlen(ptx), 0, err, sizeof(err));
    if (!m) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    return m;
}

struct job {
    struct vg_module *m;
    uint64_t in, out;
    unsigned seed;
};

static void *launches(void *arg)
{
    const struct job *j = arg;
    struct {
        uint64_t in, out;
    } p = {j->in, j->out};
    for (unsigned i = 0; i < 8; i++) {
        struct vg_launch l = {.kernel = vg_module_kernel(j->m, "k"),
                              .grid = {CTAS, 1, 1},
                              .block = {THREADS, 1, 1},
                              .params = &p,
                              .param_bytes = sizeof(p),
                              .seed = j->seed + i,
                              .checks = VG_CHECK_ALL};
        struct vg_launch_stats st = {0};
        if (vg_launch_run(&l, &st) != VG_OK) {
            fprintf(stderr, "launch: %s\n", st.err);
            exit(1);
        }
    }
    return NULL;
}

static bool right(const uint32_t *in, uint64_t out)
{
    static uint32_t got[N];
    if (!vg_mem_host_read(got, out, sizeof(got), NULL)) {
        return false;
    }
    for (unsigned i = 0; i < N; i++) {
        unsigned turned = i / THREADS * THREADS + THREADS - 1 - i % THREADS;
        if (got[i] != in[turned]) {
            fprintf(stderr, "word %u: %u, want %u\n", i, got[i], in[turned]);
            return false;
        }
    }
    return true;
}

int main(void)
{
    static uint32_t in[N];
    for (unsigned i = 0; i < N; i++) {
        in[i] = i * 2654435761u;
    }
    setenv("VGPU_THREADS", "4", 1);
    if (!vg_mem_init(0, 1u << 26)) {
        return 1;
    }
    vg_findings_print(false);
    struct job j[2];
    pthread_t t[2];
    for (unsigned i = 0; i < 2; i++) {
        j[i] = (struct job){load(good), vg_mem_alloc(0, sizeof(in), 256, "in"),
                            vg_mem_alloc(0, sizeof(in), 256, "out"), 10 * i};
        if (!j[i].in || !j[i].out || !vg_mem_host_write(j[i].in, in, sizeof(in)) ||
            pthread_create(&t[i], NULL, launches, &j[i]) != 0) {
            return 1;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
        if (vg_findings() || !right(in, j[i].out)) {
            fprintf(stderr, "%u findings\n", vg_findings());
            return 1;
        }
    }
    vg_module_free(j[0].m);
    vg_module_free(j[1].m);
    return 0;
}
