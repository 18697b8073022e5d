/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out while the program starts: the k-th allocation fails, once or from then on.
 * It ends with exit code 3 and one sentence and nothing left behind (LeakSanitizer looks), or it
 * does what it was asked for. Each case is a process, so CI takes a sample: the first ones, then
 * ever fewer. OCT_START_CASES=all takes every k until the start is over. Builds with the fault plan
 * only.
 */
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 512, N_UNTOUCHED = 3, N_UNTOUCHED_ALL = 12 };

static char *dir;

static void setup(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    char path[PATH_BYTES];
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(path, sizeof path, "%s/hf", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    oct_tiny_write_hf(&t, path);
    static const char request[] =
        "{\"custom_id\": \"a\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": \"x\", "
        "\"max_tokens\": 2}}\n";
    oct_test_write_file(dir, "in.jsonl", request, sizeof request - 1);
}

static void teardown(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(start_faults, .init = setup, .fini = teardown, .timeout = 7200);

struct count {
    int n_told, n_done; /* exit code 3; what was asked for was done */
};

static void check_sentence(const char *err, const char *what)
{
    const char *line = strstr(err, "octavo: ");
    cr_assert(line && strchr(line, '\n') && strchr(line, '\n')[1] == '\0',
              "%s is not one sentence: %s", what, err);
}

/* Whether the start was not touched by the plan. */
typedef bool one_case(const char *model, const char *plan, struct count *n);

static bool serve(const char *model, const char *plan, struct count *n)
{
    static const char body[] = "{\"prompt\": \"x\", \"max_tokens\": 2}";
    const char *const args[] = {model, "--kv-cache-bytes", "1MiB", NULL};
    const char *const env[] = {plan, NULL};
    struct server s;
    server_start(&s, args, env, NULL);
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    int code = -1;
    while (code < 0 && !strstr(s.err.data, "requests at once")) {
        cr_assert_lt(server_now_ms(), give_up, "%s: %s", plan, s.err.data);
        code = server_poll(&s);
    }
    const bool is_ready = code < 0;
    if (is_ready) {
        n->n_done++;
        if (!strchr(plan, '+')) { /* once: the first request's, or its connection's */
            server_ready(&s);
            const int first = server_ask(&s, "/v1/completions", "", body, NULL);
            cr_assert(first == 200 || first == 503 || first == 0, "%s: %d: %s", plan, first,
                      s.err.data);
            cr_assert_eq(server_ask(&s, "/v1/completions", "", body, NULL), 200, "%s", plan);
        }
        server_kill(&s, SIGTERM);
        code = server_wait(&s);
        cr_assert_eq(code, 0, "%s: %d: %s", plan, code, s.err.data);
    } else {
        n->n_told++;
        cr_assert_eq(code, 3, "%s: %d: %s", plan, code, s.err.data);
        check_sentence(s.err.data, plan);
    }
    server_free(&s);
    return is_ready;
}

static bool run_line(const char *line, const char *plan, const char *done, struct count *n)
{
    char *text = oct_strdup(line), *rest = text;
    const char *args[SPAWN_MAX_ARGS + 1] = {0};
    const char *const env[] = {plan, NULL};
    struct spawned s;
    for (int i = 0; rest; i++) {
        args[i] = strsep(&rest, "|");
    }
    spawn(&s, args, NULL, env);
    const bool is_done = s.code == 0;
    if (is_done) {
        n->n_done++;
        cr_assert(strstr(s.err.data, done), "%s: %s", plan, s.err.data);
    } else {
        n->n_told++;
        cr_assert_eq(s.code, 3, "%s: %d: %s", plan, s.code, s.err.data);
        cr_assert(strstr(s.err.data, "octavo: "), "%s: %s", plan, s.err.data);
    }
    spawned_free(&s);
    oct_free(text);
    return is_done;
}

static bool run(const char *model, const char *plan, struct count *n)
{
    char line[PATH_BYTES + 64];
    (void)snprintf(line, sizeof line, "run|%s|-p|x|--max-tokens|2|--device|cpu|--threads|1", model);
    return run_line(line, plan, "generated", n);
}

static bool batch(const char *model, const char *plan, struct count *n)
{
    char line[4 * PATH_BYTES];
    (void)snprintf(line, sizeof line,
                   "batch|%s|-i|%s/in.jsonl|-o|%s/out.jsonl|--overwrite|--device|cpu|--threads|1",
                   model, dir, dir);
    return run_line(line, plan, "complete", n);
}

enum sample { NONE, ONCE, BOTH }; /* what CI takes */

/* From `first` on until the start is over: as many in a row that are not touched, behind k_end.
 * The last one that was touched. */
static int one_mode(one_case *one, const char *path, bool forever, int first, bool all, int k_end,
                    struct count *n)
{
    const int enough = all ? N_UNTOUCHED_ALL : N_UNTOUCHED;
    int n_untouched = 0, last = 0;
    for (int k = first; n_untouched < enough || k <= k_end;
         k += all ? 1 : 1 + k / (forever ? 1 : 2)) {
        char plan[64];
        (void)snprintf(plan, sizeof plan, "OCT_FAULT=mem@%d%s", k, forever ? "+" : "");
        const bool untouched = one(path, plan, n);
        n_untouched = untouched ? n_untouched + 1 : 0;
        last = untouched ? last : k;
    }
    return last;
}

static void each(one_case *one, const char *name, const char *model, int first, enum sample sample)
{
    const char *cases = getenv("OCT_START_CASES");
    const bool all = cases && !strcmp(cases, "all");
    char path[PATH_BYTES];
    struct count n[2] = {0};
    int end = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, model);
    /* For good first: it tells how many there are. Some that fail once do no harm. */
    if (all || sample == BOTH) {
        end = one_mode(one, path, true, all ? 1 : first, all, 0, &n[1]);
    }
    if (all || sample != NONE) {
        (void)one_mode(one, path, false, all ? 1 : first, all, all ? end : 0, &n[0]);
        cr_assert_gt(n[0].n_told, all ? 100 : 3, "%s %s", name, model);
    }
    cr_log_info("%s %s: once %d told, %d done; for good %d told, %d done", name, model, n[0].n_told,
                n[0].n_done, n[1].n_told, n[1].n_done);
}

static void needs_faults(void)
{
    if (OCT_FAULTS == 0) {
        cr_skip_test("the fault plan is in debug builds only");
    }
}

Test(start_faults, no_allocation_of_a_server_may_end_it_by_a_signal)
{
    needs_faults();
    each(serve, "serve", "tiny.gguf", 1, BOTH);
    each(serve, "serve", "hf", 2, ONCE);
}

Test(start_faults, no_allocation_of_a_run_may_end_it_by_a_signal)
{
    needs_faults();
    each(run, "run", "tiny.gguf", 3, NONE);
    each(run, "run", "hf", 4, ONCE);
}

Test(start_faults, no_allocation_of_a_batch_may_end_it_by_a_signal)
{
    needs_faults();
    each(batch, "batch", "tiny.gguf", 5, ONCE);
    each(batch, "batch", "hf", 6, NONE);
}
