/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm_pack.h"

#include <string.h>

int32_t k_gemm_n_panels(int32_t n)
{
    return (int32_t)(((int64_t)n + K_GEMM_PANEL_ROWS - 1) / K_GEMM_PANEL_ROWS);
}

static int64_t n_tiles(int32_t k)
{
    return ((int64_t)k + K_GEMM_TILE_K - 1) / K_GEMM_TILE_K;
}

uint64_t k_gemm_panel_bytes(int32_t k)
{
    return (uint64_t)n_tiles(k) * K_GEMM_TILE_BYTES;
}

uint64_t k_gemm_packed_bytes(int32_t n, int32_t k)
{
    return (uint64_t)k_gemm_n_panels(n) * k_gemm_panel_bytes(k);
}

/* The row of the weight that lies at place `at` of a panel; -1: none. */
static int64_t row_at(int32_t panel, int32_t at, int32_t n, bool gate_up)
{
    const int64_t tile = at / 8, pair = at % 8 / 2, odd = at % 2;
    int64_t row, end = n;
    if (gate_up) { /* tiles of 8 places: gates, their ups, gates, ... */
        end = n / 2;
        row = (int64_t)panel * (K_GEMM_PANEL_ROWS / 2) + 8 * pair + tile / 2 * 2 + odd;
    } else {
        row = (int64_t)panel * K_GEMM_PANEL_ROWS + tile / 4 * 32 + 8 * pair + tile % 4 * 2 + odd;
    }
    return row >= end ? -1 : gate_up && tile % 2 ? row + end : row;
}

static void pack_panel(const uint16_t *rows, int32_t n, int32_t k, bool gate_up, int32_t panel,
                       unsigned char *dst)
{
    enum { CHUNK = 8, ROW_BYTES = 2 * K_GEMM_TILE_K };
    memset(dst, 0, (size_t)k_gemm_panel_bytes(k));
    for (int32_t at = 0; at < K_GEMM_PANEL_ROWS; at++) {
        const int64_t row = row_at(panel, at, n, gate_up);
        if (row < 0) {
            continue;
        }
        const uint16_t *src = rows + row * k;
        for (int32_t k0 = 0; k0 < k; k0 += CHUNK) {
            const int32_t len = k - k0 < CHUNK ? k - k0 : CHUNK;
            const int32_t tile = k0 / K_GEMM_TILE_K, chunk = k0 % K_GEMM_TILE_K / CHUNK;
            unsigned char *to =
                dst + (int64_t)tile * K_GEMM_TILE_BYTES + at * ROW_BYTES + 16 * (chunk ^ (at % 8));
            if (len == CHUNK) { /* a constant size: no call */
                memcpy(to, src + k0, 16);
            } else {
                memcpy(to, src + k0, 2 * (size_t)len);
            }
        }
    }
}

void k_gemm_pack(const uint16_t *rows, int32_t n, int32_t k, bool gate_up, int32_t first_panel,
                 int32_t n_panels, void *dst)
{
    unsigned char *to = dst;
    for (int32_t p = 0; p < n_panels; p++) {
        pack_panel(rows, n, k, gate_up, first_panel + p, to + (uint64_t)p * k_gemm_panel_bytes(k));
    }
}
