/* SPDX-License-Identifier: Apache-2.0
 *
 * param.h - every knob of the program in one table: what --help prints, what the command line and
 * the environment are read by, what docs/cli.md says.
 *
 * A knob is given as --name VALUE, --name=VALUE, -x VALUE, --name and --no-name if it is a switch
 * ('_' and '-' are the same), or in the environment as OCTAVO_NAME. The command line wins over the
 * environment, the environment over the default; an empty variable is an absent one. To add a knob,
 * add a row. */
#ifndef OCT_BASE_PARAM_H
#define OCT_BASE_PARAM_H

#include "base/mem.h"

/* Commands of the program; a knob's row holds a mask of those it belongs to. */
// clang-format off
#define OCT_COMMANDS(X)            \
    X(RUN,      "run")             \
    X(INFO,     "info")            \
    X(BATCH,    "batch")           \
    X(TOKENIZE, "tokenize")        \
    X(TEMPLATE, "template")        \
    X(BENCH,    "bench")           \
    X(VERSION,  "version")         \
    X(HELP,     "help")
// clang-format on

enum oct_command_bit {
#define OCT_COMMAND_BIT(id, name) OCT_CMD_BIT_##id,
    OCT_COMMANDS(OCT_COMMAND_BIT)
#undef OCT_COMMAND_BIT
        OCT_N_COMMANDS
};
enum oct_command_mask {
#define OCT_COMMAND_MASK(id, name) OCT_CMD_##id = 1 << OCT_CMD_BIT_##id,
    OCT_COMMANDS(OCT_COMMAND_MASK)
#undef OCT_COMMAND_MASK
        OCT_CMD_ALL = (1 << OCT_N_COMMANDS) - 1
};

enum oct_param_type {
    OCT_PARAM_BOOL,
    OCT_PARAM_INT,
    OCT_PARAM_FLOAT,
    OCT_PARAM_BYTES,  /* a whole number, or one with k, M, G, T (1000) or Ki, Mi, Gi, Ti (1024) */
    OCT_PARAM_CHOICE, /* one of the words of the metavar */
    OCT_PARAM_STRING,
    OCT_PARAM_STRINGS, /* given several times; in the environment one a line */
};

enum oct_param_group {
    OCT_GROUP_MODEL,
    OCT_GROUP_PROMPT,
    OCT_GROUP_SAMPLING,
    OCT_GROUP_TEXT,
    OCT_GROUP_OUTPUT,
    OCT_GROUP_PROCESS,
    OCT_GROUP_HIDDEN, /* not a knob: no environment name, not in the docs */
    OCT_N_GROUPS
};

/* id, name, short form (0: none), type, range, default (NULL: unset), what unset means (NULL: the
 * default says it all), group, commands, metavar, help. A range is an interval as mathematics
 * writes it, "[" with and "(" without its end. */
// clang-format off
#define OCT_PARAMS(X)                                                                             \
    X(MODEL, "model", 'm', STRING, NULL, NULL, "the first argument", MODEL,                       \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_INFO | OCT_CMD_TOKENIZE | OCT_CMD_TEMPLATE |          \
      OCT_CMD_BENCH, "PATH",                                                                      \
      "the model: a Hugging Face directory or a .gguf file")                                      \
    X(DTYPE, "dtype", 0, CHOICE, NULL, "auto", NULL, MODEL, OCT_CMD_RUN | OCT_CMD_BATCH |         \
      OCT_CMD_BENCH |                                                                             \
      OCT_CMD_INFO,                                                                               \
      "auto|bfloat16|float32",                                                                    \
      "type of weights, activations and KV cache in memory; auto is bfloat16, or float32 for a "  \
      "float32 checkpoint")                                                                       \
    X(MAX_MODEL_LEN, "max-model-len", 'c', INT, "[2, 134217728]", NULL,                           \
      "the model's own limit, or less if memory does not hold it", MODEL,                         \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_INFO, "N",                                            \
      "longest prompt and output together, in tokens")                                            \
    X(MAX_NUM_SEQS, "max-num-seqs", 0, INT, "[1, 1024]", NULL, "info: 1, batch: 32", MODEL,       \
      OCT_CMD_INFO | OCT_CMD_BATCH, "N",                                                          \
      "requests running at once")                                                                 \
    X(MAX_NUM_BATCHED_TOKENS, "max-num-batched-tokens", 'b', INT, "[1, 65536]", NULL,             \
      "512, on a CUDA device 4096", MODEL, OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_INFO, "N",                                     \
      "tokens per step: a longer prompt is read in chunks of so many")                            \
    X(KV_CACHE_BYTES, "kv-cache-bytes", 0, BYTES, "[1, inf)", NULL,                               \
      "one request of --max-model-len and some room; on a CUDA device what is left of its share", \
      MODEL, OCT_CMD_RUN | OCT_CMD_BATCH |        \
      OCT_CMD_INFO, "BYTES",                                                                      \
      "memory for the KV cache, as 2GiB or 500M")                                                 \
    X(KV_CACHE_DTYPE, "kv-cache-dtype", 0, CHOICE, NULL, "auto", NULL, MODEL, OCT_CMD_RUN |       \
      OCT_CMD_BATCH | OCT_CMD_INFO, "auto|bfloat16|float32",                                      \
      "type of the KV cache; auto is --dtype's, the only one this version has")                   \
    X(DEVICE, "device", 0, STRING, NULL, "auto", NULL, MODEL, OCT_CMD_RUN | OCT_CMD_BATCH |       \
      OCT_CMD_INFO | OCT_CMD_BENCH, "auto|cpu|cuda[:N]",                                          \
      "what computes; auto is the first CUDA device (A100, H100 or H200), or else the CPU")       \
    X(GPU_MEMORY_UTILIZATION, "gpu-memory-utilization", 0, FLOAT, "(0, 1]", "0.9", NULL, MODEL,   \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_INFO, "SHARE",                                        \
      "share of a CUDA device's memory to take; --kv-cache-bytes goes before it")                 \
    X(ENFORCE_EAGER, "enforce-eager", 0, BOOL, NULL, "false", NULL, MODEL, OCT_CMD_RUN |          \
      OCT_CMD_BATCH, "",                                                                          \
      "record no CUDA graphs: launch every kernel of every step by itself")                       \
    X(SYNC_KERNELS, "sync-kernels", 0, BOOL, NULL, "false", NULL, MODEL, OCT_CMD_RUN |            \
      OCT_CMD_BATCH, "",                                                                          \
      "wait after each CUDA kernel, so that an error names the one that failed; slow")            \
                                                                                                  \
    X(PROMPT, "prompt", 'p', STRING, NULL, NULL,                                                  \
      "standard input, or a conversation if that is a terminal", PROMPT, OCT_CMD_RUN, "TEXT",     \
      "the prompt; - reads it from standard input")                                               \
    X(SYSTEM, "system", 0, STRING, NULL, NULL, "what the chat template does without one", PROMPT, \
      OCT_CMD_RUN, "TEXT", "the system message")                                                  \
    X(CHAT_TEMPLATE, "chat-template", 0, STRING, NULL, NULL, "the model's own", PROMPT,           \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_TEMPLATE, "FILE",                                     \
      "a chat template to use: a file, the template itself, or the name of one of the model's")   \
    X(VARS, "vars", 0, STRING, NULL, NULL, "none", PROMPT, OCT_CMD_TEMPLATE, "JSON",              \
      "a JSON object of more variables: tools, documents, add_generation_prompt, bos_token, "     \
      "enable_thinking and what else the template knows; @FILE reads it from a file")             \
    X(RAW, "raw", 0, BOOL, NULL, "false", NULL, PROMPT, OCT_CMD_RUN, "",                          \
      "continue the text as it is: no chat template; special tokens may be written in it, and "   \
      "what the tokenizer puts in front of a text is added")                                      \
                                                                                                  \
    X(TEMPERATURE, "temperature", 0, FLOAT, "[0, 100]", NULL, "the model's, else 0", SAMPLING,    \
      OCT_CMD_RUN, "X", "0 takes the likeliest token each time; higher is more varied")           \
    X(TOP_P, "top-p", 0, FLOAT, "(0, 1]", NULL, "the model's, else 1", SAMPLING, OCT_CMD_RUN,     \
      "X", "keep the likeliest tokens that together have probability X")                          \
    X(TOP_K, "top-k", 0, INT, "[0, 2147483647]", NULL, "the model's, else 0", SAMPLING,           \
      OCT_CMD_RUN, "N", "keep the N likeliest tokens; 0 keeps all")                               \
    X(MIN_P, "min-p", 0, FLOAT, "[0, 1]", NULL, "the model's, else 0", SAMPLING, OCT_CMD_RUN,     \
      "X", "drop tokens less likely than X times the likeliest")                                  \
    X(REPETITION_PENALTY, "repetition-penalty", 0, FLOAT, "(0, 10]", NULL, "the model's, else 1", \
      SAMPLING, OCT_CMD_RUN, "X", "over 1 makes tokens of prompt and output less likely again")   \
    X(PRESENCE_PENALTY, "presence-penalty", 0, FLOAT, "[-2, 2]", "0", NULL, SAMPLING,             \
      OCT_CMD_RUN, "X", "taken from the logit of each token the output holds")                    \
    X(FREQUENCY_PENALTY, "frequency-penalty", 0, FLOAT, "[-2, 2]", "0", NULL, SAMPLING,           \
      OCT_CMD_RUN, "X", "taken from the logit of a token once for each time the output holds it") \
    X(SEED, "seed", 's', INT, "[0, inf)", NULL, "a new one each time", SAMPLING, OCT_CMD_RUN,     \
      "N", "the same seed and prompt give the same text")                                         \
    X(MAX_TOKENS, "max-tokens", 'n', INT, "[1, 134217728]", NULL, "up to --max-model-len",        \
      SAMPLING, OCT_CMD_RUN, "N", "end an answer after N tokens")                                 \
    X(MIN_TOKENS, "min-tokens", 0, INT, "[0, 134217728]", "0", NULL, SAMPLING, OCT_CMD_RUN, "N",  \
      "do not end an answer before N tokens")                                                     \
    X(STOP, "stop", 0, STRINGS, NULL, NULL, "none", SAMPLING, OCT_CMD_RUN, "TEXT",                \
      "end an answer before this text; may be given 16 times")                                    \
    X(IGNORE_EOS, "ignore-eos", 0, BOOL, NULL, "false", NULL, SAMPLING, OCT_CMD_RUN, "",          \
      "go on after the model's own end tokens")                                                   \
    X(LOGPROBS, "logprobs", 0, INT, "[0, 20]", NULL, "none", SAMPLING, OCT_CMD_RUN, "N",          \
      "with --json: log probability of each token and of its N likeliest alternatives")           \
                                                                                                  \
    X(DECODE, "decode", 0, STRING, NULL, NULL, "text to ids", TEXT, OCT_CMD_TOKENIZE, "IDS",      \
      "the other way round: the text of these ids, with commas or spaces between; - reads them "  \
      "from standard input")                                                                      \
    X(SPECIAL, "special", 0, BOOL, NULL, "false", NULL, TEXT, OCT_CMD_TOKENIZE, "",               \
      "special tokens written in the text become their ids; with --decode they are shown")        \
    X(BOS, "bos", 0, BOOL, NULL, "false", NULL, TEXT, OCT_CMD_TOKENIZE, "",                       \
      "add what the tokenizer adds around a prompt")                                              \
                                                                                                  \
    X(REPEAT, "repeat", 0, INT, "[1, 101]", "5", NULL, PROCESS, OCT_CMD_BENCH, "N",               \
      "rounds; a figure is the median of them")                                                   \
    X(INPUT, "input", 'i', STRING, NULL, NULL, "bench: 4 MiB of made-up English", TEXT,           \
      OCT_CMD_BENCH | OCT_CMD_BATCH,                                                              \
      "FILE", "batch: the requests, one JSON object a line; bench: text to measure with")         \
    X(OUTPUT, "output", 'o', STRING, NULL, NULL, "none", TEXT, OCT_CMD_BATCH,                     \
      "FILE", "where the results go; one that exists is gone on with")                            \
    X(ORDER, "order", 0, CHOICE, NULL, "finished", NULL, TEXT, OCT_CMD_BATCH, "finished|input",   \
      "results as they finish, or in the order of the input")                                     \
    X(OVERWRITE, "overwrite", 0, BOOL, NULL, "false", NULL, TEXT, OCT_CMD_BATCH, "",              \
      "begin anew though the results file holds results")                                         \
    X(PYTHON, "python", 0, STRING, NULL, NULL, "python3", PROCESS, OCT_CMD_BENCH, "PATH",         \
      "a Python with the package tokenizers, and jinja2, to compare with")                        \
                                                                                                  \
    X(JSON, "json", 0, BOOL, NULL, "false", NULL, OUTPUT,                                         \
      OCT_CMD_RUN | OCT_CMD_INFO | OCT_CMD_TOKENIZE | OCT_CMD_TEMPLATE | OCT_CMD_BENCH, "",       \
      "print one JSON object for each result")                                                    \
    X(STATS, "stats", 0, BOOL, NULL, "true", NULL, OUTPUT, OCT_CMD_RUN, "",                       \
      "print speeds on standard error after each answer")                                         \
    X(VERBOSE, "verbose", 'v', BOOL, NULL, "false", NULL, OUTPUT,                                 \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_INFO | OCT_CMD_TOKENIZE | OCT_CMD_TEMPLATE, "",       \
      "say more on standard error: memory, threads, sandbox")                                     \
                                                                                                  \
    X(THREADS, "threads", 't', INT, "[1, 1024]", NULL, "one for each core it may use", PROCESS,   \
      OCT_CMD_RUN | OCT_CMD_BATCH |                                                               \
      OCT_CMD_BENCH, "N", "CPU threads")                                                          \
    X(SANDBOX, "sandbox", 0, BOOL, NULL, "true", NULL, PROCESS,                                   \
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_BENCH | OCT_CMD_INFO | OCT_CMD_TOKENIZE |             \
      OCT_CMD_TEMPLATE, "",                                                                       \
      "before the model is read give up what a bad model file could misuse: other files, "        \
      "programs, the network")                                                                    \
                                                                                                  \
    X(HELP, "help", 'h', BOOL, NULL, "false", NULL, HIDDEN, OCT_CMD_ALL, "", "show this help")    \
    X(MARKDOWN, "markdown", 0, BOOL, NULL, "false", NULL, HIDDEN, OCT_CMD_HELP, "",               \
      "print docs/cli.md")
// clang-format on

enum oct_param_id {
#define OCT_PARAM_ENUM(id, ...) OCT_P_##id,
    OCT_PARAMS(OCT_PARAM_ENUM)
#undef OCT_PARAM_ENUM
        OCT_N_PARAMS
};

struct oct_param {
    const char *name;
    char short_name;
    enum oct_param_type type;
    const char *range;    /* NULL: any */
    const char *def;      /* NULL: unset */
    const char *def_text; /* what an unset one means; NULL: def says it */
    enum oct_param_group group;
    uint32_t commands;
    const char *metavar;
    const char *help;
};
const struct oct_param *oct_param_row(enum oct_param_id id); /* static */
const char *oct_command_name(enum oct_command_bit bit);      /* static */

enum { OCT_PARAM_ENV_BYTES = 64 };
/* "max-model-len" -> "OCTAVO_MAX_MODEL_LEN"; "" for the hidden ones. Returns dst. */
const char *oct_param_env_name(enum oct_param_id id, char dst[OCT_PARAM_ENV_BYTES]);

enum oct_param_origin { OCT_FROM_DEFAULT, OCT_FROM_ENV, OCT_FROM_FLAG };

struct oct_param_value {
    enum oct_param_origin origin;
    bool set; /* false: neither given nor any default */
    bool b;
    int64_t i; /* INT and BYTES */
    double f;
    const char *s;     /* STRING and CHOICE; borrowed from argv or the environment */
    const char **list; /* STRINGS, [n_list]; in the arena */
    size_t n_list, list_cap;
};

struct oct_params {
    struct oct_param_value values[OCT_N_PARAMS];
    const char **args; /* the arguments that are no flags, [n_args]; in the arena */
    size_t n_args;
    struct oct_arena arena;
};

/* Reads the arguments after the command's name, then the environment, then the defaults. argv and
 * the environment are borrowed for the life of *out. OCT_E_ARG names the flag or variable, the
 * value and the range, or the nearest flag that exists. On failure nothing stays allocated. */
OCT_CHECKED oct_status oct_params_parse(enum oct_command_bit command, int argc,
                                        const char *const *argv, struct oct_params *out);
void oct_params_deinit(struct oct_params *p);

bool oct_param_is_set(const struct oct_params *p, enum oct_param_id id);
bool oct_param_bool(const struct oct_params *p, enum oct_param_id id);
/* The next three return `unset` if the knob is. */
int64_t oct_param_int(const struct oct_params *p, enum oct_param_id id, int64_t unset);
double oct_param_float(const struct oct_params *p, enum oct_param_id id, double unset);
const char *oct_param_str(const struct oct_params *p, enum oct_param_id id, const char *unset);

/* The word of `words` [n] nearest to `text`, or NULL if none is near: for "did you mean". */
const char *oct_param_nearest(const char *text, const char *const *words, size_t n);

#endif
