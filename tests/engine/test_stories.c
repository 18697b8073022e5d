/* SPDX-License-Identifier: Apache-2.0
 *
 * A small model that was really trained, from llama2.c's format through a GGUF file: its greedy
 * text is the reference's, word for word. Skips, visibly, where ../shared is not. */
#include "support/llama2c.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* What llama2.c's run.c prints at temperature 0 (../shared/data/README.md). */
static const char expected[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She "
    "said, \"I want to play with your ball, but I can't find it.\"";

Test(stories, the_greedy_text_is_that_of_llama2c, .timeout = 120)
{
    if (!oct_stories_available()) {
        cr_skip_test("../shared/data/stories260K.bin is not here");
    }
    static const char *const dtypes[] = {"float32", "bfloat16"};
    char dir[256], path[300];
    struct oct_buf image = {0};
    run_make_dir(dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/stories.gguf", dir);
    oct_llama2c_gguf(OCT_STORIES_BIN, OCT_STORIES_TOK, &image);
    cr_assert_eq(oct_file_replace(path, image.data, image.len), OCT_OK, "%s", oct_last_error());
    oct_buf_free(&image);
    for (int i = 0; i < 2; i++) {
        struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
        oct_engine *e = NULL;
        int32_t *ids;
        size_t n;
        static struct run_answer a;
        memset(&a, 0, sizeof a);
        o.model_path = path;
        o.device = "cpu";
        o.manual = 1;
        o.dtype = dtypes[i];
        cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(oct_engine_tokenize(e, "", 0, OCT_TOKENIZE_BOS_EOS, &ids, &n), OCT_OK);
        cr_assert_eq(n, 1u, "%zu tokens for an empty prompt; it should be BOS alone", n);
        struct oct_sampling s = OCT_SAMPLING_INIT;
        s.temperature = 0;
        s.max_tokens = 200;
        run_submit(e, ids, n, &s, &a);
        run_to_end(e);
        oct_buffer_free(ids);
        oct_engine_close(e);
        const char *text = a.text + (a.text[0] == ' '); /* run.c strips the space after BOS */
        (void)printf("%s: %.120s...\n", dtypes[i], text);
        if (i == 0) {
            cr_assert_eq(strncmp(text, expected, sizeof expected - 1), 0, "%s", text);
        } else { /* rounding to bf16 may choose another word later on; the first sentence holds */
            cr_assert_eq(strncmp(text, expected, 53), 0, "%s", text);
        }
    }
    run_remove_dir(dir);
}
