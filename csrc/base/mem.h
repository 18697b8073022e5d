/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - the one door to the heap, checked size arithmetic, arenas and growable buffers.
 *
 * All of octavo allocates here: calls are counted (tests show that a step allocates nothing), and a
 * test build can make the k-th call fail. NULL means out of memory; the caller turns it into
 * OCT_FAIL(OCT_E_MEM, ...) with a sentence, or uses oct_no_memory(). */
#ifndef OCT_BASE_MEM_H
#define OCT_BASE_MEM_H

#include "base/status.h"

/* size 0 gives a unique pointer. Everything is freed with oct_free(); NULL is allowed there. */
void *oct_malloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *oct_calloc(size_t n, size_t size)
    __attribute__((malloc, alloc_size(1, 2))); /* checks n*size */
void *oct_realloc(void *p, size_t size) __attribute__((alloc_size(2)));
/* n*size checked for overflow; p stays valid on failure. */
void *oct_realloc_array(void *p, size_t n, size_t size) __attribute__((alloc_size(2, 3)));
void *oct_aligned_alloc(size_t align, size_t size) __attribute__((malloc, alloc_size(2)));
char *oct_strdup(const char *s);
char *oct_strndup(const char *s, size_t len); /* copies exactly len bytes and ends with NUL */
void oct_free(void *p);

/* OCT_FAIL(OCT_E_MEM) with "cannot allocate N bytes for <what>". */
oct_status oct_no_memory(const char *what, size_t bytes);

struct oct_mem_stats {
    uint64_t n_allocs; /* successful allocations and reallocations since start */
    uint64_t n_frees;
};
/* Process-wide, relaxed; for tests and for `info`. */
struct oct_mem_stats oct_mem_stats(void);

/* True and *out set if a op b fits in 64 bits. Sizes out of files use these and nothing else. */
static inline bool oct_u64_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool oct_u64_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* An arena: many small objects of one lifetime, freed together. Initialise with {0}; not shared
 * between threads. */
struct oct_arena {
    struct oct_arena_chunk *head; /* owned */
    size_t used_bytes;            /* handed out so far */
};
/* Zeroed memory aligned to 16, or NULL. */
void *oct_arena_alloc(struct oct_arena *a, size_t size);
char *oct_arena_strndup(struct oct_arena *a, const char *s, size_t len);
void oct_arena_free(struct oct_arena *a); /* back to {0} */

/* A growable byte buffer. Initialise with {.max_bytes = limit}; data is NUL-terminated whenever it
 * is not NULL (the NUL is not counted). Fails with OCT_E_LIMIT over max_bytes. */
struct oct_buf {
    char *data; /* owned */
    size_t len, cap;
    size_t max_bytes; /* 0: no limit of its own */
};
OCT_CHECKED oct_status oct_buf_append(struct oct_buf *b, const void *data, size_t len);
OCT_CHECKED oct_status oct_buf_printf(struct oct_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
OCT_CHECKED oct_status oct_buf_reserve(struct oct_buf *b, size_t extra);
void oct_buf_clear(struct oct_buf *b); /* keeps the memory */
void oct_buf_free(struct oct_buf *b);  /* back to empty, limit kept */

#endif
