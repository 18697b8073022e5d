/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_memory.c - device memory (one allocation, given out in blocks), pinned host memory, copies.
 */
#include "device/cuda_device.h"

#include "base/mem.h"

#include <string.h>

enum {
    ALIGN = 256,
    FIRST_BLOCKS = 64,
    STAGING_BYTES = 16 << 20, /* 0.7 ms at 25 GB/s: long beside what one copy costs to start */
    COPY_PIECE = 1 << 20,     /* of host memory, per turn of a thread */
};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- the arena ---- */

static oct_status no_room(const struct oct_cuda *c, uint64_t bytes)
{
    return OCT_FAIL(OCT_E_MEM,
                    "cuda:%d: cannot allocate %llu bytes of device memory; of its %llu bytes %llu "
                    "were free when it was opened",
                    c->ordinal, (unsigned long long)bytes, (unsigned long long)c->dev.memory_bytes,
                    (unsigned long long)c->dev.free_bytes);
}

oct_status oct_cuda_reserve(struct oct_device *d, uint64_t bytes)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(!c->arena.base && bytes > 0);
    OCT_TRY(oct_cuda_enter(c));
    if (bytes > d->memory_bytes) {
        return no_room(c, bytes);
    }
    bytes = round_up(bytes);
    struct oct_cuda_block *blocks = oct_malloc(FIRST_BLOCKS * sizeof *blocks);
    if (!blocks) {
        return oct_no_memory("blocks of device memory", FIRST_BLOCKS * sizeof *blocks);
    }
    const oct_cu_result r = c->cu->mem_alloc(&c->arena.base, bytes);
    if (r != OCT_CU_OK) {
        c->arena.base = 0;
        oct_free(blocks);
        return r == OCT_CU_OUT_OF_MEMORY ? no_room(c, bytes) : oct_cuda_die(c, r, "cuMemAlloc");
    }
    blocks[0] = (struct oct_cuda_block){.at = c->arena.base, .bytes = bytes};
    c->arena.blocks = blocks;
    c->arena.n_blocks = 1;
    c->arena.cap = FIRST_BLOCKS;
    c->counts.reserved_bytes = bytes;
    return OCT_OK;
}

/* Makes room for one more block behind block i. */
static oct_status insert_after(struct oct_cuda_arena *a, size_t i)
{
    if (a->n_blocks == a->cap) {
        struct oct_cuda_block *grown = oct_realloc_array(a->blocks, 2 * a->cap, sizeof *grown);
        if (!grown) {
            return oct_no_memory("blocks of device memory", 2 * a->cap * sizeof *grown);
        }
        a->blocks = grown;
        a->cap *= 2;
    }
    memmove(a->blocks + i + 2, a->blocks + i + 1, (a->n_blocks - i - 1) * sizeof *a->blocks);
    a->n_blocks++;
    return OCT_OK;
}

oct_status oct_cuda_take(struct oct_cuda *c, uint64_t bytes, k_ptr *out)
{
    struct oct_cuda_arena *a = &c->arena;
    OCT_ASSERT(a->base);
    uint64_t left = 0;
    if (bytes <= c->counts.reserved_bytes) {
        bytes = bytes ? round_up(bytes) : ALIGN;
        for (size_t i = 0; i < a->n_blocks; i++) {
            const struct oct_cuda_block b = a->blocks[i];
            if (b.used || b.bytes < bytes) {
                left += b.used ? 0 : b.bytes;
                continue;
            }
            if (b.bytes > bytes) {
                OCT_TRY(insert_after(a, i));
                a->blocks[i + 1] = (struct oct_cuda_block){b.at + bytes, b.bytes - bytes, false};
            }
            a->blocks[i] = (struct oct_cuda_block){b.at, bytes, true};
            c->counts.used_bytes += bytes;
            *out = b.at;
            return OCT_OK;
        }
    }
    return OCT_FAIL(OCT_E_MEM,
                    "cuda:%d: cannot take %llu bytes: %llu of the %llu reserved are free",
                    c->ordinal, (unsigned long long)bytes, (unsigned long long)left,
                    (unsigned long long)c->counts.reserved_bytes);
}

oct_status oct_cuda_alloc(struct oct_device *d, size_t bytes, k_ptr *out)
{
    struct oct_cuda *c = oct_cuda_of(d);
    k_ptr p;
    OCT_ASSERT(!c->graphs.recording);
    OCT_TRY(oct_cuda_enter(c));
    OCT_TRY(oct_cuda_take(c, bytes, &p));
    if (bytes) {
        OCT_CU(c, memset_d8_async, p, 0, bytes, c->stream);
    }
    *out = p;
    return OCT_OK;
}

/* Joins block i + 1 to block i. */
static void join(struct oct_cuda_arena *a, size_t i)
{
    a->blocks[i].bytes += a->blocks[i + 1].bytes;
    a->n_blocks--;
    memmove(a->blocks + i + 1, a->blocks + i + 2, (a->n_blocks - i - 1) * sizeof *a->blocks);
}

void oct_cuda_free(struct oct_device *d, k_ptr p)
{
    struct oct_cuda *c = oct_cuda_of(d);
    struct oct_cuda_arena *a = &c->arena;
    size_t i = 0;
    while (i < a->n_blocks && a->blocks[i].at != p) {
        i++;
    }
    OCT_ASSERT(i < a->n_blocks && a->blocks[i].used);
    a->blocks[i].used = false;
    c->counts.used_bytes -= a->blocks[i].bytes;
    if (i + 1 < a->n_blocks && !a->blocks[i + 1].used) {
        join(a, i);
    }
    if (i > 0 && !a->blocks[i - 1].used) {
        join(a, i - 1);
    }
}

/* ---- pinned memory ---- */

static oct_status pin(struct oct_cuda *c, size_t bytes, void **out)
{
    const oct_cu_result r = c->cu->mem_host_alloc(out, bytes ? bytes : 1, OCT_CU_HOST_PORTABLE);
    if (r == OCT_CU_OUT_OF_MEMORY) {
        return OCT_FAIL(OCT_E_MEM, "cuda:%d: cannot pin %zu bytes of host memory", c->ordinal,
                        bytes);
    }
    return r == OCT_CU_OK ? OCT_OK : oct_cuda_die(c, r, "cuMemHostAlloc");
}

oct_status oct_cuda_host_alloc(struct oct_device *d, size_t bytes, void **out)
{
    struct oct_cuda *c = oct_cuda_of(d);
    void *p;
    OCT_TRY(oct_cuda_enter(c));
    OCT_TRY(pin(c, bytes, &p));
    memset(p, 0, bytes ? bytes : 1);
    *out = p;
    return OCT_OK;
}

void oct_cuda_host_free(struct oct_device *d, void *p)
{
    struct oct_cuda *c = oct_cuda_of(d);
    if (oct_cuda_drain(c)) { /* a copy may still be on its way; else it goes with the context */
        (void)c->cu->mem_free_host(p);
    }
}

static void close_staging(struct oct_cuda *c)
{
    struct oct_cuda_staging *s = &c->staging;
    for (int i = 0; i < 2; i++) {
        if (s->buffer[i]) {
            (void)c->cu->mem_free_host(s->buffer[i]);
        }
        if (s->sent[i]) {
            (void)c->cu->event_destroy(s->sent[i]);
        }
    }
    *s = (struct oct_cuda_staging){0};
}

static oct_status open_staging(struct oct_cuda *c, size_t bytes)
{
    struct oct_cuda_staging *s = &c->staging;
    OCT_CU(c, stream_synchronize, c->stream);
    close_staging(c);
    for (int i = 0; i < 2; i++) {
        OCT_TRY(pin(c, bytes, &s->buffer[i]));
        OCT_CU(c, event_create, &s->sent[i], OCT_CU_EVENT_NO_TIMING);
    }
    s->bytes = bytes;
    return OCT_OK;
}

oct_status oct_cuda_stage(struct oct_cuda *c, size_t bytes, void **buffer, size_t *room)
{
    struct oct_cuda_staging *s = &c->staging;
    OCT_ASSERT(!c->graphs.recording);
    if (bytes > s->bytes || !s->bytes) {
        OCT_TRY(open_staging(c, bytes > STAGING_BYTES ? bytes : STAGING_BYTES));
    }
    if (s->busy[s->next]) {
        OCT_CU(c, event_synchronize, s->sent[s->next]);
        s->busy[s->next] = false;
    }
    *buffer = s->buffer[s->next];
    *room = s->bytes;
    return OCT_OK;
}

oct_status oct_cuda_send(struct oct_cuda *c, k_ptr dst, size_t bytes)
{
    struct oct_cuda_staging *s = &c->staging;
    OCT_CU(c, memcpy_htod_async, dst, s->buffer[s->next], bytes, c->stream);
    OCT_CU(c, event_record, s->sent[s->next], c->stream);
    s->busy[s->next] = true;
    s->next ^= 1;
    return OCT_OK;
}

/* ---- copies ---- */

struct copy {
    char *dst;
    const char *src;
    size_t bytes;
};

static void copy_pieces(void *arg, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct copy *o = arg;
    const size_t from = (size_t)begin * COPY_PIECE, to = (size_t)end * COPY_PIECE;
    memcpy(o->dst + from, o->src + from, (to < o->bytes ? to : o->bytes) - from);
}

/* memcpy with the device's threads: one does not fill the bus, and `src` is often a file that is
 * read on the way. */
static void copy(struct oct_cuda *c, void *dst, const void *src, size_t bytes)
{
    oct_pool_run(c->dev.pool, INT32_MAX, (int64_t)((bytes + COPY_PIECE - 1) / COPY_PIECE), 1,
                 copy_pieces, &(struct copy){dst, src, bytes});
}

oct_status oct_cuda_upload(struct oct_device *d, k_ptr dst, const void *src, size_t bytes)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_TRY(oct_cuda_enter(c));
    for (size_t at = 0; at < bytes;) {
        void *buffer;
        size_t n;
        OCT_TRY(oct_cuda_stage(c, 1, &buffer, &n));
        n = bytes - at < n ? bytes - at : n;
        copy(c, buffer, (const char *)src + at, n);
        OCT_TRY(oct_cuda_send(c, dst + at, n));
        at += n;
    }
    return OCT_OK;
}

oct_status oct_cuda_download(struct oct_device *d, void *dst, k_ptr src, size_t bytes)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_TRY(oct_cuda_enter(c));
    for (size_t at = 0; at < bytes;) {
        void *buffer;
        size_t n;
        OCT_TRY(oct_cuda_stage(c, 1, &buffer, &n));
        n = bytes - at < n ? bytes - at : n;
        OCT_CU(c, memcpy_dtoh_async, buffer, src + at, n, c->stream);
        OCT_CU(c, stream_synchronize, c->stream);
        copy(c, (char *)dst + at, buffer, n);
        at += n;
    }
    return OCT_OK;
}

oct_status oct_cuda_put(struct oct_device *d, k_ptr dst, const void *src, size_t row_bytes,
                        size_t n_rows, size_t pitch)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(!c->graphs.recording && row_bytes <= pitch);
    OCT_TRY(oct_cuda_enter(c));
    if (n_rows == 1 || row_bytes == pitch) {
        OCT_CU(c, memcpy_htod_async, dst, src, row_bytes * n_rows, c->stream);
        return OCT_OK;
    }
    const struct oct_cu_copy_2d rows = {
        .src = {.memory = OCT_CU_MEMORY_HOST, .host = src, .pitch = pitch},
        .dst = {.memory = OCT_CU_MEMORY_DEVICE, .device = dst, .pitch = pitch},
        .width_bytes = row_bytes,
        .height = n_rows,
    };
    OCT_CU(c, memcpy_2d_async, &rows, c->stream);
    return OCT_OK;
}

oct_status oct_cuda_get(struct oct_device *d, void *dst, k_ptr src, size_t bytes)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(!c->graphs.recording);
    OCT_TRY(oct_cuda_enter(c));
    OCT_CU(c, memcpy_dtoh_async, dst, src, bytes, c->stream);
    return OCT_OK;
}

void oct_cuda_memory_close(struct oct_cuda *c)
{
    close_staging(c);
    if (c->arena.base) {
        (void)c->cu->mem_free(c->arena.base);
    }
}
