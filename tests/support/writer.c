/* SPDX-License-Identifier: Apache-2.0 */
#include "support/writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void put(struct oct_buf *b, const void *data, size_t len)
{
    oct_status st = oct_buf_append(b, data, len);
    OCT_ASSERT(st == OCT_OK);
}

static void put_u32(struct oct_buf *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(struct oct_buf *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_str(struct oct_buf *b, const void *text, size_t len)
{
    put_u64(b, len);
    put(b, text, len);
}

static void pad(struct oct_buf *b, size_t to, char with)
{
    while (b->len % to) {
        put(b, &with, 1);
    }
}

/* ---- GGUF ---- */

enum { T_U16 = 2, T_U32 = 4, T_I32 = 5, T_F32 = 6, T_BOOL = 7, T_STR = 8, T_ARRAY = 9, T_U64 = 10 };

void oct_gw_raw(struct oct_gw *w, const void *key, size_t key_len, uint32_t type, const void *value,
                size_t size)
{
    put_str(&w->kvs, key, key_len);
    put_u32(&w->kvs, type);
    put(&w->kvs, value, size);
    w->n_kvs++;
}

static void fixed(struct oct_gw *w, const char *key, uint32_t type, const void *v, size_t size)
{
    oct_gw_raw(w, key, strlen(key), type, v, size);
}

void oct_gw_u16(struct oct_gw *w, const char *key, uint16_t v)
{
    fixed(w, key, T_U16, &v, sizeof v);
}

void oct_gw_u32(struct oct_gw *w, const char *key, uint32_t v)
{
    fixed(w, key, T_U32, &v, sizeof v);
}

void oct_gw_i32(struct oct_gw *w, const char *key, int32_t v)
{
    fixed(w, key, T_I32, &v, sizeof v);
}

void oct_gw_u64(struct oct_gw *w, const char *key, uint64_t v)
{
    fixed(w, key, T_U64, &v, sizeof v);
}

void oct_gw_f32(struct oct_gw *w, const char *key, float v)
{
    fixed(w, key, T_F32, &v, sizeof v);
}

void oct_gw_bool(struct oct_gw *w, const char *key, bool v)
{
    const uint8_t byte = v;
    fixed(w, key, T_BOOL, &byte, 1);
}

void oct_gw_str(struct oct_gw *w, const char *key, const char *text)
{
    fixed(w, key, T_STR, NULL, 0);
    put_str(&w->kvs, text, strlen(text));
}

static void array(struct oct_gw *w, const char *key, uint32_t type, size_t n)
{
    fixed(w, key, T_ARRAY, &type, sizeof type);
    put_u64(&w->kvs, n);
}

void oct_gw_strings(struct oct_gw *w, const char *key, const char *const *text, size_t n)
{
    array(w, key, T_STR, n);
    for (size_t i = 0; i < n; i++) {
        put_str(&w->kvs, text[i], strlen(text[i]));
    }
}

void oct_gw_i32s(struct oct_gw *w, const char *key, const int32_t *v, size_t n)
{
    array(w, key, T_I32, n);
    put(&w->kvs, v, n * sizeof *v);
}

void oct_gw_f32s(struct oct_gw *w, const char *key, const float *v, size_t n)
{
    array(w, key, T_F32, n);
    put(&w->kvs, v, n * sizeof *v);
}

void oct_gw_info(struct oct_gw *w, const void *name, size_t name_len, uint32_t n_dims,
                 const uint64_t *dims, uint32_t ggml_type, uint64_t offset)
{
    put_str(&w->infos, name, name_len);
    put_u32(&w->infos, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_u64(&w->infos, dims[i]);
    }
    put_u32(&w->infos, ggml_type);
    put_u64(&w->infos, offset);
    w->n_tensors++;
}

void oct_gw_tensor(struct oct_gw *w, const char *name, uint32_t ggml_type, uint32_t n_dims,
                   const uint64_t *dims, const void *data, size_t size)
{
    pad(&w->data, w->alignment, 0);
    oct_gw_info(w, name, strlen(name), n_dims, dims, ggml_type, w->data.len);
    put(&w->data, data, size);
}

void oct_gw_finish(struct oct_gw *w, struct oct_buf *out)
{
    struct oct_buf head = {0};
    put(&head, "GGUF", 4);
    put_u32(&head, w->version);
    put_u64(&head, w->n_tensors);
    put_u64(&head, w->n_kvs);
    put(&head, w->kvs.data, w->kvs.len);
    put(&head, w->infos.data, w->infos.len);
    if (w->data.len) {
        pad(&head, w->alignment, 0);
        if (!w->no_end_pad) {
            pad(&w->data, w->alignment, 0);
        }
    }
    put(out, head.data, head.len);
    put(out, w->data.data, w->data.len);
    oct_buf_free(&head);
    oct_buf_free(&w->kvs);
    oct_buf_free(&w->infos);
    oct_buf_free(&w->data);
}

/* ---- safetensors ---- */

void oct_sw_entry(struct oct_sw *w, const char *text)
{
    put(&w->json, w->json.len ? "," : "{", 1);
    put(&w->json, text, strlen(text));
}

void oct_sw_tensor(struct oct_sw *w, const char *name, const char *dtype, uint32_t n_dims,
                   const uint64_t *dims, const void *data, size_t size)
{
    struct oct_buf e = {0};
    oct_status st = oct_buf_printf(&e, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, dtype);
    for (uint32_t i = 0; i < n_dims && st == OCT_OK; i++) {
        st = oct_buf_printf(&e, "%s%" PRIu64, i ? "," : "", dims[i]);
    }
    OCT_ASSERT(st == OCT_OK);
    st = oct_buf_printf(&e, "],\"data_offsets\":[%zu,%zu]}", w->data.len, w->data.len + size);
    OCT_ASSERT(st == OCT_OK);
    oct_sw_entry(w, e.data);
    put(&w->data, data, size);
    oct_buf_free(&e);
}

void oct_sw_finish(struct oct_sw *w, struct oct_buf *out)
{
    if (!w->json.len) {
        put(&w->json, "{", 1);
    }
    put(&w->json, "}", 1);
    pad(&w->json, 8, ' ');
    put_u64(out, w->json.len);
    put(out, w->json.data, w->json.len);
    put(out, w->data.data, w->data.len);
    oct_buf_free(&w->json);
    oct_buf_free(&w->data);
}

void oct_sw_by_hand(const char *header, size_t len, size_t n_data, struct oct_buf *out)
{
    put_u64(out, len);
    put(out, header, len);
    for (size_t i = 0; i < n_data; i++) {
        put(out, "", 1);
    }
}

/* ---- numbers and files ---- */

static uint32_t bits_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

uint16_t oct_test_f32_to_bf16(float v)
{
    const uint32_t u = bits_of(v);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(u >> 16 | 0x40u); /* a quiet NaN */
    }
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

uint16_t oct_test_f32_to_f16(float v)
{
    const uint32_t u = bits_of(v);
    const uint32_t sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (a >= 0x47800000u) { /* 65536 and more, infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (a < 0x38800000u) { /* below 2^-14: adding 0.5 rounds to multiples of 2^-24, ties to even */
        float f;
        memcpy(&f, &a, sizeof f);
        f += 0.5f;
        return (uint16_t)(sign | (bits_of(f) - 0x3f000000u));
    }
    const uint32_t r = a + 0xfffu + (a >> 13 & 1u); /* may carry up to infinity, as it should */
    return (uint16_t)(sign | ((r - 0x38000000u) >> 13));
}

int oct_test_memory_file(const void *data, size_t len, char path[32])
{
    int fd = memfd_create("octavo-test", MFD_CLOEXEC);
    OCT_ASSERT(fd >= 0);
    const char *p = data;
    while (len) {
        const ssize_t n = write(fd, p, len);
        OCT_ASSERT(n > 0);
        p += n;
        len -= (size_t)n;
    }
    (void)snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER_COUNTS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZER_COUNTS 1
#endif
#endif

#ifdef SANITIZER_COUNTS
size_t __sanitizer_get_current_allocated_bytes(void);

size_t oct_test_live_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
size_t oct_test_live_bytes(void)
{
    const struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
#endif

void oct_test_write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    OCT_ASSERT(n > 0 && (size_t)n < sizeof path);
    FILE *f = fopen(path, "wb");
    OCT_ASSERT(f);
    const size_t written = len ? fwrite(data, 1, len, f) : 0;
    OCT_ASSERT(written == len);
    const int closed = fclose(f);
    OCT_ASSERT(closed == 0);
}

char *oct_test_make_dir(void)
{
    const char *base = getenv("TMPDIR");
    struct oct_buf b = {0};
    oct_status st = oct_buf_printf(&b, "%s/octavo-test-XXXXXX", base && *base ? base : "/tmp");
    OCT_ASSERT(st == OCT_OK);
    const char *made = mkdtemp(b.data);
    OCT_ASSERT(made);
    return b.data;
}

static void remove_entries(int dir_fd, int levels)
{
    DIR *d = fdopendir(dir_fd);
    OCT_ASSERT(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) {
            continue;
        }
        if (unlinkat(dirfd(d), e->d_name, 0) != 0 && levels > 0) {
            int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub >= 0) {
                remove_entries(sub, levels - 1);
            }
            (void)unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
        }
    }
    (void)closedir(d);
}

void oct_test_remove_dir(char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        remove_entries(fd, 3);
        (void)rmdir(dir);
    }
    oct_free(dir);
}
