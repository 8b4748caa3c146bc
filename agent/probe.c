#include "agent/probe.h"

#include "agent/files.h"
#include "agent/pool.h"
#include "base/hex.h"
#include "base/mono.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define NAME_SIZE 300
#define FOLDER    ".drover"
#define IDENTITY  FOLDER "/identity"

_Static_assert(PROBE_IDENTITY_MAX >= IDENTITY_SIZE, "an identity fits");

/* --- in the child, which has entered the pool */

/* Reads back past the page cache as far as that goes. */
static int write_and_read(int fd, const char *name, struct err *e)
{
        char want[IDENTITY_SIZE], got[IDENTITY_SIZE] = "";

        hex_random(want, IDENTITY_BYTES);
        errno = ENOSPC; /* a short write says nothing else */
        if (pwrite(fd, want, sizeof(want), 0) != (ssize_t)sizeof(want))
                return err_sys(e, -errno, "cannot write %s", name);
        if (fsync(fd))
                return err_sys(e, -errno, "cannot sync %s", name);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (pread(fd, got, sizeof(got), 0) < 0)
                return err_sys(e, -errno, "cannot read %s", name);
        if (memcmp(want, got, sizeof(want)) != 0)
                return err_set(e, -EIO, "%s does not read back what was written", name);
        return 0;
}

static int try_file(const char *name, struct err *e)
{
        int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return err_sys(e, -errno, "cannot open %s", name);
        int rc = write_and_read(fd, name, e);
        if (close(fd) && !rc) /* NFS tells here of what it could not write */
                rc = err_sys(e, -errno, "cannot close %s", name);
        return rc;
}

/* 1: out is it; 0: there is none, or it is no identity; a negative errno. */
static int read_identity(char out[IDENTITY_SIZE], struct err *e)
{
        autoclose int fd = open(IDENTITY, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? 0 : err_sys(e, -errno, "cannot open " IDENTITY);
        ssize_t n = read(fd, out, IDENTITY_SIZE - 1);
        if (n < 0)
                return err_sys(e, -errno, "cannot read " IDENTITY);
        out[n] = '\0';
        return n == IDENTITY_SIZE - 1 && strspn(out, "0123456789abcdef") == (size_t)n;
}

static int write_identity(const char *tmp, const char *id, struct err *e)
{
        autoclose int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

        if (fd < 0)
                return err_sys(e, -errno, "cannot create %s", tmp);
        errno = ENOSPC;
        if (write(fd, id, IDENTITY_SIZE - 1) != IDENTITY_SIZE - 1 || fsync(fd))
                return err_sys(e, -errno, "cannot write %s", tmp);
        return 0;
}

/*
 * The identity of the directory, by which another one in its place is noticed: whichever node comes
 * first makes it, whole or not at all (a linked temporary file), so that all nodes that see the
 * same directory read the same.
 */
static int identity(const char *node, char out[IDENTITY_SIZE], struct err *e)
{
        char tmp[NAME_SIZE];
        int rc = read_identity(out, e);

        if (rc)
                return rc > 0 ? 0 : rc;
        snprintf(tmp, sizeof(tmp), IDENTITY "-%.253s", node);
        hex_random(out, IDENTITY_BYTES);
        rc = write_identity(tmp, out, e);
        if (rc)
                return rc;
        if (link(tmp, IDENTITY) && errno != EEXIST)
                return err_sys(e, -errno, "cannot create " IDENTITY);
        unlink(tmp);
        rc = read_identity(out, e);
        if (rc)
                return rc > 0 ? 0 : rc;
        return err_set(e, -EIO, IDENTITY " is not an identity: remove it by hand");
}

static int look(const char *node, struct probe_report *out, struct err *e)
{
        char name[NAME_SIZE];
        struct statvfs s;
        struct mono start = mono_now();

        if (make_folders(FOLDER))
                return err_sys(e, -errno, "cannot create " FOLDER);
        snprintf(name, sizeof(name), FOLDER "/probe-%.253s", node);
        int rc = try_file(name, e);
        if (rc)
                return rc;
        out->latency_us = (mono_now().ns - start.ns) / 1000;
        if (statvfs(".", &s))
                return err_sys(e, -errno, "cannot tell what is free");
        out->free_bytes = (int64_t)((uint64_t)s.f_bavail * s.f_frsize);
        out->free_inodes = (int64_t)s.f_favail;
        out->counts_inodes = s.f_files > 0;
        return identity(node, out->identity, e);
}

int probe_tool(char **argv)
{
        struct probe_report r = {0};
        struct err e;
        int rc = enter_pool(argv[0], &e);

        if (!rc)
                rc = look(argv[1], &r, &e);
        if (rc) {
                printf("%s %s\n", probe_result_name(probe_result_of(-rc)), e.msg);
                return 1;
        }
        printf("identity=%s latency=%" PRId64 " bytes=%" PRId64 " inodes=%" PRId64 " counted=%d\n",
               r.identity, r.latency_us, r.free_bytes, r.free_inodes, r.counts_inodes);
        return 0;
}

/* --- in the agent */

static void read_failure(const char *text, struct probe_report *out)
{
        char word[32] = "";
        int n = 0;

        (void)sscanf(text, "%31s %n", word, &n);
        out->verdict = probe_result_parse(word);
        if (!n || out->verdict == PROBE_OK) { /* no word of ours */
                out->verdict = PROBE_FAILED;
                n = 0;
        }
        snprintf(out->why, sizeof(out->why), "%.*s", (int)strcspn(text + n, "\n"), text + n);
        if (!*out->why)
                snprintf(out->why, sizeof(out->why), "the probe ended without a word");
}

void probe_read(const char *text, bool well, struct probe_report *out)
{
        int counted;

        *out = (struct probe_report){.verdict = PROBE_OK};
        if (!well) {
                read_failure(text, out);
                return;
        }
        if (sscanf(text,
                   "identity=%39s latency=%" SCNd64 " bytes=%" SCNd64 " inodes=%" SCNd64
                   " counted=%d",
                   out->identity, &out->latency_us, &out->free_bytes, &out->free_inodes,
                   &counted) != 5) {
                out->verdict = PROBE_FAILED;
                snprintf(out->why, sizeof(out->why), "the probe said \"%.200s\"", text);
                return;
        }
        out->counts_inodes = counted;
}
