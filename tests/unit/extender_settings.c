#include "extender/settings.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int parse(struct settings *s, struct err *e, const char *const *words)
{
        char *argv[8] = {(char[]){"drover-extender"}};
        int argc = 1;

        for (; *words; words++)
                argv[argc++] = (char *)(uintptr_t)*words;
        return settings_parse(argc, argv, s, e);
}
#define words(...) ((const char *const[]){__VA_ARGS__, NULL})

static void defaults_and_flags(void **state)
{
        struct settings s;
        struct err e;

        (void)state;
        assert_int_equal(parse(&s, &e, (const char *const[]){NULL}), 0);
        assert_int_equal(s.fleet.silent_ms, 20000);
        assert_int_equal(s.fleet.policy, CAPACITY_SPREAD);
        assert_int_equal(s.https.port, 8443);
        assert_int_equal(s.health.port, 9404);
        assert_null(s.health.cert);
        assert_string_equal(s.ns, "drover-system");
        assert_null(s.client); /* without client-ca nobody shows a certificate */
        assert_int_equal(parse(&s, &e,
                               words("--score=pack", "--cert=c", "--key=k", "--client-ca=a",
                                     "--silent-seconds", "30")),
                         0);
        assert_int_equal(s.fleet.policy, CAPACITY_PACK);
        assert_int_equal(s.fleet.silent_ms, 30000);
        assert_string_equal(s.https.client_ca, "a");
        assert_string_equal(s.client, "drover-scheduler");
        assert_int_equal(
                parse(&s, &e, words("--cert=c", "--key=k", "--client-ca=a", "--client-name=x")), 0);
        assert_string_equal(s.client, "x");
        assert_int_equal(
                parse(&s, &e, words("--cert=c", "--key=k", "--client-ca=a", "--client-name=")), 0);
        assert_null(s.client);
}

/* The migrator's own variable, so that both are told by the same ConfigMap. */
static void the_migrators_limit_is_taken(void **state)
{
        struct settings s;
        struct err e;

        (void)state;
        setenv("DROVER_MIGRATIONS_PER_NODE", "7", 1);
        assert_int_equal(parse(&s, &e, (const char *const[]){NULL}), 0);
        unsetenv("DROVER_MIGRATIONS_PER_NODE");
        assert_int_equal(s.fleet.migration_slots, 7);
}

static void wrong_ones_are_refused(void **state)
{
        struct settings s = {.ns = "untouched"};
        struct err e;

        (void)state;
        assert_int_equal(parse(&s, &e, words("--score=best")), -EINVAL);
        assert_string_equal(e.msg, "score: \"best\" is neither spread nor pack");
        assert_int_equal(parse(&s, &e, words("--cert=c")), -EINVAL);
        assert_string_equal(e.msg, "cert and key: one without the other");
        assert_int_equal(parse(&s, &e, words("--client-ca=a")), -EINVAL);
        assert_string_equal(e.msg, "client-ca: needs cert and key");
        assert_int_equal(parse(&s, &e, words("--port=70000")), -EINVAL);
        assert_string_equal(s.ns, "untouched");
}

static void help_names_every_flag(void **state)
{
        autobuf struct buf b = buf_new(8192);
        struct settings s;
        struct err e;

        (void)state;
        assert_int_equal(parse(&s, &e, words("--help")), 1);
        assert_int_equal(settings_help(&b), 0);
        assert_non_null(strstr(buf_str(&b), "--migrations-per-node N"));
        assert_non_null(strstr(buf_str(&b), "spread or pack (spread) [$DROVER_SCORE]"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults_and_flags),
                cmocka_unit_test(the_migrators_limit_is_taken),
                cmocka_unit_test(wrong_ones_are_refused),
                cmocka_unit_test(help_names_every_flag),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
