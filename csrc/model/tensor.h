/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor.h - dtypes of checkpoint files and the description of one stored tensor. No operations. */
#ifndef OCT_MODEL_TENSOR_H
#define OCT_MODEL_TENSOR_H

#include "base/status.h"

/* id, name, elements per block, bytes per block (sub-byte safetensors types: two elements a byte).
 * USED in the last column: this build can read such a tensor as a weight. */
// clang-format off
#define OCT_DTYPES(X)                     \
    X(F64,      "F64",       1,   8, 0)   \
    X(F32,      "F32",       1,   4, 1)   \
    X(F16,      "F16",       1,   2, 1)   \
    X(BF16,     "BF16",      1,   2, 1)   \
    X(I64,      "I64",       1,   8, 0)   \
    X(I32,      "I32",       1,   4, 0)   \
    X(I16,      "I16",       1,   2, 0)   \
    X(I8,       "I8",        1,   1, 0)   \
    X(U64,      "U64",       1,   8, 0)   \
    X(U32,      "U32",       1,   4, 0)   \
    X(U16,      "U16",       1,   2, 0)   \
    X(U8,       "U8",        1,   1, 0)   \
    X(BOOL,     "BOOL",      1,   1, 0)   \
    X(C64,      "C64",       1,   8, 0)   \
    X(F8_E4M3,  "F8_E4M3",   1,   1, 0)   \
    X(F8_E5M2,  "F8_E5M2",   1,   1, 0)   \
    X(F8_E8M0,  "F8_E8M0",   1,   1, 0)   \
    X(F8_E4M3FNUZ, "F8_E4M3FNUZ", 1, 1, 0) \
    X(F8_E5M2FNUZ, "F8_E5M2FNUZ", 1, 1, 0) \
    X(F4,       "F4",        2,   1, 0)   \
    X(F6_E2M3,  "F6_E2M3",   4,   3, 0)   \
    X(F6_E3M2,  "F6_E3M2",   4,   3, 0)   \
    X(Q4_0,     "Q4_0",     32,  18, 1)   \
    X(Q4_1,     "Q4_1",     32,  20, 1)   \
    X(Q5_0,     "Q5_0",     32,  22, 1)   \
    X(Q5_1,     "Q5_1",     32,  24, 1)   \
    X(Q8_0,     "Q8_0",     32,  34, 1)   \
    X(Q8_1,     "Q8_1",     32,  36, 0)   \
    X(Q2_K,     "Q2_K",    256,  84, 0)   \
    X(Q3_K,     "Q3_K",    256, 110, 0)   \
    X(Q4_K,     "Q4_K",    256, 144, 1)   \
    X(Q5_K,     "Q5_K",    256, 176, 1)   \
    X(Q6_K,     "Q6_K",    256, 210, 1)   \
    X(Q8_K,     "Q8_K",    256, 292, 0)   \
    X(IQ2_XXS,  "IQ2_XXS", 256,  66, 0)   \
    X(IQ2_XS,   "IQ2_XS",  256,  74, 0)   \
    X(IQ3_XXS,  "IQ3_XXS", 256,  98, 0)   \
    X(IQ1_S,    "IQ1_S",   256,  50, 0)   \
    X(IQ4_NL,   "IQ4_NL",   32,  18, 0)   \
    X(IQ3_S,    "IQ3_S",   256, 110, 0)   \
    X(IQ2_S,    "IQ2_S",   256,  82, 0)   \
    X(IQ4_XS,   "IQ4_XS",  256, 136, 0)   \
    X(IQ1_M,    "IQ1_M",   256,  56, 0)   \
    X(TQ1_0,    "TQ1_0",   256,  54, 0)   \
    X(TQ2_0,    "TQ2_0",   256,  66, 0)   \
    X(MXFP4,    "MXFP4",    32,  17, 0)
// clang-format on

enum oct_dtype {
#define OCT_DTYPE_ENUM(id, name, block, bytes, used) OCT_DTYPE_##id,
    OCT_DTYPES(OCT_DTYPE_ENUM)
#undef OCT_DTYPE_ENUM
        OCT_N_DTYPES
};

struct oct_dtype_info {
    const char *name;
    uint32_t block_elems, block_bytes;
    bool used;
};
const struct oct_dtype_info *oct_dtype_info(enum oct_dtype t); /* static */

enum {
    OCT_TENSOR_MAX_DIMS = 8,
    OCT_TENSOR_MAX_NAME = 255, /* bytes; names are 1 to that long */
};

/* One tensor of a checkpoint, checked: it lies inside its file and its size matches its shape. */
struct oct_tensor {
    const char *name; /* NUL-terminated, owned by the source */
    enum oct_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[OCT_TENSOR_MAX_DIMS]; /* row-major, slowest first: a linear weight is [out, in] */
    uint32_t file;                      /* index of the shard */
    uint64_t offset;                    /* bytes from the start of that file */
    uint64_t size_bytes, n_elems;
};

/* Converts n elements (a multiple of the block) at src to fp32, bit for bit as the format defines.
 * The dtype must be `used`. dst and src do not overlap; src has no alignment. */
void oct_dequant(enum oct_dtype t, const void *src, float *dst, size_t n);

#endif
