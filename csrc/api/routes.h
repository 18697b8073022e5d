/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.h - finds the row of a request in the one table. */
#ifndef OCT_API_ROUTES_H
#define OCT_API_ROUTES_H

#include "api/call.h"

/* NULL: there is none; *other is then a row of the same path with another method, or NULL. */
const struct oct_route *oct_route_find(const char *path, enum oct_http_method m,
                                       const struct oct_route **other);

#endif
