#include "core/mountplan.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BASE "timeo=600,retrans=2,noatime,nosuid,nodev,retry=0"

static void options(void **state)
{
        static const char *const ROWS[][2] = {
                {"", "hard,vers=4.2,proto=tcp," BASE},
                {"vers=4.1", "hard,proto=tcp," BASE ",vers=4.1"},
                {"nfsvers=4.2,proto=rdma,port=20049",
                 "hard," BASE ",nfsvers=4.2,proto=rdma,port=20049"},
                {"timeo=100,nconnect=4",
                 "hard,vers=4.2,proto=tcp,retrans=2,noatime,nosuid,nodev,retry=0,timeo=100,"
                 "nconnect=4"},
                {"hard,local_lock=none", "vers=4.2,proto=tcp," BASE ",hard,local_lock=none"},
        };
        char out[MOUNTPLAN_OPTIONS_MAX];
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                assert_int_equal(mountplan_options(ROWS[i][0], out, &e), 0);
                assert_string_equal(out, ROWS[i][1]);
        }
}

static void unsafe_options(void **state)
{
        static const char *const ROWS[] = {
                "soft",
                "softerr",
                "hard,soft",
                "nolock",
                "ro",
                "vers=3",
                "nfsvers=3",
                "local_lock=all",
                "local_lock=posix",
                "vers",
                "bind",
                "remount",
                "bg",
                ",",
                "=x",
                "a,,b",
                "context=\"x\"",
                "vers=4.2,vers=3",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1",
        };
        char out[MOUNTPLAN_OPTIONS_MAX] = "as before", many[MOUNTPLAN_OPTIONS_MAX];
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++)
                if (mountplan_options(ROWS[i], out, &e) != -EINVAL)
                        fail_msg("%s became %s", ROWS[i], out);
        memset(many, 'x', sizeof(many));
        for (size_t i = 10; i < sizeof(many); i += 10)
                many[i] = ',';
        many[sizeof(many) - 3] = '\0';
        assert_int_equal(mountplan_options(many, out, &e), -EINVAL);
        assert_string_equal(out, "as before");
}

static void configuration(void **state)
{
        struct mountplan_entry x[3];
        struct err e;
        size_t n = 9;

        (void)state;
        assert_int_equal(mountplan_parse("# pools\n\ndefault nas:/srv/drover /var/lib/drover/\n"
                                         "  fast\tnas2:/f  /mnt/fast nconnect=4",
                                         x, 3, &n, &e),
                         0);
        assert_int_equal(n, 2);
        assert_string_equal(x[0].pool, "default");
        assert_string_equal(x[0].source, "nas:/srv/drover");
        assert_string_equal(x[0].path, "/var/lib/drover");
        assert_string_equal(x[0].options, "");
        assert_string_equal(x[1].pool, "fast");
        assert_string_equal(x[1].options, "nconnect=4");
        assert_int_equal(mountplan_parse("", x, 3, &n, &e), 0);
        assert_int_equal(n, 0);
        assert_int_equal(mountplan_parse("p [2001:db8::1]:/x /x\n", x, 3, &n, &e), 0);
        assert_int_equal(n, 1);
}

static void bad_configuration(void **state)
{
        static const char *const ROWS[] = {
                "default",
                "default nas:/x",
                "default nas /x",
                "default :/x /x",
                "default -o:/x /x",
                "default /dev/sda1 /x",
                "Default nas:/x /x",
                "default nas:/x x",
                "default nas:/x /",
                "default nas:/x /a/../b",
                "default nas:/x /x soft",
                "default nas:/x /x hard more",
                "default nas:/x /x\ndefault nas:/y /y",
                "default nas:/x /x\nother nas:/y /x/",
                "a n:/a /a\nb n:/b /b\nc n:/c /c\nd n:/d /d",
        };
        struct mountplan_entry x[3];
        struct err e;
        size_t n = 7;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                if (mountplan_parse(ROWS[i], x, 3, &n, &e) != -EINVAL)
                        fail_msg("%s", ROWS[i]);
                assert_non_null(strstr(e.msg, "line "));
        }
        assert_int_equal(n, 7);
}

static void decisions(void **state)
{
        static const struct {
                const char *want, *mounted;
                enum mountplan_do what;
        } ROWS[] = {
                {"nas:/x", NULL, MOUNTPLAN_MOUNT},         {"nas:/x", "nas:/x", MOUNTPLAN_LEAVE},
                {"nas:/x/", "nas:/x", MOUNTPLAN_LEAVE},    {"nas:/x", "nas:/x/", MOUNTPLAN_LEAVE},
                {"nas:/", "nas:/", MOUNTPLAN_LEAVE},       {"nas:/x", "nas:/", MOUNTPLAN_REFUSE},
                {"nas:/x", "nas:/xy", MOUNTPLAN_REFUSE},   {"nas:/x", "nas2:/x", MOUNTPLAN_REFUSE},
                {"nas:/x", "/dev/sda1", MOUNTPLAN_REFUSE}, {"nas:/x", "", MOUNTPLAN_REFUSE},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++)
                if (mountplan_decide(ROWS[i].want, ROWS[i].mounted) != ROWS[i].what)
                        fail_msg("row %zu", i);
}

static void waits(void **state)
{
        long before = 0;

        (void)state;
        assert_int_equal(mountplan_wait_ms(0), MOUNTPLAN_PERIOD_MS);
        for (unsigned i = 1; i < 100; i++) {
                assert_true(mountplan_wait_ms(i) >= before);
                before = mountplan_wait_ms(i);
                assert_true(before > 0 && before <= MOUNTPLAN_BACKOFF_MS);
        }
        assert_int_equal(before, MOUNTPLAN_BACKOFF_MS);
        assert_int_equal(mountplan_wait_ms(UINT32_MAX), MOUNTPLAN_BACKOFF_MS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options),       cmocka_unit_test(unsafe_options),
                cmocka_unit_test(configuration), cmocka_unit_test(bad_configuration),
                cmocka_unit_test(decisions),     cmocka_unit_test(waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
