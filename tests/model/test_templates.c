/* SPDX-License-Identifier: Apache-2.0
 *
 * Named chat templates: where they may stand, which of them wins, which one a conversation gets. */
#include "model/templates.h"

#include "base/fault.h"
#include "base/json.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST \
    "{\"chat_template\": [{\"name\": \"default\", \"template\": \"D\"}, " \
    "{\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"rag\", \"template\": \"R\"}]}"

/* A model's directory: tokenizer_config.json, chat_template.jinja, additional_chat_templates/. */
struct files {
    const char *config, *jinja;
    const char *more[4]; /* name, text, name, text */
};

static void write_files(const char *dir, const struct files *f)
{
    char sub[512];
    if (f->jinja) {
        oct_test_write_file(dir, "chat_template.jinja", f->jinja, strlen(f->jinja));
    }
    (void)snprintf(sub, sizeof sub, "%s/additional_chat_templates", dir);
    if (f->more[0]) {
        cr_assert_eq(mkdir(sub, 0700), 0);
    }
    for (size_t i = 0; i < 4 && f->more[i]; i += 2) {
        oct_test_write_file(sub, f->more[i], f->more[i + 1], strlen(f->more[i + 1]));
    }
}

static oct_status load(const struct files *f, struct oct_templates *t)
{
    char *dir = oct_test_make_dir();
    json_t *config = f->config ? json_loads(f->config, 0, NULL) : NULL;
    cr_assert(!f->config || config, "%s", f->config);
    write_files(dir, f);
    const oct_status st = oct_templates_load_hf(dir, config, t);
    oct_test_remove_dir(dir);
    json_decref(config);
    return st;
}

static const char *picked(const struct oct_templates *t, const char *name, bool tools)
{
    const int i = oct_templates_pick(t, name, tools);
    return i < 0 ? "-" : t->item[i].text;
}

/* want: the text without tools, with tools, and that of the name "rag"; "-": none. */
Test(templates, files_go_before_the_configuration_and_tool_use_before_default)
{
    static const struct {
        struct files f;
        const char *want[3];
    } row[] = {
        {{"{}", NULL, {NULL}}, {"-", "-", "-"}},
        {{NULL, NULL, {NULL}}, {"-", "-", "-"}},
        {{"{\"chat_template\": null}", NULL, {NULL}}, {"-", "-", "-"}},
        {{"{\"chat_template\": \"S\"}", NULL, {NULL}}, {"S", "S", "-"}},
        {{LIST, NULL, {NULL}}, {"D", "T", "R"}},
        {{LIST, "J", {NULL}}, {"J", "J", "-"}},
        {{"{\"chat_template\": \"S\"}", "J", {"tool_use.jinja", "A"}}, {"J", "A", "-"}},
        {{LIST, NULL, {"rag.jinja", "A"}}, {"-", "-", "A"}}, /* files replace all of the list */
        {{"{}", "J", {"rag.jinja", "A", "tool_use.jinja", "B"}}, {"J", "B", "A"}},
        {{"{}", "J", {"default.jinja", "A", "rag.txt", "B"}}, {"A", "A", "-"}},
        {{"{}", "J", {".jinja", "A", "rag.jinja", ""}}, {"J", "J", ""}},
        {{"{\"chat_template\": [{\"name\": \"a\", \"template\": \"1\"}, "
          "{\"name\": \"rag\", \"template\": \"2\"}, {\"name\": \"rag\", \"template\": \"3\"}]}",
          NULL,
          {NULL}},
         {"-", "-", "3"}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_templates t = {0};
        cr_assert_eq(load(&row[i].f, &t), OCT_OK, "row %zu: %s", i, oct_last_error());
        cr_expect_str_eq(picked(&t, NULL, false), row[i].want[0], "row %zu", i);
        cr_expect_str_eq(picked(&t, NULL, true), row[i].want[1], "row %zu", i);
        cr_expect_str_eq(picked(&t, "rag", false), row[i].want[2], "row %zu", i);
        oct_templates_deinit(&t);
    }
}

Test(templates, what_is_wrong_is_said_by_name)
{
    static char long_name[300], many[16384];
    memset(long_name, 'n', sizeof long_name - 1);
    char named[512];
    (void)snprintf(named, sizeof named,
                   "{\"chat_template\": [{\"name\": \"%s\", \"template\": \"x\"}]}", long_name);
    size_t at = (size_t)snprintf(many, sizeof many, "{\"chat_template\": [");
    for (int i = 0; i <= OCT_TEMPLATES_MAX; i++) {
        at += (size_t)snprintf(many + at, sizeof many - at,
                               "%s{\"name\": \"%d\", \"template\": \"x\"}", i ? "," : "", i);
    }
    (void)snprintf(many + at, sizeof many - at, "]}");
    const struct {
        const char *config, *words;
        oct_status st;
    } row[] = {
        {"{\"chat_template\": 5}", "\"chat_template\" is not a string", OCT_E_FORMAT},
        {"{\"chat_template\": {}}", "\"chat_template\" is not a string", OCT_E_FORMAT},
        {"{\"chat_template\": [1]}", "\"name\" and \"template\"", OCT_E_FORMAT},
        {"{\"chat_template\": [{\"name\": 1, \"template\": \"x\"}]}", "\"name\"", OCT_E_FORMAT},
        {"{\"chat_template\": [{\"name\": \"\", \"template\": \"x\"}]}", "0 bytes", OCT_E_FORMAT},
        {named, "299 bytes", OCT_E_FORMAT},
        {many, "over 64 chat templates", OCT_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_templates t = {0};
        const struct files f = {row[i].config, NULL, {NULL}};
        cr_assert_eq(load(&f, &t), row[i].st, "row %zu: %s", i, oct_last_error());
        cr_assert(strstr(oct_last_error(), row[i].words), "row %zu: %s", i, oct_last_error());
        cr_assert_eq(t.n, 0u);
    }
    struct oct_templates t = {0};
    cr_assert_eq(load(&(struct files){LIST, NULL, {NULL}}, &t), OCT_OK);
    cr_assert_eq(oct_templates_not_found(&t, "tools"), OCT_E_NOTFOUND);
    cr_assert_str_eq(oct_last_error(), "the model has no chat template called \"tools\"; it has "
                                       "default, tool_use, rag");
    oct_templates_deinit(&t);
}

/* As huggingface_hub stores it: links into ../../../blobs, and no other ones. */
Test(templates, a_cache_of_hugging_face_is_followed_into_its_blobs)
{
    static const char *const made[] = {"blobs", "snapshots", "snapshots/1",
                                       "snapshots/1/additional_chat_templates",
                                       "snapshots/1/other"};
    char *dir = oct_test_make_dir(), path[1024];
    struct oct_templates t = {0};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, made[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
    oct_test_write_file(dir, "blobs/ab", "B", 1);
    oct_test_write_file(dir, "secret", "S", 1);
    (void)snprintf(path, sizeof path, "%s/snapshots/1/additional_chat_templates/rag.jinja", dir);
    cr_assert_eq(symlink("../../../blobs/ab", path), 0);
    (void)snprintf(path, sizeof path, "%s/snapshots/1", dir);
    cr_assert_eq(oct_templates_load_hf(path, NULL, &t), OCT_OK, "%s", oct_last_error());
    cr_assert_str_eq(picked(&t, "rag", false), "B");
    oct_templates_deinit(&t);
    static const struct {
        const char *folder, *target;
    } row[] = {{"additional_chat_templates", "../../../secret"},
               {"additional_chat_templates", "../../blobs/ab"},
               {"additional_chat_templates", "../../../blobs/"},
               {"additional_chat_templates", "../../../../blobs/ab"},
               {"additional_chat_templates", "../../../blobs/../secret"},
               {"other", "../../../blobs/ab"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_file f = {0};
        char in[900];
        (void)snprintf(in, sizeof in, "%s/snapshots/1/%s", dir, row[i].folder);
        (void)snprintf(path, sizeof path, "%s/x.jinja", in);
        cr_assert_eq(symlink(row[i].target, path), 0);
        cr_assert_neq(oct_file_open_in(in, "x.jinja", &f), OCT_OK, "%s", row[i].target);
        (void)unlink(path);
    }
    oct_test_remove_dir(dir);
}

/* Bytes of a whole file with these keys. */
static oct_status load_gguf(struct oct_gw *w, struct oct_templates *t)
{
    static const float x[8] = {0};
    const uint64_t dims[1] = {8};
    struct oct_buf b = {0};
    struct oct_file f = {0};
    struct oct_gguf *g = NULL;
    char path[32];
    oct_gw_tensor(w, "x", 0, 1, dims, x, sizeof x);
    oct_gw_finish(w, &b);
    const int fd = oct_test_memory_file(b.data, b.len, path);
    cr_assert_eq(oct_file_open(path, &f), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_gguf_open(&f, &g), OCT_OK, "%s", oct_last_error());
    const oct_status st = oct_templates_load_gguf("m.gguf", g, t);
    oct_gguf_close(g);
    oct_file_close(&f);
    close(fd);
    oct_buf_free(&b);
    return st;
}

Test(templates, a_gguf_file_holds_them_under_their_names)
{
    static const char *const names[] = {"tool_use", "rag"};
    struct oct_gw w = OCT_GW_INIT;
    struct oct_templates t = {0};
    oct_gw_strings(&w, "tokenizer.chat_templates", names, 2);
    oct_gw_str(&w, "tokenizer.chat_template.rag", "R");
    oct_gw_str(&w, "tokenizer.chat_template", "D");
    oct_gw_str(&w, "tokenizer.chat_template.tool_use", "T");
    oct_gw_str(&w, "tokenizer.chat_templatex", "X");
    oct_gw_str(&w, "tokenizer.chat_template.empty", "");
    cr_assert_eq(load_gguf(&w, &t), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(t.n, 3u);
    cr_assert_str_eq(picked(&t, NULL, false), "D");
    cr_assert_str_eq(picked(&t, NULL, true), "T");
    cr_assert_str_eq(picked(&t, "rag", true), "R");
    oct_templates_deinit(&t);
    w = (struct oct_gw)OCT_GW_INIT;
    oct_gw_str(&w, "tokenizer.chat_template", "D");
    oct_gw_u32(&w, "tokenizer.chat_template.rag", 1);
    cr_assert_eq(load_gguf(&w, &t), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "\"tokenizer.chat_template.rag\" is not a string"), "%s",
              oct_last_error());
    w = (struct oct_gw)OCT_GW_INIT;
    oct_gw_str(&w, "tokenizer.chat_template.", "D");
    cr_assert_eq(load_gguf(&w, &t), OCT_E_FORMAT);
}

#if OCT_FAULTS
Test(templates, every_allocation_open_and_read_may_fail)
{
    static const struct files f = {LIST, "J", {"rag.jinja", "A", "tool_use.jinja", "B"}};
    static const enum oct_fault_site site[] = {OCT_FAULT_MEM, OCT_FAULT_OPEN, OCT_FAULT_READ};
    char *dir = oct_test_make_dir();
    write_files(dir, &f);
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t k = 1;; k++) {
            struct oct_templates t = {0};
            const size_t before = oct_test_live_bytes();
            oct_fault_reset();
            oct_fault_arm(site[i], k, false, OCT_FAULT_FAIL);
            const oct_status st = oct_templates_load_hf(dir, NULL, &t);
            const bool reached = oct_fault_count(site[i]) >= k;
            oct_fault_reset();
            oct_templates_deinit(&t);
            if (st == OCT_OK) {
                cr_assert_not(reached, "site %zu, call %d failed and nobody noticed", i, (int)k);
                cr_assert_gt(k, 3u);
                break;
            }
            cr_assert_eq(st, i == 0 ? OCT_E_MEM : OCT_E_IO, "%zu/%d: %s", i, (int)k,
                         oct_last_error());
            cr_assert_eq(oct_test_live_bytes(), before, "site %zu, call %d leaks", i, (int)k);
        }
    }
    oct_test_remove_dir(dir);
}
#endif
