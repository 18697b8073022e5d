// SPDX-License-Identifier: Apache-2.0
// CUDA compiled by nvcc, run by the executor: kernels/basic.cu, for compute_80 and compute_90a,
// every test in order and with several random schedules, all checks on.
#include <math.h>
#include <unistd.h>

#include "vgt.h"

enum { SEEDS = 4 };
static const char *const archs[] = {"80", "90a"};

struct run {
    struct vg_module *m;
    unsigned checks;
    uint64_t seed;
    const char *arch;
};

static bool next_run(struct run *r, unsigned i)
{
    if (i == 0) {
        if (VGT_KERNELS[0] == 0) {
            cr_skip_test("no nvcc: the CUDA kernels are not built");
        }
        vgt_open();
    }
    if (i >= 2 * SEEDS) {
        vg_module_free(r->m);
        return false;
    }
    if (i % SEEDS == 0) {
        vg_module_free(r->m);
        char path[512];
        r->arch = archs[i / SEEDS];
        snprintf(path, sizeof(path), "%s/basic%s.ptx", VGT_KERNELS, r->arch);
        char *text = vgt_read(path);
        r->m = vgt_load(text);
        free(text);
    }
    r->seed = i;
    r->checks = i % SEEDS ? VG_CHECK_ALL : VG_CHECK_ALL & ~(unsigned)VG_CHECK_SCHED;
    return true;
}
#define EACH_RUN(r) \
    struct run r = {0}; \
    for (unsigned run_ = 0; next_run(&r, run_); run_++)

static void launch(const struct run *r, const char *name, unsigned grid, unsigned block,
                   const void *params, size_t bytes)
{
    vgt_ok(r->m, name,
           (struct vgt_run){.grid = grid, .block = block, .seed = r->seed, .checks = r->checks},
           params, bytes);
}

Test(vgpu_kernels, vector_add_and_its_tail)
{
    enum { N = 1000 };
    float a[N], b[N], c[N];
    for (int i = 0; i < N; i++) {
        a[i] = (float)i * 0.37f;
        b[i] = 5.0f - (float)i;
    }
    EACH_RUN(r)
    {
        uint64_t pa = vgt_mem(a, sizeof(a)), pb = vgt_mem(b, sizeof(b)),
                 pc = vgt_mem(NULL, sizeof(c));
        struct {
            uint64_t a, b, c;
            int n;
        } p = {pa, pb, pc, N};
        launch(&r, "vector_add", 8, 128, &p, sizeof(p));
        vgt_get(c, pc, sizeof(c));
        for (int i = 0; i < N; i++) {
            cr_assert(c[i] == a[i] + b[i], "sm_%s, [%d]: %g", r.arch, i, (double)c[i]);
        }
    }
}

Test(vgpu_kernels, rmsnorm_over_shuffles_and_shared_memory)
{
    enum { T = 5, N = 1024 };
    static float x[T * N], w[N], y[T * N];
    for (int i = 0; i < T * N; i++) {
        x[i] = (float)(i * 7 % 1013) * 0.01f - 5.0f;
        w[i % N] = 0.5f + (float)(i % 17);
    }
    EACH_RUN(r)
    {
        uint64_t px = vgt_mem(x, sizeof(x)), pw = vgt_mem(w, sizeof(w)),
                 py = vgt_mem(NULL, sizeof(y));
        struct {
            uint64_t x, w, y;
            int n;
        } p = {px, pw, py, N};
        launch(&r, "rmsnorm", T, 256, &p, sizeof(p));
        vgt_get(y, py, sizeof(y));
        for (int t = 0; t < T; t++) {
            double s = 0;
            for (int i = 0; i < N; i++) {
                s += (double)x[t * N + i] * (double)x[t * N + i];
            }
            double inv = 1 / sqrt(s / N + 1e-6);
            for (int i = 0; i < N; i++) {
                double want = (double)x[t * N + i] * inv * (double)w[i];
                // a sum of N squares in f32 is off by N/32 * 2^-24 at most, then three roundings
                cr_assert(fabs((double)y[t * N + i] - want) <= 4e-6 * fabs(want) + 1e-9,
                          "sm_%s, row %d [%d]: %g, %g expected", r.arch, t, i, (double)y[t * N + i],
                          want);
            }
        }
    }
}

Test(vgpu_kernels, scan_of_a_block)
{
    enum { N = 512 };
    int in[N], out[N];
    for (int i = 0; i < N; i++) {
        in[i] = i * i % 91 - 40;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "scan", 1, N, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0, s = 0; i < N; i++) {
            s += in[i];
            cr_assert(out[i] == s, "sm_%s, [%d]: %d, %d expected", r.arch, i, out[i], s);
        }
    }
}

Test(vgpu_kernels, histogram_with_atomics)
{
    enum { N = 10000 };
    static uint8_t in[N];
    unsigned want[256] = {0}, bins[256];
    for (int i = 0; i < N; i++) {
        in[i] = (uint8_t)(i * i >> 3);
        want[in[i]]++;
    }
    EACH_RUN(r)
    {
        memset(bins, 0, sizeof(bins));
        struct {
            uint64_t in;
            int n;
            uint64_t bins;
        } p = {vgt_mem(in, sizeof(in)), N, vgt_mem(bins, sizeof(bins))};
        launch(&r, "histogram", 6, 128, &p, sizeof(p));
        vgt_get(bins, p.bins, sizeof(bins));
        cr_assert(memcmp(bins, want, sizeof(bins)) == 0, "sm_%s, seed %u", r.arch,
                  (unsigned)r.seed);
    }
}

Test(vgpu_kernels, grid_barrier_of_a_cooperative_launch)
{
    enum { BLOCKS = 24, THREADS = 64, N = BLOCKS * THREADS };
    EACH_RUN(r)
    {
        struct {
            uint64_t data, out;
        } p = {vgt_mem(NULL, N * 4), vgt_mem(NULL, N * 4)};
        struct vg_launch l = {.kernel = vg_module_kernel(r.m, "grid_sums"),
                              .grid = {BLOCKS, 1, 1},
                              .block = {THREADS, 1, 1},
                              .cooperative = true,
                              .params = &p,
                              .param_bytes = sizeof(p),
                              .seed = r.seed,
                              .checks = r.checks};
        struct vg_launch_stats st;
        enum vg_result res = vg_launch_run(&l, &st);
        vgt_print_findings();
        cr_assert(res == VG_OK && vg_findings() == 0, "result %d, %s", res, st.err);
        int out[N];
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < N; i++) {
            int want = (N - 1 - i + 3 * THREADS) % N + 3;
            cr_assert(out[i] == want, "sm_%s, [%d]: %d, %d expected", r.arch, i, out[i], want);
        }
    }
}

Test(vgpu_kernels, lanes_that_fight_for_a_lock_all_get_it)
{
    EACH_RUN(r)
    {
        int zero = 0, counter;
        struct {
            uint64_t lock, counter;
        } p = {vgt_mem(&zero, 4), vgt_mem(&zero, 4)};
        launch(&r, "lock_step", 3, 40, &p, sizeof(p));
        vgt_get(&counter, p.counter, 4);
        cr_assert(counter == 120, "sm_%s: %d", r.arch, counter);
    }
}

Test(vgpu_kernels, last_block_sees_what_the_others_wrote)
{
    enum { BLOCKS = 20 };
    float in[BLOCKS * 32], out, want = 0;
    for (int i = 0; i < BLOCKS * 32; i++) {
        in[i] = (float)(i % 50);
        want += in[i];
    }
    EACH_RUN(r)
    {
        unsigned zero = 0;
        struct {
            uint64_t in, part, ticket, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, BLOCKS * 4), vgt_mem(&zero, 4),
               vgt_mem(NULL, 4)};
        launch(&r, "last_block", BLOCKS, 32, &p, sizeof(p));
        vgt_get(&out, p.out, 4);
        cr_assert(out == want, "sm_%s: %g, %g expected", r.arch, (double)out, (double)want);
    }
}

struct pair {
    int a;
    double b;
    char c[5];
};

Test(vgpu_kernels, calls_recursion_and_function_pointers)
{
    static const float table[4] = {1.5f, 2.5f, 3.5f, 4.5f};
    static const char *const words[2] = {"one", "two"};
    EACH_RUN(r)
    {
        struct {
            uint64_t out;
            struct pair p;
            int n;
        } p = {vgt_mem(NULL, 64 * 4 * 4), {3, 1.25, {1, 2, 3, 4, 5}}, 2};
        launch(&r, "calls", 1, 64, &p, sizeof(p));
        float out[64 * 4];
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < 64; i++) {
            struct pair q = p.p;
            for (int n = i % 4 + p.n; n > 0; n--) {
                q.a += n;
                q.b *= 2;
                q.c[n % 5] = (char)n;
            }
            float want[4] = {i > 3 ? (float)q.b * table[i & 3] : (float)q.b + (float)i,
                             (float)(q.a + q.c[1] + 7), (float)(i & 1 ? i + 3 : 2 * i),
                             (float)words[i & 1][i % 3]};
            for (int k = 0; k < 4; k++) {
                cr_assert(out[4 * i + k] == want[k], "sm_%s, thread %d, value %d: %g, %g expected",
                          r.arch, i, k, (double)out[4 * i + k], (double)want[k]);
            }
        }
    }
}

Test(vgpu_kernels, local_arrays_with_running_indices)
{
    enum { THREADS = 48, K = 5 };
    int in[THREADS * 16], out[THREADS * 16];
    for (int i = 0; i < THREADS * 16; i++) {
        in[i] = i * 31 % 257;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
            int k;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out)), K};
        launch(&r, "local_array", 1, THREADS, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int t = 0; t < THREADS; t++) {
            int a[16];
            memcpy(a, in + t * 16, sizeof(a));
            for (int i = 0; i < 16; i++) {
                int j = (i * K + t) & 15, v = a[i];
                a[i] = a[j] + i;
                a[j] = v;
            }
            for (int i = 0; i < 16; i++) {
                cr_assert(out[t * 16 + i] == a[(i + K) & 15], "sm_%s, thread %d [%d]", r.arch, t,
                          i);
            }
        }
    }
}

static int branch(int v)
{
    unsigned u = (unsigned)v, b = 0;
    switch (v % 9) {
    case 0:
        return v * 3;
    case 1:
        return v - 11;
    case 2:
        return v ^ 0x55;
    case 3:
        return __builtin_popcount(u) + 100;
    case 4:
        return v ? __builtin_clz(u) : 32;
    case 5:
        for (int i = 0; i < 32; i++) {
            b |= (u >> i & 1) << (31 - i);
        }
        return (int)b;
    case 6:
        return v / 7;
    case 7:
        return v % 13;
    default:
        while (v > 5) {
            v = v & 1 ? v - 3 : v / 2;
        }
        return v;
    }
}

Test(vgpu_kernels, divergent_switch_and_loop)
{
    enum { N = 96 };
    int in[N], out[N];
    for (int i = 0; i < N; i++) {
        in[i] = i * 7919 % 1000003;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "branches", 1, N, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < N; i++) {
            int any = 0;
            for (int k = i / 32 * 32; k < i / 32 * 32 + 32; k++) {
                any |= branch(in[k]) > 1000;
            }
            cr_assert(out[i] == branch(in[i]) + any, "sm_%s [%d] in %d: %d, %d expected", r.arch, i,
                      in[i], out[i], branch(in[i]) + any);
        }
    }
}

Test(vgpu_kernels, mathematics_of_the_cuda_library)
{
    enum { N = 64 };
    float in[N], out[N * 8];
    for (int i = 0; i < N; i++) {
        in[i] = ((float)i - 31.7f) * 0.173f;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "math", 1, N, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < N; i++) {
            double x = (double)in[i], t = (double)(in[i] * 1000.0f);
            double want[8] = {exp(x),
                              log((double)(fabsf(in[i]) + 1e-3f)),
                              sin(t),
                              pow(fabs(x), 2.5),
                              erf(x),
                              tanh(x),
                              sqrt(x * x + 1) / 3 + exp(x),
                              x / 3 + exp(x) + cbrt(x)};
            for (int k = 0; k < 8; k++) {
                double got = (double)out[8 * i + k], err = fabs(got - want[k]);
                // the library promises 2 to 8 ulp; the last one cancels
                cr_assert(err <= 2e-6 * fabs(want[k]) + 3e-7, "sm_%s, f%d(%g): %.9g, %.9g expected",
                          r.arch, k, x, got, want[k]);
            }
        }
    }
}

Test(vgpu_kernels, half_precision_and_fp8)
{
    enum { N = 64 };
    float in[N + 1], out[N * 6];
    for (int i = 0; i <= N; i++) {
        in[i] = ((float)i - 30.3f) * 0.61f;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "halves", 1, N, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < 6; k++) {
                double x = (double)in[i + (k & 1 && k < 4)];
                double want = k < 4 ? x * x + 0.5 : x;
                // f16 keeps 11 bits, bf16 8, e4m3 4, e5m2 3; the square doubles the first rounding
                static const double ulp[6] = {0x1p-9, 0x1p-9, 0x1p-6, 0x1p-6, 0x1p-4, 0x1p-3};
                want = k >= 4 ? (double)in[i] : want;
                cr_assert(fabs((double)out[6 * i + k] - want) <= ulp[k] * fabs(want) + 1e-3,
                          "sm_%s, thread %d, value %d: %g, %g expected", r.arch, i, k,
                          (double)out[6 * i + k], want);
            }
        }
    }
}

Test(vgpu_kernels, atomics_of_every_width)
{
    EACH_RUN(r)
    {
        float f = 0;
        double d = 0;
        uint32_t h = 0, b = 0, u[7] = {0, ~0u, 0, 0, 0, 0, 0};
        uint64_t l = 0;
        struct {
            uint64_t f, d, h, b, u, l;
        } p = {vgt_mem(&f, 4), vgt_mem(&d, 8),        vgt_mem(&h, 4),
               vgt_mem(&b, 4), vgt_mem(u, sizeof(u)), vgt_mem(&l, 8)};
        launch(&r, "atomics", 2, 64, &p, sizeof(p));
        vgt_get(&f, p.f, 4);
        vgt_get(&d, p.d, 8);
        vgt_get(&h, p.h, 4);
        vgt_get(&b, p.b, 4);
        vgt_get(u, p.u, sizeof(u));
        vgt_get(&l, p.l, 8);
        cr_assert(f == 128 && d == 64, "sm_%s: %g %g", r.arch, (double)f, d);
        cr_assert(h == 0x5c005800, "sm_%s: f16x2 0x%08x", r.arch, h);  // 256, 128
        cr_assert(b == 0x42804300, "sm_%s: bf16x2 0x%08x", r.arch, b); // 64, 128
        cr_assert(u[0] == 63 && u[1] == 0 && u[2] == 128 % 11 && u[3] == 0 && u[4] == ~0u, "sm_%s",
                  r.arch);
        cr_assert(l == (63ull * 64 / 2 * 2) << 32, "sm_%s: 0x%llx", r.arch, (unsigned long long)l);
        cr_assert(u[5] >= 1 && u[5] <= 64 && u[6] == 0, "sm_%s: %u %u", r.arch, u[5], u[6]);
    }
}

Test(vgpu_kernels, partitions_of_cooperative_groups)
{
    int in[64], out[64];
    for (int i = 0; i < 64; i++) {
        in[i] = i * 5 % 7;
    }
    EACH_RUN(r)
    {
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "partition", 1, 64, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < 64; i++) {
            int tile = i / 16 * 16, warp = i / 32 * 32, from = i % 16 + 3 < 16 ? i + 3 : i;
            int same = 0, equal = 0;
            for (int k = 0; k < 64; k++) {
                same += k / 16 * 16 == tile && in[k] % 3 == in[i] % 3;
                equal += k / 32 * 32 == warp && in[k] == in[i];
            }
            int want = in[from] * 10000 + same * 100 + equal;
            cr_assert(out[i] == want, "sm_%s [%d]: %d, %d expected", r.arch, i, out[i], want);
        }
    }
}

Test(vgpu_kernels, cluster_reads_distributed_shared_memory)
{
    int in[512], out[512];
    for (int i = 0; i < 512; i++) {
        in[i] = i * i % 1009;
    }
    EACH_RUN(r)
    {
        if (strcmp(r.arch, "80") == 0) {
            continue;
        }
        struct {
            uint64_t in, out;
        } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, sizeof(out))};
        launch(&r, "cluster_sum", 8, 64, &p, sizeof(p));
        vgt_get(out, p.out, sizeof(out));
        for (int i = 0; i < 512; i++) {
            int want = 0;
            for (int k = 0; k < 4; k++) {
                want += in[i / 256 * 256 + k * 64 + i % 64];
            }
            cr_assert(out[i] == want, "[%d]: %d, %d expected", i, out[i], want);
        }
    }
}

Test(vgpu_kernels, printf_prints_and_assert_fails)
{
    EACH_RUN(r)
    {
        FILE *f = tmpfile();
        fflush(stdout);
        int keep = dup(1);
        dup2(fileno(f), 1);
        int n = 12;
        launch(&r, "speak", 1, 32, &n, sizeof(n));
        fflush(stdout);
        dup2(keep, 1);
        close(keep);
        char text[200] = "";
        rewind(f);
        cr_assert(fread(text, 1, sizeof(text) - 1, f) > 0);
        fclose(f);
        cr_assert(strcmp(text, "lane 12  2.50|7   |123456789abc z%\n") == 0, "\"%s\"", text);
        char err[256];
        n = 13;
        cr_assert(vgt_try(r.m, "speak", (struct vgt_run){.block = 3, .checks = r.checks}, &n, 4,
                          err) == VG_OK);
        cr_assert(vgt_try(r.m, "speak", (struct vgt_run){.block = 32, .checks = r.checks}, &n, 4,
                          err) == VG_FAULT);
        cr_assert(vg_findings() == 1 && vg_finding_at(0)->kind == VG_TRAP, "%u findings",
                  vg_findings());
        cr_assert(strstr(vg_finding_at(0)->message, "n != 13") != NULL, "%s",
                  vg_finding_at(0)->message);
        cr_assert(vg_finding_at(0)->where.lane == 3 && vg_finding_at(0)->where.line > 0);
        vg_findings_clear();
    }
}
