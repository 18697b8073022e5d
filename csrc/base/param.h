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
    X(SERVE,    "serve")           \
    X(SELFTEST, "selftest")        \
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
    OCT_GROUP_LOAD, /* what `bench serve` sends */
    OCT_GROUP_SERVER,
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
      OCT_CMD_RUN | OCT_CMD_BATCH | OCT_CMD_SERVE | OCT_CMD_INFO | OCT_CMD_TOKENIZE |             \
      OCT_CMD_TEMPLATE | OCT_CMD_SELFTEST |                                                       \
      OCT_CMD_BENCH, "PATH",                                                                      \
      "the model: a Hugging Face directory or a .gguf file")                                      \
    X(DTYPE, "dtype", 0, CHOICE, NULL, "auto", NULL, MODEL, OCT_CMD_RUN | OCT_CMD_SERVE |         \
      OCT_CMD_BATCH | OCT_CMD_SELFTEST |                                                          \
      OCT_CMD_BENCH |                                                                             \
      OCT_CMD_INFO,                                                                               \
      "auto|bfloat16|float32",                                                                    \
      "type of weights, activations and KV cache in memory; auto is bfloat16, or float32 for a "  \
      "float32 checkpoint")                                                                       \
    X(MAX_MODEL_LEN, "max-model-len", 'c', INT, "[2, 134217728]", NULL,                           \
      "the model's own limit, or less if memory does not hold it", MODEL,                         \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_SELFTEST | OCT_CMD_INFO, "N",         \
      "longest prompt and output together, in tokens")                                            \
    X(MAX_NUM_SEQS, "max-num-seqs", 0, INT, "[1, 1024]", NULL, "info: 1, batch and serve: 32",    \
      MODEL,                                                                                      \
      OCT_CMD_INFO | OCT_CMD_SERVE | OCT_CMD_BATCH, "N",                                          \
      "requests running at once")                                                                 \
    X(MAX_NUM_BATCHED_TOKENS, "max-num-batched-tokens", 'b', INT, "[1, 65536]", NULL,             \
      "512, on a CUDA device 4096", MODEL, OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH |          \
      OCT_CMD_SELFTEST | OCT_CMD_INFO, "N",                                                                          \
      "tokens per step: a longer prompt is read in chunks of so many")                            \
    X(KV_CACHE_BYTES, "kv-cache-bytes", 0, BYTES, "[1, inf)", NULL,                               \
      "one request of --max-model-len and 1024 tokens for each other; on a CUDA device what is left of its share", \
      MODEL, OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_SELFTEST |                     \
      OCT_CMD_INFO, "BYTES",                                                                      \
      "memory for the KV cache, as 2GiB or 500M")                                                 \
    X(KV_CACHE_DTYPE, "kv-cache-dtype", 0, CHOICE, NULL, "auto", NULL, MODEL, OCT_CMD_RUN |       \
      OCT_CMD_SERVE |                                                                             \
      OCT_CMD_BATCH | OCT_CMD_INFO, "auto|bfloat16|float32",                                      \
      "type of the KV cache; auto is --dtype's, the only one this version has")                   \
    X(DEVICE, "device", 0, STRING, NULL, "auto", NULL, MODEL, OCT_CMD_RUN | OCT_CMD_SERVE |       \
      OCT_CMD_BATCH | OCT_CMD_SELFTEST |                                                          \
      OCT_CMD_INFO | OCT_CMD_BENCH, "auto|cpu|cuda[:N]",                                          \
      "what computes; auto is the first CUDA device (A100, H100 or H200), or else the CPU")       \
    X(GPU_MEMORY_UTILIZATION, "gpu-memory-utilization", 0, FLOAT, "(0, 1]", "0.9", NULL, MODEL,   \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_SELFTEST | OCT_CMD_INFO, "SHARE",     \
      "share of a CUDA device's memory to take; --kv-cache-bytes goes before it")                 \
    X(ENFORCE_EAGER, "enforce-eager", 0, BOOL, NULL, "false", NULL, MODEL, OCT_CMD_RUN |          \
      OCT_CMD_SERVE | OCT_CMD_SELFTEST |                                                          \
      OCT_CMD_BATCH, "",                                                                          \
      "record no CUDA graphs: launch every kernel of every step by itself")                       \
    X(SYNC_KERNELS, "sync-kernels", 0, BOOL, NULL, "false", NULL, MODEL, OCT_CMD_RUN |            \
      OCT_CMD_SERVE | OCT_CMD_SELFTEST |                                                          \
      OCT_CMD_BATCH, "",                                                                          \
      "wait after each CUDA kernel, so that an error names the one that failed; slow")            \
    X(HANG_TIMEOUT, "hang-timeout", 0, FLOAT, "[0, 86400]", NULL,                                 \
      "60 on a CUDA device, 0 on the CPU", MODEL,                                                 \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_SELFTEST, "SECONDS",                                                                                  \
      "a device that needs longer for one step counts as failed: every request is told so; 0: "   \
      "wait for ever")                                                                            \
    X(GEMM_PROVIDER, "gemm-provider", 0, CHOICE, NULL, "octavo", NULL, MODEL, OCT_CMD_RUN |       \
      OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_INFO, "octavo|cublaslt",                            \
      "who multiplies matrices on a CUDA device; with cublaslt, a library of NVIDIA's, the bits "  \
      "of an answer may depend on what runs beside it")                                           \
    X(PREFIX_CACHING, "enable-prefix-caching", 0, BOOL, NULL, "true", NULL, MODEL,                \
      OCT_CMD_SERVE, "",                                                                          \
      "prompts that begin alike share their part of the KV cache")                                \
                                                                                                  \
    X(PROMPT, "prompt", 'p', STRING, NULL, NULL,                                                  \
      "standard input, or a conversation if that is a terminal", PROMPT, OCT_CMD_RUN, "TEXT",     \
      "the prompt; - reads it from standard input")                                               \
    X(SYSTEM, "system", 0, STRING, NULL, NULL, "what the chat template does without one", PROMPT, \
      OCT_CMD_RUN, "TEXT", "the system message")                                                  \
    X(CHAT_TEMPLATE, "chat-template", 0, STRING, NULL, NULL, "the model's own", PROMPT,           \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_TEMPLATE, "FILE",                     \
      "a chat template to use: a file, the template itself, or the name of one of the model's")   \
    X(VARS, "vars", 0, STRING, NULL, NULL, "none", PROMPT, OCT_CMD_TEMPLATE, "JSON",              \
      "a JSON object of more variables: tools, documents, add_generation_prompt, bos_token, "     \
      "enable_thinking and what else the template knows; @FILE reads it from a file")             \
    X(RAW, "raw", 0, BOOL, NULL, "false", NULL, PROMPT, OCT_CMD_RUN, "",                          \
      "continue the text as it is: no chat template; special tokens may be written in it, and "   \
      "what the tokenizer puts in front of a text is added")                                      \
                                                                                                  \
    X(TEMPERATURE, "temperature", 0, FLOAT, "[0, 100]", NULL, "the model's, else 0; bench: 0",    \
      SAMPLING, OCT_CMD_RUN |                                                                     \
      OCT_CMD_BENCH, "X", "0 takes the likeliest token each time; higher is more varied")         \
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
    X(SEED, "seed", 's', INT, "[0, inf)", NULL, "a new one each time; bench: 0", SAMPLING,        \
      OCT_CMD_RUN | OCT_CMD_BENCH, "N",                                                           \
      "the same seed and prompt give the same text; bench serve: the same load")                  \
    X(MAX_TOKENS, "max-tokens", 'n', INT, "[1, 134217728]", NULL, "up to --max-model-len",        \
      SAMPLING, OCT_CMD_RUN, "N", "end an answer after N tokens")                                 \
    X(MIN_TOKENS, "min-tokens", 0, INT, "[0, 134217728]", "0", NULL, SAMPLING, OCT_CMD_RUN, "N",  \
      "do not end an answer before N tokens")                                                     \
    X(STOP, "stop", 0, STRINGS, NULL, NULL, "none", SAMPLING, OCT_CMD_RUN, "TEXT",                \
      "end an answer before this text; may be given 16 times")                                    \
    X(IGNORE_EOS, "ignore-eos", 0, BOOL, NULL, "false", NULL, SAMPLING, OCT_CMD_RUN |             \
      OCT_CMD_BENCH, "",                                                                          \
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
      "FILE", "batch: the requests, one JSON object a line; bench: text to measure with, for "    \
      "bench serve prompts: {\"prompt\"} or {\"messages\"}, with \"max_tokens\" or not, one a line")\
    X(OUTPUT, "output", 'o', STRING, NULL, NULL, "none", TEXT, OCT_CMD_BATCH | OCT_CMD_BENCH,     \
      "FILE", "batch: where the results go; one that exists is gone on with. bench serve: the "   \
      "results as JSON; bench report: the page")                                                  \
    X(ORDER, "order", 0, CHOICE, NULL, "finished", NULL, TEXT, OCT_CMD_BATCH, "finished|input",   \
      "results as they finish, or in the order of the input")                                     \
    X(OVERWRITE, "overwrite", 0, BOOL, NULL, "false", NULL, TEXT, OCT_CMD_BATCH, "",              \
      "begin anew though the results file holds results")                                         \
    X(PYTHON, "python", 0, STRING, NULL, NULL, "python3", PROCESS, OCT_CMD_BENCH, "PATH",         \
      "a Python with the package tokenizers, and jinja2, to compare with")                        \
                                                                                                  \
    X(MAX_CONCURRENCY, "max-concurrency", 0, STRING, NULL, NULL, "no bound", LOAD, OCT_CMD_BENCH, \
      "N[,N...]",                                                                                 \
      "requests under way at once; with several values one measurement for each")                 \
    X(REQUEST_RATE, "request-rate", 0, STRING, NULL, "inf", NULL, LOAD, OCT_CMD_BENCH,            \
      "R[,R...]", "requests arriving in a second, whether or not others have been answered; "     \
      "latencies count from the arrival. inf: all at once, as --max-concurrency lets them")       \
    X(BURSTINESS, "burstiness", 0, FLOAT, "(0, 1000]", "1", NULL, LOAD, OCT_CMD_BENCH, "X",       \
      "shape of the gaps between arrivals: 1 is a Poisson process, less has bursts, more is even")\
    X(NUM_PROMPTS, "num-prompts", 0, INT, "[1, 10000000]", "100", NULL, LOAD, OCT_CMD_BENCH, "N", \
      "requests of each measurement")                                                             \
    X(NUM_WARMUPS, "num-warmups", 0, INT, "[0, 100000]", "0", NULL, LOAD, OCT_CMD_BENCH, "N",     \
      "requests sent before each measurement and not counted")                                    \
    X(RANDOM_INPUT_LEN, "random-input-len", 0, INT, "[1, 1000000]", NULL,                         \
      "lengths like ShareGPT's; with --random-output-len 1024", LOAD, OCT_CMD_BENCH, "N",         \
      "tokens of a prompt, about")                                                                \
    X(RANDOM_OUTPUT_LEN, "random-output-len", 0, INT, "[1, 1000000]", NULL,                       \
      "lengths like ShareGPT's; with --random-input-len or --input 128", LOAD,                    \
      OCT_CMD_BENCH, "N",                                                                         \
      "tokens of an answer at most; exactly so many with --ignore-eos")                           \
    X(RANDOM_RANGE_RATIO, "random-range-ratio", 0, FLOAT, "[0, 1)", "0", NULL, LOAD,              \
      OCT_CMD_BENCH, "X", "lengths are spread evenly over N (1 - X) to N (1 + X)")                \
    X(RANDOM_PREFIX_LEN, "random-prefix-len", 0, INT, "[0, 1000000]", "0", NULL, LOAD,            \
      OCT_CMD_BENCH, "N", "tokens that all prompts begin with, before the others")                \
    X(ENDPOINT, "endpoint", 0, CHOICE, NULL, "/v1/completions", NULL, LOAD, OCT_CMD_BENCH,        \
      "/v1/completions|/v1/chat/completions", "what is asked of the server")                      \
    X(EXTRA_BODY, "extra-body", 0, STRING, NULL, NULL, "none", LOAD, OCT_CMD_BENCH, "JSON",       \
      "an object whose fields are put into each request")                                         \
    X(INSECURE, "insecure", 0, BOOL, NULL, "false", NULL, LOAD, OCT_CMD_BENCH, "",                \
      "with https: do not check the server's certificate")                                        \
    X(TIMEOUT, "timeout", 0, FLOAT, "(0, 1000000]", "600", NULL, LOAD, OCT_CMD_BENCH, "S",        \
      "seconds after which a request counts as lost")                                             \
    X(CHECK_ORACLE, "check-oracle", 0, STRING, NULL, NULL, "no check", LOAD, OCT_CMD_BENCH,       \
      "alone|FILE", "compare each answer with that to the same prompt sent alone, before; or with "\
      "those in a result that --save-detailed wrote")                                             \
                                                                                                  \
    X(GOODPUT, "goodput", 0, STRINGS, NULL, NULL, "none", OUTPUT, OCT_CMD_BENCH, "KEY:MS",        \
      "count the requests that keep to this: ttft:500,tpot:50 and e2el, in milliseconds")         \
    X(PERCENTILE_METRICS, "percentile-metrics", 0, STRING, NULL, "ttft,tpot,itl", NULL, OUTPUT,   \
      OCT_CMD_BENCH, "LIST", "what to print of ttft, tpot, itl and e2el")                         \
    X(METRIC_PERCENTILES, "metric-percentiles", 0, STRING, NULL, "99", NULL, OUTPUT,              \
      OCT_CMD_BENCH, "LIST", "percentiles to print, as 50,90,99")                                 \
    X(LABEL, "label", 0, STRING, NULL, NULL, "the server's name or URL", OUTPUT, OCT_CMD_BENCH,   \
      "NAME", "what the results are called in a report")                                          \
    X(SAVE_RESULT, "save-result", 0, BOOL, NULL, "false", NULL, OUTPUT, OCT_CMD_BENCH, "",        \
      "write the results as JSON to LABEL-MODEL-TIME.json, or where -o or --result-filename say") \
    X(RESULT_FILENAME, "result-filename", 0, STRING, NULL, NULL, "none", OUTPUT, OCT_CMD_BENCH,   \
      "FILE", "the same as --output")                                                             \
    X(SAVE_DETAILED, "save-detailed", 0, BOOL, NULL, "false", NULL, OUTPUT, OCT_CMD_BENCH, "",    \
      "put every request into the JSON: its times, its text")                                     \
    X(REPORT, "report", 0, STRING, NULL, NULL, "none", OUTPUT, OCT_CMD_BENCH, "FILE.html",        \
      "write a page with plots and tables of the results")                                        \
    X(PLOTS, "plots", 0, BOOL, NULL, "false", NULL, OUTPUT, OCT_CMD_BENCH, "",                    \
      "with a report: write its plots beside it too, as SVG, and as PNG if rsvg-convert is there")\
                                                                                                  \
    X(HOST, "host", 0, STRING, NULL, "127.0.0.1", NULL, SERVER, OCT_CMD_SERVE, "ADDRESS",         \
      "name or address to listen on; 0.0.0.0 or :: for all of the machine")                       \
    X(PORT, "port", 0, INT, "[0, 65535]", "8000", NULL, SERVER, OCT_CMD_SERVE, "N",               \
      "port to listen on; 0 takes a free one")                                                    \
    X(UDS, "uds", 0, STRING, NULL, NULL, "none", SERVER,                                          \
      OCT_CMD_SERVE | OCT_CMD_BENCH, "PATH",                                                      \
      "a Unix socket to listen on, or for bench serve to connect to, instead of an address")      \
    X(API_KEY, "api-key", 0, STRINGS, NULL, NULL, "none", SERVER,                                 \
      OCT_CMD_SERVE | OCT_CMD_BENCH, "KEY",                                                       \
      "a key that clients must send; may be given several times; bench serve sends the first. "   \
      "Others see the command line of a process: a file or the environment keeps it from them")   \
    X(API_KEY_FILE, "api-key-file", 0, STRING, NULL, NULL, "none", SERVER, OCT_CMD_SERVE, "FILE", \
      "more such keys, one a line")                                                               \
    X(SSL_CERTFILE, "ssl-certfile", 0, STRING, NULL, NULL, "none", SERVER, OCT_CMD_SERVE, "FILE", \
      "serve HTTPS with this certificate chain (PEM)")                                            \
    X(SSL_KEYFILE, "ssl-keyfile", 0, STRING, NULL, NULL, "none", SERVER, OCT_CMD_SERVE, "FILE",   \
      "the private key of --ssl-certfile (PEM)")                                                  \
    X(SERVED_MODEL_NAME, "served-model-name", 0, STRINGS, NULL, NULL,                             \
      "the last part of the model's path", SERVER, OCT_CMD_SERVE, "NAME",                         \
      "what clients call the model; of several the first is shown, all are taken")                \
    X(MAX_QUEUED_REQUESTS, "max-queued-requests", 0, INT, "[1, 1048576]", "4096", NULL,           \
      SERVER, OCT_CMD_SERVE, "N", "requests that may wait for their turn; more are told 429")     \
    X(MAX_CONNECTIONS, "max-connections", 0, INT, "[1, 1000000]", NULL,                           \
      "10000, or less if the process may not open so many files", SERVER, OCT_CMD_SERVE, "N",     \
      "connections at once; more are told 503")                                                   \
    X(MAX_BODY_BYTES, "max-body-bytes", 0, BYTES, "[1024, 1073741824]", "8MiB", NULL,             \
      SERVER, OCT_CMD_SERVE, "BYTES", "longest body of a request; a longer one is told 413")      \
    X(TIMEOUT_KEEP_ALIVE, "timeout-keep-alive", 0, FLOAT, "(0, 86400]", "75", NULL,               \
      SERVER, OCT_CMD_SERVE, "SECONDS", "close a connection that sends no request for so long")   \
    X(SHUTDOWN_TIMEOUT, "shutdown-timeout", 0, FLOAT, "[0, 86400]", "30", NULL,                   \
      SERVER, OCT_CMD_SERVE, "SECONDS",                                                           \
      "after SIGTERM or Ctrl-C running requests have so long to finish; a second signal ends them "\
      "at once")                                                                                  \
    X(WATCHDOG_TIMEOUT, "watchdog-timeout", 0, FLOAT, "[0.1, 86400]", "60", NULL,                 \
      SERVER, OCT_CMD_SERVE, "SECONDS",                                                           \
      "/health says 503 when there is work and no step has finished for so long")                 \
    X(EXIT_ON_DEVICE_FAILURE, "exit-on-device-failure", 0, BOOL, NULL, "true", NULL,              \
      SERVER, OCT_CMD_SERVE, "",                                                                  \
      "when the device has failed, tell every request so and end with exit code 4; else stay and "\
      "answer 503")                                                                               \
    X(SELF_TEST_INTERVAL, "self-test-interval", 0, FLOAT, "[0, 525600]", "60", NULL,              \
      SERVER, OCT_CMD_SERVE, "MINUTES",                                                           \
      "run one fixed request at the start and again after so long, which must give the same bits "\
      "each time; if not, the device counts as failed; 0: never")                                 \
    X(EXPECT, "expect", 0, STRING, NULL, NULL, "whatever the first run gives", PROCESS,           \
      OCT_CMD_SELFTEST, "DIGEST",                                                                 \
      "what the test must give: what it said on a machine that is known to be sound")             \
    X(REASONING_PARSER, "reasoning-parser", 0, CHOICE, NULL, "auto", NULL,                        \
      SERVER, OCT_CMD_SERVE, "auto|none|think",                                                   \
      "what stands between <think> and </think> goes into a field of its own; auto: if the model "\
      "knows these marks")                                                                        \
    X(ALLOWED_ORIGINS, "allowed-origins", 0, STRINGS, NULL, NULL, "the server's own page",        \
      SERVER, OCT_CMD_SERVE, "ORIGIN",                                                            \
      "web pages of this origin may call, as https://example.org; * for all; may be given several "\
      "times")                                                                                    \
    X(ENABLE_LOG_REQUESTS, "enable-log-requests", 0, BOOL, NULL, "false", NULL,                   \
      SERVER, OCT_CMD_SERVE, "",                                                                  \
      "a line for each request on standard error: route, status, tokens, times; never its text")  \
    X(LOG_FORMAT, "log-format", 0, CHOICE, NULL, "text", NULL, SERVER, OCT_CMD_SERVE,             \
      "text|json", "lines on standard error as text, or as JSON objects")                         \
                                                                                                  \
    X(JSON, "json", 0, BOOL, NULL, "false", NULL, OUTPUT,                                         \
      OCT_CMD_RUN | OCT_CMD_INFO | OCT_CMD_TOKENIZE | OCT_CMD_TEMPLATE | OCT_CMD_SELFTEST |       \
      OCT_CMD_BENCH, "",                                                                          \
      "print one JSON object for each result")                                                    \
    X(STATS, "stats", 0, BOOL, NULL, "true", NULL, OUTPUT, OCT_CMD_RUN, "",                       \
      "print speeds on standard error after each answer")                                         \
    X(VERBOSE, "verbose", 'v', BOOL, NULL, "false", NULL, OUTPUT,                                 \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_INFO | OCT_CMD_TOKENIZE |             \
      OCT_CMD_TEMPLATE | OCT_CMD_SELFTEST, "",                                                    \
      "say more on standard error: memory, threads, sandbox")                                     \
                                                                                                  \
    X(THREADS, "threads", 't', INT, "[1, 1024]", NULL, "one for each core it may use", PROCESS,   \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_SELFTEST |                            \
      OCT_CMD_BENCH, "N", "CPU threads")                                                          \
    X(SANDBOX, "sandbox", 0, BOOL, NULL, "true", NULL, PROCESS,                                   \
      OCT_CMD_RUN | OCT_CMD_SERVE | OCT_CMD_BATCH | OCT_CMD_BENCH | OCT_CMD_INFO |                \
      OCT_CMD_TOKENIZE | OCT_CMD_SELFTEST |                                                       \
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
