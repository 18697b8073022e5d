// SPDX-License-Identifier: Apache-2.0
// The sums of tensor instructions, bit for bit, in the order that tcore.h promises: for every
// instruction set that this CPU has, every type, numbers of any bits.
#include <math.h>

#include "tcore.h"
#include "vgt.h"

static const struct {
    enum ptx_type t;
    unsigned k[2]; // of mma.sync; k[1] of wgmma too, 32 bytes (half bytes: not in wgmma)
    const char *name;
} types[] = {
    {PTX_BF16, {8, 16}, "bf16"},  {PTX_F16, {8, 16}, "f16"},    {PTX_TF32, {4, 8}, "tf32"},
    {PTX_E4M3, {16, 32}, "e4m3"}, {PTX_E5M2, {16, 32}, "e5m2"}, {PTX_S8, {16, 32}, "s8"},
    {PTX_U8, {16, 32}, "u8"},     {PTX_S4, {32, 64}, "s4"},     {PTX_U4, {32, 64}, "u4"},
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return isnan(f) ? 0x7FFFFFFF : u;
}

static float number(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

// Words of numbers: any bits, or mostly ordinary ones, so that sums stay finite.
static uint32_t word(enum ptx_type t, bool any)
{
    uint32_t r = vgt_random();
    return any || vg_tc_is_int(t) ? r
           : t == PTX_TF32        ? (r & 0x80FFFFFF) | 0x3F000000
           : t == PTX_BF16        ? (r & 0x80FF80FF) | 0x3F003F00
           : t == PTX_F16         ? (r & 0x8FFF8FFF) | 0x30003000
                                  : (r & 0x8F8F8F8F) | 0x30303030;
}

// Element x along k of a row whose words lie w[x / (4 per)][x / per % 4].
static float at(enum ptx_type t, const uint32_t *const w[], unsigned row, unsigned x)
{
    unsigned per = vg_tc_per_reg(t);
    return vg_tc_element(t, w[x / (4 * per)][row % 8 * 4 + x / per % 4], x % per);
}

struct tile {
    uint32_t a[8][32], b[4][32], c[4][32];
    const uint32_t *ra[8], *rb[4];
    const uint32_t *row[2][4]; // registers of rows 0..7 and 8..15
};

static void fill(struct tile *q, enum ptx_type ta, enum ptx_type tb, unsigned n_i, bool any)
{
    for (unsigned i = 0; i < 4 * n_i; i++) {
        q->row[i % n_i][i / n_i] = q->a[i];
    }
    for (unsigned l = 0; l < 32; l++) {
        for (unsigned i = 0; i < 8; i++) {
            q->a[i][l] = word(ta, any);
            q->ra[i] = q->a[i];
        }
        for (unsigned i = 0; i < 4; i++) {
            q->b[i][l] = word(tb, any);
            q->rb[i] = q->b[i];
            q->c[i][l] = any ? vgt_random() : bits((float)(vgt_random() % 999) - 500);
        }
    }
}

static void compare(const struct vg_tensor *v, unsigned level, unsigned ia, unsigned ib, unsigned k,
                    unsigned n_i, bool any)
{
    enum ptx_type ta = types[ia].t, tb = types[ib].t;
    static struct tile q;
    static uint32_t a[2 * VG_TC_MAX_STEPS * 32], b[2 * VG_TC_MAX_STEPS * 4], acc[128], d[128];
    const unsigned steps = vg_tc_steps(ta, k);
    const bool is_int = vg_tc_is_int(ta);
    fill(&q, ta, tb, n_i, any);
    v->a_from_regs(ta, n_i, k, q.ra, a);
    v->b_from_regs(tb, k, q.rb, b);
    (is_int ? v->multiply_int : v->multiply_float)(1, n_i, steps, a, b, acc);
    v->mma(ta, tb, n_i, k, q.ra, q.rb, d);
    for (unsigned i = 0; i < 64 * n_i; i++) {
        bool nan = !is_int && isnan(number(d[i])) && isnan(number(acc[i]));
        cr_assert(nan || d[i] == acc[i], "level %u %s k %u: two ways to %08x and %08x", level,
                  types[ia].name, k, d[i], acc[i]);
    }
    bool flag = vgt_random() & 1; // saturates, or is negated
    for (unsigned i = 0; i < 2 * n_i; i++) {
        const uint32_t *c = vgt_random() & 3 ? q.c[i] : NULL;
        (is_int ? v->add_s32 : v->add_f32)(d + i * 32, c, acc + i * 32, flag);
        for (unsigned l = 0; l < 32; l++) {
            unsigned row = l / 4, col = 2 * (l % 4) + i % 2;
            float s = 0;
            int64_t sum = 0;
            for (unsigned x = 0; x < k; x++) {
                float p = at(ta, q.row[i / 2], row, x), r = at(tb, q.rb, col, x);
                float product = p * r;
                s = s + product;
                sum += is_int ? (int64_t)p * (int64_t)r : 0;
            }
            uint32_t want;
            if (is_int) {
                sum += c ? (int32_t)c[l] : 0;
                sum = flag && sum > INT32_MAX   ? INT32_MAX
                      : flag && sum < INT32_MIN ? INT32_MIN
                                                : sum;
                want = (uint32_t)sum;
            } else {
                s = flag ? -s : s;
                want = bits(c ? s + number(c[l]) : s);
            }
            cr_assert(d[i * 32 + l] == want,
                      "level %u %s x %s k %u, rows %u, lane %u of row %u: %08x, want %08x", level,
                      types[ia].name, types[ib].name, k, 8 * n_i, l, i, d[i * 32 + l], want);
        }
    }
}

Test(tcore, sums_have_the_promised_order_at_every_level)
{
    for (unsigned level = 0; level < 3; level++) {
        const struct vg_tensor *v = vg_tensor_of(level);
        for (unsigned i = 0; v && i < TYPES * TYPES; i++) {
            unsigned ia = i / TYPES, ib = i % TYPES;
            if (types[ia].k[0] != types[ib].k[0] ||
                vg_tc_is_int(types[ia].t) != vg_tc_is_int(types[ib].t)) {
                continue;
            }
            for (unsigned round = 0; round < 32; round++) {
                compare(v, level, ia, ib, types[ia].k[round & 1], 1 + (round >> 1 & 1), round & 4);
            }
        }
    }
    cr_assert(vg_tensor_of(0) != NULL);
}

Test(tcore, halves_are_added_and_rounded_once)
{
    static uint32_t c[32], acc[64], d[32];
    for (unsigned round = 0; round < 4000; round++) {
        bool any = round & 1, negate = round & 2, has_c = round & 4;
        for (unsigned l = 0; l < 32; l++) {
            c[l] = any ? vgt_random() : vgt_random() & 0xBFFFBFFF;
            acc[l] = any ? vgt_random() : bits((float)(int32_t)vgt_random() * 0x1p-18f);
            acc[l + 32] = any ? vgt_random() : bits((float)(int32_t)vgt_random() * 0x1p-40f);
        }
        for (unsigned level = 0; level < 3 && vg_tensor_of(level); level++) {
            vg_tensor_of(level)->add_f16(d, has_c ? c : NULL, acc, negate);
            for (unsigned l = 0; l < 64; l++) {
                float s = number(acc[l]);
                s = negate ? -s : s;
                s = has_c ? s + vg_half_to_float((uint16_t)(c[l % 32] >> (l / 32 * 16))) : s;
                uint16_t got = (uint16_t)(d[l % 32] >> (l / 32 * 16)), want = vg_float_to_half(s);
                cr_assert(got == want, "level %u lane %u: %04x, want %04x", level, l, got, want);
            }
        }
    }
}

// 256 columns of 32 bytes against the same columns, 8 at a time, as registers hold them.
Test(tcore, columns_of_memory_and_of_registers_are_one)
{
    static uint32_t row[256][8], all[VG_TC_MAX_N * VG_TC_MAX_STEPS], one[VG_TC_MAX_STEPS * 8];
    for (unsigned i = 0; i < 256 * 8; i++) {
        row[i / 8][i % 8] = vgt_random();
    }
    for (unsigned level = 0; level < 3 && vg_tensor_of(level); level++) {
        const struct vg_tensor *v = vg_tensor_of(level);
        for (unsigned i = 0; i < TYPES && types[i].k[1] <= 32; i++) {
            unsigned steps = vg_tc_steps(types[i].t, types[i].k[1]);
            v->b_from_rows(types[i].t, 32, row[0], all);
            for (unsigned j = 0; j < 32; j++) {
                uint32_t reg[2][32];
                for (unsigned l = 0; l < 32; l++) {
                    reg[0][l] = row[j * 8 + l / 4][l % 4];
                    reg[1][l] = row[j * 8 + l / 4][4 + l % 4];
                }
                const uint32_t *rb[2] = {reg[0], reg[1]};
                v->b_from_regs(types[i].t, types[i].k[1], rb, one);
                cr_assert(memcmp(one, all + j * steps * 8, steps * 32) == 0,
                          "%s, level %u, group %u", types[i].name, level, j);
            }
        }
    }
}
