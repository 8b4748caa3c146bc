#include "agent/checkup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A list of findings in an arena of its own, for one row. */
struct list {
        struct arena *arena;
        struct findings f;
};

static struct list begin(void)
{
        struct list l = {.arena = arena_new(1 << 18)};

        l.f = findings_new(l.arena, 32);
        return l;
}

/* Every finding that is not well says how to mend it. */
static void check_remedies(const struct findings *f)
{
        assert_false(f->failed);
        for (size_t i = 0; i < f->n; i++)
                if (f->v[i].verdict != DOCTOR_OK)
                        assert_true(strlen(f->v[i].mend) > 10);
}

/* The last finding of that check: its verdict, or -1. */
static int verdict_of(const struct findings *f, unsigned check)
{
        int found = -1;

        for (size_t i = 0; i < f->n; i++)
                if (f->v[i].check == check && (int)f->v[i].verdict > found)
                        found = (int)f->v[i].verdict;
        return found;
}

static void mounts(void **state)
{
#define NFS42 "rw,vers=4.2,hard,proto=tcp,local_lock=none"
        static const struct {
                struct checkup_mount m;
                int mount, options;
                const char *said;
        } ROWS[] = {
                {{.mounted = true, .fstype = "nfs4", .options = NFS42}, 0, 0, "mounted safely"},
                {{.mounted = false}, 2, -1, "nothing is mounted"},
                {{.mounted = false, .elsewhere = true}, 2, -1, "does not see it"},
                {{.mounted = true, .elsewhere = true, .fstype = "nfs4", .options = NFS42},
                 2,
                 -1,
                 "another mount"},
                {{.mounted = true, .fstype = "nfs4", .options = "rw,vers=4.2,soft"}, 0, 2, "soft"},
                {{.mounted = true, .fstype = "nfs4", .options = "rw,softerr,vers=4.2"},
                 0,
                 2,
                 "soft"},
                {{.mounted = true, .fstype = "nfs", .options = "rw,vers=4.2,nolock,hard"},
                 0,
                 2,
                 "nolock"},
                {{.mounted = true, .fstype = "nfs", .options = "rw,vers=4.2,local_lock=all"},
                 0,
                 2,
                 "local_lock"},
                {{.mounted = true, .fstype = "nfs", .options = "rw,vers=4.2,local_lock=posix"},
                 0,
                 2,
                 "local_lock"},
                {{.mounted = true, .fstype = "nfs4", .options = "rw,vers=4.1,hard"}, 0, 1, "4.1"},
                {{.mounted = true, .fstype = "nfs", .options = "rw,vers=3,hard"},
                 0,
                 1,
                 "rpc.statd"},
                {{.mounted = true, .fstype = "nfs4", .options = "ro,vers=4.2,hard"},
                 0,
                 2,
                 "read-only"},
                /* no option is taken for another that begins alike */
                {{.mounted = true, .fstype = "nfs4", .options = "rw,softreval,vers=4.2,nolocks"},
                 0,
                 0,
                 "mounted safely"},
                {{.mounted = true, .fstype = "ext4", .options = "rw,relatime"}, 0, 1, "ext4"},
                {{.mounted = true, .fstype = "ceph", .options = "rw"}, 0, 0, "ceph"},
                {{.mounted = true, .fstype = "nfs4", .options = NFS42, .wanted = "nas:/x/"},
                 0,
                 0,
                 "mounted safely"},
                {{.mounted = true, .fstype = "nfs4", .options = NFS42, .wanted = "nas:/y"},
                 2,
                 0,
                 "and not nas:/y"},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct checkup_mount m = ROWS[i].m;
                struct list l = begin();
                bool said = false;

                m.pool = "default";
                m.path = "/pool";
                m.source = "nas:/x";
                checkup_mount(&m, "n1", &l.f);
                if (verdict_of(&l.f, DOCTOR_POOL_MOUNT) != ROWS[i].mount ||
                    verdict_of(&l.f, DOCTOR_POOL_OPTIONS) != ROWS[i].options)
                        fail_msg("row %zu", i);
                for (size_t k = 0; k < l.f.n; k++)
                        said |= strstr(l.f.v[k].says, ROWS[i].said) != NULL;
                if (!said)
                        fail_msg("row %zu does not say %s", i, ROWS[i].said);
                check_remedies(&l.f);
                arena_free(l.arena);
        }
}

static void space(void **state)
{
        const int64_t gib = 1 << 30;
        const struct {
                struct checkup_space s;
                int want;
        } ROWS[] = {
                {{50 * gib, 100 * gib, 1000, 1000}, DOCTOR_OK},
                {{4 * gib, 100 * gib, 1000, 1000}, DOCTOR_WARNING},
                {{4 * gib, 10 * gib, 1000, 1000}, DOCTOR_OK}, /* small, and half of it free */
                {{0, 100 * gib, 1000, 1000}, DOCTOR_FAULT},
                {{50 * gib, 100 * gib, 0, 1000}, DOCTOR_FAULT},
                {{50 * gib, 100 * gib, 10, 1000}, DOCTOR_WARNING},
                {{50 * gib, 100 * gib, 0, 0}, DOCTOR_OK}, /* does not count them */
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct list l = begin();

                checkup_space("default", &ROWS[i].s, "n1", &l.f);
                if (verdict_of(&l.f, DOCTOR_POOL_SPACE) != ROWS[i].want)
                        fail_msg("row %zu: %s", i, l.f.v[0].says);
                check_remedies(&l.f);
                arena_free(l.arena);
        }
}

static void writes(void **state)
{
        struct list l = begin();

        (void)state;
        checkup_write("p", NULL, 2000, "n1", &l.f);
        assert_int_equal(l.f.v[0].verdict, DOCTOR_OK);
        checkup_write("p", NULL, 1500000, "n1", &l.f);
        assert_int_equal(l.f.v[1].verdict, DOCTOR_WARNING);
        checkup_write("p", "fsync: Input/output error", 10, "n1", &l.f);
        assert_int_equal(l.f.v[2].verdict, DOCTOR_FAULT);
        assert_non_null(strstr(l.f.v[2].says, "Input/output error"));
        check_remedies(&l.f);
        arena_free(l.arena);
}

static void hypervisors(void **state)
{
        static const struct {
                const char *type, *qemu, *libvirt;
                int want[3]; /* libvirt, KVM, QEMU */
        } ROWS[] = {
                {"kvm", "7.2.0", "9.0.0", {0, 0, 0}},  {"qemu", "7.2.0", "9.0.0", {0, 1, 1}},
                {"qemu", "9.0.0", "9.0.0", {0, 1, 0}}, {"qemu", "10.1.0", "9.0.0", {0, 1, 0}},
                {"kvm", "9.1.0", "8.10.0", {1, 0, 0}},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct host h = {.virt_type = ROWS[i].type,
                                 .qemu_version = ROWS[i].qemu,
                                 .libvirt_version = ROWS[i].libvirt};
                const unsigned checks[] = {DOCTOR_LIBVIRT, DOCTOR_KVM, DOCTOR_QEMU};
                struct list l = begin();

                checkup_hypervisor(&h, true, false, "n1", &l.f);
                for (size_t k = 0; k < countof(checks); k++)
                        if (verdict_of(&l.f, checks[k]) != ROWS[i].want[k])
                                fail_msg("row %zu, check %u", i, checks[k]);
                check_remedies(&l.f);
                arena_free(l.arena);
        }
}

static void certificates(void **state)
{
        const int64_t now = 1000000000, day = 86400;
        const struct x509_facts good = {now - day, now + 100 * day, true, true};
        struct x509_facts expired = good, early = good, soon = good, stranger = good, forged = good;

        (void)state;
        expired.until_s = now;
        early.from_s = now + 1;
        soon.until_s = now + 29 * day;
        stranger.names = false;
        forged.signed_by = false;
        const struct {
                struct checkup_cert c;
                int want;
        } ROWS[] = {
                {{.facts = good, .names_node = true}, DOCTOR_OK},
                {{.facts = forged, .ca = true}, DOCTOR_OK}, /* a CA may be anybody's */
                {{.facts = stranger}, DOCTOR_OK},           /* a client's may have any name */
                {{.facts = stranger, .names_node = true}, DOCTOR_FAULT},
                {{.facts = forged}, DOCTOR_FAULT},
                {{.facts = expired}, DOCTOR_FAULT},
                {{.facts = early}, DOCTOR_FAULT},
                {{.facts = soon}, DOCTOR_WARNING},
                {{.error = "cannot be read"}, DOCTOR_FAULT},
        };
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct checkup_cert c = ROWS[i].c;
                struct list l = begin();

                c.path = "/etc/pki/x.pem";
                checkup_pki(&c, 1, now, "n1", &l.f);
                assert_int_equal(l.f.n, 1);
                if ((int)l.f.v[0].verdict != ROWS[i].want)
                        fail_msg("row %zu: %s", i, l.f.v[0].says);
                check_remedies(&l.f);
                arena_free(l.arena);
        }
}

static void bridges(void **state)
{
        const char *br0[] = {"br0"}, *both[] = {"br0", "br7"};
        const struct strs have = {br0, 1}, want = {both, 2}, none = {NULL, 0};
        struct list l = begin();

        (void)state;
        checkup_bridges(&have, &have, "n1", &l.f);
        checkup_bridges(&none, &none, "n1", &l.f);
        assert_int_equal(verdict_of(&l.f, DOCTOR_BRIDGES), DOCTOR_OK);
        checkup_bridges(&have, &want, "n1", &l.f);
        assert_int_equal(l.f.n, 3);
        assert_int_equal(l.f.v[2].verdict, DOCTOR_WARNING);
        assert_string_equal(l.f.v[2].subject, "br7");
        check_remedies(&l.f);
        arena_free(l.arena);
}

static void host_names(void **state)
{
        static const struct {
                int64_t ms;
                const char *address, *back;
                int want;
        } ROWS[] = {
                {1, "192.0.2.1", "n2", DOCTOR_OK},     {49, "192.0.2.1", "n2", DOCTOR_OK},
                {50, "192.0.2.1", "n2", DOCTOR_FAULT}, {1, "192.0.2.1", "", DOCTOR_WARNING},
                {1000, "", "", DOCTOR_FAULT},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct list l = begin();

                checkup_name("n2", ROWS[i].ms, ROWS[i].address, ROWS[i].back, "n1", &l.f);
                if (verdict_of(&l.f, DOCTOR_NAMES) != ROWS[i].want)
                        fail_msg("row %zu", i);
                check_remedies(&l.f);
                arena_free(l.arena);
        }
}

/* Missing, they are worth a word; there, they are nothing to tell. */
static void dh_parameters(void **state)
{
        struct list l = begin();

        (void)state;
        checkup_dh_params(true, "/etc/x.pem", "n1", &l.f);
        assert_int_equal(l.f.n, 0);
        checkup_dh_params(false, "/etc/x.pem", "n1", &l.f);
        assert_int_equal(l.f.n, 1);
        assert_int_equal(l.f.v[0].check, DOCTOR_PKI);
        assert_int_equal(l.f.v[0].verdict, DOCTOR_WARNING);
        check_remedies(&l.f);
        arena_free(l.arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(mounts),       cmocka_unit_test(space),
                cmocka_unit_test(writes),       cmocka_unit_test(hypervisors),
                cmocka_unit_test(certificates), cmocka_unit_test(bridges),
                cmocka_unit_test(host_names),   cmocka_unit_test(dh_parameters),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
