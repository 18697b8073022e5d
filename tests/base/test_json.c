/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <string.h>

static json_t *parse_ok(const char *text)
{
    json_t *j = NULL;
    cr_assert_eq(oct_json_parse(text, strlen(text), "text", 8, 0, &j), OCT_OK, "%s: %s", text,
                 oct_last_error());
    return j;
}

Test(json, values_of_every_kind_are_read)
{
    static const char text[] =
        " {\"a\" : [ 1 , -2.5e-3,true,false , null, \"\" ] ,\n\"b\":{} , \"c\":[], \"d\":0,"
        "\"e\":-0, \"f\":9223372036854775807, \"g\":-9223372036854775808,"
        "\"h\":9223372036854775808, \"i\":1000000000000000019884624838656, \"j\":1E+2}\t\r\n";
    json_t *j = parse_ok(text);
    const json_t *a = json_object_get(j, "a");
    cr_assert_eq(json_array_size(a), 6u);
    cr_assert_eq(json_integer_value(json_array_get(a, 0)), 1);
    cr_assert_eq(json_real_value(json_array_get(a, 1)), -2.5e-3);
    cr_assert(json_is_true(json_array_get(a, 2)));
    cr_assert(json_is_false(json_array_get(a, 3)));
    cr_assert(json_is_null(json_array_get(a, 4)));
    cr_assert_str_eq(json_string_value(json_array_get(a, 5)), "");
    cr_assert_eq(json_object_size(json_object_get(j, "b")), 0u);
    cr_assert_eq(json_array_size(json_object_get(j, "c")), 0u);
    cr_assert_eq(json_integer_value(json_object_get(j, "f")), INT64_MAX);
    cr_assert_eq(json_integer_value(json_object_get(j, "g")), INT64_MIN);
    cr_assert(json_is_real(json_object_get(j, "h")));
    cr_assert_eq(json_real_value(json_object_get(j, "h")), 0x1p63);
    cr_assert_eq(json_real_value(json_object_get(j, "i")), 1e30);
    cr_assert_eq(json_real_value(json_object_get(j, "j")), 100.0);
    cr_assert(json_is_integer(json_object_get(j, "e")));
    json_decref(j);
    j = parse_ok("[[],[{}]]");
    cr_assert_eq(json_array_size(j), 2u);
    json_decref(j);
}

Test(json, strings_are_decoded)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        {"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "\"\\/\b\f\n\r\t"},
        {"[\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\uD834\\uDD1E\"]",
         "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9d\x84\x9e"},
        {"[\"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\"]", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"},
        {"[\"\\u007f\\u0080\\u07ff\\u0800\\uffff\\udbff\\udfff\"]",
         "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf"},
        {"[\"\x7f\xf4\x8f\xbf\xbf\xee\x80\x80\"]", "\x7f\xf4\x8f\xbf\xbf\xee\x80\x80"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        json_t *j = parse_ok(row[i].text);
        cr_assert_str_eq(json_string_value(json_array_get(j, 0)), row[i].want, "%s", row[i].text);
        json_decref(j);
    }
    json_t *j = NULL;
    cr_assert_eq(oct_json_parse("[\"a\\u0000b\"]", 12, "text", 8, OCT_JSON_NUL, &j), OCT_OK);
    cr_assert_eq(json_string_length(json_array_get(j, 0)), 3u);
    json_decref(j);
}

Test(json, what_is_not_json_is_refused_with_its_place)
{
    static const struct {
        const char *text, *word;
    } row[] = {
        {"", "column 1: an object"},
        {"1", "an object"},
        {"\"a\"", "an object"},
        {"{", "a key in quotes"},
        {"{]", "a key in quotes"},
        {"{a:1}", "a key in quotes"},
        {"{\"a\"}", "':'"},
        {"{\"a\" 1}", "':'"},
        {"{\"a\":}", "a value"},
        {"{\"a\":1 \"b\":2}", "','"},
        {"{\"a\":1,}", "a key in quotes"},
        {"{\"a\":1]", "'}'"},
        {"{\"a\":1", "cut short"},
        {"{\"a\":1}}", "follows the end"},
        {"{\"a\":1} x", "follows the end"},
        {"[", "a value"},
        {"[1,]", "a value"},
        {"[1 2]", "']'"},
        {"[1}", "']'"},
        {"[tru]", "a value"},
        {"[truee]", "','"},
        {"[nul", "a value"},
        {"[NaN]", "a value"},
        {"[Infinity]", "a value"},
        {"[-]", "a value"},
        {"[+1]", "a value"},
        {"[01]", "a value"},
        {"[.5]", "a value"},
        {"[1.]", "behind the point"},
        {"[1e]", "exponent"},
        {"[1e+]", "exponent"},
        {"[0x10]", "','"},
        {"[1e999]", "out of range"},
        {"[-1e999]", "out of range"},
        {"[\"abc", "cut short"},
        {"[\"abc\\", "escape"},
        {"[\"\\x41\"]", "escape"},
        {"[\"\\u12\"]", "hexadecimal"},
        {"[\"\\u123g\"]", "hexadecimal"},
        {"[\"\\u", "hexadecimal"},
        {"[\"\\u0000\"]", "u0000"},
        {"[\"\\ud800\"]", "surrogate"},
        {"[\"\\udc00\"]", "surrogate"},
        {"[\"\\ud800\\u0041\"]", "surrogate"},
        {"[\"\\ud800\\ud800\"]", "surrogate"},
        {"[\"a\nb\"]", "control character"},
        {"[\"\x1f\"]", "control character"},
        {"[\"\x80\"]", "UTF-8"},
        {"[\"\xc0\x80\"]", "UTF-8"},
        {"[\"\xc3\"]", "UTF-8"},
        {"[\"\xe0\x9f\xbf\"]", "UTF-8"},
        {"[\"\xed\xa0\x80\"]", "UTF-8"},
        {"[\"\xf0\x8f\xbf\xbf\"]", "UTF-8"},
        {"[\"\xf4\x90\x80\x80\"]", "UTF-8"},
        {"[\"\xf5\x80\x80\x80\"]", "UTF-8"},
        {"[\"\xe2\x82", "UTF-8"},
        {"{\"a\":1,\"a\":2}", "duplicate key \"a\""},
        {"{\"a\\u0062\":1,\"ab\":2}", "duplicate key \"ab\""},
        {"{\n\n  \"x\": [1,\n 2, ?]}", "line 4, column 5"},
        {"/**/{}", "an object"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        json_t *j = NULL;
        cr_expect_eq(oct_json_parse(row[i].text, strlen(row[i].text), "the text", 8, 0, &j),
                     OCT_E_FORMAT, "%s", row[i].text);
        cr_expect_null(j);
        cr_expect(strstr(oct_last_error(), row[i].word), "%s: \"%s\" does not say \"%s\"",
                  row[i].text, oct_last_error(), row[i].word);
        cr_expect(strstr(oct_last_error(), "the text"), "%s", oct_last_error());
    }
    json_t *j = NULL;
    cr_assert_eq(oct_json_parse("{}\0", 3, "t", 8, 0, &j), OCT_E_FORMAT);
    cr_assert_eq(oct_json_parse("[1\0]", 4, "t", 8, 0, &j), OCT_E_FORMAT);
    cr_assert_eq(oct_json_parse("[\"a\0\"]", 6, "t", 8, 0, &j), OCT_E_FORMAT);
    cr_assert_eq(oct_json_parse("{\"a\\u0000\":1}", 13, "t", 8, OCT_JSON_NUL, &j), OCT_E_FORMAT);
}

Test(json, depth_and_number_of_values_are_limited)
{
    char text[2 * OCT_JSON_MAX_DEPTH + 8];
    for (int depth = OCT_JSON_MAX_DEPTH; depth <= OCT_JSON_MAX_DEPTH + 1; depth++) {
        json_t *j = NULL;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        const oct_status st =
            oct_json_parse(text, 2 * (size_t)depth, "text", OCT_JSON_MAX_DEPTH, 0, &j);
        cr_assert_eq(st, depth == OCT_JSON_MAX_DEPTH ? OCT_OK : OCT_E_LIMIT, "%d: %s", depth,
                     oct_last_error());
        json_decref(j);
    }
    struct oct_buf b = {0};
    cr_assert_eq(oct_buf_append(&b, "[0", 2), OCT_OK);
    for (int i = 2; i < OCT_JSON_MAX_VALUES; i++) {
        cr_assert_eq(oct_buf_append(&b, ",0", 2), OCT_OK);
    }
    for (int over = 0; over < 2; over++) {
        json_t *j = NULL;
        cr_assert_eq(oct_buf_append(&b, "]", 1), OCT_OK);
        cr_assert_eq(oct_json_parse(b.data, b.len, "text", 8, 0, &j), over ? OCT_E_LIMIT : OCT_OK);
        b.len--;
        cr_assert_eq(oct_buf_append(&b, ",0", 2), OCT_OK);
        json_decref(j);
    }
    oct_buf_free(&b);
}

Test(json, numbers_do_not_depend_on_the_locale)
{
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    for (size_t i = 0; i < sizeof commas / sizeof *commas; i++) {
        if (setlocale(LC_ALL, commas[i])) {
            break;
        }
    }
    if (strcmp(localeconv()->decimal_point, ",") != 0) {
        cr_skip_test("no locale with a decimal comma is installed here");
    }
    json_t *j = parse_ok("[0.5]");
    cr_assert_eq(json_real_value(json_array_get(j, 0)), 0.5);
    json_decref(j);
}
