/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_test.h - runs the launches of a plan through the driver API, by itself: no device layer.
 * The library is whatever dlopen("libcuda.so.1") finds: the virtual GPU's, by the test's DT_RPATH.
 *
 *     kt_open("h100", 1);                          one device, checks on; skips the test without
 * kernels args.in = kt_put(x, bytes); args.out = kt_room(bytes);   (room: never written, a finding
 * if read) kt_run(K_OP_embed, &args);                   plan, launch, wait; no finding, or the test
 * fails kt_get(got, args.out, bytes);
 *
 * Tests that want several seeds call kt_seed(s) between runs and compare. */
#ifndef OCT_TESTS_CUDA_KERNEL_TEST_H
#define OCT_TESTS_CUDA_KERNEL_TEST_H

#include "kernels.h"
#include "ops.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KT_WORK_BYTES = 64 << 20 };

/* arch: "a100" or "h100". Once a test (Criterion runs each in a process of its own). */
void kt_open(const char *arch, uint64_t seed);
void kt_seed(uint64_t seed);
const struct k_facts *kt_facts(void);

k_ptr kt_room(size_t bytes);                  /* never written */
k_ptr kt_put(const void *host, size_t bytes); /* device memory with a copy of host */
void kt_write(k_ptr dst, const void *host, size_t bytes);
void kt_get(void *host, k_ptr src, size_t bytes);
void kt_free(k_ptr p);
void kt_fill_nan(k_ptr p, size_t bytes); /* 0xff: NaN in bf16 and fp32, -1 as an integer */

/* The launches of the op; fails the test if the plan has none, a launch fails or a checker found
 * something. The tickets of the workspace must be zero again afterwards: checked. */
void kt_run(enum k_op op, const void *args);
/* What the last kt_run launched. */
int kt_launches(const struct k_launch **out);
/* The same for launches of the caller's. */
void kt_launch(const struct k_launch *l, int n);
struct k_work kt_work(void);

/* A counter of the virtual GPU of one kernel since the test began, as its JSON report names it
 * (tests/vgpu/README.md); differences are the caller's. 0 on a real GPU. */
uint64_t kt_counter(const char *kernel, const char *counter);
bool kt_is_virtual(void);

#endif
