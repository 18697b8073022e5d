/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf.h - parser of GGUF v2/v3 headers (ggml-org/ggml docs/gguf.md): bytes in, checked values out.
 *
 * Limits, each with a test on both sides: strings 64 MiB, arrays 2^28 elements and never more than
 * the bytes that remain, nesting 4, 2^16 keys of 1..65535 bytes, 2^17 tensors with names of 1..255
 * bytes. */
#ifndef OCT_MODEL_GGUF_H
#define OCT_MODEL_GGUF_H

#include "base/io.h"
#include "base/mem.h"
#include "model/tensor.h"

enum oct_gguf_type {
    OCT_GGUF_U8 = 0,
    OCT_GGUF_I8,
    OCT_GGUF_U16,
    OCT_GGUF_I16,
    OCT_GGUF_U32,
    OCT_GGUF_I32,
    OCT_GGUF_F32,
    OCT_GGUF_BOOL,
    OCT_GGUF_STRING,
    OCT_GGUF_ARRAY,
    OCT_GGUF_U64,
    OCT_GGUF_I64,
    OCT_GGUF_F64
};

struct oct_gguf_str {
    const char *data; /* NUL-terminated in the arena; may hold NULs inside */
    size_t len;
};

struct oct_gguf_kv {
    struct oct_gguf_str key;
    enum oct_gguf_type type; /* of the value; ARRAY: see elem_type */
    enum oct_gguf_type elem_type;
    uint64_t n; /* elements of an array, else 1 */
    union {
        uint64_t u; /* U8..U64, BOOL */
        int64_t i;  /* I8..I64 */
        double f;   /* F32, F64 */
        struct oct_gguf_str s;
        const void *array;                  /* fixed-size elements: packed little-endian bytes */
        const struct oct_gguf_str *strings; /* STRING elements */
    } v;                                    /* nested arrays are checked and skipped: array NULL */
};

struct oct_gguf {
    uint32_t version;
    struct oct_gguf_kv *kvs;
    uint64_t n_kvs;
    struct oct_tensor
        *tensors; /* in file order; file index 0, offsets from the start of the file */
    uint64_t n_tensors;
    uint64_t alignment, data_offset;
    struct oct_arena arena; /* holds all of the above */
};

/* Parses and checks the header: tensors inside the file, aligned, contiguous (padding aside), no
 * overlap, unique names and keys, no trailing data beyond alignment padding. */
OCT_CHECKED oct_status oct_gguf_open(const struct oct_file *f, struct oct_gguf **out);
void oct_gguf_close(struct oct_gguf *g);

const struct oct_gguf_kv *oct_gguf_find(const struct oct_gguf *g, const char *key); /* or NULL */

/* Typed reads: OCT_E_NOTFOUND if the key is absent (out untouched), OCT_E_FORMAT if it has another
 * type or does not fit. Integers of every width and sign convert when the value fits. */
OCT_CHECKED oct_status oct_gguf_u64(const struct oct_gguf *g, const char *key, uint64_t *out);
OCT_CHECKED oct_status oct_gguf_f64(const struct oct_gguf *g, const char *key, double *out);
OCT_CHECKED oct_status oct_gguf_bool(const struct oct_gguf *g, const char *key, bool *out);
OCT_CHECKED oct_status oct_gguf_str(const struct oct_gguf *g, const char *key,
                                    struct oct_gguf_str *out);
/* Element i of an integer array as int64; the caller checked type and bounds by kv->n. */
OCT_CHECKED oct_status oct_gguf_array_i64(const struct oct_gguf_kv *kv, uint64_t i, int64_t *out);
OCT_CHECKED oct_status oct_gguf_array_f64(const struct oct_gguf_kv *kv, uint64_t i, double *out);

#endif
