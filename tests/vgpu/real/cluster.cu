// SPDX-License-Identifier: Apache-2.0
//
// Clusters and distributed shared memory, after the programming guide's histogram.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

enum { BINS = 64 };

// Each block of the cluster owns a part of the bins; everybody adds to everybody's.
extern "C" __global__ void cluster_histogram(int *bins, const int *in, int n)
{
    extern __shared__ int mine[];
    cg::cluster_group cluster = cg::this_cluster();
    int blocks = (int)cluster.num_blocks(), part = BINS / blocks;
    for (int i = threadIdx.x; i < part; i += blockDim.x) {
        mine[i] = 0;
    }
    cluster.sync();
    for (int i = (int)cg::this_grid().thread_rank(); i < n; i += blockDim.x * gridDim.x) {
        int bin = in[i] % BINS;
        int *owner = cluster.map_shared_rank(mine, bin / part);
        atomicAdd(owner + bin % part, 1);
    }
    cluster.sync();
    int *to = bins + cluster.block_rank() * part;
    for (int i = threadIdx.x; i < part; i += blockDim.x) {
        atomicAdd(&to[i], mine[i]);
    }
}
