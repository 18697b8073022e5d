/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo batch on a tiny model: every request gets exactly one result, whatever happens on the way.
 */
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 512, MAX_RESULTS = 256 };

static char *dir;

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(batch, .init = write_model, .fini = remove_model);

static const char *in_dir(char dst[PATH_BYTES], const char *name)
{
    (void)snprintf(dst, PATH_BYTES, "%s/%s", dir, name);
    return dst;
}

static void octavo_batch(struct spawned *s, const char *more)
{
    char line[PATH_BYTES * 4];
    (void)snprintf(line, sizeof line, "batch|%s/tiny.gguf|-i|%s/in.jsonl|-o|%s/out.jsonl%s%s", dir,
                   dir, dir, *more ? "|" : "", more);
    spawn_line(s, line, NULL);
}

/* n requests; each asks for another number of tokens. */
static void write_requests(int n)
{
    struct oct_buf b = {0};
    for (int i = 0; i < n; i++) {
        cr_assert_eq(
            oct_buf_printf(&b,
                           "{\"custom_id\": \"r%d\", \"method\": \"POST\", \"url\": "
                           "\"/v1/chat/completions\", \"body\": {\"messages\": [{\"role\": "
                           "\"user\", \"content\": \"question %d\"}], \"max_tokens\": %d, "
                           "\"ignore_eos\": true, \"temperature\": 0}}\n",
                           i, i, 4 + i % 13),
            OCT_OK);
    }
    oct_test_write_file(dir, "in.jsonl", b.data, b.len);
    oct_buf_free(&b);
}

struct results {
    json_t *line[MAX_RESULTS];
    size_t n;
    size_t bytes;
};

/* Every line must be one whole JSON object. */
static void read_results(struct results *r)
{
    char path[PATH_BYTES];
    FILE *f = fopen(in_dir(path, "out.jsonl"), "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    *r = (struct results){0};
    cr_assert_not_null(f, "%s: %s", path, strerror(errno));
    while ((len = getline(&line, &cap, f)) > 0) {
        json_error_t e;
        cr_assert_eq(line[len - 1], '\n', "a broken line: %s", line);
        cr_assert_lt(r->n, (size_t)MAX_RESULTS);
        r->line[r->n] = json_loads(line, JSON_REJECT_DUPLICATES, &e);
        cr_assert_not_null(r->line[r->n], "%s: %s", e.text, line);
        r->n++;
        r->bytes += (size_t)len;
    }
    free(line);
    (void)fclose(f);
}

static void free_results(struct results *r)
{
    for (size_t i = 0; i < r->n; i++) {
        json_decref(r->line[i]);
    }
}

static const json_t *result_of(const struct results *r, const char *id)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < r->n; i++) {
        if (!strcmp(json_string_value(json_object_get(r->line[i], "custom_id")), id)) {
            cr_assert_null(found, "%s has two results", id);
            found = r->line[i];
        }
    }
    cr_assert_not_null(found, "%s has no result", id);
    return found;
}

static const json_t *at(const json_t *o, const char *path)
{
    char names[128];
    char *rest = strcpy(names, path);
    for (const char *name; (name = strsep(&rest, "."));) {
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(name)) : json_object_get(o, name);
    }
    cr_assert_not_null(o, "no %s", path);
    return o;
}

static const char *content(const struct results *r, int i)
{
    char id[16];
    (void)snprintf(id, sizeof id, "r%d", i);
    return json_string_value(at(result_of(r, id), "response.body.choices.0.message.content"));
}

Test(batch, every_kind_of_request_gets_its_result)
{
    static const struct {
        const char *id, *url, *body;
        int code;
        const char *want; /* in the message of a refused one */
    } row[] = {
        {"chat", "chat/completions",
         "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], "
         "\"max_tokens\": 5, \"ignore_eos\": true}",
         200, NULL},
        {"parts", "chat/completions",
         "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
         "\"hi\"}]}], \"max_completion_tokens\": 5, \"ignore_eos\": true}",
         200, NULL},
        {"text", "completions",
         "{\"prompt\": \"once upon\", \"max_tokens\": 5, \"ignore_eos\": true, \"logprobs\": 2}",
         200, NULL},
        {"ids", "completions",
         "{\"prompt\": [70, 71, 72], \"max_tokens\": 5, \"ignore_eos\": true, \"seed\": -3, "
         "\"temperature\": 1.5, \"logit_bias\": {\"80\": -100}}",
         200, NULL},
        {"logprobs", "chat/completions",
         "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"max_tokens\": 3, "
         "\"logprobs\": true, \"top_logprobs\": 4, \"ignore_eos\": true}",
         200, NULL},
        {"hot", "completions", "{\"prompt\": \"x\", \"temperature\": 101}", 400, "temperature"},
        {"negative", "completions", "{\"prompt\": \"x\", \"top_p\": -1}", 400, "top_p"},
        {"unknown", "completions", "{\"prompt\": \"x\", \"max_token\": 1}", 400, "max_tokens"},
        {"type", "completions", "{\"prompt\": \"x\", \"max_tokens\": \"5\"}", 400, "max_tokens"},
        {"long", "completions", "{\"prompt\": \"x\", \"max_tokens\": 1000000}", 400, "max_tokens"},
        {"none", "chat/completions", "{\"messages\": []}", 400, "messages"},
        {"role", "chat/completions", "{\"messages\": [{\"content\": \"x\"}]}", 400, "role"},
        {"image", "chat/completions",
         "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}", 501,
         "image_url"},
        {"stream", "completions", "{\"prompt\": \"x\", \"stream\": true}", 400, "stream"},
        {"two", "completions", "{\"prompt\": \"x\", \"n\": 2}", 501, "n is 2"},
        {"schema", "completions",
         "{\"prompt\": \"x\", \"response_format\": {\"type\": \"json_object\"}}", 501,
         "response_format"},
        {"kwargs", "chat/completions",
         "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"chat_template_kwargs\": "
         "{\"messages\": 1}}",
         400, "chat_template_kwargs"},
    };
    struct oct_buf b = {0};
    const size_t n = sizeof row / sizeof *row;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(oct_buf_printf(&b,
                                    "{\"custom_id\": \"%s\", \"method\": \"POST\", \"url\": "
                                    "\"/v1/%s\", \"body\": %s}\n%s",
                                    row[i].id, row[i].url, row[i].body, i % 3 ? "" : "\n"),
                     OCT_OK);
    }
    oct_test_write_file(dir, "in.jsonl", b.data, b.len - 1); /* the last line has no newline */
    oct_buf_free(&b);
    struct spawned s;
    octavo_batch(&s, "");
    cr_assert_eq(s.code, 0, "%d: %s", s.code, s.err.data);
    struct results r;
    read_results(&r);
    cr_assert_eq(r.n, n, "%zu results", r.n);
    for (size_t i = 0; i < n; i++) {
        const json_t *o = result_of(&r, row[i].id);
        const int code = (int)json_integer_value(at(o, "response.status_code"));
        char *text = json_dumps(o, 0);
        cr_assert_eq(code, row[i].code, "%s: %s", row[i].id, text);
        cr_assert_eq(json_is_null(json_object_get(o, "error")), code == 200, "%s", text);
        if (code == 200) {
            cr_assert_str_eq(json_string_value(at(o, "response.body.choices.0.finish_reason")),
                             "length", "%s", text);
            const double tokens = json_number_value(at(o, "response.body.usage.completion_tokens"));
            cr_assert(tokens == (strcmp(row[i].id, "logprobs") ? 5 : 3), "%s", text);
        } else {
            const char *why = json_string_value(at(o, "response.body.error.message"));
            cr_assert(strstr(why, row[i].want), "%s: %s", row[i].id, why);
            cr_assert_str_eq(json_string_value(at(o, "error.message")), why);
        }
        free(text);
    }
    cr_assert_str_eq(json_string_value(at(result_of(&r, "chat"), "response.body.model")), "m");
    const json_t *lp = at(result_of(&r, "logprobs"), "response.body.choices.0.logprobs.content");
    cr_assert_eq(json_array_size(lp), 3u);
    cr_assert_eq(json_array_size(at(lp, "0.top_logprobs")), 4u);
    const double best = json_number_value(at(lp, "0.top_logprobs.0.logprob"));
    cr_assert(best <= 0 && best >= json_number_value(at(lp, "0.top_logprobs.3.logprob")));
    lp = at(result_of(&r, "text"), "response.body.choices.0.logprobs");
    cr_assert_eq(json_array_size(at(lp, "tokens")), 5u);
    cr_assert_eq(json_array_size(at(lp, "text_offset")), 5u);
    cr_assert_eq(json_object_size(at(lp, "top_logprobs.0")), 2u);
    cr_assert(strstr(s.err.data, "complete: 17 of 17 requests have results, 12 of them failed"),
              "%s", s.err.data);
    free_results(&r);
    spawned_free(&s);
}

Test(batch, results_come_in_the_order_of_the_input_if_asked)
{
    write_requests(60);
    struct spawned s;
    octavo_batch(&s, "--order|input|--max-num-seqs|7");
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    spawned_free(&s);
    struct results r;
    read_results(&r);
    cr_assert_eq(r.n, 60u);
    for (int i = 0; i < 60; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "r%d", i);
        cr_assert_str_eq(json_string_value(json_object_get(r.line[i], "custom_id")), id);
    }
    free_results(&r);
}

static void cut_results(size_t bytes)
{
    char path[PATH_BYTES];
    cr_assert_eq(truncate(in_dir(path, "out.jsonl"), (off_t)bytes), 0);
}

Test(batch, a_run_goes_on_where_another_was_cut_off)
{
    enum { N = 40 };
    struct results all, again;
    struct spawned s;
    write_requests(N);
    octavo_batch(&s, "");
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    spawned_free(&s);
    read_results(&all);
    cr_assert_eq(all.n, (size_t)N);
    for (size_t part = 0; part <= 8;
         part++) { /* nothing, the middle of a line, all but a byte, all */
        cut_results(part == 8 ? all.bytes : part == 7 ? all.bytes - 1 : all.bytes * part / 7);
        octavo_batch(&s, "");
        cr_assert_eq(s.code, 0, "%zu: %s", part, s.err.data);
        cr_assert_eq(strstr(s.err.data, "40 done now") != NULL, part == 0, "%s", s.err.data);
        cr_assert_eq(strstr(s.err.data, "done now") != NULL, part < 8, "%s", s.err.data);
        spawned_free(&s);
        read_results(&again);
        cr_assert_eq(again.n, (size_t)N, "part %zu: %zu results", part, again.n);
        for (int i = 0; i < N; i++) {
            cr_assert_str_eq(content(&again, i), content(&all, i), "part %zu, request %d", part, i);
        }
        free_results(&again);
    }
    free_results(&all);
}

/* Starts the program and kills it after `us`. Returns whether it had ended by itself. */
static bool run_and_kill(useconds_t us)
{
    char model[PATH_BYTES], in[PATH_BYTES], out[PATH_BYTES];
    const char *const args[] = {OCT_BINARY,
                                "batch",
                                in_dir(model, "tiny.gguf"),
                                "-i",
                                in_dir(in, "in.jsonl"),
                                "-o",
                                in_dir(out, "out.jsonl"),
                                NULL};
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, 2);
        (void)execv(OCT_BINARY, (char *const *)(uintptr_t)args);
        _exit(126);
    }
    (void)usleep(us);
    (void)kill(pid, SIGKILL);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "it ended with %x", status);
    return WIFEXITED(status);
}

Test(batch, a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing, .timeout = 120)
{
    enum { N = 200 };
    struct results r;
    write_requests(N);
    useconds_t us = 20000;
    int killed = 0;
    while (!run_and_kill(us)) { /* each time a little longer, so that it ends at some time */
        us += 3000 + us / 16;
        killed++;
    }
    cr_assert_gt(killed, 1);
    read_results(&r);
    cr_assert_eq(r.n, (size_t)N, "%zu results after %d kills", r.n, killed);
    for (int i = 0; i < N; i++) {
        cr_assert_gt(strlen(content(&r, i)), 0u);
    }
    free_results(&r);
}

Test(batch, a_full_disk_ends_it_and_leaves_whole_lines)
{
    enum { N = 60 };
    struct results r;
    struct spawned s;
    char command[PATH_BYTES * 4];
    write_requests(N);
    /* blocks of 512 bytes: some requests' worth */
    (void)snprintf(command, sizeof command,
                   "sh -c 'trap \"\" XFSZ; ulimit -f 16; exec %s batch %s/tiny.gguf -i %s/in.jsonl "
                   "-o %s/out.jsonl' 2> %s/err.txt",
                   OCT_BINARY, dir, dir, dir, dir);
    const int status = system(command);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2, "it ended with %x", status);
    read_results(&r);
    cr_assert(r.n > 0 && r.n < N, "%zu results", r.n);
    free_results(&r);
    octavo_batch(&s, "");
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    spawned_free(&s);
    read_results(&r);
    cr_assert_eq(r.n, (size_t)N);
    free_results(&r);
}

#define LINE(id) \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{}}\n"

Test(batch, bad_files_are_refused_by_line_before_anything_is_done)
{
    static const struct {
        const char *input, *results, *want;
    } row[] = {
        {" \n\n", NULL, "holds no requests"},
        {"{\"custom_id\": 1}\n", NULL, "line 1: \"custom_id\""},
        {LINE("a") "\nnot JSON\n", NULL, "line 3"},
        {LINE("a") LINE("b") LINE("a"), NULL, "line 3: custom_id \"a\" was there before"},
        {"{\"custom_id\":\"a\",\"method\":\"GET\",\"url\":\"/v1/completions\",\"body\":{}}", NULL,
         "method"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{}}", NULL, "url"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":[]}", NULL, "body"},
        {LINE("a"), "{\"custom_id\":\"b\",\"error\":null}\n", "belongs to no request"},
        {LINE("a"), "{\"custom_id\":\"a\"}\n{\"custom_id\":\"a\"}\n", "a result already"},
        {LINE("a"), "nonsense\n", "line 1"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char path[PATH_BYTES];
        struct spawned s;
        oct_test_write_file(dir, "in.jsonl", row[i].input, strlen(row[i].input));
        (void)unlink(in_dir(path, "out.jsonl"));
        if (row[i].results) {
            oct_test_write_file(dir, "out.jsonl", row[i].results, strlen(row[i].results));
        }
        octavo_batch(&s, "");
        cr_assert_eq(s.code, 2, "row %zu: %d, %s", i, s.code, s.err.data);
        cr_assert(strstr(s.err.data, row[i].want), "row %zu: %s", i, s.err.data);
        spawned_free(&s);
        struct stat sb;
        const bool there = stat(path, &sb) == 0;
        cr_assert_eq(there, row[i].results != NULL, "row %zu", i);
        cr_assert(!there || (size_t)sb.st_size == strlen(row[i].results), "row %zu: changed", i);
    }
}

Test(batch, missing_files_and_flags_are_named)
{
    static const struct {
        const char *line, *want;
    } row[] = {
        {"batch", "no model"},
        {"batch|/nowhere/model", "-i REQUESTS.jsonl is missing"},
        {"batch|/nowhere/model|-i|x", "-o RESULTS.jsonl is missing"},
        {"batch|/nowhere/model|-i|/nowhere/in|-o|/nowhere/out", "/nowhere/in"},
        {"batch|/nowhere/model|-i|/dev/null|-o|/nowhere/out", "not a regular file"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct spawned s;
        spawn_line(&s, row[i].line, NULL);
        cr_assert_eq(s.code, 2, "%s: %d", row[i].line, s.code);
        cr_assert(strstr(s.err.data, row[i].want), "%s: %s", row[i].line, s.err.data);
        spawned_free(&s);
    }
}
