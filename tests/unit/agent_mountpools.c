/* Pools mounted into another mount namespace, with a tmpfs for NFS; skipped without the right. */
#include "agent/mountinfo.h"
#include "agent/mountpools.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mono.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char root[] = "/tmp/drover-mounts-XXXXXX";
static char file[64], host[32], path_a[96], path_b[96];
static pid_t node; /* holds the mount namespace, 0: there is no right to make one */
static struct mount_pools m;

/* A process in a mount namespace of its own; 0 when that is not allowed. */
static pid_t start_node(void)
{
        int ready[2];
        char c = 0;

        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (!pid) {
                if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
                        _exit(1);
                if (write(ready[1], "x", 1) == 1)
                        pause();
                _exit(1);
        }
        close(ready[1]);
        bool good = read(ready[0], &c, 1) == 1;
        close(ready[0]);
        if (good)
                return pid;
        waitpid(pid, NULL, 0);
        return 0;
}

static int begin(void **state)
{
        (void)state;
        setenv("DROVER_LOG", "error", 1);
        log_init("test");
        if (!mkdtemp(root))
                return -1;
        snprintf(file, sizeof(file), "%s/pools", root);
        snprintf(path_a, sizeof(path_a), "%s/deep/er/a", root);
        snprintf(path_b, sizeof(path_b), "%s/b", root);
        node = start_node();
        snprintf(host, sizeof(host), "/proc/%d", (int)node);
        m = (struct mount_pools){
                .file = file, .host = host, .type = "tmpfs", .text = buf_new(1 << 16)};
        return 0;
}

static int end(void **state)
{
        char command[128];

        (void)state;
        mount_pools_free(&m);
        if (node) {
                kill(node, SIGKILL);
                waitpid(node, NULL, 0);
        }
        snprintf(command, sizeof(command), "rm -rf %s", root);
        return system(command); /* NOLINT(cert-env33-c) */
}

static void configure(const char *text)
{
        struct err e;

        assert_int_equal(file_write(file, text, strlen(text), 0644, &e), 0);
}

/* Steps until nothing is under way that could still change anything. */
static void settle(int64_t now_ms)
{
        bool busy = true;

        for (int i = 0; busy && i < 3000; i++) {
                mount_pools_step(&m, now_ms);
                busy = false;
                for (size_t k = 0; k < m.n; k++)
                        busy |= m.v[k].mounting;
                nanosleep(&(struct timespec){.tv_nsec = busy ? 10000000 : 0}, NULL);
        }
        assert_false(busy);
}

/* How many mounts lie at the path in the node. */
static int mounts_at(const char *path, const char **source)
{
        static struct mount_entry found;
        autobuf struct buf text = buf_new(16 << 20);
        char name[64];
        struct err e;
        int n = 0;

        snprintf(name, sizeof(name), "%s/mountinfo", host);
        assert_int_equal(file_read(name, &text, &e), 0);
        for (const char *p = buf_str(&text); (p = strstr(p, path)); p += strlen(path))
                n += p[strlen(path)] == ' ';
        *source = mountinfo_find(buf_str(&text), path, &found) ? found.source : "";
        return n;
}

static void mounted_once(void **state)
{
        const char *source;
        char text[512];
        struct err e;
        struct mount_entry here;

        (void)state;
        if (!node)
                skip();
        snprintf(text, sizeof(text), "a nas:/a %s\nb nas:/b %s\n", path_a, path_b);
        configure(text);
        settle(1000);
        settle(1000); /* sees what it has done */
        assert_int_equal(mounts_at(path_a, &source), 1);
        assert_string_equal(source, "nas:/a");
        assert_int_equal(mounts_at(path_b, &source), 1);
        assert_string_equal(m.v[0].said, "mounted");
        /* in the node, not here */
        assert_int_equal(mountinfo_read("/proc/self/mountinfo", path_a, &here, &e), -ENODEV);
        for (int64_t now = 10000; now < 60000; now += MOUNTPLAN_PERIOD_MS)
                settle(now);
        assert_int_equal(mounts_at(path_a, &source), 1);
        assert_int_equal(mounts_at(path_b, &source), 1);
}

static void nothing_is_mounted_over(void **state)
{
        const char *source;
        char text[512];

        (void)state;
        if (!node)
                skip();
        snprintf(text, sizeof(text), "a other:/a %s\n", path_a);
        configure(text);
        for (int64_t now = 100000; now < 200000; now += MOUNTPLAN_PERIOD_MS)
                settle(now);
        assert_int_equal(m.n, 1);
        assert_int_equal(mounts_at(path_a, &source), 1);
        assert_string_equal(source, "nas:/a");
        assert_non_null(strstr(m.v[0].said, "nas:/a is mounted there"));
        /* what is no longer wanted stays: guests may use it */
        assert_int_equal(mounts_at(path_b, &source), 1);
}

static void bad_text_changes_nothing(void **state)
{
        (void)state;
        configure("a nas:/a relative\n");
        settle(300000);
        if (!node)
                skip();
        assert_int_equal(m.n, 1);
        assert_string_equal(m.v[0].want.source, "other:/a");
        unlink(file);
        settle(300000);
        assert_int_equal(m.n, 1);
}

/* As when the server is away: later and later, and told. */
static void failures_are_tried_again(void **state)
{
        char text[512];

        (void)state;
        if (!node)
                skip();
        m.type = "no-such-type";
        snprintf(text, sizeof(text), "c nas:/c %s/c\n", root);
        configure(text);
        settle(400000);
        assert_int_equal(m.v[0].failures, 1);
        assert_non_null(strstr(m.v[0].said, "will try again"));
        settle(400000); /* not yet */
        assert_int_equal(m.v[0].failures, 1);
        settle(400000 + mountplan_wait_ms(1));
        assert_int_equal(m.v[0].failures, 2);
        assert_true(m.v[0].next_ms > 400000 + mountplan_wait_ms(1) + MOUNTPLAN_PERIOD_MS / 5);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(mounted_once),
                cmocka_unit_test(nothing_is_mounted_over),
                cmocka_unit_test(bad_text_changes_nothing),
                cmocka_unit_test(failures_are_tried_again),
        };

        if (argc > 1 && !strcmp(argv[1], "mount-pools"))
                return mount_pools_main(argc - 2, argv + 2);
        return cmocka_run_group_tests(tests, begin, end);
}
