/* SPDX-License-Identifier: Apache-2.0
 *
 * Damaged model files given to the program itself: `octavo info`, `octavo tokenize` and `octavo
 * run` in turn, each a process of its own. None is ended by a signal or takes long; what is refused
 * gets the code for it and a sentence. OCT_BAD_FILES runs; a sample without it. (Every version goes
 * through the library in tests/model/test_bad_files.c and tests/engine/test_damaged.c.) */
#include "model/gguf.h"
#include "serve/spawn.h"
#include "support/damage.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { SAMPLE = 200, LIMIT_MS = 60000 };
#else
enum { SAMPLE = 400, LIMIT_MS = 10000 };
#endif
/* Of one byte of a header there is 1 cut, 8 flipped bits, 5 u32s and 9 u64s; three of these at most
 * change nothing. */
enum { VERSIONS_A_BYTE = 20 };

struct outcome {
    const char *model;
    size_t n, refused;
    int64_t slowest_ms;
};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void run_it(void *user, const char *what)
{
    struct outcome *o = user;
    const char *const lines[][12] = {
        {"info", o->model, NULL},
        {"tokenize", o->model, "once upon a time", NULL},
        {"run", o->model, "-p", "once", "--raw", "--max-tokens", "2", "--kv-cache-bytes", "1MiB",
         "--device", "cpu", NULL},
    };
    const int64_t begin = now_ms();
    struct spawned s;
    spawn(&s, lines[o->n % 3], NULL, NULL);
    const int64_t ms = now_ms() - begin;
    const char *command = lines[o->n % 3][0];
    /* 1: a model whose weights give no numbers; 3: one that says it is larger than memory. */
    cr_assert(s.code >= 0 && s.code <= 3, "%s: octavo %s ends with %d: %s", what, command, s.code,
              s.err.data);
    cr_assert(s.code == 0 || (s.err.len > 30 && s.err.data[s.err.len - 1] == '\n'),
              "%s: octavo %s says \"%s\"", what, command, s.err.data);
    cr_assert_leq(ms, LIMIT_MS, "%s: octavo %s takes %lld ms", what, command, (long long)ms);
    o->refused += s.code != 0;
    o->slowest_ms = ms > o->slowest_ms ? ms : o->slowest_ms;
    o->n++;
    spawned_free(&s);
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

static char *memory_dir(void)
{
    if (access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    return oct_test_make_dir();
}

static void check(const char *what, const char *path, const char *model, size_t header)
{
    const char *wanted = getenv("OCT_BAD_FILES");
    const size_t half = (wanted ? strtoull(wanted, NULL, 10) : SAMPLE) / 2 + 1;
    const size_t due = header * VERSIONS_A_BYTE / half;
    const size_t stride = due > 1 ? (due - 1) | 1 : 1; /* odd: every kind of damage is met */
    struct outcome o = {.model = model};
    run_it(&o, "untouched");
    run_it(&o, "untouched");
    run_it(&o, "untouched");
    cr_assert_eq(o.refused, 0u);
    o = (struct outcome){.model = model};
    const struct oct_damage d = {
        .path = path, .header_bytes = header, .stride = (uint32_t)stride, .fn = run_it, .user = &o};
    const struct oct_damage_counts n = oct_damage_file(&d);
    (void)printf(
        "%s: %zu files (%zu cut, %zu bits, %zu u32, %zu u64), %zu refused, the slowest run "
        "took %lld ms\n",
        what, o.n, n.cuts, n.flips, n.u32s, n.u64s, o.refused, (long long)o.slowest_ms);
    cr_assert(n.cuts && n.flips && n.u32s && n.u64s);
    cr_assert(o.n >= half && o.refused > o.n / 4, "%zu files, %zu refused", o.n, o.refused);
}

Test(cli_bad_files, no_gguf_file_ends_the_program_by_a_signal, .timeout = 7200)
{
    const struct oct_tiny t = smallest();
    char *dir = memory_dir(), path[300];
    struct oct_file f = {0};
    struct oct_gguf *g = NULL;
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    cr_assert_eq(oct_file_open(path, &f), OCT_OK);
    cr_assert_eq(oct_gguf_open(&f, &g), OCT_OK, "%s", oct_last_error());
    const size_t header = (size_t)g->data_offset;
    oct_gguf_close(g);
    oct_file_close(&f);
    check("GGUF", path, path, header);
    oct_test_remove_dir(dir);
}

Test(cli_bad_files, no_safetensors_file_ends_the_program_by_a_signal, .timeout = 7200)
{
    struct oct_tiny t = smallest();
    t.n_layers = 5; /* for a header as long as a GGUF file's */
    unsigned char n[8];
    uint64_t header = 0;
    char *dir = memory_dir(), path[300];
    struct oct_file f = {0};
    oct_tiny_write_hf(&t, dir);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    cr_assert_eq(oct_file_open(path, &f), OCT_OK);
    cr_assert_eq(oct_file_read(&f, 0, n, sizeof n), OCT_OK);
    oct_file_close(&f);
    for (int i = 7; i >= 0; i--) {
        header = header << 8 | n[i];
    }
    check("safetensors", path, dir, (size_t)header + 8);
    oct_test_remove_dir(dir);
}
