#include "agent/facts.h"
#include "agent/xml.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void escapes(void **state)
{
        autobuf struct buf b = buf_new(1000);

        (void)state;
        assert_int_equal(xml_text(&b, "a<b>&\"'\n\x01é"), 0);
        assert_string_equal(buf_str(&b), "a&lt;b&gt;&amp;&quot;&apos;&#10;?é");
        buf_reset(&b);
        assert_int_equal(xml_attr(&b, "x", "1'/><evil y='"), 0);
        assert_string_equal(buf_str(&b), " x='1&apos;/&gt;&lt;evil y=&apos;'");
        autobuf struct buf small = buf_new(4);
        assert_int_equal(xml_text(&small, "&&&"), -E2BIG);
}

static void scans(void **state)
{
        const char *at = "<?xml version='1.0'?><!-- <no/> --><a x='1' y=\"&lt;2&#10;&amp;\">t&amp;u"
                         "<b z='>'/><![CDATA[<c/>]]></a  >";
        struct xml_tag t;
        char v[32];

        (void)state;
        assert_true(xml_next(&at, &t));
        assert_true(xml_is(&t, "a") && t.kind == XML_OPEN);
        assert_true(xml_get(&t, "y", v, sizeof(v)));
        assert_string_equal(v, "<2\n&");
        assert_true(xml_get(&t, "x", v, 2));
        assert_string_equal(v, "1");
        assert_false(xml_get(&t, "z", v, sizeof(v)));
        assert_string_equal(v, "");
        xml_inner(&t, v, sizeof(v));
        assert_string_equal(v, "t&u");
        assert_true(xml_next(&at, &t));
        assert_true(xml_is(&t, "b") && t.kind == XML_EMPTY);
        assert_true(xml_get(&t, "z", v, sizeof(v)));
        assert_string_equal(v, ">");
        assert_true(xml_next(&at, &t));
        assert_true(xml_is(&t, "a") && t.kind == XML_CLOSE);
        assert_false(xml_next(&at, &t));
}

static void survives_broken_input(void **state)
{
        static const char *const BAD[] = {"<",       "<a",          "<a x",      "<a x=", "<a x='",
                                          "<a x='1", "<!--",        "<![CDATA[", "<?",    "</",
                                          "<a x=y>", "<a 'x'='y'>", "<a =''>",   "&",     "<>"};
        char v[8];

        (void)state;
        for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
                /* on the heap at its exact size, so that a sanitizer sees a step too far */
                char *copy = strdup(BAD[i]);
                const char *at = copy;
                struct xml_tag t;
                while (xml_next(&at, &t)) {
                        xml_get(&t, "x", v, sizeof(v));
                        xml_inner(&t, v, sizeof(v));
                }
                free(copy);
        }
}

static void models_and_machines(void **state)
{
        static const char DOMAIN[] =
                "<domainCapabilities><cpu><mode name='host-model' supported='yes'>"
                "<model fallback='forbid'>EPYC</model></mode><mode name='custom' supported='yes'>"
                "<model usable='yes' vendor='AMD'>qemu64</model><model usable='no'>Icelake</model>"
                "<model usable='yes'>486</model><model usable='yes'>qemu64</model></mode></cpu>"
                "</domainCapabilities>";
        static const char HOST[] =
                "<capabilities><guest><arch name='i686'><machine>q35-32</machine></arch></guest>"
                "<guest><arch name='x86_64'><machine maxCpus='255'>pc-i440fx-7.2</machine>"
                "<machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine>"
                "<machine maxCpus='288'>pc-q35-7.2</machine></arch></guest></capabilities>";
        autoarena struct arena *a = arena_new(1 << 20);
        struct strs s;

        (void)state;
        assert_int_equal(facts_cpu_models(DOMAIN, a, &s), 0);
        assert_int_equal(s.n, 2);
        assert_string_equal(s.v[0], "486");
        assert_string_equal(s.v[1], "qemu64");
        assert_int_equal(facts_machine_types(HOST, a, &s), 0);
        assert_int_equal(s.n, 2);
        assert_string_equal(s.v[0], "pc-q35-7.2");
        assert_string_equal(s.v[1], "q35");
        assert_int_equal(facts_bridges(a, &s), 0);
        autoarena struct arena *tiny = arena_new(100);
        assert_int_equal(facts_cpu_models(DOMAIN, tiny, &s), -ENOMEM);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(escapes),
                cmocka_unit_test(scans),
                cmocka_unit_test(survives_broken_input),
                cmocka_unit_test(models_and_machines),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
