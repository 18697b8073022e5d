/* SPDX-License-Identifier: Apache-2.0 */
#include "model/json.h"

#include "base/mem.h"

#include <string.h>

/* A pass over the brackets and commas outside strings; it need not notice wrong JSON. */
static oct_status check_bounds(const char *text, size_t len, const char *where, int max_depth)
{
    size_t n_values = 0;
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
            continue;
        }
        switch (c) {
        case '"':
            in_string = true;
            break;
        case '{':
        case '[':
            n_values++;
            if (++depth > max_depth) {
                return OCT_FAIL(OCT_E_LIMIT,
                                "%s is nested more than %d deep (at byte %zu of the JSON)", where,
                                max_depth, i);
            }
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
        case ':':
            n_values++;
            break;
        default:
            break;
        }
    }
    if (n_values > OCT_JSON_MAX_VALUES) {
        return OCT_FAIL(OCT_E_LIMIT, "%s has %zu JSON values; at most %d are read", where, n_values,
                        OCT_JSON_MAX_VALUES);
    }
    return OCT_OK;
}

oct_status oct_json_parse(const char *text, size_t len, const char *where, int max_depth,
                          json_t **out)
{
    OCT_TRY(check_bounds(text, len, where, max_depth));
    json_error_t err = {.text = ""};
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
    if (!root) {
        char quoted[JSON_ERROR_TEXT_LENGTH];
        if (json_error_code(&err) == json_error_out_of_memory || !err.text[0]) {
            return oct_no_memory(where, len);
        }
        return OCT_FAIL(OCT_E_FORMAT, "%s is not valid JSON at line %d, column %d: %s", where,
                        err.line, err.column,
                        oct_error_quote(quoted, sizeof quoted, err.text, strlen(err.text)));
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return OCT_FAIL(OCT_E_FORMAT, "%s is not a JSON object", where);
    }
    *out = root;
    return OCT_OK;
}

oct_status oct_json_load(const char *dir, const char *name, size_t max_bytes, json_t **out)
{
    struct oct_file f;
    char *text;
    size_t len;
    OCT_TRY(oct_file_open_in(dir, name, &f));
    oct_status st = oct_file_slurp(&f, max_bytes, &text, &len);
    if (st == OCT_OK) {
        st = oct_json_parse(text, len, f.path, OCT_JSON_MAX_DEPTH, out);
        oct_free(text);
    }
    oct_file_close(&f);
    return st;
}
