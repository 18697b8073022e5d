/* SPDX-License-Identifier: Apache-2.0
 *
 * writer.h - builds GGUF and safetensors files in memory, right ones and wrong ones. For tests: any
 * failure (out of memory, a full disk) is an assertion. */
#ifndef OCT_TEST_WRITER_H
#define OCT_TEST_WRITER_H

#include "base/mem.h"

/* ---- GGUF ---- */

/* Fill with OCT_GW_INIT, add keys and tensors, then oct_gw_finish. */
struct oct_gw {
    struct oct_buf kvs, infos, data; /* owned until finish */
    uint64_t n_kvs, n_tensors;       /* what the header will claim; a test may change them */
    uint32_t version;
    uint32_t alignment; /* of the data; the writer does not add general.alignment by itself */
    bool no_end_pad;    /* leave out the padding after the last tensor */
};
#define OCT_GW_INIT \
    { \
        .version = 3, .alignment = 32 \
    }

void oct_gw_u16(struct oct_gw *w, const char *key, uint16_t v);
void oct_gw_u32(struct oct_gw *w, const char *key, uint32_t v);
void oct_gw_i32(struct oct_gw *w, const char *key, int32_t v);
void oct_gw_u64(struct oct_gw *w, const char *key, uint64_t v);
void oct_gw_f32(struct oct_gw *w, const char *key, float v);
void oct_gw_bool(struct oct_gw *w, const char *key, bool v);
void oct_gw_str(struct oct_gw *w, const char *key, const char *text);
void oct_gw_strings(struct oct_gw *w, const char *key, const char *const *text, size_t n);
void oct_gw_i32s(struct oct_gw *w, const char *key, const int32_t *v, size_t n);
void oct_gw_f32s(struct oct_gw *w, const char *key, const float *v, size_t n);
/* A key of any bytes with a value of any type number and any bytes. */
void oct_gw_raw(struct oct_gw *w, const void *key, size_t key_len, uint32_t type, const void *value,
                size_t size);

/* Adds data, padded to the alignment, and its tensor info. ggml_type is the number in the file;
 * dims are in GGUF's order (fastest first). */
void oct_gw_tensor(struct oct_gw *w, const char *name, uint32_t ggml_type, uint32_t n_dims,
                   const uint64_t *dims, const void *data, size_t size);
/* A tensor info only, whatever it claims; n_dims numbers are written. */
void oct_gw_info(struct oct_gw *w, const void *name, size_t name_len, uint32_t n_dims,
                 const uint64_t *dims, uint32_t ggml_type, uint64_t offset);

/* Appends the whole file to out and frees what the writer held. */
void oct_gw_finish(struct oct_gw *w, struct oct_buf *out);

/* ---- safetensors ---- */

/* Initialise with {0}. */
struct oct_sw {
    struct oct_buf json, data;
};

/* Adds the tensor's data and its entry. dtype as the format spells it ("BF16"); dims slowest first.
 */
void oct_sw_tensor(struct oct_sw *w, const char *name, const char *dtype, uint32_t n_dims,
                   const uint64_t *dims, const void *data, size_t size);
/* Any text as one more entry of the header object: "\"name\":{...}". */
void oct_sw_entry(struct oct_sw *w, const char *text);
/* Appends the whole file to out, header padded with spaces to a multiple of 8; frees the writer. */
void oct_sw_finish(struct oct_sw *w, struct oct_buf *out);
/* A file from a header written by hand, as it is, and n_data zero bytes. */
void oct_sw_by_hand(const char *header, size_t len, size_t n_data, struct oct_buf *out);

/* ---- numbers and files ---- */

uint16_t oct_test_f32_to_f16(float v);  /* round to nearest even */
uint16_t oct_test_f32_to_bf16(float v); /* round to nearest even */

/* A file in memory with these contents, open under /proc/self/fd/<returned fd>, which is stored in
 * path. close() the fd. */
int oct_test_memory_file(const void *data, size_t len, char path[32]);

/* Bytes on the heap now, as the allocator or the sanitizer counts them: for leak checks. */
size_t oct_test_live_bytes(void);

void oct_test_write_file(const char *dir, const char *name, const void *data, size_t len);
/* A new empty directory; the path (under TMPDIR or /tmp) is given away: oct_free. */
char *oct_test_make_dir(void);
/* Removes the directory, the files in it and three levels of directories below; frees the path. */
void oct_test_remove_dir(char *dir);

#endif
