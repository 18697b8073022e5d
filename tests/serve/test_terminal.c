/* SPDX-License-Identifier: Apache-2.0
 *
 * What is shown to and typed by people: numbers, the progress line, safe text, lines. */
#include "base/fault.h"
#include "serve/conversation.h"
#include "serve/format.h"
#include "serve/interrupt.h"
#include "serve/line_input.h"
#include "serve/progress.h"
#include "serve/terminal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Test(format, numbers_have_three_digits_and_a_unit)
{
    static const struct {
        uint64_t n;
        const char *size, *count, *exact;
    } row[] = {
        {0, "0 B", "0", "0"},
        {999, "999 B", "999", "999"},
        {1000, "1.00 kB", "1.00 k", "1,000"},
        {999499, "999 kB", "999 k", "999,499"},
        {999500, "1.00 MB", "1.00 M", "999,500"},
        {9994999, "9.99 MB", "9.99 M", "9,994,999"},
        {99940000, "99.9 MB", "99.9 M", "99,940,000"},
        {134515008, "135 MB", "135 M", "134,515,008"},
        {7615616512, "7.62 GB", "7.62 B", "7,615,616,512"},
        {UINT64_MAX, "18.4 EB", "18446744 T", "18,446,744,073,709,551,615"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[OCT_FORMAT_BYTES];
        cr_assert_str_eq(oct_format_size(text, row[i].n), row[i].size);
        cr_assert_str_eq(oct_format_count(text, row[i].n), row[i].count);
        cr_assert_str_eq(oct_format_exact(text, row[i].n), row[i].exact);
    }
}

Test(progress, the_line_fits_every_width)
{
    static const uint64_t done[] = {0, 1, 999999999, 1000000000, 2000000000};
    for (int columns = 1; columns < 300; columns++) {
        for (size_t i = 0; i < sizeof done / sizeof *done; i++) {
            char line[160];
            const size_t len =
                oct_progress_line(line, sizeof line, columns, done[i], 1000000000, 500000);
            cr_assert_eq(strlen(line), len);
            cr_assert(len < (size_t)columns || columns < 14, "%zu in %d: %s", len, columns, line);
        }
    }
    char line[160];
    (void)oct_progress_line(line, sizeof line, 80, 500000000, 1000000000, 500000);
    cr_assert_str_eq(line, "loading [################.................]  50 %  500 MB of 1.00 GB  "
                           "1.00 GB/s");
}

/* A terminal whose other end is *keyboard. */
static int make_terminal(int *keyboard)
{
    int screen;
    cr_assert_eq(openpty(keyboard, &screen, NULL, NULL, NULL), 0);
    return screen;
}

Test(output, a_terminal_gets_no_control_characters_of_a_model)
{
    static const char text[] = "a\x1b[31mb\x07\x7f\tc\xc2\x9b\x64\xc3\xa9\n";
    int keyboard;
    struct oct_output o;
    char got[128];
    oct_output_init(&o, make_terminal(&keyboard));
    cr_assert(o.is_terminal);
    cr_assert_eq(oct_output_text(&o, text, sizeof text - 1), OCT_OK, "%s", oct_last_error());
    const ssize_t n = read(keyboard, got, sizeof got - 1);
    cr_assert_gt(n, 0);
    got[n] = '\0';
    cr_assert_str_eq(got, "a\xe2\x90\x9b[31mb\xe2\x90\x87\xe2\x90\xa1\tc\xef\xbf\xbd"
                          "d\xc3\xa9\r\n");
    cr_assert_eq(o.last_byte, '\n');
    oct_output_deinit(&o);
}

Test(output, a_pipe_gets_the_bytes_as_they_are)
{
    static const char text[] = "a\x1b[31mb\xc2\x9b";
    int ends[2];
    struct oct_output o;
    char got[64];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    oct_output_init(&o, ends[1]);
    cr_assert_eq(oct_output_text(&o, text, sizeof text - 1), OCT_OK);
    cr_assert_eq(read(ends[0], got, sizeof got), (ssize_t)sizeof text - 1);
    cr_assert_eq(memcmp(got, text, sizeof text - 1), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(ends[0]);
    cr_assert_eq(oct_output_text(&o, text, sizeof text - 1), OCT_E_IO);
    cr_assert(o.failed && o.closed);
    oct_output_deinit(&o);
}

Test(output, a_pipe_that_is_full_and_non_blocking_loses_nothing)
{
    enum { BYTES = 1 << 20 };
    static char data[BYTES], got[BYTES];
    for (size_t i = 0; i < BYTES; i++) {
        data[i] = (char)(i * 31 % 251);
    }
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct oct_output o;
        oct_output_init(&o, ends[1]);
        _exit(oct_output_write(&o, data, BYTES) == OCT_OK ? 0 : 1);
    }
    (void)close(ends[1]);
    size_t n = 0;
    for (ssize_t part; (part = read(ends[0], got + n, BYTES - n)) > 0;) {
        n += (size_t)part;
        (void)usleep(100);
    }
    cr_assert_eq(n, (size_t)BYTES, "%zu", n);
    cr_assert_eq(memcmp(data, got, BYTES), 0);
}

/* Lines read from a pipe that holds `typed` and is then closed, joined by '|'; the way the last
 * reading ended behind it. */
static void read_lines(const char *typed, char *out, size_t size)
{
    static const char *const ends_as[] = {"ok", "end", "interrupted"};
    int ends[2];
    struct oct_line_input in;
    struct oct_buf line = {0};
    enum oct_line_result result = OCT_LINE_OK;
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(write(ends[1], typed, strlen(typed)), (ssize_t)strlen(typed));
    (void)close(ends[1]);
    oct_line_input_init(&in, ends[0]);
    out[0] = '\0';
    while (result == OCT_LINE_OK) {
        cr_assert_eq(oct_line_input_read(&in, "", &line, &result), OCT_OK, "%s", oct_last_error());
        const size_t used = strlen(out);
        (void)snprintf(out + used, size - used, "%s|", result == OCT_LINE_OK ? line.data : "");
    }
    (void)snprintf(out + strlen(out), size - strlen(out), "%s", ends_as[result]);
    oct_line_input_deinit(&in);
    oct_buf_free(&line);
    (void)close(ends[0]);
}

Test(line_input, what_was_typed_ahead_comes_line_by_line)
{
    static const struct {
        const char *typed, *want;
    } row[] = {
        {"", "|end"},
        {"one\n", "one||end"},
        {"one\ntwo\n\nthree", "one|two||three||end"},
        {"a \\\nb\\\nc\nd\n", "a \nb\nc|d||end"},
        {"a\\", "a||end"},
        {"\\\n\\\n", "\n||end"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char got[256];
        read_lines(row[i].typed, got, sizeof got);
        cr_assert_str_eq(got, row[i].want, "%zu: %s", i, got);
    }
}

Test(line_input, an_interrupt_forgets_the_line)
{
    int keyboard, screen = make_terminal(&keyboard);
    struct oct_line_input in;
    struct oct_buf line = {0};
    enum oct_line_result result;
    oct_line_input_init(&in, screen);
    oct_interrupt_install(3);
    cr_assert_eq(raise(SIGINT), 0);
    cr_assert_eq(oct_line_input_read(&in, "", &line, &result), OCT_OK);
    cr_assert_eq(result, OCT_LINE_INTERRUPTED);
    cr_assert_not(oct_interrupt_pending());
    cr_assert_eq(write(keyboard, "next\n", 5), 5);
    cr_assert_eq(oct_line_input_read(&in, "", &line, &result), OCT_OK);
    cr_assert_eq(result, OCT_LINE_OK);
    cr_assert_str_eq(line.data, "next");
    oct_line_input_deinit(&in);
    oct_buf_free(&line);
}

Test(interrupt, the_last_of_patience_ends_the_process, .exit_code = 130)
{
    oct_interrupt_install(2);
    (void)raise(SIGINT);
    cr_assert(oct_interrupt_take());
    (void)raise(SIGINT);
    cr_assert(oct_interrupt_pending());
    (void)raise(SIGINT);
    cr_assert_fail("still here");
}

Test(conversation, a_reset_keeps_nothing_but_the_system_message)
{
    struct oct_conversation c = {0};
    cr_assert_eq(oct_conversation_begin(&c, "be brief"), OCT_OK);
    cr_assert_eq(oct_conversation_add(&c, "user", "a\0b", 3), OCT_OK);
    cr_assert_eq(json_array_size(c.messages), 2u);
    cr_assert_eq(json_string_length(json_object_get(json_array_get(c.messages, 1), "content")), 3u);
    /* the argument lies in what is thrown away */
    cr_assert_eq(oct_conversation_begin(&c, oct_conversation_system(&c)), OCT_OK);
    cr_assert_eq(json_array_size(c.messages), 1u);
    cr_assert_str_eq(oct_conversation_system(&c), "be brief");
    oct_conversation_drop(&c);
    cr_assert_null(oct_conversation_system(&c));
    oct_conversation_deinit(&c);
}

Test(input, text_that_is_no_utf8_is_refused_with_the_byte)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want; /* NULL: fine */
    } row[] = {
        {"", 0, NULL},
        {"a\0\xc3\xa9\xf0\x9f\x98\x80", 8, NULL},
        {"ab\xff", 3, "at byte 2 (0xff)"},
        {"\xc3", 1, "at byte 0 (0xc3)"},
        {"x\xed\xa0\x80", 4, "at byte 1 (0xed)"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const oct_status st = oct_input_check_utf8("it", row[i].text, row[i].len);
        cr_assert_eq(st, row[i].want ? OCT_E_ARG : OCT_OK, "%zu", i);
        cr_assert(!row[i].want || strstr(oct_last_error(), row[i].want), "%s", oct_last_error());
    }
    struct oct_buf b = {0};
    cr_assert_eq(oct_input_make_utf8("a\xff\xc3z", 4, &b), OCT_OK);
    cr_assert_str_eq(b.data, "a\xef\xbf\xbd\xef\xbf\xbdz");
    oct_buf_free(&b);
}

#if OCT_FAULTS
/* jansson itself swallows a failure while it writes a key. */
Test(output, json_is_whole_or_refused_whichever_allocation_fails)
{
    json_t *o = json_object();
    for (int i = 0; i < 64; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "a key that makes the buffer grow, number %d", i);
        cr_assert_eq(json_object_set_new(o, key, json_integer(i)), 0);
    }
    struct oct_buf whole = {0};
    cr_assert_eq(oct_json_append(&whole, o, JSON_COMPACT), OCT_OK);
    for (uint64_t k = 1;; k++) {
        struct oct_buf b = {0};
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        const oct_status st = oct_json_append(&b, o, JSON_COMPACT);
        cr_assert(st == OCT_E_MEM || (st == OCT_OK && !strcmp(b.data, whole.data)), "k=%d: %d",
                  (int)k, (int)st);
        oct_buf_free(&b);
        if (st == OCT_OK) {
            cr_assert_gt(k, 3u);
            break;
        }
    }
    oct_fault_reset();
    oct_buf_free(&whole);
    json_decref(o);
}
#endif
