// SPDX-License-Identifier: Apache-2.0
//
// fatbin.h - the PTX inside what cuModuleLoadData and its relatives are given: PTX text, a fat
// binary, the wrapper that nvcc puts into host programs, or a cubin.
#ifndef VG_FATBIN_H
#define VG_FATBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vg_image {
    VG_IMAGE_OK,
    VG_IMAGE_BAD,    // no format that is known, or damaged
    VG_IMAGE_NO_PTX, // a fat binary or cubin without PTX that this device could take
    VG_IMAGE_MEMORY,
};

// Picks the PTX with the highest target that a device of compute capability `cc` (80, 90) can run.
// The text is malloc'ed and ends with NUL. `max_bytes` bounds what is read; 0: trust the headers,
// as the driver has to. On failure err holds one sentence.
enum vg_image vg_fatbin_ptx(const void *image, size_t max_bytes, unsigned cc, char **ptx,
                            size_t *ptx_bytes, char *err, size_t err_bytes);

// The machine code of a fat binary for such a device, malloc'ed: nothing here can run it, but
// ptxas' numbers are in it. false: there is none.
bool vg_fatbin_elf(const void *image, unsigned cc, uint8_t **elf, size_t *bytes);

#endif
