/* Conversations with agents through a kubectl that is a script: well-behaved and hostile ones. */
#include "kubectl/session.h"

#include "base/file.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LONG_MS 20000 /* never reached by what behaves */

static char folder[] = "/tmp/drover-session-XXXXXX";
static char program[64];

static int make_folder(void **state)
{
        (void)state;
        jobs_begin();
        if (!mkdtemp(folder))
                return -1;
        snprintf(program, sizeof(program), "%s/kubectl", folder);
        return 0;
}

static int remove_folder(void **state)
{
        char command[128];

        (void)state;
        snprintf(command, sizeof(command), "rm -rf %s", folder);
        return system(command); /* NOLINT(cert-env33-c) */
}

/*
 * The script is run as: exec -i -n drover-system POD -c agent -- drover-agent doctor RUN PEERS
 * BRIDGES; $5 is the pod.
 */
static void kubectl_is(const char *script)
{
        char text[4096];
        struct err e;

        snprintf(text, sizeof(text), "#!/bin/sh\n%s", script);
        unlink(program); /* whoever still runs it keeps the old one */
        assert_int_equal(file_write(program, text, strlen(text), 0755, &e), 0);
        assert_int_equal(chmod(program, 0755), 0);
}

struct outcome {
        struct arena *arena;
        struct findings f;
        struct clock_range clocks[4];
        size_t nclocks;
        bool whole;
};

static struct outcome converse(size_t n, int64_t ms)
{
        static const struct agent_pod PODS[] = {{"n1", "pod-1"}, {"n2", "pod-2"}};
        const char *const words[] = {program, NULL};
        const struct session_plan p = {
                .kubectl = words, .bridges = "br0", .run = "abc123", .deadline_ms = ms};
        struct outcome o = {.arena = arena_new(8 << 20)};

        o.f = findings_new(o.arena, 4096);
        o.whole = sessions_run(&p, PODS, n, &o.f, o.clocks, &o.nclocks);
        return o;
}

static int verdict_of(const struct outcome *o, unsigned check, const char *node)
{
        int found = -1;

        for (size_t i = 0; i < o->f.n; i++)
                if (o->f.v[i].check == check && !strcmp(o->f.v[i].node, node) &&
                    (int)o->f.v[i].verdict > found)
                        found = (int)o->f.v[i].verdict;
        return found;
}

static const char *session_says(const struct outcome *o)
{
        for (size_t i = 0; i < o->f.n; i++)
                if (o->f.v[i].check == DOCTOR_SESSION)
                        return o->f.v[i].says;
        return "";
}

#define GOOD                                                                                       \
        "echo '{\"finding\":{\"check\":15,\"node\":\"n9\",\"verdict\":\"ok\",\"says\":\"x\"}}'\n"  \
        "echo '{\"left\":\"default\"}'\n"                                                          \
        "echo '{\"waiting\":true}'\n"                                                              \
        "read line\n"                                                                              \
        "echo \"$line\" > $(dirname $0)/$5.go\n"                                                   \
        "echo '{\"clock\":1700000000000000}'\n"                                                    \
        "echo '{\"done\":true}'\n"                                                                 \
        "cat >/dev/null\n"                                                                         \
        "touch $(dirname $0)/$5.tidy\n"

static bool there(const char *name)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return !access(path, F_OK);
}

static void good_ones(void **state)
{
        autobuf struct buf go = buf_new(1000);
        char path[128];
        struct err e;

        (void)state;
        kubectl_is("test \"${11}\" = abc123 || exit 9\n" GOOD);
        struct outcome o = converse(2, LONG_MS);
        assert_true(o.whole);
        assert_int_equal(verdict_of(&o, DOCTOR_SESSION, "n1"), DOCTOR_OK);
        assert_int_equal(verdict_of(&o, DOCTOR_SESSION, "n2"), DOCTOR_OK);
        /* an agent speaks of its own node alone */
        assert_int_equal(verdict_of(&o, DOCTOR_LIBVIRT, "n1"), DOCTOR_OK);
        assert_int_equal(verdict_of(&o, DOCTOR_LIBVIRT, "n9"), -1);
        assert_int_equal(o.nclocks, 2);
        assert_true(o.clocks[0].low_us <= o.clocks[0].high_us);
        snprintf(path, sizeof(path), "%s/pod-1.go", folder);
        assert_int_equal(file_read(path, &go, &e), 0);
        assert_string_equal(buf_str(&go), "go default=n1 default=n2\n");
        assert_true(there("pod-1.tidy") && there("pod-2.tidy"));
        arena_free(o.arena);
}

static void hostile_ones(void **state)
{
        static const struct {
                const char *script, *says;
                int64_t ms;
        } ROWS[] = {
                {"exit 3\n", "exit code 3", LONG_MS},
                {"echo 'Error from server (Forbidden): no exec' >&2; exit 1\n", "Forbidden",
                 LONG_MS},
                {"echo 'drover-agent: doctor: not expected, see --help' >&2; exit 2\n",
                 "not expected", LONG_MS},
                {"echo garbage; echo '{\"waiting\":true}'; cat >/dev/null\n", "not understand",
                 300},
                {"echo '{\"finding\":{\"check\":\"x\"}}'; echo '{\"waiting\":true}'\n",
                 "not understand", LONG_MS},
                {"echo '{\"waiting\":true}'; echo '{\"done\":true}'; exit 0\n", "", LONG_MS},
                {"sleep 60\n", "no answer in time", 300},
                {"exec yes\n", "not understand", LONG_MS},
                {"head -c 9000000 /dev/zero | tr '\\0' x\n", "bytes of output", LONG_MS},
                {"echo '{\"waiting\":true}'; exec sleep 60\n", "no answer in time", 300},
                {"kill -9 $$\n", "signal 9", LONG_MS},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                kubectl_is(ROWS[i].script);
                struct outcome o = converse(1, ROWS[i].ms);
                assert_true(o.whole);
                assert_false(o.f.failed);
                if (!strstr(session_says(&o), ROWS[i].says))
                        fail_msg("row %zu says: %s", i, session_says(&o));
                arena_free(o.arena);
        }
}

static void no_program(void **state)
{
        (void)state;
        unlink(program);
        struct outcome o = converse(2, LONG_MS);
        assert_true(o.whole);
        assert_int_equal(verdict_of(&o, DOCTOR_SESSION, "n1"), DOCTOR_FAULT);
        arena_free(o.arena);
}

/* One that hangs takes nothing away from the other. */
static void one_of_two(void **state)
{
        (void)state;
        kubectl_is("test $5 = pod-2 && exit 1\n" GOOD);
        struct outcome o = converse(2, LONG_MS);
        assert_int_equal(verdict_of(&o, DOCTOR_SESSION, "n1"), DOCTOR_OK);
        assert_int_equal(verdict_of(&o, DOCTOR_SESSION, "n2"), DOCTOR_FAULT);
        arena_free(o.arena);
}

/* ^C: what was left in the pools is removed all the same. */
static void interrupted(void **state)
{
        char path[128];

        (void)state;
        snprintf(path, sizeof(path), "%s/pod-1.tidy", folder);
        unlink(path);
        kubectl_is("echo '{\"left\":\"default\"}'\n"
                   "kill -INT $PPID\n"
                   "cat >/dev/null\n"
                   "touch $(dirname $0)/$5.tidy\n");
        struct outcome o = converse(1, LONG_MS);
        assert_false(o.whole);
        assert_true(there("pod-1.tidy"));
        arena_free(o.arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good_ones),   cmocka_unit_test(hostile_ones),
                cmocka_unit_test(no_program),  cmocka_unit_test(one_of_two),
                cmocka_unit_test(interrupted),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
