/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t n_allocs, n_frees;

static void *counted(void *p)
{
    if (p) {
        atomic_fetch_add_explicit(&n_allocs, 1, memory_order_relaxed);
    }
    return p;
}

/* As malloc does it: libraries that allocate here tell by errno why they failed. */
static bool fails(void)
{
    if (oct_fault_hit(OCT_FAULT_MEM)) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

void *oct_malloc(size_t size)
{
    return fails() ? NULL : counted(malloc(size ? size : 1));
}

void *oct_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(calloc(n ? n : 1, size ? size : 1));
}

void *oct_realloc(void *p, size_t size)
{
    return fails() ? NULL : counted(realloc(p, size ? size : 1));
}

void *oct_realloc_array(void *p, size_t n, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : oct_realloc(p, bytes);
}

void *oct_aligned_alloc(size_t align, size_t size)
{
    size_t rounded;
    if (fails() || __builtin_add_overflow(size, align - 1, &rounded)) {
        return NULL;
    }
    return counted(aligned_alloc(align, rounded & ~(align - 1)));
}

char *oct_strndup(const char *s, size_t len)
{
    size_t bytes;
    char *p = __builtin_add_overflow(len, 1, &bytes) ? NULL : oct_malloc(bytes);
    if (p) {
        memcpy(p, s, len);
        p[len] = '\0';
    }
    return p;
}

char *oct_strdup(const char *s)
{
    return oct_strndup(s, strlen(s));
}

void oct_free(void *p)
{
    if (p) {
        atomic_fetch_add_explicit(&n_frees, 1, memory_order_relaxed);
    }
    free(p);
}

oct_status oct_no_memory(const char *what, size_t bytes)
{
    return OCT_FAIL(OCT_E_MEM,
                    "cannot allocate %zu bytes for %s; free memory or use a smaller setting", bytes,
                    what);
}

struct oct_mem_stats oct_mem_stats(void)
{
    return (struct oct_mem_stats){
        .n_allocs = atomic_load_explicit(&n_allocs, memory_order_relaxed),
        .n_frees = atomic_load_explicit(&n_frees, memory_order_relaxed),
    };
}

/* ---- arena ---- */

struct oct_arena_chunk {
    struct oct_arena_chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

/* A chunk is as large as what the arena holds already, within these: thousands of requests have one
 * with a few hundred bytes in it. */
enum { MIN_CHUNK_BYTES = 1024, MAX_CHUNK_BYTES = 64 * 1024 };

void *oct_arena_alloc(struct oct_arena *a, size_t size)
{
    size_t need, bytes;
    if (__builtin_add_overflow(size ? size : 1, 15, &need)) {
        return NULL;
    }
    need &= ~(size_t)15;
    struct oct_arena_chunk *c = a->head;
    if (!c || c->size - c->used < need) {
        size_t chunk = a->used_bytes < MIN_CHUNK_BYTES   ? MIN_CHUNK_BYTES
                       : a->used_bytes > MAX_CHUNK_BYTES ? MAX_CHUNK_BYTES
                                                         : a->used_bytes;
        chunk = need > chunk / 4 ? need : chunk;
        if (__builtin_add_overflow(chunk, sizeof *c, &bytes)) {
            return NULL;
        }
        struct oct_arena_chunk *fresh = oct_calloc(1, bytes);
        if (!fresh) {
            return NULL;
        }
        fresh->size = chunk;
        if (c && chunk == need) { /* a large object of its own: keep filling the current chunk */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            a->head = fresh;
        }
        c = fresh;
    }
    void *p = c->data + c->used;
    c->used += need;
    a->used_bytes += need;
    return p;
}

char *oct_arena_strndup(struct oct_arena *a, const char *s, size_t len)
{
    size_t bytes;
    char *p = __builtin_add_overflow(len, 1, &bytes) ? NULL : oct_arena_alloc(a, bytes);
    if (p) {
        memcpy(p, s, len);
    }
    return p;
}

void oct_arena_free(struct oct_arena *a)
{
    for (struct oct_arena_chunk *c = a->head; c;) {
        struct oct_arena_chunk *next = c->next;
        oct_free(c);
        c = next;
    }
    *a = (struct oct_arena){0};
}

/* ---- buffer ---- */

oct_status oct_buf_reserve(struct oct_buf *b, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || need == SIZE_MAX) {
        return oct_no_memory("a buffer", extra);
    }
    if (b->max_bytes && need > b->max_bytes) {
        return OCT_FAIL(OCT_E_LIMIT, "text grows over its limit of %zu bytes", b->max_bytes);
    }
    if (b->data && need < b->cap) {
        return OCT_OK;
    }
    size_t cap = b->cap > SIZE_MAX / 2 ? need + 1 : b->cap * 2;
    if (cap < need + 1) {
        cap = need + 1;
    }
    if (cap < 64) {
        cap = 64;
    }
    char *data = oct_realloc(b->data, cap);
    if (!data) {
        return oct_no_memory("a buffer", cap);
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return OCT_OK;
}

oct_status oct_buf_append(struct oct_buf *b, const void *data, size_t len)
{
    OCT_TRY(oct_buf_reserve(b, len));
    if (len) {
        memcpy(b->data + b->len, data, len);
    }
    b->len += len;
    b->data[b->len] = '\0';
    return OCT_OK;
}

oct_status oct_buf_printf(struct oct_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    oct_status st =
        n < 0 ? OCT_FAIL(OCT_E_ARG, "text cannot be formatted") : oct_buf_reserve(b, (size_t)n);
    if (st == OCT_OK) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return st;
}

void oct_buf_clear(struct oct_buf *b)
{
    b->len = 0;
    if (b->data) {
        b->data[0] = '\0';
    }
}

void oct_buf_free(struct oct_buf *b)
{
    oct_free(b->data);
    *b = (struct oct_buf){.max_bytes = b->max_bytes};
}
