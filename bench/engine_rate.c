/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_rate.c - what the engine costs without a model: requests of 4 to 400 tokens through
 * octavo.h on a fake device, on one core.
 *
 *     engine_rate [REQUESTS=100000] [RUNNING=256]
 *
 * Prints requests a second of engine work: wall-clock time less what the fake device took. The
 * memory in use is read after the first thousand requests, and the most of it later on. */
#include "support/fake_runner.h"

#include "base/clock.h"
#include "base/rng.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUEUED = 512, SHORTEST = 4, LONGEST = 400 };

struct load {
    oct_engine *e;
    int64_t n_submitted, n_ended, n_wrong, n_tokens;
    int32_t prompt[LONGEST];
};

static void on_events(void *user, const struct oct_event *const *events, size_t n)
{
    struct load *l = user;
    for (size_t i = 0; i < n; i++) {
        l->n_tokens += events[i]->token >= 0;
        if (events[i]->finish != OCT_FINISH_NONE) {
            l->n_ended++;
            l->n_wrong += events[i]->finish != OCT_FINISH_LENGTH;
        }
    }
}

/* The tokens of a request, prompt and answer together, are spread evenly; so is where the answer
 * begins. */
static void submit(struct load *l)
{
    struct oct_request q = OCT_REQUEST_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    uint32_t r[4];
    uint64_t id;
    oct_rng_philox(1, (uint64_t)l->n_submitted, 0, r);
    const int32_t total = SHORTEST + (int32_t)(r[0] % (LONGEST - SHORTEST + 1));
    const int32_t n_prompt = 1 + (int32_t)(r[1] % (uint32_t)(total - 1));
    for (int32_t i = 0; i < n_prompt; i++) {
        l->prompt[i] = 3 + (int32_t)((r[2] + (uint32_t)i * 7) % (FAKE_N_TOKENS - 3));
    }
    s.temperature = 0;
    s.max_tokens = total - n_prompt;
    q.prompt = l->prompt;
    q.n_prompt = (size_t)n_prompt;
    q.sampling = &s;
    if (oct_engine_submit(l->e, &q, &id) != OCT_OK) {
        (void)fprintf(stderr, "engine_rate: %s\n", oct_last_error());
        exit(1);
    }
    l->n_submitted++;
}

int main(int argc, char **argv)
{
    const int64_t n_requests = argc > 1 ? atoll(argv[1]) : 100000;
    const int n_running = argc > 2 ? atoi(argv[2]) : 256;
    struct load l = {0};
    const struct fake_options o = {.quick = true,
                                   .manual = true,
                                   .n_pages = n_running * 8,
                                   .max_num_seqs = n_running,
                                   .max_num_batched_tokens = 2048,
                                   .max_waiting = QUEUED,
                                   .on_events = on_events,
                                   .events_user = &l};
    struct fake f;
    fake_open(&o, &f);
    l.e = f.e;
    size_t early = 0, most = 0; /* bytes allocated */
    int64_t next_look = 1000;
    const int64_t begin_us = oct_clock_us();
    while (l.n_ended < n_requests) {
        while (l.n_submitted < n_requests && l.n_submitted - l.n_ended < n_running + QUEUED / 2) {
            submit(&l);
        }
        if (oct_engine_step(f.e, NULL) != OCT_OK) {
            (void)fprintf(stderr, "engine_rate: %s\n", oct_last_error());
            return 1;
        }
        if (l.n_ended >= next_look) {
            const size_t used = mallinfo2().uordblks;
            early = early ? early : used;
            most = used > most ? used : most;
            next_look += 1000;
        }
    }
    const double wall_s = (double)(oct_clock_us() - begin_us) * 1e-6;
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(f.e, &s);
    const double device_s = (double)s.forward_us * 1e-6, engine_s = wall_s - device_s;
    const double steps = (double)s.n_steps;
    (void)printf("%lld requests, %lld tokens answered, %d running at once, %.0f steps\n",
                 (long long)l.n_ended, (long long)l.n_tokens, n_running, steps);
    (void)printf(
        "wall %.2f s, fake device %.2f s, engine %.2f s: %.0f requests/s, %.2f M tokens/s\n",
        wall_s, device_s, engine_s, (double)l.n_ended / engine_s,
        (double)l.n_tokens / engine_s * 1e-6);
    (void)printf(
        "a step: %.1f us schedule, %.1f us take and deliver, %.1f us submit and the rest\n",
        (double)s.schedule_us / steps, (double)s.deliver_us / steps,
        (engine_s * 1e6 - (double)s.schedule_us - (double)s.deliver_us) / steps);
    (void)printf("memory: %.2f MB after 1,000 requests, at most %.2f MB later\n",
                 (double)early * 1e-6, (double)most * 1e-6);
    fake_close(&f);
    return l.n_wrong != 0;
}
