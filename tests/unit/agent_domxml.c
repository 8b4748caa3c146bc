#include "agent/domxml.h"
#include "agent/xml.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct vm_disk disks[] = {{.name = "root", .pool = "default"},
                                 {.name = "data", .pool = "default"}};
static struct vm_network networks[] = {
        {.name = "net", .bridge = "br0", .mac = "52:54:00:aa:bb:01", .model = "virtio"},
        {.name = "two", .bridge = "br'1", .mac = "", .model = "e1000"}};

static struct vm a_vm(void)
{
        struct vm vm;

        memset(&vm, 0, sizeof(vm));
        vm.meta.ns = "default";
        vm.meta.name = "web";
        vm.meta.uid = "11111111-2222-3333-4444-555555555555";
        vm.spec.restarted_at = "2026-01-01T00:00:00Z";
        vm.spec.restore = (struct vm_restore){"", ""};
        vm.spec.shape = (struct vm_shape){2, "", 512 << 20, ""};
        vm.spec.disks = disks;
        vm.spec.ndisks = 2;
        vm.spec.networks = networks;
        vm.spec.nnetworks = 2;
        vm.status.owner.node = "n1";
        vm.status.owner.epoch = 7;
        return vm;
}

static struct agent_config config = {
        .console_dir = "/var/log/libvirt/qemu", .cpu_model = "", .emulator = ""};

/* Prints, and checks on the way that the tags nest. */
static void print(const struct vm *vm, const struct vm_shape *shape, const char *type,
                  const char *seed, struct buf *b)
{
        const struct disk_source sources[] = {
                {.path = "/p/disks/u/root.qcow2"},
                {.path = "/p/disks/u/a'b<c.qcow2"},
                {.path = "/k/pods/u/volumes/kubernetes.io~nfs/pv/disk.img", .raw = true},
                {.path = "/k/pods/u/volumeDevices/kubernetes.io~csi/pv",
                 .raw = true,
                 .block = true}};
        const struct domain_plan plan = {&config, type, vm, shape, sources, seed};
        struct xml_tag t;
        struct err e;
        int depth = 0;

        assert_int_equal(domxml_print(&plan, b, &e), 0);
        const char *at = buf_str(b);
        while (xml_next(&at, &t)) {
                depth += t.kind == XML_OPEN ? 1 : t.kind == XML_CLOSE ? -1 : 0;
                assert_true(depth >= 0);
        }
        assert_int_equal(depth, 0);
}

static void has(const struct buf *b, const char *part)
{
        if (!strstr(buf_str(b), part))
                fail_msg("no %s in %s", part, buf_str(b));
}

static void emulated(void **state)
{
        struct vm vm = a_vm();
        autobuf struct buf b = buf_new(DOMXML_MAX);

        (void)state;
        print(&vm, &vm.spec.shape, "qemu", NULL, &b);
        has(&b, "<domain type='qemu'><name>default_web</name>"
                "<uuid>11111111-2222-3333-4444-555555555555</uuid>");
        has(&b, "<drover:vm xmlns:drover='https://drover.dev/v1' namespace='default' name='web' "
                "epoch='7' restartedAt='2026-01-01T00:00:00Z'/>");
        has(&b, "<memory unit='b'>536870912</memory><vcpu>2</vcpu>");
        has(&b, "machine='q35'");
        has(&b, "check='none'><model fallback='forbid'>qemu64</model>");
        has(&b, "cache='none' error_policy='stop'");
        has(&b, "<source file='/p/disks/u/root.qcow2'/><target dev='vda' bus='virtio'/>");
        has(&b, "<source file='/p/disks/u/a&apos;b&lt;c.qcow2'/><target dev='vdb' bus='virtio'/>");
        has(&b, "<mac address='52:54:00:aa:bb:01'/><source bridge='br0'/><model type='virtio'/>");
        has(&b, "<source bridge='br&apos;1'/><model type='e1000'/>");
        has(&b, "<log file='/var/log/libvirt/qemu/default_web.console.log' append='on'/>");
        has(&b, "org.qemu.guest_agent.0");
        has(&b, "listen='127.0.0.1'");
        has(&b, "<on_crash>destroy</on_crash>");
        assert_null(strstr(buf_str(&b), "cdrom"));
        assert_null(strstr(buf_str(&b), "hugepages"));
        assert_null(strstr(buf_str(&b), "emulator"));
}

static void with_kvm_huge_pages_and_a_seed(void **state)
{
        struct vm vm = a_vm();
        struct vm_shape running = {4, "Skylake-Server", 1LL << 30, "1Gi"};
        autobuf struct buf b = buf_new(DOMXML_MAX);

        (void)state;
        config.emulator = "/opt/qemu";
        print(&vm, &running, "kvm", "/p/seeds/u/cidata.iso", &b);
        config.emulator = "";
        has(&b, "<domain type='kvm'>");
        has(&b, "check='partial'><model fallback='forbid'>Skylake-Server</model>");
        has(&b, "cores='4'");
        has(&b, "<page size='1048576' unit='KiB'/>");
        has(&b, "<emulator>/opt/qemu</emulator>");
        has(&b, "device='cdrom'><driver name='qemu' type='raw'/><source "
                "file='/p/seeds/u/cidata.iso'/>");
        buf_reset(&b);
        running.huge_pages = "2Mi";
        running.cpu_model = "";
        print(&vm, &running, "kvm", NULL, &b);
        has(&b, "<page size='2048' unit='KiB'/>");
        has(&b, ">Nehalem</model>");
        buf_reset(&b);
        config.cpu_model = "Penryn";
        print(&vm, &running, "kvm", NULL, &b);
        config.cpu_model = "";
        has(&b, ">Penryn</model>");
}

/* Raw, whatever they begin with: who writes to such a disk writes its first bytes, too. */
static void claims_are_raw(void **state)
{
        struct vm_disk four[] = {disks[0], disks[1], {.name = "data"}, {.name = "dev"}};
        struct vm vm = a_vm();
        autobuf struct buf b = buf_new(DOMXML_MAX);

        (void)state;
        vm.spec.disks = four;
        vm.spec.ndisks = 4;
        print(&vm, &vm.spec.shape, "qemu", NULL, &b);
        has(&b, "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'");
        has(&b, "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' "
                "error_policy='stop' discard='unmap'/><source "
                "file='/k/pods/u/volumes/kubernetes.io~nfs/pv/disk.img'/><target dev='vdc'");
        has(&b, "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' "
                "error_policy='stop' discard='unmap'/><source "
                "dev='/k/pods/u/volumeDevices/kubernetes.io~csi/pv'/><target dev='vdd'");
}

static void bounds(void **state)
{
        struct vm vm = a_vm();
        const struct domain_plan plan = {&config, "qemu", &vm, &vm.spec.shape, NULL, NULL};
        autobuf struct buf b = buf_new(500);
        struct err e;

        (void)state;
        vm.spec.ndisks = DOMXML_DISKS + 1;
        assert_int_equal(domxml_print(&plan, &b, &e), -EINVAL);
        vm.spec.ndisks = 0;
        assert_int_equal(domxml_print(&plan, &b, &e), -E2BIG);
}

static void metadata_there_and_back(void **state)
{
        struct domain_meta m = {"a-ns", "na<me'", 3, "x&y", "0123456789abcdef", true, "m'1", true},
                           got;
        autobuf struct buf b = buf_new(4096), out = buf_new(4096);
        struct err e;

        (void)state;
        assert_int_equal(domain_meta_print(&m, true, &b), 0);
        assert_true(domain_meta_parse(buf_str(&b), &got));
        assert_string_equal(got.ns, m.ns);
        assert_string_equal(got.name, m.name);
        assert_string_equal(got.restarted_at, m.restarted_at);
        assert_string_equal(got.migration, m.migration);
        assert_string_equal(got.restored, m.restored);
        assert_true(got.epoch == 3 && got.incoming && got.ended);
        buf_reset(&b);
        m.incoming = m.ended = false;
        assert_int_equal(domain_meta_print(&m, false, &b), 0);
        assert_true(domain_meta_parse(buf_str(&b), &got));
        assert_false(got.incoming || got.ended);
        assert_false(domain_meta_parse("<domain><metadata/></domain>", &got));
        assert_false(domain_meta_parse("<vm namespace='a' name='b'/>", &got)); /* no epoch */

        m.epoch = 4;
        assert_int_equal(domain_meta_replace("<domain><metadata>\n  <drover:vm xmlns:drover=\"u\" "
                                             "namespace=\"n\" name=\"m\" epoch=\"3\"/>\n</metadata>"
                                             "<vcpu>1</vcpu></domain>",
                                             &m, &out, &e),
                         0);
        assert_true(domain_meta_parse(buf_str(&out), &got));
        assert_int_equal(got.epoch, 4);
        has(&out, "<domain><metadata>\n  <drover:vm ");
        has(&out, "/>\n</metadata><vcpu>1</vcpu></domain>");
        buf_reset(&out);
        assert_int_equal(domain_meta_replace("<domain/>", &m, &out, &e), -EINVAL);
}

/* What metadata cannot carry unchanged must not look like another restart. */
static void restarts_survive_the_metadata(void **state)
{
        struct vm vm = a_vm();
        struct domain_meta m;
        struct ownership o;
        char longer[400];

        (void)state;
        memset(longer, 'a', sizeof(longer));
        longer[3] = '\n';
        longer[sizeof(longer) - 1] = '\0';
        vm.status.granted = (struct vm_grant){7, longer, vm.spec.shape};
        domain_meta_of(&vm, &m);
        ownership_of(&vm, "n1", true, 7, m.restarted_at, &o);
        assert_int_equal(o.want, OWN_RUN);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(emulated),
                cmocka_unit_test(with_kvm_huge_pages_and_a_seed),
                cmocka_unit_test(claims_are_raw),
                cmocka_unit_test(bounds),
                cmocka_unit_test(metadata_there_and_back),
                cmocka_unit_test(restarts_survive_the_metadata),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
