/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_peer.c - the same work done by Hugging Face tokenizers and jinja2, in a Python beside us.
 * It gets the job as JSON on its standard input and the text in a memory file, and answers in JSON.
 */
#include "serve/bench.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_FD = 3 };

/* One thread, as we have; each figure the median of the rounds. */
static const char script[] =
    "import json, os, sys, time, struct\n"
    "os.environ['TOKENIZERS_PARALLELISM'] = 'false'\n"
    "os.environ['RAYON_NUM_THREADS'] = '1'\n"
    "job = json.load(sys.stdin)\n"
    "out = {}\n"
    "def median(f):\n"
    "    times = []\n"
    "    for _ in range(job['rounds']):\n"
    "        start = time.perf_counter()\n"
    "        result = f()\n"
    "        times.append((time.perf_counter() - start) * 1e6)\n"
    "    return sorted(times)[len(times) // 2], result\n"
    "try:\n"
    "    import tokenizers\n"
    "except ImportError:\n"
    "    tokenizers = None\n"
    "if tokenizers and job['tokenizer_json']:\n"
    "    with os.fdopen(3, 'rb') as f: text = f.read()\n"
    "    step = job['chunk_bytes']\n"
    "    docs = [text[i:i + step].decode('utf-8', 'replace') for i in range(0, len(text), step)]\n"
    "    out['load_us'], t = median(\n"
    "        lambda: tokenizers.Tokenizer.from_file(job['tokenizer_json']))\n"
    "    out['encode_us'], ids = median(\n"
    "        lambda: [t.encode(d, add_special_tokens=False).ids for d in docs])\n"
    "    out['decode_us'], _ = median(lambda: [t.decode(i) for i in ids])\n"
    "    h = 0xcbf29ce484222325\n"
    "    n = 0\n"
    "    for doc in ids:\n"
    "        n += len(doc)\n"
    "        for b in struct.pack('<%di' % len(doc), *doc):\n"
    "            h = ((h ^ b) * 0x100000001b3) & 0xffffffffffffffff\n"
    "    out['ids_hash'], out['n_ids'] = '%016x' % h, n\n"
    "    out['tokenizers'] = tokenizers.__version__\n"
    "try:\n"
    "    import jinja2, jinja2.sandbox\n"
    "except ImportError:\n"
    "    jinja2 = None\n"
    "if jinja2 and job['chat_template']:\n"
    "    env = jinja2.sandbox.ImmutableSandboxedEnvironment(\n"
    "        trim_blocks=True, lstrip_blocks=True, extensions=['jinja2.ext.loopcontrols'])\n"
    "    def fail(message): raise jinja2.exceptions.TemplateError(message)\n"
    "    env.globals['raise_exception'] = fail\n"
    "    env.globals['strftime_now'] = lambda f: time.strftime(f)\n"
    "    env.filters['tojson'] = lambda x, **k: json.dumps(x, ensure_ascii=False)\n"
    "    t = env.from_string(job['chat_template'])\n"
    "    n = 100\n"
    "    def render():\n"
    "        for _ in range(n): s = t.render(**job['vars'])\n"
    "        return s\n"
    "    us, _ = median(render)\n"
    "    out['render_us'] = us / n\n"
    "    out['jinja2'] = jinja2.__version__\n"
    "print(json.dumps(out))\n";

static oct_status job_json(const struct oct_bench_peer_job *job, struct oct_buf *out)
{
    json_t *vars = NULL;
    if (job->chat_template) {
        OCT_TRY(oct_json_parse(job->vars_json, strlen(job->vars_json), "the measured conversation",
                               OCT_JSON_MAX_DEPTH, 0, &vars));
    }
    json_t *o = json_pack("{s:s?, s:I, s:i, s:s?, s:O?}", "tokenizer_json", job->tokenizer_json,
                          "chunk_bytes", (json_int_t)job->chunk_bytes, "rounds", job->rounds,
                          "chat_template", job->chat_template, "vars", vars);
    json_decref(vars);
    const oct_status st = o ? oct_json_append(out, o, 0) : oct_no_memory("the peer's job", 1);
    json_decref(o);
    return st;
}

static oct_status write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return OCT_FAIL(OCT_E_IO, "cannot hand the job to Python: %s", strerror(errno));
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return OCT_OK;
}

static oct_status memory_file(const char *name, const char *data, size_t len, int *fd)
{
    const int f = memfd_create(name, MFD_CLOEXEC);
    if (f < 0) {
        return OCT_FAIL(OCT_E_IO, "cannot make a memory file: %s", strerror(errno));
    }
    const oct_status st = write_all(f, data, len);
    if (st != OCT_OK || lseek(f, 0, SEEK_SET) < 0) {
        (void)close(f);
        return st != OCT_OK ? st : OCT_FAIL(OCT_E_IO, "cannot rewind a memory file");
    }
    *fd = f;
    return OCT_OK;
}

static oct_status run_python(const char *python, int job_fd, int text_fd, struct oct_buf *answer)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return OCT_FAIL(OCT_E_IO, "cannot make a pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, job_fd, 0);
    posix_spawn_file_actions_adddup2(&fa, pipe_fd[1], 1);
    posix_spawn_file_actions_adddup2(&fa, text_fd, TEXT_FD);
    char code[sizeof script], flag[] = "-c",
                              *name = oct_strdup(python); /* finds its packages by it */
    memcpy(code, script, sizeof script);
    char *argv[] = {name, flag, code, NULL};
    pid_t pid;
    const int e = !name ? ENOMEM : posix_spawnp(&pid, python, &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    oct_free(name);
    (void)close(pipe_fd[1]);
    if (e != 0) {
        (void)close(pipe_fd[0]);
        return OCT_FAIL(OCT_E_NOTFOUND, "%.200s: %s", python, strerror(e));
    }
    oct_status st = oct_input_slurp(pipe_fd[0], answer);
    (void)close(pipe_fd[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (st == OCT_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        st = WIFEXITED(status) && WEXITSTATUS(status) == 127
                 ? OCT_FAIL(OCT_E_NOTFOUND, "%.200s cannot be run", python)
                 : OCT_FAIL(OCT_E_IO, "%.200s failed on the comparison (above is what it said)",
                            python);
    }
    return st;
}

static void copy_version(const json_t *o, const char *key, bool *has, char *dst, size_t size)
{
    const char *s = json_string_value(json_object_get(o, key));
    *has = s != NULL;
    (void)snprintf(dst, size, "%s", s ? s : "");
}

oct_status oct_bench_peer_run(const struct oct_bench_peer_job *job, struct oct_bench_peer *out)
{
    struct oct_buf text = {0}, answer = {0};
    int job_fd = -1, text_fd = -1;
    json_t *o = NULL;
    oct_status st;
    OCT_TRY_GOTO(job_json(job, &text), st, done);
    OCT_TRY_GOTO(memory_file("job", text.data, text.len, &job_fd), st, done);
    OCT_TRY_GOTO(memory_file("text", job->text, job->len, &text_fd), st, done);
    OCT_TRY_GOTO(run_python(job->python, job_fd, text_fd, &answer), st, done);
    OCT_TRY_GOTO(oct_json_parse(answer.data ? answer.data : "", answer.len, "Python's answer",
                                OCT_JSON_MAX_DEPTH, 0, &o),
                 st, done);
    struct oct_bench_peer r = {0};
    copy_version(o, "tokenizers", &r.has_tokenizers, r.tokenizers_version,
                 sizeof r.tokenizers_version);
    copy_version(o, "jinja2", &r.has_jinja, r.jinja_version, sizeof r.jinja_version);
    r.load_us = json_number_value(json_object_get(o, "load_us"));
    r.encode_us = json_number_value(json_object_get(o, "encode_us"));
    r.decode_us = json_number_value(json_object_get(o, "decode_us"));
    r.render_us = json_number_value(json_object_get(o, "render_us"));
    r.n_ids = (uint64_t)json_integer_value(json_object_get(o, "n_ids"));
    const char *hash = json_string_value(json_object_get(o, "ids_hash"));
    if (hash && sscanf(hash, "%" SCNx64, &r.ids_hash) != 1) {
        st = OCT_FAIL(OCT_E_FORMAT, "Python's answer: ids_hash is no hexadecimal number");
        goto done;
    }
    *out = r;
done:
    json_decref(o);
    if (job_fd >= 0) {
        (void)close(job_fd);
    }
    if (text_fd >= 0) {
        (void)close(text_fd);
    }
    oct_buf_free(&text);
    oct_buf_free(&answer);
    return st;
}
