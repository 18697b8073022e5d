// SPDX-License-Identifier: Apache-2.0
// Device memory, findings and counters, without the executor.
#include "count.h"
#include "vgt.h"

Test(mem, allocations_stand_apart_and_are_filled)
{
    cr_assert(vg_mem_init(0, 1 << 20) && vg_mem_init(0, 1 << 20));
    uint64_t a = vg_mem_alloc(0, 100, 1, "first"), b = vg_mem_alloc(0, 1, 1024, "second");
    cr_assert(a && b && a % 256 == 0 && b % 1024 == 0);
    cr_assert(b - a >= 100 + 512, "red zone of %llu bytes", (unsigned long long)(b - a - 100));
    uint8_t byte = 0;
    bool uninit = false;
    cr_assert(vg_mem_host_read(&byte, a + 99, 1, &uninit) && byte == 0xCB && uninit);
    cr_assert(!vg_mem_host_read(&byte, a + 100, 1, NULL), "one past the end");
    cr_assert(!vg_mem_host_read(&byte, a - 1, 1, NULL), "one before");
    uint64_t base, bytes;
    int device;
    cr_assert(vg_mem_find(a + 99, &base, &bytes, &device) && base == a && bytes == 100 &&
              device == 0);
    cr_assert(!vg_mem_find(a + 100, &base, &bytes, &device));
    char text[200];
    vg_mem_describe(a + 112, text, sizeof(text));
    cr_assert(strstr(text, "12 bytes past the end of first (100 bytes"), "%s", text);
    vg_mem_describe(b - 4, text, sizeof(text));
    cr_assert(strstr(text, "4 bytes before second"), "%s", text);
}

Test(mem, copies_carry_what_was_written)
{
    cr_assert(vg_mem_init(0, 1 << 20));
    uint64_t a = vg_mem_alloc(0, 64, 1, "a"), b = vg_mem_alloc(0, 64, 1, "b");
    uint32_t v[4] = {1, 2, 3, 4}, w[4];
    bool uninit;
    cr_assert(vg_mem_host_write(a + 16, v, 16));
    cr_assert(vg_mem_copy(b, a, 64));
    cr_assert(vg_mem_host_read(w, b + 16, 16, &uninit) && !uninit && memcmp(v, w, 16) == 0);
    cr_assert(vg_mem_host_read(w, b + 12, 8, &uninit) && uninit);
    cr_assert(vg_mem_fill(b, 0xABCD, 2, 32) && vg_mem_host_read(w, b, 16, &uninit) && !uninit);
    cr_assert(w[3] == 0xABCDABCD);
    cr_assert(!vg_mem_fill(b, 0, 2, 33) && !vg_mem_copy(b, a, 65) && !vg_mem_host_write(b, v, 65));
    // An overlapping copy moves the marks as it moves the bytes.
    cr_assert(vg_mem_copy(a + 8, a, 40) && vg_mem_host_read(w, a + 24, 16, &uninit) && !uninit);
    cr_assert(memcmp(v, w, 16) == 0);
}

Test(mem, freed_bytes_stay_out_of_reach_until_the_range_is_used_up)
{
    cr_assert(vg_mem_init(0, 1 << 20));
    uint64_t total, left, first = vg_mem_alloc(0, 1 << 19, 1, "big");
    vg_mem_info(0, &left, &total);
    cr_assert(total == 1 << 20 && left == 1 << 19);
    cr_assert(vg_mem_alloc(0, (1 << 19) + 1, 1, "too much") == 0);
    cr_assert(!vg_mem_free(first + 256) && vg_mem_free(first) && !vg_mem_free(first));
    cr_assert(vg_mem_was_freed(first + 5));
    uint8_t byte;
    cr_assert(!vg_mem_host_read(&byte, first, 1, NULL));
    bool again = false;
    for (int i = 0; i < 1000 && !again; i++) {
        uint64_t p = vg_mem_alloc(0, 1 << 19, 1, "next");
        cr_assert(p != 0, "round %d", i);
        again = p == first;
        cr_assert(vg_mem_host_read(&byte, p + 1000, 1, NULL) && byte == 0xCB);
        cr_assert(vg_mem_free(p));
    }
    cr_assert(again, "the oldest range comes back");
}

Test(report, findings_are_counted_once_per_place_and_written_as_json)
{
    vg_findings_print(false);
    vg_findings_clear();
    struct vg_where w = {.kernel = "k", .file = "a \"b\".cu", .line = 7, .ptx_line = 70, .lane = 3};
    vg_finding(VG_MISALIGNED, &w, "address %d", 5);
    w.lane = 4;
    vg_finding(VG_MISALIGNED, &w, "address %d", 6);
    w.ptx_line = 71;
    vg_finding(VG_MISALIGNED, &w, "address %d", 7);
    vg_finding(VG_API, NULL, "host");
    vg_finding(VG_API, NULL, "other host");
    cr_assert(vg_findings() == 4, "%u", vg_findings());
    cr_assert(vg_finding_at(0)->count == 2 && strcmp(vg_finding_at(0)->message, "address 5") == 0);
    cr_assert(vg_finding_at(3)->where.kernel == NULL && vg_finding_at(4) == NULL);
    char text[4096] = "";
    FILE *f = fmemopen(text, sizeof(text) - 1, "w");
    vg_findings_json(f);
    fclose(f);
    cr_assert(strstr(text, "\"file\": \"a \\\"b\\\".cu\"") && strstr(text, "\"kind\": \"api\""),
              "%s", text);
    vg_findings_clear();
    cr_assert(vg_findings() == 0);
}

Test(count, sectors_and_wavefronts_follow_the_hardware)
{
    uint64_t a[32];
    uint32_t o[32];
    struct {
        unsigned stride, bytes, sectors, waves;
    } row[] = {
        {4, 4, 4, 1},      {8, 4, 8, 2}, {128, 4, 32, 32}, {0, 4, 1, 1},
        {16, 16, 16, 4},   {8, 8, 8, 2}, {32, 16, 32, 8},  {132, 4, 32, 1},
        {2, 2, 2, 1},      {1, 1, 1, 1}, {144, 16, 32, 4}, // padded rows: no conflict
        {128, 16, 32, 32}, // 8 rows of a 128-byte tile in one bank group
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        for (unsigned l = 0; l < 32; l++) {
            a[l] = 4096 + l * (uint64_t)row[i].stride;
            o[l] = 1024 + l * row[i].stride;
        }
        unsigned s = vg_count_sectors(a, ~0u, row[i].bytes),
                 w = vg_count_waves(o, ~0u, row[i].bytes);
        cr_assert(s == row[i].sectors && w == row[i].waves,
                  "stride %u, %u bytes: %u sectors, %u waves", row[i].stride, row[i].bytes, s, w);
    }
    cr_assert(vg_count_waves_ideal(~0u, 16) == 4 && vg_count_waves_ideal(0xFF, 16) == 1 &&
              vg_count_waves_ideal(~0u, 1) == 1 && vg_count_waves_ideal(0, 4) == 0);
}

// Wavefronts counted the plain way: by phase, the most words that one bank has to give.
static unsigned slow_waves(const uint32_t off[32], uint32_t mask, unsigned bytes)
{
    unsigned words = bytes < 4 ? 1 : bytes / 4, group = 32 / words, waves = 0;
    for (unsigned g = 0; g < 32; g += group) {
        unsigned worst = 0;
        for (unsigned bank = 0; bank < 32; bank++) {
            uint32_t met[128];
            unsigned n = 0;
            for (unsigned i = g; i < g + group; i++) {
                for (unsigned k = 0; k < words && mask >> i & 1; k++) {
                    uint32_t x = off[i] / 4 + k;
                    bool old = x % 32 != bank;
                    for (unsigned j = 0; j < n; j++) {
                        old |= met[j] == x;
                    }
                    if (!old) {
                        met[n++] = x;
                    }
                }
            }
            worst = n > worst ? n : worst;
        }
        waves += worst;
    }
    return waves;
}

Test(count, wavefronts_agree_with_the_plain_way, .timeout = 60)
{
    for (unsigned round = 0; round < 20000; round++) {
        unsigned bytes = 1u << vgt_random() % 5, spread = 1 + vgt_random() % 40;
        uint32_t off[32], mask = vgt_random() % 3 ? 0xFFFFFFFFu : vgt_random();
        uint32_t base = vgt_random() % 64, step = vgt_random() % 40;
        for (unsigned i = 0; i < 32; i++) { // at random, in steps, or turned by the row
            uint32_t x = round % 3 == 0   ? vgt_random() % spread
                         : round % 3 == 1 ? i * step
                                          : i / 4 * 4 + (i % 4 ^ (i / 8 & 3));
            off[i] = (base + x) * bytes;
        }
        for (int twice = 0; twice < 2; twice++) {
            cr_assert(vg_count_waves(off, mask, bytes) == slow_waves(off, mask, bytes),
                      "round %u, %u bytes, mask 0x%08x: %u waves, %u expected", round, bytes, mask,
                      vg_count_waves(off, mask, bytes), slow_waves(off, mask, bytes));
        }
    }
}

Test(count, traffic_of_a_launch_by_name)
{
    // 4 CTAs read the same 4 KiB twice, 16 bytes a thread and strided; each writes 128 bytes of its
    // own twice; cp.async, ldmatrix and a conflicting store to shared memory.
    static const char ptx[] =
        ".version 8.0\n.target sm_80\n.address_size 64\n"
        ".visible .entry t(.param .u64 in, .param .u64 out)\n{\n"
        ".reg .b32 %r<20>;\n.reg .b64 %d<20>;\n.shared .align 128 .b8 sm[4096];\n"
        "ld.param.u64 %d0, [in];\nld.param.u64 %d1, [out];\n"
        "mov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, sm;\n"
        "mul.wide.u32 %d2, %r0, 128;\nadd.s64 %d2, %d2, %d0;\n"
        "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%d2];\n"
        "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%d2+16];\n"
        "mul.wide.u32 %d3, %r0, 16;\nadd.s64 %d3, %d3, %d0;\n"
        "shl.b32 %r8, %r0, 4;\nadd.u32 %r8, %r8, %r2;\n"
        "cp.async.cg.shared.global [%r8], [%d3], 16;\ncp.async.wait_all;\nbar.sync 0;\n"
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r8];\nbar.sync 0;\n"
        "shl.b32 %r9, %r0, 7;\nadd.u32 %r9, %r9, %r2;\nst.shared.u32 [%r9], %r4;\n"
        "shl.b32 %r10, %r1, 5;\nadd.u32 %r10, %r10, %r0;\nmul.wide.u32 %d4, %r10, 4;\n"
        "add.s64 %d4, %d4, %d1;\nst.global.u32 [%d4], %r4;\nst.global.u32 [%d4], %r5;\n"
        "ret;\n}\n";
    static const struct {
        const char *name;
        uint64_t want;
    } rows[] = {
        {"global_read_bytes", 4 * 3 * 512},
        {"global_read_sectors", 4 * (32 + 32 + 16)},
        {"global_read_sectors_minimal", 4 * 3 * 16},
        {"global_read_sectors_unique", 32 + 12}, // the copy's 16 sectors: 4 were met before
        {"global_write_bytes", 4 * 2 * 128},
        {"global_write_sectors", 4 * 2 * 4},
        {"global_write_sectors_unique", 4 * 4},
        {"shared_wavefronts", 4 * (4 + 4 + 32)}, // cp.async, ldmatrix, st
        {"shared_wavefronts_ideal", 4 * (4 + 4 + 1)},
        {"ldmatrix_wavefronts", 4 * 4},
        {"ldmatrix_wavefronts_ideal", 4 * 4},
        {"cp_async_bytes", 4 * 512},
        {"cta_barriers", 4 * 2},
        {"no such name", 0},
    };
    vgt_open();
    uint8_t in[4096] = {0};
    struct {
        uint64_t in, out;
    } p = {vgt_mem(in, sizeof(in)), vgt_mem(NULL, 512)};
    struct vg_module *m = vgt_load(ptx);
    for (uint64_t launches = 1; launches <= 2; launches++) {
        struct vg_counts c;
        vgt_ok(m, "t", (struct vgt_run){.grid = 4, .block = 32, .checks = VG_CHECK_ALL}, &p,
               sizeof(p));
        cr_assert(vg_counts_kernel("t", &c) == launches);
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            cr_assert(vg_counts_named(&c, rows[i].name) == launches * rows[i].want,
                      "%s after %u launches: %llu, %llu expected", rows[i].name, (unsigned)launches,
                      (unsigned long long)vg_counts_named(&c, rows[i].name),
                      (unsigned long long)(launches * rows[i].want));
        }
    }
    vg_counts_clear();
    cr_assert(vg_counts_kernel("t", NULL) == 0);
    vg_module_free(m);
}

Test(count, launches_add_up_by_kernel)
{
    struct vg_counts c = {0}, got;
    c.n[VG_N_MMA_MACS] = 10;
    unsigned id = vg_count_shape_id("mma.m16n8k32.s8.s8.s32");
    c.shape[id] = 2;
    cr_assert(id == vg_count_shape_id("mma.m16n8k32.s8.s8.s32"));
    vg_counts_launch("one", &c);
    vg_counts_launch("one", &c);
    vg_counts_launch("two", &c);
    cr_assert(vg_counts_kernel("one", &got) == 2 && got.n[VG_N_MMA_MACS] == 20 &&
              got.shape[id] == 4);
    cr_assert(vg_counts_kernel("three", NULL) == 0);
    static char text[16384];
    FILE *f = fmemopen(text, sizeof(text) - 1, "w");
    vg_counts_json(f);
    fclose(f);
    cr_assert(strstr(text, "\"mma.m16n8k32.s8.s8.s32\": 4") && strstr(text, "\"kernel\": \"two\""),
              "%s", text);
    memset(text, 0, sizeof(text));
    f = fmemopen(text, sizeof(text) - 1, "w");
    vg_counts_table(f);
    fclose(f);
    cr_assert(strstr(text, "one: 2 launches") && strstr(text, "mma_macs"), "%s", text);
}

Test(tensormap, encode_refuses_what_the_driver_refuses)
{
    struct vg_tensormap m;
    char err[200];
    struct {
        unsigned type, rank;
        uint64_t base, dim0, stride;
        uint32_t box0, step;
        unsigned inter, swizzle, fill;
        bool fine;
    } row[] = {
        {VG_TM_BF16, 2, 4096, 64, 128, 64, 1, 0, 3, 0, true},
        {VG_TM_BF16, 2, 4096 + 8, 64, 128, 64, 1, 0, 3, 0, false}, // base
        {VG_TM_BF16, 2, 4096, 64, 120, 64, 1, 0, 3, 0, false},     // stride
        {VG_TM_BF16, 2, 4096, 64, 128, 65, 1, 0, 3, 0, false},     // inner box
        {VG_TM_BF16, 2, 4096, 64, 128, 128, 1, 0, 3, 0, false},    // wider than the swizzle
        {VG_TM_BF16, 2, 4096, 0, 128, 64, 1, 0, 3, 0, false},
        {VG_TM_BF16, 2, 4096, 64, 128, 0, 1, 0, 0, 0, false},
        {VG_TM_BF16, 2, 4096, 64, 128, 64, 9, 0, 3, 0, false},
        {VG_TM_BF16, 6, 4096, 64, 128, 64, 1, 0, 3, 0, false},
        {13, 2, 4096, 64, 128, 64, 1, 0, 3, 0, false},
        {VG_TM_U8, 2, 4096, 64, 128, 64, 1, 0, 0, 1, false}, // NaN of an integer
        {VG_TM_F32, 1, 4096, 64, 0, 32, 1, 0, 0, 1, true},
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint64_t dim[6] = {row[i].dim0, 8, 8, 8, 8, 8};
        uint64_t stride[5] = {row[i].stride, 1024, 1024, 1024, 1024};
        uint32_t box[6] = {row[i].box0, 8, 1, 1, 1, 1};
        uint32_t step[6] = {row[i].step, 1, 1, 1, 1, 1};
        bool fine =
            vg_tensormap_encode(&m, row[i].type, row[i].rank, row[i].base, dim, stride, box, step,
                                row[i].inter, row[i].swizzle, 0, row[i].fill, err, sizeof(err));
        cr_assert(fine == row[i].fine, "row %u: %s", i, fine ? "accepted" : err);
        cr_assert(!fine || vg_tensormap_valid(&m));
    }
    memset(&m, 7, sizeof(m));
    cr_assert(!vg_tensormap_valid(&m));
}
