// SPDX-License-Identifier: Apache-2.0
//
// fatbin.c - see fatbin.h. Layout, as nvcc 13.0 writes it:
//
//     wrapper   u32 0x466243B1, u32 version, u64 address of the container, u64 file name
//     container u32 0xBA55ED50, u16 version, u16 header bytes, u64 bytes of all entries
//     entry     u16 kind (1 PTX, 2 ELF), u16 version, u32 header bytes, u64 payload bytes (padded),
//               u32 compressed bytes, u32, u16 minor, u16 major, u32 sm, u32, u32,
//               u64 flags (0x8000 zstd, 0x2000 lz4), u64, u64 bytes when decompressed
#include "bytes.h"
#include "fatbin.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { KIND_PTX = 1, KIND_ELF = 2, FLAG_LZ4 = 0x2000, FLAG_ZSTD = 0x8000, ENTRY_MIN = 64 };
#define MAGIC_CONTAINER 0xBA55ED50u
#define MAGIC_WRAPPER 0x466243B1u
#define MAX_IMAGE_BYTES (UINT64_C(256) << 20)

static enum vg_image bad(char *err, size_t n, const char *why)
{
    snprintf(err, n, "%s", why);
    return VG_IMAGE_BAD;
}

static enum vg_image unpack(const uint8_t *payload, uint64_t bytes, uint64_t flags,
                            uint64_t unpacked, char **out, size_t *out_bytes, char *err, size_t n)
{
    bool packed = (flags & FLAG_ZSTD) != 0;
    uint64_t size = packed ? unpacked : bytes;
    if ((flags & FLAG_LZ4) != 0) {
        return bad(err, n, "the fat binary is compressed with LZ4; nvcc 13 and later use zstd");
    }
    if (size == 0 || size > MAX_IMAGE_BYTES) {
        return bad(err, n, "an entry of the fat binary has an impossible size");
    }
    char *text = malloc(size + 1);
    if (text == NULL) {
        return VG_IMAGE_MEMORY;
    }
    if (!packed) {
        memcpy(text, payload, size);
    } else {
        size_t got = ZSTD_decompress(text, size, payload, bytes);
        if (ZSTD_isError(got) || got != size) {
            free(text);
            return bad(err, n, "a compressed entry of the fat binary is damaged");
        }
    }
    text[size] = 0;
    *out = text;
    *out_bytes = size;
    return VG_IMAGE_OK;
}

// PTX of the same or an older target runs; machine code only within a generation.
static bool suits(const uint8_t *e, unsigned kind, unsigned cc)
{
    uint32_t sm = vg_u32(e + 28);
    return vg_u16(e) == kind && sm <= cc && (kind == KIND_PTX || sm / 10 == cc / 10);
}

// The best entry of a kind, unpacked.
static enum vg_image from_container(const uint8_t *p, uint64_t max, unsigned kind, unsigned cc,
                                    char **out, size_t *out_bytes, char *err, size_t n)
{
    uint64_t header = vg_u16(p + 6), body = vg_u64(p + 8);
    if (header < 16 || header > max || body > max - header) {
        return bad(err, n, "the fat binary is cut short");
    }
    const uint8_t *best = NULL;
    uint64_t best_bytes = 0;
    uint32_t best_sm = 0;
    bool any_code = false;
    for (uint64_t at = header; at + ENTRY_MIN <= header + body;) {
        const uint8_t *e = p + at;
        uint64_t entry_header = vg_u32(e + 4), payload = vg_u64(e + 8), left = header + body - at;
        if (entry_header < ENTRY_MIN || entry_header > left || payload > left - entry_header) {
            return bad(err, n, "an entry of the fat binary is cut short");
        }
        uint32_t packed = vg_u32(e + 16), sm = vg_u32(e + 28);
        if (packed > payload) {
            return bad(err, n, "an entry of the fat binary is damaged");
        }
        any_code = true;
        if (suits(e, kind, cc) && sm >= best_sm) {
            best = e;
            best_sm = sm;
            best_bytes = (vg_u64(e + 40) & FLAG_ZSTD) != 0 && packed != 0 ? packed : payload;
        }
        at += entry_header + payload;
    }
    if (best == NULL) {
        snprintf(err, n,
                 "the fat binary holds no PTX for compute capability %u.%u%s; build with "
                 "-gencode arch=compute_%u,code=compute_%u",
                 cc / 10, cc % 10, any_code ? " (machine code cannot be executed here)" : "", cc,
                 cc);
        return VG_IMAGE_NO_PTX;
    }
    return unpack(best + vg_u32(best + 4), best_bytes, vg_u64(best + 40), vg_u64(best + 56), out,
                  out_bytes, err, n);
}

// PTX text is told by its first bytes, so that no short text is read past its end.
static bool is_container(const uint8_t *p)
{
    return p[0] == 0x50 && p[1] == 0xED && p[2] == 0x55 && p[3] == 0xBA;
}

static bool is_wrapper(const uint8_t *p)
{
    return p[0] == 0xB1 && p[1] == 0x43 && p[2] == 0x62 && p[3] == 0x46;
}

static const uint8_t *container_of(const uint8_t *p, uint64_t *max)
{
    if (!is_wrapper(p)) {
        return p;
    }
    const uint8_t *inner = (const uint8_t *)(uintptr_t)vg_u64(p + 8);
    *max = UINT64_C(1) << 40;
    return inner != NULL && vg_u32(inner) == MAGIC_CONTAINER ? inner : NULL;
}

enum vg_image vg_fatbin_ptx(const void *image, size_t max_bytes, unsigned cc, char **ptx,
                            size_t *ptx_bytes, char *err, size_t err_bytes)
{
    const uint8_t *p = image;
    uint64_t max = max_bytes > 0 ? max_bytes : UINT64_C(1) << 40;
    if (max < 16) {
        return bad(err, err_bytes, "the image is too short");
    }
    if (is_container(p) || is_wrapper(p)) {
        p = container_of(p, &max);
        if (p == NULL) {
            return bad(err, err_bytes, "the wrapper does not lead to a fat binary");
        }
        enum vg_image r = from_container(p, max, KIND_PTX, cc, ptx, ptx_bytes, err, err_bytes);
        if (r == VG_IMAGE_OK) {
            *ptx_bytes = strlen(*ptx); // padding and the final NUL are not text
        }
        return r;
    }
    if (p[0] == 0x7F && p[1] == 'E' && p[2] == 'L' && p[3] == 'F') {
        snprintf(err, err_bytes, "a cubin holds machine code only, which cannot be executed here");
        return VG_IMAGE_NO_PTX;
    }
    size_t n = strnlen((const char *)p, max);
    if (n == 0 || n > MAX_IMAGE_BYTES || strstr((const char *)p, ".version") == NULL) {
        return bad(err, err_bytes, "the image is neither a fat binary nor PTX text");
    }
    *ptx = malloc(n + 1);
    if (*ptx == NULL) {
        return VG_IMAGE_MEMORY;
    }
    memcpy(*ptx, p, n);
    (*ptx)[n] = 0;
    *ptx_bytes = n;
    return VG_IMAGE_OK;
}

bool vg_fatbin_elf(const void *image, unsigned cc, uint8_t **elf, size_t *bytes)
{
    const uint8_t *p = image;
    uint64_t max = UINT64_C(1) << 40;
    if (!is_container(p) && !is_wrapper(p)) {
        return false;
    }
    char *out = NULL, err[128];
    p = container_of(p, &max);
    if (p == NULL ||
        from_container(p, max, KIND_ELF, cc, &out, bytes, err, sizeof err) != VG_IMAGE_OK) {
        return false;
    }
    *elf = (uint8_t *)out;
    return true;
}
