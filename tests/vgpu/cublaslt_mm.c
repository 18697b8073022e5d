// SPDX-License-Identifier: Apache-2.0
#include "cublaslt_mm.h"

#include <library_types.h>
#include <stdlib.h>

#include "half.h"

unsigned mm_type_bytes(int type)
{
    switch (type) {
    case CUDA_R_8I:
        return 1;
    case CUDA_R_16F:
    case CUDA_R_16BF:
        return 2;
    default:
        return 4;
    }
}

struct mm_order mm_order(bool row_major, int64_t ld, int64_t stride)
{
    return (struct mm_order){.row = row_major ? ld : 1, .col = row_major ? 1 : ld, .batch = stride};
}

void mm_transpose(struct mm_order *o)
{
    int64_t t = o->row;
    o->row = o->col;
    o->col = t;
}

static float load(int type, const void *p, int64_t i)
{
    switch (type) {
    case CUDA_R_16F:
        return vg_f16_float(((const uint16_t *)p)[i]);
    case CUDA_R_16BF:
        return vg_bf16_float(((const uint16_t *)p)[i]);
    default:
        return ((const float *)p)[i];
    }
}

static void store(int type, void *p, int64_t i, float v)
{
    switch (type) {
    case CUDA_R_16F:
        ((uint16_t *)p)[i] = vg_float_f16(v);
        break;
    case CUDA_R_16BF:
        ((uint16_t *)p)[i] = vg_float_bf16(v);
        break;
    default:
        ((float *)p)[i] = v;
        break;
    }
}

// Sixteen sums side by side: the compiler makes vectors of them.
enum { WAYS = 16 };

static float dot_f32(const float *a, const float *b, int64_t k)
{
    float sum[WAYS] = {0};
    int64_t i = 0;
    for (; i + WAYS <= k; i += WAYS) {
        for (int w = 0; w < WAYS; w++) {
            sum[w] += a[i + w] * b[i + w];
        }
    }
    float total = 0;
    for (; i < k; i++) {
        total += a[i] * b[i];
    }
    for (int w = 0; w < WAYS; w++) {
        total += sum[w];
    }
    return total;
}

static int32_t dot_s8(const int8_t *a, const int8_t *b, int64_t k)
{
    uint32_t sum = 0; // wraps as the hardware's does
    for (int64_t i = 0; i < k; i++) {
        sum += (uint32_t)(a[i] * b[i]);
    }
    return (int32_t)sum;
}

// Rows of A and columns of B with k contiguous.
static void *pack(const struct mm *m, const void *from, int64_t lines, int64_t line_step,
                  int64_t k_step)
{
    bool bytes = m->in_type == CUDA_R_8I;
    void *out = malloc((size_t)(lines * m->k) * (bytes ? 1 : 4) + 64);
    for (int64_t i = 0; out != NULL && i < lines; i++) {
        for (int64_t k = 0; k < m->k; k++) {
            int64_t at = i * line_step + k * k_step;
            if (bytes) {
                ((int8_t *)out)[i * m->k + k] = ((const int8_t *)from)[at];
            } else {
                ((float *)out)[i * m->k + k] = load(m->in_type, from, at);
            }
        }
    }
    return out;
}

static void element(struct mm *m, const void *a, const void *b, int64_t i, int64_t j, int32_t z)
{
    int64_t di = i * m->d_order.row + j * m->d_order.col + z * m->d_order.batch;
    int64_t ci = i * m->c_order.row + j * m->c_order.col + z * m->c_order.batch;
    if (m->in_type == CUDA_R_8I) {
        uint32_t v = m->alpha != 0.0f ? (uint32_t)dot_s8((const int8_t *)a + i * m->k,
                                                         (const int8_t *)b + j * m->k, m->k)
                                      : 0;
        v += m->use_c ? ((const uint32_t *)m->c)[ci] : 0;
        ((uint32_t *)m->d)[di] = v;
        return;
    }
    float v = m->alpha * dot_f32((const float *)a + i * m->k, (const float *)b + j * m->k, m->k);
    if (m->use_c) {
        v += m->beta * load(m->out_type, m->c, ci);
    }
    if (m->bias != NULL) {
        v += load(m->bias_type, m->bias, z * m->bias_stride + i);
    }
    store(m->out_type, m->d, di, v);
}

bool mm_run(struct mm *m)
{
    unsigned bytes = mm_type_bytes(m->in_type);
    for (int32_t z = 0; z < m->batch; z++) {
        void *a = pack(m, (const char *)m->a + z * m->a_order.batch * bytes, m->m, m->a_order.row,
                       m->a_order.col);
        void *b = pack(m, (const char *)m->b + z * m->b_order.batch * bytes, m->n, m->b_order.col,
                       m->b_order.row);
        if (a == NULL || b == NULL) {
            free(a);
            free(b);
            return false;
        }
        for (int64_t j = 0; j < m->n; j++) {
            for (int64_t i = 0; i < m->m; i++) {
                element(m, a, b, i, j, z);
            }
        }
        free(a);
        free(b);
    }
    return true;
}

// ---- lines: what is contiguous ----

static void lines_of(const struct mm_order *o, int64_t rows, int64_t cols, int64_t *n,
                     int64_t *length, int64_t *step)
{
    bool by_col = o->row == 1;
    *n = by_col ? cols : rows;
    *length = by_col ? rows : cols;
    *step = by_col ? o->col : o->row;
}

static void check_one(const struct vg_lib_driver *d, const struct mm *m, const struct mm_order *o,
                      int64_t rows, int64_t cols, unsigned bytes, uint64_t addr, const char *name)
{
    int64_t n = 0, length = 0, step = 0;
    lines_of(o, rows, cols, &n, &length, &step);
    char *line = malloc((size_t)length * bytes);
    for (int64_t i = 0; line != NULL && i < n * m->batch; i++) {
        uint64_t at = addr + (uint64_t)((i / n) * o->batch + (i % n) * step) * bytes;
        bool uninit = false;
        if (d->vgpu_read(line, at, (size_t)length * bytes, &uninit) && uninit) {
            char text[160];
            snprintf(text, sizeof text, "cublasLtMatmul reads elements of %s that nothing wrote",
                     name);
            d->vgpu_report("uninitialised", text);
            break;
        }
    }
    free(line);
}

void mm_check_read(const struct vg_lib_driver *d, const struct mm *m, uint64_t a, uint64_t b,
                   uint64_t c)
{
    check_one(d, m, &m->a_order, m->m, m->k, mm_type_bytes(m->in_type), a, "A");
    check_one(d, m, &m->b_order, m->k, m->n, mm_type_bytes(m->in_type), b, "B");
    if (m->use_c) {
        check_one(d, m, &m->c_order, m->m, m->n, mm_type_bytes(m->out_type), c, "C");
    }
}

bool mm_store(const struct vg_lib_driver *d, const struct mm *m, uint64_t addr)
{
    int64_t n = 0, length = 0, step = 0;
    unsigned bytes = mm_type_bytes(m->out_type);
    lines_of(&m->d_order, m->m, m->n, &n, &length, &step);
    for (int64_t i = 0; i < n * m->batch; i++) {
        int64_t at = ((i / n) * m->d_order.batch + (i % n) * step) * bytes;
        if (!d->vgpu_write(addr + (uint64_t)at, (const char *)m->d + at, (size_t)length * bytes)) {
            return false;
        }
    }
    return true;
}
