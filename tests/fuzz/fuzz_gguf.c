/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a GGUF file: parse, look at every key and value, read every tensor that is small.
 * Seeds: files of tests/support/writer.h and tiny.h, written by fuzz_seeds.c. */
#include "model/source.h"
#include "support/writer.h"

#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seen; /* keeps the reads alive */

static void look_at(const struct oct_gguf *g, const struct oct_gguf_kv *kv)
{
    uint64_t u = 0;
    double d = 0;
    bool b = false;
    int64_t x = 0;
    struct oct_gguf_str s = {0};
    seen += (uint64_t)(oct_gguf_u64(g, kv->key.data, &u) == OCT_OK) + u;
    seen += (uint64_t)(oct_gguf_f64(g, kv->key.data, &d) == OCT_OK);
    seen += (uint64_t)(oct_gguf_bool(g, kv->key.data, &b) == OCT_OK) + b;
    if (oct_gguf_str(g, kv->key.data, &s) == OCT_OK) {
        OCT_ASSERT(s.data[s.len] == '\0');
        seen += strlen(s.data);
    }
    for (uint64_t i = 0; kv->type == OCT_GGUF_ARRAY && i < kv->n && i < 1000; i++) {
        if (kv->elem_type == OCT_GGUF_STRING) {
            OCT_ASSERT(kv->v.strings[i].data[kv->v.strings[i].len] == '\0');
            continue;
        }
        if (oct_gguf_array_i64(kv, i, &x) != OCT_OK && oct_gguf_array_f64(kv, i, &d) != OCT_OK) {
            break;
        }
        seen += (uint64_t)x;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float values[4096];
    char path[32];
    struct oct_source *s = NULL;
    const int fd = oct_test_memory_file(data, size, path);
    if (oct_source_open(path, &s) == OCT_OK) {
        for (uint64_t i = 0; i < s->gguf->n_kvs; i++) {
            look_at(s->gguf, &s->gguf->kvs[i]);
        }
        for (uint32_t i = 0; i < s->n_tensors; i++) {
            const struct oct_tensor *t = &s->tensors[i];
            OCT_ASSERT(oct_source_find(s, t->name) == t);
            OCT_ASSERT(t->offset + t->size_bytes <= size);
            if (t->n_elems <= 4096 && oct_dtype_info(t->dtype)->used) {
                const oct_status st = oct_source_read_f32(s, t, 0, values, (size_t)t->n_elems);
                OCT_ASSERT(st == OCT_OK);
            }
        }
    } else {
        OCT_ASSERT(oct_last_error()[0] != '\0');
    }
    oct_source_close(s);
    (void)close(fd);
    return 0;
}
