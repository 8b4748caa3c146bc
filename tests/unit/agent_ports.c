#include "agent/ports.h"
#include "tests/unit/oom.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
#define ROW(address, port, state)                                                                  \
        "   0: " address ":" port " 00000000:0000 " state " 00000000:00000000 00:00000000 0 0 0\n"

static void the_port_of_an_uri(void **state)
{
        static const struct {
                const char *uri;
                int port;
        } ROWS[] = {
                {"qemu+tls://n1/system", 16514},     {"qemu+tls://n1:17000/system", 17000},
                {"qemu+tcp://n1/system", 16509},     {"qemu+ssh://n1/system", 0},
                {"qemu+tls://n1/system?x=1", 16514}, {"qemu:///system", 0},
                {"qemu+tls://other/system", 0},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++)
                assert_int_equal(ports_of_uri(ROWS[i].uri, "n1"), ROWS[i].port);
}

static const char *says(const char *table, int libvirtd)
{
        static struct arena *a;
        struct ports p = {.libvirtd = libvirtd};

        arena_free(a);
        a = arena_new(4096);
        ports_read(&p, table);
        const char *why = ports_trouble(&p, a);
        assert_non_null(why);
        return why;
}

static void who_listens(void **state)
{
        (void)state;
        /* 16514 is 4082 in hexadecimal */
        assert_string_equal(
                says(HEAD ROW("0100007F", "1F90", "0A") ROW("00000000", "4082", "0A"), 16514), "");
        assert_string_equal(says(HEAD ROW("00000000000000000000000000000000", "4082", "0A"), 16514),
                            "");
        assert_string_equal(says(HEAD ROW("00000000", "4082", "01"), 16514), /* only connected */
                            "nothing listens on port 16514, where other nodes reach its libvirtd");
        assert_string_not_equal(says("", 16514), "");
        assert_string_not_equal(says(HEAD "garbage\n  1: x\n\n", 16514), "");
        assert_string_equal(says(HEAD, 0), ""); /* not by a port */
}

static void which_ports_are_free(void **state)
{
        char table[16384] = HEAD;

        (void)state;
        for (unsigned port = PORTS_FIRST; port <= PORTS_LAST; port++) {
                size_t len = strlen(table);

                assert_string_equal(says(table, 0), "");
                snprintf(table + len, sizeof(table) - len,
                         "   0: 00000000:%04X 00000000:0000 0A 0:0 0:0 0 0 0\n", port);
        }
        assert_string_equal(says(table, 0),
                            "all ports from 49152 to 49215, by which guests arrive, are taken");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_port_of_an_uri),
                cmocka_unit_test(who_listens),
                cmocka_unit_test(which_ports_are_free),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
