/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "support/llama2c.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

Test(llama2c, stories260k_becomes_a_gguf_file_that_loads)
{
    if (!oct_stories_available()) {
        cr_skip_test("skipped: %s is not here", OCT_STORIES_BIN);
    }
    struct oct_buf b = {0};
    char path[32];
    struct oct_source *s = NULL;
    struct oct_model_config c;
    oct_llama2c_gguf(OCT_STORIES_BIN, OCT_STORIES_TOK, &b);
    const int fd = oct_test_memory_file(b.data, b.len, path);
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_config_load(s, &c), OCT_OK, "%s", oct_last_error());
    /* the numbers of the data's README */
    cr_assert(c.dim == 64 && c.ff_dim == 172 && c.n_layers == 5, "%d %d %d", c.dim, c.ff_dim,
              c.n_layers);
    cr_assert(c.n_heads == 8 && c.n_kv_heads == 4 && c.head_dim == 8);
    cr_assert(c.vocab_size == 512 && c.max_positions == 512);
    cr_assert(c.tied && c.rope_interleaved);
    /* RMS norms of a trained model are near 1 on average: the tensors were cut where they begin */
    const char *const norms[] = {"blk.0.attn_norm.weight", "blk.4.ffn_norm.weight",
                                 "output_norm.weight"};
    for (int i = 0; i < 3; i++) {
        const struct oct_tensor *t = oct_source_find(s, norms[i]);
        float v[64];
        cr_assert_not_null(t, "%s", norms[i]);
        cr_assert_eq(oct_source_read_f32(s, t, 0, v, 64), OCT_OK, "%s", oct_last_error());
        double mean = 0;
        for (int j = 0; j < 64; j++) {
            mean += (double)v[j] / 64;
            cr_assert(v[j] > 0, "%s[%d]: %g", norms[i], j, (double)v[j]);
        }
        cr_assert(mean > 0.3 && mean < 10, "%s: mean %g", norms[i], mean);
    }
    oct_source_close(s);
    close(fd);
    oct_buf_free(&b);
}
