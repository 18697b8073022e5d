// SPDX-License-Identifier: Apache-2.0
//
// graph.c - graphs as lists of nodes, their copies, and their launch as operations.
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "order.h"

CUgraph vg_graph_new(CUcontext ctx)
{
    CUgraph g = vg_handle_new(VG_H_GRAPH, sizeof *g);
    if (g != NULL) {
        g->ctx = ctx;
    }
    return g;
}

void vg_graph_close(CUgraph g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        vg_work_free(&g->nodes[i]->work);
        free(g->nodes[i]->deps);
        free(g->nodes[i]->param_ptrs);
        g->nodes[i]->deps = NULL;
        g->nodes[i]->n_deps = 0;
        vg_handle_kill(g->nodes[i]);
    }
    struct vg_alloc *a;
    for (size_t i = 0; (a = vg_alloc_at(i)) != NULL;) {
        if (a->graph == g) {
            vg_alloc_drop(a);
        } else {
            i++;
        }
    }
    free(g->nodes);
    g->nodes = NULL;
    g->n_nodes = g->max_nodes = 0;
    vg_handle_kill(g);
}

bool vg_node_depend(CUgraphNode node, CUgraphNode on)
{
    for (size_t i = 0; i < node->n_deps; i++) {
        if (node->deps[i] == on) {
            return true;
        }
    }
    if (node->n_deps == node->max_deps) {
        size_t more = node->max_deps ? 2 * node->max_deps : 2;
        CUgraphNode *p = realloc(node->deps, more * sizeof *p);
        if (p == NULL) {
            return false;
        }
        node->deps = p;
        node->max_deps = more;
    }
    node->deps[node->n_deps++] = on;
    return true;
}

static CUgraphNodeType type_of(const struct vg_work *w)
{
    switch (w->kind) {
    case VG_WORK_KERNEL:
        return CU_GRAPH_NODE_TYPE_KERNEL;
    case VG_WORK_COPY:
        return CU_GRAPH_NODE_TYPE_MEMCPY;
    case VG_WORK_FILL:
        return CU_GRAPH_NODE_TYPE_MEMSET;
    case VG_WORK_HOST:
    case VG_WORK_CALL:
        return CU_GRAPH_NODE_TYPE_HOST;
    case VG_WORK_RECORD:
        return CU_GRAPH_NODE_TYPE_EVENT_RECORD;
    case VG_WORK_ALLOC:
        return CU_GRAPH_NODE_TYPE_MEM_ALLOC;
    case VG_WORK_CHILD:
        return CU_GRAPH_NODE_TYPE_GRAPH;
    case VG_WORK_WRITE_VALUE:
    case VG_WORK_WAIT_VALUE:
        return CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
    case VG_WORK_EMPTY:
    case VG_WORK_FREE:
        break;
    }
    return CU_GRAPH_NODE_TYPE_EMPTY;
}

CUresult vg_graph_add(CUgraph g, const CUgraphNode *deps, size_t n, struct vg_work *w,
                      CUgraphNode *out)
{
    CUgraphNode node = vg_handle_new(VG_H_NODE, sizeof *node);
    if (g->n_nodes == g->max_nodes) {
        size_t more = g->max_nodes ? 2 * g->max_nodes : 16;
        CUgraphNode *p = realloc(g->nodes, more * sizeof *p);
        if (p != NULL) {
            g->nodes = p;
            g->max_nodes = more;
        }
    }
    if (node == NULL || g->n_nodes == g->max_nodes) {
        vg_work_free(w);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    node->graph = g;
    node->type = type_of(w);
    node->work = *w;
    node->original = node;
    g->nodes[g->n_nodes++] = node;
    for (size_t i = 0; i < n; i++) {
        if (!vg_node_depend(node, deps[i])) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    *out = node;
    return CUDA_SUCCESS;
}

CUgraph vg_graph_clone(CUgraph g)
{
    CUgraph copy = vg_graph_new(g->ctx);
    if (copy == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i]->index = i;
        struct vg_work w;
        CUgraphNode node = NULL;
        if (!vg_work_clone(&w, &g->nodes[i]->work) ||
            vg_graph_add(copy, NULL, 0, &w, &node) != CUDA_SUCCESS) {
            vg_graph_close(copy);
            return NULL;
        }
        node->type = g->nodes[i]->type;
        node->programmatic = g->nodes[i]->programmatic;
        node->original = g->nodes[i];
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t k = 0; k < g->nodes[i]->n_deps; k++) {
            if (!vg_node_depend(copy->nodes[i], copy->nodes[g->nodes[i]->deps[k]->index])) {
                vg_graph_close(copy);
                return NULL;
            }
        }
    }
    return copy;
}

bool vg_graph_order(CUgraph g)
{
    // Kahn's algorithm, stable: nodes that could be next keep their order.
    CUgraphNode *order = calloc(g->n_nodes + 1, sizeof *order);
    if (order == NULL) {
        return false;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i]->mark = 0;
    }
    size_t n = 0;
    bool moved = true;
    while (n < g->n_nodes && moved) {
        moved = false;
        for (size_t i = 0; i < g->n_nodes; i++) {
            CUgraphNode node = g->nodes[i];
            bool free_to_go = node->mark == 0;
            for (size_t k = 0; free_to_go && k < node->n_deps; k++) {
                free_to_go = node->deps[k]->mark != 0;
            }
            if (free_to_go) {
                node->mark = 1;
                node->index = n;
                order[n++] = node;
                moved = true;
            }
        }
    }
    if (n == g->n_nodes && n > 0) {
        memcpy(g->nodes, order, n * sizeof *order);
    }
    bool ok = n == g->n_nodes;
    free(order);
    return ok;
}

// ---- launch ----

// Child graphs become part of their parent: their roots wait for what the child waits for, and
// whoever waits for the child waits for its leaves.
static CUresult expand(CUgraph g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        CUgraphNode c = g->nodes[i];
        if (c->work.kind != VG_WORK_CHILD) {
            continue;
        }
        CUgraph inner = c->work.child;
        CUresult r = expand(inner);
        size_t first = g->n_nodes;
        for (size_t k = 0; r == CUDA_SUCCESS && k < inner->n_nodes; k++) {
            inner->nodes[k]->index = k;
            struct vg_work w;
            CUgraphNode node = NULL;
            if (!vg_work_clone(&w, &inner->nodes[k]->work)) {
                return CUDA_ERROR_OUT_OF_MEMORY;
            }
            r = vg_graph_add(g, NULL, 0, &w, &node);
            if (r == CUDA_SUCCESS) {
                node->original = inner->nodes[k]->original;
                node->programmatic = inner->nodes[k]->programmatic;
            }
        }
        for (size_t k = 0; r == CUDA_SUCCESS && k < inner->n_nodes; k++) {
            CUgraphNode node = g->nodes[first + k];
            for (size_t d = 0; d < inner->nodes[k]->n_deps; d++) {
                vg_node_depend(node, g->nodes[first + inner->nodes[k]->deps[d]->index]);
            }
            for (size_t d = 0; inner->nodes[k]->n_deps == 0 && d < c->n_deps; d++) {
                vg_node_depend(node, c->deps[d]);
            }
        }
        // The child's place becomes the join of all its nodes.
        for (size_t k = 0; r == CUDA_SUCCESS && k < inner->n_nodes; k++) {
            vg_node_depend(c, g->nodes[first + k]);
        }
        if (r != CUDA_SUCCESS) {
            return r;
        }
        vg_work_free(&c->work); // now an empty node
    }
    return CUDA_SUCCESS;
}

// Cuts the graph into chains, so that a linear graph of 500 nodes needs one timeline.
static bool cut_chains(CUgraphExec e)
{
    CUgraph g = e->graph;
    e->chain = calloc(g->n_nodes + 1, sizeof *e->chain);
    e->timelines = calloc(g->n_nodes + 1, sizeof *e->timelines);
    e->disabled = calloc(g->n_nodes + 1, sizeof *e->disabled);
    e->leaf = calloc(g->n_nodes + 1, sizeof *e->leaf);
    if (e->chain == NULL || e->timelines == NULL || e->disabled == NULL || e->leaf == NULL) {
        return false;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        e->leaf[i] = true; // dependencies come earlier, so this is taken back in time
        for (size_t k = 0; k < g->nodes[i]->n_deps; k++) {
            e->leaf[g->nodes[i]->deps[k]->index] = false;
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i]->mark = 0; // 1: some later node went on with its chain
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        CUgraphNode node = g->nodes[i];
        bool found = false;
        for (size_t k = 0; k < node->n_deps && !found; k++) {
            if (node->deps[k]->mark == 0) {
                node->deps[k]->mark = 1;
                e->chain[i] = e->chain[node->deps[k]->index];
                found = true;
            }
        }
        if (!found) {
            e->timelines[e->n_chains] = vg_timeline_new();
            e->chain[i] = e->n_chains++;
        }
    }
    if (e->n_chains > 1) {
        vg_order_watch();
    }
    return true;
}

CUresult vg_exec_new(CUgraph g, CUcontext ctx, unsigned long long flags, CUgraphExec *out)
{
    CUgraphExec e = vg_handle_new(VG_H_EXEC, sizeof *e);
    if (e == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    e->graph = vg_graph_clone(g);
    e->ctx = ctx;
    e->flags = flags;
    if (e->graph == NULL) {
        vg_handle_kill(e);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUresult r = expand(e->graph);
    if (r == CUDA_SUCCESS && !vg_graph_order(e->graph)) {
        r = CUDA_ERROR_INVALID_VALUE;
    }
    if (r == CUDA_SUCCESS && !cut_chains(e)) {
        r = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (r != CUDA_SUCCESS) {
        vg_exec_close(e);
        return r;
    }
    *out = e;
    return CUDA_SUCCESS;
}

void vg_exec_close(CUgraphExec e)
{
    for (unsigned i = 0; i < e->n_chains; i++) {
        vg_timeline_give_back(e->timelines[i]);
    }
    vg_op_unref(e->last);
    e->last = NULL;
    free(e->chain);
    free(e->timelines);
    free(e->disabled);
    free(e->leaf);
    vg_graph_close(e->graph);
    vg_handle_kill(e);
}

CUgraphNode vg_exec_node(CUgraphExec e, CUgraphNode original)
{
    for (size_t i = 0; i < e->graph->n_nodes; i++) {
        if (e->graph->nodes[i]->original == original) {
            return e->graph->nodes[i];
        }
    }
    return NULL;
}

CUresult vg_exec_launch(CUgraphExec e, CUstream s)
{
    CUgraph g = e->graph;
    struct vg_op **ops = calloc(g->n_nodes + 1, sizeof(struct vg_op *));
    struct vg_work none = {.kind = VG_WORK_EMPTY, .ctx = s->ctx};
    struct vg_op *first = vg_op_new(&none);
    if (ops == NULL || first == NULL) {
        free(ops);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    first->stream_id = s->id;
    vg_op_after_stream(first, s);
    vg_op_after(first, e->last);
    vg_op_commit(first, s->timeline);
    CUresult r = CUDA_SUCCESS;
    size_t n = 0;
    for (; n < g->n_nodes; n++) {
        struct vg_work w = {.kind = VG_WORK_EMPTY, .ctx = s->ctx};
        if (!e->disabled[n] && !vg_work_clone(&w, &g->nodes[n]->work)) {
            r = CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        struct vg_op *op = vg_op_new(&w);
        if (op == NULL) {
            r = CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        op->stream_id = s->id;
        if (g->nodes[n]->n_deps == 0) {
            vg_op_after(op, first);
        }
        for (size_t k = 0; k < g->nodes[n]->n_deps; k++) {
            vg_op_after(op, ops[g->nodes[n]->deps[k]->index]);
        }
        if (g->nodes[n]->programmatic && g->nodes[n]->n_deps == 1) {
            vg_op_depends(op, ops[g->nodes[n]->deps[0]->index]);
        }
        vg_op_commit(op, e->timelines[e->chain[n]]);
        if (op->work.kind == VG_WORK_RECORD && op->work.record.external) {
            CUevent ev = op->work.record.event;
            if (vg_handle_is(ev, VG_H_EVENT)) {
                vg_op_unref(ev->op);
                ev->op = vg_op_ref(op);
            }
        }
        ops[n] = op;
    }
    struct vg_op *last = vg_op_new(&none);
    if (last == NULL) {
        r = CUDA_ERROR_OUT_OF_MEMORY;
    } else {
        last->stream_id = s->id;
        vg_op_after(last, first);
        for (size_t i = 0; i < n; i++) {
            if (e->leaf[i]) {
                vg_op_after(last, ops[i]);
            }
        }
        vg_op_commit(last, s->timeline);
        vg_stream_set_tail(s, last);
        vg_op_unref(e->last);
        e->last = last;
    }
    for (size_t i = 0; i < n; i++) {
        vg_op_unref(ops[i]);
    }
    vg_op_unref(first);
    free(ops);
    return r;
}
