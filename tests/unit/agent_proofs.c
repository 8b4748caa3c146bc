/*
 * The proof of sharedness with real files, locks and processes: the agents' parts of two nodes on
 * one file system, and on a copy of it that is kept in step.
 */
#include "agent/child.h"
#include "agent/files.h"
#include "agent/proofs.h"
#include "agent/tool.h"
#include "agent/words.h"
#include "base/file.h"
#include "tests/unit/oom.h"
#include "tests/unit/pool_scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WAIT_S 60

/* Signalled by the proofs of either node. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;

struct side {
        struct agent_config config;
        char path[64];
        struct mounts *mounts;
        struct proofs *proofs;
        bool is_mount;
};
static struct side sides[2];

static void tell(void *ctx)
{
        (void)ctx;
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&news);
        pthread_mutex_unlock(&lock);
}

static void mounts_news(void *ctx)
{
        struct side *s = ctx;

        proofs_nudge(__atomic_load_n(&s->proofs, __ATOMIC_ACQUIRE));
}

static void make_pool(struct side *s)
{
        snprintf(s->path, sizeof(s->path), "/tmp/agent_proofs.XXXXXX");
        assert_non_null(mkdtemp(s->path));
        assert_int_equal(mount("pool", s->path, "tmpfs", 0, NULL), 0);
        s->is_mount = true;
}

static void start(struct side *s, const char *node)
{
        struct proofs *p;
        struct err e;

        s->config = (struct agent_config){.node = node,
                                          .pools = {{.name = "default", .path = s->path}},
                                          .npools = 1,
                                          .libvirt_run = "/nowhere",
                                          .probe_deadline_ms = 20000};
        assert_int_equal(mounts_start(&s->config, mounts_news, s, &s->mounts, &e), 0);
        assert_int_equal(proofs_start(&s->config, s->mounts, tell, NULL, &p, &e), 0);
        __atomic_store_n(&s->proofs, p, __ATOMIC_RELEASE);
        proofs_nudge(p);
}

static void end(struct side *s)
{
        struct proofs *p = s->proofs;

        if (!p)
                return;
        proofs_stop(p);
        mounts_stop(s->mounts);
        mounts_free(s->mounts);
        proofs_free(p);
        s->proofs = NULL;
}

static int finish(void **state)
{
        (void)state;
        for (int i = 0; i < 2; i++) {
                end(&sides[i]);
                if (sides[i].is_mount) {
                        umount2(sides[i].path, MNT_DETACH);
                        rmdir(sides[i].path);
                }
                sides[i] = (struct side){0};
        }
        return 0;
}

/* Waits until one node says that of the other. */
static void until(struct side *s, enum sharing want, const char *reason)
{
        struct timespec end;
        struct host_peer said = {0};
        bool found = false;

        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += WAIT_S;
        pthread_mutex_lock(&lock);
        for (int rc = 0; !found && !rc;) {
                autoarena struct arena *a = arena_new(1 << 20);
                struct proof_view v;

                assert_int_equal(proofs_view(s->proofs, a, &v), 0);
                found = v.n == 1 && v.peers[0].state == want && strstr(v.peers[0].reason, reason);
                said.state = v.n ? v.peers[0].state : SHARING_UNKNOWN;
                if (!found)
                        rc = pthread_cond_timedwait(&news, &lock, &end);
        }
        pthread_mutex_unlock(&lock);
        if (!found)
                fail_msg("%s says %s, not %s", s->config.node, sharing_name(said.state),
                         sharing_name(want));
}

static void shared_when_it_is_one_directory(void **state)
{
        char why[320];
        bool locks;

        (void)state;
        make_pool(&sides[0]);
        memcpy(sides[1].path, sides[0].path, sizeof(sides[1].path));
        start(&sides[0], "n1");
        start(&sides[1], "n2");
        until(&sides[0], SHARING_SHARED, "");
        until(&sides[1], SHARING_SHARED, "");
        assert_true(proofs_shared(sides[0].proofs, "default", "n2", &locks, why));
        assert_true(locks);
        assert_false(proofs_shared(sides[0].proofs, "default", "n3", &locks, why));
        assert_non_null(strstr(why, "no word of it was ever here"));
        assert_false(proofs_shared(sides[0].proofs, "other", "n2", &locks, why));
        end(&sides[1]); /* its words end, and the evidence with them */
        until(&sides[0], SHARING_UNKNOWN, "no new word");
        assert_false(proofs_shared(sides[0].proofs, "default", "n2", &locks, why));
        start(&sides[1], "n2");
        until(&sides[0], SHARING_SHARED, "");
}

/* --- a copy in step: each side's words appear in the other within milliseconds */

static bool syncing;

static void copy_file(const char *from, const char *to, const char *name)
{
        autobuf struct buf b = buf_new(4096);
        char path[256];
        struct err e;

        snprintf(path, sizeof(path), "%s/.drover/%s", from, name);
        if (file_read(path, &b, &e))
                return;
        snprintf(path, sizeof(path), "%s/.drover/words", to);
        (void)mkdir(path, 0755);
        snprintf(path, sizeof(path), "%s/.drover/%s", to, name);
        int fd = open(path, O_WRONLY | O_CREAT, 0644);
        if (fd < 0)
                return;
        assert_int_equal(write(fd, buf_str(&b), b.len), b.len);
        close(fd);
}

static void *sync_both(void *arg)
{
        const struct timespec period = {.tv_nsec = 1000000};

        (void)arg;
        while (__atomic_load_n(&syncing, __ATOMIC_RELAXED)) {
                copy_file(sides[0].path, sides[1].path, "identity");
                copy_file(sides[0].path, sides[1].path, "words/n1");
                copy_file(sides[0].path, sides[1].path, "lock-n1");
                copy_file(sides[1].path, sides[0].path, "words/n2");
                copy_file(sides[1].path, sides[0].path, "lock-n2");
                nanosleep(&period, NULL);
        }
        return NULL;
}

static void a_copy_in_step_is_not_shared(void **state)
{
        pthread_t syncer;
        char path[128];

        (void)state;
        for (int i = 0; i < 2; i++) {
                make_pool(&sides[i]);
                snprintf(path, sizeof(path), "%s/.drover", sides[i].path);
                assert_int_equal(mkdir(path, 0755), 0);
        }
        syncing = true;
        assert_int_equal(pthread_create(&syncer, NULL, sync_both, NULL), 0);
        start(&sides[0], "n1");
        start(&sides[1], "n2");
        until(&sides[0], SHARING_NOT_SHARED, "not refused here");
        until(&sides[1], SHARING_NOT_SHARED, "not refused here");
        __atomic_store_n(&syncing, false, __ATOMIC_RELAXED);
        pthread_join(syncer, NULL);
}

/* --- the words themselves */

static char folder[] = "/tmp/agent_proofs.XXXXXX";

static void leave(const char *name, const char *text)
{
        char path[128];
        struct err e;

        snprintf(path, sizeof(path), "%s/.drover/words/%s", folder, name);
        assert_int_equal(file_write(path, text, strlen(text), 0644, &e), 0);
}

/* What the tool prints for n1. */
static void run_tool(struct buf *out)
{
        const char *const argv[] = {AGENT_SELF,         "tool", "words", folder, "n1",
                                    "0123456789abcdef", "5",    "1",     NULL};
        struct err e;

        buf_reset(out);
        if (child_run(argv, 20000, out, &e))
                fail_msg("%s", e.msg);
}

#define WORD                                                                                       \
        "drover 00112233445566aa 41 "                                                              \
        "1\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"

static void nothing_else_is_believed(void **state)
{
        static const char *const JUNK[] = {
                "", "drover", "drover 0011223344556677 1 1", /* not the size of a word */
                "Drover 00112233445566aa 41 1" /* what follows is padding to the size */
        };
        autobuf struct buf out = buf_new(CHILD_OUTPUT_MAX);
        const char *const argv[] = {AGENT_SELF,         "tool", "words", folder, "n1",
                                    "0123456789abcdef", "5",    "1",     NULL};
        struct sharing_look l;
        char path[128], node[254], padded[65];
        struct err e;

        (void)state;
        assert_non_null(mkdtemp(folder));
        /* a bare directory is none of our pools: nothing is written to it */
        assert_int_not_equal(child_run(argv, 20000, NULL, &e), 0);
        assert_int_equal(rmdir(folder), 0);
        assert_int_equal(mkdir(folder, 0755), 0);
        assert_int_equal(mount("pool", folder, "tmpfs", 0, NULL), 0);
        snprintf(path, sizeof(path), "%s/.drover", folder);
        assert_int_equal(mkdir(path, 0755), 0);
        run_tool(&out);
        assert_string_equal(buf_str(&out), "");
        for (size_t i = 0; i < countof(JUNK); i++) {
                memset(padded, '\n', 64);
                padded[64] = '\0';
                memcpy(padded, JUNK[i], strlen(JUNK[i]));
                leave("n2", i < 3 ? JUNK[i] : padded);
                run_tool(&out);
                assert_string_equal(buf_str(&out), "");
        }
        snprintf(path, sizeof(path), "%s/.drover/words/fifo", folder);
        assert_int_equal(mkfifo(path, 0644), 0); /* would hold whoever opens it */
        snprintf(path, sizeof(path), "%s/.drover/words/n4", folder);
        assert_int_equal(symlink("n2", path), 0);
        assert_int_equal(strlen(WORD), 64);
        leave("n2", WORD);
        leave("Not-A-Node", WORD);
        run_tool(&out);
        assert_string_equal(buf_str(&out), "n2 00112233445566aa 41 1 0\n");
        assert_true(words_line(buf_str(&out), out.len - 1, node, &l));
        assert_string_equal(node, "n2");
        assert_string_equal(l.instance, "00112233445566aa");
        assert_int_equal(l.number, 41);
        assert_true(l.word && l.holds);
        assert_int_equal(l.lock, SHARING_NO_LOCK);
        snprintf(path, sizeof(path), "%s/.drover/words", folder);
        assert_int_equal(remove_matching(path, "", ""), 0);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(umount(folder), 0);
        assert_int_equal(rmdir(folder), 0);
}

static void lines(void **state)
{
        static const char *const BAD[] = {
                "",
                "n2",
                "n2 00112233445566aa 41 1",
                "n2 00112233445566aa 41 1 3",
                "n2 00112233445566aa 41 2 1",
                "n2 00112233445566aa -1 1 1",
                "n2 00112233445566aa 9999999999999999999 1 1",
                "n2 00112233445566AA 41 1 1",
                "n2 0011223344 41 1 1",
                "../n2 00112233445566aa 41 1 1",
                "n2 00112233445566aa 41 1 11",
                " 00112233445566aa 41 1 1",
        };
        static const char GOOD[] = "node-2.lan 00112233445566aa 41 0 2";
        struct sharing_look l = {.number = 77};
        char node[254] = "before", many[600];

        (void)state;
        for (size_t i = 0; i < countof(BAD); i++)
                if (words_line(BAD[i], strlen(BAD[i]), node, &l))
                        fail_msg("%s", BAD[i]);
        memset(many, 'n', sizeof(many));
        assert_false(words_line(many, sizeof(many), node, &l));
        assert_string_equal(node, "before");
        assert_int_equal(l.number, 77);
        assert_true(words_line(GOOD, strlen(GOOD), node, &l));
        assert_string_equal(node, "node-2.lan");
        assert_false(l.holds);
        assert_int_equal(l.lock, SHARING_GRANTED);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(shared_when_it_is_one_directory, finish),
                cmocka_unit_test_teardown(a_copy_in_step_is_not_shared, finish),
                cmocka_unit_test(nothing_else_is_believed),
                cmocka_unit_test(lines),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        setenv("DROVER_LOG", "error", 1);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
