#include "agent/child.h"
#include "agent/tool.h"
#include "base/file.h"
#include "base/mono.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t run(struct buf *out, struct err *e, int *rc, int64_t deadline, const char *script)
{
        const char *const argv[] = {"/bin/sh", "-c", script, NULL};
        struct mono start = mono_now();

        *rc = child_run(argv, deadline, out, e);
        return mono_ms_between(start, mono_now());
}

static void output_and_exit_code(void **state)
{
        autobuf struct buf out = buf_new(1000);
        struct err e;
        int rc;

        (void)state;
        run(&out, &e, &rc, 5000, "echo a; echo b >&2");
        assert_int_equal(rc, 0);
        assert_string_equal(buf_str(&out), "a\nb\n");
        run(NULL, &e, &rc, 5000, "echo first; echo why it failed >&2; echo; exit 3");
        assert_int_equal(rc, -EIO);
        assert_string_equal(e.msg, "why it failed");
        run(NULL, &e, &rc, 5000, "exit 3");
        assert_int_equal(rc, -EIO);
        assert_non_null(strstr(e.msg, "exit code 3"));
        run(NULL, &e, &rc, 5000, "kill -9 $$");
        assert_non_null(strstr(e.msg, "signal 9"));
        const char *const missing[] = {"/no/such/program", NULL};
        assert_int_equal(child_run(missing, 1000, NULL, &e), -ENOENT);
}

static void floods_are_bounded(void **state)
{
        struct err e;
        struct child c;
        const char *const argv[] = {"/bin/sh", "-c", "yes | head -c 1000000; exit 4", NULL};

        (void)state;
        assert_int_equal(child_start(&c, argv, &e), 0);
        assert_true(child_wait(&c, 10000));
        assert_true(c.text.len <= CHILD_OUTPUT_MAX);
        assert_int_equal(WEXITSTATUS(c.status), 4);
        child_free(&c);
}

static void deadlines(void **state)
{
        struct err e;
        int rc;

        (void)state;
        /* its own children go with it, and hold nothing up by keeping the pipe */
        int64_t ms = run(NULL, &e, &rc, 200, "sleep 60 & sleep 60");
        assert_int_equal(rc, -ETIMEDOUT);
        assert_true(ms >= 198 && ms < 5000); /* milliseconds are cut off */
        assert_int_equal(child_reap(), 0);
}

static void orphans_do_not_hold_the_pipe(void **state)
{
        autobuf struct buf out = buf_new(1000);
        struct err e;
        int rc;

        (void)state;
        int64_t ms = run(&out, &e, &rc, 10000, "setsid sleep 3 & echo done");
        assert_int_equal(rc, 0);
        assert_true(ms < 2500);
}

/* A child that does not end by SIGKILL cannot be made here; one that was not waited for is like it.
 */
static void what_is_left_behind_is_reaped(void **state)
{
        const char *const argv[] = {"/bin/sleep", "60", NULL};
        struct child c;
        struct err e;

        (void)state;
        assert_int_equal(child_start(&c, argv, &e), 0);
        assert_false(child_wait(&c, 0));
        child_free(&c);
        assert_int_equal(child_reap(), 0);
        child_free(&c); /* twice is fine */
}

/* --- the tools */

static char pool[64];

static int tool(struct buf *out, struct err *e, const char *verb, const char *a, const char *b,
                const char *c)
{
        const char *const argv[] = {AGENT_SELF, "tool", verb, pool, a, b, c, NULL};

        if (out)
                buf_reset(out);
        return child_run(argv, 20000, out, e);
}

static int make_pool(void **state)
{
        (void)state;
        snprintf(pool, sizeof(pool), "/tmp/drover-tool-XXXXXX");
        return pool_make(pool);
}

static int remove_pool(void **state)
{
        (void)state;
        return pool_remove(pool);
}

static const char *in_pool(const char *name)
{
        static char path[16][256];
        static int i;

        i = (i + 1) % 16;
        snprintf(path[i], sizeof(path[i]), "%s/%s", pool, name);
        return path[i];
}

static void probe(void **state)
{
        autobuf struct buf one = buf_new(1000), two = buf_new(1000);
        char id1[40], id2[40];
        struct err e;

        (void)state;
        assert_int_equal(tool(&one, &e, "probe", "n1", NULL, NULL), 0);
        assert_int_equal(tool(&two, &e, "probe", "n2", NULL, NULL), 0);
        assert_int_equal(sscanf(buf_str(&one), "identity=%39s latency=", id1), 1);
        assert_int_equal(sscanf(buf_str(&two), "identity=%39s latency=", id2), 1);
        assert_string_equal(id1, id2); /* both see the same directory */
        assert_int_equal(strlen(id1), 32);
        assert_int_equal(access(in_pool(".drover/probe-n1"), F_OK), 0);
        assert_int_equal(access(in_pool(".drover/probe-n2"), F_OK), 0);

        assert_int_equal(file_write(in_pool(".drover/identity"), "junk", 4, 0644, &e), 0);
        assert_int_equal(tool(&one, &e, "probe", "n1", NULL, NULL), -EIO);
        assert_non_null(strstr(e.msg, "IOError .drover/identity is not an identity"));
        assert_int_equal(unlink(in_pool(".drover/identity")), 0);
        assert_int_equal(unlink(in_pool(".drover/probe-n1")), 0);
        /* a link laid in the way is not followed */
        assert_int_equal(symlink("/tmp/drover-elsewhere", in_pool(".drover/probe-n1")), 0);
        assert_int_equal(tool(NULL, &e, "probe", "n1", NULL, NULL), -EIO);
        assert_int_equal(access("/tmp/drover-elsewhere", F_OK), -1);
}

static void seed(void **state)
{
        autobuf struct buf iso = buf_new(4 << 20);
        struct err e;

        (void)state;
        if (access("/usr/bin/genisoimage", X_OK))
                skip();
        assert_int_equal(mkdir(in_pool("in"), 0755), 0);
        assert_int_equal(file_write(in_pool("in/meta-data"), "some-words", 10, 0644, &e), 0);
        for (int i = 0; i < 2; i++) /* made anew each time */
                assert_int_equal(tool(NULL, &e, "seed", "seeds/u/c.iso", in_pool("in"), NULL), 0);
        assert_int_equal(file_read(in_pool("seeds/u/c.iso"), &iso, &e), 0);
        assert_non_null(memmem(iso.data, iso.len, "cidata", 6));
        assert_non_null(memmem(iso.data, iso.len, "some-words", 10));
}

static void wrong_verbs(void **state)
{
        struct err e;

        (void)state;
        assert_int_equal(tool(NULL, &e, "dance", "x", NULL, NULL), -EIO);
        assert_int_equal(tool(NULL, &e, "probe", NULL, NULL, NULL), -EIO);
        assert_int_equal(tool(NULL, &e, "blank", "no-folder", "1", NULL), -EIO);
        assert_int_equal(tool(NULL, &e, "blank", "/tmp/absolute", "1", NULL), -EIO);
        assert_int_equal(tool(NULL, &e, "blank", "disks/../../elsewhere/x", "1", NULL), -EIO);
        assert_int_equal(access(in_pool("../elsewhere"), F_OK), -1);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(output_and_exit_code),
                cmocka_unit_test(floods_are_bounded),
                cmocka_unit_test(deadlines),
                cmocka_unit_test(orphans_do_not_hold_the_pipe),
                cmocka_unit_test(what_is_left_behind_is_reaped),
                cmocka_unit_test_setup_teardown(probe, make_pool, remove_pool),
                cmocka_unit_test_setup_teardown(seed, make_pool, remove_pool),
                cmocka_unit_test_setup_teardown(wrong_verbs, make_pool, remove_pool),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
