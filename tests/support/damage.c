/* SPDX-License-Identifier: Apache-2.0 */
#include "support/damage.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run {
    const struct oct_damage *d;
    int fd;
    uint8_t *header;     /* as it should be */
    uint64_t file_bytes; /* as it should be */
    size_t seen;
};

static bool is_due(struct run *r)
{
    return r->seen++ % r->d->stride == 0;
}

static void put(const struct run *r, size_t at, const void *data, size_t len)
{
    const ssize_t n = pwrite(r->fd, data, len, (off_t)at);
    OCT_ASSERT(n == (ssize_t)len);
}

/* Writes len bytes at `at`, calls fn, puts the old ones back. */
static bool replaced(struct run *r, size_t at, const void *data, size_t len, const char *what)
{
    if (!memcmp(r->header + at, data, len) || !is_due(r)) {
        return false;
    }
    put(r, at, data, len);
    r->d->fn(r->d->user, what);
    put(r, at, r->header + at, len);
    return true;
}

static bool cut(struct run *r, uint64_t at)
{
    if (at >= r->file_bytes || !is_due(r)) {
        return false;
    }
    char what[64];
    (void)snprintf(what, sizeof what, "cut at %" PRIu64, at);
    const size_t lost = (size_t)(r->file_bytes - at);
    uint8_t *rest = oct_malloc(lost);
    OCT_ASSERT(rest);
    const ssize_t n = pread(r->fd, rest, lost, (off_t)at);
    OCT_ASSERT(n == (ssize_t)lost);
    int failed = ftruncate(r->fd, (off_t)at);
    OCT_ASSERT(!failed);
    r->d->fn(r->d->user, what);
    put(r, (size_t)at, rest, lost);
    oct_free(rest);
    return true;
}

static const uint64_t extremes[] = {
    0,           1,           0x7fffffffu,         0x80000000u,
    0xffffffffu, 0x100000000, 0x7fffffffffffffffu, 0x8000000000000000u,
    ~0ull};

struct oct_damage_counts oct_damage_file(const struct oct_damage *d)
{
    struct oct_damage_counts counts = {0};
    struct run r = {.d = d};
    struct stat sb;
    char what[96];
    r.fd = open(d->path, O_RDWR | O_CLOEXEC);
    OCT_ASSERT(r.fd >= 0);
    int failed = fstat(r.fd, &sb);
    OCT_ASSERT(!failed);
    r.file_bytes = (uint64_t)sb.st_size;
    OCT_ASSERT(d->header_bytes <= r.file_bytes);
    r.header = oct_malloc(d->header_bytes);
    OCT_ASSERT(r.header);
    const ssize_t n = pread(r.fd, r.header, d->header_bytes, 0);
    OCT_ASSERT(n == (ssize_t)d->header_bytes);

    for (size_t at = 0; at < d->header_bytes; at++) {
        counts.cuts += cut(&r, at);
    }
    for (size_t i = 0; i < d->n_cuts; i++) {
        counts.cuts += cut(&r, d->cuts[i]);
    }
    for (size_t bit = 0; bit < 8 * d->header_bytes; bit++) {
        const uint8_t byte = (uint8_t)(r.header[bit / 8] ^ 1u << bit % 8);
        (void)snprintf(what, sizeof what, "bit %zu of byte %zu flipped", bit % 8, bit / 8);
        counts.flips += replaced(&r, bit / 8, &byte, 1, what);
    }
    for (size_t at = 0; at < d->header_bytes; at++) {
        for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
            (void)snprintf(what, sizeof what, "%" PRIu64 " at byte %zu", extremes[i], at);
            if (extremes[i] <= UINT32_MAX && at + 4 <= d->header_bytes) {
                counts.u32s += replaced(&r, at, &extremes[i], 4, what);
            }
            if (at + 8 <= d->header_bytes) {
                counts.u64s += replaced(&r, at, &extremes[i], 8, what);
            }
        }
    }
    (void)close(r.fd);
    oct_free(r.header);
    return counts;
}
