/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda.c - opens and closes a CUDA device; its table; what happens when it fails. */
#include "device/cuda_device.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- failures ---- */

oct_status oct_cuda_enter(struct oct_cuda *c)
{
    if (c->dead) {
        return OCT_FAIL(OCT_E_DEVICE, "%s", c->dead_text);
    }
    OCT_CU(c, ctx_set_current, c->context);
    return OCT_OK;
}

oct_status oct_cuda_die_of(struct oct_cuda *c, const char *what, const char *error)
{
    if (!c->dead) {
        (void)snprintf(c->dead_text, sizeof c->dead_text, "cuda:%d: %s: %s%s", c->ordinal, what,
                       error,
                       strstr(what, "Synchronize") && !c->wait_each
                           ? " (--sync-kernels names the kernel that is to blame)"
                           : "");
        c->dead = true;
    }
    return OCT_FAIL(OCT_E_DEVICE, "%s", c->dead_text);
}

oct_status oct_cuda_die(struct oct_cuda *c, oct_cu_result r, const char *what)
{
    char number[32];
    return oct_cuda_die_of(c, what, oct_cu_error_name(c->cu, r, number, sizeof number));
}

bool oct_cuda_drain(struct oct_cuda *c)
{
    return !c->graphs.capturing && c->cu->ctx_set_current(c->context) == OCT_CU_OK &&
           c->cu->stream_synchronize(c->stream) == OCT_CU_OK;
}

/* ---- the table ---- */

static oct_status cuda_sync(struct oct_device *d)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(!c->graphs.recording);
    OCT_TRY(oct_cuda_enter(c));
    OCT_CU(c, stream_synchronize, c->stream);
    return OCT_OK;
}

static uint64_t own_work_bytes(const struct oct_cuda *c, const struct k_limits *l)
{
    return (k_work_bytes(&c->facts, l) + 255) / 256 * 256;
}

static uint64_t cuda_work_bytes(struct oct_device *d, const struct k_limits *l)
{
    const struct oct_cuda *c = oct_cuda_of(d);
    return own_work_bytes(c, l) + oct_cuda_lt_work_bytes(c);
}

static oct_status cuda_prepare(struct oct_device *d, const struct k_limits *l)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(!c->work.base);
    const uint64_t bytes = own_work_bytes(c, l);
    k_ptr base;
    OCT_TRY(oct_cuda_enter(c));
    OCT_TRY(oct_cuda_take(c, bytes, &base));
    OCT_TRY(oct_cuda_lt_prepare(c));
    OCT_CU(c, memset_d8_async, base, 0, K_WORK_TICKET_BYTES, c->stream);
    OCT_CU(c, stream_synchronize, c->stream); /* weights have arrived, or failed, before ready */
    c->work = (struct k_work){base, bytes};
    return OCT_OK;
}

/* Lets go of everything there is. Where it cannot be known that nothing is under way, the pieces
 * are left alone: the driver gives them back with the context, when it has stopped what used them.
 */
static void cuda_close(struct oct_device *d)
{
    struct oct_cuda *c = oct_cuda_of(d);
    if (c->context) {
        const bool quiet = c->stream && oct_cuda_drain(c);
        oct_cuda_lt_close(c);
        if (quiet) {
            oct_cuda_graphs_close(c);
            oct_cuda_memory_close(c);
            oct_cuda_kernels_unload(c);
            (void)c->cu->stream_destroy(c->stream);
        }
        (void)c->cu->ctx_set_current(NULL);
        (void)c->cu->primary_ctx_release(c->cu_device);
    }
    oct_free(c->arena.blocks);
    oct_pool_destroy(d->pool);
    oct_free(c);
}

static const struct oct_device_table cuda_table = {
    .name = "cuda",
    .alloc = oct_cuda_alloc,
    .free = oct_cuda_free,
    .upload = oct_cuda_upload,
    .download = oct_cuda_download,
    .matrix_create = oct_cuda_matrix_create,
    .matrix_destroy = oct_cuda_matrix_destroy,
    .matrix_bytes = oct_cuda_matrix_bytes,
    .run = oct_cuda_run,
    .sync = cuda_sync,
    .reserve = oct_cuda_reserve,
    .prepare = cuda_prepare,
    .work_bytes = cuda_work_bytes,
    .host_alloc = oct_cuda_host_alloc,
    .host_free = oct_cuda_host_free,
    .put = oct_cuda_put,
    .get = oct_cuda_get,
    .record_begin = oct_cuda_record_begin,
    .record_end = oct_cuda_record_end,
    .close = cuda_close,
};

/* ---- which devices will do ---- */

static bool has_kernels(void)
{
    struct k_fatbin f;
    return K_N_MODULES > 0 && k_fatbin_of(0, &f);
}

static oct_status no_kernels(void)
{
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "cuda: this build has no CUDA kernels: it was made without nvcc "
                    "(scripts/cuda_toolkit.sh takes one from PyPI)");
}

/* Kernels are laid out for the shared memory of 8.0 and the instructions of 9.0. 8.6 to 8.9 have 99
 * KiB of shared memory a block where 8.0 has 163, and later ones would run PTX that has been
 * compiled while the user waits: neither has been tried. */
static oct_status check_sm(int ordinal, const char *name, int sm)
{
    if (sm == 80 || sm == 90) {
        return OCT_OK;
    }
    return OCT_FAIL(
        OCT_E_UNSUPPORTED,
        "cuda:%d (%s) has compute capability %d.%d; the kernels are made for 8.0 (A100) "
        "and 9.0 (H100, H200)",
        ordinal, name, sm / 10, sm % 10);
}

/* The numbers of a device that need no context. */
struct found {
    int cu_device;
    struct oct_cuda_about about;
    struct k_facts facts;
};

static oct_status ask(const struct oct_cu *cu, int ordinal, struct found *out)
{
    char number[32];
    struct found f = {0};
    int n = 0, major = 0, minor = 0, l2 = 0;
    size_t bytes = 0;
    oct_cu_result r = cu->device_get_count(&n);
    if (r == OCT_CU_OK && (ordinal < 0 || ordinal >= n)) {
        return n == 0 ? OCT_FAIL(OCT_E_UNSUPPORTED, "cuda: the driver sees no GPU")
                      : OCT_FAIL(OCT_E_UNSUPPORTED, "cuda:%d does not exist; the last is cuda:%d",
                                 ordinal, n - 1);
    }
    const struct {
        int attr, *value;
    } numbers[] = {{OCT_CU_DEVICE_CC_MAJOR, &major},
                   {OCT_CU_DEVICE_CC_MINOR, &minor},
                   {OCT_CU_DEVICE_SMS, &f.facts.n_sms},
                   {OCT_CU_DEVICE_SMEM_BLOCK_OPTIN, &f.facts.smem_block_bytes},
                   {OCT_CU_DEVICE_SMEM_SM, &f.facts.smem_sm_bytes},
                   {OCT_CU_DEVICE_L2_BYTES, &l2}};
    r = r != OCT_CU_OK ? r : cu->device_get(&f.cu_device, ordinal);
    r = r != OCT_CU_OK ? r : cu->device_get_name(f.about.name, sizeof f.about.name, f.cu_device);
    r = r != OCT_CU_OK ? r : cu->device_total_mem(&bytes, f.cu_device);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && r == OCT_CU_OK; i++) {
        r = cu->device_get_attribute(numbers[i].value, numbers[i].attr, f.cu_device);
    }
    if (r != OCT_CU_OK) {
        return OCT_FAIL(OCT_E_DEVICE, "cuda:%d cannot be asked what it is: %s", ordinal,
                        oct_cu_error_name(cu, r, number, sizeof number));
    }
    f.about.sm = f.facts.sm = major * 10 + minor;
    f.about.n_sms = f.facts.n_sms;
    f.about.memory_bytes = bytes;
    f.about.driver = cu->version;
    f.facts.l2_bytes = l2;
    *out = f;
    return OCT_OK;
}

/* ---- cuda.h ---- */

int oct_cuda_count(void)
{
    const struct oct_cu *cu;
    int n = 0;
    if (oct_cu_open(&cu) != OCT_OK) {
        oct_error_clear();
        return 0;
    }
    return cu->device_get_count(&n) == OCT_CU_OK ? n : 0;
}

oct_status oct_cuda_about(int ordinal, struct oct_cuda_about *out)
{
    const struct oct_cu *cu;
    struct found f;
    OCT_TRY(oct_cu_open(&cu));
    OCT_TRY(ask(cu, ordinal, &f));
    *out = f.about;
    return OCT_OK;
}

static oct_status find_device(int ordinal, const struct oct_cu **cu, struct found *out)
{
    if (!has_kernels()) {
        return no_kernels();
    }
    OCT_TRY(oct_cu_open(cu));
    OCT_TRY(ask(*cu, ordinal, out));
    return check_sm(ordinal, out->about.name, out->about.sm);
}

bool oct_cuda_present(char *why, size_t n)
{
    const struct oct_cu *cu;
    struct found f;
    if (find_device(0, &cu, &f) == OCT_OK) {
        return true;
    }
    if (why && n) {
        (void)snprintf(why, n, "%s", oct_last_error());
    }
    oct_error_clear();
    return false;
}

static oct_status open_context(struct oct_cuda *c)
{
    char number[32];
    const oct_cu_result r = c->cu->primary_ctx_retain(&c->context, c->cu_device);
    if (r != OCT_CU_OK) {
        c->context = NULL;
        return OCT_FAIL(r == OCT_CU_OUT_OF_MEMORY ? OCT_E_MEM : OCT_E_DEVICE,
                        "cuda:%d: cannot make a context: %s", c->ordinal,
                        oct_cu_error_name(c->cu, r, number, sizeof number));
    }
    OCT_TRY(oct_cuda_enter(c));
    OCT_CU(c, stream_create, &c->stream, OCT_CU_STREAM_NON_BLOCKING);
    OCT_TRY(oct_cuda_kernels_load(c));
    size_t free_bytes, total;
    OCT_CU(c, mem_get_info, &free_bytes, &total);
    c->dev.free_bytes = free_bytes;
    return OCT_OK;
}

oct_status oct_cuda_open(int ordinal, int n_threads, struct oct_device **out)
{
    const struct oct_cu *cu;
    struct found f;
    OCT_ASSERT(n_threads >= 1);
    OCT_TRY(find_device(ordinal, &cu, &f));
    struct oct_cuda *c = oct_calloc(1, sizeof *c);
    if (!c) {
        return oct_no_memory("the cuda device", sizeof *c);
    }
    c->dev.table = &cuda_table;
    c->dev.memory_bytes = f.about.memory_bytes;
    c->cu = cu;
    c->ordinal = ordinal;
    c->cu_device = f.cu_device;
    c->facts = f.facts;
    (void)snprintf(c->dev.about, sizeof c->dev.about, "%s, sm_%d, %d SMs", f.about.name, f.about.sm,
                   f.about.n_sms);
    oct_status st = oct_pool_create(n_threads, "octavo", &c->dev.pool);
    if (st == OCT_OK) {
        st = open_context(c);
    }
    if (st != OCT_OK) {
        cuda_close(&c->dev);
        return st;
    }
    *out = &c->dev;
    return OCT_OK;
}

struct oct_cuda_counts oct_cuda_counts(const struct oct_device *d)
{
    OCT_ASSERT(d->table == &cuda_table);
    return ((const struct oct_cuda *)(const void *)d)->counts;
}

void oct_cuda_wait_each(struct oct_device *d, bool on)
{
    if (d->table == &cuda_table) {
        oct_cuda_of(d)->wait_each = on;
    }
}
