/* SPDX-License-Identifier: Apache-2.0
 *
 * device.h - the table every backend fills: memory, weights in the backend's own layout, ops.
 *
 * One thread owns a device at a time. Ops are enqueued in order; oct_dev_sync() waits for them. A
 * failure of an op or of a sync is final for the device: the caller stops using it (OCT_E_DEVICE).
 * oct_dev_* below are the only callers of the table, and the seam where a test build injects
 * failures. */
#ifndef OCT_DEVICE_DEVICE_H
#define OCT_DEVICE_DEVICE_H

#include "base/pool.h"
#include "base/status.h"
#include "ops.h"

struct oct_device;

/* A weight [n, k] given row-major in `dtype`. */
struct oct_matrix_desc {
    int32_t n, k;
    int32_t dtype;    /* enum k_dtype */
    const void *rows; /* host memory, [n, k]; borrowed until the call returns */
};

struct oct_device_table {
    const char *name; /* "cpu" */
    oct_status (*alloc)(struct oct_device *d, size_t bytes,
                        k_ptr *out); /* aligned to 256, zeroed */
    void (*free)(struct oct_device *d, k_ptr p);
    oct_status (*upload)(struct oct_device *d, k_ptr dst, const void *src, size_t bytes);
    oct_status (*download)(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
    oct_status (*matrix_create)(struct oct_device *d, const struct oct_matrix_desc *m, k_ptr *out);
    void (*matrix_destroy)(struct oct_device *d, k_ptr m);
    /* Bytes a matrix_create of this shape will take, for the memory plan. */
    uint64_t (*matrix_bytes)(struct oct_device *d, int32_t n, int32_t k, int32_t dtype);
    /* args: the op's argument struct of ops.h; read before the call returns. */
    oct_status (*run)(struct oct_device *d, enum k_op op, const void *args);
    oct_status (*sync)(struct oct_device *d);
    void (*close)(struct oct_device *d); /* frees the device itself; matrices and memory first */
};

struct oct_device {
    const struct oct_device_table *table;
    uint64_t memory_bytes; /* in all; 0: unknown */
    bool host_memory;      /* k_ptr are host pointers: no staging needed */
    struct oct_pool *pool; /* host threads, for its owner's use too, between calls; NULL: none */
};

OCT_CHECKED oct_status oct_dev_alloc(struct oct_device *d, size_t bytes, k_ptr *out);
void oct_dev_free(struct oct_device *d, k_ptr p); /* 0 is fine */
OCT_CHECKED oct_status oct_dev_upload(struct oct_device *d, k_ptr dst, const void *src,
                                      size_t bytes);
OCT_CHECKED oct_status oct_dev_download(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
OCT_CHECKED oct_status oct_dev_matrix_create(struct oct_device *d, const struct oct_matrix_desc *m,
                                             k_ptr *out);
void oct_dev_matrix_destroy(struct oct_device *d, k_ptr m); /* 0 is fine */
OCT_CHECKED oct_status oct_dev_sync(struct oct_device *d);
void oct_dev_close(struct oct_device *d); /* NULL is fine */

/* oct_dev_embed(d, &args), oct_dev_gemm(d, &args), ... one for each op of ops.h. */
OCT_CHECKED oct_status oct_dev_run(struct oct_device *d, enum k_op op, const void *args);
#define OCT_DEV_OP(name, type) \
    OCT_CHECKED static inline oct_status oct_dev_##name(struct oct_device *d, const type *args) \
    { \
        return oct_dev_run(d, K_OP_##name, args); \
    }
K_OPS(OCT_DEV_OP)
#undef OCT_DEV_OP

#endif
