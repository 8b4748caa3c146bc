#include "base/cleanup.h"
#include "base/mono.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void time_goes_forward(void **state)
{
        struct mono a = mono_now(), b = mono_now();

        (void)state;
        assert_true(b.ns >= a.ns);
        assert_int_equal(mono_ms_between(a, mono_add_ms(a, 1500)), 1500);
        assert_int_equal(mono_ms_between(mono_add_ms(a, 2), a), -2);
        assert_true(wall_us() > 1700000000000000);
}

static void formats(void **state)
{
        static const struct {
                int64_t us;
                const char *seconds, *micros;
        } ROWS[] = {
                {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
                {1767323045000006, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z"},
                {951782400999999, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.999999Z"},
                {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999Z"},
        };
        char out[RFC3339_MAX];
        int64_t us;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                rfc3339_format(ROWS[i].us, 0, out);
                assert_string_equal(out, ROWS[i].seconds);
                rfc3339_format(ROWS[i].us, 1, out);
                assert_string_equal(out, ROWS[i].micros);
                assert_int_equal(rfc3339_parse(out, &us), 0);
                assert_int_equal(us, ROWS[i].us);
        }
        rfc3339_format(INT64_MAX, 1, out);
        assert_true(strlen(out) < RFC3339_MAX);
        rfc3339_format(INT64_MIN, 1, out);
        assert_true(strlen(out) < RFC3339_MAX);
}

static void parses_fractions_and_offsets(void **state)
{
        static const struct {
                const char *text;
                int64_t us;
        } ROWS[] = {
                {"1970-01-01T00:00:01Z", 1000000},
                {"1970-01-01T00:00:00.5Z", 500000},
                {"1970-01-01T00:00:00.123456789Z", 123456},
                {"1970-01-01T01:00:00+01:00", 0},
                {"1969-12-31T18:30:00-05:30", 0},
                {"1969-12-31T23:59:59.75+00:00", -250000},
                {"2024-02-29T12:00:00Z", 1709208000000000},
        };
        int64_t us;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                assert_int_equal(rfc3339_parse(ROWS[i].text, &us), 0);
                assert_int_equal(us, ROWS[i].us);
        }
}

static void refuses_the_rest(void **state)
{
        static const char *const BAD[] = {
                "",
                "2026",
                "2026-01-02",
                "2026-01-02T03:04:05",
                "2026-01-02 03:04:05Z",
                "2026-01-02T03:04:05ZZ",
                "2026-01-02T03:04:05.Z",
                "2026-01-02T03:04:05.1",
                "2026-01-02T03:04:05+0100",
                "2026-01-02T03:04:05+01:60",
                "2026-01-02T03:04:05+24:00",
                "2026-01-02T03:04:05-",
                "2026-01-02T03:04:05+",
                "2026-13-02T03:04:05Z",
                "2026-00-02T03:04:05Z",
                "2026-01-00T03:04:05Z",
                "2026-01-32T03:04:05Z",
                "2025-02-29T03:04:05Z",
                "2026-04-31T03:04:05Z",
                "2026-01-02T24:04:05Z",
                "2026-01-02T03:60:05Z",
                "2026-01-02T03:04:60Z",
                "+026-01-02T03:04:05Z",
                "2026-1-02T03:04:05Z",
                "26-01-02T03:04:05Z",
                "2026-01-02T03:04:05.\xff",
        };
        int64_t us = 42;

        (void)state;
        for (size_t i = 0; i < countof(BAD); i++) {
                assert_int_equal(rfc3339_parse(BAD[i], &us), -EINVAL);
                assert_int_equal(us, 42);
        }
}

static void any_prefix_is_safe(void **state)
{
        const char *whole = "2026-01-02T03:04:05.123456+01:00";
        int64_t us;

        (void)state;
        for (size_t n = 0; n < strlen(whole); n++) {
                char *part = strndup(whole, n); /* so that a sanitizer sees the end */
                assert_int_equal(rfc3339_parse(part, &us), -EINVAL);
                free(part);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(time_goes_forward),
                cmocka_unit_test(formats),
                cmocka_unit_test(parses_fractions_and_offsets),
                cmocka_unit_test(refuses_the_rest),
                cmocka_unit_test(any_prefix_is_safe),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
