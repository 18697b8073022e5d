/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_pack.h - the layout in which the CUDA kernels keep a weight [N, K], and how rows get there.
 * Host code, pure.
 *
 * A panel is 64 rows of the weight. It is cut along k into tiles of 64 x 64 bf16, 8 KB, one after
 * the other; so are the panels. A tile lies as it shall lie in shared memory: places of 128 bytes,
 * 16-byte chunk c of place i at 16 * (c ^ i % 8), which ldmatrix reads without bank conflicts. N is
 * rounded up to whole panels and K to whole tiles with zeroes.
 *
 * The places of a panel are not in the order of its rows: of the 8 columns that a thread gets of
 * four neighbouring 8-column MMA tiles, two each, it shall be able to write one 16-byte vector. So
 * place 8 j + 2 c + e of a half panel (j < 4, c < 4, e < 2) holds its row 8 c + 2 j + e. A gate/up
 * weight has 32 gates and their 32 ups in a panel, in alternating groups of 8 places: place
 * 16 j + 2 c + e the gate 8 c + 2 j + e, place 16 j + 8 + 2 c + e its up. */
#ifndef K_GEMM_PACK_H
#define K_GEMM_PACK_H

#include "types.h"

#include <stdbool.h>

enum {
    K_GEMM_PANEL_ROWS = 64,
    K_GEMM_TILE_K = 64,
    K_GEMM_TILE_BYTES = K_GEMM_PANEL_ROWS * K_GEMM_TILE_K * 2,
};

/* Bytes of a packed weight, a multiple of 256. */
uint64_t k_gemm_packed_bytes(int32_t n, int32_t k);
/* Bytes of one panel: panels follow one another. */
uint64_t k_gemm_panel_bytes(int32_t k);
int32_t k_gemm_n_panels(int32_t n);

/* Packs panels [first_panel, first_panel + n_panels) of a row-major bf16 weight; dst is the place
 * of the first of them (a part of a weight may be packed into a buffer of its own). gate_up: the
 * first N/2 rows are gates, the others the ups that belong to them (K_OP_gemm_silu). Several
 * threads may call it for different panels. */
void k_gemm_pack(const uint16_t *rows, int32_t n, int32_t k, bool gate_up, int32_t first_panel,
                 int32_t n_panels, void *dst);

#endif
