// SPDX-License-Identifier: Apache-2.0
//
// cu_graph.c - the graph API over graph.c.
#include <stdlib.h>
#include <string.h>

#include "graph.h"

static bool graph_ok(CUgraph g)
{
    return vg_handle_is(g, VG_H_GRAPH);
}

static bool node_ok(CUgraphNode n)
{
    return vg_handle_is(n, VG_H_NODE);
}

static bool exec_ok(CUgraphExec e)
{
    return vg_handle_is(e, VG_H_EXEC);
}

// The edge that leads to a node: programmatic ones come from launches with that attribute.
static void edge_to(CUgraphNode to, CUgraphEdgeData *e)
{
    *e = (CUgraphEdgeData){0};
    if (to->programmatic && to->n_deps == 1) {
        e->type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
        e->from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
    }
}

static CUresult edge_ok(const CUgraphEdgeData *e, CUgraphNode from, CUgraphNode to)
{
    VG_WANT(e->type <= CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC && e->to_port == 0);
    bool programmatic = e->type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
    VG_WANT(e->from_port <= CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER);
    VG_WANT(programmatic == (e->from_port != 0));
    VG_WANT(!programmatic ||
            (from->work.kind == VG_WORK_KERNEL && to->work.kind == VG_WORK_KERNEL));
    return CUDA_SUCCESS;
}

// Adds work that was checked; takes over w.
static CUresult add(CUgraph g, const CUgraphNode *deps, size_t n, struct vg_work *w,
                    CUgraphNode *out)
{
    CUresult r = graph_ok(g) && out != NULL && (n == 0 || deps != NULL) ? CUDA_SUCCESS
                                                                        : CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; r == CUDA_SUCCESS && i < n; i++) {
        if (!node_ok(deps[i]) || deps[i]->graph != g) {
            r = CUDA_ERROR_INVALID_VALUE;
        }
    }
    if (r != CUDA_SUCCESS) {
        vg_work_free(w);
        return r;
    }
    return vg_graph_add(g, deps, n, w, out);
}

// ---- building ----

CUresult CUDAAPI cuGraphCreate(CUgraph *phGraph, unsigned int flags)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(phGraph != NULL && flags == 0);
    CUgraph g = vg_graph_new(vg_context_current());
    if (g == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *phGraph = g;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphDestroy(CUgraph hGraph)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(hGraph) && !hGraph->child);
    vg_graph_close(hGraph);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphClone(CUgraph *phGraphClone, CUgraph originalGraph)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(phGraphClone != NULL && graph_ok(originalGraph));
    CUgraph g = vg_graph_clone(originalGraph);
    if (g == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *phGraphClone = g;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphNodeFindInClone(CUgraphNode *phNode, CUgraphNode hOriginalNode,
                                        CUgraph hClonedGraph)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(phNode != NULL && node_ok(hOriginalNode) && graph_ok(hClonedGraph));
    for (size_t i = 0; i < hClonedGraph->n_nodes; i++) {
        if (hClonedGraph->nodes[i]->original == hOriginalNode) {
            *phNode = hClonedGraph->nodes[i];
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS *p, struct vg_work *w)
{
    CUcontext ctx = p != NULL && p->ctx != NULL ? p->ctx : vg_context_current();
    if (p == NULL || ctx == NULL || !vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_launch_args a = {.f = p->func != NULL ? p->func : (CUfunction)(void *)p->kern,
                               .grid = {p->gridDimX, p->gridDimY, p->gridDimZ},
                               .block = {p->blockDimX, p->blockDimY, p->blockDimZ},
                               .smem = p->sharedMemBytes,
                               .params = p->kernelParams,
                               .extra = p->extra};
    return vg_launch_check(ctx, &a, w);
}

CUresult CUDAAPI cuGraphAddKernelNode_v2(CUgraphNode *phGraphNode, CUgraph hGraph,
                                         const CUgraphNode *dependencies, size_t numDependencies,
                                         const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    struct vg_work w;
    CUresult r = kernel_work(nodeParams, &w);
    return r == CUDA_SUCCESS ? add(hGraph, dependencies, numDependencies, &w, phGraphNode) : r;
}

CUresult CUDAAPI cuGraphAddEmptyNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                     const CUgraphNode *dependencies, size_t numDependencies)
{
    VG_ENTER(VG_NEED_INIT);
    struct vg_work w = {.kind = VG_WORK_EMPTY, .ctx = vg_context_current()};
    return add(hGraph, dependencies, numDependencies, &w, phGraphNode);
}

CUresult CUDAAPI cuGraphAddHostNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                    const CUgraphNode *dependencies, size_t numDependencies,
                                    const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(nodeParams != NULL && nodeParams->fn != NULL);
    struct vg_work w = {.kind = VG_WORK_HOST,
                        .ctx = vg_context_current(),
                        .host = {.fn = nodeParams->fn, .arg = nodeParams->userData}};
    return add(hGraph, dependencies, numDependencies, &w, phGraphNode);
}

static CUresult memset_work(const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx, struct vg_work *w)
{
    if (p == NULL || ctx == NULL || !vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead ||
        (p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) ||
        p->dst % p->elementSize != 0 || p->width == 0 || p->height == 0 ||
        (p->height > 1 && p->pitch < p->width * p->elementSize)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    uint64_t bytes = (p->height - 1) * (p->height > 1 ? p->pitch : 0) + p->width * p->elementSize;
    enum vg_place place = vg_place_of(p->dst, bytes, NULL);
    if (place != VG_PLACE_DEVICE && place != VG_PLACE_PINNED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *w = (struct vg_work){.kind = VG_WORK_FILL,
                          .ctx = ctx,
                          .fill = {.dst = p->dst,
                                   .value = p->value,
                                   .elem_bytes = p->elementSize,
                                   .width = p->width,
                                   .height = p->height,
                                   .pitch = p->height > 1 ? p->pitch : 0}};
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphAddMemsetNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                      const CUgraphNode *dependencies, size_t numDependencies,
                                      const CUDA_MEMSET_NODE_PARAMS *memsetParams, CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    struct vg_work w;
    CUresult r = memset_work(memsetParams, ctx, &w);
    return r == CUDA_SUCCESS ? add(hGraph, dependencies, numDependencies, &w, phGraphNode) : r;
}

static CUresult memcpy_work(const CUDA_MEMCPY3D *p, CUcontext ctx, struct vg_work *w)
{
    if (p == NULL || ctx == NULL || !vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_copy_work c;
    CUresult r = vg_copy_of_3d(p, &c);
    if (r == CUDA_SUCCESS) {
        *w = (struct vg_work){.kind = VG_WORK_COPY, .ctx = ctx, .copy = c};
    }
    return r;
}

CUresult CUDAAPI cuGraphAddMemcpyNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                      const CUgraphNode *dependencies, size_t numDependencies,
                                      const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    struct vg_work w;
    CUresult r = memcpy_work(copyParams, ctx, &w);
    return r == CUDA_SUCCESS ? add(hGraph, dependencies, numDependencies, &w, phGraphNode) : r;
}

CUresult CUDAAPI cuGraphAddChildGraphNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                          const CUgraphNode *dependencies, size_t numDependencies,
                                          CUgraph childGraph)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(childGraph) && childGraph != hGraph);
    struct vg_work w = {
        .kind = VG_WORK_CHILD, .ctx = vg_context_current(), .child = vg_graph_clone(childGraph)};
    if (w.child == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    w.child->child = true;
    return add(hGraph, dependencies, numDependencies, &w, phGraphNode);
}

CUresult CUDAAPI cuGraphChildGraphNodeGetGraph(CUgraphNode hNode, CUgraph *phGraph)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_CHILD && phGraph != NULL);
    *phGraph = hNode->work.child;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphAddEventRecordNode(CUgraphNode *phGraphNode, CUgraph hGraph,
                                           const CUgraphNode *dependencies, size_t numDependencies,
                                           CUevent event)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(event, VG_H_EVENT));
    struct vg_work w = {
        .kind = VG_WORK_RECORD, .ctx = event->ctx, .record = {.event = event, .external = true}};
    return add(hGraph, dependencies, numDependencies, &w, phGraphNode);
}

CUresult CUDAAPI cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode *from,
                                           const CUgraphNode *to, const CUgraphEdgeData *edgeData,
                                           size_t numDependencies)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(hGraph) && (numDependencies == 0 || (from != NULL && to != NULL)));
    for (size_t i = 0; i < numDependencies; i++) {
        VG_WANT(node_ok(from[i]) && node_ok(to[i]) && from[i]->graph == hGraph &&
                to[i]->graph == hGraph && from[i] != to[i]);
        CUresult r = edgeData != NULL ? edge_ok(&edgeData[i], from[i], to[i]) : CUDA_SUCCESS;
        if (r != CUDA_SUCCESS) {
            return r;
        }
        for (size_t k = 0; k < to[i]->n_deps; k++) {
            VG_WANT(to[i]->deps[k] != from[i]); // it is there already
        }
        if (!vg_node_depend(to[i], from[i])) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        to[i]->programmatic =
            edgeData != NULL && edgeData[i].type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphRemoveDependencies_v2(CUgraph hGraph, const CUgraphNode *from,
                                              const CUgraphNode *to,
                                              const CUgraphEdgeData *edgeData,
                                              size_t numDependencies)
{
    VG_ENTER(VG_NEED_INIT);
    (void)edgeData;
    VG_WANT(graph_ok(hGraph) && (numDependencies == 0 || (from != NULL && to != NULL)));
    for (size_t i = 0; i < numDependencies; i++) {
        VG_WANT(node_ok(from[i]) && node_ok(to[i]) && to[i]->graph == hGraph);
        size_t k = 0;
        while (k < to[i]->n_deps && to[i]->deps[k] != from[i]) {
            k++;
        }
        VG_WANT(k < to[i]->n_deps);
        to[i]->deps[k] = to[i]->deps[--to[i]->n_deps];
        to[i]->programmatic = false;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphDestroyNode(CUgraphNode hNode)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode));
    CUgraph g = hNode->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        CUgraphNode n = g->nodes[i];
        for (size_t k = 0; k < n->n_deps;) {
            if (n->deps[k] == hNode) {
                n->deps[k] = n->deps[--n->n_deps];
            } else {
                k++;
            }
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i] == hNode) {
            memmove(&g->nodes[i], &g->nodes[i + 1], (g->n_nodes - i - 1) * sizeof g->nodes[0]);
            g->n_nodes--;
            break;
        }
    }
    vg_work_free(&hNode->work);
    free(hNode->deps);
    free(hNode->param_ptrs);
    hNode->deps = NULL;
    vg_handle_kill(hNode);
    return CUDA_SUCCESS;
}

// ---- looking ----

// The count-then-fill convention: NULL asks how many; what does not exist is filled with NULL.
static void give_nodes(const CUgraphNode *from, size_t n, CUgraphNode *to, size_t *room)
{
    if (to == NULL) {
        *room = n;
        return;
    }
    for (size_t i = 0; i < *room; i++) {
        to[i] = i < n ? from[i] : NULL;
    }
    *room = n < *room ? n : *room;
}

CUresult CUDAAPI cuGraphGetNodes(CUgraph hGraph, CUgraphNode *nodes, size_t *numNodes)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(hGraph) && numNodes != NULL);
    give_nodes(hGraph->nodes, hGraph->n_nodes, nodes, numNodes);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphGetRootNodes(CUgraph hGraph, CUgraphNode *rootNodes, size_t *numRootNodes)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(hGraph) && numRootNodes != NULL);
    CUgraphNode *roots = calloc(hGraph->n_nodes + 1, sizeof *roots);
    if (roots == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    size_t n = 0;
    for (size_t i = 0; i < hGraph->n_nodes; i++) {
        if (hGraph->nodes[i]->n_deps == 0) {
            roots[n++] = hGraph->nodes[i];
        }
    }
    give_nodes(roots, n, rootNodes, numRootNodes);
    free(roots);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphGetEdges_v2(CUgraph hGraph, CUgraphNode *from, CUgraphNode *to,
                                    CUgraphEdgeData *edgeData, size_t *numEdges)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(graph_ok(hGraph) && numEdges != NULL && (from == NULL) == (to == NULL));
    size_t n = 0;
    for (size_t i = 0; i < hGraph->n_nodes; i++) {
        for (size_t k = 0; k < hGraph->nodes[i]->n_deps; k++, n++) {
            if (from != NULL && n < *numEdges) {
                from[n] = hGraph->nodes[i]->deps[k];
                to[n] = hGraph->nodes[i];
                if (edgeData != NULL) {
                    edge_to(hGraph->nodes[i], &edgeData[n]);
                }
            }
        }
    }
    *numEdges = from == NULL || n < *numEdges ? n : *numEdges;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType *type)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && type != NULL);
    *type = hNode->type;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphNodeGetDependencies_v2(CUgraphNode hNode, CUgraphNode *dependencies,
                                               CUgraphEdgeData *edgeData, size_t *numDependencies)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && numDependencies != NULL);
    if (edgeData != NULL && dependencies != NULL) {
        memset(edgeData, 0, *numDependencies * sizeof *edgeData);
        for (size_t i = 0; i < hNode->n_deps && i < *numDependencies; i++) {
            edge_to(hNode, &edgeData[i]);
        }
    }
    give_nodes(hNode->deps, hNode->n_deps, dependencies, numDependencies);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphNodeGetDependentNodes_v2(CUgraphNode hNode, CUgraphNode *dependentNodes,
                                                 CUgraphEdgeData *edgeData,
                                                 size_t *numDependentNodes)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && numDependentNodes != NULL);
    CUgraph g = hNode->graph;
    CUgraphNode *found = calloc(g->n_nodes + 1, sizeof *found);
    if (found == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t k = 0; k < g->nodes[i]->n_deps; k++) {
            if (g->nodes[i]->deps[k] == hNode) {
                found[n++] = g->nodes[i];
            }
        }
    }
    if (edgeData != NULL && dependentNodes != NULL) {
        memset(edgeData, 0, *numDependentNodes * sizeof *edgeData);
        for (size_t i = 0; i < n && i < *numDependentNodes; i++) {
            edge_to(found[i], &edgeData[i]);
        }
    }
    give_nodes(found, n, dependentNodes, numDependentNodes);
    free(found);
    return CUDA_SUCCESS;
}

// ---- parameters of nodes ----

CUresult CUDAAPI cuGraphKernelNodeGetParams_v2(CUgraphNode hNode,
                                               CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_KERNEL && nodeParams != NULL);
    const struct vg_kernel_work *k = &hNode->work.kernel;
    const struct vg_kernel *kernel = k->function->kernel;
    void **params = realloc(hNode->param_ptrs, (kernel->n_params + 1) * sizeof *params);
    if (params == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    hNode->param_ptrs = params;
    for (uint32_t i = 0; i < kernel->n_params; i++) {
        params[i] = k->params + kernel->param_offset[i];
    }
    *nodeParams = (CUDA_KERNEL_NODE_PARAMS){.func = k->function,
                                            .gridDimX = k->grid[0],
                                            .gridDimY = k->grid[1],
                                            .gridDimZ = k->grid[2],
                                            .blockDimX = k->block[0],
                                            .blockDimY = k->block[1],
                                            .blockDimZ = k->block[2],
                                            .sharedMemBytes = k->dynamic_smem_bytes,
                                            .kernelParams = params,
                                            .ctx = hNode->work.ctx};
    return CUDA_SUCCESS;
}

// Cluster, cooperative and PDL are attributes of the node: new parameters keep them.
static CUresult set_kernel(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p)
{
    struct vg_work w;
    CUresult r = kernel_work(p, &w);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    const struct vg_kernel_work *old = &node->work.kernel;
    w.kernel.cooperative = old->cooperative;
    w.kernel.pdl = old->pdl;
    memcpy(w.kernel.cluster, old->cluster, sizeof w.kernel.cluster);
    for (int i = 0; i < 3; i++) {
        if (old->cluster[i] > 1 && w.kernel.grid[i] % old->cluster[i] != 0) {
            vg_work_free(&w);
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    vg_work_free(&node->work);
    node->work = w;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphKernelNodeSetParams_v2(CUgraphNode hNode,
                                               const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_KERNEL);
    return set_kernel(hNode, nodeParams);
}

CUresult CUDAAPI cuGraphMemsetNodeSetParams(CUgraphNode hNode,
                                            const CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_FILL);
    return memset_work(nodeParams, hNode->work.ctx, &hNode->work);
}

CUresult CUDAAPI cuGraphMemsetNodeGetParams(CUgraphNode hNode, CUDA_MEMSET_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_FILL && nodeParams != NULL);
    const struct vg_fill_work *f = &hNode->work.fill;
    *nodeParams = (CUDA_MEMSET_NODE_PARAMS){.dst = f->dst,
                                            .pitch = f->pitch,
                                            .value = f->value,
                                            .elementSize = f->elem_bytes,
                                            .width = f->width,
                                            .height = f->height};
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphHostNodeGetParams(CUgraphNode hNode, CUDA_HOST_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_HOST && nodeParams != NULL);
    *nodeParams =
        (CUDA_HOST_NODE_PARAMS){.fn = hNode->work.host.fn, .userData = hNode->work.host.arg};
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphHostNodeSetParams(CUgraphNode hNode,
                                          const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(node_ok(hNode) && hNode->work.kind == VG_WORK_HOST && nodeParams != NULL &&
            nodeParams->fn != NULL);
    hNode->work.host.fn = nodeParams->fn;
    hNode->work.host.arg = nodeParams->userData;
    return CUDA_SUCCESS;
}

// ---- instantiation ----

#define INSTANTIATE_FLAGS \
    (CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD | \
     CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY)

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec *phGraphExec, CUgraph hGraph,
                                             unsigned long long flags)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(phGraphExec != NULL && graph_ok(hGraph));
    if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    VG_WANT((flags & ~(unsigned long long)INSTANTIATE_FLAGS) == 0);
    return vg_exec_new(hGraph, vg_context_current(), flags, phGraphExec);
}

CUresult CUDAAPI cuGraphInstantiateWithParams(CUgraphExec *phGraphExec, CUgraph hGraph,
                                              CUDA_GRAPH_INSTANTIATE_PARAMS *instantiateParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(phGraphExec != NULL && graph_ok(hGraph) && instantiateParams != NULL);
    VG_WANT((instantiateParams->flags & ~(cuuint64_t)INSTANTIATE_FLAGS) == 0);
    CUresult r = vg_exec_new(hGraph, vg_context_current(), instantiateParams->flags, phGraphExec);
    instantiateParams->hErrNode_out = NULL;
    instantiateParams->result_out =
        r == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
    return r;
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec hGraphExec)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec));
    vg_exec_close(hGraphExec);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphExecGetFlags(CUgraphExec hGraphExec, cuuint64_t *flags)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && flags != NULL);
    *flags = hGraphExec->flags;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphUpload(CUgraphExec hGraphExec, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(exec_ok(hGraphExec));
    CUstream s = NULL;
    return vg_stream_find(call.ctx, hStream, &s);
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec hGraphExec, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(exec_ok(hGraphExec));
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->legacy) {
        r = vg_capture_check_legacy(s->ctx, "cuGraphLaunch");
        if (r != CUDA_SUCCESS) {
            return r;
        }
    }
    if (s->capture != NULL) {
        struct vg_work w = {
            .kind = VG_WORK_CHILD, .ctx = s->ctx, .child = vg_graph_clone(hGraphExec->graph)};
        if (w.child == NULL) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        w.child->child = true;
        return vg_capture_submit(s, &w);
    }
    return vg_exec_launch(hGraphExec, s);
}

// ---- changing what was instantiated ----

CUresult CUDAAPI cuGraphExecKernelNodeSetParams_v2(CUgraphExec hGraphExec, CUgraphNode hNode,
                                                   const CUDA_KERNEL_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode));
    CUgraphNode node = vg_exec_node(hGraphExec, hNode);
    VG_WANT(node != NULL && node->work.kind == VG_WORK_KERNEL);
    return set_kernel(node, nodeParams);
}

CUresult CUDAAPI cuGraphExecMemsetNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                                const CUDA_MEMSET_NODE_PARAMS *memsetParams,
                                                CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode));
    CUgraphNode node = vg_exec_node(hGraphExec, hNode);
    VG_WANT(node != NULL && node->work.kind == VG_WORK_FILL);
    return memset_work(memsetParams, ctx, &node->work);
}

CUresult CUDAAPI cuGraphExecMemcpyNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                                const CUDA_MEMCPY3D *copyParams, CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode));
    CUgraphNode node = vg_exec_node(hGraphExec, hNode);
    VG_WANT(node != NULL && node->work.kind == VG_WORK_COPY);
    struct vg_work w;
    CUresult r = memcpy_work(copyParams, ctx, &w);
    if (r == CUDA_SUCCESS) {
        vg_work_free(&node->work);
        node->work = w;
    }
    return r;
}

CUresult CUDAAPI cuGraphExecHostNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                              const CUDA_HOST_NODE_PARAMS *nodeParams)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode) && nodeParams != NULL && nodeParams->fn != NULL);
    CUgraphNode node = vg_exec_node(hGraphExec, hNode);
    VG_WANT(node != NULL && node->work.kind == VG_WORK_HOST);
    node->work.host.fn = nodeParams->fn;
    node->work.host.arg = nodeParams->userData;
    return CUDA_SUCCESS;
}

static size_t place_of(CUgraphExec e, CUgraphNode node)
{
    size_t i = 0;
    while (i < e->graph->n_nodes && e->graph->nodes[i]->original != node) {
        i++;
    }
    return i;
}

CUresult CUDAAPI cuGraphNodeSetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode,
                                       unsigned int isEnabled)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode));
    size_t i = place_of(hGraphExec, hNode);
    VG_WANT(i < hGraphExec->graph->n_nodes);
    enum vg_work_kind kind = hGraphExec->graph->nodes[i]->work.kind;
    VG_WANT(kind == VG_WORK_KERNEL || kind == VG_WORK_COPY || kind == VG_WORK_FILL);
    hGraphExec->disabled[i] = isEnabled == 0;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphNodeGetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode,
                                       unsigned int *isEnabled)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && node_ok(hNode) && isEnabled != NULL);
    size_t i = place_of(hGraphExec, hNode);
    VG_WANT(i < hGraphExec->graph->n_nodes);
    *isEnabled = !hGraphExec->disabled[i];
    return CUDA_SUCCESS;
}

// Pairs the nodes of two graphs in launch order. They must agree in number, kind and edges.
static CUgraphExecUpdateResult compare(CUgraph old, CUgraph new, CUgraphNode *culprit)
{
    if (old->n_nodes != new->n_nodes) {
        return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    }
    for (size_t i = 0; i < old->n_nodes; i++) {
        CUgraphNode a = old->nodes[i], b = new->nodes[i];
        *culprit = b->original;
        if (a->n_deps != b->n_deps || a->programmatic != b->programmatic) {
            return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
        }
        for (size_t k = 0; k < a->n_deps; k++) {
            if (a->deps[k]->index != b->deps[k]->index) {
                return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
            }
        }
        if (a->type != b->type) {
            return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
        }
        if (a->work.ctx != b->work.ctx) {
            return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
        }
        const struct vg_kernel_work *ka = &a->work.kernel, *kb = &b->work.kernel;
        if (a->type == CU_GRAPH_NODE_TYPE_KERNEL && ka->cooperative != kb->cooperative) {
            return CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
        }
    }
    *culprit = NULL;
    return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

CUresult CUDAAPI cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                                      CUgraphExecUpdateResultInfo *resultInfo)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(exec_ok(hGraphExec) && graph_ok(hGraph) && resultInfo != NULL);
    CUgraphExec fresh = NULL;
    CUresult r = vg_exec_new(hGraph, hGraphExec->ctx, hGraphExec->flags, &fresh);
    *resultInfo = (CUgraphExecUpdateResultInfo){.result = CU_GRAPH_EXEC_UPDATE_ERROR};
    if (r != CUDA_SUCCESS) {
        return r;
    }
    CUgraphNode culprit = NULL;
    resultInfo->result = compare(hGraphExec->graph, fresh->graph, &culprit);
    resultInfo->errorNode = culprit;
    if (resultInfo->result != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
        vg_exec_close(fresh);
        return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    }
    // Exchange the work; nodes stay known by the graph they were first made from.
    for (size_t i = 0; i < fresh->graph->n_nodes; i++) {
        struct vg_work w = hGraphExec->graph->nodes[i]->work;
        hGraphExec->graph->nodes[i]->work = fresh->graph->nodes[i]->work;
        fresh->graph->nodes[i]->work = w;
    }
    vg_exec_close(fresh);
    return CUDA_SUCCESS;
}
