/* SPDX-License-Identifier: Apache-2.0
 *
 * page.h - the web page at `/`: page.html, which is part of the program, and the policy that keeps
 * a browser from running or loading anything else. oct_api_page (call.h) answers with both. */
#ifndef OCT_API_PAGE_H
#define OCT_API_PAGE_H

#include "base/status.h"

#include <stddef.h>

enum { OCT_PAGE_POLICY_BYTES = 512 };

const char *oct_page_html(size_t *len);
/* The Content-Security-Policy: hashes of the page's one script and one style sheet. Fails when
 * memory runs out. */
OCT_CHECKED oct_status oct_page_policy(char *dst, size_t size);

#endif
