#include "agent/tool.h"

#include "agent/locks.h"
#include "agent/offers.h"

#include "base/mono.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE     4096
#define IDENTITY_SIZE 33 /* 32 hex digits */

static int complain(const char *what, const char *path)
{
        printf("%s %s: %s\n", what, path, strerror(errno));
        return 1;
}

static void random_hex(char out[IDENTITY_SIZE])
{
        unsigned char r[(IDENTITY_SIZE - 1) / 2];

        if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
                abort();
        for (size_t i = 0; i < sizeof(r); i++)
                snprintf(out + 2 * i, 3, "%02x", r[i]);
}

/* Creates a folder and those above it, as far as they are missing below `keep` bytes of the path.
 */
static int make_folders(const char *path, size_t keep)
{
        char part[PATH_SIZE];

        snprintf(part, sizeof(part), "%s", path);
        for (char *p = part + keep; (p = strchr(p + 1, '/'));) {
                *p = '\0';
                if (mkdir(part, 0755) && errno != EEXIST)
                        return -1;
                *p = '/';
        }
        return mkdir(part, 0755) && errno != EEXIST ? -1 : 0;
}

/* --- probe */

/* Writes fresh bytes, forces them out, and reads them back past the page cache as far as that goes.
 */
static int write_and_read(const char *path)
{
        char want[IDENTITY_SIZE], got[IDENTITY_SIZE] = "";
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return complain("cannot open", path);
        random_hex(want);
        if (pwrite(fd, want, sizeof(want), 0) != (ssize_t)sizeof(want))
                return complain("cannot write", path);
        if (fsync(fd))
                return complain("cannot sync", path);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (pread(fd, got, sizeof(got), 0) < 0)
                return complain("cannot read", path);
        if (memcmp(want, got, sizeof(want)) != 0) {
                printf("%s does not read back what was written\n", path);
                return 1;
        }
        return close(fd) ? complain("cannot close", path) : 0;
}

static int read_identity(const char *path, char out[IDENTITY_SIZE])
{
        int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? 0 : -1;
        ssize_t n = read(fd, out, IDENTITY_SIZE - 1);
        close(fd);
        if (n < 0)
                return -1;
        out[n] = '\0';
        return n == IDENTITY_SIZE - 1 && strspn(out, "0123456789abcdef") == (size_t)n;
}

/*
 * The identity of the directory, by which another one in its place is noticed: whichever node comes
 * first makes it, whole or not at all (a linked temporary file), so that all nodes that see the
 * same directory read the same.
 */
static int identity(const char *pool, const char *node, char out[IDENTITY_SIZE])
{
        char path[PATH_SIZE], tmp[PATH_SIZE];

        snprintf(path, sizeof(path), "%s/.drover/identity", pool);
        snprintf(tmp, sizeof(tmp), "%s/.drover/identity-%s", pool, node);
        int rc = read_identity(path, out);
        if (rc)
                return rc > 0 ? 0 : complain("cannot read", path);
        random_hex(out);
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
                return complain("cannot create", tmp);
        if (write(fd, out, IDENTITY_SIZE - 1) != IDENTITY_SIZE - 1 || fsync(fd))
                return complain("cannot write", tmp);
        close(fd);
        if (link(tmp, path) && errno != EEXIST)
                return complain("cannot create", path);
        unlink(tmp);
        if (read_identity(path, out) > 0)
                return 0;
        printf("%s is not an identity: remove it by hand\n", path);
        return 1;
}

static int probe(char **argv)
{
        const char *pool = argv[0], *node = argv[1];
        char folder[PATH_SIZE], path[PATH_SIZE], id[IDENTITY_SIZE] = "";
        struct statvfs s;
        struct mono start = mono_now();

        snprintf(folder, sizeof(folder), "%s/.drover", pool);
        if (make_folders(folder, strlen(pool)))
                return complain("cannot create", folder);
        snprintf(path, sizeof(path), "%s/.drover/probe-%s", pool, node);
        if (write_and_read(path))
                return 1;
        int64_t us = (mono_now().ns - start.ns) / 1000;
        if (statvfs(pool, &s))
                return complain("cannot statvfs", pool);
        if (identity(pool, node, id))
                return 1;
        printf("identity=%s latency=%" PRId64 " bytes=%" PRIu64 " inodes=%" PRIu64 "\n", id, us,
               (uint64_t)s.f_bavail * s.f_frsize, (uint64_t)s.f_favail);
        return 0;
}

/* --- disks and seeds */

static int run(const char *const argv[])
{
        int status;
        pid_t pid = fork();

        if (pid < 0)
                return complain("cannot fork for", argv[0]);
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execvp(argv[0], (char *const *)(uintptr_t)argv);
                printf("cannot run %s: %s\n", argv[0], strerror(errno));
                fflush(stdout);
                _exit(127);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return complain("cannot wait for", argv[0]);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

/* Makes the file's folder; 1 when the file is there already, 0 when not, negative on failure. */
static int prepare(const char *file, char folder[PATH_SIZE])
{
        struct stat s;

        snprintf(folder, PATH_SIZE, "%s", file);
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) {
                printf("%s is not an absolute path\n", file);
                return -1;
        }
        *slash = '\0';
        if (make_folders(folder, 0)) {
                complain("cannot create", folder);
                return -1;
        }
        if (!lstat(file, &s))
                return 1;
        if (errno == ENOENT)
                return 0;
        complain("cannot look at", file);
        return -1;
}

/*
 * Gives a file its name only when it is whole and on disk. A disk never replaces one that is there
 * (link fails): a late child of an earlier agent must not pull a disk away from under a guest.
 */
static int finish(const char *tmp, const char *file, const char *folder, bool replace)
{
        int fd = open(tmp, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fsync(fd))
                return complain("cannot sync", tmp);
        close(fd);
        if (replace ? rename(tmp, file) : link(tmp, file) && errno != EEXIST)
                return complain("cannot create", file);
        if (!replace)
                unlink(tmp);
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                (void)fsync(fd); /* some file systems refuse it on folders; the name is then their
                                    duty */
                close(fd);
        }
        return 0;
}

/* qcow2 by its first bytes, else raw: images are put there by administrators, not by guests. */
static int image_format(const char *image, const char **format)
{
        char magic[4] = "";
        int fd = open(image, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || read(fd, magic, 4) < 0)
                return complain("cannot read", image);
        close(fd);
        *format = memcmp(magic, "QFI\xfb", 4) == 0 ? "qcow2" : "raw";
        return 0;
}

/* Length of the path without its last n parts, 0 when it has not that many. */
static size_t base_len(const char *path, int n)
{
        size_t len = strlen(path);

        for (; n > 0 && len; n--)
                while (len && path[--len] != '/')
                        ;
        return len;
}

/*
 * How a disk names its image: from POOL/disks/UID/DISK to POOL/images/FILE relative to its own
 * folder, so that a pool may be mounted somewhere else one day; an image of another pool by its
 * full path.
 */
static void name_image(const char *file, const char *image, char out[PATH_SIZE])
{
        size_t pool = base_len(file, 3);

        if (pool && pool == base_len(image, 2) && !memcmp(file, image, pool))
                snprintf(out, PATH_SIZE, "../..%s", image + pool);
        else
                snprintf(out, PATH_SIZE, "%s", image);
}

static int make_disk(const char *file, const char *size, const char *image)
{
        char folder[PATH_SIZE], tmp[PATH_SIZE], backing[PATH_SIZE];
        const char *format = NULL, *argv[12];
        int n = 0, rc = prepare(file, folder);

        if (rc)
                return rc < 0;
        if (image && image_format(image, &format))
                return 1;
        snprintf(tmp, sizeof(tmp), "%s.%d.new", file, getpid());
        argv[n++] = "qemu-img";
        argv[n++] = "create";
        argv[n++] = "-q";
        argv[n++] = "-f";
        argv[n++] = "qcow2";
        if (image) {
                name_image(file, image, backing);
                argv[n++] = "-b";
                argv[n++] = backing;
                argv[n++] = "-F";
                argv[n++] = format;
        }
        argv[n++] = tmp;
        if (strcmp(size, "0") != 0)
                argv[n++] = size;
        argv[n] = NULL;
        return run(argv) || finish(tmp, file, folder, false);
}

static int blank(char **argv)
{
        return make_disk(argv[0], argv[1], NULL);
}

static int clone_image(char **argv)
{
        return make_disk(argv[0], argv[1], argv[2]);
}

static int seed(char **argv)
{
        const char *file = argv[0];
        char folder[PATH_SIZE], tmp[PATH_SIZE];

        if (prepare(file, folder) < 0)
                return 1;
        snprintf(tmp, sizeof(tmp), "%s.%d.new", file, getpid());
        const char *const line[] = {"genisoimage", "-quiet", "-volid", "cidata", "-joliet",
                                    "-rock",       "-o",     tmp,      argv[1],  NULL};
        return run(line) || finish(tmp, file, folder, true);
}

static int remove_folder(char **argv)
{
        char path[PATH_SIZE];
        DIR *d = opendir(argv[0]);
        struct dirent *entry;

        if (!d)
                return errno == ENOENT ? 0 : complain("cannot open", argv[0]);
        while ((entry = readdir(d))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                snprintf(path, sizeof(path), "%s/%s", argv[0], entry->d_name);
                if (unlink(path) && errno != ENOENT)
                        return complain("cannot remove", path);
        }
        closedir(d);
        return rmdir(argv[0]) && errno != ENOENT ? complain("cannot remove", argv[0]) : 0;
}

int agent_tool(int argc, char **argv)
{
        static const struct {
                const char *name;
                int args;
                int (*run)(char **argv);
        } VERBS[] = {{"probe", 2, probe},
                     {"blank", 2, blank},
                     {"clone", 3, clone_image},
                     {"seed", 2, seed},
                     {"remove", 1, remove_folder},
                     {"hold", 2, lock_tool_hold},
                     {"refused", 2, lock_tool_refused},
                     {"offer", 3, offer_tool_write},
                     {"seen", 4, offer_tool_seen}};

        setvbuf(stdout, NULL, _IOLBF, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* what nobody waits for has no business on the pool */
        for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++)
                if (argc > 0 && !strcmp(argv[0], VERBS[i].name) && argc - 1 == VERBS[i].args)
                        return VERBS[i].run(argv + 1);
        printf("tool probe POOL NODE | blank FILE SIZE | clone FILE SIZE IMAGE | seed FILE FOLDER "
               "| "
               "remove FOLDER | hold POOL NODE | refused POOL NODE | offer POOL NODE UIDS | "
               "seen POOL NODE UID MS\n");
        return 2;
}
