/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/seeds.h"

#include "base/clock.h"
#include "base/rng.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t seed_draw(struct seed_chance *c, uint32_t limit)
{
    if (c->n_words == 0) {
        oct_rng_philox(c->seed, c->draws++, c->stream, c->word);
        c->n_words = 4;
    }
    return (uint32_t)(((uint64_t)c->word[--c->n_words] * limit) >> 32);
}

/* These definitions stand before the library's. */
int64_t seed_clock_us;

int64_t oct_clock_us(void)
{
    return seed_clock_us;
}

int64_t oct_clock_wall_s(void)
{
    return seed_clock_us / 1000000;
}

void seed_wrong(const char *name, uint64_t seed)
{
    (void)fprintf(stderr, "\nrepeat: %s --seed %llu --verbose\n", name, (unsigned long long)seed);
    _exit(1);
}

static const struct seed_program *program;
static uint64_t current;

/* An assertion, or worse. */
static void on_signal(int sig)
{
    char text[128];
    const int n =
        snprintf(text, sizeof text, "signal %d in seed %llu\nrepeat: %s --seed %llu\n", sig,
                 (unsigned long long)current, program->name, (unsigned long long)current);
    const ssize_t ignored = write(2, text, (size_t)n);
    (void)ignored;
    _exit(1);
}

static uint64_t number(const char *text)
{
    char *end;
    const unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end) {
        (void)fprintf(stderr, "%s is no number\n", text);
        exit(2);
    }
    return n;
}

int seed_main(const struct seed_program *p, int argc, char **argv)
{
    uint64_t first = 1, n = p->n_seeds;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--verbose")) {
            verbose = true;
        } else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
            first = number(argv[++i]);
            n = 1;
        } else if (!strcmp(argv[i], "--seeds") && i + 1 < argc) {
            n = number(argv[++i]);
        } else if (!strcmp(argv[i], "--first") && i + 1 < argc) {
            first = number(argv[++i]);
        } else {
            (void)fprintf(stderr, "%s [--first N] [--seeds N] | --seed N [--verbose]\n%s\n",
                          p->name, p->about);
            return 2;
        }
    }
    program = p;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        (void)signal(signals[i], on_signal);
    }
    for (current = first; current < first + n; current++) {
        p->run(current, verbose);
    }
    p->report(n);
    return 0;
}
