/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"

#include "base/bf16.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *hf, *gguf;
} role_names[] = {
#define ROLE_NAMES(id, hf, gguf) {hf, gguf},
    OCT_ROLES(ROLE_NAMES)
#undef ROLE_NAMES
};

enum { NAME_BYTES = 96 };

/* Writes `format` with its one %d, if it has one, replaced by layer. */
static void role_name(const struct oct_source *s, enum oct_role role, int layer, char *name)
{
    const char *format = s->kind == OCT_SOURCE_HF ? role_names[role].hf : role_names[role].gguf;
    const char *hole = strstr(format, "%d");
    if (hole) {
        (void)snprintf(name, NAME_BYTES, "%.*s%d%s", (int)(hole - format), format, layer, hole + 2);
    } else {
        (void)snprintf(name, NAME_BYTES, "%s", format);
    }
}

bool oct_weights_has(const struct oct_source *s, enum oct_role role, int layer)
{
    char name[NAME_BYTES];
    role_name(s, role, layer, name);
    return name[0] && oct_source_find(s, name);
}

static void shape_text(const struct oct_tensor *t, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < t->n_dims && at < size; i++) {
        const int n = snprintf(text + at, size - at, "%s%" PRIu64, i ? ", " : "", t->dims[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

oct_status oct_weights_find(const struct oct_source *s, enum oct_role role, int layer, int64_t rows,
                            int64_t cols, const struct oct_tensor **out)
{
    char name[NAME_BYTES], shape[160];
    role_name(s, role, layer, name);
    const struct oct_tensor *t = oct_source_find(s, name);
    if (!t) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: tensor %s is missing; the model's configuration needs it", s->path,
                        name);
    }
    const uint32_t want_dims = cols ? 2 : 1;
    if (t->n_dims != want_dims || t->dims[0] != (uint64_t)rows ||
        (cols && t->dims[1] != (uint64_t)cols)) {
        shape_text(t, shape, sizeof shape);
        return cols ? OCT_FAIL(OCT_E_FORMAT,
                               "%s: tensor %s has shape [%s]; the configuration says [%" PRId64
                               ", %" PRId64 "]",
                               s->path, name, shape, rows, cols)
                    : OCT_FAIL(OCT_E_FORMAT,
                               "%s: tensor %s has shape [%s]; the configuration says [%" PRId64 "]",
                               s->path, name, shape, rows);
    }
    const struct oct_dtype_info *info = oct_dtype_info(t->dtype);
    if (!info->used) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: tensor %s is stored as %s, which this version cannot compute with; "
                        "use a checkpoint in BF16, F16, F32, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q4_K "
                        "to Q6_K",
                        s->path, name, info->name);
    }
    const uint64_t row_elems = cols ? (uint64_t)cols : (uint64_t)rows;
    if (row_elems % info->block_elems != 0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: tensor %s: rows of %" PRIu64 " elements do not fill %s blocks of %u",
                        s->path, name, row_elems, info->name, info->block_elems);
    }
    *out = t;
    return OCT_OK;
}

/* Where row r of a head comes to lie: GGUF has pairs (2i, 2i+1), we keep (i, i + D/2). */
static int64_t unpermuted(int64_t r, int32_t head_dim)
{
    const int64_t head = r / head_dim, in = r % head_dim;
    return head * head_dim + (in % 2) * (head_dim / 2) + in / 2;
}

static void store_row(const float *src, int64_t n, enum oct_storage store, void *dst)
{
    if (store == OCT_STORE_F32) {
        memcpy(dst, src, (size_t)n * sizeof(float));
        return;
    }
    uint16_t *d = dst;
    for (int64_t i = 0; i < n; i++) {
        d[i] = oct_f32_to_bf16(src[i]);
    }
}

/* Vectors and narrow matrices are read in one piece of whole rows, wide ones a few rows at a time.
 */
enum { PIECE_BYTES = 1 << 20 };

oct_status oct_weights_read(const struct oct_source *s, const struct oct_tensor *t, int64_t rows,
                            int64_t cols, int32_t head_dim, enum oct_storage store, void *dst)
{
    const int64_t width = store == OCT_STORE_F32 ? 4 : 2;
    const bool vector = cols == 1; /* blocks run along the rows: cannot be cut between them */
    const int64_t per_piece = vector                    ? rows
                              : cols * 4 >= PIECE_BYTES ? 1
                                                        : PIECE_BYTES / (cols * 4);
    const int64_t n_pieces = (rows + per_piece - 1) / per_piece;
    oct_status st = OCT_OK;
    char why[1024] = "";
    bool failed = false;
#pragma omp parallel for schedule(dynamic) if (n_pieces > 1)
    for (int64_t piece = 0; piece < n_pieces; piece++) {
        bool stop;
#pragma omp atomic read
        stop = failed;
        if (stop) {
            continue;
        }
        const int64_t first = piece * per_piece;
        const int64_t n = first + per_piece > rows ? rows - first : per_piece;
        const size_t bytes = (size_t)(n * cols) * sizeof(float);
        float *buf = oct_malloc(bytes);
        oct_status my =
            buf ? oct_source_read_f32(s, t, (uint64_t)(first * cols), buf, (size_t)(n * cols))
                : oct_no_memory("reading weights", bytes);
        for (int64_t r = 0; my == OCT_OK && r < n; r++) {
            const int64_t to = head_dim ? unpermuted(first + r, head_dim) : first + r;
            store_row(buf + r * cols, cols, store, (char *)dst + to * cols * width);
        }
        oct_free(buf);
        if (my != OCT_OK) { /* the sentence lives on this worker's thread: carry it over */
#pragma omp critical(oct_weights_failed)
            if (st == OCT_OK) {
                st = my;
                (void)snprintf(why, sizeof why, "%s", oct_last_error());
            }
#pragma omp atomic write
            failed = true;
        }
    }
    return st == OCT_OK ? OCT_OK : OCT_FAIL(st, "%s", why);
}
