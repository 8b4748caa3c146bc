/*
 * Preloaded into bindfs: faults of a node's pool, as its server might have them, while the test
 * that wrote them into the file POOL_FAULTS wishes. What is open stays open: a kernel's NFS client
 * gives the same answers to a guest whose server is away (soft), full, or has become read-only.
 *
 * The file begins with four 32-bit numbers: the errno of reads, that of writes and syncs, the size
 * below which writes succeed all the same, and milliseconds that each takes longer. 0: none.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct faults {
        volatile int32_t read_errno, write_errno, write_min, delay_ms;
};

static const struct faults none, *now = &none;

__attribute__((constructor)) static void begin(void)
{
        const char *path = getenv("POOL_FAULTS");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(none), PROT_READ, MAP_SHARED, fd, 0);

        if (p != MAP_FAILED)
                now = p;
        if (fd >= 0)
                close(fd);
}

/* The function of that name that this one stands before. */
static void next(void *function, const char *name)
{
        void *found = dlsym(RTLD_NEXT, name);

        memcpy(function, &found, sizeof found);
}

static void be_slow(void)
{
        int32_t ms = now->delay_ms;

        if (ms > 0)
                nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* True when the call is to fail; errno says how. */
static int fails(int32_t error)
{
        be_slow();
        if (error)
                errno = error;
        return error != 0;
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at)
{
        ssize_t (*call)(int, void *, size_t, off64_t);

        if (fails(now->read_errno))
                return -1;
        next(&call, "pread64");
        return call(fd, to, size, at);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
        ssize_t (*call)(int, const void *, size_t, off64_t);

        if (fails(size >= (size_t)now->write_min ? now->write_errno : 0))
                return -1;
        next(&call, "pwrite64");
        return call(fd, from, size, at);
}

/* A full or read-only file system has nothing to sync, and says that all is well. */
int fsync(int fd)
{
        int (*call)(int);
        int32_t error = now->write_errno;

        if (fails(error == ENOSPC || error == EROFS ? 0 : error))
                return -1;
        next(&call, "fsync");
        return call(fd);
}
