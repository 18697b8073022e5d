/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo bench, on a tiny model. Its figures are not judged here; that they are there, add up and
 * are compared with the right thing is. The Python beside it is a script of ours. */
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 512 };

static char *dir;

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    dir = oct_test_make_dir();
    oct_tiny_write_hf(&t, dir);
    oct_tiny_write_gguf(&t, dir, "tiny");
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(bench, .init = write_model, .fini = remove_model);

/* octavo bench text dir/name, two rounds, 64 KiB and a bit of a text with all kinds of bytes. */
static void bench_text(struct spawned *s, const char *name, const char *more, const char *python)
{
    char line[PATH_BYTES * 4], input[PATH_BYTES];
    char text[70000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "some words, 12 \n\xc3\xa9"[i % 18];
    }
    oct_test_write_file(dir, "input.txt", text, sizeof text);
    (void)snprintf(input, sizeof input, "%s/input.txt", dir);
    (void)snprintf(line, sizeof line, "bench|text|%s/%s|--repeat|2|--input|%s|--python|%s%s%s", dir,
                   name, input, python, *more ? "|" : "", more);
    spawn_line(s, line, NULL);
}

/* A program that reads its job and answers `answer`. Its path goes to dst. */
static void write_python(char dst[PATH_BYTES], const char *answer)
{
    char script[1024];
    const int n = snprintf(script, sizeof script, "#!/bin/sh\ncat >/dev/null\necho '%s'\n", answer);
    oct_test_write_file(dir, "python", script, (size_t)n);
    (void)snprintf(dst, PATH_BYTES, "%s/python", dir);
    cr_assert_eq(chmod(dst, 0700), 0);
}

Test(bench, text_is_measured_for_a_directory_a_gguf_file_and_a_tokenizer_json)
{
    static const struct {
        const char *name;
        bool renders;
    } row[] = {{"", true}, {"tiny.gguf", true}, {"tokenizer.json", false}};
    double tokens[3];
    char python[PATH_BYTES];
    write_python(python, "{}");
    for (size_t i = 0; i < 3; i++) {
        struct spawned s;
        bench_text(&s, row[i].name, "--json", python);
        cr_assert_eq(s.code, 0, "%s: %d\n%s", row[i].name, s.code, s.err.data);
        cr_assert_eq(spawn_json_number(s.out.data, "text_bytes"), 70000.0);
        cr_assert_gt(spawn_json_number(s.out.data, "encode_mb_per_s"), 0.0);
        cr_assert_gt(spawn_json_number(s.out.data, "decode_mb_per_s"), 0.0);
        cr_assert_gt(spawn_json_number(s.out.data, "load_us"), 0.0);
        cr_assert_eq(strstr(s.out.data, "render_us") != NULL, row[i].renders, "%s", s.out.data);
        cr_assert_eq(strstr(s.out.data, "\"tokenizers\""), NULL, "%s", s.out.data);
        tokens[i] = spawn_json_number(s.out.data, "tokens");
        spawned_free(&s);
    }
    cr_assert(tokens[0] > 10000 && tokens[0] <= 70000, "%g", tokens[0]);
    cr_assert(tokens[0] == tokens[1] && tokens[0] == tokens[2], "%g, %g, %g", tokens[0], tokens[1],
              tokens[2]);
}

Test(bench, ids_that_differ_from_pythons_are_not_hidden)
{
    char python[PATH_BYTES];
    write_python(python, "{\"tokenizers\": \"9.9.9\", \"load_us\": 1500, \"encode_us\": 70000, "
                         "\"decode_us\": 35000, \"n_ids\": 3, \"ids_hash\": \"00000000000000aa\", "
                         "\"jinja2\": \"8.8.8\", \"render_us\": 12.5}");
    struct spawned s;
    bench_text(&s, "", "", python);
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    cr_assert(strstr(s.out.data, "tokenizers 9.9.9"), "%s", s.out.data);
    cr_assert(strstr(s.out.data, "ids DIFFER"), "%s", s.out.data);
    /* 70,000 bytes in 70 ms */
    cr_assert(strstr(s.out.data, " 1.0 MB/s"), "%s", s.out.data);
    cr_assert(strstr(s.out.data, " 2.0 MB/s"), "%s", s.out.data);
    cr_assert(strstr(s.out.data, " 12.5 us"), "%s", s.out.data);
    spawned_free(&s);
}

Test(bench, what_is_missing_is_named)
{
    char python[PATH_BYTES];
    struct spawned s;
    write_python(python, "{}");
    bench_text(&s, "", "", python);
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "has no package \"tokenizers\""), "%s", s.err.data);
    spawned_free(&s);

    bench_text(&s, "", "", "/nowhere/python");
    cr_assert_eq(s.code, 2, "%d", s.code);
    cr_assert(strstr(s.err.data, "/nowhere/python"), "%s", s.err.data);
    spawned_free(&s);

    write_python(python, "not JSON");
    bench_text(&s, "", "", python);
    cr_assert_eq(s.code, 2, "%d", s.code);
    cr_assert(strstr(s.err.data, "Python's answer"), "%s", s.err.data);
    spawned_free(&s);

    static const struct {
        const char *line, *want;
    } wrong[] = {
        {"bench", "which suite?"},
        {"bench|txet", "did you mean text"},
        {"bench|text", "no model is given"},
        {"bench|text|/nowhere/model", "/nowhere/model"},
        {"bench|text|x|--repeat|0", "--repeat"},
        {"bench|text|x|--input|/nowhere/text", "/nowhere/text"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        spawn_line(&s, wrong[i].line, NULL);
        cr_assert_eq(s.code, 2, "%s: %d", wrong[i].line, s.code);
        cr_assert(strstr(s.err.data, wrong[i].want), "%s: %s", wrong[i].line, s.err.data);
        spawned_free(&s);
    }
}

/* A context of 640 tokens and more, which the tiny default has not. */
Test(bench, a_model_is_measured_alone_and_in_batches)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char line[PATH_BYTES];
    struct spawned s;
    t.max_positions = 1024;
    oct_tiny_write_gguf(&t, dir, "long");
    (void)snprintf(line, sizeof line, "bench|model|%s/long.gguf|--repeat|1|--json", dir);
    spawn_line(&s, line, NULL);
    cr_assert_eq(s.code, 0, "%d: %s", s.code, s.err.data);
    json_t *o = json_loads(s.out.data, 0, NULL);
    const json_t *rows = json_object_get(o, "results");
    cr_assert_eq(json_array_size(rows), 8u, "%s", s.out.data);
    static const int batch[] = {0, 1, 2, 4, 8, 16, 32, 64};
    for (size_t i = 0; i < 8; i++) {
        const json_t *r = json_array_get(rows, i);
        cr_assert_eq(json_integer_value(json_object_get(r, "batch")), batch[i], "%s", s.out.data);
        const double speed = json_number_value(json_object_get(r, "tokens_per_s"));
        const double step = json_number_value(json_object_get(r, "step_us"));
        const int rows_per_step = batch[i] ? batch[i] : 512;
        cr_assert(speed > 0 && step > 0, "%s", s.out.data);
        /* what is written in a step, over its time, is the speed */
        const double again = rows_per_step * 1e6 / step;
        cr_assert(again > 0.9 * speed && again < 1.1 * speed, "row %zu: %g, %g", i, again, speed);
    }
    json_decref(o);
    spawned_free(&s);

    (void)snprintf(line, sizeof line, "bench|model|%s/tiny.gguf", dir);
    spawn_line(&s, line, NULL);
    cr_assert_eq(s.code, 2);
    cr_assert(strstr(s.err.data, "context is"), "%s", s.err.data);
    spawned_free(&s);
}

Test(bench, the_scheduler_is_measured_by_itself)
{
    struct spawned s;
    spawn_line(&s, "bench|sched|--json", NULL);
    cr_assert_eq(s.code, 0, "%d: %s", s.code, s.err.data);
    json_t *o = json_loads(s.out.data, 0, NULL);
    const json_t *rows = json_object_get(o, "results");
    cr_assert_eq(json_array_size(rows), 8u, "%s", s.out.data);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_gt(json_number_value(json_object_get(json_array_get(rows, i), "median_us")), 0.0);
    }
    json_decref(o);
    spawned_free(&s);
}

/* Without a GPU: every case on both, predictions above their floors. */
Test(bench, kernels_are_predicted_without_a_gpu)
{
    struct spawned s;
    spawn_line(&s, "bench|kernels|--device|cpu|--json", NULL);
    cr_assert_eq(s.code, 0, "%d: %s", s.code, s.err.data);
    json_t *o = json_loads(s.out.data, 0, NULL);
    const json_t *rows = json_object_get(o, "results");
    cr_assert(json_array_size(rows) > 20 && json_array_size(rows) % 2 == 0, "%s", s.out.data);
    int n_predicted = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        const double least = json_number_value(json_object_get(r, "floor_us"));
        const json_t *predicted = json_object_get(r, "predicted_us");
        cr_assert_gt(least, 0.0);
        cr_assert(!predicted || json_number_value(predicted) > least, "%s", s.out.data);
        cr_assert_null(json_object_get(r, "measured_us"));
        n_predicted += predicted != NULL;
    }
    cr_assert_gt(n_predicted, 0);
    /* Beside them the committed tables: every kernel on both, with what was counted. */
    const json_t *kernels = json_object_get(o, "kernels");
    cr_assert(json_array_size(kernels) > 20 && json_array_size(kernels) % 2 == 0, "%s", s.out.data);
    size_t n_counted = 0;
    for (size_t i = 0; i < json_array_size(kernels); i++) {
        const json_t *k = json_array_get(kernels, i);
        const json_t *counted = json_object_get(k, "counted");
        const char *name = json_string_value(json_object_get(k, "kernel"));
        cr_assert(name && json_integer_value(json_object_get(k, "regs")) > 0, "%s", s.out.data);
        cr_assert_eq(json_integer_value(json_object_get(k, "spills")), 0, "%s", name);
        for (size_t j = 0; j < json_array_size(counted); j++) {
            const json_t *c = json_array_get(counted, j);
            cr_assert_str_eq(json_string_value(json_object_get(c, "kernel")), name);
            cr_assert_geq(json_number_value(json_object_get(c, "sectors")), 1.0, "%s", name);
            n_counted++;
        }
    }
    cr_assert_gt(n_counted, 20u);
    json_decref(o);
    spawned_free(&s);
    spawn_line(&s, "bench|kernels|--device|cpu", NULL);
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    cr_assert(strstr(s.out.data, "predicted") && strstr(s.out.data, "\ngemm_b16_16x64") &&
                  strstr(s.out.data, "16 x 4096 x 4096\n"),
              "%s", s.out.data);
    spawned_free(&s);
    spawn_line(&s, "bench|kernels|--device|toaster", NULL);
    cr_assert_eq(s.code, 2);
    cr_assert(strstr(s.err.data, "must be auto, cpu, cuda"), "%s", s.err.data);
    spawned_free(&s);
}
