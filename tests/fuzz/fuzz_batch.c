/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes are the input of `octavo batch`: lines, JSON, bodies of requests. What is accepted must
 * hold what openai.h promises, and the same file must be read the same way twice. */
#include "serve/batch_file.h"
#include "api/openai.h"
#include "support/writer.h"

#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct oct_openai_request *r)
{
    const struct oct_sampling *s = &r->sampling;
    OCT_ASSERT(s->n_stop <= 16 && (s->n_stop == 0 || s->stop));
    for (size_t i = 0; i < s->n_stop; i++) {
        OCT_ASSERT(s->stop[i]);
    }
    OCT_ASSERT(r->n_top >= -1 && r->n_top <= 20 && s->n_logprobs == r->n_top);
    OCT_ASSERT(s->max_tokens >= 0 && s->min_tokens >= 0 && s->top_k >= -1);
    OCT_ASSERT(r->priority >= -8 && r->priority <= 8);
    OCT_ASSERT((r->kind == OCT_OPENAI_CHAT) == (r->messages != NULL));
    OCT_ASSERT(r->n >= 1 && r->n <= OCT_OPENAI_MAX_N && r->timeout_us >= 0);
    OCT_ASSERT(r->n_prompts >= 1 && r->n_prompts <= OCT_OPENAI_MAX_PROMPTS);
    for (size_t p = 0; r->kind == OCT_OPENAI_COMPLETION && p < r->n_prompts; p++) {
        OCT_ASSERT(r->prompts[p].text || r->prompts[p].n_ids > 0);
        for (size_t i = 0; i < r->prompts[p].n_ids; i++) {
            OCT_ASSERT(r->prompts[p].ids[i] >= 0);
        }
    }
    for (size_t i = 0; i < json_array_size(r->messages); i++) {
        const json_t *m = json_array_get(r->messages, i);
        OCT_ASSERT(json_is_string(json_object_get(m, "role")) &&
                   !json_is_array(json_object_get(m, "content")));
    }
}

static size_t read_all(struct oct_lines *in, const json_t *ids)
{
    size_t n = 0;
    for (bool found = true; found;) {
        struct oct_batch_line l = {0};
        const oct_status st = oct_batch_read(in, &l, &found);
        OCT_ASSERT(st == OCT_OK); /* the scan has read it before */
        struct oct_openai_request r;
        if (found) {
            OCT_ASSERT(json_is_false(json_object_get(ids, l.custom_id)));
            if (oct_openai_parse(l.chat ? OCT_OPENAI_CHAT : OCT_OPENAI_COMPLETION, l.body, &r) ==
                OCT_OK) {
                check(&r);
                oct_openai_request_deinit(&r);
            }
            n++;
        }
        oct_batch_line_deinit(&l);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct oct_lines in;
    json_t *ids = NULL;
    const int fd = oct_test_memory_file(data, size, path);
    const oct_status st = oct_lines_open(path, &in);
    OCT_ASSERT(st == OCT_OK);
    if (oct_batch_scan(&in, &ids) == OCT_OK) {
        OCT_ASSERT(read_all(&in, ids) == json_object_size(ids));
    }
    json_decref(ids);
    oct_lines_close(&in);
    (void)close(fd);
    return 0;
}
