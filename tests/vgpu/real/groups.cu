// SPDX-License-Identifier: Apache-2.0
//
// Cooperative groups of the toolkit: tiles, coalesced groups, reduce, scan, a grid-wide sync.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

namespace cg = cooperative_groups;

extern "C" __global__ void groups_reduce(const int *in, int *out, int n)
{
    __shared__ int total;
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<32>(block);
    if (block.thread_rank() == 0) {
        total = 0;
    }
    block.sync();
    int sum = 0;
    for (int i = block.thread_rank(); i < n; i += block.size()) {
        sum += in[i];
    }
    sum = cg::reduce(tile, sum, cg::plus<int>());
    if (tile.thread_rank() == 0) {
        atomicAdd(&total, sum);
    }
    block.sync();
    if (block.thread_rank() == 0) {
        *out = total;
    }
}

extern "C" __global__ void groups_scan(const int *in, int *out)
{
    auto tile = cg::tiled_partition<16>(cg::this_thread_block());
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = cg::inclusive_scan(tile, in[i], cg::plus<int>());
}

// Odd elements are counted by whoever holds one: a coalesced group of unknown size.
extern "C" __global__ void groups_count(const int *in, int *count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (in[i] % 2 != 0) {
        cg::coalesced_group g = cg::coalesced_threads();
        if (g.thread_rank() == 0) {
            atomicAdd(count, (int)g.size());
        }
    }
}

extern "C" __global__ void groups_grid(int *data, int *out)
{
    cg::grid_group grid = cg::this_grid();
    int i = (int)grid.thread_rank(), n = (int)grid.size();
    data[i] = i * 3;
    grid.sync();
    out[i] = data[n - 1 - i];
}
