/*
 * Mounts that hang, for real: a FUSE server that does not answer holds even killed probes. And
 * what else ails mounts, with the verdict for each.
 */
#include "agent/child.h"
#include "agent/mounts.h"
#include "agent/tool.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "tests/unit/fuse_scene.h"
#include "tests/unit/pool_scene.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A sanitizer makes each probe's start so dear that a hundred leave nothing to other tests. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MANY 20
#endif
#endif
#ifndef MANY
#define MANY 100
#endif
#define WAIT_MS 60000 /* on a machine that is busy with other things */

static struct scene {
        struct agent_config config;
        struct mounts *mounts;
        char root[64], paths[MANY][96], names[MANY][16];
        struct mount_view views[MANY];
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned changes;
} s = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note_change(void *ctx)
{
        (void)ctx;
        pthread_mutex_lock(&s.lock);
        s.changes++;
        pthread_cond_broadcast(&s.changed);
        pthread_mutex_unlock(&s.lock);
}

/* Waits for changes until all n pools have that verdict, NULL: any but that a probe is stuck. */
static void all_are(size_t n, const char *verdict)
{
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += WAIT_MS / 1000;
        for (;;) {
                size_t right = 0;
                pthread_mutex_lock(&s.lock);
                unsigned seen = s.changes;
                pthread_mutex_unlock(&s.lock);
                mounts_view(s.mounts, s.views);
                for (size_t i = 0; i < n; i++)
                        right += verdict ? !strcmp(s.views[i].verdict, verdict) : !s.views[i].stuck;
                if (right == n)
                        return;
                pthread_mutex_lock(&s.lock);
                int rc = 0;
                while (s.changes == seen && !rc)
                        rc = pthread_cond_timedwait(&s.changed, &s.lock, &until);
                pthread_mutex_unlock(&s.lock);
                if (rc)
                        fail_msg("%zu of %zu are %s; the first is %s: %s", right, n,
                                 verdict ? verdict : "released", s.views[0].verdict,
                                 s.views[0].reason);
        }
}

/* Until so many more probes have come to that verdict. */
static void await_probes(const char *verdict, double n)
{
        struct metric *m = metric_counter("drover_mount_probes", "", "verdict");
        double from = metric_get(m, verdict);

        while (metric_get(m, verdict) < from + n)
                poll(NULL, 0, 10);
}

static void make_scene(size_t n, int64_t deadline_ms)
{
        snprintf(s.root, sizeof(s.root), "/tmp/drover-mounts-XXXXXX");
        assert_int_equal(pool_make(s.root), 0);
        s.config = (struct agent_config){.node = "n1",
                                         .npools = n,
                                         .libvirt_run = "/nowhere",
                                         .probe_deadline_ms = deadline_ms,
                                         .health = HEALTH_DEFAULTS};
        s.config.health.period_ms = 200;
        s.config.health.slow_ms = 0;
        for (size_t i = 0; i < n; i++) {
                snprintf(s.names[i], sizeof(s.names[i]), "p%zu", i);
                snprintf(s.paths[i], sizeof(s.paths[i]), "%s/p%zu", s.root, i);
                assert_int_equal(mkdir(s.paths[i], 0755), 0);
                s.config.pools[i] = (struct agent_pool){.name = s.names[i], .path = s.paths[i]};
        }
}

static void begin(void)
{
        struct err e;

        assert_int_equal(mounts_start(&s.config, note_change, NULL, &s.mounts, &e), 0);
}

static void end(void)
{
        mounts_stop(s.mounts);
        mounts_free(s.mounts);
        s.mounts = NULL;
        assert_int_equal(pool_remove(s.root), 0);
}

static size_t entries_of(const char *folder)
{
        size_t n = 0;
        DIR *d = opendir(folder);

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n - 2;
}

static size_t children(void)
{
        char file[64], text[16384] = "";
        size_t n = 0;
        DIR *d = opendir("/proc/self/task");
        struct dirent *entry;

        assert_non_null(d);
        while ((entry = readdir(d))) {
                snprintf(file, sizeof(file), "/proc/self/task/%.20s/children", entry->d_name);
                FILE *f = fopen(file, "re");
                if (!f)
                        continue;
                size_t len = fread(text, 1, sizeof(text) - 1, f);
                fclose(f);
                for (size_t i = 0; i < len; i++)
                        n += text[i] == ' ';
        }
        closedir(d);
        return n;
}

/* --- a hundred that hang */

static void a_hundred_stuck_mounts(void **state)
{
        struct fuse_scene fuse;

        (void)state;
        make_scene(MANY, 3000);
        size_t fds_before = entries_of("/proc/self/fd");
        if (!fuse_scene_mount(&fuse, s.paths[0])) {
                assert_int_equal(pool_remove(s.root), 0);
                skip();
        }
        for (size_t i = 1; i < MANY; i++)
                assert_int_equal(mount(s.paths[0], s.paths[i], NULL, MS_BIND, NULL), 0);
        /* with the server's, and a sanitizer's that comes with the first */
        size_t threads = entries_of("/proc/self/task"), fds = entries_of("/proc/self/fd");
        begin();
        all_are(MANY, "Stuck");
        /* once all are stuck, rounds of probes add nothing */
        for (int round = 0; round < 5; round++) {
                await_probes("Stuck", MANY);
                assert_int_equal(entries_of("/proc/self/task"), threads + 1);
                assert_int_equal(children(), MANY);
                /* an eventfd, the tables of mounts while they are read, and of each child its
                 * pidfd and its pipe */
                assert_in_range(entries_of("/proc/self/fd"), fds, fds + 3 + 2 * MANY);
        }
        mounts_view(s.mounts, s.views);
        assert_true(s.views[MANY - 1].stuck);
        assert_true(*s.views[0].mend);
        print_message("figure stuck_mounts %d\nfigure their_threads %zu\nfigure their_fds %zu\n",
                      MANY, entries_of("/proc/self/task") - threads,
                      entries_of("/proc/self/fd") - fds);
        fuse_scene_end(&fuse); /* the kernel lets go: that is noticed at once */
        all_are(MANY, NULL);
        end();
        assert_int_equal(entries_of("/proc/self/fd"), fds_before);
        while (child_reap()) /* who was slow to die on a busy machine */
                poll(NULL, 0, 10);
        assert_int_equal(children(), 0);
}

static void an_end_does_not_wait_for_each(void **state)
{
        struct fuse_scene fuse;

        (void)state;
        make_scene(20, 3000);
        if (!fuse_scene_mount(&fuse, s.paths[0])) {
                assert_int_equal(pool_remove(s.root), 0);
                skip();
        }
        for (size_t i = 1; i < 20; i++)
                assert_int_equal(mount(s.paths[0], s.paths[i], NULL, MS_BIND, NULL), 0);
        begin();
        all_are(20, "Stuck");
        struct mono start = mono_now();
        mounts_stop(s.mounts);
        mounts_free(s.mounts);
        assert_true(mono_ms_between(start, mono_now()) < 10 * CHILD_KILL_MS);
        assert_int_equal(child_reap(), 20); /* left behind */
        fuse_scene_end(&fuse);
        while (child_reap())
                poll(NULL, 0, 10);
        assert_int_equal(pool_remove(s.root), 0);
}

/* --- verdicts */

static void nothing_mounted(void **state)
{
        char why[320];

        (void)state;
        make_scene(1, 20000);
        begin();
        all_are(1, "NotMounted");
        assert_false(mounts_usable(s.mounts, "p0", why));
        assert_non_null(strstr(why, "nothing is mounted"));
        assert_int_equal(entries_of(s.paths[0]), 0);
        assert_int_equal(mount("pool", s.paths[0], "tmpfs", 0, NULL), 0);
        all_are(1, "Healthy");
        assert_true(mounts_usable(s.mounts, "p0", why));
        assert_string_equal(s.views[0].reason, "");
        assert_string_equal(s.views[0].mend, "");
        assert_true(s.views[0].free_bytes > 0 && s.views[0].latency_us > 0);
        assert_int_equal(umount2(s.paths[0], MNT_DETACH), 0);
        all_are(1, "NotMounted");
        assert_int_equal(entries_of(s.paths[0]), 0);
        end();
}

static void the_wrong_source(void **state)
{
        (void)state;
        make_scene(1, 20000);
        s.config.pools[0].source = "nas:/right/";
        assert_int_equal(mount("nas:/wrong", s.paths[0], "tmpfs", 0, NULL), 0);
        begin();
        all_are(1, "WrongExport");
        assert_int_equal(entries_of(s.paths[0]), 0); /* nothing is written to it */
        assert_non_null(strstr(s.views[0].reason, "nas:/wrong"));
        assert_int_equal(mount("nas:/right", s.paths[0], "tmpfs", 0, NULL), 0);
        all_are(1, "Healthy");
        end();
}

static void another_directory_than_before(void **state)
{
        (void)state;
        make_scene(1, 20000);
        assert_int_equal(mount("one", s.paths[0], "tmpfs", 0, NULL), 0);
        begin();
        all_are(1, "Healthy");
        assert_int_equal(mount("other", s.paths[0], "tmpfs", 0, NULL), 0);
        all_are(1, "WrongExport");
        end();
}

static void read_only_and_full(void **state)
{
        char file[320];

        (void)state;
        make_scene(2, 20000);
        assert_int_equal(mount("ro", s.paths[0], "tmpfs", MS_RDONLY, NULL), 0);
        assert_int_equal(mount("small", s.paths[1], "tmpfs", 0, "size=64k"), 0);
        s.config.health.min_free_bytes = 1 << 20;
        begin();
        all_are(1, "ReadOnly");
        assert_int_equal(mount("fine", s.paths[0], "tmpfs", 0, NULL), 0);
        all_are(1, "Healthy");
        mounts_view(s.mounts, s.views);
        assert_string_equal(s.views[1].verdict, "Full"); /* less than is to be kept free */
        mounts_stop(s.mounts);
        mounts_free(s.mounts);
        s.config.health.min_free_bytes = 0;
        s.config.pools[0] = s.config.pools[1];
        s.config.npools = 1;
        begin();
        all_are(1, "Healthy");
        snprintf(file, sizeof(file), "cat /dev/zero > %s/fill 2>/dev/null; true", s.paths[1]);
        assert_int_equal(system(file), 0); /* NOLINT(cert-env33-c) */
        mounts_stop(s.mounts);
        mounts_free(s.mounts);
        snprintf(file, sizeof(file), "rm -rf %s/.drover; cat /dev/zero > %s/more 2>/dev/null; true",
                 s.paths[1], s.paths[1]);
        assert_int_equal(system(file), 0); /* NOLINT(cert-env33-c) */
        begin();
        all_are(1, "Full");
        end();
}

static void a_slow_one(void **state)
{
        (void)state;
        make_scene(1, 20000);
        assert_int_equal(mount("slow", s.paths[0], "tmpfs", 0, NULL), 0);
        begin();
        all_are(1, "Healthy");
        mounts_stop(s.mounts);
        mounts_free(s.mounts);
        setenv("PROBE_LATENCY_US", "5000000", 1); /* see main */
        s.config.health.slow_ms = 4000;
        begin();
        all_are(1, "Slow");
        unsetenv("PROBE_LATENCY_US");
        end();
}

static void a_probe_that_makes_no_sense(void **state)
{
        (void)state;
        make_scene(1, 20000);
        assert_int_equal(mount("x", s.paths[0], "tmpfs", 0, NULL), 0);
        setenv("PROBE_SAYS", "gibberish", 1);
        begin();
        all_are(1, "ProbeFailed");
        unsetenv("PROBE_SAYS");
        end();
}

/* --- the door itself: what the host has counts, where it is told */

static int enter(const char *path)
{
        const char *const argv[] = {AGENT_SELF, "tool", "have", path, "disks/u/x", NULL};
        struct err e;

        return child_run(argv, 20000, NULL, &e);
}

static void a_door_that_is_shut(void **state)
{
        char file[128], line[256];
        FILE *f;

        (void)state;
        make_scene(1, 20000);
        snprintf(file, sizeof(file), "%s/mountinfo", s.root);
        setenv("HOST_MOUNTINFO", file, 1);
        assert_int_equal(pool_mount(s.paths[0]), 0);
        assert_int_not_equal(enter(s.paths[0]), 0); /* the file is not there: not known */
        f = fopen(file, "we");
        assert_non_null(f);
        fputs("1 0 9:99 / /other rw - ext4 x rw\n", f);
        fclose(f);
        assert_int_not_equal(enter(s.paths[0]), 0); /* nothing there on the host */
        snprintf(line, sizeof(line), "grep ' %s ' /proc/self/mountinfo > %s", s.paths[0], file);
        assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c) */
        assert_int_equal(enter(s.paths[0]), 0);
        unsetenv("HOST_MOUNTINFO");
        assert_int_equal(umount2(s.paths[0], MNT_DETACH), 0);
        assert_int_not_equal(enter(s.paths[0]), 0);
        snprintf(line, sizeof(line), "%s/none", s.root);
        assert_int_not_equal(enter(line), 0);
        assert_int_not_equal(enter("relative"), 0);
        assert_int_equal(pool_remove(s.root), 0);
}

/* A probe as it would be by a slow file system, or by a broken tool. */
static int probe_tool_of_the_test(int argc, char **argv)
{
        const char *latency = getenv("PROBE_LATENCY_US"), *says = getenv("PROBE_SAYS");

        if (argc > 0 && !strcmp(argv[0], "probe") && latency) {
                printf("identity=0123456789abcdef0123456789abcdef latency=%s bytes=1000000000 "
                       "inodes=1000 counted=1\n",
                       latency);
                return 0;
        }
        if (argc > 0 && !strcmp(argv[0], "probe") && says) {
                puts(says);
                return 0;
        }
        return agent_tool(argc, argv);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_hundred_stuck_mounts),
                cmocka_unit_test(an_end_does_not_wait_for_each),
                cmocka_unit_test(nothing_mounted),
                cmocka_unit_test(the_wrong_source),
                cmocka_unit_test(another_directory_than_before),
                cmocka_unit_test(read_only_and_full),
                cmocka_unit_test(a_slow_one),
                cmocka_unit_test(a_probe_that_makes_no_sense),
                cmocka_unit_test(a_door_that_is_shut),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return probe_tool_of_the_test(argc - 2, argv + 2);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
