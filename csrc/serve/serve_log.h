/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_log.h - lines on standard error that never hold up who writes them: they go into a ring of
 * OCT_LOG_BYTES, and a thread takes them from there. What the ring cannot hold, what comes after
 * OCT_LOG_PER_SECOND lines in a second, and what standard error does not take (a full disk, a
 * reader that has gone) is lost; how many were, the next line that gets through says. */
#ifndef OCT_SERVE_LOG_H
#define OCT_SERVE_LOG_H

#include "base/mem.h"

enum { OCT_LOG_BYTES = 256 * 1024, OCT_LOG_PER_SECOND = 4000, OCT_LOG_LINE_BYTES = 2048 };

enum oct_log_level { OCT_LOG_INFO, OCT_LOG_WARNING, OCT_LOG_ERROR };

/* Collects lines from now on. json: {"time", "level", "message"}; else "octavo: message". */
void oct_log_init(bool json);
/* Starts the thread that writes them. */
OCT_CHECKED oct_status oct_log_start(void);
/* From any thread. Bytes that are no printable text are shown as '?'; a line that is too long is
 * cut. */
__attribute__((format(printf, 2, 3))) void oct_log(enum oct_log_level level, const char *fmt, ...);
/* Waits until all is written, at most so long; without a thread it writes here. */
void oct_log_flush(int64_t wait_us);

#endif
