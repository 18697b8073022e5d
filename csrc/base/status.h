/* SPDX-License-Identifier: Apache-2.0
 *
 * status.h - how failure travels: statuses for the outside world, assertions for our own bugs.
 *
 * A function that fails says so once, where it knows most:
 *     return OCT_FAIL(OCT_E_FORMAT, "%s: tensor %s ends at byte %" PRIu64 "; the file has %"
 * PRIu64, path, name, end, size); and every caller only passes the status on (OCT_TRY,
 * OCT_TRY_GOTO). The sentence names the file, tensor or key, what was wrong and what to do. A
 * caller that knows more (the path, say) may put words in front with oct_error_prefix(). */
#ifndef OCT_BASE_STATUS_H
#define OCT_BASE_STATUS_H

#include "octavo.h"

/* Stores the sentence for this thread and returns the status. Text over 1,000 bytes is cut. */
#define OCT_FAIL(status, ...) oct_fail_((status), __FILE__, __LINE__, __VA_ARGS__)

#define OCT_TRY(call) \
    do { \
        const oct_status oct_st_ = (call); \
        if (oct_st_ != OCT_OK) { \
            return oct_st_; \
        } \
    } while (0)

/* Stores the status in `st` and jumps to `label` if it is a failure. */
#define OCT_TRY_GOTO(call, st, label) \
    do { \
        (st) = (call); \
        if ((st) != OCT_OK) { \
            goto label; \
        } \
    } while (0)

/* Our own bug: says where and aborts. Stays on in release builds. Never for input. */
#define OCT_ASSERT(cond) ((cond) ? (void)0 : oct_assert_failed_(#cond, __FILE__, __LINE__))

/* Puts "words: " in front of this thread's sentence, for the caller who knows the file's name. */
__attribute__((format(printf, 1, 2))) void oct_error_prefix(const char *fmt, ...);

/* Forgets the sentence (a caller that tried something and goes on without it). */
void oct_error_clear(void);

/* Copies at most size-1 bytes of text into dst with every byte that is not printable ASCII or
 * valid UTF-8 written as '?': names out of untrusted files go through this into sentences.
 * Returns dst. */
const char *oct_error_quote(char *dst, size_t size, const char *text, size_t len);

__attribute__((format(printf, 4, 5))) oct_status oct_fail_(oct_status st, const char *file,
                                                           int line, const char *fmt, ...);
_Noreturn void oct_assert_failed_(const char *cond, const char *file, int line);

#endif
