// SPDX-License-Identifier: Apache-2.0
// One directed test per arithmetic instruction and type: PTX text against C, over the cross product
// of edge values (NaN, infinities, denormals, -0, the ends of integers). alu_rows.h holds the rows.
#include <fenv.h>
#include <math.h>

#include "vgt.h"

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;
__extension__ typedef __float128 quad; // exact sums and products of small floats

enum compare { EXACT, F32, F64, F16, F16X2, F16Z, NEAR };

// ---- oracles ----

#define U(x) ((uint64_t)(uint32_t)(x))
#define H(x) ((uint64_t)(uint16_t)(x))
static uint64_t F(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
static uint64_t D(double f)
{
    uint64_t u;
    memcpy(&u, &f, 8);
    return u;
}
static float f32_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static double f64_of(uint64_t u)
{
    double f;
    memcpy(&f, &u, 8);
    return f;
}
static uint64_t sat32(int64_t v)
{
    return (uint64_t)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v);
}
static int64_t s24(uint32_t v)
{
    return (int64_t)(v & 0xffffff) - (v & 0x800000 ? 0x1000000 : 0);
}
static uint64_t bits_of(uint64_t v)
{
    uint64_t n = 0;
    for (; v; v >>= 1) {
        n += v & 1;
    }
    return n;
}
static uint64_t top_bit(uint64_t v) // -1: none
{
    uint64_t at = ~0ull;
    for (; v; v >>= 1) {
        at++;
    }
    return at;
}
static uint64_t reverse(uint64_t v, int width)
{
    uint64_t r = 0;
    for (int i = 0; i < width; i++) {
        r |= (v >> i & 1) << (width - 1 - i);
    }
    return r;
}
// The definitions of bfe, bfi, fns, prmt as the manual gives them, bit by bit.
static uint64_t field(uint64_t v, uint32_t pos, uint32_t len, unsigned width, bool sign)
{
    uint64_t r = 0;
    pos &= 255;
    len &= 255;
    unsigned last = pos + len - 1 < width - 1 ? pos + len - 1 : width - 1;
    unsigned fill = sign && len ? (unsigned)(v >> last & 1) : 0;
    for (unsigned i = 0; i < width; i++) {
        r |= (uint64_t)(i < len && pos + i < width ? (unsigned)(v >> (pos + i) & 1) : fill) << i;
    }
    return r;
}
static uint64_t insert(uint64_t a, uint64_t b, uint32_t pos, uint32_t len, unsigned width)
{
    pos &= 255;
    for (unsigned i = 0; i < len && pos + i < width; i++) {
        b = (b & ~(1ull << (pos + i))) | (a >> i & 1) << (pos + i);
    }
    return b;
}
static uint64_t nth_set(uint32_t mask, int base, int n)
{
    for (int at = base; at >= 0 && at<32; at += n> 0 ? 1 : -1) {
        n -= (mask >> at & 1) ? (n > 0 ? 1 : -1) : 0;
        if (n == 0) {
            return (uint64_t)at;
        }
    }
    return ~0u;
}
static uint64_t permute(uint32_t a, uint32_t b, uint32_t sel)
{
    uint64_t all = (uint64_t)b << 32 | a, r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned s = sel >> (4 * i) & 15, byte = (unsigned)(all >> (8 * (s & 7)) & 255);
        r |= (uint64_t)(s & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * i);
    }
    return r;
}
static uint64_t dot4(uint32_t a, uint32_t b, uint32_t c, bool sa, bool sb)
{
    int64_t r = c;
    for (int i = 0; i < 32; i += 8) {
        int64_t x = sa ? (int8_t)(a >> i) : (int64_t)(a >> i & 255);
        int64_t y = sb ? (int8_t)(b >> i) : (int64_t)(b >> i & 255);
        r += x * y;
    }
    return (uint64_t)r;
}
static float flush(float x)
{
    return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x;
}
static float clamp01(float x)
{
    return !(x > 0) ? 0 : x > 1 ? 1 : x;
}
static double least(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}
static double most(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : a == b ? (signbit(a) ? b : a) : a > b ? a : b;
}
static float rounded(int mode, int op, float a, float b, float c)
{
    volatile float x = a, y = b, z = c, r;
    fesetround(mode);
    r = op == '+' ? x + y : op == '*' ? x * y : op == '/' ? x / y : fmaf(x, y, z);
    fesetround(FE_TONEAREST);
    return r;
}
static double rounded64(int mode, int op, double a, double b)
{
    volatile double x = a, y = b, r;
    fesetround(mode);
    r = op == '-' ? x - y : x + y;
    fesetround(FE_TONEAREST);
    return r;
}
static float int_rounded(int mode, int64_t v)
{
    volatile int64_t x = v;
    fesetround(mode);
    volatile float r = (float)x;
    fesetround(FE_TONEAREST);
    return r;
}
static float narrowed(int mode, double v)
{
    volatile double x = v;
    fesetround(mode);
    volatile float r = (float)x;
    fesetround(FE_TONEAREST);
    return r;
}
static uint64_t to_int(double x, unsigned bits, bool sign)
{
    double top = ldexp(1, (int)bits - sign), bottom = sign ? -top : 0;
    uint64_t mask = ~0ull >> (64 - bits);
    if (isnan(x)) {
        return 0;
    }
    if (x >= top) {
        return sign ? mask >> 1 : mask;
    }
    if (x < bottom) {
        return sign ? (mask >> 1) + 1 : 0;
    }
    return x < 0 ? (uint64_t)(int64_t)x & mask : (uint64_t)x;
}

// Small floats: value of a code from its definition; code of a value by looking for its neighbours.
static double small(uint32_t v, int man, int bias, bool has_inf)
{
    int width = man == 10 ? 5 : man == 7 ? 8 : man == 3 ? 4 : 5;
    uint32_t e = v >> man & ((1u << width) - 1), m = v & ((1u << man) - 1);
    double s = v >> (man + width) & 1 ? -1 : 1;
    if (e == (1u << width) - 1 && (has_inf || m == (1u << man) - 1)) {
        return m == 0 && has_inf ? s * INFINITY : (double)NAN;
    }
    return s * (e ? ldexp(m + (1u << man), (int)e - bias - man) : ldexp(m, 1 - bias - man));
}
static double f16(uint32_t v)
{
    return small(v & 0xffff, 10, 15, true);
}
static double bf16(uint32_t v)
{
    return small(v & 0xffff, 7, 127, true);
}
static double fp8(uint32_t v, int man, int bias)
{
    return small(v & 0xff, man, bias, man == 2);
}

// Nearest code, ties to even. The code after the largest finite one stands for what overflows.
static uint32_t nearest(quad x, int man, int bias, uint32_t max_code, uint32_t sign_bit)
{
    uint32_t sign = x < 0 || (x == 0 && signbit((double)x)) ? sign_bit : 0;
    quad m = x < 0 ? -x : x;
    uint32_t lo = 0, hi = max_code + 1; // value(lo) <= m < value(hi)
    quad top = 2 * (quad)small(max_code, man, bias, man != 3) -
               (quad)small(max_code - 1, man, bias, man != 3);
    if (m >= top) {
        return hi | sign;
    }
    while (hi - lo > 1) {
        uint32_t mid = (lo + hi) / 2;
        if ((quad)small(mid, man, bias, man != 3) <= m) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    quad below = m - (quad)small(lo, man, bias, man != 3);
    quad above = (hi > max_code ? top : (quad)small(hi, man, bias, man != 3)) - m;
    return (below < above || (below == above && lo % 2 == 0) ? lo : hi) | sign;
}
static uint64_t to_f16(quad x)
{
    return x != x ? 0x7fff : nearest(x, 10, 15, 0x7bff, 0x8000);
}
static uint64_t to_bf16(quad x)
{
    return x != x ? 0x7fff : nearest(x, 7, 127, 0x7f7f, 0x8000);
}
static uint64_t to_f16_rz(double x)
{
    if (isnan(x)) {
        return 0x7fff;
    }
    uint64_t near = to_f16((quad)x);
    if (!isinf(x) && (near & 0x7fff) == 0x7c00) {
        return near - 1;
    }
    return fabs(f16((uint32_t)near)) > fabs(x) ? near - 1 : near;
}
static uint64_t to_fp8(float x, int man, int bias)
{
    uint32_t max = man == 3 ? 0x7e : 0x7b;
    if (isnan(x)) {
        return 0x7f;
    }
    uint32_t v = nearest((quad)x, man, bias, max, 0x80);
    return (v & 0x7f) > max ? max | (v & 0x80) : v;
}
static uint64_t relu16(uint64_t v)
{
    return v & 0x8000 ? 0 : v;
}

// ---- rows ----

struct row {
    const char *name, *ptx, *sig, *values;
    enum compare compare;
    uint64_t (*oracle)(uint64_t a, uint64_t b, uint64_t c);
};

#define ROW(id, ptx, sig, values, compare, expr) \
    static uint64_t row_##id(uint64_t a, uint64_t b, uint64_t c) \
    { \
        const uint32_t A = (uint32_t)a, B = (uint32_t)b, C = (uint32_t)c; \
        const int32_t SA = (int32_t)A, SB = (int32_t)B, SC = (int32_t)C; \
        const float FA = f32_of(A), FB = f32_of(B), FC = f32_of(C); \
        const double DA = f64_of(a), DB = f64_of(b), DC = f64_of(c); \
        (void)A, (void)B, (void)C, (void)SA, (void)SB, (void)SC, (void)FA, (void)FB, (void)FC; \
        (void)DA, (void)DB, (void)DC; \
        return (uint64_t)(expr); \
    }
#include "alu_rows.h"
#undef ROW
static const struct row rows[] = {
#define ROW(id, ptx, sig, values, compare, expr) {#id, ptx, sig, values, compare, row_##id},
#include "alu_rows.h"
#undef ROW
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

// ---- edge values ----

static const uint64_t ints[] = {0,
                                1,
                                2,
                                5,
                                31,
                                0x7f,
                                0x80,
                                0xff,
                                0x7fff,
                                0x8000,
                                0xffff,
                                0x12345678,
                                0x7fffffff,
                                0x80000000,
                                0xfffffffe,
                                0xffffffff,
                                0x100000000,
                                0x123456789abcdef0,
                                0x7fffffffffffffff,
                                0x8000000000000000,
                                0xffffffff80000000,
                                0xfffffffffffffffb,
                                0xffffffffffffffff};
static const uint64_t shifts[] = {0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, 255, 0xffffffff};
static const uint32_t floats[] = {
    0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000,
    0x3f7fffff, 0x40490fdb, 0xc2c80000, 0x42fe3333, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000,
    0x4f800000, 0x3f000000, 0x3fc00000, 0xc0200000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
    0x7fc00000, 0xffc00001, 0x477fefff, 0x477ff000, 0x33000000, 0x38800000, 0x43e80000, 0x3b800000};
static const uint64_t doubles[] = {0,
                                   0x8000000000000000,
                                   1,
                                   0x000fffffffffffff,
                                   0x3ff0000000000000,
                                   0xbff0000000000000,
                                   0x3fe0000000000000,
                                   0x4004000000000000,
                                   0x400921fb54442d18,
                                   0xc0f86a0000000000,
                                   0x41dfffffffc00000,
                                   0x43e0000000000000,
                                   0x43f0000000000000,
                                   0x7fefffffffffffff,
                                   0xffefffffffffffff,
                                   0x7ff0000000000000,
                                   0xfff0000000000000,
                                   0x7ff8000000000000,
                                   0x3690000000000000,
                                   0x3810000000000001,
                                   0x47efffffe0000000,
                                   0x3ff0000010000000,
                                   0x40effe0000000001};
static const uint32_t halfs[] = {0,      0x8000, 1,      0x8001, 0x3ff,  0x400,  0x3c00,
                                 0xbc00, 0x3c01, 0x3bff, 0x4248, 0xd640, 0x7bff, 0xfbff,
                                 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x0c00, 0x2e66};
static const uint32_t bhalfs[] = {0,      0x8000, 1,      0x8001, 0x7f,   0x80,   0x3f80,
                                  0xbf80, 0x3f81, 0x3f7f, 0x4049, 0xc2c8, 0x7f7f, 0xff7f,
                                  0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x0c00, 0x2e66};

#define COUNT(x) (unsigned)(sizeof(x) / sizeof((x)[0]))
static unsigned n_values(char kind)
{
    switch (kind) {
    case 'i':
        return COUNT(ints);
    case 's':
        return COUNT(shifts);
    case 'f':
        return COUNT(floats);
    case 'd':
        return COUNT(doubles);
    default:
        return COUNT(halfs);
    }
}
static uint64_t value(char kind, unsigned i)
{
    switch (kind) {
    case 'i':
        return ints[i];
    case 's':
        return shifts[i];
    case 'f':
        return floats[i];
    case 'd':
        return doubles[i];
    case 'H':
        return halfs[i];
    case 'B':
        return bhalfs[i];
    case 'G':
        return halfs[i] | halfs[(i * 7 + 3) % COUNT(halfs)] << 16;
    default:
        return bhalfs[i] | bhalfs[(i * 7 + 3) % COUNT(bhalfs)] << 16;
    }
}

// ---- running ----

static size_t add_kernel(char *text, size_t n, unsigned id, const struct row *r)
{
    static const char *const type[] = {['h'] = "b16", ['w'] = "b32", ['l'] = "b64", ['p'] = "pred"};
    size_t at = 0;
#define ADD(...) at += (size_t)snprintf(text + at, n - at, __VA_ARGS__)
    ADD(".visible .entry t%u(.param .u64 p)\n{\n.reg .b64 %%rd<9>; .reg .b32 %%r<4>;\n", id);
    for (unsigned i = 0; r->sig[i]; i++) {
        ADD(".reg .%s v%u;\n", type[(int)r->sig[i]], i);
    }
    ADD("ld.param.u64 %%rd0, [p];\nmov.u32 %%r0, %%tid.x;\nmov.u32 %%r1, %%ctaid.x;\n"
        "mov.u32 %%r2, %%ntid.x;\nmad.lo.u32 %%r0, %%r1, %%r2, %%r0;\nmul.wide.u32 %%rd1, %%r0, "
        "32;\n"
        "add.u64 %%rd0, %%rd0, %%rd1;\n");
    for (unsigned i = 1; r->sig[i]; i++) {
        ADD("ld.global.u64 %%rd%u, [%%rd0+%u];\n", i + 1, i * 8);
        ADD(r->sig[i] == 'l'   ? "mov.b64 v%u, %%rd%u;\n"
            : r->sig[i] == 'w' ? "cvt.u32.u64 v%u, %%rd%u;\n"
                               : "cvt.u16.u64 v%u, %%rd%u;\n",
            i, i + 1);
    }
    for (const char *p = r->ptx; *p; p++) {
        if (*p == '$' && p[1] >= 'a' && p[1] <= 'd') {
            ADD("v%u", p[1] == 'd' ? 0 : (unsigned)(p[1] - 'a') + 1);
            p++;
        } else {
            ADD("%c", *p);
        }
    }
    ADD(r->sig[0] == 'l'   ? "\nmov.b64 %%rd8, v0;\n"
        : r->sig[0] == 'w' ? "\ncvt.u64.u32 %%rd8, v0;\n"
        : r->sig[0] == 'h' ? "\ncvt.u64.u16 %%rd8, v0;\n"
                           : "\nselp.u64 %%rd8, 1, 0, v0;\n");
    ADD("st.global.u64 [%%rd0], %%rd8;\nret;\n}\n");
#undef ADD
    return at;
}

static bool nan16(uint64_t v)
{
    return (v & 0x7fff) > 0x7c00;
}
static bool equal16(uint64_t got, uint64_t want, bool bf)
{
    uint64_t inf = bf ? 0x7f80 : 0x7c00;
    bool nan = (want & 0x7fff) > inf;
    return nan ? (got & 0x7fff) > inf : got == want;
}

static bool agree(const struct row *r, uint64_t got, uint64_t want)
{
    bool bf = strstr(r->ptx, "bf16") != NULL;
    switch (r->compare) {
    case EXACT:
        return got == want;
    case F32:
        return isnan(f32_of((uint32_t)want)) ? isnan(f32_of((uint32_t)got)) : got == want;
    case F64:
        return isnan(f64_of(want)) ? isnan(f64_of(got)) : got == want;
    case F16:
        return equal16(got, want, bf);
    case F16Z: // relu: the sign of a zero is not said
        return equal16(got, want, bf) || (got & 0x7fff) + (want & 0x7fff) == 0 ||
               (nan16(want) && got == 0);
    case F16X2:
        return equal16(got & 0xffff, want & 0xffff, bf) && equal16(got >> 16, want >> 16, bf);
    case NEAR: { // the approximations: within 4 ulp of the C library's result, itself within 1
        float g = f32_of((uint32_t)got), w = f32_of((uint32_t)want);
        if (isnan(w) || isinf(w) || w == 0) {
            return isnan(w) ? isnan(g) : g == w;
        }
        return fabsf(g - w) <= 0x1p-21f * fabsf(w) + 0x1p-148f;
    }
    }
    return false;
}

static void run_row(struct vg_module *m, unsigned id, unsigned checks)
{
    const struct row *r = &rows[id];
    unsigned n_src = (unsigned)strlen(r->values), dim[3] = {1, 1, 1}, total = 1;
    for (unsigned i = 0; i < n_src; i++) {
        dim[i] = n_values(r->values[i]);
        total *= dim[i];
    }
    enum { BLOCK = 128 };
    unsigned step = total > 6000 ? 7 : 1, n = (total + step - 1) / step; // 7 divides no dimension
    unsigned blocks = (n + BLOCK - 1) / BLOCK;
    uint64_t *data = calloc((size_t)blocks * BLOCK * 4, 8);
    cr_assert(data != NULL);
    for (unsigned i = 0; i < blocks * BLOCK; i++) {
        unsigned k = i * step % total;
        for (unsigned s = 0; s < n_src; s++) {
            data[4 * i + 1 + s] = value(r->values[s], k % dim[s]);
            k /= dim[s];
        }
    }
    uint64_t p = vgt_mem(data, (uint64_t)blocks * BLOCK * 32);
    char name[16];
    snprintf(name, sizeof(name), "t%u", id);
    vgt_ok(m, name, (struct vgt_run){.grid = blocks, .block = BLOCK, .checks = checks}, &p, 8);
    uint64_t *out = calloc((size_t)blocks * BLOCK * 4, 8);
    cr_assert(out != NULL);
    vgt_get(out, p, (uint64_t)blocks * BLOCK * 32);
    for (unsigned i = 0; i < n; i++) {
        const uint64_t *in = &data[4 * i + 1];
        uint64_t a = in[0], b = n_src > 1 ? in[1] : 0, c = n_src > 2 ? in[2] : 0;
        uint64_t want = r->oracle(a, b, c), got = out[4 * i];
        cr_expect(agree(r, got, want), "%s(0x%llx, 0x%llx, 0x%llx) = 0x%llx, 0x%llx expected",
                  r->ptx, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c,
                  (unsigned long long)got, (unsigned long long)want);
        if (!agree(r, got, want)) {
            break;
        }
    }
    vg_mem_free(p);
    free(data);
    free(out);
}

static void run_all(unsigned checks)
{
    vgt_open();
    size_t max = N_ROWS * 2000 + 200, at;
    char *text = malloc(max);
    cr_assert(text != NULL);
    at = (size_t)snprintf(text, max, ".version 9.0\n.target sm_90a\n.address_size 64\n");
    for (unsigned i = 0; i < N_ROWS; i++) {
        at += add_kernel(text + at, max - at, i, &rows[i]);
    }
    struct vg_module *m = vgt_load(text);
    for (unsigned i = 0; i < N_ROWS; i++) {
        run_row(m, i, checks);
    }
    vg_module_free(m);
    free(text);
}

Test(vgpu_alu, every_instruction_and_type_against_c)
{
    run_all(VG_CHECK_BOUNDS);
}

Test(vgpu_alu, the_code_for_older_processors_too)
{
    setenv("VGPU_SIMD", "v3", 1);
    run_all(0);
}

Test(vgpu_alu, the_code_for_any_processor_too)
{
    setenv("VGPU_SIMD", "base", 1);
    run_all(0);
}
