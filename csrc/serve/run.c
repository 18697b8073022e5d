/* SPDX-License-Identifier: Apache-2.0
 *
 * run.c - octavo run: one answer, or a conversation. */
#include "serve/command.h"

#include "serve/answer.h"
#include "serve/chat_loop.h"
#include "serve/chat_template.h"
#include "serve/conversation.h"
#include "serve/format.h"
#include "serve/interrupt.h"
#include "serve/open_engine.h"

#include <string.h>
#include <unistd.h>

static oct_status open_engine(const struct oct_params *p, const char *path,
                              const struct oct_chat_template *chat, oct_engine **out)
{
    struct oct_engine_options o = oct_command_options(p, path);
    o.max_num_seqs = 1;
    o.manual = 1; /* Ctrl-C is looked for between steps */
    o.chat_template = chat->text;
    o.chat_template_name = chat->name;
    return oct_command_open(&o, out);
}

static struct oct_sampling sampling_of(const struct oct_params *p)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    const struct oct_param_value *stop = &p->values[OCT_P_STOP];
    s.temperature = (float)oct_param_float(p, OCT_P_TEMPERATURE, -1);
    s.top_p = (float)oct_param_float(p, OCT_P_TOP_P, -1);
    s.min_p = (float)oct_param_float(p, OCT_P_MIN_P, -1);
    s.top_k = (int32_t)oct_param_int(p, OCT_P_TOP_K, -1);
    s.repetition_penalty = (float)oct_param_float(p, OCT_P_REPETITION_PENALTY, -1);
    s.presence_penalty = (float)oct_param_float(p, OCT_P_PRESENCE_PENALTY, 0);
    s.frequency_penalty = (float)oct_param_float(p, OCT_P_FREQUENCY_PENALTY, 0);
    s.has_seed = oct_param_is_set(p, OCT_P_SEED);
    s.seed = (uint64_t)oct_param_int(p, OCT_P_SEED, 0);
    s.max_tokens = (int32_t)oct_param_int(p, OCT_P_MAX_TOKENS, 0);
    s.min_tokens = (int32_t)oct_param_int(p, OCT_P_MIN_TOKENS, 0);
    s.ignore_eos = oct_param_bool(p, OCT_P_IGNORE_EOS);
    s.n_logprobs = (int32_t)oct_param_int(p, OCT_P_LOGPROBS, -1);
    s.stop = stop->list;
    s.n_stop = stop->n_list;
    return s;
}

/* What can be refused before the model is loaded. */
static oct_status check_flags(const struct oct_params *p)
{
    if (oct_param_is_set(p, OCT_P_LOGPROBS) && !oct_param_bool(p, OCT_P_JSON)) {
        return OCT_FAIL(OCT_E_ARG, "--logprobs are shown in JSON only; add --json");
    }
    const char *system = oct_param_str(p, OCT_P_SYSTEM, NULL);
    if (system && oct_param_bool(p, OCT_P_RAW)) {
        return OCT_FAIL(OCT_E_ARG, "--system needs the chat template that --raw leaves out; give "
                                   "one of the two");
    }
    if (oct_param_is_set(p, OCT_P_CHAT_TEMPLATE) && oct_param_bool(p, OCT_P_RAW)) {
        return OCT_FAIL(OCT_E_ARG, "--raw leaves out the template that --chat-template gives; give "
                                   "one of the two");
    }
    if (system) {
        OCT_TRY(oct_input_check_utf8("--system", system, strlen(system)));
    }
    return OCT_OK;
}

/* The prompt of -p or of standard input. *conversation: there is none, somebody sits there. */
static oct_status read_prompt(const struct oct_params *p, struct oct_buf *out, bool *conversation)
{
    const char *prompt = oct_param_str(p, OCT_P_PROMPT, NULL);
    const bool from_input = !prompt || !strcmp(prompt, "-");
    *conversation = !prompt && isatty(0);
    if (*conversation) {
        return OCT_OK;
    }
    if (!from_input) {
        OCT_TRY(oct_buf_append(out, prompt, strlen(prompt)));
        return oct_input_check_utf8("--prompt", out->data, out->len);
    }
    OCT_TRY(oct_input_slurp(0, out));
    if (out->len > 0 && out->data[out->len - 1] == '\n') { /* what echo and editors add */
        out->data[--out->len] = '\0';
    }
    if (out->len == 0) {
        return OCT_FAIL(OCT_E_ARG, "standard input is empty; give a prompt there or with -p");
    }
    return oct_input_check_utf8("standard input", out->data, out->len);
}

/* Chat with a model that has no template: say so, and continue texts instead. */
static oct_status pick_mode(struct oct_asker *k, const char *system)
{
    if (k->raw) {
        return OCT_OK;
    }
    struct oct_conversation probe = {0};
    int32_t *ids = NULL;
    size_t n;
    oct_status st;
    OCT_TRY_GOTO(oct_conversation_begin(&probe, NULL), st, done);
    OCT_TRY_GOTO(oct_conversation_add(&probe, "user", "-", 1), st, done);
    st = oct_conversation_prompt(&probe, k->engine, &ids, &n);
    if (st == OCT_E_UNSUPPORTED) {
        if (system) {
            goto done; /* a system message would be lost without a word */
        }
        oct_error_clear();
        oct_note("octavo: the model has no chat template, so it continues the text as --raw does");
        k->raw = true;
    }
    st = OCT_OK; /* whatever else is wrong shows, with its own sentence, when it matters */
done:
    oct_conversation_deinit(&probe);
    oct_buffer_free(ids);
    return st;
}

static oct_status answer_once(struct oct_asker *k, const char *system, const struct oct_buf *text,
                              oct_finish *finish)
{
    struct oct_conversation c = {0};
    struct oct_answer a = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    oct_status st;
    if (k->raw) {
        OCT_TRY_GOTO(oct_raw_prompt(k, text->data, text->len, &ids, &n), st, done);
    } else {
        OCT_TRY_GOTO(oct_conversation_begin(&c, system), st, done);
        OCT_TRY_GOTO(oct_conversation_add(&c, "user", text->data, text->len), st, done);
        OCT_TRY_GOTO(oct_conversation_prompt(&c, k->engine, &ids, &n), st, done);
    }
    st = oct_answer(k, ids, n, &a);
    *finish = a.finish;
done:
    oct_conversation_deinit(&c);
    oct_buffer_free(ids);
    oct_answer_deinit(&a);
    return st;
}

static void tell_engine(const oct_engine *e)
{
    struct oct_engine_info i = {.size = sizeof i};
    char n[OCT_FORMAT_BYTES], w[OCT_FORMAT_BYTES], kv[OCT_FORMAT_BYTES], ws[OCT_FORMAT_BYTES];
    oct_engine_get_info(e, &i);
    oct_note("octavo: %s, %s parameters, %s; weights %s, KV cache %s, workspace %s; up to %d "
             "tokens; %s, %d threads",
             i.architecture, oct_format_count(n, i.n_params), i.dtype,
             oct_format_size(w, i.weight_bytes), oct_format_size(kv, i.kv_cache_bytes),
             oct_format_size(ws, i.workspace_bytes), i.max_model_len, i.device, i.n_threads);
}

static int64_t load_time_us(const oct_engine *e)
{
    struct oct_engine_info i = {.size = sizeof i};
    oct_engine_get_info(e, &i);
    return i.load_us;
}

enum oct_exit oct_command_run(const struct oct_params *p)
{
    const char *path, *system = oct_param_str(p, OCT_P_SYSTEM, NULL);
    size_t next;
    bool conversation;
    oct_finish finish = OCT_FINISH_NONE;
    struct oct_buf text = {0};
    struct oct_chat_template chat = {0};
    struct oct_asker k = {.sampling = sampling_of(p),
                          .raw = oct_param_bool(p, OCT_P_RAW),
                          .json = oct_param_bool(p, OCT_P_JSON),
                          .stats = oct_param_bool(p, OCT_P_STATS)};
    oct_status st;
    oct_output_init(&k.out, 1);
    OCT_TRY_GOTO(oct_command_model(p, &path, &next), st, done);
    OCT_TRY_GOTO(check_flags(p), st, done);
    OCT_TRY_GOTO(oct_chat_template_read(p, &chat), st, done);
    OCT_TRY_GOTO(read_prompt(p, &text, &conversation), st, done);
    /* One Ctrl-C ends an answer; the next ends the program, which in a conversation must not come
     * of being pressed twice. */
    oct_interrupt_install(conversation ? 3 : 2);
    oct_command_sandbox(p, path, NULL);
    OCT_TRY_GOTO(open_engine(p, path, &chat, &k.engine), st, done);
    k.load_us = load_time_us(k.engine);
    if (oct_param_bool(p, OCT_P_VERBOSE)) {
        tell_engine(k.engine);
    }
    OCT_TRY_GOTO(pick_mode(&k, system), st, done);
    st = conversation ? oct_chat_loop(&k, system) : answer_once(&k, system, &text, &finish);
done:
    oct_engine_close(k.engine);
    oct_buf_free(&text);
    oct_chat_template_free(&chat);
    if (st == OCT_E_CANCELLED && oct_interrupt_pending()) { /* while loading: no need to say it */
        oct_output_deinit(&k.out);
        return OCT_EXIT_INTERRUPTED;
    }
    const enum oct_exit code = oct_output_finish(&k.out, st);
    return code == OCT_EXIT_OK && finish == OCT_FINISH_CANCELLED ? OCT_EXIT_INTERRUPTED : code;
}
