#include "agent/tool.h"

#include "agent/disktool.h"
#include "agent/fetch.h"
#include "agent/files.h"
#include "agent/locks.h"
#include "agent/offers.h"
#include "agent/place.h"
#include "agent/words.h"

#include "base/hex.h"
#include "base/mono.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* --- probe */

/* Writes fresh bytes, forces them out, and reads them back past the page cache as far as that goes.
 */
static int write_and_read(const char *path)
{
        char want[IDENTITY_SIZE], got[IDENTITY_SIZE] = "";
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return complain("cannot open", path);
        hex_random(want, IDENTITY_BYTES);
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
        hex_random(out, IDENTITY_BYTES);
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

int agent_tool(int argc, char **argv)
{
        static const struct {
                const char *name;
                int args;
                int (*run)(char **argv);
        } VERBS[] = {{"probe", 2, probe},
                     {"have", 1, disk_tool_have},
                     {"blank", 2, disk_tool_blank},
                     {"clone", 4, disk_tool_clone},
                     {"copy", 4, disk_tool_copy},
                     {"seed", 2, disk_tool_seed},
                     {"remove", 1, disk_tool_remove},
                     {"retain", 2, disk_tool_retain},
                     {"fetch", 7, fetch_tool},
                     {"place", 3, place_tool},
                     {"drop", 3, place_tool_drop},
                     {"unplace", 3, place_tool_remove},
                     {"hold", 2, lock_tool_hold},
                     {"refused", 2, lock_tool_refused},
                     {"offer", 3, offer_tool_write},
                     {"seen", 4, offer_tool_seen},
                     {"words", 5, words_tool}};

        setvbuf(stdout, NULL, _IOLBF, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* what nobody waits for has no business on the pool */
        for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++)
                if (argc > 0 && !strcmp(argv[0], VERBS[i].name) && argc - 1 == VERBS[i].args)
                        return VERBS[i].run(argv + 1);
        printf("tool VERB ARGUMENT...: see agent/tool.h\n");
        return 2;
}
