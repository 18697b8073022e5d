// SPDX-License-Identifier: Apache-2.0
// Kernels of vgpu_bench: shapes of an inference engine's hot loops, written to be ordinary. A
// matrix product is C[m][n] = sum over k of A[m][k] * B[n][k], int8 to int32 or bf16 to f32; rows
// of A and B are `pitch` bytes. Compiled for compute_80 and compute_90a.
#include <cstdint>
#include <cuda_bf16.h>

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define FN static __device__ __forceinline__

FN uint32_t smem(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

// ---- RMSNorm: x += residual; out = int8(x / rms(x) * weight / scale of the row) ----

FN float block_reduce(float v, float *part, bool is_max)
{
    for (int o = 16; o; o >>= 1) {
        float u = __shfl_xor_sync(~0u, v, o);
        v = is_max ? fmaxf(v, u) : v + u;
    }
    __syncthreads();
    if ((threadIdx.x & 31) == 0) {
        part[threadIdx.x >> 5] = v;
    }
    __syncthreads();
    v = part[0];
    for (int i = 1; i < blockDim.x / 32; i++) {
        v = is_max ? fmaxf(v, part[i]) : v + part[i];
    }
    return v;
}

enum { NORM_THREADS = 256, NORM_DIM = 4096, NORM_CHUNKS = NORM_DIM / NORM_THREADS / 8 };

FN uint32_t add2(uint32_t a, uint32_t b, float *f) // two bf16 and their sums as float
{
    __nv_bfloat162 x = *(__nv_bfloat162 *)&a, y = *(__nv_bfloat162 *)&b;
    float2 u = __bfloat1622float2(x), v = __bfloat1622float2(y);
    __nv_bfloat162 s = __floats2bfloat162_rn(u.x + v.x, u.y + v.y);
    float2 w = __bfloat1622float2(s);
    f[0] = w.x;
    f[1] = w.y;
    return *(uint32_t *)&s;
}

KERNEL(NORM_THREADS)
rmsnorm_s8(uint4 *x, const uint4 *__restrict__ residual, const uint4 *__restrict__ weight,
           uint2 *out, float *scale)
{
    __shared__ float part[32];
    size_t row = (size_t)blockIdx.x * (NORM_DIM / 8);
    float v[NORM_CHUNKS][8], sum = 0, top = 0;
    for (int c = 0; c < NORM_CHUNKS; c++) {
        int i = c * NORM_THREADS + threadIdx.x;
        uint4 a = x[row + i], b = residual[row + i];
        a.x = add2(a.x, b.x, v[c]);
        a.y = add2(a.y, b.y, v[c] + 2);
        a.z = add2(a.z, b.z, v[c] + 4);
        a.w = add2(a.w, b.w, v[c] + 6);
        x[row + i] = a;
        for (int k = 0; k < 8; k++) {
            sum += v[c][k] * v[c][k];
        }
    }
    float inverse = rsqrtf(block_reduce(sum, part, false) / NORM_DIM + 1e-6f);
    for (int c = 0; c < NORM_CHUNKS; c++) {
        uint4 w = weight[c * NORM_THREADS + threadIdx.x];
        uint32_t word[4] = {w.x, w.y, w.z, w.w};
        for (int k = 0; k < 8; k++) {
            float g = __uint_as_float(k & 1 ? word[k / 2] & 0xffff0000 : word[k / 2] << 16);
            v[c][k] *= inverse * g;
            top = fmaxf(top, fabsf(v[c][k]));
        }
    }
    top = block_reduce(top, part, true);
    float to_int = top > 0 ? 127.0f / top : 0;
    if (threadIdx.x == 0) {
        scale[blockIdx.x] = top / 127.0f;
    }
    for (int c = 0; c < NORM_CHUNKS; c++) {
        uint32_t q[2] = {0, 0};
        for (int k = 0; k < 8; k++) {
            q[k / 4] |= ((uint32_t)__float2int_rn(v[c][k] * to_int) & 0xff) << 8 * (k % 4);
        }
        out[row + c * NORM_THREADS + threadIdx.x] = make_uint2(q[0], q[1]);
    }
}

// ---- products through cp.async, ldmatrix and mma.sync ----

FN void mma(int (&d)[4], const uint32_t (&a)[4], const uint32_t *b)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
FN void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
FN void ldmatrix(uint32_t (&r)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

// A CTA makes 64 x 64 of C with 2 x 2 warps; 64 bytes of k a stage. A row of a tile is 4 chunks of
// 16 bytes, whose order is turned so that ldmatrix meets no bank twice.
enum { STAGES = 4, ROW_BYTES = 64, TILE_BYTES = 64 * ROW_BYTES };

FN uint32_t tile_at(uint32_t tile, int row, int chunk)
{
    return tile + row * ROW_BYTES + (chunk ^ (row >> 1 & 3)) * 16;
}

FN void load_tile(uint32_t tile, const char *from, size_t pitch)
{
    for (int i = 0; i < 2; i++) {
        int row = i * 32 + threadIdx.x / 4, chunk = threadIdx.x % 4;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(tile_at(tile, row, chunk)),
                     "l"(from + row * pitch + chunk * 16)
                     : "memory");
    }
}

template <typename ACC> FN void gemm(const char *a, const char *b, ACC *c, int n, int pitch)
{
    __shared__ alignas(128) char store[STAGES * 2 * TILE_BYTES];
    const int lane = threadIdx.x % 32, warp_m = threadIdx.x / 64, warp_n = threadIdx.x / 32 % 2;
    const uint32_t base = smem(store);
    const int steps = pitch / ROW_BYTES;
    a += (size_t)blockIdx.y * 64 * pitch;
    b += (size_t)blockIdx.x * 64 * pitch;
    ACC acc[2][4][4] = {};
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) {
            load_tile(base + s * 2 * TILE_BYTES, a + s * ROW_BYTES, pitch);
            load_tile(base + s * 2 * TILE_BYTES + TILE_BYTES, b + s * ROW_BYTES, pitch);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    for (int s = 0; s < steps; s++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        __syncthreads();
        int next = s + STAGES - 1;
        if (next < steps) {
            uint32_t to = base + next % STAGES * 2 * TILE_BYTES;
            load_tile(to, a + next * ROW_BYTES, pitch);
            load_tile(to + TILE_BYTES, b + next * ROW_BYTES, pitch);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        uint32_t ta = base + s % STAGES * 2 * TILE_BYTES, tb = ta + TILE_BYTES;
#pragma unroll
        for (int k = 0; k < 2; k++) {
            uint32_t fa[2][4], fb[2][4];
            for (int i = 0; i < 2; i++) {
                ldmatrix(fa[i], tile_at(ta, warp_m * 32 + i * 16 + lane % 16, 2 * k + lane / 16));
            }
            for (int j = 0; j < 2; j++) {
                ldmatrix(fb[j], tile_at(tb, warp_n * 32 + j * 16 + lane % 8 + lane / 16 * 8,
                                        2 * k + lane / 8 % 2));
            }
            for (int i = 0; i < 2; i++) {
                for (int j = 0; j < 4; j++) {
                    mma(acc[i][j], fa[i], &fb[j / 2][j % 2 * 2]);
                }
            }
        }
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 4; j++) {
            size_t row = blockIdx.y * 64 + warp_m * 32 + i * 16 + lane / 4;
            size_t col = blockIdx.x * 64 + warp_n * 32 + j * 8 + lane % 4 * 2;
            for (int h = 0; h < 2; h++) {
                c[(row + 8 * h) * n + col] = acc[i][j][2 * h];
                c[(row + 8 * h) * n + col + 1] = acc[i][j][2 * h + 1];
            }
        }
    }
}
KERNEL(128) gemm_s8(const char *a, const char *b, int *c, int n, int pitch)
{
    gemm(a, b, c, n, pitch);
}
KERNEL(128) gemm_bf16(const char *a, const char *b, float *c, int n, int pitch)
{
    gemm(a, b, c, n, pitch);
}

// ---- mma.sync alone ----

template <typename ACC> FN void mma_loop(ACC *out, int rounds)
{
    ACC d[8][4] = {};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        a[i] = 0x01010101u * (threadIdx.x + i);
    }
    b[0] = 0x3f803f80;
    b[1] = 0x3f813f82;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < 8; i++) {
            mma(d[i], a, b);
        }
    }
    ACC s = 0;
    for (int i = 0; i < 8; i++) {
        s += d[i][0] + d[i][1] + d[i][2] + d[i][3];
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = s;
}
KERNEL(128) mma_s8(int *out, int rounds)
{
    mma_loop(out, rounds);
}
KERNEL(128) mma_bf16(float *out, int rounds)
{
    mma_loop(out, rounds);
}

#if __CUDA_ARCH__ >= 900
// ---- products through TMA, mbarriers and wgmma: one producer warp, one warpgroup that computes
// ----

struct alignas(64) map {
    unsigned char bytes[128];
};
enum {
    TMA_STAGES = 4,
    TILE_N = 128,
    TMA_ROW = 128,
    A_BYTES = 64 * TMA_ROW,
    B_BYTES = TILE_N * TMA_ROW
};

FN void bar_init(uint32_t bar, int count)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
FN void bar_wait(uint32_t bar, int parity)
{
    asm volatile(
        "{\n .reg .pred P;\nW_%=:\n"
        " mbarrier.try_wait.parity.shared::cta.b64 P, [%0], %1;\n @!P bra W_%=;\n}\n" ::"r"(bar),
        "r"(parity)
        : "memory");
}
FN void tma_load(uint32_t dst, const map &m, int x, int y, uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(dst),
                 "l"(&m), "r"(x), "r"(y), "r"(bar)
                 : "memory");
}
FN uint64_t desc(uint32_t at) // rows of 128 bytes, swizzled; 8 rows a group
{
    return (uint64_t)(at >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// clang-format off
#define R4(c, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define R16(c, i) R4(c, i), R4(c, i + 4), R4(c, i + 8), R4(c, i + 12)
#define R64(c) R16(c, 0), R16(c, 16), R16(c, 32), R16(c, 48)
#define REGS "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22," \
    "%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45," \
    "%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"
// clang-format on
FN void wgmma(int (&d)[64], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " REGS ", %64, %65, 1;"
                 : R64("+r")
                 : "l"(a), "l"(b));
}
FN void wgmma(float (&d)[64], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " REGS
                 ", %64, %65, 1, 1, 1, 0, 0;"
                 : R64("+f")
                 : "l"(a), "l"(b));
}

template <typename ACC, int K_PER_ROW>
FN void gemm_tma(const map &ma, const map &mb, ACC *c, int n, int pitch)
{
    extern __shared__ char store[];
    __shared__ uint64_t full[TMA_STAGES], empty[TMA_STAGES];
    const uint32_t base = (smem(store) + 1023) & ~1023u, sf = smem(full), se = smem(empty);
    const int steps = pitch / TMA_ROW;
    if (threadIdx.x == 0) {
        for (int s = 0; s < TMA_STAGES; s++) {
            bar_init(sf + 8 * s, 1);
            bar_init(se + 8 * s, 4);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (threadIdx.x >= 128) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 128) {
            for (int k = 0; k < steps; k++) {
                int s = k % TMA_STAGES;
                uint32_t to = base + s * (A_BYTES + B_BYTES);
                bar_wait(se + 8 * s, (k / TMA_STAGES & 1) ^ 1);
                asm volatile(
                    "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sf + 8 * s),
                    "r"(A_BYTES + B_BYTES)
                    : "memory");
                tma_load(to, ma, k * K_PER_ROW, blockIdx.y * 64, sf + 8 * s);
                tma_load(to + A_BYTES, mb, k * K_PER_ROW, blockIdx.x * TILE_N, sf + 8 * s);
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    ACC d[64] = {};
    for (int k = 0; k < steps; k++) {
        int s = k % TMA_STAGES;
        uint32_t at = base + s * (A_BYTES + B_BYTES);
        bar_wait(sf + 8 * s, k / TMA_STAGES & 1);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        for (int i = 0; i < 4; i++) {
            wgmma(d, desc(at + 32 * i), desc(at + A_BYTES + 32 * i));
        }
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        if (threadIdx.x % 32 == 0) {
            asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(se + 8 * s) : "memory");
        }
    }
    const int lane = threadIdx.x % 32;
    const size_t row = blockIdx.y * 64 + threadIdx.x / 32 * 16 + lane / 4;
    for (int j = 0; j < TILE_N / 8; j++) {
        size_t col = blockIdx.x * TILE_N + j * 8 + lane % 4 * 2;
        for (int h = 0; h < 2; h++) {
            c[(row + 8 * h) * n + col] = d[j * 4 + 2 * h];
            c[(row + 8 * h) * n + col + 1] = d[j * 4 + 2 * h + 1];
        }
    }
}
KERNEL(256)
wgmma_s8(const __grid_constant__ map a, const __grid_constant__ map b, int *c, int n, int pitch)
{
    gemm_tma<int, 128>(a, b, c, n, pitch);
}
KERNEL(256)
wgmma_bf16(const __grid_constant__ map a, const __grid_constant__ map b, float *c, int n, int pitch)
{
    gemm_tma<float, 64>(a, b, c, n, pitch);
}

// ---- wgmma alone, four to a group, from 24 KB of shared memory ----

template <typename ACC> FN void wgmma_loop(ACC *out, int rounds)
{
    __shared__ alignas(1024) uint32_t store[(A_BYTES + B_BYTES) / 4];
    for (int i = threadIdx.x; i < (A_BYTES + B_BYTES) / 4; i += 128) {
        store[i] = 0x3f803f81;
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    ACC d[64] = {};
    const uint32_t at = smem(store);
    for (int r = 0; r < rounds; r++) {
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        for (int i = 0; i < 4; i++) {
            wgmma(d, desc(at + 32 * i), desc(at + A_BYTES + 32 * i));
        }
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
    ACC s = 0;
    for (int i = 0; i < 64; i++) {
        s += d[i];
    }
    out[blockIdx.x * 128 + threadIdx.x] = s;
}
KERNEL(128) wgmma_only_s8(int *out, int rounds)
{
    wgmma_loop(out, rounds);
}
KERNEL(128) wgmma_only_bf16(float *out, int rounds)
{
    wgmma_loop(out, rounds);
}
#endif
