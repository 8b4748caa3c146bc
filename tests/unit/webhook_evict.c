/* Evictions against an API server: what is asked of it, and the migration that is made. */
#include "webhook/evict.h"

#include "api/codec.h"
#include "kube/io.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/api_text.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POD                                                                                        \
        "{'metadata':{'name':'drover-vm-web-e3','namespace':'shop','labels':{'drover.dev/vm':"     \
        "'web'},'annotations':{'drover.dev/vm-uid':'u1','drover.dev/vm-epoch':'3'}},'spec':{"      \
        "'nodeName':'node1'},'status':{'phase':'Running'}}"
#define OTHER_POD "{'metadata':{'name':'drover-vm-web-e3','namespace':'shop'}}"
#define VM(moving)                                                                                 \
        "{'metadata':{'name':'web','namespace':'shop','uid':'u1'},'spec':{'memory':{'guest':"      \
        "'1Gi'}},'status':{'owner':{'node':'node1','epoch':3},'podName':'drover-vm-web-e3',"       \
        "'migration':{'name':'" moving "'}}}"
#define MOVE(name, phase)                                                                          \
        "{'metadata':{'name':'" name "','namespace':'shop'},'spec':{'vm':'web'},'status':{"        \
        "'phase':'" phase "','source':'node1','target':'node2'}}"

static struct {
        pthread_mutex_t lock;
        struct fake *server;
        struct kube_client *client;
        const char *pod, *vm, *current, *asked; /* NULL: there is none */
        int pod_status, create_status;          /* 0: as it should be */
        int gets, creates;
        int get_ms; /* that an answer takes */
        char created[TEXT_MAX];
} scene = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void answer_get(struct fake_conn *c, const char *target)
{
        const char *text = strstr(target, "/pods/")              ? scene.pod
                           : strstr(target, "/virtualmachines/") ? scene.vm
                           : strstr(target, "/web-3-drain-1")    ? scene.asked
                           : strstr(target, "/web-3-1")          ? scene.current
                                                                 : NULL;
        autobuf struct buf b = buf_new(TEXT_MAX);
        int status = text ? 200 : 404;

        if (strstr(target, "/pods/") && scene.pod_status)
                status = scene.pod_status;
        if (status == 404) {
                char body[1024];
                fake_missing(target, body, sizeof(body));
                fake_answer(c, 404, "", body);
                return;
        }
        quoted(&b, status == 200 ? text : "{'kind':'Status','message':'no'}");
        fake_answer(c, status, "", buf_str(&b));
}

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (scene.get_ms && !fake_sleep(c, scene.get_ms))
                return;
        pthread_mutex_lock(&scene.lock);
        if (!strcmp(r->method, "POST")) {
                scene.creates++;
                snprintf(scene.created, sizeof(scene.created), "%s %s", r->target, r->body);
                fake_answer(c, scene.create_status ? scene.create_status : 201, "",
                            scene.create_status ? "{\"kind\":\"Status\",\"message\":\"no\"}"
                                                : r->body);
        } else {
                scene.gets++;
                answer_get(c, r->target);
        }
        pthread_mutex_unlock(&scene.lock);
}

static int setup(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        scene.pod = POD;
        scene.vm = VM("");
        scene.current = scene.asked = NULL;
        scene.pod_status = scene.create_status = scene.gets = scene.creates = scene.get_ms = 0;
        scene.created[0] = '\0';
        scene.server = fake_start(script, NULL);
        cfg.server = fake_url(scene.server);
        return kube_client_new(&cfg, "drover-test", &scene.client, &e);
}

static int teardown(void **state)
{
        (void)state;
        kube_client_free(scene.client);
        fake_stop(scene.server);
        return 0;
}

static int evicted(bool dry_run, struct arena *a, struct evict_answer *ans, struct err *e)
{
        const struct admission_request req = {.ns = "shop",
                                              .name = "drover-vm-web-e3",
                                              .kind = "Eviction",
                                              .subresource = "eviction",
                                              .dry_run = dry_run};

        return evict(scene.client, &req, a, ans, e);
}

static void judged(bool dry_run, enum evict_verdict want, const char *said)
{
        autoarena struct arena *a = arena_new(TEXT_MAX);
        struct evict_answer ans;
        struct err e;

        assert_int_equal(evicted(dry_run, a, &ans, &e), 0);
        assert_int_equal(ans.verdict, want);
        if (!strstr(ans.message, said))
                fail_msg("\"%s\" does not say \"%s\"", ans.message, said);
}

static void others_are_let_go(void **state)
{
        (void)state;
        scene.pod = NULL;
        judged(false, EVICT_ALLOW, "");
        scene.pod = OTHER_POD;
        judged(false, EVICT_ALLOW, "");
        scene.pod = POD;
        scene.vm = NULL;
        judged(false, EVICT_ALLOW, "");
        assert_int_equal(scene.creates, 0);
}

static void a_guest_is_asked_to_move(void **state)
{
        (void)state;
        judged(false, EVICT_MOVE, "VM shop/web is asked to leave node1");
        assert_int_equal(scene.creates, 1);
        assert_non_null(strstr(scene.created, "/namespaces/shop/virtualmachinemigrations"));
        assert_non_null(strstr(scene.created, "\"name\":\"web-3-drain-1\""));
        assert_non_null(strstr(scene.created, "\"reason\":\"Drain\""));
        assert_non_null(strstr(scene.created, "\"vm\":\"web\""));
        assert_non_null(strstr(scene.created, "\"uid\":\"u1\""));
        scene.create_status = 409; /* another eviction was a moment faster */
        judged(false, EVICT_MOVE, "asked to leave");
        assert_int_equal(scene.creates, 2);
}

static void a_dry_run_makes_nothing(void **state)
{
        (void)state;
        judged(true, EVICT_MOVE, "asked to leave node1");
        assert_int_equal(scene.creates, 0);
}

/* kubectl drain --dry-run=server says so in the eviction, not in the request for it. */
static void a_dry_run_is_known_by_either_word(void **state)
{
        struct admission_request req = {.dry_run = true};
        autojson struct json *eviction = json_new_object();
        struct json *options = json_object_at(eviction, "deleteOptions");

        (void)state;
        assert_true(evict_is_dry_run(&req));
        req = (struct admission_request){.object = eviction};
        assert_false(evict_is_dry_run(&req));
        json_add(json_array_at(options, "dryRun"), json_new_string("All"));
        assert_true(evict_is_dry_run(&req));
}

static void one_under_way_is_waited_for(void **state)
{
        (void)state;
        scene.asked = MOVE("web-3-drain-1", "Copying");
        judged(false, EVICT_WAIT, "web-3-drain-1 is Copying, to node2");
        scene.asked = NULL;
        scene.vm = VM("web-3-1");
        scene.current = MOVE("web-3-1", "Confirming");
        judged(false, EVICT_WAIT, "web-3-1 is Confirming");
        assert_int_equal(scene.creates, 0);
        scene.current = NULL; /* gone since */
        judged(false, EVICT_MOVE, "");
}

static void what_cannot_be_told_is_no_leave(void **state)
{
        autoarena struct arena *a = arena_new(TEXT_MAX), *small = arena_new(64);
        struct evict_answer ans;
        struct err e;

        (void)state;
        scene.pod_status = 403;
        assert_int_not_equal(evicted(false, a, &ans, &e), 0);
        scene.pod_status = 0;
        scene.create_status = 403;
        assert_int_not_equal(evicted(false, a, &ans, &e), 0);
        assert_int_equal(evicted(true, small, &ans, &e), -ENOMEM);
}

/* Each answer comes in good time, all of them together would not. */
static void slow_answers_have_an_end(void **state)
{
        autoarena struct arena *a = arena_new(TEXT_MAX);
        struct mono began = mono_now();
        struct evict_answer ans;
        struct err e;

        (void)state;
        scene.get_ms = 1500;
        assert_int_equal(evicted(false, a, &ans, &e), -ETIMEDOUT);
        assert_int_equal(scene.gets, 3);
        assert_int_equal(scene.creates, 0);
        assert_true(mono_ms_between(began, mono_now()) < 7000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(others_are_let_go),           T(a_guest_is_asked_to_move),
                T(a_dry_run_makes_nothing),     cmocka_unit_test(a_dry_run_is_known_by_either_word),
                T(one_under_way_is_waited_for), T(what_cannot_be_told_is_no_leave),
                T(slow_answers_have_an_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
