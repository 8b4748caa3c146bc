#include "core/doctor.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void names(void **state)
{
        (void)state;
        for (unsigned i = 1; i < DOCTOR_CHECKS; i++) {
                assert_non_null(doctor_check_name(i));
                assert_string_not_equal(doctor_check_name(i), "?");
                for (unsigned k = 1; k < i; k++)
                        assert_string_not_equal(doctor_check_name(i), doctor_check_name(k));
        }
        assert_string_equal(doctor_check_name(DOCTOR_CHECKS), "?");
        assert_int_equal(doctor_verdict_parse("warning"), DOCTOR_WARNING);
        assert_int_equal(doctor_verdict_parse("splendid"), DOCTOR_FAULT);
}

/* The guide explains every check under its number and name. */
static void documented(void **state)
{
        autobuf struct buf text = buf_new(1 << 20);
        char row[64];
        struct err e;

        (void)state;
        assert_int_equal(file_read("docs/storage.md", &text, &e), 0);
        for (unsigned i = 1; i < DOCTOR_CHECKS; i++) {
                snprintf(row, sizeof(row), "\n| %u | %s |", i, doctor_check_name(i));
                if (!strstr(buf_str(&text), row))
                        fail_msg("docs/storage.md has no row%s", row);
        }
}

static void list_is_bounded(void **state)
{
        autoarena struct arena *a = arena_new(1 << 16);
        struct findings f = findings_new(a, 2);

        (void)state;
        findings_add(&f, DOCTOR_NAMES, "n1", "", DOCTOR_OK, "a remedy", "well %d", 1);
        findings_add(&f, DOCTOR_NAMES, "n1", "", DOCTOR_WARNING, "a remedy", "not well");
        assert_int_equal(f.n, 2);
        assert_string_equal(f.v[0].says, "well 1");
        assert_string_equal(f.v[0].mend, "");
        assert_string_equal(f.v[1].mend, "a remedy");
        assert_int_equal(findings_worst(&f), DOCTOR_WARNING);
        assert_false(f.failed);
        findings_add(&f, DOCTOR_NAMES, "n1", "", DOCTOR_FAULT, "", "one too many");
        assert_int_equal(f.n, 2);
        assert_true(f.failed);
}

struct row {
        size_t n;
        int64_t ms[3][2]; /* low and high of each node's clock */
        int verdict;      /* -1: nothing is said */
};

static void clocks(void **state)
{
        static const struct row ROWS[] = {
                {0, {{0}}, -1},
                {1, {{0, 10}}, -1},
                {2, {{0, 10}, {0, 10}}, DOCTOR_OK},
                {2, {{0, 10}, {1000, 1010}}, DOCTOR_OK},      /* 990 ms apart at least */
                {2, {{0, 10}, {1020, 1030}}, DOCTOR_WARNING}, /* 1010 */
                {2, {{5000, 5010}, {0, 10}}, DOCTOR_WARNING},
                {2, {{0, 9000}, {5000, 5010}}, DOCTOR_OK}, /* not known well enough to accuse */
                {3, {{0, 10}, {900, 910}, {1800, 1810}}, DOCTOR_WARNING},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                autoarena struct arena *a = arena_new(1 << 16);
                struct findings f = findings_new(a, 4);
                const char *const NODES[] = {"n1", "n2", "n3"};
                struct clock_range c[3];

                for (size_t k = 0; k < ROWS[i].n; k++)
                        c[k] = (struct clock_range){NODES[k], ROWS[i].ms[k][0] * 1000,
                                                    ROWS[i].ms[k][1] * 1000};
                doctor_judge_clocks(c, ROWS[i].n, &f);
                assert_int_equal(f.n, ROWS[i].verdict < 0 ? 0 : 1);
                if (f.n && (int)f.v[0].verdict != ROWS[i].verdict)
                        fail_msg("row %zu: %s", i, f.v[0].says);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names),
                cmocka_unit_test(documented),
                cmocka_unit_test(list_is_bounded),
                cmocka_unit_test(clocks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
