/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.c - the table of the CPU device. Memory is the host's own, an op is done when run() returns.
 */
#include "cpu/cpu_ops.h"

#include "base/mem.h"
#include "cpu/machine.h"

enum {
    MAX_THREADS = 1024,
    FIRST_SCRATCH_BYTES =
        1 << 20, /* of one thread: enough for most models, so that no op grows it */
};

static struct oct_cpu *cpu(struct oct_device *d)
{
    return (struct oct_cpu *)(void *)d;
}

/* calloc: a large block comes as zero pages that cost nothing until they are touched, so a KV cache
 * for the whole context does not slow the start. In front of the aligned block stands what calloc
 * gave. */
enum { ALIGN = 256 };

static oct_status cpu_alloc(struct oct_device *d, size_t bytes, k_ptr *out)
{
    (void)d;
    size_t all;
    char *raw = __builtin_add_overflow(bytes, ALIGN + sizeof raw, &all) ? NULL : oct_calloc(1, all);
    if (!raw) {
        return oct_no_memory("the cpu device", bytes);
    }
    const uintptr_t p = ((uintptr_t)raw + sizeof raw + ALIGN - 1) / ALIGN * ALIGN;
    memcpy((char *)p - sizeof raw, &raw, sizeof raw);
    oct_machine_want_huge_pages((void *)p, bytes);
    *out = (k_ptr)p;
    return OCT_OK;
}

static void cpu_free(struct oct_device *d, k_ptr p)
{
    (void)d;
    char *raw;
    memcpy(&raw, (char *)oct_host_ptr(p) - sizeof raw, sizeof raw);
    oct_free(raw);
}

static oct_status cpu_upload(struct oct_device *d, k_ptr dst, const void *src, size_t bytes)
{
    (void)d;
    if (bytes) {
        memmove(oct_host_ptr(dst), src, bytes);
    }
    return OCT_OK;
}

static oct_status cpu_download(struct oct_device *d, void *dst, k_ptr src, size_t bytes)
{
    (void)d;
    if (bytes) {
        memmove(dst, oct_host_ptr(src), bytes);
    }
    return OCT_OK;
}

static oct_status cpu_matrix_create(struct oct_device *d, const struct oct_matrix_desc *m,
                                    k_ptr *out)
{
    return oct_cpu_matrix_create(cpu(d), m, out);
}

static void cpu_matrix_destroy(struct oct_device *d, k_ptr m)
{
    oct_cpu_matrix_destroy(cpu(d), m);
}

static uint64_t cpu_matrix_bytes(struct oct_device *d, int32_t n, int32_t k, int32_t dtype)
{
    return oct_cpu_matrix_bytes(cpu(d), n, k, dtype);
}

static oct_status cpu_run(struct oct_device *d, enum k_op op, const void *args)
{
    switch (op) {
#define RUN(name, type) \
    case K_OP_##name: \
        return oct_cpu_##name(cpu(d), args);
        K_OPS(RUN)
#undef RUN
    case K_N_OPS:
        break;
    }
    return OCT_FAIL(OCT_E_ARG, "device cpu has no op %d", (int)op);
}

static oct_status cpu_sync(struct oct_device *d)
{
    (void)d;
    return OCT_OK;
}

static void cpu_close(struct oct_device *d)
{
    oct_pool_destroy(d->pool);
    oct_free(cpu(d)->scratch);
    oct_free(cpu(d)->shared);
    oct_free(d);
}

static const struct oct_device_table cpu_table = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .matrix_create = cpu_matrix_create,
    .matrix_destroy = cpu_matrix_destroy,
    .matrix_bytes = cpu_matrix_bytes,
    .run = cpu_run,
    .sync = cpu_sync,
    .close = cpu_close,
};

/* Makes *block at least `bytes` long, `copies` times over; what was in it is lost. */
static oct_status grow(char **block, size_t *block_bytes, size_t bytes, size_t copies)
{
    if (bytes <= *block_bytes) {
        return OCT_OK;
    }
    size_t each = *block_bytes ? *block_bytes : 256, all;
    while (each < bytes) { /* doubling: few growths, and always a multiple of 256 */
        if (__builtin_mul_overflow(each, 2, &each)) {
            return oct_no_memory("scratch of the cpu device", bytes);
        }
    }
    char *fresh = __builtin_mul_overflow(each, copies, &all) ? NULL : oct_aligned_alloc(256, all);
    if (!fresh) {
        return oct_no_memory("scratch of the cpu device", bytes);
    }
    oct_free(*block);
    *block = fresh;
    *block_bytes = each;
    return OCT_OK;
}

oct_status oct_cpu_scratch_reserve(struct oct_cpu *d, size_t bytes)
{
    return grow(&d->scratch, &d->scratch_bytes, bytes, (size_t)d->n_threads);
}

oct_status oct_cpu_shared_reserve(struct oct_cpu *d, size_t bytes)
{
    return grow(&d->shared, &d->shared_bytes, bytes, 1);
}

static bool machine_has_bf16_pairs(void)
{
#if defined(__x86_64__)
    return oct_simd_level() == OCT_SIMD_V4 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

const char *oct_cpu_isa(void)
{
    switch (oct_simd_level()) {
    case OCT_SIMD_V4:
        return machine_has_bf16_pairs() ? "avx512_bf16" : "avx512";
    case OCT_SIMD_V3:
        return "avx2";
    case OCT_SIMD_BASE:
        break;
    }
#if defined(__x86_64__)
    return "x86-64";
#else
    return "generic";
#endif
}

oct_status oct_cpu_open(int n_threads, struct oct_device **out)
{
    if (n_threads < 0 || n_threads > MAX_THREADS) {
        return OCT_FAIL(OCT_E_ARG,
                        "%d threads cannot be used; give 1 to %d, or 0 for one per usable core",
                        n_threads, MAX_THREADS);
    }
    struct oct_cpu *d = oct_malloc(sizeof *d);
    if (!d) {
        return oct_no_memory("the cpu device", sizeof *d);
    }
    const int cores = oct_machine_cores();
    *d = (struct oct_cpu){
        .dev = {.table = &cpu_table, .memory_bytes = oct_machine_memory(), .host_memory = true},
        .n_threads = n_threads             ? n_threads
                     : cores < MAX_THREADS ? cores
                                           : MAX_THREADS,
        .simd = oct_simd_level(),
        .has_bf16_pairs = machine_has_bf16_pairs(),
    };
    oct_status st = oct_pool_create(d->n_threads, "octavo", &d->dev.pool);
    if (st == OCT_OK) {
        st = oct_cpu_scratch_reserve(d, FIRST_SCRATCH_BYTES);
    }
    if (st != OCT_OK) {
        cpu_close(&d->dev);
        return st;
    }
    *out = &d->dev;
    return OCT_OK;
}
