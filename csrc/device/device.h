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
#include "launch.h"
#include "ops.h"

#include <stdatomic.h>

struct oct_device;

/* A weight [n, k] given row-major in `dtype`. */
struct oct_matrix_desc {
    int32_t n, k;
    int32_t dtype;     /* enum k_dtype */
    const void *rows;  /* host memory, [n, k]; borrowed until the call returns */
    bool gate_up;      /* gate rows, then as many up rows: for gemm_silu alone */
    const float *bias; /* [n] what products with it have as gemm_args.bias, or NULL: none has
                          one; host memory, borrowed too */
};

/* What a device says to the beginning of a stretch of ops that it may have recorded before. */
enum oct_record {
    OCT_RECORD_NO,     /* it does not record: run the ops; no oct_dev_record_end() */
    OCT_RECORD_ON,     /* run the ops, which are recorded and not yet done, then end the record */
    OCT_RECORD_REPLAY, /* they were recorded under this key and are enqueued: skip them */
};

/* Entries marked [own memory] are NULL where k_ptr are host pointers. */
struct oct_device_table {
    const char *name; /* "cpu", "cuda" */
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

    /* [own memory] All memory the device will ever use, weights and cache included: later alloc and
     * matrix_create take from it. Once, before them. */
    oct_status (*reserve)(struct oct_device *d, uint64_t bytes);
    /* [own memory] The workspace of the ops, out of what was reserved; before the first op. */
    oct_status (*prepare)(struct oct_device *d, const struct k_limits *l);
    /* [own memory] Bytes that prepare will take, for the memory plan. */
    uint64_t (*work_bytes)(struct oct_device *d, const struct k_limits *l);
    /* [own memory] Host memory that copies to and from the device run at full speed with. */
    oct_status (*host_alloc)(struct oct_device *d, size_t bytes, void **out); /* zeroed */
    void (*host_free)(struct oct_device *d, void *p);
    /* [own memory] n_rows rows of row_bytes, `pitch` bytes apart on both sides, from and to memory
     * of host_alloc, in the order of the ops. The host side is the device's until the next sync. */
    oct_status (*put)(struct oct_device *d, k_ptr dst, const void *src, size_t row_bytes,
                      size_t n_rows, size_t pitch);
    oct_status (*get)(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
    /* [own memory] key: the same ops with the same arguments, addresses and numbers alike. */
    oct_status (*record_begin)(struct oct_device *d, uint64_t key, enum oct_record *out);
    /* Enqueues what was recorded. *again: it could not be recorded, without harm: run the ops once
     * more (record_begin may say NO from now on). */
    oct_status (*record_end)(struct oct_device *d, bool *again);
    void (*close)(struct oct_device *d); /* frees the device itself; matrices and memory first */
};

struct oct_device {
    const struct oct_device_table *table;
    uint64_t memory_bytes; /* in all; 0: unknown */
    uint64_t free_bytes;   /* of them, when the device was opened; 0: unknown */
    bool host_memory;      /* k_ptr are host pointers: no staging needed */
    char about[128];       /* for people: "NVIDIA H100 80GB HBM3, sm_90, 132 SMs"; "" for the cpu */
    struct oct_pool *pool; /* host threads, for its owner's use too, between calls; NULL: none */
    /* What was given to it last: an op's name, a kernel's, static; NULL: nothing. For another
     * thread to say of a device that hangs. */
    _Atomic(const char *) last_launch;
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
OCT_CHECKED oct_status oct_dev_reserve(struct oct_device *d, uint64_t bytes);
OCT_CHECKED oct_status oct_dev_prepare(struct oct_device *d, const struct k_limits *l);
uint64_t oct_dev_work_bytes(struct oct_device *d, const struct k_limits *l); /* 0 on the cpu */
OCT_CHECKED oct_status oct_dev_host_alloc(struct oct_device *d, size_t bytes, void **out);
void oct_dev_host_free(struct oct_device *d, void *p); /* NULL is fine */
OCT_CHECKED oct_status oct_dev_put(struct oct_device *d, k_ptr dst, const void *src,
                                   size_t row_bytes, size_t n_rows, size_t pitch);
OCT_CHECKED oct_status oct_dev_get(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
OCT_CHECKED oct_status oct_dev_record_begin(struct oct_device *d, uint64_t key,
                                            enum oct_record *out);
OCT_CHECKED oct_status oct_dev_record_end(struct oct_device *d, bool *again);
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
