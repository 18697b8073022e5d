// SPDX-License-Identifier: Apache-2.0
// mma.sync, ldmatrix, stmatrix, movmatrix against plain loops over matrices. The fragment layouts
// are written here once more, from the ISA's tables.
#include <math.h>

#include "count.h"
#include "ptxgen.h"
#include "tcore.h"

struct form {
    const char *types; // d.a.b.c
    unsigned m, k;
    enum ptx_type a, b, d;
    bool sat;
};

static unsigned per_reg(enum ptx_type t)
{
    return t == PTX_TF32                   ? 1
           : t == PTX_F16 || t == PTX_BF16 ? 2
           : t == PTX_S4 || t == PTX_U4    ? 8
                                           : 4;
}

static bool is_int(enum ptx_type t)
{
    return t == PTX_S8 || t == PTX_U8 || t == PTX_S4 || t == PTX_U4;
}

// A value of the element's bits, computed apart from tcore.c.
static double value(enum ptx_type t, uint32_t bits)
{
    switch ((int)t) {
    case PTX_S8:
        return (int8_t)bits;
    case PTX_U8:
        return (uint8_t)bits;
    case PTX_S4:
        return (bits & 8) ? (int)bits - 16 : (int)bits;
    case PTX_U4:
        return bits;
    default:
        break;
    }
    unsigned e_bits = t == PTX_F16 || t == PTX_E5M2 ? 5 : t == PTX_E4M3 ? 4 : 8;
    unsigned m_bits = t == PTX_F16    ? 10
                      : t == PTX_BF16 ? 7
                      : t == PTX_TF32 ? 10
                      : t == PTX_E4M3 ? 3
                                      : 2;
    uint32_t man = bits & ((1u << m_bits) - 1), exp = bits >> m_bits & ((1u << e_bits) - 1);
    double sign = bits >> (m_bits + e_bits) & 1 ? -1 : 1;
    int bias = (1 << (e_bits - 1)) - 1;
    if (exp == (1u << e_bits) - 1 && (t != PTX_E4M3 || man == 7)) {
        return man ? (double)NAN : sign * HUGE_VAL;
    }
    double f = exp ? ldexp(1.0 + man / (double)(1u << m_bits), (int)exp - bias)
                   : ldexp(man / (double)(1u << m_bits), 1 - bias);
    return sign * f;
}

// Bits of one element for round `mode`: small numbers, anything, or edge values.
static uint32_t element(enum ptx_type t, unsigned mode)
{
    uint32_t r = vgt_random();
    if (is_int(t)) {
        uint32_t mask = t == PTX_S4 || t == PTX_U4 ? 15 : 255;
        static const uint32_t edge[] = {0x80, 0x7F, 0xFF, 0, 1, 8, 7, 15};
        return (mode == 2 ? edge[r % 8] : r) & mask;
    }
    unsigned bits = t == PTX_TF32 ? 19 : 32 / per_reg(t);
    unsigned m_bits = t == PTX_F16 || t == PTX_TF32 ? 10
                      : t == PTX_BF16               ? 7
                      : t == PTX_E4M3               ? 3
                                                    : 2;
    uint32_t one = t == PTX_F16    ? 0x3C00
                   : t == PTX_BF16 ? 0x3F80
                   : t == PTX_TF32 ? 0x3F800000 >> 13
                   : t == PTX_E4M3 ? 0x38
                                   : 0x3C;
    uint32_t sign = (r >> 31) << (bits - 1);
    if (mode < 2) { // around one: sums stay finite in f16
        uint32_t exp = mode == 0 ? 0 : (r >> 8 & 3);
        return sign | (one - (exp << m_bits) + (r & ((1u << m_bits) - 1)));
    }
    // zero, -0, smallest denormal, infinity or maximum, NaN
    uint32_t top = ((1u << (bits - 1)) - 1) & ~((1u << m_bits) - 1);
    switch (r % 40) {
    case 0:
        return sign | top | (t == PTX_E4M3 ? 6 : 0);
    case 1:
        return sign | top | ((1u << m_bits) - 1);
    case 2:
    case 3:
        return sign | 1;
    default:
        return r % 3 ? sign | one : sign;
    }
}

static float half_float(uint16_t h)
{
    return (float)value(PTX_F16, h);
}

static void run_mma(const struct form *f, unsigned mode)
{
    const unsigned n_i = f->m / 8, pa = per_reg(f->a), n_a = n_i * f->k / (4 * pa),
                   n_b = f->k / (4 * pa);
    const bool f16 = f->d == PTX_F16;
    const unsigned n_d = f16 ? n_i : 2 * n_i;
    const unsigned bytes[4] = {n_a * 4, n_b * 4, n_d * 4, n_d * 4};
    head(4, bytes);
    for (unsigned i = 0; i < n_a; i++) {
        emit("ld.global.b32 %%r%u, [%%rd0+%u];\n", i, 4 * i);
    }
    for (unsigned i = 0; i < n_b; i++) {
        emit("ld.global.b32 %%r%u, [%%rd1+%u];\n", 20 + i, 4 * i);
    }
    for (unsigned i = 0; i < n_d; i++) {
        emit("ld.global.b32 %%r%u, [%%rd2+%u];\n", 40 + i, 4 * i);
    }
    emit("mma.sync.aligned.m%un8k%u.row.col%s.%s ", f->m, f->k, f->sat ? ".satfinite" : "",
         f->types);
    list("r", 60, n_d);
    emit(", ");
    list("r", 0, n_a);
    emit(", ");
    list("r", 20, n_b);
    emit(", ");
    list("r", 40, n_d);
    emit(";\n");
    for (unsigned i = 0; i < n_d; i++) {
        emit("st.global.b32 [%%rd3+%u], %%r%u;\n", 4 * i, 60 + i);
    }
    emit("ret;\n}\n");

    static uint32_t A[16][64], B[64][8];
    double C[16][8];
    uint32_t fa[32][8] = {{0}}, fb[32][4] = {{0}}, fc[32][4] = {{0}}, fd[32][4];
    for (unsigned r = 0; r < f->m; r++) {
        for (unsigned k = 0; k < f->k; k++) {
            A[r][k] = element(f->a, mode);
        }
    }
    for (unsigned k = 0; k < f->k; k++) {
        for (unsigned n = 0; n < 8; n++) {
            B[k][n] = element(f->b, mode);
        }
    }
    unsigned bits = f->a == PTX_TF32 ? 19 : 32 / pa, up = f->a == PTX_TF32 ? 13 : 0;
    uint32_t *flat_a = calloc(32, n_a * 4), *flat_b = calloc(32, n_b * 4),
             *flat_c = calloc(32, n_d * 4);
    for (unsigned l = 0; l < 32; l++) {
        unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < n_a * pa; i++) {
            unsigned reg = i / pa, el = i % pa, row = n_i == 2 ? g + 8 * (reg & 1) : g;
            unsigned col = (n_i == 2 ? reg >> 1 : reg) * 4 * pa + t * pa + el;
            // tf32: the 13 bits below must not matter
            fa[l][reg] |= A[row][col] << (el * bits) << up | (up ? vgt_random() & 0x1FFF : 0);
        }
        for (unsigned i = 0; i < n_b * pa; i++) {
            unsigned reg = i / pa, el = i % pa;
            fb[l][reg] |= B[reg * 4 * pa + t * pa + el][g] << (el * bits) << up;
        }
        for (unsigned i = 0; i < 2 * n_i; i++) {
            unsigned row = g + 8 * (i / 2), col = 2 * t + i % 2;
            if (is_int(f->a)) {
                int32_t c = mode == 2 ? (vgt_random() & 1 ? INT32_MAX - 100 : INT32_MIN + 100)
                                      : (int32_t)vgt_random() >> 12;
                C[row][col] = c;
                fc[l][i] = (uint32_t)c;
            } else if (f16) {
                uint16_t h = (uint16_t)(0x3C00 + vgt_random() % 1024);
                C[row][col] = (double)half_float(h);
                fc[l][i / 2] |= (uint32_t)h << (16 * (i & 1));
            } else {
                float c = (float)((int32_t)vgt_random() >> 8) * 0x1p-20f;
                C[row][col] = (double)c;
                memcpy(&fc[l][i], &c, 4);
            }
        }
        memcpy(flat_a + l * n_a, fa[l], n_a * 4);
        memcpy(flat_b + l * n_b, fb[l], n_b * 4);
        memcpy(flat_c + l * n_d, fc[l], n_d * 4);
    }
    struct {
        uint64_t a, b, c, d;
    } p = {vgt_mem(flat_a, 32 * n_a * 4), vgt_mem(flat_b, 32 * n_b * 4),
           vgt_mem(flat_c, 32 * n_d * 4), vgt_mem(NULL, 32 * n_d * 4)};
    struct vg_module *mod = vgt_load(ptx);
    vgt_ok(mod, "t", (struct vgt_run){.checks = VG_CHECK_ALL}, &p, sizeof(p));
    uint32_t *flat_d = malloc(32 * n_d * 4);
    vgt_get(flat_d, p.d, 32 * n_d * 4);
    for (unsigned l = 0; l < 32; l++) {
        memcpy(fd[l], flat_d + l * n_d, n_d * 4);
        for (unsigned i = 0; i < 2 * n_i; i++) {
            unsigned row = l / 4 + 8 * (i / 2), col = 2 * (l % 4) + i % 2;
            if (is_int(f->a)) {
                int64_t s = (int64_t)C[row][col];
                for (unsigned k = 0; k < f->k; k++) {
                    s += (int64_t)(value(f->a, A[row][k]) * value(f->b, B[k][col]));
                }
                if (f->sat) {
                    s = s > INT32_MAX ? INT32_MAX : s < INT32_MIN ? INT32_MIN : s;
                }
                cr_assert(fd[l][i] == (uint32_t)s, "%s m%uk%u [%u][%u]: got %d, want %d", f->types,
                          f->m, f->k, row, col, (int32_t)fd[l][i], (int32_t)(uint32_t)s);
                continue;
            }
            double s = C[row][col], mag = fabs(s);
            for (unsigned k = 0; k < f->k; k++) {
                double x = value(f->a, A[row][k]) * value(f->b, B[k][col]);
                s += x;
                mag += fabs(x);
            }
            float got;
            if (f16) {
                got = half_float((uint16_t)(fd[l][i / 2] >> (16 * (i & 1))));
            } else {
                memcpy(&got, &fd[l][i], 4);
            }
            // k + 1 additions in float, each wrong by half a unit of at most mag; then f16's half
            // unit.
            double tol = mag * (f->k + 1) * 0x1p-24 + (f16 ? fabs(s) * 0x1p-11 + 0x1p-25 : 0);
            bool same = isnan(s)                               ? isnan(got)
                        : isinf(s) || (f16 && fabs(s) > 65519) ? isinf(got) && (got > 0) == (s > 0)
                                                               : fabs((double)got - s) <= tol;
            cr_assert(same, "%s m%uk%u mode %u [%u][%u]: got %g, want %g +- %g", f->types, f->m,
                      f->k, mode, row, col, (double)got, s, tol);
        }
    }
    vg_module_free(mod);
    free(flat_a);
    free(flat_b);
    free(flat_c);
    free(flat_d);
}

static const struct form forms[] = {
    {"s32.s8.s8.s32", 16, 32, PTX_S8, PTX_S8, PTX_S32, false},
    {"s32.s8.u8.s32", 16, 32, PTX_S8, PTX_U8, PTX_S32, false},
    {"s32.u8.s8.s32", 16, 32, PTX_U8, PTX_S8, PTX_S32, true},
    {"s32.u8.u8.s32", 16, 32, PTX_U8, PTX_U8, PTX_S32, true},
    {"s32.s8.s8.s32", 16, 32, PTX_S8, PTX_S8, PTX_S32, true},
    {"s32.s8.s8.s32", 16, 16, PTX_S8, PTX_S8, PTX_S32, false},
    {"s32.u8.u8.s32", 16, 16, PTX_U8, PTX_U8, PTX_S32, false},
    {"s32.s8.s8.s32", 8, 16, PTX_S8, PTX_S8, PTX_S32, false},
    {"s32.s4.s4.s32", 16, 64, PTX_S4, PTX_S4, PTX_S32, false},
    {"s32.u4.s4.s32", 16, 64, PTX_U4, PTX_S4, PTX_S32, true},
    {"s32.s4.u4.s32", 16, 32, PTX_S4, PTX_U4, PTX_S32, false},
    {"s32.u4.u4.s32", 8, 32, PTX_U4, PTX_U4, PTX_S32, false},
    {"f32.bf16.bf16.f32", 16, 16, PTX_BF16, PTX_BF16, PTX_F32, false},
    {"f32.bf16.bf16.f32", 16, 8, PTX_BF16, PTX_BF16, PTX_F32, false},
    {"f32.f16.f16.f32", 16, 16, PTX_F16, PTX_F16, PTX_F32, false},
    {"f32.f16.f16.f32", 16, 8, PTX_F16, PTX_F16, PTX_F32, false},
    {"f16.f16.f16.f16", 16, 16, PTX_F16, PTX_F16, PTX_F16, false},
    {"f16.f16.f16.f16", 16, 8, PTX_F16, PTX_F16, PTX_F16, false},
    {"f32.tf32.tf32.f32", 16, 8, PTX_TF32, PTX_TF32, PTX_F32, false},
    {"f32.tf32.tf32.f32", 16, 4, PTX_TF32, PTX_TF32, PTX_F32, false},
    {"f32.e4m3.e4m3.f32", 16, 32, PTX_E4M3, PTX_E4M3, PTX_F32, false},
    {"f32.e4m3.e5m2.f32", 16, 32, PTX_E4M3, PTX_E5M2, PTX_F32, false},
    {"f32.e5m2.e4m3.f32", 16, 32, PTX_E5M2, PTX_E4M3, PTX_F32, false},
    {"f32.e5m2.e5m2.f32", 16, 16, PTX_E5M2, PTX_E5M2, PTX_F32, false},
    {"f16.e4m3.e4m3.f16", 16, 32, PTX_E4M3, PTX_E4M3, PTX_F16, false},
};

Test(mma, all_shapes_and_types_agree_with_loops, .timeout = 60)
{
    vgt_open();
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        for (unsigned mode = 0; mode < 3; mode++) {
            if (mode == 2 && forms[i].d == PTX_F16) {
                continue; // overflow of the running sum is the hardware's own
            }
            run_mma(&forms[i], mode);
        }
    }
}

Test(mma_f64, agrees_with_loops, .timeout = 60)
{
    vgt_open();
    static const unsigned shape[][2] = {{8, 4}, {16, 4}, {16, 8}, {16, 16}};
    for (unsigned q = 0; q < 4; q++) {
        unsigned m = shape[q][0], k = shape[q][1], n_i = m / 8, n_a = n_i * k / 4, n_b = k / 4,
                 n_d = 2 * n_i;
        unsigned bytes[4] = {n_a * 8, n_b * 8, n_d * 8, n_d * 8};
        head(4, bytes);
        for (unsigned i = 0; i < n_a; i++) {
            emit("ld.global.b64 %%rd%u, [%%rd0+%u];\n", 10 + i, 8 * i);
        }
        for (unsigned i = 0; i < n_b; i++) {
            emit("ld.global.b64 %%rd%u, [%%rd1+%u];\n", 20 + i, 8 * i);
        }
        for (unsigned i = 0; i < n_d; i++) {
            emit("ld.global.b64 %%rd%u, [%%rd2+%u];\n", 30 + i, 8 * i);
        }
        emit("{ .reg .f64 %%x<40>;\n");
        for (unsigned i = 10; i < 34; i++) {
            if (i < 10 + n_a || (i >= 20 && i < 20 + n_b) || (i >= 30 && i < 30 + n_d)) {
                emit("mov.b64 %%x%u, %%rd%u;\n", i, i);
            }
        }
        emit("mma.sync.aligned.m%un8k%u.row.col.f64.f64.f64.f64 ", m, k);
        list("x", 0, n_d);
        emit(", ");
        list("x", 10, n_a);
        emit(", ");
        list("x", 20, n_b);
        emit(", ");
        list("x", 30, n_d);
        emit(";\n");
        for (unsigned i = 0; i < n_d; i++) {
            emit("st.global.f64 [%%rd3+%u], %%x%u;\n", 8 * i, i);
        }
        emit("}\nret;\n}\n");
        double A[32][8], B[32][4], C[32][4], D[32][4];
        double *fa = calloc(32 * n_a, 8), *fb = calloc(32 * n_b, 8), *fc = calloc(32 * n_d, 8);
        for (unsigned l = 0; l < 32; l++) {
            for (unsigned i = 0; i < 8; i++) {
                A[l][i] = (double)(int32_t)vgt_random() * 0x1p-20;
                B[l][i % 4] = (double)(int32_t)vgt_random() * 0x1p-25;
                C[l][i % 4] = (double)(int32_t)vgt_random() * 0x1p-10;
            }
            memcpy(fa + l * n_a, A[l], n_a * 8);
            memcpy(fb + l * n_b, B[l], n_b * 8);
            memcpy(fc + l * n_d, C[l], n_d * 8);
        }
        struct {
            uint64_t a, b, c, d;
        } p = {vgt_mem(fa, 256 * n_a), vgt_mem(fb, 256 * n_b), vgt_mem(fc, 256 * n_d),
               vgt_mem(NULL, 256 * n_d)};
        struct vg_module *mod = vgt_load(ptx);
        vgt_ok(mod, "t", (struct vgt_run){.checks = VG_CHECK_ALL}, &p, sizeof(p));
        vgt_get(fc, p.d, 256 * n_d);
        for (unsigned l = 0; l < 32; l++) {
            memcpy(D[l], fc + l * n_d, n_d * 8);
            for (unsigned i = 0; i < n_d; i++) {
                unsigned g = l / 4, n = 2 * (l % 4) + i % 2;
                double s = C[l][i];
                for (unsigned x = 0; x < k; x++) {
                    s = fma(A[g * 4 + x % 4][i / 2 + n_i * (x / 4)], B[n * 4 + x % 4][x / 4], s);
                }
                cr_assert(D[l][i] == s, "m%uk%u lane %u: %g, want %g", m, k, l, D[l][i], s);
            }
        }
        vg_module_free(mod);
        free(fa);
        free(fb);
        free(fc);
    }
}

// 512 bytes go to shared memory by lane (16 each), then through ldmatrix or back by stmatrix.
static void run_matrix(unsigned x, bool trans, bool store, bool generic)
{
    unsigned bytes[2] = {store ? 4 * x : 16, store ? 16 : 4 * x};
    head(2, bytes);
    emit("mov.u32 %%r0, sm;\nshl.b32 %%r1, %%r399, 4;\nxor.b32 %%r1, %%r1, 48;\nadd.u32 %%r2, "
         "%%r0, %%r1;\n");
    emit("cvt.u64.u32 %%rd10, %%r2;\ncvta.shared.u64 %%rd10, %%rd10;\n");
    const char *at = generic ? "%rd10" : "%r2", *space = generic ? "" : ".shared";
    if (!store) {
        emit("ld.global.v4.b32 {%%r10, %%r11, %%r12, %%r13}, [%%rd0];\n");
        emit("st.shared.v4.b32 [%%r2], {%%r10, %%r11, %%r12, %%r13};\nbar.sync 0;\n");
        emit("ldmatrix.sync.aligned.m8n8.x%u%s%s.b16 ", x, trans ? ".trans" : "", space);
        list("r", 20, x);
        emit(", [%s];\n", at);
        for (unsigned i = 0; i < x; i++) {
            emit("st.global.b32 [%%rd1+%u], %%r%u;\n", 4 * i, 20 + i);
        }
    } else {
        for (unsigned i = 0; i < x; i++) {
            emit("ld.global.b32 %%r%u, [%%rd0+%u];\n", 20 + i, 4 * i);
        }
        emit("mov.b32 %%r10, 0;\nst.shared.v4.b32 [%%r2], {%%r10, %%r10, %%r10, %%r10};\nbar.sync "
             "0;\n");
        emit("stmatrix.sync.aligned.m8n8.x%u%s%s.b16 [%s], ", x, trans ? ".trans" : "", space, at);
        list("r", 20, x);
        emit(";\nbar.sync 0;\nld.shared.v4.b32 {%%r10, %%r11, %%r12, %%r13}, [%%r2];\n");
        emit("st.global.v4.b32 [%%rd1], {%%r10, %%r11, %%r12, %%r13};\n");
    }
    emit("ret;\n}\n");
    uint32_t in[128], out[128];
    for (unsigned i = 0; i < 128; i++) {
        in[i] = vgt_random();
    }
    struct {
        uint64_t a, b;
    } p = {vgt_mem(in, 512), vgt_mem(NULL, 512)};
    struct vg_module *mod = vgt_load(ptx);
    vgt_ok(mod, "t", (struct vgt_run){.checks = VG_CHECK_ALL}, &p, sizeof(p));
    vgt_get(out, p.b, store ? 512 : 128 * x);
    // regs[l * x + q]: lane l's register q; rows[l * 4..]: the row whose address lane l gave
    const uint32_t *regs = store ? in : out, *rows = store ? out : in;
    for (unsigned q = 0; q < x; q++) {
        for (unsigned l = 0; l < 32; l++) {
            for (unsigned h = 0; h < 2; h++) {
                unsigned r = trans ? 2 * (l % 4) + h : l / 4, c = trans ? l / 4 : 2 * (l % 4) + h;
                uint16_t want = (uint16_t)(rows[(q * 8 + r) * 4 + c / 2] >> (16 * (c & 1)));
                uint16_t got = (uint16_t)(regs[l * x + q] >> (16 * h));
                cr_assert(got == want,
                          "%s x%u trans %d: matrix %u lane %u half %u: %04x, want %04x",
                          store ? "stmatrix" : "ldmatrix", x, trans, q, l, h, got, want);
            }
        }
    }
    for (unsigned i = 8 * x * 4; store && i < 128; i++) {
        cr_assert(out[i] == 0, "stmatrix x%u wrote outside its rows", x);
    }
    vg_module_free(mod);
}

Test(matrix, loads_and_stores_of_eight_by_eight)
{
    vgt_open();
    for (unsigned x = 1; x <= 4; x *= 2) {
        for (unsigned trans = 0; trans < 2; trans++) {
            for (unsigned store = 0; store < 2; store++) {
                run_matrix(x, trans, store, (x ^ trans) & 1);
            }
        }
    }
}

Test(matrix, movmatrix_transposes)
{
    vgt_open();
    unsigned bytes[2] = {4, 4};
    head(2, bytes);
    emit("ld.global.b32 %%r1, [%%rd0];\nmovmatrix.sync.aligned.m8n8.trans.b16 %%r2, %%r1;\n");
    emit("st.global.b32 [%%rd1], %%r2;\nret;\n}\n");
    uint16_t in[8][8], out[8][8];
    for (unsigned i = 0; i < 64; i++) {
        in[i / 8][i % 8] = (uint16_t)vgt_random();
    }
    struct {
        uint64_t a, b;
    } p = {vgt_mem(in, 128), vgt_mem(NULL, 128)};
    struct vg_module *mod = vgt_load(ptx);
    vgt_ok(mod, "t", (struct vgt_run){.checks = VG_CHECK_ALL}, &p, sizeof(p));
    vgt_get(out, p.b, 128);
    for (unsigned i = 0; i < 64; i++) {
        cr_assert(out[i / 8][i % 8] == in[i % 8][i / 8], "element %u", i);
    }
    vg_module_free(mod);
}

Test(numbers, halves_and_bf16_round_to_nearest_even)
{
    // Every half goes there and back; between two neighbours the even one wins.
    for (uint32_t h = 0; h < 0x7C00; h++) {
        float f = vg_half_to_float((uint16_t)h), g = vg_half_to_float((uint16_t)(h + 1));
        cr_assert(vg_float_to_half(f) == h && vg_float_to_half(-f) == (h | 0x8000), "half %04x", h);
        cr_assert((double)f == value(PTX_F16, h), "half %04x", h);
        if (h + 1 < 0x7C00) {
            uint32_t even = h & 1 ? h + 1 : h;
            cr_assert(vg_float_to_half((f + g) / 2) == even, "between %04x and the next", h);
        }
    }
    cr_assert(vg_float_to_half(65519.f) == 0x7BFF && vg_float_to_half(65520.f) == 0x7C00);
    cr_assert(vg_float_to_half(NAN) == 0x7FFF && vg_float_to_half(-HUGE_VALF) == 0xFC00);
    cr_assert(vg_float_to_bf16(1.00390625f) == 0x3F80 && vg_float_to_bf16(1.01171875f) == 0x3F82);
    for (uint32_t b = 0; b < 256; b++) {
        double x = value(PTX_E4M3, b), y = value(PTX_E5M2, b);
        float a = vg_e4m3_to_float((uint8_t)b), c = vg_e5m2_to_float((uint8_t)b);
        cr_assert(isnan(x) ? isnan(a) : (double)a == x, "e4m3 %02x: %g", b, (double)a);
        cr_assert(isnan(y) ? isnan(c) : (double)c == y, "e5m2 %02x: %g", b, (double)c);
    }
}
