/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - JSON out of untrusted files into jansson's values: bounded in size, depth and number of
 * values, duplicate keys and invalid UTF-8 refused (RFC 8259, nothing more).
 *
 * The parser is our own. jansson's refuses integers over 2^63, which real tokenizer_config.json
 * files hold ("model_max_length": 1000000000000000019884624838656), and when memory runs out its
 * lexer may drop characters of a string and go on. */
#ifndef OCT_BASE_JSON_H
#define OCT_BASE_JSON_H

#include "base/io.h"
#include "base/mem.h"

#include <jansson.h>

enum {
    OCT_JSON_MAX_DEPTH = 64,
    OCT_JSON_MAX_VALUES = 1 << 21, /* each costs at most about 150 bytes beside its text */
    OCT_JSON_MAX_CONFIG_BYTES = 16 << 20,
};

enum oct_json_flags {
    OCT_JSON_NUL = 1, /* \u0000 may stand in strings (never in keys) */
};

/* text[len] must be one JSON object or array. `where` begins the sentence ("model.safetensors: the
 * header"). An integer that does not fit 64 bits becomes a real. *out is given away: json_decref.
 * Recursion goes max_depth deep, at most OCT_JSON_MAX_DEPTH. */
OCT_CHECKED oct_status oct_json_parse(const char *text, size_t len, const char *where,
                                      int max_depth, unsigned flags, json_t **out);

/* The object in the file dir/name; OCT_E_NOTFOUND if there is no such file. */
OCT_CHECKED oct_status oct_json_load(const char *dir, const char *name, size_t max_bytes,
                                     json_t **out);

/* The object or list in a file of the user's own choice. */
OCT_CHECKED oct_status oct_json_read(const char *path, size_t max_bytes, json_t **out);

/* Appends the value as JSON; flags as json_dumpb takes them. */
OCT_CHECKED oct_status oct_json_append(struct oct_buf *out, const json_t *value, size_t flags);

#endif
