#include "agent/pool.h"

#include "agent/mountinfo.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FDINFO_MAX ((size_t)4096)

/* The id of the mount that the descriptor is on. */
static int mount_id(int fd, int *out, struct err *e)
{
        autobuf struct buf text = buf_new(FDINFO_MAX);
        char file[64];

        snprintf(file, sizeof(file), "/proc/self/fdinfo/%d", fd);
        int rc = file_read(file, &text, e);
        if (rc)
                return rc;
        const char *line = strstr(buf_str(&text), "mnt_id:");
        if (!line)
                return err_set(e, -ENOSYS, "%s does not tell the mount", file);
        *out = (int)strtol(line + strlen("mnt_id:"), NULL, 10);
        return 0;
}

/* In a pod, what the node has at the path must be what we have. */
static int same_on_host(const char *path, const struct mount_entry *ours, struct err *e)
{
        const char *file = getenv(POOL_HOST_MOUNTS);
        struct mount_entry theirs;

        if (!file || !*file)
                return 0;
        int rc = mountinfo_read(file, path, &theirs, e);
        if (rc)
                return err_wrap(e, "on the host");
        return mountinfo_same(ours, &theirs)
                       ? 0
                       : err_set(e, -ENODEV, "the host has another mount at %s than the agent",
                                 path);
}

/* The directory was opened first: whatever is mounted or unmounted since, its mount stays its own.
 */
static int check_mount(int fd, const char *path, struct err *e)
{
        struct mount_entry m;
        int id = -1, rc = mount_id(fd, &id, e);

        if (!rc)
                rc = mountinfo_read("/proc/self/mountinfo", path, &m, e);
        if (!rc && m.id != id)
                rc = err_set(e, -ENODEV, "what is mounted at %s has just changed", path);
        return rc ? rc : same_on_host(path, &m, e);
}

int enter_pool(const char *path, struct err *e)
{
        autoclose int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return err_sys(e, errno == ENOENT ? -ENODEV : -errno, "cannot open %s", path);
        int rc = check_mount(fd, path, e);
        if (rc)
                return rc;
        return fchdir(fd) ? err_sys(e, -errno, "cannot enter %s", path) : 0;
}

bool inside_pool(const char *path)
{
        if (!*path || *path == '/')
                return false;
        for (const char *p = path; *p; p += strcspn(p, "/"), p += *p == '/')
                if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
                        return false;
        return true;
}
