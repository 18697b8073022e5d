/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the seeds of fuzz_gguf and fuzz_safetensors: fuzz_seeds DIR makes DIR/gguf and
 * DIR/safetensors. Run by hand when the formats' writers change; the results are committed. */
#include "support/tiny.h"

#include <stdio.h>
#include <sys/stat.h>

static void save(const char *dir, const char *sub, const char *name, struct oct_buf *b)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, sub);
    (void)mkdir(path, 0755);
    oct_test_write_file(path, name, b->data, b->len);
    oct_buf_clear(b);
}

/* Every type of key, nested arrays, several dtypes, an empty tensor and a scalar. */
static void all_kinds(struct oct_buf *b)
{
    static const char zeros[256];
    static const char *const words[] = {"a", "", "ccc"};
    static const int32_t ints[] = {1, -2, 3};
    static const float floats[] = {1.5f, -0.0f};
    static const struct {
        uint32_t type;
        uint64_t dims[2];
        size_t size;
    } t[] = {{0, {3, 2}, 24},     {1, {4, 1}, 8},      {2, {32, 1}, 18}, {3, {32, 1}, 20},
             {6, {32, 1}, 22},    {7, {32, 1}, 24},    {8, {32, 2}, 68}, {12, {256, 1}, 144},
             {13, {256, 1}, 176}, {14, {256, 1}, 210}, {30, {5, 1}, 10}, {0, {0, 9}, 0}};
    struct oct_gw w = OCT_GW_INIT;
    w.alignment = 8;
    oct_gw_u32(&w, "general.alignment", 8);
    oct_gw_raw(&w, "u8", 2, 0, "\1", 1);
    oct_gw_raw(&w, "i8", 2, 1, "\377", 1);
    oct_gw_u16(&w, "u16", 2);
    oct_gw_raw(&w, "i16", 3, 3, "\377\377", 2);
    oct_gw_i32(&w, "i32", -3);
    oct_gw_f32(&w, "f32", 0.5f);
    oct_gw_bool(&w, "bool", true);
    oct_gw_str(&w, "str", "text");
    oct_gw_u64(&w, "u64", 4);
    oct_gw_raw(&w, "i64", 3, 11, "\377\377\377\377\377\377\377\377", 8);
    oct_gw_raw(&w, "f64", 3, 12, "\0\0\0\0\0\0\360\77", 8);
    oct_gw_strings(&w, "strs", words, 3);
    oct_gw_i32s(&w, "ints", ints, 3);
    oct_gw_f32s(&w, "floats", floats, 2);
    oct_gw_raw(&w, "nest", 4, 9, "\11\0\0\0\1\0\0\0\0\0\0\0\4\0\0\0\1\0\0\0\0\0\0\0abcd", 28);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%zu", i);
        oct_gw_tensor(&w, name, t[i].type, 2, t[i].dims, zeros, t[i].size);
    }
    oct_gw_tensor(&w, "scalar", 0, 0, NULL, zeros, 4);
    oct_gw_finish(&w, b);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: fuzz_seeds DIR\n");
        return 2;
    }
    struct oct_buf b = {0};
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.n_layers = 1;
    t.dim = t.ff_dim = 8;
    t.n_heads = t.n_kv_heads = 1;
    t.vocab_size = 12;
    t.tied = true;
    all_kinds(&b);
    save(argv[1], "gguf", "all_kinds.gguf", &b);
    oct_tiny_gguf(&t, 0, &b);
    save(argv[1], "gguf", "qwen3.gguf", &b);
    struct oct_gw w = OCT_GW_INIT;
    w.version = 2;
    oct_gw_str(&w, "general.architecture", "llama");
    oct_gw_finish(&w, &b);
    save(argv[1], "gguf", "no_tensors_v2.gguf", &b);
    t.n_shards = 2;
    oct_tiny_gguf(&t, 1, &b);
    save(argv[1], "gguf", "second_part.gguf", &b);

    oct_tiny_safetensors(&t, 0, &b);
    save(argv[1], "safetensors", "first_shard.safetensors", &b);
    static const char *const dtypes[] = {"F64", "F32",  "F16",     "BF16",    "I64",     "I32",
                                         "I16", "I8",   "U64",     "U32",     "U16",     "U8",
                                         "F4",  "BOOL", "F8_E4M3", "F6_E2M3", "F8_E8M0", "C64"};
    static const uint64_t bytes[] = {8, 4, 2, 2, 8, 4, 2, 1, 8, 4, 2, 1, 0, 1, 1, 0, 1, 8};
    struct oct_sw s = {0};
    oct_sw_entry(&s, "\"__metadata__\":{\"format\":\"pt\",\"k\\u00e9\":\"\\ud83d\\ude00\"}");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        static const char zeros[64];
        const uint64_t dims[2] = {2, 2};
        const size_t size = bytes[i] ? 4 * bytes[i] : dtypes[i][1] == '4' ? 2 : 3;
        oct_sw_tensor(&s, dtypes[i], dtypes[i], 2, dims, zeros, size);
    }
    oct_sw_finish(&s, &b);
    save(argv[1], "safetensors", "all_dtypes.safetensors", &b);
    oct_sw_by_hand("{}  ", 4, 0, &b);
    save(argv[1], "safetensors", "empty.safetensors", &b);
    oct_tiny_config_json(&t, &b);
    save(argv[1], "safetensors", "config.json", &b);
    oct_buf_free(&b);
    return 0;
}
