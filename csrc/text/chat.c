/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.c - the two calls of chat.h over the parts in jinja_*.c. */
#include "text/chat.h"

#include "base/clock.h"
#include "text/jinja_run.h"

oct_status oct_template_compile(const char *source, size_t len, struct oct_template **out)
{
    struct oct_template *t = oct_calloc(1, sizeof *t);
    struct oct_jtok *tokens;
    uint32_t n_tokens;
    oct_status st;
    if (!t) {
        return oct_no_memory("a chat template", sizeof *t);
    }
    OCT_TRY_GOTO(oct_jinja_lex(t, source, len, &tokens, &n_tokens), st, fail);
    OCT_TRY_GOTO(oct_jinja_parse(t, tokens), st, fail);
    OCT_TRY_GOTO(oct_jinja_resolve(t), st, fail);
    *out = t;
    return OCT_OK;
fail:
    if (st == OCT_E_MEM && t->over_limit) {
        st = OCT_E_LIMIT;
    }
    oct_template_destroy(t);
    return st;
}

void oct_template_destroy(struct oct_template *t)
{
    if (t) {
        oct_arena_free(&t->arena);
        oct_free(t);
    }
}

static oct_status run(struct oct_jr *r)
{
    const struct oct_template *t = r->t;
    r->resolved = oct_jr_alloc(r, t->n_names, sizeof *r->resolved);
    if (!r->resolved) {
        return oct_jr_out_of_memory(r);
    }
    return oct_jr_run_root(r);
}

static oct_status render(const struct oct_template *t, const json_t *vars, int64_t now_s,
                         struct oct_jorigin *origin, struct oct_buf *out, struct oct_buf *own_bytes)
{
    if (!json_is_object(vars)) {
        return OCT_FAIL(OCT_E_ARG, "the variables of a chat template must be a JSON object");
    }
    const size_t len_before = out->len;
    struct oct_jr r = {.t = t,
                       .vars = vars,
                       .now_s = now_s < 0 ? oct_clock_wall_s() : now_s,
                       .out = {.max_bytes = OCT_JINJA_MAX_OUTPUT},
                       .origin = origin};
    oct_status st = run(&r);
    if (st == OCT_OK && r.out.len) {
        st = oct_buf_append(out, r.out.data, r.out.len);
    }
    if (st == OCT_OK && r.out.len && origin) {
        st = oct_buf_append(own_bytes, origin->out.data, r.out.len);
    }
    if (st != OCT_OK && out->data) {
        out->len = len_before;
        out->data[out->len] = '\0';
    }
    oct_buf_free(&r.out);
    oct_arena_free(&r.arena);
    return st;
}

oct_status oct_template_render(const struct oct_template *t, const json_t *vars, int64_t now_s,
                               struct oct_buf *out)
{
    return render(t, vars, now_s, NULL, out, NULL);
}

oct_status oct_template_render_marked(const struct oct_template *t, const json_t *vars,
                                      const json_t *own, int64_t now_s, struct oct_buf *out,
                                      struct oct_buf *own_bytes)
{
    struct oct_jorigin *origin = oct_calloc(1, sizeof *origin);
    if (!origin) {
        return oct_no_memory("rendering a chat template", sizeof *origin);
    }
    origin->own = own;
    const oct_status st = render(t, vars, now_s, origin, out, own_bytes);
    oct_buf_free(&origin->out);
    oct_arena_free(&origin->arena);
    oct_free(origin);
    return st;
}
