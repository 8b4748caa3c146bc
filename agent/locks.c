#include "agent/locks.h"

#include "agent/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HELD "held\n"

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

static int open_lock(const char *node, int flags)
{
        char path[300];

        snprintf(path, sizeof(path), ".drover/lock-%s", node);
        int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
        if (fd < 0)
                printf("cannot open %s: %s\n", path, strerror(errno));
        return fd;
}

static int try_lock(int fd)
{
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        return fcntl(fd, F_OFD_SETLK, &whole);
}

int lock_tool_hold(char **argv)
{
        int fd = open_lock(argv[1], O_CREAT);

        if (fd < 0)
                return 1;
        if (try_lock(fd)) {
                printf("cannot lock: %s\n", strerror(errno));
                close(fd);
                return 1;
        }
        fputs(HELD, stdout);
        fflush(stdout);
        for (;;)
                pause(); /* until the agent ends, or ends us */
}

int lock_tool_refused(char **argv)
{
        int fd = open_lock(argv[1], 0);

        if (fd < 0)
                return 1;
        bool refused = try_lock(fd) && (errno == EAGAIN || errno == EACCES);
        close(fd);
        if (!refused)
                printf("the lock that %s holds was not refused\n", argv[1]);
        return !refused;
}
