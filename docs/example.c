/* SPDX-License-Identifier: Apache-2.0
 *
 * example.c - answers questions, all at once: example MODEL "question"... */
#include <octavo.h>

#include <stdio.h>
#include <string.h>

struct answer {
    char text[4096]; /* [len], UTF-8 */
    size_t len;
    oct_status status;
};

/* Runs on the engine's thread: once a token, and once more or together with the last one at the
 * end. */
static void on_event(void *user, const struct oct_event *ev)
{
    struct answer *a = user;
    const size_t room = sizeof a->text - a->len;
    const size_t n = ev->text_len < room ? ev->text_len : room;
    memcpy(a->text + a->len, ev->text, n);
    a->len += n;
    a->status = ev->status;
}

static oct_status ask(oct_engine *e, const char *question, struct answer *a)
{
    char messages[1024]; /* a real program writes JSON with a library: quotes need escaping */
    int32_t *ids;
    size_t n;
    uint64_t id;
    (void)snprintf(messages, sizeof messages, "[{\"role\": \"user\", \"content\": \"%s\"}]",
                   question);
    oct_status st = oct_engine_chat_tokens(e, messages, NULL, &ids, &n);
    if (st != OCT_OK) {
        return st;
    }
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    sampling.max_tokens = 64;
    struct oct_request request = OCT_REQUEST_INIT;
    request.prompt = ids;
    request.n_prompt = n;
    request.sampling = &sampling;
    request.on_event = on_event;
    request.user = a;
    st = oct_engine_submit(e, &request, &id);
    oct_buffer_free(ids);
    return st;
}

int main(int argc, char **argv)
{
    static struct answer answers[16];
    const int n = argc - 2 < 16 ? argc - 2 : 16;
    oct_engine *e = NULL;
    struct oct_engine_options options = OCT_ENGINE_OPTIONS_INIT;
    options.model_path = argc > 2 ? argv[1] : "";
    oct_status st = oct_engine_open(&options, &e);
    for (int i = 0; i < n && st == OCT_OK; i++) {
        st = ask(e, argv[2 + i], &answers[i]);
    }
    if (st == OCT_OK) {
        st = oct_engine_drain(e, -1); /* until all of them have ended */
    }
    if (st != OCT_OK) {
        (void)fprintf(stderr, "example: %s\n", oct_last_error());
    }
    oct_engine_close(e);
    for (int i = 0; i < n && st == OCT_OK; i++) {
        (void)printf("%s\n", argv[2 + i]);
        (void)fwrite(answers[i].text, 1, answers[i].len, stdout);
        (void)printf("\n");
        st = answers[i].status;
    }
    return st == OCT_OK ? 0 : 1;
}
