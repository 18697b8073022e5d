/* SPDX-License-Identifier: Apache-2.0 */
#include "device/device.h"

#include "base/fault.h"

#include <string.h>

static void note_launch(struct oct_device *d, const char *name)
{
    atomic_store_explicit(&d->last_launch, name, memory_order_relaxed);
}

oct_status oct_dev_alloc(struct oct_device *d, size_t bytes, k_ptr *out)
{
    if (oct_fault_hit(OCT_FAULT_DEV_ALLOC)) {
        return OCT_FAIL(OCT_E_MEM, "device %s: cannot allocate %zu bytes: injected fault",
                        d->table->name, bytes);
    }
    return d->table->alloc(d, bytes, out);
}

void oct_dev_free(struct oct_device *d, k_ptr p)
{
    if (p) {
        d->table->free(d, p);
    }
}

oct_status oct_dev_upload(struct oct_device *d, k_ptr dst, const void *src, size_t bytes)
{
    if (oct_fault_hit(OCT_FAULT_DEV_UPLOAD)) {
        return OCT_FAIL(OCT_E_DEVICE, "device %s: upload failed: injected fault", d->table->name);
    }
    return d->table->upload(d, dst, src, bytes);
}

oct_status oct_dev_download(struct oct_device *d, void *dst, k_ptr src, size_t bytes)
{
    return d->table->download(d, dst, src, bytes);
}

oct_status oct_dev_matrix_create(struct oct_device *d, const struct oct_matrix_desc *m, k_ptr *out)
{
    if (oct_fault_hit(OCT_FAULT_DEV_ALLOC)) {
        return OCT_FAIL(OCT_E_MEM, "device %s: cannot hold a matrix of %d x %d: injected fault",
                        d->table->name, m->n, m->k);
    }
    return d->table->matrix_create(d, m, out);
}

void oct_dev_matrix_destroy(struct oct_device *d, k_ptr m)
{
    if (m) {
        d->table->matrix_destroy(d, m);
    }
}

oct_status oct_dev_sync(struct oct_device *d)
{
    if (oct_fault_hit(OCT_FAULT_DEV_SYNC)) {
        return OCT_FAIL(OCT_E_DEVICE, "device %s: wait failed: injected fault", d->table->name);
    }
    return d->table->sync(d);
}

oct_status oct_dev_reserve(struct oct_device *d, uint64_t bytes)
{
    if (d->host_memory) {
        return OCT_OK;
    }
    if (oct_fault_hit(OCT_FAULT_DEV_ALLOC)) {
        return OCT_FAIL(OCT_E_MEM, "device %s: cannot reserve %llu bytes: injected fault",
                        d->table->name, (unsigned long long)bytes);
    }
    return d->table->reserve(d, bytes);
}

oct_status oct_dev_prepare(struct oct_device *d, const struct k_limits *l)
{
    return d->host_memory ? OCT_OK : d->table->prepare(d, l);
}

uint64_t oct_dev_work_bytes(struct oct_device *d, const struct k_limits *l)
{
    return d->host_memory ? 0 : d->table->work_bytes(d, l);
}

oct_status oct_dev_host_alloc(struct oct_device *d, size_t bytes, void **out)
{
    if (oct_fault_hit(OCT_FAULT_DEV_ALLOC)) {
        return OCT_FAIL(OCT_E_MEM, "device %s: cannot pin %zu bytes: injected fault",
                        d->table->name, bytes);
    }
    return d->table->host_alloc(d, bytes, out);
}

void oct_dev_host_free(struct oct_device *d, void *p)
{
    if (p) {
        d->table->host_free(d, p);
    }
}

oct_status oct_dev_put(struct oct_device *d, k_ptr dst, const void *src, size_t row_bytes,
                       size_t n_rows, size_t pitch)
{
    if (oct_fault_hit(OCT_FAULT_DEV_UPLOAD)) {
        return OCT_FAIL(OCT_E_DEVICE, "device %s: upload failed: injected fault", d->table->name);
    }
    return row_bytes && n_rows ? d->table->put(d, dst, src, row_bytes, n_rows, pitch) : OCT_OK;
}

oct_status oct_dev_get(struct oct_device *d, void *dst, k_ptr src, size_t bytes)
{
    return bytes ? d->table->get(d, dst, src, bytes) : OCT_OK;
}

oct_status oct_dev_record_begin(struct oct_device *d, uint64_t key, enum oct_record *out)
{
    if (!d->table->record_begin) {
        *out = OCT_RECORD_NO;
        return OCT_OK;
    }
    OCT_TRY(d->table->record_begin(d, key, out));
    if (*out == OCT_RECORD_REPLAY) {
        note_launch(d, "a recorded step");
    }
    return OCT_OK;
}

oct_status oct_dev_record_end(struct oct_device *d, bool *again)
{
    return d->table->record_end(d, again);
}

#if OCT_FAULTS
/* What a broken kernel would do: the first row of a finished matrix product becomes NaN. */
static oct_status poison(struct oct_device *d, enum k_op op, const void *args)
{
    OCT_TRY(d->table->sync(d));
    if (op == K_OP_gemm && d->host_memory) {
        const struct k_gemm_args *a = args;
        memset((void *)(uintptr_t)a->out, 0xff, (size_t)(a->n * k_dtype_bytes(a->out_dtype)));
    }
    return OCT_OK;
}

/* What broken memory would do: the sign of a norm's first weight turns round. Of another op's turn
 * the next one has it. */
static void flip(struct oct_device *d, enum k_op op, const void *args)
{
    if (op != K_OP_rmsnorm || !d->host_memory) {
        oct_fault_arm(OCT_FAULT_DEV_OP, 1, false, OCT_FAULT_FLIP);
        return;
    }
    const struct k_rmsnorm_args *a = args;
    unsigned char *weight = (unsigned char *)(uintptr_t)a->weight;
    weight[k_dtype_bytes(a->dtype) - 1] ^= 0x80;
}
#endif

oct_status oct_dev_run(struct oct_device *d, enum k_op op, const void *args)
{
    static const char *const names[K_N_OPS] = {
#define OP_NAME(name, type) #name,
        K_OPS(OP_NAME)
#undef OP_NAME
    };
    note_launch(d, (unsigned)op < K_N_OPS ? names[op] : "an op that does not exist");
    const enum oct_fault_kind fault = oct_fault_kind_hit(OCT_FAULT_DEV_OP);
    if (fault == OCT_FAULT_FAIL) {
        return OCT_FAIL(OCT_E_DEVICE, "device %s: op %d failed: injected fault", d->table->name,
                        (int)op);
    }
#if OCT_FAULTS
    if (fault == OCT_FAULT_FLIP) {
        flip(d, op, args);
    }
#endif
    OCT_TRY(d->table->run(d, op, args));
#if OCT_FAULTS
    if (fault == OCT_FAULT_NAN) {
        return poison(d, op, args);
    }
#endif
    return OCT_OK;
}

void oct_dev_close(struct oct_device *d)
{
    if (d) {
        d->table->close(d);
    }
}
