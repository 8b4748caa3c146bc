#include "agent/locks.h"

#include "agent/pool.h"
#include "agent/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HELD   "held\n"
#define KEEP_S 3

bool lock_hold(struct lock_holder *h, const char *pool, const char *node)
{
        const char *const argv[] = {AGENT_SELF, "tool", "hold", pool, node, NULL};
        struct err e;

        bool held = lock_held(h);
        if (!h->started)
                h->started = child_start(&h->child, argv, &e) == 0;
        return held;
}

bool lock_held(struct lock_holder *h)
{
        if (h->started && child_wait(&h->child, 0)) {
                child_free(&h->child);
                h->started = false;
        }
        return h->started && !strncmp(buf_str(&h->child.text), HELD, strlen(HELD));
}

size_t lock_fds(const struct lock_holder *h, struct pollfd out[LOCK_FDS])
{
        return h->started ? child_fds(&h->child, out) : 0;
}

void lock_kill(struct lock_holder *h)
{
        if (h->started)
                child_kill(&h->child);
}

void lock_free(struct lock_holder *h, struct mono end)
{
        if (h->started)
                child_free_by(&h->child, end);
        h->started = false;
}

void lock_release(struct lock_holder *h)
{
        lock_free(h, mono_add_ms(mono_now(), CHILD_KILL_MS));
}

int lock_refused(const char *pool, const char *node, int64_t deadline_ms, struct err *e)
{
        const char *const argv[] = {AGENT_SELF, "tool", "refused", pool, node, NULL};

        return child_run(argv, deadline_ms, NULL, e);
}

/* --- in the child */

/* Of the pool that was entered; -1 with errno. */
static int open_lock(const char *node, int flags)
{
        char path[300];

        snprintf(path, sizeof(path), ".drover/lock-%s", node);
        return open(path, O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
}

static int try_lock(int fd, short type)
{
        struct flock whole = {.l_type = type, .l_whence = SEEK_SET};

        return fcntl(fd, F_OFD_SETLK, &whole);
}

static int no_lock(const char *what, const char *pool, const char *node)
{
        printf("%s %s/.drover/lock-%s: %s\n", what, pool, node, strerror(errno));
        return 1;
}

/* Another directory may have been mounted over the one of our file. */
static bool in_its_place(int fd, const char *pool, const char *node)
{
        struct stat ours, found;
        struct err e;

        errno = ESTALE;
        if (enter_pool(pool, &e))
                return false;
        autoclose int now = open_lock(node, O_RDONLY);
        if (now < 0 || fstat(fd, &ours) || fstat(now, &found))
                return false;
        errno = ESTALE;
        return ours.st_dev == found.st_dev && ours.st_ino == found.st_ino;
}

/*
 * Takes the lock again now and then: a server that has forgotten it is told anew, or says that it
 * is lost. Ends when it holds nobody off any more; whoever holds it next begins afresh.
 */
static void keep(int fd, const char *pool, const char *node)
{
        const struct timespec period = {.tv_sec = KEEP_S};

        while (!try_lock(fd, F_WRLCK) && in_its_place(fd, pool, node))
                nanosleep(&period, NULL);
}

int lock_tool_hold(char **argv)
{
        autoclose int fd = open_lock(argv[1], O_RDWR | O_CREAT);

        if (fd < 0)
                return no_lock("cannot open", argv[0], argv[1]);
        if (try_lock(fd, F_WRLCK))
                return no_lock("cannot lock", argv[0], argv[1]);
        fputs(HELD, stdout);
        fflush(stdout);
        keep(fd, argv[0], argv[1]); /* until the agent ends, or ends us */
        return no_lock("lost", argv[0], argv[1]);
}

enum lock_answer lock_ask(const char *node)
{
        autoclose int fd = open_lock(node, O_RDONLY);

        if (fd < 0)
                return LOCK_FAILED;
        /* shared: of several nodes that ask at once none is in the way of another */
        if (!try_lock(fd, F_RDLCK)) {
                errno = 0;
                return LOCK_GRANTED;
        }
        return errno == EAGAIN || errno == EACCES ? LOCK_REFUSED : LOCK_FAILED;
}

int lock_tool_refused(char **argv)
{
        switch (lock_ask(argv[1])) {
        case LOCK_REFUSED:
                return 0;
        case LOCK_GRANTED:
                printf("the lock that %s holds was not refused\n", argv[1]);
                return 1;
        default:
                return no_lock("cannot ask for", argv[0], argv[1]);
        }
}
