/*
 * Places for moves whose write may or may not have been done: against an API server that takes a
 * write and does not say so, or loses it.
 */
#include "core/permits.h"
#include "kube/io.h"
#include "migrator/claims.h"
#include "migrator/metrics.h"
#include "migrator/worker.h"
#include "tests/fake/objects.h"
#include "tests/unit/migrator_scene.h"
#include "tests/unit/oom.h"

#include <errno.h>

#define VMS_PATH  "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachines/"
#define MIGS_PATH "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachinemigrations/"

/* --- the claims themselves, on virtual time */

static struct migration a_migration(const char *rv)
{
        struct migration m = {.meta = {.name = "m", .uid = "u-m", .rv = rv}};

        m.status.source = "";
        m.status.target = "";
        return m;
}

static struct migration taken(const char *rv, enum mig_phase phase)
{
        struct migration m = a_migration(rv);

        m.status.phase = phase;
        m.status.permit = phase < MIG_COPYING;
        m.status.source = "n1";
        m.status.target = phase < MIG_COPYING ? "" : "n2";
        return m;
}

static void a_claim_counts_until_the_truth_is_seen(void **state)
{
        const struct migration seen = a_migration("7"), later = a_migration("8");
        const struct migration next = taken("7", MIG_PENDING), copy = taken("7", MIG_COPYING);
        struct claims *c = claims_new();
        struct mono now = {1000};
        struct claimed out;
        struct err e;

        (void)state;
        assert_ptr_equal(claims_see(c, &seen, now, &out), &seen);
        assert_int_equal(claims_note(c, &next, now, &e), 0);
        const struct migration *m = claims_see(c, &seen, now, &out);
        assert_true(permits_held(m));
        assert_string_equal(m->status.source, "n1");
        assert_int_equal(claims_note(c, &copy, now, &e), 0);
        m = claims_see(c, &seen, now, &out);
        assert_int_equal(m->status.phase, MIG_COPYING);
        assert_string_equal(m->status.target, "n2");
        assert_ptr_equal(claims_see(c, &later, now, &out), &later);
        assert_ptr_equal(claims_see(c, &seen, now, &out), &seen); /* no version comes back */
        claims_free(c);
}

static void a_claim_outlives_a_request_and_no_more(void **state)
{
        const struct migration seen = a_migration("7"), next = taken("7", MIG_PENDING);
        struct claims *c = claims_new();
        struct mono now = {1000};
        struct claimed out;
        struct err e;

        (void)state;
        assert_int_equal(claims_note(c, &next, now, &e), 0);
        assert_true(permits_held(claims_see(c, &seen, mono_add_ms(now, CLAIMS_MS - 1), &out)));
        assert_false(permits_held(claims_see(c, &seen, mono_add_ms(now, CLAIMS_MS), &out)));
        claims_free(c);
}

static void who_takes_nothing_claims_nothing(void **state)
{
        const struct migration seen = a_migration("7"), ended = taken("7", MIG_FAILED);
        struct claims *c = claims_new();
        struct mono now = {1000};
        struct claimed out;
        struct err e;

        (void)state;
        assert_int_equal(claims_note(c, &seen, now, &e), 0);
        assert_int_equal(claims_note(c, &ended, now, &e), 0);
        assert_ptr_equal(claims_see(c, &seen, now, &out), &seen);
        claims_free(c);
}

static void without_memory_nothing_is_claimed(void **state)
{
        const struct migration next = taken("7", MIG_PENDING);
        struct claims *c = claims_new();
        struct mono now = {1000};
        struct err e;

        (void)state;
        for (unsigned long n = 1; n; n++) {
                oom_arm(n);
                int rc = claims_note(c, &next, now, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        break;
                }
                if (rc)
                        assert_int_equal(rc, -ENOMEM);
        }
        claims_free(c);
}

/* --- the migrator, to which the API server does not answer when it gives a place away */

enum fault { ANSWERS, TAKES_AND_CUTS, TAKES_AND_HANGS, LOSES };

static struct {
        struct fake_objects objects;
        struct fake *server;
        struct kube_client *client;
        _Atomic enum fault fault; /* of the next write to the journal of a */
} s;

static void script(struct fake_conn *conn, const struct fake_request *r, void *ctx)
{
        bool status = strstr(r->target, "/status");
        enum fault fault = ANSWERS;

        pthread_mutex_lock(&s.objects.lock);
        if (status && !strncmp(r->target, MIGS_PATH "ma", sizeof(MIGS_PATH "ma") - 1)) {
                fault = s.fault;
                s.fault = ANSWERS;
                s.objects.mute = fault == TAKES_AND_CUTS || fault == TAKES_AND_HANGS;
        }
        pthread_mutex_unlock(&s.objects.lock);
        if (fault != LOSES)
                fake_objects_script(conn, r, ctx);
        if (fault == TAKES_AND_HANGS || fault == LOSES) /* a lost connection is tried anew */
                fake_hang(conn);
        if (fault != ANSWERS)
                fake_close(conn);
}

/* On the server and in the store; takes j. */
static void make(struct kube_store *store, const char *path, struct json *j)
{
        pthread_mutex_lock(&s.objects.lock);
        json_set(s.objects.by_path, path, json_clone(j));
        pthread_mutex_unlock(&s.objects.lock);
        put(store, j);
}

static void beat(const char *node)
{
        char now[RFC3339_MAX];

        rfc3339_format(wall_us(), 1, now);
        struct json *j = object("{'metadata':{'name':'drover-node-%s'},'spec':{'renewTime':'%s'}}",
                                node, now);
        heartbeats_event(scene.heartbeats, KUBE_MODIFIED, j);
        json_free(j);
}

static void add_node(const char *name, const char *domains)
{
        put(scene.hosts, host_json(name, 0, 0, domains));
        put(scene.nodes, object("{'metadata':{'name':'%s','resourceVersion':'%lld','labels':{"
                                "'drover.dev/hypervisor':'true'}}}",
                                name, (long long)next_rv()));
        beat(name);
}

/* A VM on n1, and a user's wish to move it. */
static void add_vm(const char *name)
{
        char path[128];

        snprintf(path, sizeof(path), VMS_PATH "%s", name);
        make(scene.vms, path, vm_json(name, "n1", 1, 0));
        snprintf(path, sizeof(path), MIGS_PATH "m%s", name);
        make(scene.migrations, path,
             object("{'metadata':{'name':'m%s','namespace':'default','uid':'m-m%s',"
                    "'resourceVersion':'%lld','finalizers':['drover.dev/vm'],"
                    "'creationTimestamp':'2026-01-01T00:00:00Z'},"
                    "'spec':{'vm':'%s','reason':'User'}}",
                    name, name, (long long)next_rv(), name));
}

static int setup(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        autobuf struct buf domains = buf_new(4096);
        struct err e;

        (void)state;
        s.fault = ANSWERS;
        fake_objects_init(&s.objects);
        s.objects.rv = 1000;
        s.server = fake_start(script, &s.objects);
        cfg.server = fake_url(s.server);
        assert_int_equal(kube_client_new(&cfg, "test", &s.client, &e), 0);
        s.client->tune.backoff_min_ms = 1;
        s.client->tune.request_ms = 3000;
        scene_make(s.client);
        domain_json(&domains, "a", "Running", 1);
        domain_json(&domains, "b", "Running", 1);
        add_node("n1", buf_str(&domains));
        add_node("n2", "");
        add_vm("a");
        add_vm("b");
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        world_stop(&scene);
        kube_client_free(s.client);
        fake_stop(s.server);
        fake_objects_free(&s.objects);
        return 0;
}

static int turn_of(const char *vm)
{
        const struct actor actor = {&scene, "handle", NULL, 0, NULL};
        const struct permit_limits one = {1, 1};
        char key[64];
        struct err e;

        snprintf(key, sizeof(key), "default/%s", vm);
        return worker_vm(&actor, &one, key, &e);
}

/* By the journal, as the server has it. */
static bool has_permit(const char *vm)
{
        char path[128];

        snprintf(path, sizeof(path), MIGS_PATH "m%s", vm);
        autojson struct json *j = fake_objects_get(&s.objects, path);
        return json_bool(json_get(j, "status"), "permit", false);
}

/* The watch shows the journal of that VM as the server has it. */
static void show(const char *vm)
{
        char path[128];

        snprintf(path, sizeof(path), MIGS_PATH "m%s", vm);
        put(scene.migrations, fake_objects_get(&s.objects, path));
}

/* One place: a has taken it for all that anybody knows. */
static void lost(enum fault fault)
{
        s.fault = fault;
        assert_true(turn_of("a") < 0);
        assert_int_equal(s.fault, ANSWERS);
        assert_int_equal(has_permit("a"), fault != LOSES);
        assert_int_equal(turn_of("b"), 0);
        assert_false(has_permit("b"));
}

static void without_faults_one_has_it(void **state)
{
        (void)state;
        assert_int_equal(turn_of("a"), 0);
        assert_true(has_permit("a"));
        assert_int_equal(turn_of("b"), 0);
        assert_false(has_permit("b"));
}

static void taken_but_not_answered(void **state)
{
        (void)state;
        lost(TAKES_AND_CUTS);
        show("a"); /* it was written */
        assert_int_equal(turn_of("b"), 0);
        assert_false(has_permit("b"));
        assert_int_equal(turn_of("a"), 0);
        assert_true(has_permit("a"));
}

static void taken_and_no_answer_in_time(void **state)
{
        (void)state;
        lost(TAKES_AND_HANGS);
        show("a");
        assert_int_equal(turn_of("b"), 0);
        assert_false(has_permit("b"));
}

/* Nothing was written; a is tried again, and has it. */
static void lost_on_the_way(void **state)
{
        (void)state;
        lost(LOSES);
        assert_int_equal(turn_of("a"), 0);
        assert_true(has_permit("a"));
        assert_int_equal(turn_of("b"), 0);
        assert_false(has_permit("b"));
}

/* The move is over by what is seen next: the place is free, and who waits is told. */
static void the_truth_frees_it(void **state)
{
        char key[KUBE_KEY_MAX];
        bool told = false;

        (void)state;
        lost(TAKES_AND_CUTS);
        while (kube_queue_take(scene.queue, key, 0))
                kube_queue_done(scene.queue, key);
        put(scene.migrations, migration_json("ma", "a", "Succeeded", "n2"));
        while (kube_queue_take(scene.queue, key, 0)) {
                told |= !strcmp(key, "default/b");
                kube_queue_done(scene.queue, key);
        }
        assert_true(told);
        assert_int_equal(turn_of("b"), 0);
        assert_true(has_permit("b"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_claim_counts_until_the_truth_is_seen),
                cmocka_unit_test(a_claim_outlives_a_request_and_no_more),
                cmocka_unit_test(who_takes_nothing_claims_nothing),
                cmocka_unit_test(without_memory_nothing_is_claimed),
                T(without_faults_one_has_it),
                T(taken_but_not_answered),
                T(taken_and_no_answer_in_time),
                T(lost_on_the_way),
                T(the_truth_frees_it),
        };

        metrics_register();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
