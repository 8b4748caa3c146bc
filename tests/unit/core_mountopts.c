/* The options of pools, as mountinfo shows them for mounts of the kernel's NFS client. */
#include "core/mountopts.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define V42                                                                                        \
        "rw,relatime,rw,vers=4.2,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600," \
        "retrans=2,sec=sys,clientaddr=10.0.2.15,"
#define V3                                                                                         \
        "rw,relatime,rw,vers=3,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,"   \
        "retrans=2,sec=sys,mountaddr=10.0.2.2,mountvers=3,mountport=20048,mountproto=udp,"

static void one_after_another(void **state)
{
        const char *p = "rw,vers=4.2,,x=\"y\",addr=10.0.2.2";
        struct mountopt o;
        struct err e;

        (void)state;
        assert_int_equal(mountopts_next(&p, &o, &e), 0);
        assert_string_equal(o.key, "rw");
        assert_string_equal(o.value, "");
        assert_int_equal(mountopts_next(&p, &o, &e), 0);
        assert_string_equal(o.key, "vers");
        assert_string_equal(o.value, "4.2");
        assert_int_equal(mountopts_next(&p, &o, &e), -EINVAL);
        assert_int_equal(mountopts_next(&p, &o, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "x=\"y\""));
        assert_string_equal(o.key, "vers"); /* untouched */
        assert_int_equal(mountopts_next(&p, &o, &e), 0);
        assert_string_equal(o.value, "10.0.2.2");
        assert_string_equal(p, "");
}

static void found_by_name(void **state)
{
        struct mountopt o;

        (void)state;
        assert_true(mountopts_get("rw,nfsvers=4.1,hard", "vers", &o));
        assert_string_equal(o.value, "4.1");
        assert_true(mountopts_get("timeo=600,timeo=50", "timeo", &o)); /* the last one counts */
        assert_string_equal(o.value, "50");
        assert_false(mountopts_get("softreval,nolocks", "soft", &o));
        assert_false(mountopts_get("", "ro", &o));
}

static void judged(void **state)
{
        static const struct {
                struct mountopt o;
                enum mountopts_flaw want;
        } ROWS[] = {
                {{"hard", ""}, MOUNTOPTS_FINE},
                {{"soft", ""}, MOUNTOPTS_SOFT},
                {{"softerr", ""}, MOUNTOPTS_SOFT},
                {{"softreval", ""}, MOUNTOPTS_FINE},
                {{"nolock", ""}, MOUNTOPTS_LOCAL_LOCKS},
                {{"lock", ""}, MOUNTOPTS_FINE},
                {{"local_lock", "none"}, MOUNTOPTS_FINE},
                {{"local_lock", "all"}, MOUNTOPTS_LOCAL_LOCKS},
                {{"local_lock", "posix"}, MOUNTOPTS_LOCAL_LOCKS},
                {{"local_lock", "flock"}, MOUNTOPTS_LOCAL_LOCKS},
                {{"local_lock", ""}, MOUNTOPTS_LOCAL_LOCKS},
                {{"vers", "4.2"}, MOUNTOPTS_FINE},
                {{"vers", "3"}, MOUNTOPTS_OLD_VERSION},
                {{"nfsvers", "3"}, MOUNTOPTS_OLD_VERSION},
                {{"vers", ""}, MOUNTOPTS_OLD_VERSION},
                {{"mountvers", "3"}, MOUNTOPTS_FINE},
                {{"ro", ""}, MOUNTOPTS_READ_ONLY},
                {{"bind", ""}, MOUNTOPTS_NO_MOUNT},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                const char *why = NULL;

                if (mountopts_judge(&ROWS[i].o, &why) != ROWS[i].want)
                        fail_msg("%s=%s", ROWS[i].o.key, ROWS[i].o.value);
                assert_int_equal(why != NULL, ROWS[i].want != MOUNTOPTS_FINE);
        }
}

static void locks_that_stay_on_the_node(void **state)
{
        static const struct {
                const char *fstype, *options, *by; /* NULL: they do not */
        } ROWS[] = {
                {"nfs4", V42 "local_lock=none,addr=10.0.2.2", NULL},
                {"nfs4", V42 "local_lock=all,addr=10.0.2.2", "local_lock"},
                {"nfs4", V42 "local_lock=posix,addr=10.0.2.2", "local_lock"},
                {"nfs4", V42 "local_lock=flock,addr=10.0.2.2", "local_lock"},
                {"nfs", V3 "local_lock=none,addr=10.0.2.2", NULL}, /* lockd's: a trial tells */
                {"nfs", V3 "nolock,local_lock=all,addr=10.0.2.2", "nolock"},
                {"fuse", "rw,nolock", NULL}, /* another file system's word, if it is one */
                {"nfsd", "rw,nolock", NULL},
                {"nfs4", "", NULL},
        };
        struct mountopt o;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                bool local = mountopts_local_locks(ROWS[i].fstype, ROWS[i].options, &o);

                if (local != (ROWS[i].by != NULL) || (local && strcmp(o.key, ROWS[i].by) != 0))
                        fail_msg("row %zu", i);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_after_another),
                cmocka_unit_test(found_by_name),
                cmocka_unit_test(judged),
                cmocka_unit_test(locks_that_stay_on_the_node),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
