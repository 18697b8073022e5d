/* SPDX-License-Identifier: Apache-2.0
 *
 * config_read.h - private to the config_*.c files: one key of a JSON object or of GGUF metadata,
 * read with its type and range checked, and the parts that oct_config_load is made of.
 *
 * Every reader leaves *out untouched when the key is absent (JSON null counts as absent) and not
 * required. A failure is a sentence that names file and key, says what is there and what may be. */
#ifndef OCT_MODEL_CONFIG_READ_H
#define OCT_MODEL_CONFIG_READ_H

#include "model/config.h"

enum oct_key_need { OCT_KEY_OPTIONAL, OCT_KEY_REQUIRED };

/* Whose sentence it is: "<dir>/<name>: key "<prefix><key>" ..." */
struct oct_json_keys {
    const json_t *obj;  /* borrowed; a JSON object */
    const char *dir;    /* directory of the checkpoint */
    const char *name;   /* "config.json" */
    const char *prefix; /* "", or "rope_scaling." for an object inside */
};

/* NULL if absent or null. */
const json_t *oct_json_key(const struct oct_json_keys *k, const char *key);
/* OCT_E_FORMAT: `key` is what is there; it must be `wanted`. */
oct_status oct_json_wrong(const struct oct_json_keys *k, const char *key, const char *wanted);
OCT_CHECKED oct_status oct_json_int(const struct oct_json_keys *k, const char *key,
                                    enum oct_key_need need, int64_t lo, int64_t hi, int32_t *out);
OCT_CHECKED oct_status oct_json_num(const struct oct_json_keys *k, const char *key,
                                    enum oct_key_need need, double lo, double hi, double *out);
OCT_CHECKED oct_status oct_json_bool(const struct oct_json_keys *k, const char *key, bool *out);
/* *out is borrowed from the object. */
OCT_CHECKED oct_status oct_json_str(const struct oct_json_keys *k, const char *key,
                                    const char **out);

/* Keys of one GGUF file: "<prefix><key>", where prefix is "llama." or "". */
struct oct_gguf_keys {
    const struct oct_gguf *g;
    const char *path;
    const char *prefix;
};
OCT_CHECKED oct_status oct_gguf_key_int(const struct oct_gguf_keys *k, const char *key,
                                        enum oct_key_need need, int64_t lo, int64_t hi,
                                        int32_t *out);
OCT_CHECKED oct_status oct_gguf_key_num(const struct oct_gguf_keys *k, const char *key,
                                        enum oct_key_need need, double lo, double hi, double *out);

/* Ranges that both formats share. */
enum {
    OCT_MAX_LAYERS = 1024,
    OCT_MAX_DIM = 65536,
    OCT_MAX_FF_DIM = 1 << 20,
    OCT_MAX_HEADS = 1024,
    OCT_MAX_HEAD_DIM = 1024,
    OCT_MAX_VOCAB = 1 << 24,
    OCT_MAX_POSITIONS = 1 << 27,
};
#define OCT_MIN_THETA 1.0
#define OCT_MAX_THETA 1e18
#define OCT_MAX_ROPE_FACTOR 1e6

/* The two formats. Both fill everything; `c` comes in with the defaults of oct_config_load. */
OCT_CHECKED oct_status oct_config_from_json(const struct oct_source *s, struct oct_model_config *c);
OCT_CHECKED oct_status oct_config_from_gguf(const struct oct_source *s, struct oct_model_config *c);
/* The rotary part of config.json; head_dim and max_positions of `c` are already set. */
OCT_CHECKED oct_status oct_config_rope_json(const struct oct_json_keys *k,
                                            struct oct_model_config *c);

/* Appends an end token if it is not there yet. `where` names file and key in sentences. */
OCT_CHECKED oct_status oct_config_add_stop(struct oct_model_config *c, int64_t id,
                                           const char *where);
/* rows of the embedding `name`, checked against c->dim; 0 if the checkpoint has no such tensor. */
OCT_CHECKED oct_status oct_config_embedding_rows(const struct oct_source *s, const char *name,
                                                 const struct oct_model_config *c, int32_t *rows);

#endif
