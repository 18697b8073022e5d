// SPDX-License-Identifier: Apache-2.0
//
// cu_entry.c - how programs find functions: cuGetProcAddress over the list of what is exported.
#include <stdio.h>
#include <string.h>

#pragma GCC visibility push(default)
#include <cuda.h>
#include <cudaProfiler.h>
#pragma GCC visibility pop

#include "cu_list.h"
#include "driver.h"

static const struct {
    const char *symbol;
    void (*fn)(void);
    int version;
} entries[] = {
#define VG_X(name, version) {#name, (void (*)(void))name, version},
    VG_CU_MAP(VG_X)
#undef VG_X
};

// "cuMemAlloc" names "cuMemAlloc_v2": programs ask without the version.
static bool names(const char *symbol, const char *asked)
{
    size_t n = strlen(asked);
    return strncmp(symbol, asked, n) == 0 &&
           (symbol[n] == 0 || (symbol[n] == '_' && symbol[n + 1] == 'v' && symbol[n + 2] >= '2' &&
                               symbol[n + 2] <= '9' && symbol[n + 3] == 0));
}

CUresult CUDAAPI cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion,
                                     cuuint64_t flags, CUdriverProcAddressQueryResult *symbolStatus)
{
    VG_WANT(symbol != NULL && pfn != NULL);
    VG_WANT((flags & ~(cuuint64_t)(CU_GET_PROC_ADDRESS_LEGACY_STREAM |
                                   CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)) == 0);
    *pfn = NULL;
    size_t best = SIZE_MAX;
    bool known = false;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (names(entries[i].symbol, symbol)) {
            known = true;
            // The newest signature that the asking program can know.
            if (entries[i].version <= cudaVersion &&
                (best == SIZE_MAX || entries[i].version > entries[best].version)) {
                best = i;
            }
        }
    }
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    if (best != SIZE_MAX) {
        memcpy(pfn, &entries[best].fn, sizeof *pfn);
    } else {
        status = known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                       : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    }
    if (symbolStatus != NULL) {
        *symbolStatus = status;
    }
    if (status != CU_GET_PROC_ADDRESS_SUCCESS && vg_driver.log) {
        fprintf(stderr, "vgpu: cuGetProcAddress: no %s (version %d)\n", symbol, cudaVersion);
    }
    return status == CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult CUDAAPI cuGetExportTable(const void **ppExportTable, const CUuuid *pExportTableId)
{
    VG_WANT(ppExportTable != NULL && pExportTableId != NULL);
    if (vg_driver.log) {
        fprintf(stderr, "vgpu: cuGetExportTable ");
        for (size_t i = 0; i < sizeof pExportTableId->bytes; i++) {
            fprintf(stderr, "%02x", (unsigned char)pExportTableId->bytes[i]);
        }
        fprintf(stderr, "\n");
    }
    return CUDA_ERROR_NOT_FOUND; // private tables of the real driver
}

CUresult CUDAAPI cuProfilerStart(void)
{
    VG_ENTER(VG_NEED_CTX);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuProfilerStop(void)
{
    VG_ENTER(VG_NEED_CTX);
    return CUDA_SUCCESS;
}
