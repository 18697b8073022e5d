// SPDX-License-Identifier: Apache-2.0
// wgmma against loops: every type, A from registers and shared memory, every swizzle, both majors,
// scales; several groups in flight. Layouts are those of CUTLASS' descriptor comments, written
// anew.
#include <math.h>

#include "ptxgen.h"
#include "tcore.h"

enum { A_AT = 0, B_AT = 8192, IMAGE = 40960 };

struct form {
    const char *types;
    enum ptx_type a, b, d;
    unsigned k;
};
static const struct form forms[] = {
    {"f32.bf16.bf16", PTX_BF16, PTX_BF16, PTX_F32, 16},
    {"f32.f16.f16", PTX_F16, PTX_F16, PTX_F32, 16},
    {"f16.f16.f16", PTX_F16, PTX_F16, PTX_F16, 16},
    {"f32.tf32.tf32", PTX_TF32, PTX_TF32, PTX_F32, 8},
    {"s32.s8.s8", PTX_S8, PTX_S8, PTX_S32, 32},
    {"s32.u8.s8", PTX_U8, PTX_S8, PTX_S32, 32},
    {"s32.s8.u8", PTX_S8, PTX_U8, PTX_S32, 32},
    {"s32.u8.u8", PTX_U8, PTX_U8, PTX_S32, 32},
    {"f32.e4m3.e4m3", PTX_E4M3, PTX_E4M3, PTX_F32, 32},
    {"f32.e5m2.e4m3", PTX_E5M2, PTX_E4M3, PTX_F32, 32},
    {"f16.e4m3.e5m2", PTX_E4M3, PTX_E5M2, PTX_F16, 32},
};

static uint32_t swizzle(uint32_t a, unsigned span) // Swizzle<B, 4, 3> of a byte address
{
    uint32_t mask = span == 128 ? 0x70 : span == 64 ? 0x30 : span == 32 ? 0x10 : 0;
    return a ^ (a >> 3 & mask);
}

// Offset of an element's first byte; span 16: no swizzle. LBO and SBO come back.
static uint32_t place(unsigned span, bool mn_major, unsigned n_rows, unsigned row, unsigned k,
                      unsigned elem, uint32_t *lbo, uint32_t *sbo)
{
    uint32_t a;
    if (!mn_major && span == 16) {
        *lbo = n_rows / 8 * 128;
        *sbo = 128;
        a = row / 8 * *sbo + row % 8 * 16 + k * elem / 16 * *lbo + k * elem % 16;
    } else if (!mn_major) {
        *lbo = 16;
        *sbo = 8 * span;
        a = row * span + k * elem;
    } else if (span == 16) {
        *sbo = 256;
        *lbo = 128;
        a = row % 8 * 2 + k % 8 * 16 + row / 8 * *sbo + k / 8 * *lbo;
    } else {
        *sbo = 8 * span;
        *lbo = 16 * span;
        a = row * 2 % span + k % 8 * span + k / 8 * *sbo + row * 2 / span * *lbo;
    }
    return swizzle(a, span);
}

static uint32_t small_element(enum ptx_type t)
{
    uint32_t r = vgt_random();
    switch ((int)t) {
    case PTX_BF16:
        return (r >> 16 & 0x8000) | (0x3F80 - ((r >> 8 & 3) << 7) + (r & 0x7F));
    case PTX_F16:
        return (r >> 16 & 0x8000) | (0x3C00 - ((r >> 12 & 3) << 10) + (r & 0x3FF));
    case PTX_TF32:
        return (r & 0x80000000) | (0x3F800000 + ((r & 0x3FF) << 13));
    case PTX_E4M3:
        return (r >> 24 & 0x80) | (0x38 - ((r >> 8 & 3) << 3) + (r & 7));
    case PTX_E5M2:
        return (r >> 24 & 0x80) | (0x3C - ((r >> 8 & 3) << 2) + (r & 3));
    default:
        return r & 0xFF;
    }
}

static double value(enum ptx_type t, uint32_t bits)
{
    return (double)vg_tc_element(t, bits, 0); // checked value by value in test_tensor.c
}

static uint64_t desc_bits(unsigned span, uint32_t lbo, uint32_t sbo)
{
    uint64_t mode = span == 128 ? 1 : span == 64 ? 2 : span == 32 ? 3 : 0;
    return (uint64_t)(lbo >> 4) << 16 | (uint64_t)(sbo >> 4) << 32 | mode << 62;
}

// Operands begin so many 128-byte lines behind a multiple of 1024; descriptors say so.
static unsigned lines_a, lines_b;

static void run(const struct form *f, unsigned n, bool a_regs, unsigned span_a, unsigned span_b,
                bool trans_a, bool trans_b, int scale_a, int scale_b, int scale_d, unsigned repeat)
{
    unsigned elem = f->k == 16 ? 2 : f->k == 8 ? 4 : 1, n_d = f->d == PTX_F16 ? n / 4 : n / 2;
    bool is_int = f->d == PTX_S32;
    static uint32_t A[64][32], B[256][32];
    static uint8_t image[IMAGE];
    static uint32_t a_frag[128][4], d_in[128 * 128], d_out[128 * 128];
    uint32_t lbo_a = 0, sbo_a = 0, lbo_b = 0, sbo_b = 0;
    memset(image, 0x11, sizeof(image));
    memset(a_frag, 0, sizeof(a_frag));
    for (unsigned r = 0; r < 64; r++) {
        for (unsigned k = 0; k < f->k; k++) {
            A[r][k] = small_element(f->a);
            memcpy(image + A_AT + lines_a * 128 +
                       place(span_a, trans_a, 64, r, k, elem, &lbo_a, &sbo_a),
                   &A[r][k], elem);
        }
    }
    for (unsigned r = 0; r < n; r++) {
        for (unsigned k = 0; k < f->k; k++) {
            B[r][k] = small_element(f->b);
            memcpy(image + B_AT + lines_b * 128 +
                       place(span_b, trans_b, n, r, k, elem, &lbo_b, &sbo_b),
                   &B[r][k], elem);
        }
    }
    unsigned per = 4 / elem;
    for (unsigned t = 0; t < 128; t++) {
        unsigned g = t % 32 / 4, q = t % 4;
        for (unsigned i = 0; i < 4 * per; i++) {
            unsigned reg = i / per, row = t / 32 * 16 + g + 8 * (reg & 1);
            unsigned k = (reg >> 1) * 4 * per + q * per + i % per;
            a_frag[t][reg] |= A[row][k] << (8 * elem * (i % per));
        }
        for (unsigned i = 0; i < n_d; i++) {
            float x = (float)((int)(vgt_random() % 2001) - 1000) / 64;
            uint32_t bits = (uint32_t)((int)(vgt_random() % 200001) - 100000);
            if (f->d == PTX_F32) {
                memcpy(&bits, &x, 4);
            } else if (f->d == PTX_F16) {
                bits = vg_float_to_half(x) * 0x10001u;
            }
            d_in[t * n_d + i] = bits;
        }
    }
    unsigned bytes[4] = {0, 16, n_d * 4, n_d * 4};
    head(4, bytes);
    // The image, 16 bytes a turn.
    emit("shl.b32 %%r398, %%r399, 4;\nmov.u32 %%r397, sm;\ncvt.u64.u32 %%rd10, %%r398;\n");
    emit("add.s64 %%rd10, %%rd10, %%rd0;\nadd.u32 %%r396, %%r397, %%r398;\nmov.u32 %%r395, "
         "0;\nLOOP:\n");
    emit("ld.global.v4.b32 {%%r390, %%r391, %%r392, %%r393}, [%%rd10];\n");
    emit("st.shared.v4.b32 [%%r396], {%%r390, %%r391, %%r392, %%r393};\n");
    emit("add.s64 %%rd10, %%rd10, 2048;\nadd.u32 %%r396, %%r396, 2048;\nadd.u32 %%r395, %%r395, "
         "1;\n");
    emit("setp.lt.u32 %%p0, %%r395, %u;\n@%%p0 bra LOOP;\n", IMAGE / 2048);
    emit("fence.proxy.async.shared::cta;\nbar.sync 0;\n");
    for (unsigned i = 0; i < n_d; i++) {
        emit("ld.global.b32 %%r%u, [%%rd2+%u];\n", i, 4 * i);
    }
    emit("ld.global.v4.b32 {%%r380, %%r381, %%r382, %%r383}, [%%rd1];\n");
    emit("add.u32 %%r394, %%r397, %u;\nand.b32 %%r394, %%r394, 0x3FFFF;\nshr.u32 %%r394, %%r394, "
         "4;\n",
         A_AT + lines_a * 128);
    emit("cvt.u64.u32 %%rd20, %%r394;\nor.b64 %%rd20, %%rd20, 0x%llx;\n",
         (unsigned long long)(desc_bits(span_a, lbo_a, sbo_a) | (uint64_t)lines_a << 49));
    emit("add.u32 %%r394, %%r397, %u;\nand.b32 %%r394, %%r394, 0x3FFFF;\nshr.u32 %%r394, %%r394, "
         "4;\n",
         B_AT + lines_b * 128);
    emit("cvt.u64.u32 %%rd21, %%r394;\nor.b64 %%rd21, %%rd21, 0x%llx;\n",
         (unsigned long long)(desc_bits(span_b, lbo_b, sbo_b) | (uint64_t)lines_b << 49));
    emit("setp.ne.u32 %%p1, %d, 0;\nwgmma.fence.sync.aligned;\n", scale_d);
    for (unsigned q = 0; q < repeat; q++) {
        emit("wgmma.mma_async.sync.aligned.m64n%uk%u.%s ", n, f->k, f->types);
        list("r", 0, n_d);
        if (a_regs) {
            emit(", ");
            list("r", 380, 4);
        } else {
            emit(", %%rd20");
        }
        emit(", %%rd21, %%p1");
        if (!is_int) {
            emit(", %d, %d", scale_a, scale_b);
            if (elem == 2) {
                emit(a_regs ? ", %d" : ", %d, %d", a_regs ? trans_b : trans_a, trans_b);
            }
        }
        emit(";\nwgmma.commit_group.sync.aligned;\n");
        if (q == 1) {
            emit("wgmma.wait_group.sync.aligned 1;\n");
        }
    }
    emit("wgmma.wait_group.sync.aligned 0;\n");
    for (unsigned i = 0; i < n_d; i++) {
        emit("st.global.b32 [%%rd3+%u], %%r%u;\n", 4 * i, i);
    }
    emit("ret;\n}\n");
    struct {
        uint64_t image, a, d, out;
    } p = {vgt_mem(image, sizeof(image)), vgt_mem(a_frag, sizeof(a_frag)), vgt_mem(d_in, 512 * n_d),
           vgt_mem(NULL, 512 * n_d)};
    struct vg_module *mod = vgt_load(ptx);
    vgt_ok(mod, "t",
           (struct vgt_run){.block = 128, .checks = VG_CHECK_ALL, .seed = vgt_random() % 16}, &p,
           sizeof(p));
    vgt_get(d_out, p.out, 512 * n_d);
    for (unsigned t = 0; t < 128; t++) {
        for (unsigned i = 0; i < n / 2; i++) {
            unsigned row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2),
                     col = i / 4 * 8 + t % 4 * 2 + i % 2;
            double s = 0, mag = 0;
            for (unsigned k = 0; k < f->k; k++) {
                double x = value(f->a, A[row][k]) * value(f->b, B[col][k]);
                s += x;
                mag += fabs(x);
            }
            s *= scale_a * scale_b;
            uint32_t word = d_out[t * n_d + (f->d == PTX_F16 ? i / 2 : i)];
            uint32_t old = d_in[t * n_d + (f->d == PTX_F16 ? i / 2 : i)];
            double got, was;
            if (is_int) {
                got = (int32_t)word;
                was = (int32_t)old;
            } else if (f->d == PTX_F16) {
                got = (double)vg_half_to_float((uint16_t)(word >> (16 * (i & 1))));
                was = (double)vg_half_to_float((uint16_t)(old >> (16 * (i & 1))));
            } else {
                float x, y;
                memcpy(&x, &word, 4);
                memcpy(&y, &old, 4);
                got = (double)x;
                was = (double)y;
            }
            double want = scale_d ? was + repeat * s : s;
            mag = fabs(was) + repeat * mag;
            // k + 1 float additions per wgmma, and one rounding to half each for f16
            double tol = is_int ? 0 : mag * (f->k + 1) * repeat * 0x1p-24;
            tol += f->d == PTX_F16 ? repeat * (mag * 0x1p-11 + 0x1p-24) : 0;
            cr_assert(fabs(got - want) <= tol,
                      "%s n%u regs %d spans %u %u trans %d %d: [%u][%u] got %g, want %g +- %g",
                      f->types, n, a_regs, span_a, span_b, trans_a, trans_b, row, col, got, want,
                      tol);
        }
    }
    vg_module_free(mod);
    vg_mem_free(p.image);
    vg_mem_free(p.a);
    vg_mem_free(p.d);
    vg_mem_free(p.out);
}

Test(wgmma, every_type_with_operands_of_both_kinds, .timeout = 60)
{
    vgt_open();
    static const unsigned sizes[] = {8, 16, 64, 128, 256};
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        for (unsigned j = 0; j < 5; j++) {
            run(&forms[i], sizes[j], j & 1, 16, 16, false, false, 1, 1, (int)(j % 3 != 0), 1);
        }
    }
}

Test(wgmma, every_swizzle_and_major, .timeout = 60)
{
    vgt_open();
    for (unsigned span = 16; span <= 128; span *= 2) {
        for (unsigned other = 16; other <= 128; other *= 2) {
            if (span >= 32 && other >= 32) { // K-major rows of 32 bytes do not fit 16
                run(&forms[4], 64, false, span, other, false, false, 1, 1, 1, 1);
                run(&forms[3], 32, false, span, other, false, false, 1, 1, 1, 1);
            }
            for (unsigned t = 0; t < 4; t++) {
                run(&forms[t & 1], 128, false, span, other, t & 1, t >> 1, 1, 1, 1, 1);
            }
            run(&forms[0], 64, true, 16, other, false, true, 1, 1, 1, 1);
        }
    }
}

Test(wgmma, patterns_may_begin_at_any_line, .timeout = 60)
{
    vgt_open();
    for (unsigned i = 0; i < 8; i++) {
        lines_a = i;
        lines_b = 7 - i;
        run(&forms[0], 64, false, 64, 128, false, false, 1, 1, 1, 1);
        run(&forms[1], 64, false, 32, 128, false, true, 1, 1, 1, 1);
    }
    lines_a = lines_b = 0;
}
Test(wgmma, scales_and_chains_of_groups, .timeout = 60)
{
    vgt_open();
    run(&forms[0], 64, false, 128, 128, false, false, -1, 1, 1, 1);
    run(&forms[0], 64, true, 128, 128, false, false, 1, -1, 1, 1);
    run(&forms[1], 64, false, 128, 128, false, false, -1, -1, 0, 1);
    run(&forms[4], 64, false, 128, 128, false, false, 1, 1, 1, 4);
    run(&forms[0], 256, false, 64, 32, false, false, 1, 1, 1, 3);
}
