/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_reader.h - private to the gguf*.c files: a bounds-checked cursor over a GGUF file. It keeps
 * a small window of the file, so a header is never in memory twice. */
#ifndef OCT_MODEL_GGUF_READER_H
#define OCT_MODEL_GGUF_READER_H

#include "model/gguf.h"

enum { OCT_GR_QUOTED = 128 };

struct oct_gguf_reader {
    const struct oct_file *f;
    uint64_t pos; /* of the next byte to hand out */
    char *window; /* owned: window_len bytes of the file from window_at */
    uint64_t window_at;
    size_t window_len;
    struct oct_gguf *g;
    char *text; /* the rest of a chunk of the arena: short strings lie one behind the other */
    size_t text_left;
    char what[OCT_GR_QUOTED + 16]; /* "key \"...\"", "tensor \"...\"": for sentences */
};

/* Sets r->what to: kind "name". */
void oct_gr_what(struct oct_gguf_reader *r, const char *kind, struct oct_gguf_str name);
/* Stores "<file>: <what> <text>" and returns st. */
__attribute__((format(printf, 3, 4))) oct_status oct_gr_bad(const struct oct_gguf_reader *r,
                                                            oct_status st, const char *fmt, ...);

static inline uint64_t oct_gr_left(const struct oct_gguf_reader *r)
{
    return r->f->size_bytes - r->pos;
}
/* OCT_E_FORMAT if fewer than n bytes remain. */
OCT_CHECKED oct_status oct_gr_need(const struct oct_gguf_reader *r, uint64_t n);
OCT_CHECKED oct_status oct_gr_take(struct oct_gguf_reader *r, void *dst, size_t n);
OCT_CHECKED oct_status oct_gr_u32(struct oct_gguf_reader *r, uint32_t *out);
OCT_CHECKED oct_status oct_gr_u64(struct oct_gguf_reader *r, uint64_t *out);
/* A length, at most max and at most what remains, then that many bytes, NUL-terminated. */
OCT_CHECKED oct_status oct_gr_string(struct oct_gguf_reader *r, uint64_t max,
                                     struct oct_gguf_str *out);
/* A string of 1 to max bytes without NUL; afterwards r->what is kind "name". */
OCT_CHECKED oct_status oct_gr_name(struct oct_gguf_reader *r, const char *kind, uint64_t index,
                                   uint64_t max, struct oct_gguf_str *out);
/* Zeroed memory of the file's arena, or NULL. */
void *oct_gr_alloc(struct oct_gguf_reader *r, size_t n);

/* g->n_tensors infos from the cursor on, then the checks of all of them together (gguf_tensors.c).
 */
OCT_CHECKED oct_status oct_gr_tensors(struct oct_gguf_reader *r);

#endif
