// SPDX-License-Identifier: Apache-2.0
// Modules: variables in device memory, facts of kernels, programs made at first launch.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dec.h"
#include "exec.h"
#include "mem.h"
#include "run.h"

// Guards the making of programs, so that two streams do not decode a kernel at once.
static pthread_mutex_t decode_lock = PTHREAD_MUTEX_INITIALIZER;

static bool place_var(struct vg_module *m, struct ptx_var *v, char *err, size_t n)
{
    if (v->is_extern && v->space != PTX_SHARED) {
        snprintf(err, n, "unresolved extern variable %s", v->name);
        return false;
    }
    if (v->space != PTX_GLOBAL && v->space != PTX_CONST) {
        return true;
    }
    char what[128];
    snprintf(what, sizeof(what), "module variable %.100s", v->name);
    v->at = vg_mem_alloc(m->device, v->bytes ? v->bytes : 1, v->align, what);
    if (!v->at) {
        snprintf(err, n, "out of device memory for variable %s", v->name);
        return false;
    }
    m->blocks[m->n_blocks++] = v->at;
    return true;
}

static bool find_address(const struct vg_module *m, const char *name, uint64_t *at)
{
    for (uint32_t i = 0; i < m->ptx->n_var; i++) {
        if (strcmp(m->ptx->var[i]->name, name) == 0) {
            *at = m->ptx->var[i]->at;
            return true;
        }
    }
    for (uint32_t i = 0; i < m->ptx->n_func; i++) {
        if (strcmp(m->ptx->func[i]->name, name) == 0) {
            *at = VG_FUNC_TAG | m->ptx->func[i]->index;
            return true;
        }
    }
    return false;
}

static bool init_var(struct vg_module *m, const struct ptx_var *v, char *err, size_t n)
{
    if (v->space != PTX_GLOBAL && v->space != PTX_CONST) {
        return true;
    }
    uint8_t *bytes = calloc(1, v->bytes + 1);
    if (!bytes) {
        snprintf(err, n, "out of memory for variable %s", v->name);
        return false;
    }
    if (v->init) {
        memcpy(bytes, v->init, v->bytes);
    }
    bool ok = true;
    for (uint32_t i = 0; ok && i < v->n_relocs; i++) {
        uint64_t at;
        ok = find_address(m, v->relocs[i].symbol, &at);
        if (ok) {
            at += (uint64_t)v->relocs[i].addend;
            memcpy(bytes + v->relocs[i].offset, &at, 8);
        } else {
            snprintf(err, n, "unknown symbol %s in the initial value of %s", v->relocs[i].symbol,
                     v->name);
        }
    }
    if (ok && v->bytes && !vg_mem_host_write(v->at, bytes, v->bytes)) {
        snprintf(err, n, "cannot write variable %s", v->name);
        ok = false;
    }
    free(bytes);
    return ok;
}

static void kernel_facts(struct vg_module *m, struct ptx_func *f, struct vg_kernel *k)
{
    uint32_t *offset = calloc(f->n_param + 1, sizeof(*offset));
    uint32_t *bytes = calloc(f->n_param + 1, sizeof(*bytes));
    if (!offset || !bytes) {
        abort();
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < f->n_param; i++) {
        struct ptx_var *v = f->param[i];
        at = (at + v->align - 1) & ~(uint64_t)(v->align - 1);
        v->at = at;
        offset[i] = (uint32_t)at;
        bytes[i] = (uint32_t)v->bytes;
        at += v->bytes;
    }
    *k = (struct vg_kernel){.name = f->name,
                            .module = m,
                            .n_params = f->n_param,
                            .param_offset = offset,
                            .param_bytes = bytes,
                            .params_bytes = (uint32_t)at,
                            .sm = m->ptx->sm,
                            .max_threads = 1024};
    uint64_t shared = 0, local = 0;
    for (uint32_t i = 0; i < f->n_var + m->ptx->n_var; i++) {
        const struct ptx_var *v = i < f->n_var ? f->var[i] : m->ptx->var[i - f->n_var];
        uint64_t *sum = v->space == PTX_SHARED ? &shared : v->space == PTX_LOCAL ? &local : NULL;
        if (sum && !v->is_extern) {
            *sum = ((*sum + v->align - 1) & ~(uint64_t)(v->align - 1)) + v->bytes;
        }
        k->const_bytes += v->space == PTX_CONST ? (uint32_t)v->bytes : 0;
    }
    k->shared_bytes = (uint32_t)shared;
    k->local_bytes = (uint32_t)local;
    memcpy(k->maxntid, f->maxntid, sizeof(k->maxntid));
    memcpy(k->reqntid, f->reqntid, sizeof(k->reqntid));
    memcpy(k->cluster, f->cluster, sizeof(k->cluster));
    const uint32_t *limit = f->reqntid[0] ? f->reqntid : f->maxntid;
    if (limit[0]) {
        k->max_threads = limit[0] * limit[1] * limit[2];
    }
    // ptxas' choice cannot be known here: what fits the given bounds, a usual number otherwise.
    k->regs = f->maxnreg ? f->maxnreg : k->max_threads * 64 > 65536 ? 65536 / k->max_threads : 64;
}

void vg_module_measured(struct vg_module *m, unsigned i, uint32_t regs, uint32_t local_bytes)
{
    m->kernel[i].regs = regs;
    m->kernel[i].local_bytes = local_bytes;
}

struct vg_module *vg_module_load(const char *ptx, size_t bytes, int device, char *err,
                                 size_t err_bytes)
{
    struct vg_module *m = calloc(1, sizeof(*m));
    if (!m) {
        snprintf(err, err_bytes, "out of memory");
        return NULL;
    }
    m->device = device;
    m->ptx = ptx_parse(ptx, bytes, err, err_bytes);
    if (!m->ptx) {
        free(m);
        return NULL;
    }
    m->blocks = calloc(m->ptx->n_var + 1, sizeof(*m->blocks));
    m->kernel = calloc(m->ptx->n_func + 1, sizeof(*m->kernel));
    m->program = calloc(m->ptx->n_func + 1, sizeof(*m->program));
    m->program_err = calloc(m->ptx->n_func + 1, sizeof(*m->program_err));
    if (!m->blocks || !m->kernel || !m->program || !m->program_err) {
        abort();
    }
    bool ok = true;
    for (uint32_t i = 0; ok && i < m->ptx->n_var; i++) {
        ok = place_var(m, m->ptx->var[i], err, err_bytes);
    }
    for (uint32_t i = 0; ok && i < m->ptx->n_var; i++) {
        ok = init_var(m, m->ptx->var[i], err, err_bytes);
    }
    if (!ok) {
        vg_module_free(m);
        return NULL;
    }
    for (uint32_t i = 0; i < m->ptx->n_func; i++) {
        if (m->ptx->func[i]->is_entry && !m->ptx->func[i]->is_decl) {
            kernel_facts(m, m->ptx->func[i], &m->kernel[m->n_kernels++]);
        }
    }
    return m;
}

void vg_module_free(struct vg_module *m)
{
    if (!m) {
        return;
    }
    for (uint32_t i = 0; i < m->n_blocks; i++) {
        vg_mem_free(m->blocks[i]);
    }
    for (uint32_t i = 0; i < m->n_kernels; i++) {
        free((void *)m->kernel[i].param_offset);
        free((void *)m->kernel[i].param_bytes);
        vg_program_free(m->program[i]);
        free(m->program_err[i]);
    }
    free(m->blocks);
    free(m->kernel);
    free(m->program);
    free(m->program_err);
    ptx_free(m->ptx);
    free(m);
}

unsigned vg_module_kernels(const struct vg_module *m)
{
    return m->n_kernels;
}
const struct vg_kernel *vg_module_kernel_at(const struct vg_module *m, unsigned i)
{
    return i < m->n_kernels ? &m->kernel[i] : NULL;
}
const struct vg_kernel *vg_module_kernel(const struct vg_module *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_kernels; i++) {
        if (strcmp(m->kernel[i].name, name) == 0) {
            return &m->kernel[i];
        }
    }
    return NULL;
}

bool vg_module_global(const struct vg_module *m, const char *name, uint64_t *addr, uint64_t *bytes)
{
    for (uint32_t i = 0; i < m->ptx->n_var; i++) {
        const struct ptx_var *v = m->ptx->var[i];
        if (strcmp(v->name, name) == 0 && (v->space == PTX_GLOBAL || v->space == PTX_CONST)) {
            *addr = v->at;
            *bytes = v->bytes;
            return true;
        }
    }
    return false;
}

uint32_t vg_module_sm(const struct vg_module *m)
{
    return m->ptx->sm;
}

const char *vg_module_file(const struct vg_module *m, uint32_t index)
{
    return index < m->ptx->n_file ? m->ptx->file[index] : NULL;
}

struct vg_program *vg_kernel_program(const struct vg_kernel *k, char *err, size_t err_bytes)
{
    struct vg_module *m = k->module;
    uint32_t i = (uint32_t)(k - m->kernel);
    pthread_mutex_lock(&decode_lock);
    if (!m->program[i] && !m->program_err[i]) {
        char text[256] = "";
        const struct ptx_func *f = NULL;
        for (uint32_t j = 0; j < m->ptx->n_func; j++) {
            if (m->ptx->func[j]->name == k->name) {
                f = m->ptx->func[j];
            }
        }
        m->program[i] = vg_decode(m, f, text, sizeof(text));
        if (!m->program[i]) {
            m->program_err[i] = strdup(text);
        } else {
            m->kernel[i].talks = m->program[i]->talks;
            m->kernel[i].shared_bytes = m->program[i]->shared_bytes;
        }
    }
    if (m->program_err[i]) {
        snprintf(err, err_bytes, "%s", m->program_err[i]);
    }
    struct vg_program *p = m->program[i];
    pthread_mutex_unlock(&decode_lock);
    return p;
}
