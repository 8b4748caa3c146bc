/* What may hang: each a process of its own, which prints what it has found as it goes. */
#include "agent/checkup.h"
#include "agent/doctor.h"
#include "agent/facts.h"
#include "agent/names.h"
#include "agent/pool.h"
#include "agent/virt.h"
#include "base/mono.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define TEST_SIZE 65536
#define STALE_S   3600 /* files of a run that came to no good end */

/* --- pool POOL PATH NAME */

/* 0, or the errno of the step that failed. */
static int write_and_read(int fd, const char **step)
{
        static char want[TEST_SIZE], got[TEST_SIZE];

        for (size_t i = 0; i < sizeof(want); i++)
                want[i] = (char)('a' + i % 23);
        *step = "write";
        if (pwrite(fd, want, sizeof(want), 0) != (ssize_t)sizeof(want))
                return errno ? errno : ENOSPC;
        *step = "fsync";
        if (fsync(fd))
                return errno;
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        *step = "read";
        if (pread(fd, got, sizeof(got), 0) != (ssize_t)sizeof(got))
                return errno ? errno : EIO;
        *step = "compare";
        return memcmp(want, got, sizeof(want)) != 0 ? EIO : 0;
}

static void test_write(const char *pool, const char *name, const char *node, struct findings *f)
{
        char file[DOCTOR_NAME_MAX + 16], why[256];
        const char *step = "create";
        struct mono start = mono_now();

        (void)mkdir(".drover", 0755); /* the agent's probe does the same */
        snprintf(file, sizeof(file), ".drover/%s", name);
        errno = 0;
        int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        int rc = fd < 0 ? errno : write_and_read(fd, &step);
        int64_t us = (mono_now().ns - start.ns) / 1000;
        if (fd >= 0 && close(fd) && !rc)
                rc = errno;
        if (fd >= 0)
                unlink(file);
        snprintf(why, sizeof(why), "%s: %s", step, strerror(rc));
        checkup_write(pool, rc ? why : NULL, us, node, f);
}

static int part_pool(const struct agent_config *c, char **argv, struct findings *f)
{
        struct statvfs s;
        struct err e;

        if (enter_pool(argv[1], &e)) {
                checkup_write(argv[0], e.msg, 0, c->node, f);
                return 0;
        }
        test_write(argv[0], argv[2], c->node, f);
        doctor_tell(f);
        if (!statvfs(".", &s)) {
                struct checkup_space space = {
                        .free = (int64_t)((uint64_t)s.f_bavail * s.f_frsize),
                        .total = (int64_t)((uint64_t)s.f_blocks * s.f_frsize),
                        .inodes_free = (int64_t)s.f_favail,
                        .inodes_total = (int64_t)s.f_files,
                };
                checkup_space(argv[0], &space, c->node, f);
        }
        return 0;
}

/* --- forget PATH NAME */

/* A node may be called doctor-1: only what has a run's number in its name is a run's. */
static bool of_a_run(const char *name)
{
        const char *const KINDS[] = {"moves-doctor-", "lock-doctor-", "doctor-"};

        for (size_t i = 0; i < countof(KINDS); i++) {
                size_t len = strlen(KINDS[i]);

                if (!strncmp(name, KINDS[i], len) &&
                    strspn(name + len, "0123456789abcdef") == DOCTOR_RUN_MAX &&
                    name[len + DOCTOR_RUN_MAX] == '-')
                        return true;
        }
        return false;
}

/* What a run has left that was killed and could not even do this; any node's. */
static void sweep(int dir)
{
        DIR *d = fdopendir(dup(dir));
        struct dirent *entry;
        struct stat s;

        while (d && (entry = readdir(d)))
                if (of_a_run(entry->d_name) &&
                    !fstatat(dir, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) && S_ISREG(s.st_mode) &&
                    s.st_mtime < time(NULL) - STALE_S)
                        unlinkat(dir, entry->d_name, 0);
        if (d)
                closedir(d);
}

static int part_forget(const struct agent_config *c, char **argv, struct findings *f)
{
        const char *const KINDS[] = {"moves-", "lock-", ""};
        char name[DOCTOR_NAME_MAX + 8];
        int failed = 0;
        struct err e;

        (void)c;
        (void)f;
        if (enter_pool(argv[0], &e)) {
                printf("%s\n", e.msg);
                return 1;
        }
        autoclose int dir = open(".drover", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; dir >= 0 && i < countof(KINDS); i++) {
                snprintf(name, sizeof(name), "%s%s", KINDS[i], argv[1]);
                if (unlinkat(dir, name, 0) && errno != ENOENT)
                        failed = errno;
        }
        if (dir >= 0)
                sweep(dir);
        else if (errno != ENOENT)
                failed = errno;
        if (failed)
                printf("%s/.drover: %s\n", argv[0], strerror(failed));
        return failed ? 1 : 0;
}

/* --- libvirt */

static int part_libvirt(const struct agent_config *c, char **argv, struct findings *f)
{
        struct host *h;
        struct err e;

        (void)argv;
        virConnectPtr conn = virConnectOpen(c->libvirt_uri);
        int rc = conn ? facts_read(conn, c, &h, &e) : virt_error(&e, "connect");
        if (rc) {
                findings_add(f, DOCTOR_LIBVIRT, c->node, "", DOCTOR_FAULT,
                             "On the node: systemctl status libvirtd; systemctl restart libvirtd "
                             "does not touch guests.",
                             "libvirtd cannot be asked at %s: %s", c->libvirt_uri, e.msg);
        } else {
                bool nested = false;
                char yes = 'N';
                FILE *file = fopen("/sys/module/kvm_intel/parameters/nested", "re");

                if (!file)
                        file = fopen("/sys/module/kvm_amd/parameters/nested", "re");
                if (file && fread(&yes, 1, 1, file) == 1)
                        nested = yes == 'Y' || yes == '1';
                if (file)
                        fclose(file);
                checkup_hypervisor(h, !access("/host/dev/kvm", F_OK), nested, c->node, f);
                facts_free(h);
        }
        if (conn)
                virConnectClose(conn);
        return 0;
}

/* --- name PEER, peer PEER */

/* The first address of a name, and the name that this has, "" for none. */
static void resolve(const char *name, char address[INET6_ADDRSTRLEN], char back[NI_MAXHOST])
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;

        *address = *back = '\0';
        if (getaddrinfo(name, NULL, &hints, &found))
                return;
        if (getnameinfo(found->ai_addr, found->ai_addrlen, address, INET6_ADDRSTRLEN, NULL, 0,
                        NI_NUMERICHOST))
                *address = '\0';
        if (getnameinfo(found->ai_addr, found->ai_addrlen, back, NI_MAXHOST, NULL, 0, NI_NAMEREQD))
                *back = '\0';
        freeaddrinfo(found);
}

static int part_name(const struct agent_config *c, char **argv, struct findings *f)
{
        char address[INET6_ADDRSTRLEN], back[NI_MAXHOST];
        int64_t ms = names_lookup_ms(argv[0]);

        resolve(argv[0], address, back);
        checkup_name(argv[0], ms, address, back, c->node, f);
        return 0;
}

static int part_peer(const struct agent_config *c, char **argv, struct findings *f)
{
        char uri[AGENT_URI_MAX];
        struct err e;

        agent_peer_uri(c, argv[0], uri);
        virConnectPtr conn = virConnectOpen(uri);
        if (!conn) {
                virt_error(&e, "connect");
                findings_add(f, DOCTOR_PEERS, c->node, argv[0], DOCTOR_FAULT,
                             "Does libvirtd listen there (libvirtd-tls.socket), is its port open "
                             "(16514 for TLS), and do the certificates of both nodes come from one "
                             "CA? docs/install.md, libvirt with TLS.",
                             "libvirtd of %s cannot be reached at %s: %s", argv[0], uri, e.msg);
                return 0;
        }
        virConnectClose(conn);
        findings_add(f, DOCTOR_PEERS, c->node, argv[0], DOCTOR_OK, NULL,
                     "libvirtd of %s answers at %s", argv[0], uri);
        return 0;
}

static void quiet(void *ctx, virErrorPtr e)
{
        (void)ctx;
        (void)e;
}

int doctor_part(const struct agent_config *c, int argc, char **argv)
{
        static const struct {
                const char *name;
                int args;
                int (*run)(const struct agent_config *c, char **argv, struct findings *f);
        } PARTS[] = {{"pool", 3, part_pool},
                     {"forget", 2, part_forget},
                     {"libvirt", 0, part_libvirt},
                     {"name", 1, part_name},
                     {"peer", 1, part_peer}};
        autoarena struct arena *a = arena_new(1 << 20);
        struct findings f = findings_new(a, 16);

        virSetErrorFunc(NULL, quiet);
        for (size_t i = 0; a && i < countof(PARTS); i++) {
                if (argc < 1 || strcmp(argv[0], PARTS[i].name) != 0 || argc - 1 != PARTS[i].args)
                        continue;
                int rc = PARTS[i].run(c, argv + 1, &f);
                doctor_tell(&f);
                return rc;
        }
        return 2;
}
