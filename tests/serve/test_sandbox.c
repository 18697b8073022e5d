/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process cannot do any more once it has entered the sandbox. It is entered in a child: the
 * test itself must still be able to clean up. */
#include "serve/sandbox.h"
#include "support/writer.h"

#include "base/io.h"
#include "base/pool.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

/* Shared between test and child: what the child found wrong first. */
struct verdict {
    bool skip;
    char wrong[512];
};
static struct verdict *verdict;
static const struct oct_sandbox_needs *needs; /* of the next child */

__attribute__((format(printf, 2, 3))) static void expect(bool ok, const char *fmt, ...)
{
    if (!ok && verdict->wrong[0] == '\0') {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(verdict->wrong, sizeof verdict->wrong, fmt, ap);
        va_end(ap);
    }
}

/* Runs `check` in a child that has entered the sandbox for model_path. */
static void inside(const char *model_path, bool needs_landlock, void (*check)(const char *dir),
                   const char *dir)
{
    verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(verdict, MAP_FAILED);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        const struct oct_sandbox_report r = oct_sandbox_enter(model_path, needs);
        verdict->skip = needs_landlock ? r.landlock_abi == 0 : !r.seccomp;
        if (!verdict->skip) {
            check(dir);
        }
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
    cr_expect_eq(verdict->wrong[0], '\0', "%s", verdict->wrong);
}

static void skip_if_the_kernel_lacks_it(void)
{
    if (verdict->skip) {
        cr_skip_test("this kernel has no %s", "Landlock or no seccomp filters");
    }
}

/* 0, or the errno of opening dir/name. */
static int open_error(const char *dir, const char *name, int flags)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
    const int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    (void)close(fd);
    return 0;
}

static char *make_model_dir(void)
{
    char *dir = oct_test_make_dir();
    char other[PATH_BYTES];
    oct_test_write_file(dir, "other.gguf", "text", 4);
    oct_test_write_file(dir, "a-00001-of-00002.gguf", "text", 4);
    oct_test_write_file(dir, "a-00002-of-00002.gguf", "text", 4);
    (void)snprintf(other, sizeof other, "%s/link.gguf", dir);
    cr_assert_eq(symlink("other.gguf", other), 0);
    return dir;
}

static void check_directory(const char *dir)
{
    static const char *const outside[] = {"/etc/passwd", "/etc/hostname", "/proc/1/environ",
                                          OCT_SOURCE_DIR "/README.md", OCT_SOURCE_DIR};
    expect(open_error(dir, "other.gguf", O_RDONLY) == 0, "the model cannot be read");
    expect(open_error(dir, "", O_RDONLY | O_DIRECTORY) == 0, "the model cannot be listed");
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        const int e = open_error(outside[i], "", O_RDONLY);
        expect(e == EACCES || e == ENOENT, "%s: %s", outside[i], strerror(e));
    }
    expect(open_error("/etc/passwd", "", O_RDONLY) == EACCES, "/etc/passwd can be read");
    expect(open_error(dir, "new", O_WRONLY | O_CREAT) == EACCES, "a file can be made");
    expect(open_error(dir, "other.gguf", O_WRONLY) == EACCES, "the model can be written");
    expect(open_error(dir, "other.gguf", O_RDONLY | O_TRUNC) == EACCES, "it can be truncated");
    expect(open_error("/proc/self/status", "", O_RDONLY) == 0, "no /proc/self");
    expect(open_error("/proc/self/mem", "", O_RDWR) == EACCES, "its own memory can be written");
}

Test(sandbox, a_directory_can_be_read_and_nothing_else)
{
    char *dir = make_model_dir();
    inside(dir, true, check_directory, dir);
    oct_test_remove_dir(dir);
    skip_if_the_kernel_lacks_it();
}

static void check_file(const char *dir)
{
    expect(open_error(dir, "a-00002-of-00002.gguf", O_RDONLY) == 0, "its own part");
    expect(open_error(dir, "a-00001-of-00002.gguf", O_RDONLY) == 0, "the other part of the set");
    expect(open_error(dir, "other.gguf", O_RDONLY) == EACCES, "a neighbour can be read");
    struct oct_file f;
    expect(oct_file_open_in(dir, "a-00001-of-00002.gguf", &f) == OCT_OK, "%s", oct_last_error());
}

Test(sandbox, of_a_split_file_the_parts_can_be_read_and_no_neighbour)
{
    char *dir = make_model_dir(), path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/a-00002-of-00002.gguf", dir);
    inside(path, true, check_file, dir);
    oct_test_remove_dir(dir);
    skip_if_the_kernel_lacks_it();
}

static void check_link(const char *dir)
{
    expect(open_error(dir, "link.gguf", O_RDONLY) == 0, "a linked model cannot be read");
    expect(open_error(dir, "a-00001-of-00002.gguf", O_RDONLY) == EACCES, "a neighbour can be read");
}

Test(sandbox, a_link_to_a_file_is_followed)
{
    char *dir = make_model_dir(), path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/link.gguf", dir);
    inside(path, true, check_link, dir);
    oct_test_remove_dir(dir);
    skip_if_the_kernel_lacks_it();
}

static void check_cache(const char *dir)
{
    char snapshot[PATH_BYTES];
    (void)snprintf(snapshot, sizeof snapshot, "%s/snapshots/1234", dir);
    struct oct_file f;
    expect(oct_file_open_in(snapshot, "config.json", &f) == OCT_OK, "%s", oct_last_error());
    expect(open_error(dir, "secret", O_RDONLY) == EACCES, "a file beside the snapshots");
}

Test(sandbox, a_snapshot_of_a_cache_finds_its_blobs)
{
    char *dir = oct_test_make_dir(), path[PATH_BYTES];
    static const char *const made[] = {"snapshots", "blobs", "snapshots/1234"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, made[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
    oct_test_write_file(dir, "secret", "x", 1);
    oct_test_write_file(dir, "blobs/abcd", "{}", 2);
    (void)snprintf(path, sizeof path, "%s/snapshots/1234/config.json", dir);
    cr_assert_eq(symlink("../../blobs/abcd", path), 0);
    (void)snprintf(path, sizeof path, "%s/snapshots/1234", dir);
    inside(path, true, check_cache, dir);
    oct_test_remove_dir(dir);
    skip_if_the_kernel_lacks_it();
}

static void check_calls(const char *dir)
{
    static const struct {
        const char *what;
        long call;
        long args[4];
    } row[] = {
        {"execve", SYS_execve, {0}},
        {"execveat", SYS_execveat, {0}},
        {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0, 0}},
        {"socket of the machine", SYS_socket, {AF_UNIX, SOCK_STREAM, 0, 0}},
        {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, 0}},
        {"connect", SYS_connect, {0}},
        {"io_uring_setup", SYS_io_uring_setup, {1, 0, 0, 0}},
        {"mount", SYS_mount, {0}},
        {"bpf", SYS_bpf, {0}},
        {"unshare", SYS_unshare, {0}},
        {"perf_event_open", SYS_perf_event_open, {0}},
        {"keyctl", SYS_keyctl, {0}},
        {"mkdirat", SYS_mkdirat, {AT_FDCWD, (long)(intptr_t) "x", 0700, 0}},
        {"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0}},
        {"typing into the terminal", SYS_ioctl, {0, TIOCSTI, (long)(intptr_t) "x", 0}},
#if defined(__x86_64__)
        {"a call numbered as x32", 0x40000000 | SYS_getpid, {0}},
#endif
    };
    (void)dir;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const long *a = row[i].args;
        errno = 0;
        const long r = syscall(row[i].call, a[0], a[1], a[2], a[3], 0, 0);
        expect(r == -1 && errno == EPERM, "%s: %ld, %s", row[i].what, r, strerror(errno));
    }
}

Test(sandbox, programs_network_and_the_kernels_doors_are_refused)
{
    inside("/nowhere", false, check_calls, NULL);
    skip_if_the_kernel_lacks_it();
}

static int listening, connected;

static void check_server(const char *dir)
{
    const int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    char byte = 0;
    expect(fd >= 0, "a connection cannot be accepted: %s", strerror(errno));
    expect(write(fd, "x", 1) == 1 && read(connected, &byte, 1) == 1 && byte == 'x',
           "an accepted connection carries nothing");
    expect(accept(listening, NULL, NULL) < 0 && errno == EAGAIN, "accept: %s", strerror(errno));
    expect(bind(listening, NULL, 0) < 0 && errno == EPERM, "bind: %s", strerror(errno));
    expect(listen(listening, 9) < 0 && errno == EPERM, "listen: %s", strerror(errno));
    check_calls(dir);
}

Test(sandbox, a_server_accepts_where_it_listens_already_and_nothing_more)
{
    const struct oct_sandbox_needs server = {.accepts = true};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connected = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(listening, (struct sockaddr *)&address, len) == 0 && listen(listening, 5) == 0 &&
              getsockname(listening, (struct sockaddr *)&address, &len) == 0 &&
              connect(connected, (struct sockaddr *)&address, len) == 0);
    needs = &server;
    inside("/nowhere", false, check_server, NULL);
    skip_if_the_kernel_lacks_it();
}

static uint64_t hard_limit(__rlimit_resource_t what)
{
    struct rlimit r = {0};
    expect(getrlimit(what, &r) == 0, "getrlimit: %s", strerror(errno));
    return r.rlim_max;
}

static void check_limits(const char *dir)
{
    (void)dir;
    expect(hard_limit(RLIMIT_CORE) == 0, "a core dump can be written");
    expect(hard_limit(RLIMIT_NOFILE) <= OCT_SANDBOX_FILES, "%llu files",
           (unsigned long long)hard_limit(RLIMIT_NOFILE));
    int opened = 0, last = 0;
    while (opened <= OCT_SANDBOX_FILES && last >= 0) {
        last = open("/dev/null", O_RDONLY | O_CLOEXEC);
        opened++;
    }
    expect(last < 0 && errno == EMFILE, "%d files opened, then %s", opened, strerror(errno));
#if !defined(__SANITIZE_ADDRESS__)
    const uint64_t most = hard_limit(RLIMIT_DATA), step = 1ull << 30;
    expect(most != RLIM_INFINITY, "memory is not bounded");
    uint64_t got = 0;
    while (got <= most && mmap(NULL, step, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
        got += step;
    }
    expect(got < most && errno == ENOMEM, "%llu bytes mapped, then %s", (unsigned long long)got,
           strerror(errno));
#endif
}

Test(sandbox, memory_and_files_are_bounded_and_no_core_is_dumped)
{
    inside("/nowhere", false, check_limits, NULL);
    skip_if_the_kernel_lacks_it();
}

static void count_items(void *arg, int64_t begin, int64_t end, int thread)
{
    int *done = arg;
    done[thread] += (int)(end - begin);
}

static void check_work(const char *dir)
{
    (void)dir;
    struct oct_pool *pool = NULL;
    int done[4] = {0};
    expect(oct_pool_create(4, "octavo", &pool) == OCT_OK, "threads: %s", oct_last_error());
    oct_pool_run(pool, 4, 100, 1, count_items, done);
    oct_pool_destroy(pool);
    expect(done[0] + done[1] + done[2] + done[3] == 100, "threads did not do their work");
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0,
           "generated code (oneDNN): %s", strerror(errno));
    char *big = oct_malloc(64 << 20);
    expect(big != NULL, "64 MiB");
    oct_free(big);
}

Test(sandbox, threads_memory_and_generated_code_still_work)
{
    inside("/nowhere", false, check_work, NULL);
    skip_if_the_kernel_lacks_it();
}
