// SPDX-License-Identifier: Apache-2.0
// The corpus of injected bugs: each kernel of bugs/*.cu runs right and with one mistake, over many
// scheduling seeds. The mistake must be found under every seed, the right one must stay silent.
// VGT_SEEDS=100 is the full run (default 25, fewer under AddressSanitizer); VGT_ONLY=name runs one
// kernel.
#include "vgt.h"

struct args {
    struct vg_tensormap map, map_out;
    uint64_t in, out, flags, stale;
    int32_t n;
    uint8_t pad[28];
};
_Static_assert(sizeof(struct args) == 320, "as bug.cuh lays it out");

#ifdef __SANITIZE_ADDRESS__ // many times slower
enum { SEEDS = 8 };
#else
enum { SEEDS = 25 };
#endif

#define K(x) (UINT64_C(1) << VG_##x)
struct row {
    const char *name;
    unsigned grid, block, cluster;
    uint64_t kinds; // at least one of these must be reported
    uint32_t smem;  // dynamic shared memory
};

static const struct row mem_rows[] = {
    {"oob_read", 4, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_write", 4, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_before", 4, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_far", 4, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_shared", 1, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_next_shared_array", 1, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"oob_dynamic_before", 1, 64, 0, K(OUT_OF_BOUNDS), 256},
    {"oob_dynamic", 1, 64, 0, K(OUT_OF_BOUNDS), 256},
    {"oob_local", 1, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"misaligned_global", 1, 64, 0, K(MISALIGNED), 0},
    {"misaligned_shared", 1, 64, 0, K(MISALIGNED), 0},
    {"uninit_global", 1, 64, 0, K(UNINITIALISED), 0},
    {"uninit_shared", 2, 64, 0, K(UNINITIALISED), 0},
    {"uninit_local", 1, 64, 0, K(UNINITIALISED), 0},
    {"uninit_register", 1, 64, 0, K(UNINITIALISED), 0},
    {"uninit_register_of_a_loop", 1, 64, 0, K(UNINITIALISED), 0},
    {"uninit_predicate", 1, 64, 0, K(UNINITIALISED), 0},
    {"uninit_register64", 1, 64, 0, K(UNINITIALISED), 0},
    {"use_after_free", 1, 64, 0, K(USE_AFTER_FREE), 0},
    {"nc_of_written", 2, 64, 0, K(NC_LOAD), 0},
    {"ctas_write_one_word", 4, 32, 0, K(GLOBAL_RACE), 0},
    {"cta_reads_neighbour", 4, 64, 0, K(GLOBAL_RACE) | K(UNINITIALISED), 0},
    {"plain_beside_atomic", 4, 32, 0, K(GLOBAL_RACE), 0},
    {"last_cta_without_fence", 6, 32, 0, K(GLOBAL_RACE), 0},
    {"no_grid_barrier", 4, 64, 0, K(GLOBAL_RACE) | K(UNINITIALISED), 0},
    {"grid_barrier_count_wrong", 4, 64, 0, K(DEADLOCK) | K(BARRIER), 0},
    {"grid_barrier_of_too_many", 133, 32, 0, K(DEADLOCK) | K(BARRIER), 116 * 1024},
    {"flag_without_release", 2, 32, 0, K(GLOBAL_RACE), 0},
    {"flag_without_acquire", 2, 32, 0, K(GLOBAL_RACE), 0},
};
static const struct row sync_rows[] = {
    {"no_syncthreads", 2, 64, 0, K(SHARED_RACE) | K(WARP_RACE), 0},
    {"no_second_syncthreads", 1, 64, 0, K(SHARED_RACE), 0},
    {"no_syncwarp", 1, 64, 0, K(WARP_RACE), 0},
    {"no_syncwarp_war", 1, 64, 0, K(WARP_RACE), 0},
    {"shuffle_is_no_fence", 1, 64, 0, K(WARP_RACE), 0},
    {"syncwarp_of_some", 1, 64, 0, K(WARP_RACE), 0},
    {"named_barriers_mixed", 1, 64, 0, K(SHARED_RACE) | K(UNINITIALISED), 0},
    {"barrier_count_too_high", 1, 64, 0, K(DEADLOCK) | K(BARRIER), 0},
    {"barrier_in_a_branch", 1, 64, 0, K(DEADLOCK) | K(BARRIER), 0},
    {"bytes_of_one_word", 1, 64, 0, K(SHARED_RACE), 0},
    {"double_buffer_wrong_half", 1, 64, 0, K(SHARED_RACE), 0},
    {"read_beside_shared_atomic", 1, 64, 0, K(SHARED_RACE) | K(WARP_RACE), 0},
    {"flag_without_fence", 1, 64, 0, K(SHARED_RACE), 0},
    {"broadcast_overwritten", 1, 64, 0, K(SHARED_RACE), 0},
    {"ldmatrix_too_early", 1, 64, 0, K(SHARED_RACE) | K(WARP_RACE) | K(UNINITIALISED), 0},
    {"ldmatrix_misaligned", 1, 64, 0, K(MISALIGNED), 0},
    {"shuffle_from_exited_lane", 1, 64, 0, K(COLLECTIVE), 0},
    {"shuffle_mask_lacks_the_caller", 1, 64, 0, K(COLLECTIVE), 0},
    {"shuffle_in_a_branch", 1, 64, 0, K(BARRIER), 0},
    {"barrier_number_out_of_range", 1, 64, 0, K(BARRIER), 0},
};
static const struct row async_rows[] = {
    {"cp_async_wait_too_weak", 1, 64, 0, K(IN_FLIGHT_READ), 0},
    {"cp_async_no_wait", 1, 64, 0, K(IN_FLIGHT_READ), 0},
    {"cp_async_no_commit", 1, 64, 0, K(IN_FLIGHT_READ), 0},
    {"cp_async_no_syncthreads", 1, 64, 0,
     K(SHARED_RACE) | K(WARP_RACE) | K(IN_FLIGHT_READ) | K(UNINITIALISED), 0},
    {"cp_async_exit_in_flight", 1, 64, 0, K(ASYNC_EXIT), 0},
    {"cp_async_source_out_of_bounds", 1, 64, 0, K(OUT_OF_BOUNDS), 0},
    {"cp_async_misaligned", 1, 64, 0, K(MISALIGNED), 0},
    {"cp_async_refills_too_early", 1, 64, 0, K(SHARED_RACE) | K(WARP_RACE) | K(IN_FLIGHT_READ), 0},
    {"cp_async_source_overwritten", 1, 64, 0, K(IN_FLIGHT_WRITE), 0},
    {"store_into_cp_async_destination", 1, 64, 0, K(IN_FLIGHT_WRITE), 0},
    {"cp_async_mbarrier_not_waited", 1, 64, 0, K(IN_FLIGHT_READ) | K(SHARED_RACE), 0},
    {"mbarrier_parity_not_flipped", 1, 64, 0, K(SHARED_RACE) | K(MBARRIER) | K(DEADLOCK), 0},
    {"mbarrier_producer_does_not_wait", 1, 64, 0, K(SHARED_RACE) | K(MBARRIER) | K(DEADLOCK), 0},
    {"mbarrier_consumer_does_not_wait", 1, 64, 0, K(SHARED_RACE) | K(UNINITIALISED), 0},
    {"mbarrier_count_too_high", 1, 64, 0, K(DEADLOCK), 0},
    {"mbarrier_not_initialised", 1, 64, 0, K(MBARRIER), 0},
    {"mbarrier_init_not_synchronised", 1, 64, 0, K(SHARED_RACE) | K(MBARRIER), 0},
    {"mbarrier_overwritten", 1, 64, 0, K(MBARRIER), 0},
    {"mbarrier_too_many_arrivals", 1, 64, 0, K(MBARRIER), 0},
    {"mbarrier_initialised_twice", 1, 64, 0, K(MBARRIER), 0},
    {"mbarrier_waits_two_phases_late", 1, 64, 0, K(MBARRIER) | K(DEADLOCK), 0},
};
static const struct row hopper_rows[] = {
    {"tma_not_waited", 1, 64, 0, K(IN_FLIGHT_READ) | K(UNINITIALISED), 0},
    {"tma_expects_too_much", 1, 64, 0, K(DEADLOCK), 0},
    {"tma_expects_too_little", 1, 64, 0, K(DEADLOCK), 0},
    {"tma_barrier_not_fenced", 1, 64, 0, K(PROXY_FENCE), 0},
    {"tma_map_garbage", 1, 64, 0, K(TENSORMAP), 0},
    {"tma_destination_misaligned", 1, 64, 0, K(MISALIGNED), 0},
    {"tma_exit_in_flight", 1, 64, 0, K(ASYNC_EXIT), 0},
    {"tma_producer_skips_empty", 1, 64, 0,
     K(SHARED_RACE) | K(MBARRIER) | K(IN_FLIGHT_WRITE) | K(DEADLOCK), 0},
    {"tma_store_not_fenced", 1, 64, 0, K(PROXY_FENCE), 0},
    {"tma_store_source_overwritten", 1, 64, 0, K(IN_FLIGHT_WRITE), 0},
    {"tma_store_exit_too_early", 1, 64, 0, K(ASYNC_EXIT), 0},
    {"tma_store_of_uninitialised", 1, 64, 0, K(UNINITIALISED), 0},
    {"bulk_size_odd", 1, 64, 0, K(ASYNC_ARGUMENT), 0},
    {"bulk_store_read_back_too_early", 1, 64, 0, K(IN_FLIGHT_READ), 0},
    {"bulk_wait_read_is_not_wait", 1, 64, 0, K(IN_FLIGHT_READ), 0},
    {"bulk_source_not_fenced", 1, 64, 0, K(PROXY_FENCE), 0},
    {"tma_source_of_other_cta_not_fenced", 2, 64, 0, K(PROXY_FENCE), 0},
    {"bulk_reduction_over_unfenced_write", 1, 64, 0, K(PROXY_FENCE), 0},
    {"tma_source_overwritten", 1, 64, 0, K(IN_FLIGHT_WRITE) | K(GLOBAL_RACE), 0},
    {"tensormap_not_released", 1, 64, 0, K(TENSORMAP), 0},
    {"tensormap_not_acquired", 1, 64, 0, K(TENSORMAP), 0},
    {"wgmma_result_too_early", 1, 128, 0, K(WGMMA_IN_FLIGHT), 0},
    {"wgmma_no_fence", 1, 128, 0, K(WGMMA_FENCE), 0},
    {"wgmma_operand_not_fenced", 1, 128, 0, K(PROXY_FENCE), 0},
    {"wgmma_operand_overwritten", 1, 128, 0, K(IN_FLIGHT_WRITE), 0},
    {"wgmma_no_syncthreads", 1, 128, 0, K(SHARED_RACE) | K(UNINITIALISED) | K(WARP_RACE), 0},
    {"wgmma_accumulator_written", 1, 128, 0, K(WGMMA_IN_FLIGHT), 0},
    {"wgmma_descriptor_misaligned", 1, 128, 0, K(WGMMA_ARGUMENT), 0},
    {"wgmma_a_register_written", 1, 128, 0, K(WGMMA_IN_FLIGHT), 0},
    {"wgmma_exit_in_flight", 1, 128, 0, K(ASYNC_EXIT), 0},
    {"dynamic_shared_alignment_assumed", 1, 128, 0, K(WGMMA_ARGUMENT), 8192},
    {"cluster_no_barrier", 2, 64, 2, K(SHARED_RACE) | K(UNINITIALISED), 0},
    {"cluster_arrive_without_remote", 2, 64, 2, K(MBARRIER) | K(DEADLOCK) | K(SHARED_RACE), 0},
    {"cluster_out_of_bounds", 2, 64, 2, K(OUT_OF_BOUNDS), 0},
};

// Findings of one run as a set; the outcome's sum for the clean twin.
static uint64_t run(struct vg_module *m, const struct row *r, int bug, uint64_t seed,
                    uint64_t *hash)
{
    float in[4096];
    for (int i = 0; i < 4096; i++) {
        in[i] = (float)(i % 97);
    }
    struct args a = {.n = 1024};
    a.in = vgt_mem(in, sizeof(in));
    a.out = vgt_mem(NULL, sizeof(in));
    a.stale = vgt_mem(in, sizeof(in));
    int32_t zero[64] = {0};
    a.flags = vgt_mem(zero, sizeof(zero));
    if (bug) {
        cr_assert(vg_mem_free(a.stale));
    }
    char err[256];
    const uint64_t dim[2] = {32, 64}, stride[1] = {128};
    const uint32_t box[2] = {32, 16}, one[2] = {1, 1};
    cr_assert(vg_tensormap_encode(&a.map, VG_TM_F32, 2, a.in, dim, stride, box, one, 0,
                                  VG_TM_SWIZZLE_128, 0, 0, err, sizeof(err)),
              "%s", err);
    cr_assert(vg_tensormap_encode(&a.map_out, VG_TM_F32, 2, a.out, dim, stride, box, one, 0,
                                  VG_TM_SWIZZLE_NONE, 0, 0, err, sizeof(err)),
              "%s", err);
    vg_findings_clear();
    struct vgt_run how = {.grid = r->grid,
                          .block = r->block,
                          .cluster = r->cluster,
                          .smem = r->smem,
                          .seed = seed,
                          .checks = VG_CHECK_ALL};
    enum vg_result res = vgt_try(m, r->name, how, &a, sizeof(a), err);
    cr_assert(res == VG_OK || res == VG_FAULT, "%s: %s", r->name, err);
    uint64_t kinds = 0;
    for (unsigned i = 0; i < vg_findings(); i++) {
        kinds |= UINT64_C(1) << vg_finding_at(i)->kind;
        const struct vg_where *w = &vg_finding_at(i)->where;
        if (bug && (kinds & r->kinds) && vg_finding_at(i)->kind != VG_DEADLOCK) {
            cr_assert(w->file && w->line > 0, "%s: a finding without a source line", r->name);
        }
    }
    uint32_t out[4096];
    vgt_get(out, a.out, sizeof(out));
    *hash = 14695981039346656037ull;
    for (int i = 0; i < 4096; i++) {
        *hash = (*hash ^ out[i]) * 1099511628211ull;
    }
    vg_mem_free(a.in);
    vg_mem_free(a.out);
    vg_mem_free(a.flags);
    vg_mem_free(a.stale);
    return kinds;
}

static void kinds_text(uint64_t kinds, char *buf, size_t n)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; i < VG_KIND_COUNT; i++) {
        if (kinds >> i & 1 && used < n) {
            used += (size_t)snprintf(buf + used, n - used, " %s", vg_kind_name((enum vg_kind)i));
        }
    }
}

static void corpus(const char *file, const struct row *rows, unsigned n)
{
    if (!*VGT_BUGS) {
        cr_skip_test("nvcc was not found: the corpus was not compiled");
    }
    const char *only = getenv("VGT_ONLY"), *s = getenv("VGT_SEEDS");
    unsigned seeds = s ? (unsigned)atoi(s) : SEEDS, wrong = 0;
    char path[512];
    struct vg_module *m[2];
    vgt_open();
    for (int bug = 0; bug < 2; bug++) {
        snprintf(path, sizeof(path), "%s/%s%d.ptx", VGT_BUGS, file, bug);
        char *ptx = vgt_read(path);
        m[bug] = vgt_load(ptx);
        free(ptx);
    }
    for (unsigned i = 0; i < n; i++) {
        if (only && strcmp(only, rows[i].name) != 0) {
            continue;
        }
        unsigned missed = 0, noisy = 0;
        uint64_t seen = 0, noise = 0, hash0 = 0;
        // A full device costs a lot; all seeds where they were asked for.
        unsigned step = rows[i].grid > 100 && !getenv("VGT_SEEDS") ? 10 : 1;
        for (unsigned seed = 0; seed < seeds; seed += step) {
            uint64_t hash, k = run(m[1], &rows[i], 1, seed, &hash);
            missed += (k & rows[i].kinds) == 0;
            seen |= k;
            k = run(m[0], &rows[i], 0, seed, &hash);
            if (k) {
                if (noisy == 0) {
                    vgt_print_findings();
                }
                noise |= k;
            }
            noisy += k != 0;
            hash0 = seed == 0 ? hash : hash0;
            if (hash != hash0 && k == 0) {
                fprintf(stderr, "%s: clean run differs under seed %u\n", rows[i].name, seed);
                noisy++;
            }
        }
        if (missed || noisy) {
            char a[256], b[256];
            kinds_text(seen, a, sizeof(a));
            kinds_text(noise, b, sizeof(b));
            fprintf(stderr,
                    "%s: missed under %u of %u seeds (found:%s), clean twin noisy under %u (%s)\n",
                    rows[i].name, missed, seeds, a, noisy, b);
            wrong++;
        }
    }
    vg_module_free(m[0]);
    vg_module_free(m[1]);
    cr_assert(wrong == 0, "%u of %u kernels of bugs/%s.cu are not judged right", wrong, n, file);
}

#define ROWS(x) x, sizeof(x) / sizeof((x)[0])

Test(bugs, of_plain_memory_are_found, .timeout = 600)
{
    corpus("mem", ROWS(mem_rows));
}
Test(bugs, of_barriers_are_found, .timeout = 600)
{
    corpus("sync", ROWS(sync_rows));
}
Test(bugs, of_cp_async_and_mbarrier_are_found, .timeout = 600)
{
    corpus("async", ROWS(async_rows));
}
Test(bugs, of_tma_wgmma_and_clusters_are_found, .timeout = 600)
{
    corpus("hopper", ROWS(hopper_rows));
}
