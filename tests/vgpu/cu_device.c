// SPDX-License-Identifier: Apache-2.0
//
// cu_device.c - devices, their attributes, and who can see whose memory.
#include <stdio.h>
#include <string.h>

#include "driver.h"

static bool device_ok(CUdevice dev)
{
    return dev >= 0 && dev < vg_driver.n_devices;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(device != NULL);
    if (!device_ok(ordinal)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int *count)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(count != NULL);
    *count = vg_driver.n_devices;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetName(char *name, int len, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(name != NULL && len > 0);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    snprintf(name, (size_t)len, "%s", vg_driver.device[dev].facts->name);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(uuid != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    memcpy(uuid->bytes, "octavo-virtual-", 15);
    uuid->bytes[15] = (char)('0' + dev);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char *pciBusId, int len, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pciBusId != NULL && len >= 13);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    snprintf(pciBusId, (size_t)len, "0000:%02X:00.0", 0x10 + dev);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetByPCIBusId(CUdevice *dev, const char *pciBusId)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(dev != NULL && pciBusId != NULL);
    unsigned domain = 0, bus = 0;
    if (sscanf(pciBusId, "%x:%x:", &domain, &bus) != 2 || domain != 0 || bus < 0x10 ||
        !device_ok((int)bus - 0x10)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *dev = (int)bus - 0x10;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(bytes != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *bytes = vg_driver.device[dev].bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pi != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    return vg_facts_attribute(vg_driver.device[dev].facts, dev, (int)attrib, pi) == 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuDeviceGetTexture1DLinearMaxWidth(size_t *maxWidthInElements,
                                                    CUarray_format format, unsigned numChannels,
                                                    CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    (void)maxWidthInElements;
    (void)format;
    (void)numChannels;
    (void)dev;
    return CUDA_ERROR_NOT_SUPPORTED; // there are no textures
}

CUresult CUDAAPI cuDeviceCanAccessPeer(int *canAccessPeer, CUdevice dev, CUdevice peerDev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(canAccessPeer != NULL);
    if (!device_ok(dev) || !device_ok(peerDev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *canAccessPeer = dev != peerDev;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib,
                                         CUdevice srcDevice, CUdevice dstDevice)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(value != NULL && srcDevice != dstDevice);
    if (!device_ok(srcDevice) || !device_ok(dstDevice)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    switch (attrib) {
    case CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK:
    case CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED:
        *value = 0;
        return CUDA_SUCCESS;
    case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED:
    case CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED:
        *value = 1;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult CUDAAPI cuDeviceGetDefaultMemPool(CUmemoryPool *pool_out, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pool_out != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *pool_out = vg_driver.device[dev].default_pool;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pool != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *pool = vg_driver.device[dev].pool;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
    VG_ENTER(VG_NEED_INIT);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    VG_WANT(vg_handle_is(pool, VG_H_POOL) && pool->device == dev);
    vg_driver.device[dev].pool = pool;
    return CUDA_SUCCESS;
}

// ---- peer access ----

CUresult CUDAAPI cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(Flags == 0);
    if (!vg_handle_is(peerContext, VG_H_CONTEXT) || peerContext->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (peerContext->device == call.ctx->device) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    unsigned bit = 1u << peerContext->device;
    if ((call.ctx->peers & bit) != 0) {
        return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
    }
    call.ctx->peers |= bit;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxDisablePeerAccess(CUcontext peerContext)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    if (!vg_handle_is(peerContext, VG_H_CONTEXT) || peerContext->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    unsigned bit = 1u << peerContext->device;
    if ((call.ctx->peers & bit) == 0) {
        return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
    }
    call.ctx->peers &= ~bit;
    return CUDA_SUCCESS;
}
