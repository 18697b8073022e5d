// SPDX-License-Identifier: Apache-2.0
// count.c - counters: sums, names, tables; and the two traffic models (sectors, wavefronts).
#include "count.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const count_name[VG_N_COUNT] = {
#define VG_X(name, text) text,
    VG_COUNT_MAP(VG_X)
#undef VG_X
};

struct row {
    char *kernel;
    uint64_t launches;
    struct vg_counts sum;
    struct row *next; // order of first launch
};

static struct row *rows;
static char *shapes[VG_COUNT_SHAPES];
static bool at_exit_set;
// Guards all of the above.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void write_counters(void)
{
    const char *path = getenv("VGPU_COUNTERS");
    if (!path || !*path) {
        return;
    }
    if (strcmp(path, "-") == 0) {
        vg_counts_table(stderr);
        return;
    }
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "vgpu: cannot write the counters to %s\n", path);
        return;
    }
    vg_counts_json(f);
    fclose(f);
}

__attribute__((constructor)) static void arm(void)
{
    if (getenv("VGPU_COUNTERS") && !at_exit_set) {
        at_exit_set = true;
        atexit(write_counters);
    }
}

const char *vg_count_name(enum vg_count c)
{
    return count_name[c];
}

unsigned vg_count_shape_id(const char *spelling)
{
    pthread_mutex_lock(&lock);
    unsigned i = 0;
    while (i < VG_COUNT_SHAPES && shapes[i] && strcmp(shapes[i], spelling) != 0) {
        i++;
    }
    if (i >= VG_COUNT_SHAPES - 1) {
        i = VG_COUNT_SHAPES - 1;
        spelling = "other";
    }
    if (!shapes[i]) {
        shapes[i] = strdup(spelling);
        if (!shapes[i]) {
            abort();
        }
    }
    pthread_mutex_unlock(&lock);
    return i;
}

const char *vg_count_shape_name(unsigned id)
{
    pthread_mutex_lock(&lock);
    const char *s = id < VG_COUNT_SHAPES ? shapes[id] : NULL;
    pthread_mutex_unlock(&lock);
    return s;
}

void vg_counts_add(struct vg_counts *to, const struct vg_counts *from)
{
    for (unsigned i = 0; i < VG_N_COUNT; i++) {
        to->n[i] += from->n[i];
    }
    for (unsigned i = 0; i < VG_COUNT_SHAPES; i++) {
        to->shape[i] += from->shape[i];
    }
}

static struct row *find_row(const char *kernel)
{
    struct row *r = rows;
    while (r && strcmp(r->kernel, kernel) != 0) {
        r = r->next;
    }
    return r;
}

void vg_counts_launch(const char *kernel, const struct vg_counts *c)
{
    pthread_mutex_lock(&lock);
    struct row *r = find_row(kernel);
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r || !(r->kernel = strdup(kernel))) {
            abort();
        }
        struct row **p = &rows;
        while (*p) {
            p = &(*p)->next;
        }
        *p = r;
    }
    r->launches++;
    vg_counts_add(&r->sum, c);
    pthread_mutex_unlock(&lock);
}

uint64_t vg_counts_kernel(const char *kernel, struct vg_counts *c)
{
    pthread_mutex_lock(&lock);
    const struct row *r = find_row(kernel);
    uint64_t n = r ? r->launches : 0;
    if (r && c) {
        *c = r->sum;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

uint64_t vg_counts_named(const struct vg_counts *c, const char *name)
{
    for (unsigned i = 0; i < VG_N_COUNT; i++) {
        if (strcmp(count_name[i], name) == 0) {
            return c->n[i];
        }
    }
    uint64_t n = 0;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < VG_COUNT_SHAPES && shapes[i]; i++) {
        n = strcmp(shapes[i], name) == 0 ? c->shape[i] : n;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

void vg_counts_clear(void)
{
    pthread_mutex_lock(&lock);
    while (rows) {
        struct row *r = rows;
        rows = r->next;
        free(r->kernel);
        free(r);
    }
    pthread_mutex_unlock(&lock);
}

void vg_counts_table(FILE *f)
{
    pthread_mutex_lock(&lock);
    for (const struct row *r = rows; r; r = r->next) {
        fprintf(f, "%s: %llu launch%s\n", r->kernel, (unsigned long long)r->launches,
                r->launches == 1 ? "" : "es");
        for (unsigned i = 0; i < VG_N_COUNT; i++) {
            if (r->sum.n[i]) {
                fprintf(f, "  %-30s %18llu\n", count_name[i], (unsigned long long)r->sum.n[i]);
            }
        }
        for (unsigned i = 0; i < VG_COUNT_SHAPES; i++) {
            if (r->sum.shape[i] && shapes[i]) {
                fprintf(f, "  %-30s %18llu\n", shapes[i], (unsigned long long)r->sum.shape[i]);
            }
        }
    }
    pthread_mutex_unlock(&lock);
}

void vg_counts_json(FILE *f)
{
    pthread_mutex_lock(&lock);
    fputs("{\"kernels\": [", f);
    for (const struct row *r = rows; r; r = r->next) {
        // Kernel names are identifiers of PTX: letters, digits, _ $ %.
        fprintf(f, "%s\n  {\"kernel\": \"%s\", \"launches\": %llu", r == rows ? "" : ",", r->kernel,
                (unsigned long long)r->launches);
        for (unsigned i = 0; i < VG_N_COUNT; i++) {
            fprintf(f, ", \"%s\": %llu", count_name[i], (unsigned long long)r->sum.n[i]);
        }
        fputs(", \"tensor\": {", f);
        const char *comma = "";
        for (unsigned i = 0; i < VG_COUNT_SHAPES; i++) {
            if (r->sum.shape[i] && shapes[i]) {
                fprintf(f, "%s\"%s\": %llu", comma, shapes[i], (unsigned long long)r->sum.shape[i]);
                comma = ", ";
            }
        }
        fputs("}}", f);
    }
    fputs("\n]}\n", f);
    pthread_mutex_unlock(&lock);
}

unsigned vg_count_sectors(const uint64_t addr[32], uint32_t mask, unsigned bytes)
{
    if (mask == 0) {
        return 0;
    }
    unsigned first = (unsigned)__builtin_ctz(mask);
    bool row = true;
    uint64_t lo = addr[first];
    if (mask == 0xFFFFFFFFu) {
        for (unsigned i = 0; i < 32; i++) {
            row &= addr[i] == lo + (uint64_t)i * bytes;
        }
        if (row) {
            return (unsigned)(((lo + 32ull * bytes - 1) >> 5) - (lo >> 5) + 1);
        }
    }
    // Accesses are aligned to their size, so one of up to 32 bytes lies in one sector.
    uint64_t seen[32], last = 0;
    unsigned n = 0;
    bool ascending = true;
    for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t s = addr[__builtin_ctz(m)] >> 5;
        ascending &= s >= last;
        n += s != last || m == mask;
        last = s;
    }
    if (ascending) {
        return n;
    }
    n = 0;
    for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t s = addr[__builtin_ctz(m)] >> 5;
        unsigned k = n;
        while (k > 0 && seen[k - 1] != s) {
            k--;
        }
        if (k == 0) {
            seen[n++] = s;
        }
    }
    return n;
}

unsigned vg_count_waves_ideal(uint32_t mask, unsigned bytes)
{
    unsigned lanes = (unsigned)__builtin_popcount(mask);
    if (lanes == 0) {
        return 0;
    }
    unsigned group = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8, n = 0;
    for (unsigned g = 0; g < 32; g += group) {
        n += (mask >> g & (uint32_t)((UINT64_C(1) << group) - 1)) != 0;
    }
    return n;
}

// Lanes [g, g + group) of one phase, words of a lane in neighbouring banks: the most words that one
// bank has to give.
static unsigned waves_of_phase(const uint32_t off[32], uint32_t lanes, unsigned words)
{
    uint32_t piece[32]; // distinct pieces of `words` words met so far
    uint8_t n[32] = {0};
    unsigned met = 0, worst = 0;
    for (; lanes; lanes &= lanes - 1) {
        uint32_t x = off[__builtin_ctz(lanes)] / 4 / words;
        unsigned k = met;
        while (k > 0 && piece[k - 1] != x) {
            k--;
        }
        if (k == 0) {
            piece[met++] = x;
            unsigned b = x % (32 / words);
            n[b]++;
            worst = n[b] > worst ? n[b] : worst;
        }
    }
    return worst;
}

static unsigned count_waves(const uint32_t off[32], uint32_t mask, unsigned bytes)
{
    // Accesses are aligned to their size, so the words of a lane lie in as many banks.
    unsigned words = bytes <= 4 ? 1 : bytes <= 8 ? 2 : 4, group = 32 / words, waves = 0;
    unsigned more = bytes > 16 ? bytes / 16 : 1; // 32-byte accesses count as two of 16
    for (unsigned g = 0; g < 32; g += group) {
        uint32_t lanes = (uint32_t)(((UINT64_C(1) << group) - 1) << g) & mask;
        if (!lanes) {
            continue;
        }
        uint32_t banks = 0, odd = 0, first = off[__builtin_ctz(lanes)] / 4 / words;
        for (unsigned i = g; i < g + group; i++) {
            uint32_t x = off[i] / 4 / words;
            banks |= 1u << (x % group);
            odd |= x ^ first;
        }
        if (lanes >> g == (uint32_t)((UINT64_C(1) << group) - 1) &&
            (odd == 0 || banks == lanes >> g)) {
            waves += 1; // one word for all, or each lane in banks of its own
        } else {
            waves += waves_of_phase(off, lanes, words);
        }
    }
    return waves * more;
}

// Kernels address shared memory in few patterns: what a pattern costs is remembered. Banks repeat
// after 128 bytes, so the pattern is where lane 0 stands in them and how far the others are.
unsigned vg_count_waves(const uint32_t off[32], uint32_t mask, unsigned bytes)
{
    static _Thread_local struct {
        uint32_t from0[32], mask;
        unsigned bytes, at0, waves;
    } known[64];
    if (mask == 0) {
        return 0;
    }
    if (mask != 0xFFFFFFFFu) {
        return count_waves(off, mask, bytes);
    }
    unsigned at0 = off[0] & 127;
    uint32_t h = (off[1] - off[0]) * 31 + (off[8] - off[0]) * 7 + (off[17] - off[0]) + at0 / 16;
    h = (h >> 4 ^ h >> 10 ^ bytes) % 64;
    uint32_t differ = known[h].mask ^ mask;
    for (unsigned i = 0; i < 32; i++) {
        differ |= (off[i] - off[0]) ^ known[h].from0[i];
    }
    if (differ || known[h].bytes != bytes || known[h].at0 != at0) {
        for (unsigned i = 0; i < 32; i++) {
            known[h].from0[i] = off[i] - off[0];
        }
        known[h].mask = mask;
        known[h].bytes = bytes;
        known[h].at0 = at0;
        known[h].waves = count_waves(off, mask, bytes);
    }
    return known[h].waves;
}
