/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong: each way gives its status and a sentence, leaves nothing behind and stays as it
 * is. The virtual GPU reads its plan of failures once a process, hence the parameters. */
#include "device/virtual_gpu.h"

#include "base/mem.h"

struct plan {
    char fail[64];
    int status;
    char words[80];
};

/* ---- opening ---- */

ParameterizedTestParameters(cuda_failure, opening_fails_with_a_sentence)
{
    static struct plan plans[] = {
        {"cuInit:1", OCT_E_DEVICE, "cuInit: CUDA_ERROR_UNKNOWN"},
        {"cuInit:1=100", OCT_E_UNSUPPORTED, "the driver sees no GPU"},
        {"cuInit:1=803", OCT_E_UNSUPPORTED, "restart the machine"},
        {"cuDeviceGetCount:1", OCT_E_DEVICE, "cannot be asked what it is"},
        {"cuDeviceGetName:1", OCT_E_DEVICE, "cannot be asked what it is"},
        {"cuDeviceGetAttribute:3", OCT_E_DEVICE, "cannot be asked what it is"},
        {"cuDevicePrimaryCtxRetain:1", OCT_E_DEVICE, "cannot make a context"},
        {"cuDevicePrimaryCtxRetain:1=2", OCT_E_MEM, "cannot make a context"},
        {"cuCtxSetCurrent:1", OCT_E_DEVICE, "cuCtxSetCurrent: CUDA_ERROR_UNKNOWN"},
        {"cuStreamCreate:1", OCT_E_DEVICE, "cuStreamCreate"},
        {"cuModuleLoadData:1", OCT_E_DEVICE, "cuModuleLoadData"},
        {"cuModuleLoadData:1=2", OCT_E_MEM, "no device memory left for the kernels"},
        {"cuModuleLoadData:1=222", OCT_E_UNSUPPORTED, "update the driver"},
        {"cuModuleLoadData:1=209", OCT_E_UNSUPPORTED, "update the driver"},
        {"cuModuleGetFunction:1", OCT_E_DEVICE, "cuModuleGetFunction"},
        {"cuFuncLoad:1", OCT_E_DEVICE, "cuFuncLoad"},
        {"cuFuncGetParamInfo:1", OCT_E_DEVICE, "cuFuncGetParamInfo"},
        {"cuFuncSetAttribute:1", OCT_E_DEVICE, "cuFuncSetAttribute"},
        {"cuMemGetInfo:1", OCT_E_DEVICE, "cuMemGetInfo"},
        {"lost:20", OCT_E_DEVICE, "cuda:0"},
    };
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_failure, opening_fails_with_a_sentence)
{
    use_gpu("h100", p->fail);
    const struct oct_mem_stats before = oct_mem_stats();
    struct oct_device *d = NULL;
    FAILS(oct_cuda_open(0, 2, &d), p->status, p->words);
    cr_assert_null(d);
    const struct oct_mem_stats after = oct_mem_stats();
    cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    no_findings();
}

Test(cuda_failure, a_device_that_does_not_exist_is_named)
{
    struct oct_device *d = NULL;
    struct oct_cuda_about about;
    use_gpu("a100", NULL);
    (void)setenv("VGPU_DEVICES", "2", 1);
    cr_assert_eq(oct_cuda_count(), 2);
    FAILS(oct_cuda_open(2, 1, &d), OCT_E_UNSUPPORTED, "cuda:2 does not exist; the last is cuda:1");
    FAILS(oct_cuda_open(-1, 1, &d), OCT_E_UNSUPPORTED, "does not exist");
    FAILS(oct_cuda_about(7, &about), OCT_E_UNSUPPORTED, "cuda:7 does not exist");
    DONE(oct_cuda_open(1, 1, &d));
    oct_dev_close(d);
    no_findings();
}

/* ---- later ---- */

/* Takes memory, sends a table up, runs an op over and over and reads what came out. */
static oct_status work(struct oct_device *d)
{
    enum { DIM = 64, ROWS = 4, STEPS = 500 };
    const struct k_limits limits = small_limits();
    struct k_embed_args a = {.rows = ROWS, .dim = DIM, .dtype = K_BF16, .vocab = 8};
    uint16_t table[8 * DIM] = {0}, out[ROWS * DIM];
    const int32_t ids[ROWS] = {0};
    void *pinned;
    OCT_TRY(oct_dev_reserve(d, oct_dev_work_bytes(d, &limits) + 65536));
    OCT_TRY(oct_dev_alloc(d, sizeof table, &a.table));
    OCT_TRY(oct_dev_alloc(d, sizeof out, &a.out));
    OCT_TRY(oct_dev_alloc(d, sizeof ids, &a.ids));
    OCT_TRY(oct_dev_upload(d, a.table, table, sizeof table));
    OCT_TRY(oct_dev_upload(d, a.ids, ids, sizeof ids));
    OCT_TRY(oct_dev_prepare(d, &limits));
    OCT_TRY(oct_dev_host_alloc(d, sizeof out, &pinned));
    for (int i = 0; i < STEPS; i++) {
        oct_status st = oct_dev_embed(d, &a);
        st = st != OCT_OK ? st : oct_dev_get(d, pinned, a.out, sizeof out);
        st = st != OCT_OK ? st : oct_dev_sync(d);
        if (st != OCT_OK) {
            oct_dev_host_free(d, pinned);
            return st;
        }
    }
    oct_dev_host_free(d, pinned);
    return oct_dev_download(d, out, a.out, sizeof out);
}

ParameterizedTestParameters(cuda_failure, what_fails_later_is_final)
{
    static struct plan plans[] = {
        {"cuMemAlloc:1=999", OCT_E_DEVICE, "cuMemAlloc: CUDA_ERROR_UNKNOWN"},
        {"cuMemsetD8Async:2", OCT_E_DEVICE, "cuMemsetD8Async: CUDA_ERROR_UNKNOWN"},
        {"cuMemHostAlloc:1=999", OCT_E_DEVICE, "cuMemHostAlloc"},
        {"cuEventCreate:2", OCT_E_DEVICE, "cuEventCreate"},
        {"cuMemcpyHtoDAsync:1", OCT_E_DEVICE, "cuMemcpyHtoDAsync"},
        {"cuEventRecord:2", OCT_E_DEVICE, "cuEventRecord"},
        {"cuMemcpyDtoHAsync:3", OCT_E_DEVICE, "cuMemcpyDtoHAsync"},
        {"cuLaunchKernelEx:4", OCT_E_DEVICE, "kernel embed_b16: CUDA_ERROR_UNKNOWN"},
        {"launch:5", OCT_E_DEVICE, "CUDA_ERROR_LAUNCH_FAILED"},
        {"launch:1=700", OCT_E_DEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS (--sync-kernels names"},
        {"cuStreamSynchronize:4", OCT_E_DEVICE, "cuStreamSynchronize"},
        {"cuStreamSynchronize:1+", OCT_E_DEVICE, "cuStreamSynchronize"}, /* work stays queued */
        {"cuStreamSynchronize:4+", OCT_E_DEVICE, "cuStreamSynchronize"},
        {"cuCtxSetCurrent:20", OCT_E_DEVICE, "cuCtxSetCurrent"},
        /* opening takes some calls for each kernel, a step 7 */
        {"lost:3000", OCT_E_DEVICE, "CUDA_ERROR_UNKNOWN"},
        {"lost:3002", OCT_E_DEVICE, "CUDA_ERROR_UNKNOWN"},
        {"lost:3005=719", OCT_E_DEVICE, "CUDA_ERROR_LAUNCH_FAILED"},
    };
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_failure, what_fails_later_is_final)
{
    use_gpu("a100", p->fail);
    const struct oct_mem_stats before = oct_mem_stats();
    struct oct_device *d = open_gpu();
    FAILS(work(d), p->status, p->words);
    char first[512];
    (void)snprintf(first, sizeof first, "%s", oct_last_error());
    const struct k_embed_args a = {.rows = 1, .dim = 8, .dtype = K_BF16, .vocab = 1};
    enum oct_record mode;
    k_ptr q = 0;
    char byte[1];
    void *pinned = NULL;
    /* every entry gives the first cause */
    FAILS(oct_dev_sync(d), OCT_E_DEVICE, first);
    FAILS(oct_dev_upload(d, 0, byte, 1), OCT_E_DEVICE, first);
    FAILS(oct_dev_download(d, byte, 0, 1), OCT_E_DEVICE, first);
    FAILS(oct_dev_put(d, 0, byte, 1, 1, 1), OCT_E_DEVICE, first);
    FAILS(oct_dev_get(d, byte, 0, 1), OCT_E_DEVICE, first);
    FAILS(oct_dev_host_alloc(d, 8, &pinned), OCT_E_DEVICE, first);
    if (oct_cuda_counts(d).reserved_bytes) {
        FAILS(oct_dev_alloc(d, 8, &q), OCT_E_DEVICE, first);
    }
    if (oct_cuda_counts(d).launches) { /* it was prepared */
        FAILS(oct_dev_embed(d, &a), OCT_E_DEVICE, first);
        FAILS(oct_dev_record_begin(d, 1, &mode), OCT_E_DEVICE, first);
    }
    oct_dev_close(d);
    const struct oct_mem_stats after = oct_mem_stats();
    cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    no_findings();
}

/* Memory that cannot be had is no reason to give the device up. */
ParameterizedTestParameters(cuda_failure, no_memory_is_not_final)
{
    static struct plan plans[] = {
        {"cuMemAlloc:1", OCT_E_MEM, "of device memory"},
        {"cuMemHostAlloc:1", OCT_E_MEM, "cannot pin"}, /* staging */
        {"cuMemHostAlloc:2", OCT_E_MEM, "cannot pin"},
        {"cuMemHostAlloc:3", OCT_E_MEM, "cannot pin"}, /* host_alloc */
    };
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_failure, no_memory_is_not_final)
{
    use_gpu("a100", p->fail);
    struct oct_device *d = open_gpu();
    FAILS(work(d), p->status, p->words);
    DONE(oct_dev_sync(d));
    oct_dev_close(d);
    d = open_gpu(); /* the plan was for once */
    DONE(work(d));
    oct_dev_close(d);
    no_findings();
}

Test(cuda_failure, more_than_the_device_has_is_refused)
{
    use_gpu("a100", NULL);
    struct oct_device *d = open_gpu();
    FAILS(oct_dev_reserve(d, UINT64_MAX), OCT_E_MEM, "of device memory");
    FAILS(oct_dev_reserve(d, (1ull << 30) + 1), OCT_E_MEM, "1073741824");
    DONE(work(d));
    oct_dev_close(d);
    no_findings();
}

Test(cuda_failure, no_device_memory_is_taken_after_prepare)
{
    /* The second cuMemAlloc would fail, and so would every stream-ordered one. */
    use_gpu("h100", "cuMemAlloc:2+,cuMemAllocAsync:1+,cuMemAllocPitch:1+");
    struct oct_device *d = open_gpu();
    DONE(work(d));
    oct_dev_close(d);
    no_findings();
}

Test(cuda_failure, waiting_for_each_launch_names_the_kernel)
{
    use_gpu("h100", "launch:1=700");
    struct oct_device *d = open_gpu();
    oct_cuda_wait_each(d, true);
    FAILS(work(d), OCT_E_DEVICE, "kernel embed_b16: CUDA_ERROR_ILLEGAL_ADDRESS");
    oct_dev_close(d);
    no_findings();
}
