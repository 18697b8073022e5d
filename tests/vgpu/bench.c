// SPDX-License-Identifier: Apache-2.0
// Speed of the executor on kernels/bench.cu, on one thread: thread instructions and multiply-adds
// per second with no checks, with bounds and initialisation, and with all; what is wanted beside
// it. Each number is the best of several launches. Results are looked at, too: a wrong one ends the
// run with 1. `vgpu_bench [NAME [CHECKS]]` runs the cases whose name begins with NAME.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "exec.h"
#include "mem.h"
#include "tma.h"

enum kind { NORM, MMA, WGMMA, GEMM, TMA_GEMM };
struct target { // 0: none
    double inst_bounds, inst_all, macs;
};
static const struct row {
    const char *kernel;
    enum kind kind;
    bool bf16;
    unsigned m, n, k; // NORM: rows m; MMA, WGMMA: CTAs m, rounds k
    struct target want;
} rows[] = {
    {"rmsnorm_s8", NORM, false, 64, 0, 4096, {1, 0.3, 0}},
    {"gemm_s8", GEMM, false, 64, 256, 256, {1, 0.3, 0}},
    {"gemm_s8", GEMM, false, 256, 1024, 1024, {0, 0, 0}},
    {"gemm_bf16", GEMM, true, 64, 256, 256, {0, 0.3, 0}},
    {"gemm_bf16", GEMM, true, 64, 576, 1536, {0, 0, 0}},
    {"mma_s8", MMA, false, 4, 8, 200, {0, 0, 10}},
    {"mma_bf16", MMA, true, 4, 8, 200, {0, 0, 15}},
    {"wgmma_only_s8", WGMMA, false, 1, 8, 200, {0, 0, 10}},
    {"wgmma_only_bf16", WGMMA, true, 1, 8, 200, {0, 0, 15}},
    {"wgmma_s8", TMA_GEMM, false, 128, 256, 1024, {0, 0, 10}},
    {"wgmma_bf16", TMA_GEMM, true, 128, 256, 1024, {0, 0, 0}},
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "vgpu_bench: %s: %s\n", what, why);
    exit(1);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail(path, "cannot be opened; was it built where nvcc is?");
    }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *s = calloc(1, (size_t)n + 1);
    if (!s || fread(s, 1, (size_t)n, f) != (size_t)n) {
        fail(path, "cannot be read");
    }
    fclose(f);
    return s;
}

static struct vg_module *load(const char *path)
{
    char err[256] = "";
    char *ptx = read_file(path);
    struct vg_module *m = vg_module_load(ptx, strlen(ptx), 0, err, sizeof(err));
    free(ptx);
    if (!m) {
        fail(path, err);
    }
    return m;
}

static uint64_t alloc(uint64_t bytes)
{
    uint64_t p = vg_mem_alloc(0, bytes, 1024, "bench");
    if (!p) {
        fail("memory", "there is not enough");
    }
    return p;
}

// Element i of an operand: small whole numbers, exact in every type and sum.
static int element(uint64_t i)
{
    return (int)((i * 2654435761u >> 16) % 7) - 3;
}

static uint64_t operand(bool bf16, uint64_t n)
{
    uint64_t bytes = n * (bf16 ? 2 : 1), p = alloc(bytes);
    uint8_t *v = malloc(bytes);
    for (uint64_t i = 0; v && i < n; i++) {
        if (bf16) {
            float f = (float)element(i);
            memcpy(v + 2 * i, (const uint8_t *)&f + 2, 2);
        } else {
            v[i] = (uint8_t)element(i);
        }
    }
    if (!v || !vg_mem_host_write(p, v, bytes)) {
        fail("memory", "cannot be filled");
    }
    free(v);
    return p;
}

struct params { // large enough for every kernel
    _Alignas(64) uint8_t b[384];
    size_t n;
};

static void push(struct params *p, const void *v, size_t bytes, size_t align)
{
    p->n = (p->n + align - 1) / align * align;
    memcpy(p->b + p->n, v, bytes);
    p->n += bytes;
}

static void push_map(struct params *p, const struct row *r, uint64_t base, unsigned rows_n,
                     unsigned box)
{
    struct vg_tensormap m;
    char err[200] = "";
    uint64_t dim[2] = {r->k, rows_n}, stride[1] = {(uint64_t)r->k * (r->bf16 ? 2 : 1)};
    uint32_t size[2] = {r->bf16 ? 64 : 128, box}, step[2] = {1, 1};
    if (!vg_tensormap_encode(&m, r->bf16 ? VG_TM_BF16 : VG_TM_U8, 2, base, dim, stride, size, step,
                             0, VG_TM_SWIZZLE_128, 0, 0, err, sizeof(err))) {
        fail("tensor map", err);
    }
    push(p, &m, sizeof(m), 64);
}

static void check_product(const struct row *r, uint64_t c)
{
    uint64_t n = (uint64_t)r->m * r->n;
    uint32_t *got = malloc(n * 4);
    if (!got || !vg_mem_host_read(got, c, n * 4, NULL)) {
        fail(r->kernel, "the result cannot be read");
    }
    for (uint64_t i = 0; i < n; i += 997) {
        int64_t want = 0;
        for (unsigned k = 0; k < r->k; k++) {
            want += element(i / r->n * r->k + k) * element(i % r->n * r->k + k);
        }
        float f;
        memcpy(&f, &got[i], 4);
        if (r->bf16 ? f != (float)want : (int64_t)(int32_t)got[i] != want) {
            fail(r->kernel, "a wrong result");
        }
    }
    free(got);
}

// Prepares a launch; *c: the product to look at.
static struct vg_launch prepare(const struct row *r, const struct vg_module *m, struct params *p,
                                uint64_t *c)
{
    struct vg_launch l = {.kernel = vg_module_kernel(m, r->kernel),
                          .grid = {1, 1, 1},
                          .block = {128, 1, 1},
                          .seed = 1};
    if (!l.kernel) {
        fail(r->kernel, "no such kernel");
    }
    int n = (int)r->n, pitch = (int)(r->k * (r->bf16 ? 2 : 1)), rounds = (int)r->k;
    if (r->kind == NORM) {
        uint64_t count = (uint64_t)r->m * r->k;
        uint64_t a[5] = {operand(true, count), operand(true, count), operand(true, r->k),
                         alloc(count), alloc(r->m * 4)};
        push(p, a, sizeof(a), 8);
        l.grid[0] = r->m;
        l.block[0] = 256;
    } else if (r->kind == MMA || r->kind == WGMMA) {
        uint64_t out = alloc((uint64_t)r->m * 128 * 4);
        push(p, &out, 8, 8);
        push(p, &rounds, 4, 4);
        l.grid[0] = r->m;
    } else {
        uint64_t a = operand(r->bf16, (uint64_t)r->m * r->k);
        uint64_t b = operand(r->bf16, (uint64_t)r->n * r->k);
        *c = alloc((uint64_t)r->m * r->n * 4);
        if (r->kind == TMA_GEMM) {
            push_map(p, r, a, r->m, 64);
            push_map(p, r, b, r->n, 128);
            l.dynamic_smem_bytes = 4 * (64 + 128) * 128 + 1024;
            l.block[0] = 256;
        } else {
            push(p, &a, 8, 8);
            push(p, &b, 8, 8);
        }
        push(p, c, 8, 8);
        push(p, &n, 4, 4);
        push(p, &pitch, 4, 4);
        l.grid[0] = r->n / (r->kind == TMA_GEMM ? 128 : 64);
        l.grid[1] = r->m / 64;
    }
    l.params = p->b;
    l.param_bytes = p->n;
    return l;
}

static double macs_of(const struct row *r)
{
    switch (r->kind) {
    case NORM:
        return 0;
    case MMA: // 4 warps of 8 products
        return (double)r->m * r->k * 4 * 8 * (r->bf16 ? 16 * 8 * 16 : 16 * 8 * 32);
    case WGMMA:
        return (double)r->m * r->k * 4 * 64 * 128 * (r->bf16 ? 16 : 32);
    default:
        return (double)r->m * r->n * r->k;
    }
}

// Of the process: other work on the machine takes turns, not time.
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Best time of launches of about half a second in all: a neighbour on the same core comes and goes.
static double best_time(const struct vg_launch *l, double *ops)
{
    double best = 1e9, total = 0;
    for (int i = 0; total < 0.5 || i < 3; i++) {
        struct vg_launch_stats st = {0};
        double begin = cpu_seconds();
        if (vg_launch_run(l, &st) != VG_OK) {
            fail(l->kernel->name, st.err);
        }
        *ops = (double)st.thread_ops;
        double s = cpu_seconds() - begin;
        total += s;
        best = s < best ? s : best;
    }
    return best;
}

static void print(double v, double want)
{
    char text[32] = "", number[32] = "";
    if (want > 0) {
        snprintf(text, sizeof(text), "(%g%s)", want, v < want ? " MISSED" : "");
    }
    if (v > 0) {
        snprintf(number, sizeof(number), "%.2f", v);
    }
    printf(" %8s %-12s", number, text);
}

int main(int argc, char **argv)
{
    if (argc > 3 || !VGT_KERNELS[0]) {
        fail("usage", "vgpu_bench [NAME [CHECKS]]; kernels are there when nvcc was");
    }
    if (!vg_mem_init(0, 1u << 30)) {
        fail("memory", "no room for the device");
    }
    setenv("VGPU_THREADS", "1", 1);
    struct vg_module *m80 = load(VGT_KERNELS "/bench80.ptx");
    struct vg_module *m90 = load(VGT_KERNELS "/bench90a.ptx");
    static const struct {
        const char *name;
        unsigned checks;
    } mode[] = {{"none", 0}, {"bounds", VG_CHECK_BOUNDS}, {"all", VG_CHECK_ALL}};
    printf("one core; in brackets what is wanted\n%-15s %-13s %-7s %8s %-12s %8s\n", "kernel",
           "m x n x k", "checks", "G inst/s", "", "GMAC/s");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        if (argc > 1 && strncmp(r->kernel, argv[1], strlen(argv[1])) != 0) {
            continue;
        }
        struct params p = {.n = 0};
        uint64_t c = 0;
        struct vg_launch l = prepare(r, strncmp(r->kernel, "wgmma", 5) == 0 ? m90 : m80, &p, &c);
        for (size_t k = 0; k < sizeof(mode) / sizeof(mode[0]); k++) {
            if (argc > 2 && strcmp(mode[k].name, argv[2]) != 0) {
                continue;
            }
            l.checks = mode[k].checks;
            double ops, s = best_time(&l, &ops), macs = macs_of(r);
            if (c) {
                check_product(r, c);
            }
            char shape[48] = "";
            if (r->kind == GEMM || r->kind == TMA_GEMM) {
                snprintf(shape, sizeof(shape), "%ux%ux%u", r->m, r->n, r->k);
            }
            printf("%-15s %-13s %-7s", r->kernel, shape, mode[k].name);
            print(ops / s * 1e-9, k == 1 ? r->want.inst_bounds : k == 2 ? r->want.inst_all : 0);
            print(macs / s * 1e-9, k == 1 ? r->want.macs : 0);
            printf("\n");
        }
    }
    if (vg_findings()) {
        const struct vg_finding_rec *f = vg_finding_at(0);
        fail(f->where.kernel, f->message);
    }
    vg_module_free(m80);
    vg_module_free(m90);
    return 0;
}
