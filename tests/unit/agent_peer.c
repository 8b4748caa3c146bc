#include "agent/move.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct agent_config config = {.node = "n1", .peer_uri = "qemu+tls://%s/system"};

/* Whoever can write the target's object sends no guest to a libvirtd that is not the target's. */
static void a_node_is_asked_for_by_its_name(void **state)
{
        const struct host stolen = {.libvirt_uri = "qemu+tls://evil/system?no_verify=1",
                                    .migration_address = "10.0.0.2"};
        char peer[AGENT_URI_MAX], stream[300];
        struct err e;

        (void)state;
        assert_int_equal(peer_addresses(&config, "n2", &stolen, peer, stream, &e), 0);
        assert_string_equal(peer, "qemu+tls://n2/system");
        assert_string_equal(stream, "tcp://10.0.0.2");
}

static void addresses(void **state)
{
        static const struct {
                const char *address, *uri; /* NULL: refused */
        } ROWS[] = {
                {"192.168.1.20", "tcp://192.168.1.20"},
                {"fd00::2", "tcp://[fd00::2]"},
                {"", NULL},
                {"n2", NULL},
                {"10.0.0.2:49152", NULL},
                {"10.0.0.2/x", NULL},
                {"[fd00::2]", NULL},
                {"10.0.0.2 ", NULL},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                const struct host h = {.libvirt_uri = "", .migration_address = ROWS[i].address};
                char peer[AGENT_URI_MAX] = "untouched", stream[300] = "untouched";
                struct err e;
                int rc = peer_addresses(&config, "n2", &h, peer, stream, &e);

                assert_int_equal(rc, ROWS[i].uri ? 0 : -EINVAL);
                assert_string_equal(stream, ROWS[i].uri ? ROWS[i].uri : "untouched");
                if (rc)
                        assert_string_equal(peer, "untouched");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_node_is_asked_for_by_its_name),
                cmocka_unit_test(addresses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
