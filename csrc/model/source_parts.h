/* SPDX-License-Identifier: Apache-2.0
 *
 * source_parts.h - private to the source*.c files: the two ways a checkpoint lies on disk. Each
 * fills files, tensors (not yet sorted) and its metadata; oct_source_open does the rest and frees
 * everything if one of them fails. */
#ifndef OCT_MODEL_SOURCE_PARTS_H
#define OCT_MODEL_SOURCE_PARTS_H

#include "model/safetensors.h"
#include "model/source.h"

enum { OCT_SOURCE_MAX_FILES = 4096 };

/* s->path is the directory. */
OCT_CHECKED oct_status oct_source_open_hf(struct oct_source *s, struct oct_tensor_list *list);
/* s->path is the file that was named; becomes the first of its set. */
OCT_CHECKED oct_status oct_source_open_gguf(struct oct_source *s, struct oct_tensor_list *list);

/* s->files for n files, all closed. */
OCT_CHECKED oct_status oct_source_alloc_files(struct oct_source *s, uint32_t n);

#endif
