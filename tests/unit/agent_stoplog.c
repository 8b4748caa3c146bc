#include "agent/stoplog.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define STAMP "2026-01-02 03:04:05.678+0000: "
#define MOVED STAMP "shutting down, reason=migrated\n"

static char dir[] = "/tmp/drover-stoplog-XXXXXX";
static struct stoplog l;

static void path(char out[128], const char *suffix)
{
        snprintf(out, 128, "%s/web.log%s", dir, suffix);
}

static void append(const char *text)
{
        char file[128];

        path(file, "");
        FILE *f = fopen(file, "a");
        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static int begin(void **state)
{
        struct err e;

        (void)state;
        append(MOVED); /* of an earlier life */
        return stoplog_open(dir, "web", &l, &e);
}

static int end(void **state)
{
        char file[128];

        (void)state;
        stoplog_close(&l);
        path(file, "");
        return unlink(file);
}

static void what_libvirt_says(void **state)
{
        static const struct {
                const char *text;
                bool moved;
        } ROWS[] = {
                {"", false},
                {MOVED, true},
                {"initiating migration\n" MOVED "qemu: terminating on signal 15 from pid 81\n",
                 true},
                {STAMP "shutting down, reason=crashed\n", false},
                {STAMP "shutting down, reason=migrated and more\n", false},
                {STAMP "shutting down, reason=migrated", false}, /* not whole */
                {"shutting down, reason=migrated\n", false},     /* not libvirt's */
                {"qemu: " MOVED, false},
                {MOVED STAMP "shutting down, reason=destroyed\n", false},
                {STAMP "shutting down, reason=destroyed\n" MOVED, true},
        };

        for (size_t i = 0; i < countof(ROWS); i++) {
                append(ROWS[i].text);
                if (stoplog_migrated(&l) != ROWS[i].moved)
                        fail_msg("row %zu", i);
                end(state);
                begin(state);
        }
}

static void a_lot_of_noise(void **state)
{
        (void)state;
        for (int i = 0; i < 3000; i++)
                append("warning: something that QEMU says again and again, without end\n");
        assert_false(stoplog_migrated(&l));
        append(MOVED);
        assert_true(stoplog_migrated(&l));
}

static void a_log_that_is_rotated_or_missing(void **state)
{
        char file[128], old[128];
        struct stoplog none = {.fd = -1};
        struct err e;

        (void)state;
        path(file, "");
        path(old, ".0");
        assert_int_equal(rename(file, old), 0);
        append(MOVED); /* in the new one */
        assert_false(stoplog_migrated(&l));
        assert_int_equal(unlink(old), 0);
        assert_int_equal(stoplog_open(dir, "other", &none, &e), -ENOENT);
        assert_false(stoplog_migrated(&none));
        assert_int_equal(stoplog_open(dir, "web.console", &none, &e),
                         -EINVAL); /* a guest's own words */
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(what_libvirt_says),
                T(a_lot_of_noise),
                T(a_log_that_is_rotated_or_missing),
        };

        if (!mkdtemp(dir))
                return 1;
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        rmdir(dir);
        return failed;
}
