/* SPDX-License-Identifier: Apache-2.0
 *
 * Our own words for the driver's types and numbers (cuda_driver.h) are those of cuda.h. */
#include "device/cuda_driver.h"

#include <criterion/criterion.h>
#include <cuda.h>
#include <stdbool.h>
#include <string.h>

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define SAME_PLACE(ours, field, theirs, member) \
    _Static_assert(offsetof(ours, field) == offsetof(theirs, member), #theirs "." #member)
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)

SAME_SIZE(oct_cu_result, CUresult);
SAME_SIZE(oct_cu_ptr, CUdeviceptr);
SAME_SIZE(int, CUdevice);

SAME_SIZE(struct oct_cu_launch_attr, CUlaunchAttribute);
SAME_PLACE(struct oct_cu_launch_attr, value, CUlaunchAttribute, value);
SAME_PLACE(struct oct_cu_launch_attr, value.cluster, CUlaunchAttribute, value.clusterDim);
SAME_PLACE(struct oct_cu_launch_attr, value.pdl, CUlaunchAttribute,
           value.programmaticStreamSerializationAllowed);

SAME_SIZE(struct oct_cu_launch_config, CUlaunchConfig);
SAME_PLACE(struct oct_cu_launch_config, grid, CUlaunchConfig, gridDimX);
SAME_PLACE(struct oct_cu_launch_config, grid[2], CUlaunchConfig, gridDimZ);
SAME_PLACE(struct oct_cu_launch_config, block, CUlaunchConfig, blockDimX);
SAME_PLACE(struct oct_cu_launch_config, smem_bytes, CUlaunchConfig, sharedMemBytes);
SAME_PLACE(struct oct_cu_launch_config, stream, CUlaunchConfig, hStream);
SAME_PLACE(struct oct_cu_launch_config, attrs, CUlaunchConfig, attrs);
SAME_PLACE(struct oct_cu_launch_config, n_attrs, CUlaunchConfig, numAttrs);

SAME_SIZE(struct oct_cu_copy_2d, CUDA_MEMCPY2D);
SAME_PLACE(struct oct_cu_copy_2d, src.memory, CUDA_MEMCPY2D, srcMemoryType);
SAME_PLACE(struct oct_cu_copy_2d, src.host, CUDA_MEMCPY2D, srcHost);
SAME_PLACE(struct oct_cu_copy_2d, src.device, CUDA_MEMCPY2D, srcDevice);
SAME_PLACE(struct oct_cu_copy_2d, src.pitch, CUDA_MEMCPY2D, srcPitch);
SAME_PLACE(struct oct_cu_copy_2d, dst, CUDA_MEMCPY2D, dstXInBytes);
SAME_PLACE(struct oct_cu_copy_2d, dst.memory, CUDA_MEMCPY2D, dstMemoryType);
SAME_PLACE(struct oct_cu_copy_2d, dst.host, CUDA_MEMCPY2D, dstHost);
SAME_PLACE(struct oct_cu_copy_2d, dst.device, CUDA_MEMCPY2D, dstDevice);
SAME_PLACE(struct oct_cu_copy_2d, dst.pitch, CUDA_MEMCPY2D, dstPitch);
SAME_PLACE(struct oct_cu_copy_2d, width_bytes, CUDA_MEMCPY2D, WidthInBytes);
SAME_PLACE(struct oct_cu_copy_2d, height, CUDA_MEMCPY2D, Height);

SAME(OCT_CU_OK, CUDA_SUCCESS);
SAME(OCT_CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(OCT_CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(OCT_CU_INVALID_IMAGE, CUDA_ERROR_INVALID_IMAGE);
SAME(OCT_CU_NO_BINARY_FOR_GPU, CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME(OCT_CU_UNSUPPORTED_PTX_VERSION, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME(OCT_CU_ILLEGAL_STATE, CUDA_ERROR_ILLEGAL_STATE);
SAME(OCT_CU_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
SAME(OCT_CU_DEVICE_SMS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(OCT_CU_DEVICE_L2_BYTES, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
SAME(OCT_CU_DEVICE_CC_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(OCT_CU_DEVICE_CC_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(OCT_CU_DEVICE_SMEM_SM, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
SAME(OCT_CU_DEVICE_SMEM_BLOCK_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(OCT_CU_FUNC_STATIC_SMEM, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(OCT_CU_FUNC_LOCAL_BYTES, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
SAME(OCT_CU_FUNC_MAX_DYNAMIC_SMEM, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(OCT_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(OCT_CU_EVENT_NO_TIMING, CU_EVENT_DISABLE_TIMING);
SAME(OCT_CU_HOST_PORTABLE, CU_MEMHOSTALLOC_PORTABLE);
SAME(OCT_CU_CAPTURE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME(OCT_CU_MEMORY_HOST, CU_MEMORYTYPE_HOST);
SAME(OCT_CU_MEMORY_DEVICE, CU_MEMORYTYPE_DEVICE);
SAME(OCT_CU_ATTR_CLUSTER, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
SAME(OCT_CU_ATTR_PDL, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);

/* Symbols are those that cuda.h maps its names to: the version whose parameters we wrote down. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

Test(cuda_abi, symbols_are_of_the_versions_that_cuda_h_means)
{
    static const struct {
        const char *theirs;
    } named[] = {
        {TEXT(cuDeviceTotalMem)},
        {TEXT(cuDevicePrimaryCtxRelease)},
        {TEXT(cuMemGetInfo)},
        {TEXT(cuMemAlloc)},
        {TEXT(cuMemFree)},
        {TEXT(cuMemcpyHtoDAsync)},
        {TEXT(cuMemcpyDtoHAsync)},
        {TEXT(cuMemcpy2DAsync)},
        {TEXT(cuStreamDestroy)},
        {TEXT(cuEventDestroy)},
        {TEXT(cuStreamBeginCapture)},
        {TEXT(cuGraphInstantiate)},
        {TEXT(cuLaunchKernelEx)},
        {TEXT(cuMemHostAlloc)},
        {TEXT(cuMemFreeHost)},
    };
#define SYMBOL(field, symbol, needed, parameters) symbol,
    static const char *const ours[] = {OCT_CU_CALLS(SYMBOL)};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        bool found = false;
        for (size_t j = 0; j < sizeof ours / sizeof *ours; j++) {
            found |= !strcmp(ours[j], named[i].theirs);
        }
        cr_assert(found, "%s is not among ours", named[i].theirs);
    }
}
