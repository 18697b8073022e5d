/* SPDX-License-Identifier: Apache-2.0
 *
 * clock_jump.c - a library to be preloaded (LD_PRELOAD): the wall clock is ahead by the seconds
 * that stand as an int64_t in the file CLOCK_JUMP_FILE, now and whenever they change. The monotonic
 * clocks are as they are. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const volatile int64_t *ahead_s;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

/* At the start: what runs later may not be let open files. */
__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("CLOCK_JUMP_FILE");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd >= 0 ? mmap(NULL, sizeof *ahead_s, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    ahead_s = p == MAP_FAILED ? NULL : p;
    if (fd >= 0) {
        (void)close(fd);
    }
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (!real_clock_gettime) {
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    }
    const int rc = real_clock_gettime(clock, t);
    if (rc == 0 && ahead_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        t->tv_sec += *ahead_s;
    }
    return rc;
}

EXPORT int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    const int rc = clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return rc;
}

EXPORT time_t time(time_t *t)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (t) {
        *t = now.tv_sec;
    }
    return now.tv_sec;
}
