/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* ---- keys ---- */

static bool equal(const char *key, const char *given, size_t len)
{
    const size_t n = strlen(key);
    unsigned char diff = n != len;
    for (size_t i = 0; i < len; i++) {
        /* reads the key round and round: as many steps whatever its length */
        diff |= (unsigned char)(key[n ? i % n : 0] ^ given[i]);
    }
    return diff == 0;
}

static bool is_key(const struct oct_api_config *c, const char *given)
{
    const size_t len = strlen(given);
    bool found = false;
    for (size_t i = 0; i < c->n_api_keys; i++) {
        found |= equal(c->api_keys[i], given, len);
    }
    return found;
}

bool oct_access_has_key(const struct oct_api_config *c, const struct oct_http_exchange *x)
{
    if (c->n_api_keys == 0) {
        return true;
    }
    const char *bearer = oct_http_header(x, "authorization");
    const char *plain = oct_http_header(x, "x-api-key");
    if (bearer && !strncasecmp(bearer, "bearer ", 7)) {
        bearer += 7;
        return is_key(c, bearer + strspn(bearer, " "));
    }
    return plain && is_key(c, plain);
}

/* ---- origins ---- */

static bool ends_with(const char *s, size_t len, const char *end)
{
    const size_t n = strlen(end);
    return len >= n && !strncasecmp(s + len - n, end, n);
}

/* "127.0.0.1:8000", "[::1]", "box", "box.local:80": names that nobody outside can give. */
static bool is_local_name(const char *host)
{
    char name[256];
    struct in_addr a;
    if (*host == '[') {
        return true; /* an IPv6 address */
    }
    const size_t len = strcspn(host, ":");
    if (len == 0 || len >= sizeof name) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    return inet_pton(AF_INET, name, &a) == 1 || !memchr(name, '.', len) ||
           ends_with(name, len, ".localhost") || ends_with(name, len, ".local");
}

static bool is_own(const struct oct_api_config *c, const char *origin, const char *host)
{
    const char *scheme_end = strstr(origin, "://");
    return host && scheme_end && !strcasecmp(scheme_end + 3, host) &&
           (c->n_api_keys > 0 || is_local_name(host));
}

const char *oct_access_allowed(const struct oct_api_config *c, const struct oct_http_exchange *x)
{
    const char *origin = oct_http_header(x, "origin");
    for (size_t i = 0; origin && i < c->n_allowed_origins; i++) {
        const char *allowed = c->allowed_origins[i];
        if (!strcmp(allowed, "*") || !strcasecmp(allowed, origin)) {
            return allowed;
        }
    }
    return NULL;
}

enum oct_origin oct_access_origin(const struct oct_api_config *c, const struct oct_http_exchange *x)
{
    const char *origin = oct_http_header(x, "origin");
    return !origin                                         ? OCT_ORIGIN_NONE
           : oct_access_allowed(c, x)                      ? OCT_ORIGIN_ALLOWED
           : is_own(c, origin, oct_http_header(x, "host")) ? OCT_ORIGIN_NONE
                                                           : OCT_ORIGIN_FOREIGN;
}
