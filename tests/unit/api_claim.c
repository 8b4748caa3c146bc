/* PersistentVolumeClaims as an API server has them. */
#include "api/codec.h"
#include "tests/unit/api_text.h"

#include <errno.h>

static struct claim *decoded(const char *text)
{
        autojson struct json *j = json_of(text);
        struct claim *c;
        struct err e = {0};

        if (claim_decode(j, &c, &e))
                fail_msg("%s", e.msg);
        return c;
}

static void bound(void **state)
{
        struct claim *c = decoded(
                "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'data',"
                "'namespace':'shop','uid':'u'},'spec':{'accessModes':['ReadWriteOnce',"
                "'ReadWriteMany'],'resources':{'requests':{'storage':'1Gi'}},'volumeName':'pv-1',"
                "'volumeMode':'Block'},'status':{'phase':'Bound','accessModes':['ReadWriteMany'],"
                "'capacity':{'storage':'2Gi'}}}");

        (void)state;
        assert_string_equal(c->meta.name, "data");
        assert_int_equal(c->access_modes.n, 2);
        assert_true(strs_has(&c->access_modes, "ReadWriteMany"));
        assert_true(c->block);
        assert_string_equal(c->volume, "pv-1");
        assert_int_equal(c->capacity, 2LL << 30);
        claim_free(c);
}

/* A volume that is only wished for, or lost, is none. */
static void not_bound(void **state)
{
        static const char *const PHASES[] = {"Pending", "Lost", ""};
        char text[300];

        (void)state;
        for (size_t i = 0; i < countof(PHASES); i++) {
                snprintf(text, sizeof(text),
                         "{'metadata':{'name':'data'},'spec':{'volumeName':'pv-1'},"
                         "'status':{'phase':'%s'}}",
                         PHASES[i]);
                struct claim *c = decoded(text);
                assert_string_equal(c->volume, "");
                assert_false(c->block);
                assert_int_equal(c->capacity, 0);
                assert_int_equal(c->access_modes.n, 0);
                claim_free(c);
        }
}

static void of_other_types(void **state)
{
        static const struct {
                const char *text, *says;
        } t[] = {
                {"{'metadata':{'name':'a'},'spec':{'accessModes':'x'}}", "spec.accessModes"},
                {"{'metadata':{'name':'a'},'spec':{'volumeName':1}}", "spec.volumeName"},
                {"{'metadata':{'name':'a'},'status':{'capacity':{'storage':'much'}}}",
                 "status.capacity.storage"},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                autojson struct json *j = json_of(t[i].text);
                struct claim *c;
                struct err e = {0};
                assert_int_equal(claim_decode(j, &c, &e), -EINVAL);
                if (!strstr(e.msg, t[i].says))
                        fail_msg("%s", e.msg);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bound),
                cmocka_unit_test(not_bound),
                cmocka_unit_test(of_other_types),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
