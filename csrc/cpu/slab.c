/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/slab.h"

#include "base/mem.h"
#include "cpu/machine.h"

/* What nobody has written to costs no memory, so a slab may be larger than a small model. */
enum { SLAB_BYTES = 32 << 20, PIECE_ALIGN = 256 };

/* Stands at the front of its own memory. */
struct oct_cpu_slab {
    struct oct_cpu_slab *next;
    size_t bytes, used; /* of all, this included */
    int64_t n_pieces;   /* in use */
};

static bool slab_fits(const struct oct_cpu_slab *s, size_t bytes)
{
    return s && s->bytes - s->used >= bytes;
}

char *oct_cpu_slab_take(struct oct_cpu *d, size_t bytes, struct oct_cpu_slab **slab)
{
    size_t piece, all;
    if (__builtin_add_overflow(bytes, PIECE_ALIGN - 1, &piece) ||
        __builtin_add_overflow(piece &= ~(size_t)(PIECE_ALIGN - 1), PIECE_ALIGN, &all)) {
        return NULL;
    }
    struct oct_cpu_slab *s = d->slabs;
    if (!slab_fits(s, piece)) {
        all = all > SLAB_BYTES ? all : SLAB_BYTES;
        s = oct_aligned_alloc(OCT_HUGE_PAGE, all);
        if (!s) {
            return NULL;
        }
        oct_machine_want_huge_pages(s, all);
        *s = (struct oct_cpu_slab){.next = d->slabs, .bytes = all, .used = PIECE_ALIGN};
        d->slabs = s;
    }
    char *p = (char *)s + s->used;
    s->used += piece;
    s->n_pieces++;
    *slab = s;
    return p;
}

void oct_cpu_slab_give(struct oct_cpu *d, struct oct_cpu_slab *slab)
{
    OCT_ASSERT(slab->n_pieces > 0);
    if (--slab->n_pieces > 0) {
        return;
    }
    struct oct_cpu_slab **at = &d->slabs;
    while (*at != slab) {
        at = &(*at)->next;
    }
    *at = slab->next;
    oct_free(slab);
}
