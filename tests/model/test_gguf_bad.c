/* SPDX-License-Identifier: Apache-2.0
 *
 * Wrong GGUF files written by hand: each is refused with the right status and a sentence that says
 * what is wrong. The two rows that are right show that the table's own files are not wrong by
 * accident. */
#include "model/gguf.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q4_K = 12 };

struct info {
    const char *name;
    size_t name_len; /* 0: to the NUL */
    uint32_t n_dims;
    uint64_t dims[9];
    uint32_t type;
    uint64_t offset;
};

struct row {
    const char *label;
    oct_status want;
    const char *word;
    const char *kvs; /* encoded keys */
    size_t kvs_len;
    struct info t[3];
    size_t n_data;     /* zero bytes behind the padded header */
    uint64_t n_kvs;    /* what the header claims; 0: 1 if there are kvs */
    uint64_t claim;    /* tensors that the header claims; 0: as many as there are */
    uint32_t version;  /* 0: 3 */
    const char *magic; /* NULL: "GGUF" */
    size_t cut;        /* over 0: the file ends here */
};

/* Little-endian numbers whose first byte is given, as text. */
#define N4(c) c "\0\0\0"
#define N8(c) c "\0\0\0\0\0\0\0"
#define BIG4 "\xff\xff\xff\xff"
#define BIG8 BIG4 BIG4
#define KEY(len, name, type) N8(len) name N4(type)
#define KVS(text) .kvs = text, .kvs_len = sizeof text - 1

#define MAX63 0x7fffffffffffffffu
#define BIT63 0x8000000000000000u
#define MAX64 0xffffffffffffffffu

// clang-format off
static const struct row rows[] = {
    /* right */
    {"one tensor", OCT_OK, "", .t = {{"a", 0, 2, {8, 2}, F32, 0}}, .n_data = 64},
    {"three tensors out of order, padded", OCT_OK, "", KVS(KEY("\1", "k", "\4") "\7\0\0\0"),
     .t = {{"a", 0, 1, {3}, F32, 64}, {"b", 0, 1, {3}, F32, 0}, {"c", 0, 1, {3}, F32, 32}}, .n_data = 96},

    /* the head */
    {"empty file", OCT_E_FORMAT, "cut short", .cut = SIZE_MAX},
    {"three bytes", OCT_E_FORMAT, "cut short", .cut = 3},
    {"magic alone", OCT_E_FORMAT, "cut short", .cut = 4},
    {"cut in the counts", OCT_E_FORMAT, "cut short", .cut = 20},
    {"other magic", OCT_E_FORMAT, "GGUF", .magic = "GGML", .n_data = 64},
    {"magic backwards", OCT_E_FORMAT, "GGUF", .magic = "FUGG", .n_data = 64},
    {"version 0", OCT_E_UNSUPPORTED, "version 0", .version = 0x80000000u},
    {"version 1", OCT_E_UNSUPPORTED, "version 1", .version = 1},
    {"version 4", OCT_E_UNSUPPORTED, "version 4", .version = 4},
    {"big-endian", OCT_E_UNSUPPORTED, "big-endian", .version = 0x03000000u},
    {"2^64-1 tensors", OCT_E_LIMIT, "tensors", .claim = MAX64},
    {"2^63 tensors", OCT_E_LIMIT, "tensors", .claim = BIT63},
    {"10^6 tensors", OCT_E_LIMIT, "tensors", .claim = 1000000},
    {"more tensors than fit", OCT_E_FORMAT, "tensors", .claim = 100000},
    {"one tensor too many", OCT_E_FORMAT, "tensors", .claim = 1},
    {"two claimed, one there", OCT_E_FORMAT, "tensors", .claim = 2, .t = {{"a", 0, 1, {1}, F32, 0}}, .n_data = 4, .cut = 84},
    {"two claimed, data read as the second", OCT_E_FORMAT, "empty name", .claim = 2, .t = {{"a", 0, 1, {8}, F32, 0}}, .n_data = 32},
    {"2^64-1 keys", OCT_E_LIMIT, "keys", .n_kvs = MAX64},
    {"10^6 keys", OCT_E_LIMIT, "keys", .n_kvs = 1000000},
    {"more keys than fit", OCT_E_FORMAT, "keys", .n_kvs = 60000},

    /* keys */
    {"empty key", OCT_E_FORMAT, "empty name", KVS(KEY("\0", "", "\4") "\1\0\0\0")},
    {"NUL in a key", OCT_E_FORMAT, "NUL", KVS(KEY("\3", "a\0b", "\4") "\1\0\0\0")},
    {"key of 2^63 bytes", OCT_E_LIMIT, "string", KVS("\0\0\0\0\0\0\0\x80k\4\0\0\0\1\0\0\0")},
    {"key of 2^64-1 bytes", OCT_E_LIMIT, "string", KVS(BIG8 "k\4\0\0\0\1\0\0\0")},
    {"key past the end", OCT_E_FORMAT, "cut short", KVS(N8("\x7f") "k\4\0\0\0\1\0\0\0")},
    {"key twice", OCT_E_FORMAT, "duplicate", KVS(KEY("\1", "k", "\4") "\1\0\0\0" KEY("\1", "k", "\1") "\1"), .n_kvs = 2},
    {"unknown value type", OCT_E_FORMAT, "unknown type 13", KVS(KEY("\1", "k", "\15") "\1\0\0\0")},
    {"value type 2^32-1", OCT_E_FORMAT, "unknown type 4294967295", KVS(N8("\1") "k" BIG4 "\1\0\0\0")},
    {"value cut", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\12") "\1\0\0\0")},
    {"bool of 2", OCT_E_FORMAT, "bool", KVS(KEY("\1", "k", "\7") "\2")},
    {"string past the end", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\10") N8("\x70") "abc")},
    {"string of 2^64-1", OCT_E_LIMIT, "string", KVS(KEY("\1", "k", "\10") BIG8 "abc")},
    {"string of 65 MiB", OCT_E_LIMIT, "string", KVS(KEY("\1", "k", "\10") "\0\0\x10\4\0\0\0\0" "abc")},

    /* arrays */
    {"array of unknown type", OCT_E_FORMAT, "unknown type 99", KVS(KEY("\1", "k", "\11") N4("\x63") N8("\1"))},
    {"array of 2^64-1", OCT_E_LIMIT, "array", KVS(KEY("\1", "k", "\11") N4("\4") BIG8)},
    {"array of 2^62 u64: its bytes overflow", OCT_E_LIMIT, "array", KVS(KEY("\1", "k", "\11") N4("\12") "\0\0\0\0\0\0\0\x40")},
    {"array of 2^61+1 u64: its bytes are 8", OCT_E_LIMIT, "array", KVS(KEY("\1", "k", "\11") N4("\12") "\1\0\0\0\0\0\0\x20" "12345678")},
    {"array of 2^28 in a short file", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\4") "\0\0\0\x10\0\0\0\0")},
    {"array one element too long", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\4") N8("\3") "12345678")},
    {"strings that do not fit", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\10") N8("\3") N8("\0") N8("\0"))},
    {"a string of an array past the end", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\10") N8("\2") N8("\0") N8("\x20"))},
    {"bools of 0 and 3", OCT_E_FORMAT, "bool", KVS(KEY("\1", "k", "\11") N4("\7") N8("\2") "\0\3")},
    {"arrays nested five deep", OCT_E_LIMIT, "nested", KVS(KEY("\1", "k", "\11") N4("\11") N8("\1") N4("\11") N8("\1") N4("\11") N8("\1")
     N4("\11") N8("\1") N4("\0") N8("\0") "            ")},
    {"nested array past the end", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\11") N8("\1") N4("\12") N8("\2") "12345678")},
    {"nested array of 2^63", OCT_E_LIMIT, "array", KVS(KEY("\1", "k", "\11") N4("\11") N8("\1") N4("\0") "\0\0\0\0\0\0\0\x80")},
    {"nested strings past the end", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\11") N8("\1") N4("\10") N8("\1") BIG8)},
    {"more nested arrays than fit", OCT_E_FORMAT, "cut short", KVS(KEY("\1", "k", "\11") N4("\11") N8("\3") N4("\0") N8("\0"))},
    {"nested array of unknown type", OCT_E_FORMAT, "unknown type", KVS(KEY("\1", "k", "\11") N4("\11") N8("\1") N4("\15") N8("\1"))},

    /* alignment */
    {"alignment 0", OCT_E_FORMAT, "general.alignment", KVS(KEY("\x11", "general.alignment", "\4") "\0\0\0\0")},
    {"alignment 3", OCT_E_FORMAT, "power of two", KVS(KEY("\x11", "general.alignment", "\4") "\3\0\0\0")},
    {"alignment 2^31", OCT_E_FORMAT, "power of two", KVS(KEY("\x11", "general.alignment", "\4") "\0\0\0\x80")},
    {"alignment as a string", OCT_E_FORMAT, "u32", KVS(KEY("\x11", "general.alignment", "\10") N8("\2") "32")},
    {"alignment as u64", OCT_E_FORMAT, "u32", KVS(KEY("\x11", "general.alignment", "\12") N8("\x20"))},

    /* tensor infos */
    {"empty name", OCT_E_FORMAT, "empty name", .t = {{"", 0, 1, {1}, F32, 0}, {"a", 0, 1, {1}, F32, 0}}, .n_data = 32},
    {"NUL in a name", OCT_E_FORMAT, "NUL", .t = {{"a\0b", 3, 1, {8}, F32, 0}}, .n_data = 32},
    {"name twice", OCT_E_FORMAT, "duplicate", .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {8}, F32, 32}, {"a", 0, 1, {8}, F32, 64}}, .n_data = 96},
    {"5 dimensions", OCT_E_FORMAT, "dimensions", .t = {{"a", 0, 5, {1, 1, 1, 1, 8}, F32, 0}}, .n_data = 32},
    {"9 dimensions", OCT_E_FORMAT, "dimensions", .t = {{"a", 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 8}, F32, 0}}, .n_data = 32},
    {"dimension -1", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 1, {MAX64}, F32, 0}}, .n_data = 32},
    {"dimension 2^63", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 1, {BIT63}, F32, 0}}, .n_data = 32},
    {"2^32 x 2^32", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 2, {1ull << 32, 1ull << 32}, F32, 0}}, .n_data = 32},
    {"product wraps to 8", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 3, {(1ull << 62) + 2, 4, 1}, F32, 0}}, .n_data = 32},
    {"bytes overflow", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 1, {MAX63}, F32, 0}}, .n_data = 32},
    {"bytes wrap to 32", OCT_E_FORMAT, "overflow", .t = {{"a", 0, 1, {(1ull << 62) + 8}, F32, 0}}, .n_data = 32},
    {"unknown dtype", OCT_E_UNSUPPORTED, "ggml type 43", .t = {{"a", 0, 1, {8}, 43, 0}}, .n_data = 32},
    {"removed dtype 4", OCT_E_UNSUPPORTED, "ggml type 4,", .t = {{"a", 0, 1, {32}, 4, 0}}, .n_data = 32},
    {"dtype 2^32-1", OCT_E_UNSUPPORTED, "ggml type 4294967295", .t = {{"a", 0, 1, {8}, 0xffffffffu, 0}}, .n_data = 32},
    {"row no multiple of 32", OCT_E_FORMAT, "multiple", .t = {{"a", 0, 2, {16, 2}, Q4_0, 0}}, .n_data = 32},
    {"row no multiple of 256", OCT_E_FORMAT, "multiple", .t = {{"a", 0, 2, {128, 2}, Q4_K, 0}}, .n_data = 160},
    {"scalar of a block type", OCT_E_FORMAT, "multiple", .t = {{"a", 0, 0, {0}, Q8_0, 0}}, .n_data = 64},

    /* places */
    {"misaligned", OCT_E_FORMAT, "misaligned", .t = {{"a", 0, 1, {4}, F32, 0}, {"b", 0, 1, {4}, F32, 16}}, .n_data = 64},
    {"misaligned for its alignment", OCT_E_FORMAT, "misaligned", KVS(KEY("\x11", "general.alignment", "\4") "\x40\0\0\0"),
     .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {8}, F32, 32}}, .n_data = 96},
    {"same place", OCT_E_FORMAT, "overlap", .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {8}, F32, 0}}, .n_data = 32},
    {"overlap by a block", OCT_E_FORMAT, "overlap", .t = {{"a", 0, 1, {16}, F32, 0}, {"b", 0, 1, {16}, F32, 32}}, .n_data = 96},
    {"overlap within the padding", OCT_E_FORMAT, "overlap", .t = {{"a", 0, 1, {9}, F32, 0}, {"b", 0, 1, {8}, F32, 32}}, .n_data = 96},
    {"hole at the start", OCT_E_FORMAT, "hole", .t = {{"a", 0, 1, {8}, F32, 32}}, .n_data = 64},
    {"hole between", OCT_E_FORMAT, "hole", .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {8}, F32, 64}}, .n_data = 96},
    {"empty tensor far away", OCT_E_FORMAT, "hole", .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {0}, F32, 1ull << 40}}, .n_data = 32},
    {"offset 2^63", OCT_E_FORMAT, "hole", .t = {{"a", 0, 1, {8}, F32, BIT63}}, .n_data = 32},
    {"offset near 2^64", OCT_E_FORMAT, "hole", .t = {{"a", 0, 1, {8}, F32, MAX64 - 31}}, .n_data = 32},
    {"data one byte short", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 1, {8}, F32, 0}}, .n_data = 31},
    {"no data", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 1, {8}, F32, 0}}},
    {"second tensor past the end", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 1, {8}, F32, 0}, {"b", 0, 1, {8}, F32, 32}}, .n_data = 63},
    {"declared larger than the file", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 2, {1ull << 20, 1ull << 20}, F16, 0}}, .n_data = 64},
    {"size near 2^64", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 1, {(1ull << 62) - 1}, F32, 0}}, .n_data = 64},
    {"wrong size: F32 declared, F16 there", OCT_E_FORMAT, "cut short", .t = {{"a", 0, 1, {64}, F32, 0}}, .n_data = 128},
    {"wrong size: Q6_K declared as Q4_K", OCT_E_FORMAT, "trailing", .t = {{"a", 0, 1, {256}, Q4_K, 0}}, .n_data = 210},
    {"trailing data", OCT_E_FORMAT, "trailing", .t = {{"a", 0, 1, {8}, F32, 0}}, .n_data = 64},
    {"trailing byte after padding", OCT_E_FORMAT, "trailing", .t = {{"a", 0, 1, {5}, F32, 0}}, .n_data = 33},
    {"data without tensors", OCT_E_FORMAT, "trailing", KVS(KEY("\1", "k", "\0") "\1"), .n_data = 32},
};
// clang-format on

static void build(const struct row *r, struct oct_buf *image)
{
    struct oct_gw w = OCT_GW_INIT;
    if (r->kvs) {
        cr_assert_eq(oct_buf_append(&w.kvs, r->kvs, r->kvs_len), OCT_OK);
        w.n_kvs = 1;
    }
    for (int i = 0; i < 3 && r->t[i].name; i++) {
        const struct info *t = &r->t[i];
        oct_gw_info(&w, t->name, t->name_len ? t->name_len : strlen(t->name), t->n_dims, t->dims,
                    t->type, t->offset);
    }
    for (size_t i = 0; i < r->n_data; i++) {
        cr_assert_eq(oct_buf_append(&w.data, "", 1), OCT_OK);
    }
    w.no_end_pad = true;
    w.n_kvs = r->n_kvs ? r->n_kvs : w.n_kvs;
    w.n_tensors = r->claim ? r->claim : w.n_tensors;
    w.version = r->version == 0x80000000u ? 0 : r->version ? r->version : 3;
    oct_gw_finish(&w, image);
    if (r->magic) {
        memcpy(image->data, r->magic, 4);
    }
    if (r->cut) {
        image->len = r->cut == SIZE_MAX ? 0 : r->cut < image->len ? r->cut : image->len;
    }
}

Test(gguf_bad, every_wrong_file_gets_its_sentence)
{
    size_t n_bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct oct_buf image = {0};
        struct oct_file f;
        struct oct_gguf *g = NULL;
        char path[32];
        build(r, &image);
        const int fd = oct_test_memory_file(image.data, image.len, path);
        cr_assert_eq(oct_file_open(path, &f), OCT_OK, "%s", oct_last_error());
        oct_error_clear();
        const oct_status st = oct_gguf_open(&f, &g);
        cr_expect_eq(st, r->want, "%s: status %d, want %d: %s", r->label, st, r->want,
                     oct_last_error());
        cr_expect(strstr(oct_last_error(), r->word), "%s: \"%s\" does not say \"%s\"", r->label,
                  oct_last_error(), r->word);
        cr_expect(st == OCT_OK || strstr(oct_last_error(), path), "%s: \"%s\" names no file",
                  r->label, oct_last_error());
        cr_expect_eq(g != NULL, st == OCT_OK, "%s: out touched", r->label);
        n_bad += r->want != OCT_OK;
        oct_gguf_close(g);
        oct_file_close(&f);
        (void)close(fd);
        oct_buf_free(&image);
    }
    cr_log_info("%zu wrong GGUF files", n_bad);
    cr_assert_geq(n_bad, 60u);
}
