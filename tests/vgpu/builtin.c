// SPDX-License-Identifier: Apache-2.0
#include "builtin.h"

#include <stdio.h>
#include <string.h>

#include "exec.h"
#include "mem.h"

enum { MAX_TEXT = 4096 };

static uint64_t arg64(const struct vg_warp *w, unsigned lane, uint32_t at)
{
    uint64_t v;
    memcpy(&v, vg_param_ptr(w, lane, w->depth) + at, 8);
    return v;
}
static void put(const struct vg_warp *w, unsigned lane, const uint32_t *ret, const void *v,
                size_t n)
{
    if (ret) {
        memcpy(vg_param_ptr(w, lane, w->depth) + ret[0], v, n);
    }
}

// A string of device memory; false: it runs into memory that is not there.
static bool text_at(struct vg_warp *w, uint64_t addr, unsigned lane, char *out, size_t max)
{
    for (size_t i = 0; i + 1 < max; i++) {
        const uint8_t *p = vg_host_ptr(w, addr + i, 1, lane);
        if (!p) {
            return false;
        }
        out[i] = (char)*p;
        if (!*p) {
            return true;
        }
    }
    out[max - 1] = 0;
    return true;
}

static int fault(struct vg_warp *w, unsigned lane, const char *what)
{
    struct vg_where at;
    vg_where_now(w, (int)lane, &at);
    vg_finding(VG_OUT_OF_BOUNDS, &at, "%s", what);
    return VG_STEP_FAULT;
}

struct args { // of one printf
    struct vg_warp *w;
    uint64_t at;
    unsigned lane;
    bool bad;
};
static uint64_t next_arg(struct args *a, unsigned bytes)
{
    a->at = (a->at + bytes - 1) & ~(uint64_t)(bytes - 1);
    const uint8_t *p = vg_host_ptr(a->w, a->at, bytes, a->lane);
    uint64_t v = 0;
    if (!p) {
        a->bad = true;
        return 0;
    }
    memcpy(&v, p, bytes);
    a->at += bytes;
    return v;
}

// One conversion "%...": its text by the host's printf with the argument's real type.
static int convert(struct args *a, const char *spec, size_t n, FILE *f)
{
    char fmt[40];
    if (n + 4 > sizeof(fmt)) {
        return -1;
    }
    char conv = spec[n - 1];
    size_t k = 0, longs = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        char c = spec[i];
        if (c == 'l' || c == 'j' || c == 'z' || c == 't') {
            longs++;
        } else if (c == '*') {
            int v = (int)next_arg(a, 4);
            k += (size_t)snprintf(fmt + k, 12, "%d", v);
        } else if (c != 'h' && c != 'L') {
            fmt[k++] = c;
        }
        if (k + 16 > sizeof(fmt)) {
            return -1;
        }
    }
    if (strchr("diuoxXc", conv)) {
        bool wide = longs > 0 && conv != 'c';
        fmt[k++] = 'l';
        fmt[k++] = 'l';
        uint64_t v = next_arg(a, wide ? 8 : 4);
        if (conv == 'c') {
            k -= 2;
            fmt[k++] = 'c';
            fmt[k] = 0;
            return fprintf(f, fmt, (int)v);
        }
        fmt[k++] = conv;
        fmt[k] = 0;
        bool is_signed = conv == 'd' || conv == 'i';
        long long s = wide ? (long long)v : (long long)(int32_t)(uint32_t)v;
        return is_signed ? fprintf(f, fmt, s) : fprintf(f, fmt, (unsigned long long)v);
    }
    fmt[k++] = conv;
    fmt[k] = 0;
    uint64_t v = next_arg(a, 8);
    if (strchr("fFeEgGaA", conv)) {
        double d;
        memcpy(&d, &v, 8);
        return fprintf(f, fmt, d);
    }
    if (conv == 'p') {
        return fprintf(f, "0x%llx", (unsigned long long)v);
    }
    if (conv == 's') {
        char text[MAX_TEXT];
        if (v == 0) {
            return fprintf(f, "(null)");
        }
        if (!text_at(a->w, v, a->lane, text, sizeof(text))) {
            a->bad = true;
            return 0;
        }
        return fprintf(f, fmt, text);
    }
    return -1;
}

static int do_printf(struct vg_warp *w, const uint32_t *arg, const uint32_t *ret, uint32_t m)
{
    flockfile(stdout);
    bool bad = false;
    unsigned lane = 0;
    for (; m && !bad; m &= m - 1) {
        char fmt[MAX_TEXT];
        lane = vg_first(m);
        struct args a = {.w = w, .at = arg64(w, lane, arg[1]), .lane = lane};
        bad = !text_at(w, arg64(w, lane, arg[0]), lane, fmt, sizeof(fmt));
        int32_t total = 0;
        for (const char *p = fmt; !bad && *p;) {
            if (*p != '%' || p[1] == '%') {
                p += *p == '%';
                putchar(*p++);
                total++;
                continue;
            }
            size_t n = 1 + strspn(p + 1, "-+ #0123456789.*hljztL");
            n += p[n] != 0;
            total += convert(&a, p, n, stdout);
            p += n;
        }
        bad |= a.bad;
        put(w, lane, ret, &total, 4);
    }
    funlockfile(stdout);
    return bad ? fault(w, lane, "printf reads memory that is not there") : VG_STEP_DONE;
}

// __assertfail(message, file, line, function, char size)
static int do_assert(struct vg_warp *w, const uint32_t *arg, const uint32_t *ret, uint32_t m)
{
    (void)ret;
    unsigned lane = vg_first(m);
    char message[MAX_TEXT] = "", file[512] = "";
    text_at(w, arg64(w, lane, arg[0]), lane, message, sizeof(message));
    text_at(w, arg64(w, lane, arg[1]), lane, file, sizeof(file));
    unsigned line = (unsigned)(arg64(w, lane, arg[2]) & 0xffffffff);
    struct vg_where at;
    vg_where_now(w, (int)lane, &at);
    vg_finding(VG_TRAP, &at, "assertion `%s` failed at %s:%u, thread (%u, %u, %u)", message, file,
               line, w->tid[0][lane], w->tid[1][lane], w->tid[2][lane]);
    return VG_STEP_FAULT;
}

static int do_malloc(struct vg_warp *w, const uint32_t *arg, const uint32_t *ret, uint32_t m)
{
    for (; m; m &= m - 1) {
        unsigned lane = vg_first(m);
        uint64_t p = vg_mem_alloc(w->cta->grid->launch->device, arg64(w, lane, arg[0]), 256,
                                  "device malloc");
        put(w, lane, ret, &p, 8);
    }
    return VG_STEP_DONE;
}

static int do_free(struct vg_warp *w, const uint32_t *arg, const uint32_t *ret, uint32_t m)
{
    (void)ret;
    for (; m; m &= m - 1) {
        unsigned lane = vg_first(m);
        uint64_t p = arg64(w, lane, arg[0]);
        if (p && !vg_mem_free(p)) {
            return fault(w, lane, "free of what malloc did not give");
        }
    }
    return VG_STEP_DONE;
}

const struct vg_builtin vg_builtins[] = {{"vprintf", do_printf, 2},
                                         {"__assertfail", do_assert, 5},
                                         {"malloc", do_malloc, 1},
                                         {"free", do_free, 1},
                                         {0}};
