// SPDX-License-Identifier: Apache-2.0
// report.c - the list of findings, and its JSON.
#include "report.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 4096 }; // distinct places; later ones are only counted

static struct vg_finding_rec *records[MAX_RECORDS];
static unsigned n_records;
static uint64_t n_lost;
static bool quiet, at_exit_set;
// Guards all of the above.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const kind_name[VG_KIND_COUNT] = {
#define VG_X(name, text, help) text,
    VG_KIND_MAP(VG_X)
#undef VG_X
};

const char *vg_kind_name(enum vg_kind kind)
{
    return kind_name[kind];
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static char *copy_text(const char *s)
{
    return s ? strdup(s) : NULL;
}

static void write_report(void)
{
    const char *path = getenv("VGPU_REPORT");
    if (!path || !*path) {
        return;
    }
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "vgpu: cannot write the report to %s\n", path);
        return;
    }
    vg_findings_json(f);
    fclose(f);
}

// A run without findings writes its (empty) report too.
__attribute__((constructor)) static void arm(void)
{
    if (getenv("VGPU_REPORT") && !at_exit_set) {
        at_exit_set = true;
        atexit(write_report);
    }
}

static void print(const struct vg_finding_rec *r)
{
    const struct vg_where *w = &r->where;
    fprintf(stderr, "vgpu: %s: %s", kind_name[r->kind], r->message);
    if (w->kernel) {
        fprintf(stderr, " [kernel %s", w->kernel);
        if (w->file) {
            fprintf(stderr, ", %s:%u", w->file, w->line);
        }
        fprintf(stderr, ", PTX line %u, CTA (%u,%u,%u), warp %u", w->ptx_line, w->cta[0], w->cta[1],
                w->cta[2], w->warp);
        if (w->lane >= 0) {
            fprintf(stderr, ", lane %d", w->lane);
        }
        fputs("]", stderr);
    }
    fputs("\n", stderr);
}

void vg_finding(enum vg_kind kind, const struct vg_where *w, const char *fmt, ...)
{
    static const struct vg_where nowhere = {.lane = -1};
    if (!w) {
        w = &nowhere;
    }
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    struct vg_finding_rec *r = NULL;
    for (unsigned i = 0; i < n_records && !r; i++) {
        struct vg_finding_rec *q = records[i];
        if (q->kind == kind && q->where.ptx_line == w->ptx_line &&
            same_text(q->where.kernel, w->kernel) && (w->kernel || same_text(q->message, text))) {
            r = q;
        }
    }
    if (r) {
        r->count++;
    } else if (n_records == MAX_RECORDS) {
        n_lost++;
    } else {
        r = calloc(1, sizeof(*r));
        if (!r) {
            abort();
        }
        r->kind = kind;
        r->where = *w;
        r->where.kernel = copy_text(w->kernel);
        r->where.file = copy_text(w->file);
        r->message = copy_text(text);
        r->count = 1;
        records[n_records++] = r;
        if (!quiet) {
            print(r);
        }
    }
    pthread_mutex_unlock(&lock);
}

unsigned vg_findings(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = n_records;
    pthread_mutex_unlock(&lock);
    return n;
}

const struct vg_finding_rec *vg_finding_at(unsigned i)
{
    pthread_mutex_lock(&lock);
    const struct vg_finding_rec *r = i < n_records ? records[i] : NULL;
    pthread_mutex_unlock(&lock);
    return r;
}

void vg_findings_clear(void)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_records; i++) {
        free((void *)(uintptr_t)records[i]->where.kernel);
        free((void *)(uintptr_t)records[i]->where.file);
        free(records[i]->message);
        free(records[i]);
        records[i] = NULL;
    }
    n_records = 0;
    n_lost = 0;
    pthread_mutex_unlock(&lock);
}

void vg_findings_print(bool on)
{
    pthread_mutex_lock(&lock);
    quiet = !on;
    pthread_mutex_unlock(&lock);
}

static void json_text(FILE *f, const char *s)
{
    if (!s) {
        fputs("null", f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            fprintf(f, "\\u%04x", c);
        } else {
            fputc(c, f);
        }
    }
    fputc('"', f);
}

void vg_findings_json(FILE *f)
{
    pthread_mutex_lock(&lock);
    fputs("{\"findings\": [", f);
    for (unsigned i = 0; i < n_records; i++) {
        const struct vg_finding_rec *r = records[i];
        const struct vg_where *w = &r->where;
        fprintf(f, "%s\n  {\"kind\": \"%s\", \"count\": %llu, \"message\": ", i ? "," : "",
                kind_name[r->kind], (unsigned long long)r->count);
        json_text(f, r->message);
        fputs(", \"kernel\": ", f);
        json_text(f, w->kernel);
        fputs(", \"file\": ", f);
        json_text(f, w->file);
        fprintf(
            f,
            ", \"line\": %u, \"ptx_line\": %u, \"cta\": [%u, %u, %u], \"warp\": %u, \"lane\": %d}",
            w->line, w->ptx_line, w->cta[0], w->cta[1], w->cta[2], w->warp, w->lane);
    }
    fprintf(f, "\n], \"lost\": %llu}\n", (unsigned long long)n_lost);
    pthread_mutex_unlock(&lock);
}
