#include "base/json.h"
#include "kubectl/report.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void fill(struct findings *f)
{
        findings_add(f, DOCTOR_QEMU, "n1", "", DOCTOR_WARNING, "Install another.", "old");
        findings_add(f, DOCTOR_AGENTS, "n1", "", DOCTOR_OK, NULL, "its agent runs");
        findings_add(f, DOCTOR_QEMU, "n2", "", DOCTOR_WARNING, "Install another.", "old");
        findings_add(f, DOCTOR_AGENTS, "n2", "", DOCTOR_OK, NULL, "its agent runs");
        findings_add(f, DOCTOR_AGENTS, "n3", "", DOCTOR_FAULT, "Look\nthere.", "not \033[2J Ready");
        findings_add(f, DOCTOR_CHECKS + 7, "n3", "x", DOCTOR_OK, NULL, "of a newer agent");
}

static void table(void **state)
{
        autoarena struct arena *a = arena_new(1 << 16);
        autobuf struct buf b = buf_new(1 << 16);
        struct findings f = findings_new(a, 16);

        (void)state;
        fill(&f);
        report_sort(&f);
        assert_int_equal(report_table(&f, false, &b), 0);
        assert_string_equal(buf_str(&b),
                            " 6 agents               fault   n3: not ?[2J Ready\n"
                            "                                Look?there.\n"
                            " 6 agents               ok      n1: its agent runs (and 1 more)\n"
                            "20 qemu                 warning n1, n2: old\n"
                            "                                Install another.\n"
                            "34 ?                    ok      n3 x: of a newer agent\n"
                            "1 fault, 2 warnings, 3 ok\n");
        buf_reset(&b);
        assert_int_equal(report_table(&f, true, &b), 0);
        assert_non_null(strstr(buf_str(&b), "\033[1;31mfault   \033[0m"));
        assert_null(strstr(buf_str(&b), "[2J\033"));
}

static void many_nodes(void **state)
{
        autoarena struct arena *a = arena_new(1 << 16);
        autobuf struct buf b = buf_new(1 << 16);
        struct findings f = findings_new(a, 16);

        (void)state;
        for (int i = 0; i < 10; i++)
                findings_add(&f, DOCTOR_QEMU, "n", "", DOCTOR_WARNING, "Mend it.", "old");
        report_sort(&f);
        assert_int_equal(report_table(&f, false, &b), 0);
        assert_non_null(strstr(buf_str(&b), "n, n, n, n, n, n, n, n and 2 more: old\n"));
}

/* Those of several nodes are told together, in whatever order they came. */
static void alike_ones_together(void **state)
{
        static const char *const NODES[] = {"n3", "n1", "n2"};
        autoarena struct arena *a = arena_new(1 << 16);
        autobuf struct buf b = buf_new(1 << 16);
        struct findings f = findings_new(a, 16);

        (void)state;
        for (int i = 0; i < 3; i++) {
                findings_add(&f, DOCTOR_BRIDGES, NODES[i], "br7", DOCTOR_WARNING, "Make it.", "no");
                findings_add(&f, DOCTOR_BRIDGES, NODES[i], "br8", DOCTOR_WARNING, "Make it.", "no");
        }
        report_sort(&f);
        assert_int_equal(report_table(&f, false, &b), 0);
        assert_non_null(strstr(buf_str(&b), "n1, n2, n3 br7: no\n"));
        assert_non_null(strstr(buf_str(&b), "n1, n2, n3 br8: no\n"));
}

static void json(void **state)
{
        autoarena struct arena *a = arena_new(1 << 16);
        autobuf struct buf b = buf_new(1 << 16);
        struct findings f = findings_new(a, 16);
        autojson struct json *j = NULL;
        struct err e;

        (void)state;
        fill(&f);
        report_sort(&f);
        assert_int_equal(report_json(&f, &b), 0);
        assert_int_equal(json_parse(buf_str(&b), b.len, b.len, &j, &e), 0);
        assert_string_equal(json_str(j, "verdict", ""), "fault");
        assert_int_equal(json_int(j, "faults", -1), 1);
        assert_int_equal(json_int(j, "warnings", -1), 2);
        assert_int_equal(json_count(json_get(j, "findings")), 6);
        const struct json *first = json_first(json_get(j, "findings"));
        assert_string_equal(json_str(first, "name", ""), "agents");
        assert_string_equal(json_str(first, "node", ""), "n3");
        assert_string_equal(json_str(first, "says", ""), "not \033[2J Ready");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table),
                cmocka_unit_test(many_nodes),
                cmocka_unit_test(alike_ones_together),
                cmocka_unit_test(json),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
