#include "base/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static bool may_lock_all(void)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{0}};
        struct rlimit limit;

        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
                return true;
        return syscall(SYS_capget, &head, caps) == 0 &&
               (caps[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK));
}

static int lock_all(void)
{
        if (!may_lock_all())
                return 0;
        /* On fault: stacks of threads and the like are large and mostly never touched. */
        return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0 ? -errno : 0;
}

int guard_process(struct err *e)
{
        const struct rlimit none = {0, 0};
        int rc = lock_all();

        if (rc < 0)
                err_sys(e, rc, "lock the memory");
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                rc = err_sys(e, -errno, "keep debuggers out");
        if (setrlimit(RLIMIT_CORE, &none) < 0)
                rc = err_sys(e, -errno, "forbid core dumps");
        return rc;
}

static int fill(int fd, struct secret *s)
{
        ssize_t n;

        while (s->len < SECRET_MAX) {
                n = TEMP_FAILURE_RETRY(read(fd, s->data + s->len, SECRET_MAX - s->len));
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                s->len += (size_t)n;
        }
        return -E2BIG;
}

int secret_read(const char *path, struct secret *out, struct err *e)
{
        autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct secret s = {NULL, 0, false};

        if (fd < 0)
                return err_sys(e, -errno, "open %s", path);
        void *pages =
                mmap(NULL, SECRET_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED)
                return err_sys(e, -errno, "read %s", path);
        s.data = pages;
        s.locked = mlock(pages, SECRET_MAX) == 0;
        madvise(pages, SECRET_MAX, MADV_DONTDUMP);
        int rc = fill(fd, &s);
        if (rc < 0) {
                secret_free(&s);
                return rc == -E2BIG ? err_set(e, rc, "read %s: larger than %zu bytes", path,
                                              SECRET_MAX - 1)
                                    : err_sys(e, rc, "read %s", path);
        }
        *out = s;
        return 0;
}

void secret_free(struct secret *s)
{
        if (s->data) {
                explicit_bzero(s->data, SECRET_MAX);
                munmap(s->data, SECRET_MAX);
        }
        *s = (struct secret){NULL, 0, false};
}
