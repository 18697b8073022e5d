// SPDX-License-Identifier: Apache-2.0
//
// cubin.c - see cubin.h. A cubin is an ELF64 file. Its section .nv.info is a list of attributes
// (u8 format, u8 attribute, u16 value; format 4: so many bytes follow) whose payload is a symbol
// index and a number. Learnt by comparing files with what `ptxas -v` says.
#include "bytes.h"
#include "cubin.h"

#include <string.h>

enum {
    EHDR_BYTES = 64,
    SHDR_BYTES = 64,
    SYM_BYTES = 24,
    SHT_SYMTAB = 2,
    ATTR_MIN_STACK = 0x12,
    ATTR_REGS = 0x2F,
    FORMAT_PAYLOAD = 4
};

struct elf {
    const uint8_t *p;
    uint64_t bytes;
};

struct section {
    uint32_t name, type, link;
    uint64_t offset, bytes;
};

static bool section_at(const struct elf *e, unsigned i, struct section *out)
{
    uint64_t table = vg_u64(e->p + 40), at = table + (uint64_t)i * SHDR_BYTES;
    if (i >= vg_u16(e->p + 60) || table > e->bytes || at > e->bytes - SHDR_BYTES) {
        return false;
    }
    const uint8_t *h = e->p + at;
    *out =
        (struct section){vg_u32(h), vg_u32(h + 4), vg_u32(h + 40), vg_u64(h + 24), vg_u64(h + 32)};
    return out->offset <= e->bytes && out->bytes <= e->bytes - out->offset;
}

// Whether the string at `offset` of a string section is `want`.
static bool named(const struct elf *e, const struct section *strings, uint64_t offset,
                  const char *want)
{
    size_t n = strlen(want) + 1;
    return offset <= strings->bytes && n <= strings->bytes - offset &&
           memcmp(e->p + strings->offset + offset, want, n) == 0;
}

bool vg_cubin_usage(const uint8_t *elf, size_t bytes, const char *kernel, uint32_t *regs,
                    uint32_t *stack)
{
    const struct elf e = {elf, bytes};
    if (bytes < EHDR_BYTES + SHDR_BYTES || memcmp(elf, "\177ELF\2\1", 6) != 0 ||
        vg_u16(elf + 58) != SHDR_BYTES) {
        return false;
    }
    struct section s, names, info = {0}, symbols = {0}, strings;
    bool has_info = false, has_symbols = false;
    if (!section_at(&e, vg_u16(elf + 62), &names)) {
        return false;
    }
    for (unsigned i = 0; i < vg_u16(elf + 60); i++) {
        if (!section_at(&e, i, &s)) {
            continue; // sections without bytes in the file may claim any
        }
        if (s.type == SHT_SYMTAB) {
            symbols = s;
            has_symbols = true;
        } else if (named(&e, &names, s.name, ".nv.info")) {
            info = s;
            has_info = true;
        }
    }
    if (!has_info || !has_symbols || !section_at(&e, symbols.link, &strings)) {
        return false;
    }
    bool found = false;
    *stack = 0;
    for (uint64_t at = info.offset, end = info.offset + info.bytes; end - at >= 4;) {
        const uint8_t *a = elf + at;
        uint64_t payload = a[0] == FORMAT_PAYLOAD ? vg_u16(a + 2) : 0;
        at += 4;
        if (payload > end - at) {
            break;
        }
        at += payload;
        if (payload != 8 || (a[1] != ATTR_REGS && a[1] != ATTR_MIN_STACK) ||
            vg_u32(a + 4) >= symbols.bytes / SYM_BYTES) {
            continue;
        }
        const uint8_t *sym = elf + symbols.offset + (uint64_t)vg_u32(a + 4) * SYM_BYTES;
        if (!named(&e, &strings, vg_u32(sym), kernel)) {
            continue;
        }
        if (a[1] == ATTR_REGS) {
            *regs = vg_u32(a + 8);
            found = *regs > 0 && *regs <= 256;
        } else {
            *stack = vg_u32(a + 8);
        }
    }
    return found;
}
