#include "agent/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int parse(struct agent_config *c, struct err *e, const char *a, const char *b)
{
        char *argv[] = {(char *)"drover-agent", (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};

        return agent_config_parse(a ? b ? 3 : 2 : 1, argv, c, e);
}

static void defaults(void **state)
{
        struct agent_config c;
        struct err e;

        (void)state;
        setenv("NODE_NAME", "n1", 1);
        assert_int_equal(parse(&c, &e, NULL, NULL), 0);
        assert_string_equal(c.node, "n1");
        assert_int_equal(c.npools, 1);
        assert_string_equal(c.pools[0].name, "default");
        assert_string_equal(c.pools[0].path, "/var/lib/drover");
        assert_string_equal(c.virt_type, "auto");
        assert_string_equal(c.peer_uri, "qemu+tls://%s/system");
        assert_true(c.migration_tls);
        assert_int_equal(c.reserved_memory, 512 << 20);
        assert_int_equal(c.stop_grace_s, 30);
        assert_int_equal(c.image_max, INT64_C(100) << 30);
        assert_int_equal(c.image_virtual_max, INT64_C(16) << 40);
        assert_int_equal(c.image_reserve, 1 << 30);
        assert_false(c.image_local);
        assert_null(c.pools[0].source);
        assert_int_equal(c.health.period_ms, 2000);
        assert_int_equal(c.health.min_free_bytes, 64 << 20);
        agent_config_free(&c);
}

static void pools(void **state)
{
        static const char *const BAD[] = {"",          "default", "default=rel", "=/a",    "Up=/a",
                                          "a=/a,a=/b", "a=/x,b",  "a b=/x",      "a=/a,b="};
        static const char *const BAD_LOCAL[] = {"no", "scratch,scratch", "scratch=/b",
                                                ",",  "scratc",          "default,,def"};
        struct agent_config c;
        struct err e;

        (void)state;
        assert_int_equal(parse(&c, &e, "--pools", "default=/a/,fast=/b//"), 0);
        assert_int_equal(c.npools, 2);
        assert_string_equal(c.pools[0].path, "/a");
        assert_string_equal(c.pools[1].path, "/b");
        assert_string_equal(agent_pool_of(&c, "fast")->path, "/b");
        assert_null(agent_pool_of(&c, "slow"));
        agent_config_free(&c);
        assert_int_equal(parse(&c, &e, "--pool-sources", "default=[2001:db8::1]:/srv/a=b"), 0);
        assert_string_equal(c.pools[0].source, "[2001:db8::1]:/srv/a=b");
        agent_config_free(&c);
        assert_int_equal(parse(&c, &e, "--local-pools", ""), 0);
        assert_false(c.pools[0].local);
        agent_config_free(&c);
        setenv("POOLS", "default=/a,scratch=/b,def=/c", 1);
        assert_int_equal(parse(&c, &e, "--local-pools", "def,scratch"), 0);
        assert_false(agent_pool_of(&c, "default")->local);
        assert_true(agent_pool_of(&c, "scratch")->local);
        assert_true(agent_pool_of(&c, "def")->local);
        agent_config_free(&c);
        for (size_t i = 0; i < sizeof(BAD_LOCAL) / sizeof(BAD_LOCAL[0]); i++) {
                assert_int_equal(parse(&c, &e, "--local-pools", BAD_LOCAL[i]), -EINVAL);
                assert_non_null(strstr(e.msg, "local-pools"));
        }
        unsetenv("POOLS");
        for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
                if (parse(&c, &e, "--pools", BAD[i]) != -EINVAL)
                        fail_msg("\"%s\" was taken", BAD[i]);
                assert_non_null(strstr(e.msg, "pools"));
        }
}

static void bad_values(void **state)
{
        static const char *const ROWS[][2] = {
                {"--virt-type", "xen"},
                {"--peer-uri", "qemu+tls://n1/system"},
                {"--peer-uri", "a%s%s"},
                {"--peer-uri", "%d%s"},
                {"--peer-uri", "%n"},
                {"--migration-tls", "perhaps"},
                {"--reserved-memory", "lot"},
                {"--image-max", "lot"},
                {"--image-reserve", "-1Gi"},
                {"--image-local", "perhaps"},
                {"--mount-bad", "0"},
                {"--mount-good", "0"},
                {"--mount-period", "0"},
                {"--mount-min-free", "-1"},
                {"--mount-min-free", "lot"},
                {"--mount-slow", "3001"}, /* than the deadline */
                {"--pool-sources", "default"},
                {"--pool-sources", "default="},
                {"--pool-sources", "none=nas:/x"},
                {"--pool-sources", "default=nas:/x,default=nas:/x"},
                {"--slots", "-1"},
                {"--health-port", "65536"},
                {"--node", "a/b"},
                {"--node", ""},
                {"--nonsense", "1"},
        };
        struct agent_config c;
        struct err e;

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
                if (parse(&c, &e, ROWS[i][0], ROWS[i][1]) != -EINVAL)
                        fail_msg("%s %s was taken", ROWS[i][0], ROWS[i][1]);
}

static void help(void **state)
{
        struct agent_config c;
        struct err e;

        (void)state;
        assert_int_equal(parse(&c, &e, "--help", NULL), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults),
                cmocka_unit_test(pools),
                cmocka_unit_test(bad_values),
                cmocka_unit_test(help),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
