/* SPDX-License-Identifier: Apache-2.0
 *
 * kv_copy.h - contract of copying pages of the KV cache inside the pool (all layers of the page).
 *
 *   for i < n_pairs:  pool[pairs[i].to, :] = pool[pairs[i].from, :]
 *
 *   pool         address of page 0; page p starts at pool + p * page_bytes (64-bit)
 *   pairs        [n_pairs] struct k_kv_copy_pair in device memory. No page is both written and
 * read, and none is written twice page_bytes   a multiple of 16
 *
 * Numerics  a copy: exact.
 * Cost      memory bound: 2 * n_pairs * page_bytes.
 * Kernels   kv_copy.cu.
 * Oracle    csrc/cpu/kv_copy.c.   Test: tests/cpu/test_kv_copy.c, tests/cuda/test_cuda_kv_copy.c */
#ifndef K_KV_COPY_H
#define K_KV_COPY_H

#include "types.h"

struct k_kv_copy_pair {
    int32_t from, to;
};

struct k_kv_copy_args {
    k_ptr pool, pairs;
    int64_t page_bytes;
    int32_t n_pairs;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_kv_copy_args) == 32, "same layout in C and CUDA");

#endif
