// SPDX-License-Identifier: Apache-2.0
//
// graph.h - graphs: nodes of work with dependencies, and what was instantiated from them.
#ifndef VG_GRAPH_H
#define VG_GRAPH_H

#include "driver.h"

struct CUgraphNode_st {
    CUgraph graph;
    CUgraphNodeType type;
    struct vg_work work;
    CUgraphNode *deps; // what comes before
    size_t n_deps, max_deps;
    size_t index;         // in the graph, kept by vg_graph_order
    CUgraphNode original; // of a clone
    unsigned mark;
    bool programmatic; // its one edge, from a kernel, only orders what follows griddepcontrol.wait
    void **param_ptrs; // what cuGraphKernelNodeGetParams hands out
};

struct CUgraph_st {
    CUgraphNode *nodes;
    size_t n_nodes, max_nodes;
    bool child; // owned by a node
    CUcontext ctx;
    bool busy; // under capture
};

// A private copy of the graph, in launch order.
struct CUgraphExec_st {
    CUgraph graph;
    CUcontext ctx;
    unsigned long long flags;
    bool *disabled;  // [n_nodes]
    bool *leaf;      // [n_nodes]: nothing comes after it
    uint32_t *chain; // [n_nodes]: its timeline
    unsigned n_chains;
    uint32_t *timelines; // [n_chains]
    struct vg_op *last;  // of the last launch: launches of one exec run one after the other
};

CUgraph vg_graph_new(CUcontext ctx);
CUgraph vg_graph_clone(CUgraph g);
void vg_graph_close(CUgraph g);
bool vg_node_depend(CUgraphNode node, CUgraphNode on);
// Puts nodes into an order in which dependencies come first; false: there is a cycle.
bool vg_graph_order(CUgraph g);

CUresult vg_exec_new(CUgraph g, CUcontext ctx, unsigned long long flags, CUgraphExec *out);
void vg_exec_close(CUgraphExec e);
CUgraphNode vg_exec_node(CUgraphExec e, CUgraphNode original); // NULL: not of this graph
CUresult vg_exec_launch(CUgraphExec e, CUstream s);

// A capture under way: one graph, the streams that joined it.
struct vg_capture {
    CUgraph graph;
    CUstream origin;
    CUstreamCaptureMode mode;
    pthread_t thread;
    uint64_t id;
    CUstreamCaptureStatus status;
    bool borrowed_graph; // cuStreamBeginCaptureToGraph
    struct vg_capture *next;
};

#endif
