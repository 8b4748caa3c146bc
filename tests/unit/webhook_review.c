#include "webhook/review.h"

#include "api/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/placement.h"
#include "kube/base64.h"
#include "tests/unit/oom.h"
#include "tests/unit/webhook_scene.h"

#include <fcntl.h>
#include <sys/mman.h>

#define MIGRATOR "system:serviceaccount:drover-system:drover-migrator"
#define MUTATE   0
#define VALIDATE 1

static struct webhook hook = {.scheduler = "second"};

/* --- one review */

struct outcome {
        struct http_reply rep;
        struct json *tree; /* the answer */
        const struct json *response, *status;
        bool allowed;
        int code; /* of a denial */
        const char *message;
        struct json *patch; /* NULL: none */
        char *log;          /* lines written meanwhile */
        size_t lines;
};

static void ask_raw(struct outcome *o, int route, const char *body, size_t len)
{
        const struct http_request req = {.method = "POST",
                                         .path = REVIEW_ROUTES[route].path,
                                         .query = "timeout=10s",
                                         .content_type = "application/json",
                                         .body = body,
                                         .body_len = len,
                                         .may_block = true};

        *o = (struct outcome){.rep = {.status = 200,
                                      .content_type = "application/json",
                                      .body = buf_new((size_t)64 << 20)}};
        REVIEW_ROUTES[route].handle(&hook, &req, &o->rep);
}

static void outcome_free(struct outcome *o)
{
        json_free(o->tree);
        json_free(o->patch);
        buf_free(&o->rep.body);
        free(o->log);
}

static struct json *decode_patch(const struct json *response)
{
        autobuf struct buf b = buf_new(SCENE_TEXT);
        const char *text = json_str(response, "patch", NULL);
        struct json *j = NULL;
        struct err e;

        if (!text)
                return NULL;
        assert_string_equal(json_str(response, "patchType", ""), "JSONPatch");
        assert_int_equal(kube_base64_decode(text, &b), 0);
        assert_int_equal(json_parse(b.data, b.len, SCENE_TEXT, &j, &e), 0);
        assert_int_equal(json_type(j), JSON_ARRAY);
        assert_true(json_count(j) > 0); /* an empty one is not sent */
        return j;
}

/* What must be true of every answer with status 200. */
static void read_answer(struct outcome *o, const char *uid)
{
        struct err e;

        assert_int_equal(o->rep.status, 200);
        assert_int_equal(json_parse(o->rep.body.data, o->rep.body.len, SCENE_TEXT, &o->tree, &e),
                         0);
        assert_string_equal(json_str(o->tree, "kind", ""), "AdmissionReview");
        assert_string_equal(json_str(o->tree, "apiVersion", ""), "admission.k8s.io/v1");
        o->response = json_get(o->tree, "response");
        assert_string_equal(json_str(o->response, "uid", ""), uid);
        o->status = json_get(o->response, "status");
        o->allowed = json_bool(o->response, "allowed", false);
        o->code = (int)json_int(o->status, "code", 0);
        o->message = json_str(o->status, "message", "");
        o->patch = decode_patch(o->response);
        if (!o->allowed && (o->code < 400 || !*o->message || o->patch))
                fail_msg("%s", buf_str(&o->rep.body));
}

/* Standard error goes to a file while fn runs. */
static int capture, saved;

static void capture_begin(void)
{
        capture = memfd_create("log", MFD_CLOEXEC);
        saved = dup(STDERR_FILENO);
        dup2(capture, STDERR_FILENO);
}

static void capture_end(struct outcome *o)
{
        off_t len = lseek(capture, 0, SEEK_END);

        dup2(saved, STDERR_FILENO);
        close(saved);
        o->log = calloc(1, (size_t)len + 1);
        assert_int_equal(pread(capture, o->log, (size_t)len, 0), len);
        close(capture);
        for (const char *p = o->log; (p = strchr(p, '\n')); p++)
                o->lines++;
}

/* request: members of the request after uid, with single quotes. */
static void ask(struct outcome *o, int route, const char *request)
{
        autobuf struct buf b = buf_new(TEXT_MAX);

        quoted(&b, "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1','request':{"
                   "'uid':'705ab4f5',");
        autobuf struct buf rest = buf_new(TEXT_MAX);
        quoted(&rest, request);
        buf_addf(&b, "%s}}", buf_str(&rest));
        capture_begin();
        ask_raw(o, route, b.data, b.len);
        capture_end(o);
        read_answer(o, "705ab4f5");
        assert_int_equal(o->lines, !o->allowed); /* one line a denial */
        if (!o->allowed)
                assert_non_null(strstr(o->log, "\"msg\":\"denied\""));
}

#define ON_PODS(operation, user, pod)                                                              \
        "'kind':{'group':'','version':'v1','kind':'Pod'},'resource':{'group':'','version':'v1',"   \
        "'resource':'pods'},'namespace':'shop','operation':'" operation                            \
        "','userInfo':{'username':'" user "'},'object':" pod
#define POD(label, notes)                                                                          \
        "{'metadata':{'name':'p','labels':{" label "},'annotations':{" notes                       \
        "}},'spec':{'containers':[{'name':'handle'}],'schedulerName':'default-scheduler'}}"
#define OF_WEB "'drover.dev/vm':'web'"
#define ON_VMS(operation, object)                                                                  \
        "'kind':{'group':'drover.dev','version':'v1alpha1','kind':'VirtualMachine'},"              \
        "'namespace':'shop','name':'web','operation':'" operation                                  \
        "','userInfo':{'username':'anna'},'object':" object
#define VM(meta, spec)                                                                             \
        "{'metadata':{'name':'web','namespace':'shop'" meta "},'spec':{" spec                      \
        "},'status':{'running':{'cores':1}}}"
#define SPEC "'memory':{'guest':'1Gi'}"

/* --- pods */

static const struct json *operation(const struct json *patch, const char *path)
{
        for (const struct json *c = json_first(patch); c; c = json_next(c))
                if (!strcmp(json_str(c, "path", ""), path))
                        return json_get(c, "value");
        return NULL;
}

static void mutates_a_handle(void **state)
{
        struct outcome o;

        (void)state;
        ask(&o, MUTATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'u1'")));
        assert_true(o.allowed);
        assert_int_equal(json_count(o.patch), 4);
        assert_non_null(operation(o.patch, "/spec/affinity"));
        assert_non_null(operation(o.patch, "/spec/containers/0/resources"));
        assert_non_null(operation(o.patch, "/spec/tolerations"));
        assert_string_equal(json_string(operation(o.patch, "/spec/schedulerName")), "second");
        assert_null(json_get(o.response, "status"));
        outcome_free(&o);
}

/* The pod as the API server has it after the patch passes, and is patched no more. */
static void patched_handle_passes(void **state)
{
        struct json *pod, *spec, *containers;
        autobuf struct buf b = buf_new(SCENE_TEXT);
        autobuf struct buf request = buf_new(TEXT_MAX);
        struct outcome o;

        (void)state;
        ask(&o, MUTATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "")));
        pod = json_of(POD(OF_WEB, ""));
        spec = json_mut(pod, "spec");
        json_set(spec, "affinity", json_clone(operation(o.patch, "/spec/affinity")));
        json_set(spec, "tolerations", json_clone(operation(o.patch, "/spec/tolerations")));
        json_set_str(spec, "schedulerName", "second");
        containers = json_set(spec, "containers", json_new_array());
        containers = json_add(containers, json_new_object());
        json_set(containers, "resources",
                 json_clone(operation(o.patch, "/spec/containers/0/resources")));
        outcome_free(&o);
        json_print(pod, &b);
        json_free(pod);
        buf_addf(&request, ON_PODS("CREATE", MIGRATOR, "%s"), buf_str(&b));
        ask(&o, VALIDATE, buf_str(&request));
        assert_true(o.allowed);
        assert_null(o.patch);
        outcome_free(&o);
        ask(&o, MUTATE, buf_str(&request));
        assert_true(o.allowed);
        assert_null(o.patch);
        outcome_free(&o);
}

static void unpatched_handle_does_not_pass(void **state)
{
        struct outcome o;

        (void)state;
        ask(&o, VALIDATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "")));
        assert_false(o.allowed);
        assert_int_equal(o.code, 422);
        assert_non_null(strstr(o.message, "spec.affinity: does not ask for"));
        outcome_free(&o);
}

/* And does not make the webhook wait for a VM, of whatever name. */
static void pods_of_others_are_refused(void **state)
{
        static const char *const users[] = {"anna", "", "system:admin",
                                            "system:serviceaccount:shop:drover-migrator",
                                            "system:serviceaccount:drover-system:drover-migrator2"};
        struct mono began = mono_now();

        (void)state;
        for (size_t i = 0; i < countof(users); i++)
                for (int route = MUTATE; route <= VALIDATE; route++) {
                        autobuf struct buf b = buf_new(TEXT_MAX);
                        struct outcome o;

                        buf_addf(&b, ON_PODS("CREATE", "%s", POD("'drover.dev/vm':'ghost'", "")),
                                 users[i]);
                        ask(&o, route, buf_str(&b));
                        assert_false(o.allowed);
                        assert_int_equal(o.code, 403);
                        assert_non_null(strstr(o.message, MIGRATOR));
                        assert_non_null(strstr(o.log, "\"code\":\"403\""));
                        outcome_free(&o);
                }
        assert_true(mono_ms_between(began, mono_now()) < 1500);
        assert_int_equal(scene_count(&scene.vm_gets), 0);
}

static void what_is_not_ours_passes(void **state)
{
        static const struct {
                int route;
                const char *request;
        } t[] = {
                {MUTATE, ON_PODS("CREATE", "anna", POD("", ""))},
                {MUTATE, ON_PODS("CREATE", "anna", POD("'app':'web'", ""))},
                {MUTATE, ON_PODS("UPDATE", "anna", POD(OF_WEB, ""))},
                {MUTATE, ON_PODS("CREATE", "anna", POD(OF_WEB, "")) ",'subResource':'binding'"},
                {MUTATE, ON_VMS("CREATE", VM("", SPEC))},
                {VALIDATE, ON_PODS("CREATE", "anna", POD("", ""))},
                {VALIDATE, ON_PODS("DELETE", "anna", "null") ",'oldObject':" POD(OF_WEB, "")},
                {VALIDATE, ON_PODS("CREATE", "anna", POD(OF_WEB, "")) ",'subResource':'eviction'"},
                {VALIDATE, ON_VMS("DELETE", "null")},
                {VALIDATE,
                 ON_VMS("UPDATE", VM("", "'memory':{'guest':'1'}")) ",'subResource':'status'"},
                {VALIDATE, "'kind':{'kind':'Secret'},'operation':'CREATE','object':{}"},
                {VALIDATE, "'operation':'CREATE'"},
                {MUTATE, "'operation':'CREATE'"},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct outcome o;

                ask(&o, t[i].route, t[i].request);
                if (!o.allowed || o.patch)
                        fail_msg("row %zu: %s", i, o.message);
                outcome_free(&o);
        }
}

/* It may come: the migrator has seen it, by another watch than ours. */
static void pod_of_a_vm_not_seen_yet(void **state)
{
        struct outcome o;

        (void)state;
        ask(&o, MUTATE, ON_PODS("CREATE", MIGRATOR, POD("'drover.dev/vm':'ghost'", "")));
        assert_int_equal(o.code, 429);
        assert_string_equal(o.message, "metadata.labels[drover.dev/vm]: VirtualMachine shop/ghost "
                                       "has not been seen yet; try again");
        assert_int_equal(json_int(json_get(o.status, "details"), "retryAfterSeconds", 0), 1);
        outcome_free(&o);
}

/* It will not: what the API server has is another one of that name. */
static void pod_of_a_vm_that_is_gone(void **state)
{
        struct outcome o;

        (void)state;
        scene_set(scene.stored, VM_JSON("web", "u1", "5", "ssd"));
        for (int route = MUTATE; route <= VALIDATE; route++) {
                ask(&o, route,
                    ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'u0'")));
                assert_int_equal(o.code, 422);
                assert_string_equal(o.message, "metadata.labels[drover.dev/vm]: the VirtualMachine "
                                               "shop/web with uid u0 is gone");
                outcome_free(&o);
        }
}

/* Nobody would have asked the scheduler, nor that the extender. */
static void pod_that_names_its_node(void **state)
{
        struct outcome o;

        (void)state;
        for (int route = MUTATE; route <= VALIDATE; route++) {
                ask(&o, route,
                    ON_PODS("CREATE", MIGRATOR,
                            "{'metadata':{'name':'p','labels':{" OF_WEB
                            "}},'spec':{'containers':[{}],'nodeName':'node1'}}"));
                assert_int_equal(o.code, 422);
                assert_non_null(strstr(o.message,
                                       "spec.nodeName: the node of a VM pod is chosen by "
                                       "the scheduler"));
                outcome_free(&o);
        }
}

static void vm_that_cannot_be_told(void **state)
{
        struct outcome o;

        (void)state;
        scene.status = 403;
        for (int route = MUTATE; route <= VALIDATE; route++) {
                ask(&o, route,
                    ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'newer'")));
                assert_int_equal(o.code, 429);
                assert_int_equal(json_int(json_get(o.status, "details"), "retryAfterSeconds", 0),
                                 1);
                outcome_free(&o);
        }
}

/* The pod was made for a state that our watch has not shown yet. */
static void newer_placement_than_the_watch(void **state)
{
        struct json *j = json_of(VM_JSON("web", "u1", "20", "nvme"));
        autobuf struct buf b = buf_new(TEXT_MAX);
        autobuf struct buf text = buf_new(TEXT_MAX);
        struct outcome o;
        char hash[17];
        struct vm *vm;
        struct err e;

        (void)state;
        assert_int_equal(vm_decode(j, &vm, &e), 0);
        placement_hash(vm, hash);
        vm_free(vm);
        json_free(j);
        scene_set(scene.stored, VM_JSON("web", "u1", "20", "nvme"));
        buf_addf(&b,
                 ON_PODS("CREATE", MIGRATOR,
                         POD(OF_WEB, "'drover.dev/vm-uid':'u1','drover.dev/placement':'%s'")),
                 hash);
        ask(&o, MUTATE, buf_str(&b));
        assert_true(o.allowed);
        json_print(operation(o.patch, "/spec/affinity"), &text);
        assert_non_null(strstr(buf_str(&text), "nvme"));
        outcome_free(&o);
}

static void pod_updates(void **state)
{
#define UPDATE(user, pod, was) ON_PODS("UPDATE", user, pod) ",'oldObject':" was
        static const struct {
                const char *request, *words; /* NULL: allowed */
        } t[] = {
                {UPDATE("anna", POD(OF_WEB ",'a':'b'", "'x':'y'"), POD(OF_WEB, "")), NULL},
                {UPDATE("anna", POD("'drover.dev/vm':'other'", ""), POD(OF_WEB, "")),
                 "metadata.labels[drover.dev/vm]"},
                {UPDATE("anna", POD("", ""), POD(OF_WEB, "")), "metadata.labels[drover.dev/vm]"},
                {UPDATE("anna", POD(OF_WEB, ""), POD("", "")), "metadata.labels[drover.dev/vm]"},
                {UPDATE(MIGRATOR, POD(OF_WEB, ""), POD("", "")), "metadata.labels[drover.dev/vm]"},
                {UPDATE("anna", POD(OF_WEB, "'drover.dev/vm-epoch':'2'"),
                        POD(OF_WEB, "'drover.dev/vm-epoch':'1'")),
                 "metadata.annotations[drover.dev/vm-epoch]: only "},
                {UPDATE("anna", POD(OF_WEB, ""), POD(OF_WEB, "'drover.dev/vm-uid':'u1'")),
                 "metadata.annotations[drover.dev/vm-uid]"},
                {UPDATE("anna", POD(OF_WEB, "'drover.dev/migration':'m'"), POD(OF_WEB, "")),
                 "metadata.annotations[drover.dev/migration]"},
                {UPDATE("anna", POD(OF_WEB, "'drover.dev/placement':'m'"), POD(OF_WEB, "")),
                 "metadata.annotations[drover.dev/placement]"},
                {UPDATE("anna", POD(OF_WEB, "'drover.dev/vm-labels':'a'"), POD(OF_WEB, "")),
                 "metadata.annotations[drover.dev/vm-labels]"},
                {UPDATE(MIGRATOR, POD(OF_WEB, "'drover.dev/vm-epoch':'2'"),
                        POD(OF_WEB, "'drover.dev/vm-epoch':'1'")),
                 NULL},
                /* of other pods annotations are not our business */
                {UPDATE("anna", POD("", "'drover.dev/vm-epoch':'2'"), POD("", "")), NULL},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct outcome o;

                ask(&o, VALIDATE, t[i].request);
                if (o.allowed != !t[i].words ||
                    (t[i].words && (o.code != 403 || !strstr(o.message, t[i].words))))
                        fail_msg("row %zu: %d %s", i, o.code, o.message);
                outcome_free(&o);
        }
}

/* --- snapshots */

#define ON_SNAPSHOTS(operation, vm)                                                                \
        "'kind':{'group':'drover.dev','version':'v1alpha1','kind':'VirtualMachineSnapshot'},"      \
        "'namespace':'shop','name':'s','operation':'" operation                                    \
        "','userInfo':{'username':'anna'},'object':{'metadata':{'name':'s','namespace':'shop'},"   \
        "'spec':{'vm':'" vm "'}}"

static void snapshots(void **state)
{
        struct outcome o;

        (void)state;
        ask(&o, VALIDATE, ON_SNAPSHOTS("CREATE", "web"));
        assert_true(o.allowed);
        outcome_free(&o);
        ask(&o, VALIDATE, ON_SNAPSHOTS("CREATE", "none"));
        assert_false(o.allowed);
        assert_int_equal(o.code, 422);
        assert_string_equal(o.message,
                            "spec.vm: there is no VirtualMachine \"none\" in namespace shop");
        outcome_free(&o);
        ask(&o, VALIDATE, ON_SNAPSHOTS("UPDATE", "none")); /* its finalizer must come and go */
        assert_true(o.allowed);
        outcome_free(&o);
}

/* --- VMs */

static void vms(void **state)
{
#define CHANGED(now, was) ON_VMS("UPDATE", now) ",'oldObject':" was
        static const struct {
                const char *request, *words; /* NULL: allowed */
        } t[] = {
                {ON_VMS("CREATE", VM("", SPEC)), NULL},
                {ON_VMS("CREATE", VM("", "'memory':{'guest':'-1Gi'}")), "spec.memory.guest: must"},
                {ON_VMS("CREATE", VM("", "'memory':{'guest':'much'}")),
                 "spec.memory.guest: not a quantity"},
                {ON_VMS("CREATE", VM("", "'memory':{'guest':'1Gi'},'nodeName':7")),
                 "spec.nodeName"},
                {ON_VMS("CREATE", VM("", SPEC ",'cpu':{'cores':0},'runStrategy':'No'")),
                 "spec.runStrategy: \"No\" is none of Always, RerunOnFailure, Halted; "
                 "spec.cpu.cores: 0 is not"},
                {ON_VMS("CREATE", VM("", SPEC ",'disks':[{'name':'a','image':{'name':'debian'}}]")),
                 NULL},
                {ON_VMS("CREATE", VM("", SPEC ",'disks':[{'name':'a','image':{'name':'arch'}}]")),
                 "spec.disks[0].image.name: there is no VirtualMachineImage \"arch\""},
                {ON_VMS("CREATE", VM("", SPEC ",'restore':{'snapshot':'s','requestedAt':'1'}")),
                 "spec.restore.snapshot: s is a snapshot of the VM another"},
                {ON_VMS("CREATE", VM("", SPEC ",'restore':{'snapshot':'t','requestedAt':'1'}")),
                 "spec.restore.snapshot: there is no VirtualMachineSnapshot \"t\" in namespace"},
                /* a wish that is there is not asked about again */
                {CHANGED(VM("",
                            SPEC ",'nodeName':'n','restore':{'snapshot':'s','requestedAt':'1'}"),
                         VM("", SPEC ",'restore':{'snapshot':'s','requestedAt':'1'}")),
                 NULL},
                {CHANGED(VM("", SPEC ",'nodeName':'n'"), VM("", SPEC)), NULL},
                {CHANGED(VM("", SPEC ",'disks':[{'name':'a','blank':{'size':'2Gi'}}]"),
                         VM("", SPEC ",'disks':[{'name':'a','blank':{'size':'1Gi'}}]")),
                 "the size of disk a cannot change"},
                /* metadata may change whatever the spec is */
                {CHANGED(VM(",'finalizers':[]", "'memory':{}"), VM("", "'memory':{}")), NULL},
                /* what is going may change in any way */
                {CHANGED(VM(",'deletionTimestamp':'2026-01-01T00:00:00Z'", "'memory':{}"),
                         VM("", SPEC)),
                 NULL},
                /* what is stored need not be sound */
                {CHANGED(VM("", SPEC), VM("", "'nodeName':7")), NULL},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct outcome o;

                ask(&o, VALIDATE, t[i].request);
                if (o.allowed != !t[i].words ||
                    (t[i].words && (o.code != 422 || !strstr(o.message, t[i].words))))
                        fail_msg("row %zu: %d %s", i, o.code, o.message);
                if (t[i].words)
                        assert_string_equal(json_str(o.status, "reason", ""), "Invalid");
                outcome_free(&o);
        }
}

static void warnings(void **state)
{
        const struct json *w;
        struct outcome o;

        (void)state;
        ask(&o, VALIDATE,
            CHANGED(VM("", "'memory':{'guest':'2Gi'},'migration':{'postCopy':true,'handover':"
                           "'Fast'}"),
                    VM("", SPEC)));
        assert_true(o.allowed);
        w = json_get(o.response, "warnings");
        assert_int_equal(json_count(w), 2);
        assert_string_equal(json_string(json_first(w)),
                            "spec.memory.guest: 2048 MiB from the next restart of the guest on "
                            "(spec.restartedAt)");
        outcome_free(&o);
}

/* --- evictions */

#define EVICT(dry)                                                                                 \
        "'kind':{'kind':'Eviction'},'subResource':'eviction','namespace':'shop','name':"           \
        "'drover-vm-web-e3','operation':'CREATE','userInfo':{'username':'anna'},'object':{"        \
        "'metadata':{'name':'drover-vm-web-e3','namespace':'shop'}" dry "}"
#define HANDLE                                                                                     \
        "{'metadata':{'name':'drover-vm-web-e3','namespace':'shop','labels':{'drover.dev/vm':"     \
        "'web'},'annotations':{'drover.dev/vm-uid':'u1'}},'spec':{'nodeName':'node1'},'status':{"  \
        "'phase':'Running'}}"
#define RUNNING(spec, status)                                                                      \
        "{'metadata':{'name':'web','namespace':'shop','uid':'u1'},'spec':{'memory':{'guest':"      \
        "'1Gi'}" spec "},'status':{'phase':'Running','owner':{'node':'node1','epoch':3},"          \
        "'podName':'drover-vm-web-e3'" status "}}"
#define MOVE(status)                                                                               \
        "{'metadata':{'name':'web-3-drain-1','namespace':'shop'},'spec':{'vm':'web'},'status':{"   \
        "'source':'node1'," status "}}"
#define NOT_MIGRATABLE                                                                             \
        ",'conditions':[{'type':'LiveMigratable','status':'False','message':'disk data is a "      \
        "PersistentVolumeClaim'}]"

/* Each 429 names the VM, what it does, and what is waited for. */
static void evictions(void **state)
{
        static const struct {
                const char *pod, *vm, *move;
                int code; /* 0: allowed */
                const char *message;
                int made; /* migrations */
        } t[] = {
                {"", "", "", 0, "", 0},
                {"{'metadata':{'name':'drover-vm-web-e3'}}", "", "", 0, "", 0},
                {HANDLE, "", "", 0, "", 0},
                {HANDLE, RUNNING("", ""), "", 429,
                 "VM shop/web is asked to leave node1 by a live migration: it is Running, and "
                 "waits "
                 "for migration web-3-drain-1 to begin",
                 1},
                {HANDLE, RUNNING("", ""), MOVE("'phase':'Copying','target':'node2'"), 429,
                 "VM shop/web is leaving node1: migration web-3-drain-1 is Copying, to node2, and "
                 "waits for the end of the copy",
                 0},
                {HANDLE, RUNNING(",'evictionStrategy':'None'", ""), "", 403,
                 "VM shop/web is Running on node1 and has evictionStrategy None: stop it "
                 "(spec.runStrategy: Halted) or move it yourself",
                 0},
                {HANDLE, RUNNING("", NOT_MIGRATABLE), "", 403,
                 "VM shop/web is Running on node1 and cannot be migrated: disk data is a "
                 "PersistentVolumeClaim; stop it (spec.runStrategy: Halted) to empty the node",
                 0},
                {HANDLE, RUNNING(",'runStrategy':'Halted'", ""), "", 429,
                 "VM shop/web is Running on node1 and is to stop (spec.runStrategy: Halted): the "
                 "end of the guest is waited for",
                 0},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct outcome o;
                int made = scene_count(&scene.posts);

                scene_set(scene.pod, t[i].pod);
                scene_set(scene.stored, t[i].vm);
                scene_set(scene.move, t[i].move);
                ask(&o, VALIDATE, EVICT(""));
                if (o.code != t[i].code || strcmp(o.message, t[i].message) != 0)
                        fail_msg("row %zu: %d %s", i, o.code, o.message);
                if (t[i].code == 429)
                        assert_string_equal(json_str(o.status, "reason", ""), "TooManyRequests");
                /* else client-go would come back by itself, and show nobody the message */
                assert_null(json_get(o.status, "details"));
                assert_int_equal(scene_count(&scene.posts) - made, t[i].made);
                outcome_free(&o);
        }
}

static void dry_evictions(void **state)
{
        static const char *const dry[] = {EVICT("") ",'dryRun':true",
                                          EVICT(",'deleteOptions':{'dryRun':['All']}")};
        struct outcome o;

        (void)state;
        scene_set(scene.pod, HANDLE);
        scene_set(scene.stored, RUNNING("", ""));
        for (size_t i = 0; i < countof(dry); i++) {
                ask(&o, VALIDATE, dry[i]);
                assert_true(o.allowed);
                assert_non_null(strstr(json_string(json_first(json_get(o.response, "warnings"))),
                                       "VM shop/web is asked to leave node1"));
                outcome_free(&o);
        }
        scene_set(scene.stored, RUNNING(",'evictionStrategy':'None'", ""));
        ask(&o, VALIDATE, dry[0]);
        assert_int_equal(o.code, 403); /* what would be said in earnest */
        outcome_free(&o);
        assert_int_equal(scene_count(&scene.posts), 0);
}

/* An API server that does not answer as it should: the drain comes back, it does not end. */
static void evictions_that_cannot_be_judged(void **state)
{
        struct outcome o;

        (void)state;
        scene.status = 403;
        ask(&o, VALIDATE, EVICT(""));
        assert_int_equal(o.code, 429);
        assert_string_equal(json_str(o.status, "reason", ""), "TooManyRequests");
        assert_non_null(strstr(o.message, "pod shop/drover-vm-web-e3 cannot be looked up now: "));
        outcome_free(&o);
        scene.status = 0;
        scene_set(scene.pod, HANDLE);
        scene_set(scene.stored, RUNNING("", ""));
        scene.post_status = 403;
        ask(&o, VALIDATE, EVICT(""));
        assert_int_equal(o.code, 429);
        assert_non_null(strstr(o.message,
                               "VM shop/web is Running on node1 and whether it can leave "
                               "cannot be told now: "));
        outcome_free(&o);
        scene_set(scene.stored, "{'metadata':7}");
        ask(&o, VALIDATE, EVICT(""));
        assert_int_equal(o.code, 429);
        assert_non_null(
                strstr(o.message, "VM shop/web of pod drover-vm-web-e3 cannot be looked up"));
        outcome_free(&o);
}

/* --- bodies that are no reviews */

static void expect_error(const char *body, size_t len, unsigned status, const char *what)
{
        for (int route = MUTATE; route <= VALIDATE; route++) {
                struct json *j = NULL;
                struct outcome o;
                struct err e;

                capture_begin();
                ask_raw(&o, route, body, len);
                capture_end(&o);
                if (o.rep.status != status)
                        fail_msg("%s: %u %s", what, o.rep.status, buf_str(&o.rep.body));
                assert_string_equal(o.rep.content_type, "application/json");
                assert_int_equal(json_parse(o.rep.body.data, o.rep.body.len, SCENE_TEXT, &j, &e),
                                 0);
                assert_true(*json_str(j, "error", ""));
                assert_int_equal(o.lines, 1);
                json_free(j);
                outcome_free(&o);
        }
}

static void hostile_bodies(void **state)
{
        static const char *const texts[] = {
                "",
                " ",
                "hello",
                "{\"kind\":\"AdmissionReview\",\"requ",
                "[]",
                "null",
                "7",
                "{}",
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1beta1\","
                "\"request\":{\"uid\":\"1\"}}",
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}",
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":"
                "{}}",
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":"
                "{\"uid\":7}}",
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":"
                "{\"uid\":\"1\",\"object\":[]}}",
                "{\"kind\":\"Review\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
                "\"1\"}} {}",
        };
        struct outcome o;
        char *big = malloc(REVIEW_BODY_MAX + 2);

        (void)state;
        for (size_t i = 0; i < countof(texts); i++)
                expect_error(texts[i], strlen(texts[i]), 400, texts[i]);
        expect_error("{\"kind\":\"A\0B\"}", 14, 400, "NUL");
        memset(big, '[', REVIEW_BODY_MAX + 2);
        expect_error(big, 1 << 20, 413, "deep");
        expect_error(big, REVIEW_BODY_MAX + 1, 413, "huge");
        for (size_t i = 1; i < REVIEW_BODY_MAX; i++)
                big[i] = i % 2 ? '0' : ',';
        expect_error(big, REVIEW_BODY_MAX, 413, "too many values");
        memset(big, '7', REVIEW_BODY_MAX);
        expect_error(big, REVIEW_BODY_MAX, 400, "a long number");
        memset(big, ' ', REVIEW_BODY_MAX);
        expect_error(big, REVIEW_BODY_MAX, 400, "nothing");
        free(big);
        ask(&o, VALIDATE, ON_VMS("CREATE", VM("", SPEC)));
        assert_true(o.allowed);
        outcome_free(&o);
}

/* A hostile spec, for its depth is within bounds: what it says is told, and it ends. */
static void large_denials(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct outcome o;

        (void)state;
        buf_adds(&b, ON_VMS("CREATE", "{'metadata':{'name':'web','namespace':'shop'},'spec':{"
                                      "'memory':{'guest':'1Gi'},'disks':["));
        for (int i = 0; i < 20000; i++)
                buf_addf(&b, "%s{'name':'A%d'}", i ? "," : "", i);
        buf_adds(&b, "]}}");
        ask(&o, VALIDATE, buf_str(&b));
        assert_int_equal(o.code, 422);
        assert_true(strlen(o.message) < 32768);
        outcome_free(&o);
}

static uint64_t seed = 88172645463325252u;

static size_t random_below(size_t n)
{
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return (size_t)(seed >> 11) % n;
}

/* Good reviews with some bytes changed, cut or doubled: always an answer, always JSON. */
static void mangled_bodies(void **state)
{
        static const char *const good[] = {
                ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'u1'")),
                ON_PODS("UPDATE", "anna", POD(OF_WEB, "")) ",'oldObject':" POD("", ""),
                CHANGED(VM("", SPEC ",'disks':[{'name':'a','blank':{'size':'2Gi'}}]"),
                        VM("", SPEC ",'disks':[{'name':'b','blank':{'size':'1Gi'}}]")),
        };
        static const char bytes[] = "{}[]\",:0-9eE\\u\x80\xff nulltruefalse";

        (void)state;
        scene.status = 200; /* all VMs there are: no waiting for those of mangled names */
        scene_set(scene.stored, VM_JSON("web", "u1", "5", "ssd"));
        for (int round = 0; round < 1500; round++) {
                autobuf struct buf b = buf_new(TEXT_MAX);
                struct json *j = NULL;
                struct outcome o;
                struct err e;

                quoted(&b, "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1',"
                           "'request':{'uid':'705ab4f5',");
                autobuf struct buf rest = buf_new(TEXT_MAX);
                quoted(&rest, good[random_below(countof(good))]);
                buf_addf(&b, "%s}}", buf_str(&rest));
                for (size_t i = random_below(4); i > 0; i--)
                        b.data[random_below(b.len)] = bytes[random_below(sizeof(bytes) - 1)];
                if (!random_below(4))
                        b.len = random_below(b.len);
                if (strstr(b.data, "drover.dev/vm") && !strstr(b.data, "\"web\""))
                        continue; /* would be waited for */
                capture_begin();
                ask_raw(&o, (int)random_below(2), b.data, b.len);
                capture_end(&o);
                assert_true(o.rep.status == 200 || o.rep.status == 400 || o.rep.status == 413);
                if (json_parse(o.rep.body.data, o.rep.body.len, SCENE_TEXT, &j, &e) < 0)
                        fail_msg("%s: %s", e.msg, buf_str(&o.rep.body));
                json_free(j);
                outcome_free(&o);
        }
}

/* --- without memory nothing slips through */

static void starve(int route, const char *request, bool allowed, size_t operations)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        unsigned long n;

        quoted(&b, "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1','request':{"
                   "'uid':'705ab4f5',");
        autobuf struct buf rest = buf_new(TEXT_MAX);
        quoted(&rest, request);
        buf_addf(&b, "%s}}", buf_str(&rest));
        for (n = 1; n; n++) {
                struct outcome o;
                bool failed;

                capture_begin();
                oom_arm(n);
                ask_raw(&o, route, b.data, b.len);
                failed = oom_disarm();
                capture_end(&o);
                if (o.rep.status == 200) {
                        read_answer(&o, "705ab4f5");
                        if (o.allowed != allowed && o.code != 429)
                                fail_msg("allocation %lu: %s", n, buf_str(&o.rep.body));
                        if (o.allowed)
                                assert_int_equal(o.patch ? json_count(o.patch) : 0, operations);
                } else {
                        assert_int_equal(o.rep.status, 503);
                }
                outcome_free(&o);
                if (!failed)
                        break;
        }
        assert_true(n > 20);
}

static void without_memory(void **state)
{
        (void)state;
        scene.status = 403; /* should it be asked for a VM or an image, which cannot be told */
        starve(MUTATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'u1'")), true,
               4);
        starve(VALIDATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "")), false, 0);
        starve(VALIDATE, ON_PODS("CREATE", "anna", POD(OF_WEB, "")), false, 0);
        starve(VALIDATE, ON_PODS("UPDATE", "anna", POD(OF_WEB, "")) ",'oldObject':" POD("", ""),
               false, 0);
        starve(VALIDATE, ON_VMS("CREATE", VM("", SPEC ",'cpu':{'cores':0}")), false, 0);
        starve(VALIDATE, ON_VMS("CREATE", VM("", SPEC)), true, 0);
        starve(VALIDATE,
               CHANGED(VM("", SPEC ",'disks':[{'name':'a','blank':{'size':'2Gi'}}]"),
                       VM("", SPEC ",'disks':[{'name':'a','blank':{'size':'1Gi'}}]")),
               false, 0);
}

/* --- counted */

static double count(const char *verdict)
{
        return metric_get(metric_counter("drover_admission", "", "verdict"), verdict);
}

static void metrics(void **state)
{
        double allowed = count("allowed"), denied = count("denied"), bad = count("malformed"),
               later = count("later");
        autobuf struct buf b = buf_new(SCENE_TEXT);
        struct outcome o;

        (void)state;
        ask(&o, VALIDATE, ON_VMS("CREATE", VM("", SPEC)));
        outcome_free(&o);
        ask(&o, VALIDATE, ON_VMS("CREATE", VM("", "")));
        outcome_free(&o);
        expect_error("x", 1, 400, "x"); /* on both paths */
        scene.status = 403;
        ask(&o, MUTATE, ON_PODS("CREATE", MIGRATOR, POD(OF_WEB, "'drover.dev/vm-uid':'newer'")));
        outcome_free(&o);
        assert_true(count("allowed") == allowed + 1);
        assert_true(count("denied") == denied + 1);
        assert_true(count("malformed") == bad + 2);
        assert_true(count("later") == later + 1);
        assert_int_equal(metrics_print(&b), 0);
        assert_non_null(strstr(buf_str(&b), "drover_admission_total{verdict=\"allowed\"}"));
        assert_non_null(strstr(buf_str(&b), "drover_admission_seconds_count{path=\"/validate\"}"));
}

static void *many_reviews(void *unused)
{
        static const char body[] =
                "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{"
                "\"uid\":\"705ab4f5\",\"kind\":{\"kind\":\"Pod\"},\"namespace\":\"shop\","
                "\"operation\":\"CREATE\",\"userInfo\":{\"username\":\"" MIGRATOR
                "\"},\"object\":{\"metadata\":{\"labels\":{\"drover.dev/vm\":\"web\"}},\"spec\":{"
                "\"containers\":[{}]}}}}";

        for (int i = 0; i < 100; i++) {
                struct outcome o;

                ask_raw(&o, MUTATE, body, sizeof(body) - 1);
                read_answer(&o, "705ab4f5");
                assert_true(o.allowed && o.patch);
                outcome_free(&o);
        }
        return unused;
}

static void threads(void **state)
{
        pthread_t t[3];

        (void)state;
        for (size_t i = 0; i < countof(t); i++)
                pthread_create(&t[i], NULL, many_reviews, NULL);
        for (int i = 0; i < 50; i++) {
                char line[512];

                snprintf(line, sizeof(line),
                         "{'type':'MODIFIED','object':{'metadata':{'name':'web','namespace':"
                         "'shop','uid':'u1','resourceVersion':'%d'},'spec':{'nodeName':'n%d'}}}\n",
                         100 + i, i);
                scene_tell(line);
                nap(1);
        }
        for (size_t i = 0; i < countof(t); i++)
                pthread_join(t[i], NULL);
}

static int setup(void **state)
{
        int rc = scene_setup(state);

        hook.cache = scene.cache;
        hook.client = scene.client;
        return rc;
}

#define scene_test(f) cmocka_unit_test_setup_teardown(f, setup, scene_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                scene_test(mutates_a_handle),
                scene_test(patched_handle_passes),
                scene_test(unpatched_handle_does_not_pass),
                scene_test(pods_of_others_are_refused),
                scene_test(what_is_not_ours_passes),
                scene_test(pod_of_a_vm_not_seen_yet),
                scene_test(pod_of_a_vm_that_is_gone),
                scene_test(pod_that_names_its_node),
                scene_test(vm_that_cannot_be_told),
                scene_test(newer_placement_than_the_watch),
                scene_test(pod_updates),
                scene_test(vms),
                scene_test(snapshots),
                scene_test(warnings),
                scene_test(evictions),
                scene_test(dry_evictions),
                scene_test(evictions_that_cannot_be_judged),
                scene_test(hostile_bodies),
                scene_test(large_denials),
                scene_test(mangled_bodies),
                scene_test(without_memory),
                scene_test(metrics),
                scene_test(threads),
        };

        log_init("test");
        review_register_metrics();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
