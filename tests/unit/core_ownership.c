#include "core/ownership.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool active(enum own_domain d)
{
        return d == OWN_RUNNING || d == OWN_PAUSED || d == OWN_RECEIVING || d == OWN_RECEIVED ||
               d == OWN_LEFTOVER;
}

static bool takes_away(enum own_action a)
{
        return a == OWN_STOP || a == OWN_REBOOT || a == OWN_DESTROY || a == OWN_UNDEFINE;
}

/* What must hold whatever the table says. */
static void check_invariants(const struct ownership *o, enum own_action a)
{
        if (a == OWN_START) {
                assert_int_equal(o->vm, OWN_MINE);
                assert_false(o->migrating);
                assert_false(active(o->domain));
                assert_true(o->domain != OWN_UNSEEN && o->want != OWN_HALT);
                assert_true(o->domain == OWN_ABSENT || o->epoch == OWN_EQUAL);
        }
        if (a == OWN_RESUME) {
                assert_int_equal(o->vm, OWN_MINE);
                assert_int_equal(o->epoch, OWN_EQUAL);
                assert_int_equal(o->domain, OWN_RECEIVED);
                assert_int_not_equal(o->want, OWN_HALT);
        }
        if (takes_away(a)) {
                assert_false(o->migrating);
                assert_true(o->domain != OWN_UNSEEN && o->domain != OWN_ABSENT);
        }
        if (a == OWN_DESTROY) {
                if (o->vm != OWN_GONE && o->domain != OWN_LEFTOVER)
                        assert_int_not_equal(o->epoch, OWN_NEWER);
                assert_true(o->vm != OWN_MINE || o->epoch == OWN_OLDER ||
                            o->domain == OWN_LEFTOVER);
        }
        if (a == OWN_STOP || a == OWN_UNDEFINE || a == OWN_REBOOT) {
                assert_int_equal(o->vm, OWN_MINE);
                assert_int_equal(o->epoch, OWN_EQUAL);
                assert_true(o->want == OWN_HALT || o->want == OWN_RESTART);
        }
        /* A guest that runs where it belongs is never touched but on wish. */
        if (o->vm == OWN_MINE && o->epoch == OWN_EQUAL && o->domain == OWN_RUNNING &&
            (o->want == OWN_RUN || o->want == OWN_RERUN))
                assert_true(a == OWN_KEEP || a == OWN_LEAVE);
        if (o->migrating)
                assert_true(a == OWN_LEAVE || a == OWN_RESUME);
        if (o->domain == OWN_RECEIVING && o->vm != OWN_GONE && o->epoch == OWN_NEWER)
                assert_int_equal(a, OWN_LEAVE);
}

static void every_combination(void **state)
{
        unsigned hits[64] = {0}, combinations = 0;

        (void)state;
        for (int vm = 0; vm < OWN_VMS; vm++)
                for (int ep = 0; ep < OWN_EPOCHS; ep++)
                        for (int d = 0; d < OWN_DOMAINS; d++)
                                for (int w = 0; w < OWN_WANTS; w++)
                                        for (int m = 0; m < 2; m++) {
                                                struct ownership o = {
                                                        (enum own_vm)vm, (enum own_epoch)ep,
                                                        (enum own_domain)d, (enum own_want)w, m};
                                                size_t rule = 99;
                                                enum own_action a = ownership_decide(&o, &rule);
                                                assert_true(rule < ownership_rules());
                                                hits[rule]++;
                                                combinations++;
                                                check_invariants(&o, a);
                                                assert_int_equal(a, ownership_decide(&o, NULL));
                                        }
        assert_int_equal(combinations, 3 * 3 * 9 * 4 * 2);
        for (size_t i = 0; i < ownership_rules(); i++)
                if (!hits[i])
                        fail_msg("rule %zu decides nothing", i);
}

/* One row a story. */
static void stories(void **state)
{
        static const struct {
                struct ownership o;
                enum own_action want;
        } ROWS[] = {
                {{OWN_MINE, OWN_EQUAL, OWN_ABSENT, OWN_RUN, false}, OWN_START},
                {{OWN_MINE, OWN_EQUAL, OWN_ABSENT, OWN_RERUN, false}, OWN_START},
                {{OWN_MINE, OWN_EQUAL, OWN_ABSENT, OWN_HALT, false}, OWN_KEEP},
                {{OWN_MINE, OWN_EQUAL, OWN_ABSENT, OWN_RUN, true}, OWN_LEAVE},
                {{OWN_MINE, OWN_EQUAL, OWN_RUNNING, OWN_RUN, false}, OWN_KEEP},
                {{OWN_MINE, OWN_EQUAL, OWN_RUNNING, OWN_HALT, false}, OWN_STOP},
                {{OWN_MINE, OWN_EQUAL, OWN_RUNNING, OWN_HALT, true}, OWN_LEAVE},
                {{OWN_MINE, OWN_EQUAL, OWN_RUNNING, OWN_RESTART, false}, OWN_REBOOT},
                {{OWN_MINE, OWN_EQUAL, OWN_PAUSED, OWN_RUN, false}, OWN_KEEP},
                {{OWN_MINE, OWN_EQUAL, OWN_CRASHED, OWN_RUN, false}, OWN_START},
                {{OWN_MINE, OWN_EQUAL, OWN_ENDED, OWN_RUN, false}, OWN_START},
                {{OWN_MINE, OWN_EQUAL, OWN_ENDED, OWN_RERUN, false}, OWN_KEEP},
                {{OWN_MINE, OWN_EQUAL, OWN_CRASHED, OWN_RERUN, false}, OWN_START},
                {{OWN_MINE, OWN_EQUAL, OWN_CRASHED, OWN_HALT, false}, OWN_UNDEFINE},
                {{OWN_MINE, OWN_EQUAL, OWN_RECEIVED, OWN_HALT, false}, OWN_STOP},
                /* the source's agent fell between proof and resume, the migrator moved the owner */
                {{OWN_MINE, OWN_EQUAL, OWN_RECEIVED, OWN_RUN, true}, OWN_RESUME},
                /* halted there, started here: what a failed migration once sent is older than the
                   disks */
                {{OWN_MINE, OWN_EQUAL, OWN_LEFTOVER, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_MINE, OWN_EQUAL, OWN_LEFTOVER, OWN_RUN, true}, OWN_LEAVE},
                {{OWN_OTHERS, OWN_NEWER, OWN_LEFTOVER, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_OTHERS, OWN_NEWER, OWN_LEFTOVER, OWN_RUN, true}, OWN_LEAVE},
                {{OWN_OTHERS, OWN_NEWER, OWN_RECEIVED, OWN_RUN, true}, OWN_LEAVE},
                {{OWN_OTHERS, OWN_NEWER, OWN_RECEIVED, OWN_RUN, false}, OWN_LEAVE},
                {{OWN_OTHERS, OWN_NEWER, OWN_RUNNING, OWN_RUN, false}, OWN_LEAVE},
                /* stale: the VM lives elsewhere */
                {{OWN_OTHERS, OWN_OLDER, OWN_RUNNING, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_OTHERS, OWN_EQUAL, OWN_CRASHED, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_OTHERS, OWN_OLDER, OWN_RUNNING, OWN_RUN, true}, OWN_LEAVE},
                {{OWN_GONE, OWN_EQUAL, OWN_RUNNING, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_MINE, OWN_OLDER, OWN_CRASHED, OWN_RUN, false}, OWN_DESTROY},
                {{OWN_MINE, OWN_EQUAL, OWN_UNSEEN, OWN_RUN, false}, OWN_LEAVE},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                enum own_action got = ownership_decide(&ROWS[i].o, NULL);
                if (got != ROWS[i].want)
                        fail_msg("story %zu: %s, want %s", i, own_action_name(got),
                                 own_action_name(ROWS[i].want));
        }
}

static struct vm a_vm(const char *node, int64_t epoch)
{
        struct vm vm;

        memset(&vm, 0, sizeof(vm));
        vm.status.owner.node = node;
        vm.status.owner.epoch = epoch;
        vm.spec.restarted_at = "";
        vm.spec.restore = vm.status.restored = (struct vm_restore){"", ""};
        return vm;
}

static void from_a_vm(void **state)
{
        struct ownership o;

        (void)state;
        ownership_of(NULL, "n1", true, 3, "", &o);
        assert_int_equal(o.vm, OWN_GONE);

        struct vm vm = a_vm("n1", 2);
        ownership_of(&vm, "n1", false, 0, "", &o);
        assert_true(o.vm == OWN_MINE && o.epoch == OWN_EQUAL && o.want == OWN_RUN);
        ownership_of(&vm, "n1", true, 1, "", &o);
        assert_true(o.epoch == OWN_OLDER);
        ownership_of(&vm, "n1", true, 3, "", &o);
        assert_true(o.epoch == OWN_NEWER);
        ownership_of(&vm, "n2", true, 2, "", &o);
        assert_true(o.vm == OWN_OTHERS && o.epoch == OWN_EQUAL);

        vm.spec.run = RUN_RERUN_ON_FAILURE;
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.want, OWN_RERUN);
        vm.spec.restarted_at = "now"; /* a wish that is not granted is not carried out */
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.want, OWN_RERUN);
        vm.status.granted = (struct vm_grant){1, "now", {1, "", 0, ""}};
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.want, OWN_RERUN); /* granted to an earlier owner */
        vm.status.granted.epoch = 2;
        ownership_of(&vm, "n1", false, 0, "", &o);
        assert_int_equal(o.want, OWN_RERUN);
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.want, OWN_RESTART);
        ownership_of(&vm, "n1", true, 2, "now", &o);
        assert_int_equal(o.want, OWN_RERUN);
        vm.status.granted.restarted_at = "a\nb";
        ownership_of(&vm, "n1", true, 2, "a?b", &o);
        assert_int_equal(o.want, OWN_RERUN);
        ownership_of(&vm, "n1", true, 2, "a?", &o);
        assert_int_equal(o.want, OWN_RESTART);
        char text[OWN_RESTARTED_MAX + 9];
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        vm.status.granted.restarted_at = text;
        char cut[OWN_RESTARTED_MAX + 1];
        memset(cut, 'x', sizeof(cut));
        cut[sizeof(cut) - 1] = '\0';
        ownership_of(&vm, "n1", true, 2, cut, &o);
        assert_int_equal(o.want, OWN_RERUN);
        vm.status.granted.restarted_at = "now";
        vm.spec.run = RUN_HALTED;
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.want, OWN_HALT);
        vm.spec.run = RUN_ALWAYS;
        vm.meta.deleting = true;
        ownership_of(&vm, "n1", true, 2, "now", &o);
        assert_int_equal(o.want, OWN_HALT);

        vm = a_vm("", 2);
        ownership_of(&vm, "n1", true, 2, "", &o);
        assert_int_equal(o.vm, OWN_OTHERS);
}

static void actions_have_names(void **state)
{
        (void)state;
        for (int a = 0; a < OWN_ACTIONS; a++)
                assert_true(strlen(own_action_name((enum own_action)a)) > 1);
        assert_string_equal(own_action_name((enum own_action)99), "?");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_combination),
                cmocka_unit_test(stories),
                cmocka_unit_test(from_a_vm),
                cmocka_unit_test(actions_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
