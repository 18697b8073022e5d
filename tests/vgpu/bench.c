// SPDX-License-Identifier: Apache-2.0
// Speed of the executor on kernels/basic.cu's RMSNorm (64 rows of 4096 floats), in thread
// instructions per second: best of 20 launches for each set of checks, on one thread and on all.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exec.h"
#include "mem.h"

enum { ROWS = 64, N = 4096, LAUNCHES = 20 };

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *s = calloc(1, (size_t)n + 1);
    size_t got = s ? fread(s, 1, (size_t)n, f) : 0;
    fclose(f);
    return got == (size_t)n ? s : NULL;
}

static double best_rate(const struct vg_launch *l)
{
    double best = 0;
    for (int i = 0; i < LAUNCHES; i++) {
        struct vg_launch_stats st;
        if (vg_launch_run(l, &st) != VG_OK) {
            fprintf(stderr, "launch failed: %s\n", st.err);
            exit(1);
        }
        double rate = (double)st.thread_ops / st.seconds * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    char err[256];
    char *ptx = read_file(argc > 1 ? argv[1] : VGT_KERNELS "/basic80.ptx");
    if (!ptx || !vg_mem_init(0, 1u << 30)) {
        fprintf(stderr, "usage: vgpu_bench [basic80.ptx]; there is no nvcc, or no memory\n");
        return 1;
    }
    struct vg_module *m = vg_module_load(ptx, strlen(ptx), 0, err, sizeof(err));
    static float x[ROWS * N];
    for (int i = 0; i < ROWS * N; i++) {
        x[i] = (float)(i % 977) * 0.01f - 3;
    }
    struct {
        uint64_t x, w, y;
        int n;
    } p = {vg_mem_alloc(0, sizeof(x), 256, "x"), vg_mem_alloc(0, N * 4, 256, "w"),
           vg_mem_alloc(0, sizeof(x), 256, "y"), N};
    if (!m || !vg_mem_host_write(p.x, x, sizeof(x)) || !vg_mem_host_write(p.w, x, N * 4)) {
        fprintf(stderr, "cannot set up: %s\n", err);
        return 1;
    }
    static const struct {
        const char *name;
        unsigned checks;
    } rows[] = {{"none", 0}, {"bounds", VG_CHECK_BOUNDS}, {"all", VG_CHECK_ALL}};
    printf("rmsnorm, G thread instructions/s\n%-8s %10s %10s\n", "checks", "one core", "all cores");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct vg_launch l = {.kernel = vg_module_kernel(m, "rmsnorm"),
                              .grid = {ROWS, 1, 1},
                              .block = {256, 1, 1},
                              .params = &p,
                              .param_bytes = sizeof(p),
                              .seed = 1,
                              .checks = rows[i].checks};
        setenv("VGPU_THREADS", "1", 1);
        double one = best_rate(&l);
        unsetenv("VGPU_THREADS");
        printf("%-8s %10.2f %10.2f\n", rows[i].name, one, best_rate(&l));
    }
    vg_module_free(m);
    free(ptx);
    return 0;
}
