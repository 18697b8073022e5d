// SPDX-License-Identifier: Apache-2.0
// vgt.h - tests that run PTX through vg_launch_run: memory, modules, launches, findings in one line
// each.
#ifndef VG_VGT_H
#define VG_VGT_H

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exec.h"
#include "mem.h"
#include "report.h"
#include "tma.h"

static uint64_t vgt_rng = 88172645463325252ull;
static inline uint32_t vgt_random(void)
{
    vgt_rng ^= vgt_rng << 13;
    vgt_rng ^= vgt_rng >> 7;
    vgt_rng ^= vgt_rng << 17;
    return (uint32_t)(vgt_rng >> 32);
}

static inline void vgt_open(void)
{
    cr_assert(vg_mem_init(0, 1u << 30), "no arena");
    vg_findings_print(getenv("VGT_PRINT") != NULL);
    vg_findings_clear();
}

static inline uint64_t vgt_mem(const void *data, uint64_t bytes)
{
    uint64_t p = vg_mem_alloc(0, bytes, 256, "test buffer");
    cr_assert(p != 0, "out of device memory");
    if (data) {
        cr_assert(vg_mem_host_write(p, data, bytes));
    }
    return p;
}

// Keeps the text under $VGT_PTX, named by its contents (assemble.sh gives it to ptxas).
static inline void vgt_keep(const char *ptx)
{
    char path[4096];
    uint64_t hash = 14695981039346656037ull;
    for (const char *p = ptx; *p; p++) {
        hash = (hash ^ (unsigned char)*p) * 1099511628211ull;
    }
    snprintf(path, sizeof(path), "%s/%016llx.ptx", getenv("VGT_PTX"), (unsigned long long)hash);
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs(ptx, f) >= 0 && fclose(f) == 0, "cannot write %s", path);
}

static inline struct vg_module *vgt_load(const char *ptx)
{
    if (getenv("VGT_PTX")) {
        vgt_keep(ptx);
    }
    char err[512] = "";
    struct vg_module *m = vg_module_load(ptx, strlen(ptx), 0, err, sizeof(err));
    cr_assert(m != NULL, "module: %s\n%s", err, ptx);
    return m;
}

static inline char *vgt_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "cannot open %s", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *s = malloc((size_t)n + 1);
    cr_assert(s != NULL && fread(s, 1, (size_t)n, f) == (size_t)n);
    s[n] = 0;
    fclose(f);
    return s;
}

struct vgt_run {
    unsigned grid, block, cluster;
    uint32_t smem;
    uint64_t seed;
    unsigned checks;
};

static inline enum vg_result vgt_try(struct vg_module *m, const char *name, struct vgt_run r,
                                     const void *params, size_t bytes, char *err)
{
    const struct vg_kernel *k = vg_module_kernel(m, name);
    cr_assert(k != NULL, "no kernel %s", name);
    struct vg_launch l = {.kernel = k,
                          .device = 0,
                          .grid = {r.grid ? r.grid : 1, 1, 1},
                          .block = {r.block ? r.block : 32, 1, 1},
                          .dynamic_smem_bytes = r.smem,
                          .params = params,
                          .param_bytes = bytes,
                          .seed = r.seed,
                          .checks = r.checks};
    if (r.cluster) {
        l.cluster[0] = r.cluster;
        l.cluster[1] = l.cluster[2] = 1;
    }
    struct vg_launch_stats st = {0};
    enum vg_result res = vg_launch_run(&l, &st);
    memcpy(err, st.err, sizeof(st.err));
    return res;
}

static inline void vgt_print_findings(void)
{
    for (unsigned i = 0; i < vg_findings(); i++) {
        const struct vg_finding_rec *f = vg_finding_at(i);
        fprintf(stderr, "  %s: %s (%s:%u, PTX line %u, warp %u lane %d)\n", vg_kind_name(f->kind),
                f->message, f->where.file ? f->where.file : "?", f->where.line, f->where.ptx_line,
                f->where.warp, f->where.lane);
    }
}

// Runs and expects success without a finding.
static inline void vgt_ok(struct vg_module *m, const char *name, struct vgt_run r,
                          const void *params, size_t bytes)
{
    char err[256];
    enum vg_result res = vgt_try(m, name, r, params, bytes, err);
    if (res != VG_OK || vg_findings()) {
        vgt_print_findings();
    }
    cr_assert(res == VG_OK, "%s: result %d, %s", name, res, err);
    cr_assert(vg_findings() == 0, "%s: %u findings", name, vg_findings());
}

static inline void vgt_get(void *dst, uint64_t src, uint64_t bytes)
{
    cr_assert(vg_mem_host_read(dst, src, bytes, NULL));
}

#endif
