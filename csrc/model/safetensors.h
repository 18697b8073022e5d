/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors.h - private to the room: the header of one safetensors file (huggingface/safetensors,
 * README "Format"), with every rule of the format checked. */
#ifndef OCT_MODEL_SAFETENSORS_H
#define OCT_MODEL_SAFETENSORS_H

#include "base/io.h"
#include "base/mem.h"
#include "model/tensor.h"

enum {
    OCT_SAFETENSORS_MAX_HEADER = 100000000, /* bytes; the format's own */
    OCT_SAFETENSORS_MAX_TENSORS = 1 << 17,  /* in one file */
};

/* A growing list; oct_free(at). */
struct oct_tensor_list {
    struct oct_tensor *at;
    uint32_t n, cap;
};

/* Appends the tensors of f in the order of their data, with `file` as their file number and names
 * in the arena. On failure the list may hold some of them. */
OCT_CHECKED oct_status oct_safetensors_read(const struct oct_file *f, uint32_t file,
                                            struct oct_arena *names, struct oct_tensor_list *list);

/* Room for n more. */
OCT_CHECKED oct_status oct_tensor_list_reserve(struct oct_tensor_list *list, uint64_t n);

#endif
