/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a safetensors file, and as the JSON of an index or config. Seeds: fuzz_seeds.c. */
#include "base/json.h"
#include "model/safetensors.h"
#include "support/writer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read, written by jansson and read again, is the same. */
static void round_trip(const json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_t *again = NULL;
    OCT_ASSERT(text);
    const oct_status st =
        oct_json_parse(text, strlen(text), "again", OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &again);
    OCT_ASSERT(st == OCT_OK && json_equal(root, again));
    json_decref(again);
    free(text); /* jansson's malloc */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct oct_file f;
    struct oct_arena names = {0};
    struct oct_tensor_list list = {0};
    json_t *root = NULL;
    const int fd = oct_test_memory_file(data, size, path);
    oct_status st = oct_file_open(path, &f);
    OCT_ASSERT(st == OCT_OK);
    st = oct_safetensors_read(&f, 0, &names, &list);
    OCT_ASSERT(st == OCT_OK || oct_last_error()[0] != '\0');
    uint64_t end = 0;
    for (uint32_t i = 0; st == OCT_OK && i < list.n; i++) {
        OCT_ASSERT(i == 0 || list.at[i].offset == end);
        end = list.at[i].offset + list.at[i].size_bytes;
        OCT_ASSERT(end <= size && list.at[i].name[0]);
    }
    oct_free(list.at);
    oct_arena_free(&names);
    oct_file_close(&f);
    (void)close(fd);
    /* The same bytes behind a header's length, or all of them, as JSON. */
    const size_t skip = size > 8 && data[8] == '{' ? 8 : 0;
    if (oct_json_parse((const char *)data + skip, size - skip, "text", OCT_JSON_MAX_DEPTH,
                       OCT_JSON_NUL, &root) == OCT_OK) {
        round_trip(root);
        json_decref(root);
    }
    return 0;
}
