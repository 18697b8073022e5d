// SPDX-License-Identifier: Apache-2.0
//
// Graphs: capture, building by hand, launch, update; and what a capture forbids.
#include "cu_test.h"

enum { N = 128 };

struct world {
    struct cu_kernels k;
    CUstream a, b;
    CUdeviceptr p, q;
    uint32_t *pinned;
    CUevent e, f;
};

static struct world world(void)
{
    struct world w;
    cu_start();
    w.k = cu_kernels();
    OK(cu.cuStreamCreate(&w.a, CU_STREAM_NON_BLOCKING));
    OK(cu.cuStreamCreate(&w.b, CU_STREAM_NON_BLOCKING));
    OK(cu.cuEventCreate(&w.e, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuEventCreate(&w.f, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuMemAlloc(&w.p, N * 4));
    OK(cu.cuMemAlloc(&w.q, N * 4));
    OK(cu.cuMemHostAlloc((void **)&w.pinned, N * 4, 0));
    OK(cu.cuMemsetD32(w.p, 0, N));
    OK(cu.cuMemsetD32(w.q, 0, N));
    OK(cu.cuCtxSynchronize());
    return w;
}

static uint32_t first(CUdeviceptr p)
{
    uint32_t v[N];
    OK(cu.cuMemcpyDtoH(v, p, sizeof v));
    for (int i = 1; i < N; i++) {
        cr_assert_eq(v[i], v[0], "element %d is %u, the first %u", i, v[i], v[0]);
    }
    return v[0];
}

static CUgraph capture_adds(struct world *w, unsigned v)
{
    CUgraph g = NULL;
    OK(cu.cuStreamBeginCapture(w->a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cu_launch(w->k.add, w->p, N, v, w->a));
    OK(cu.cuEventRecord(w->e, w->a));
    OK(cu.cuStreamWaitEvent(w->b, w->e, 0));
    OK(cu_launch(w->k.add, w->q, N, v + 1, w->b)); // beside the next of a
    OK(cu_launch(w->k.add, w->p, N, v, w->a));
    OK(cu.cuEventRecord(w->f, w->b));
    OK(cu.cuStreamWaitEvent(w->a, w->f, 0));
    OK(cu.cuMemcpyDtoHAsync(w->pinned, w->p, N * 4, w->a));
    OK(cu.cuStreamEndCapture(w->a, &g));
    return g;
}

Test(graph, a_captured_step_is_launched_again_and_again)
{
    struct world w = world();
    CUgraph g = capture_adds(&w, 5);
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    OK(cu.cuStreamIsCapturing(w.b, &status));
    cr_assert_eq(status, CU_STREAM_CAPTURE_STATUS_NONE);
    cr_assert_eq(first(w.p), 0, "capturing runs nothing");
    size_t nodes = 0, edges = 0, roots = 0;
    OK(cu.cuGraphGetNodes(g, NULL, &nodes));
    OK(cu.cuGraphGetEdges(g, NULL, NULL, NULL, &edges));
    OK(cu.cuGraphGetRootNodes(g, NULL, &roots));
    cr_assert(nodes == 4 && edges == 4 && roots == 1, "%zu %zu %zu", nodes, edges, roots);
    CUgraphExec e = NULL;
    OK(cu.cuGraphInstantiate(&e, g, 0));
    OK(cu.cuGraphDestroy(g)); // the instance lives on its own
    for (unsigned i = 1; i <= 4; i++) {
        OK(cu.cuGraphLaunch(e, w.a));
        OK(cu.cuStreamSynchronize(w.a));
        cr_assert_eq(w.pinned[0], 10 * i, "launch %u: %u", i, w.pinned[0]);
    }
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuGraphLaunch(e, w.b)); // launches of one instance follow each other
    OK(cu.cuCtxSynchronize());
    cr_assert_eq(first(w.p), 60);
    cr_assert_eq(first(w.q), 36);
    OK(cu.cuGraphExecDestroy(e));
    FAILS(cu.cuGraphLaunch(e, w.a), CUDA_ERROR_INVALID_VALUE);
    cu_clean();
}

Test(graph, an_instance_takes_over_another_capture)
{
    struct world w = world();
    CUgraph g = capture_adds(&w, 5), h = capture_adds(&w, 100);
    CUgraphExec e = NULL;
    OK(cu.cuGraphInstantiate(&e, g, 0));
    CUgraphExecUpdateResultInfo info;
    OK(cu.cuGraphExecUpdate(e, h, &info));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(w.pinned[0], 200, "%u", w.pinned[0]);
    CUgraph other = NULL;
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cu_launch(w.k.add, w.p, N, 1, w.a));
    OK(cu.cuStreamEndCapture(w.a, &other));
    FAILS(cu.cuGraphExecUpdate(e, other, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    cr_assert_eq(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, "%d", (int)info.result);
    cu_clean();
}

Test(graph, nodes_are_built_and_changed_by_hand)
{
    struct world w = world();
    CUgraph g = NULL;
    OK(cu.cuGraphCreate(&g, 0));
    unsigned n = N, v = 3;
    void *params[] = {&w.p, &n, &v};
    CUDA_MEMSET_NODE_PARAMS fill = {
        .dst = w.p, .value = 50, .elementSize = 4, .width = N, .height = 1};
    CUDA_KERNEL_NODE_PARAMS kp = {.func = w.k.add,
                                  .gridDimX = 1,
                                  .gridDimY = 1,
                                  .gridDimZ = 1,
                                  .blockDimX = N,
                                  .blockDimY = 1,
                                  .blockDimZ = 1,
                                  .kernelParams = params};
    CUcontext ctx = NULL;
    OK(cu.cuCtxGetCurrent(&ctx));
    CUgraphNode memset_node = NULL, add = NULL, empty = NULL;
    OK(cu.cuGraphAddMemsetNode(&memset_node, g, NULL, 0, &fill, ctx));
    OK(cu.cuGraphAddEmptyNode(&empty, g, &memset_node, 1));
    OK(cu.cuGraphAddKernelNode(&add, g, &empty, 1, &kp));
    kp.blockDimX = 2000;
    CUgraphNode no = NULL;
    FAILS(cu.cuGraphAddKernelNode(&no, g, NULL, 0, &kp), CUDA_ERROR_INVALID_VALUE);
    kp.blockDimX = N;
    CUgraphExec e = NULL;
    OK(cu.cuGraphInstantiate(&e, g, 0));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), 53);
    CUDA_KERNEL_NODE_PARAMS got;
    OK(cu.cuGraphKernelNodeGetParams(add, &got));
    cr_assert_eq(*(unsigned *)got.kernelParams[2], 3);
    v = 30;
    OK(cu.cuGraphExecKernelNodeSetParams(e, add, &kp));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), 80);
    OK(cu.cuGraphNodeSetEnabled(e, memset_node, 0));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), 110);
    CUgraph copy = NULL;
    OK(cu.cuGraphClone(&copy, g));
    OK(cu.cuGraphNodeFindInClone(&no, add, copy));
    CUgraphNode ends[2] = {add, memset_node};
    OK(cu.cuGraphAddDependencies(g, &ends[0], &ends[1], NULL, 1));
    CUgraphExec cycle = NULL;
    FAILS(cu.cuGraphInstantiate(&cycle, g, 0), CUDA_ERROR_INVALID_VALUE);
    cu_clean();
}

Test(graph, a_graph_inside_a_graph_runs_in_its_place)
{
    struct world w = world();
    CUgraph inner = capture_adds(&w, 5);
    CUgraph outer = NULL;
    CUgraphExec in = NULL, e = NULL;
    OK(cu.cuGraphInstantiate(&in, inner, 0));
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cu_launch(w.k.set, w.p, N, 1000, w.a));
    OK(cu.cuGraphLaunch(in, w.a));
    OK(cu_launch(w.k.add, w.p, N, 1, w.a));
    OK(cu.cuStreamEndCapture(w.a, &outer));
    OK(cu.cuGraphInstantiate(&e, outer, 0));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), 1011);
    cr_assert_eq(w.pinned[0], 1010, "%u", w.pinned[0]);
    cu_clean();
}

// What must not be called while a stream is captured: each call is refused, found, and spoils the
// capture.
static CUresult call_sync(struct world *w)
{
    return cu.cuStreamSynchronize(w->a);
}
static CUresult call_ctx_sync(struct world *w)
{
    (void)w;
    return cu.cuCtxSynchronize();
}
static CUresult call_alloc(struct world *w)
{
    CUdeviceptr p = 0;
    (void)w;
    return cu.cuMemAlloc(&p, 16);
}
static CUresult call_free(struct world *w)
{
    return cu.cuMemFree(w->q);
}
static CUresult call_query(struct world *w)
{
    return cu.cuStreamQuery(w->a);
}
static CUresult call_sync_copy(struct world *w)
{
    uint32_t v = 0;
    return cu.cuMemcpyDtoH(&v, w->p, 4);
}
static CUresult call_pageable(struct world *w)
{
    uint32_t v = 0;
    return cu.cuMemcpyHtoDAsync(w->p, &v, 4, w->a);
}
static CUresult call_event_query(struct world *w)
{
    cu.cuEventRecord(w->e, w->b);
    return cu.cuEventQuery(w->e);
}
static CUresult call_module(struct world *w)
{
    CUmodule m = NULL;
    (void)w;
    return cu.cuModuleLoadData(&m, cu_test_ptx);
}
static CUresult call_outside_event(struct world *w)
{
    return cu.cuStreamWaitEvent(w->a, w->f, 0);
}
static CUresult call_unjoined(struct world *w)
{
    cu.cuEventRecord(w->e, w->a);
    cu.cuStreamWaitEvent(w->b, w->e, 0);
    return cu_launch(w->k.add, w->q, N, 1, w->b);
}

Test(graph, a_capture_forbids_what_would_wait)
{
    static const struct {
        const char *name;
        CUresult (*call)(struct world *w);
        CUresult code, end;
    } row[] = {
        {"sync", call_sync, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"context sync", call_ctx_sync, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"alloc", call_alloc, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"free", call_free, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"query", call_query, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"copy", call_sync_copy, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"pageable", call_pageable, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"event query", call_event_query, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"module", call_module, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, CUDA_SUCCESS},
        {"outside event", call_outside_event, CUDA_ERROR_STREAM_CAPTURE_ISOLATION, CUDA_SUCCESS},
        {"unjoined", call_unjoined, CUDA_SUCCESS, CUDA_ERROR_STREAM_CAPTURE_UNJOINED},
    };
    struct world w = world();
    OK(cu.cuEventRecord(w.f, w.b));
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        cu.vgpu_findings_clear();
        OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_GLOBAL));
        OK(cu_launch(w.k.add, w.p, N, 1, w.a));
        CUresult r = row[i].call(&w);
        cr_assert_eq(r, row[i].code, "%s: %s", row[i].name, cu_name(r));
        CUgraph g = NULL;
        CUresult end =
            row[i].end != CUDA_SUCCESS ? row[i].end : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        r = cu.cuStreamEndCapture(w.a, &g);
        cr_assert_eq(r, end, "%s, at the end: %s", row[i].name, cu_name(r));
        cr_assert_null(g);
        cr_assert_geq(cu.vgpu_findings(), 1, "%s: no finding", row[i].name);
    }
    cr_assert_eq(first(w.p), 0, "nothing of it ran");
}

Test(graph, relaxed_captures_allow_allocation)
{
    struct world w = world();
    CUgraph g = NULL;
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(call_alloc(&w));
    OK(cu.cuStreamEndCapture(w.a, &g));
    FAILS(cu.cuStreamEndCapture(w.a, &g), CUDA_ERROR_ILLEGAL_STATE);
    CUstream blocking = NULL;
    OK(cu.cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    cu_clean();
    OK(cu.cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    FAILS(cu_launch(w.k.add, w.p, N, 1, NULL), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    cu_found("capture", "legacy stream");
    FAILS(cu.cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_RELAXED),
          CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

Test(graph, memory_of_a_capture_belongs_to_the_graph)
{
    struct world w = world();
    CUdeviceptr t = 0;
    CUgraph g = NULL;
    CUgraphExec e = NULL;
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cu.cuMemAllocAsync(&t, N * 4, w.a));
    OK(cu_launch(w.k.set, t, N, 9, w.a));
    OK(cu.cuMemcpyDtoDAsync(w.p, t, N * 4, w.a));
    OK(cu.cuMemFreeAsync(t, w.a));
    OK(cu.cuStreamEndCapture(w.a, &g));
    OK(cu.cuGraphInstantiate(&e, g, 0));
    for (int i = 0; i < 2; i++) {
        OK(cu.cuGraphLaunch(e, w.a));
        OK(cu.cuStreamSynchronize(w.a));
    }
    cr_assert_eq(first(w.p), 9);
    FAILS(cu.cuMemFree(t), CUDA_ERROR_INVALID_VALUE);
    cu_clean();
}

static CUgraph capture_chain(struct world *w, unsigned nodes, bool dependent)
{
    CUgraph g = NULL;
    unsigned n = N, v = 0;
    void *params[] = {&w->p, &n, &v};
    CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    attr.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig c = {.gridDimX = 1,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = N,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .hStream = w->a,
                        .attrs = &attr,
                        .numAttrs = dependent ? 1 : 0};
    OK(cu.cuStreamBeginCapture(w->a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (unsigned i = 0; i < nodes; i++) {
        v = i % 3; // taken at the call
        OK(cu.cuLaunchKernelEx(&c, w->k.add, params, NULL));
    }
    v = 1000;
    OK(cu.cuStreamEndCapture(w->a, &g));
    return g;
}

Test(graph, a_long_chain_of_dependent_launches_is_replayed)
{
    enum { NODES = 250, TIMES = 20 };
    struct world w = world();
    CUgraph g = capture_chain(&w, NODES, true), plain = capture_chain(&w, NODES, false);
    CUgraphNode from[NODES], to[NODES];
    CUgraphEdgeData edge[NODES];
    size_t edges = NODES;
    OK(cu.cuGraphGetEdges(g, from, to, edge, &edges));
    cr_assert_eq(edges, NODES - 1, "%zu", edges);
    cr_assert_eq(edge[0].type, CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
    cr_assert_eq(edge[0].from_port, CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC);
    OK(cu.cuGraphGetEdges(plain, from, to, edge, &edges));
    cr_assert_eq(edge[0].type, CU_GRAPH_DEPENDENCY_TYPE_DEFAULT);
    CUgraphExec e = NULL;
    OK(cu.cuGraphInstantiate(&e, g, 0));
    OK(cu.cuGraphUpload(e, w.a));
    unsigned once = NODES / 3 * 3; // 0 + 1 + 2, and a 0 at the end
    for (unsigned i = 1; i <= TIMES; i++) {
        OK(cu.cuGraphLaunch(e, w.a));
        OK(cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.a));
        OK(cu.cuStreamSynchronize(w.a));
        cr_assert_eq(w.pinned[N - 1], once * i, "launch %u: %u", i, w.pinned[N - 1]);
    }
    CUgraphExecUpdateResultInfo info;
    FAILS(cu.cuGraphExecUpdate(e, plain, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    cr_assert_eq(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, "%d", (int)info.result);
    CUgraph again = capture_chain(&w, NODES, true);
    OK(cu.cuGraphExecUpdate(e, again, &info));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), once * (TIMES + 1));
    cu_clean();
}

Test(graph, programmatic_edges_lead_from_kernel_to_kernel)
{
    struct world w = world();
    CUgraph g = NULL;
    CUgraphNode k1 = NULL, k2 = NULL, empty = NULL;
    CUdeviceptr p = w.p;
    unsigned n = N, v = 3;
    void *params[] = {&p, &n, &v};
    CUDA_KERNEL_NODE_PARAMS kp = {.func = w.k.add,
                                  .gridDimX = 1,
                                  .gridDimY = 1,
                                  .gridDimZ = 1,
                                  .blockDimX = N,
                                  .blockDimY = 1,
                                  .blockDimZ = 1,
                                  .kernelParams = params};
    OK(cu.cuGraphCreate(&g, 0));
    OK(cu.cuGraphAddKernelNode(&k1, g, NULL, 0, &kp));
    v = 4; // the node has its own copy
    OK(cu.cuGraphAddKernelNode(&k2, g, NULL, 0, &kp));
    OK(cu.cuGraphAddEmptyNode(&empty, g, NULL, 0));
    CUgraphEdgeData edge = {.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC,
                            .from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC};
    FAILS(cu.cuGraphAddDependencies(g, &empty, &k1, &edge, 1), CUDA_ERROR_INVALID_VALUE);
    edge.from_port = 0;
    FAILS(cu.cuGraphAddDependencies(g, &k1, &k2, &edge, 1), CUDA_ERROR_INVALID_VALUE);
    edge.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
    OK(cu.cuGraphAddDependencies(g, &k1, &k2, &edge, 1));
    CUgraphNode before = NULL;
    CUgraphEdgeData got = {0};
    size_t one = 1;
    OK(cu.cuGraphNodeGetDependencies(k2, &before, &got, &one));
    cr_assert(before == k1 && got.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
    CUgraphExec e = NULL;
    OK(cu.cuGraphInstantiate(&e, g, 0));
    OK(cu.cuGraphLaunch(e, w.a));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(first(w.p), 7);
    cu_clean();
}
