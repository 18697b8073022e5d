// SPDX-License-Identifier: Apache-2.0
//
// cubin.h - what ptxas noted about a kernel in the ELF file it made.
#ifndef VG_CUBIN_H
#define VG_CUBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Registers per thread and bytes of stack per thread. false: the file does not say (or is damaged).
bool vg_cubin_usage(const uint8_t *elf, size_t bytes, const char *kernel, uint32_t *regs,
                    uint32_t *stack);

#endif
