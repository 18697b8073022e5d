/* SPDX-License-Identifier: Apache-2.0
 *
 * models.c - proof_models DIR: writes the model files that the comparison runs on.
 *
 * tiny.gguf is a llama of 2 layers, 64 wide, F32, with a byte-level BPE: small enough that what is
 * measured is the server. hostile-NAME.gguf are the same model with a chat template that would run
 * for ever, or eat the stack or the memory, of whoever renders it without a budget. */
#include "support/tiny.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct deep {
    const char *name, *before, *open, *middle, *close, *after;
    int n; /* of open, and of close */
};

/* The whole text, given away. */
static char *write_out(const struct deep *d)
{
    struct oct_buf b = {0};
    oct_status st = oct_buf_append(&b, d->before, strlen(d->before));
    for (int i = 0; i < d->n && !st; i++) {
        st = oct_buf_append(&b, d->open, strlen(d->open));
    }
    st = st ? st : oct_buf_append(&b, d->middle, strlen(d->middle));
    for (int i = 0; i < d->n && !st; i++) {
        st = oct_buf_append(&b, d->close, strlen(d->close));
    }
    st = st ? st : oct_buf_append(&b, d->after, strlen(d->after));
    OCT_ASSERT(!st);
    return b.data;
}

static void write_hostile(struct oct_tiny t, const char *dir, const char *name, const char *text)
{
    char file[64];
    (void)snprintf(file, sizeof file, "hostile-%s", name);
    t.chat_template = text;
    oct_tiny_write_gguf(&t, dir, file);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *text;
    } plain[] = {
        {"range", "{% for i in range(1000000000) %}{{ i }}{% endfor %}"},
        {"loops", "{% for a in range(99999) %}{% for b in range(99999) %}"
                  "{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"},
        {"doubling", "{% set n = namespace(s='0123456789abcdef') %}"
                     "{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"},
        {"recursion", "{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}"},
    };
    static const struct deep deep[] = {
        {"parens", "{{ ", "(", "1", ")", " }}", 100000},
        {"lists", "{{ ", "[", "", "]", " }}", 100000},
        {"blocks", "", "{% if true %}", "x", "{% endif %}", "", 50000},
    };
    if (argc != 2) {
        (void)fprintf(stderr, "usage: proof_models DIR\n");
        return 2;
    }
    (void)mkdir(argv[1], 0777);
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.max_positions = 4096;
    t.vocab_size = OCT_TINY_N_TOKENS; /* no unused rows: servers show those in different words */
    oct_tiny_write_gguf(&t, argv[1], "tiny");
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        write_hostile(t, argv[1], plain[i].name, plain[i].text);
    }
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        char *text = write_out(&deep[i]);
        write_hostile(t, argv[1], deep[i].name, text);
        oct_free(text);
    }
    return 0;
}
