// SPDX-License-Identifier: Apache-2.0
// cu_bugs.h - the corpus of injected bugs of the host side: a program each, run with its bug
// (w.bug) and without. test_cu_bugs.c makes the world and runs them; a table a file.
#ifndef CU_BUGS_H
#define CU_BUGS_H

#include "cu_test.h"

enum { N = 256, WRONG = 3 };

extern struct cu_world {
    CUcontext ctx;
    CUmodule module;
    CUfunction set, add, copy, early, late, trigger, waits, deaf, relay, bump, meet;
    CUstream a, b;
    CUdeviceptr p, q, r; // N words each: 1, 2, 3
    uint32_t *host;
    CUevent e;
    bool bug;
} w;

extern const char cu_bugs_ptx[]; // the world's kernels

void set(CUdeviceptr p, unsigned v, CUstream s);
void add(CUdeviceptr p, unsigned v, CUstream s);
void copy(CUdeviceptr dst, CUdeviceptr src, CUstream s);
// b comes after a, if really.
void a_then_b(bool really);
void sync_all(void);

// Caught: a finding of the kind that holds the text; "data": the program's own word for it.
struct cu_bug {
    void (*body)(void);
    const char *name, *kind, *text;
};
#define CU_BUG(f, ...) \
    { \
        f, #f, __VA_ARGS__ \
    }
#define CU_UNORDERED "stream-order", "nothing orders them"

extern const struct cu_bug cu_bugs_order[], cu_bugs_host[], cu_bugs_capture[];
extern const size_t cu_n_bugs_order, cu_n_bugs_host, cu_n_bugs_capture;

#endif
