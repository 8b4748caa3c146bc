#include "agent/offers.h"

#include "agent/child.h"
#include "agent/tool.h"
#include "base/log.h"
#include "base/mono.h"
#include "core/migration.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define UID_SIZE   40
#define TEXT_SIZE  (OFFERS_MAX * UID_SIZE)
#define AGAIN_MS   1000 /* for pools that are not healthy now */
#define LOOK_MS    20
#define GRACE_MS   1000 /* for the child, beyond what it waits itself */
#define PATH_BYTES 4096

/* --- the target */

/* The uids of the moves that may still begin to copy, "" for none. */
static bool add_uid(void *ctx, const void *object)
{
        const struct migration *m = object;
        char *text = ctx;
        size_t len = strlen(text);

        if (mig_finished(m->status.phase) || !*m->meta.uid || strlen(m->meta.uid) >= UID_SIZE ||
            strchr(m->meta.uid, ','))
                return true;
        if (len + UID_SIZE > TEXT_SIZE) {
                log_msg(LOG_WARN, "more moves toward this node than can be told the pools", NULL);
                return false;
        }
        snprintf(text + len, TEXT_SIZE - len, "%s%s", len ? "," : "", m->meta.uid);
        return true;
}

static int offer(struct agent *a, const char *path, const char *uids, struct err *e)
{
        const char *const argv[] = {AGENT_SELF, "tool", "offer", path, a->config.node, uids, NULL};

        return child_run(argv, a->config.probe_deadline_ms, NULL, e);
}

int64_t offers_work(struct agent *a, const char *rest)
{
        char uids[TEXT_SIZE] = "", why[320];
        int64_t next = WORK_DONE;
        struct err e;

        (void)rest;
        kube_store_each(a->arriving, add_uid, uids);
        for (size_t i = 0; i < a->config.npools; i++) {
                const struct agent_pool *pool = &a->config.pools[i];

                if (!mounts_usable(a->mounts, pool->name, why)) {
                        next = *uids ? AGAIN_MS : next;
                        continue;
                }
                if (offer(a, pool->path, uids, &e)) {
                        log_err(&e, "cannot leave a word for a move's source", "pool", pool->name,
                                NULL);
                        next = AGAIN_MS;
                }
        }
        return next;
}

/* --- the source */

int offer_seen(const char *pool, const char *node, const char *uid, int64_t ms, struct err *e)
{
        char wait[24];
        const char *const argv[] = {AGENT_SELF, "tool", "seen", pool, node, uid, wait, NULL};

        snprintf(wait, sizeof(wait), "%lld", (long long)ms);
        return child_run(argv, ms + GRACE_MS, NULL, e);
}

/* --- in the child */

static int open_file(const char *pool, const char *node, int flags)
{
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%s/.drover/moves-%s", pool, node);
        return open(path, O_NOFOLLOW | O_CLOEXEC | flags, 0644);
}

int offer_tool_write(char **argv)
{
        size_t len = strlen(argv[2]);
        int fd = open_file(argv[0], argv[1], O_WRONLY | O_CREAT);

        if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, argv[2], len, 0) != (ssize_t)len ||
            fsync(fd) || close(fd)) {
                printf("cannot write %s/.drover/moves-%s: %s\n", argv[0], argv[1], strerror(errno));
                return 1;
        }
        return 0;
}

static bool holds(const char *text, const char *uid)
{
        size_t len = strlen(uid);

        for (const char *p = text; len && (p = strstr(p, uid)); p += len)
                if ((p == text || p[-1] == ',') && (!p[len] || p[len] == ','))
                        return true;
        return false;
}

static bool look(const char *pool, const char *node, const char *uid)
{
        char text[TEXT_SIZE + 1];
        int fd = open_file(pool, node, O_RDONLY);

        if (fd < 0)
                return false;
        ssize_t n = read(fd, text, TEXT_SIZE);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        return holds(text, uid);
}

int offer_tool_seen(char **argv)
{
        struct mono end = mono_add_ms(mono_now(), strtoll(argv[3], NULL, 10));

        while (!look(argv[0], argv[1], argv[2])) {
                if (mono_ms_between(mono_now(), end) <= 0) {
                        printf("what %s has left at %s for this move does not show here: no proof "
                               "that "
                               "both nodes see the same directory\n",
                               argv[1], argv[0]);
                        return 1;
                }
                nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        }
        return 0;
}
