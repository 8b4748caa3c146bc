#include "base/json.h"
#include "base/log.h"
#include "base/mono.h"
#include "tests/unit/oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int saved = -1, capture = -1;

/* Standard error goes into a file from here on. */
static void begin(void)
{
        capture = fileno(tmpfile());
        saved = dup(STDERR_FILENO);
        dup2(capture, STDERR_FILENO);
}

static struct buf end(void)
{
        struct buf b = buf_new(1 << 20);
        char chunk[4096];
        ssize_t n;

        dup2(saved, STDERR_FILENO);
        close(saved);
        lseek(capture, 0, SEEK_SET);
        while ((n = read(capture, chunk, sizeof(chunk))) > 0)
                buf_add(&b, chunk, (size_t)n);
        return b;
}

/* The one line written, parsed. */
static struct json *line(void)
{
        autobuf struct buf b = end();
        struct json *j = NULL;
        struct err e;

        assert_true(b.len > 0 && b.data[b.len - 1] == '\n');
        if (json_parse(b.data, b.len, 1 << 20, &j, &e) < 0)
                fail_msg("%s: %s", e.msg, b.data);
        return j;
}

static void one_line_of_json(void **state)
{
        int64_t us;

        (void)state;
        begin();
        log_msg(LOG_INFO, "guest \"started\"", "vm", "ns/a\n", "node", NULL, NULL);
        autojson struct json *j = line();
        assert_string_equal(json_str(j, "level", ""), "info");
        assert_string_equal(json_str(j, "component", ""), "test");
        assert_string_equal(json_str(j, "msg", ""), "guest \"started\"");
        assert_string_equal(json_str(j, "vm", ""), "ns/a\n");
        assert_int_equal(json_type(json_get(j, "node")), JSON_NULL);
        assert_int_equal(rfc3339_parse(json_str(j, "ts", ""), &us), 0);
        assert_true(wall_us() - us < 60000000 && us <= wall_us());
        assert_int_equal(json_count(j), 6);
}

static void errors_carry_their_text(void **state)
{
        struct err e;

        (void)state;
        err_set(&e, -5, "no bridge");
        begin();
        log_err(&e, "start failed", "vm", "a", NULL);
        autojson struct json *j = line();
        assert_string_equal(json_str(j, "level", ""), "error");
        assert_string_equal(json_str(j, "error", ""), "no bridge");
        assert_string_equal(json_str(j, "vm", ""), "a");
        begin();
        log_err(NULL, "odd", NULL);
        autojson struct json *none = line();
        assert_string_equal(json_str(none, "error", "?"), "");
}

static size_t lines_at(const char *level)
{
        size_t n = 0;

        if (level)
                setenv("DROVER_LOG", level, 1);
        else
                unsetenv("DROVER_LOG");
        log_init("test");
        begin();
        for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
                log_msg((enum log_level)i, "x", NULL);
        autobuf struct buf b = end();
        for (size_t i = 0; i < b.len; i++)
                n += b.data[i] == '\n';
        return n;
}

static void level_is_chosen_by_the_environment(void **state)
{
        (void)state;
        assert_int_equal(lines_at("debug"), 4);
        assert_int_equal(lines_at("info"), 3);
        assert_int_equal(lines_at("warn"), 2);
        assert_int_equal(lines_at("error"), 1);
        assert_int_equal(lines_at("nonsense"), 3);
        assert_int_equal(lines_at(NULL), 3);
}

static void long_lines_are_cut_at_a_value(void **state)
{
        char big[20000];

        (void)state;
        for (size_t n = 1000; n < sizeof(big); n += 37) {
                memset(big, n % 2 ? 'v' : '\x01', n);
                big[n] = 0;
                begin();
                log_msg(LOG_WARN, "m", "first", "1", "big", big, "last", "2", NULL);
                autojson struct json *j = line();
                bool cut = json_bool(j, "cut", false);
                assert_string_equal(json_str(j, "first", ""), "1");
                assert_int_equal(json_get(j, "last") == NULL, cut);
                begin();
                log_msg(LOG_WARN, big, NULL);
                autojson struct json *k = line();
                assert_int_equal(json_get(k, "msg") == NULL, json_bool(k, "cut", false));
        }
}

static void works_without_memory(void **state)
{
        (void)state;
        begin();
        oom_arm_from(1);
        log_msg(LOG_ERROR, "out of memory", "vm", "a", NULL);
        assert_false(oom_disarm());
        autojson struct json *j = line();
        assert_string_equal(json_str(j, "vm", ""), "a");
}

static int init(void **state)
{
        (void)state;
        log_init("test");
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_line_of_json),
                cmocka_unit_test(errors_carry_their_text),
                cmocka_unit_test(level_is_chosen_by_the_environment),
                cmocka_unit_test(long_lines_are_cut_at_a_value),
                cmocka_unit_test(works_without_memory),
        };
        return cmocka_run_group_tests(tests, init, NULL);
}
