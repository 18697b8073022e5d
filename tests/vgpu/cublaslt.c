// SPDX-License-Identifier: Apache-2.0
//
// cublaslt.c - the stand-in libcublasLt.so.13: descriptors, heuristics and cublasLtMatmul for what
// an inference engine asks for, and refusals for what the real library refuses:
//
//     s8 x s8 -> s32     compute 32I; A transposed, B not, column order; m, k and leading
//     dimensions
//                        multiples of 4; alpha and beta 0 or 1
//     bf16, f16 or f32 -> the same or f32     compute 32F; any transposition; bias along m
//
// A product runs in its stream: what it reads is checked against the shadow, its workspace is
// destroyed, and D is poisoned first.
#pragma GCC visibility push(default)
#include <cublasLt.h>
#pragma GCC visibility pop

#include <pthread.h>
#include <stdlib.h>

#include "cublaslt_mm.h"
#include "nccl_driver.h"

enum { LAYOUT_MAGIC = 0x4C61794F, DESC_MAGIC = 0x44657363, PREF_MAGIC = 0x50726566 };
enum { WORKSPACE_BYTES = 32 << 10, ALGO_ID = 0x0C7 };

struct layout {
    uint32_t magic, type, order;
    int32_t batch;
    uint64_t rows, cols;
    int64_t ld, stride;
};
_Static_assert(sizeof(struct layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "fits");

struct desc {
    uint32_t magic, compute, scale;
    int32_t pointer_mode, transa, transb, transc;
    uint32_t epilogue;
    uint64_t bias;
    int32_t bias_type; // -1: that of D
    int32_t sm_count;
    int64_t bias_stride;
    int8_t fast_accum;
};
_Static_assert(sizeof(struct desc) <= sizeof(cublasLtMatmulDescOpaque_t), "fits");

struct pref {
    uint32_t magic, search;
    uint64_t workspace;
    uint32_t align[4];
};
_Static_assert(sizeof(struct pref) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "fits");

static struct vg_lib_driver driver;
static bool driver_ok;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_driver(void)
{
    driver_ok = vg_lib_driver_open(&driver);
}

static cublasStatus_t enter(const char *name)
{
    pthread_once(&once, open_driver);
    if (!driver_ok) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    return (cublasStatus_t)driver.vgpu_fault(name, CUBLAS_STATUS_INTERNAL_ERROR);
}

static cublasStatus_t refuse(cublasStatus_t s, const char *why)
{
    fprintf(stderr, "vgpu: cublasLtMatmul: %s\n", why);
    return s;
}

// ---- handle ----

struct cublasLtContext {
    uint32_t magic;
};

cublasStatus_t CUBLASWINAPI cublasLtCreate(cublasLtHandle_t *lightHandle)
{
    cublasStatus_t s = enter("cublasLtCreate");
    if (s != CUBLAS_STATUS_SUCCESS) {
        return s;
    }
    if (lightHandle == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (driver.vgpu_current_device() < 0) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *lightHandle = malloc(sizeof **lightHandle);
    if (*lightHandle == NULL) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    (*lightHandle)->magic = DESC_MAGIC;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtDestroy(cublasLtHandle_t lightHandle)
{
    if (lightHandle == NULL || lightHandle->magic != DESC_MAGIC) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    lightHandle->magic = 0;
    free(lightHandle);
    return CUBLAS_STATUS_SUCCESS;
}

size_t CUBLASWINAPI cublasLtGetVersion(void)
{
    return 130000;
}

static const struct {
    cublasStatus_t code;
    const char *name, *text;
} statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "not on this device"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "no access to GPU memory"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "failed to execute"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "license error"},
};

const char *CUBLASWINAPI cublasLtGetStatusName(cublasStatus_t status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].code == status) {
            return statuses[i].name;
        }
    }
    return "unknown status";
}

const char *CUBLASWINAPI cublasLtGetStatusString(cublasStatus_t status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].code == status) {
            return statuses[i].text;
        }
    }
    return "unknown status";
}

// ---- attributes: rows of (id, offset, size) ----

struct row {
    int id;
    size_t offset, bytes;
};

static cublasStatus_t set_attribute(void *to, const struct row *rows, size_t n, int id,
                                    const void *buf, size_t bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].id == id) {
            if (buf == NULL || bytes != rows[i].bytes) {
                return CUBLAS_STATUS_INVALID_VALUE;
            }
            memcpy((char *)to + rows[i].offset, buf, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
    }
    return CUBLAS_STATUS_NOT_SUPPORTED; // an attribute that the stand-in does not act upon
}

static cublasStatus_t get_attribute(const void *from, const struct row *rows, size_t n, int id,
                                    void *buf, size_t bytes, size_t *written)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].id != id) {
            continue;
        }
        if (written != NULL) {
            *written = rows[i].bytes;
        }
        if (bytes == 0 && written != NULL) {
            return CUBLAS_STATUS_SUCCESS; // asks for the size
        }
        if (buf == NULL || bytes != rows[i].bytes) {
            return CUBLAS_STATUS_INVALID_VALUE;
        }
        memcpy(buf, (const char *)from + rows[i].offset, bytes);
        return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

#define ROW(id, type, field) \
    { \
        id, offsetof(type, field), sizeof(((type *)0)->field) \
    }
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row layout_rows[] = {
    ROW(CUBLASLT_MATRIX_LAYOUT_TYPE, struct layout, type),
    ROW(CUBLASLT_MATRIX_LAYOUT_ORDER, struct layout, order),
    ROW(CUBLASLT_MATRIX_LAYOUT_ROWS, struct layout, rows),
    ROW(CUBLASLT_MATRIX_LAYOUT_COLS, struct layout, cols),
    ROW(CUBLASLT_MATRIX_LAYOUT_LD, struct layout, ld),
    ROW(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, struct layout, batch),
    ROW(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, struct layout, stride),
};
static const struct row desc_rows[] = {
    ROW(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, struct desc, compute),
    ROW(CUBLASLT_MATMUL_DESC_SCALE_TYPE, struct desc, scale),
    ROW(CUBLASLT_MATMUL_DESC_POINTER_MODE, struct desc, pointer_mode),
    ROW(CUBLASLT_MATMUL_DESC_TRANSA, struct desc, transa),
    ROW(CUBLASLT_MATMUL_DESC_TRANSB, struct desc, transb),
    ROW(CUBLASLT_MATMUL_DESC_TRANSC, struct desc, transc),
    ROW(CUBLASLT_MATMUL_DESC_EPILOGUE, struct desc, epilogue),
    ROW(CUBLASLT_MATMUL_DESC_BIAS_POINTER, struct desc, bias),
    ROW(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, struct desc, bias_type),
    ROW(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, struct desc, bias_stride),
    ROW(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, struct desc, sm_count),
    ROW(CUBLASLT_MATMUL_DESC_FAST_ACCUM, struct desc, fast_accum),
};
static const struct row pref_rows[] = {
    ROW(CUBLASLT_MATMUL_PREF_SEARCH_MODE, struct pref, search),
    ROW(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, struct pref, workspace),
    ROW(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, struct pref, align[0]),
    ROW(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, struct pref, align[1]),
    ROW(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, struct pref, align[2]),
    ROW(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, struct pref, align[3]),
};

static struct layout *layout_of(cublasLtMatrixLayout_t l)
{
    struct layout *p = (struct layout *)(void *)l;
    return p != NULL && p->magic == LAYOUT_MAGIC ? p : NULL;
}

static struct desc *desc_of(cublasLtMatmulDesc_t d)
{
    struct desc *p = (struct desc *)(void *)d;
    return p != NULL && p->magic == DESC_MAGIC ? p : NULL;
}

// ---- layouts ----

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t matLayout,
                                                              size_t size, cudaDataType type,
                                                              uint64_t rows, uint64_t cols,
                                                              int64_t ld)
{
    if (matLayout == NULL || size < sizeof(struct layout)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    struct layout l = {.magic = LAYOUT_MAGIC,
                       .type = (uint32_t)type,
                       .rows = rows,
                       .cols = cols,
                       .ld = ld,
                       .batch = 1};
    memcpy(matLayout, &l, sizeof l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout,
                                                       cudaDataType type, uint64_t rows,
                                                       uint64_t cols, int64_t ld)
{
    if (matLayout == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *matLayout = calloc(1, sizeof **matLayout);
    if (*matLayout == NULL) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    return cublasLtMatrixLayoutInit_internal(*matLayout, sizeof **matLayout, type, rows, cols, ld);
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout)
{
    free(matLayout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout,
                                                             cublasLtMatrixLayoutAttribute_t attr,
                                                             const void *buf, size_t sizeInBytes)
{
    struct layout *l = layout_of(matLayout);
    return l == NULL
               ? CUBLAS_STATUS_INVALID_VALUE
               : set_attribute(l, layout_rows, COUNT(layout_rows), (int)attr, buf, sizeInBytes);
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t matLayout,
                                                             cublasLtMatrixLayoutAttribute_t attr,
                                                             void *buf, size_t sizeInBytes,
                                                             size_t *sizeWritten)
{
    const struct layout *l = layout_of(matLayout);
    return l == NULL ? CUBLAS_STATUS_INVALID_VALUE
                     : get_attribute(l, layout_rows, COUNT(layout_rows), (int)attr, buf,
                                     sizeInBytes, sizeWritten);
}

// ---- descriptions ----

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t matmulDesc,
                                                            size_t size,
                                                            cublasComputeType_t computeType,
                                                            cudaDataType_t scaleType)
{
    if (matmulDesc == NULL || size < sizeof(struct desc)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    struct desc d = {.magic = DESC_MAGIC,
                     .compute = (uint32_t)computeType,
                     .scale = (uint32_t)scaleType,
                     .epilogue = CUBLASLT_EPILOGUE_DEFAULT,
                     .bias_type = -1};
    memcpy(matmulDesc, &d, sizeof d);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc,
                                                     cublasComputeType_t computeType,
                                                     cudaDataType_t scaleType)
{
    if (matmulDesc == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *matmulDesc = calloc(1, sizeof **matmulDesc);
    if (*matmulDesc == NULL) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    return cublasLtMatmulDescInit_internal(*matmulDesc, sizeof **matmulDesc, computeType,
                                           scaleType);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc)
{
    free(matmulDesc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc,
                                                           cublasLtMatmulDescAttributes_t attr,
                                                           const void *buf, size_t sizeInBytes)
{
    struct desc *d = desc_of(matmulDesc);
    return d == NULL ? CUBLAS_STATUS_INVALID_VALUE
                     : set_attribute(d, desc_rows, COUNT(desc_rows), (int)attr, buf, sizeInBytes);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t matmulDesc,
                                                           cublasLtMatmulDescAttributes_t attr,
                                                           void *buf, size_t sizeInBytes,
                                                           size_t *sizeWritten)
{
    const struct desc *d = desc_of(matmulDesc);
    return d == NULL ? CUBLAS_STATUS_INVALID_VALUE
                     : get_attribute(d, desc_rows, COUNT(desc_rows), (int)attr, buf, sizeInBytes,
                                     sizeWritten);
}

// ---- preferences ----

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t pref,
                                                                  size_t size)
{
    if (pref == NULL || size < sizeof(struct pref)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    struct pref p = {.magic = PREF_MAGIC, .align = {256, 256, 256, 256}};
    memcpy(pref, &p, sizeof p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref)
{
    if (pref == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *pref = calloc(1, sizeof **pref);
    return *pref == NULL ? CUBLAS_STATUS_ALLOC_FAILED
                         : cublasLtMatmulPreferenceInit_internal(*pref, sizeof **pref);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
{
    free(pref);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr, const void *buf,
    size_t sizeInBytes)
{
    struct pref *p = (struct pref *)(void *)pref;
    return p == NULL || p->magic != PREF_MAGIC
               ? CUBLAS_STATUS_INVALID_VALUE
               : set_attribute(p, pref_rows, COUNT(pref_rows), (int)attr, buf, sizeInBytes);
}

// ---- what is supported ----

static int64_t layout_bytes(const struct layout *l)
{
    bool col = l->order == CUBLASLT_ORDER_COL;
    int64_t inner = (int64_t)(col ? l->rows : l->cols), outer = (int64_t)(col ? l->cols : l->rows);
    int64_t elements = (outer - 1) * l->ld + inner + (l->batch - 1) * l->stride;
    return elements * (int64_t)mm_type_bytes((int)l->type);
}

static bool layout_ok(const struct layout *l)
{
    bool col = l->order == CUBLASLT_ORDER_COL;
    uint64_t inner = col ? l->rows : l->cols;
    return l->order <= CUBLASLT_ORDER_ROW && l->rows > 0 && l->cols > 0 && l->batch > 0 &&
           l->rows < (1u << 30) && l->cols < (1u << 30) && l->ld >= (int64_t)inner &&
           l->ld < INT64_C(1) << 32 && (l->batch == 1 || l->stride >= 0);
}

static cublasStatus_t check_types(const struct desc *d, const struct layout *a,
                                  const struct layout *b, const struct layout *c,
                                  const struct layout *r)
{
    if (a->type != b->type || c->type != r->type) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "A and B, and C and D, must be of one type");
    }
    if (a->type == CUDA_R_8I) {
        if ((d->compute != CUBLAS_COMPUTE_32I && d->compute != CUBLAS_COMPUTE_32I_PEDANTIC) ||
            d->scale != CUDA_R_32I || r->type != CUDA_R_32I) {
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED,
                          "s8 needs compute 32I, scale type s32 and an s32 result here");
        }
        if (d->transa != CUBLAS_OP_T || d->transb != CUBLAS_OP_N ||
            (a->order | b->order | c->order | r->order) != CUBLASLT_ORDER_COL) {
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED,
                          "s8 needs A transposed, B not, and column order");
        }
        if ((a->rows | a->cols) % 4 != 0 || (a->ld | b->ld) % 4 != 0) {
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED,
                          "s8 needs m, k and leading dimensions that are multiples of 4");
        }
        return d->epilogue == CUBLASLT_EPILOGUE_DEFAULT
                   ? CUBLAS_STATUS_SUCCESS
                   : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "s8 to s32 has no epilogue");
    }
    bool compute = d->compute == CUBLAS_COMPUTE_32F || d->compute == CUBLAS_COMPUTE_32F_PEDANTIC;
    bool types = (a->type == CUDA_R_16BF || a->type == CUDA_R_16F || a->type == CUDA_R_32F) &&
                 (r->type == a->type || r->type == CUDA_R_32F);
    if (!compute || !types || d->scale != CUDA_R_32F) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this combination of types");
    }
    return d->epilogue == CUBLASLT_EPILOGUE_DEFAULT || d->epilogue == CUBLASLT_EPILOGUE_BIAS
               ? CUBLAS_STATUS_SUCCESS
               : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this epilogue");
}

static cublasStatus_t check(const struct desc *d, const struct layout *a, const struct layout *b,
                            const struct layout *c, const struct layout *r)
{
    if (d == NULL || a == NULL || b == NULL || c == NULL || r == NULL) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a descriptor is missing or damaged");
    }
    if (!layout_ok(a) || !layout_ok(b) || !layout_ok(c) || !layout_ok(r)) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE,
                      "a layout with no elements or a leading dimension that is too small");
    }
    bool ta = d->transa != CUBLAS_OP_N, tb = d->transb != CUBLAS_OP_N;
    uint64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols;
    uint64_t kb = tb ? b->cols : b->rows, n = tb ? b->rows : b->cols;
    if (k != kb || r->rows != m || r->cols != n || c->rows != m || c->cols != n) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the shapes of A, B, C and D do not fit");
    }
    if (a->batch != r->batch || b->batch != r->batch || c->batch != r->batch) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the batch counts differ");
    }
    if (d->transc != CUBLAS_OP_N || d->pointer_mode != CUBLASLT_POINTER_MODE_HOST) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a transposed C, or alpha on the device");
    }
    return check_types(d, a, b, c, r);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc, cublasLtMatrixLayout_t Adesc,
    cublasLtMatrixLayout_t Bdesc, cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
    cublasLtMatmulPreference_t preference, int requestedAlgoCount,
    cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int *returnAlgoCount)
{
    cublasStatus_t s = enter("cublasLtMatmulAlgoGetHeuristic");
    const struct pref *p = (const struct pref *)(void *)preference;
    if (s != CUBLAS_STATUS_SUCCESS) {
        return s;
    }
    if (lightHandle == NULL || p == NULL || p->magic != PREF_MAGIC || requestedAlgoCount < 1 ||
        heuristicResultsArray == NULL || returnAlgoCount == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *returnAlgoCount = 0;
    s = check(desc_of(operationDesc), layout_of(Adesc), layout_of(Bdesc), layout_of(Cdesc),
              layout_of(Ddesc));
    if (s != CUBLAS_STATUS_SUCCESS) {
        return s;
    }
    cublasLtMatmulHeuristicResult_t r = {.state = CUBLAS_STATUS_SUCCESS, .wavesCount = 1.0f};
    // With room it takes a workspace, and insists on it later.
    r.workspaceSize = p->workspace >= WORKSPACE_BYTES ? WORKSPACE_BYTES : 0;
    r.algo.data[0] = ALGO_ID;
    r.algo.data[1] = r.workspaceSize;
    heuristicResultsArray[0] = r;
    *returnAlgoCount = 1;
    return CUBLAS_STATUS_SUCCESS;
}

// ---- the product ----

struct job {
    struct mm mm;
    uint64_t a, b, c, d, bias, workspace;
    int64_t a_bytes, b_bytes, c_bytes, d_bytes, bias_bytes;
    size_t workspace_bytes;
    struct job *next; // all ever made: graphs run them again
};
static struct job *jobs;
static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER;

// The whole extent, gaps between columns too: what is really used is said elsewhere
// (mm_check_read).
static void *fetch(uint64_t addr, int64_t bytes, const char *what)
{
    void *p = malloc((size_t)bytes + 64);
    if (p == NULL) {
        return NULL;
    }
    if (!driver.vgpu_peek(p, addr, (size_t)bytes)) {
        char text[160];
        snprintf(text, sizeof text, "cublasLtMatmul: %s is not allocated any more", what);
        driver.vgpu_report("stream-order", text);
        free(p);
        return NULL;
    }
    return p;
}

static int run(void *arg, bool cancel)
{
    struct job *j = arg;
    if (cancel) {
        return 0;
    }
    struct mm m = j->mm;
    void *a = fetch(j->a, j->a_bytes, "A"), *b = fetch(j->b, j->b_bytes, "B");
    // D's gaps between columns stay as they are, so it is read even where C is not wanted.
    void *d = fetch(j->d, j->d_bytes, "D");
    void *c = m.use_c ? fetch(j->c, j->c_bytes, "C") : NULL;
    void *bias = j->bias != 0 ? fetch(j->bias, j->bias_bytes, "the bias") : NULL;
    bool ok = a != NULL && b != NULL && d != NULL && (!m.use_c || c != NULL) &&
              (j->bias == 0 || bias != NULL);
    if (ok) {
        m.a = a;
        m.b = b;
        m.c = c;
        m.d = d;
        m.bias = bias;
        if (j->workspace_bytes > 0) {
            driver.vgpu_poison(j->workspace, j->workspace_bytes);
        }
        mm_check_read(&driver, &m, j->a, j->b, j->c);
        bool uninit = false;
        ok = bias == NULL || driver.vgpu_read(bias, j->bias, (size_t)j->bias_bytes, &uninit);
        ok = ok && mm_run(&m) && mm_store(&driver, &m, j->d);
    }
    free(a);
    free(b);
    free(c);
    free(d);
    free(bias);
    return ok ? 0 : 2;
}

cublasStatus_t CUBLASWINAPI cublasLtMatmul(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc, const void *alpha,
    const void *A, cublasLtMatrixLayout_t Adesc, const void *B, cublasLtMatrixLayout_t Bdesc,
    const void *beta, const void *C, cublasLtMatrixLayout_t Cdesc, void *D,
    cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t *algo, void *workspace,
    size_t workspaceSizeInBytes, cudaStream_t stream)
{
    cublasStatus_t s = enter("cublasLtMatmul");
    if (s != CUBLAS_STATUS_SUCCESS) {
        return s;
    }
    if (lightHandle == NULL || lightHandle->magic != DESC_MAGIC) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    const struct layout *la = layout_of(Adesc), *lb = layout_of(Bdesc), *lc = layout_of(Cdesc),
                        *ld = layout_of(Ddesc);
    const struct desc *d = desc_of(computeDesc);
    s = check(d, la, lb, lc, ld);
    if (s != CUBLAS_STATUS_SUCCESS) {
        return s;
    }
    if (alpha == NULL || beta == NULL) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "alpha or beta is NULL");
    }
    struct job j = {.a = (uint64_t)(uintptr_t)A,
                    .b = (uint64_t)(uintptr_t)B,
                    .c = (uint64_t)(uintptr_t)C,
                    .d = (uint64_t)(uintptr_t)D,
                    .a_bytes = layout_bytes(la),
                    .b_bytes = layout_bytes(lb),
                    .c_bytes = layout_bytes(lc),
                    .d_bytes = layout_bytes(ld)};
    bool integer = la->type == CUDA_R_8I;
    j.mm = (struct mm){.m = (int64_t)ld->rows,
                       .n = (int64_t)ld->cols,
                       .k = (int64_t)(d->transa != CUBLAS_OP_N ? la->rows : la->cols),
                       .batch = ld->batch,
                       .in_type = (int)la->type,
                       .out_type = (int)ld->type,
                       .bias_type = d->bias_type >= 0 ? d->bias_type : (int)ld->type,
                       .a_order = mm_order(la->order == CUBLASLT_ORDER_ROW, la->ld, la->stride),
                       .b_order = mm_order(lb->order == CUBLASLT_ORDER_ROW, lb->ld, lb->stride),
                       .c_order = mm_order(lc->order == CUBLASLT_ORDER_ROW, lc->ld, lc->stride),
                       .d_order = mm_order(ld->order == CUBLASLT_ORDER_ROW, ld->ld, ld->stride),
                       .bias_stride = d->bias_stride};
    if (d->transa != CUBLAS_OP_N) {
        mm_transpose(&j.mm.a_order);
    }
    if (d->transb != CUBLAS_OP_N) {
        mm_transpose(&j.mm.b_order);
    }
    if (integer) {
        int32_t al = *(const int32_t *)alpha, be = *(const int32_t *)beta;
        if ((al | be) < 0 || al > 1 || be > 1) {
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "s32 alpha and beta must be 0 or 1");
        }
        j.mm.alpha = (float)al;
        j.mm.beta = (float)be;
    } else {
        j.mm.alpha = *(const float *)alpha;
        j.mm.beta = *(const float *)beta;
    }
    j.mm.use_c = j.mm.beta != 0.0f;
    if (d->epilogue == CUBLASLT_EPILOGUE_BIAS) {
        j.bias = d->bias;
        j.bias_bytes =
            ((ld->batch - 1) * d->bias_stride + j.mm.m) * (int64_t)mm_type_bytes(j.mm.bias_type);
        if (j.bias == 0) {
            return refuse(CUBLAS_STATUS_INVALID_VALUE, "the epilogue wants a bias, there is none");
        }
    }
    if (!driver.vgpu_owns(j.a, (size_t)j.a_bytes, NULL) ||
        !driver.vgpu_owns(j.b, (size_t)j.b_bytes, NULL) ||
        !driver.vgpu_owns(j.d, (size_t)j.d_bytes, NULL) ||
        (j.mm.use_c && !driver.vgpu_owns(j.c, (size_t)j.c_bytes, NULL)) ||
        (j.bias != 0 && !driver.vgpu_owns(j.bias, (size_t)j.bias_bytes, NULL))) {
        driver.vgpu_report("api", "cublasLtMatmul: a matrix is not device memory, or leaves its "
                                  "allocation");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    unsigned align = integer ? 4 : mm_type_bytes((int)la->type);
    if (j.a % align != 0 || j.b % align != 0 || j.d % mm_type_bytes((int)ld->type) != 0) {
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a matrix is not aligned");
    }
    if (algo != NULL) {
        if (algo->data[0] != ALGO_ID) {
            return refuse(CUBLAS_STATUS_INVALID_VALUE, "the algorithm is not of this library");
        }
        if (workspaceSizeInBytes < algo->data[1] ||
            (algo->data[1] > 0 && (j.workspace = (uint64_t)(uintptr_t)workspace) % 256 != 0)) {
            return refuse(
                CUBLAS_STATUS_INVALID_VALUE,
                "the workspace is smaller than the algorithm said, or not aligned to 256");
        }
        j.workspace_bytes = algo->data[1];
    } else if (workspace != NULL && workspaceSizeInBytes >= WORKSPACE_BYTES) {
        j.workspace = (uint64_t)(uintptr_t)workspace; // the library's own choice takes it too
        j.workspace_bytes = WORKSPACE_BYTES;
    }
    if (j.workspace_bytes > 0 && !driver.vgpu_owns(j.workspace, workspaceSizeInBytes, NULL)) {
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not device memory");
    }
    struct job *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    *kept = j;
    pthread_mutex_lock(&jobs_lock);
    kept->next = jobs;
    jobs = kept;
    pthread_mutex_unlock(&jobs_lock);
    return driver.vgpu_enqueue(stream, run, kept, "cublasLtMatmul") == 0
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
