/*
 * Preloaded into bindfs: locks of open file descriptions that arbitrate between the nodes of the
 * lab.
 *
 * bindfs --enable-lock-forwarding alone does not do: it asks for process locks, which are the same
 * owner for everybody in a mount and are lost when any descriptor of the file is closed; and
 * libfuse keeps a table of owners, of which the kernel never tells it that an open file description
 * is gone, so that a file once locked by QEMU stays locked. Here each lock request is taken before
 * libfuse sees it and becomes a lock of the descriptor that bindfs holds for that open file: the
 * kernel arbitrates between the nodes' servers, and closing the file releases it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#define FLAG_IS_FD 2 /* FUSE_BUF_IS_FD: the request is in a pipe; only large writes are */
#define WAIT_MS    5000

/* libfuse 2.9, whose headers this does not need: the beginning of its struct fuse_buf */
struct fuse_session;
struct fuse_chan;
struct buf {
        size_t size;
        int flags;
        void *mem;
};
typedef void process_fn(struct fuse_session *, const struct buf *, struct fuse_chan *);
int fuse_chan_send(struct fuse_chan *ch, const struct iovec *iov, size_t count);
process_fn fuse_session_process_buf;

static void answer(struct fuse_chan *ch, const struct fuse_in_header *in, int error, void *body,
                   size_t size)
{
        struct fuse_out_header head = {.error = -error, .unique = in->unique};
        struct iovec iov[2] = {{.iov_base = &head, .iov_len = sizeof head},
                               {.iov_base = body, .iov_len = size}};

        head.len = (uint32_t)(sizeof head + size);
        fuse_chan_send(ch, iov, size ? 2 : 1);
}

/* Waiting is asking again, and ends: a thread of bindfs that waits in the kernel could not be
 * interrupted. */
static int set_lock(int fd, struct flock *lock, int wait)
{
        const struct timespec pause = {.tv_nsec = 5000000};

        for (int waited = 0;; waited += 5) {
                if (!fcntl(fd, F_OFD_SETLK, lock))
                        return 0;
                if (!wait || (errno != EAGAIN && errno != EACCES))
                        return errno;
                if (waited >= WAIT_MS)
                        return EDEADLK;
                nanosleep(&pause, NULL);
        }
}

static void lock_request(struct fuse_chan *ch, const struct fuse_in_header *in,
                         const struct fuse_lk_in *ask)
{
        struct flock lock = {.l_whence = SEEK_SET,
                             .l_type = (short)ask->lk.type,
                             .l_start = (off_t)ask->lk.start};
        struct fuse_lk_out out = {.lk = ask->lk};
        int fd = (int)ask->fh; /* what bindfs keeps as its handle of an open file */

        if (ask->lk.end < INT64_MAX)
                lock.l_len = (off_t)(ask->lk.end - ask->lk.start + 1);
        if (in->opcode != FUSE_GETLK) {
                answer(ch, in, set_lock(fd, &lock, in->opcode == FUSE_SETLKW), NULL, 0);
                return;
        }
        if (fcntl(fd, F_OFD_GETLK, &lock)) {
                answer(ch, in, errno, NULL, 0);
                return;
        }
        out.lk.type = (uint32_t)lock.l_type;
        out.lk.pid = 0;
        if (lock.l_type != F_UNLCK) {
                out.lk.start = (uint64_t)lock.l_start;
                out.lk.end = lock.l_len ? (uint64_t)(lock.l_start + lock.l_len - 1) : INT64_MAX;
        }
        answer(ch, in, 0, &out, sizeof out);
}

void fuse_session_process_buf(struct fuse_session *se, const struct buf *buf, struct fuse_chan *ch)
{
        static process_fn *next;
        const struct fuse_in_header *in = buf->mem;

        if (!(buf->flags & FLAG_IS_FD) && buf->size >= sizeof *in + sizeof(struct fuse_lk_in) &&
            (in->opcode == FUSE_GETLK || in->opcode == FUSE_SETLK || in->opcode == FUSE_SETLKW)) {
                const struct fuse_lk_in *ask = (const void *)(in + 1);

                /* flock(2) is of open file descriptions already: bindfs forwards it well */
                if (!(ask->lk_flags & FUSE_LK_FLOCK)) {
                        lock_request(ch, in, ask);
                        return;
                }
        }
        if (!next) {
                void *found = dlsym(RTLD_NEXT, "fuse_session_process_buf");

                memcpy(&next, &found, sizeof next);
        }
        next(se, buf, ch);
}
