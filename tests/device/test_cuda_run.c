/* SPDX-License-Identifier: Apache-2.0
 *
 * Ops through the table of the CUDA device: one by one, recorded and replayed, in order with the
 * copies around them. The op is embed, a copy, so every byte is known. */
#include "device/virtual_gpu.h"

enum { VOCAB = 50, DIM = 72, ROWS = 9, TABLE = VOCAB * DIM, OUT = ROWS * DIM };

struct rig {
    struct oct_device *d;
    struct k_embed_args args;
    uint16_t table[TABLE];
    int32_t *ids;  /* pinned */
    uint16_t *out; /* pinned */
};

static void open_rig(struct rig *r)
{
    const struct k_limits limits = small_limits();
    void *p;
    r->d = open_gpu();
    DONE(oct_dev_reserve(r->d, oct_dev_work_bytes(r->d, &limits) + 65536));
    DONE(oct_dev_alloc(r->d, sizeof r->table, &r->args.table));
    DONE(oct_dev_alloc(r->d, ROWS * sizeof *r->ids, &r->args.ids));
    DONE(oct_dev_alloc(r->d, OUT * sizeof *r->out, &r->args.out));
    DONE(oct_dev_prepare(r->d, &limits));
    DONE(oct_dev_host_alloc(r->d, ROWS * sizeof *r->ids, &p));
    r->ids = p;
    DONE(oct_dev_host_alloc(r->d, OUT * sizeof *r->out, &p));
    r->out = p;
    for (int i = 0; i < TABLE; i++) {
        r->table[i] = (uint16_t)(i * 40503 >> 2);
    }
    DONE(oct_dev_upload(r->d, r->args.table, r->table, sizeof r->table));
    r->args.rows = ROWS;
    r->args.dim = DIM;
    r->args.dtype = K_BF16;
    r->args.vocab = VOCAB;
}

static void close_rig(struct rig *r)
{
    oct_dev_host_free(r->d, r->ids);
    oct_dev_host_free(r->d, r->out);
    oct_dev_free(r->d, r->args.table);
    oct_dev_free(r->d, r->args.ids);
    oct_dev_free(r->d, r->args.out);
    oct_dev_close(r->d);
}

/* New ids go up, the op runs by `how`, the rows come down and are those of the ids. */
static void step(struct rig *r, int salt, oct_status (*how)(struct rig *r, int key), int key)
{
    for (int i = 0; i < ROWS; i++) {
        r->ids[i] = (i * 7 + salt * 13) % VOCAB;
    }
    memset(r->out, 0xee, OUT * sizeof *r->out);
    DONE(oct_dev_put(r->d, r->args.ids, r->ids, ROWS * 4, 1, ROWS * 4));
    DONE(how(r, key));
    DONE(oct_dev_get(r->d, r->out, r->args.out, OUT * 2));
    DONE(oct_dev_sync(r->d));
    for (int i = 0; i < r->args.rows; i++) {
        cr_assert_arr_eq(r->out + i * DIM, r->table + r->ids[i] * DIM, DIM * 2, "step %d, row %d",
                         salt, i);
    }
}

static oct_status eager(struct rig *r, int key)
{
    (void)key;
    return oct_dev_embed(r->d, &r->args);
}

static oct_status recorded(struct rig *r, int key)
{
    enum oct_record mode;
    bool again = false;
    OCT_TRY(oct_dev_record_begin(r->d, (uint64_t)key, &mode));
    if (mode == OCT_RECORD_REPLAY) {
        return OCT_OK;
    }
    OCT_TRY(oct_dev_embed(r->d, &r->args));
    OCT_TRY(oct_dev_embed(r->d, &r->args));
    if (mode == OCT_RECORD_ON) {
        OCT_TRY(oct_dev_record_end(r->d, &again));
    }
    return again ? recorded(r, key) : OCT_OK;
}

static void runs_and_replays(const char *arch)
{
    struct rig r = {0};
    use_gpu(arch, NULL);
    open_rig(&r);
    step(&r, 1, eager, 0);
    step(&r, 2, recorded, 10);
    cr_assert_eq(oct_cuda_counts(r.d).records, 1);
    const uint64_t launches = oct_cuda_counts(r.d).launches;
    for (int i = 0; i < 5; i++) {
        step(&r, 3 + i, recorded, 10);
    }
    cr_assert_eq(oct_cuda_counts(r.d).replays, 5);
    cr_assert_eq(oct_cuda_counts(r.d).launches, launches, "a replay launched kernels one by one");
    r.args.rows = 4; /* another key: recorded anew; the first is kept */
    step(&r, 9, recorded, 11);
    r.args.rows = ROWS;
    step(&r, 10, recorded, 10);
    cr_assert_eq(oct_cuda_counts(r.d).records, 2);
    cr_assert_eq(oct_cuda_counts(r.d).replays, 6);
    cr_assert(!oct_cuda_counts(r.d).records_off);
    close_rig(&r);
    no_findings();
}

Test(cuda_run, ops_run_and_replay_a100)
{
    runs_and_replays("a100");
}

Test(cuda_run, ops_run_and_replay_h100)
{
    runs_and_replays("h100");
}

Test(cuda_run, the_record_not_used_for_longest_makes_room)
{
    enum { KEPT = 128 }; /* OCT_CUDA_MAX_GRAPHS */
    struct rig r = {0};
    use_gpu("h100", NULL);
    open_rig(&r);
    for (int i = 0; i < KEPT; i++) {
        step(&r, i, recorded, i);
    }
    step(&r, 1, recorded, 0); /* used again: 1 is now the oldest */
    step(&r, 2, recorded, KEPT);
    cr_assert_eq(oct_cuda_counts(r.d).records, KEPT + 1);
    step(&r, 3, recorded, 0);
    step(&r, 4, recorded, KEPT - 1);
    cr_assert_eq(oct_cuda_counts(r.d).records, KEPT + 1);
    step(&r, 5, recorded, 1);
    cr_assert_eq(oct_cuda_counts(r.d).records, KEPT + 2);
    close_rig(&r);
    no_findings();
}

Test(cuda_run, waiting_for_each_launch_records_nothing)
{
    struct rig r = {0};
    use_gpu("a100", NULL);
    open_rig(&r);
    oct_cuda_wait_each(r.d, true);
    for (int i = 0; i < 3; i++) {
        step(&r, i, recorded, 1);
    }
    cr_assert_eq(oct_cuda_counts(r.d).records, 0);
    cr_assert_eq(oct_cuda_counts(r.d).launches, 6);
    cr_assert(!oct_cuda_counts(r.d).records_off);
    close_rig(&r);
    no_findings();
}

Test(cuda_run, an_op_without_a_kernel_is_a_sentence_not_a_dead_device)
{
    struct rig r = {0};
    use_gpu("a100", NULL);
    open_rig(&r);
    r.args.dtype = K_F32;
    FAILS(oct_dev_embed(r.d, &r.args), OCT_E_UNSUPPORTED, "no kernel for op embed");
    r.args.dtype = K_BF16;
    step(&r, 1, eager, 0);
    close_rig(&r);
    no_findings();
}

Test(cuda_run, a_recording_that_was_given_up_is_not_kept)
{
    struct rig r = {0};
    enum oct_record mode;
    bool again = false;
    use_gpu("a100", NULL);
    open_rig(&r);
    DONE(oct_dev_record_begin(r.d, 1, &mode));
    cr_assert_eq(mode, OCT_RECORD_ON);
    DONE(oct_dev_embed(r.d, &r.args));
    r.args.dtype = K_F32;
    FAILS(oct_dev_embed(r.d, &r.args), OCT_E_UNSUPPORTED, "no kernel for op embed");
    DONE(oct_dev_record_end(r.d, &again));
    cr_assert(again);
    r.args.dtype = K_BF16;
    step(&r, 1, recorded, 1);
    cr_assert_eq(oct_cuda_counts(r.d).records, 0);
    close_rig(&r);
    no_findings();
}

/* Each way in which recording can fail: the same rows, nothing recorded from then on. The virtual
 * GPU reads its plan once a process: one for each row. */
struct plan {
    char fail[64];
};

ParameterizedTestParameters(cuda_run, recording_that_fails_is_done_without)
{
    static struct plan plans[] = {{"cuStreamBeginCapture:1"},
                                  {"cuStreamEndCapture:1"},
                                  {"cuGraphInstantiateWithFlags:1"},
                                  {"cuGraphInstantiateWithFlags:1=2"}, /* out of memory */
                                  {"cuGraphLaunch:1"},
                                  {"cuLaunchKernelEx:2"},
                                  {"cuLaunchKernelEx:3"}};
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_run, recording_that_fails_is_done_without)
{
    struct rig r = {0};
    use_gpu("h100", p->fail);
    open_rig(&r);
    step(&r, 1, eager, 0);
    step(&r, 2, recorded, 1);
    step(&r, 3, recorded, 1);
    cr_assert_eq(oct_cuda_counts(r.d).records, 0, "%s", p->fail);
    cr_assert_eq(oct_cuda_counts(r.d).replays, 0, "%s", p->fail);
    cr_assert(oct_cuda_counts(r.d).records_off, "%s", p->fail);
    close_rig(&r);
    no_findings();
}

/* The device is dead when recording ends, and is closed as any other: a call fails under way, or
 * the stream cannot be got out of recording. */
ParameterizedTestParameters(cuda_run, a_device_that_dies_while_it_records_is_closed)
{
    static struct plan plans[] = {{"cuCtxSetCurrent:11"}, {"cuStreamEndCapture:1+"}};
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_run, a_device_that_dies_while_it_records_is_closed)
{
    struct rig r = {0};
    enum oct_record mode;
    bool again = false;
    use_gpu("h100", p->fail);
    open_rig(&r);
    DONE(oct_dev_record_begin(r.d, 1, &mode));
    cr_assert_eq(mode, OCT_RECORD_ON);
    if (strstr(p->fail, "Current")) {
        FAILS(oct_dev_embed(r.d, &r.args), OCT_E_DEVICE, "cuCtxSetCurrent");
        FAILS(oct_dev_record_end(r.d, &again), OCT_E_DEVICE, "cuCtxSetCurrent");
    } else {
        DONE(oct_dev_embed(r.d, &r.args));
        FAILS(oct_dev_record_end(r.d, &again), OCT_E_DEVICE, "cuStreamEndCapture");
    }
    close_rig(&r);
    no_findings();
}
