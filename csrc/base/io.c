/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include "base/fault.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The files of a closed oct_file hold fd 0 with path NULL, so {0} is closed too. */

static oct_status open_failed(const char *path, int err)
{
    if (err == ENOENT || err == ENOTDIR) {
        return OCT_FAIL(OCT_E_NOTFOUND, "%s: no such file", path);
    }
    if (err == EACCES || err == EPERM) {
        return OCT_FAIL(OCT_E_IO, "%s: no permission to read it; check its owner and mode", path);
    }
    return OCT_FAIL(OCT_E_IO, "%s: cannot be opened: %s", path, strerror(err));
}

/* Takes ownership of fd; checks that it is a regular file. */
static oct_status adopt(int fd, const char *path, struct oct_file *out)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0) {
        int err = errno;
        (void)close(fd);
        return open_failed(path, err);
    }
    if (!S_ISREG(sb.st_mode)) {
        (void)close(fd);
        return OCT_FAIL(OCT_E_IO, "%s: is %s, not a regular file", path,
                        S_ISDIR(sb.st_mode)    ? "a directory"
                        : S_ISFIFO(sb.st_mode) ? "a FIFO"
                        : S_ISSOCK(sb.st_mode) ? "a socket"
                                               : "a device");
    }
    char *copy = oct_strdup(path);
    if (!copy) {
        (void)close(fd);
        return oct_no_memory("a file name", strlen(path) + 1);
    }
    *out = (struct oct_file){.fd = fd, .size_bytes = (uint64_t)sb.st_size, .path = copy};
    return OCT_OK;
}

/* O_NONBLOCK: opening a FIFO must not wait for a writer; it means nothing for regular files. */
enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

oct_status oct_file_open(const char *path, struct oct_file *out)
{
    if (oct_fault_hit(OCT_FAULT_OPEN)) {
        return OCT_FAIL(OCT_E_IO, "%s: cannot be opened: injected fault", path);
    }
    int fd = open(path, OPEN_FLAGS);
    return fd < 0 ? open_failed(path, errno) : adopt(fd, path, out);
}

/* The directory around the one that path[*len] names. */
static void drop_last_name(const char *path, size_t *len)
{
    while (*len > 0 && path[*len - 1] != '/') {
        --*len;
    }
    *len -= *len > 0;
}

/* A link <repo>/snapshots/<revision>/<name> -> ../../blobs/<blob>, or one from its
 * folder of chat templates, with one more "../": opens the blob, itself no link. */
static int open_cache_blob(int dir_fd, const char *dir, const char *name)
{
    char target[512];
    static const char prefix[] = "../../blobs/", up[] = "../", parent[] = "/snapshots";
    static const char folder[] = "/additional_chat_templates";
    const ssize_t n = readlinkat(dir_fd, name, target, sizeof target - 1);
    if (n <= 0) {
        return -1;
    }
    target[n] = '\0';
    const bool in_folder = !strncmp(target, "../../../", 9);
    const char *rest = target + (in_folder ? sizeof up - 1 : 0);
    const char *blob = rest + sizeof prefix - 1;
    if (strncmp(rest, prefix, sizeof prefix - 1) != 0 || strchr(blob, '/') || !*blob ||
        blob[0] == '.') {
        return -1;
    }
    char *real = realpath(dir, NULL);
    size_t len = real ? strlen(real) : 0;
    bool ok = !in_folder ||
              (len >= sizeof folder - 1 && !strcmp(real + len - (sizeof folder - 1), folder));
    for (int i = 0; real && i < 1 + in_folder; i++) {
        drop_last_name(real, &len);
    }
    ok = ok && len >= sizeof parent - 1 &&
         !memcmp(real + len - (sizeof parent - 1), parent, sizeof parent - 1);
    free(real); /* realpath's own malloc */
    return ok ? openat(dir_fd, target, OPEN_FLAGS | O_NOFOLLOW) : -1;
}

oct_status oct_file_open_in(const char *dir, const char *name, struct oct_file *out)
{
    char quoted[128], path[4096];
    (void)oct_error_quote(quoted, sizeof quoted, name, strlen(name));
    if (name[0] == '\0' || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")) {
        return OCT_FAIL(
            OCT_E_FORMAT,
            "%s: file name \"%s\" is refused; only plain names inside the directory are read", dir,
            quoted);
    }
    int len = snprintf(path, sizeof path, "%s%s%s", dir,
                       dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    if (len < 0 || (size_t)len >= sizeof path) {
        return OCT_FAIL(OCT_E_ARG, "%s: the path is too long", dir);
    }
    if (oct_fault_hit(OCT_FAULT_OPEN)) {
        return OCT_FAIL(OCT_E_IO, "%s: cannot be opened: injected fault", path);
    }
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return open_failed(dir, errno);
    }
    int fd = openat(dir_fd, name, OPEN_FLAGS | O_NOFOLLOW);
    int err = errno;
    if (fd < 0 && err == ELOOP) {
        fd = open_cache_blob(dir_fd, dir, name);
    }
    (void)close(dir_fd);
    if (fd >= 0) {
        return adopt(fd, path, out);
    }
    if (err == ELOOP) {
        return OCT_FAIL(OCT_E_IO, "%s: is a symbolic link; put the file itself into the directory",
                        path);
    }
    return open_failed(path, err);
}

oct_status oct_file_read(const struct oct_file *f, uint64_t offset, void *dst, size_t size)
{
    char *at = dst;
    if (oct_fault_hit(OCT_FAULT_READ)) {
        return OCT_FAIL(OCT_E_IO, "%s: cannot be read: injected fault", f->path);
    }
    if (offset > INT64_MAX || size > INT64_MAX - offset) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: byte %" PRIu64 " lies past the end", f->path, offset);
    }
    while (size) {
        ssize_t n = pread(f->fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return OCT_FAIL(OCT_E_IO, "%s: cannot be read at byte %" PRIu64 ": %s", f->path, offset,
                            strerror(errno));
        }
        if (n == 0) {
            return OCT_FAIL(OCT_E_FORMAT,
                            "%s: ends at byte %" PRIu64
                            " where %zu more are needed; it was cut short",
                            f->path, offset, size);
        }
        at += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return OCT_OK;
}

oct_status oct_file_slurp(const struct oct_file *f, size_t max_bytes, char **data, size_t *len)
{
    if (f->size_bytes > max_bytes) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: has %" PRIu64 " bytes; such a file may have %zu",
                        f->path, f->size_bytes, max_bytes);
    }
    size_t n = (size_t)f->size_bytes;
    char *p = oct_malloc(n + 1);
    if (!p) {
        return oct_no_memory(f->path, n + 1);
    }
    oct_status st = oct_file_read(f, 0, p, n);
    if (st != OCT_OK) {
        oct_free(p);
        return st;
    }
    p[n] = '\0';
    *data = p;
    *len = n;
    return OCT_OK;
}

void oct_file_close(struct oct_file *f)
{
    if (f->path) {
        (void)close(f->fd);
        oct_free(f->path);
    }
    *f = (struct oct_file){0};
}

oct_status oct_path_kind(const char *path, bool *is_dir)
{
    struct stat sb;
    if (stat(path, &sb) != 0) {
        return open_failed(path, errno);
    }
    *is_dir = S_ISDIR(sb.st_mode);
    return OCT_OK;
}

static int write_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = oct_fault_hit(OCT_FAULT_WRITE) ? (errno = ENOSPC, -1) : write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

oct_status oct_file_replace(const char *path, const void *data, size_t len)
{
    char tmp[4096];
    int n = snprintf(tmp, sizeof tmp, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof tmp) {
        return OCT_FAIL(OCT_E_ARG, "%s: the path is too long", path);
    }
    int fd = mkstemp(tmp);
    if (fd < 0) {
        return OCT_FAIL(OCT_E_IO, "%s: cannot be created: %s", path, strerror(errno));
    }
    int failed = fchmod(fd, 0644) || write_all(fd, data, len) || fsync(fd);
    int err = errno;
    if (close(fd) != 0 && !failed) {
        failed = 1;
        err = errno;
    }
    if (!failed && rename(tmp, path) != 0) {
        failed = 1;
        err = errno;
    }
    if (failed) {
        (void)unlink(tmp);
        return OCT_FAIL(OCT_E_IO, "%s: cannot be written: %s; nothing was changed", path,
                        strerror(err));
    }
    return oct_dir_sync(path);
}

oct_status oct_dir_sync(const char *path)
{
    char real[PATH_MAX];
    if (!realpath(path, real)) {
        return OCT_FAIL(OCT_E_IO, "%s: %s", path, strerror(errno));
    }
    char *slash = strrchr(real, '/');
    slash[slash == real] = '\0'; /* "/" stays */
    const int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return OCT_OK; /* one that may be entered and not listed */
    }
    const int failed = fsync(fd);
    const int err = errno;
    (void)close(fd);
    if (failed && err != EINVAL && err != EROFS) { /* EINVAL: no such thing in this file system */
        return OCT_FAIL(OCT_E_IO, "%s: its name cannot be synced to the disk: %s", path,
                        strerror(err));
    }
    return OCT_OK;
}
