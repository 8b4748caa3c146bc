/* Paths of claims, and their change in a domain's XML, however hostile either is. */
#include "agent/claimpath.h"
#include "agent/domxml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ROOT  "/var/lib/kubelet"
#define A     "0a1b2c3d-1111-2222-3333-444455556666"
#define B     "ffffffff-9999-8888-7777-666655554444"
#define NFS   "/volumes/kubernetes.io~nfs/pv-1/disk.img"
#define CSI   "/volumes/kubernetes.io~csi/pvc-22/mount/disk.img"
#define BLOCK "/volumeDevices/kubernetes.io~csi/pvc-23"

static void for_another_pod(void **state)
{
        static const char *const GOOD[] = {NFS, CSI, BLOCK,
                                           "/volumes/vendor~driver/a&b<c>'\"/disk.img"};
        char path[PATH_MAX], want[PATH_MAX], got[PATH_MAX];

        (void)state;
        for (size_t i = 0; i < countof(GOOD); i++) {
                snprintf(path, sizeof(path), ROOT "/pods/" A "%s", GOOD[i]);
                snprintf(want, sizeof(want), ROOT "/pods/" B "%s", GOOD[i]);
                assert_true(claimpath_for(ROOT, path, B, got));
                assert_string_equal(got, want);
        }
}

static void others_are_none(void **state)
{
        static const char *const BAD[] = {
                "",
                "/var/lib/drover/disks/u/root.qcow2",
                ROOT "/pods/" A "/volumes/kubernetes.io~nfs/pv-1",
                ROOT "/pods/" A "/volumes/kubernetes.io~nfs/pv-1/other.img",
                ROOT "/pods/" A "/volumes/kubernetes.io~nfs/pv-1/disk.img/x",
                ROOT "/pods/" A "/volumes/kubernetes.io~nfs/pv-1/sub/disk.img",
                ROOT "/pods/" A "/volumes/kubernetes.io~nfs/../disk.img",
                ROOT "/pods/" A "/volumes/../pv-1/disk.img",
                ROOT "/pods/" A "/volumes//pv-1/disk.img",
                ROOT "/pods/../volumes/kubernetes.io~nfs/pv-1/disk.img",
                ROOT "/pods/a b/volumes/kubernetes.io~nfs/pv-1/disk.img",
                ROOT "/pods/" A "/volumeDevices/kubernetes.io~csi/pv/mount",
                ROOT "/pods/" A "/volumeDevices/kubernetes.io~csi",
                ROOT "/pods/" A "/etc-hosts",
                "/other" ROOT "/pods/" A NFS,
                ROOT "x/pods/" A NFS,
        };
        char got[PATH_MAX] = "untouched";
        static char longer[PATH_MAX];

        (void)state;
        for (size_t i = 0; i < countof(BAD); i++)
                if (claimpath_for(ROOT, BAD[i], B, got))
                        fail_msg("%s is a claim's: %s", BAD[i], got);
        assert_false(claimpath_for(ROOT, ROOT "/pods/" A NFS, "../..", got));
        assert_false(claimpath_for(ROOT, ROOT "/pods/" A NFS, "", got));
        assert_false(claimpath_for(ROOT, ROOT "/pods/" A NFS, "a'b", got));
        snprintf(longer, sizeof(longer), ROOT "/pods/" A "/volumes/");
        memset(longer + strlen(longer), 'x', 300);
        strcat(longer, "/pv/disk.img");
        assert_false(claimpath_for(ROOT, longer, B, got));
}

/* As libvirt writes them, with claims where none of ours are. */
#define FILE_DISK(path)                                                                            \
        "<disk type='file' device='disk'>\n<driver name='qemu' type='raw' cache='none'/>\n"        \
        "<source file='" path "' index='3'><seclabel model='dac' relabel='no'/></source>\n"        \
        "<target dev='vda'/></disk>"
#define BLOCK_DISK(path)                                                                           \
        "<disk type=\"block\" device=\"disk\"><source index='1' dev=\"" path "\"/></disk>"
#define REST                                                                                       \
        "<disk type='file'><source file='/var/lib/drover/disks/u/root.qcow2'/><backingStore>"      \
        "<source file='" ROOT "/pods/" A NFS "'/></backingStore></disk>"                           \
        "<serial type='pty'><source path='" ROOT "/pods/" A NFS "'/><log file='" ROOT              \
        "/pods/" A NFS "'/></serial><!-- <disk><source file='" ROOT "/pods/" A NFS                 \
        "'/></disk> -->"                                                                           \
        "<source file='" ROOT "/pods/" A NFS "'/>"
#define DOMAIN(disks)                                                                              \
        "<domain type='kvm'><name>" ROOT "/pods/" A NFS "</name><metadata><devices><disk>"         \
        "<source file='" ROOT "/pods/" A NFS "'/></disk></devices></metadata><devices>" disks REST \
        "</devices></domain>"

static void only_the_disks_own_sources_change(void **state)
{
        autobuf struct buf out = buf_new(DOMXML_MAX);
        struct err e;
        size_t n;

        (void)state;
        assert_int_equal(
                claimpath_move(ROOT,
                               DOMAIN(FILE_DISK(ROOT "/pods/" A NFS) FILE_DISK(ROOT "/pods/" A CSI)
                                              BLOCK_DISK(ROOT "/pods/" A BLOCK)),
                               B, &out, &n, &e),
                0);
        assert_int_equal(n, 3);
        assert_string_equal(buf_str(&out),
                            DOMAIN(FILE_DISK(ROOT "/pods/" B NFS) FILE_DISK(ROOT "/pods/" B CSI)
                                           BLOCK_DISK(ROOT "/pods/" B BLOCK)));
        buf_reset(&out);
        assert_int_equal(claimpath_move(ROOT, DOMAIN(""), B, &out, &n, &e), 0);
        assert_int_equal(n, 0);
        assert_string_equal(buf_str(&out), DOMAIN(""));
}

static bool none_there(const char *path)
{
        (void)path;
        return false;
}

static bool first_there(const char *path)
{
        return !strcmp(path, ROOT "/pods/" A BLOCK);
}

/* Of devices alone: to look at a file might hang. */
static void lost_links(void **state)
{
        static const char XML[] = DOMAIN(FILE_DISK(ROOT "/pods/" A NFS) BLOCK_DISK(
                "/dev/sda") BLOCK_DISK(ROOT "/pods/" A BLOCK) BLOCK_DISK(ROOT "/pods/" B BLOCK));
        char path[PATH_MAX];

        (void)state;
        assert_true(claimpath_lost(ROOT, XML, none_there, path));
        assert_string_equal(path, ROOT "/pods/" A BLOCK);
        assert_true(claimpath_lost(ROOT, XML, first_there, path));
        assert_string_equal(path, ROOT "/pods/" B BLOCK);
        assert_false(claimpath_lost(ROOT, DOMAIN(""), none_there, path));
        assert_false(claimpath_lost("/other", XML, none_there, path));
}

/* What is escaped stays escaped, and what looks like an end of the value is none. */
static void names_are_escaped(void **state)
{
        autobuf struct buf out = buf_new(DOMXML_MAX);
        struct err e;
        size_t n;

        (void)state;
        assert_int_equal(
                claimpath_move(ROOT,
                               DOMAIN(FILE_DISK(ROOT "/pods/" A
                                                     "/volumes/p/a&apos;&lt;b&amp;lt;/disk.img")),
                               B, &out, &n, &e),
                0);
        assert_int_equal(n, 1);
        assert_string_equal(
                buf_str(&out),
                DOMAIN(FILE_DISK(ROOT "/pods/" B "/volumes/p/a&apos;&lt;b&amp;lt;/disk.img")));
        buf_reset(&out); /* "&#47;" is a slash: five parts, not four */
        assert_int_equal(
                claimpath_move(ROOT,
                               DOMAIN(FILE_DISK(ROOT "/pods/" A "/volumes/p/a&#47;b/disk.img")), B,
                               &out, &n, &e),
                0);
        assert_int_equal(n, 0);
}

static void what_is_not_xml_is_left_alone(void **state)
{
        static const char *const TEXTS[] = {"",
                                            "<",
                                            "<domain",
                                            "</a></a></a></a>",
                                            ("<domain><devices><disk><source file='" ROOT),
                                            "<domain><devices><disk><source file>",
                                            "<a><b><c><d><e><f><source file='x'/>"};
        struct err e;
        size_t n;

        (void)state;
        for (size_t i = 0; i < countof(TEXTS); i++) {
                autobuf struct buf out = buf_new(DOMXML_MAX);
                assert_int_equal(claimpath_move(ROOT, TEXTS[i], B, &out, &n, &e), 0);
                assert_string_equal(buf_str(&out), TEXTS[i]);
                assert_int_equal(n, 0);
        }
        autobuf struct buf tiny = buf_new(16);
        assert_int_equal(claimpath_move(ROOT, DOMAIN(""), B, &tiny, &n, &e), -E2BIG);
        assert_int_equal(claimpath_move(ROOT, DOMAIN(""), "a/b", &tiny, &n, &e), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(for_another_pod),
                cmocka_unit_test(others_are_none),
                cmocka_unit_test(only_the_disks_own_sources_change),
                cmocka_unit_test(lost_links),
                cmocka_unit_test(names_are_escaped),
                cmocka_unit_test(what_is_not_xml_is_left_alone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
