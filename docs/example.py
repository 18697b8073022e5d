#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""example.py LIBOCTAVO MODEL QUESTION... - answers questions, all at once, through ctypes alone."""
import ctypes as c
import json
import sys

i32, i64, u32, u64, f32, size, text, ptr = (
    c.c_int32, c.c_int64, c.c_uint32, c.c_uint64, c.c_float, c.c_size_t, c.c_char_p, c.c_void_p)


def struct(name, *fields):
    return type(name, (c.Structure,), {"_fields_": [(n, t) for t, names in fields for n in names.split()]})


Options = struct(
    "Options", (u32, "size"), (text, "model_path dtype"),
    (i32, "n_threads max_model_len max_num_seqs max_num_batched_tokens"), (i64, "kv_cache_bytes"),
    (text, "chat_template chat_template_name"), (ptr, "progress progress_user on_events events_user"),
    (i32, "max_waiting prefix_cache manual enforce_eager"),
    (text, "device kv_cache_dtype"), (c.c_double, "gpu_memory_utilization"))
Sampling = struct(
    "Sampling", (u32, "size"), (f32, "temperature top_p min_p"), (i32, "top_k"),
    (f32, "repetition_penalty presence_penalty frequency_penalty"), (c.c_bool, "has_seed"), (u64, "seed"),
    (i32, "max_tokens min_tokens"), (c.c_bool, "ignore_eos"), (i32, "n_logprobs"), (ptr, "stop"), (size, "n_stop"),
    (ptr, "stop_token_ids"), (size, "n_stop_token_ids"), (ptr, "logit_bias"), (size, "n_logit_bias"),
    (ptr, "token_mask token_mask_user"), (c.c_bool, "keep_special"))
Event = struct(
    "Event", (u64, "request"), (c.c_int, "finish status"), (text, "error"), (i32, "token"), (f32, "logprob"),
    (ptr, "top"), (i32, "n_top"), (ptr, "text"), (size, "text_len"), (i32, "n_prompt_tokens n_output_tokens"),
    (i64, "submit_us first_token_us now_us"), (ptr, "user"), (i32, "n_cached_tokens"))
OnEvent = c.CFUNCTYPE(None, ptr, c.POINTER(Event))
Request = struct(
    "Request", (u32, "size"), (ptr, "prompt"), (size, "n_prompt"), (c.POINTER(Sampling), "sampling"),
    (OnEvent, "on_event"), (ptr, "user"), (text, "text"), (size, "text_len"), (u32, "tokenize_flags"),
    (i32, "priority"), (i64, "timeout_us"), (ptr, "cache_salt"), (size, "cache_salt_len"))


def main(library, model, *questions):
    lib = c.CDLL(library)
    lib.oct_last_error.restype = text

    def call(name, *args):
        if getattr(lib, name)(*args):
            sys.exit(f"{name}: {lib.oct_last_error().decode()}")

    answers = {q: b"" for q in questions}

    def on_event(user, event):
        ev = event.contents
        answers[questions[user or 0]] += c.string_at(ev.text, ev.text_len)
        if ev.error:
            print(ev.error.decode(), file=sys.stderr)

    engine, keep = ptr(), OnEvent(on_event)  # the callback must live as long as the requests
    call("oct_engine_open", c.byref(Options(size=c.sizeof(Options), model_path=model.encode())), c.byref(engine))
    for n, question in enumerate(questions):
        ids, n_ids, request_id = ptr(), size(), u64()
        messages = json.dumps([{"role": "user", "content": question}]).encode()
        call("oct_engine_chat_tokens", engine, messages, None, c.byref(ids), c.byref(n_ids))
        sampling = Sampling(size=c.sizeof(Sampling), temperature=-1, top_p=-1, min_p=-1, top_k=-1,
                            repetition_penalty=-1, n_logprobs=-1, max_tokens=64)  # -1: the model's own
        request = Request(size=c.sizeof(Request), prompt=ids, n_prompt=n_ids, sampling=c.pointer(sampling),
                          on_event=keep, user=n)
        call("oct_engine_submit", engine, c.byref(request), c.byref(request_id))
        lib.oct_buffer_free(ids)
    call("oct_engine_drain", engine, i64(-1))
    lib.oct_engine_close(engine)
    for question, answer in answers.items():
        print(question, answer.decode(), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
