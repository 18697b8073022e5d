/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pick_device.h"

#include "cpu/cpu.h"
#include "cpu/machine.h"
#include "device/cuda.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ORDINAL = 63 };

/* "cuda" and "cuda:N"; false: another name. */
static bool cuda_ordinal(const char *name, int *ordinal)
{
    if (strncmp(name, "cuda", 4) != 0) {
        return false;
    }
    *ordinal = 0;
    if (name[4] == '\0') {
        return true;
    }
    char *end;
    if (name[4] != ':' || name[5] < '0' || name[5] > '9') {
        return false;
    }
    const long n = strtol(name + 5, &end, 10);
    *ordinal = (int)(n > MAX_ORDINAL ? MAX_ORDINAL + 1 : n);
    return *end == '\0' && n <= MAX_ORDINAL;
}

static bool is_auto(const char *name)
{
    return !name || !strcmp(name, "auto");
}

bool oct_device_wants_cuda(const char *name)
{
    int ordinal;
    char why[256];
    return is_auto(name) ? oct_cuda_present(why, sizeof why) : cuda_ordinal(name, &ordinal);
}

static oct_status open_cuda(int ordinal, int n_threads, struct oct_device **out)
{
    return oct_cuda_open(ordinal, n_threads > 0 ? n_threads : oct_machine_cores(), out);
}

oct_status oct_device_pick(const char *name, int n_threads, struct oct_device **out)
{
    char why[256], quoted[64];
    int ordinal;
    if (is_auto(name)) {
        return oct_cuda_present(why, sizeof why) ? open_cuda(0, n_threads, out)
                                                 : oct_cpu_open(n_threads, out);
    }
    if (!strcmp(name, "cpu")) {
        return oct_cpu_open(n_threads, out);
    }
    if (cuda_ordinal(name, &ordinal)) {
        return open_cuda(ordinal, n_threads, out);
    }
    oct_error_quote(quoted, sizeof quoted, name, strlen(name));
    return OCT_FAIL(OCT_E_ARG,
                    "device is \"%s\"; it must be auto, cpu, cuda or cuda:N (N up to %d)", quoted,
                    (int)MAX_ORDINAL);
}

oct_status oct_device_gemm_provider(struct oct_device *d, const char *name)
{
    char quoted[64];
    if (!name || !strcmp(name, "octavo")) {
        return OCT_OK;
    }
    if (strcmp(name, "cublaslt") != 0) {
        oct_error_quote(quoted, sizeof quoted, name, strlen(name));
        return OCT_FAIL(OCT_E_ARG, "gemm_provider is \"%s\"; it must be octavo or cublaslt",
                        quoted);
    }
    if (d->host_memory) {
        return OCT_FAIL(OCT_E_ARG,
                        "gemm_provider cublaslt is for CUDA devices; this one is the CPU");
    }
    return oct_cuda_use_cublaslt(d);
}
