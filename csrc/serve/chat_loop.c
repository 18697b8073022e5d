/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/chat_loop.h"

#include "serve/conversation.h"
#include "serve/interrupt.h"
#include "serve/line_input.h"

#include <string.h>

static const char help_text[] =
    "/help            this list\n"
    "/reset           begin a new conversation\n"
    "/system [TEXT]   show the system message, or set it and begin a new conversation\n"
    "/exit            leave; so do Ctrl-D and Ctrl-C twice\n"
    "Ctrl-C stops an answer. A line that ends in \\ goes on in the next one, pasted lines are one "
    "message.\nA message that begins with / is written with //.";

struct loop {
    struct oct_asker *asker;
    struct oct_conversation conversation;
    bool leave;
};

/* What follows the command's name, or NULL if the line is not that command. */
static const char *argument_of(const char *line, const char *name)
{
    const size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || (line[len] != '\0' && line[len] != ' ')) {
        return NULL;
    }
    return line + len + strspn(line + len, " ");
}

static oct_status system_command(struct loop *l, const char *text)
{
    const char *now = oct_conversation_system(&l->conversation);
    if (*text == '\0') {
        oct_note("%s", now ? now : "there is no system message of yours");
        return OCT_OK;
    }
    OCT_TRY(oct_input_check_utf8("the system message", text, strlen(text)));
    OCT_TRY(oct_conversation_begin(&l->conversation, text));
    oct_note("a new conversation, with this system message");
    return OCT_OK;
}

static oct_status command(struct loop *l, const char *line)
{
    const char *arg;
    char shown[64];
    oct_error_quote(shown, sizeof shown, line, strcspn(line, " \n"));
    if (argument_of(line, "/help")) {
        oct_note("%s", help_text);
    } else if (argument_of(line, "/exit") || argument_of(line, "/quit")) {
        l->leave = true;
    } else if (l->asker->raw) {
        oct_note("octavo: %s belongs to chat; without a template /help and /exit are all", shown);
    } else if (argument_of(line, "/reset")) {
        const char *system = oct_conversation_system(&l->conversation);
        OCT_TRY(oct_conversation_begin(&l->conversation, system));
        oct_note("a new conversation");
    } else if ((arg = argument_of(line, "/system"))) {
        return system_command(l, arg);
    } else {
        oct_note("octavo: unknown command %s; /help lists them, // sends a text that begins with /",
                 shown);
    }
    return OCT_OK;
}

static oct_status ask(struct loop *l, const char *text, size_t len)
{
    struct oct_asker *k = l->asker;
    struct oct_answer a = {0};
    int32_t *ids = NULL;
    size_t n;
    oct_status st;
    OCT_TRY(oct_input_check_utf8("the message", text, len));
    if (k->raw) {
        OCT_TRY(oct_raw_prompt(k, text, len, &ids, &n));
        st = oct_answer(k, ids, n, &a);
        goto done;
    }
    OCT_TRY(oct_conversation_add(&l->conversation, "user", text, len));
    OCT_TRY_GOTO(oct_conversation_prompt(&l->conversation, k->engine, &ids, &n), st, forget);
    OCT_TRY_GOTO(oct_answer(k, ids, n, &a), st, forget);
    st = oct_conversation_add(&l->conversation, "assistant", a.text.data ? a.text.data : "",
                              a.text.len);
    goto done;
forget:
    oct_conversation_drop(&l->conversation);
done:
    oct_answer_deinit(&a);
    oct_buffer_free(ids);
    return st;
}

/* Failures the user can do something about at the next prompt. */
static bool can_go_on(const struct oct_asker *k, oct_status st)
{
    switch (st) {
    case OCT_E_ARG:
    case OCT_E_LIMIT:
    case OCT_E_FORMAT:
    case OCT_E_NUMERIC:
    case OCT_E_BUSY:
    case OCT_E_DEADLINE:
    case OCT_E_CANCELLED:
        return true;
    case OCT_E_MEM:
        return !k->out.closed;
    case OCT_OK:
    case OCT_E_IO:
    case OCT_E_NOTFOUND:
    case OCT_E_UNSUPPORTED:
    case OCT_E_DEVICE:
        break;
    }
    return false;
}

static oct_status one_turn(struct loop *l, struct oct_buf *line)
{
    const char *text = line->data ? line->data : "";
    if (strspn(text, " \t\n") == line->len) {
        return OCT_OK;
    }
    const bool escaped = text[0] == '/' && text[1] == '/';
    oct_status st =
        text[0] == '/' && !escaped ? command(l, text) : ask(l, text + escaped, line->len - escaped);
    if (st != OCT_OK && can_go_on(l->asker, st)) {
        const bool long_one = json_array_size(l->conversation.messages) > 1;
        oct_note("octavo: %s%s", oct_last_error(),
                 long_one ? " (/reset begins a new conversation)" : "");
        st = OCT_OK;
    }
    return st;
}

oct_status oct_chat_loop(struct oct_asker *k, const char *system)
{
    const bool style = oct_terminal_has_style(2);
    const char *prompt = style ? "\x1b[1m> \x1b[0m" : "> ";
    struct loop l = {.asker = k};
    struct oct_line_input in;
    struct oct_buf line = {.max_bytes = OCT_INPUT_MAX_BYTES};
    oct_status st;
    oct_line_input_init(&in, 0);
    OCT_TRY_GOTO(oct_conversation_begin(&l.conversation, system), st, done);
    oct_note("%s/help lists the commands", k->raw ? "each line is continued by itself; " : "");
    bool warned = false; /* the last thing at the prompt was a Ctrl-C */
    while (!l.leave) {
        enum oct_line_result result;
        (void)oct_interrupt_take(); /* the one that ended the last answer */
        OCT_TRY_GOTO(oct_line_input_read(&in, prompt, &line, &result), st, done);
        if (result == OCT_LINE_END || (result == OCT_LINE_INTERRUPTED && warned)) {
            oct_note("%s", "");
            break;
        }
        warned = result == OCT_LINE_INTERRUPTED;
        if (warned) {
            oct_note("\n(Ctrl-C again, Ctrl-D or /exit leaves)");
            continue;
        }
        OCT_TRY_GOTO(one_turn(&l, &line), st, done);
    }
done:
    oct_conversation_deinit(&l.conversation);
    oct_line_input_deinit(&in);
    oct_buf_free(&line);
    return st;
}
