/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/command.h"

#include "engine/pick_device.h"
#include "serve/help.h"
#include "serve/sandbox.h"
#include "serve/terminal.h"

#include <stdio.h>
#include <string.h>

enum oct_exit oct_command_version(const struct oct_params *p)
{
    (void)p;
    struct oct_output out;
    oct_output_init(&out, 1);
    char line[64];
    const int n = snprintf(line, sizeof line, "octavo %s\n", oct_version());
    return oct_output_finish(&out, oct_output_write(&out, line, (size_t)n));
}

const struct oct_command oct_commands[OCT_N_COMMANDS] = {
    [OCT_CMD_BIT_RUN] =
        {OCT_CMD_BIT_RUN, "MODEL [-p PROMPT]", "answer a prompt, or hold a conversation",
         "The prompt is the text of -p, else what comes on standard input; if that is a terminal, "
         "a conversation begins. The answer goes to standard output as it comes, speeds go to "
         "standard error. Ctrl-C stops an answer.",
         1, oct_command_run},
    [OCT_CMD_BIT_INFO] =
        {OCT_CMD_BIT_INFO, "MODEL", "say what a model is and how much memory it will take",
         "Reads headers and configuration only, so a large model takes no longer than a small one.",
         1, oct_command_info},
    [OCT_CMD_BIT_BATCH] =
        {OCT_CMD_BIT_BATCH, "MODEL -i REQUESTS.jsonl -o RESULTS.jsonl", "answer a file of requests",
         "OpenAI's batch format: a line of the input is {\"custom_id\", \"method\": \"POST\", "
         "\"url\": \"/v1/chat/completions\" or \"/v1/completions\", \"body\"}; a line of the "
         "results "
         "has the same custom_id and a response or an error. A run that was stopped or killed goes "
         "on "
         "with the same command: no result is lost, none is made twice.",
         1, oct_command_batch},
    [OCT_CMD_BIT_SERVE] =
        {OCT_CMD_BIT_SERVE, "MODEL", "answer over HTTP, to many at once",
         "The endpoints are OpenAI's (/v1/chat/completions, /v1/completions, /v1/models) and "
         "Ollama's; /health, /ready and /metrics are for those who watch it, / shows it to a "
         "browser. Listens before the model is loaded, and says when it is ready. SIGTERM or "
         "Ctrl-C lets running requests finish. docs/serving.md has the rest.",
         1, oct_command_serve},
    [OCT_CMD_BIT_SELFTEST] =
        {OCT_CMD_BIT_SELFTEST, "MODEL", "see whether a device computes what it should",
         "Runs one fixed request twice and prints the digest of its tokens and of every bit of "
         "their log probabilities. The exit code is 4 if the two differ, or if they are not what "
         "--expect says. Devices of one kind give the same digest for the same model, flags and "
         "version, and octavo serve logs it too. docs/serving.md says what the test sees.",
         1, oct_command_selftest},
    [OCT_CMD_BIT_TOKENIZE] =
        {OCT_CMD_BIT_TOKENIZE, "MODEL [TEXT]", "show the token ids of a text, or the text of ids",
         "The text is the argument, else what comes on standard input. Each line shows an id and "
         "the bytes it stands for; the counts go to standard error, with what decoding the ids "
         "gives. "
         "With --decode it goes the other way. In a text special tokens stay text, as in a "
         "conversation, unless --special is given.",
         2, oct_command_tokenize},
    [OCT_CMD_BIT_TEMPLATE] =
        {OCT_CMD_BIT_TEMPLATE, "[MODEL] < MESSAGES.json",
         "show the text that a chat template makes of a conversation",
         "The messages come on standard input, as a JSON list of {\"role\", \"content\"} and what "
         "else the template knows. Of the model only its templates are read; with a template of "
         "your own no model is needed. The text is written as it is, without a newline at its end.",
         1, oct_command_template},
    [OCT_CMD_BIT_BENCH] =
        {OCT_CMD_BIT_BENCH, "SUITE [MODEL | URL | RESULTS...]", "measure how fast it is",
         "model MODEL: tokens/s of reading a prompt of 512 tokens (pp512) and of writing 128 "
         "(tg128), "
         "alone and 2 to 64 at once, and the parts of a step.\n"
         "kernels: the CUDA kernels at reference shapes: what they must move, how long that should "
         "take on an A100 and an H100 (predicted by a model, without a GPU), and how long it takes "
         "on --device, if that is one; then what each kernel was compiled to, and what it moved on "
         "the "
         "virtual GPU.\n"
         "report RESULT.json... -o PAGE.html: a page of plots and tables of what bench serve has "
         "saved, several overlaid.\n"
         "sched: a scheduling step by itself, at 1 to 4096 running requests.\n"
         "serve URL: load on an OpenAI-compatible server (octavo serve, llama-server, vLLM): "
         "requests at --max-concurrency or --request-rate, throughput, TTFT, TPOT, ITL; the flags "
         "are those of vllm bench serve. Every request sent is accounted for; the exit code is 1 "
         "if one was cut, timed out or differs from the oracle.\n"
         "text MODEL: tokenizer and chat template, beside Hugging Face tokenizers and jinja2 where "
         "a Python has them. MODEL may also be a tokenizer.json.",
         65, oct_command_bench},
    [OCT_CMD_BIT_VERSION] = {OCT_CMD_BIT_VERSION, "", "print the version", NULL, 0,
                             oct_command_version},
    [OCT_CMD_BIT_HELP] = {OCT_CMD_BIT_HELP, "[COMMAND]", "print this help, or that of a command",
                          NULL, 1, oct_command_help},
};

enum oct_exit oct_command_failed(oct_status st)
{
    const char *sentence = oct_last_error();
    oct_note("octavo: %s", *sentence ? sentence : oct_status_text(st));
    return oct_command_exit(st);
}

enum oct_exit oct_command_exit(oct_status st)
{
    switch (st) {
    case OCT_OK:
        return OCT_EXIT_OK;
    case OCT_E_MEM:
        return OCT_EXIT_MEMORY;
    case OCT_E_DEVICE:
        return OCT_EXIT_DEVICE;
    case OCT_E_ARG:
    case OCT_E_IO:
    case OCT_E_NOTFOUND:
    case OCT_E_FORMAT:
    case OCT_E_UNSUPPORTED:
    case OCT_E_LIMIT:
        return OCT_EXIT_INPUT;
    case OCT_E_CANCELLED:
        return OCT_EXIT_INTERRUPTED;
    case OCT_E_BUSY:
    case OCT_E_DEADLINE:
    case OCT_E_NUMERIC:
        break;
    }
    return OCT_EXIT_OTHER;
}

oct_status oct_command_model(const struct oct_params *p, const char **path, size_t *next_arg)
{
    const struct oct_param_value *v = &p->values[OCT_P_MODEL];
    if (v->set && v->origin == OCT_FROM_FLAG) {
        *path = v->s;
        *next_arg = 0;
    } else if (p->n_args > 0) {
        *path = p->args[0];
        *next_arg = 1;
    } else if (v->set) {
        *path = v->s;
        *next_arg = 0;
    } else {
        return OCT_FAIL(OCT_E_ARG, "no model is given; name a Hugging Face directory or a .gguf "
                                   "file as the first argument");
    }
    if (**path == '\0') {
        return OCT_FAIL(OCT_E_ARG, "the model's path is empty");
    }
    return OCT_OK;
}

void oct_command_sandbox(const struct oct_params *p, const char *model_path,
                         const struct oct_sandbox_needs *needs)
{
    const bool verbose = oct_param_bool(p, OCT_P_VERBOSE);
    if (!oct_param_bool(p, OCT_P_SANDBOX)) {
        if (verbose) {
            oct_note("octavo: sandbox: off");
        }
        return;
    }
    if (oct_device_wants_cuda(oct_param_str(p, OCT_P_DEVICE, "cpu"))) {
        /* The driver opens device files and maps memory as long as it lives. */
        if (verbose) {
            oct_note("octavo: sandbox: off, because a CUDA driver cannot live in it");
        }
        return;
    }
    const struct oct_sandbox_report r = oct_sandbox_enter(model_path, needs);
    char files[64] = "this kernel has no Landlock";
    if (r.landlock_abi > 0) {
        (void)snprintf(files, sizeof files, "Landlock ABI %d", r.landlock_abi);
    }
    if (verbose) {
        char memory[48] = "";
        if (r.max_data_bytes > 0) {
            (void)snprintf(memory, sizeof memory, "%llu MiB of memory, ",
                           (unsigned long long)r.max_data_bytes >> 20);
        }
        oct_note("octavo: sandbox: %s, %s, at most %s%llu open files, no core dump", files,
                 r.seccomp ? "seccomp" : "this kernel has no seccomp filters", memory,
                 (unsigned long long)r.max_files);
    }
}

oct_status oct_command_find(const char *name, const struct oct_command **out)
{
    const char *names[OCT_N_COMMANDS];
    for (int i = 0; i < OCT_N_COMMANDS; i++) {
        names[i] = oct_command_name((enum oct_command_bit)i);
        if (!strcmp(name, names[i])) {
            *out = &oct_commands[i];
            return OCT_OK;
        }
    }
    char shown[96];
    oct_error_quote(shown, sizeof shown, name, strlen(name));
    const char *near = oct_param_nearest(name, names, OCT_N_COMMANDS);
    if (near) {
        return OCT_FAIL(OCT_E_ARG, "unknown command %s; did you mean octavo %s?", shown, near);
    }
    return OCT_FAIL(OCT_E_ARG, "unknown command %s; octavo --help lists the commands", shown);
}

enum oct_exit oct_command_help(const struct oct_params *p)
{
    if (oct_param_bool(p, OCT_P_MARKDOWN)) {
        return oct_help_markdown();
    }
    const struct oct_command *c = NULL;
    if (p->n_args > 0) {
        const oct_status st = oct_command_find(p->args[0], &c);
        if (st != OCT_OK) {
            return oct_command_failed(st);
        }
    }
    return oct_help_print(1, c);
}
