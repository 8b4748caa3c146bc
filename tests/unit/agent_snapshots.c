/*
 * A worker's work on snapshots, and the disks set back before a start: with an API server of the
 * test's, disks that are real ones on a mount of the test's own, and a QEMU and a guest's agent
 * that are played here.
 */
#include "agent/child.h"
#include "agent/guestsnap.h"
#include "agent/holds.h"
#include "agent/moves.h"
#include "agent/restore.h"
#include "agent/snapshots.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "tests/fake/objects.h"
#include "tests/unit/api_text.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VM_UID  "5a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a01"
#define UID     "11111111-2222-3333-4444-555555555555"
#define BASE    "/apis/drover.dev/v1alpha1/namespaces/shop/"
#define PATH    BASE "virtualmachinesnapshots/s"
#define VM_PATH BASE "virtualmachines/web"
#define TAG     "drover-" UID "-"
#define ACTIONS 64

static struct scene {
        struct agent a;
        struct fake_objects objects;
        struct fake *api;
        struct kube_watch *moving;
        virConnectPtr libvirt;
        char pool[64];
        char listed[2048]; /* items of the list of snapshots, single quotes */
        bool migrating;
        /* QEMU: names of snapshots in each disk, and what was done, a letter each */
        char names[2][512], done[ACTIONS];
        const char *fails;  /* the letters of what fails */
        int frozen, thawed; /* file systems */
} s;

static bool have_mount;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- QEMU, in front of libvirt's own */

static bool does(char what)
{
        size_t n = strlen(s.done);

        if (n + 1 < sizeof(s.done))
                s.done[n] = what;
        return !strchr(s.fails, what);
}

static char *query_block(void)
{
        struct buf b = buf_new(8192);

        buf_adds(&b, "{\"return\":[");
        for (int i = 0; i < 2; i++) {
                buf_addf(&b,
                         "%s{\"qdev\":\"/machine/peripheral/virtio-disk%d/virtio-backend\","
                         "\"inserted\":{\"node-name\":\"libvirt-%d-format\",\"drv\":\"qcow2\","
                         "\"image\":{\"virtual-size\":%d,\"snapshots\":[",
                         i ? "," : "", i, i, 4096 * (i + 1));
                const char *comma = "";
                char copy[512], *save = NULL;
                snprintf(copy, sizeof(copy), "%s", s.names[i]);
                for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
                        buf_addf(&b, "%s{\"name\":\"%s\"}", comma, p);
                        comma = ",";
                }
                buf_adds(&b, "]}}}");
        }
        buf_adds(&b, "]}");
        char *text = strdup(buf_str(&b));
        buf_free(&b);
        return text;
}

static int disk_of(const char *node)
{
        return !strcmp(node, "libvirt-1-format");
}

static char *transact(const struct json *command)
{
        const struct json *all = json_path(command, "arguments", "actions", NULL);

        if (!does('T'))
                return strdup("{\"error\":{\"class\":\"GenericError\",\"desc\":\"no room\"}}");
        assert_int_equal(json_count(all), 2); /* both at a time */
        for (const struct json *j = json_first(all); j; j = json_next(j)) {
                const struct json *d = json_get(j, "data");
                char *names = s.names[disk_of(json_str(d, "device", ""))];
                assert_string_equal(json_str(j, "type", ""), "blockdev-snapshot-internal-sync");
                snprintf(names + strlen(names), 512 - strlen(names), "%s ",
                         json_str(d, "name", "?"));
        }
        return strdup("{\"return\":{}}");
}

static char *drop(const struct json *command)
{
        const struct json *d = json_get(command, "arguments");
        char *names = s.names[disk_of(json_str(d, "device", ""))], name[128];

        if (!does('D'))
                return strdup("{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}");
        snprintf(name, sizeof(name), "%s ", json_str(d, "name", "?"));
        char *at = strstr(names, name);
        assert_non_null(at);
        memmove(at, at + strlen(name), strlen(at + strlen(name)) + 1);
        return strdup("{\"return\":{}}");
}

int virDomainQemuMonitorCommand(virDomainPtr dom, const char *cmd, char **result, unsigned flags)
{
        autojson struct json *j = json_of(cmd);
        const char *what = json_str(j, "execute", "");

        (void)dom;
        (void)flags;
        *result = !strcmp(what, "query-block")   ? query_block()
                  : !strcmp(what, "transaction") ? transact(j)
                                                 : drop(j);
        return 0;
}

char *virDomainGetXMLDesc(virDomainPtr dom, unsigned flags)
{
        (void)dom;
        (void)flags;
        return strdup(
                "<domain><devices><disk type='file' device='disk'><source file='/p/disks/u/"
                "root.qcow2' index='2'/><backingStore type='file'><source file='/p/images/x'/>"
                "</backingStore><target dev='vda'/><alias name='virtio-disk0'/></disk>"
                "<disk type='file' device='disk'><source file='/p/disks/u/data.qcow2'/>"
                "<target dev='vdb'/><alias name='virtio-disk1'/></disk>"
                "<disk type='file' device='cdrom'><source file='/p/seeds/u/x.iso'/>"
                "<target dev='sda'/><readonly/><alias name='sata0-0-0'/></disk></devices>"
                "</domain>");
}

int virDomainFSFreeze(virDomainPtr dom, const char **points, unsigned n, unsigned flags)
{
        (void)dom;
        (void)points;
        (void)n;
        (void)flags;
        return does('F') ? s.frozen : -1;
}

int virDomainFSThaw(virDomainPtr dom, const char **points, unsigned n, unsigned flags)
{
        (void)dom;
        (void)points;
        (void)n;
        (void)flags;
        return does('t') ? s.thawed : -1;
}

/* --- the API server */

static void answer_list(struct fake_conn *c, const char *items)
{
        autobuf struct buf b = buf_new(4096);

        buf_adds(&b, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[");
        for (const char *p = items; *p; p++)
                buf_add(&b, *p == '\'' ? "\"" : p, 1);
        buf_adds(&b, "]}");
        fake_answer(c, 200, "", buf_str(&b));
}

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        pthread_mutex_lock(&lock);
        bool migrating = s.migrating;
        pthread_mutex_unlock(&lock);
        if (strstr(r->target, "watch=")) {
                fake_stream(c);
                fake_hang(c);
        } else if (strstr(r->target, "virtualmachinemigrations")) {
                answer_list(c, migrating ? "{'metadata':{'name':'m','namespace':'shop','uid':'u-m'}"
                                           ",'spec':{'vm':'web'},'status':{'phase':'Copying'}}"
                                         : "");
        } else if (strstr(r->target, "virtualmachinesnapshots?")) {
                answer_list(c, s.listed);
        } else {
                fake_objects_script(c, r, ctx);
        }
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

static int64_t no_work(void *ctx, const char *key)
{
        (void)ctx;
        (void)key;
        return WORK_DONE;
}

static void configure(void)
{
        s.a.config = (struct agent_config){.node = "n1",
                                           .pools = {{.name = "default", .path = s.pool}},
                                           .npools = 1,
                                           .libvirt_run = "/nowhere",
                                           .probe_deadline_ms = 20000,
                                           .disk_deadline_s = 60,
                                           .copy_deadline_s = 60};
        s.a.synced = true;
        s.a.holds = holds_new();
        s.a.work = work_new(2, no_work, NULL);
}

static void shell(const char *line)
{
        char command[1024];

        snprintf(command, sizeof(command), "cd %s && { %s ; } >/dev/null", s.pool, line);
        if (system(command))
                fail_msg("%s", line);
}

static int begin(void **state)
{
        static const struct kube_store_type TYPE = {.decode = snapshot_decode_any,
                                                    .free = snapshot_free};
        const struct virt_hooks hooks = {quiet, quiet_lost, quiet_event, quiet_iteration, NULL};
        struct kube_config cfg = {.ns = "default"};
        char why[320];
        struct err e;

        (void)state;
        if (!have_mount)
                return 0;
        memset(&s, 0, sizeof(s));
        s.fails = "";
        s.frozen = s.thawed = 2;
        setenv("DROVER_LOG", "error", 1);
        snprintf(s.pool, sizeof(s.pool), "/tmp/drover-snaps-XXXXXX");
        assert_int_equal(pool_make(s.pool), 0);
        configure();
        fake_objects_init(&s.objects);
        s.api = fake_start(script, &s.objects);
        cfg.server = fake_url(s.api);
        s.a.snapshots = kube_store_new(&TYPE, NULL);
        assert_int_equal(kube_client_new(&cfg, "test", &s.a.kube, &e), 0);
        assert_int_equal(mounts_start(&s.a.config, quiet, NULL, &s.a.mounts, &e), 0);
        assert_int_equal(moves_start(&s.a, &s.moving, &e), 0);
        assert_int_equal(virt_start("test:///default", &hooks, &s.a.virt, &e), 0);
        s.libvirt = virConnectOpen("test:///default");
        for (int i = 0;
             i < 3000 && !(mounts_usable(s.a.mounts, "default", why) && virt_connected(s.a.virt));
             i++)
                usleep(10000);
        assert_true(mounts_usable(s.a.mounts, "default", why) && virt_connected(s.a.virt));
        shell("mkdir -p disks/" VM_UID " && cd disks/" VM_UID " && qemu-img create -q -f qcow2 "
              "root.qcow2 1M && qemu-img create -q -f qcow2 data.qcow2 2M");
        return 0;
}

static int finish(void **state)
{
        (void)state;
        if (!have_mount)
                return 0;
        virDomainPtr d = virDomainLookupByUUIDString(s.libvirt, VM_UID);
        if (d) {
                virDomainDestroy(d);
                virDomainUndefine(d);
                virDomainFree(d);
        }
        virConnectClose(s.libvirt);
        virt_stop(s.a.virt);
        kube_watch_stop(s.moving);
        assert_true(work_free(s.a.work, 10000));
        mounts_stop(s.a.mounts);
        mounts_free(s.a.mounts);
        moves_stop(s.a.moves);
        kube_client_free(s.a.kube);
        kube_store_free(s.a.snapshots);
        kube_store_free(s.a.moving);
        holds_free(s.a.holds);
        fake_stop(s.api);
        fake_objects_free(&s.objects);
        return pool_remove(s.pool);
}

/* --- both sides */

static void put(const struct kube_resource *r, const char *path, const char *name, const char *text)
{
        autojson struct json *j = json_of(text);
        struct err e = {0};
        autojson struct json *was = fake_objects_get(&s.objects, path);
        int rc = was ? kube_patch(s.a.kube, r, "shop", name, NULL, j, NULL, &e)
                     : kube_create(s.a.kube, r, "shop", j, NULL, &e);
        if (rc)
                fail_msg("%s", e.msg);
}

static void vm_is(const char *owner, int epoch, const char *spec, const char *status)
{
        char text[2048];

        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'web','namespace':'shop','uid':'" VM_UID "'},"
                 "'spec':{'memory':{'guest':'64Mi'},'disks':[{'name':'root','image':{'name':'i'}},"
                 "{'name':'data','blank':{'size':'2Mi'}}]%s},"
                 "'status':{'owner':{'node':'%s','epoch':%d}%s}}",
                 spec, owner, epoch, status);
        put(&KUBE_VMS, VM_PATH, "web", text);
}

static void snapshot_is(const char *task, int epoch, const char *spec, const char *more)
{
        char text[2048];

        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'s','namespace':'shop','uid':'" UID "'%s},"
                 "'spec':{'vm':'web'%s},'status':{'phase':'InProgress','vmUID':'" VM_UID "',"
                 "'worker':{'node':'n1','epoch':%d,'task':'%s'}}}",
                 more, spec, epoch, task);
        put(&KUBE_SNAPSHOTS, PATH, "s", text);
}

static int64_t work(void)
{
        autojson struct json *j = fake_objects_get(&s.objects, PATH);

        kube_store_apply(s.a.snapshots, j); /* as the watch would bring it */
        return snapshot_work(&s.a, "shop/s");
}

static void told(const char *state, const char *words)
{
        autojson struct json *j = fake_objects_get(&s.objects, PATH);
        const struct json *p = json_path(j, "status", "progress", NULL);
        const char *message = json_str(p, "message", "");

        if (strcmp(json_str(p, "state", ""), state) != 0 || !strstr(message, words))
                fail_msg("%s: %s", json_str(p, "state", ""), message);
}

static bool quiesced(void)
{
        autojson struct json *j = fake_objects_get(&s.objects, PATH);
        const struct json *p = json_path(j, "status", "progress", NULL);

        assert_int_equal(json_count(json_get(p, "disks")), 2);
        assert_string_equal(json_str(json_first(json_get(p, "disks")), "name", ""), "root");
        assert_true(*json_str(p, "createdAt", ""));
        return json_bool(p, "quiesced", false);
}

/* The names of the snapshots in both files. */
static void files_have(const char *want)
{
        autobuf struct buf out = buf_new(4096);
        char command[512];
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        struct err e;

        snprintf(command, sizeof(command),
                 "cd %s/disks/" VM_UID " && for d in root data; do qemu-img snapshot -l $d.qcow2 | "
                 "awk 'NR > 2 { printf \"%%s \", $2 }'; printf '/ '; done",
                 s.pool);
        assert_int_equal(child_run(argv, 30000, &out, &e), 0);
        assert_string_equal(buf_str(&out), want);
}

static void guest_runs(int epoch)
{
        autobuf struct buf xml = buf_new(4096);

        buf_addf(&xml,
                 "<domain type='test'><name>shop_web</name><uuid>" VM_UID "</uuid><metadata>"
                 "<drover:vm xmlns:drover='https://drover.dev/v1' namespace='shop' name='web' "
                 "epoch='%d' restartedAt=''/></metadata><memory>65536</memory><os><type>hvm</type>"
                 "</os></domain>",
                 epoch);
        virDomainPtr d = virDomainCreateXML(s.libvirt, buf_str(&xml), 0);
        assert_non_null(d);
        virDomainFree(d);
}

#define ONE_EACH TAG "1 "
#define STEP                                                                                       \
        if (!have_mount)                                                                           \
        skip()

/* --- a guest that does not run */

static void halted(void **state)
{
        (void)state;
        STEP;
        vm_is("", 3, "", "");
        snapshot_is("Take", 1, "", "");
        shell("cd disks/" VM_UID " && qemu-img snapshot -c " TAG "0 data.qcow2 && "
              "qemu-img snapshot -c mine data.qcow2");
        assert_int_equal(work(), WORK_DONE);
        told("Taken", "the guest did not run");
        assert_false(quiesced());
        files_have(ONE_EACH "/ mine " ONE_EACH "/ ");
        assert_int_equal(work(), WORK_DONE);
        files_have(ONE_EACH "/ mine " ONE_EACH "/ ");
        snapshot_is("Remove", 2, "", ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        assert_int_equal(work(), WORK_DONE);
        told("Removed", "");
        files_have("/ mine / ");
        assert_string_equal(s.done, ""); /* nobody spoke to QEMU */
}

static void halted_and_refused(void **state)
{
        (void)state;
        STEP;
        vm_is("", 3, "", "");
        snapshot_is("Take", 1, ",'quiesce':'Required'", "");
        assert_int_equal(work(), WORK_DONE);
        told("Refused", "the guest does not run");
        snapshot_is("Take", 2, ",'quiesce':'Auto'", "");
        shell("rm disks/" VM_UID "/data.qcow2");
        assert_int_equal(work(), WORK_DONE);
        told("Refused", "disk data has never been made");
}

static void whose_turn(void **state)
{
        (void)state;
        STEP;
        vm_is("n2", 3, "", "");
        snapshot_is("Take", 1, "", "");
        assert_int_equal(work(), 5000);
        told("Waiting", "another node has the VM");
        vm_is("", 3, "", "");
        s.migrating = true;
        assert_int_equal(work(), 5000);
        told("Waiting", "a migration of the VM is under way");
        s.migrating = false;
        struct hold *hold = hold_take(s.a.holds, VM_UID);
        assert_int_equal(work(), 500);
        hold_drop(hold);
        guest_runs(3); /* of an owner that has let go of it: not to be believed */
        assert_int_equal(work(), 5000);
        told("Waiting", "nobody has the VM");
        vm_is("n1", 4, "", "");
        assert_int_equal(work(), 5000);
        told("Waiting", "of an earlier time");
        files_have("/ / ");
        snapshot_is("Take", 1, "", ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        assert_int_equal(work(), WORK_DONE);
}

/* --- one that runs */

static void running(void **state)
{
        (void)state;
        STEP;
        vm_is("n1", 3, "", "");
        guest_runs(3);
        snapshot_is("Take", 1, "", "");
        assert_int_equal(work(), WORK_DONE);
        told("Taken", "");
        assert_true(quiesced());
        assert_string_equal(s.done, "FTt");
        assert_string_equal(s.names[0], ONE_EACH);
        assert_string_equal(s.names[1], ONE_EACH);
        files_have("/ / ");
        snapshot_is("Remove", 2, "", ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        assert_int_equal(work(), WORK_DONE);
        told("Removed", "");
        assert_string_equal(s.done, "FTtDD");
        assert_string_equal(s.names[0], "");
}

static void not_quiesced(void **state)
{
        static const struct {
                const char *quiesce, *fails, *state, *words, *done;
                int thawed;
        } CASES[] = {
                {"Never", "", "Taken", "its quiesce is Never", "T", 2},
                {"Auto", "F", "Taken", "does not freeze", "FtT", 2},
                {"Required", "F", "Refused", "does not freeze", "Ft", 2},
                {"Auto", "", "Taken", "of 2 frozen file systems 1", "FTt", 1},
                {"Required", "", "Refused", "of 2 frozen file systems 0", "FTtDD", 0},
                {"Auto", "t", "Taken", "does not thaw", "FTttt", 2},
                {"Auto", "T", "Waiting", "QEMU: no room", "FTt", 2},
        };

        (void)state;
        STEP;
        vm_is("n1", 3, "", "");
        guest_runs(3);
        for (size_t i = 0; i < countof(CASES); i++) {
                char spec[64];
                snprintf(spec, sizeof(spec), ",'quiesce':'%s'", CASES[i].quiesce);
                memset(s.names, 0, sizeof(s.names));
                memset(s.done, 0, sizeof(s.done));
                s.fails = CASES[i].fails;
                s.thawed = CASES[i].thawed;
                snapshot_is("Take", (int)i + 1, spec, "");
                (void)work();
                told(CASES[i].state, CASES[i].words);
                assert_string_equal(s.done, CASES[i].done);
                bool taken = !strcmp(CASES[i].state, "Taken");
                assert_true(taken == (*s.names[0] && *s.names[1]));
                if (taken)
                        assert_false(quiesced());
        }
}

/* An agent was killed with the guest frozen, and the snapshot in one disk or in both. */
static void taken_up_again(void **state)
{
        (void)state;
        STEP;
        vm_is("n1", 3, "", "");
        guest_runs(3);
        for (int both = 0; both < 2; both++) {
                memset(s.done, 0, sizeof(s.done));
                snprintf(s.names[0], sizeof(s.names[0]), ONE_EACH "mine ");
                snprintf(s.names[1], sizeof(s.names[1]), both ? ONE_EACH : "");
                snapshot_is("Take", 1, "", "");
                put(&KUBE_SNAPSHOTS, PATH, "s",
                    "{'status':{'progress':{'epoch':1,'state':'Taking','message':''}}}");
                assert_int_equal(work(), WORK_DONE);
                told("Taken", "");
                assert_true(quiesced()); /* which the one of before was maybe not */
                assert_string_equal(s.done, both ? "tDDFTt" : "tDFTt");
                assert_string_equal(s.names[0], "mine " ONE_EACH);
                assert_string_equal(s.names[1], ONE_EACH);
        }
        /* thawed too when it is to be moved, or the snapshot to be deleted */
        for (int i = 0; i < 2; i++) {
                memset(s.done, 0, sizeof(s.done));
                s.migrating = !i;
                snapshot_is(i ? "Remove" : "Take", 2 + i, "",
                            i ? ",'deletionTimestamp':'2026-01-01T00:00:00Z'" : "");
                put(&KUBE_SNAPSHOTS, PATH, "s",
                    i ? "{'status':{'progress':{'epoch':3,'state':'Removing','message':''}}}"
                      : "{'status':{'progress':{'epoch':1,'state':'Taking','message':''}}}");
                (void)work();
                told(i ? "Removed" : "Waiting", i ? "" : "a migration of the VM is under way");
                assert_string_equal(s.done, i ? "t" : "tDD");
                assert_string_equal(s.names[0], "mine ");
        }
}

static void kept_for_a_restore(void **state)
{
        (void)state;
        STEP;
        vm_is("n1", 3, ",'restore':{'snapshot':'s','requestedAt':'1'}", "");
        guest_runs(3);
        snapshot_is("Remove", 2, "", ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        assert_int_equal(work(), 5000);
        told("Waiting", "are to be set back to it first");
        assert_string_equal(s.done, "");
}

/* --- which disks */

static void other_disks(void **state)
{
        static const char XML[] = "<domain><disk type='block' device='disk'><source dev='/dev/x'/>"
                                  "<target dev='vdc'/><alias name='virtio-disk1'/></disk></domain>";
        autofree char *two = query_block();
        struct guest_disks d;
        struct err e;

        (void)state;
        assert_int_equal(guest_disks_parse(XML, json_of(two), &d, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "disk vdc is no qcow2 of a pool"));
        assert_int_equal(guest_disks_parse(XML, json_of("{'return':[]}"), &d, &e), -EAGAIN);
        assert_int_equal(guest_disks_parse("<domain/>", json_of("{}"), &d, &e), -EINVAL);
}

/* --- disks set back */

static struct vm *the_vm(void)
{
        autojson struct json *j = fake_objects_get(&s.objects, VM_PATH);
        struct vm *vm;
        struct err e;

        assert_int_equal(vm_decode(j, &vm, &e), 0);
        return vm;
}

static int restore(struct err *e)
{
        struct vm *vm = the_vm();
        int rc = restore_apply(&s.a, vm, e);

        vm_free(vm);
        return rc;
}

static void waits(const char *words)
{
        struct err e = {0};

        assert_int_equal(restore(&e), -EAGAIN);
        if (!strstr(e.msg, words))
                fail_msg("%s", e.msg);
}

static void disks_say(int byte)
{
        char line[512];

        snprintf(line, sizeof(line),
                 "for d in root data; do qemu-io -r -c 'read -P %d 0 64k' disks/" VM_UID
                 "/$d.qcow2 2>&1 | grep -q 'verification failed' && exit 1; done; true",
                 byte);
        shell(line);
}

static void write_disks(int byte)
{
        char line[512];

        snprintf(line, sizeof(line),
                 "for d in root data; do qemu-io -c 'write -P %d 0 64k' disks/" VM_UID
                 "/$d.qcow2; done",
                 byte);
        shell(line);
}

static void ready(void)
{
        put(&KUBE_SNAPSHOTS, PATH, "s", "{'status':{'phase':'Ready','takenBy':1}}");
}

#define WISH(text) ",'restore':{'snapshot':'s','requestedAt':'" text "'}"

static void set_back(void **state)
{
        struct err e = {0};

        (void)state;
        STEP;
        vm_is("n1", 3, "", "");
        assert_int_equal(restore(&e), 0); /* nothing is wished */
        write_disks(1);
        snapshot_is("Take", 1, "", "");
        assert_int_equal(work(), WORK_DONE);
        write_disks(2);
        vm_is("n1", 3, WISH("1"), "");
        waits("the snapshot s: it is not Ready");
        ready();
        snprintf(s.listed, sizeof(s.listed),
                 "{'metadata':{'name':'t','namespace':'shop','uid':'u-t'},'spec':{'vm':'web'}}");
        waits("the snapshot t is to be taken before");
        s.listed[0] = '\0';
        disks_say(2);
        assert_int_equal(restore(&e), 0);
        disks_say(1);
        write_disks(3); /* the guest has run */
        assert_int_equal(restore(&e), 0);
        disks_say(3);
        vm_is("n1", 3, WISH("2"), ",'restored':{'snapshot':'s','requestedAt':'2'}");
        assert_int_equal(restore(&e), 0); /* the migrator knows that it was done */
        disks_say(3);
        vm_is("n1", 3, WISH("3"), "");
        assert_int_equal(restore(&e), 0);
        disks_say(1);
        files_have(ONE_EACH "/ " ONE_EACH "/ ");
}

static void not_set_back(void **state)
{
        (void)state;
        STEP;
        vm_is("n1", 3, WISH("1"), "");
        waits("there is no VirtualMachineSnapshot s");
        snapshot_is("Take", 1, "", "");
        ready();
        shell("qemu-img snapshot -c " TAG "1 disks/" VM_UID "/root.qcow2");
        write_disks(2);
        waits("disk data is not in the snapshot");
        put(&KUBE_SNAPSHOTS, PATH, "s", "{'spec':{'vm':'other'}}");
        waits("it is of the VM other");
        disks_say(2);
        /* a guest has the disk open: that is found out, whoever says otherwise */
        put(&KUBE_SNAPSHOTS, PATH, "s", "{'spec':{'vm':'web'}}");
        shell("qemu-img snapshot -c " TAG "1 disks/" VM_UID "/data.qcow2");
        char command[256];
        struct err e = {0};
        snprintf(command, sizeof(command),
                 "cd %s && exec qemu-io disks/" VM_UID "/root.qcow2 >said 2>&1", s.pool);
        FILE *guest = popen(command, "w");
        assert_non_null(guest);
        shell("until grep -q 'qemu-io>' said; do sleep 0.02; done"); /* it has it open */
        assert_int_equal(restore(&e), -EIO);
        if (!strstr(e.msg, "Is another process using the image"))
                fail_msg("%s", e.msg);
        pclose(guest);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                T(halted),       T(halted_and_refused), T(whose_turn),         T(running),
                T(not_quiesced), T(taken_up_again),     T(kept_for_a_restore), T(other_disks),
                T(set_back),     T(not_set_back),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        have_mount = pools_possible();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
