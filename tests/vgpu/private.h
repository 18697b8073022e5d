// SPDX-License-Identifier: Apache-2.0
//
// private.h - what the stand-in exports beside the driver API, found by dlsym and absent on a real
// driver: for the library stand-ins and for tests.
#ifndef VG_PRIVATE_H
#define VG_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

// Puts a function into a stream (also one that is captured): it runs in stream order on the thread
// that waits, without the driver's lock, and returns 0 when it is done, 1 to be called again, 2
// when it failed (the context is then lost). cancel: the context is lost; it is called once so, and
// must let go of its argument. It may call the vgpu_ functions but no cu ones. 0 or a CUresult.
int vgpu_enqueue(void *stream, int (*fn)(void *arg, bool cancel), void *arg, const char *what);

// Device memory from inside such a function. false: not all of it is in live allocations.
bool vgpu_read(void *dst, uint64_t src, size_t bytes, bool *uninitialised);
bool vgpu_peek(void *dst, uint64_t src, size_t bytes); // and it does not count as an access
bool vgpu_write(uint64_t dst, const void *src, size_t bytes);
bool vgpu_poison(uint64_t dst, size_t bytes); // its content is about to be replaced
// Whether bytes at addr are device memory (of *device) or pinned memory, in one allocation.
bool vgpu_owns(uint64_t addr, size_t bytes, int *device);
// Tells the checkers that bytes count as written.
bool vgpu_mark_valid(uint64_t addr, size_t bytes);

// Findings so far: how many, and the text of one ("kind: message"). NULL: no such.
unsigned vgpu_findings(void);
const char *vgpu_finding(unsigned i);
void vgpu_findings_clear(void);
void vgpu_report(const char *kind, const char *message); // kind: "api" or "stream-order"

// A counter of all launches of a kernel so far; 0: never ran. Names as in the JSON report
// (README.md lists them), "launches", or a tensor shape such as "mma.m16n8k16.f32.bf16.bf16.f32".
uint64_t vgpu_counter(const char *kernel, const char *counter);
void vgpu_counters_clear(void); // as if nothing had run
void vgpu_counters(void);       // prints the table to stderr

// VGPU_FAIL for calls of the stand-in libraries: 0, or the code that `name` shall fail with.
unsigned vgpu_fault(const char *name, unsigned usual);
int vgpu_current_device(void); // -1: no context
uint64_t vgpu_seed(void);
void vgpu_set_seed(uint64_t seed); // of the launches from now on

#pragma GCC visibility pop
#endif
