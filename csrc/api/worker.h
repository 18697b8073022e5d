/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.h - the threads that parse, render, tokenize and write whole answers, so that the loop
 * does not: a call is handed over, and comes back as a task of the loop. */
#ifndef OCT_API_WORKER_H
#define OCT_API_WORKER_H

#include "api/call.h"

/* n threads, called api-1 ...; they block all signals. */
OCT_CHECKED oct_status oct_workers_create(int32_t n, struct oct_workers **out);
/* job(c) runs on a worker, then c->task is posted to h. Allocates nothing; how many calls may wait
 * is the service's matter (max_queued_requests). */
void oct_workers_give(struct oct_workers *w, struct oct_http *h, struct oct_call *c,
                      void (*job)(struct oct_call *));
/* Waits for the job that each is at. Returns the calls whose task was not posted, linked by
 * next_job: nothing is posted from now on. */
struct oct_call *oct_workers_stop(struct oct_workers *w);
void oct_workers_destroy(struct oct_workers *w); /* NULL is fine; stopped or without jobs */

#endif
