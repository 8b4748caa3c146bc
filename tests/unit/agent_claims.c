/*
 * Where the disks of a VM are that are claims: with an API server of the test's, and a kubelet's
 * root that holds mounts of the test's own.
 */
#include "agent/claims.h"
#include "agent/disks.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "tests/fake/objects.h"
#include "tests/unit/api_text.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <sys/sysmacros.h>

#define UID    "11111111-2222-3333-4444-555555555555"
#define POD    "0a1b2c3d-1111-2222-3333-444455556666"
#define VOLUME "pods/" POD "/volumes/kubernetes.io~nfs/pv-1"
#define CSI    "pods/" POD "/volumes/kubernetes.io~csi/pv-1/mount"
#define DEVICE "pods/" POD "/volumeDevices/kubernetes.io~csi/pv-1"

static struct scene {
        struct agent a;
        struct fake_objects objects;
        struct fake *api;
        struct vm_disk disks[2];
        struct vm vm;
        char root[64], mounted[256];
} s;

static bool have_mounts;

/* Below the kubelet's root. */
static const char *at(const char *name)
{
        static char path[8][PATH_MAX];
        static int i;

        i = (i + 1) % 8;
        snprintf(path[i], sizeof(path[i]), "%s/%s", s.root, name);
        return path[i];
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *fmt, ...)
{
        char line[1024], command[1200];
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        snprintf(command, sizeof(command), "cd %s && { %s ; } >/dev/null", s.root, line);
        if (system(command)) /* NOLINT(cert-env33-c) */
                fail_msg("%s", line);
}

static void put(const struct kube_resource *r, const char *name, const char *text)
{
        autojson struct json *j = json_of(text);
        struct err e = {0};

        int rc = kube_delete(s.a.kube, r, "shop", name, NULL, -1, &e);
        assert_true(!rc || rc == -ENOENT);
        if (kube_create(s.a.kube, r, "shop", j, NULL, &e))
                fail_msg("%s", e.msg);
}

static void put_claim(const char *mode, const char *access, const char *status)
{
        char text[1024];

        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'data','namespace':'shop'},'spec':{'accessModes':['%s'],"
                 "'volumeMode':'%s','volumeName':'pv-1'},'status':{'phase':'%s','capacity':{"
                 "'storage':'64Mi'}}}",
                 access, mode, status);
        put(&KUBE_CLAIMS, "data", text);
}

static void put_pod(const char *node, const char *vm, const char *phase, const char *more)
{
        char text[1024];

        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'drover-vm-web-e1','namespace':'shop','uid':'" POD
                 "','annotations':{'drover.dev/vm-uid':'%s'}%s},'spec':{'nodeName':'%s'},"
                 "'status':{'phase':'%s'}}",
                 vm, more, node, phase);
        put(&KUBE_PODS, "drover-vm-web-e1", text);
}

static void mount_at(const char *name)
{
        shell("mkdir -p '%s'", name);
        snprintf(s.mounted, sizeof(s.mounted), "%s", at(name));
        assert_int_equal(mount("claim", s.mounted, "tmpfs", 0, "size=16m"), 0);
}

static int begin(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        if (!have_mounts)
                return 0;
        memset(&s, 0, sizeof(s));
        setenv("DROVER_LOG", "error", 1);
        snprintf(s.root, sizeof(s.root), "/tmp/drover-claims-XXXXXX");
        assert_non_null(mkdtemp(s.root));
        fake_objects_init(&s.objects);
        s.api = fake_start(fake_objects_script, &s.objects);
        cfg.server = fake_url(s.api);
        s.a.config =
                (struct agent_config){.node = "n1", .kubelet_root = s.root, .disk_deadline_s = 60};
        assert_int_equal(kube_client_new(&cfg, "test", &s.a.kube, &e), 0);
        s.disks[0] = (struct vm_disk){.name = "root", .kind = DISK_BLANK, .pool = "p"};
        s.disks[1] = (struct vm_disk){
                .name = "data", .kind = DISK_PVC, .claim = "data", .pool = "default"};
        s.vm.meta = (struct meta){.name = "web", .ns = "shop", .uid = UID};
        s.vm.status.pod_name = "drover-vm-web-e1";
        s.vm.spec.disks = s.disks;
        s.vm.spec.ndisks = 2;
        put_claim("Filesystem", "ReadWriteMany", "Bound");
        put_pod("n1", UID, "Running", "");
        return 0;
}

static int finish(void **state)
{
        char command[200];

        (void)state;
        if (!have_mounts)
                return 0;
        kube_client_free(s.a.kube);
        fake_stop(s.api);
        fake_objects_free(&s.objects);
        if (*s.mounted)
                umount2(s.mounted, MNT_DETACH);
        snprintf(command, sizeof(command), "rm -rf '%s'", s.root);
        return system(command); /* NOLINT(cert-env33-c) */
}

static struct disk_source attached(void)
{
        static struct arena *last;
        struct disk_source out[2] = {{.path = "the other's"}, {0}};
        struct err e = {0};

        arena_free(last);
        last = arena_new(65536);
        if (claims_attach(&s.a, &s.vm, last, out, &e))
                fail_msg("%s", e.msg);
        assert_string_equal(out[0].path, "the other's");
        return out[1];
}

static void refused(int rc, const char *says)
{
        autoarena struct arena *ar = arena_new(65536);
        struct disk_source out[2] = {0};
        struct err e = {0};
        int got = claims_attach(&s.a, &s.vm, ar, out, &e);

        if (got != rc || !strstr(e.msg, says))
                fail_msg("%d: %s", got, e.msg);
}

/* The size of a file below the root, and what it occupies. */
static int64_t size_of(const char *name, int64_t *occupied)
{
        struct stat st;

        assert_int_equal(stat(at(name), &st), 0);
        assert_true(S_ISREG(st.st_mode));
        *occupied = st.st_blocks * 512;
        return st.st_size;
}

#define NEEDS_MOUNTS()                                                                             \
        do {                                                                                       \
                (void)state;                                                                       \
                if (!have_mounts)                                                                  \
                        skip();                                                                    \
        } while (0)

static void a_blank_disk_is_made_once(void **state)
{
        int64_t occupied;

        NEEDS_MOUNTS();
        mount_at(VOLUME);
        shell("touch " VOLUME "/disk.img.0123.new " VOLUME "/mine.img.new");
        struct disk_source d = attached();
        assert_string_equal(d.path, at(VOLUME "/disk.img"));
        assert_true(d.raw);
        assert_false(d.block);
        /* of the claim's 64 MiB there are 16, and 94 % of that in whole MiB is a disk */
        assert_int_equal(size_of(VOLUME "/disk.img", &occupied), 15 << 20);
        assert_int_equal(occupied, 0);
        shell("test ! -e " VOLUME "/disk.img.0123.new && test -e " VOLUME "/mine.img.new");
        shell("printf data >" VOLUME "/disk.img");
        assert_string_equal(attached().path, at(VOLUME "/disk.img"));
        shell("test \"$(cat " VOLUME "/disk.img)\" = data");
}

static void of_the_size_that_the_disk_has(void **state)
{
        int64_t occupied;

        NEEDS_MOUNTS();
        mount_at(CSI);
        s.disks[1].size = 65 << 20;
        refused(-EIO, "larger than the claim");
        shell("test -z \"$(ls " CSI ")\"");
        s.disks[1].size = 20 << 20; /* it may grow into what is not there yet */
        assert_string_equal(attached().path, at(CSI "/disk.img"));
        assert_int_equal(size_of(CSI "/disk.img", &occupied), 20 << 20);
}

/* A link leads to any file of the node. */
static void only_a_regular_file_is_a_disk(void **state)
{
        NEEDS_MOUNTS();
        mount_at(VOLUME);
        shell("ln -s /etc/passwd " VOLUME "/disk.img");
        refused(-EIO, "disk.img in the claim is no regular file");
        shell("rm " VOLUME "/disk.img && ln -s /nowhere/at/all " VOLUME "/disk.img");
        refused(-EIO, "no regular file");
        shell("rm " VOLUME "/disk.img && mkdir " VOLUME "/disk.img");
        refused(-EIO, "no regular file");
}

/* A folder where the claim should be mounted is never written to. */
static void a_bare_folder_is_none(void **state)
{
        NEEDS_MOUNTS();
        shell("mkdir -p " VOLUME);
        refused(-EIO, "nothing is mounted at");
        shell("test -z \"$(ls " VOLUME ")\"");
        shell("rm -r pods && mkdir -p pods/" POD "/volumes/kubernetes.io~nfs/pv-10");
        refused(-EINVAL, "volume pv-1 is not mounted by the kubelet");
        shell("rm -r pods");
        refused(-EINVAL, "disk data: claim data: volume pv-1 is not mounted by the kubelet");
}

/* -EAGAIN: it is looked at again. */
static void what_is_not_there_yet_is_waited_for(void **state)
{
        NEEDS_MOUNTS();
        mount_at(VOLUME);
        put_pod("n1", UID, "Pending", "");
        refused(-EAGAIN, "the VM's claims: pod drover-vm-web-e1 does not run");
        put_pod("n1", UID, "Running", ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        refused(-EAGAIN, "about to end");
        put_pod("n2", UID, "Running", "");
        refused(-EAGAIN, "is not the VM's on n1");
        put_pod("n1", "another", "Running", "");
        refused(-EAGAIN, "is not the VM's on n1");
        s.vm.status.pod_name = "gone";
        refused(-EAGAIN, "pod gone is gone");
        s.vm.status.pod_name = "drover-vm-web-e1";
        put_pod("n1", UID, "Running", "");
        put_claim("Filesystem", "ReadWriteMany", "Pending");
        refused(-EAGAIN, "claim data: it is bound to no volume");
        s.disks[1].claim = "other";
        refused(-EAGAIN, "there is no PersistentVolumeClaim other");
        s.vm.spec.ndisks = 1; /* it has no claims: nothing is asked */
        s.vm.status.pod_name = "gone";
        autoarena struct arena *ar = arena_new(4096);
        struct disk_source out[1];
        struct err e;
        assert_int_equal(claims_attach(&s.a, &s.vm, ar, out, &e), 0);
}

static void a_device_is_where_its_link_leads(void **state)
{
        NEEDS_MOUNTS();
        put_claim("Block", "ReadWriteMany", "Bound");
        shell("mkdir -p pods/" POD "/volumeDevices/kubernetes.io~csi && touch file");
        refused(-EINVAL, "volume pv-1 is not mounted");
        shell("ln -s %s/file " DEVICE, s.root);
        refused(-EAGAIN, "which is no block device");
        shell("rm " DEVICE " && ln -s /nowhere " DEVICE);
        refused(-EAGAIN, "leads to /nowhere, which is no block device");
        shell("rm " DEVICE " && mkdir " DEVICE);
        refused(-EINVAL, "cannot read the link");
        shell("rmdir " DEVICE);
        if (mknod(at("device"), S_IFBLK | 0600, makedev(7, 200))) {
                print_message("no right to make a device\n");
                return;
        }
        shell("ln -s %s/device " DEVICE, s.root);
        struct disk_source d = attached();
        assert_string_equal(d.path, at(DEVICE));
        assert_true(d.raw && d.block);
}

static void the_targets_pod(void **state)
{
        struct migration m = {.meta = {.name = "m", .ns = "shop"}};
        char uid[CLAIM_UID_MAX] = "";
        struct err e;

        NEEDS_MOUNTS();
        m.status.pod = "drover-vm-web-e1";
        m.status.vm_uid = UID;
        m.status.target = "n2";
        put_pod("n2", UID, "Running", "");
        assert_int_equal(claims_target_pod(&s.a, &m, uid, &e), 0);
        assert_string_equal(uid, POD);
        put_pod("n2", UID, "Pending", "");
        assert_int_equal(claims_target_pod(&s.a, &m, uid, &e), -EAGAIN);
        assert_non_null(strstr(e.msg, "the VM's claims on n2: pod drover-vm-web-e1 does not run"));
}

/* Claims are in no pool, and nothing of theirs is. */
static void pools_are_of_the_others(void **state)
{
        const char *pools[AGENT_POOLS_MAX];
        const char *keys[] = {"ssh-ed25519 AAAA"};

        NEEDS_MOUNTS();
        s.vm.spec.user_data = s.vm.spec.network_data = "";
        s.vm.spec.ssh_keys = (struct strs){keys, 1};
        assert_int_equal(disks_pools(&s.vm, pools), 1);
        assert_string_equal(pools[0], "p"); /* the disk's and the seed's */
        s.disks[0].kind = DISK_PVC;
        assert_int_equal(disks_pools(&s.vm, pools), 1);
        assert_string_equal(pools[0], "default");
        s.vm.spec.ssh_keys.n = 0;
        assert_int_equal(disks_pools(&s.vm, pools), 0);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)
        const struct CMUnitTest tests[] = {
                T(a_blank_disk_is_made_once),
                T(of_the_size_that_the_disk_has),
                T(only_a_regular_file_is_a_disk),
                T(a_bare_folder_is_none),
                T(what_is_not_there_yet_is_waited_for),
                T(a_device_is_where_its_link_leads),
                T(the_targets_pod),
                T(pools_are_of_the_others),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        have_mounts = pools_possible();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
