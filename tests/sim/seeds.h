/* SPDX-License-Identifier: Apache-2.0
 *
 * seeds.h - what both simulations are made with: chance out of a seed, the program's clock, and the
 * command line that runs seeds. seeds.c defines the clock in place of the library's. */
#ifndef OCT_TEST_SEEDS_H
#define OCT_TEST_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

struct seed_chance {
    uint64_t seed, draws;
    uint32_t stream; /* of its own for each simulation */
    uint32_t word[4];
    int n_words;
};
uint32_t seed_draw(struct seed_chance *c, uint32_t limit); /* in [0, limit) */

extern int64_t seed_clock_us;

struct seed_program {
    const char *name, *about; /* "test_sim", a sentence */
    uint64_t n_seeds;         /* without arguments */
    void (*run)(uint64_t seed, bool verbose);
    void (*report)(uint64_t n_seeds); /* nothing went wrong */
};
/* NAME [--first N] [--seeds N] | --seed N [--verbose]. A signal says which seed it was. */
int seed_main(const struct seed_program *p, int argc, char **argv);
/* The line that repeats the seed that runs, on standard error; ends the process with 1. */
__attribute__((noreturn)) void seed_wrong(const char *name, uint64_t seed);

#endif
