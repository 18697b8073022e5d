/* SPDX-License-Identifier: Apache-2.0
 *
 * A CUDA device that fails at the k-th launch, call or allocation, for k spread over the whole life
 * of an engine: opening, recording, serving. OCT_FAULT_CASES lives (a sample without it), each in a
 * process of its own on the virtual GPU: a request ends once, with its right and full answer or
 * with OCT_E_DEVICE after a part of it; none ends well after one that did not; a request that comes
 * after the fault is refused; all that within 10 s; and the virtual GPU finds nothing wrong with
 * the calls that were made, closing included. OCT_FAULT_PLAN=PLAN repeats one. */
#include "support/run.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { SAMPLE = 9, SANITIZED = 1 };
#else
enum { SAMPLE = 24, SANITIZED = 0 };
#endif
enum { N_REQUESTS = 4, N_PROMPT = 40, N_TOKENS = 6, LIMIT_MS = 10000, N_NAMES = 40 };

enum outcome { WRONG, DID_NOT_OPEN, DIED, FINISHED };

/* What the lives leave behind: memory shared with them. */
struct seen {
    int32_t tokens[N_REQUESTS][N_TOKENS]; /* of the life without a failure */
    bool has_tokens;                      /* these are known */
    bool is_broken;                       /* of the life that runs: a request ended with an error */
    char what[1024];                      /* WRONG: why */
};

static struct seen *seen;
static char dir[256];

#define MUST(cond, ...) \
    do { \
        if (!(cond)) { \
            (void)snprintf(seen->what, sizeof seen->what, __VA_ARGS__); \
            _exit(WRONG); \
        } \
    } while (0)

struct request {
    int number, n_tokens, n_ends;
    oct_finish finish;
    uint64_t id;
    int32_t tokens[N_TOKENS];
};

/* Nothing good may come of any request once one was told that the device is gone. */
static void on_event(void *user, const struct oct_event *ev)
{
    struct request *r = user;
    MUST(r->n_ends == 0, "request %d: an event after its last one", r->number);
    if (ev->token >= 0) {
        MUST(!seen->is_broken, "request %d: a token after the fault was told", r->number);
        MUST(r->n_tokens < N_TOKENS, "request %d: more tokens than asked for", r->number);
        MUST(!seen->has_tokens || ev->token == seen->tokens[r->number][r->n_tokens],
             "request %d: token %d is %d", r->number, r->n_tokens, ev->token);
        r->tokens[r->n_tokens++] = ev->token;
    }
    if (ev->finish == OCT_FINISH_NONE) {
        return;
    }
    r->n_ends++;
    r->finish = ev->finish;
    if (ev->finish == OCT_FINISH_ERROR) {
        seen->is_broken = true;
        MUST(ev->status == OCT_E_DEVICE, "request %d: status %d", r->number, ev->status);
        MUST(ev->error && strlen(ev->error) > 20, "request %d: no sentence", r->number);
    } else {
        MUST(!seen->is_broken, "request %d ends well after the fault was told", r->number);
        MUST(ev->finish == OCT_FINISH_LENGTH && r->n_tokens == N_TOKENS,
             "request %d: finish %d, %d tokens", r->number, ev->finish, r->n_tokens);
    }
}

static oct_status submit(oct_engine *e, struct request *r)
{
    int32_t prompt[N_PROMPT];
    struct oct_request q = OCT_REQUEST_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = r->number % 2 ? 0.9f : 0.0f;
    s.has_seed = true;
    s.seed = (uint64_t)r->number;
    s.max_tokens = N_TOKENS;
    s.ignore_eos = true;
    run_random_prompt((uint64_t)r->number, prompt, N_PROMPT);
    q.prompt = prompt;
    q.n_prompt = N_PROMPT;
    q.sampling = &s;
    q.on_event = on_event;
    q.user = r;
    return oct_engine_submit(e, &q, &r->id);
}

/* However it ended: nothing was freed, destroyed or waited for at a wrong moment. */
static void no_findings(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW);
    unsigned (*count)(void) = lib ? (unsigned (*)(void))dlsym(lib, "vgpu_findings") : NULL;
    const char *(*text)(unsigned) =
        lib ? (const char *(*)(unsigned))dlsym(lib, "vgpu_finding") : NULL;
    MUST(count && text, "this is not the virtual GPU");
    MUST(count() == 0, "%u findings, the first: %s", count(), text(0));
}

/* The launches of every kernel, on standard error. */
static void print_launches(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    void (*counters)(void) = lib ? (void (*)(void))dlsym(lib, "vgpu_counters") : NULL;
    MUST(counters, "this is not the virtual GPU");
    counters();
}

/* In a child, which the outcome ends: the virtual GPU reads VGPU_FAIL once. */
_Noreturn static void live(bool manual)
{
    struct request r[N_REQUESTS + 1] = {0};
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    int n = 0;
    o.model_path = dir;
    o.device = "cuda";
    o.max_num_seqs = 3; /* so that one waits */
    o.max_num_batched_tokens = 32;
    o.manual = manual;
    const oct_status st = oct_engine_open(&o, &e);
    if (st != OCT_OK) {
        MUST(st == OCT_E_DEVICE || st == OCT_E_MEM || st == OCT_E_UNSUPPORTED, "open: %d", st);
        MUST(strlen(oct_last_error()) > 20, "open: \"%s\"", oct_last_error());
        no_findings();
        _exit(DID_NOT_OPEN);
    }
    for (; n < N_REQUESTS; n++) {
        r[n].number = n;
        const oct_status took = submit(e, &r[n]);
        MUST(took == OCT_OK || took == OCT_E_DEVICE, "submit: %s", oct_last_error());
        if (took != OCT_OK) {
            break;
        }
    }
    size_t active = n > 0;
    while (manual && active && oct_engine_step(e, &active) == OCT_OK) {
    }
    MUST(manual || oct_engine_drain(e, 60000000) == OCT_OK, "drain: %s", oct_last_error());
    bool is_dead = n < N_REQUESTS;
    for (int i = 0; i < n; i++) {
        MUST(r[i].n_ends == 1, "request %d ended %d times", i, r[i].n_ends);
        is_dead |= r[i].finish == OCT_FINISH_ERROR;
    }
    if (!seen->has_tokens) { /* nothing was to fail */
        MUST(!is_dead, "a device without a fault: %s", oct_last_error());
        for (int i = 0; i < n; i++) {
            memcpy(seen->tokens[i], r[i].tokens, sizeof r[i].tokens);
        }
        seen->has_tokens = true;
        print_launches();
    }
    if (is_dead) {
        MUST(submit(e, &r[N_REQUESTS]) == OCT_E_DEVICE, "a dead engine takes a request");
    }
    oct_engine_close(e);
    no_findings();
    _exit(is_dead ? DIED : FINISHED);
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* log: where standard error goes, or NULL. */
static enum outcome one_life(const char *plan, bool manual, const char *log, int64_t *ms)
{
    const int64_t begin = now_ms();
    seen->is_broken = false;
    (void)strcpy(seen->what, "it ended by itself");
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        const int fd = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
        (void)(fd >= 0 && dup2(fd, 2));
        (void)setenv("VGPU_FAIL", plan, 1);
        (void)setenv("VGPU_MEM", "256M", 1);
        (void)setenv("VGPU_LOG", log ? "1" : "0", 1);
        (void)alarm(120);
        live(manual);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    *ms = now_ms() - begin;
    cr_assert(WIFEXITED(status), "%s: signal %d", plan, WTERMSIG(status));
    const int how = WEXITSTATUS(status);
    cr_assert(how == DID_NOT_OPEN || how == DIED || how == FINISHED, "%s: %s (exit %d)", plan,
              seen->what, how);
    return (enum outcome)how;
}

/* ---- the plan of a case ---- */

struct name {
    char text[48];
    uint64_t n;
};

struct counts {
    uint64_t n_calls, n_launches;
    struct name names[N_NAMES];
    size_t n_names;
};

static void count_name(struct counts *c, const char *text)
{
    size_t i = 0;
    while (i < c->n_names && strcmp(c->names[i].text, text)) {
        i++;
    }
    cr_assert_lt(i, (size_t)N_NAMES);
    cr_assert_lt(strlen(text), sizeof c->names[i].text);
    (void)strcpy(c->names[i].text, text);
    c->names[i].n++;
    c->n_names = i < c->n_names ? c->n_names : i + 1;
}

/* What a life calls and launches, from the virtual GPU's log. */
static void count_calls(const char *log, struct counts *c)
{
    char line[256], name[48];
    FILE *f = fopen(log, "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long long n;
        if (sscanf(line, "%*[A-Za-z0-9_]: %llu launch", &n) == 1) {
            c->n_launches += n;
        } else if (sscanf(line, "vgpu: %47[A-Za-z0-9_]", name) == 1 && !strncmp(name, "cu", 2)) {
            c->n_calls++;
            char *suffix = strstr(name, "_v");
            if (suffix) {
                *suffix = '\0';
            }
            count_name(c, name);
        }
    }
    (void)fclose(f);
}

enum kind { LAUNCH, LOST, CALL, N_KINDS };

/* Case i of n; the k of a kind are spread evenly over all there are. */
static enum kind make_plan(const struct counts *c, uint64_t i, uint64_t n, char *plan, size_t size)
{
    static const int launch_codes[] = {719, 700, 214}, lost_codes[] = {999, 719, 214, 46};
    const uint64_t turn = i / N_KINDS, turns = (n + N_KINDS - 1) / N_KINDS;
    const enum kind kind = (enum kind)(i % N_KINDS);
    if (kind == LAUNCH) {
        (void)snprintf(plan, size, "launch:%llu=%d",
                       (unsigned long long)(1 + turn * c->n_launches / turns),
                       launch_codes[turn % 3]);
    } else if (kind == LOST) {
        (void)snprintf(plan, size, "lost:%llu=%d",
                       (unsigned long long)(1 + turn * c->n_calls / turns), lost_codes[turn % 4]);
    } else { /* every function in its turn, at another of its calls each round, once or for good */
        const struct name *f =
            &c->names[turns < c->n_names ? turn * c->n_names / turns : turn % c->n_names];
        const uint64_t round = turn / c->n_names;
        const uint64_t rounds = (turns + c->n_names - 1) / c->n_names;
        (void)snprintf(plan, size, "%s:%llu%s", f->text,
                       (unsigned long long)(1 + round * f->n / rounds), turn % 2 ? "+" : "");
    }
    return kind;
}

static void write_tiny(void)
{
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(seen, MAP_FAILED);
    memset(seen, 0, sizeof *seen);
}

Test(cuda_fault_cases, every_request_ends_once_and_none_is_answered_after_the_fault,
     .timeout = 3600)
{
    char log[300], plan[96];
    struct counts c = {0};
    int64_t ms, slowest = 0;
    int n_again = 0;
    uint64_t by[N_KINDS][FINISHED + 1] = {{0}};
    const char *wanted = getenv("OCT_FAULT_CASES");
    const uint64_t n = wanted ? strtoull(wanted, NULL, 10) : SAMPLE;
    write_tiny();
    (void)snprintf(log, sizeof log, "%s/log", dir);
    cr_assert_eq(one_life("lost:1000000000", true, log, &ms), FINISHED);
    count_calls(log, &c);
    cr_assert(c.n_launches > 50 && c.n_calls > 100 && c.n_names > 20, "%llu, %llu, %zu",
              (unsigned long long)c.n_launches, (unsigned long long)c.n_calls, c.n_names);
    const char *one = getenv("OCT_FAULT_PLAN");
    for (int manual = 0; one && manual < 2; manual++) {
        const enum outcome how = one_life(one, manual, NULL, &ms);
        (void)printf("%s: outcome %d after %lld ms\n", one, (int)how, (long long)ms);
    }
    for (uint64_t i = 0; !one && i < n; i++) {
        const enum kind kind = make_plan(&c, i, n, plan, sizeof plan);
        enum outcome how = one_life(plan, i / N_KINDS % 2 == 0, NULL, &ms);
        if (ms > LIMIT_MS) { /* a machine that stands still; a hang would be there again */
            how = one_life(plan, i / N_KINDS % 2 == 0, NULL, &ms);
            n_again++;
        }
        by[kind][how]++;
        slowest = ms > slowest ? ms : slowest;
        /* A launch of a manual life is surely met, and what it made is needed by somebody. */
        cr_assert(kind != LAUNCH || i / N_KINDS % 2 || how != FINISHED, "%s: not noticed", plan);
        cr_assert(SANITIZED || ms <= LIMIT_MS, "%s: %lld ms", plan, (long long)ms);
    }
    (void)printf("%llu faults over %llu launches and %llu calls of %zu functions:\n",
                 (unsigned long long)n, (unsigned long long)c.n_launches,
                 (unsigned long long)c.n_calls, c.n_names);
    static const char *const kinds[] = {"a kernel faults", "the device is lost", "a call fails"};
    for (int k = 0; k < N_KINDS; k++) {
        (void)printf("  %s: %llu ended the engine, %llu its opening, %llu nothing\n", kinds[k],
                     (unsigned long long)by[k][DIED], (unsigned long long)by[k][DID_NOT_OPEN],
                     (unsigned long long)by[k][FINISHED]);
        cr_assert(one || n < SAMPLE || by[k][DIED] > 0);
    }
    (void)printf("  the slowest life took %lld ms; %d were run again\n", (long long)slowest,
                 n_again);
    run_remove_dir(dir);
}
