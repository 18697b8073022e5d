/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers written by hand: right ones are read back, wrong ones are refused with the right status
 * and a sentence that says what is wrong. */
#include "model/safetensors.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct opened {
    struct oct_tensor_list list;
    struct oct_arena names;
};

static oct_status open_image(const struct oct_buf *image, char path[32], struct opened *o)
{
    struct oct_file f;
    const int fd = oct_test_memory_file(image->data, image->len, path);
    *o = (struct opened){0};
    cr_assert_eq(oct_file_open(path, &f), OCT_OK, "%s", oct_last_error());
    oct_error_clear();
    const oct_status st = oct_safetensors_read(&f, 3, &o->names, &o->list);
    oct_file_close(&f);
    (void)close(fd);
    return st;
}

static void drop(struct opened *o)
{
    oct_free(o->list.at);
    oct_arena_free(&o->names);
}

/* ---- right ---- */

Test(safetensors, every_dtype_of_the_format_has_its_size)
{
    static const struct {
        const char *name;
        uint64_t n_elems, bytes;
        enum oct_dtype want;
    } row[] = {
        {"F64", 3, 24, OCT_DTYPE_F64},
        {"F32", 3, 12, OCT_DTYPE_F32},
        {"F16", 3, 6, OCT_DTYPE_F16},
        {"BF16", 3, 6, OCT_DTYPE_BF16},
        {"I64", 3, 24, OCT_DTYPE_I64},
        {"I32", 3, 12, OCT_DTYPE_I32},
        {"I16", 3, 6, OCT_DTYPE_I16},
        {"I8", 3, 3, OCT_DTYPE_I8},
        {"U64", 3, 24, OCT_DTYPE_U64},
        {"U32", 3, 12, OCT_DTYPE_U32},
        {"U16", 3, 6, OCT_DTYPE_U16},
        {"U8", 3, 3, OCT_DTYPE_U8},
        {"BOOL", 3, 3, OCT_DTYPE_BOOL},
        {"C64", 3, 24, OCT_DTYPE_C64},
        {"F8_E4M3", 3, 3, OCT_DTYPE_F8_E4M3},
        {"F8_E5M2", 3, 3, OCT_DTYPE_F8_E5M2},
        {"F8_E8M0", 3, 3, OCT_DTYPE_F8_E8M0},
        {"F8_E4M3FNUZ", 3, 3, OCT_DTYPE_F8_E4M3FNUZ},
        {"F8_E5M2FNUZ", 3, 3, OCT_DTYPE_F8_E5M2FNUZ},
        {"F4", 6, 3, OCT_DTYPE_F4},
        {"F6_E2M3", 4, 3, OCT_DTYPE_F6_E2M3},
        {"F6_E3M2", 8, 6, OCT_DTYPE_F6_E3M2},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static const char zeros[64];
        struct oct_sw w = {0};
        struct oct_buf image = {0};
        struct opened o;
        char path[32];
        oct_sw_tensor(&w, "t", row[i].name, 1, &row[i].n_elems, zeros, row[i].bytes);
        oct_sw_finish(&w, &image);
        cr_assert_eq(open_image(&image, path, &o), OCT_OK, "%s: %s", row[i].name, oct_last_error());
        cr_assert_eq(o.list.n, 1u);
        cr_assert_eq(o.list.at[0].dtype, row[i].want, "%s", row[i].name);
        cr_assert_eq(o.list.at[0].size_bytes, row[i].bytes, "%s", row[i].name);
        cr_assert_eq(o.list.at[0].file, 3u);
        drop(&o);
        oct_buf_free(&image);
    }
}

Test(safetensors, order_padding_scalars_empty_tensors_and_metadata_are_as_the_format_says)
{
    static const char header[] =
        "{\"z\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[2,26]},"
        "\"__metadata__\":{\"format\":\"pt\",\"note\":\"\"},"
        "\"scalar\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]},"
        "\"none\":{\"data_offsets\":[26,26],\"shape\":[0,5],\"dtype\":\"I8\"},"
        "\"h\xc3\xa9\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[26,28]}}  "
        " ";
    struct oct_buf image = {0};
    struct opened o;
    char path[32];
    oct_sw_by_hand(header, sizeof header - 1, 28, &image);
    cr_assert_eq(open_image(&image, path, &o), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(o.list.n, 4u);
    const struct oct_tensor *t = o.list.at; /* in the order of the data */
    const uint64_t data = 8 + sizeof header - 1;
    cr_assert_str_eq(t[0].name, "scalar");
    cr_assert_eq(t[0].n_dims, 0u);
    cr_assert_eq(t[0].n_elems, 1u);
    cr_assert_eq(t[0].offset, data);
    cr_assert_str_eq(t[1].name, "z");
    cr_assert_eq(t[1].dims[0], 2u);
    cr_assert_eq(t[1].dims[1], 3u);
    cr_assert_eq(t[1].offset, data + 2);
    cr_assert_eq(t[1].size_bytes, 24u);
    cr_assert_str_eq(t[2].name, "none");
    cr_assert_eq(t[2].n_elems, 0u);
    cr_assert_str_eq(t[3].name, "h\xc3\xa9");
    cr_assert_eq(t[3].n_dims, 8u);
    drop(&o);
    oct_buf_free(&image);
}

Test(safetensors, a_file_without_tensors_is_legal)
{
    static const char *const headers[] = {"{}", "{}      ", "{\"__metadata__\":{}}"};
    for (int i = 0; i < 3; i++) {
        struct oct_buf image = {0};
        struct opened o;
        char path[32];
        oct_sw_by_hand(headers[i], strlen(headers[i]), 0, &image);
        cr_assert_eq(open_image(&image, path, &o), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(o.list.n, 0u);
        drop(&o);
        oct_buf_free(&image);
    }
}

/* ---- wrong ---- */

/* Shorthand in the headers below: 'D, 'S and 'O become "dtype", "shape" and "data_offsets", any
 * other ' becomes ". */
struct row {
    const char *label;
    oct_status want;
    const char *word;
    const char *header;
    size_t n_data;
    size_t len;      /* of the header if it holds NULs; else 0 */
    uint64_t claim;  /* header length in the file, if not its own */
    bool cut_length; /* the file is the first 5 bytes */
};

#define ONE(dtype, shape, offsets) "{'a':{'D:'" dtype "','S:" shape ",'O:" offsets "}}"
#define T(name, begin, end, shape) "'" name "':{'D:'F32','S:[" shape "],'O:[" begin "," end "]}"

// clang-format off
static const struct row rows[] = {
    {"right", OCT_OK, "", ONE("F32", "[2]", "[0,8]"), .n_data = 8},

    /* the head */
    {"five bytes", OCT_E_FORMAT, "cut short", "{}", .cut_length = true},
    {"header of 0 bytes", OCT_E_FORMAT, "begin with", "", .n_data = 8},
    {"header longer than the file", OCT_E_FORMAT, "cut short", "{}", .claim = 3},
    {"header of 10^8", OCT_E_FORMAT, "cut short", "{}", .claim = 100000000},
    {"header of 10^8 + 1", OCT_E_FORMAT, "100000001", "{}", .claim = 100000001},
    {"header of 2^31", OCT_E_FORMAT, "format allows", "{}", .claim = 1u << 31},
    {"header of 2^63", OCT_E_FORMAT, "format allows", "{}", .claim = 1ull << 63},
    {"header of 2^64-1", OCT_E_FORMAT, "format allows", "{}", .claim = ~0ull},
    {"header cut by one", OCT_E_FORMAT, "JSON", ONE("F32", "[2]", "[0,8]"), .n_data = 8, .claim = 1},
    {"begins with a space", OCT_E_FORMAT, "begin with", " {}", .n_data = 0},
    {"an array", OCT_E_FORMAT, "begin with", "[]", .n_data = 0},
    {"a byte order mark", OCT_E_FORMAT, "begin with", "\xef\xbb\xbf{}", .n_data = 0},
    {"a zip file (pickle)", OCT_E_FORMAT, "begin with", "PK\3\4", .n_data = 0},

    /* JSON */
    {"not closed", OCT_E_FORMAT, "JSON", "{'a':", .n_data = 0},
    {"text behind it", OCT_E_FORMAT, "JSON", "{} x", .n_data = 0},
    {"NUL padding", OCT_E_FORMAT, "JSON", "{}\0\0\0\0\0\0", .len = 8},
    {"single quotes", OCT_E_FORMAT, "JSON", "{\\a\\:1}", .n_data = 0},
    {"trailing comma", OCT_E_FORMAT, "JSON", "{'a':1,}", .n_data = 0},
    {"NaN", OCT_E_FORMAT, "JSON", "{'a':NaN}", .n_data = 0},
    {"invalid UTF-8 in a name", OCT_E_FORMAT, "UTF-8", "{'\xff':1}", .n_data = 0},
    {"overlong UTF-8", OCT_E_FORMAT, "UTF-8", "{'\xc0\x80':1}", .n_data = 0},
    {"surrogate in UTF-8", OCT_E_FORMAT, "UTF-8", "{'\xed\xa0\x80':1}", .n_data = 0},
    {"lone surrogate escape", OCT_E_FORMAT, "JSON", "{'\\ud800':1}", .n_data = 0},
    {"NUL in a name", OCT_E_FORMAT, "u0000", "{'a\\u0000b':1}", .n_data = 0},
    {"control character in a name", OCT_E_FORMAT, "JSON", "{'a\nb':1}", .n_data = 0},
    {"name twice", OCT_E_FORMAT, "duplicate", "{" T("a", "0", "4", "1") "," T("a", "4", "8", "1") "}", .n_data = 8},
    {"key of a tensor twice", OCT_E_FORMAT, "duplicate", "{'a':{'D:'F32','D:'F32','S:[1],'O:[0,4]}}", .n_data = 4},
    {"metadata twice", OCT_E_FORMAT, "duplicate", "{'__metadata__':{},'__metadata__':{}}", .n_data = 0},
    {"nested four deep", OCT_E_LIMIT, "nested", ONE("F32", "[[2]]", "[0,8]"), .n_data = 8},
    {"integer over 2^63", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "[0,9223372036854775808]"), .n_data = 8},

    /* metadata */
    {"metadata is a list", OCT_E_FORMAT, "__metadata__", "{'__metadata__':[]}", .n_data = 0},
    {"metadata is null", OCT_E_FORMAT, "__metadata__", "{'__metadata__':null}", .n_data = 0},
    {"metadata holds a number", OCT_E_FORMAT, "is not a string", "{'__metadata__':{'k':1}}", .n_data = 0},
    {"metadata holds an object", OCT_E_FORMAT, "is not a string", "{'__metadata__':{'k':{}}}", .n_data = 0},

    /* entries */
    {"tensor is a number", OCT_E_FORMAT, "object", "{'a':1}", .n_data = 0},
    {"tensor is null", OCT_E_FORMAT, "object", "{'a':null}", .n_data = 0},
    {"empty object", OCT_E_FORMAT, "dtype", "{'a':{}}", .n_data = 0},
    {"empty name", OCT_E_FORMAT, "empty name", "{" T("", "0", "4", "1") "}", .n_data = 4},
    {"no dtype", OCT_E_FORMAT, "dtype", "{'a':{'S:[2],'O:[0,8]}}", .n_data = 8},
    {"dtype is a number", OCT_E_FORMAT, "dtype", "{'a':{'D:1,'S:[2],'O:[0,8]}}", .n_data = 8},
    {"unknown dtype", OCT_E_UNSUPPORTED, "unknown dtype \"F128\"", ONE("F128", "[2]", "[0,32]"), .n_data = 32},
    {"dtype in lower case", OCT_E_UNSUPPORTED, "unknown dtype \"f32\"", ONE("f32", "[2]", "[0,8]"), .n_data = 8},
    {"dtype of GGUF", OCT_E_UNSUPPORTED, "unknown dtype", ONE("Q4_0", "[32]", "[0,18]"), .n_data = 18},
    {"no shape", OCT_E_FORMAT, "shape", "{'a':{'D:'F32','O:[0,8]}}", .n_data = 8},
    {"shape is a number", OCT_E_FORMAT, "shape", ONE("F32", "2", "[0,8]"), .n_data = 8},
    {"negative dimension", OCT_E_FORMAT, "non-negative", ONE("F32", "[-2]", "[0,8]"), .n_data = 8},
    {"fractional dimension", OCT_E_FORMAT, "non-negative", ONE("F32", "[2.0]", "[0,8]"), .n_data = 8},
    {"dimension as text", OCT_E_FORMAT, "non-negative", ONE("F32", "['2']", "[0,8]"), .n_data = 8},
    {"null dimension", OCT_E_FORMAT, "non-negative", ONE("F32", "[null]", "[0,8]"), .n_data = 8},
    {"9 dimensions", OCT_E_LIMIT, "dimensions", ONE("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), .n_data = 8},
    {"2^32 x 2^32", OCT_E_FORMAT, "overflow", ONE("F32", "[4294967296,4294967296]", "[0,8]"), .n_data = 8},
    {"product wraps to 2", OCT_E_FORMAT, "overflow", ONE("F32", "[9223372036854775807,2,2]", "[0,8]"), .n_data = 8},
    {"bytes overflow", OCT_E_FORMAT, "overflow", ONE("F32", "[9223372036854775807]", "[0,8]"), .n_data = 8},
    {"bytes wrap to 8", OCT_E_FORMAT, "overflow", ONE("F32", "[4611686018427387906]", "[0,8]"), .n_data = 8},
    {"no data_offsets", OCT_E_FORMAT, "data_offsets", "{'a':{'D:'F32','S:[2]}}", .n_data = 8},
    {"one offset", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "[8]"), .n_data = 8},
    {"three offsets", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "[0,8,8]"), .n_data = 8},
    {"offsets as text", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "['0','8']"), .n_data = 8},
    {"negative offset", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "[-8,0]"), .n_data = 8},
    {"fractional offset", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "[0,8e0]"), .n_data = 8},
    {"offsets are an object", OCT_E_FORMAT, "data_offsets", ONE("F32", "[2]", "{}"), .n_data = 8},
    {"end before begin", OCT_E_FORMAT, "ends before", ONE("F32", "[2]", "[8,0]"), .n_data = 8},
    {"wrong size, short", OCT_E_FORMAT, "wrong size", ONE("F32", "[3]", "[0,8]"), .n_data = 8},
    {"wrong size, long", OCT_E_FORMAT, "wrong size", ONE("F32", "[1]", "[0,8]"), .n_data = 8},
    {"wrong size, empty", OCT_E_FORMAT, "wrong size", ONE("F32", "[0]", "[0,8]"), .n_data = 8},
    {"wrong dtype size", OCT_E_FORMAT, "wrong size", ONE("F16", "[2]", "[0,8]"), .n_data = 8},
    {"F4 ends in a byte", OCT_E_FORMAT, "end on a byte", ONE("F4", "[3]", "[0,2]"), .n_data = 2},
    {"F6 ends in a byte", OCT_E_FORMAT, "end on a byte", ONE("F6_E2M3", "[2]", "[0,2]"), .n_data = 2},

    /* places */
    {"overlap", OCT_E_FORMAT, "overlap", "{" T("a", "0", "8", "2") "," T("b", "4", "8", "1") "}", .n_data = 8},
    {"same place", OCT_E_FORMAT, "overlap", "{" T("a", "0", "8", "2") "," T("b", "0", "8", "2") "}", .n_data = 8},
    {"one inside the other", OCT_E_FORMAT, "overlap", "{" T("a", "0", "12", "3") "," T("b", "4", "8", "1") "}", .n_data = 12},
    {"hole at the start", OCT_E_FORMAT, "hole", ONE("F32", "[1]", "[4,8]"), .n_data = 8},
    {"hole between", OCT_E_FORMAT, "hole", "{" T("a", "0", "4", "1") "," T("b", "8", "12", "1") "}", .n_data = 12},
    {"empty tensor behind the end", OCT_E_FORMAT, "hole", "{" T("a", "0", "4", "1") "," T("b", "8", "8", "0") "}", .n_data = 4},
    {"empty tensor inside another", OCT_E_FORMAT, "overlap", "{" T("a", "0", "8", "2") "," T("b", "4", "4", "0") "}", .n_data = 8},
    {"data one byte short", OCT_E_FORMAT, "cut short", ONE("F32", "[2]", "[0,8]"), .n_data = 7},
    {"no data", OCT_E_FORMAT, "cut short", ONE("F32", "[2]", "[0,8]"), .n_data = 0},
    {"declared larger than the file", OCT_E_FORMAT, "cut short", ONE("F32", "[1048576,1048576]", "[0,4398046511104]"), .n_data = 8},
    {"end near 2^63", OCT_E_FORMAT, "cut short", ONE("I8", "[9223372036854775807]", "[0,9223372036854775807]"), .n_data = 8},
    {"trailing byte", OCT_E_FORMAT, "trailing", ONE("F32", "[2]", "[0,8]"), .n_data = 9},
    {"data without tensors", OCT_E_FORMAT, "trailing", "{}", .n_data = 1},
};
// clang-format on

static void build(const struct row *r, struct oct_buf *image)
{
    struct oct_buf h = {0};
    const size_t n = r->len ? r->len : strlen(r->header);
    for (size_t i = 0; i < n; i++) {
        const char *s = r->header + i;
        const char *add = s[0] != '\''                 ? NULL
                          : s[1] == 'D' && s[2] == ':' ? "\"dtype\""
                          : s[1] == 'S' && s[2] == ':' ? "\"shape\""
                          : s[1] == 'O' && s[2] == ':' ? "\"data_offsets\""
                                                       : "\"";
        const oct_status st = oct_buf_append(&h, add ? add : s, add ? strlen(add) : 1);
        cr_assert_eq(st, OCT_OK);
        i += add && add[1] ? 1 : 0;
    }
    oct_sw_by_hand(h.data ? h.data : "", h.len, r->n_data, image);
    if (r->claim) {
        const uint64_t claim = r->n_data && r->claim == 1 ? h.len - 1 : r->claim;
        memcpy(image->data, &claim, 8);
    }
    if (r->cut_length) {
        image->len = 5;
    }
    oct_buf_free(&h);
}

Test(safetensors, every_wrong_file_gets_its_sentence)
{
    size_t n_bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct oct_buf image = {0};
        struct opened o;
        char path[32];
        build(r, &image);
        const oct_status st = open_image(&image, path, &o);
        cr_expect_eq(st, r->want, "%s: status %d, want %d: %s", r->label, st, r->want,
                     oct_last_error());
        cr_expect(strstr(oct_last_error(), r->word), "%s: \"%s\" does not say \"%s\"", r->label,
                  oct_last_error(), r->word);
        cr_expect(st == OCT_OK || strstr(oct_last_error(), path), "%s: \"%s\" names no file",
                  r->label, oct_last_error());
        n_bad += r->want != OCT_OK;
        drop(&o);
        oct_buf_free(&image);
    }
    cr_log_info("%zu wrong safetensors files", n_bad);
    cr_assert_geq(n_bad, 60u);
}

/* ---- limits, on both sides ---- */

Test(safetensors, the_length_of_names_is_limited)
{
    char name[300];
    memset(name, 'n', sizeof name);
    for (size_t n = 255; n <= 256; n++) {
        static const uint64_t dim = 1;
        struct oct_sw w = {0};
        struct oct_buf image = {0};
        struct opened o;
        char path[32];
        name[n] = '\0';
        oct_sw_tensor(&w, name, "F32", 1, &dim, "\0\0\0", 4);
        oct_sw_finish(&w, &image);
        name[n] = 'n';
        cr_assert_eq(open_image(&image, path, &o), n == 255 ? OCT_OK : OCT_E_LIMIT, "%zu: %s", n,
                     oct_last_error());
        drop(&o);
        oct_buf_free(&image);
    }
}

Test(safetensors, the_number_of_tensors_and_of_json_values_is_limited)
{
    for (uint32_t n = 1 << 17; n <= (1 << 17) + 1; n++) {
        static const uint64_t dim = 0;
        struct oct_sw w = {0};
        struct oct_buf image = {0};
        struct opened o;
        char path[32], name[16];
        oct_sw_entry(&w, "\"__metadata__\":{}");
        for (uint32_t i = 0; i < n; i++) {
            (void)snprintf(name, sizeof name, "t%u", i);
            oct_sw_tensor(&w, name, "F32", 1, &dim, "", 0);
        }
        oct_sw_finish(&w, &image);
        cr_assert_eq(open_image(&image, path, &o), n == 1 << 17 ? OCT_OK : OCT_E_LIMIT, "%u: %s", n,
                     oct_last_error());
        cr_assert_eq(o.list.n, n == 1 << 17 ? n : 0);
        drop(&o);
        oct_buf_free(&image);
    }
    /* A shape of three million zeros would cost the JSON parser 100 MB. */
    struct oct_buf h = {0}, image = {0};
    struct opened o;
    char path[32];
    cr_assert_eq(oct_buf_append(&h, "{\"a\":{\"shape\":[0", 16), OCT_OK);
    for (int i = 0; i < 3000000; i++) {
        cr_assert_eq(oct_buf_append(&h, ",0", 2), OCT_OK);
    }
    cr_assert_eq(oct_buf_append(&h, "]}}", 3), OCT_OK);
    oct_sw_by_hand(h.data, h.len, 0, &image);
    cr_assert_eq(open_image(&image, path, &o), OCT_E_LIMIT);
    cr_assert(strstr(oct_last_error(), "JSON values"), "%s", oct_last_error());
    drop(&o);
    oct_buf_free(&h);
    oct_buf_free(&image);
}
