/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"

#include "base/bf16.h"
#include "base/mem.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
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

struct reading {
    const struct oct_source *s;
    const struct oct_tensor *t;
    int64_t rows, cols, per_piece;
    int32_t head_dim;
    enum oct_storage store;
    char *dst;
    pthread_mutex_t lock; /* of what follows; no other lock is taken under it */
    oct_status st;        /* the first failure: its sentence lives on a worker's thread, so that */
    char why[1024];       /* the caller has to be told */
};

static oct_status read_piece(const struct reading *r, int64_t first, int64_t n)
{
    const int64_t width = r->store == OCT_STORE_F32 ? 4 : 2;
    const size_t bytes = (size_t)(n * r->cols) * sizeof(float);
    float *buf = oct_malloc(bytes);
    if (!buf) {
        return oct_no_memory("reading weights", bytes);
    }
    const oct_status st =
        oct_source_read_f32(r->s, r->t, (uint64_t)(first * r->cols), buf, (size_t)(n * r->cols));
    for (int64_t i = 0; st == OCT_OK && i < n; i++) {
        const int64_t to = r->head_dim ? unpermuted(first + i, r->head_dim) : first + i;
        store_row(buf + i * r->cols, r->cols, r->store, r->dst + to * r->cols * width);
    }
    oct_free(buf);
    return st;
}

static void read_pieces(void *arg, int64_t begin, int64_t end, int thread)
{
    struct reading *r = arg;
    (void)thread;
    for (int64_t piece = begin; piece < end; piece++) {
        (void)pthread_mutex_lock(&r->lock);
        const bool go_on = r->st == OCT_OK;
        (void)pthread_mutex_unlock(&r->lock);
        if (!go_on) {
            return;
        }
        const int64_t first = piece * r->per_piece;
        const int64_t n = r->rows - first < r->per_piece ? r->rows - first : r->per_piece;
        const oct_status st = read_piece(r, first, n);
        if (st != OCT_OK) {
            (void)pthread_mutex_lock(&r->lock);
            if (r->st == OCT_OK) {
                r->st = st;
                (void)snprintf(r->why, sizeof r->why, "%s", oct_last_error());
            }
            (void)pthread_mutex_unlock(&r->lock);
            return;
        }
    }
}

oct_status oct_weights_read(const struct oct_source *s, const struct oct_tensor *t, int64_t rows,
                            int64_t cols, int32_t head_dim, enum oct_storage store,
                            struct oct_pool *pool, void *dst)
{
    struct reading r = {.s = s,
                        .t = t,
                        .rows = rows,
                        .cols = cols,
                        .head_dim = head_dim,
                        .store = store,
                        .dst = dst,
                        .lock = PTHREAD_MUTEX_INITIALIZER};
    /* Of a vector, blocks run along the rows: it cannot be cut between them. */
    r.per_piece = cols == 1 ? rows : cols * 4 >= PIECE_BYTES ? 1 : PIECE_BYTES / (cols * 4);
    oct_pool_run(pool, INT_MAX, (rows + r.per_piece - 1) / r.per_piece, 1, read_pieces, &r);
    (void)pthread_mutex_destroy(&r.lock);
    return r.st == OCT_OK ? OCT_OK : OCT_FAIL(r.st, "%s", r.why);
}
