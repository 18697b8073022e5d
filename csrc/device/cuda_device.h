/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_device.h - inside this room: the CUDA device, and what its files give each other.
 *
 * One stream carries everything, so order is the order of the calls. A driver call that fails after
 * the device was opened makes it dead: that call's sentence is kept and given to every later one.
 */
#ifndef OCT_DEVICE_CUDA_DEVICE_H
#define OCT_DEVICE_CUDA_DEVICE_H

#include "device/cublaslt.h"
#include "device/cuda.h"
#include "device/cuda_driver.h"
#include "kernels.h"

/* Memory to give out: blocks side by side, by address, without gaps. */
struct oct_cuda_arena {
    oct_cu_ptr base; /* one allocation; 0: nothing reserved */
    struct oct_cuda_block {
        uint64_t at, bytes; /* multiples of 256 */
        bool used;
    } * blocks; /* owned */
    size_t n_blocks, cap;
};

/* Two pinned buffers for bulk copies: one is filled while the other is on its way. */
struct oct_cuda_staging {
    void *buffer[2]; /* NULL: not yet needed */
    oct_cu_event sent[2];
    bool busy[2]; /* `sent` must be waited for before the buffer is written */
    size_t bytes; /* of each */
    int next;
};

enum { OCT_CUDA_MAX_GRAPHS = 128, OCT_CUDA_DEAD_TEXT = 512 };

struct oct_cuda_graphs {
    struct oct_cuda_graph {
        uint64_t key, last_used;
        oct_cu_graph_exec exec;
    } kept[OCT_CUDA_MAX_GRAPHS];
    int n;
    uint64_t clock;
    uint64_t key; /* that is being recorded */
    bool recording;
    bool capturing; /* the stream is; after recording: for good, and the device is dead */
    bool broken;    /* while recording: a launch was refused, the record is worthless */
    bool later;     /* while recording: something must run once before it can be recorded */
    bool off;       /* for good */
};

struct oct_cuda {
    struct oct_device dev; /* first: the caller's pointer is this one; its pool is owned */
    const struct oct_cu *cu;
    int ordinal, cu_device;
    oct_cu_context context; /* the primary one */
    oct_cu_stream stream;
    struct k_facts facts;
    struct k_work work;                     /* base 0: not prepared */
    oct_cu_module modules[K_N_MODULES + 1]; /* + 1: a list may be empty */
    oct_cu_function functions[K_N_KERNELS + 1];
    struct oct_cuda_arena arena;
    struct oct_cuda_staging staging;
    struct oct_cuda_graphs graphs;
    struct oct_cuda_lt *lt; /* cuda_cublaslt.c; NULL: products are our own kernels' */
    struct oct_cuda_counts counts;
    bool wait_each;
    bool dead;
    char dead_text[OCT_CUDA_DEAD_TEXT];
};

/* What oct_dev_matrix_create() gives: a k_ptr that is the address of this. */
struct oct_cuda_matrix {
    k_ptr packed; /* gemm_pack.h; for cuBLASLt row by row, k_row_stride(k) elements each */
    k_ptr bias;   /* for cuBLASLt: [n] bf16; 0: none */
    int32_t n, k;
    bool gate_up;
};

static inline struct oct_cuda *oct_cuda_of(struct oct_device *d)
{
    return (struct oct_cuda *)(void *)d;
}

/* ---- cuda.c ---- */

/* The beginning of every entry of the table: OCT_E_DEVICE if the device is dead; makes its context
 * the calling thread's (another library may have changed that). */
OCT_CHECKED oct_status oct_cuda_enter(struct oct_cuda *c);
/* The device is dead from now on: "cuda:0: WHAT: CUDA_ERROR_...". */
OCT_CHECKED oct_status oct_cuda_die(struct oct_cuda *c, oct_cu_result r, const char *what);
/* The same with another library's word for what went wrong. */
OCT_CHECKED oct_status oct_cuda_die_of(struct oct_cuda *c, const char *what, const char *error);
/* Waits until nothing is under way. False: that cannot be known, so what the stream may use must
 * not be freed. */
bool oct_cuda_drain(struct oct_cuda *c);
/* Calls the driver; a failure is final. */
#define OCT_CU(c, call, ...) \
    do { \
        const oct_cu_result oct_r_ = (c)->cu->call(__VA_ARGS__); \
        if (oct_r_ != OCT_CU_OK) { \
            return oct_cuda_die((c), oct_r_, oct_cu_symbol_##call); \
        } \
    } while (0)
#define OCT_CU_SYMBOL(field, symbol, needed, parameters) \
    static const char oct_cu_symbol_##field[] __attribute__((unused)) = symbol;
OCT_CU_CALLS(OCT_CU_SYMBOL)
#undef OCT_CU_SYMBOL

/* ---- cuda_memory.c ---- */

OCT_CHECKED oct_status oct_cuda_reserve(struct oct_device *d, uint64_t bytes);
OCT_CHECKED oct_status oct_cuda_alloc(struct oct_device *d, size_t bytes, k_ptr *out);
void oct_cuda_free(struct oct_device *d, k_ptr p);
OCT_CHECKED oct_status oct_cuda_upload(struct oct_device *d, k_ptr dst, const void *src,
                                       size_t bytes);
OCT_CHECKED oct_status oct_cuda_download(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
OCT_CHECKED oct_status oct_cuda_host_alloc(struct oct_device *d, size_t bytes, void **out);
void oct_cuda_host_free(struct oct_device *d, void *p);
OCT_CHECKED oct_status oct_cuda_put(struct oct_device *d, k_ptr dst, const void *src,
                                    size_t row_bytes, size_t n_rows, size_t pitch);
OCT_CHECKED oct_status oct_cuda_get(struct oct_device *d, void *dst, k_ptr src, size_t bytes);
/* Memory of the arena, not zeroed. */
OCT_CHECKED oct_status oct_cuda_take(struct oct_cuda *c, uint64_t bytes, k_ptr *out);
/* A pinned buffer of at least `bytes` that may be written; then what was put into it is on its way.
 * *room: how long it is. */
OCT_CHECKED oct_status oct_cuda_stage(struct oct_cuda *c, size_t bytes, void **buffer,
                                      size_t *room);
OCT_CHECKED oct_status oct_cuda_send(struct oct_cuda *c, k_ptr dst, size_t bytes);
void oct_cuda_memory_close(struct oct_cuda *c);

/* ---- cuda_matrix.c ---- */

OCT_CHECKED oct_status oct_cuda_matrix_create(struct oct_device *d, const struct oct_matrix_desc *m,
                                              k_ptr *out);
void oct_cuda_matrix_destroy(struct oct_device *d, k_ptr m);
uint64_t oct_cuda_matrix_bytes(struct oct_device *d, int32_t n, int32_t k, int32_t dtype);

/* ---- cuda_cublaslt.c: c->lt is there, unless it says otherwise ---- */

/* Weight and bias of a matrix whose numbers are set. What has been taken stays in x. */
OCT_CHECKED oct_status oct_cuda_lt_matrix_fill(struct oct_cuda *c, const struct oct_matrix_desc *m,
                                               struct oct_cuda_matrix *x);
uint64_t oct_cuda_lt_matrix_bytes(int32_t n, int32_t k);
/* a->weight is not looked at, w is. */
OCT_CHECKED oct_status oct_cuda_lt_gemm(struct oct_cuda *c, const struct k_gemm_args *a,
                                        const struct oct_cuda_matrix *w);
/* Without c->lt: 0, nothing, nothing. */
uint64_t oct_cuda_lt_work_bytes(const struct oct_cuda *c);
OCT_CHECKED oct_status oct_cuda_lt_prepare(struct oct_cuda *c);
void oct_cuda_lt_close(struct oct_cuda *c);

/* ---- cuda_kernels.c ---- */

OCT_CHECKED oct_status oct_cuda_kernels_load(struct oct_cuda *c);
void oct_cuda_kernels_unload(struct oct_cuda *c);

/* ---- cuda_launch.c ---- */

OCT_CHECKED oct_status oct_cuda_run(struct oct_device *d, enum k_op op, const void *args);

/* ---- cuda_graph.c ---- */

OCT_CHECKED oct_status oct_cuda_record_begin(struct oct_device *d, uint64_t key,
                                             enum oct_record *out);
OCT_CHECKED oct_status oct_cuda_record_end(struct oct_device *d, bool *again);
void oct_cuda_graphs_close(struct oct_cuda *c);

#endif
