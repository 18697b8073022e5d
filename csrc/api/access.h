/* SPDX-License-Identifier: Apache-2.0
 *
 * access.h - who may call: API keys, and which pages a browser may call from. */
#ifndef OCT_API_ACCESS_H
#define OCT_API_ACCESS_H

#include "api/api.h"

/* True if no key is asked for, or the request has one: `Authorization: Bearer KEY` or `x-api-key:
 * KEY`. Takes the same time whatever part of a key is right. */
bool oct_access_has_key(const struct oct_api_config *c, const struct oct_http_exchange *x);

enum oct_origin {
    OCT_ORIGIN_NONE,    /* no browser's page, or none of another origin */
    OCT_ORIGIN_ALLOWED, /* another origin's page, which is allowed: the answer must say so */
    OCT_ORIGIN_FOREIGN, /* may not call */
};
/* By the headers Origin and Host. A page that the server itself gave has both alike; so has a page
 * of a foreign name that was made to mean this machine (DNS rebinding), which is why the name must
 * be an address, one without a dot, or one of .local or .localhost, unless a key is asked for. */
enum oct_origin oct_access_origin(const struct oct_api_config *c,
                                  const struct oct_http_exchange *x);
/* The entry of allowed_origins that allows it, or NULL. */
const char *oct_access_allowed(const struct oct_api_config *c, const struct oct_http_exchange *x);

#endif
