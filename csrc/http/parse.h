/* SPDX-License-Identifier: Apache-2.0
 *
 * parse.h - bytes of a connection into one request: no sockets, no clock, what the fuzz target
 * drives.
 *
 * The head is kept as it came, every byte of it checked by a strict scanner, and only then given to
 * http-parser: Debian builds that library in its lax mode, which takes bare line feeds, folded
 * lines, spaces in names, any version and, in a chunked body, any two bytes where a
 * CR LF belongs. Chunked bodies are therefore read here. Whatever two readers of HTTP could
 * understand in two ways is refused, so that a proxy in front never sees other borders of requests
 * than we do. */
#ifndef OCT_HTTP_PARSE_H
#define OCT_HTTP_PARSE_H

#include "http/http.h"

enum oct_http_parsed {
    OCT_HTTP_PARSED_MORE,    /* all bytes used, the request goes on */
    OCT_HTTP_PARSED_HEAD,    /* the head is there; said once, before the body is looked at */
    OCT_HTTP_PARSED_WHOLE,   /* head and body are there */
    OCT_HTTP_PARSED_REFUSED, /* see status and why; nothing more may be parsed */
    OCT_HTTP_PARSED_NO_MEMORY,
};

/* Offsets into the head; both texts end with NUL there. */
struct oct_http_field {
    uint32_t name, value;
};

struct oct_http_request {
    const struct oct_http_limits *limits; /* borrowed */
    size_t *bodies_bytes;                 /* borrowed: the sum over all requests */
    struct oct_buf head;
    struct oct_buf body;           /* its capacity is part of *bodies_bytes */
    struct oct_http_field *fields; /* owned, [n_fields] */
    size_t n_fields;               /* while the head is read: those begun */
    uint32_t begin, target, query; /* offsets into the head; query 0: none */
    enum oct_http_method method;
    const char *method_name;          /* static */
    uint64_t left;                    /* bytes of the body, or of this chunk, to come */
    size_t n_chunks, n_extra;         /* chunks; bytes of chunk extensions and trailers */
    uint8_t state, trailer, n_digits; /* where we are; in the trailer; in a chunk's size */
    bool is_1_0, keep_alive, expects_continue, is_chunked, has_body;
    int status;      /* PARSED_REFUSED */
    const char *why; /* static */
};

/* Ready for the first byte. `limits` has no zeros. */
void oct_http_request_init(struct oct_http_request *r, const struct oct_http_limits *limits,
                           size_t *bodies_bytes);
void oct_http_request_free(struct oct_http_request *r);

/* Reads on; *used of the len bytes are consumed. After PARSED_HEAD call it again (also with no
 * bytes left) for the body. */
enum oct_http_parsed oct_http_request_parse(struct oct_http_request *r, const char *data,
                                            size_t len, size_t *used);

/* The first header of that name, or NULL. */
const char *oct_http_request_header(const struct oct_http_request *r, const char *name);

#endif
