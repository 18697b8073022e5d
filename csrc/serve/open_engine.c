/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/open_engine.h"

#include "serve/interrupt.h"
#include "serve/progress.h"
#include "serve/terminal.h"

#include <string.h>

/* As the options want it: 0 is their default, -1 no bound. */
static int64_t step_timeout_us(const struct oct_params *p)
{
    const double seconds = oct_param_float(p, OCT_P_HANG_TIMEOUT, -1);
    const int64_t us = (int64_t)(seconds * 1e6);
    return seconds < 0 ? 0 : seconds == 0 ? -1 : us > 0 ? us : 1;
}

struct oct_engine_options oct_command_options(const struct oct_params *p, const char *model_path)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    o.model_path = model_path;
    o.dtype = oct_param_str(p, OCT_P_DTYPE, NULL);
    o.n_threads = (int32_t)oct_param_int(p, OCT_P_THREADS, 0);
    o.max_model_len = (int32_t)oct_param_int(p, OCT_P_MAX_MODEL_LEN, 0);
    o.max_num_batched_tokens = (int32_t)oct_param_int(p, OCT_P_MAX_NUM_BATCHED_TOKENS, 0);
    o.kv_cache_bytes = oct_param_int(p, OCT_P_KV_CACHE_BYTES, 0);
    o.kv_cache_dtype = oct_param_str(p, OCT_P_KV_CACHE_DTYPE, NULL);
    o.device = oct_param_str(p, OCT_P_DEVICE, NULL);
    o.gpu_memory_utilization = oct_param_float(p, OCT_P_GPU_MEMORY_UTILIZATION, 0);
    o.enforce_eager = oct_param_bool(p, OCT_P_ENFORCE_EAGER);
    o.sync_kernels = oct_param_bool(p, OCT_P_SYNC_KERNELS);
    o.gemm_provider = oct_param_str(p, OCT_P_GEMM_PROVIDER, NULL);
    o.step_timeout_us = step_timeout_us(p);
    return o;
}

void oct_command_note_products(const struct oct_engine_options *o)
{
    if (o->gemm_provider && !strcmp(o->gemm_provider, "cublaslt")) {
        oct_note("octavo: matrix products by cuBLASLt: the bits of an answer may depend on what "
                 "runs beside it");
    }
}

static bool on_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    oct_progress_update(user, done_bytes, total_bytes);
    return !oct_interrupt_pending();
}

oct_status oct_command_open(const struct oct_engine_options *options, oct_engine **out)
{
    struct oct_engine_options o = *options;
    struct oct_progress progress;
    oct_progress_init(&progress);
    o.progress = on_progress;
    o.progress_user = &progress;
    const oct_status st = oct_engine_open(&o, out);
    oct_progress_finish(&progress);
    if (st == OCT_OK) {
        oct_command_note_products(&o);
    }
    return st;
}
