/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary embedding: its keys in config.json, and the frequencies, computed in the order and
 * precision of transformers' modeling_rope_utils (fp32 tensors, double scalars) so that they agree
 * to the last places. */
#include "model/config_read.h"

#include <math.h>
#include <string.h>

/* ---- config.json ---- */

static oct_status read_kind(const struct oct_json_keys *k, struct oct_rope_config *r)
{
    static const struct {
        const char *name;
        enum oct_rope_kind kind;
    } kinds[] = {{"default", OCT_ROPE_DEFAULT},
                 {"linear", OCT_ROPE_LINEAR},
                 {"llama3", OCT_ROPE_LLAMA3},
                 {"yarn", OCT_ROPE_YARN}};
    const char *name = "default";
    OCT_TRY(oct_json_str(k, "type", &name)); /* the older spelling; rope_type wins */
    OCT_TRY(oct_json_str(k, "rope_type", &name));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!strcmp(name, kinds[i].name)) {
            r->kind = kinds[i].kind;
            return OCT_OK;
        }
    }
    char quoted[64];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s/%s: key \"%srope_type\" is \"%s\"; this build knows default, linear, "
                    "llama3 and yarn",
                    k->dir, k->name, k->prefix,
                    oct_error_quote(quoted, sizeof quoted, name, strlen(name)));
}

/* A dictionary of dictionaries, one per kind of layer, or sections for several axes. */
static oct_status refuse_nested(const struct oct_json_keys *k)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)k->obj, key, v)
    {
        if (json_is_object(v) || !strcmp(key, "mrope_section")) {
            char quoted[64];
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s/%s: key \"%s%s\" asks for a rotary embedding that differs between "
                            "layers or axes; this build knows one for all",
                            k->dir, k->name, k->prefix,
                            oct_error_quote(quoted, sizeof quoted, key, strlen(key)));
        }
    }
    return OCT_OK;
}

static oct_status read_yarn(const struct oct_json_keys *k, struct oct_model_config *c)
{
    struct oct_rope_config *r = &c->rope;
    /* null, unlike absent, means the ratio of the two lengths. */
    const bool ratio = json_is_null(json_object_get(k->obj, "factor"));
    r->factor = (double)c->max_positions / (double)r->original_max_positions;
    OCT_TRY(oct_json_num(k, "factor", ratio ? OCT_KEY_OPTIONAL : OCT_KEY_REQUIRED, 1.0,
                         OCT_MAX_ROPE_FACTOR, &r->factor));
    r->beta_fast = 0.0;
    r->beta_slow = 0.0;
    OCT_TRY(oct_json_num(k, "beta_fast", OCT_KEY_OPTIONAL, 0.0, 1e6, &r->beta_fast));
    OCT_TRY(oct_json_num(k, "beta_slow", OCT_KEY_OPTIONAL, 0.0, 1e6, &r->beta_slow));
    r->beta_fast = r->beta_fast > 0.0 ? r->beta_fast : 32.0; /* 0 means the default, as there */
    r->beta_slow = r->beta_slow > 0.0 ? r->beta_slow : 1.0;
    OCT_TRY(oct_json_num(k, "attention_factor", OCT_KEY_OPTIONAL, 1e-6, 1e6, &r->attention_factor));
    OCT_TRY(oct_json_num(k, "mscale", OCT_KEY_OPTIONAL, 0.0, 1e3, &r->mscale));
    OCT_TRY(oct_json_num(k, "mscale_all_dim", OCT_KEY_OPTIONAL, 0.0, 1e3, &r->mscale_all_dim));
    return oct_json_bool(k, "truncate", &r->truncate);
}

/* What depends on the kind of scaling. `sub` is the object with the numbers, `k` the whole file. */
static oct_status read_scaling(const struct oct_json_keys *k, const struct oct_json_keys *sub,
                               struct oct_model_config *c)
{
    struct oct_rope_config *r = &c->rope;
    if (r->kind == OCT_ROPE_LINEAR || r->kind == OCT_ROPE_LLAMA3) {
        OCT_TRY(
            oct_json_num(sub, "factor", OCT_KEY_REQUIRED, 1.0, OCT_MAX_ROPE_FACTOR, &r->factor));
    }
    if (r->kind == OCT_ROPE_LLAMA3 || r->kind == OCT_ROPE_YARN) {
        r->original_max_positions = c->max_positions;
        OCT_TRY(oct_json_int(sub, "original_max_position_embeddings", OCT_KEY_OPTIONAL, 1,
                             OCT_MAX_POSITIONS, &r->original_max_positions));
        OCT_TRY(oct_json_int(k, "original_max_position_embeddings", OCT_KEY_OPTIONAL, 1,
                             OCT_MAX_POSITIONS, &r->original_max_positions));
    }
    if (r->kind == OCT_ROPE_LLAMA3) {
        OCT_TRY(
            oct_json_num(sub, "low_freq_factor", OCT_KEY_REQUIRED, 1e-6, 1e6, &r->low_freq_factor));
        OCT_TRY(oct_json_num(sub, "high_freq_factor", OCT_KEY_REQUIRED, 1e-6, 1e6,
                             &r->high_freq_factor));
    }
    return r->kind == OCT_ROPE_YARN ? read_yarn(sub, c) : OCT_OK;
}

oct_status oct_config_rope_json(const struct oct_json_keys *k, struct oct_model_config *c)
{
    struct oct_rope_config *r = &c->rope;
    double partial = 1.0;
    OCT_TRY(
        oct_json_num(k, "rope_theta", OCT_KEY_OPTIONAL, OCT_MIN_THETA, OCT_MAX_THETA, &r->theta));
    OCT_TRY(oct_json_num(k, "partial_rotary_factor", OCT_KEY_OPTIONAL, 0.0, 1.0, &partial));

    /* rope_scaling was the name before transformers 5 and, as there, wins unless it is empty. */
    const char *names[] = {"rope_scaling", "rope_parameters"};
    const json_t *obj = NULL;
    struct oct_json_keys sub = {NULL, k->dir, k->name, ""};
    for (int i = 0; i < 2 && !obj; i++) {
        const json_t *v = oct_json_key(k, names[i]);
        if (v && !json_is_object(v)) {
            return oct_json_wrong(k, names[i], "an object");
        }
        obj = json_object_size(v) > 0 ? v : NULL;
        sub.prefix = i == 0 ? "rope_scaling." : "rope_parameters.";
    }
    if (obj) {
        sub.obj = obj;
        OCT_TRY(refuse_nested(&sub));
        OCT_TRY(read_kind(&sub, r));
        OCT_TRY(oct_json_num(&sub, "rope_theta", OCT_KEY_OPTIONAL, OCT_MIN_THETA, OCT_MAX_THETA,
                             &r->theta));
        OCT_TRY(oct_json_num(&sub, "partial_rotary_factor", OCT_KEY_OPTIONAL, 0.0, 1.0, &partial));
        OCT_TRY(read_scaling(k, &sub, c));
    }
    r->rot_dim = (int32_t)((double)c->head_dim * partial);
    return OCT_OK;
}

/* ---- frequencies ---- */

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static double yarn_attention_factor(const struct oct_rope_config *r)
{
    if (r->attention_factor > 0.0) {
        return r->attention_factor;
    }
    if (r->mscale > 0.0 && r->mscale_all_dim > 0.0) {
        return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
    }
    return yarn_mscale(r->factor, 1.0);
}

/* The element of the ramp where `rotations` full turns fit into the original length. */
static double yarn_bound(const struct oct_rope_config *r, double rotations)
{
    return (double)r->rot_dim *
           log((double)r->original_max_positions / (rotations * 2.0 * 3.14159265358979323846)) /
           (2.0 * log(r->theta));
}

/* Where the ramp between kept and interpolated frequencies begins, and its length. */
struct ramp {
    float low, span;
};

static struct ramp yarn_ramp(const struct oct_rope_config *r)
{
    double low = yarn_bound(r, r->beta_fast), high = yarn_bound(r, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)(r->rot_dim - 1));
    if (low == high) {
        high += 0.001;
    }
    return (struct ramp){(float)low, (float)(high - low)};
}

static float yarn(const struct oct_rope_config *r, const struct ramp *ramp, int32_t i, float power)
{
    const float at = fminf(fmaxf(((float)i - ramp->low) / ramp->span, 0.0F), 1.0F);
    const float keep = 1.0F - at;
    return 1.0F / ((float)r->factor * power) * (1.0F - keep) + 1.0F / power * keep;
}

static float llama3(const struct oct_rope_config *r, float inv_freq)
{
    const double old = (double)r->original_max_positions;
    const float factor = (float)r->factor, low = (float)r->low_freq_factor;
    const float wavelen = (float)(2.0 * 3.14159265358979323846) / inv_freq;
    if (wavelen > (float)(old / r->low_freq_factor)) {
        return inv_freq / factor;
    }
    if (wavelen < (float)(old / r->high_freq_factor)) {
        return inv_freq;
    }
    const float smooth =
        ((float)old / wavelen - low) / (float)(r->high_freq_factor - r->low_freq_factor);
    return (1.0F - smooth) * inv_freq / factor + smooth * inv_freq;
}

void oct_rope_frequencies(const struct oct_rope_config *r, float *inv_freq, float *attention_factor)
{
    const bool is_yarn = r->kind == OCT_ROPE_YARN;
    const struct ramp ramp = is_yarn ? yarn_ramp(r) : (struct ramp){0};
    for (int32_t i = 0; i < r->rot_dim / 2; i++) {
        const float x = (float)(2 * i) / (float)r->rot_dim;
        const float power = (float)pow((double)(float)r->theta, (double)x);
        switch (r->kind) {
        case OCT_ROPE_DEFAULT:
            inv_freq[i] = 1.0F / power;
            break;
        case OCT_ROPE_LINEAR:
            inv_freq[i] = 1.0F / power / (float)r->factor;
            break;
        case OCT_ROPE_LLAMA3:
            inv_freq[i] = llama3(r, 1.0F / power);
            break;
        case OCT_ROPE_YARN:
            inv_freq[i] = yarn(r, &ramp, i, power);
            break;
        }
    }
    *attention_factor = is_yarn ? (float)yarn_attention_factor(r) : 1.0F;
}
