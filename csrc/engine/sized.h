/* SPDX-License-Identifier: Apache-2.0
 *
 * sized.h - structs of octavo.h that callers fill: each begins with the caller's own sizeof, and
 * grows at its end only. */
#ifndef OCT_ENGINE_SIZED_H
#define OCT_ENGINE_SIZED_H

#include "base/status.h"

/* Copies the caller's struct over *dst[size], which holds the defaults: an older caller's lacks
 * fields at the end, a newer one's has more, which must be zero since this library cannot do what
 * they ask. first: the size it had when it was first published. name: "oct_request"; init: the
 * macro that fills it. */
OCT_CHECKED oct_status oct_sized_read(void *dst, uint32_t size, uint32_t first, const void *caller,
                                      const char *name, const char *init);
/* The other way round: fills as much of *caller as it has room for; its size stays. */
void oct_sized_write(void *caller, const void *src, uint32_t size);

#endif
