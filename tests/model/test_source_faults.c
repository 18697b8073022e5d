/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading while the ground moves: the k-th allocation, open and read fail for every k (once, and
 * from then on), and files shrink while they are read. */
#include "base/fault.h"
#include "model/source.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens the model and reads every tensor. */
static oct_status load(const char *path)
{
    static float values[1 << 16];
    struct oct_source *s = NULL;
    OCT_TRY(oct_source_open(path, &s));
    oct_status st = OCT_OK;
    for (uint32_t i = 0; i < s->n_tensors && st == OCT_OK; i++) {
        cr_assert_leq(s->tensors[i].n_elems, 1u << 16);
        st = oct_source_read_f32(s, &s->tensors[i], 0, values, (size_t)s->tensors[i].n_elems);
    }
    oct_source_close(s);
    return st;
}

#if OCT_FAULTS

static const struct {
    enum oct_fault_site site;
    const char *name;
    oct_status want;
} sites[] = {
    {OCT_FAULT_MEM, "mem", OCT_E_MEM},
    {OCT_FAULT_OPEN, "open", OCT_E_IO},
    {OCT_FAULT_READ, "read", OCT_E_IO},
};

static void fail_every_k(const char *path, const char *label)
{
    /* The process takes what it keeps for ever (the seed of jansson's hash tables, say) first. */
    json_set_alloc_funcs(oct_malloc, oct_free);
    cr_assert_eq(load(path), OCT_OK, "%s", oct_last_error());
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        oct_fault_reset();
        cr_assert_eq(load(path), OCT_OK);
        const uint64_t calls = oct_fault_count(sites[i].site);
        cr_assert_gt(calls, 0u);
        size_t n_failed = 0;
        for (int forever = 0; forever < 2; forever++) {
            for (uint64_t k = 1; k <= calls; k++) {
                const size_t live = oct_test_live_bytes();
                oct_fault_reset();
                oct_fault_arm(sites[i].site, k, forever, OCT_FAULT_FAIL);
                oct_error_clear();
                const oct_status st = load(path);
                oct_fault_reset();
                cr_assert(st == sites[i].want, "%s: %s@%llu%s: status %d: %s", label, sites[i].name,
                          (unsigned long long)k, forever ? "+" : "", st, oct_last_error());
                cr_assert_geq(strlen(oct_last_error()), 20u, "%s: %s@%llu: \"%s\"", label,
                              sites[i].name, (unsigned long long)k, oct_last_error());
                cr_assert_eq(oct_test_live_bytes(), live, "%s: %s@%llu%s leaks", label,
                             sites[i].name, (unsigned long long)k, forever ? "+" : "");
                n_failed++;
            }
        }
        cr_log_warn("%s: %llu calls of %s, %zu loads failed cleanly", label,
                    (unsigned long long)calls, sites[i].name, n_failed);
    }
}

Test(source_faults, the_kth_call_fails_for_every_k_and_nothing_leaks)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.n_layers = 1;
    char path[4200], *dir = oct_test_make_dir();
    oct_tiny_write_hf(&t, dir);
    fail_every_k(dir, "safetensors");
    t.dtype = OCT_DTYPE_Q8_0;
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    fail_every_k(path, "GGUF");
    t.n_shards = 2;
    oct_tiny_write_gguf(&t, dir, "s");
    (void)snprintf(path, sizeof path, "%s/s-00002-of-00002.gguf", dir);
    fail_every_k(path, "split GGUF");
    oct_test_remove_dir(dir);
    t.dtype = OCT_DTYPE_BF16;
    dir = oct_test_make_dir();
    oct_tiny_write_hf(&t, dir);
    fail_every_k(dir, "sharded safetensors");
    oct_test_remove_dir(dir);
}

#endif

/* ---- files that shrink ---- */

Test(source_faults, a_file_cut_after_opening_fails_to_read_and_one_replaced_does_not)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char path[4200], *dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    struct oct_source *s = NULL;
    float v[64];
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    const struct oct_tensor *x = oct_source_find(s, "output.weight");
    /* A new file in its place, which is what downloaders do: the old one is still read. */
    char other[4300];
    (void)snprintf(other, sizeof other, "%s.new", path);
    oct_test_write_file(dir, "m.gguf.new", "short", 5);
    cr_assert_eq(rename(other, path), 0);
    cr_assert_eq(oct_source_read_f32(s, x, 0, v, 64), OCT_OK, "%s", oct_last_error());
    oct_source_close(s);

    oct_tiny_write_gguf(&t, dir, "m");
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    x = oct_source_find(s, "output.weight");
    cr_assert_eq(truncate(path, (off_t)(x->offset + 100)), 0);
    cr_assert_eq(oct_source_read_f32(s, x, 0, v, 25), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_source_read_f32(s, x, 0, v, 26), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "cut short") && strstr(oct_last_error(), path), "%s",
              oct_last_error());
    oct_source_close(s);
    oct_test_remove_dir(dir);
}

struct shrinker {
    const char *path;
    const struct oct_buf *whole;
    atomic_bool stop;
    atomic_uint n_cuts;
};

/* Cuts the file somewhere and writes the rest again, over and over. */
static void *shrink(void *arg)
{
    struct shrinker *s = arg;
    const int fd = open(s->path, O_RDWR | O_CLOEXEC);
    uint64_t x = 88172645463325252u;
    while (fd >= 0 && !atomic_load(&s->stop)) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        const size_t at = x % s->whole->len;
        if (ftruncate(fd, (off_t)at) != 0) {
            break;
        }
        (void)usleep((useconds_t)(x >> 40) % 500); /* a load takes about 500 us */
        if (pwrite(fd, s->whole->data + at, s->whole->len - at, (off_t)at) < 0) {
            break;
        }
        (void)usleep((useconds_t)(x >> 20) % 1500);
        atomic_fetch_add(&s->n_cuts, 1);
    }
    (void)close(fd);
    return NULL;
}

static void load_while_shrinking(const char *path, const char *file, const struct oct_buf *whole)
{
    struct shrinker s = {.path = file, .whole = whole};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, shrink, &s), 0);
    size_t n_ok = 0, n_failed = 0;
    for (int i = 0; i < 1000 || (atomic_load(&s.n_cuts) < 1000 && i < 100000); i++) {
        oct_error_clear();
        const oct_status st = load(path);
        if (st == OCT_OK) {
            n_ok++;
            continue;
        }
        n_failed++;
        cr_assert(st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED || st == OCT_E_LIMIT,
                  "status %d: %s", st, oct_last_error());
        cr_assert(strstr(oct_last_error(), path), "%s", oct_last_error());
    }
    atomic_store(&s.stop, true);
    (void)pthread_join(thread, NULL);
    cr_log_warn("%s: %u cuts; %zu loads failed cleanly, %zu went well", file, s.n_cuts, n_failed,
                n_ok);
    cr_assert_geq(s.n_cuts, 1000u);
    cr_assert_gt(n_failed, 0u);
    cr_assert_gt(n_ok, 0u);
}

Test(source_faults, files_that_shrink_during_a_thousand_loads_end_in_statuses)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct oct_buf whole = {0};
    char path[4200], *dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "m");
    oct_tiny_gguf(&t, 0, &whole);
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    load_while_shrinking(path, path, &whole);
    oct_buf_clear(&whole);
    oct_tiny_write_hf(&t, dir);
    oct_tiny_safetensors(&t, 0, &whole);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    load_while_shrinking(dir, path, &whole);
    oct_buf_free(&whole);
    oct_test_remove_dir(dir);
}
