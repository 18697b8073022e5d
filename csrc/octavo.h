/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo.h - the public C API of liboctavo, the only installed header.
 *
 * The one rule: every call that can fail returns an oct_status; when it is not OCT_OK,
 * oct_last_error() holds one sentence for a person, on the calling thread. Out-parameters are
 * untouched on failure. The library never prints, never exits and keeps no global state but that
 * per-thread sentence. */
#ifndef OCT_OCTAVO_H
#define OCT_OCTAVO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "octavo runs on Linux"
#endif
#define OCT_API __attribute__((visibility("default")))
#define OCT_CHECKED __attribute__((warn_unused_result))

/* Status codes. Negative: failure. The numbers never change meaning. */
#define OCT_STATUS_MAP(X) \
    X(OCT_OK, 0, "ok") \
    X(OCT_E_ARG, -1, "invalid argument") \
    X(OCT_E_MEM, -2, "out of memory") \
    X(OCT_E_IO, -3, "file or network error") \
    X(OCT_E_NOTFOUND, -4, "not found") \
    X(OCT_E_FORMAT, -5, "malformed file or message") \
    X(OCT_E_UNSUPPORTED, -6, "not supported by this build or model") \
    X(OCT_E_BUSY, -7, "no capacity now, retry later") \
    X(OCT_E_CANCELLED, -8, "cancelled") \
    X(OCT_E_DEVICE, -9, "device error, the engine must restart") \
    X(OCT_E_LIMIT, -10, "over a published limit") \
    X(OCT_E_DEADLINE, -11, "deadline passed") \
    X(OCT_E_NUMERIC, -12, "the model produced values that are not numbers")

typedef enum oct_status {
#define OCT_STATUS_ENUM(name, value, text) name = value,
    OCT_STATUS_MAP(OCT_STATUS_ENUM)
#undef OCT_STATUS_ENUM
} oct_status;

/* The fixed text of a status ("out of memory"); "unknown status" for any other number. */
OCT_API const char *oct_status_text(oct_status st);

/* The sentence of the last failure on this thread: what was wrong, where, what to do. Never NULL;
 * empty before the first failure. Valid until the next octavo call on this thread. */
OCT_API const char *oct_last_error(void);

/* "0.1.0"; static. */
OCT_API const char *oct_version(void);

#ifdef __cplusplus
}
#endif
#endif
