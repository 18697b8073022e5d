// SPDX-License-Identifier: Apache-2.0
// Tensor copies of 1 to 5 dimensions with every swizzle and fill, their reductions and multicast;
// bulk copies and reductions.
#include <math.h>

#include "ptxgen.h"

struct shape {
    unsigned rank, type, swizzle, fill;
    uint64_t dim[5];
    uint32_t box[5], step[5];
    int32_t at[5];
};
// Dimension 0 first. Boxes hang over every edge.
static const struct shape shapes[] = {
    {1, VG_TM_F32, 0, 0, {100}, {64}, {1}, {60}},
    {1, VG_TM_BF16, 0, 1, {100}, {64}, {1}, {-7}},
    {1, VG_TM_U8, 0, 0, {300}, {256}, {1}, {0}},
    {2, VG_TM_BF16, 3, 0, {200, 30}, {64, 16}, {1, 1}, {160, 20}},
    {2, VG_TM_F16, 2, 1, {200, 30}, {32, 8}, {1, 1}, {-8, -3}},
    {2, VG_TM_U8, 1, 0, {200, 30}, {32, 32}, {1, 1}, {100, 5}},
    {2, VG_TM_F32, 3, 1, {64, 64}, {32, 24}, {1, 1}, {32, 50}},
    {2, VG_TM_S32, 0, 0, {64, 64}, {20, 9}, {1, 3}, {50, 40}},
    {3, VG_TM_BF16, 3, 0, {64, 12, 5}, {64, 8, 3}, {1, 1, 1}, {0, 8, 3}},
    {3, VG_TM_F64, 2, 1, {16, 6, 4}, {8, 4, 2}, {1, 2, 1}, {12, 1, 3}},
    {4, VG_TM_U16, 1, 0, {32, 5, 4, 3}, {16, 3, 2, 2}, {1, 1, 1, 2}, {20, 3, -1, 1}},
    {5, VG_TM_U32, 0, 0, {16, 4, 3, 3, 3}, {8, 3, 2, 2, 2}, {1, 1, 1, 1, 1}, {10, 2, 2, -1, 2}},
    // Rows narrower than the swizzle: each takes its full width.
    {2, VG_TM_BF16, 3, 0, {200, 30}, {24, 16}, {1, 1}, {160, 20}},
    {2, VG_TM_U8, 2, 0, {200, 30}, {16, 12}, {1, 1}, {100, 5}},
    {3, VG_TM_F32, 3, 1, {64, 12, 5}, {16, 6, 3}, {1, 1, 1}, {56, 8, 3}},
    {5, VG_TM_U8, 3, 0, {256, 3, 3, 2, 2}, {128, 2, 2, 2, 2}, {1, 1, 1, 1, 1}, {128, 2, 0, 1, 1}},
};

struct layout {
    unsigned elem;
    uint64_t stride[4], total;
    uint32_t bytes;       // of the box
    uint32_t pitch, span; // of a row, of the box in shared memory
};

static struct layout lay(const struct shape *s)
{
    struct layout y = {.elem = vg_tensormap_elem_bytes(s->type)};
    y.total = s->dim[0] * y.elem;
    y.bytes = s->box[0] * y.elem;
    y.pitch = s->swizzle ? 16u << s->swizzle : y.bytes;
    for (unsigned d = 1; d < s->rank; d++) {
        y.total = (y.total + 31) / 16 * 16; // a gap after each row
        y.stride[d - 1] = y.total;
        y.total *= s->dim[d];
        y.bytes *= (s->box[d] + s->step[d] - 1) / s->step[d];
    }
    y.span = y.bytes / (s->box[0] * y.elem) * y.pitch;
    return y;
}

static uint64_t make_map(const struct shape *s, const struct layout *y, uint64_t base)
{
    struct vg_tensormap m;
    char err[200];
    cr_assert(vg_tensormap_encode(&m, s->type, s->rank, base, s->dim, y->stride, s->box, s->step, 0,
                                  s->swizzle, 0, s->fill, err, sizeof(err)),
              "%s", err);
    return vgt_mem(&m, sizeof(m));
}

// Calls fn for each element of the box: offset in shared memory, offset in the tensor (-1:
// outside).
static void each(const struct shape *s, const struct layout *y,
                 void (*fn)(void *, uint32_t, int64_t), void *ctx)
{
    uint32_t n = y->bytes / y->elem;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rest = i;
        int64_t off = 0;
        for (unsigned d = 0; d < s->rank; d++) {
            unsigned step = d ? s->step[d] : 1, count = (s->box[d] + step - 1) / step;
            int64_t c = s->at[d] + (int64_t)(rest % count) * step;
            rest /= count;
            if (c < 0 || c >= (int64_t)s->dim[d]) {
                off = INT64_MIN / 2;
            } else {
                off += c * (int64_t)(d ? y->stride[d - 1] : y->elem);
            }
        }
        // sm lies at a multiple of 1024, so the pattern starts at 0
        uint32_t a = i / s->box[0] * y->pitch + i % s->box[0] * y->elem, line = a / 128;
        unsigned mask = s->swizzle == 3 ? 7 : s->swizzle == 2 ? 3 : s->swizzle == 1 ? 1 : 0;
        fn(ctx, a ^ (line & mask) * 16, off < 0 ? -1 : off);
    }
}

static const char *coords(const struct shape *s)
{
    static char text[200];
    size_t n = (size_t)snprintf(text, sizeof(text), "{");
    for (unsigned d = 0; d < s->rank; d++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%%r%u", d ? ", " : "", 300 + d);
    }
    snprintf(text + n, sizeof(text) - n, "}");
    return text;
}

static void emit_coords(const struct shape *s)
{
    for (unsigned d = 0; d < s->rank; d++) {
        emit("mov.u32 %%r%u, %d;\n", 300 + d, s->at[d]);
    }
}

// Shared memory [0, bytes) to or from [%rdN], a byte per thread and turn.
static void emit_copy(bool to_shared, unsigned rd, unsigned bytes, unsigned label)
{
    emit("cvt.u64.u32 %%rd20, %%r399;\nadd.s64 %%rd20, %%rd20, %%rd%u;\nmov.u32 %%r20, sm;\n", rd);
    emit("add.u32 %%r20, %%r20, %%r399;\nmov.u32 %%r21, %%r399;\nL%u:\nsetp.ge.u32 %%p1, %%r21, "
         "%u;\n",
         label, bytes);
    emit("@%%p1 bra E%u;\n", label);
    if (to_shared) {
        emit("ld.global.u8 %%r22, [%%rd20];\nst.shared.u8 [%%r20], %%r22;\n");
    } else {
        emit("ld.shared.u8 %%r22, [%%r20];\nst.global.u8 [%%rd20], %%r22;\n");
    }
    emit("add.u32 %%r21, %%r21, 128;\nadd.u32 %%r20, %%r20, 128;\nadd.s64 %%rd20, %%rd20, 128;\n");
    emit("bra L%u;\nE%u:\n", label, label);
}

static void emit_wait(unsigned bytes_bar)
{
    emit("mov.u32 %%r11, sm;\nadd.u32 %%r11, %%r11, %u;\n", bytes_bar);
    emit("W0:\nmbarrier.try_wait.parity.shared::cta.b64 %%p2, [%%r11], 0;\n@!%%p2 bra W0;\n");
}

enum { BAR = 40448 }; // in sm, after every box

struct load_check {
    const struct shape *s;
    const struct layout *y;
    const uint8_t *tensor, *got;
};

static void check_load(void *ctx, uint32_t sm, int64_t off)
{
    const struct load_check *c = ctx;
    uint64_t nan = c->s->type == VG_TM_F64   ? 0x7FFFFFFFFFFFFFFF
                   : c->s->type == VG_TM_F32 ? 0x7FFFFFFF
                                             : 0x7FFF;
    uint64_t want = c->s->fill ? nan : 0, got = 0;
    if (off >= 0) {
        want = 0;
        memcpy(&want, c->tensor + off, c->y->elem);
    }
    memcpy(&got, c->got + sm, c->y->elem);
    cr_assert(got == want, "rank %u type %u swizzle %u: offset %u: %llx, want %llx", c->s->rank,
              c->s->type, c->s->swizzle, sm, (unsigned long long)got, (unsigned long long)want);
}

static uint8_t *random_bytes(uint64_t n)
{
    uint8_t *p = malloc(n);
    cr_assert(p);
    for (uint64_t i = 0; i < n; i++) {
        p[i] = (uint8_t)vgt_random();
    }
    return p;
}

Test(tma, loads_of_every_rank_swizzle_and_fill, .timeout = 60)
{
    vgt_open();
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i];
        struct layout y = lay(s);
        uint8_t *tensor = random_bytes(y.total);
        unsigned bytes[2] = {0, 0};
        head(2, bytes);
        emit_coords(s);
        emit("mov.u32 %%r10, sm;\nadd.u32 %%r11, %%r10, %u;\nsetp.ne.u32 %%p0, %%r399, 0;\n", BAR);
        emit("@!%%p0 mbarrier.init.shared::cta.b64 [%%r11], 1;\n");
        emit("@!%%p0 fence.mbarrier_init.release.cluster;\nbar.sync 0;\n@%%p0 bra SKIP;\n");
        emit("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%%r11], %u;\n", y.bytes);
        emit("cp.async.bulk.prefetch.tensor.%ud.L2.global.tile [%%rd0, %s];\n", s->rank, coords(s));
        emit("cp.async.bulk.tensor.%ud.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
             "[%%r10], [%%rd0, %s], [%%r11];\nSKIP:\n",
             s->rank, coords(s));
        emit_wait(BAR);
        emit_copy(false, 1, y.span, 1);
        emit("ret;\n}\n");
        struct {
            uint64_t map, out;
        } p = {0, vgt_mem(NULL, y.span)};
        uint64_t base = vgt_mem(tensor, y.total);
        p.map = make_map(s, &y, base);
        struct vg_module *m = vgt_load(ptx);
        uint8_t *got = malloc(y.span);
        for (unsigned seed = 0; seed < 4; seed++) {
            struct vgt_run how = {.block = 128, .checks = VG_CHECK_ALL, .seed = seed};
            if (y.span != y.bytes) { // what lies beside a narrow row is no data
                char err[256];
                vgt_try(m, "t", how, &p, sizeof(p), err);
                cr_assert(vg_findings() == 1 && vg_finding_at(0)->kind == VG_UNINITIALISED,
                          "shape %u: %u findings", i, vg_findings());
                vg_findings_clear();
                how.checks &= ~(unsigned)VG_CHECK_BOUNDS;
            }
            vgt_ok(m, "t", how, &p, sizeof(p));
            vgt_get(got, p.out, y.span);
            struct load_check c = {s, &y, tensor, got};
            each(s, &y, check_load, &c);
        }
        vg_module_free(m);
        free(got);
        free(tensor);
    }
}

struct store_ctx {
    const struct layout *y;
    uint8_t *tensor;
    const uint8_t *box;
};

static void apply_store(void *ctx, uint32_t sm, int64_t off)
{
    const struct store_ctx *c = ctx;
    if (off >= 0) {
        memcpy(c->tensor + off, c->box + sm, c->y->elem);
    }
}

static void add_u32(void *ctx, uint32_t sm, int64_t off)
{
    const struct store_ctx *c = ctx;
    uint32_t a, b;
    if (off >= 0) {
        memcpy(&a, c->tensor + off, 4);
        memcpy(&b, c->box + sm, 4);
        a += b;
        memcpy(c->tensor + off, &a, 4);
    }
}

Test(tma, stores_and_reductions_touch_the_box_only, .timeout = 60)
{
    vgt_open();
    for (unsigned i = 0; i < 2 * sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i / 2];
        bool red = i & 1;
        if (red && s->type != VG_TM_U32 && s->type != VG_TM_S32) {
            continue;
        }
        struct layout y = lay(s);
        uint8_t *tensor = random_bytes(y.total), *box = random_bytes(y.span),
                *got = malloc(y.total);
        unsigned bytes[2] = {0, 0};
        head(2, bytes);
        emit_coords(s);
        emit_copy(true, 1, y.span, 1);
        emit("fence.proxy.async.shared::cta;\nbar.sync 0;\nmov.u32 %%r10, sm;\n");
        emit("setp.ne.u32 %%p0, %%r399, 0;\n@%%p0 ret;\n");
        if (red) {
            emit("cp.reduce.async.bulk.tensor.%ud.global.shared::cta.add.tile.bulk_group", s->rank);
        } else {
            emit("cp.async.bulk.tensor.%ud.global.shared::cta.tile.bulk_group", s->rank);
        }
        emit(" [%%rd0, %s], [%%r10];\ncp.async.bulk.commit_group;\n", coords(s));
        emit("cp.async.bulk.wait_group.read 0;\n%sret;\n}\n",
             i % 3 ? "cp.async.bulk.wait_group 0;\n" : "");
        struct {
            uint64_t map, in;
        } p = {0, vgt_mem(box, y.span)};
        uint64_t base = vgt_mem(tensor, y.total);
        p.map = make_map(s, &y, base);
        struct vg_module *m = vgt_load(ptx);
        vgt_ok(m, "t", (struct vgt_run){.block = 128, .checks = VG_CHECK_ALL, .seed = i}, &p,
               sizeof(p));
        vgt_get(got, base, y.total);
        struct store_ctx c = {&y, tensor, box};
        each(s, &y, red ? add_u32 : apply_store, &c);
        for (uint64_t k = 0; k < y.total; k++) {
            cr_assert(got[k] == tensor[k], "shape %u reduce %d: byte %llu", i / 2, red,
                      (unsigned long long)k);
        }
        vg_module_free(m);
        free(tensor);
        free(box);
        free(got);
    }
}

// ---- bulk copies and reductions of 64 bytes ----

struct bulk_form {
    const char *op, *type;
    unsigned bytes; // of an element
    char kind;      // 'i' signed, 'u' unsigned, 'h' f16, 'b' bf16, 'f' f32, 'd' f64
};
static const struct bulk_form bulk_forms[] = {
    {"add", "u32", 4, 'u'},       {"add", "s32", 4, 'i'},        {"add", "u64", 8, 'u'},
    {"min", "s32", 4, 'i'},       {"max", "s32", 4, 'i'},        {"min", "u64", 8, 'u'},
    {"max", "u32", 4, 'u'},       {"inc", "u32", 4, 'u'},        {"dec", "u32", 4, 'u'},
    {"and", "b32", 4, 'u'},       {"or", "b32", 4, 'u'},         {"xor", "b64", 8, 'u'},
    {"min", "s64", 8, 'i'},       {"add", "f32", 4, 'f'},        {"add", "f64", 8, 'd'},
    {"add.noftz", "f16", 2, 'h'}, {"add.noftz", "bf16", 2, 'b'}, {"min", "f16", 2, 'h'},
    {"max", "bf16", 2, 'b'},
};

static double number(char kind, uint64_t bits)
{
    uint32_t u = (uint32_t)bits;
    float f;
    double d;
    if (kind == 'b') {
        u <<= 16;
    }
    if (kind == 'h') { // normal numbers only
        int e = (int)(u >> 10 & 31);
        double v = ldexp(1 + (u & 1023) / 1024.0, e - 15);
        return u & 0x8000 ? -v : v;
    }
    if (kind == 'd') {
        memcpy(&d, &bits, 8);
        return d;
    }
    memcpy(&f, &u, 4);
    return (double)f;
}

Test(bulk, reductions_to_global_memory_agree_with_loops, .timeout = 60)
{
    vgt_open();
    for (unsigned i = 0; i < sizeof(bulk_forms) / sizeof(bulk_forms[0]); i++) {
        const struct bulk_form *f = &bulk_forms[i];
        uint8_t a[64], b[64], got[64];
        for (unsigned k = 0; k < 64; k += f->bytes) {
            uint64_t x = (uint64_t)vgt_random() << 32 | vgt_random(),
                     z = (uint64_t)vgt_random() << 32 | vgt_random();
            float fx = (float)((int)(x % 2000) - 1000) / 8,
                  fz = (float)((int)(z % 2000) - 1000) / 8;
            double dx = (double)fx, dz = (double)fz;
            if (f->kind == 'f' || f->kind == 'b') {
                memcpy(&x, &fx, 4);
                memcpy(&z, &fz, 4);
                x = f->kind == 'b' ? x >> 16 & 0xFFFF : x;
                z = f->kind == 'b' ? z >> 16 & 0xFFFF : z;
            } else if (f->kind == 'd') {
                memcpy(&x, &dx, 8);
                memcpy(&z, &dz, 8);
            } else if (f->kind == 'h') {
                x = 0x3C00 + (x & 0x83FF);
                z = 0x3800 + (z & 0x83FF);
            } else if (f->op[0] == 'i' || f->op[0] == 'd') {
                x %= 4;
                z %= 4;
            }
            memcpy(a + k, &x, f->bytes);
            memcpy(b + k, &z, f->bytes);
        }
        unsigned bytes[2] = {0, 0};
        head(2, bytes);
        emit_copy(true, 0, 64, 1);
        emit("fence.proxy.async.shared::cta;\nbar.sync 0;\nmov.u32 %%r10, sm;\nsetp.ne.u32 %%p0, "
             "%%r399, 0;\n");
        emit("@%%p0 ret;\ncp.reduce.async.bulk.global.shared::cta.bulk_group.%s.%s [%%rd1], "
             "[%%r10], 64;\n",
             f->op, f->type);
        emit("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;\n}\n");
        struct {
            uint64_t b, a;
        } p = {vgt_mem(b, 64), vgt_mem(a, 64)};
        struct vg_module *m = vgt_load(ptx);
        vgt_ok(m, "t", (struct vgt_run){.block = 128, .checks = VG_CHECK_ALL}, &p, sizeof(p));
        vgt_get(got, p.a, 64);
        for (unsigned k = 0; k < 64; k += f->bytes) {
            uint64_t x = 0, z = 0, r = 0;
            memcpy(&x, a + k, f->bytes);
            memcpy(&z, b + k, f->bytes);
            memcpy(&r, got + k, f->bytes);
            if (strchr("fdhb", f->kind)) {
                double u = number(f->kind, x), v = number(f->kind, z), w = number(f->kind, r);
                double want = f->op[0] == 'a' ? u + v : f->op[1] == 'i' ? fmin(u, v) : fmax(u, v);
                // sums are exact but in f16 and bf16, where they round once (2^-9 covers both)
                double tol =
                    f->kind == 'f' || f->kind == 'd' || f->op[0] == 'm' ? 0 : fabs(want) * 0x1p-8;
                cr_assert(fabs(w - want) <= tol || (f->kind == 'h' && fabs(want) < 0x1p-13),
                          "%s.%s: %g %g -> %g", f->op, f->type, u, v, w);
                continue;
            }
            int64_t sx = f->bytes == 4 ? (int32_t)x : (int64_t)x,
                    sz = f->bytes == 4 ? (int32_t)z : (int64_t)z;
            bool less = f->kind == 'i' ? sx < sz : x < z;
            uint64_t want = strcmp(f->op, "add") == 0   ? x + z
                            : strcmp(f->op, "min") == 0 ? (less ? x : z)
                            : strcmp(f->op, "max") == 0 ? (less ? z : x)
                            : strcmp(f->op, "inc") == 0 ? (x >= z ? 0 : x + 1)
                            : strcmp(f->op, "dec") == 0 ? (x == 0 || x > z ? z : x - 1)
                            : strcmp(f->op, "and") == 0 ? (x & z)
                            : strcmp(f->op, "or") == 0  ? (x | z)
                                                        : (x ^ z);
            want = f->bytes == 4 ? (uint32_t)want : want;
            cr_assert(r == want, "%s.%s: %llx %llx -> %llx", f->op, f->type, (unsigned long long)x,
                      (unsigned long long)z, (unsigned long long)r);
        }
        vg_module_free(m);
    }
}

// Rank 0 of a cluster sends one tile to both CTAs; then each sends half of it to its neighbour.
Test(bulk, multicast_and_copies_between_ctas, .timeout = 60)
{
    vgt_open();
    for (unsigned tensor = 0; tensor < 2; tensor++) {
        struct shape s = {2, VG_TM_U32, 0, 0, {32, 8}, {32, 8}, {1, 1}, {0, 0}};
        struct layout y = {.elem = 4, .stride = {128}, .bytes = 1024};
        unsigned bytes[3] = {0, 0, 0};
        head(3, bytes);
        emit_coords(&s);
        emit("mov.u32 %%r10, sm;\nadd.u32 %%r11, %%r10, %u;\nadd.u32 %%r12, %%r11, 8;\n", BAR);
        emit("setp.ne.u32 %%p0, %%r399, 0;\n@!%%p0 mbarrier.init.shared::cta.b64 [%%r11], 1;\n");
        emit("@!%%p0 mbarrier.init.shared::cta.b64 [%%r12], 1;\n");
        emit("@!%%p0 fence.mbarrier_init.release.cluster;\n");
        emit("@!%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r11], 1024;\n");
        emit("@!%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r12], 512;\n");
        emit("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n");
        emit("mov.u32 %%r30, %%cluster_ctarank;\nsetp.ne.u32 %%p3, %%r30, 0;\n@%%p0 bra NO;\n@%%p3 "
             "bra NO;\n");
        emit("mov.u32 %%r40, 3;\n{ .reg .b16 m; cvt.u16.u32 m, %%r40;\n");
        if (tensor) {
            emit("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%%r10], [%%rd0, %s], [%%r11], m; }\nNO:\n",
                 coords(&s));
        } else {
            emit("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"
                 "cluster "
                 "[%%r10], [%%rd2], 1024, [%%r11], m; }\nNO:\n");
        }
        emit_wait(BAR);
        // first half of mine to the neighbour's second kilobyte
        emit("xor.b32 %%r31, %%r30, 1;\nadd.u32 %%r13, %%r10, 1024;\nmapa.shared::cluster.u32 "
             "%%r14, %%r13, %%r31;\n");
        emit("mapa.shared::cluster.u32 %%r15, %%r12, %%r31;\n");
        emit("@!%%p0 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes "
             "[%%r14], [%%r10], "
             "512, [%%r15];\n");
        emit("W1:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %%p2, [%%r12], "
             "0;\n@!%%p2 bra W1;\n");
        emit("mul.wide.u32 %%rd30, %%r30, 1536;\nadd.s64 %%rd1, %%rd1, %%rd30;\n");
        emit_copy(false, 1, 1536, 2);
        emit("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\nret;\n}\n");
        uint8_t *data = random_bytes(1024), got[3072];
        struct {
            uint64_t map, out, in;
        } p = {0, vgt_mem(NULL, 3072), vgt_mem(data, 1024)};
        p.map = make_map(&s, &y, p.in);
        struct vg_module *m = vgt_load(ptx);
        for (unsigned seed = 0; seed < 8; seed++) {
            vgt_ok(m, "t",
                   (struct vgt_run){
                       .grid = 2, .cluster = 2, .block = 128, .checks = VG_CHECK_ALL, .seed = seed},
                   &p, sizeof(p));
            vgt_get(got, p.out, 3072);
            for (unsigned c = 0; c < 2; c++) {
                cr_assert(memcmp(got + c * 1536, data, 1024) == 0, "CTA %u, tensor %u", c, tensor);
                cr_assert(memcmp(got + c * 1536 + 1024, data, 512) == 0, "CTA %u, tensor %u", c,
                          tensor);
            }
        }
        vg_module_free(m);
        free(data);
    }
}
