#include "base/json_scan.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MAX ((size_t)1 << 20)

/* Passes all of an exact heap copy, so that a sanitizer sees a read past the end. */
static int pass(const char *text, size_t len, struct err *e)
{
        char *copy = malloc(len ? len : 1);
        struct json_scan s;

        memcpy(copy, text, len);
        json_scan_begin(&s, copy, len, MAX, e);
        json_scan_value(&s);
        int rc = json_scan_end(&s);
        free(copy);
        return rc;
}

static void takes_json_to_the_letter(void **state)
{
        static const char *const GOOD[] = {
                "0",
                "-0",
                "-0.0e-0",
                "10.01E+99",
                "123456789012345678901234567890",
                "1e400",
                "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83d\\uDE00\\uFFFF\"",
                "\"\x7f\xC2\x80\xEF\xBF\xBD\xF4\x8F\xBF\xBF\"",
                " [ ] ",
                "\t{\r\n}\n",
                "[[],{},[{}]]",
                "{\"\":null,\"\":[true,false]}",
        };
        static const struct {
                const char *text;
                size_t at;
        } BAD[] = {
                {"", 0},
                {" \n", 2},
                {"01", 0},
                {"-01", 1},
                {"-", 1},
                {"-a", 1},
                {"+1", 0},
                {".5", 0},
                {"1.", 2},
                {"1.e5", 2},
                {"1e", 2},
                {"1e+", 3},
                {"1E.5", 2},
                {"0x10", 1},
                {"1_000", 1},
                {"NaN", 0},
                {"-Infinity", 1},
                {"nulL", 0},
                {"nullx", 4},
                {"tru", 0},
                {"[true false]", 6},
                {"[1 2]", 3},
                {"[,1]", 1},
                {"[1,]", 3},
                {"[1,,2]", 3},
                {"[", 1},
                {"[1", 2},
                {"[1}", 2},
                {"]", 0},
                {"[]]", 2},
                {"{\"a\":1]", 6},
                {"{\"a\" 1}", 5},
                {"{\"a\":}", 5},
                {"{\"a\":1,}", 7},
                {"{\"a\":1 \"b\":2}", 7},
                {"{1:2}", 1},
                {"{,}", 1},
                {"{\"a\"}", 4},
                {"{\"a\":1}{}", 7},
                {"\"\\ud800\"", 1},
                {"\"\\ud800\\u0041\"", 1},
                {"\"x\\udc00\"", 2},
                {"\"\\u0000\"", 1},
                {"\"\\u12g4\"", 1},
                {"\"\\x\"", 1},
                {"\"\\", 1},
                {"\"\t\"", 1},
                {"\"a", 2},
                {"\xEF\xBB\xBF{}", 0}, /* byte order mark */
                {"[\v1]", 1},
                {"/**/1", 0},
        };

        (void)state;
        for (size_t i = 0; i < countof(GOOD); i++) {
                struct err e = {0};
                if (pass(GOOD[i], strlen(GOOD[i]), &e) < 0)
                        fail_msg("%s: %s", GOOD[i], e.msg);
        }
        for (size_t i = 0; i < countof(BAD); i++) {
                struct err e = {0};
                char want[64];
                assert_int_equal(pass(BAD[i].text, strlen(BAD[i].text), &e), -EINVAL);
                snprintf(want, sizeof(want), "bad JSON at byte %zu", BAD[i].at);
                if (strcmp(e.msg, want) != 0)
                        fail_msg("%s: %s, not %s", BAD[i].text, e.msg, want);
        }
        assert_int_equal(pass("{}\0", 3, NULL), -EINVAL);
        assert_int_equal(pass("\"a\0b\"", 5, NULL), -EINVAL);
}

/* Words of eight bytes must not change what is found, wherever it stands. */
static void finds_every_byte_that_is_not_plain_in_every_place(void **state)
{
        char text[48];
        struct err e;

        (void)state;
        for (int c = 0; c < 256; c++) {
                for (size_t at = 1; at < 20; at++) {
                        bool plain = c >= ' ' && c < 0x80 && c != '"' && c != '\\';
                        char want[64];

                        memset(text, 'a', sizeof(text));
                        text[0] = text[23] = '"';
                        text[at] = (char)c;
                        assert_int_equal(pass(text, 24, &e), plain ? 0 : -EINVAL);
                        snprintf(want, sizeof(want), "bad JSON at byte %zu",
                                 c == '"' ? at + 1 : at);
                        if (!plain)
                                assert_string_equal(e.msg, want);
                }
        }
        memset(text, 0xA4, sizeof(text)); /* all that a borrow might mark wrongly */
        for (size_t i = 1; i < 41; i += 2)
                text[i] = (char)0xC3;
        text[0] = text[41] = '"';
        assert_int_equal(pass(text, 42, &e), 0);
}

static void every_prefix_is_refused(void **state)
{
        const char *whole = "{\"a\\u00e4\":[1,-2.5e3,true,null,\"x\\ud83d\\ude00\"],\"b\":{}}";

        (void)state;
        assert_int_equal(pass(whole, strlen(whole), NULL), 0);
        for (size_t n = 0; n < strlen(whole); n++)
                assert_int_equal(pass(whole, n, NULL), -EINVAL);
}

static void size_and_depth_are_capped(void **state)
{
        char text[2 * JSON_DEPTH_MAX + 2];
        struct json_scan s;
        struct err e;

        (void)state;
        json_scan_begin(&s, "[1]", 3, 2, &e);
        json_scan_value(&s);
        assert_int_equal(json_scan_end(&s), -E2BIG);
        assert_string_equal(e.msg, "JSON of 3 bytes, at most 2 allowed");
        for (size_t n = JSON_DEPTH_MAX; n <= JSON_DEPTH_MAX + 1; n++) {
                memset(text, '[', n);
                memset(text + n, ']', n);
                assert_int_equal(pass(text, 2 * n, &e), n > JSON_DEPTH_MAX ? -E2BIG : 0);
        }
        assert_string_equal(e.msg, "JSON deeper than 64 levels at byte 64");
}

static void values_of_a_tree_are_capped(void **state)
{
        autofree char *text = malloc(2 * JSON_VALUES_MAX + 2);
        struct json *j = NULL;
        struct err e;

        (void)state;
        text[0] = '[';
        for (size_t i = 0; i < JSON_VALUES_MAX; i++)
                memcpy(text + 1 + 2 * i, "0,", 2);
        text[2 * JSON_VALUES_MAX] = ']';
        assert_int_equal(json_parse(text, 2 * JSON_VALUES_MAX + 1, MAX, &j, &e), -E2BIG);
        assert_string_equal(e.msg, "JSON of 262145 values, at most 262144 allowed");
        text[2 * JSON_VALUES_MAX - 2] = ']';
        assert_int_equal(json_parse(text, 2 * JSON_VALUES_MAX - 1, MAX, &j, &e), 0);
        json_free(j);
}

static struct json_span span(const char *text)
{
        return (struct json_span){text, strlen(text)};
}

static void strings_read_as_they_are_meant(void **state)
{
        static const struct {
                const char *text, *string;
        } ROWS[] = {
                {"\"\"", ""},
                {"\"Pod\"", "Pod"},
                {"\"\\u0050o\\u0064\"", "Pod"},
                {"\"\\\\\\/\\n\"", "\\/\n"},
                {"\"a\\u00e4\\u20ac\\ud83d\\ude00z\"", "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z"},
                {"\"\xC3\xA4\"", "\xC3\xA4"},
        };
        autoarena struct arena *a = arena_new(MAX);

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                assert_int_equal(pass(ROWS[i].text, strlen(ROWS[i].text), NULL), 0);
                assert_string_equal(json_span_string(span(ROWS[i].text), a), ROWS[i].string);
                for (size_t k = 0; k < countof(ROWS); k++)
                        assert_int_equal(json_span_is(span(ROWS[i].text), ROWS[k].string),
                                         strcmp(ROWS[i].string, ROWS[k].string) == 0);
        }
        assert_false(json_span_is(span("\"Pod\""), "Po"));
        assert_false(json_span_is(span("\"Pod\""), "Pods"));
        assert_false(json_span_is(span("\"\\u0050od\""), "Po"));
        assert_false(json_span_is(span("17"), "1"));
        assert_false(json_span_is((struct json_span){NULL, 0}, ""));
        autoarena struct arena *none = arena_new(2);
        assert_null(json_span_string(span("\"Pod\""), none));
}

/* --- walks, against the tree */

static void same(struct json_scan *s, const struct json *tree, struct arena *a)
{
        const struct json *c = json_first(tree);
        struct json_span key, value;

        assert_int_equal(json_scan_type(s), json_type(tree));
        switch (json_type(tree)) {
        case JSON_OBJECT:
                for (json_scan_open(s); json_scan_member(s, &key); c = json_next(c)) {
                        assert_string_equal(json_span_string(key, a), json_key(c));
                        assert_true(json_span_is(key, json_key(c)));
                        same(s, c, a);
                }
                assert_null(c);
                break;
        case JSON_ARRAY:
                for (json_scan_open(s); json_scan_element(s); c = json_next(c))
                        same(s, c, a);
                assert_null(c);
                break;
        default:
                value = json_scan_value(s);
                assert_non_null(value.text);
                if (json_type(tree) == JSON_STRING)
                        assert_string_equal(json_span_string(value, a), json_string(tree));
        }
}

static void walk(const char *text, size_t len)
{
        autoarena struct arena *a = arena_new(MAX);
        autojson struct json *j = NULL;
        struct json_scan s;
        struct err e;

        int rc = json_parse(text, len, MAX, &j, &e);
        json_scan_begin(&s, text, len, MAX, &e);
        if (rc == 0)
                same(&s, j, a);
        else
                json_scan_value(&s);
        assert_int_equal(json_scan_end(&s), rc);
}

static void generate(struct buf *b, int depth)
{
        static const char *const SCALARS[] = {"null", "true",     "-1.5e3",
                                              "\"\"", "\"a\\n\"", "\"\\u20ac\xC3\xA4\""};
        bool object = random() % 2;
        long n = random() % 4;

        if (depth == 0 || random() % 3 == 0) {
                buf_adds(b, SCALARS[(size_t)random() % countof(SCALARS)]);
                return;
        }
        buf_adds(b, object ? "{ " : "[");
        for (long i = 0; i < n; i++) {
                buf_adds(b, i ? "\t," : "");
                if (object)
                        buf_addf(b, "\"k\\u006%ld\" : ", random() % 8 + 1);
                generate(b, depth - 1);
        }
        buf_adds(b, object ? "}" : " ]");
}

static void walks_as_the_tree_does(void **state)
{
        (void)state;
        srandom(7);
        for (int i = 0; i < 20000; i++) {
                autobuf struct buf b = buf_new(MAX);

                generate(&b, 5);
                walk(b.data, b.len);
                b.data[(size_t)random() % b.len] ^= (char)(1 << random() % 7); /* and spoiled */
                walk(b.data, b.len);
        }
}

static void parts_may_be_stepped_over(void **state)
{
        const char *text = "{\"a\": [1, {\"b\": \"]\"}] , \"c\":{\"d\":2},\"e\":3}";
        struct json_scan s;
        struct json_span key;
        struct err e;

        (void)state;
        json_scan_begin(&s, text, strlen(text), MAX, &e);
        assert_int_equal(json_scan_type(&s), JSON_OBJECT);
        json_scan_open(&s);
        assert_true(json_scan_member(&s, &key));
        struct json_span v = json_scan_value(&s);
        assert_int_equal(v.len, strlen("[1, {\"b\": \"]\"}]"));
        assert_memory_equal(v.text, "[1, {\"b\": \"]\"}]", v.len);
        assert_true(json_scan_member(&s, &key));
        json_scan_open(&s);
        assert_true(json_scan_member(&s, &key));
        assert_true(json_span_is(key, "d"));
        json_scan_value(&s);
        assert_false(json_scan_member(&s, &key));
        assert_true(json_scan_member(&s, &key));
        assert_true(json_span_is(key, "e"));
        json_scan_value(&s);
        assert_false(json_scan_member(&s, &key));
        assert_int_equal(json_scan_end(&s), 0);
        assert_int_equal(s.values, 8);
}

static void a_failure_ends_it(void **state)
{
        struct json_scan s;
        struct json_span key;
        struct err e;

        (void)state;
        json_scan_begin(&s, "{\"a\":1}", 7, MAX, &e);
        json_scan_open(&s);
        assert_true(json_scan_member(&s, &key));
        json_scan_fail(&s, -ERANGE, "%s: not for %d", "a", 7);
        json_scan_fail(&s, -EINVAL, "late");
        assert_int_equal(json_scan_type(&s), JSON_NONE);
        assert_null(json_scan_value(&s).text);
        json_scan_open(&s);
        assert_false(json_scan_member(&s, &key));
        assert_false(json_scan_element(&s));
        assert_int_equal(json_scan_end(&s), -ERANGE);
        assert_string_equal(e.msg, "a: not for 7");
        json_scan_begin(&s, "[1]", 3, MAX, &e);
        json_scan_open(&s);
        assert_int_equal(json_scan_end(&s), -EINVAL); /* not read to its end */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(takes_json_to_the_letter),
                cmocka_unit_test(finds_every_byte_that_is_not_plain_in_every_place),
                cmocka_unit_test(every_prefix_is_refused),
                cmocka_unit_test(size_and_depth_are_capped),
                cmocka_unit_test(values_of_a_tree_are_capped),
                cmocka_unit_test(strings_read_as_they_are_meant),
                cmocka_unit_test(walks_as_the_tree_does),
                cmocka_unit_test(parts_may_be_stepped_over),
                cmocka_unit_test(a_failure_ends_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
