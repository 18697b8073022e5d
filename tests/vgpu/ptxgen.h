// SPDX-License-Identifier: Apache-2.0
// ptxgen.h - tests that write their PTX: one kernel "t", pointers as parameters.
#ifndef VG_PTXGEN_H
#define VG_PTXGEN_H

#include "vgt.h"

static char ptx[1 << 16];
static size_t used;

static void emit(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void emit(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(ptx + used, sizeof(ptx) - used, fmt, ap);
    va_end(ap);
    cr_assert(n >= 0 && used + (size_t)n < sizeof(ptx));
    used += (size_t)n;
}

// Kernel "t" with n pointers: %rd0.. point at this lane's `bytes[i]` bytes.
static inline void head(unsigned n, const unsigned *bytes)
{
    used = 0;
    emit(".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry t(");
    for (unsigned i = 0; i < n; i++) {
        emit("%s.param .u64 p%u", i ? ", " : "", i);
    }
    emit(")\n{\n.reg .b32 %%r<400>;\n.reg .b64 %%rd<60>;\n.reg .pred %%p<4>;\n");
    emit(".shared .align 1024 .b8 sm[40960];\nmov.u32 %%r399, %%tid.x;\n");
    for (unsigned i = 0; i < n; i++) {
        emit("ld.param.u64 %%rd%u, [p%u];\nmul.wide.u32 %%rd59, %%r399, %u;\n", i, i, bytes[i]);
        emit("add.s64 %%rd%u, %%rd%u, %%rd59;\n", i, i);
    }
}

static inline void list(const char *reg, unsigned first, unsigned n)
{
    emit("{");
    for (unsigned i = 0; i < n; i++) {
        emit("%s%%%s%u", i ? ", " : "", reg, first + i);
    }
    emit("}");
}

#endif
