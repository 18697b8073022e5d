/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gguf.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { F32 = 0, F16 = 1, Q8_0 = 8 };

/* Opens the image and closes the file again, as nothing of the header may depend on it. */
static oct_status open_image(struct oct_buf *image, struct oct_gguf **out)
{
    char path[32];
    const int fd = oct_test_memory_file(image->data, image->len, path);
    struct oct_file f;
    cr_assert_eq(oct_file_open(path, &f), OCT_OK, "%s", oct_last_error());
    const oct_status st = oct_gguf_open(&f, out);
    oct_file_close(&f);
    (void)close(fd);
    oct_buf_free(image);
    return st;
}

static struct oct_gguf *open_written(struct oct_gw *w)
{
    struct oct_buf image = {0};
    struct oct_gguf *g = NULL;
    oct_gw_finish(w, &image);
    cr_assert_eq(open_image(&image, &g), OCT_OK, "%s", oct_last_error());
    return g;
}

Test(gguf, every_type_of_value_is_read_back)
{
    struct oct_gw w = OCT_GW_INIT;
    const uint8_t u8 = 200, yes = 1;
    const int8_t i8 = -100;
    const int16_t i16 = -30000;
    const int64_t i64 = INT64_MIN;
    const double f64 = 0x1.23456789abcdep-700;
    oct_gw_raw(&w, "u8", 2, OCT_GGUF_U8, &u8, 1);
    oct_gw_raw(&w, "i8", 2, OCT_GGUF_I8, &i8, 1);
    oct_gw_u16(&w, "u16", 60000);
    oct_gw_raw(&w, "i16", 3, OCT_GGUF_I16, &i16, 2);
    oct_gw_u32(&w, "u32", UINT32_MAX);
    oct_gw_i32(&w, "i32", -5);
    oct_gw_i32(&w, "i32+", 5);
    oct_gw_f32(&w, "f32", 0x1.abcp-3f);
    oct_gw_raw(&w, "bool", 4, OCT_GGUF_BOOL, &yes, 1);
    oct_gw_str(&w, "str", "h\xc3\xa9llo");
    oct_gw_str(&w, "empty", "");
    oct_gw_u64(&w, "u64", UINT64_MAX);
    oct_gw_raw(&w, "i64", 3, OCT_GGUF_I64, &i64, 8);
    oct_gw_raw(&w, "f64", 3, OCT_GGUF_F64, &f64, 8);
    oct_gw_raw(&w, "nul", 3, OCT_GGUF_STRING, "\3\0\0\0\0\0\0\0a\0b", 11);
    struct oct_gguf *g = open_written(&w);
    cr_assert_eq(g->n_kvs, 15u);
    cr_assert_eq(g->n_tensors, 0u);

    uint64_t u = 77;
    double d = 77;
    bool b = false;
    struct oct_gguf_str s;
    static const struct {
        const char *key;
        oct_status st;
        uint64_t want;
    } ints[] = {
        {"u8", OCT_OK, 200},          {"u16", OCT_OK, 60000},     {"u32", OCT_OK, UINT32_MAX},
        {"u64", OCT_OK, UINT64_MAX},  {"i32+", OCT_OK, 5},        {"i8", OCT_E_FORMAT, 77},
        {"i16", OCT_E_FORMAT, 77},    {"i32", OCT_E_FORMAT, 77},  {"i64", OCT_E_FORMAT, 77},
        {"f32", OCT_E_FORMAT, 77},    {"bool", OCT_E_FORMAT, 77}, {"str", OCT_E_FORMAT, 77},
        {"none", OCT_E_NOTFOUND, 77},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        u = 77;
        cr_assert_eq(oct_gguf_u64(g, ints[i].key, &u), ints[i].st, "%s", ints[i].key);
        cr_assert_eq(u, ints[i].want, "%s: %llu", ints[i].key, (unsigned long long)u);
        if (ints[i].st != OCT_OK) {
            cr_assert(strstr(oct_last_error(), ints[i].key), "%s", oct_last_error());
        }
    }
    cr_assert_eq(oct_gguf_find(g, "i64")->v.i, INT64_MIN);
    cr_assert_eq(oct_gguf_find(g, "i8")->v.i, -100);
    cr_assert_eq(oct_gguf_f64(g, "f32", &d), OCT_OK);
    cr_assert_eq(d, 0x1.abcp-3);
    cr_assert_eq(oct_gguf_f64(g, "f64", &d), OCT_OK);
    cr_assert_eq(d, f64);
    cr_assert_eq(oct_gguf_f64(g, "u8", &d), OCT_E_FORMAT);
    cr_assert_eq(oct_gguf_f64(g, "none", &d), OCT_E_NOTFOUND);
    cr_assert_eq(d, f64);
    cr_assert_eq(oct_gguf_bool(g, "bool", &b), OCT_OK);
    cr_assert(b);
    cr_assert_eq(oct_gguf_bool(g, "u8", &b), OCT_E_FORMAT);
    cr_assert_eq(oct_gguf_bool(g, "none", &b), OCT_E_NOTFOUND);
    cr_assert_eq(oct_gguf_str(g, "str", &s), OCT_OK);
    cr_assert_str_eq(s.data, "h\xc3\xa9llo");
    cr_assert_eq(s.len, 6u);
    cr_assert_eq(oct_gguf_str(g, "empty", &s), OCT_OK);
    cr_assert_eq(s.len, 0u);
    cr_assert_str_eq(s.data, "");
    cr_assert_eq(oct_gguf_str(g, "nul", &s), OCT_OK);
    cr_assert_eq(s.len, 3u);
    cr_assert_eq(memcmp(s.data, "a\0b", 4), 0);
    cr_assert_eq(oct_gguf_str(g, "u8", &s), OCT_E_FORMAT);
    cr_assert_eq(oct_gguf_str(g, "none", &s), OCT_E_NOTFOUND);
    oct_gguf_close(g);
}

/* An array of `n` zero elements. */
static void array_head(struct oct_buf *b, uint32_t type, uint64_t n)
{
    cr_assert_eq(oct_buf_append(b, &type, 4), OCT_OK);
    cr_assert_eq(oct_buf_append(b, &n, 8), OCT_OK);
}

Test(gguf, arrays_of_numbers_and_strings_are_read_and_nested_ones_passed_over)
{
    static const struct {
        uint32_t type;
        size_t bytes;
        int64_t want[2];
        unsigned char data[16];
    } ints[] = {
        {OCT_GGUF_U8, 1, {255, 1}, {255, 1}},
        {OCT_GGUF_I8, 1, {-1, 1}, {255, 1}},
        {OCT_GGUF_U16, 2, {65535, 2}, {255, 255, 2}},
        {OCT_GGUF_I16, 2, {-1, 2}, {255, 255, 2}},
        {OCT_GGUF_U32, 4, {UINT32_MAX, 3}, {255, 255, 255, 255, 3}},
        {OCT_GGUF_I32, 4, {-1, 3}, {255, 255, 255, 255, 3}},
        {OCT_GGUF_I64, 8, {-1, 4}, {255, 255, 255, 255, 255, 255, 255, 255, 4}},
        {OCT_GGUF_U64, 8, {INT64_MAX, 4}, {255, 255, 255, 255, 255, 255, 255, 127, 4}},
    };
    enum { N = sizeof ints / sizeof *ints };
    struct oct_gw w = OCT_GW_INIT;
    struct oct_buf b = {0};
    char key[8] = "ints0";
    for (size_t i = 0; i < N; i++, key[4]++) {
        array_head(&b, ints[i].type, 2);
        cr_assert_eq(oct_buf_append(&b, ints[i].data, 2 * ints[i].bytes), OCT_OK);
        oct_gw_raw(&w, key, 5, OCT_GGUF_ARRAY, b.data, b.len);
        oct_buf_clear(&b);
    }
    static const char *const words[] = {"alpha", "", "gamma"};
    static const float floats[] = {1.5f, -2.25f};
    static const double doubles[] = {0.1, 1e300};
    oct_gw_strings(&w, "strings", words, 3);
    oct_gw_f32s(&w, "f32s", floats, 2);
    array_head(&b, OCT_GGUF_F64, 2);
    cr_assert_eq(oct_buf_append(&b, doubles, sizeof doubles), OCT_OK);
    oct_gw_raw(&w, "f64s", 4, OCT_GGUF_ARRAY, b.data, b.len);
    oct_buf_clear(&b);
    array_head(&b, OCT_GGUF_U64, 1);
    cr_assert_eq(oct_buf_append(&b, "\377\377\377\377\377\377\377\377", 8), OCT_OK);
    oct_gw_raw(&w, "big", 3, OCT_GGUF_ARRAY, b.data, b.len);
    oct_buf_clear(&b);
    array_head(&b, OCT_GGUF_BOOL, 3);
    cr_assert_eq(oct_buf_append(&b, "\1\0\1", 3), OCT_OK);
    oct_gw_raw(&w, "bools", 5, OCT_GGUF_ARRAY, b.data, b.len);
    oct_buf_clear(&b);
    /* [[[u16 u16], [["ab"], []]]] is as deep as it may be */
    array_head(&b, OCT_GGUF_ARRAY, 1);
    array_head(&b, OCT_GGUF_ARRAY, 2);
    array_head(&b, OCT_GGUF_U16, 2);
    cr_assert_eq(oct_buf_append(&b, "abcd", 4), OCT_OK);
    array_head(&b, OCT_GGUF_ARRAY, 2);
    array_head(&b, OCT_GGUF_STRING, 1);
    cr_assert_eq(oct_buf_append(&b, "\2\0\0\0\0\0\0\0ab", 10), OCT_OK);
    array_head(&b, OCT_GGUF_I8, 0);
    oct_gw_raw(&w, "nested", 6, OCT_GGUF_ARRAY, b.data, b.len);
    oct_buf_clear(&b);
    array_head(&b, OCT_GGUF_STRING, 0);
    oct_gw_raw(&w, "none", 4, OCT_GGUF_ARRAY, b.data, b.len);
    oct_buf_free(&b);
    oct_gw_u32(&w, "last", 42);
    struct oct_gguf *g = open_written(&w);

    key[4] = '0';
    int64_t v;
    double d;
    for (size_t i = 0; i < N; i++, key[4]++) {
        const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
        cr_assert_eq(kv->n, 2u);
        for (uint64_t j = 0; j < 2; j++) {
            cr_assert_eq(oct_gguf_array_i64(kv, j, &v), OCT_OK);
            cr_assert_eq(v, ints[i].want[j], "%s[%d]: %lld", key, (int)j, (long long)v);
        }
        cr_assert_eq(oct_gguf_array_f64(kv, 0, &d), OCT_E_FORMAT);
    }
    cr_assert_eq(oct_gguf_array_i64(oct_gguf_find(g, "big"), 0, &v), OCT_E_FORMAT);
    cr_assert_eq(oct_gguf_array_i64(oct_gguf_find(g, "strings"), 0, &v), OCT_E_FORMAT);
    cr_assert_eq(oct_gguf_array_i64(oct_gguf_find(g, "last"), 0, &v), OCT_E_FORMAT);
    const struct oct_gguf_kv *strings = oct_gguf_find(g, "strings");
    for (int i = 0; i < 3; i++) {
        cr_assert_str_eq(strings->v.strings[i].data, words[i]);
        cr_assert_eq(strings->v.strings[i].len, strlen(words[i]));
    }
    cr_assert_eq(oct_gguf_array_f64(oct_gguf_find(g, "f32s"), 1, &d), OCT_OK);
    cr_assert_eq(d, -2.25);
    cr_assert_eq(oct_gguf_array_f64(oct_gguf_find(g, "f64s"), 1, &d), OCT_OK);
    cr_assert_eq(d, 1e300);
    cr_assert_eq(memcmp(oct_gguf_find(g, "bools")->v.array, "\1\0\1", 3), 0);
    cr_assert_null(oct_gguf_find(g, "nested")->v.array);
    cr_assert_eq(oct_gguf_find(g, "nested")->elem_type, OCT_GGUF_ARRAY);
    cr_assert_eq(oct_gguf_find(g, "none")->n, 0u);
    uint64_t last;
    cr_assert_eq(oct_gguf_u64(g, "last", &last), OCT_OK);
    cr_assert_eq(last, 42u);
    oct_gguf_close(g);
}

Test(gguf, tensors_get_row_major_dims_and_offsets_from_the_start_of_the_file)
{
    static char data[34 * 6];
    static const uint64_t matrix[] = {64, 3}, cube[] = {2, 3, 4}, one[] = {5}, none[] = {0, 7};
    for (uint32_t version = 2; version <= 3; version++) {
        for (uint32_t alignment = 8; alignment <= 4096; alignment *= 8) {
            struct oct_gw w = OCT_GW_INIT;
            w.version = version;
            w.alignment = alignment;
            w.no_end_pad = version == 2;
            oct_gw_u32(&w, "general.alignment", alignment);
            oct_gw_tensor(&w, "m", Q8_0, 2, matrix, data, 34 * 6);
            oct_gw_tensor(&w, "c", F16, 3, cube, data, 48);
            oct_gw_tensor(&w, "empty", F32, 2, none, data, 0);
            oct_gw_tensor(&w, "scalar", F32, 0, NULL, data, 4);
            oct_gw_tensor(&w, "v", F32, 1, one, data, 20);
            struct oct_gguf *g = open_written(&w);
            cr_assert_eq(g->version, version);
            cr_assert_eq(g->alignment, alignment);
            cr_assert_eq(g->n_tensors, 5u);
            const struct oct_tensor *t = g->tensors;
            cr_assert_str_eq(t[0].name, "m");
            cr_assert_eq(t[0].dtype, OCT_DTYPE_Q8_0);
            cr_assert_eq(t[0].n_dims, 2u);
            cr_assert_eq(t[0].dims[0], 3u);
            cr_assert_eq(t[0].dims[1], 64u);
            cr_assert_eq(t[0].size_bytes, 34u * 6);
            cr_assert_eq(t[0].n_elems, 192u);
            cr_assert_eq(t[0].offset, g->data_offset);
            cr_assert_eq(g->data_offset % alignment, 0u);
            cr_assert_eq(t[1].dims[0], 4u);
            cr_assert_eq(t[1].dims[2], 2u);
            cr_assert_eq(t[1].offset,
                         g->data_offset + (204 + alignment - 1) / alignment * alignment);
            cr_assert_eq(t[2].n_elems, 0u);
            cr_assert_eq(t[2].offset, t[3].offset);
            cr_assert_eq(t[3].n_dims, 0u);
            cr_assert_eq(t[3].n_elems, 1u);
            cr_assert_eq(t[4].size_bytes, 20u);
            oct_gguf_close(g);
        }
    }
}

Test(gguf, a_vocabulary_without_tensors_opens_with_and_without_padding)
{
    for (int pad = 0; pad < 2; pad++) {
        struct oct_gw w = OCT_GW_INIT;
        struct oct_buf image = {0};
        struct oct_gguf *g;
        oct_gw_str(&w, "general.architecture", "llama");
        oct_gw_finish(&w, &image);
        while (pad && image.len % 32) {
            cr_assert_eq(oct_buf_append(&image, "", 1), OCT_OK);
        }
        cr_assert_eq(open_image(&image, &g), OCT_OK, "pad=%d: %s", pad, oct_last_error());
        cr_assert_eq(g->n_tensors, 0u);
        oct_gguf_close(g);
    }
}

/* ---- each limit, on both sides ---- */

static void check_limit(struct oct_gw *w, bool fits, const char *what)
{
    struct oct_buf image = {0};
    struct oct_gguf *g = NULL;
    oct_gw_finish(w, &image);
    const oct_status st = open_image(&image, &g);
    cr_assert_eq(st, fits ? OCT_OK : OCT_E_LIMIT, "%s: %d, %s", what, st, oct_last_error());
    oct_gguf_close(g);
}

Test(gguf, the_number_of_keys_is_limited)
{
    for (uint32_t n = 65536; n <= 65537; n++) {
        struct oct_gw w = OCT_GW_INIT;
        for (uint32_t i = 0; i < n; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            oct_gw_u16(&w, key, 1);
        }
        check_limit(&w, n == 65536, "keys");
    }
}

Test(gguf, the_number_of_tensors_is_limited)
{
    for (uint32_t n = 1 << 17; n <= (1 << 17) + 1; n++) {
        struct oct_gw w = OCT_GW_INIT;
        static const uint64_t dim = 0;
        for (uint32_t i = 0; i < n; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "t%u", i);
            oct_gw_info(&w, name, strlen(name), 1, &dim, F32, 0);
        }
        cr_assert_eq(oct_buf_append(&w.data, "", 0), OCT_OK);
        struct oct_buf image = {0};
        struct oct_gguf *g = NULL;
        oct_gw_finish(&w, &image);
        while (image.len % 32) { /* no data, but the place where it would begin */
            cr_assert_eq(oct_buf_append(&image, "", 1), OCT_OK);
        }
        const oct_status st = open_image(&image, &g);
        cr_assert_eq(st, n == 1 << 17 ? OCT_OK : OCT_E_LIMIT, "%u: %s", n, oct_last_error());
        oct_gguf_close(g);
    }
}

Test(gguf, lengths_of_names_and_keys_and_the_depth_of_arrays_are_limited)
{
    static char text[65537];
    memset(text, 'a', sizeof text);
    static const uint64_t dim = 1;
    for (int over = 0; over < 2; over++) {
        struct oct_gw w = OCT_GW_INIT;
        oct_gw_info(&w, text, 255 + (size_t)over, 1, &dim, F32, 0);
        cr_assert_eq(oct_buf_append(&w.data, "\0\0\0\0", 4), OCT_OK);
        check_limit(&w, !over, "tensor name");

        w = (struct oct_gw)OCT_GW_INIT;
        oct_gw_raw(&w, text, 65535 + (size_t)over, OCT_GGUF_U8, "", 1);
        check_limit(&w, !over, "key");

        struct oct_buf b = {0};
        for (int depth = 0; depth < 3 + over; depth++) {
            array_head(&b, OCT_GGUF_ARRAY, 1);
        }
        array_head(&b, OCT_GGUF_U8, 1);
        cr_assert_eq(oct_buf_append(&b, "x", 1), OCT_OK);
        w = (struct oct_gw)OCT_GW_INIT;
        oct_gw_raw(&w, "deep", 4, OCT_GGUF_ARRAY, b.data, b.len);
        check_limit(&w, !over, "nesting");
        oct_buf_free(&b);
    }
}

/* Sparse files: the limits are of the size of memory, the test need not be. */
Test(gguf, lengths_of_strings_and_arrays_are_limited)
{
    static const struct {
        const char *what;
        const char *value; /* type and head of the value, without the count */
        size_t value_len;
        uint64_t max;
    } row[] = {
        {"string", "\10\0\0\0", 4, 64u << 20},
        {"array", "\11\0\0\0\0\0\0\0", 8, 1u << 28},
    };
    for (int i = 0; i < 2; i++) {
        for (uint64_t n = row[i].max; n <= row[i].max + 1; n++) {
            struct oct_buf b = {0};
            cr_assert_eq(oct_buf_append(&b,
                                        "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0"
                                        "\0\0\0\0k",
                                        33),
                         OCT_OK);
            cr_assert_eq(oct_buf_append(&b, row[i].value, row[i].value_len), OCT_OK);
            cr_assert_eq(oct_buf_append(&b, &n, 8), OCT_OK);
            char path[32];
            const int fd = oct_test_memory_file(b.data, b.len, path);
            cr_assert_eq(ftruncate(fd, (off_t)(b.len + n)), 0);
            struct oct_file f;
            struct oct_gguf *g = NULL;
            cr_assert_eq(oct_file_open(path, &f), OCT_OK);
            const oct_status st = oct_gguf_open(&f, &g);
            cr_assert_eq(st, n == row[i].max ? OCT_OK : OCT_E_LIMIT, "%s of %llu: %s", row[i].what,
                         (unsigned long long)n, oct_last_error());
            oct_gguf_close(g);
            oct_file_close(&f);
            (void)close(fd);
            oct_buf_free(&b);
        }
    }
}
