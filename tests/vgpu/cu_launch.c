// SPDX-License-Identifier: Apache-2.0
//
// cu_launch.c - launches: every argument is checked here, the kernel runs later.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "tma.h"

#define VG_MAX_BLOCK_THREADS 1024u

// ---- parameters ----

static CUresult params_from_extra(void **extra, const struct vg_kernel *k, const void **buffer,
                                  size_t *bytes)
{
    for (size_t i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
            *buffer = extra[i + 1];
        } else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE) {
            if (extra[i + 1] == NULL) {
                return CUDA_ERROR_INVALID_VALUE;
            }
            *bytes = *(size_t *)extra[i + 1];
        } else {
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    return *buffer != NULL && *bytes >= k->params_bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult take_params(const struct vg_launch_args *a, const struct vg_kernel *k,
                            struct vg_kernel_work *w)
{
    w->param_bytes = k->params_bytes;
    w->params = calloc(1, (size_t)k->params_bytes + 1);
    if (w->params == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (k->n_params == 0) {
        return CUDA_SUCCESS;
    }
    if ((a->params != NULL) == (a->extra != NULL)) {
        return CUDA_ERROR_INVALID_VALUE; // one of the two, not both
    }
    if (a->extra != NULL) {
        const void *buffer = NULL;
        size_t bytes = 0;
        CUresult r = params_from_extra(a->extra, k, &buffer, &bytes);
        if (r == CUDA_SUCCESS) {
            memcpy(w->params, buffer, k->params_bytes);
        }
        return r;
    }
    for (uint32_t i = 0; i < k->n_params; i++) {
        if (a->params[i] == NULL) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        memcpy(w->params + k->param_offset[i], a->params[i], k->param_bytes[i]);
    }
    return CUDA_SUCCESS;
}

// ---- shape ----

static CUresult check_cluster(const struct vg_facts *facts, CUfunction f, struct vg_kernel_work *w,
                              const unsigned asked[3])
{
    const struct vg_kernel *k = f->kernel;
    bool given = asked[0] != 0;
    for (int i = 0; i < 3; i++) {
        unsigned own = k->cluster[0] != 0 ? k->cluster[i] : (unsigned)f->cluster[i];
        w->cluster[i] = given ? asked[i] : own;
        if (given && k->cluster[0] != 0 && asked[i] != k->cluster[i]) {
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        }
    }
    if (w->cluster[0] == 0) {
        return CUDA_SUCCESS;
    }
    unsigned n = 1;
    for (int i = 0; i < 3; i++) {
        if (w->cluster[i] == 0) {
            w->cluster[i] = 1;
        }
        if (w->cluster[i] > 16 || w->grid[i] % w->cluster[i] != 0) {
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        }
        n *= w->cluster[i];
    }
    if (facts->max_cluster == 0 && n > 1) {
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    }
    unsigned most = f->non_portable_cluster ? 16 : 8;
    return n <= most ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CLUSTER_SIZE;
}

static CUresult check_shape(const struct vg_device *d, CUfunction f, struct vg_kernel_work *w)
{
    static const unsigned max_grid[3] = {2147483647u, 65535u, 65535u};
    static const unsigned max_block[3] = {1024u, 1024u, 64u};
    const struct vg_kernel *k = f->kernel;
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++) {
        if (w->grid[i] == 0 || w->grid[i] > max_grid[i] || w->block[i] == 0 ||
            w->block[i] > max_block[i]) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        threads *= w->block[i];
        if (k->reqntid[0] != 0 && w->block[i] != (k->reqntid[i] != 0 ? k->reqntid[i] : 1)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    if (threads > VG_MAX_BLOCK_THREADS || threads > k->max_threads) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    // More than 48 KB, and more than cuFuncSetAttribute allowed, is refused; so is what no block
    // can have at all.
    uint64_t smem = (uint64_t)k->shared_bytes + w->dynamic_smem_bytes;
    if (w->dynamic_smem_bytes > (unsigned)(f->max_dynamic_smem > 0 ? f->max_dynamic_smem : 0) ||
        smem > (uint64_t)d->facts->smem_optin) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return vg_occupancy(f, (int)threads, w->dynamic_smem_bytes) > 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
}

static CUresult read_attributes(const struct vg_facts *facts, const struct vg_launch_args *a,
                                struct vg_kernel_work *w, unsigned cluster[3])
{
    if (a->n_attrs > 0 && a->attrs == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    for (unsigned i = 0; i < a->n_attrs; i++) {
        const CUlaunchAttributeValue *v = &a->attrs[i].value;
        switch (a->attrs[i].id) {
        case CU_LAUNCH_ATTRIBUTE_IGNORE:
        case CU_LAUNCH_ATTRIBUTE_PRIORITY:
        case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
        case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
            break;
        case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
            if (v->accessPolicyWindow.num_bytes > 134217728 ||
                !(v->accessPolicyWindow.hitRatio >= 0 && v->accessPolicyWindow.hitRatio <= 1)) {
                return CUDA_ERROR_INVALID_VALUE;
            }
            break;
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
            w->cooperative = v->cooperative != 0;
            break;
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
            if (v->clusterDim.x == 0 || v->clusterDim.y == 0 || v->clusterDim.z == 0) {
                return CUDA_ERROR_INVALID_CLUSTER_SIZE;
            }
            cluster[0] = v->clusterDim.x;
            cluster[1] = v->clusterDim.y;
            cluster[2] = v->clusterDim.z;
            break;
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
            if (v->programmaticStreamSerializationAllowed != 0 && facts->cc_major < 9) {
                return CUDA_ERROR_NOT_SUPPORTED;
            }
            w->pdl = v->programmaticStreamSerializationAllowed != 0;
            break;
        case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY: // of streams only
            return CUDA_ERROR_INVALID_VALUE;
        default:
            return CUDA_ERROR_NOT_SUPPORTED;
        }
    }
    return CUDA_SUCCESS;
}

CUresult vg_launch_check(CUcontext ctx, const struct vg_launch_args *a, struct vg_work *out)
{
    CUfunction f = NULL;
    CUresult r = vg_function_find(a->f, ctx, &f);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    const struct vg_device *d = vg_context_device(ctx);
    struct vg_kernel_work w = {
        .function = f, .dynamic_smem_bytes = a->smem, .cooperative = a->cooperative};
    unsigned cluster[3] = {0, 0, 0};
    memcpy(w.grid, a->grid, sizeof w.grid);
    memcpy(w.block, a->block, sizeof w.block);
    r = read_attributes(d->facts, a, &w, cluster);
    if (r == CUDA_SUCCESS) {
        r = check_shape(d, f, &w);
    }
    if (r == CUDA_SUCCESS) {
        r = check_cluster(d->facts, f, &w, cluster);
    }
    if (r == CUDA_SUCCESS && w.cooperative) {
        uint64_t ctas = (uint64_t)w.grid[0] * w.grid[1] * w.grid[2];
        int threads = (int)(w.block[0] * w.block[1] * w.block[2]);
        int per_sm = vg_occupancy(f, threads, w.dynamic_smem_bytes);
        if (ctas > (uint64_t)per_sm * (uint64_t)d->facts->sms) {
            r = CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
        }
    }
    if (r == CUDA_SUCCESS) {
        r = take_params(a, f->kernel, &w);
    }
    if (r != CUDA_SUCCESS) {
        free(w.params);
        return r;
    }
    *out = (struct vg_work){.kind = VG_WORK_KERNEL, .ctx = ctx, .kernel = w};
    return CUDA_SUCCESS;
}

// ---- API ----

static CUresult launch(CUcontext ctx, const struct vg_launch_args *a, CUstream h)
{
    CUstream s = NULL;
    CUresult r = vg_stream_find(ctx, h, &s);
    // The context of a launch is the stream's: a stream of another context of the same device
    // brings its own functions.
    struct vg_work w;
    if (r == CUDA_SUCCESS) {
        r = vg_launch_check(s->ctx, a, &w);
    }
    return r == CUDA_SUCCESS ? vg_submit(s, &w, NULL) : r;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                unsigned int gridDimZ, unsigned int blockDimX,
                                unsigned int blockDimY, unsigned int blockDimZ,
                                unsigned int sharedMemBytes, CUstream hStream, void **kernelParams,
                                void **extra)
{
    VG_ENTER(VG_NEED_CTX);
    struct vg_launch_args a = {.f = f,
                               .grid = {gridDimX, gridDimY, gridDimZ},
                               .block = {blockDimX, blockDimY, blockDimZ},
                               .smem = sharedMemBytes,
                               .params = kernelParams,
                               .extra = extra};
    return launch(call.ctx, &a, hStream);
}

CUresult CUDAAPI cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX,
                                           unsigned int gridDimY, unsigned int gridDimZ,
                                           unsigned int blockDimX, unsigned int blockDimY,
                                           unsigned int blockDimZ, unsigned int sharedMemBytes,
                                           CUstream hStream, void **kernelParams)
{
    VG_ENTER(VG_NEED_CTX);
    struct vg_launch_args a = {.f = f,
                               .grid = {gridDimX, gridDimY, gridDimZ},
                               .block = {blockDimX, blockDimY, blockDimZ},
                               .smem = sharedMemBytes,
                               .params = kernelParams,
                               .cooperative = true};
    return launch(call.ctx, &a, hStream);
}

// Events that a launch records. The programmatic ones may fire early on hardware; firing late is
// always allowed.
static CUresult attribute_events(CUcontext ctx, const CUlaunchConfig *c, bool check_only)
{
    for (unsigned i = 0; i < c->numAttrs; i++) {
        CUevent e = NULL;
        if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) {
            e = c->attrs[i].value.programmaticEvent.event;
        } else if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
            e = c->attrs[i].value.launchCompletionEvent.event;
        } else {
            continue;
        }
        if (!vg_handle_is(e, VG_H_EVENT) || (e->flags & CU_EVENT_DISABLE_TIMING) == 0 ||
            e->ctx != ctx) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        CUstream s = NULL;
        CUresult r = vg_stream_find(ctx, c->hStream, &s);
        if (r != CUDA_SUCCESS || check_only) {
            return r;
        }
        if (s->capture != NULL) {
            r = vg_capture_record(s, e);
        } else {
            struct vg_work w = {.kind = VG_WORK_RECORD, .ctx = s->ctx, .record = {.event = e}};
            struct vg_op *op = NULL;
            r = vg_submit(s, &w, &op);
            if (r == CUDA_SUCCESS) {
                vg_op_unref(e->op);
                e->op = op;
                e->capture = NULL;
            }
        }
        if (r != CUDA_SUCCESS) {
            return r;
        }
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
                                  void **extra)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(config != NULL && (config->numAttrs == 0 || config->attrs != NULL));
    CUlaunchAttribute attrs[32];
    VG_WANT(config->numAttrs <= sizeof attrs / sizeof attrs[0]);
    CUresult r = attribute_events(call.ctx, config, true);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    unsigned n = 0;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        if (config->attrs[i].id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT &&
            config->attrs[i].id != CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
            attrs[n++] = config->attrs[i];
        }
    }
    struct vg_launch_args a = {.f = f,
                               .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                               .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
                               .smem = config->sharedMemBytes,
                               .params = kernelParams,
                               .extra = extra,
                               .attrs = attrs,
                               .n_attrs = n};
    r = launch(call.ctx, &a, config->hStream);
    return r == CUDA_SUCCESS ? attribute_events(call.ctx, config, false) : r;
}

// ---- occupancy ----

int vg_occupancy(CUfunction f, int threads, size_t dynamic_smem)
{
    if (threads < 1 || (unsigned)threads > f->kernel->max_threads || dynamic_smem > UINT32_MAX) {
        return 0;
    }
    return (int)vg_resident_ctas(f->kernel, (unsigned)threads, (uint32_t)dynamic_smem);
}

static CUresult active_blocks(CUcontext ctx, int *blocks, CUfunction func, int size, size_t smem)
{
    VG_WANT(blocks != NULL && size > 0);
    CUfunction f = NULL;
    CUresult r = vg_function_find(func, ctx, &f);
    if (r == CUDA_SUCCESS) {
        *blocks = vg_occupancy(f, size, smem);
    }
    return r;
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int *numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize, unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags <= CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE);
    return active_blocks(call.ctx, numBlocks, func, blockSize, dynamicSMemSize);
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func,
                                                             int blockSize, size_t dynamicSMemSize)
{
    VG_ENTER(VG_NEED_CTX);
    return active_blocks(call.ctx, numBlocks, func, blockSize, dynamicSMemSize);
}

static CUresult best_block(CUcontext ctx, int *min_grid, int *best_size, CUfunction func,
                           CUoccupancyB2DSize smem_of, size_t smem, int limit)
{
    VG_WANT(min_grid != NULL && best_size != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(func, ctx, &f);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    int most = (int)f->kernel->max_threads, best = 0;
    most = limit > 0 && limit < most ? limit : most;
    for (int size = (most + 31) / 32 * 32; size > 0; size -= 32) {
        int n = size < most ? size : most;
        int blocks = vg_occupancy(f, n, smem_of != NULL ? smem_of(n) : smem);
        if (blocks * n > best) {
            best = blocks * n;
            *best_size = n;
            *min_grid = blocks * vg_context_device(ctx)->facts->sms;
        }
    }
    return best > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuOccupancyMaxPotentialBlockSizeWithFlags(
    int *minGridSize, int *blockSize, CUfunction func,
    CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, int blockSizeLimit,
    unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags <= CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE);
    return best_block(call.ctx, minGridSize, blockSize, func, blockSizeToDynamicSMemSize,
                      dynamicSMemSize, blockSizeLimit);
}

CUresult CUDAAPI cuOccupancyMaxPotentialBlockSize(int *minGridSize, int *blockSize, CUfunction func,
                                                  CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                                  size_t dynamicSMemSize, int blockSizeLimit)
{
    VG_ENTER(VG_NEED_CTX);
    return best_block(call.ctx, minGridSize, blockSize, func, blockSizeToDynamicSMemSize,
                      dynamicSMemSize, blockSizeLimit);
}

CUresult CUDAAPI cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func,
                                                         int numBlocks, int blockSize)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(dynamicSmemSize != NULL && numBlocks > 0 && blockSize > 0);
    CUfunction f = NULL;
    CUresult r = vg_function_find(func, call.ctx, &f);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    const struct vg_device *d = vg_context_device(call.ctx);
    VG_WANT(vg_occupancy(f, blockSize, 0) >= numBlocks);
    size_t low = 0, high = (size_t)d->facts->smem_optin; // the most that still fits
    while (low < high) {
        size_t mid = (low + high + 1) / 2;
        if (vg_occupancy(f, blockSize, mid) >= numBlocks) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    *dynamicSmemSize = low;
    return CUDA_SUCCESS;
}

static CUresult cluster_of(CUcontext ctx, CUfunction func, const CUlaunchConfig *c, CUfunction *f,
                           struct vg_kernel_work *w)
{
    CUresult r = vg_function_find(func, ctx, f);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (c == NULL || (c->numAttrs > 0 && c->attrs == NULL)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const struct vg_facts *facts = vg_context_device(ctx)->facts;
    struct vg_launch_args a = {.attrs = c->attrs, .n_attrs = c->numAttrs};
    unsigned cluster[3] = {0, 0, 0};
    *w = (struct vg_kernel_work){.grid = {c->gridDimX, c->gridDimY, c->gridDimZ},
                                 .block = {c->blockDimX, c->blockDimY, c->blockDimZ},
                                 .dynamic_smem_bytes = c->sharedMemBytes};
    r = read_attributes(facts, &a, w, cluster);
    return r == CUDA_SUCCESS ? check_cluster(facts, *f, w, cluster) : r;
}

CUresult CUDAAPI cuOccupancyMaxActiveClusters(int *numClusters, CUfunction func,
                                              const CUlaunchConfig *config)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(numClusters != NULL);
    CUfunction f = NULL;
    struct vg_kernel_work w;
    CUresult r = cluster_of(call.ctx, func, config, &f, &w);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    const struct vg_device *d = vg_context_device(call.ctx);
    int n = w.cluster[0] != 0 ? (int)(w.cluster[0] * w.cluster[1] * w.cluster[2]) : 1;
    int blocks = vg_occupancy(f, (int)(w.block[0] * w.block[1] * w.block[2]), w.dynamic_smem_bytes);
    *numClusters = blocks * d->facts->sms / n;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuOccupancyMaxPotentialClusterSize(int *clusterSize, CUfunction func,
                                                    const CUlaunchConfig *config)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(clusterSize != NULL && config != NULL);
    CUfunction f = NULL;
    CUresult r = vg_function_find(func, call.ctx, &f);
    if (r == CUDA_SUCCESS) {
        int most = vg_context_device(call.ctx)->facts->max_cluster;
        *clusterSize = f->non_portable_cluster && most > 0 ? 16 : most > 0 ? most : 1;
    }
    return r;
}

// ---- tensor maps ----

_Static_assert(sizeof(CUtensorMap) == sizeof(struct vg_tensormap), "same size");

CUresult CUDAAPI cuTensorMapEncodeTiled(
    CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType, cuuint32_t tensorRank,
    void *globalAddress, const cuuint64_t *globalDim, const cuuint64_t *globalStrides,
    const cuuint32_t *boxDim, const cuuint32_t *elementStrides, CUtensorMapInterleave interleave,
    CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(tensorMap != NULL && globalDim != NULL && boxDim != NULL && elementStrides != NULL);
    VG_WANT((uintptr_t)tensorMap % 64 == 0 && tensorRank >= 1 && tensorRank <= 5);
    VG_WANT(globalStrides != NULL || tensorRank == 1);
    if (vg_driver.device[0].facts->cc_major < 9) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    uint64_t dim[5] = {0}, stride[4] = {0};
    for (unsigned i = 0; i < tensorRank; i++) {
        dim[i] = globalDim[i];
        if (i + 1 < tensorRank) {
            stride[i] = globalStrides[i];
        }
    }
    struct vg_tensormap map;
    char err[256] = "";
    if (!vg_tensormap_encode(&map, tensorDataType, tensorRank, (uint64_t)(uintptr_t)globalAddress,
                             dim, stride, boxDim, elementStrides, interleave, swizzle, l2Promotion,
                             oobFill, err, sizeof err)) {
        fprintf(stderr, "vgpu: cuTensorMapEncodeTiled: %s\n", err);
        return CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(tensorMap, &map, sizeof map);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuTensorMapReplaceAddress(CUtensorMap *tensorMap, void *globalAddress)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(tensorMap != NULL && (uintptr_t)tensorMap % 64 == 0);
    struct vg_tensormap map;
    memcpy(&map, tensorMap, sizeof map);
    char err[256] = "";
    if (!vg_tensormap_replace(&map, (uint64_t)(uintptr_t)globalAddress, err, sizeof err)) {
        fprintf(stderr, "vgpu: cuTensorMapReplaceAddress: %s\n", err);
        return CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(tensorMap, &map, sizeof map);
    return CUDA_SUCCESS;
}
