// SPDX-License-Identifier: Apache-2.0
// rows.h - between memory and rows when the 32 lanes' addresses follow each other, per instruction
// set.
#ifndef VG_ROWS_H
#define VG_ROWS_H

#include <stdbool.h>
#include <stdint.h>

struct vg_rows {
    // Whether lane l lies at host[0] + l * step, for all lanes.
    bool (*in_line)(const uint64_t host[32], uint64_t step);
    // n (1, 2, 4) consecutive 32-bit words per lane: word i of lane l goes to d[i][l].
    void (*load32)(uint32_t *const d[], unsigned n, const uint8_t *from);
    void (*store32)(uint8_t *to, unsigned n, const uint32_t *const s[]);
    // The same with 64-bit words, n 1 or 2.
    void (*load64)(uint64_t *const d[], unsigned n, const uint8_t *from);
    void (*store64)(uint8_t *to, unsigned n, const uint64_t *const s[]);
    // 16-bit words, zero extended (e: mask), n 1.
    void (*load16)(uint32_t *d, const uint8_t *from);
};
const struct vg_rows *vg_rows(void);

#endif
