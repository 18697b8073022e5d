/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints opened as users name them: the same tiny model as a directory and as a GGUF file
 * holds the values that tiny.h promises, in one piece or many. */
#include "model/source.h"
#include "support/tiny_parts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct oct_source *open_ok(const char *dir, const char *name)
{
    char path[4096];
    struct oct_source *s = NULL;
    (void)snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    return s;
}

static oct_status open_fails(const char *dir, const char *name)
{
    char path[4096];
    struct oct_source *s = NULL;
    (void)snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
    const oct_status st = oct_source_open(path, &s);
    cr_assert_null(s, "%s opens", path);
    return st;
}

/* What a value of the model becomes in a file of that dtype. */
static float stored(float v, enum oct_dtype t)
{
    uint16_t h;
    float f;
    if (t == OCT_DTYPE_F32) {
        return v;
    }
    h = t == OCT_DTYPE_BF16 ? oct_test_f32_to_bf16(v) : oct_test_f32_to_f16(v);
    oct_dequant(t, &h, &f, 1);
    return f;
}

/* Row r of a tensor in GGUF is this row of the Hugging Face tensor. */
static size_t hf_row(const struct oct_tiny_tensor *x, size_t r)
{
    if (!x->permute_heads) {
        return r;
    }
    const size_t D = (size_t)(x->rows / x->permute_heads);
    return r / D * D + r % 2 * (D / 2) + r % D / 2;
}

static void check_tensor(const struct oct_tiny *t, const struct oct_source *s,
                         const struct oct_tiny_tensor *x)
{
    const bool gguf = s->kind == OCT_SOURCE_GGUF;
    const char *name = gguf ? x->gguf : x->hf;
    const struct oct_tensor *found = oct_source_find(s, name);
    cr_assert_not_null(found, "%s is not there", name);
    cr_assert_eq(found->n_dims, x->cols ? 2u : 1u, "%s", name);
    cr_assert_eq(found->dims[0], (uint64_t)x->rows, "%s", name);
    cr_assert(!x->cols || found->dims[1] == (uint64_t)x->cols, "%s", name);
    size_t n;
    float *want = oct_tiny_tensor_values(t, x, &n);
    float *got = oct_malloc(n * sizeof *got);
    cr_assert_eq(oct_source_read_f32(s, found, 0, got, n), OCT_OK, "%s", oct_last_error());
    const size_t cols = (size_t)(x->cols ? x->cols : 1);
    for (size_t i = 0; i < n; i++) {
        const size_t r = i / cols, c = i % cols;
        float v = want[(gguf ? hf_row(x, r) : r) * cols + c];
        if (found->dtype == OCT_DTYPE_Q8_0) {
            /* q is v / d rounded, and d was rounded to F16: half a step, 2^-11 of 127 steps. */
            float d = 0.0f;
            for (size_t j = 0; j < 32; j++) {
                const size_t k = (gguf ? hf_row(x, r) : r) * cols + c / 32 * 32 + j;
                d = fmaxf(d, fabsf(want[k]) / 127.0f);
            }
            cr_assert_float_eq(got[i], v, 0.5f * d + d * 127.0f / 2048.0f + 1e-9f,
                               "%s[%zu,%zu]: %a, want %a", name, r, c, (double)got[i], (double)v);
            continue;
        }
        v = stored(v, found->dtype);
        cr_assert_eq(got[i], v, "%s[%zu,%zu]: %a, want %a", name, r, c, (double)got[i], (double)v);
    }
    oct_free(want);
    oct_free(got);
}

static void check_model(const struct oct_tiny *t, struct oct_source *s)
{
    struct oct_tiny_tensor *list;
    const size_t n = oct_tiny_list(t, &list);
    for (size_t i = 0; i < n; i++) {
        check_tensor(t, s, &list[i]);
    }
    for (uint32_t i = 1; i < s->n_tensors; i++) {
        cr_assert_lt(strcmp(s->tensors[i - 1].name, s->tensors[i].name), 0);
    }
    const bool freqs = s->kind == OCT_SOURCE_GGUF && t->rope.kind == OCT_ROPE_LLAMA3;
    cr_assert_eq(s->n_tensors, n + freqs);
    cr_assert_eq(s->n_files, t->n_shards);
    oct_free(list);
    oct_source_close(s);
}

Test(source, both_formats_hold_the_values_of_the_model_in_one_piece_or_many)
{
    static const enum oct_dtype hf[] = {OCT_DTYPE_F32, OCT_DTYPE_BF16, OCT_DTYPE_F16};
    static const enum oct_dtype gguf[] = {OCT_DTYPE_F32, OCT_DTYPE_Q8_0, OCT_DTYPE_F16,
                                          OCT_DTYPE_BF16};
    for (int i = 0; i < 8; i++) {
        struct oct_tiny t = oct_tiny_default((enum oct_arch_id)(i % 4));
        t.seed = 100 + (uint64_t)i;
        t.n_layers = 1 + i % 2;
        t.tied = i % 3 == 0;
        t.attention_bias = t.mlp_bias = i >= 4;
        t.head_dim = i % 4 == 2 ? 24 : 0;
        t.n_shards = i % 2 ? 1 : 3;
        t.rope.kind = i == 4 ? OCT_ROPE_LLAMA3 : OCT_ROPE_DEFAULT;
        t.rope.factor = 8;
        t.rope.low_freq_factor = 1;
        t.rope.high_freq_factor = 4;
        t.rope.original_max_positions = 64;
        char *dir = oct_test_make_dir();
        t.dtype = hf[i % 3];
        oct_tiny_write_hf(&t, dir);
        struct oct_source *s = open_ok(dir, "");
        cr_assert_eq(s->kind, OCT_SOURCE_HF);
        cr_assert(json_is_object(s->config));
        cr_assert(json_is_object(s->generation_config));
        cr_assert(json_is_object(s->tokenizer_config));
        cr_assert_null(s->gguf);
        check_model(&t, s);
        t.dtype = gguf[i % 4];
        oct_tiny_write_gguf(&t, dir, "tiny");
        for (uint32_t part = 1; part <= t.n_shards; part++) { /* whichever is named */
            char name[64] = "tiny.gguf", first[4200];
            if (t.n_shards > 1) {
                (void)snprintf(name, sizeof name, "tiny-%05u-of-%05u.gguf", part, t.n_shards);
            }
            (void)snprintf(first, sizeof first, "%s/%s", dir,
                           t.n_shards > 1 ? "tiny-00001-of-00003.gguf" : "tiny.gguf");
            s = open_ok(dir, name);
            cr_assert_eq(s->kind, OCT_SOURCE_GGUF);
            cr_assert_str_eq(s->path, first);
            cr_assert_not_null(oct_gguf_find(s->gguf, "general.architecture"), "part %u", part);
            cr_assert_null(s->config);
            check_model(&t, s);
        }
        oct_test_remove_dir(dir);
    }
}

Test(source, a_split_set_is_found_from_the_current_directory_too)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    t.n_shards = 2;
    char *dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "m");
    cr_assert_eq(chdir(dir), 0);
    struct oct_source *s = NULL;
    cr_assert_eq(oct_source_open("m-00002-of-00002.gguf", &s), OCT_OK, "%s", oct_last_error());
    check_model(&t, s);
    oct_test_remove_dir(dir);
}

Test(source, any_piece_of_a_tensor_reads_like_the_whole)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.vocab_size = 3000; /* more than one chunk of the reader */
    char *dir = oct_test_make_dir();
    for (int q8 = 0; q8 < 2; q8++) {
        t.dtype = q8 ? OCT_DTYPE_Q8_0 : OCT_DTYPE_BF16;
        oct_tiny_write_gguf(&t, dir, "m");
        struct oct_source *s = open_ok(dir, "m.gguf");
        const struct oct_tensor *x = oct_source_find(s, "token_embd.weight");
        const size_t n = (size_t)x->n_elems, block = q8 ? 32 : 1;
        float *whole = oct_malloc(n * sizeof *whole), *part = oct_malloc((n + 1) * sizeof *part);
        cr_assert_eq(oct_source_read_f32(s, x, 0, whole, n), OCT_OK);
        for (size_t i = 0; i < 200; i++) {
            const size_t first = i * 7919 % (n / block) * block;
            const size_t len = i * 104729 % ((n - first) / block + 1) * block;
            part[len] = 1234.0f;
            cr_assert_eq(oct_source_read_f32(s, x, first, part, len), OCT_OK);
            cr_assert_eq(memcmp(part, whole + first, len * sizeof *part), 0, "%zu + %zu", first,
                         len);
            cr_assert_eq(part[len], 1234.0f, "%zu + %zu writes past the end", first, len);
        }
        static const struct {
            uint64_t first;
            size_t n;
        } bad[] = {{3000 * 64, 32}, {3000 * 64 + 32, 0}, {0, 3000 * 64 + 32}, {~0ull - 31, 64}};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            cr_assert_eq(oct_source_read_f32(s, x, bad[i].first, part, bad[i].n), OCT_E_ARG);
        }
        if (q8) {
            cr_assert_eq(oct_source_read_f32(s, x, 16, part, 32), OCT_E_ARG);
            cr_assert_eq(oct_source_read_f32(s, x, 0, part, 33), OCT_E_ARG);
        }
        char byte;
        cr_assert_eq(oct_source_read(s, x, x->size_bytes - 1, &byte, 1), OCT_OK);
        cr_assert_eq(oct_source_read(s, x, x->size_bytes, &byte, 0), OCT_OK);
        cr_assert_eq(oct_source_read(s, x, x->size_bytes, &byte, 1), OCT_E_ARG);
        cr_assert_eq(oct_source_read(s, x, ~0ull, &byte, 1), OCT_E_ARG);
        cr_assert_null(oct_source_find(s, "token_embd.weigh"));
        cr_assert_null(oct_source_find(s, ""));
        oct_free(whole);
        oct_free(part);
        oct_source_close(s);
    }
    oct_test_remove_dir(dir);
}

Test(source, a_dtype_that_cannot_be_read_is_named_when_it_is_read)
{
    static const uint64_t dim = 256;
    static const char zeros[84];
    struct oct_gw w = OCT_GW_INIT;
    struct oct_buf b = {0};
    char *dir = oct_test_make_dir();
    float v[256];
    oct_gw_tensor(&w, "blk.0.odd", 10, 1, &dim, zeros, 84); /* Q2_K */
    oct_gw_finish(&w, &b);
    oct_test_write_file(dir, "m.gguf", b.data, b.len);
    struct oct_source *s = open_ok(dir, "m.gguf");
    cr_assert_eq(oct_source_read_f32(s, &s->tensors[0], 0, v, 256), OCT_E_UNSUPPORTED);
    cr_assert(strstr(oct_last_error(), "blk.0.odd") && strstr(oct_last_error(), "Q2_K"), "%s",
              oct_last_error());
    oct_source_close(s);
    oct_buf_free(&b);
    oct_test_remove_dir(dir);
}

/* ---- what is refused ---- */

/* A directory as a table row makes it: files with contents, then one thing more. */
struct row {
    const char *label;
    oct_status want;
    const char *word;
    const char *open;     /* file inside the directory; "": the directory */
    const char *files[8]; /* name, contents, ...; contents "@t": the tiny model's file */
    void (*more)(const char *dir);
};

static void in_dir(char path[4096], const char *dir, const char *name)
{
    (void)snprintf(path, 4096, "%s/%s", dir, name);
}

static void fifo_weights(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "model.safetensors");
    cr_assert_eq(mkfifo(path, 0600), 0);
}

static void fifo_config(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "config.json");
    cr_assert_eq(mkfifo(path, 0600), 0);
}

static void fifo_gguf(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "m.gguf");
    cr_assert_eq(mkfifo(path, 0600), 0);
}

static void link_out(const char *dir)
{
    char path[4096], outside[4096];
    in_dir(path, dir, "model.safetensors");
    in_dir(outside, dir, "../octavo-test-outside");
    cr_assert_eq(symlink(outside, path), 0);
}

static void link_config(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "config.json");
    cr_assert_eq(symlink("/etc/passwd", path), 0);
}

static void dir_weights(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "model.safetensors");
    cr_assert_eq(mkdir(path, 0700), 0);
}

static void deep_config(const char *dir)
{
    struct oct_buf b = {0};
    cr_assert_eq(oct_buf_append(&b, "{\"a\":", 5), OCT_OK);
    for (int i = 0; i < 100000; i++) {
        cr_assert_eq(oct_buf_append(&b, "[", 1), OCT_OK);
    }
    oct_test_write_file(dir, "config.json", b.data, b.len);
    oct_buf_free(&b);
}

static void big_config(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "config.json");
    oct_test_write_file(dir, "config.json", "{}", 2);
    cr_assert_eq(truncate(path, (16 << 20) + 1), 0);
}

static void rename_split(const char *dir)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.n_shards = 2;
    oct_tiny_write_gguf(&t, dir, "s");
    char from[4096], to[4096];
    in_dir(from, dir, "s-00001-of-00002.gguf");
    in_dir(to, dir, "m.gguf");
    cr_assert_eq(rename(from, to), 0);
}

static void lose_split(const char *dir)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.n_shards = 3;
    oct_tiny_write_gguf(&t, dir, "s");
    char path[4096];
    in_dir(path, dir, "s-00002-of-00003.gguf");
    cr_assert_eq(unlink(path), 0);
}

static void swap_split(const char *dir)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.n_shards = 3;
    oct_tiny_write_gguf(&t, dir, "s");
    char two[4096], three[4096];
    in_dir(two, dir, "s-00002-of-00003.gguf");
    in_dir(three, dir, "s-00003-of-00003.gguf");
    cr_assert_eq(rename(two, three), 0);
    cr_assert_eq(link(three, two), 0);
}

/* Part 2 comes from a model with one layer more. */
static void mix_split(const char *dir)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct oct_buf b = {0};
    t.n_shards = 2;
    oct_tiny_write_gguf(&t, dir, "s");
    t.n_layers = 3;
    oct_tiny_gguf(&t, 1, &b);
    oct_test_write_file(dir, "s-00002-of-00002.gguf", b.data, b.len);
    oct_buf_free(&b);
}

static void split_with(const char *dir, uint16_t no, uint16_t count, int32_t n_tensors,
                       const char *tensor, const char *name)
{
    static const uint64_t dim = 8;
    static const char zeros[32];
    struct oct_gw w = OCT_GW_INIT;
    struct oct_buf b = {0};
    oct_gw_u16(&w, "split.no", no);
    oct_gw_u16(&w, "split.count", count);
    oct_gw_i32(&w, "split.tensors.count", n_tensors);
    oct_gw_tensor(&w, tensor, 0, 1, &dim, zeros, 32);
    oct_gw_finish(&w, &b);
    oct_test_write_file(dir, name, b.data, b.len);
    oct_buf_free(&b);
}

static void split_twice(const char *dir)
{
    split_with(dir, 0, 2, 2, "same", "s-00001-of-00002.gguf");
    split_with(dir, 1, 2, 2, "same", "s-00002-of-00002.gguf");
}

static void split_count(const char *dir)
{
    split_with(dir, 0, 2, 3, "a", "s-00001-of-00002.gguf");
    split_with(dir, 1, 2, 3, "b", "s-00002-of-00002.gguf");
}

static void split_zero(const char *dir)
{
    split_with(dir, 0, 0, 1, "a", "m.gguf");
}

static void split_number(const char *dir)
{
    split_with(dir, 5, 2, 1, "a", "s-00001-of-00002.gguf");
}

static void split_negative(const char *dir)
{
    split_with(dir, 0, 2, -1, "a", "s-00001-of-00002.gguf");
}

static void split_huge(const char *dir)
{
    split_with(dir, 0, 65535, 1, "a", "s-00001-of-65535.gguf");
}

static void split_link(const char *dir)
{
    split_with(dir, 0, 2, 2, "a", "s-00001-of-00002.gguf");
    char path[4096];
    in_dir(path, dir, "s-00002-of-00002.gguf");
    cr_assert_eq(symlink("../elsewhere.gguf", path), 0);
}

#define INDEX "model.safetensors.index.json"

/* s1 holds tensor a; s2 holds b, and a too if twice. */
static void two_shards(const char *dir, bool twice)
{
    static const uint64_t dim = 1;
    for (int i = 0; i < 2; i++) {
        struct oct_sw w = {0};
        struct oct_buf b = {0};
        oct_sw_tensor(&w, i ? "b" : "a", "F32", 1, &dim, "\0\0\0", 4);
        if (i && twice) {
            oct_sw_tensor(&w, "a", "F32", 1, &dim, "\0\0\0", 4);
        }
        oct_sw_finish(&w, &b);
        oct_test_write_file(dir, i ? "s2.safetensors" : "s1.safetensors", b.data, b.len);
        oct_buf_free(&b);
    }
}

static void shards(const char *dir)
{
    two_shards(dir, false);
}

static void shards_twice(const char *dir)
{
    two_shards(dir, true);
}

static void shard_fifo(const char *dir)
{
    char path[4096];
    in_dir(path, dir, "s1.safetensors");
    cr_assert_eq(mkfifo(path, 0600), 0);
}

// clang-format off
static const struct row rows[] = {
    {"nothing there", OCT_E_NOTFOUND, "no such file or directory", "nowhere", {0}, NULL},
    {"empty directory", OCT_E_NOTFOUND, "config.json", "", {0}, NULL},
    {"config alone", OCT_E_NOTFOUND, "looked for", "", {"config.json", "{}"}, NULL},
    {"pickles", OCT_E_UNSUPPORTED, "pytorch_model.bin", "", {"config.json", "{}", "pytorch_model.bin", "PK"}, NULL},
    {"pickles in pieces", OCT_E_UNSUPPORTED, "pickled", "", {"config.json", "{}", "pytorch_model.bin.index.json", "{}"}, NULL},
    {"one pickle", OCT_E_UNSUPPORTED, "pickled", "m.bin", {"m.bin", "PK\3\4junk"}, NULL},
    {"one checkpoint of torch", OCT_E_UNSUPPORTED, "pickled", "m.pth", {"m.pth", "\x80\2junk"}, NULL},
    {"a safetensors file", OCT_E_ARG, "name the directory", "m.safetensors", {"m.safetensors", "12345678"}, NULL},
    {"config.json itself", OCT_E_ARG, "name the directory", "config.json", {"config.json", "{}"}, NULL},
    {"some other file", OCT_E_FORMAT, "no GGUF file", "m.txt", {"m.txt", "hello, world"}, NULL},
    {"an empty file", OCT_E_FORMAT, "cut short", "m.gguf", {"m.gguf", ""}, NULL},

    {"config is a list", OCT_E_FORMAT, "config.json", "", {"config.json", "[]"}, NULL},
    {"config is text", OCT_E_FORMAT, "JSON", "", {"config.json", "hello"}, NULL},
    {"config cut", OCT_E_FORMAT, "JSON", "", {"config.json", "{\"a\":"}, NULL},
    {"config empty", OCT_E_FORMAT, "config.json", "", {"config.json", ""}, NULL},
    {"config with a key twice", OCT_E_FORMAT, "duplicate", "", {"config.json", "{\"a\":1,\"a\":2}"}, NULL},
    {"config 100,000 deep", OCT_E_LIMIT, "nested", "", {0}, deep_config},
    {"config over 16 MiB", OCT_E_FORMAT, "16777216", "", {0}, big_config},
    {"config is a link", OCT_E_IO, "symbolic link", "", {0}, link_config},
    {"config is a FIFO", OCT_E_IO, "FIFO", "", {0}, fifo_config},
    {"bad generation_config", OCT_E_FORMAT, "generation_config.json", "", {"config.json", "{}", "generation_config.json", "{"}, NULL},
    {"bad tokenizer_config", OCT_E_FORMAT, "tokenizer_config.json", "", {"config.json", "{}", "tokenizer_config.json", "1"}, NULL},

    {"weights are a FIFO", OCT_E_IO, "FIFO", "", {"config.json", "{}"}, fifo_weights},
    {"weights are a link out", OCT_E_IO, "symbolic link", "", {"config.json", "{}"}, link_out},
    {"weights are a directory", OCT_E_IO, "directory", "", {"config.json", "{}"}, dir_weights},
    {"weights are cut", OCT_E_FORMAT, "cut short", "", {"config.json", "{}", "model.safetensors", "123"}, NULL},
    {"GGUF is a FIFO", OCT_E_IO, "FIFO", "m.gguf", {0}, fifo_gguf},

    {"index is not JSON", OCT_E_FORMAT, INDEX, "", {"config.json", "{}", INDEX, "x"}, NULL},
    {"index without a map", OCT_E_FORMAT, "weight_map", "", {"config.json", "{}", INDEX, "{}"}, NULL},
    {"index with an empty map", OCT_E_FORMAT, "weight_map", "", {"config.json", "{}", INDEX, "{\"weight_map\":{}}"}, NULL},
    {"map is a list", OCT_E_FORMAT, "weight_map", "", {"config.json", "{}", INDEX, "{\"weight_map\":[]}"}, NULL},
    {"map to a number", OCT_E_FORMAT, "file name", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":1}}"}, NULL},
    {"map out of the directory", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"../x.safetensors\"}}"}, NULL},
    {"map to an absolute path", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"/etc/passwd\"}}"}, NULL},
    {"map to a device", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"/dev/zero\"}}"}, NULL},
    {"map to ..", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"..\"}}"}, NULL},
    {"map to nothing", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"\"}}"}, NULL},
    {"map below the directory", OCT_E_FORMAT, "refused", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"sub/x.safetensors\"}}"}, NULL},
    {"missing shard", OCT_E_NOTFOUND, "s9.safetensors", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"s9.safetensors\"}}"}, shards},
    {"shard is a FIFO", OCT_E_IO, "FIFO", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"s1.safetensors\"}}"}, shard_fifo},
    {"tensor listed and absent", OCT_E_FORMAT, "absent", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s2.safetensors\"}}"}, shards},
    {"tensor in another shard", OCT_E_FORMAT, "absent there", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\"}}"}, shards},
    {"tensor in two shards", OCT_E_FORMAT, "duplicate", "", {"config.json", "{}", INDEX, "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}"}, shards_twice},

    {"part under another name", OCT_E_FORMAT, "names back", "m.gguf", {0}, rename_split},
    {"part missing", OCT_E_NOTFOUND, "s-00002-of-00003.gguf", "s-00003-of-00003.gguf", {0}, lose_split},
    {"part 3 also as part 2", OCT_E_FORMAT, "do not belong together", "s-00001-of-00003.gguf", {0}, swap_split},
    {"part of another model", OCT_E_FORMAT, "do not belong together", "s-00001-of-00002.gguf", {0}, mix_split},
    {"tensor in two parts", OCT_E_FORMAT, "duplicate", "s-00001-of-00002.gguf", {0}, split_twice},
    {"too few tensors in all", OCT_E_FORMAT, "split.tensors.count", "s-00002-of-00002.gguf", {0}, split_count},
    {"0 parts", OCT_E_FORMAT, "split.count", "m.gguf", {0}, split_zero},
    {"part 5 of 2", OCT_E_FORMAT, "split.no", "s-00001-of-00002.gguf", {0}, split_number},
    {"-1 tensors", OCT_E_FORMAT, "split.tensors.count", "s-00001-of-00002.gguf", {0}, split_negative},
    {"65,535 parts", OCT_E_FORMAT, "limit", "s-00001-of-65535.gguf", {0}, split_huge},
    {"part is a link out", OCT_E_IO, "symbolic link", "s-00001-of-00002.gguf", {0}, split_link},
};
// clang-format on

Test(source, whatever_cannot_be_opened_gets_its_sentence)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        char *dir = oct_test_make_dir();
        for (int j = 0; j < 8 && r->files[j]; j += 2) {
            oct_test_write_file(dir, r->files[j], r->files[j + 1], strlen(r->files[j + 1]));
        }
        if (r->more) {
            r->more(dir);
        }
        oct_error_clear();
        const oct_status st = open_fails(dir, r->open);
        cr_expect_eq(st, r->want, "%s: status %d, want %d: %s", r->label, st, r->want,
                     oct_last_error());
        cr_expect(strstr(oct_last_error(), r->word), "%s: \"%s\" does not say \"%s\"", r->label,
                  oct_last_error(), r->word);
        cr_expect(strstr(oct_last_error(), dir), "%s: \"%s\" names no file", r->label,
                  oct_last_error());
        oct_test_remove_dir(dir);
    }
    cr_expect_eq(open_fails("/dev/zero", ""), OCT_E_IO);
    cr_expect(strstr(oct_last_error(), "device"), "%s", oct_last_error());
}

Test(source, a_hugging_face_cache_loads_as_it_is)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    char *dir = oct_test_make_dir(), blobs[4096], snapshot[4096], path[4300];
    t.n_shards = 2;
    in_dir(blobs, dir, "blobs");
    in_dir(snapshot, dir, "snapshots");
    cr_assert_eq(mkdir(blobs, 0700), 0);
    cr_assert_eq(mkdir(snapshot, 0700), 0);
    in_dir(snapshot, dir, "snapshots/0123");
    cr_assert_eq(mkdir(snapshot, 0700), 0);
    oct_tiny_write_hf(&t, blobs);
    static const char *const names[] = {"config.json", "model.safetensors.index.json",
                                        "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors"};
    for (int i = 0; i < 4; i++) {
        char target[256];
        (void)snprintf(target, sizeof target, "../../blobs/%s", names[i]);
        (void)snprintf(path, sizeof path, "%s/%s", snapshot, names[i]);
        cr_assert_eq(symlink(target, path), 0);
    }
    struct oct_source *s = open_ok(snapshot, "");
    cr_assert_null(s->generation_config);
    check_model(&t, s);
    oct_test_remove_dir(dir);
}
