/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - JSON out of untrusted files: bounded in size, depth and number of values before the
 * parser sees it, so that neither its stack nor its memory can be driven up. Duplicate keys are
 * refused. */
#ifndef OCT_MODEL_JSON_H
#define OCT_MODEL_JSON_H

#include "base/io.h"

#include <jansson.h>

enum {
    OCT_JSON_MAX_DEPTH = 64,
    OCT_JSON_MAX_VALUES = 1 << 21, /* each costs the parser at most about 150 bytes */
    OCT_JSON_MAX_CONFIG_BYTES = 16 << 20,
};

/* text[len] must be one JSON object. `where` begins the sentence ("model.safetensors: header"). */
OCT_CHECKED oct_status oct_json_parse(const char *text, size_t len, const char *where,
                                      int max_depth, json_t **out);

/* The object in the file dir/name; OCT_E_NOTFOUND if there is no such file. */
OCT_CHECKED oct_status oct_json_load(const char *dir, const char *name, size_t max_bytes,
                                     json_t **out);

#endif
