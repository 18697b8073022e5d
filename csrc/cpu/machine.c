/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The start of a file of the kernel's, NUL-terminated. These have no size of their own, so they do
 * not go through base/io. */
static bool read_text(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    const ssize_t n = read(fd, text, size - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Calls `take` with the text of `file` in this process's control group and in all above it: the
 * tightest limit counts. Control groups of version 2; a machine without them has no limits here. */
static void each_group(const char *file, void (*take)(const char *text, void *arg), void *arg)
{
    char groups[4096], path[4200], text[64];
    if (!read_text("/proc/self/cgroup", groups, sizeof groups)) {
        return;
    }
    char *mine = strstr(groups, "0::/");
    if (!mine || (mine != groups && mine[-1] != '\n')) {
        return;
    }
    mine += strlen("0::");
    mine[strcspn(mine, "\n")] = '\0';
    for (;;) {
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", mine, file);
        if (read_text(path, text, sizeof text)) {
            take(text, arg);
        }
        char *slash = strrchr(mine, '/');
        if (!slash) {
            return;
        }
        *slash = '\0';
    }
}

static void take_cores(const char *text, void *arg)
{
    int *cores = arg;
    long long quota, period; /* "200000 100000": microseconds of each period; "max 100000": none */
    if (sscanf(text, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
        const long long granted = quota / period + (quota % period != 0);
        *cores = granted < *cores ? (int)granted : *cores;
    }
}

int oct_machine_cores(void)
{
    int cores = 0;
    for (int most = 1024; most <= 1 << 16 && cores == 0; most *= 4) { /* EINVAL: mask too short */
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        if (!set) {
            break;
        }
        if (sched_getaffinity(0, CPU_ALLOC_SIZE((size_t)most), set) == 0) {
            cores = CPU_COUNT_S(CPU_ALLOC_SIZE((size_t)most), set);
        }
        CPU_FREE(set);
    }
    cores = cores < 1 ? 1 : cores;
    each_group("cpu.max", take_cores, &cores);
    return cores;
}

static void take_memory(const char *text, void *arg)
{
    uint64_t *bytes = arg;
    char *end;
    const unsigned long long limit = strtoull(text, &end, 10); /* or "max" */
    if (end != text && limit > 0 && (*bytes == 0 || limit < *bytes)) {
        *bytes = limit;
    }
}

uint64_t oct_machine_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    each_group("memory.max", take_memory, &bytes);
    return bytes;
}

void oct_machine_want_huge_pages(void *p, size_t bytes)
{
    const uintptr_t begin = ((uintptr_t)p + OCT_HUGE_PAGE - 1) & ~(uintptr_t)(OCT_HUGE_PAGE - 1);
    const uintptr_t end = ((uintptr_t)p + bytes) & ~(uintptr_t)(OCT_HUGE_PAGE - 1);
    if (begin < end) { /* whole ones inside: what lies around belongs to others */
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
    }
}
