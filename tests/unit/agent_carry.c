/*
 * Which disks of a running guest come along with a move, by its domain's XML as libvirt prints it.
 */
#include "agent/carry.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UID "11111111-2222-3333-4444-555555555555"

static const struct agent_config CONFIG = {
        .node = "n1",
        .pools = {{.name = "default", .path = "/var/lib/drover"},
                  {.name = "scratch", .path = "/mnt/scratch", .local = true},
                  {.name = "fast", .path = "/mnt/scratch2", .local = true}},
        .npools = 3,
};

#define DISK(path, backing, target)                                                                \
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"          \
        "<source file='" path "' index='2'/>" backing "<target dev='" target                       \
        "' bus='virtio'/><alias name='x'/></disk>"
#define DOMAIN(disks) "<domain type='kvm'><devices>" disks "<interface/></devices></domain>"
#define MIRROR        "<mirror type='file'><source file='/mnt/scratch/x'/></mirror>"
#define BACKING                                                                                    \
        "<backingStore type='file' index='3'><format type='qcow2'/><source "                       \
        "file='/var/lib/drover/images/base'/><backingStore/></backingStore>"

static void what_comes_along(void **state)
{
        struct carried c;
        struct err e;

        (void)state;
        assert_int_equal(
                carry_parse(&CONFIG, UID,
                            DOMAIN(DISK("/var/lib/drover/disks/" UID "/root.qcow2", BACKING,
                                        "vda") DISK("/mnt/scratch/disks/" UID "/data.qcow2",
                                                    "<backingStore/>" MIRROR, "vdb")
                                           DISK("/mnt/scratch2/disks/" UID "/a.b.qcow2", "", "vdc")
                                                   DISK("/mnt/scratch/seeds/" UID "/cidata.iso", "",
                                                        "sda")),
                            &c, &e),
                0);
        assert_int_equal(c.n, 3);
        assert_string_equal(c.v[0].target, "vdb");
        assert_string_equal(c.v[0].pool, "scratch");
        assert_string_equal(c.v[0].name, "data");
        assert_string_equal(c.v[1].target, "vdc");
        assert_string_equal(c.v[1].pool, "fast");
        assert_string_equal(c.v[1].name, "a.b");
        assert_string_equal(c.v[2].target, "sda");
        assert_string_equal(c.v[2].name, "");
        c.v[0].size = 5;
        c.v[1].size = INT64_C(1) << 40;
        const struct transfer t = {.disks = c.v, .ndisks = c.n};
        assert_int_equal(carry_bytes(&t), (INT64_C(1) << 40) + 5);
        assert_true(carry_copies(&t));
        const struct transfer seed = {.disks = c.v + 2, .ndisks = 1};
        assert_false(carry_copies(&seed));
        carry_free(&c);
}

static void what_cannot(void **state)
{
        static const struct {
                const char *xml, *why;
        } ROWS[] = {
                {DOMAIN(DISK("/mnt/scratch/disks/" UID "/root.qcow2", BACKING, "vda")),
                 "disk root in the local pool scratch is an overlay"},
                {DOMAIN(DISK("/mnt/scratch/disks/another/root.qcow2", "", "vda")),
                 "is no disk of the VM"},
                {DOMAIN(DISK("/mnt/scratch/disks/" UID "/x/root.qcow2", "", "vda")),
                 "is no disk of the VM"},
                {DOMAIN(DISK("/mnt/scratch/disks/" UID "/.qcow2", "", "vda")),
                 "is no disk of the VM"},
                {DOMAIN(DISK("/mnt/scratch/iso/install.iso", "", "sda")), "is no disk of the VM"},
                {DOMAIN(DISK("/mnt/scratch/disks/" UID "/root.qcow2", "", "")), "is no disk"},
        };
        struct carried c;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                if (carry_parse(&CONFIG, UID, ROWS[i].xml, &c, &e) != -EINVAL ||
                    !strstr(e.msg, ROWS[i].why))
                        fail_msg("row %zu: %s", i, e.msg);
        }
}

static void nothing_comes_along(void **state)
{
        static const char *const ROWS[] = {
                "",
                "<domain/>",
                "<disk",
                "<disk><source file='/mnt/scratch/",
                DOMAIN(""),
                DOMAIN(DISK("/var/lib/drover/disks/" UID "/root.qcow2", BACKING, "vda")),
                DOMAIN(DISK("/mnt/scratchy/disks/" UID "/root.qcow2", "", "vda")),
                DOMAIN("<disk type='file'><target dev='sda'/></disk>"),
                /* not a disk's own file */
                DOMAIN(DISK("/var/lib/drover/disks/" UID "/root.qcow2", MIRROR, "vda")),
        };
        struct carried c;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                assert_int_equal(carry_parse(&CONFIG, UID, ROWS[i], &c, &e), 0);
                assert_int_equal(c.n, 0);
                carry_free(&c);
        }
}

static void more_than_there_can_be(void **state)
{
        autobuf struct buf b = buf_new(65536);
        struct carried c;
        struct err e;

        (void)state;
        for (int i = 0; i <= CARRY_MAX; i++)
                buf_adds(&b, DISK("/mnt/scratch/disks/" UID "/d.qcow2", "", "vda"));
        assert_int_equal(carry_parse(&CONFIG, UID, buf_str(&b), &c, &e), -EINVAL);
}

/* By what QEMU says of the disk, which its alias leads to. */
static void snapshots_do_not(void **state)
{
        static const char XML[] =
                DOMAIN("<disk type='file' device='disk'><source file='/mnt/scratch/disks/" UID
                       "/data.qcow2'/><target dev='vdb'/><alias name='virtio-disk1'/></disk>");
        static const struct {
                const char *blocks;
                int rc;
                const char *why;
        } ROWS[] = {
                {"{\"return\":[{\"qdev\":\"/machine/peripheral/virtio-disk1/virtio-backend\","
                 "\"inserted\":{\"image\":{\"snapshots\":[{\"name\":\"a\"}]}}}]}",
                 -EINVAL, "disk data in the local pool scratch has snapshots"},
                {"{\"return\":[{\"qdev\":\"/machine/peripheral/virtio-disk1/virtio-backend\","
                 "\"inserted\":{\"image\":{\"virtual-size\":1}}}]}",
                 0, ""},
                {"{\"return\":[{\"qdev\":\"/machine/peripheral/virtio-disk11/virtio-backend\","
                 "\"inserted\":{\"image\":{}}}]}",
                 -EAGAIN, "QEMU does not speak of the disk vdb"},
        };
        struct carried c;
        struct err e;

        (void)state;
        assert_int_equal(carry_parse(&CONFIG, UID, XML, &c, &e), 0);
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *blocks = NULL;

                e = (struct err){0};
                assert_int_equal(
                        json_parse(ROWS[i].blocks, strlen(ROWS[i].blocks), 4096, &blocks, &e), 0);
                assert_int_equal(carry_check_snapshots(XML, blocks, &c, &e), ROWS[i].rc);
                if (!strstr(e.msg, ROWS[i].why))
                        fail_msg("row %zu: %s", i, e.msg);
        }
        carry_free(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_comes_along),    cmocka_unit_test(what_cannot),
                cmocka_unit_test(nothing_comes_along), cmocka_unit_test(more_than_there_can_be),
                cmocka_unit_test(snapshots_do_not),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
