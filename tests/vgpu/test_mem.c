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
