/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/variants.h"

#include "base/fault.h"
#include "base/mem.h"
#include "cpu/machine.h"
#include "cpu/slab.h"

#include <unistd.h>

Test(cpu, memory_is_aligned_zeroed_and_keeps_what_is_put_there)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(1, &d), OCT_OK);
    cr_assert(d->host_memory);
    for (size_t n = 0; n < 5000; n = n * 2 + 1) {
        k_ptr p = 0;
        cr_assert_eq(oct_dev_alloc(d, n, &p), OCT_OK);
        cr_assert_eq(p % 256, 0u, "n=%zu", n);
        unsigned char *bytes = oct_host_ptr(p), back[5000], text[5000];
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(bytes[i], 0, "n=%zu i=%zu", n, i);
            text[i] = (unsigned char)(i * 7 + 1);
        }
        cr_assert_eq(oct_dev_upload(d, p, text, n), OCT_OK);
        cr_assert_eq(oct_dev_sync(d), OCT_OK);
        cr_assert_eq(oct_dev_download(d, back, p, n), OCT_OK);
        cr_assert_eq(memcmp(text, back, n), 0, "n=%zu", n);
        oct_dev_free(d, p);
    }
    k_ptr none = 42;
    cr_assert_eq(oct_dev_alloc(d, SIZE_MAX - 100, &none), OCT_E_MEM);
    cr_assert_eq(none, 42u);
    oct_dev_close(d);
    oct_dev_close(NULL);
}

Test(cpu, a_thread_count_that_cannot_be_is_refused)
{
    static const int bad[] = {-1, INT32_MIN, 1025, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct oct_device *d = NULL;
        cr_assert_eq(oct_cpu_open(bad[i], &d), OCT_E_ARG, "%d", bad[i]);
        cr_assert_null(d);
    }
}

Test(cpu, an_op_that_does_not_exist_is_refused)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(1, &d), OCT_OK);
    cr_assert_eq(oct_dev_run(d, K_N_OPS, NULL), OCT_E_ARG);
    oct_dev_close(d);
}

Test(cpu, the_machine_is_what_the_kernel_says_or_less)
{
    const int cores = oct_machine_cores();
    cr_assert(cores >= 1 && cores <= (int)sysconf(_SC_NPROCESSORS_CONF), "%d cores", cores);
    const uint64_t most = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t bytes = oct_machine_memory();
    cr_assert(bytes > 0 && bytes <= most, "%llu bytes", (unsigned long long)bytes);
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(0, &d), OCT_OK);
    cr_assert_eq(d->memory_bytes, bytes);
    cr_assert_eq(((struct oct_cpu *)(void *)d)->n_threads, cores);
    cr_assert_gt(strlen(oct_cpu_isa()), 0u);
    oct_dev_close(d);
}

Test(cpu, scratch_grows_and_is_the_threads_own)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(3, &d), OCT_OK);
    struct oct_cpu *cpu = (struct oct_cpu *)(void *)d;
    static const size_t sizes[] = {1, 100, 5000000, 10, 5000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert_eq(oct_cpu_scratch_reserve(cpu, sizes[i]), OCT_OK);
        cr_assert_geq(cpu->scratch_bytes, sizes[i]);
        int wrong = 0;
        for (int t = 0; t < 3; t++) {
            memset(oct_cpu_scratch(cpu, t), t + 1, sizes[i]);
        }
        for (int t = 0; t < 3; t++) {
            const unsigned char *mine = oct_cpu_scratch(cpu, t);
            wrong += (uintptr_t)mine % 256 != 0;
            for (size_t b = 0; b < sizes[i]; b++) {
                wrong += mine[b] != t + 1;
            }
        }
        cr_assert_eq(wrong, 0, "size %zu", sizes[i]);
    }
    cr_assert_eq(oct_cpu_shared_reserve(cpu, 1000), OCT_OK);
    cr_assert_geq(cpu->shared_bytes, 1000u);
    cr_assert_eq(oct_cpu_scratch_reserve(cpu, SIZE_MAX), OCT_E_MEM);
    cr_assert_geq(cpu->scratch_bytes, 5000001u, "a failure keeps what was there");
    oct_dev_close(d);
}

/* Pieces of all sizes, given back in another order while new ones are taken. */
Test(cpu, slabs_hold_pieces_apart_and_are_freed_with_the_last)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(1, &d), OCT_OK);
    struct oct_cpu *cpu = (struct oct_cpu *)(void *)d;
    enum { N = 60 };
    struct oct_cpu_slab *slab[N];
    char *piece[N];
    size_t bytes[N];
    const struct oct_mem_stats before = oct_mem_stats();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            bytes[i] = i % 20 == 19 ? (size_t)40 << 20 : (size_t)(i * i * 997 + 1);
            piece[i] = oct_cpu_slab_take(cpu, bytes[i], &slab[i]);
            cr_assert_not_null(piece[i]);
            cr_assert_eq((uintptr_t)piece[i] % 256, 0u);
            memset(piece[i], i, bytes[i]);
            const int gone = i - 7; /* some leave early */
            if (gone >= 0 && gone % 3 == round) {
                oct_cpu_slab_give(cpu, slab[gone]);
                slab[gone] = NULL;
            }
        }
        for (int i = 0; i < N; i++) {
            if (slab[i]) {
                for (size_t b = 0; b < bytes[i]; b += 4093) {
                    cr_assert_eq(piece[i][b], i, "piece %d byte %zu", i, b);
                }
                cr_assert_eq(piece[i][bytes[i] - 1], i, "piece %d, its end", i);
                oct_cpu_slab_give(cpu, slab[i]);
            }
        }
        cr_assert_null(cpu->slabs);
    }
    const struct oct_mem_stats after = oct_mem_stats();
    cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    struct oct_cpu_slab *none = NULL;
    cr_assert_null(oct_cpu_slab_take(cpu, SIZE_MAX, &none));
    cr_assert_null(oct_cpu_slab_take(cpu, SIZE_MAX - 300, &none));
    oct_dev_close(d);
}

#if OCT_FAULTS
Test(cpu, an_open_that_finds_no_memory_leaves_nothing)
{
    for (uint64_t k = 1; k <= 2; k++) {
        struct oct_device *d = NULL;
        const struct oct_mem_stats before = oct_mem_stats();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        cr_assert_eq(oct_cpu_open(1, &d), OCT_E_MEM, "k=%d", (int)k);
        oct_fault_reset();
        cr_assert_null(d);
        const struct oct_mem_stats after = oct_mem_stats();
        cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    }
}
#endif
