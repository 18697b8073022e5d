// SPDX-License-Identifier: Apache-2.0
//
// handle.c - which pointers are handles. A dead handle keeps its memory, so that no new one can
// get its address and a stale use is always seen.
#include <stdlib.h>

#include "driver.h"

struct entry {
    void *p;
    enum vg_handle_kind kind;
    bool dead;
};

static struct entry *table; // open addressing, power of two
static size_t n_entries, n_slots;

static size_t slot_of(const void *p, size_t slots)
{
    uint64_t h = (uint64_t)(uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(h >> 20) & (slots - 1);
}

static void put(struct entry *t, size_t slots, struct entry e)
{
    size_t i = slot_of(e.p, slots);
    while (t[i].p != NULL) {
        i = (i + 1) & (slots - 1);
    }
    t[i] = e;
}

static struct entry *find(const void *p)
{
    if (p == NULL || n_slots == 0) {
        return NULL;
    }
    for (size_t i = slot_of(p, n_slots); table[i].p != NULL; i = (i + 1) & (n_slots - 1)) {
        if (table[i].p == p) {
            return &table[i];
        }
    }
    return NULL;
}

void *vg_handle_new(enum vg_handle_kind kind, size_t bytes)
{
    if (n_entries * 2 >= n_slots) {
        size_t more = n_slots ? n_slots * 2 : 1024;
        struct entry *t = calloc(more, sizeof *t);
        if (t == NULL) {
            return NULL;
        }
        for (size_t i = 0; i < n_slots; i++) {
            if (table[i].p != NULL) {
                put(t, more, table[i]);
            }
        }
        free(table);
        table = t;
        n_slots = more;
    }
    void *p = calloc(1, bytes);
    if (p != NULL) {
        put(table, n_slots, (struct entry){.p = p, .kind = kind});
        n_entries++;
    }
    return p;
}

void vg_handle_kill(void *h)
{
    struct entry *e = find(h);
    if (e != NULL) {
        e->dead = true;
    }
}

bool vg_handle_is(const void *h, enum vg_handle_kind kind)
{
    const struct entry *e = find(h);
    return e != NULL && !e->dead && e->kind == kind;
}
