/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve_log.h"

#include "base/clock.h"
#include "engine/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_BYTES = 16 * 1024 };

/* One process has one standard error. */
static struct {
    pthread_mutex_t lock; /* of all below; a leaf */
    pthread_cond_t more, written;
    char ring[OCT_LOG_BYTES];
    size_t begin, len; /* what waits, from ring[begin], around its end */
    bool json, has_thread, is_writing;
    uint64_t n_lost;
    int64_t second; /* of the clock, in which n_in_second lines came */
    int n_in_second;
} log_ = {.lock = PTHREAD_MUTEX_INITIALIZER, .written = PTHREAD_COND_INITIALIZER};

void oct_log_init(bool json)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&log_.more, NULL);
    pthread_cond_init(&log_.written, &a);
    pthread_condattr_destroy(&a);
    log_.json = json;
}

/* ---- writing ---- */

/* Takes up to CHUNK_BYTES out of the ring. Locked. */
static size_t take(char dst[CHUNK_BYTES])
{
    const size_t n = log_.len < CHUNK_BYTES ? log_.len : CHUNK_BYTES;
    const size_t to_end = OCT_LOG_BYTES - log_.begin;
    const size_t first = n < to_end ? n : to_end;
    memcpy(dst, log_.ring + log_.begin, first);
    memcpy(dst + first, log_.ring, n - first);
    log_.begin = (log_.begin + n) % OCT_LOG_BYTES;
    log_.len -= n;
    return n;
}

/* What cannot be written is given up: nobody is there to be told. */
static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(2, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

static void *write_lines(void *arg)
{
    char chunk[CHUNK_BYTES];
    (void)arg;
    pthread_mutex_lock(&log_.lock);
    for (;;) {
        while (log_.len == 0) {
            pthread_cond_wait(&log_.more, &log_.lock);
        }
        const size_t n = take(chunk);
        log_.is_writing = true;
        pthread_mutex_unlock(&log_.lock);
        write_all(chunk, n);
        pthread_mutex_lock(&log_.lock);
        log_.is_writing = false;
        pthread_cond_broadcast(&log_.written);
    }
    return NULL;
}

oct_status oct_log_start(void)
{
    pthread_t t; /* lives as long as the process */
    OCT_TRY(oct_thread_start(&t, "octavo-log", write_lines, NULL));
    (void)pthread_detach(t);
    log_.has_thread = true;
    return OCT_OK;
}

void oct_log_flush(int64_t wait_us)
{
    const struct timespec until = oct_clock_after(wait_us);
    pthread_mutex_lock(&log_.lock);
    while (!log_.has_thread && log_.len > 0) {
        char chunk[CHUNK_BYTES];
        write_all(chunk, take(chunk));
    }
    int failed = 0;
    while ((log_.len > 0 || log_.is_writing) && !failed) {
        failed = pthread_cond_timedwait(&log_.written, &log_.lock, &until);
    }
    pthread_mutex_unlock(&log_.lock);
}

/* ---- lines ---- */

/* Locked. False: no room, or too many in this second. */
static bool append(const char *line, size_t len)
{
    const int64_t second = oct_clock_us() / 1000000;
    if (second != log_.second) {
        log_.second = second;
        log_.n_in_second = 0;
    }
    if (len > OCT_LOG_BYTES - log_.len || log_.n_in_second >= OCT_LOG_PER_SECOND) {
        return false;
    }
    log_.n_in_second++;
    const size_t at = (log_.begin + log_.len) % OCT_LOG_BYTES;
    const size_t first = len < OCT_LOG_BYTES - at ? len : OCT_LOG_BYTES - at;
    memcpy(log_.ring + at, line, first);
    memcpy(log_.ring, line + first, len - first);
    log_.len += len;
    return true;
}

static void escape_json(char *dst, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            *dst++ = '\\';
        }
        *dst++ = *text;
    }
    *dst = '\0';
}

static size_t format_line(char dst[3 * OCT_LOG_LINE_BYTES], enum oct_log_level level,
                          const char *message)
{
    static const char *const levels[] = {"info", "warning", "error"};
    char clean[OCT_LOG_LINE_BYTES], escaped[2 * OCT_LOG_LINE_BYTES], when[32] = "";
    (void)oct_error_quote(clean, sizeof clean, message, strlen(message));
    int n;
    if (log_.json) {
        const time_t now = (time_t)oct_clock_wall_s();
        struct tm utc;
        if (gmtime_r(&now, &utc)) {
            (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
        }
        escape_json(escaped, clean);
        n = snprintf(dst, 3 * OCT_LOG_LINE_BYTES,
                     "{\"time\": \"%s\", \"level\": \"%s\", \"message\": \"%s\"}\n", when,
                     levels[level], escaped);
    } else {
        n = snprintf(dst, 3 * OCT_LOG_LINE_BYTES, "octavo: %s%s\n",
                     level == OCT_LOG_WARNING ? "warning: " : "", clean);
    }
    OCT_ASSERT(n > 0 && n < 3 * OCT_LOG_LINE_BYTES);
    return (size_t)n;
}

void oct_log(enum oct_log_level level, const char *fmt, ...)
{
    char message[OCT_LOG_LINE_BYTES], line[3 * OCT_LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    const size_t len = format_line(line, level, message);
    pthread_mutex_lock(&log_.lock);
    if (log_.n_lost > 0) {
        char lost[64], lost_line[3 * OCT_LOG_LINE_BYTES];
        (void)snprintf(lost, sizeof lost, "%llu lines of the log were lost",
                       (unsigned long long)log_.n_lost);
        if (append(lost_line, format_line(lost_line, OCT_LOG_WARNING, lost))) {
            log_.n_lost = 0;
        }
    }
    if (!append(line, len)) {
        log_.n_lost++;
    }
    pthread_cond_signal(&log_.more);
    pthread_mutex_unlock(&log_.lock);
}
