/* SPDX-License-Identifier: Apache-2.0
 *
 * inbox.h - the engine's events on their way to the loop. The engine's thread copies a step's
 * events under one lock and wakes the loop once; the loop takes all there are at once, and reads
 * them from the other of two buffers. Memory that runs out loses a token, never the end of a
 * request: that is marked in the choice itself. */
#ifndef OCT_API_INBOX_H
#define OCT_API_INBOX_H

#include "api/call.h"

/* Called for each event, in order, on the thread that takes. Everything in it is borrowed. lost: it
 * stands for events that there was no memory for; its status is OCT_E_MEM, and it is the last one
 * of its request if finish says so. */
typedef void oct_inbox_fn(struct oct_api *a, struct oct_choice *ch, const struct oct_event *ev);

OCT_CHECKED oct_status oct_inbox_create(struct oct_api *a, void (*wake)(struct oct_http_task *),
                                        struct oct_inbox **out);
void oct_inbox_destroy(struct oct_inbox *in); /* NULL is fine */
/* Events wake this loop; NULL: nobody. */
void oct_inbox_set_http(struct oct_inbox *in, struct oct_http *h);
/* The engine's on_events; user: the inbox. An event's user is its choice. */
void oct_inbox_put(void *inbox, const struct oct_event *const *events, size_t n);
void oct_inbox_take(struct oct_inbox *in, oct_inbox_fn *fn);
struct oct_api *oct_inbox_api(struct oct_http_task *t); /* whose task it is */

#endif
