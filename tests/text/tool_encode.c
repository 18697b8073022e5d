/* SPDX-License-Identifier: Apache-2.0
 *
 * tool_encode VOCAB [CONFIG] - for scripts/diff_tokenizer.py: reads requests from standard input,
 * writes the answers to standard output. Numbers are 32-bit, little-endian.
 *   request  0, flags of oct_tokenizer_encode, n, n bytes of text  ->  n, n ids
 *   request  1, skip_special, n, n ids                             ->  n, n bytes of text
 *   request  2, 0, n, n bytes of text  ->  0; encodes it again and again, prints MB/s
 *   request  3, 0, n, n bytes of text  ->  microseconds of processor time, the best of three
 * Prints the time to read and load the vocabulary. What it prints goes to standard error. */
#include "vocab_file.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void die(void)
{
    (void)fprintf(stderr, "tool_encode: %s\n", oct_last_error());
    exit(1);
}

static void answer(uint32_t n, const void *data, size_t size)
{
    (void)fwrite(&n, sizeof n, 1, stdout);
    (void)fwrite(data, size, n, stdout);
    (void)fflush(stdout);
}

static void measure(const struct oct_tokenizer *t, const char *text, size_t len)
{
    double best = 0;
    size_t n_ids = 0;
    for (int i = 0; i < 5; i++) {
        struct oct_ids ids = {0};
        const int64_t start = oct_clock_us();
        if (oct_tokenizer_encode(t, text, len, 0, &ids) != OCT_OK) {
            die();
        }
        const double speed = (double)len / (double)(oct_clock_us() - start + 1);
        best = speed > best ? speed : best;
        n_ids = ids.len;
        oct_ids_free(&ids);
    }
    (void)fprintf(stderr, "%zu bytes, %zu ids, best of 5: %.2f MB/s\n", len, n_ids, best);
}

static uint32_t cpu_us(const struct oct_tokenizer *t, const char *text, size_t len)
{
    int64_t best = UINT32_MAX;
    for (int i = 0; i < 3; i++) {
        struct oct_ids ids = {0};
        struct timespec start, end;
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
        if (oct_tokenizer_encode(t, text, len, 0, &ids) != OCT_OK) {
            die();
        }
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        const int64_t us =
            (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000;
        best = us < best ? us : best;
        oct_ids_free(&ids);
    }
    return (uint32_t)best;
}

int main(int argc, char **argv)
{
    struct oct_tokenizer *t = NULL;
    if (argc < 2) {
        return 2;
    }
    const int64_t start = oct_clock_us();
    if (vocab_file_open(argv[1], argc > 2 ? argv[2] : NULL, &t) != OCT_OK) {
        die();
    }
    (void)fprintf(stderr, "loaded in %.1f ms\n", (double)(oct_clock_us() - start) / 1e3);
    uint32_t head[3];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const size_t size = (size_t)head[2] * (head[0] == 1 ? 4 : 1);
        char *data = oct_malloc(size);
        if (!data || (size && fread(data, 1, size, stdin) != size)) {
            return 1;
        }
        if (head[0] == 0) {
            struct oct_ids ids = {0};
            if (oct_tokenizer_encode(t, data, head[2], head[1], &ids) != OCT_OK) {
                die();
            }
            answer((uint32_t)ids.len, ids.data, 4);
            oct_ids_free(&ids);
        } else if (head[0] == 1) {
            struct oct_buf text = {0};
            if (oct_tokenizer_decode(t, (const int32_t *)(void *)data, head[2], head[1] != 0,
                                     &text) != OCT_OK) {
                die();
            }
            answer((uint32_t)text.len, text.data ? text.data : "", 1);
            oct_buf_free(&text);
        } else if (head[0] == 2) {
            measure(t, data, head[2]);
            answer(0, "", 1);
        } else {
            answer(cpu_us(t, data, head[2]), "", 0);
        }
        oct_free(data);
    }
    oct_tokenizer_destroy(t);
    return 0;
}
