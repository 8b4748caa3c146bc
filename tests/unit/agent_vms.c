/*
 * What the agent does to domains, on libvirt's own test driver (states, metadata, destruction and
 * resumption are real there; starting QEMU and migrating is not) and an API server of the test's.
 */
#include "agent/agent.h"
#include "agent/fresh.h"
#include "agent/holds.h"
#include "agent/moves.h"
#include "agent/pods.h"
#include "agent/starts.h"
#include "agent/vms.h"
#include "base/mono.h"
#include "kube/config.h"
#include "tests/fake/apiserver.h"

#include <dlfcn.h>
#include <errno.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UID   "5a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a01"
#define OTHER "5a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a02"

static struct scene {
        struct agent a;
        struct fake *server;
        struct kube_watch *w[3];
        virConnectPtr libvirt;
        char vm[4096];         /* what GET of the VM answers, "" for 404 */
        const char *no_proof;  /* a 404 that does not say that the VM is gone, NULL: none */
        char migrations[4096]; /* items of the list */
        bool broken;
        atomic_bool io_error; /* whoever is paused is so for an I/O error */
        char order[64];       /* m for a list of migrations, v for a VM */
} s;

/* Between the test and the server's threads: vm, migrations, broken, order. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The test driver knows no I/O errors: in front of libvirt's own. */
int virDomainGetState(virDomainPtr dom, int *state, int *reason, unsigned flags)
{
        int (*libvirts)(virDomainPtr, int *, int *, unsigned);
        void *found = dlsym(RTLD_NEXT, "virDomainGetState");

        memcpy(&libvirts, &found, sizeof(found));
        int rc = libvirts(dom, state, reason, flags);
        if (!rc && *state == VIR_DOMAIN_PAUSED && s.io_error)
                *reason = VIR_DOMAIN_PAUSED_IOERROR;
        return rc;
}

static void note_order(char what)
{
        size_t n = strlen(s.order);

        if (n + 1 < sizeof(s.order))
                s.order[n] = what;
}

/* The answer's status and body to a request. */
static int compose(const char *target, char body[5000])
{
        if (s.broken) {
                snprintf(body, 5000, "{\"kind\":\"Status\",\"code\":403,\"message\":\"no\"}");
                return 403;
        }
        if (s.no_proof && strstr(target, "/virtualmachines/")) {
                snprintf(body, 5000, "%s", s.no_proof);
                return 404;
        }
        if (strstr(target, "/virtualmachines/")) {
                note_order('v');
                snprintf(body, 5000, "%s", s.vm);
                if (!*s.vm)
                        fake_missing(target, body, 5000);
                return *s.vm ? 200 : 404;
        }
        bool migrations = strstr(target, "spec.vm") != NULL;
        if (migrations)
                note_order('m');
        snprintf(body, 5000,
                 "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}",
                 migrations ? s.migrations : "");
        return 200;
}

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        char body[5000];

        (void)ctx;
        if (strstr(r->target, "watch=")) {
                fake_stream(c);
                fake_hang(c);
                return;
        }
        pthread_mutex_lock(&lock);
        int status = compose(r->target, body);
        pthread_mutex_unlock(&lock);
        fake_answer(c, status, "", body);
}

static void set_broken(bool broken)
{
        pthread_mutex_lock(&lock);
        s.broken = broken;
        pthread_mutex_unlock(&lock);
}

static void set_text(char *to, size_t size, const char *text)
{
        pthread_mutex_lock(&lock);
        snprintf(to, size, "%s", text);
        pthread_mutex_unlock(&lock);
}

static void order_is(const char *want)
{
        pthread_mutex_lock(&lock);
        size_t n = strlen(want);
        bool same = *want ? !strncmp(s.order, want, n) : !*s.order;
        pthread_mutex_unlock(&lock);
        assert_true(same);
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
        setenv("DROVER_LOG", "error", 1);
        s.server = fake_start(script, NULL);
        cfg.server = fake_url(s.server);
        s.a.config = (struct agent_config){.node = "n1",
                                           .pools = {{.name = "default", .path = "/no/such/mount"}},
                                           .npools = 1,
                                           .probe_deadline_ms = 1000,
                                           .libvirt_run = "/nowhere",
                                           .console_dir = "/tmp",
                                           .virt_type = "qemu",
                                           .cpu_model = "",
                                           .emulator = ""};
        s.a.virt_type = VIRT_QEMU;
        s.a.synced = true;
        s.a.table = table_new();
        s.a.starts = starts_new();
        s.a.holds = holds_new();
        s.a.work = work_new(2, no_work, NULL);
        if (kube_client_new(&cfg, "test", &s.a.kube, &e) ||
            mounts_start(&s.a.config, quiet, NULL, &s.a.mounts, &e) ||
            vms_start(&s.a, &s.w[0], &e) || pods_start(&s.a, &s.w[1], &e) ||
            moves_start(&s.a, &s.w[2], &e) ||
            virt_start("test:///default", &hooks, &s.a.virt, &e)) {
                print_error("%s\n", e.msg);
                return -1;
        }
        s.libvirt = virConnectOpen("test:///default");
        for (int i = 0; i < 200 && !virt_connected(s.a.virt); i++)
                usleep(10000);
        /* what a test puts into the stores must not be ended by the first list */
        for (size_t i = 0; i < countof(s.w); i++)
                while (!kube_watch_synced(s.w[i]))
                        usleep(1000);
        return s.libvirt && virt_connected(s.a.virt) ? 0 : -1;
}

static int finish(void **state)
{
        static const char *const UIDS[] = {UID, OTHER};

        (void)state;
        for (size_t i = 0; i < 2; i++) {
                autodomain virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, UIDS[i]);
                if (d) {
                        virDomainDestroy(d);
                        virDomainUndefine(d);
                }
        }
        virConnectClose(s.libvirt);
        virt_stop(s.a.virt);
        for (int i = 0; i < 3; i++)
                kube_watch_stop(s.w[i]);
        work_free(s.a.work, 5000);
        mounts_stop(s.a.mounts);
        mounts_free(s.a.mounts);
        moves_stop(s.a.moves);
        kube_store_free(s.a.vms);
        kube_store_free(s.a.pods);
        kube_store_free(s.a.moving);
        kube_client_free(s.a.kube);
        fake_stop(s.server);
        starts_free(s.a.starts);
        holds_free(s.a.holds);
        table_free(s.a.table);
        return 0;
}

/* --- the two sides */

static void set_vm(const char *uid, const char *node, int epoch, const char *spec)
{
        char text[sizeof(s.vm)];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"%s\"},"
                 "\"spec\":{\"memory\":{\"guest\":\"64Mi\"}%s%s},"
                 "\"status\":{\"owner\":{\"node\":\"%s\",\"epoch\":%d}}}",
                 uid, *spec ? "," : "", spec, node, epoch);
        set_text(s.vm, sizeof(s.vm), text);
}

/* Into the cache, as the watch would. */
static void cache_vm(void)
{
        autojson struct json *j = NULL;
        struct err e;

        assert_int_equal(json_parse(s.vm, strlen(s.vm), 10000, &j, &e), 0);
        kube_store_apply(s.a.vms, j);
}

/* Of the VM with that uid, "" for one that does not say; from n2 to n1, at epoch 2 there. */
static void set_migration_of(const char *vm_uid, const char *phase)
{
        char text[1000];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"web-2-1\",\"namespace\":\"ns\",\"uid\":\"m1\"},"
                 "\"spec\":{\"vm\":\"web\"},\"status\":{\"phase\":\"%s\",\"source\":\"n2\","
                 "\"target\":\"n1\",\"epoch\":2,\"vmUID\":\"%s\"}}",
                 phase, vm_uid);
        set_text(s.migrations, sizeof(s.migrations), text);
}

static void set_migration(const char *phase)
{
        set_migration_of(UID, phase);
}

/* A domain of ours as libvirt would have it; how as domain_is; attrs go into the metadata. */
static void set_domain(const char *uid, int epoch, const char *attrs, char how)
{
        char xml[2000];

        snprintf(xml, sizeof(xml),
                 "<domain type='test'><name>ns_web-%.60s</name><uuid>%.60s</uuid><metadata>"
                 "<drover:vm xmlns:drover='https://drover.dev/v1' namespace='ns' name='web' "
                 "epoch='%d' "
                 "restartedAt=''%.100s/></metadata><memory>65536</memory><os><type>hvm</type></os>"
                 "</domain>",
                 uid, uid, epoch, attrs);
        autodomain virDomainPtr d = virDomainDefineXML(s.libvirt, xml);
        assert_non_null(d);
        if (how != 'S')
                assert_int_equal(virDomainCreate(d), 0);
        if (how == 'P')
                assert_int_equal(virDomainSuspend(d), 0);
        assert_int_equal(domain_work(&s.a, uid), WORK_DONE);
}

/* R running, P paused, S shut off, - not there. */
static char domain_is(const char *uid)
{
        autodomain virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, uid);
        int state = 0, reason;

        if (!d || virDomainGetState(d, &state, &reason, 0))
                return '-';
        return state == VIR_DOMAIN_RUNNING ? 'R' : state == VIR_DOMAIN_PAUSED ? 'P' : 'S';
}

static int64_t work(void)
{
        int64_t r = 1;

        /* a millisecond means: at once, for the next step */
        for (int i = 0; i < 10 && r == 1; i++)
                r = vm_work(&s.a, "ns/web");
        return r;
}

static const char *notice(const char *uid)
{
        static struct table_entry x;

        return table_get(s.a.table, uid, &x) ? x.notice : "none";
}

/* --- stories */

static void a_running_guest_is_adopted(void **state)
{
        (void)state;
        set_vm(UID, "n1", 2, "");
        set_domain(UID, 2, "", 'R');
        cache_vm();
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), 'R');
        order_is(""); /* and costs no request */
}

static void a_stale_domain_goes(void **state)
{
        (void)state;
        set_vm(UID, "n2", 3, "");
        set_domain(UID, 2, "", 'R');
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
        order_is("mv"); /* in this order, or a guest could start twice */
        assert_string_equal(notice(UID), "none");
}

static void but_not_while_it_moves(void **state)
{
        (void)state;
        set_vm(UID, "n2", 3, "");
        set_domain(UID, 2, "", 'R');
        set_migration("Confirming");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
        set_migration("Succeeded");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void and_not_when_the_api_server_does_not_say(void **state)
{
        (void)state;
        set_domain(UID, 2, "", 'R');
        set_broken(true);
        assert_int_equal(work(), WORK_RETRY);
        assert_int_equal(domain_is(UID), 'R');
        set_broken(false);
        set_text(s.vm, sizeof(s.vm),
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\"},\"spec\":7}");
        assert_int_equal(work(), WORK_RETRY);
        assert_int_equal(domain_is(UID), 'R');
        set_vm(UID, "n2", 3, "");
        set_text(s.migrations, sizeof(s.migrations),
                 "{\"spec\":\"what\"}"); /* counts as unfinished */
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
}

static void a_domain_newer_than_its_owner_stays(void **state)
{
        (void)state;
        set_vm(UID, "n2", 2, "");
        set_domain(UID, 3, "", 'R');
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
}

static void a_vm_that_is_gone_takes_its_domain_with_it(void **state)
{
        (void)state;
        set_domain(UID, 2, "", 'R');
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void set_no_proof(const char *body)
{
        pthread_mutex_lock(&lock);
        s.no_proof = body;
        pthread_mutex_unlock(&lock);
}

#define NOT_FOUND(details)                                                                         \
        "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{" details "},\"code\":404}"

static void but_only_when_it_is_the_vm_that_is_missing(void **state)
{
        static const char *const BODIES[] = {
                "404 page not found\n",
                NOT_FOUND(""),
                NOT_FOUND("\"name\":\"ns\",\"kind\":\"namespaces\""),
        };

        (void)state;
        set_domain(UID, 2, "", 'R');
        for (size_t i = 0; i < countof(BODIES); i++) {
                set_no_proof(BODIES[i]);
                assert_int_equal(work(), WORK_RETRY);
                assert_int_equal(domain_is(UID), 'R');
        }
        set_no_proof(NULL);
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void a_vm_made_anew_under_the_name_is_another(void **state)
{
        (void)state;
        set_vm(OTHER, "n1", 1, "");
        set_domain(UID, 2, "", 'R');
        set_domain(OTHER, 1, "", 'R');
        work();
        assert_int_equal(domain_is(UID), '-');
        assert_int_equal(domain_is(OTHER), 'R');
}

static void a_former_vms_journal_holds_nobody_up(void **state)
{
        (void)state;
        set_vm(OTHER, "n2", 3, "");
        set_domain(OTHER, 2, "", 'R');
        set_migration_of("", "Copying"); /* whose it is, it does not say */
        assert_true(work() > 1);
        assert_int_equal(domain_is(OTHER), 'R');
        set_migration_of(OTHER, "Copying");
        assert_true(work() > 1);
        assert_int_equal(domain_is(OTHER), 'R');
        set_migration_of(UID, "Copying");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(OTHER), '-');
}

static void nor_does_the_new_vms_move_save_the_old_ones_domain(void **state)
{
        (void)state;
        set_vm(OTHER, "n2", 2, "");
        set_domain(UID, 3, "", 'R');
        set_migration_of(OTHER, "Copying");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void halted(void **state)
{
        (void)state;
        set_vm(UID, "n1", 2, "\"runStrategy\":\"Halted\"");
        set_domain(UID, 2, "", 'R');
        cache_vm();
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
        assert_string_equal(notice(UID), TABLE_HALTED);
        set_vm(UID, "", 2, "\"runStrategy\":\"Halted\""); /* the owner is let go */
        assert_int_equal(work(), WORK_DONE);
        assert_string_equal(notice(UID), "none");
}

static void set_deleted_vm(void)
{
        set_text(s.vm, sizeof(s.vm),
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"" UID "\","
                 "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{},"
                 "\"status\":{\"owner\":{\"node\":\"n1\",\"epoch\":2}}}");
        cache_vm();
}

/* Whether its guest was there or not, and whatever was said of it before. */
static void a_deleted_vm_is_gone_when_its_disks_are(void **state)
{
        (void)state;
        for (int had_guest = 0; had_guest < 2; had_guest++) {
                s.a.config.npools = 0;
                set_vm(UID, "n1", 2, "\"runStrategy\":\"Halted\"");
                if (had_guest)
                        set_domain(UID, 2, "", 'R');
                cache_vm();
                assert_int_equal(work(), WORK_DONE);
                assert_string_equal(notice(UID), TABLE_HALTED);
                set_deleted_vm();
                s.a.config.npools = 1; /* nothing is mounted there */
                assert_int_equal(work(), WORK_RETRY);
                assert_string_not_equal(notice(UID), TABLE_HALTED);
                assert_string_not_equal(notice(UID), TABLE_ERASED);
                s.a.config.npools = 0;
                assert_int_equal(work(), WORK_DONE);
                assert_string_equal(notice(UID), TABLE_ERASED);
        }
}

static void the_grace_is_kept(void **state)
{
        (void)state;
        s.a.config.stop_grace_s = 60;
        set_vm(UID, "n1", 2, "\"runStrategy\":\"Halted\"");
        set_domain(UID, 2, "", 'R');
        int64_t next = work();
        assert_true(next > 0 && next <= 1000);
        assert_int_equal(domain_is(UID), 'R');
        autodomain virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, UID);
        assert_int_equal(virDomainSuspend(d), 0); /* a guest that stands still cannot be asked */
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

/* Longer and shorter than the agent's own, and changed while the guest shuts down. */
static void the_vms_own_grace_is_kept(void **state)
{
        (void)state;
        s.a.config.stop_grace_s = 0;
        set_vm(UID, "n1", 2, "\"runStrategy\":\"Halted\",\"terminationGracePeriodSeconds\":3600");
        set_domain(UID, 2, "", 'R');
        int64_t next = work();
        assert_true(next > 0 && next <= 1000);
        assert_int_equal(domain_is(UID), 'R');
        s.a.config.stop_grace_s = 60;
        set_vm(UID, "n1", 2, "\"runStrategy\":\"Halted\",\"terminationGracePeriodSeconds\":0");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void a_received_guest_is_resumed_by_its_owner(void **state)
{
        (void)state;
        set_vm(UID, "n2", 2, "");
        set_domain(UID, 3, " incoming='1' migration='m1'", 'P');
        autodomain virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, UID);
        set_migration("Copying");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P'); /* not ours yet */
        set_vm(UID, "n1", 3, "");
        set_migration("Confirming");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), 'R');
        /* and the mark is off: paused again it is a person's doing */
        assert_int_equal(virDomainSuspend(d), 0);
        domain_work(&s.a, UID);
        set_migration("Succeeded");
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), 'P');
}

static void what_a_failed_move_left_is_removed(void **state)
{
        (void)state;
        set_vm(UID, "n2", 2, "");
        set_domain(UID, 3, " incoming='1' migration='m1'", 'P');
        set_migration("Succeeded");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P'); /* the owner is about to follow */
        set_migration("Failed");
        assert_true(work() >= 0);
        assert_int_equal(domain_is(UID), '-');
}

/* Moved here in vain, halted there, to be started here: its memory is older than its disks. */
static void a_guest_left_over_is_never_resumed(void **state)
{
        static const char *const SENT_BY[] = {" incoming='1' migration='m1'",
                                              " incoming='1' migration='m0'", " incoming='1'"};

        (void)state;
        for (size_t i = 0; i < countof(SENT_BY); i++) {
                set_vm(UID, "n2", 2, "");
                set_domain(UID, 3, SENT_BY[i], 'P');
                set_migration("Copying");
                assert_true(work() > 1);
                assert_int_equal(domain_is(UID), 'P'); /* not ours to judge yet */
                set_migration(i == 0 ? "Failed" : "Succeeded");
                set_vm(UID, "n1", 3, "\"disks\":[{\"name\":\"r\",\"blank\":{\"size\":\"1Mi\"}}]");
                cache_vm();
                assert_int_equal(work(), WORK_RETRY); /* gone, and the start waits for the pool */
                assert_int_equal(domain_is(UID), '-');
        }
}

#define A_DISK "\"disks\":[{\"name\":\"root\",\"blank\":{\"size\":\"1Mi\"}}]"

/* It has been seen to stand still for so long that it may be tried again. */
static void stood(void)
{
        starts_forget(s.a.starts, UID);
        (void)starts_retry_wait_ms(s.a.starts, UID, mono_ms(mono_now()) - 10000);
}

/* Stopped by an I/O error at epoch 2, of which node is the owner. */
static virDomainPtr stopped_at(const char *node, const char *attrs, const char *spec)
{
        set_vm(UID, node, 2, spec);
        set_domain(UID, 2, attrs, 'P');
        s.io_error = true;
        domain_work(&s.a, UID);
        return virDomainLookupByUUIDString(s.libvirt, UID);
}

static void an_io_error_is_no_end(void **state)
{
        struct table_entry x;

        (void)state;
        autodomain virDomainPtr d = stopped_at("n1", "", "");
        assert_true(table_get(s.a.table, UID, &x));
        assert_int_equal(x.facts.state, DOMAIN_IO_ERROR);
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P'); /* its pool may be found unhealthy in a moment */
        stood();
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
        assert_int_equal(virDomainSuspend(d), 0); /* and stops again: not in a tight loop */
        domain_work(&s.a, UID);
        int64_t wait = work();
        assert_true(wait > 100 && wait <= 30000);
        assert_int_equal(domain_is(UID), 'P');
        s.io_error = false; /* a person has paused it: that is none of ours */
        domain_work(&s.a, UID);
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), 'P');
}

static void a_move_that_does_not_copy_yet_keeps_it_from_nothing(void **state)
{
        (void)state;
        autodomain virDomainPtr d = stopped_at("n1", "", "");
        (void)d;
        set_migration("Copying");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P'); /* the move's */
        set_migration("Unknown");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P');
        set_migration("Preflight");
        stood();
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
}

static void another_nodes_guest_is_not_resumed(void **state)
{
        (void)state;
        autodomain virDomainPtr d = stopped_at("n2", "", "");
        (void)d;
        stood();
        set_migration("Pending");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P');
}

/* Resumed here, and stopped again before anybody saw it run: its owner's, and not the move's. */
static void nor_is_one_that_has_just_come(void **state)
{
        (void)state;
        set_vm(UID, "n2", 2, "");
        set_domain(UID, 3, " incoming='1' migration='m1'", 'P');
        s.io_error = true;
        domain_work(&s.a, UID);
        stood();
        set_migration("Switching");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P');
        set_vm(UID, "n1", 3, "");
        set_migration("Confirming");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P');
        set_migration("Succeeded");
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
}

static void await_mounts(void)
{
        for (int i = 0; i < 300; i++) { /* until the mount was looked at */
                struct mount_view v;
                mounts_view(s.a.mounts, &v);
                if (v.health != MOUNT_UNKNOWN)
                        break;
                usleep(10000);
        }
}

static void it_waits_for_its_pool(void **state)
{
        (void)state;
        autodomain virDomainPtr d = stopped_at("n1", "", A_DISK);
        (void)d;
        await_mounts();
        stood();
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'P');
}

static void a_start_waits_for_its_pool(void **state)
{
        (void)state;
        set_vm(UID, "n1", 1, A_DISK);
        cache_vm();
        await_mounts();
        assert_int_equal(work(), WORK_RETRY);
        assert_non_null(strstr(notice(UID), "nothing is mounted"));
        assert_int_equal(domain_is(UID), '-');
        set_vm(UID, "n2", 2, ""); /* somebody else's turn: nothing to tell any more */
        assert_int_equal(work(), WORK_DONE);
        assert_string_equal(notice(UID), "none");
}

static void a_strangers_domain_is_left_alone(void **state)
{
        (void)state;
        autodomain virDomainPtr d = virDomainDefineXML(
                s.libvirt, "<domain type='test'><name>theirs</name><uuid>" UID "</uuid>"
                           "<memory>65536</memory><os><type>hvm</type></os></domain>");
        assert_non_null(d);
        set_vm(UID, "n1", 1, "\"runStrategy\":\"Halted\"");
        cache_vm();
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'S');
        assert_non_null(strstr(notice(UID), "not made by Drover"));
}

static void nothing_is_done_before_all_is_known(void **state)
{
        (void)state;
        s.a.synced = false;
        set_vm(UID, "n2", 3, "");
        set_domain(UID, 2, "", 'R');
        assert_true(work() > 1);
        assert_int_equal(domain_is(UID), 'R');
        assert_true(domains_work(&s.a, "") > 0);
        assert_true(s.a.synced);
        assert_int_equal(work(), WORK_DONE);
        assert_int_equal(domain_is(UID), '-');
}

static void a_domain_that_vanished_is_dropped(void **state)
{
        struct table_entry x;

        (void)state;
        set_domain(UID, 2, "", 'S');
        assert_true(table_get(s.a.table, UID, &x));
        autodomain virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, UID);
        virDomainUndefine(d);
        assert_int_equal(domain_work(&s.a, UID), WORK_DONE);
        assert_false(table_get(s.a.table, UID, &x));
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
        const struct CMUnitTest tests[] = {
                STORY(a_running_guest_is_adopted),
                STORY(a_stale_domain_goes),
                STORY(but_not_while_it_moves),
                STORY(and_not_when_the_api_server_does_not_say),
                STORY(a_domain_newer_than_its_owner_stays),
                STORY(a_vm_that_is_gone_takes_its_domain_with_it),
                STORY(but_only_when_it_is_the_vm_that_is_missing),
                STORY(a_vm_made_anew_under_the_name_is_another),
                STORY(a_former_vms_journal_holds_nobody_up),
                STORY(nor_does_the_new_vms_move_save_the_old_ones_domain),
                STORY(halted),
                STORY(a_deleted_vm_is_gone_when_its_disks_are),
                STORY(the_grace_is_kept),
                STORY(the_vms_own_grace_is_kept),
                STORY(a_received_guest_is_resumed_by_its_owner),
                STORY(what_a_failed_move_left_is_removed),
                STORY(a_guest_left_over_is_never_resumed),
                STORY(an_io_error_is_no_end),
                STORY(a_move_that_does_not_copy_yet_keeps_it_from_nothing),
                STORY(another_nodes_guest_is_not_resumed),
                STORY(nor_is_one_that_has_just_come),
                STORY(it_waits_for_its_pool),
                STORY(a_start_waits_for_its_pool),
                STORY(a_strangers_domain_is_left_alone),
                STORY(nothing_is_done_before_all_is_known),
                STORY(a_domain_that_vanished_is_dropped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
