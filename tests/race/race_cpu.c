/* SPDX-License-Identifier: Apache-2.0
 *
 * race_cpu.c - two CPU devices in one process, each driven by a thread of its own and each with
 * workers: load a weight, norm, multiply, activate, sample. No two workers may touch the same
 * memory, and both devices give the same bits. */
#include "cpu/cpu.h"

#include "base/bf16.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 48, PADDED = 48, DIM = 320, WIDE = 2 * 336, ROUNDS = 12 };

struct job {
    int n_threads;
    struct k_sample_out out[ROWS];
    uint16_t act[PADDED * WIDE / 2];
};

static void need(oct_status st)
{
    if (st != OCT_OK) {
        (void)fprintf(stderr, "race_cpu: %s\n", oct_last_error());
        exit(1);
    }
}

static void *zeroed(size_t n)
{
    void *p = calloc(1, n);
    if (!p) {
        (void)fprintf(stderr, "race_cpu: no memory\n");
        exit(1);
    }
    return p;
}

static k_ptr addr(const void *p)
{
    return (k_ptr)(uintptr_t)p;
}

static uint16_t number(uint32_t i) /* -1 to 1 */
{
    return oct_f32_to_bf16((float)((i * 2654435761u) >> 8) * 0x1p-23f - 1.0f);
}

static void *drive(void *arg)
{
    struct job *j = arg;
    struct oct_device *d = NULL;
    need(oct_cpu_open(j->n_threads, &d));
    uint16_t *weight = zeroed(sizeof *weight * WIDE * DIM), *x = zeroed(sizeof *x * PADDED * DIM);
    uint16_t *h = zeroed(sizeof *h * PADDED * DIM), *scale = zeroed(sizeof *scale * DIM);
    uint16_t *wide = zeroed(sizeof *wide * PADDED * WIDE);
    float *logits = zeroed(sizeof *logits * PADDED * WIDE);
    struct k_sample_row rows[ROWS];
    for (uint32_t i = 0; i < WIDE * DIM; i++) {
        weight[i] = number(i);
    }
    for (uint32_t i = 0; i < ROWS * DIM; i++) {
        x[i] = number(i + 7);
    }
    for (uint32_t i = 0; i < DIM; i++) {
        scale[i] = number(i + 99);
    }
    for (int i = 0; i < ROWS; i++) {
        rows[i] = (struct k_sample_row){
            .n_top = 0, .temperature = 1, .top_p = 1, .repetition = 1, .seed = (uint64_t)i};
    }
    k_ptr w = 0;
    need(oct_dev_matrix_create(
        d, &(struct oct_matrix_desc){.n = WIDE, .k = DIM, .dtype = K_BF16, .rows = weight}, &w));
    for (int round = 0; round < ROUNDS; round++) {
        const int32_t n = round + 1 < ROUNDS ? 1 + round * 4 : ROWS;
        need(oct_dev_rmsnorm(d, &(struct k_rmsnorm_args){.out = addr(h),
                                                         .x = addr(x),
                                                         .weight = addr(scale),
                                                         .rows = n,
                                                         .dim = DIM,
                                                         .dtype = K_BF16,
                                                         .eps = 1e-5f}));
        struct k_gemm_args product = {.out = addr(wide),
                                      .in = addr(h),
                                      .weight = w,
                                      .out_stride = WIDE,
                                      .in_stride = DIM,
                                      .m = n,
                                      .n = WIDE,
                                      .k = DIM,
                                      .dtype = K_BF16,
                                      .out_dtype = K_BF16};
        need(oct_dev_gemm(d, &product));
        product.out = addr(logits);
        product.out_dtype = K_F32;
        need(oct_dev_gemm(d, &product));
        need(oct_dev_silu_mul(d, &(struct k_silu_mul_args){.out = addr(j->act),
                                                           .in = addr(wide),
                                                           .rows = n,
                                                           .dim = WIDE / 2,
                                                           .dtype = K_BF16}));
        need(oct_dev_sample(d, &(struct k_sample_args){.out = addr(j->out),
                                                       .logits = addr(logits),
                                                       .rows = addr(rows),
                                                       .logits_stride = WIDE,
                                                       .n_rows = n,
                                                       .vocab = WIDE}));
    }
    oct_dev_matrix_destroy(d, w);
    oct_dev_close(d);
    free(weight);
    free(x);
    free(h);
    free(scale);
    free(wide);
    free(logits);
    return NULL;
}

int main(void)
{
    static struct job jobs[2] = {{.n_threads = 4}, {.n_threads = 3}};
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&t[i], NULL, drive, &jobs[i]) != 0) {
            (void)fprintf(stderr, "race_cpu: no thread\n");
            return 1;
        }
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(t[i], NULL);
    }
    if (memcmp(jobs[0].out, jobs[1].out, sizeof jobs[0].out) != 0 ||
        memcmp(jobs[0].act, jobs[1].act, sizeof jobs[0].act) != 0) {
        (void)fprintf(stderr, "race_cpu: 4 threads and 3 threads give different bits\n");
        return 1;
    }
    return 0;
}
