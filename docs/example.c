/* SPDX-License-Identifier: Apache-2.0
 *
 * example.c - answers one question: example MODEL "question" */
#include <octavo.h>

#include <stdio.h>

static void on_event(void *user, const struct oct_event *ev)
{
    (void)fwrite(ev->text, 1, ev->text_len, stdout);
    (void)fflush(stdout);
    if (ev->finish != OCT_FINISH_NONE) {
        *(oct_status *)user = ev->status;
        (void)printf("\n[%d tokens]\n", ev->n_output_tokens);
    }
}

static oct_status answer(oct_engine *e, const char *question)
{
    char messages[1024];
    int32_t *ids;
    size_t n;
    uint64_t id;
    oct_status st, ended = OCT_OK;
    (void)snprintf(messages, sizeof messages, "[{\"role\": \"user\", \"content\": \"%s\"}]",
                   question);
    if ((st = oct_engine_chat_tokens(e, messages, NULL, &ids, &n)) != OCT_OK) {
        return st;
    }
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    sampling.max_tokens = 64;
    struct oct_request request = OCT_REQUEST_INIT;
    request.prompt = ids;
    request.n_prompt = n;
    request.sampling = &sampling;
    request.on_event = on_event;
    request.user = &ended;
    st = oct_engine_submit(e, &request, &id);
    oct_buffer_free(ids);
    if (st == OCT_OK) {
        st = oct_engine_wait(e, id, -1);
    }
    return st != OCT_OK ? st : ended;
}

int main(int argc, char **argv)
{
    oct_engine *e;
    struct oct_engine_options options = OCT_ENGINE_OPTIONS_INIT;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: example MODEL \"question\"\n");
        return 2;
    }
    options.model_path = argv[1];
    oct_status st = oct_engine_open(&options, &e);
    if (st == OCT_OK) {
        st = answer(e, argv[2]);
        oct_engine_close(e);
    }
    if (st != OCT_OK) {
        (void)fprintf(stderr, "example: %s\n", oct_last_error());
    }
    return st == OCT_OK ? 0 : 1;
}
