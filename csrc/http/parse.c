/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

/* ---- the scanner: where the head ends, and that its bytes can be read in one way only ---- */

enum scan_state {
    AT_BEGIN,  /* one empty line before the request is let through (RFC 9112, 2.2) */
    BEGIN_LF,  /* its line feed */
    AT_METHOD, /* the first byte after such a line */
    IN_METHOD,
    AT_TARGET,
    IN_TARGET,
    IN_VERSION,
    LINE_LF, /* the line feed that ends a line */
    AT_LINE, /* the first byte of a header line, or the CR of the empty line */
    IN_NAME,
    IN_VALUE,
    END_LF, /* of the empty line */
    HEAD_DONE,
    /* the body */
    BODY_SIZED,
    CHUNK_SIZE,      /* its first digit */
    CHUNK_SIZE_MORE, /* its other digits */
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILERS, /* after the last chunk; r->trailer says where */
    WHOLE,
};

static enum oct_http_parsed refuse(struct oct_http_request *r, int status, const char *why)
{
    r->status = status;
    r->why = why;
    return OCT_HTTP_PARSED_REFUSED;
}

/* RFC 9110, 5.6.2. */
static bool is_token(unsigned char b)
{
    return (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') ||
           (b && strchr("!#$%&'*+-.^_`|~", b));
}

static bool is_in_value(unsigned char b)
{
    return (b >= 0x20 && b != 0x7f) || b == '\t';
}

/* One byte of header lines (head or trailer): the new state, or a sentence in *why. */
static uint8_t scan_line_byte(uint8_t state, unsigned char b, const char **why)
{
    switch (state) {
    case LINE_LF:
        if (b != '\n') {
            *why = "a carriage return stands alone in the head; lines end with CR LF";
        }
        return AT_LINE;
    case AT_LINE:
        if (b == '\r') {
            return END_LF;
        }
        if (b == ' ' || b == '\t') {
            *why = "a header line begins with white space; folded headers are not taken";
        } else if (!is_token(b)) {
            *why = "a header's name holds a character that may not be there";
        }
        return IN_NAME;
    case IN_NAME:
        if (b == ':') {
            return IN_VALUE;
        }
        if (b == ' ' || b == '\t') {
            *why = "white space stands in a header's name or before its colon";
        } else if (!is_token(b)) {
            *why = "a header line has no colon, or its name holds a character that may not be "
                   "there";
        }
        return IN_NAME;
    case IN_VALUE:
        if (b == '\r') {
            return LINE_LF;
        }
        if (!is_in_value(b)) {
            *why = b == '\n' ? "a header line ends with a line feed alone; lines end with CR LF"
                             : "a header's value holds a control character";
        }
        return IN_VALUE;
    default: /* END_LF */
        if (b != '\n') {
            *why = "a carriage return stands alone in the head; lines end with CR LF";
        }
        return HEAD_DONE;
    }
}

/* One byte of the request line, likewise. */
static uint8_t scan_request_byte(uint8_t state, unsigned char b, const char **why)
{
    switch (state) {
    case AT_BEGIN:
        if (b == '\r') {
            return BEGIN_LF;
        }
        __attribute__((fallthrough));
    case AT_METHOD:
    case IN_METHOD:
        if (b == ' ' && state == IN_METHOD) {
            return AT_TARGET;
        }
        if ((b < 'A' || b > 'Z') && b != '-') {
            *why = b == 0x16 ? "these bytes look like TLS; this port speaks plain HTTP"
                             : "this is not an HTTP request";
        }
        return IN_METHOD;
    case BEGIN_LF:
        if (b != '\n') {
            *why = "a carriage return stands alone before the request";
        }
        return AT_METHOD;
    case AT_TARGET:
        if (b != '/' && b != '*') {
            *why = "the request's target is no path; it must begin with '/'";
        }
        return IN_TARGET;
    case IN_TARGET:
        if (b == ' ') {
            return IN_VERSION;
        }
        if (b <= 0x20 || b >= 0x7f || b == '#') {
            *why = "the request's target holds a character that must be percent-encoded";
        }
        return IN_TARGET;
    default: /* IN_VERSION */
        if (b == '\r') {
            return LINE_LF;
        }
        if (b <= 0x20 || b >= 0x7f) {
            *why = "the request line must be: method, space, target, space, HTTP/1.1, CR LF";
        }
        return IN_VERSION;
    }
}

/* Scans up to len bytes of the head; *used of them are good. NULL, or why not. *too_many: more
 * headers than limits->n_headers. */
static const char *scan_head(struct oct_http_request *r, const char *data, size_t len, size_t *used,
                             bool *too_many)
{
    const char *why = NULL;
    uint8_t state = r->state;
    size_t i = 0;
    for (; i < len && state != HEAD_DONE && !why; i++) {
        const unsigned char b = (unsigned char)data[i];
        const uint8_t before = state;
        state =
            state < LINE_LF ? scan_request_byte(state, b, &why) : scan_line_byte(state, b, &why);
        if (state == AT_METHOD) {
            r->begin = 2;
        }
        if (before == AT_LINE && state == IN_NAME && ++r->n_fields > r->limits->n_headers) {
            *too_many = true;
            why = "the request has more headers than this server takes";
        }
    }
    r->state = state;
    *used = i;
    return why;
}

/* ---- the head ---- */

struct head_spans {
    struct oct_http_request *r;
    size_t n_names, n_values, n_targets;
    size_t target_len;
};

static int on_target(http_parser *p, const char *at, size_t len)
{
    struct head_spans *s = p->data;
    s->r->target = (uint32_t)(at - s->r->head.data);
    s->target_len = len;
    return s->n_targets++ != 0;
}

static int on_name(http_parser *p, const char *at, size_t len)
{
    struct head_spans *s = p->data;
    (void)len;
    if (s->n_names >= s->r->n_fields || s->n_names != s->n_values) {
        return 1;
    }
    s->r->fields[s->n_names++].name = (uint32_t)(at - s->r->head.data);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct head_spans *s = p->data;
    (void)len;
    if (s->n_values + 1 != s->n_names) {
        return 1;
    }
    s->r->fields[s->n_values++].value = (uint32_t)(at - s->r->head.data);
    return 0;
}

static int on_fields_done(http_parser *p)
{
    struct head_spans *s = p->data;
    s->r->keep_alive = http_should_keep_alive(p);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_fields_done,
};

static enum oct_http_method method_of(unsigned m)
{
    switch (m) {
    case HTTP_GET:
        return OCT_HTTP_GET;
    case HTTP_HEAD:
        return OCT_HTTP_HEAD;
    case HTTP_POST:
        return OCT_HTTP_POST;
    case HTTP_DELETE:
        return OCT_HTTP_DELETE;
    case HTTP_OPTIONS:
        return OCT_HTTP_OPTIONS;
    default:
        return OCT_HTTP_OTHER;
    }
}

/* Ends every text with NUL where its colon, space or CR stood, without the space around values. */
static void end_texts(struct oct_http_request *r, const struct head_spans *s)
{
    char *head = r->head.data;
    head[r->target + s->target_len] = '\0';
    char *query = strchr(head + r->target, '?');
    if (query) {
        *query = '\0';
        r->query = (uint32_t)(query + 1 - head);
    }
    for (size_t i = 0; i < r->n_fields; i++) {
        head[r->fields[i].name + strcspn(head + r->fields[i].name, ":")] = '\0';
        char *value = head + r->fields[i].value;
        size_t len = strcspn(value, "\r");
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
            len--;
        }
        value[len] = '\0';
    }
}

static enum oct_http_parsed read_length(struct oct_http_request *r, const char *text)
{
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || text[n] || n > 19) { /* 19 digits fit 64 bits */
        return refuse(r, 400, "Content-Length is not one number");
    }
    for (size_t i = 0; i < n; i++) {
        r->left = r->left * 10 + (uint64_t)(text[i] - '0');
    }
    r->has_body = r->left > 0;
    return OCT_HTTP_PARSED_HEAD;
}

static bool is_host(const char *text)
{
    /* Names, addresses and ports; what a proxy could split or read as a path is not in it. */
    for (const char *p = text; *p; p++) {
        const unsigned char b = (unsigned char)*p;
        if (b <= 0x20 || b >= 0x7f || strchr(",/\\?#@\"<>{}", b)) {
            return false;
        }
    }
    return true;
}

/* The headers that decide where this request ends, each at most once. */
static enum oct_http_parsed read_framing(struct oct_http_request *r)
{
    const char *host = NULL, *length = NULL, *encoding = NULL, *expect = NULL;
    for (size_t i = 0; i < r->n_fields; i++) {
        const char *name = r->head.data + r->fields[i].name;
        const char **to = !strcasecmp(name, "host")                ? &host
                          : !strcasecmp(name, "content-length")    ? &length
                          : !strcasecmp(name, "transfer-encoding") ? &encoding
                          : !strcasecmp(name, "expect")            ? &expect
                                                                   : NULL;
        if (to && *to) {
            return refuse(r, 400,
                          to == &host     ? "the request has two Host headers"
                          : to == &length ? "the request has two Content-Length headers"
                          : to == &expect ? "the request has two Expect headers"
                                          : "the request has two Transfer-Encoding headers");
        }
        if (to) {
            *to = r->head.data + r->fields[i].value;
        }
    }
    if (!host && !r->is_1_0) {
        return refuse(r, 400, "the request has no Host header");
    }
    if (host && !is_host(host)) {
        return refuse(r, 400, "the Host header is not a name or address with a port");
    }
    if (length && encoding) {
        return refuse(r, 400, "the request has both Content-Length and Transfer-Encoding");
    }
    if (encoding && (r->is_1_0 || strcasecmp(encoding, "chunked") != 0)) {
        return refuse(r, 400, "the only Transfer-Encoding that is taken is chunked, in HTTP/1.1");
    }
    r->is_chunked = r->has_body = encoding != NULL;
    if (length) {
        const enum oct_http_parsed st = read_length(r, length);
        if (st != OCT_HTTP_PARSED_HEAD) {
            return st;
        }
    }
    if (expect && !r->is_1_0) {
        if (strcasecmp(expect, "100-continue") != 0) {
            return refuse(r, 417, "the only expectation that is met is 100-continue");
        }
        r->expects_continue = r->has_body;
    }
    return OCT_HTTP_PARSED_HEAD;
}

static enum oct_http_parsed read_head(struct oct_http_request *r)
{
    if (r->n_fields) {
        r->fields = oct_calloc(r->n_fields, sizeof *r->fields);
        if (!r->fields) {
            return OCT_HTTP_PARSED_NO_MEMORY;
        }
    }
    struct head_spans spans = {.r = r};
    http_parser p;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = &spans;
    const size_t len = r->head.len - r->begin;
    const size_t n = http_parser_execute(&p, &settings, r->head.data + r->begin, len);
    if (HTTP_PARSER_ERRNO(&p) == HPE_INVALID_METHOD) {
        return refuse(r, 400, "the request's method is not one of HTTP/1.1");
    }
    if (HTTP_PARSER_ERRNO(&p) == HPE_INVALID_VERSION || p.http_major != 1 || p.http_minor > 1) {
        return refuse(r, 400, "the request's version is not HTTP/1.1 or HTTP/1.0");
    }
    if (HTTP_PARSER_ERRNO(&p) == HPE_UNEXPECTED_CONTENT_LENGTH) {
        return refuse(r, 400,
                      "the request has two Content-Length headers, or one beside "
                      "Transfer-Encoding");
    }
    if (HTTP_PARSER_ERRNO(&p) != HPE_OK || n != len || spans.n_names != r->n_fields ||
        spans.n_values != r->n_fields || spans.n_targets != 1) {
        return refuse(r, 400, http_errno_description(HTTP_PARSER_ERRNO(&p)));
    }
    r->is_1_0 = p.http_minor == 0;
    r->method = method_of(p.method);
    r->method_name = http_method_str((enum http_method)p.method);
    end_texts(r, &spans);
    const char *target = r->head.data + r->target;
    if (*target == '*' && (target[1] || r->method != OCT_HTTP_OPTIONS)) {
        return refuse(r, 400, "the request's target is no path; it must begin with '/'");
    }
    return read_framing(r);
}

static enum oct_http_parsed parse_head(struct oct_http_request *r, const char *data, size_t len,
                                       size_t *used)
{
    const size_t room = r->limits->head_bytes - r->head.len;
    bool too_many = false;
    const char *why = scan_head(r, data, len < room ? len : room, used, &too_many);
    if (why) {
        return refuse(r, too_many ? 431 : 400, why);
    }
    if (oct_buf_append(&r->head, data, *used) != OCT_OK) {
        oct_error_clear();
        return OCT_HTTP_PARSED_NO_MEMORY;
    }
    if (r->state == HEAD_DONE) {
        const enum oct_http_parsed st = read_head(r);
        if (st == OCT_HTTP_PARSED_HEAD) {
            r->state = r->is_chunked ? CHUNK_SIZE : BODY_SIZED;
        }
        return st;
    }
    return len > *used ? refuse(r, 431, "the request's head is larger than this server takes")
                       : OCT_HTTP_PARSED_MORE;
}

/* ---- the body ---- */

/* Room for `extra` more bytes. A declared length is a bound, not an allocation: memory follows what
 * has been sent. */
static enum oct_http_parsed reserve_body(struct oct_http_request *r, size_t extra)
{
    struct oct_buf *b = &r->body;
    const size_t need = b->len + extra + 1; /* body_bytes at most, and a NUL */
    if (need <= b->cap) {
        return OCT_HTTP_PARSED_MORE;
    }
    size_t cap = b->cap < 2048 ? 4096 : 2 * b->cap;
    cap = cap < need ? need : cap;
    const size_t most = b->len + (r->is_chunked ? r->limits->body_bytes - b->len : r->left) + 1;
    cap = cap > most ? most : cap;
    if (cap - b->cap > r->limits->bodies_bytes - *r->bodies_bytes) {
        return refuse(r, 503, "the server holds as many request bodies as it may; retry later");
    }
    char *data = oct_realloc(b->data, cap);
    if (!data) {
        return OCT_HTTP_PARSED_NO_MEMORY;
    }
    *r->bodies_bytes += cap - b->cap;
    b->data = data;
    b->cap = cap;
    return OCT_HTTP_PARSED_MORE;
}

static enum oct_http_parsed keep(struct oct_http_request *r, const char *data, size_t len)
{
    const enum oct_http_parsed st = reserve_body(r, len);
    if (st == OCT_HTTP_PARSED_MORE) {
        memcpy(r->body.data + r->body.len, data, len);
        r->body.len += len;
        r->body.data[r->body.len] = '\0';
        r->left -= len;
    }
    return st;
}

static int hex_digit(unsigned char b)
{
    return b >= '0' && b <= '9'   ? b - '0'
           : b >= 'a' && b <= 'f' ? b - 'a' + 10
           : b >= 'A' && b <= 'F' ? b - 'A' + 10
                                  : -1;
}

/* The size of a chunk is known. */
static enum oct_http_parsed begin_chunk(struct oct_http_request *r)
{
    if (r->left == 0) {
        r->state = TRAILERS;
        r->trailer = AT_LINE;
        return OCT_HTTP_PARSED_MORE;
    }
    if (++r->n_chunks > r->limits->n_chunks) {
        return refuse(r, 400, "the request's body comes in more chunks than this server takes");
    }
    r->state = CHUNK_DATA;
    return OCT_HTTP_PARSED_MORE;
}

static enum oct_http_parsed chunk_size_byte(struct oct_http_request *r, unsigned char b)
{
    const int digit = hex_digit(b);
    if (digit >= 0 && r->n_digits < 16) {
        r->n_digits++;
        r->left = r->left * 16 + (uint64_t)digit;
        r->state = CHUNK_SIZE_MORE;
        return r->left > r->limits->body_bytes - r->body.len
                   ? refuse(r, 413, "the request's body is larger than this server takes")
                   : OCT_HTTP_PARSED_MORE;
    }
    if (digit < 0 && r->state == CHUNK_SIZE_MORE && (b == '\r' || b == ';')) {
        r->state = b == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
        return OCT_HTTP_PARSED_MORE;
    }
    return refuse(r, 400, "the size of a chunk is not a hexadecimal number");
}

/* One byte between the data of two chunks. */
static enum oct_http_parsed between_chunks(struct oct_http_request *r, unsigned char b)
{
    switch (r->state) {
    case CHUNK_SIZE:
    case CHUNK_SIZE_MORE:
        return chunk_size_byte(r, b);
    case CHUNK_EXTENSION:
        if (b == '\r') {
            r->state = CHUNK_SIZE_LF;
        } else if (!is_in_value(b) || ++r->n_extra > r->limits->head_bytes) {
            return refuse(r, 400, "a chunk's extension is too long or holds a control character");
        }
        return OCT_HTTP_PARSED_MORE;
    case CHUNK_SIZE_LF:
        return b == '\n' ? begin_chunk(r)
                         : refuse(r, 400, "the line with a chunk's size does not end with CR LF");
    case CHUNK_DATA_CR:
        r->state = CHUNK_DATA_LF;
        return b == '\r' ? OCT_HTTP_PARSED_MORE
                         : refuse(r, 400, "a chunk is longer than its size says");
    case CHUNK_DATA_LF:
        r->state = CHUNK_SIZE;
        r->left = 0;
        r->n_digits = 0;
        return b == '\n' ? OCT_HTTP_PARSED_MORE
                         : refuse(r, 400, "a chunk's data does not end with CR LF");
    default: { /* TRAILERS: read like headers, and forgotten */
        const char *why = NULL;
        r->trailer = scan_line_byte(r->trailer, b, &why);
        if (why || ++r->n_extra > r->limits->head_bytes) {
            return refuse(r, 400, why ? why : "the trailer of the body is too long");
        }
        if (r->trailer == HEAD_DONE) {
            r->state = WHOLE;
            return OCT_HTTP_PARSED_WHOLE;
        }
        return OCT_HTTP_PARSED_MORE;
    }
    }
}

static enum oct_http_parsed parse_chunked(struct oct_http_request *r, const char *data, size_t len,
                                          size_t *used)
{
    enum oct_http_parsed st = OCT_HTTP_PARSED_MORE;
    size_t i = 0;
    while (i < len && st == OCT_HTTP_PARSED_MORE) {
        if (r->state == CHUNK_DATA) {
            const size_t n = len - i < r->left ? len - i : (size_t)r->left;
            st = keep(r, data + i, n);
            i += n;
            r->state = r->left ? CHUNK_DATA : CHUNK_DATA_CR;
        } else {
            st = between_chunks(r, (unsigned char)data[i++]);
        }
    }
    *used = i;
    return st;
}

static enum oct_http_parsed parse_sized(struct oct_http_request *r, const char *data, size_t len,
                                        size_t *used)
{
    if (r->left > r->limits->body_bytes - r->body.len) {
        return refuse(r, 413, "the request's body is larger than this server takes");
    }
    const size_t n = len < r->left ? len : (size_t)r->left;
    const enum oct_http_parsed st = n ? keep(r, data, n) : OCT_HTTP_PARSED_MORE;
    *used = n;
    if (st == OCT_HTTP_PARSED_MORE && r->left == 0) {
        r->state = WHOLE;
        return OCT_HTTP_PARSED_WHOLE;
    }
    return st;
}

/* ---- */

void oct_http_request_init(struct oct_http_request *r, const struct oct_http_limits *limits,
                           size_t *bodies_bytes)
{
    *r = (struct oct_http_request){.limits = limits, .bodies_bytes = bodies_bytes};
}

void oct_http_request_free(struct oct_http_request *r)
{
    *r->bodies_bytes -= r->body.cap;
    oct_buf_free(&r->head);
    oct_buf_free(&r->body);
    oct_free(r->fields);
    r->fields = NULL;
    r->n_fields = 0;
}

enum oct_http_parsed oct_http_request_parse(struct oct_http_request *r, const char *data,
                                            size_t len, size_t *used)
{
    *used = 0;
    if (r->state < HEAD_DONE) {
        return parse_head(r, data, len, used);
    }
    return r->is_chunked ? parse_chunked(r, data, len, used) : parse_sized(r, data, len, used);
}

const char *oct_http_request_header(const struct oct_http_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        if (!strcasecmp(r->head.data + r->fields[i].name, name)) {
            return r->head.data + r->fields[i].value;
        }
    }
    return NULL;
}
