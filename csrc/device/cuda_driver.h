/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_driver.h - the calls of the CUDA driver that we make, found in libcuda.so.1 at run time, and
 * our own words for its types: octavo builds without cuda.h (tests/device/test_cuda_abi.c compares
 * the two). */
#ifndef OCT_DEVICE_CUDA_DRIVER_H
#define OCT_DEVICE_CUDA_DRIVER_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef int oct_cu_result;    /* 0: success */
typedef uint64_t oct_cu_ptr;  /* an address in device memory */
typedef void *oct_cu_context; /* opaque, as the next five */
typedef void *oct_cu_stream;
typedef void *oct_cu_event;
typedef void *oct_cu_module;
typedef void *oct_cu_function;
typedef void *oct_cu_graph;
typedef void *oct_cu_graph_exec;

enum { /* CUresult: those we tell apart */
       OCT_CU_OK = 0,
       OCT_CU_OUT_OF_MEMORY = 2,
       OCT_CU_NO_DEVICE = 100,
       OCT_CU_INVALID_IMAGE = 200,
       OCT_CU_NO_BINARY_FOR_GPU = 209,
       OCT_CU_UNSUPPORTED_PTX_VERSION = 222,
       OCT_CU_ILLEGAL_STATE = 401,
       OCT_CU_SYSTEM_DRIVER_MISMATCH = 803,
};
enum { /* CUdevice_attribute */
       OCT_CU_DEVICE_SMS = 16,
       OCT_CU_DEVICE_L2_BYTES = 38,
       OCT_CU_DEVICE_CC_MAJOR = 75,
       OCT_CU_DEVICE_CC_MINOR = 76,
       OCT_CU_DEVICE_SMEM_SM = 81,
       OCT_CU_DEVICE_SMEM_BLOCK_OPTIN = 97,
};
enum { /* CUfunction_attribute */
       OCT_CU_FUNC_STATIC_SMEM = 1,
       OCT_CU_FUNC_LOCAL_BYTES = 3,
       OCT_CU_FUNC_MAX_DYNAMIC_SMEM = 8,
};
enum {
    OCT_CU_STREAM_NON_BLOCKING = 1,
    OCT_CU_EVENT_NO_TIMING = 2,
    OCT_CU_HOST_PORTABLE = 1,
    OCT_CU_CAPTURE_THREAD_LOCAL = 1,
    OCT_CU_MEMORY_HOST = 1,
    OCT_CU_MEMORY_DEVICE = 2,
    OCT_CU_ATTR_CLUSTER = 4,
    OCT_CU_ATTR_PDL = 6,
};

struct oct_cu_launch_attr { /* CUlaunchAttribute */
    int32_t id;
    int32_t pad;
    union oct_cu_launch_value {
        uint32_t cluster[3];
        int32_t pdl;
        uint64_t room[8];
    } value;
};

struct oct_cu_launch_config { /* CUlaunchConfig */
    uint32_t grid[3], block[3];
    uint32_t smem_bytes;
    oct_cu_stream stream;
    struct oct_cu_launch_attr *attrs;
    uint32_t n_attrs;
};

struct oct_cu_copy_2d { /* CUDA_MEMCPY2D */
    struct oct_cu_copy_side {
        size_t x_bytes, y;
        int32_t memory; /* OCT_CU_MEMORY_... */
        int32_t pad;
        const void *host;
        oct_cu_ptr device;
        void *array;
        size_t pitch;
    } src, dst;
    size_t width_bytes, height;
};

/* X(field, symbol, needed, parameters). Symbols carry the version of the signature that we mean. */
// clang-format off
#define OCT_CU_CALLS(X)                                                                           \
    X(init, "cuInit", true, (unsigned flags))                                                     \
    X(driver_get_version, "cuDriverGetVersion", true, (int *version))                             \
    X(get_error_name, "cuGetErrorName", true, (oct_cu_result r, const char **name))               \
    X(device_get_count, "cuDeviceGetCount", true, (int *n))                                       \
    X(device_get, "cuDeviceGet", true, (int *dev, int ordinal))                                   \
    X(device_get_name, "cuDeviceGetName", true, (char *name, int len, int dev))                   \
    X(device_get_attribute, "cuDeviceGetAttribute", true, (int *value, int attr, int dev))        \
    X(device_total_mem, "cuDeviceTotalMem_v2", true, (size_t *bytes, int dev))                    \
    X(primary_ctx_retain, "cuDevicePrimaryCtxRetain", true, (oct_cu_context *ctx, int dev))       \
    X(primary_ctx_release, "cuDevicePrimaryCtxRelease_v2", true, (int dev))                       \
    X(ctx_set_current, "cuCtxSetCurrent", true, (oct_cu_context ctx))                             \
    X(mem_get_info, "cuMemGetInfo_v2", true, (size_t *free_bytes, size_t *total))                 \
    X(module_load_data, "cuModuleLoadData", true, (oct_cu_module *m, const void *image))          \
    X(module_unload, "cuModuleUnload", true, (oct_cu_module m))                                   \
    X(module_get_function, "cuModuleGetFunction", true,                                           \
      (oct_cu_function *f, oct_cu_module m, const char *name))                                    \
    X(func_get_attribute, "cuFuncGetAttribute", true, (int *value, int attr, oct_cu_function f))  \
    X(func_set_attribute, "cuFuncSetAttribute", true, (oct_cu_function f, int attr, int value))   \
    X(func_get_param_info, "cuFuncGetParamInfo", false, /* CUDA 12.4 */                           \
      (oct_cu_function f, size_t i, size_t *offset, size_t *bytes))                               \
    X(func_load, "cuFuncLoad", false, (oct_cu_function f)) /* CUDA 12.4 */                        \
    X(launch_kernel_ex, "cuLaunchKernelEx", true,                                                 \
      (const struct oct_cu_launch_config *c, oct_cu_function f, void **params, void **extra))     \
    X(mem_alloc, "cuMemAlloc_v2", true, (oct_cu_ptr *p, size_t bytes))                            \
    X(mem_free, "cuMemFree_v2", true, (oct_cu_ptr p))                                             \
    X(mem_host_alloc, "cuMemHostAlloc", true, (void **p, size_t bytes, unsigned flags))           \
    X(mem_free_host, "cuMemFreeHost", true, (void *p))                                            \
    X(memcpy_htod_async, "cuMemcpyHtoDAsync_v2", true,                                            \
      (oct_cu_ptr dst, const void *src, size_t bytes, oct_cu_stream s))                           \
    X(memcpy_dtoh_async, "cuMemcpyDtoHAsync_v2", true,                                            \
      (void *dst, oct_cu_ptr src, size_t bytes, oct_cu_stream s))                                 \
    X(memcpy_2d_async, "cuMemcpy2DAsync_v2", true,                                                \
      (const struct oct_cu_copy_2d *copy, oct_cu_stream s))                                       \
    X(memset_d8_async, "cuMemsetD8Async", true,                                                   \
      (oct_cu_ptr dst, unsigned char value, size_t bytes, oct_cu_stream s))                       \
    X(stream_create, "cuStreamCreate", true, (oct_cu_stream *s, unsigned flags))                  \
    X(stream_destroy, "cuStreamDestroy_v2", true, (oct_cu_stream s))                              \
    X(stream_synchronize, "cuStreamSynchronize", true, (oct_cu_stream s))                         \
    X(event_create, "cuEventCreate", true, (oct_cu_event *e, unsigned flags))                     \
    X(event_destroy, "cuEventDestroy_v2", true, (oct_cu_event e))                                 \
    X(event_record, "cuEventRecord", true, (oct_cu_event e, oct_cu_stream s))                     \
    X(event_synchronize, "cuEventSynchronize", true, (oct_cu_event e))                            \
    X(stream_begin_capture, "cuStreamBeginCapture_v2", true, (oct_cu_stream s, int mode))         \
    X(stream_end_capture, "cuStreamEndCapture", true, (oct_cu_stream s, oct_cu_graph *g))         \
    X(graph_instantiate, "cuGraphInstantiateWithFlags", true,                                     \
      (oct_cu_graph_exec *x, oct_cu_graph g, unsigned long long flags))                           \
    X(graph_destroy, "cuGraphDestroy", true, (oct_cu_graph g))                                    \
    X(graph_exec_destroy, "cuGraphExecDestroy", true, (oct_cu_graph_exec x))                      \
    X(graph_launch, "cuGraphLaunch", true, (oct_cu_graph_exec x, oct_cu_stream s))
// clang-format on

struct oct_cu {
#define OCT_CU_FIELD(field, symbol, needed, parameters) oct_cu_result(*field) parameters;
    OCT_CU_CALLS(OCT_CU_FIELD) /* NULL: not needed, and this driver has none */
#undef OCT_CU_FIELD
    int version; /* of CUDA, that the driver speaks: 12040 */
};

/* The driver, opened and initialised by the first call; it stays for the life of the process. Safe
 * from any thread. OCT_E_UNSUPPORTED: no libcuda.so.1, too old, no device; OCT_E_DEVICE: it fails.
 */
OCT_CHECKED oct_status oct_cu_open(const struct oct_cu **out);

/* "CUDA_ERROR_ILLEGAL_ADDRESS" or "CUDA error 700"; static or in dst (n bytes). */
const char *oct_cu_error_name(const struct oct_cu *cu, oct_cu_result r, char *dst, size_t n);

#endif
