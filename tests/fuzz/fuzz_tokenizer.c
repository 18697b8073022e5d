/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as tokenizer.json: what loads must encode and decode. Seeds: corpus/tokenizer. */
#include "text/detok.h"
#include "text/tokenizer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"", "ab abc", "<s>x</s> 12\n\n  e\xcc\x81\xff",
                                        "\xe2\x96\x81the\xe4\xb8\xad\xf0\x9f\x91\x8d 'll"};
    struct oct_tokenizer *t = NULL;
    if (oct_tokenizer_from_json((const char *)data, size, NULL, 0, &t) != OCT_OK) {
        OCT_ASSERT(!t && oct_last_error()[0]);
        return 0;
    }
    const int32_t n = oct_tokenizer_n_tokens(t);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct oct_ids ids = {0};
        struct oct_buf out = {0};
        const oct_status st =
            oct_tokenizer_encode(t, texts[i], strlen(texts[i]), (unsigned)i & 3, &ids);
        OCT_ASSERT(st == OCT_OK || ids.len == 0);
        for (size_t k = 0; k < ids.len; k++) {
            OCT_ASSERT(ids.data[k] >= 0 && ids.data[k] < n);
        }
        OCT_ASSERT(oct_tokenizer_decode(t, ids.data, ids.len, i & 1, &out) == OCT_OK);
        oct_buf_free(&out);
        oct_ids_free(&ids);
    }
    for (int32_t id = 0; id < n && id < 1000; id++) {
        size_t len;
        (void)oct_tokenizer_piece(t, id, &len);
    }
    oct_tokenizer_destroy(t);
    return 0;
}
