// SPDX-License-Identifier: Apache-2.0
// report.h - findings of the virtual GPU: what was wrong, in which kernel, at which source line, in
// which CTA, warp and lane. Findings are sticky for the process, counted, deduplicated per (kind,
// kernel, PTX line), printed to stderr once and written as JSON to $VGPU_REPORT at exit.
// All functions may be called from any thread.
#ifndef VG_REPORT_H
#define VG_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// clang-format off
#define VG_KIND_MAP(X)                                                                             \
    X(OUT_OF_BOUNDS,     "out-of-bounds",      "address outside every live allocation")            \
    X(USE_AFTER_FREE,    "use-after-free",     "address inside a freed allocation")                \
    X(MISALIGNED,        "misaligned",         "address not a multiple of the access size")        \
    X(UNINITIALISED,     "uninitialised",      "memory or register read before it was written")    \
    X(SHARED_RACE,       "shared-race",        "two warps touch a shared word without a barrier")  \
    X(WARP_RACE,         "warp-race",          "two lanes of a warp without __syncwarp between")   \
    X(GLOBAL_RACE,       "global-race",        "two CTAs of one launch touch a word unordered")    \
    X(NC_LOAD,           "nc-load",            "ld.global.nc of a word written in this launch")    \
    X(IN_FLIGHT_READ,    "in-flight-read",     "result of an asynchronous copy used before wait")  \
    X(IN_FLIGHT_WRITE,   "in-flight-write",    "memory of an asynchronous operation overwritten")  \
    X(PROXY_FENCE,       "proxy-fence",        "generic write not fenced before async-proxy use")  \
    X(ASYNC_EXIT,        "async-exit",         "exit with transfers in flight")                    \
    X(ASYNC_ARGUMENT,    "async-argument",     "asynchronous copy with illegal size or alignment") \
    X(TENSORMAP,         "tensormap",          "tensor map not valid, or not fenced")              \
    X(MBARRIER,          "mbarrier",           "mbarrier misused")                                 \
    X(WGMMA_FENCE,       "wgmma-fence",        "registers of wgmma touched without wgmma.fence")   \
    X(WGMMA_IN_FLIGHT,   "wgmma-in-flight",    "registers of an unfinished wgmma touched")         \
    X(WGMMA_ARGUMENT,    "wgmma-argument",     "matrix descriptor not valid")                      \
    X(BARRIER,           "barrier",            "barrier misuse or divergence")                     \
    X(COLLECTIVE,        "collective",         "warp collective with a missing lane")              \
    X(DEADLOCK,          "deadlock",           "no warp can run")                                  \
    X(TRAP,              "trap",               "trap or failed assert")                            \
    X(STREAM_ORDER,      "stream-order",       "host or stream touched memory too early")          \
    X(CAPTURE,           "capture",            "call not allowed while a stream is captured")      \
    X(API,               "api",                "driver API misuse")                                \
    X(NO_INSTRUCTION,      "unsupported",        "instruction that the virtual GPU does not know")
// clang-format on

enum vg_kind {
#define VG_X(name, text, help) VG_##name,
    VG_KIND_MAP(VG_X)
#undef VG_X
        VG_KIND_COUNT
};

// Where a finding was made. Unknown text is NULL, unknown lines 0, unknown lane -1.
struct vg_where {
    const char *kernel, *file; // borrowed for the call
    unsigned line, ptx_line;   // .loc line of the CUDA source; line of the PTX text
    unsigned cta[3], warp;
    int lane;
};

struct vg_finding_rec {
    enum vg_kind kind;
    struct vg_where where; // strings owned by the record
    char *message;
    uint64_t count; // how often this kind was met at this PTX line
};

// w may be NULL for findings of the host side. Counted every time, recorded and printed once per
// place.
void vg_finding(enum vg_kind kind, const struct vg_where *w, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// Number of distinct records; a record stays valid until vg_findings_clear.
unsigned vg_findings(void);
const struct vg_finding_rec *vg_finding_at(unsigned i);
void vg_findings_clear(void);

// Tests switch the printing off (default on).
void vg_findings_print(bool on);

const char *vg_kind_name(enum vg_kind kind);

// Writes {"findings": [...]} to f, as $VGPU_REPORT receives it.
void vg_findings_json(FILE *f);

#endif
