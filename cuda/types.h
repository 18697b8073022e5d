/* SPDX-License-Identifier: Apache-2.0
 *
 * types.h - what every op contract is written with. Plain C; read by C, C++ and CUDA alike.
 *
 * Shape letters, the same everywhere: T token rows this step, B sequences, H query heads, G
 * key/value heads, D head size, C model width, F feed-forward width, V vocabulary, L layers, P
 * pages, S slots (tokens) per page. Matrix products say M, N, K. */
#ifndef K_TYPES_H
#define K_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
#define K_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define K_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* Small functions for both sides. */
#ifdef __CUDACC__
#define K_INLINE static inline __host__ __device__
#else
#define K_INLINE static inline
#endif

/* An address in the memory of the device that runs the op: a device address for CUDA, a host
 * pointer for the CPU backend. 0: absent. */
typedef uint64_t k_ptr;

/* Storage types of activations, KV and weights that are not packed. Sums are always fp32. */
enum k_dtype {
    K_BF16 = 1, /* 2 bytes */
    K_F32 = 2,  /* 4 bytes */
};

K_INLINE int64_t k_dtype_bytes(int32_t dtype)
{
    return dtype == K_BF16 ? 2 : 4;
}

/* Rows of activations, and of a head in the cache, start on multiples of so many elements, so that
 * 16-byte loads are aligned whatever the shape. What lies between is never read. */
enum { K_ROW_ALIGN = 8 };

K_INLINE int64_t k_row_stride(int64_t n)
{
    return (n + K_ROW_ALIGN - 1) / K_ROW_ALIGN * K_ROW_ALIGN;
}

#endif
