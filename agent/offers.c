#include "agent/offers.h"

#include "agent/child.h"
#include "agent/names.h"
#include "agent/tool.h"
#include "base/log.h"
#include "base/mono.h"
#include "core/migration.h"
#include "core/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define UID_SIZE  40
#define TEXT_SIZE (OFFERS_MAX * OFFER_SIZE)
#define AGAIN_MS  1000 /* for pools that are not healthy now */
#define LOOK_MS   10
#define GRACE_MS  1000 /* for the child, beyond what it waits itself */

/* --- the target */

void offer_print(char out[OFFER_SIZE], const char *uid, int64_t lookup_ms)
{
        if (lookup_ms < PREFLIGHT_RESOLVE_MS)
                snprintf(out, OFFER_SIZE, "%.*s", UID_SIZE, uid);
        else
                snprintf(out, OFFER_SIZE, "%.*s!%lld", UID_SIZE, uid, (long long)lookup_ms);
}

/* The moves that may still begin to copy. */
struct moves_here {
        struct {
                char uid[UID_SIZE], source[254];
        } v[OFFERS_MAX];
        size_t n;
        bool more;
};

/* Under the store's lock: nothing but copies. */
static bool add_move(void *ctx, const void *object)
{
        const struct migration *m = object;
        struct moves_here *here = ctx;

        if (mig_finished(m->status.phase) || !*m->meta.uid || strlen(m->meta.uid) >= UID_SIZE ||
            strpbrk(m->meta.uid, ",!"))
                return true;
        here->more = here->n == OFFERS_MAX;
        if (here->more)
                return false;
        snprintf(here->v[here->n].uid, sizeof(here->v[0].uid), "%s", m->meta.uid);
        snprintf(here->v[here->n].source, sizeof(here->v[0].source), "%.253s", m->status.source);
        here->n++;
        return true;
}

/* "" for none. */
static void print_offers(struct agent *a, char text[TEXT_SIZE])
{
        struct moves_here here = {0};
        char offer[OFFER_SIZE];
        size_t len = 0;

        kube_store_each(a->arriving, add_move, &here);
        if (here.more)
                log_msg(LOG_WARN, "more moves toward this node than can be told the pools", NULL);
        for (size_t i = 0; i < here.n; i++) {
                const char *source = here.v[i].source;

                offer_print(offer, here.v[i].uid, *source ? names_lookup_ms(source) : 0);
                len += (size_t)snprintf(text + len, TEXT_SIZE - len, "%s%s", i ? "," : "", offer);
        }
}

static int offer(struct agent *a, const char *path, const char *offers, struct err *e)
{
        const char *const argv[] = {AGENT_SELF,     "tool", "offer", path,
                                    a->config.node, offers, NULL};

        return child_run(argv, a->config.probe_deadline_ms, NULL, e);
}

int64_t offers_work(struct agent *a, const char *rest)
{
        char offers[TEXT_SIZE] = "", why[320];
        int64_t next = WORK_DONE;
        struct err e;

        (void)rest;
        print_offers(a, offers);
        for (size_t i = 0; i < a->config.npools; i++) {
                const struct agent_pool *pool = &a->config.pools[i];

                if (pool->local)
                        continue;
                if (!mounts_usable(a->mounts, pool->name, why)) {
                        next = *offers ? AGAIN_MS : next;
                        continue;
                }
                if (offer(a, pool->path, offers, &e)) {
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

static int open_file(const char *node, int flags)
{
        char path[300];

        snprintf(path, sizeof(path), ".drover/moves-%s", node);
        return open(path, O_NOFOLLOW | O_CLOEXEC | flags, 0644);
}

int offer_tool_write(char **argv)
{
        char text[TEXT_SIZE] = "";
        int fd = open_file(argv[1], O_WRONLY | O_CREAT);

        snprintf(text, sizeof(text), "%s", argv[2]);
        if (fd < 0 || pwrite(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text) || fsync(fd) ||
            close(fd)) {
                printf("cannot write %s/.drover/moves-%s: %s\n", argv[0], argv[1], strerror(errno));
                return 1;
        }
        return 0;
}

/* What follows the uid in the text; NULL when it is not there. */
static const char *after_uid(const char *text, const char *uid)
{
        size_t len = strlen(uid);

        for (const char *p = text; len && (p = strstr(p, uid)); p += len)
                if ((p == text || p[-1] == ',') && (!p[len] || strchr(",!", p[len])))
                        return p + len;
        return NULL;
}

/* True when there is an offer; *slow_ms is 0, or what keeps the source from taking it. */
static bool look(const char *node, const char *uid, long *slow_ms)
{
        char text[TEXT_SIZE + 1];
        int fd = open_file(node, O_RDONLY);

        if (fd < 0)
                return false;
        ssize_t n = read(fd, text, TEXT_SIZE);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        const char *rest = after_uid(text, uid);
        *slow_ms = rest && *rest == '!' ? strtol(rest + 1, NULL, 10) : 0;
        return rest;
}

int offer_tool_seen(char **argv)
{
        struct mono end = mono_add_ms(mono_now(), strtoll(argv[3], NULL, 10));
        long slow_ms = 0;

        while (!look(argv[1], argv[2], &slow_ms)) {
                if (mono_ms_between(mono_now(), end) <= 0) {
                        printf("what %s has left at %s for this move does not show here: no proof "
                               "that "
                               "both nodes see the same directory\n",
                               argv[1], argv[0]);
                        return 1;
                }
                nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        }
        if (!slow_ms)
                return 0;
        printf("looking up the name of this node takes %ld ms on %s\n", slow_ms, argv[1]);
        return 1;
}
