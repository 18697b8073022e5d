// SPDX-License-Identifier: Apache-2.0
// PTX text through parser, decoder and executor: what is refused and how, memory and atomics of
// every type, collectives, barriers, schedules, deadlocks, register definedness.
#include "atom.h"
#include "vgt.h"

#define HEAD ".version 9.0\n.target sm_90a\n.address_size 64\n"
#define KERNEL(body) HEAD ".visible .entry k(.param .u64 p)\n{\n" body "\nret;\n}\n"
// %rd0: buffer, %r0: thread, %rd1: address of the thread's 8 bytes
#define START \
    ".reg .b64 %rd<20>; .reg .b32 %r<20>; .reg .b16 %h<9>; .reg .pred %p<9>; .reg .f32 %f<9>;\n" \
    "ld.param.u64 %rd0, [p];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %rd1, %r0, 8;\n" \
    "add.u64 %rd1, %rd0, %rd1;\n"

// A kernel of START, the formatted text and the end, in out.
__attribute__((format(printf, 3, 4))) static void wrap(char *out, size_t n, const char *fmt, ...)
{
    va_list ap;
    size_t at = (size_t)snprintf(out, n, "%s", HEAD ".visible .entry k(.param .u64 p)\n{\n" START);
    va_start(ap, fmt);
    at += (size_t)vsnprintf(out + at, n - at, fmt, ap);
    va_end(ap);
    cr_assert(at + 8 < n);
    snprintf(out + at, n - at, "\nret;\n}\n");
}

static void run_text(const char *ptx, struct vgt_run r, uint64_t p)
{
    struct vg_module *m = vgt_load(ptx);
    vgt_ok(m, "k", r, &p, 8);
    vg_module_free(m);
}

// Runs a kernel over 32 threads; out[i] is what thread i left in its 8 bytes.
static void run_lanes(const char *ptx, uint64_t out[32])
{
    uint64_t p = vgt_mem(out, 256);
    for (uint64_t seed = 0; seed < 2; seed++) {
        cr_assert(vg_mem_host_write(p, out, 256));
        run_text(ptx,
                 (struct vgt_run){
                     .block = 32, .seed = seed, .checks = seed ? VG_CHECK_ALL : VG_CHECK_BOUNDS},
                 p);
    }
    vgt_get(out, p, 256);
    vg_mem_free(p);
}

// ---- refusals ----

Test(vgpu_front, parser_names_the_line_of_what_it_does_not_take)
{
    static const struct {
        const char *ptx, *want;
    } rows[] = {
        {HEAD ".visible .entry k(.param .u64 p)\n{\n.reg .b32 %r<2>;\nadd.s32 %r1, %r0 %r0;\n}",
         "line 7"},
        {HEAD ".visible .entry k()\n{\nbra $nowhere;\n}", "unknown name \"$nowhere\""},
        {HEAD ".visible .entry k()\n{\n@%p1 ret;\n}", "unknown guard"},
        {HEAD ".global .align 3 .b8 x[4];", "power of two"},
        {HEAD ".global .u32 x = {1, 2};", "too many initial values"},
        {HEAD ".visible .entry k()\n{\nret;\n", "does not end"},
        {HEAD ".bogus", "unknown directive"},
        {HEAD ".func f() { ret; }\n.func f() { ret; }", "defined twice"},
        {HEAD ".extern .global .u32 away;", "unresolved"},
        {HEAD ".global .u64 x = missing;", "unknown symbol"},
        {"\x7f"
         "ELF",
         "PTX line 1"},
    };
    vgt_open();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char err[256] = "";
        struct vg_module *m = vg_module_load(rows[i].ptx, strlen(rows[i].ptx), 0, err, sizeof(err));
        cr_assert(m == NULL, "row %zu was taken", i);
        cr_assert(strstr(err, rows[i].want) != NULL, "row %zu: \"%s\", \"%s\" expected", i, err,
                  rows[i].want);
    }
}

Test(vgpu_front, parser_survives_every_truncation)
{
    static const char ptx[] = HEAD
        ".const .align 4 .b8 t[4] = {1, 2, 3, 4};\n.global .u64 q[1] = {generic(t)+1};\n"
        ".func (.param .b32 r) f(.param .align 8 .b8 a[16], .param .b32 b)\n{\n.reg .b32 %r<3>;\n"
        "ld.param.u32 %r1, [a+4];\nst.param.b32 [r+0], %r1;\nret;\n}\n"
        ".visible .entry k(.param .u64 p)\n.maxntid 64, 1, 1\n{\n.reg .pred %p<2>; .reg .b32 "
        "%r<4>;\n"
        "{ .reg .pred P1; setp.eq.s32 P1, %r1, 0; L: @P1 bra L; }\n"
        "$t: .branchtargets $a, $b;\nbrx.idx %r1, $t;\n$a: $b: ret;\n}\n";
    vgt_open();
    for (size_t n = 0; n < sizeof(ptx); n++) {
        char err[256] = "";
        struct vg_module *m = vg_module_load(ptx, n, 0, err, sizeof(err));
        cr_assert(m != NULL || err[0], "cut at %zu: no reason given", n);
        vg_module_free(m);
    }
}

Test(vgpu_front, unsupported_instruction_is_named_with_its_line_at_launch)
{
    static const char *const ptx =
        KERNEL(START "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd0, {%f1, %f2}];");
    vgt_open();
    struct vg_module *m = vgt_load(ptx);
    uint64_t p = 0;
    char err[256];
    enum vg_result r = vgt_try(m, "k", (struct vgt_run){.block = 1}, &p, 8, err);
    cr_assert(r == VG_UNSUPPORTED, "%d", r);
    cr_assert(strstr(err, "PTX line 11") && strstr(err, "tex.2d.v4"), "%s", err);
    vg_module_free(m);
}

Test(vgpu_front, launches_that_do_not_fit_are_refused)
{
    vgt_open();
    struct vg_module *m = vgt_load(KERNEL(START));
    uint64_t p = 0;
    char err[256];
    cr_assert(vgt_try(m, "k", (struct vgt_run){.block = 1025}, &p, 8, err) == VG_BAD_LAUNCH);
    cr_assert(vgt_try(m, "k", (struct vgt_run){.grid = 3, .cluster = 2}, &p, 8, err) ==
              VG_BAD_LAUNCH);
    cr_assert(vgt_try(m, "k", (struct vgt_run){.block = 1}, &p, 4, err) == VG_BAD_LAUNCH);
    vg_module_free(m);
}

// ---- memory ----

Test(vgpu_exec, loads_and_stores_of_every_width_extend_and_cut)
{
    static const struct {
        const char *body;
        uint64_t want;
    } rows[] = {
        {"ld.global.u8 %r1, [%rd1+7]; cvt.u64.u32 %rd2, %r1;", 0x88},
        {"ld.global.s8 %r1, [%rd1+7]; cvt.u64.u32 %rd2, %r1;", 0xffffff88},
        {"ld.global.s8 %h1, [%rd1+7]; cvt.u64.u16 %rd2, %h1;", 0xff88},
        {"ld.global.s16 %rd2, [%rd1+6];", 0xffffffffffff8877},
        {"ld.global.u16 %rd2, [%rd1+6];", 0x8877},
        {"ld.global.s32 %rd2, [%rd1+4];", 0xffffffff88776655},
        {"ld.global.cg.b64 %rd2, [%rd1];", 0x8877665544332211},
        {"ld.global.v4.u8 {%h1, %h2, %h3, %h4}, [%rd1+4]; mov.b64 %rd2, {%h4, %h3, %h2, %h1};",
         0x0055006600770088},
        {"ld.global.v2.b16 {%h1, _}, [%rd1+4]; cvt.u64.u16 %rd2, %h1;", 0x6655},
        {"ld.global.v2.f32 {%f1, %f2}, [%rd1]; mov.b64 %rd2, {%f2, %f1};", 0x4433221188776655},
        {"ld.volatile.global.u32 %r1, [%rd1+4]; st.volatile.global.u8 [%rd1+1], %r1; ld.b64 %rd2, "
         "[%rd1];",
         0x8877665544335511},
        {"ld.acquire.gpu.global.u32 %r1, [%rd1]; st.release.sys.global.u16 [%rd1+6], %r1; "
         "ld.relaxed.gpu.b64 %rd2, [%rd1];",
         0x2211665544332211},
        {"ld.global.L1::no_allocate.L2::128B.v2.u32 {%r1, %r2}, [%rd1]; mov.b64 %rd2, {%r2, %r1};",
         0x4433221188776655},
        {".shared .align 8 .b8 s[256]; shl.b32 %r3, %r0, 3; mov.u32 %r4, s; add.u32 %r3, %r3, %r4; "
         "ld.global.b64 %rd2, [%rd1]; st.shared.b64 [%r3], %rd2; ld.shared.u16 %rd2, [%r3+2];",
         0x4433},
        {".shared .align 8 .b8 s[256]; mul.wide.u32 %rd3, %r0, 8; mov.u64 %rd4, s; cvta.shared.u64 "
         "%rd4, %rd4; add.u64 %rd3, %rd3, %rd4; ld.b64 %rd2, [%rd1]; st.b64 [%rd3], %rd2; "
         "cvta.to.shared.u64 %rd3, %rd3; ld.shared.u8 %rd2, [%rd3+3];",
         0x44},
        {".local .align 8 .b8 l[16]; mov.u64 %rd4, l; cvta.local.u64 %rd5, %rd4; ld.b64 %rd2, "
         "[%rd1]; st.b64 [%rd5+8], %rd2; ld.local.s8 %rd2, [l+15];",
         0xffffffffffffff88},
        {"mov.b64 %rd3, p; cvta.param.u64 %rd3, %rd3; ld.u64 %rd3, [%rd3]; sub.u64 %rd2, %rd3, "
         "%rd0;",
         0},
        {"isspacep.shared %p1, %rd1; isspacep.global %p2, %rd1; selp.b64 %rd2, 1, 0, %p1; @%p2 "
         "add.u64 %rd2, %rd2, 2;",
         2},
    };
    vgt_open();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char ptx[2000];
        wrap(ptx, sizeof(ptx), "%s\nst.global.b64 [%%rd1], %%rd2;", rows[i].body);
        uint64_t out[32];
        for (int l = 0; l < 32; l++) {
            out[l] = 0x8877665544332211;
        }
        run_lanes(ptx, out);
        for (int l = 0; l < 32; l++) {
            cr_assert(out[l] == rows[i].want, "%s: lane %d 0x%llx, 0x%llx expected", rows[i].body,
                      l, (unsigned long long)out[l], (unsigned long long)rows[i].want);
        }
    }
}

Test(vgpu_exec, atomics_of_every_operation_and_type)
{
    static const struct {
        const char *op, *type;
        unsigned bytes;
        uint64_t old, b, c, want;
    } rows[] = {
        {"and", "b32", 4, 0xff00ff00, 0x0ff00ff0, 0, 0x0f000f00},
        {"or", "b64", 8, 1, 1ull << 63, 0, 1ull << 63 | 1},
        {"xor", "b32", 4, 0xffffffff, 0x0f0f0f0f, 0, 0xf0f0f0f0},
        {"exch", "b64", 8, 5, ~0ull, 0, ~0ull},
        {"cas", "b16", 2, 7, 7, 9, 9},
        {"cas", "b32", 4, 7, 8, 9, 7},
        {"cas", "b64", 8, 1ull << 40, 1ull << 40, 3, 3},
        {"add", "u32", 4, 0xffffffff, 2, 0, 1},
        {"add", "s32", 4, 5, 0xfffffff0, 0, 0xfffffff5},
        {"add", "u64", 8, ~0ull, 2, 0, 1},
        {"inc", "u32", 4, 5, 5, 0, 0},
        {"inc", "u32", 4, 4, 5, 0, 5},
        {"dec", "u32", 4, 0, 5, 0, 5},
        {"dec", "u32", 4, 9, 5, 0, 5},
        {"dec", "u32", 4, 3, 5, 0, 2},
        {"min", "s32", 4, 1, 0xffffffff, 0, 0xffffffff},
        {"min", "u32", 4, 1, 0xffffffff, 0, 1},
        {"max", "s64", 8, 1, ~0ull, 0, 1},
        {"max", "u64", 8, 1, ~0ull, 0, ~0ull},
        {"add", "f32", 4, 0x3f800000, 0xbf000000, 0, 0x3f000000},
        {"add", "f32", 4, 0x7f800000, 0xff800000, 0, 0x7fffffff},
        {"add", "f64", 8, 0x3ff0000000000000, 0x4000000000000000, 0, 0x4008000000000000},
        {"add.noftz", "f16", 2, 0x0001, 0x0001, 0, 0x0002},
        {"add.noftz", "f16x2", 4, 0x3c007bff, 0x4000fbff, 0, 0x42000000},
        {"add.noftz", "bf16x2", 4, 0x3f803f80, 0x3f804000, 0, 0x40004040},
        {"add.noftz", "bf16", 2, 0x7f80, 0x3f80, 0, 0x7f80},
    };
    vgt_open();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int red = 0; red < 2; red++) {
            bool cas = strcmp(rows[i].op, "cas") == 0, wide = rows[i].bytes == 8;
            const char *reg = wide ? "%rd" : rows[i].bytes == 2 ? "%h" : "%r";
            if (red && (cas || strcmp(rows[i].op, "exch") == 0)) {
                continue;
            }
            char ptx[1500], c[8] = "", d[8] = "";
            if (cas) {
                snprintf(c, sizeof(c), ", %s5", reg);
            }
            if (!red) {
                snprintf(d, sizeof(d), "%s6, ", reg);
            }
            const char *b = wide ? "b64" : rows[i].bytes == 2 ? "b16" : "b32";
            wrap(ptx, sizeof(ptx),
                 "ld.global.%s %s4, [%%rd1+16]; ld.global.%s %s5, [%%rd1+24];\n"
                 "%s.global.%s.%s %s[%%rd1], %s4%s;\n%s",
                 b, reg, b, reg, red ? "red.relaxed.gpu" : "atom.acq_rel.gpu", rows[i].op,
                 rows[i].type, d, reg, c,
                 red                  ? ""
                 : wide               ? "st.global.b64 [%rd1+8], %rd6;"
                 : rows[i].bytes == 2 ? "st.global.b16 [%rd1+8], %h6;"
                                      : "st.global.b32 [%rd1+8], %r6;");
            uint64_t data[4] = {rows[i].old, 0, rows[i].b, rows[i].c}, p = vgt_mem(data, 32);
            run_text(ptx, (struct vgt_run){.block = 1, .checks = VG_CHECK_ALL}, p);
            vgt_get(data, p, 32);
            cr_assert(data[0] == rows[i].want, "%s.%s: 0x%llx, 0x%llx expected", rows[i].op,
                      rows[i].type, (unsigned long long)data[0], (unsigned long long)rows[i].want);
            cr_assert(red || data[1] == rows[i].old, "%s.%s returned 0x%llx", rows[i].op,
                      rows[i].type, (unsigned long long)data[1]);
            vg_mem_free(p);
        }
    }
}

Test(vgpu_exec, vector_atomics)
{
    static const char *const ptx =
        KERNEL(START "mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f40000000;\n"
                     "red.relaxed.gpu.global.v2.f32.add [%rd0], {%f1, %f2};\n"
                     "mov.b32 %r1, 0x3c003c00; mov.b32 %r2, 0x40004000;\n"
                     "atom.global.v2.f16x2.add.noftz {%r3, %r4}, [%rd0+8], {%r1, %r2};");
    vgt_open();
    uint32_t data[4] = {0, 0, 0, 0}, want[4] = {0x42000000, 0x42800000, 0x50005000, 0x54005400};
    uint64_t p = vgt_mem(data, 16);
    run_text(ptx, (struct vgt_run){.block = 32, .checks = VG_CHECK_ALL}, p);
    vgt_get(data, p, 16);
    cr_assert(memcmp(data, want, 16) == 0, "%x %x %x %x", data[0], data[1], data[2], data[3]);
}

// ---- collectives ----

Test(vgpu_exec, collectives_of_the_warp)
{
    vgt_open();
    static const struct {
        const char *body;
        int what;
    } cases[] = {
        {"shfl.sync.up.b32 %r1|%p1, %r0, 3, 0, -1; selp.b32 %r2, 100, 0, %p1; add.u32 %r1, %r1, "
         "%r2;",
         0},
        {"shfl.sync.down.b32 %r1, %r0, 5, 0x0f1f, -1;", 1},
        {"shfl.sync.bfly.b32 %r1|%p1, %r0, 12, 0x1f, 0xffffffff;", 2},
        {"shfl.sync.idx.b32 %r1, %r0, 9, 0x181f, -1;", 3},
        {"setp.lt.u32 %p1, %r0, 7; vote.sync.ballot.b32 %r1, %p1, -1;", 4},
        {"setp.lt.u32 %p1, %r0, 40; vote.sync.all.pred %p2, !%p1, -1; vote.sync.uni.pred %p3, %p1, "
         "-1; selp.b32 %r1, 1, 0, %p2; @%p3 add.u32 %r1, %r1, 2;",
         5},
        {"and.b32 %r2, %r0, 3; match.any.sync.b32 %r1, %r2, -1;", 6},
        {"mov.b64 %rd5, 77; match.all.sync.b64 %r1|%p1, %rd5, -1; @!%p1 mov.b32 %r1, 0;", 7},
        {"redux.sync.add.u32 %r1, %r0, -1;", 8},
        {"sub.s32 %r2, %r0, 5; redux.sync.min.s32 %r1, %r2, -1;", 9},
        {"redux.sync.xor.b32 %r1, %r0, -1;", 10},
        {"elect.sync %r2|%p1, -1; selp.b32 %r1, 1, 0, %p1;", 11},
        {"and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra E; redux.sync.add.u32 %r1, %r0, "
         "0xaaaaaaaa; bra X; E: redux.sync.add.u32 %r1, %r0, 0x55555555; X:",
         12},
        {"and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 0; selp.b32 %r3, 0x55555555, 0xaaaaaaaa, %p1; "
         "redux.sync.max.u32 %r1, %r0, %r3;",
         13},
        {"setp.gt.u32 %p1, %r0, 29; @%p1 exit; activemask.b32 %r1; redux.sync.add.u32 %r2, %r0, "
         "-1; add.u32 %r1, %r1, %r2;",
         14},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char ptx[1500];
        uint64_t out[32] = {0};
        wrap(ptx, sizeof(ptx), "%s\ncvt.u64.u32 %%rd2, %%r1; st.global.b64 [%%rd1], %%rd2;",
             cases[i].body);
        run_lanes(ptx, out);
        for (unsigned l = 0; l < 32; l++) {
            uint64_t want = 0;
            switch (cases[i].what) {
            case 0:
                want = l >= 3 ? l - 3 + 100 : l;
                break;
            case 1: // segments of 16 lanes (mask 0x0f: the low bits of the lane number stay)
                want = l + 5 <= ((l & 15) | (31 & ~15u)) ? l + 5 : l;
                break;
            case 2:
                want = l ^ 12;
                break;
            case 3:
                want = ((l & 24) | (9 & ~24u)) <= ((l & 24) | (31 & ~24u)) ? (l & 24) | 1 : l;
                break;
            case 4:
                want = 127;
                break;
            case 5:
                want = 2;
                break;
            case 6:
                want = 0x11111111u << (l & 3);
                break;
            case 7:
                want = 0xffffffff;
                break;
            case 8:
                want = 496;
                break;
            case 9:
                want = (uint32_t)-5;
                break;
            case 10:
                want = 0;
                break;
            case 11:
                want = l == 0;
                break;
            case 12:
                want = l & 1 ? 256 : 240;
                break;
            case 13:
                want = l & 1 ? 31 : 30;
                break;
            default:
                want = l < 30 ? 0x3fffffffu + 435 : 0;
            }
            want = cases[i].what == 1 && l + 5 > 31 ? l : want;
            cr_assert(out[l] == want, "%s: lane %u 0x%llx, 0x%llx expected", cases[i].body, l,
                      (unsigned long long)out[l], (unsigned long long)want);
        }
    }
}

Test(vgpu_exec, barriers_with_reductions_and_counts)
{
    static const char *const ptx = KERNEL(
        START "setp.lt.u32 %p1, %r0, 40;\n"
              "barrier.cta.red.popc.aligned.u32 %r1, 1, %p1;\n"
              "barrier.red.and.pred %p2, 2, %p1;\nbar.red.or.pred %p3, 3, !%p1;\n"
              "selp.b32 %r2, 1000, 0, %p2;\nselp.b32 %r3, 2000, 0, %p3;\nadd.u32 %r1, %r1, %r2;\n"
              "add.u32 %r1, %r1, %r3;\nshr.u32 %r4, %r0, 5;\nsetp.eq.u32 %p4, %r4, 0;\n"
              ".shared .b32 flag;\n@%p4 bra PRODUCE;\nbar.sync 5, 96;\nld.shared.u32 %r5, [flag];\n"
              "add.u32 %r1, %r1, %r5;\nbra DONE;\nPRODUCE:\nmov.u32 %r6, 10000;\n"
              "setp.eq.u32 %p5, %r0, 0;\n@%p5 st.shared.u32 [flag], %r6;\nbar.warp.sync -1;\n"
              "bar.arrive 5, 96;\nDONE:\ncvt.u64.u32 %rd2, %r1;\nst.global.b64 [%rd1], %rd2;");
    vgt_open();
    uint64_t out[96], p = vgt_mem(NULL, sizeof(out));
    for (uint64_t seed = 0; seed < 8; seed++) {
        run_text(ptx, (struct vgt_run){.block = 96, .seed = seed, .checks = VG_CHECK_ALL}, p);
        vgt_get(out, p, sizeof(out));
        for (unsigned i = 0; i < 96; i++) {
            uint64_t want = 40 + 2000 + (i >= 32 ? 10000 : 0);
            cr_assert(out[i] == want, "seed %u, thread %u: %u", (unsigned)seed, i,
                      (unsigned)out[i]);
        }
    }
}

Test(vgpu_exec, indexed_branch_and_scoped_labels)
{
    static const char *const ptx = KERNEL(
        START "and.b32 %r1, %r0, 3;\nT: .branchtargets A, B, C, B;\nbrx.idx %r1, T;\n"
              "A: mov.u32 %r2, 10; bra X;\nB: mov.u32 %r2, 20; bra X;\nC: mov.u32 %r2, 30;\nX:\n"
              "{ .reg .pred q; .reg .b32 %r2x; mov.u32 %r2x, 0;\nL: add.u32 %r2x, %r2x, 1;\n"
              "setp.lt.u32 q, %r2x, %r0; @q bra L;\nadd.u32 %r2, %r2, %r2x; }\n"
              "{ .reg .pred q; mov.u32 %r3, 3;\nL: sub.u32 %r3, %r3, 1; setp.ne.u32 q, %r3, 0; @q "
              "bra L; }\n"
              "cvt.u64.u32 %rd2, %r2; st.global.b64 [%rd1], %rd2;");
    vgt_open();
    uint64_t out[32] = {0};
    run_lanes(ptx, out);
    for (unsigned l = 0; l < 32; l++) {
        unsigned want = ((l & 3) == 0 ? 10 : (l & 3) == 2 ? 30 : 20) + (l ? l : 1);
        cr_assert(out[l] == want, "lane %u: %u, %u expected", l, (unsigned)out[l], want);
    }
}

// ---- findings ----

static void expect_finding(const char *ptx, unsigned block, enum vg_kind kind, const char *text)
{
    for (uint64_t seed = 0; seed < 6; seed++) {
        vg_findings_clear();
        struct vg_module *m = vgt_load(ptx);
        uint64_t p = vgt_mem(NULL, 4096);
        char err[256];
        vgt_try(m, "k", (struct vgt_run){.block = block, .seed = seed, .checks = VG_CHECK_ALL}, &p,
                8, err);
        bool found = false;
        for (unsigned i = 0; i < vg_findings(); i++) {
            const struct vg_finding_rec *f = vg_finding_at(i);
            found |= f->kind == kind && strstr(f->message, text) != NULL && f->where.ptx_line > 0;
        }
        if (!found) {
            vgt_print_findings();
        }
        cr_assert(found, "seed %u: no %s with \"%s\"", (unsigned)seed, vg_kind_name(kind), text);
        vg_module_free(m);
        vg_mem_free(p);
    }
}

Test(vgpu_exec, finds_what_hangs_and_what_is_undefined)
{
    vgt_open();
    expect_finding(
        KERNEL(START
               "setp.lt.u32 %p1, %r0, 7;\n@%p1 bra A;\nbar.sync 0;\nbra X;\nA:\nbar.sync 0;\nX:"),
        64, VG_BARRIER, "bar.sync");
    expect_finding(
        KERNEL(START
               "shr.u32 %r1, %r0, 5;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bar.sync 1, 64;\nbar.sync 2;"),
        96, VG_DEADLOCK, "no warp can run");
    expect_finding(KERNEL(START "setp.lt.u32 %p1, %r0, 7;\n@%p1 bra A;\nbar.sync 0;\nA:\n@%p1 "
                                "shfl.sync.idx.b32 %r1, %r0, 0, 31, -1;"),
                   32, VG_BARRIER, "shfl.sync");
    expect_finding(KERNEL(START "setp.gt.u32 %p1, %r0, 3;\n@%p1 add.u32 %r1, %r0, 1;\nadd.u32 %r2, "
                                "%r1, 1;\nst.global.u32 [%rd1], %r2;"),
                   32, VG_UNINITIALISED, "%r1");
    expect_finding(KERNEL(START "mov.b32 %r1, %r2;\nst.global.u32 [%rd1], %r1;"), 32,
                   VG_UNINITIALISED, "%r1");
    expect_finding(KERNEL(START "shfl.sync.idx.b32 %r1, %r0, 20, 31, -1;"), 16, VG_COLLECTIVE,
                   "exited");
    expect_finding(KERNEL(START ".local .b32 l[2];\nld.local.u32 %r1, [l+4];"), 32,
                   VG_UNINITIALISED, "local");
    expect_finding(KERNEL(START "mul.wide.u32 %rd2, %r0, 4096;\n.local .b32 l[2];\nmov.u64 %rd3, "
                                "l;\nadd.u64 %rd3, %rd3, %rd2;\nst.local.u32 [%rd3], %r0;"),
                   32, VG_OUT_OF_BOUNDS, "local");
    expect_finding(KERNEL(START "trap;"), 32, VG_TRAP, "trap");
    expect_finding(KERNEL(START "mov.u32 %r1, 48;\nbar.sync 1, %r1;"), 64, VG_BARRIER,
                   "multiple of the warp size");
    expect_finding(
        KERNEL(START "mov.b64 %rd2, 12345;\nproto: .callprototype _ ();\ncall %rd2, (), proto;"),
        32, VG_OUT_OF_BOUNDS, "no function");
}

Test(vgpu_exec, registers_written_on_every_path_are_not_doubted)
{
    static const char *const ptx = KERNEL(
        START
        "setp.gt.u32 %p1, %r0, 3;\n@%p1 mov.u32 %r1, 1;\n@!%p1 mov.u32 %r1, 2;\nmov.u32 %r3, %r1;\n"
        "@%p1 mov.u32 %r5, 7;\nmov.u32 %r6, %r5;\n@%p1 add.u32 %r3, %r3, %r6;\n"
        "cvt.u64.u32 %rd2, %r3;\nst.global.b64 [%rd1], %rd2;");
    vgt_open();
    uint64_t out[32] = {0};
    run_lanes(ptx, out); // also: no finding
    for (unsigned l = 0; l < 32; l++) {
        cr_assert(out[l] == (l > 3 ? 8 : 2), "lane %u: %u", l, (unsigned)out[l]);
    }
}

// ---- threads ----

Test(vgpu_exec, threads_do_not_change_results_or_counts)
{
    static const char *const ptx = KERNEL(
        START "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmad.lo.u32 %r3, %r1, %r2, %r0;\n"
              "mul.wide.u32 %rd2, %r3, 8;\nadd.u64 %rd2, %rd0, %rd2;\nmov.u32 %r4, 0;\nL:\n"
              "mad.lo.u32 %r3, %r3, 1664525, 1013904223;\nadd.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, "
              "%r4, 50;\n"
              "@%p1 bra L;\ncvt.u64.u32 %rd3, %r3;\nst.global.b64 [%rd2], %rd3;");
    enum { N = 64 * 128 };
    static uint64_t one[N], two[N];
    uint64_t ops[2];
    vgt_open();
    struct vg_module *m = vgt_load(ptx);
    uint64_t p = vgt_mem(NULL, sizeof(one));
    for (int threads = 1; threads <= 2; threads++) {
        setenv("VGPU_THREADS", threads == 1 ? "1" : "2", 1);
        struct vg_launch l = {.kernel = vg_module_kernel(m, "k"),
                              .grid = {64, 1, 1},
                              .block = {128, 1, 1},
                              .params = &p,
                              .param_bytes = 8,
                              .seed = 5,
                              .checks = VG_CHECK_ALL};
        struct vg_launch_stats st;
        cr_assert(vg_launch_run(&l, &st) == VG_OK && vg_findings() == 0);
        ops[threads - 1] = st.thread_ops;
        vgt_get(threads == 1 ? one : two, p, sizeof(one));
    }
    cr_assert(memcmp(one, two, sizeof(one)) == 0 && ops[0] == ops[1], "%llu and %llu instructions",
              (unsigned long long)ops[0], (unsigned long long)ops[1]);
    vg_module_free(m);
}
