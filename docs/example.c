/* SPDX-License-Identifier: Apache-2.0
 *
 * example.c - answers questions, all at once: example MODEL "question"... */
#include <octavo.h>

#include <stdio.h>
#include <string.h>

static struct answer {
    char text[4096]; /* [len], UTF-8 */
    size_t len;
    oct_status status;
} answers[16];

/* Runs on the engine's thread: once a token, and at the end. */
static void on_event(void *user, const struct oct_event *ev)
{
    struct answer *a = user;
    const size_t room = sizeof a->text - a->len, n = ev->text_len < room ? ev->text_len : room;
    memcpy(a->text + a->len, ev->text, n);
    a->len += n;
    a->status = ev->status;
}

static oct_status ask(oct_engine *e, const char *question, struct answer *a)
{
    char messages[1024]; /* a real program writes JSON with a library: quotes need escaping */
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    struct oct_request q = OCT_REQUEST_INIT;
    int32_t *ids = NULL;
    uint64_t id;
    (void)snprintf(messages, sizeof messages, "[{\"role\": \"user\", \"content\": \"%s\"}]",
                   question);
    oct_status st = oct_engine_chat_tokens(e, messages, NULL, &ids, &q.n_prompt);
    sampling.max_tokens = 64;
    q.prompt = ids;
    q.sampling = &sampling;
    q.on_event = on_event;
    q.user = a;
    st = st == OCT_OK ? oct_engine_submit(e, &q, &id) : st;
    oct_buffer_free(ids);
    return st;
}

int main(int argc, char **argv)
{
    const int n = argc - 2 < 16 ? argc - 2 : 16;
    oct_engine *e = NULL;
    struct oct_engine_options options = OCT_ENGINE_OPTIONS_INIT;
    options.model_path = argc > 2 ? argv[1] : "";
    oct_status st = oct_engine_open(&options, &e);
    for (int i = 0; i < n && st == OCT_OK; i++) {
        st = ask(e, argv[2 + i], &answers[i]);
    }
    st = st == OCT_OK ? oct_engine_drain(e, -1) : st; /* until all of them have ended */
    for (int i = 0; i < n && st == OCT_OK; i++) {
        (void)printf("%s\n%.*s\n", argv[2 + i], (int)answers[i].len, answers[i].text);
        st = answers[i].status;
    }
    (void)(st == OCT_OK ? 0 : fprintf(stderr, "example: %s\n", oct_last_error()));
    oct_engine_close(e);
    return st == OCT_OK ? 0 : 1;
}
