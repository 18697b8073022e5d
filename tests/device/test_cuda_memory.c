/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the CUDA device: blocks of the arena, copies of odd sizes, weights, pinned memory. */
#include "device/virtual_gpu.h"
#include "gemm_pack.h"

#include "base/mem.h"

enum { MIB = 1 << 20 };

static uint8_t pattern(size_t i, uint32_t salt)
{
    return (uint8_t)((i * 2654435761u + salt) >> 13);
}

static void says(const char *arch, const char *name, const char *sm)
{
    use_gpu(arch, NULL);
    struct oct_cuda_about about;
    char why[256];
    cr_assert(oct_cuda_present(why, sizeof why), "%s", why);
    cr_assert_eq(oct_cuda_count(), 1);
    DONE(oct_cuda_about(0, &about));
    cr_assert_eq(about.memory_bytes, 1u << 30);
    cr_assert_geq(about.driver, 12000);
    struct oct_device *d = open_gpu();
    cr_assert_str_eq(d->table->name, "cuda");
    cr_assert(strstr(d->about, name) && strstr(d->about, sm), "%s", d->about);
    cr_assert(!d->host_memory && d->pool);
    cr_assert_eq(d->memory_bytes, 1u << 30);
    cr_assert(d->free_bytes > 0 && d->free_bytes <= d->memory_bytes);
    oct_dev_close(d);
    no_findings();
}

Test(cuda_memory, an_a100_says_what_it_is)
{
    says("a100", "A100", "sm_80");
}

Test(cuda_memory, an_h100_says_what_it_is)
{
    says("h100", "H100", "sm_90");
}

static void round_trips(const char *arch)
{
    /* staging buffers have 16 MiB */
    static const size_t sizes[] = {
        0,       1,       255,          256,      257,          4097,
        MIB - 1, MIB + 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 35 * MIB + 13};
    use_gpu(arch, NULL);
    struct oct_device *d = open_gpu();
    DONE(oct_dev_reserve(d, 256 * MIB));
    char *host = malloc(36 * MIB), *back = malloc(36 * MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        k_ptr p;
        DONE(oct_dev_alloc(d, n, &p));
        cr_assert_eq(p % 256, 0);
        DONE(oct_dev_download(d, back, p, n));
        for (size_t j = 0; j < n; j++) {
            cr_assert_eq(back[j], 0, "byte %zu of %zu is not zero", j, n);
            host[j] = (char)pattern(j, (uint32_t)n);
        }
        DONE(oct_dev_upload(d, p, host, n));
        memset(host, 0x5a, n); /* the caller's again */
        DONE(oct_dev_download(d, back, p, n));
        for (size_t j = 0; j < n; j++) {
            cr_assert_eq((uint8_t)back[j], pattern(j, (uint32_t)n), "byte %zu of %zu", j, n);
        }
        oct_dev_free(d, p);
    }
    cr_assert_eq(oct_cuda_counts(d).used_bytes, 0);
    free(host);
    free(back);
    oct_dev_close(d);
    no_findings();
}

Test(cuda_memory, what_goes_up_comes_down_a100)
{
    round_trips("a100");
}

Test(cuda_memory, what_goes_up_comes_down_h100)
{
    round_trips("h100");
}

static uint64_t next(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* Random allocations and frees against a list of what is out. */
Test(cuda_memory, blocks_do_not_overlap_and_come_back)
{
    enum { SLOTS = 40, TURNS = 4000 };
    struct {
        k_ptr at;
        uint64_t bytes;
    } out[SLOTS] = {0};
    use_gpu("a100", NULL);
    struct oct_device *d = open_gpu();
    DONE(oct_dev_reserve(d, MIB));
    uint64_t seed = 5, used = 0, refused = 0;
    for (int i = 0; i < TURNS; i++) {
        const size_t slot = next(&seed) % SLOTS;
        if (out[slot].at) {
            oct_dev_free(d, out[slot].at);
            used -= out[slot].bytes;
            out[slot].at = 0;
        } else {
            const uint64_t n = next(&seed) % 80000;
            const oct_status st = oct_dev_alloc(d, n, &out[slot].at);
            if (st != OCT_OK) {
                cr_assert_eq(st, OCT_E_MEM);
                cr_assert(strstr(oct_last_error(), "reserved are free"), "%s", oct_last_error());
                cr_assert_eq(out[slot].at, 0);
                refused++;
                continue;
            }
            out[slot].bytes = n ? (n + 255) / 256 * 256 : 256;
            used += out[slot].bytes;
            for (size_t j = 0; j < SLOTS; j++) {
                cr_assert(j == slot || !out[j].at || out[j].at >= out[slot].at + out[slot].bytes ||
                              out[slot].at >= out[j].at + out[j].bytes,
                          "turn %d", i);
            }
        }
        cr_assert_eq(oct_cuda_counts(d).used_bytes, used, "turn %d", i);
    }
    cr_assert(refused > 0, "the arena was never full");
    for (size_t j = 0; j < SLOTS; j++) {
        oct_dev_free(d, out[j].at);
    }
    k_ptr all;
    DONE(oct_dev_alloc(d, MIB, &all)); /* one block again */
    oct_dev_free(d, all);
    oct_dev_close(d);
    no_findings();
}

static void compare_weight(struct oct_device *d, int32_t n, int32_t k, bool gate_up)
{
    const size_t n_rows = (size_t)n * (size_t)k, bytes = k_gemm_packed_bytes(n, k);
    uint16_t *rows = malloc(n_rows * 2);
    char *want = malloc(bytes), *got = malloc(bytes);
    for (size_t i = 0; i < n_rows; i++) {
        rows[i] = (uint16_t)(pattern(i, 1) << 8 | pattern(i, 2));
    }
    k_gemm_pack(rows, n, k, gate_up, 0, k_gemm_n_panels(n), want);
    const uint64_t used = oct_cuda_counts(d).used_bytes;
    const struct oct_matrix_desc desc = {n, k, K_BF16, rows, gate_up, NULL};
    k_ptr m;
    DONE(oct_dev_matrix_create(d, &desc, &m));
    memset(rows, 0xff, n_rows * 2);
    const uint64_t taken = oct_cuda_counts(d).used_bytes - used;
    cr_assert_eq(taken, d->table->matrix_bytes(d, n, k, K_BF16), "%d x %d", n, k);
    k_ptr packed; /* the first thing that the handle leads to: csrc/device/cuda_device.h */
    memcpy(&packed, (void *)(uintptr_t)m, sizeof packed);
    DONE(oct_dev_download(d, got, packed, bytes));
    cr_assert_arr_eq(got, want, bytes, "%d x %d, gate_up %d", n, k, gate_up);
    oct_dev_matrix_destroy(d, m);
    cr_assert_eq(oct_cuda_counts(d).used_bytes, used);
    free(rows);
    free(want);
    free(got);
}

Test(cuda_memory, weights_arrive_packed)
{
    static const struct {
        int32_t n, k;
        bool gate_up;
    } shapes[] = {{1, 8, false},       {64, 64, false},    {65, 72, false}, {1000, 576, false},
                  {4096, 3000, false}, {2, 16, true},      {130, 40, true}, {3072, 576, true},
                  {64, 131080, false}, {70, 140000, false}}; /* the last: panels over 16 MiB */
    use_gpu("h100", NULL);
    struct oct_device *d = open_gpu();
    DONE(oct_dev_reserve(d, 200 * MIB));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        compare_weight(d, shapes[i].n, shapes[i].k, shapes[i].gate_up);
    }
    k_ptr m = 0;
    float rows[64] = {0};
    const struct oct_matrix_desc f32 = {8, 8, K_F32, rows, false, NULL};
    FAILS(oct_dev_matrix_create(d, &f32, &m), OCT_E_UNSUPPORTED, "bfloat16");
    const struct oct_matrix_desc large = {65536, 4096, K_BF16, rows, false, NULL};
    FAILS(oct_dev_matrix_create(d, &large, &m), OCT_E_MEM, "reserved are free");
    cr_assert(m == 0 && oct_cuda_counts(d).used_bytes == 0);
    oct_dev_close(d);
    no_findings();
}

Test(cuda_memory, rows_are_put_and_bytes_got_in_order)
{
    enum { ROWS = 7, ROW = 36, PITCH = 100, ALL = ROWS * PITCH };
    use_gpu("a100", NULL);
    struct oct_device *d = open_gpu();
    k_ptr p;
    void *in, *out;
    DONE(oct_dev_reserve(d, MIB));
    DONE(oct_dev_alloc(d, ALL, &p));
    DONE(oct_dev_host_alloc(d, ALL, &in));
    DONE(oct_dev_host_alloc(d, ALL, &out));
    char *from = in, *to = out;
    for (size_t i = 0; i < ALL; i++) {
        cr_assert_eq(from[i], 0);
        from[i] = (char)pattern(i, 3);
    }
    DONE(oct_dev_put(d, p, in, ROW, ROWS, PITCH));
    DONE(oct_dev_get(d, out, p, ALL));
    DONE(oct_dev_put(d, p, in, 0, ROWS, PITCH)); /* nothing */
    DONE(oct_dev_get(d, out, p, 0));
    DONE(oct_dev_sync(d));
    for (size_t i = 0; i < ALL; i++) {
        cr_assert_eq(to[i], i % PITCH < ROW ? from[i] : 0, "byte %zu", i);
    }
    DONE(oct_dev_put(d, p, in, PITCH, ROWS, PITCH)); /* without gaps */
    DONE(oct_dev_get(d, out, p, ALL));
    DONE(oct_dev_sync(d));
    cr_assert_arr_eq(to, from, ALL);
    oct_dev_host_free(d, in);
    oct_dev_host_free(d, out);
    oct_dev_free(d, p);
    oct_dev_close(d);
    no_findings();
}

Test(cuda_memory, open_and_close_leave_nothing)
{
    use_gpu("h100", NULL);
    const struct oct_mem_stats before = oct_mem_stats();
    uint64_t free_bytes = 0;
    for (int i = 0; i < 5; i++) {
        struct oct_device *d = open_gpu();
        const struct k_limits limits = small_limits();
        cr_assert(i == 0 || d->free_bytes == free_bytes, "%llu, then %llu bytes are free",
                  (unsigned long long)free_bytes, (unsigned long long)d->free_bytes);
        free_bytes = d->free_bytes;
        DONE(oct_dev_reserve(d, oct_dev_work_bytes(d, &limits)));
        DONE(oct_dev_prepare(d, &limits));
        cr_assert_eq(oct_cuda_counts(d).used_bytes, oct_cuda_counts(d).reserved_bytes);
        oct_dev_close(d);
    }
    const struct oct_mem_stats after = oct_mem_stats();
    cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    no_findings();
}
