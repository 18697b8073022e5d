// SPDX-License-Identifier: Apache-2.0
//
// Kernels that nobody here wrote (real/*.cu: CUB, cooperative groups, libcu++, mma.h of the
// toolkit), compiled by nvcc when this was built, loaded as fat binaries: right results, and no
// finding in any of the seeds.
#include "cu_test.h"

#include "half.h"

enum { SEEDS = 5, MAX = 1 << 14 };

static int32_t in[MAX], out[MAX];

static CUmodule load(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.fatbin", VG_REAL_DIR, name);
    CUmodule m = NULL;
    OK(cu.cuModuleLoad(&m, path));
    return m;
}

static CUfunction function(CUmodule m, const char *name)
{
    CUfunction f = NULL;
    CUresult r = cu.cuModuleGetFunction(&f, m, name);
    CHECK((r) == (CUDA_SUCCESS), "%s: %s", name, cu_name(r));
    return f;
}

// What a test does in one world; runs in a child per seed and chip.
static void each_seed(void (*body)(void), const char *only_arch)
{
    static const char *const arch[] = {"a100", "h100"};
    for (int k = 0; k < 2 * SEEDS; k++) {
        if (only_arch != NULL && strcmp(only_arch, arch[k % 2]) != 0) {
            continue;
        }
        char seed[16];
        snprintf(seed, sizeof seed, "%d", k / 2 + 1);
        setenv("VGPU_ARCH", arch[k % 2], 1);
        setenv("VGPU_SEED", seed, 1);
        pid_t child = fork();
        if (child == 0) {
            cu_is_child = true;
            cu_start();
            body();
            OK(cu.cuCtxSynchronize());
            cu_clean();
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        cr_assert_eq(status, 0, "%s, seed %s: the child ends with %d", arch[k % 2], seed, status);
    }
}

static CUdeviceptr upload(const void *data, size_t bytes)
{
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, bytes));
    if (data != NULL) {
        OK(cu.cuMemcpyHtoD(p, data, bytes));
    } else {
        OK(cu.cuMemsetD8(p, 0, bytes));
    }
    return p;
}

static void run2(CUfunction f, unsigned grid, unsigned block, CUdeviceptr a, CUdeviceptr b)
{
    void *params[] = {&a, &b};
    OK(cu.cuLaunchKernel(f, grid, 1, 1, block, 1, 1, 0, NULL, params, NULL));
}

static void fill(int n, unsigned most)
{
    uint32_t x = 12345;
    for (int i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        in[i] = (int32_t)((x >> 8) % most);
    }
}

static void cub(void)
{
    enum { BLOCKS = 3, PER = 512, COUNT = BLOCKS * PER };
    CUmodule m = load("cub");
    fill(COUNT, 1000);
    CUdeviceptr a = upload(in, COUNT * 4), b = upload(NULL, COUNT * 4);
    run2(function(m, "cub_reduce"), BLOCKS, 128, a, b);
    OK(cu.cuMemcpyDtoH(out, b, BLOCKS * 4));
    for (int k = 0; k < BLOCKS; k++) {
        int sum = 0;
        for (int i = 0; i < PER; i++) {
            sum += in[k * PER + i];
        }
        CHECK((out[k]) == (sum), "sum of block %d: %d, expected %d", k, out[k], sum);
    }
    run2(function(m, "cub_scan"), BLOCKS, 128, a, b);
    OK(cu.cuMemcpyDtoH(out, b, COUNT * 4));
    for (int i = 0, sum = 0; i < COUNT; i++) {
        sum = i % PER == 0 ? 0 : sum;
        CHECK((out[i]) == (sum), "prefix %d: %d, expected %d", i, out[i], sum);
        sum += in[i];
    }
    run2(function(m, "cub_sort"), BLOCKS, 128, a, b);
    OK(cu.cuMemcpyDtoH(out, b, COUNT * 4));
    for (int i = 0; i < COUNT; i++) {
        int smaller = 0, equal = 0, at = i / PER * PER;
        for (int k = at; k < at + PER; k++) {
            smaller += in[k] < out[i];
            equal += in[k] == out[i];
        }
        CHECK(i - at >= smaller && i - at < smaller + equal, "element %d is %d", i, out[i]);
    }
    float f[128 * 2], most[8];
    for (int i = 0; i < 256; i++) {
        f[i] = (float)in[i];
    }
    CUdeviceptr c = upload(f, sizeof f);
    run2(function(m, "cub_warp_max"), 2, 128, c, b);
    OK(cu.cuMemcpyDtoH(most, b, sizeof most));
    for (int k = 0; k < 8; k++) {
        float want = 0;
        for (int i = 0; i < 32; i++) {
            want = f[k * 32 + i] > want ? f[k * 32 + i] : want;
        }
        CHECK((most[k]) == (want), "warp %d: %g, expected %g", k, (double)most[k], (double)want);
    }
}

Test(real, cub_reduces_scans_and_sorts, .timeout = 100)
{
    each_seed(cub, NULL);
}

static void groups(void)
{
    enum { COUNT = 1000 };
    CUmodule m = load("groups");
    fill(1024, 1000);
    CUdeviceptr a = upload(in, 1024 * 4), b = upload(NULL, 1024 * 4), c = upload(NULL, 1024 * 4);
    int n = COUNT, sum = 0, odd = 0;
    void *params[] = {&a, &b, &n};
    OK(cu.cuLaunchKernel(function(m, "groups_reduce"), 1, 1, 1, 256, 1, 1, 0, NULL, params, NULL));
    OK(cu.cuMemcpyDtoH(out, b, 4));
    for (int i = 0; i < COUNT; i++) {
        sum += in[i];
    }
    CHECK((out[0]) == (sum), "%d, expected %d", out[0], sum);
    run2(function(m, "groups_scan"), 4, 256, a, b);
    OK(cu.cuMemcpyDtoH(out, b, 1024 * 4));
    for (int i = 0; i < 1024; i++) {
        sum = i % 16 == 0 ? in[i] : sum + in[i];
        odd += in[i] % 2;
        CHECK((out[i]) == (sum), "prefix %d: %d, expected %d", i, out[i], sum);
    }
    OK(cu.cuMemsetD32(b, 0, 1));
    run2(function(m, "groups_count"), 8, 128, a, b);
    OK(cu.cuMemcpyDtoH(out, b, 4));
    CHECK((out[0]) == (odd), "%d odd, expected %d", out[0], odd);
    void *both[] = {&c, &b};
    OK(cu.cuLaunchCooperativeKernel(function(m, "groups_grid"), 8, 1, 1, 128, 1, 1, 0, NULL, both));
    OK(cu.cuMemcpyDtoH(out, b, 1024 * 4));
    for (int i = 0; i < 1024; i++) {
        CHECK((out[i]) == ((1023 - i) * 3), "element %d: %d", i, out[i]);
    }
}

Test(real, cooperative_groups_reduce_scan_and_sync_the_grid, .timeout = 100)
{
    each_seed(groups, NULL);
}

static void libcu(void)
{
    enum { TILE = 128, TILES = 6 };
    CUmodule m = load("libcu");
    fill(TILE * TILES * 4, 100000);
    CUdeviceptr a = upload(in, TILE * TILES * 4 * 4), b = upload(NULL, TILE * 16);
    int tiles = TILES;
    void *params[] = {&a, &b, &tiles};
    OK(cu.cuLaunchKernel(function(m, "libcu_barrier"), 1, 1, 1, TILE, 1, 1, 0, NULL, params, NULL));
    OK(cu.cuMemcpyDtoH(out, b, TILE * 4));
    for (int i = 0; i < TILE; i++) {
        int want = 0;
        for (int t = 0; t < TILES; t++) {
            want += in[t * TILE + (i * 7 + t) % TILE];
        }
        CHECK((out[i]) == (want), "barrier %d: %d, expected %d", i, out[i], want);
    }
    OK(cu.cuLaunchKernel(function(m, "libcu_pipeline"), 1, 1, 1, TILE, 1, 1, 0, NULL, params,
                         NULL));
    OK(cu.cuMemcpyDtoH(out, b, TILE * 4));
    for (int i = 0; i < TILE; i++) {
        int want = 0;
        for (int t = 0; t < TILES; t++) {
            want += in[t * TILE + TILE - 1 - i];
        }
        CHECK((out[i]) == (want), "pipeline %d: %d, expected %d", i, out[i], want);
    }
    float f[2 * TILE * 4], sums[TILE * 4];
    for (int i = 0; i < 2 * TILE * 4; i++) {
        f[i] = (float)i;
    }
    CUdeviceptr c = upload(f, sizeof f);
    run2(function(m, "c_pipeline"), 1, TILE, c, b);
    OK(cu.cuMemcpyDtoH(sums, b, sizeof sums));
    for (int i = 0; i < TILE * 4; i++) {
        int from = (TILE - 1 - i / 4) * 4 + i % 4;
        CHECK((sums[i]) == (f[from] + f[TILE * 4 + from]), "element %d: %g", i, (double)sums[i]);
    }
    OK(cu.cuMemsetD32(b, 0, 1));
    run2(function(m, "libcu_atomic"), 4, 128, b, a);
    OK(cu.cuMemcpyDtoH(out, b, 4));
    int most = 0;
    for (int i = 0; i < 512; i++) {
        most = in[i] > most ? in[i] : most;
    }
    CHECK((out[0]) == (most), "%d, expected %d", out[0], most);
}

Test(real, libcu_barriers_pipelines_and_atomics, .timeout = 100)
{
    each_seed(libcu, NULL);
}

static void wmma(void)
{
    enum { K = 64 };
    CUmodule m = load("wmma");
    uint16_t ha[16 * K], hb[16 * K];
    int8_t ia[16 * K], ib[16 * K];
    for (int i = 0; i < 16 * K; i++) {
        ia[i] = (int8_t)(i * 37 % 31 - 15);
        ib[i] = (int8_t)(i * 53 % 29 - 14);
        ha[i] = vg_float_f16((float)ia[i]);
        hb[i] = vg_float_f16((float)ib[i]);
    }
    CUdeviceptr a = upload(ha, sizeof ha), b = upload(hb, sizeof hb), c = upload(NULL, 1024);
    CUdeviceptr d = upload(ia, sizeof ia), e = upload(ib, sizeof ib), g = upload(NULL, 1024);
    int k = K;
    void *half[] = {&a, &b, &c, &k}, *bytes[] = {&d, &e, &g, &k};
    OK(cu.cuLaunchKernel(function(m, "wmma_half"), 1, 1, 1, 32, 1, 1, 0, NULL, half, NULL));
    OK(cu.cuLaunchKernel(function(m, "wmma_s8"), 1, 1, 1, 32, 1, 1, 0, NULL, bytes, NULL));
    float f[256];
    OK(cu.cuMemcpyDtoH(f, c, sizeof f));
    OK(cu.cuMemcpyDtoH(out, g, 1024));
    for (int i = 0; i < 256; i++) {
        int want = 0; // small integers: exact in fp32 too
        for (int n = 0; n < K; n++) {
            want += ia[i / 16 * K + n] * ib[i % 16 * K + n];
        }
        CHECK((f[i]) == ((float)want), "half (%d,%d): %g, expected %d", i / 16, i % 16,
              (double)f[i], want);
        CHECK((out[i]) == (want), "s8 (%d,%d): %d, expected %d", i / 16, i % 16, out[i], want);
    }
}

Test(real, warp_matrix_functions, .timeout = 100)
{
    each_seed(wmma, NULL);
}

static void cluster(void)
{
    enum { COUNT = 2000, BINS = 64 };
    CUmodule m = load("cluster");
    CUfunction f = function(m, "cluster_histogram");
    fill(COUNT, 10000);
    CUdeviceptr a = upload(in, COUNT * 4), b = upload(NULL, BINS * 4);
    int n = COUNT;
    void *params[] = {&b, &a, &n};
    CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
    attr.value.clusterDim.x = 4;
    attr.value.clusterDim.y = attr.value.clusterDim.z = 1;
    CUlaunchConfig c = {.gridDimX = 8,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = 64,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .sharedMemBytes = BINS * 4,
                        .attrs = &attr,
                        .numAttrs = 1};
    OK(cu.cuLaunchKernelEx(&c, f, params, NULL));
    OK(cu.cuMemcpyDtoH(out, b, BINS * 4));
    int want[BINS] = {0};
    for (int i = 0; i < COUNT; i++) {
        want[in[i] % BINS]++;
    }
    for (int i = 0; i < BINS; i++) {
        CHECK((out[i]) == (want[i]), "bin %d: %d, expected %d", i, out[i], want[i]);
    }
}

Test(real, clusters_share_their_memory, .timeout = 100)
{
    each_seed(cluster, "h100");
}

Test(real, machine_code_alone_is_refused)
{
    setenv("VGPU_ARCH", "a100", 1);
    cu_start();
    char path[4096];
    snprintf(path, sizeof path, "%s/cluster.fatbin", VG_REAL_DIR); // PTX for compute_90a only
    CUmodule m = NULL;
    FAILS(cu.cuModuleLoad(&m, path), CUDA_ERROR_NO_BINARY_FOR_GPU);
}
