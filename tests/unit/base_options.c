#include "base/options.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct {
        const char *name;
        int64_t port;
        bool fast;
} got;

static const struct option_row rows[] = {
        OPTION_TEXT("name", "OPT_NAME", "NAME", "who", &got.name),
        OPTION_NUMBER("port", "OPT_PORT", "PORT", "where", &got.port, 1, 65535),
        OPTION_FLAG("fast", "OPT_FAST", "how", &got.fast),
};

static int parse(struct err *e, int *operands, const char *const *words)
{
        char *argv[8] = {(char[]){"program"}};
        int argc = 1;

        for (; words && *words; words++)
                argv[argc++] = (char *)(uintptr_t)*words;
        return options_parse(argc, argv, rows, countof(rows), operands, e);
}
#define words(...) ((const char *const[]){__VA_ARGS__, NULL})

static int setup(void **state)
{
        (void)state;
        unsetenv("OPT_NAME");
        unsetenv("OPT_PORT");
        unsetenv("OPT_FAST");
        got.name = "nobody";
        got.port = 80;
        got.fast = false;
        return 0;
}

static void values_come_from_flags_then_environment_then_defaults(void **state)
{
        struct err e;

        (void)state;
        assert_int_equal(parse(&e, NULL, NULL), 0);
        assert_string_equal(got.name, "nobody");
        assert_int_equal(got.port, 80);
        setenv("OPT_NAME", "env", 1);
        setenv("OPT_PORT", "81", 1);
        setenv("OPT_FAST", "true", 1);
        assert_int_equal(parse(&e, NULL, words("--port=82")), 0);
        assert_string_equal(got.name, "env");
        assert_int_equal(got.port, 82);
        assert_true(got.fast);
        setenv("OPT_FAST", "0", 1);
        setenv("OPT_NAME", "", 1);
        assert_int_equal(parse(&e, NULL, words("--name", "flag")), 0);
        assert_string_equal(got.name, "flag");
        assert_false(got.fast);
        assert_int_equal(parse(&e, NULL, words("--fast")), 0);
        assert_true(got.fast);
}

static void what_is_wrong_is_named(void **state)
{
        static const struct {
                const char *words[3], *message;
        } bad[] = {
                {{"--port", "many"}, "port: \"many\" is not a whole number"},
                {{"--port", ""}, "port: \"\" is not a whole number"},
                {{"--port", "0"}, "port: 0 is not between 1 and 65535"},
                {{"--port=65536"}, "port: 65536 is not between 1 and 65535"},
                {{"--port", "99999999999999999999"},
                 "port: \"99999999999999999999\" is not a whole number"},
                {{"--port"}, "--port: a value is missing"},
                {{"--fast=true"}, "--fast=true: takes no value"},
                {{"--slow"}, "--slow: no such flag, see --help"},
                {{"word"}, "word: not expected, see --help"},
        };
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(bad); i++) {
                assert_int_equal(parse(&e, NULL, bad[i].words), -EINVAL);
                assert_string_equal(e.msg, bad[i].message);
        }
        setenv("OPT_FAST", "perhaps", 1);
        assert_int_equal(parse(&e, NULL, NULL), -EINVAL);
        assert_string_equal(e.msg, "OPT_FAST: \"perhaps\" is neither true nor false");
}

static void help_changes_nothing(void **state)
{
        autobuf struct buf b = buf_new(4096);
        struct err e;

        (void)state;
        assert_int_equal(parse(&e, NULL, words("--port", "1", "--help")), 1);
        assert_int_equal(got.port, 80);
        assert_int_equal(options_help(&b, "program [FLAGS]", "Does it.", rows, countof(rows)), 0);
        assert_non_null(strstr(b.data, "Usage: program [FLAGS]\n\nDoes it.\n"));
        assert_non_null(strstr(b.data, "  --name NAME                 who (nobody) [$OPT_NAME]\n"));
        assert_non_null(strstr(b.data, "  --fast                      how [$OPT_FAST]\n"));
        struct buf small = buf_new(40);
        assert_int_equal(options_help(&small, "p", "", rows, countof(rows)), -E2BIG);
        buf_free(&small);
}

static void operands_follow_the_flags(void **state)
{
        struct err e;
        int first = 0;

        (void)state;
        assert_int_equal(parse(&e, &first, words("--fast", "ensure", "--port")), 0);
        assert_int_equal(first, 2);
        assert_true(got.fast);
        assert_int_equal(got.port, 80);
        assert_int_equal(parse(&e, &first, NULL), 0);
        assert_int_equal(first, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(values_come_from_flags_then_environment_then_defaults,
                                       setup),
                cmocka_unit_test_setup(what_is_wrong_is_named, setup),
                cmocka_unit_test_setup(help_changes_nothing, setup),
                cmocka_unit_test_setup(operands_follow_the_flags, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
