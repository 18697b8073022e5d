// SPDX-License-Identifier: Apache-2.0
// cp.async of every size with zero fill, and the forms of mbarrier, from PTX text.
#include "ptxgen.h"

Test(cp_async, copies_every_size_and_fills_with_zero, .timeout = 30)
{
    vgt_open();
    static const unsigned sizes[] = {4, 8, 16};
    for (unsigned s = 0; s < 3; s++) {
        for (unsigned part = 0; part <= sizes[s]; part += sizes[s] / 4) {
            for (unsigned wait = 0; wait < 3; wait++) {
                unsigned size = sizes[s], bytes[2] = {16, 16};
                head(2, bytes);
                emit("shl.b32 %%r1, %%r399, 4;\nmov.u32 %%r2, sm;\nadd.u32 %%r2, %%r2, %%r1;\n");
                emit("mov.b32 %%r3, 0x77777777;\nst.shared.v4.b32 [%%r2], {%%r3, %%r3, %%r3, "
                     "%%r3};\n");
                emit("mov.u32 %%r4, %u;\n", part);
                emit("cp.async.%s.shared.global [%%r2], [%%rd0], %u%s;\n", size == 16 ? "cg" : "ca",
                     size, part == size ? "" : ", %r4");
                emit("%s", wait == 0   ? "cp.async.wait_all;\n"
                           : wait == 1 ? "cp.async.commit_group;\ncp.async.wait_group 0;\n"
                                       : "cp.async.commit_group;\ncp.async.commit_group;\n"
                                         "cp.async.wait_group 1;\n");
                emit("ld.shared.v4.b32 {%%r10, %%r11, %%r12, %%r13}, [%%r2];\n");
                emit("st.global.v4.b32 [%%rd1], {%%r10, %%r11, %%r12, %%r13};\nret;\n}\n");
                uint8_t in[512], out[512];
                for (unsigned i = 0; i < 512; i++) {
                    in[i] = (uint8_t)vgt_random();
                }
                struct {
                    uint64_t a, b;
                } p = {vgt_mem(in, 512), vgt_mem(NULL, 512)};
                struct vg_module *m = vgt_load(ptx);
                vgt_ok(m, "t", (struct vgt_run){.checks = VG_CHECK_ALL, .seed = part}, &p,
                       sizeof(p));
                vgt_get(out, p.b, 512);
                for (unsigned i = 0; i < 512; i++) {
                    unsigned at = i % 16;
                    uint8_t want = at < part ? in[i] : at < size ? 0 : 0x77;
                    cr_assert(out[i] == want, "size %u of %u, wait %u: byte %u is %02x, want %02x",
                              part, size, wait, i, out[i], want);
                }
                vg_module_free(m);
            }
        }
    }
}

// Each row is one thread's program on the barrier at %r1 (count in the row); %r20.. go out.
struct program {
    const char *what;
    unsigned count;
    const char *code;
    uint32_t want[4];
};
#define TEST_STATE(rd, r) \
    "mbarrier.test_wait.shared.b64 %p1, [%r1], " rd ";\nselp.u32 " r ", 1, 0, %p1;\n"
#define TEST_PARITY(n, r) \
    "mbarrier.test_wait.parity.shared.b64 %p1, [%r1], " n ";\nselp.u32 " r ", 1, 0, %p1;\n"
static const struct program programs[] = {
    {"a state is done when its phase is",
     2,
     "mbarrier.arrive.shared.b64 %rd10, [%r1];\n" TEST_STATE(
         "%rd10", "%r20") "mbarrier.arrive.shared.b64 %rd11, [%r1];\n" TEST_STATE("%rd10", "%r21")
         TEST_STATE("%rd11", "%r22") "mbarrier.pending_count.b64 %r23, %rd11;\n",
     {0, 1, 1, 1}},
    {"parity of the running phase waits, of the last one does not",
     1,
     TEST_PARITY("0", "%r20")
         TEST_PARITY("1", "%r21") "mbarrier.arrive.shared.b64 _, [%r1];\n" TEST_PARITY("0", "%r22")
             TEST_PARITY("1", "%r23"),
     {0, 1, 1, 0}},
    {"expected bytes hold the phase until complete_tx",
     1,
     "mbarrier.arrive.expect_tx.shared.b64 %rd10, [%r1], 48;\n" TEST_STATE(
         "%rd10", "%r20") "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%r1], "
                          "32;\n" TEST_STATE("%rd10", "%r21") "mbarrier.complete_tx.relaxed."
                                                              "cluster.shared::cluster.b64 [%r1], "
                                                              "16;\n" TEST_STATE("%rd10",
                                                                                 "%r22") "mov.u32 "
                                                                                         "%r23, "
                                                                                         "0;\n",
     {0, 0, 1, 0}},
    {"expect_tx on its own, before the arrival",
     1,
     "mbarrier.expect_tx.relaxed.cta.shared.b64 [%r1], 16;\nmbarrier.arrive.shared.b64 %rd10, "
     "[%r1];\n" TEST_STATE("%rd10", "%r20") "mbarrier.complete_tx.relaxed.cluster.shared::cluster."
                                            "b64 [%r1], 16;\n" TEST_STATE(
                                                "%rd10",
                                                "%r21") "mov.u32 %r22, 0;\nmov.u32 %r23, 0;\n",
     {0, 1, 0, 0}},
    {"arrivals with a count, and noComplete",
     5,
     "mbarrier.arrive.noComplete.shared.b64 %rd10, [%r1], 2;\nmbarrier.pending_count.b64 %r20, "
     "%rd10;\n"
     "mbarrier.arrive.release.cta.shared.b64 %rd11, [%r1], 3;\nmbarrier.pending_count.b64 %r21, "
     "%rd11;\n" TEST_STATE("%rd11", "%r22") "mov.u32 %r23, 0;\n",
     {5, 3, 1, 0}},
    {"a dropped arrival is not expected in the next phase",
     2,
     "mbarrier.arrive_drop.shared.b64 %rd10, [%r1];\nmbarrier.arrive.shared.b64 %rd10, "
     "[%r1];\n" TEST_STATE("%rd10", "%r20") "mbarrier.arrive.shared.b64 %rd11, [%r1];\n" TEST_STATE(
         "%rd11", "%r21") "mbarrier.pending_count.b64 %r22, %rd11;\nmov.u32 %r23, 0;\n",
     {1, 1, 1, 0}},
    {"after inval the bytes can be a barrier again",
     1,
     "mbarrier.arrive.shared.b64 %rd10, [%r1];\nmbarrier.inval.shared.b64 [%r1];\n"
     "mbarrier.init.shared.b64 [%r1], 3;\nmbarrier.arrive.shared.b64 %rd11, [%r1];\n"
     "mbarrier.pending_count.b64 %r20, %rd11;\n" TEST_STATE(
         "%rd11", "%r21") "mov.u32 %r22, 0;\nmov.u32 %r23, 0;\n",
     {3, 0, 0, 0}},
    {"generic addresses and relaxed forms",
     1,
     "cvt.u64.u32 %rd20, %r1;\ncvta.shared.u64 %rd20, %rd20;\nmbarrier.arrive.relaxed.cta.b64 "
     "%rd10, [%rd20];\n"
     "mbarrier.try_wait.relaxed.cta.b64 %p1, [%rd20], %rd10;\nselp.u32 %r20, 1, 0, %p1;\n"
     "mbarrier.try_wait.parity.b64 %p1, [%rd20], 0, 1000;\nselp.u32 %r21, 1, 0, %p1;\n"
     "mov.u32 %r22, 0;\nmov.u32 %r23, 0;\n",
     {1, 1, 0, 0}},
};

Test(mbarrier, forms_do_what_the_isa_says, .timeout = 30)
{
    vgt_open();
    for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        unsigned bytes[1] = {16};
        head(1, bytes);
        emit("mov.u32 %%r1, sm;\nmbarrier.init.shared.b64 [%%r1], %u;\n%s", programs[i].count,
             programs[i].code);
        emit("st.global.v4.b32 [%%rd0], {%%r20, %%r21, %%r22, %%r23};\nret;\n}\n");
        uint64_t out = vgt_mem(NULL, 16);
        struct vg_module *m = vgt_load(ptx);
        vgt_ok(m, "t", (struct vgt_run){.block = 1, .checks = VG_CHECK_ALL}, &out, sizeof(out));
        uint32_t got[4];
        vgt_get(got, out, 16);
        for (unsigned k = 0; k < 4; k++) {
            cr_assert(got[k] == programs[i].want[k], "%s: value %u is %u, want %u",
                      programs[i].what, k, got[k], programs[i].want[k]);
        }
        vg_module_free(m);
    }
}

// Copies of every lane are counted by the barrier; .noinc arrives for an expected thread, the other
// form for itself.
Test(mbarrier, cp_async_arrives_when_its_copies_are_done, .timeout = 30)
{
    vgt_open();
    for (unsigned noinc = 0; noinc < 2; noinc++) {
        unsigned bytes[2] = {16, 16};
        head(2, bytes);
        emit("shl.b32 %%r1, %%r399, 4;\nmov.u32 %%r2, sm;\nadd.u32 %%r3, %%r2, %%r1;\nadd.u32 "
             "%%r4, %%r2, 8192;\n");
        emit("setp.ne.u32 %%p0, %%r399, 0;\n@!%%p0 mbarrier.init.shared.b64 [%%r4], 64;\nbar.sync "
             "0;\n");
        emit("cp.async.cg.shared.global [%%r3], [%%rd0], 16;\n");
        emit("cp.async.mbarrier.arrive%s.shared.b64 [%%r4];\n", noinc ? ".noinc" : "");
        if (!noinc) {
            emit("mbarrier.arrive.shared.b64 %%rd10, [%%r4];\n");
        }
        emit("W:\nmbarrier.try_wait.parity.shared.b64 %%p1, [%%r4], 0;\n@!%%p1 bra W;\n");
        emit("xor.b32 %%r5, %%r1, 1008;\nadd.u32 %%r5, %%r5, %%r2;\n"); // another thread's copy
        emit("ld.shared.v4.b32 {%%r10, %%r11, %%r12, %%r13}, [%%r5];\n");
        emit("st.global.v4.b32 [%%rd1], {%%r10, %%r11, %%r12, %%r13};\nret;\n}\n");
        uint32_t in[256], out[256];
        for (unsigned i = 0; i < 256; i++) {
            in[i] = vgt_random();
        }
        struct {
            uint64_t a, b;
        } p = {vgt_mem(in, 1024), vgt_mem(NULL, 1024)};
        struct vg_module *m = vgt_load(ptx);
        for (unsigned seed = 0; seed < 20; seed++) {
            vgt_ok(m, "t", (struct vgt_run){.block = 64, .checks = VG_CHECK_ALL, .seed = seed}, &p,
                   sizeof(p));
            vgt_get(out, p.b, 1024);
            for (unsigned i = 0; i < 256; i++) {
                cr_assert(out[i] == in[(i / 4 ^ 63) * 4 + i % 4], "noinc %u seed %u word %u", noinc,
                          seed, i);
            }
        }
        vg_module_free(m);
    }
}
