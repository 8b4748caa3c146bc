#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int file_read(const char *path, struct buf *b, struct err *e)
{
        autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t mark = b->len;
        char chunk[8192];
        ssize_t n;

        if (fd < 0)
                return err_sys(e, -errno, "open %s", path);
        while ((n = TEMP_FAILURE_RETRY(read(fd, chunk, sizeof(chunk)))) > 0) {
                int rc = buf_add(b, chunk, (size_t)n);
                if (rc < 0) {
                        buf_cut(b, mark);
                        return rc == -E2BIG ? err_set(e, rc, "read %s: larger than %zu bytes", path,
                                                      b->limit - mark)
                                            : err_sys(e, rc, "read %s", path);
                }
        }
        if (n < 0) {
                int rc = -errno;
                buf_cut(b, mark);
                return err_sys(e, rc, "read %s", path);
        }
        return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
        while (len) {
                ssize_t n = TEMP_FAILURE_RETRY(write(fd, p, len));
                if (n < 0)
                        return -errno;
                p += n;
                len -= (size_t)n;
        }
        return 0;
}

/* A rename is durable once its directory is. */
static int sync_directory(const char *path)
{
        char dir[PATH_MAX];
        const char *slash = strrchr(path, '/');
        size_t n = slash ? (size_t)(slash - path) + 1 : 0;

        snprintf(dir, sizeof(dir), "%.*s", n ? (int)n : 1, n ? path : ".");
        autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_write(const char *path, const void *data, size_t len, unsigned mode, struct err *e)
{
        char tmp[PATH_MAX];

        if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
                return err_sys(e, -ENAMETOOLONG, "write %s", path);
        autoclose int fd = mkostemp(tmp, O_CLOEXEC);
        if (fd < 0)
                return err_sys(e, -errno, "create %s", tmp);
        int rc = write_all(fd, data, len);
        if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
                rc = -errno;
        if (rc < 0) {
                unlink(tmp);
                return err_sys(e, rc, "write %s", path);
        }
        rc = sync_directory(path);
        return rc < 0 ? err_sys(e, rc, "sync the directory of %s", path) : 0;
}
