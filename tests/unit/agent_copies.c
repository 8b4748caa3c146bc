/*
 * The target's side of disks that come along, on a pool that is a mount of the test's own,
 * libvirt's test driver and an API server of the test's: files are made where there were none, and
 * what moves have left is removed on the word of fresh objects alone.
 */
#include "agent/copies.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "kube/config.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UID "5a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a01"
#define MIG "6a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a02"

static struct scene {
        struct agent a;
        struct fake *server;
        char pool[64], identity[MOUNT_IDENTITY_MAX];
        char vm[2048], migration[2048];
} s;

/* Between the test and the server's threads: vm, migration. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const char *item = NULL;
        char body[5000];
        int status = 200;

        (void)ctx;
        pthread_mutex_lock(&lock);
        if (strstr(r->target, "/virtualmachinemigrations/"))
                item = s.migration;
        else if (strstr(r->target, "/virtualmachines/"))
                item = s.vm;
        if (item && !*item) {
                fake_missing(r->target, body, sizeof(body));
                status = 404;
        } else if (item) {
                snprintf(body, sizeof(body), "%s", item);
        } else {
                snprintf(body, sizeof(body),
                         "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%"
                         "s]}",
                         strstr(r->target, "migrations") ? s.migration : s.vm);
        }
        pthread_mutex_unlock(&lock);
        fake_answer(c, status, "", body);
}

static int64_t no_work(void *ctx, const char *key)
{
        (void)ctx;
        (void)key;
        return WORK_DONE;
}

static void quiet(void *ctx)
{
        (void)ctx;
}
static void quiet_lost(void *ctx, const char *why)
{
        (void)ctx;
        (void)why;
}
static void quiet_event(void *ctx, const char *uuid, int event, int detail)
{
        (void)ctx;
        (void)uuid;
        (void)event;
        (void)detail;
}
static void quiet_iteration(void *ctx, const char *uuid, int iteration)
{
        (void)ctx;
        (void)uuid;
        (void)iteration;
}

static int begin(void **state)
{
        const struct virt_hooks hooks = {quiet, quiet_lost, quiet_event, quiet_iteration, NULL};
        struct kube_config cfg = {.server = NULL, .ns = "default"};
        struct err e;

        (void)state;
        memset(&s, 0, sizeof(s));
        snprintf(s.pool, sizeof(s.pool), "/tmp/agent_copies.XXXXXX");
        if (pool_make(s.pool))
                return -1;
        s.server = fake_start(script, NULL);
        cfg.server = fake_url(s.server);
        s.a.config =
                (struct agent_config){.node = "n2",
                                      .pools = {{.name = "scratch", .path = s.pool, .local = true}},
                                      .npools = 1,
                                      .probe_deadline_ms = 20000,
                                      .disk_deadline_s = 60,
                                      .libvirt_run = "/nowhere"};
        s.a.synced = true;
        s.a.table = table_new();
        s.a.copies = copies_new();
        s.a.work = work_new(1, no_work, NULL);
        if (kube_client_new(&cfg, "test", &s.a.kube, &e) ||
            mounts_start(&s.a.config, quiet, NULL, &s.a.mounts, &e) ||
            virt_start("test:///default", &hooks, &s.a.virt, &e)) {
                print_error("%s\n", e.msg);
                return -1;
        }
        for (int i = 0; i < 2000 && (!virt_connected(s.a.virt) || !*s.identity); i++) {
                mounts_identity(s.a.mounts, "scratch", s.identity);
                usleep(10000);
        }
        return virt_connected(s.a.virt) && *s.identity ? 0 : -1;
}

static int finish(void **state)
{
        (void)state;
        virt_stop(s.a.virt);
        work_free(s.a.work, 5000);
        mounts_stop(s.a.mounts);
        mounts_free(s.a.mounts);
        kube_client_free(s.a.kube);
        fake_stop(s.server);
        copies_free(s.a.copies);
        table_free(s.a.table);
        return pool_remove(s.pool);
}

/* --- what the API server says */

static void vm_is(const char *owner, const char *home, const char *identity, const char *how)
{
        pthread_mutex_lock(&lock);
        snprintf(s.vm, sizeof(s.vm),
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"" UID "\"},"
                 "\"spec\":{\"memory\":{\"guest\":\"64Mi\"},\"migration\":{\"storage\":\"%s\"}},"
                 "\"status\":{\"owner\":{\"node\":\"%s\",\"epoch\":3},\"storageNode\":\"%s\","
                 "\"pools\":{\"scratch\":\"%s\"}}}",
                 how, owner, home, identity);
        pthread_mutex_unlock(&lock);
}

static void migration_is(const char *phase, const char *disks)
{
        pthread_mutex_lock(&lock);
        snprintf(s.migration, sizeof(s.migration),
                 "{\"metadata\":{\"name\":\"web-3-1\",\"namespace\":\"ns\",\"uid\":\"" MIG "\"},"
                 "\"spec\":{\"vm\":\"web\"},\"status\":{\"phase\":\"%s\",\"source\":\"n1\","
                 "\"target\":\"n2\",\"epoch\":3,\"vmUID\":\"" UID "\","
                 "\"transfer\":{\"state\":\"Running\",\"disks\":[%s]}}}",
                 phase, disks);
        pthread_mutex_unlock(&lock);
}

#define DATA "{\"target\":\"vda\",\"pool\":\"scratch\",\"name\":\"data\",\"size\":1048576}"
#define MORE "{\"target\":\"vdb\",\"pool\":\"scratch\",\"name\":\"more\",\"size\":2097152}"

static bool there(const char *name)
{
        char path[300];

        snprintf(path, sizeof(path), "%s/disks/" UID "/%s", s.pool, name);
        return access(path, F_OK) == 0;
}

static void put(const char *name)
{
        char command[400];

        snprintf(command, sizeof(command),
                 "mkdir -p %s/disks/" UID " && echo precious > %s/disks/" UID "/%s", s.pool, s.pool,
                 name);
        assert_int_equal(system(command), 0);
}

/* What the node's VirtualMachineHost says of the move; "-": nothing. */
static const char *word(void)
{
        static char text[600];
        autoarena struct arena *a = arena_new(65536);
        struct host_prepared *v;
        size_t n;

        assert_int_equal(copies_view(&s.a, a, &v, &n), 0);
        snprintf(text, sizeof(text), "%s", n ? v[0].refused : "-");
        if (n)
                assert_string_equal(v[0].migration, MIG);
        return text;
}

/* --- files for what arrives */

static void files_are_made_where_none_were(void **state)
{
        (void)state;
        vm_is("n1", "n1", "another", "Copy");
        migration_is("Copying", DATA "," MORE);
        assert_string_equal(word(), "-");
        assert_int_equal(prepare_work(&s.a, "ns/web-3-1"), WORK_DONE);
        assert_string_equal(word(), "");
        assert_true(there("data.qcow2") && there("more.qcow2"));
        assert_int_equal(prepare_work(&s.a, "ns/web-3-1"), WORK_DONE); /* once is enough */
        assert_string_equal(word(), "");
}

static void one_in_the_way_is_not_touched(void **state)
{
        char command[300];

        (void)state;
        put("more.qcow2");
        vm_is("n1", "n1", "another", "Copy");
        migration_is("Copying", DATA "," MORE);
        prepare_work(&s.a, "ns/web-3-1");
        assert_non_null(strstr(word(), "more.qcow2 is there already"));
        snprintf(command, sizeof(command), "grep -q precious %s/disks/" UID "/more.qcow2", s.pool);
        assert_int_equal(system(command), 0);
}

static void what_is_refused(void **state)
{
        static const struct {
                const char *phase, *how, *identity, *disks, *says;
        } ROWS[] = {
                {"Preflight", "Copy", "another", DATA, "-"},
                {"Cancelled", "Copy", "another", DATA, "-"},
                {"Copying", "Copy", "another", "", "-"},
                {"Copying", "Shared", "another", DATA, "does not ask for its disks"},
                {"Copying", "Copy", "", DATA, "does not say in which directory"},
                {"Copying", "Copy", NULL, DATA, "is the very directory"},
                {"Copying", "Copy", "another",
                 "{\"target\":\"vda\",\"pool\":\"scratch\",\"name\":\"../x\",\"size\":1048576}",
                 "is no disk"},
                {"Copying", "Copy", "another",
                 "{\"target\":\"vda\",\"pool\":\"scratch\",\"name\":\"data\",\"size\":0}",
                 "is no disk"},
                {"Copying", "Copy", "another",
                 "{\"target\":\"vda\",\"pool\":\"other\",\"name\":\"data\",\"size\":1048576}",
                 "pool other is not healthy"},
        };
        const struct migration over = {.meta.uid = MIG, .status.phase = MIG_FAILED};

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                vm_is("n1", "n1", ROWS[i].identity ? ROWS[i].identity : s.identity, ROWS[i].how);
                migration_is(ROWS[i].phase, ROWS[i].disks);
                prepare_work(&s.a, "ns/web-3-1");
                if (!strstr(word(), ROWS[i].says))
                        fail_msg("row %zu: %s", i, word());
                assert_false(there(""));
                copies_arriving(&s.a, &over);
                assert_string_equal(word(), "-");
        }
        pthread_mutex_lock(&lock);
        *s.vm = '\0';
        pthread_mutex_unlock(&lock);
        migration_is("Copying", DATA);
        prepare_work(&s.a, "ns/web-3-1");
        assert_non_null(strstr(word(), "the VM is gone"));
}

/* --- what is left over */

static void left_over_beyond_doubt(void **state)
{
        static const struct {
                const char *owner, *home, *identity, *phase;
                bool goes;
        } ROWS[] = {
                {"n1", "n1", "another", "Failed", true},
                {"", "n1", "another", "Succeeded", true},
                {"n1", "n1", "another", "Copying", false},
                {"n1", "n1", "another", "Unknown", false},
                {"n1", "n1", NULL, "Failed", false},
                {"n1", "n1", "", "Failed", false},
                {"n1", "", "another", "Failed", false},
                {"n2", "n2", "another", "Failed", false},
                {"", "n2", "another", "Failed", false},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                put("data.qcow2");
                vm_is(ROWS[i].owner, ROWS[i].home, ROWS[i].identity ? ROWS[i].identity : s.identity,
                      "Copy");
                migration_is(ROWS[i].phase, DATA);
                assert_int_equal(stale_work(&s.a, ""), WORK_DONE);
                if (there("data.qcow2") == ROWS[i].goes)
                        fail_msg("row %zu", i);
        }
        put("data.qcow2"); /* nothing is known of a VM that is not there */
        pthread_mutex_lock(&lock);
        *s.vm = *s.migration = '\0';
        pthread_mutex_unlock(&lock);
        stale_work(&s.a, "");
        assert_true(there("data.qcow2"));
        s.a.synced = false;
        vm_is("n1", "n1", "another", "Copy");
        assert_true(stale_work(&s.a, "") > 0);
        assert_true(there("data.qcow2"));
}

/* Links to elsewhere, and another file system in the pool: whose that is nobody knows. */
static void only_in_the_pools_own_file_system(void **state)
{
        static const char *const MAKE[] = {
                "mkdir -p else/" UID " && echo precious > else/" UID "/data.qcow2 && "
                "ln -s else disks",
                "mkdir -p disks else && echo precious > else/data.qcow2 && ln -s ../else "
                "disks/" UID,
                "mkdir -p disks && mount -t tmpfs tmpfs disks && mkdir disks/" UID " && "
                "echo precious > disks/" UID "/data.qcow2",
        };
        char command[600];

        (void)state;
        vm_is("n1", "n1", "another", "Copy");
        for (size_t i = 0; i < countof(MAKE); i++) {
                snprintf(command, sizeof(command), "cd %s && %s", s.pool, MAKE[i]);
                assert_int_equal(system(command), 0);
                assert_true(stale_work(&s.a, "") > 0);
                assert_true(there("data.qcow2"));
                snprintf(command, sizeof(command),
                         "cd %s && { umount disks 2>/dev/null ; rm -rf disks else ; }", s.pool);
                assert_int_equal(system(command), 0);
        }
}

/* It is looked at again until it is gone. */
static void not_while_its_domain_is_here(void **state)
{
        virConnectPtr c = virConnectOpen("test:///default");
        autodomain virDomainPtr d = NULL;

        (void)state;
        d = virDomainCreateXML(c,
                               "<domain type='test'><name>ns_web</name><uuid>" UID
                               "</uuid><memory>1024</memory><os><type>hvm</type></os></domain>",
                               0);
        assert_non_null(d);
        put("data.qcow2");
        vm_is("n1", "n1", "another", "Copy");
        assert_true(stale_work(&s.a, "") > 0);
        assert_true(there("data.qcow2"));
        virDomainDestroy(d);
        assert_int_equal(stale_work(&s.a, ""), WORK_DONE);
        assert_false(there("data.qcow2"));
        virConnectClose(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                T(files_are_made_where_none_were),
                T(one_in_the_way_is_not_touched),
                T(what_is_refused),
                T(left_over_beyond_doubt),
                T(only_in_the_pools_own_file_system),
                T(not_while_its_domain_is_here),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        setenv("DROVER_LOG", "none", 1);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
