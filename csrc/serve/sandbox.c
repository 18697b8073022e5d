/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/sandbox.h"

#include "cpu/machine.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- Landlock: which files can still be opened ---- */

/* Newer than the kernel headers we build with: ABI 2, 3, 5 (files), 4 (TCP), 6 (scopes). */
#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define NET_BIND_AND_CONNECT 3ull
#define SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS 3ull

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

/* The attributes this ABI knows, and how many bytes of the struct it takes. */
static size_t attributes_of(int abi, struct ruleset_attr *out)
{
    *out = (struct ruleset_attr){.fs = (1ull << 13) - 1}; /* ABI 1: execute .. make_sym */
    out->fs |= abi >= 2 ? FS_REFER : 0;
    out->fs |= abi >= 3 ? FS_TRUNCATE : 0;
    out->fs |= abi >= 5 ? FS_IOCTL_DEV : 0;
    out->net = abi >= 4 ? NET_BIND_AND_CONNECT : 0;
    out->scoped = abi >= 6 ? SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS : 0;
    return abi >= 6 ? sizeof *out : abi >= 4 ? offsetof(struct ruleset_attr, scoped) : 8;
}

enum { FILES = LANDLOCK_ACCESS_FS_READ_FILE, NAMES = LANDLOCK_ACCESS_FS_READ_DIR };

/* Lets `path` and all beneath be opened for `access`; what does not exist needs no rule. */
static void allow(int ruleset, const char *path, uint64_t access)
{
    const int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat sb;
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &sb) == 0 && !S_ISDIR(sb.st_mode)) {
        access &= FILES; /* the kernel refuses a rule that lets a file be listed */
    }
    const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (access != 0) { /* if it fails, less is allowed: the loader will say which file it wanted */
        (void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    (void)close(fd);
}

static void allow_system(int ruleset)
{
    static const char *const paths[] = {"/lib",
                                        "/lib64",
                                        "/usr/lib",
                                        "/usr/lib64",
                                        "/usr/local/lib", /* libraries loaded late */
                                        "/etc/ld.so.cache",
                                        "/proc/self",
                                        "/proc/meminfo",
                                        "/proc/cpuinfo",
                                        "/proc/stat",
                                        "/proc/sys/vm",
                                        "/sys/devices/system",
                                        "/sys/fs/cgroup",
                                        "/sys/kernel/mm",
                                        "/dev/urandom",
                                        "/dev/null"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        allow(ruleset, paths[i], FILES | NAMES);
    }
}

/* name-00001-of-00003.gguf: *prefix_len bytes before the first number, and how many files. */
static bool is_split(const char *path, size_t *prefix_len, int *n_files)
{
    static const char form[] = "-ddddd-of-ddddd.gguf";
    const size_t len = strlen(path), form_len = sizeof form - 1;
    if (len <= form_len) {
        return false;
    }
    const char *tail = path + len - form_len;
    for (size_t i = 0; i < form_len; i++) {
        if (form[i] == 'd' ? !isdigit((unsigned char)tail[i]) : tail[i] != form[i]) {
            return false;
        }
    }
    *prefix_len = len - form_len;
    *n_files = atoi(tail + sizeof "-ddddd-of-" - 1);
    return true;
}

static void allow_file(int ruleset, const char *path)
{
    allow(ruleset, path, FILES);
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    (void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1,
                   slash ? path : ".");
    allow(ruleset, dir, NAMES); /* opening a file relative to it */

    enum { MAX_SPLITS = 1000 };
    size_t prefix_len;
    int n_files;
    if (is_split(path, &prefix_len, &n_files)) {
        for (int i = 1; i <= n_files && i <= MAX_SPLITS; i++) {
            char sibling[PATH_MAX];
            (void)snprintf(sibling, sizeof sibling, "%.*s-%05d-of-%05d.gguf", (int)prefix_len, path,
                           i, n_files);
            allow(ruleset, sibling, FILES);
        }
    }
}

static void allow_model(int ruleset, const char *path)
{
    struct stat sb;
    char real[PATH_MAX], blobs[PATH_MAX + 16];
    if (stat(path, &sb) != 0) {
        return;
    }
    if (!S_ISDIR(sb.st_mode)) {
        allow_file(ruleset, path);
        return;
    }
    allow(ruleset, path, FILES | NAMES);
    static const char parent[] = "/snapshots";
    const char *last = realpath(path, real) ? strrchr(real, '/') : NULL;
    if (last && (size_t)(last - real) >= sizeof parent - 1 &&
        !strncmp(last - (sizeof parent - 1), parent, sizeof parent - 1)) {
        (void)snprintf(blobs, sizeof blobs, "%s/../../blobs", real);
        allow(ruleset, blobs, FILES | NAMES);
    }
}

/* Returns the ABI, or 0 if the kernel has no Landlock (or does not let us use it). */
static int enter_landlock(const char *model_path)
{
    const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        return 0;
    }
    struct ruleset_attr attr;
    const size_t size = attributes_of((int)abi, &attr);
    const int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0) {
        return 0;
    }
    allow_system(ruleset);
    allow_model(ruleset, model_path);
    const long failed = syscall(SYS_landlock_restrict_self, ruleset, 0);
    (void)close(ruleset);
    return failed ? 0 : (int)abi;
}

/* ---- seccomp: which calls can still be made ---- */

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef FILTER_ARCH

/* Everything else is allowed: the process computes, and reads what Landlock left it. */
// clang-format off
static const unsigned refused[] = {
    /* other programs and processes */
    SYS_execve, SYS_execveat, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd,
    SYS_kcmp,
#if !SANITIZED
    SYS_ptrace,
#endif
    /* the network, and sockets of the machine itself */
    SYS_socket, SYS_socketpair, SYS_bind, SYS_connect, SYS_listen,
    SYS_accept, SYS_accept4, /* but for a server */
    /* calls that do others' work unseen by this filter */
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    /* the file system's shape; Landlock refuses the rest, this also where there is none */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_open_by_handle_at,
    SYS_name_to_handle_at, SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_mkdirat,
    SYS_mknodat, SYS_fchmodat, SYS_fchownat, SYS_truncate, SYS_setxattr, SYS_lsetxattr,
    SYS_quotactl, SYS_acct, SYS_swapon, SYS_swapoff,
#if defined(__x86_64__)
    SYS_unlink, SYS_rmdir, SYS_rename, SYS_renameat, SYS_link, SYS_symlink, SYS_mkdir, SYS_mknod,
    SYS_chmod, SYS_chown, SYS_lchown, SYS_creat, SYS_ioperm, SYS_iopl, SYS_uselib, SYS_modify_ldt,
#endif
    /* who we are and what we see */
    SYS_setns, SYS_unshare, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid,
    SYS_setresgid, SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capset,
    /* the kernel's deeper doors */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_sethostname,
    SYS_setdomainname, SYS_syslog, SYS_vhangup, SYS_fanotify_init, SYS_lookup_dcookie,
};
// clang-format on

enum { N_REFUSED = sizeof refused / sizeof *refused, X32_BIT = 0x40000000 };

static bool enter_seccomp(bool accepts)
{
    enum { REFUSE = SECCOMP_RET_ERRNO | EPERM, NR = offsetof(struct seccomp_data, nr) };
    /* low half of the second argument on a little-endian machine */
    enum { REQUEST = offsetof(struct seccomp_data, args) + 8 };
    struct sock_filter code[2 * N_REFUSED + 24];
    size_t n = 0;
    /* a call numbered by another convention would slip past the numbers below */
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR);
#if defined(__x86_64__)
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, REFUSE);
#endif
    for (size_t i = 0; i < N_REFUSED; i++) {
        if (accepts && (refused[i] == SYS_accept || refused[i] == SYS_accept4)) {
            continue;
        }
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, REFUSE);
    }
    /* typing into the user's terminal: TIOCSTI, and the console's paste */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, REQUEST);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, REFUSE);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    const struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#else
static bool enter_seccomp(bool accepts)
{
    (void)accepts;
    return false; /* the list of calls is not written for this machine */
}
#endif

/* ---- limits ---- */

/* Lowers a limit, never raises it. Returns what holds afterwards; 0: no limit. */
static uint64_t lower(__rlimit_resource_t what, uint64_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0) {
        return 0;
    }
    const rlim_t hard =
        now.rlim_max < most ? now.rlim_max : most; /* RLIM_INFINITY is the largest */
    const struct rlimit wanted = {.rlim_cur = now.rlim_cur < hard ? now.rlim_cur : hard,
                                  .rlim_max = hard};
    if (setrlimit(what, &wanted) == 0) {
        now = wanted;
    }
    return now.rlim_cur == RLIM_INFINITY ? 0 : now.rlim_cur;
}

static void enter_limits(uint64_t n_files, struct oct_sandbox_report *report)
{
    (void)lower(RLIMIT_CORE, 0);
    report->max_files = lower(RLIMIT_NOFILE, n_files ? n_files : OCT_SANDBOX_FILES);
    /* RLIMIT_DATA counts private writable memory, threads' stacks included: a GiB on top for what
     * is mapped and never touched. A sanitizer maps terabytes of shadow. */
    const uint64_t memory = oct_machine_memory();
    if (memory > 0 && !SANITIZED) {
        report->max_data_bytes = lower(RLIMIT_DATA, memory + (1ull << 30));
    }
}

struct oct_sandbox_report oct_sandbox_enter(const char *model_path,
                                            const struct oct_sandbox_needs *needs)
{
    struct oct_sandbox_report report = {0};
    enter_limits(needs ? needs->n_files : 0, &report);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) { /* both halves ask for it */
        report.landlock_abi = enter_landlock(model_path);
        report.seccomp = enter_seccomp(needs && needs->accepts);
    }
    return report;
}
