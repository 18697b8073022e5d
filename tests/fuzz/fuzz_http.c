/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_http.c - bytes of a connection through the parser, and what it says must hold:
 *
 *   - cut anywhere, the bytes mean the same as in one piece
 *   - a request that is taken can be read in one way only: its lines end with CR LF, none is
 * folded, it has at most one of each header that says where it ends
 *   - no limit is passed, and all memory is given back
 *
 * The first byte says where the input is cut. */
#include "http/parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct oct_http_limits limits = {
    .head_bytes = 2048, .n_headers = 12, .body_bytes = 500, .bodies_bytes = 4000, .n_chunks = 20};

struct outcome {
    enum oct_http_parsed last;
    int status, n_heads;
    size_t used, n_fields, body_len;
    uint64_t sum; /* of head and body */
};

static uint64_t sum_of(uint64_t sum, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ (unsigned char)data[i]) * 0x100000001b3u;
    }
    return sum;
}

static void check_head(const struct oct_http_request *r, const char *raw)
{
    const char *target = r->head.data + r->target;
    int n_ends = 0, n_hosts = 0;
    OCT_ASSERT(r->head.len <= limits.head_bytes && r->n_fields <= limits.n_headers);
    OCT_ASSERT(*target == '/' || !strcmp(target, "*"));
    for (const char *p = target; *p; p++) {
        OCT_ASSERT(*p > 0x20 && *p < 0x7f && *p != '#');
    }
    for (size_t i = 0; i < r->n_fields; i++) {
        const char *name = r->head.data + r->fields[i].name;
        const char *value = r->head.data + r->fields[i].value;
        OCT_ASSERT(*name && !strpbrk(name, " \t:\r\n") && !strpbrk(value, "\r\n"));
        OCT_ASSERT(!*value || !strchr(" \t", *value));
        OCT_ASSERT(!*value || !strchr(" \t", value[strlen(value) - 1]));
        n_ends += !strcasecmp(name, "content-length") || !strcasecmp(name, "transfer-encoding");
        n_hosts += !strcasecmp(name, "host");
    }
    OCT_ASSERT(n_ends <= 1 && n_hosts <= 1 && n_hosts + r->is_1_0 >= 1);
    /* The raw bytes: a line feed only after a CR, a CR only before a line feed, nothing folded. */
    for (size_t i = 0; i < r->head.len; i++) {
        OCT_ASSERT(raw[i] != '\0');
        OCT_ASSERT(raw[i] != '\n' || (i > 0 && raw[i - 1] == '\r'));
        OCT_ASSERT(raw[i] != '\r' || (i + 1 < r->head.len && raw[i + 1] == '\n'));
        OCT_ASSERT(raw[i] != '\n' || i + 1 == r->head.len ||
                   (raw[i + 1] != ' ' && raw[i + 1] != '\t'));
    }
}

/* One request from the front of the bytes, given in pieces of at most `step`. */
static struct outcome parse(const char *data, size_t size, size_t step)
{
    struct outcome o = {0};
    struct oct_http_request r;
    size_t bodies = 0;
    oct_http_request_init(&r, &limits, &bodies);
    for (bool more = true; more;) {
        const size_t left = size - o.used, len = left < step ? left : step;
        size_t used;
        o.last = oct_http_request_parse(&r, data + o.used, len, &used);
        OCT_ASSERT(used <= len);
        o.used += used;
        OCT_ASSERT(r.body.len <= limits.body_bytes && bodies <= limits.bodies_bytes);
        OCT_ASSERT(bodies == r.body.cap && r.n_chunks <= limits.n_chunks + 1);
        switch (o.last) {
        case OCT_HTTP_PARSED_HEAD:
            o.n_heads++;
            check_head(&r, data);
            break;
        case OCT_HTTP_PARSED_MORE:
            OCT_ASSERT(used == len);
            more = o.used < size;
            break;
        default:
            more = false;
            break;
        }
    }
    if (o.last == OCT_HTTP_PARSED_REFUSED) {
        OCT_ASSERT(r.why &&
                   (r.status == 400 || r.status == 413 || r.status == 417 || r.status == 431));
        o.status = r.status;
        o.used = 0; /* how much of it was looked at may differ */
    } else {
        o.sum =
            sum_of(sum_of(1469598103934665603u, r.head.data, r.head.len), r.body.data, r.body.len);
        o.n_fields = r.n_fields;
        o.body_len = r.body.len;
    }
    OCT_ASSERT(o.n_heads <= 1 && (o.last != OCT_HTTP_PARSED_WHOLE || o.n_heads == 1));
    oct_http_request_free(&r);
    OCT_ASSERT(bodies == 0);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    /* A copy of its own, so that a read past its end is found. */
    const size_t step = 1u + data[0];
    size--;
    char *text = malloc(size);
    memcpy(text, data + 1, size);
    for (size_t at = 0; at < size;) { /* pipelined requests */
        const struct outcome whole = parse(text + at, size - at, size);
        const struct outcome cut = parse(text + at, size - at, step);
        OCT_ASSERT(whole.last == cut.last && whole.status == cut.status && whole.sum == cut.sum);
        OCT_ASSERT(whole.n_heads == cut.n_heads && whole.used == cut.used);
        OCT_ASSERT(whole.n_fields == cut.n_fields && whole.body_len == cut.body_len);
        if (whole.last != OCT_HTTP_PARSED_WHOLE) {
            break;
        }
        at += whole.used;
    }
    free(text);
    return 0;
}
