/* SPDX-License-Identifier: Apache-2.0
 *
 * self_test_command.c - octavo selftest: two runs, which must agree, and agree with --expect. */
#include "serve/open_engine.h"
#include "serve/sandbox.h"
#include "serve/self_test.h"
#include "serve/terminal.h"

#include <stdio.h>
#include <string.h>

static oct_status check_expect(const char *digest)
{
    const size_t n = strlen(digest);
    if (n != OCT_SELF_TEST_DIGEST_BYTES - 1 || strspn(digest, "0123456789abcdef") != n) {
        return OCT_FAIL(OCT_E_ARG,
                        "--expect: a digest has %d hexadecimal digits, as octavo selftest prints "
                        "them",
                        OCT_SELF_TEST_DIGEST_BYTES - 1);
    }
    return OCT_OK;
}

static oct_status run_once(struct oct_self_test *t, oct_engine *e, struct oct_self_test_result *r)
{
    uint64_t id;
    OCT_TRY(oct_self_test_begin(t, e, &id));
    OCT_TRY(oct_engine_wait(e, id, -1));
    const bool is_over = oct_self_test_take(t, r);
    OCT_ASSERT(is_over);
    switch (r->verdict) {
    case OCT_SELF_TEST_FIRST:
    case OCT_SELF_TEST_SAME:
        return OCT_OK;
    case OCT_SELF_TEST_DIFFERS:
        return OCT_FAIL(OCT_E_DEVICE, "two runs differ: %s; the device or its memory is not sound",
                        r->text);
    case OCT_SELF_TEST_NUMERIC:
    case OCT_SELF_TEST_NOT_RUN:
        break;
    }
    return OCT_FAIL(r->status == OCT_OK ? OCT_E_DEVICE : r->status, "%s", r->text);
}

static oct_status print(const struct oct_self_test *t, const oct_engine *e, bool json,
                        struct oct_output *out)
{
    struct oct_engine_info info = {.size = sizeof info};
    oct_engine_get_info(e, &info);
    if (json) {
        json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "digest", t->digest,
                              "prompt_tokens", t->n_prompt, "output_tokens", t->n_output, "device",
                              info.device, "dtype", info.dtype, "version", oct_version());
        const oct_status st =
            o ? oct_output_json(out, o, false) : oct_no_memory("the result", sizeof *t);
        json_decref(o);
        return st;
    }
    char line[512];
    const int n =
        snprintf(line, sizeof line, "%s  %s, %s, %d prompt tokens, %d generated; two runs agree\n",
                 t->digest, info.device, info.dtype, t->n_prompt, t->n_output);
    return oct_output_write(out, line, (size_t)n);
}

static oct_status test(const struct oct_params *p, oct_engine *e, struct oct_self_test *t,
                       struct oct_output *out)
{
    const char *expect = oct_param_str(p, OCT_P_EXPECT, NULL);
    struct oct_self_test_result r;
    for (int i = 0; i < 2; i++) {
        OCT_TRY(run_once(t, e, &r));
    }
    OCT_TRY(print(t, e, oct_param_bool(p, OCT_P_JSON), out));
    if (expect && strcmp(expect, t->digest) != 0) {
        return OCT_FAIL(OCT_E_DEVICE,
                        "the digest is not %s: the device is not sound, or of another kind, or the "
                        "model, its flags or the version are others",
                        expect);
    }
    return OCT_OK;
}

enum oct_exit oct_command_selftest(const struct oct_params *p)
{
    static struct oct_self_test t; /* a few kilobytes that outlive a device that hangs */
    const char *path, *expect = oct_param_str(p, OCT_P_EXPECT, NULL);
    size_t next;
    oct_engine *e = NULL;
    struct oct_output out;
    oct_status st;
    oct_output_init(&out, 1);
    OCT_TRY_GOTO(oct_command_model(p, &path, &next), st, done);
    if (expect) {
        OCT_TRY_GOTO(check_expect(expect), st, done);
    }
    oct_command_sandbox(p, path, NULL);
    struct oct_engine_options o = oct_command_options(p, path);
    o.max_num_seqs = 1;
    OCT_TRY_GOTO(oct_command_open(&o, &e), st, done);
    oct_self_test_init(&t, e);
    st = test(p, e, &t, &out);
    oct_engine_close(e);
    oct_self_test_deinit(&t);
done:
    return oct_output_finish(&out, st);
}
