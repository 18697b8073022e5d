/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny_parts.h - what tiny.c and tiny_gguf.c share; tests include tiny.h. */
#ifndef OCT_TEST_TINY_PARTS_H
#define OCT_TEST_TINY_PARTS_H

#include "support/tiny.h"

#include <stdarg.h>

struct oct_tiny_tensor {
    char hf[96], gguf[64];
    int32_t rows, cols;    /* cols 0: a vector */
    int32_t permute_heads; /* over 0: GGUF stores the rows of that many heads interleaved */
};

/* Every tensor in file order; *out is given away. Returns how many. */
size_t oct_tiny_list(const struct oct_tiny *t, struct oct_tiny_tensor **out);
/* The tensor's values in fp32, Hugging Face order; given away. */
float *oct_tiny_tensor_values(const struct oct_tiny *t, const struct oct_tiny_tensor *x, size_t *n);
int32_t oct_tiny_head_dim(const struct oct_tiny *t);

extern const char *const oct_tiny_specials[3];
extern const char *const oct_tiny_merges[6][2];
extern const char oct_tiny_template[];
/* Text of token id, which is below OCT_TINY_N_TOKENS. */
void oct_tiny_token(int32_t id, char text[16]);

#endif
