/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo batch, and the power goes. The command runs in this process with a tiny model; the linker
 * puts the functions below before open, write, ftruncate, fsync and fdatasync, which write down
 * what is done to the results. From that follow the disks that a loss of power can leave behind
 * after any of these operations; on each the same command is run again.
 *
 * What a disk may hold: everything up to the last sync that came back. Of what was done after it
 * any of: nothing; all; the first operations, the last of them cut at any byte; the size as after
 * any of them, and in each sector (512 bytes) whatever was there at any time since the sync, or
 * zeroes where nothing was. A new file has its name only after a sync of its directory. */
#include "serve/command.h"
#include "support/tiny.h"

#include "base/clock.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
enum { PATH_BYTES = 512, SECTOR = 512, MAX_OPS = 400, MAX_BYTES = 1 << 18, N = 24 };

static char *dir, in_path[PATH_BYTES], out_path[PATH_BYTES], model_path[PATH_BYTES];

/* ---- what is done to the results ---- */

enum kind { MADE, CUT, WRITTEN, SYNCED, NAME_SYNCED };

struct op {
    enum kind kind;
    size_t at, len; /* CUT: the new size is at. WRITTEN: len bytes from at */
    char *data;
    int64_t real_us;
};

static struct {
    struct op op[MAX_OPS];
    int n;
    int fd, dir_fd; /* of the results, of their directory; -1: not open */
    size_t size;
    int n_syncs;
    int failing_sync; /* this one fails with EIO; 0: none */
    bool has_failed;
} rec = {.fd = -1, .dir_fd = -1};

static int speed = 1; /* of the program's clock */

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_ftruncate(int fd, off_t size);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_rename(const char *from, const char *to);
int64_t __real_oct_clock_us(void);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_rename(const char *from, const char *to);
int64_t __wrap_oct_clock_us(void);

/* A third of a second passes with every operation, so that some syncs fall among them. */
int64_t __wrap_oct_clock_us(void)
{
    return __real_oct_clock_us() * speed + rec.n * (speed == 1 ? 333333 : 0);
}

static void note(enum kind kind, size_t at, const void *data, size_t len)
{
    cr_assert_lt(rec.n, MAX_OPS);
    struct op *o = &rec.op[rec.n];
    *o = (struct op){.kind = kind, .at = at, .len = len, .real_us = __real_oct_clock_us()};
    if (len > 0) {
        o->data = malloc(len);
        cr_assert_not_null(o->data);
        memcpy(o->data, data, len);
    }
    rec.n++;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const int mode = (flags & O_CREAT) ? va_arg(args, int) : 0;
    va_end(args);
    struct stat sb;
    const bool is_results = dir && !strcmp(path, out_path) && (flags & O_CREAT);
    const bool is_new = is_results && stat(path, &sb) != 0;
    const int fd = __real_open(path, flags, mode);
    if (fd >= 0 && is_results) {
        rec.fd = fd;
        rec.size = is_new ? 0 : (size_t)sb.st_size;
        if (is_new) {
            note(MADE, 0, NULL, 0);
        }
    } else if (fd >= 0 && dir && (flags & O_DIRECTORY) && !strcmp(path, dir)) {
        rec.dir_fd = fd;
    }
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    const ssize_t n = __real_write(fd, data, len);
    if (fd == rec.fd && n > 0) {
        note(WRITTEN, rec.size, data, (size_t)n);
        rec.size += (size_t)n;
    }
    return n;
}

int __wrap_ftruncate(int fd, off_t size)
{
    const int r = __real_ftruncate(fd, size);
    if (fd == rec.fd && r == 0) {
        note(CUT, (size_t)size, NULL, 0);
        rec.size = (size_t)size;
    }
    return r;
}

static int synced(int fd, int r)
{
    if (fd == rec.fd && ++rec.n_syncs == rec.failing_sync) {
        rec.has_failed =
            true; /* what it was about is forgotten, and later ones know nothing of it */
        errno = EIO;
        return -1;
    }
    if (r == 0 && !rec.has_failed && (fd == rec.fd || fd == rec.dir_fd)) {
        note(fd == rec.fd ? SYNCED : NAME_SYNCED, 0, NULL, 0);
    }
    return r;
}

static char calls[16]; /* f: a file was synced, d: a directory, r: a file was renamed */

int __wrap_fsync(int fd)
{
    struct stat sb;
    cr_assert_eq(fstat(fd, &sb), 0);
    (void)strncat(calls, S_ISDIR(sb.st_mode) ? "d" : "f", sizeof calls - 1 - strlen(calls));
    return synced(fd, 0); /* nothing hangs on a real one here, and it takes its time */
}

int __wrap_rename(const char *from, const char *to)
{
    (void)strncat(calls, "r", sizeof calls - 1 - strlen(calls));
    return __real_rename(from, to);
}

int __wrap_fdatasync(int fd)
{
    return synced(fd, 0);
}

static void forget(void)
{
    for (int i = 0; i < rec.n; i++) {
        free(rec.op[i].data);
    }
    rec.n = rec.n_syncs = rec.failing_sync = 0;
    rec.fd = rec.dir_fd = -1;
    rec.has_failed = false;
}

/* ---- disks ---- */

struct disk {
    size_t size;
    char data[MAX_BYTES]; /* zeroes behind the size */
    bool exists;
};

static struct disk begin_disk; /* at the beginning of the recorded run */

static void apply(struct disk *d, const struct op *o, size_t most)
{
    const size_t len = o->len < most ? o->len : most;
    if (o->kind == CUT) {
        cr_assert_leq(o->at, d->size);
        memset(d->data + o->at, 0, d->size - o->at);
        d->size = o->at;
    } else if (o->kind == WRITTEN) {
        cr_assert_leq(o->at + len, (size_t)MAX_BYTES);
        memcpy(d->data + o->at, o->data, len);
        d->size = o->at + len > d->size ? o->at + len : d->size;
    } else if (o->kind == MADE) {
        d->exists = true;
    }
}

/* What is certain after the first k operations; *first: the first one that is not. */
static void durable(struct disk *d, int k, int *first)
{
    *d = begin_disk;
    *first = 0;
    for (int i = 0; i < k; i++) {
        *first = rec.op[i].kind == SYNCED ? i + 1 : *first;
    }
    for (int i = 0; i < *first; i++) {
        apply(d, &rec.op[i], SIZE_MAX);
    }
    d->exists = begin_disk.exists;
    for (int i = 0; i < k; i++) { /* a name is a matter of its directory */
        d->exists |= rec.op[i].kind == NAME_SYNCED;
    }
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

enum loss { NOTHING_CAME, ALL_CAME, TORN, ZEROES, MIXED, N_LOSSES };

/* A disk after the first k operations. False: there is only one such disk, and how is not
 * NOTHING_CAME. */
static bool lose(struct disk *d, int k, enum loss how, uint64_t *seed)
{
    static struct disk sure, last;
    int first;
    durable(&sure, k, &first);
    *d = sure;
    if (how == NOTHING_CAME) {
        return true;
    }
    if (first == k) {
        return false;
    }
    const int n = k - first;
    const int upto = how == TORN || how == MIXED ? first + 1 + (int)(draw(seed) % (unsigned)n) : k;
    for (int i = first; i < upto; i++) {
        const struct op *o = &rec.op[i];
        const bool cut = i == upto - 1 && o->len > 0 && (how == TORN || draw(seed) % 2 == 0) &&
                         how != ALL_CAME && how != ZEROES;
        apply(d, o, cut ? (size_t)(draw(seed) % o->len) : SIZE_MAX);
    }
    d->exists = true; /* what reached it has taken the name with it, here */
    if (how != ZEROES && how != MIXED) {
        return true;
    }
    /* Sizes are as now; a sector is as of any time since the sync. */
    const size_t size = d->size;
    last = *d;
    for (size_t s = 0; s < size; s += SECTOR) {
        const int back = how == ZEROES ? 0 : (int)(draw(seed) % (unsigned)(n + 2));
        static struct disk then;
        then = sure;
        for (int i = first; i < first + back && i < upto; i++) {
            apply(&then, &rec.op[i], SIZE_MAX);
        }
        const struct disk *from = back == n + 1 ? &last : &then;
        memcpy(d->data + s, from->data + s, SECTOR);
    }
    memset(d->data + size, 0, sizeof d->data - size);
    return true;
}

static void write_disk(const struct disk *d)
{
    (void)unlink(out_path);
    if (d->exists) {
        oct_test_write_file(dir, "out.jsonl", d->data, d->size);
    }
}

static void read_disk(struct disk *d)
{
    FILE *f = fopen(out_path, "re");
    memset(d, 0, sizeof *d);
    if (f) {
        d->size = fread(d->data, 1, sizeof d->data, f);
        d->exists = true;
        (void)fclose(f);
    }
    cr_assert_lt(d->size, sizeof d->data);
}

/* ---- runs ---- */

static void setup(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    json_set_alloc_funcs(oct_malloc, oct_free);
    t.max_positions = 8192;
    char *made = oct_test_make_dir(), real[PATH_MAX];
    oct_tiny_write_gguf(&t, made, "tiny");
    cr_assert_not_null(realpath(made, real));
    (void)snprintf(in_path, sizeof in_path, "%.480s/in.jsonl", real);
    (void)snprintf(out_path, sizeof out_path, "%.480s/out.jsonl", real);
    (void)snprintf(model_path, sizeof model_path, "%.480s/tiny.gguf", real);
    dir = oct_strdup(real);
    oct_free(made);
}

static void teardown(void)
{
    forget();
    oct_test_remove_dir(dir);
}

TestSuite(batch_power, .init = setup, .fini = teardown, .timeout = 240);

static void write_requests(int n, int last_tokens)
{
    struct oct_buf b = {0};
    oct_status st = OCT_OK;
    for (int i = 0; i < n; i++) {
        st = st ? st
                : oct_buf_printf(&b,
                                 "{\"custom_id\": \"r%d\", \"url\": \"/v1/completions\", \"body\": "
                                 "{\"prompt\": \"question %d\", \"max_tokens\": %d, "
                                 "\"ignore_eos\": true, \"temperature\": 0}}\n",
                                 i, i, last_tokens && i == n - 1 ? last_tokens : 4 + i % 13);
    }
    cr_assert_eq(st, OCT_OK);
    oct_test_write_file(dir, "in.jsonl", b.data, b.len);
    oct_buf_free(&b);
}

static char said[4096]; /* on standard error by the last run */

/* The command, recorded. Its exit code. */
static int batch(const char *order, int failing_sync)
{
    const char *const args[] = {model_path, "-i",  in_path,          "-o", out_path,
                                "--device", "cpu", "--threads",      "1",  "--no-sandbox",
                                "--order",  order, "--max-num-seqs", "4"};
    struct oct_params p;
    char path[PATH_BYTES + 8];
    read_disk(&begin_disk);
    forget();
    rec.failing_sync = failing_sync;
    (void)snprintf(path, sizeof path, "%s.err", out_path);
    const int keep = dup(2), to = __real_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(keep >= 0 && to >= 0);
    (void)dup2(to, 2);
    cr_assert_eq(oct_params_parse(OCT_CMD_BIT_BATCH, sizeof args / sizeof *args, args, &p), OCT_OK);
    const int code = (int)oct_command_batch(&p);
    oct_params_deinit(&p);
    rec.fd = rec.dir_fd = -1;
    (void)dup2(keep, 2);
    const ssize_t n = pread(to, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    (void)close(keep);
    (void)close(to);
    return code;
}

/* A result as text, without the date of its answer. */
static char *text_of(json_t *line)
{
    json_t *body = json_object_get(json_object_get(line, "response"), "body");
    cr_assert_eq(json_object_del(body, "created"), 0);
    char *text = json_dumps(line, JSON_COMPACT);
    cr_assert_not_null(text);
    return text;
}

static char *want[N]; /* the results of a run that nothing disturbed */

/* Whole lines, one for each request, as they are without a disturbance. */
static void check_results(const char *what, bool in_order)
{
    static struct disk d;
    bool seen[N] = {false};
    int n = 0;
    read_disk(&d);
    for (char *at = d.data, *end; at < d.data + d.size; at = end + 1, n++) {
        end = memchr(at, '\n', (size_t)(d.data + d.size - at));
        cr_assert_not_null(end, "%s: the last line has no end: %.200s", what, at);
        json_error_t e;
        json_t *o = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, &e);
        cr_assert_not_null(o, "%s: line %d: %s: %.*s", what, n + 1, e.text, (int)(end - at), at);
        const char *id = json_string_value(json_object_get(o, "custom_id"));
        const int i = id ? atoi(id + 1) : -1;
        cr_assert(i >= 0 && i < N && !seen[i], "%s: line %d: %s again", what, n + 1, id);
        cr_assert(!in_order || i == n, "%s: %s is in line %d", what, id, n + 1);
        seen[i] = true;
        char *text = text_of(o);
        if (want[i]) {
            cr_assert_str_eq(text, want[i], "%s", what);
            oct_free(text);
        } else {
            want[i] = text;
        }
        json_decref(o);
    }
    cr_assert_eq(n, N, "%s: %d results", what, n);
}

/* The same command on this disk; what was certain must be there still, byte by byte. */
static void resume(const struct disk *d, const struct disk *sure, const char *what,
                   const char *order)
{
    static struct disk end;
    int first;
    write_disk(d);
    const int code = batch(order, 0);
    cr_assert_eq(code, 0, "%s: %d: %s", what, code, said);
    check_results(what, !strcmp(order, "input"));
    read_disk(&end);
    cr_assert(end.size >= sure->size && !memcmp(end.data, sure->data, sure->size),
              "%s: of the %zu bytes that were synced some are gone", what, sure->size);
    /* And now it has said that it is done. */
    durable(&end, rec.n, &first);
    cr_assert(end.exists, "%s: it ended, and the file's name is not certain", what);
    for (int i = first; i < rec.n; i++) {
        cr_assert(rec.op[i].kind == NAME_SYNCED, "%s: it ended with something not synced", what);
    }
}

/* Every disk that can be left of a run, gone on with; now and then the power goes again. */
static int play(const char *order, int stride, uint64_t seed)
{
    static const char *const names[N_LOSSES] = {"nothing", "all", "torn", "zeroes", "mixed"};
    static struct disk d, sure, now_sure, first_begin, again;
    static struct op ops[MAX_OPS];
    int n_disks = 0;
    (void)unlink(out_path);
    cr_assert_eq(batch(order, 0), 0, "%s", said);
    check_results("undisturbed", !strcmp(order, "input"));
    /* The recorded run is needed again and again: those that go on are recorded too. */
    const int n = rec.n;
    memcpy(ops, rec.op, sizeof ops);
    first_begin = begin_disk;
    rec.n = 0;
    for (int k = 0; k <= n; k++) {
        for (int how = 0; how < N_LOSSES + 3; how++) { /* three more of the mixed ones */
            if ((k * 11 + how * 7) % stride != 0) {
                continue;
            }
            char what[96];
            int first;
            memcpy(rec.op, ops, sizeof ops);
            rec.n = n;
            begin_disk = first_begin;
            const enum loss loss = how < N_LOSSES ? (enum loss)how : MIXED;
            const bool is_new = lose(&d, k, loss, &seed);
            durable(&sure, k, &first);
            rec.n = 0; /* they stay ours */
            if (!is_new) {
                continue;
            }
            (void)snprintf(what, sizeof what, "%d of %d operations, %s (%d)", k, n, names[loss],
                           how);
            sure.size = sure.exists ? sure.size : 0;
            resume(&d, &sure, what, order);
            n_disks++;
            if (n_disks % 4 == 0) {
                const int k2 = (int)(draw(&seed) % (unsigned)(rec.n + 1));
                (void)lose(&again, k2, draw(&seed) % 2 ? MIXED : TORN, &seed);
                durable(&now_sure, k2, &first);
                if (first > 0) { /* else it holds what is not certain: remains of the first loss */
                    sure = now_sure;
                }
                (void)snprintf(what, sizeof what, "%d of %d operations, %s (%d), and again at %d",
                               k, n, names[loss], how, k2);
                resume(&again, &sure, what, order);
                n_disks++;
            }
            forget();
        }
    }
    memcpy(rec.op, ops, sizeof ops);
    rec.n = n;
    forget();
    return n_disks;
}

Test(batch_power, whatever_is_left_of_the_file_the_next_run_goes_on_from_it)
{
    write_requests(N, 0);
    const int n = play("finished", SANITIZED ? 9 : 1, 1) + play("input", SANITIZED ? 27 : 5, 2);
    cr_log_info("%d disks", n);
    cr_assert_gt(n, SANITIZED ? 30 : 300, "%d disks", n);
    for (int i = 0; i < N; i++) {
        oct_free(want[i]);
    }
}

/* The first results come within milliseconds, the last one much later: they do not wait for it. */
Test(batch_power, results_are_synced_while_no_other_comes)
{
    enum { SHORT = 8, APART_US = 150000 };
    int before = -1, last = -1;
    int64_t apart_us = 0;
    speed =
        50; /* the program waits for a result for a tenth of a second at most: five of its own */
    for (int n_tokens = 500; n_tokens <= 8000 && apart_us < APART_US; n_tokens *= 2) {
        (void)unlink(out_path);
        write_requests(SHORT, n_tokens);
        cr_assert_eq(batch("finished", 0), 0, "%s", said);
        for (int i = 0; i < rec.n; i++) {
            if (rec.op[i].kind == WRITTEN) {
                before = last;
                last = i;
            }
        }
        cr_assert_gt(before, 0);
        apart_us = rec.op[last].real_us - rec.op[before].real_us;
    }
    cr_assert_geq(apart_us, APART_US, "the last one came %lld us later", (long long)apart_us);
    bool is_synced = false;
    for (int i = before + 1; i < last; i++) {
        is_synced |= rec.op[i].kind == SYNCED;
    }
    cr_assert(is_synced, "%lld us without a sync", (long long)apart_us * speed);
}

/* What cannot be synced may be gone after the next loss of power, though it can still be read. */
Test(batch_power, results_that_cannot_be_synced_are_made_again)
{
    static struct disk sure, left;
    write_requests(N, 0);
    for (int k = 2;; k += 3) { /* the first one is at the beginning */
        (void)unlink(out_path);
        const int code = batch("finished", k);
        if (rec.n_syncs < k) {
            cr_assert(code == 0 && k > 5, "%d with %d syncs", code, rec.n_syncs);
            break;
        }
        cr_assert_eq(code, 2, "sync %d: %d: %s", k, code, said);
        cr_assert(strstr(said, "cannot be synced"), "%s", said);
        int first;
        durable(&sure, rec.n, &first);
        read_disk(&left);
        cr_assert(left.size == sure.size && !memcmp(left.data, sure.data, left.size),
                  "sync %d: %zu bytes are there, %zu are certain", k, left.size, sure.size);
        cr_assert_eq(batch("finished", 0), 0, "%s", said);
        check_results("after a sync that failed", false);
    }
    cr_assert_eq(batch("finished", 1), 2, "%s", said); /* all results are there: they stay */
    check_results("after a first sync that failed", false);
    for (int i = 0; i < N; i++) {
        oct_free(want[i]);
    }
}

#define RESULT(id) "{\"id\":\"batch_req_1\",\"custom_id\":\"" id "\",\"error\":null}\n"

/* -o with the wrong name must not cost anybody his file. */
Test(batch_power, what_is_no_remains_of_results_is_refused_and_left_alone)
{
    static const struct {
        const char *what;
        size_t zeroes; /* before it */
        bool is_cut;
    } row[] = {
        {"letters to my mother", 0, false},
        {"{\"id\":\"another_1\",\"custom_id\":\"r0\"", 0, false},
        {"ftypisom", 3, false},
        {RESULT("r0") "my letters", 0, false},
        {RESULT("r0") "{\"id\":\"batch_req_2\",\"cus", 0, true},
        {RESULT("r0") "{\"id\"", 0, true},
        {"{\"id\":\"batch_req_", 0, true},
        {"and the rest\"}\n", SECTOR, true},
        {"", 3, true},
        {"", 2 * SECTOR, true},
    };
    write_requests(N, 0);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static struct disk d, after;
        const size_t len = strlen(row[i].what);
        memset(&d, 0, sizeof d);
        memcpy(d.data + row[i].zeroes, row[i].what, len);
        d.size = row[i].zeroes + len;
        d.exists = true;
        write_disk(&d);
        const int code = batch("finished", 0);
        cr_assert_eq(code, row[i].is_cut ? 0 : 2, "row %zu: %d: %s", i, code, said);
        read_disk(&after);
        if (row[i].is_cut) {
            cr_assert(strstr(said, "were not whole results and are cut off"), "%s", said);
            cr_assert_null(memchr(after.data, '\0', after.size), "row %zu", i);
        } else {
            cr_assert(after.size == d.size && !memcmp(after.data, d.data, d.size), "row %zu", i);
        }
    }
}

/* Reports and the like: data first, then the name, then the directory. */
Test(batch_power, a_file_that_is_replaced_is_the_old_or_the_new_one)
{
    static struct disk d;
    static const char text[] = "whole";
    calls[0] = '\0';
    cr_assert_eq(oct_file_replace(out_path, text, sizeof text - 1), OCT_OK, "%s", oct_last_error());
    cr_assert_str_eq(calls, "frd");
    read_disk(&d);
    cr_assert_str_eq(d.data, text);
}
