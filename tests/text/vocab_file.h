/* SPDX-License-Identifier: Apache-2.0
 *
 * vocab_file.h - a tokenizer out of a file, for tests: tokenizer.json, the same packed with xz, or
 * the vocabulary of a GGUF file. */
#ifndef OCT_TESTS_TEXT_VOCAB_FILE_H
#define OCT_TESTS_TEXT_VOCAB_FILE_H

#include "text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>

/* path: *.gguf, *.json or *.json.xz (through `xz -dc`). config: tokenizer_config.json, or NULL.
 * OCT_E_NOTFOUND if there is no such file. */
OCT_CHECKED oct_status vocab_file_open(const char *path, const char *config,
                                       struct oct_tokenizer **out);
/* The bytes of a file or of what xz unpacks; given away. */
OCT_CHECKED oct_status vocab_file_read(const char *path, char **data, size_t *len);

#ifdef OCT_SOURCE_DIR
/* tests/golden/<name>, which is committed; the caller drops the reference. NULL if it is broken. */
static inline json_t *golden_json(const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, OCT_SOURCE_DIR "/tests/golden/%s", name);
    return json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}
#endif

#endif
