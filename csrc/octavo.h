/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo.h - the public C API of liboctavo, the only installed header.
 *
 * The one rule: every call that can fail returns an oct_status; when it is not OCT_OK,
 * oct_last_error() holds one sentence for a person, on the calling thread. Out-parameters are
 * untouched on failure. The library never prints, never exits and keeps no global state but that
 * per-thread sentence.
 *
 * Structs begin with their size, which their _INIT macro sets to the caller's own sizeof. They grow
 * at their end only: an older program keeps working with a newer library (what it does not know has
 * its default), a newer one with an older library as long as it sets nothing that is not there. */
#ifndef OCT_OCTAVO_H
#define OCT_OCTAVO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "octavo runs on Linux"
#endif
#define OCT_API __attribute__((visibility("default")))
#define OCT_CHECKED __attribute__((warn_unused_result))

/* Status codes. Negative: failure. The numbers never change meaning. */
#define OCT_STATUS_MAP(X) \
    X(OCT_OK, 0, "ok") \
    X(OCT_E_ARG, -1, "invalid argument") \
    X(OCT_E_MEM, -2, "out of memory") \
    X(OCT_E_IO, -3, "file or network error") \
    X(OCT_E_NOTFOUND, -4, "not found") \
    X(OCT_E_FORMAT, -5, "malformed file or message") \
    X(OCT_E_UNSUPPORTED, -6, "not supported by this build or model") \
    X(OCT_E_BUSY, -7, "no capacity now, retry later") \
    X(OCT_E_CANCELLED, -8, "cancelled") \
    X(OCT_E_DEVICE, -9, "device error, the engine must restart") \
    X(OCT_E_LIMIT, -10, "over a published limit") \
    X(OCT_E_DEADLINE, -11, "deadline passed") \
    X(OCT_E_NUMERIC, -12, "the model produced values that are not numbers")

typedef enum oct_status {
#define OCT_STATUS_ENUM(name, value, text) name = value,
    OCT_STATUS_MAP(OCT_STATUS_ENUM)
#undef OCT_STATUS_ENUM
} oct_status;

/* The fixed text of a status ("out of memory"); "unknown status" for any other number. */
OCT_API const char *oct_status_text(oct_status st);

/* The sentence of the last failure on this thread: what was wrong, where, what to do. Never NULL;
 * empty before the first failure. Valid until the next octavo call on this thread. */
OCT_API const char *oct_last_error(void);

/* "0.1.0"; static. */
OCT_API const char *oct_version(void);

/* ---- engine: a model, loaded, and the requests that run on it ---- */

/* Opaque. Every call is safe from any thread, also from within a callback, but for what is said at
 * oct_engine_step and oct_engine_close. Engines do not know of each other. */
typedef struct oct_engine oct_engine;

/* ---- what an engine tells ---- */

typedef enum oct_finish {
    OCT_FINISH_NONE = 0,   /* still running */
    OCT_FINISH_STOP = 1,   /* an end token or a stop string */
    OCT_FINISH_LENGTH = 2, /* max_tokens or max_model_len */
    OCT_FINISH_CANCELLED = 3,
    OCT_FINISH_ERROR = 4, /* status and error say why */
} oct_finish;

struct oct_token_logprob {
    int32_t token;
    float logprob;
};

/* What a callback is told about a request: one event a token, and exactly one last event whose
 * `finish` is not OCT_FINISH_NONE. The last event may carry a token and text too. */
struct oct_event {
    uint64_t request; /* id given by oct_engine_submit */
    oct_finish finish;
    oct_status status; /* OCT_OK unless finish is OCT_FINISH_ERROR or OCT_FINISH_CANCELLED */
    const char *error; /* a sentence, or NULL */
    int32_t token;     /* -1: none with this event */
    float logprob;     /* of the token; 0 if not asked for */
    const struct oct_token_logprob *top; /* [n_top], most likely first */
    int32_t n_top;
    const char *text; /* whole UTF-8 that became certain with this event; may be empty */
    size_t text_len;
    int32_t n_prompt_tokens, n_output_tokens;
    int64_t submit_us, first_token_us, now_us; /* monotonic clock; first_token_us 0 before it */
    void *user;                                /* the request's */
    int32_t n_cached_tokens; /* of the prompt: found in the prefix cache, not computed */
    int32_t n_prompt_top;    /* of the two arrays below; -1: not with this event */
    int64_t start_us;        /* when its first step began; 0 before it */
    /* With the event of the first token, if n_prompt_logprobs asked for them; else NULL. Entry i is
     * about prompt token i, given the tokens before it; entry 0 has its token alone (logprob 0, and
     * alternatives with token -1), since nothing stands before it. A logprob may be -INFINITY. */
    const struct oct_token_logprob *prompt_logprobs; /* [n_prompt_tokens] */
    const struct oct_token_logprob *prompt_top; /* [n_prompt_tokens, n_prompt_top], of each entry
                                                   the most likely first */
};

/* Callbacks run on the engine's thread, or in oct_engine_step of a manual engine, one at a time,
 * while the next step is computed: one that is slow or blocks delays everybody. Everything in an
 * event is borrowed until the callback returns. A callback may submit and cancel and ask for stats;
 * it may not step or close, and waiting there is refused. */
typedef void (*oct_event_fn)(void *user, const struct oct_event *ev);
/* events[n], n >= 1; of one request in order. user: events_user of the options. */
typedef void (*oct_events_fn)(void *user, const struct oct_event *const *events, size_t n);

/* ---- opening ---- */

/* An option that has a default of its own. */
typedef enum oct_switch {
    OCT_SWITCH_DEFAULT = 0,
    OCT_SWITCH_ON = 1,
    OCT_SWITCH_OFF = 2
} oct_switch;

/* Called while weights are loaded, on the thread in oct_engine_open. Return false to give up: the
 * open then fails with OCT_E_CANCELLED. */
typedef bool (*oct_progress_fn)(void *user, uint64_t done_bytes, uint64_t total_bytes);

/* Fill with OCT_ENGINE_OPTIONS_INIT, then set what differs. Zero means the stated default. */
struct oct_engine_options {
    uint32_t size; /* set by the initialiser; lets older callers keep working */
    const char
        *model_path;   /* a Hugging Face directory or a .gguf file; borrowed until open returns */
    const char *dtype; /* "auto" (bfloat16; on the CPU float32 for an F32 checkpoint), "bfloat16",
                          "float32" (CPU only) */
    int32_t n_threads; /* CPU threads; 0: one per core this process may use */
    int32_t max_model_len; /* longest prompt + output in tokens; 0: the model's own limit, or less
                              if kv_cache_bytes does not hold it */
    int32_t max_num_seqs;  /* requests running at once; 0: 16 */
    int32_t max_num_batched_tokens; /* rows per step, all requests together; 0: 512 */
    int64_t kv_cache_bytes; /* 0: one request of max_model_len and 1,024 tokens for each other, at
                               most 40 % of memory; on a CUDA device what is left of its share */
    const char *chat_template;      /* the text of a chat template in place of the model's; NULL */
    const char *chat_template_name; /* the one of the model's named templates to use; NULL:
                                       "tool_use" for a conversation with tools if there is one,
                                       else "default" */
    oct_progress_fn progress;       /* NULL: none */
    void *progress_user;
    oct_events_fn on_events; /* once a step, all events of requests without a callback of their own;
                                NULL: every request needs its own */
    void *events_user;
    int32_t max_waiting;  /* requests that may wait for their turn; 0: 65536, up to 1048576 */
    int32_t prefix_cache; /* enum oct_switch; by default on: prompts that begin alike share pages */
    int32_t manual;       /* 0: the engine runs on a thread of its own. 1: the caller runs it, by
                             oct_engine_step (event loops, simulations) */
    int32_t enforce_eager; /* 1: no CUDA graphs: every kernel of every step launched by itself */
    const char *device;    /* "auto" (the first CUDA device that will do, else the CPU), "cpu",
                              "cuda", "cuda:1"; NULL: "auto" */
    const char *kv_cache_dtype;    /* "auto" (as dtype); NULL: "auto" */
    double gpu_memory_utilization; /* share of a CUDA device's memory to take, weights and all, the
                                      KV cache getting what is left of it; (0, 1]; 0: 0.9. Not where
                                      kv_cache_bytes says how much */
    int32_t sync_kernels; /* 1: waits after each kernel of a CUDA device, so that an error names the
                             one that failed; slow, records no CUDA graphs */
    const char *gemm_provider; /* who multiplies matrices on a CUDA device: "octavo", or "cublaslt",
                                  with which the bits of an answer may depend on what runs beside
                                  it; NULL: "octavo" */
    int64_t step_timeout_us;   /* a step that takes longer hangs: the device counts as failed, and
                                  every request ends with OCT_E_DEVICE, though the device does not
                                  come back. 0: 60 s on a CUDA device, no bound on the CPU; -1: no
                                  bound. Not of a manual engine: there the caller waits himself */
};
#define OCT_ENGINE_OPTIONS_INIT \
    { \
        .size = sizeof(struct oct_engine_options) \
    }

/* Loads the model and reserves all memory it will ever use. On failure nothing stays allocated. */
OCT_API OCT_CHECKED oct_status oct_engine_open(const struct oct_engine_options *o,
                                               oct_engine **out);
/* Ends what still runs with OCT_E_CANCELLED, one last event each, then frees. Not from a callback
 * (that is a bug, and asserted), and no call may begin after it; threads that are inside a call,
 * waiting say, come out of it first. NULL is fine.
 * Waits for the step that runs. If the device hangs (oct_engine_stats.device_hangs), it waits a
 * quarter of a second at most and then leaves behind, as long as the process lives, what the device
 * may still come to use: its memory and one thread. exit() may then wait for the driver; _exit()
 * does not. */
OCT_API void oct_engine_close(oct_engine *e);

struct oct_engine_info {
    uint32_t size; /* set by the caller to sizeof(struct oct_engine_info) */
    int32_t vocab_size, max_model_len, n_layers, n_threads;
    int32_t max_num_seqs, max_num_batched_tokens;
    uint64_t n_params;
    uint64_t weight_bytes, kv_cache_bytes, workspace_bytes;
    int64_t load_us;
    const char *architecture; /* "llama"; owned by the engine, as is the next */
    const char *dtype;        /* "bfloat16" */
    const char *device; /* "cpu", or what a CUDA device says of itself; as long as the engine */
    /* Bytes of the device in all (on the CPU of the machine, or its control group), and of them
     * what others held when it was opened, the driver included (on the CPU: 0). 0 and 0: unknown.
     */
    uint64_t device_memory_bytes, device_others_bytes;
};
OCT_API void oct_engine_get_info(const oct_engine *e, struct oct_engine_info *out);

/* ---- requests ---- */

struct oct_logit_bias {
    int32_t token;
    float bias; /* -100..100, added to the token's logit */
};

/* Writes the tokens a request may choose next into mask: bit t of word t/32 is token t. All bits
 * are set at the call. output[n]: the tokens generated so far. Return false to end the request with
 * OCT_E_ARG. For grammars and the like; runs on the engine's thread, once a token. */
typedef bool (*oct_token_mask_fn)(void *user, const int32_t *output, size_t n, uint32_t *mask,
                                  size_t n_words);

/* How tokens are chosen. Fill with OCT_SAMPLING_INIT. A value of -1 where it says "model" takes
 * what the model's authors recommend (generation_config.json), else the value after "else".
 * Anything out of range is refused by name; nothing is clamped. */
struct oct_sampling {
    uint32_t size;
    float temperature;        /* model, else 0; 0: greedy; up to 100 */
    float top_p;              /* model, else 1; (0, 1] */
    float min_p;              /* model, else 0; [0, 1] */
    int32_t top_k;            /* model, else 0; 0: all */
    float repetition_penalty; /* model, else 1; (0, 10] */
    float presence_penalty;   /* -2..2 */
    float frequency_penalty;  /* -2..2 */
    bool has_seed;            /* false: a fresh random seed */
    uint64_t seed;
    int32_t max_tokens; /* 0: up to max_model_len */
    int32_t min_tokens; /* no stop before so many */
    bool ignore_eos;    /* do not stop at the model's own end tokens */
    int32_t n_logprobs; /* alternatives per token, 0..20; -1: no logprobs */
    const char *const
        *stop; /* [n_stop] strings, 1..256 bytes each, at most 16; not part of the text */
    size_t n_stop;
    const int32_t *stop_token_ids; /* [n_stop_token_ids], at most 64 */
    size_t n_stop_token_ids;
    const struct oct_logit_bias *logit_bias; /* [n_logit_bias], at most 1024, tokens distinct */
    size_t n_logit_bias;
    oct_token_mask_fn token_mask; /* NULL: none */
    void *token_mask_user;
    bool keep_special;   /* special tokens appear in the text */
    uint8_t reserved[7]; /* zero */
    /* Alternatives per prompt token, 0..20; -1: no logprobs of the prompt. These are of the model's
     * own distribution, as n_logprobs's: before bias, penalties and temperature. The request gets
     * nothing from the prefix cache, and takes 8 * n_prompt * (1 + n_prompt_logprobs) bytes more,
     * from submission to its end. */
    int32_t n_prompt_logprobs;
};
#define OCT_SAMPLING_INIT \
    { \
        .size = sizeof(struct oct_sampling), .temperature = -1, .top_p = -1, .min_p = -1, \
        .top_k = -1, .repetition_penalty = -1, .n_logprobs = -1, .n_prompt_logprobs = -1 \
    }

typedef enum oct_tokenize_flags {
    OCT_TOKENIZE_SPECIAL = 1, /* special tokens written in the text become their ids */
    OCT_TOKENIZE_BOS_EOS = 2, /* add what the tokenizer adds around a prompt */
} oct_tokenize_flags;

struct oct_request {
    uint32_t size;
    const int32_t
        *prompt;     /* [n_prompt] token ids, each below vocab_size; copied. Or `text` below */
    size_t n_prompt; /* 1..max_model_len - 1 */
    const struct oct_sampling *sampling; /* NULL: all defaults; copied, lists included */
    oct_event_fn on_event;               /* NULL: the engine's on_events, if it has one */
    void *user;                          /* for the callback */
    const char *text;                    /* the prompt as text, tokenized by the caller's thread */
    size_t text_len;
    uint32_t tokenize_flags; /* of text: oct_tokenize_flags; the initialiser sets BOS_EOS */
    int32_t priority;   /* -8..8, smaller is sooner: each level is worth 1024 places in the queue */
    int64_t timeout_us; /* from submission to the last event, else OCT_E_DEADLINE; 0: none */
    const void *cache_salt; /* [cache_salt_len], at most 256 bytes: only requests of equal salt
                               share cached prompts. NULL: those without one */
    size_t cache_salt_len;
};
#define OCT_REQUEST_INIT \
    { \
        .size = sizeof(struct oct_request), .tokenize_flags = OCT_TOKENIZE_BOS_EOS \
    }

/* Takes the request, or refuses it with a sentence (then no event is ever sent): OCT_E_ARG names
 * the field, OCT_E_BUSY says that max_waiting requests wait. Its first event may come before the
 * call returns; *id is set before that. */
OCT_API OCT_CHECKED oct_status oct_engine_submit(oct_engine *e, const struct oct_request *r,
                                                 uint64_t *id);
/* The request gets no more tokens after the step that runs; its last event (OCT_FINISH_CANCELLED)
 * follows, unless it ends by itself before. OCT_E_NOTFOUND if no such request runs. */
OCT_API OCT_CHECKED oct_status oct_engine_cancel(oct_engine *e, uint64_t id);

/* Until the request has had its last event and its callback has returned; how it ended, the
 * callback was told. timeout_us: -1 for ever, 0 only looks. OCT_E_DEADLINE: it still runs.
 * OCT_E_NOTFOUND: there never was such a request. In a callback: OCT_E_ARG. A manual engine is
 * stepped meanwhile, so the call is for the thread that steps it, and a failure of the device is
 * returned. */
OCT_API OCT_CHECKED oct_status oct_engine_wait(oct_engine *e, uint64_t id, int64_t timeout_us);
/* The same for all requests; those submitted meanwhile too. */
OCT_API OCT_CHECKED oct_status oct_engine_drain(oct_engine *e, int64_t timeout_us);
/* Manual engines only: runs one step of all requests and sends their events. *n_active (may be
 * NULL): requests waiting or running afterwards. A failure is the device's: every request has been
 * ended with it, and every later call fails the same way. One thread at a time, not in a callback.
 */
OCT_API OCT_CHECKED oct_status oct_engine_step(oct_engine *e, size_t *n_active);

/* Counters since the engine was opened, and the state after its last step. */
struct oct_engine_stats {
    uint32_t size;                 /* set by the caller to sizeof(struct oct_engine_stats) */
    int32_t n_running, n_waiting;  /* requests; preempted ones wait */
    int32_t n_pages, n_pages_used; /* of the KV cache; not used: free, or */
    int32_t n_pages_cached;        /* holding prompts that may come again */
    uint64_t n_submitted;          /* accepted; each is running, waiting, or one of these five: */
    uint64_t n_stopped, n_length, n_cancelled, n_expired, n_failed;
    uint64_t n_prompt_tokens, n_output_tokens; /* of requests that have begun; generated */
    uint64_t n_prefix_query_tokens, n_prefix_hit_tokens;
    uint64_t n_preemptions, n_steps;
    uint64_t schedule_us, forward_us, sample_us, deliver_us; /* where the time of the steps went */
    int64_t last_step_age_us; /* since a step finished; -1: none has */
    int32_t device_hangs; /* 1: a step has taken longer than step_timeout_us; the engine is dead,
                             and how it is closed is said at oct_engine_close */
};
OCT_API void oct_engine_get_stats(oct_engine *e, struct oct_engine_stats *out);

/* ---- text ---- */

/* *ids [*n] is given away: oct_buffer_free. Safe from any thread. */
OCT_API OCT_CHECKED oct_status oct_engine_tokenize(const oct_engine *e, const char *text,
                                                   size_t len, unsigned flags, int32_t **ids,
                                                   size_t *n);
/* *text, NUL-terminated, is given away. */
OCT_API OCT_CHECKED oct_status oct_engine_detokenize(const oct_engine *e, const int32_t *ids,
                                                     size_t n, bool keep_special, char **text,
                                                     size_t *len);
/* The prompt of a conversation: the chat template renders it, the tokenizer makes ids of that.
 * messages_json: a JSON list of {role, content, ...}; vars_json: a JSON object with more variables
 * (tools, add_generation_prompt: default true, ...), or NULL. Control tokens come of the template
 * alone: one that is spelled in messages or variables stays text, in earlier answers too. Control
 * tokens are the special ones and other added tokens spelled <|...|> or <｜...｜>; the rest
 * (<think>, <tool_call>) keep their ids. *ids [*n] is given away: oct_buffer_free.
 * OCT_E_UNSUPPORTED if the model has no template. Safe from any thread. */
OCT_API OCT_CHECKED oct_status oct_engine_chat_tokens(const oct_engine *e,
                                                      const char *messages_json,
                                                      const char *vars_json, int32_t **ids,
                                                      size_t *n);
/* The same prompt as text, to look at: from the text nobody can tell any more what the template
 * wrote and what a user. Given away. */
OCT_API OCT_CHECKED oct_status oct_engine_chat_prompt(const oct_engine *e,
                                                      const char *messages_json,
                                                      const char *vars_json, char **prompt,
                                                      size_t *len);
OCT_API void oct_buffer_free(void *p);

#ifdef __cplusplus
}
#endif
#endif
