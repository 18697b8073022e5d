/* SPDX-License-Identifier: Apache-2.0
 *
 * What a step costs beside its arithmetic: no allocation at all, a number of locks that does not
 * depend on how many requests run, and, in a manual engine, not one system call. */
#include "support/story.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- counting ---- */

static _Atomic uint64_t n_locks; /* the linker's --wrap brings every call here */

int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    n_locks++;
    return __real_pthread_mutex_lock(m);
}

enum { FIRST = 40, LAST = 440, N_TOKENS = 500 }; /* steps between which is counted */

struct counts {
    int n_calls; /* one a step: every request gets a token in each */
    uint64_t locks[2], allocs[2], frees[2];
};

static _Atomic bool all_submitted;

static void on_step(void *user, const struct oct_event *const *events, size_t n)
{
    struct counts *c = user;
    (void)events;
    (void)n;
    while (!all_submitted) { /* a submission allocates, on its caller's thread */
        (void)usleep(100);
    }
    c->n_calls++;
    if (c->n_calls == FIRST || c->n_calls == LAST) {
        const int i = c->n_calls == LAST;
        c->locks[i] = n_locks;
        c->allocs[i] = oct_mem_stats().n_allocs;
        c->frees[i] = oct_mem_stats().n_frees;
    }
}

/* Requests that use everything that keeps lists: penalties, stop strings, logprobs, text in which
 * characters come in halves. */
static void submit(oct_engine *e, int n_requests)
{
    static const char *const stops[] = {"never to be seen", "nor this"};
    static const int32_t stop_ids[] = {FAKE_STOP_TOKEN}; /* never made */
    all_submitted = false;
    for (int i = 0; i < n_requests; i++) {
        static struct story s;
        struct oct_sampling sampling;
        story_prompt(&s, (uint64_t)i, 10, 0, N_TOKENS);
        struct oct_request q = story_request(&s, &sampling);
        sampling.n_logprobs = 5;
        sampling.frequency_penalty = 0.1f;
        sampling.repetition_penalty = 1.1f;
        sampling.ignore_eos = true;
        sampling.min_tokens = N_TOKENS;
        sampling.stop = stops;
        sampling.n_stop = 2;
        sampling.stop_token_ids = stop_ids;
        sampling.n_stop_token_ids = 1;
        q.on_event = NULL;
        q.timeout_us = (int64_t)3600 * 1000000;
        uint64_t id;
        cr_assert_eq(oct_engine_submit(e, &q, &id), OCT_OK, "%s", oct_last_error());
    }
    all_submitted = true;
}

static void check(const struct counts *c, double *locks_per_step)
{
    cr_assert_geq(c->n_calls, LAST);
    cr_assert_eq(c->allocs[1] - c->allocs[0], 0, "%d allocations in %d steps",
                 (int)(c->allocs[1] - c->allocs[0]), LAST - FIRST);
    cr_assert_eq(c->frees[1] - c->frees[0], 0);
    *locks_per_step = (double)(c->locks[1] - c->locks[0]) / (LAST - FIRST);
}

static double fake_locks(bool manual, int n_requests)
{
    struct counts c = {0};
    const struct fake_options o = {.manual = manual,
                                   .max_num_seqs = 64,
                                   .max_num_batched_tokens = 640,
                                   .max_model_len = 600,
                                   .n_pages = 640,
                                   .on_events = on_step,
                                   .events_user = &c};
    double locks;
    struct fake f;
    fake_open(&o, &f);
    submit(f.e, n_requests);
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    fake_close(&f);
    check(&c, &locks);
    return locks;
}

Test(steps, allocate_nothing_and_lock_a_constant_number_of_times, .timeout = 120)
{
    for (int manual = 0; manual < 2; manual++) {
        const double one = fake_locks(manual, 1), many = fake_locks(manual, 64);
        (void)printf("%s engine: %.2f locks a step for 1 request, %.2f for 64\n",
                     manual ? "manual" : "threaded", one, many);
        /* The mailbox's: one turn takes the mail; a manual one has an owner for its time, and drain
         * looks whether all is over. The 64 are submitted while the first ones run already, and
         * each of them takes two. */
        cr_assert_leq(one, 6.0);
        cr_assert_leq(many, one + 128.0 / (LAST - FIRST));
    }
}

/* The real runner adds the device thread's; its forward allocates nothing either. */
Test(steps, of_a_real_model_do_so_too, .timeout = 300)
{
    char dir[] = "/tmp/octavo-steps-XXXXXX", path[64];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_MISTRAL);
    t.window = 100;
    t.max_positions = 600;
    t.vocab_size = OCT_TINY_N_TOKENS;
    cr_assert_not_null(mkdtemp(dir));
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    double locks[2];
    for (int k = 0; k < 2; k++) {
        struct counts c = {0};
        struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
        oct_engine *e = NULL;
        o.model_path = path;
        o.device = "cpu";
        o.n_threads = 2;
        o.on_events = on_step;
        o.events_user = &c;
        o.kv_cache_bytes = 16 << 20;
        cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
        submit(e, k ? 16 : 1);
        cr_assert_eq(oct_engine_drain(e, -1), OCT_OK);
        oct_engine_close(e);
        check(&c, &locks[k]);
    }
    (void)unlink(path);
    (void)rmdir(dir);
    (void)printf("real model: %.2f locks a step for 1 request, %.2f for 16\n", locks[0], locks[1]);
    /* One for the mailbox, one to launch, one to wait, one of the device thread; the pool of the
     * forward pass has no lock. */
    cr_assert_leq(locks[0], 6.0);
    cr_assert_leq(locks[1], 6.0);
}

/* ---- system calls ---- */

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

/* From now on any system call but these two ends the process with SIGSYS. The clock is read without
 * one where the kernel offers that. */
static bool forbid_system_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { CANNOT_FORBID = 77, STEP_FAILED = 3, TOO_FEW = 4 };

static int steps_without_system_calls(void)
{
    struct counts c = {0};
    const struct fake_options o = {.manual = true,
                                   .max_num_seqs = 16,
                                   .n_pages = 160,
                                   .max_model_len = 600,
                                   .on_events = on_step,
                                   .events_user = &c};
    struct fake f;
    fake_open(&o, &f);
    submit(f.e, 16);
    if (oct_engine_step(f.e, NULL) != OCT_OK || !forbid_system_calls()) {
        return CANNOT_FORBID;
    }
    for (int i = 0; i < LAST; i++) {
        if (oct_engine_step(f.e, NULL) != OCT_OK) {
            return STEP_FAILED;
        }
    }
    return c.n_calls >= LAST - 40 ? 0 : TOO_FEW; /* the first steps compute prompts */
}

Test(steps, of_a_manual_engine_make_no_system_call, .timeout = 60)
{
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("the sanitizer makes system calls of its own");
#endif
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        _exit(steps_without_system_calls());
    }
    int status;
    while (waitpid(child, &status, 0) < 0) {
        cr_assert_eq(errno, EINTR);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_FORBID) {
        cr_skip_test("this kernel does not let a process forbid itself system calls");
    }
    cr_assert(WIFEXITED(status), "a step made a system call (signal %d)", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
}
