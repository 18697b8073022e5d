// SPDX-License-Identifier: Apache-2.0
// The toolkit's own device code (kernels/foreign.cu) runs clean and right, in order and in random
// schedules, all checks on.
#include "vgt.h"

enum { SEEDS = 6 };

static struct vg_module *open_module(int arch)
{
    if (VGT_KERNELS[0] == 0) {
        cr_skip_test("no nvcc: the CUDA kernels are not built");
    }
    vgt_open();
    char path[512];
    snprintf(path, sizeof(path), "%s/foreign%s.ptx", VGT_KERNELS, arch ? "90a" : "80");
    char *text = vgt_read(path);
    struct vg_module *m = vgt_load(text);
    free(text);
    return m;
}

// One block of 128 threads over in[n_in], out[n_out]; judge says whether out is right.
static void run(const char *name, const void *in, size_t in_bytes, size_t out_bytes, int n,
                void (*judge)(const void *out))
{
    for (int arch = 0; arch < 2; arch++) {
        struct vg_module *m = open_module(arch);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            struct {
                uint64_t in, out;
                int n;
            } p = {vgt_mem(in, in_bytes), vgt_mem(NULL, out_bytes), n};
            vgt_ok(m, name,
                   (struct vgt_run){.block = 128,
                                    .seed = seed,
                                    .checks = seed ? VG_CHECK_ALL
                                                   : VG_CHECK_ALL & ~(unsigned)VG_CHECK_SCHED},
                   &p, n ? sizeof(p) : 16);
            void *out = malloc(out_bytes);
            cr_assert(out != NULL);
            vgt_get(out, p.out, out_bytes);
            judge(out);
            free(out);
            vg_mem_free(p.in);
            vg_mem_free(p.out);
        }
        vg_module_free(m);
    }
}

static int ints[512];
static float floats[512];
static double doubles[128];

static void fill(void)
{
    for (int i = 0; i < 512; i++) {
        ints[i] = i * 7919 % 1009 - 500;
        floats[i] = (float)ints[i] * 0.25f;
    }
    for (int i = 0; i < 128; i++) {
        doubles[i] = ints[i] * 0.125;
    }
}
TestSuite(vgpu_foreign, .init = fill);

static void judge_reduce(const void *out)
{
    int s = 0;
    for (int i = 0; i < 128; i++) {
        s += ints[i];
    }
    cr_assert(*(const int *)out == s, "%d, %d expected", *(const int *)out, s);
}
Test(vgpu_foreign, cub_block_reduce)
{
    run("block_reduce", ints, 512, 4, 0, judge_reduce);
}

static void judge_scan(const void *out)
{
    for (int i = 0, s = 0; i < 128; s += ints[i++]) {
        cr_assert(((const int *)out)[i] == s, "[%d]: %d, %d expected", i, ((const int *)out)[i], s);
    }
}
Test(vgpu_foreign, cub_block_scan)
{
    run("block_scan", ints, 512, 512, 0, judge_scan);
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}
static void judge_sort(const void *out)
{
    int want[512];
    memcpy(want, ints, sizeof(want));
    qsort(want, 512, sizeof(int), by_value);
    cr_assert(memcmp(out, want, sizeof(want)) == 0, "not sorted");
}
Test(vgpu_foreign, cub_block_radix_sort)
{
    run("block_sort", ints, 2048, 2048, 0, judge_sort);
}

static void judge_transpose(const void *out)
{
    for (int i = 0; i < 512; i++) {
        float want = 2 * floats[i] + (float)(i / 4);
        cr_assert(((const float *)out)[i] == want, "[%d]", i);
    }
}
Test(vgpu_foreign, cub_load_and_store_through_transposes)
{
    run("block_transpose", floats, 2048, 2048, 0, judge_transpose);
}

static void judge_max(const void *out)
{
    for (int w = 0; w < 4; w++) {
        double best = doubles[w * 32];
        for (int i = 0; i < 32; i++) {
            best = doubles[w * 32 + i] > best ? doubles[w * 32 + i] : best;
        }
        cr_assert(((const double *)out)[w] == best, "warp %d", w);
    }
}
Test(vgpu_foreign, cub_warp_reduce)
{
    run("warp_max", doubles, 1024, 32, 0, judge_max);
}

static void judge_pipeline(const void *out)
{
    for (int i = 0; i < 512; i++) {
        float want = floats[i / 128 * 128 + 127 - i % 128];
        cr_assert(((const float *)out)[i] == want, "[%d]", i);
    }
}
Test(vgpu_foreign, libcudacxx_pipeline)
{
    run("pipelined", floats, 2048, 2048, 4, judge_pipeline);
}

static void judge_barrier(const void *out)
{
    for (int i = 0; i < 128; i++) {
        cr_assert(((const int *)out)[i] == ints[127 - i], "[%d]", i);
    }
}
Test(vgpu_foreign, libcudacxx_barrier)
{
    run("barriers", ints, 512, 512, 0, judge_barrier);
}

static void judge_groups(const void *out)
{
    for (int i = 0; i < 128; i++) {
        int warp = i / 32 * 32, sum = 0, scan = 0, least = ints[warp + 1];
        for (int k = warp; k < warp + 32; k++) {
            sum += ints[k];
            scan += k <= i ? ints[k] : 0;
            least = k % 2 && ints[k] < least ? ints[k] : least;
        }
        int want = sum + scan + (i & 1 ? least : 0) + ints[127 - i];
        cr_assert(((const int *)out)[i] == want, "[%d]: %d, %d expected", i, ((const int *)out)[i],
                  want);
    }
}
Test(vgpu_foreign, cooperative_groups_collectives)
{
    run("groups", ints, 512, 512, 0, judge_groups);
}

static void judge_wmma(const void *out)
{
    for (int i = 0; i < 256; i++) {
        int sum = 0;
        for (int k = 0; k < 32; k++) {
            sum += ints[i / 16 * 32 + k] % 16 * (ints[511 - (i % 16 * 32 + k)] % 16);
        }
        float want[3] = {(float)sum * 0.25f * 2, (float)sum * 0.0625f * 2, (float)sum * 2}; // exact
        for (int t = 0; t < 3; t++) {
            float got = ((const float *)out)[256 * t + i];
            cr_assert(got == want[t], "matrix %d [%d]: %g, %g expected", t, i, (double)got,
                      (double)want[t]);
        }
    }
}
Test(vgpu_foreign, tiles_of_mma_h)
{
    run("wmma_tiles", ints, 2048, 3072, 0, judge_wmma);
}
