/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.h - chat templates: the subset of Jinja that models use, rendered as Hugging Face renders it
 * (jinja2 ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loopcontrols).
 *
 * A template is data out of an untrusted file: no attributes of the host, no imports; parse depth,
 * call depth, steps, output and ranges have budgets (reliability R6). A compiled template is
 * immutable; any number of threads may render it. */
#ifndef OCT_TEXT_CHAT_H
#define OCT_TEXT_CHAT_H

#include "base/mem.h"

#include <jansson.h>

struct oct_template;

/* source[len]: UTF-8. An error names line and expression. */
OCT_CHECKED oct_status oct_template_compile(const char *source, size_t len,
                                            struct oct_template **out);
void oct_template_destroy(struct oct_template *t); /* NULL is fine */

/* Renders with `vars`, a JSON object: messages, tools, documents, add_generation_prompt, bos_token,
 * eos_token and whatever else the caller passes; borrowed. now_s: seconds since 1970 that
 * strftime_now shows (local time zone is UTC); a negative one means the wall clock.
 * OCT_E_ARG: the template itself refused the messages (raise_exception); OCT_E_LIMIT: over a
 * budget; OCT_E_FORMAT: an error in the template; OCT_E_UNSUPPORTED: it uses a part of Jinja that
 * chat templates do not need. The text is appended to `out`, all of it or nothing. */
OCT_CHECKED oct_status oct_template_render(const struct oct_template *t, const json_t *vars,
                                           int64_t now_s, struct oct_buf *out);

/* The same text, and who wrote it: for each byte of it one byte is appended to own_bytes, 1 if it
 * is the template's own, 0 if it is out of `vars` or computed of that. oct_tokenizer_encode_marked
 * takes both. Text out of `vars` that counts as the template's: a variable that `own` (an object or
 * NULL; bos_token and the like, set by the engine) holds under the same name as the same jansson
 * value, and a "role" that is one of the usual words. */
OCT_CHECKED oct_status oct_template_render_marked(const struct oct_template *t, const json_t *vars,
                                                  const json_t *own, int64_t now_s,
                                                  struct oct_buf *out, struct oct_buf *own_bytes);

#endif
