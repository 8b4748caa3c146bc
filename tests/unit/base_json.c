#include "base/json.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MAX ((size_t)1 << 20)

/* Parsed from an exact heap copy, so that a sanitizer sees a read past the end. */
static int parse(const char *text, size_t len, struct json **out, struct err *e)
{
        char *copy = malloc(len ? len : 1);

        memcpy(copy, text, len);
        int rc = json_parse(copy, len, MAX, out, e);
        free(copy);
        return rc;
}

static struct json *must(const char *text)
{
        struct json *j = NULL;
        struct err e;

        if (parse(text, strlen(text), &j, &e) < 0)
                fail_msg("%s: %s", text, e.msg);
        return j;
}

static void assert_prints(const struct json *j, const char *text)
{
        autobuf struct buf b = buf_new(MAX);

        assert_int_equal(json_print(j, &b), 0);
        assert_string_equal(buf_str(&b), text);
}

static void parses_and_prints(void **state)
{
        static const char *const SAME[] = {
                "null",
                "true",
                "false",
                "0",
                "-1",
                "1.5",
                "9007199254740991",
                "1e+300",
                "\"\"",
                "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001z\"",
                "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"",
                "[]",
                "{}",
                "[1,[2,[]],{}]",
                "{\"a\":1,\"b\":{\"c\":[null,true]},\"\":\"\"}",
        };

        (void)state;
        for (size_t i = 0; i < countof(SAME); i++) {
                autojson struct json *j = must(SAME[i]);
                autojson struct json *copy = json_clone(j);
                autoarena struct arena *a = arena_new(MAX);
                assert_prints(j, SAME[i]);
                assert_true(json_equal(j, copy));
                assert_string_equal(json_text(copy, a), SAME[i]);
        }
        autojson struct json *j =
                must(" \t\r\n{ \"a\" : [ 1 , \"\\u00e4\\ud83d\\ude00\\/\" ] } \n");
        assert_prints(j, "{\"a\":[1,\"\xC3\xA4\xF0\x9F\x98\x80/\"]}");
}

static void refuses_bad_text(void **state)
{
        static const struct {
                const char *text;
                int at; /* -1: anywhere */
        } ROWS[] = {
                {"", 0},
                {" ", -1},
                {"{", -1},
                {"[1,", -1},
                {"[1,]", -1},
                {"{\"a\"}", -1},
                {"{\"a\":}", -1},
                {"{a:1}", -1},
                {"{\"a\":1,}", -1},
                {"nul", 0},
                {"True", 0},
                {"'a'", 0},
                {"\"a", -1},
                {"\"\\x\"", -1},
                {"\"\\", 1},
                {"\"\\u12\"", 1},
                {"\"\\u00", 1},
                {"\"\\uZZZZ\"", 1},
                {"\"\\u0000\"", 1},
                {"\"\\ud800\"", -1},
                {"\"\\udc00\"", -1},
                {"\"a\nb\"", 2},
                {"[1]x", 3},
                {"{} {}", 3},
                {"1 2", 2},
                {"]", 0},
                {"}{", 0},
                {"[1\v]", 2},
                {"\x01", 0},
                {"-", -1},
                {"+1", 0},
                {"[1}", -1},
                {"{\"a\":1]", -1},
                {"//x\n1", 0},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct json *j = (struct json *)&j;
                struct err e;
                char want[64];
                int rc = parse(ROWS[i].text, strlen(ROWS[i].text), &j, &e);
                if (rc != -EINVAL)
                        fail_msg("%s: %d", ROWS[i].text, rc);
                assert_ptr_equal(j, &j); /* untouched */
                snprintf(want, sizeof(want), "bad JSON at byte %d", ROWS[i].at);
                if (ROWS[i].at >= 0)
                        assert_string_equal(e.msg, want);
                else
                        assert_memory_equal(e.msg, want, 16);
        }
        struct json *j;
        struct err e;
        assert_int_equal(parse("{\0}", 3, &j, &e), -EINVAL);
        assert_int_equal(parse("{}\0", 3, &j, &e), -EINVAL);
        assert_int_equal(parse("\"a\0b\"", 5, &j, &e), -EINVAL);
}

static void every_prefix_of_a_document_is_refused(void **state)
{
        const char *whole = "{\"a\\u00e4\":[1,-2.5e3,true,null,\"x\\n\"],\"b\":{\"c\":{}}}";

        (void)state;
        for (size_t n = 0; n < strlen(whole); n++) {
                struct json *j;
                struct err e;
                assert_int_equal(parse(whole, n, &j, &e), -EINVAL);
        }
}

static void size_and_depth_are_capped(void **state)
{
        enum { N = JSON_DEPTH_MAX };
        char text[4 * N + 8];
        struct json *j;
        struct err e;

        (void)state;
        assert_int_equal(json_parse("[1]", 3, 2, &j, &e), -E2BIG);
        assert_int_equal(json_parse("[1]", 3, 3, &j, &e), 0);
        json_free(j);
        for (int open = 0; open < 2; open++) {
                memset(text, '[', 2 * N);
                memset(text + N, ']', N);
                assert_int_equal(parse(text, 2 * N, &j, &e), 0);
                assert_prints(j, (text[2 * N] = 0, text));
                json_free(j);
                memset(text, '[', N + 1);
                memset(text + N + 1, ']', N + 1);
                assert_int_equal(parse(text, open ? N + 1 : 2 * N + 2, &j, &e), -E2BIG);
        }
        /* brackets in strings are not depth, and a quoted quote does not end one */
        text[0] = '"';
        text[1] = '\\';
        text[2] = '"';
        memset(text + 3, '[', 3 * N);
        text[3 * N + 3] = '"';
        assert_int_equal(parse(text, 3 * N + 4, &j, &e), 0);
        json_free(j);
        char *deep = malloc(MAX);
        memset(deep, '[', MAX); /* a megabyte of nesting must not reach the stack */
        assert_int_equal(json_parse(deep, MAX, MAX, &j, &e), -E2BIG);
        free(deep);
}

static void integers_are_exact_or_refused(void **state)
{
        static const struct {
                const char *text;
                bool ok;
                int64_t v;
        } ROWS[] = {
                {"0", true, 0},
                {"-5", true, -5},
                {"2.0", true, 2},
                {"1e3", true, 1000},
                {"9007199254740991", true, 9007199254740991},
                {"-9007199254740991", true, -9007199254740991},
                {"9007199254740992", false, 0},
                {"9007199254740993", false, 0}, /* a double would say ...992 */
                {"-9007199254740992", false, 0},
                {"9223372036854775807", false, 0},
                {"1e400", false, 0},
                {"1.5", false, 0},
                {"\"1\"", false, 0},
                {"true", false, 0},
                {"null", false, 0},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *j = must(ROWS[i].text);
                int64_t v = 77;
                assert_int_equal(json_to_int(j, &v), ROWS[i].ok);
                assert_int_equal(v, ROWS[i].ok ? ROWS[i].v : 77);
        }
        int64_t none = 5;
        double num = 5;
        assert_false(json_to_int(NULL, &none));
        assert_false(json_to_num(NULL, &num));
        autojson struct json *inf = must("1e400");
        assert_false(json_to_num(inf, &num));
        assert_prints(inf, "null");
        autojson struct json *nan = json_new_num((double)NAN);
        assert_prints(nan, "null");
        autojson struct json *least = json_new_int(INT64_MIN), *most = json_new_int(INT64_MAX);
        assert_prints(least, "-9223372036854775808");
        assert_prints(most, "9223372036854775807");
        assert_int_equal(json_type(most), JSON_NUMBER);
        assert_true(json_to_num(most, &num) && num > 9.2e18);
        assert_false(json_to_int(most, &none));
}

static void getters_are_total(void **state)
{
        autojson struct json *j = must("{\"s\":\"x\",\"n\":7,\"b\":true,\"o\":{\"p\":{\"q\":1}},"
                                       "\"a\":[1,2,3],\"z\":null,\"S\":\"upper\"}");

        (void)state;
        assert_string_equal(json_str(j, "s", "d"), "x");
        assert_string_equal(json_str(j, "S", "d"), "upper"); /* names are case sensitive */
        assert_string_equal(json_str(j, "n", "d"), "d");
        assert_null(json_str(j, "none", NULL));
        assert_int_equal(json_int(j, "n", 1), 7);
        assert_int_equal(json_int(j, "s", 1), 1);
        assert_true(json_bool(j, "b", false));
        assert_true(json_bool(j, "s", true));
        assert_false(json_bool(j, "none", false));
        assert_int_equal(json_int(json_path(j, "o", "p", NULL), "q", 0), 1);
        assert_null(json_path(j, "o", "x", "q", NULL));
        assert_null(json_path(j, "s", "x", NULL));
        assert_null(json_path(NULL, "s", NULL));
        assert_ptr_equal(json_path(j, NULL), j);
        assert_null(json_get(NULL, "a"));
        assert_null(json_get(json_get(j, "a"), "a"));
        assert_null(json_string(NULL));
        assert_int_equal(json_type(NULL), JSON_NONE);
        assert_int_equal(json_type(json_get(j, "z")), JSON_NULL);
        assert_true(json_is_true(json_get(j, "b")));
        assert_false(json_is_true(json_get(j, "n")) || json_is_true(NULL));
        assert_int_equal(json_count(j), 7);
        assert_int_equal(json_count(json_get(j, "a")), 3);
        assert_int_equal(json_count(json_get(j, "s")), 0);
        assert_int_equal(json_count(NULL), 0);
        assert_null(json_first(json_get(j, "s")));
        assert_null(json_first(NULL));
        assert_null(json_next(NULL));
        assert_string_equal(json_key(json_first(j)), "s");
        assert_null(json_key(json_first(json_get(j, "a"))));
        assert_null(json_key(NULL));
        int64_t sum = 0, v;
        for (const struct json *c = json_first(json_get(j, "a")); c; c = json_next(c))
                sum += json_to_int(c, &v) ? v : 0;
        assert_int_equal(sum, 6);
        json_free(NULL);
}

static void builds(void **state)
{
        autojson struct json *o = json_new_object();

        (void)state;
        assert_non_null(json_set_str(o, "s", "v"));
        assert_non_null(json_set_int(o, "n", 1));
        assert_non_null(json_set_bool(o, "b", true));
        assert_ptr_equal(json_set_str(o, "none", NULL), o);
        assert_non_null(json_set(o, "z", json_new_null()));
        assert_non_null(json_add(json_array_at(o, "a"), json_new_int(1)));
        assert_non_null(json_add(json_array_at(o, "a"), json_new_string("two")));
        assert_non_null(json_set_int(json_object_at(o, "o"), "k", 5));
        assert_non_null(json_set_int(json_object_at(o, "o"), "k", 6)); /* replaced in place */
        assert_non_null(json_set_int(o, "n", 2));
        assert_prints(
                o, "{\"s\":\"v\",\"n\":2,\"b\":true,\"z\":null,\"a\":[1,\"two\"],\"o\":{\"k\":6}}");
        assert_null(json_array_at(o, "o")); /* neither absent nor an array */
        assert_null(json_object_at(o, "s"));
        assert_non_null(
                json_set_bool(json_object_at(o, "z"), "was", false)); /* null is as absent */
        json_remove(o, "a");
        json_remove(o, "a");
        json_remove(NULL, "a");
        assert_non_null(json_set(o, "n", json_new_num(0.5)));
        assert_non_null(json_mut(o, "n"));
        assert_null(json_mut(o, "a"));
        assert_prints(o,
                      "{\"s\":\"v\",\"n\":0.5,\"b\":true,\"z\":{\"was\":false},\"o\":{\"k\":6}}");
}

static void adders_take_ownership_even_when_they_fail(void **state)
{
        autojson struct json *arr = json_new_array(), *obj = json_new_object();

        (void)state; /* leaks would be found by the sanitizer */
        assert_null(json_set(NULL, "k", json_new_int(1)));
        assert_null(json_set(arr, "k", json_new_int(1)));
        assert_null(json_set(obj, "k", NULL));
        assert_null(json_add(NULL, json_new_int(1)));
        assert_null(json_add(obj, json_new_int(1)));
        assert_null(json_add(arr, NULL));
        assert_null(json_set_str(NULL, "k", "v"));
        assert_null(json_set_str(NULL, "k", NULL));
        assert_null(json_object_at(NULL, "k"));
        assert_null(json_array_at(arr, "k"));
        assert_non_null(json_set_int(obj, "k", 3));
        assert_null(json_set(obj, "k", NULL));
        assert_int_equal(json_int(obj, "k", 0), 3);
}

static void compares(void **state)
{
        static const struct {
                const char *a, *b;
                bool equal;
        } ROWS[] = {
                {"{\"a\":1,\"b\":[1,2]}", "{\"b\":[1,2],\"a\":1}", true},
                {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
                {"{\"a\":1,\"b\":2}", "{\"a\":1}", false},
                {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
                {"{\"a\":null}", "{}", false},
                {"{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"b\":2,\"a\":1}", true},
                {"[1,2]", "[2,1]", false},
                {"[1]", "[1,2]", false},
                {"[]", "{}", false},
                {"1", "1.0", true},
                {"1", "\"1\"", false},
                {"true", "false", false},
                {"\"a\"", "\"b\"", false},
                {"null", "null", true},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *a = must(ROWS[i].a), *b = must(ROWS[i].b);
                assert_int_equal(json_equal(a, b), ROWS[i].equal);
                assert_int_equal(json_equal(b, a), ROWS[i].equal);
        }
        assert_true(json_equal(NULL, NULL));
        autojson struct json *j = must("1");
        assert_false(json_equal(j, NULL));
}

static void refuses_what_is_not_utf8(void **state)
{
        static const char *const ROWS[] = {"\"\xff\"",         "[\"a\xC3\"]",
                                           "{\"\xC0\xAF\":1}", "\"\xED\xA0\x80\"",
                                           "\"\xF0\x9F\x98\"", "\"\xE2\x82"};
        struct json *j = NULL;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                size_t n = strlen(ROWS[i]);
                char *copy = malloc(n); /* no byte more: what reads on is found out */

                memcpy(copy, ROWS[i], n);
                assert_int_equal(json_parse(copy, n, n, &j, &e), -EINVAL);
                free(copy);
        }
        json_free(must("\"\xE2\x82\xAC \xF0\x9F\x98\x80\""));
}

static void quotes_what_is_not_utf8(void **state)
{
        static const struct {
                const char *in, *out;
        } ROWS[] = {
                {"\xff", "\"\\ufffd\""},
                {"a\xC3", "\"a\\ufffd\""},
                {"\xC0\xAF", "\"\\ufffd\\ufffd\""},            /* overlong */
                {"\xE0\x80\xAF", "\"\\ufffd\\ufffd\\ufffd\""}, /* overlong */
                {"\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* surrogate */
                {"\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
                {"\xF0\x9F\x98", "\"\\ufffd\\ufffd\\ufffd\""},
                {"\xE2\x82\xAC\x80", "\"\xE2\x82\xAC\\ufffd\""},
                {"\x7f", "\"\x7f\""},
                {"\x1f\n", "\"\\u001f\\n\""},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autobuf struct buf b = buf_new(100);
                char *copy = strdup(ROWS[i].in);
                assert_int_equal(json_quote(&b, copy), 0);
                free(copy);
                assert_string_equal(buf_str(&b), ROWS[i].out);
                json_free(must(buf_str(&b))); /* reads back as valid */
        }
        for (size_t limit = 0; limit < 12; limit++) {
                autobuf struct buf b = buf_new(limit);
                assert_int_equal(json_quote(&b, "a\nb\xff"), -E2BIG);
        }
}

static void print_is_bounded(void **state)
{
        autojson struct json *j = must("{\"a\":[1,\"two\",null,{\"b\":false}]}");
        autobuf struct buf whole = buf_new(MAX);

        (void)state;
        json_print(j, &whole);
        for (size_t limit = 0; limit <= whole.len; limit++) {
                autobuf struct buf b = buf_new(limit);
                assert_int_equal(json_print(j, &b), limit < whole.len ? -E2BIG : 0);
        }
        for (size_t limit = 0; limit < whole.len; limit++) {
                autoarena struct arena *a = arena_new(limit);
                assert_null(json_text(j, a));
        }
}

static void random_bytes_do_no_harm(void **state)
{
        static const char ALPHABET[] = "{}[]\",:\\u0d8tn1-e. \ntruefalsnul\x80\x01";
        char text[64];

        (void)state;
        srandom(1);
        for (int i = 0; i < 200000; i++) {
                size_t len = (size_t)random() % sizeof(text);
                for (size_t k = 0; k < len; k++)
                        text[k] = ALPHABET[(size_t)random() % (sizeof(ALPHABET) - 1)];
                struct json *j;
                if (parse(text, len, &j, NULL) == 0) {
                        autobuf struct buf b = buf_new(MAX);
                        assert_int_equal(json_print(j, &b), 0);
                        json_free(must(buf_str(&b)));
                        json_free(j);
                }
        }
}

static void each_allocation_of_parse_fails_in_turn(void **state)
{
        const char *text = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":\"d\"}";

        (void)state;
        for (unsigned long n = 1; n; n++) {
                struct json *j = NULL;
                struct err e;
                oom_arm(n);
                int rc = json_parse(text, strlen(text), MAX, &j, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        assert_true(n > 8);
                        json_free(j);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_null(j);
        }
}

static bool construct(struct json *o)
{
        bool ok = json_set_str(o, "s", "v");

        ok = json_set_int(o, "n", 1) && ok;
        ok = json_set_int(o, "n", INT64_MAX) && ok;
        ok = json_add(json_array_at(o, "a"), json_new_string("x")) && ok;
        ok = json_set_bool(json_object_at(json_object_at(o, "p"), "q"), "r", true) && ok;
        ok = json_set(o, "copy", json_clone(json_get(o, "p"))) && ok;
        return ok;
}

static void each_allocation_of_building_fails_in_turn(void **state)
{
        (void)state;
        for (unsigned long n = 1; n; n++) {
                autojson struct json *o = json_new_object();
                autoarena struct arena *a = arena_new(MAX);
                oom_arm(n);
                bool ok = construct(o);
                char *text = json_text(o, a);
                bool failed = oom_disarm();
                assert_int_equal(ok && text, !failed);
                if (failed)
                        continue;
                assert_string_equal(text,
                                    "{\"s\":\"v\",\"n\":9223372036854775807,\"a\":[\"x\"],"
                                    "\"p\":{\"q\":{\"r\":true}},\"copy\":{\"q\":{\"r\":true}}}");
                assert_true(n > 15);
                break;
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parses_and_prints),
                cmocka_unit_test(refuses_bad_text),
                cmocka_unit_test(every_prefix_of_a_document_is_refused),
                cmocka_unit_test(size_and_depth_are_capped),
                cmocka_unit_test(integers_are_exact_or_refused),
                cmocka_unit_test(getters_are_total),
                cmocka_unit_test(builds),
                cmocka_unit_test(adders_take_ownership_even_when_they_fail),
                cmocka_unit_test(compares),
                cmocka_unit_test(refuses_what_is_not_utf8),
                cmocka_unit_test(quotes_what_is_not_utf8),
                cmocka_unit_test(print_is_bounded),
                cmocka_unit_test(random_bytes_do_no_harm),
                cmocka_unit_test(each_allocation_of_parse_fails_in_turn),
                cmocka_unit_test(each_allocation_of_building_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
