// SPDX-License-Identifier: Apache-2.0
//
// driver.h - the state of the stand-in driver, shared by cu_*.c, queue.c, graph.c and capture.c.
//
// One lock guards all of it. Every API function opens with VG_ENTER, which takes the lock, checks
// cuInit, the current context, sticky errors, fault injection and calls that a capture forbids, and
// leaves through the cleanup of `call`. The lock is let go while an operation runs (kernels, host
// functions), so anything read before vg_run_until() must be looked up again after it.
//
// Handles are validated against a registry and never reused: a stale or invented handle is an
// error (CUDA_ERROR_INVALID_HANDLE and the like), never a crash.
#ifndef VG_DRIVER_H
#define VG_DRIVER_H

#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exec.h"
#include "facts.h"
#include "mem.h"
#include "report.h"

#define VG_MAX_PARAM_BYTES 32764 // of one launch, CUDA 12.1 and later on sm_70+

// What a value of CUdeviceptr or void* refers to.
enum vg_place {
    VG_PLACE_PAGEABLE, // host memory that the driver does not know
    VG_PLACE_PINNED,   // cuMemHostAlloc or cuMemHostRegister
    VG_PLACE_DEVICE,   // inside a live device allocation
    VG_PLACE_BAD,      // inside a device arena, but in no live allocation
};

// ---- work: what can stand in a stream or in a graph node ----

enum vg_work_kind {
    VG_WORK_EMPTY, // joins, event waits
    VG_WORK_KERNEL,
    VG_WORK_COPY,
    VG_WORK_FILL,
    VG_WORK_HOST,
    VG_WORK_RECORD, // cuEventRecord
    VG_WORK_FREE,   // cuMemFreeAsync
    VG_WORK_ALLOC,  // cuMemAllocAsync inside a graph: only marks the place in the order
    VG_WORK_CALL,   // vgpu_enqueue
    VG_WORK_WRITE_VALUE,
    VG_WORK_WAIT_VALUE,
    VG_WORK_CHILD, // a graph inside a graph; expanded at launch, never in a stream
};

struct vg_kernel_work {
    CUfunction function;
    unsigned grid[3], block[3], cluster[3];
    unsigned dynamic_smem_bytes;
    bool cooperative, pdl;
    uint8_t *params; // owned
    size_t param_bytes;
};

// width bytes x height rows x depth slices. A linear copy has height = depth = 1.
struct vg_copy_work {
    uint64_t dst, src;
    enum vg_place dst_place, src_place;
    uint64_t width, height, depth;
    uint64_t dst_pitch, src_pitch, dst_slice, src_slice;
    uint8_t *snapshot;    // owned: pageable source, packed, taken at the call; or NULL
    uint64_t source_hash; // of a pinned source at submission; 0: not watched
};

struct vg_fill_work {
    uint64_t dst;
    uint32_t value;
    unsigned elem_bytes;
    uint64_t width, height, pitch; // width in elements, pitch in bytes
};

enum vg_call_step { VG_CALL_DONE, VG_CALL_AGAIN, VG_CALL_FAILED };
// Called without the lock, until it is not VG_CALL_AGAIN. cancel: the context failed, the work will
// never be done; called once so.
typedef enum vg_call_step (*vg_call_fn)(void *arg, bool cancel);

struct vg_work {
    enum vg_work_kind kind;
    CUcontext ctx;
    union {
        struct vg_kernel_work kernel;
        struct vg_copy_work copy;
        struct vg_fill_work fill;
        struct {
            CUhostFn fn;
            void *arg;
            CUstreamCallback callback; // cuStreamAddCallback, else NULL
            CUstream stream;
        } host;
        struct {
            CUevent event;
            bool external; // a node of a graph that records for the world outside
        } record;
        struct {
            uint64_t addr;
            uint64_t bytes;
        } mem;
        struct {
            vg_call_fn fn;
            void *arg;
            const char *what; // for messages; static
        } call;
        struct {
            uint64_t addr, value;
            unsigned bytes, flags;
        } value;
        CUgraph child; // owned by the node
    };
};

bool vg_work_clone(struct vg_work *dst, const struct vg_work *src);
void vg_work_free(struct vg_work *w);
const char *vg_work_name(const struct vg_work *w); // "kernel gemm", "copy of 64 bytes", ...

// ---- operations: work that was submitted, with its place in the partial order ----

struct vg_op {
    unsigned refs;
    bool done, running;
    struct vg_work work;
    unsigned n_wait; // predecessors that are not done
    struct vg_op **preds, **succs;
    unsigned n_preds, max_preds, n_succs, max_succs;
    uint32_t timeline, tick;
    uint32_t *clock; // clock[t]: the last tick of timeline t that is ordered before this
    unsigned n_clock;
    uint64_t mark;     // the sync that wants this op
    uint64_t polled;   // value of the progress counter when it last said VG_CALL_AGAIN
    unsigned ready_at; // index in the ready list + 1; 0: not there
    uint64_t number;
    unsigned stream_id; // for messages
    int64_t done_ns;
    struct vg_seen *seen;      // what it touched (order.h), a reference; NULL: nobody asks
    struct vg_op *dep_pred;    // a kernel that this one may overlap, a reference, until it has run
    struct vg_op *next, *prev; // all that is pending
};

struct CUstream_st {
    CUcontext ctx;
    unsigned flags;
    int priority;
    unsigned id;
    bool legacy, per_thread, used;
    struct vg_op *tail; // the last that was submitted; a reference
    uint32_t timeline;
    struct vg_capture *capture; // NULL: not capturing
    CUgraphNode *deps;          // of the next captured node
    unsigned n_deps, max_deps;
    struct CUstream_st *next;
};

struct CUevent_st {
    CUcontext ctx;
    unsigned flags;
    struct vg_op *op;           // the last record; NULL: never recorded
    struct vg_capture *capture; // recorded in a capture
    uint64_t capture_id;
    CUgraphNode *deps;
    unsigned n_deps;
};

struct CUctx_st {
    int device;
    bool primary, dead;
    unsigned refs; // of a primary context
    unsigned flags, version;
    uint64_t id;
    CUresult sticky;
    struct CUstream_st *streams; // without the two below
    CUstream legacy;
    unsigned peers; // bit d: may access device d
    size_t limits[CU_LIMIT_MAX];
    CUstream per_thread; // CU_STREAM_PER_THREAD; one for all threads
    CUfunc_cache cache;
    CUmodule modules;
};

struct CUmemPoolHandle_st {
    int device;
    bool is_default;
    uint64_t threshold, used, used_high, reserved_high, max_bytes;
    unsigned access; // bit d: device d may access
    int follow[3];   // the three reuse attributes
};

struct vg_device {
    int ordinal;
    const struct vg_facts *facts;
    uint64_t bytes;
    CUcontext primary;
    unsigned primary_flags;
    CUmemoryPool default_pool, pool;
    unsigned blocked; // bit d: cuCtxEnablePeerAccess impossible (never set today)
    uint32_t launches;
};

struct vg_driver {
    bool init;
    int n_devices;
    struct vg_device device[VG_MAX_DEVICES];
    uint64_t seed;
    unsigned checks;
    CUresult lost[VG_MAX_DEVICES];
    uint64_t n_calls, n_ops, n_launches;
    unsigned n_captures; // that forbid unsafe calls from every thread (global mode)
    unsigned n_stream_ids;
    bool log;
};

extern struct vg_driver vg_driver;
extern pthread_mutex_t vg_lock;
extern pthread_cond_t vg_cond; // something was submitted or finished

// ---- entering a call ----

enum {
    VG_NEED_INIT = 1,
    VG_NEED_CTX = 2, // current context, alive and without a sticky error
    VG_UNSAFE = 4,   // refused while a capture is under way (mode global, or of this thread)
    VG_ANY_CTX = 8,  // current context, sticky or not
    VG_SYNCS = 16,   // waits for the device: refused while a stream of the context captures
};

struct vg_call {
    CUresult r;
    CUcontext ctx;
    bool locked;
};

struct vg_call vg_call_begin(const char *name, unsigned needs);
void vg_call_end(struct vg_call *c);

#define VG_ENTER(needs) \
    struct vg_call call __attribute__((cleanup(vg_call_end))) = vg_call_begin(__func__, needs); \
    if (call.r != CUDA_SUCCESS) { \
        return call.r; \
    }

// Returns CUDA_ERROR_INVALID_VALUE unless the condition holds.
#define VG_WANT(cond) \
    do { \
        if (!(cond)) { \
            return CUDA_ERROR_INVALID_VALUE; \
        } \
    } while (0)

// ---- handles ----

enum vg_handle_kind {
    VG_H_CONTEXT = 1,
    VG_H_STREAM,
    VG_H_EVENT,
    VG_H_MODULE,
    VG_H_FUNCTION,
    VG_H_LIBRARY,
    VG_H_KERNEL,
    VG_H_GRAPH,
    VG_H_EXEC,
    VG_H_NODE,
    VG_H_POOL,
};

// Zeroed memory, registered; kept until the process ends. NULL: out of host memory.
void *vg_handle_new(enum vg_handle_kind kind, size_t bytes);
void vg_handle_kill(void *h);
bool vg_handle_is(const void *h, enum vg_handle_kind kind);

// ---- contexts and streams ----

// 0: any context may be current to this thread.
CUcontext vg_context_current(void);
CUresult vg_context_push(CUcontext ctx);
void vg_context_fail(CUcontext ctx, CUresult code);
void vg_context_close(CUcontext ctx);
struct vg_device *vg_context_device(CUcontext ctx);

// NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD or a handle -> the stream. Checks that it lives.
CUresult vg_stream_find(CUcontext ctx, CUstream h, CUstream *out);
CUstream vg_stream_create(CUcontext ctx, unsigned flags, int priority, bool legacy);

// ---- the queue ----

// Takes over what `w` owns, also on failure.
CUresult vg_submit(CUstream s, struct vg_work *w, struct vg_op **out);
// The same without a stream: `preds` first; used for the nodes of a graph.
struct vg_op *vg_op_new(struct vg_work *w);             // NULL: out of host memory; takes over w
void vg_op_after(struct vg_op *op, struct vg_op *pred); // NULL is allowed
// The last step: gives the op its tick on a timeline and lets it run. The caller keeps a reference.
void vg_op_commit(struct vg_op *op, uint32_t timeline);
// What a new op of this stream has to wait for: its tail, the legacy stream, ...
void vg_op_after_stream(struct vg_op *op, CUstream s);
void vg_stream_set_tail(CUstream s, struct vg_op *op);
bool vg_op_ordered(const struct vg_op *before, const struct vg_op *after);
// The same by the op's place: whether what stood at `tick` of `timeline` is ordered before.
bool vg_op_knows(const struct vg_op *after, uint32_t timeline, uint32_t tick);
// Everything pending and everything to come is ordered after that place.
bool vg_settled(uint32_t timeline, uint32_t tick);
// Notes that a dependent launch may overlap its predecessor.
void vg_op_depends(struct vg_op *op, struct vg_op *pred);
struct vg_op *vg_op_ref(struct vg_op *op);
void vg_op_unref(struct vg_op *op);
uint32_t vg_timeline_new(void);
void vg_timeline_give_back(uint32_t t);
uint64_t vg_host_knowledge(void);         // grows with every vg_host_saw that was news
void vg_host_saw(const struct vg_op *op); // what the host submits from now on is ordered after op

// Runs pending operations until `op` is done. The lock is let go meanwhile.
CUresult vg_run_until(CUcontext ctx, struct vg_op *op);
CUresult vg_run_stream(CUstream s);
CUresult vg_run_context(CUcontext ctx);
void vg_run_some(void);         // one or none, as the seed has it: what a query does
void vg_progress_start(int ms); // VGPU_PROGRESS_MS: work runs without a sync after so long
bool vg_in_callback(void);
uint64_t vg_random(uint64_t below);
struct vg_op *vg_pending(void); // first of the list of what is pending, oldest first

// Runs one operation (execute.c). Called without the lock.
enum vg_call_step vg_execute(struct vg_op *op, CUresult *code);
void vg_work_submitted(struct vg_op *op); // under the lock: what is done at the call itself
uint64_t vg_copy_dst_extent(const struct vg_copy_work *c); // bytes from first to last
uint64_t vg_copy_src_extent(const struct vg_copy_work *c);
bool vg_work_touches(const struct vg_work *w, uint64_t addr, uint64_t bytes, bool *writes);

// ---- capture and graphs ----

CUresult vg_capture_submit(CUstream s, struct vg_work *w);
CUresult vg_capture_record(CUstream s, CUevent e);
CUresult vg_capture_wait(CUstream s, CUevent e);
CUresult vg_capture_check_unsafe(const char *call);
CUresult vg_capture_check_sync(CUcontext ctx, const char *call);
CUresult vg_capture_check_legacy(CUcontext ctx, const char *call);
void vg_capture_break(CUstream s, const char *call); // finding, and the capture is invalid
void vg_capture_forget_stream(CUstream s);
CUresult vg_graph_add(CUgraph g, const CUgraphNode *deps, size_t n, struct vg_work *w,
                      CUgraphNode *out); // takes over w

// ---- memory ----

enum vg_place vg_place_of(uint64_t addr, uint64_t bytes, int *device);
bool vg_pinned_find(uint64_t addr, uint64_t *base, uint64_t *bytes, unsigned *flags);
CUresult vg_copy_of_3d(const CUDA_MEMCPY3D *p, struct vg_copy_work *out); // checked; for graphs
void vg_memory_freed(uint64_t addr);                                      // by a queued free
void vg_memory_close(CUcontext ctx); // frees what the context owns

// ---- modules ----

struct CUfunc_st {
    CUmodule module;
    const struct vg_kernel *kernel;
    int max_dynamic_smem; // cuFuncSetAttribute
    int carveout, cluster[3];
    bool non_portable_cluster;
    struct CUfunc_st *next;
};
CUresult vg_function_find(CUfunction f, CUcontext ctx, CUfunction *out); // also from a CUkernel
CUresult vg_module_close(CUmodule m);

// ---- launches ----

// Fills `w` after checking every argument; used by launches and by kernel nodes of graphs.
struct vg_launch_args {
    CUfunction f;
    unsigned grid[3], block[3], smem;
    void **params;
    void **extra;
    const CUlaunchAttribute *attrs;
    unsigned n_attrs;
    bool cooperative;
};
CUresult vg_launch_check(CUcontext ctx, const struct vg_launch_args *a, struct vg_work *w);
int vg_occupancy(CUfunction f, int threads, size_t dynamic_smem); // blocks per multiprocessor

// ---- fault injection (VGPU_FAIL) ----

void vg_fault_init(void);
// The error that this call shall fail with, or CUDA_SUCCESS.
CUresult vg_fault_call(const char *name);
CUresult vg_fault_launch(void); // of the kernel that is about to run
unsigned vg_fault_named(const char *name, unsigned usual);

// A host-side finding: no kernel, no lane.
#define vg_host_finding(kind, ...) vg_finding(kind, NULL, __VA_ARGS__)

#endif
