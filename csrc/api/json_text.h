/* SPDX-License-Identifier: Apache-2.0
 *
 * json_text.h - JSON written straight into a buffer: answers are made thousands of times a second,
 * and no tree of values is needed for that. */
#ifndef OCT_API_JSON_TEXT_H
#define OCT_API_JSON_TEXT_H

#include "base/mem.h"

/* A string with its quotes. What is not UTF-8 in it becomes U+FFFD. */
OCT_CHECKED oct_status oct_json_text(struct oct_buf *out, const char *s, size_t len);
/* A log probability: nine digits, which give a float back exactly; -9999 for what is not finite, as
 * vLLM writes it, since JSON has no infinity. */
OCT_CHECKED oct_status oct_json_logprob(struct oct_buf *out, float x);
/* The number of characters (code points) of a UTF-8 text. */
size_t oct_utf8_chars(const char *s, size_t len);

#endif
