/* SPDX-License-Identifier: Apache-2.0
 *
 * source.h - a checkpoint as it lies on disk: a Hugging Face directory or a GGUF file (with its
 * splits). Opening parses and checks every header and gives the list of tensors; nothing of the
 * weights is read until asked for. Whatever bytes the files hold, the answer is a status. */
#ifndef OCT_MODEL_SOURCE_H
#define OCT_MODEL_SOURCE_H

#include "model/gguf.h"
#include "model/tensor.h"

#include "base/io.h"

#include <jansson.h>

enum oct_source_kind { OCT_SOURCE_HF, OCT_SOURCE_GGUF };

struct oct_source {
    enum oct_source_kind kind;
    char *path; /* owned: the directory, or the first GGUF file */
    struct oct_file *files;
    uint32_t n_files;
    struct oct_tensor *tensors; /* sorted by name */
    uint32_t n_tensors;
    struct oct_gguf *gguf;     /* owned; metadata of the first file. NULL for HF */
    json_t *config;            /* owned; config.json. NULL for GGUF */
    json_t *generation_config; /* owned; NULL if there is none */
    json_t *tokenizer_config;  /* owned; tokenizer_config.json, NULL if there is none */
    struct oct_arena arena;    /* names */
};

/* path: a directory with config.json and safetensors files, or a .gguf file (any split of a set).
 * A model.safetensors.index.json decides over model.safetensors. */
OCT_CHECKED oct_status oct_source_open(const char *path, struct oct_source **out);
void oct_source_close(struct oct_source *s); /* NULL is fine */

/* NULL if there is none. */
const struct oct_tensor *oct_source_find(const struct oct_source *s, const char *name);

/* Reads size bytes of the tensor from byte `offset` of it. Checked against the tensor's size. Safe
 * from several threads. */
OCT_CHECKED oct_status oct_source_read(const struct oct_source *s, const struct oct_tensor *t,
                                       uint64_t offset, void *dst, size_t size);

/* Elements [first, first + n) of the tensor (multiples of its block) as fp32. Safe from several
 * threads. OCT_E_UNSUPPORTED names tensor and dtype if this build cannot read it. */
OCT_CHECKED oct_status oct_source_read_f32(const struct oct_source *s, const struct oct_tensor *t,
                                           uint64_t first, float *dst, size_t n);

#endif
