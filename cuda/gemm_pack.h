/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_pack.h - the layout in which the CUDA kernels keep a weight [N, K], and how rows get there.
 * Host code, pure. */
#ifndef K_GEMM_PACK_H
#define K_GEMM_PACK_H

#include "types.h"

#include <stdbool.h>

/* Rows of the weight that a panel holds; N is rounded up to it with zero rows, K to whatever the
 * kernels want with zeroes. */
enum { K_GEMM_PANEL_ROWS = 64 };

/* Bytes of a packed weight, a multiple of 256. */
uint64_t k_gemm_packed_bytes(int32_t n, int32_t k);
/* Bytes of one panel: panels follow one another. */
uint64_t k_gemm_panel_bytes(int32_t k);
int32_t k_gemm_n_panels(int32_t n);

/* Packs panels [first, first + n_panels) of a row-major bf16 weight into dst.
 * gate_up: the first N/2 rows are gates, the others the ups that belong to them; they are
 * interleaved so that one tile of a product holds both (K_OP_gemm_silu). The caller may call it
 * from several threads for different panels. */
void k_gemm_pack(const uint16_t *rows, int32_t n, int32_t k, bool gate_up, int32_t first_panel,
                 int32_t n_panels, void *dst);

#endif
