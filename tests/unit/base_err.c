#include "base/err.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void sets_code_and_message(void **state)
{
        struct err e = {.http = 404};

        (void)state;
        assert_int_equal(err_set(&e, -ENOENT, "no %s", "node"), -ENOENT);
        assert_int_equal(e.code, -ENOENT);
        assert_int_equal(e.http, 0);
        assert_string_equal(e.msg, "no node");
        assert_int_equal(err_sys(&e, -EACCES, "open %s", "/x"), -EACCES);
        assert_string_equal(e.msg, "open /x: Permission denied");
        err_sys(&e, -9999, "x");
        assert_string_equal(e.msg, "x: unknown error");
}

static void wrap_puts_context_in_front(void **state)
{
        struct err e;

        (void)state;
        err_set(&e, -EINVAL, "no %s", "name");
        e.http = 422;
        assert_int_equal(err_wrap(&e, "VM %s", "a"), -EINVAL);
        assert_int_equal(err_wrap(&e, "admit"), -EINVAL);
        assert_string_equal(e.msg, "admit: VM a: no name");
        assert_int_equal(e.http, 422);
        err_set(&e, -EIO, "again: %s", e.msg); /* made of itself */
        assert_string_equal(e.msg, "again: admit: VM a: no name");
}

static void no_err_is_fine(void **state)
{
        (void)state;
        assert_int_equal(err_set(NULL, -EINVAL, "x"), -EINVAL);
        assert_int_equal(err_sys(NULL, -EINVAL, "x"), -EINVAL);
        assert_int_equal(err_wrap(NULL, "x"), -EIO);
}

static void failure_never_becomes_success(void **state)
{
        struct err e = {0};

        (void)state;
        assert_int_equal(err_set(&e, 0, "x"), -EIO);
        assert_int_equal(err_sys(&e, ENOENT, "x"), -EIO);
        assert_int_equal(err_set(NULL, 1, "x"), -EIO);
        e = (struct err){0};
        assert_int_equal(err_wrap(&e, "x"), -EIO);
}

static void long_messages_are_cut(void **state)
{
        char big[2 * ERR_MSG_MAX];
        struct err e;

        (void)state;
        memset(big, 'a', sizeof(big) - 1);
        big[sizeof(big) - 1] = 0;
        for (size_t n = ERR_MSG_MAX - 8; n < ERR_MSG_MAX + 8; n++) {
                err_set(&e, -EIO, "%.*s", (int)n, big);
                bool cut = n >= ERR_MSG_MAX;
                assert_int_equal(strlen(e.msg), cut ? ERR_MSG_MAX - 1 : n);
                assert_int_equal(strstr(e.msg, "...") != NULL, cut);
                err_sys(&e, -EIO, "%.*s", (int)n, big);
                assert_string_equal(e.msg + strlen(e.msg) - 3, "...");
        }
        err_set(&e, -EIO, "tail");
        for (int i = 0; i < 400; i++)
                err_wrap(&e, "level %d", i);
        assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
        assert_int_equal(strncmp(e.msg, "level 399: level 398: ", 22), 0);
}

static void cut_keeps_utf8_whole(void **state)
{
        char text[ERR_MSG_MAX + 8];
        struct err e;

        (void)state;
        for (size_t shift = 0; shift < 4; shift++) {
                memset(text, 'a', sizeof(text));
                size_t n = shift;
                for (; n + 3 < sizeof(text); n += 3)
                        memcpy(text + n, "\xE2\x82\xAC", 3);
                text[n] = 0;
                err_set(&e, -EIO, "%s", text);
                size_t len = strlen(e.msg);
                assert_string_equal(e.msg + len - 3, "...");
                assert_int_equal((len - 3 - shift) % 3, 0);
        }
}

static void needs_no_memory(void **state)
{
        struct err e;

        (void)state;
        oom_arm_from(1);
        err_set(&e, -ENOMEM, "first");
        err_sys(&e, -ENOMEM, "second");
        err_wrap(&e, "third");
        assert_false(oom_disarm());
        assert_string_equal(e.msg, "third: second: Cannot allocate memory");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sets_code_and_message),
                cmocka_unit_test(wrap_puts_context_in_front),
                cmocka_unit_test(no_err_is_fine),
                cmocka_unit_test(failure_never_becomes_success),
                cmocka_unit_test(long_messages_are_cut),
                cmocka_unit_test(cut_keeps_utf8_whole),
                cmocka_unit_test(needs_no_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
