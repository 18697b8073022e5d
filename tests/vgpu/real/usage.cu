// SPDX-License-Identifier: Apache-2.0
//
// Kernels with many and few registers, a stack, static shared memory: test_usage.c compares what
// the driver says of them with what ptxas said.
extern "C" __global__ void __launch_bounds__(256) many(float *p, int n)
{
    __shared__ float s[300];
    s[threadIdx.x] = p[threadIdx.x];
    __syncthreads();
    float a[16];
    for (int i = 0; i < 16; i++) {
        a[i] = p[i * n + threadIdx.x];
    }
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < 16; i++) {
            a[i] = a[i] * s[(i + j) % 256] + a[(i + 1) % 16];
        }
    }
    for (int i = 0; i < 16; i++) {
        p[i * n] = a[i];
    }
}

extern "C" __global__ void stack(float *p, int n)
{
    float a[64];
    for (int i = 0; i < 64; i++) {
        a[i] = p[i];
    }
    for (int i = 0; i < n; i++) {
        a[(i * 7 + n) % 64] += a[i % 64];
    }
    p[threadIdx.x] = a[n % 64];
}

extern "C" __global__ void few(float *p)
{
    p[threadIdx.x] += 1.0f;
}

extern "C" __global__ void __launch_bounds__(1024) full(double *p, int n)
{
    double a[24];
    for (int i = 0; i < 24; i++) {
        a[i] = p[i * n + threadIdx.x];
    }
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < 24; i++) {
            a[i] = a[i] * p[i + j] + a[(i + 5) % 24];
        }
    }
    for (int i = 0; i < 24; i++) {
        p[i * n] = a[i];
    }
}
