/* SPDX-License-Identifier: Apache-2.0
 *
 * Every damaged version of a complete tiny model, in both formats: none may end in a signal (the
 * process would die here), each refusal is a sentence, what still opens can be read, and memory
 * stays bounded. Files lie in memory (/dev/shm) where there is such a place. */
#include "model/source.h"
#include "support/damage.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct outcome {
    const char *model; /* path to open */
    size_t opened, refused;
};

/* A tensor's values, a megabyte at most. */
static void read_some(const struct oct_source *s, const struct oct_tensor *t)
{
    static float values[256 << 10];
    const uint64_t block = oct_dtype_info(t->dtype)->block_elems;
    const uint64_t most = sizeof values / sizeof *values;
    const uint64_t n = t->n_elems < most ? t->n_elems : most / block * block;
    const oct_status st = oct_source_read_f32(s, t, 0, values, (size_t)n);
    if (oct_dtype_info(t->dtype)->used) {
        cr_assert_eq(st, OCT_OK, "%s", oct_last_error());
    } else {
        cr_assert_eq(st, OCT_E_UNSUPPORTED, "%d", st);
    }
}

static void open_it(void *user, const char *what)
{
    struct outcome *o = user;
    struct oct_source *s = NULL;
    oct_error_clear();
    const oct_status st = oct_source_open(o->model, &s);
    if (st == OCT_OK) {
        o->opened++;
        for (uint32_t i = 0; i < s->n_tensors; i++) {
            read_some(s, &s->tensors[i]);
        }
    } else {
        o->refused++;
        cr_assert(st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED || st == OCT_E_LIMIT,
                  "%s: status %d: %s", what, st, oct_last_error());
        cr_assert_geq(strlen(oct_last_error()), 30u, "%s: \"%s\"", what, oct_last_error());
        cr_assert(strstr(oct_last_error(), o->model), "%s: \"%s\" names no file", what,
                  oct_last_error());
        cr_assert_null(s);
    }
    oct_source_close(s);
}

static struct oct_tiny smallest(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.n_layers = 1;
    t.dim = 32;
    t.ff_dim = 32;
    t.n_heads = 2;
    t.n_kv_heads = 1;
    t.vocab_size = OCT_TINY_N_TOKENS;
    t.tied = true;
    return t;
}

static long peak_kib(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* Opens every damaged version of dir/file; `model` is what is opened. */
static void damage_all(const char *dir, const char *file, const char *model, size_t min_versions)
{
    char path[4096], whole[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    (void)snprintf(whole, sizeof whole, "%s%s%s", dir, *model ? "/" : "", model);
    struct outcome o = {.model = whole};
    open_it(&o, "untouched");
    cr_assert_eq(o.opened, 1u, "%s", oct_last_error());

    struct oct_source *s;
    cr_assert_eq(oct_source_open(whole, &s), OCT_OK);
    uint64_t cuts[256], header = UINT64_MAX;
    size_t n_cuts = 0;
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        const struct oct_tensor *t = &s->tensors[i];
        header = t->offset < header ? t->offset : header;
        cr_assert_leq(n_cuts + 3, 256u);
        for (uint64_t k = 0; k < 3; k++) {
            cuts[n_cuts++] = t->offset + t->size_bytes + k - 1;
        }
    }
    const uint64_t file_bytes = s->files[0].size_bytes;
    oct_source_close(s);

    const long before = peak_kib();
    o = (struct outcome){.model = whole};
    const struct oct_damage_counts n = oct_damage_file(&(struct oct_damage){
        .path = path,
        .header_bytes = (size_t)header,
        .cuts = cuts,
        .n_cuts = n_cuts,
        .stride = 1,
        .fn = open_it,
        .user = &o,
    });
    const size_t total = n.cuts + n.flips + n.u32s + n.u64s;
    cr_log_warn("%s: header of %llu bytes: %zu cuts, %zu flips, %zu u32s, %zu u64s = %zu versions; "
                "%zu refused, %zu opened; peak memory +%ld KiB",
                file, (unsigned long long)header, n.cuts, n.flips, n.u32s, n.u64s, total, o.refused,
                o.opened, peak_kib() - before);
    cr_assert_eq(o.opened + o.refused, total);
    cr_assert_geq(total, min_versions);
    cr_assert_geq(o.refused, n.cuts, "a cut file was opened");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which keep freed memory */
    cr_assert_leq((peak_kib() - before) * 1024, (long)(2 * file_bytes + (64u << 20)));
#else
    (void)file_bytes;
#endif
    o = (struct outcome){.model = whole};
    open_it(&o, "whole again");
    cr_assert_eq(o.opened, 1u, "%s", oct_last_error());
}

static char *memory_dir(void)
{
    if (access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    return oct_test_make_dir();
}

Test(bad_files, every_damaged_gguf_header_is_refused_or_can_be_read)
{
    const struct oct_tiny t = smallest();
    char *dir = memory_dir();
    oct_tiny_write_gguf(&t, dir, "m");
    damage_all(dir, "m.gguf", "m.gguf", 100000);
    oct_test_remove_dir(dir);
}

Test(bad_files, every_damaged_safetensors_header_is_refused_or_can_be_read)
{
    struct oct_tiny t = smallest();
    t.n_layers = 5; /* for a header of 6 KB */
    t.dtype = OCT_DTYPE_BF16;
    char *dir = memory_dir();
    struct oct_buf b = {0};
    oct_tiny_config_json(&t, &b);
    oct_test_write_file(dir, "config.json", b.data, b.len);
    oct_buf_clear(&b);
    oct_tiny_safetensors(&t, 0, &b);
    oct_test_write_file(dir, "model.safetensors", b.data, b.len);
    oct_buf_free(&b);
    damage_all(dir, "model.safetensors", "", 100000);
    oct_test_remove_dir(dir);
}
