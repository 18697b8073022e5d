// SPDX-License-Identifier: Apache-2.0
//
// Device code that nobody here wrote, from the toolkit's public headers: CUB's block-wide reduce,
// scan, radix sort, load and store, wrapped in kernels with C names.
#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cub/warp/warp_reduce.cuh>

enum { THREADS = 128, ITEMS = 4 };

extern "C" __global__ void cub_reduce(const int *in, int *out)
{
    using reduce = cub::BlockReduce<int, THREADS>;
    __shared__ typename reduce::TempStorage temp;
    int v[ITEMS];
    cub::LoadDirectBlocked(threadIdx.x, in + blockIdx.x * THREADS * ITEMS, v);
    int sum = reduce(temp).Sum(v);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

extern "C" __global__ void cub_scan(const int *in, int *out)
{
    using load = cub::BlockLoad<int, THREADS, ITEMS, cub::BLOCK_LOAD_WARP_TRANSPOSE>;
    using store = cub::BlockStore<int, THREADS, ITEMS, cub::BLOCK_STORE_WARP_TRANSPOSE>;
    using scan = cub::BlockScan<int, THREADS>;
    __shared__ union {
        typename load::TempStorage load;
        typename store::TempStorage store;
        typename scan::TempStorage scan;
    } temp;
    int v[ITEMS];
    int base = blockIdx.x * THREADS * ITEMS;
    load(temp.load).Load(in + base, v);
    __syncthreads();
    scan(temp.scan).ExclusiveSum(v, v);
    __syncthreads();
    store(temp.store).Store(out + base, v);
}

extern "C" __global__ void cub_sort(const unsigned *in, unsigned *out)
{
    using sort = cub::BlockRadixSort<unsigned, THREADS, ITEMS>;
    __shared__ typename sort::TempStorage temp;
    unsigned v[ITEMS];
    int base = blockIdx.x * THREADS * ITEMS;
    cub::LoadDirectBlocked(threadIdx.x, in + base, v);
    sort(temp).Sort(v);
    cub::StoreDirectBlocked(threadIdx.x, out + base, v);
}

extern "C" __global__ void cub_warp_max(const float *in, float *out)
{
    using reduce = cub::WarpReduce<float>;
    __shared__ typename reduce::TempStorage temp[THREADS / 32];
    int warp = threadIdx.x / 32;
    float most =
        reduce(temp[warp]).Reduce(in[blockIdx.x * THREADS + threadIdx.x], [](float a, float b) {
            return a > b ? a : b;
        });
    if (threadIdx.x % 32 == 0) {
        out[blockIdx.x * (THREADS / 32) + warp] = most;
    }
}
