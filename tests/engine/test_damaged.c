/* SPDX-License-Identifier: Apache-2.0
 *
 * Every damaged version of a complete tiny model goes through the whole engine: what does not load
 * is refused with a sentence, what still loads generates 8 tokens (or ends its request with an
 * error: a flipped bit in a weight may well give NaN). No signal, no abort. The release build runs
 * every version, the sanitizer build every seventh. */
#include "support/damage.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

struct outcome {
    const char *model;
    size_t refused, generated, ended;
};

static void generate(void *user, const char *what)
{
    struct outcome *o = user;
    struct oct_engine_options opt = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    opt.model_path = o->model;
    opt.device = "cpu";
    opt.manual = 1;
    opt.n_threads = 1;
    opt.max_num_seqs = 1;
    opt.max_num_batched_tokens = 8;
    opt.kv_cache_bytes = 1 << 20; /* a header may claim any context */
    oct_error_clear();
    if (oct_engine_open(&opt, &e) != OCT_OK) {
        cr_assert_geq(strlen(oct_last_error()), 25u, "%s: \"%s\"", what, oct_last_error());
        o->refused++;
        return;
    }
    static struct run_answer a;
    memset(&a, 0, sizeof a);
    const int32_t prompt[] = {3, 4, 5};
    struct oct_request r = OCT_REQUEST_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = 0;
    s.max_tokens = 8;
    s.ignore_eos = true;
    r.prompt = prompt;
    r.n_prompt = 3;
    r.sampling = &s;
    r.on_event = run_collect;
    r.user = &a;
    if (oct_engine_submit(e, &r, &a.id) == OCT_OK) { /* refused if the context became too short */
        run_to_end(e);
        cr_assert_eq(a.n_ends, 1, "%s", what);
        o->generated += a.n_tokens == 8;
        o->ended += a.n_tokens != 8;
    } else {
        o->refused++;
    }
    oct_engine_close(e);
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

/* In memory where there is such a place: the file is rewritten a hundred thousand times. */
static void make_dir(char *dir, size_t size)
{
    struct stat sb;
    if (stat("/dev/shm", &sb) == 0 && S_ISDIR(sb.st_mode)) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    run_make_dir(dir, size);
}

static void check(const char *what, const char *file, const char *model, size_t header_bytes,
                  size_t at_least)
{
    struct outcome o = {.model = model};
    const struct oct_damage d = {
        .path = file, .header_bytes = header_bytes, .stride = STRIDE, .fn = generate, .user = &o};
    const struct oct_damage_counts n = oct_damage_file(&d);
    const size_t all = n.cuts + n.flips + n.u32s + n.u64s;
    (void)printf("%s: %zu versions: %zu refused, %zu generated 8 tokens, %zu ended early\n", what,
                 all, o.refused, o.generated, o.ended);
    cr_assert_geq(all, at_least / STRIDE, "%zu versions", all);
    cr_assert_gt(o.generated, 50u / STRIDE, "%zu", o.generated);
    cr_assert_gt(o.refused, 1000u / STRIDE, "%zu", o.refused);
}

Test(damaged, gguf_files_are_refused_or_generate, .timeout = 900)
{
    char dir[256], path[300];
    const struct oct_tiny t = smallest();
    make_dir(dir, sizeof dir);
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    struct oct_file f = {0};
    struct oct_gguf *g = NULL;
    cr_assert_eq(oct_file_open(path, &f), OCT_OK);
    cr_assert_eq(oct_gguf_open(&f, &g), OCT_OK, "%s", oct_last_error());
    const size_t header = (size_t)g->data_offset;
    oct_gguf_close(g);
    oct_file_close(&f);
    check("GGUF", path, path, header, 100000);
    run_remove_dir(dir);
}

Test(damaged, safetensors_files_are_refused_or_generate, .timeout = 900)
{
    char dir[256], path[300];
    struct oct_tiny t = smallest();
    t.n_layers = 5; /* for a header as long as a GGUF file's */
    unsigned char n[8];
    uint64_t header = 0;
    make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    struct oct_file f = {0};
    cr_assert_eq(oct_file_open(path, &f), OCT_OK);
    cr_assert_eq(oct_file_read(&f, 0, n, sizeof n), OCT_OK);
    oct_file_close(&f);
    for (int i = 7; i >= 0; i--) {
        header = header << 8 | n[i];
    }
    check("safetensors", path, dir, (size_t)header + 8, 100000);
    run_remove_dir(dir);
}
