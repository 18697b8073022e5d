// SPDX-License-Identifier: Apache-2.0
// builtin.h - functions that device code may call without bringing them: vprintf, __assertfail,
// malloc, free.
#ifndef VG_BUILTIN_H
#define VG_BUILTIN_H

#include "warp.h"

struct vg_builtin {
    const char *name;
    // Offsets of arguments and return value in the caller's param bytes.
    int (*fn)(struct vg_warp *w, const uint32_t *arg, const uint32_t *ret, uint32_t mask);
    unsigned n_arg;
};
extern const struct vg_builtin vg_builtins[]; // ends with a name of NULL

#endif
