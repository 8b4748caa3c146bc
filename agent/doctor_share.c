/*
 * The test across nodes. Token and lock are made and looked for by the tools that a move uses
 * (offers.h, locks.h), under names of the run's own, so that no move is disturbed.
 */
#include "agent/child.h"
#include "agent/doctor.h"
#include "agent/locks.h"
#include "agent/offers.h"
#include "agent/tool.h"
#include "base/json.h"
#include "base/mono.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LEAVE_MS       3000
#define SEEN_MS        3000 /* how long a token may take to show up: caches of attributes end by then */
#define WAIT_MS        120000 /* for the word of whoever runs us; then all is removed */
#define SEEN_NOW_MS    200
#define FORGET_MS      3000
#define LINE_MAX_BYTES ((size_t)64 << 10)

struct share {
        const struct agent_config *config;
        const char *run;
        char name[DOCTOR_NAME_MAX];
        struct lock_holder held[AGENT_POOLS_MAX];
        bool touched[AGENT_POOLS_MAX], hangs[AGENT_POOLS_MAX];
        bool waited[AGENT_POOLS_MAX]; /* in vain: no other token there needs as long any more */
        struct findings *f;
};

static void say(const char *key, const char *text)
{
        autobuf struct buf b = buf_new(4096);

        json_quote(&b, text);
        printf("{\"%s\":%s}\n", key, buf_str(&b));
        fflush(stdout);
}

/* --- what this node leaves */

static bool hold(struct lock_holder *h, const char *path, const char *name)
{
        struct mono end = mono_add_ms(mono_now(), LEAVE_MS);

        while (!lock_hold(h, path, name)) {
                if (mono_ms_between(mono_now(), end) <= 0)
                        return false;
                nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
        return true;
}

static void leave(struct share *s, size_t i)
{
        const struct agent_pool *p = &s->config->pools[i];
        const char *const argv[] = {AGENT_SELF, "tool", "offer", p->path, s->name, s->run, NULL};
        struct err e;

        s->touched[i] = true;
        int rc = child_run(argv, LEAVE_MS, NULL, &e);
        s->hangs[i] = rc == -ETIMEDOUT || rc == -EDEADLK;
        if (rc) {
                findings_add(s->f, DOCTOR_SHARED, s->config->node, p->name, DOCTOR_FAULT,
                             "See what pool-mount and pool-write say of this node.",
                             "no token for the other nodes can be left in the pool: %s", e.msg);
                return;
        }
        if (!hold(&s->held[i], p->path, s->name))
                findings_add(s->f, DOCTOR_LOCKS, s->config->node, p->name, DOCTOR_FAULT,
                             "Locks must work on the pool: no nolock or local_lock, and with NFS "
                             "version 3 rpc.statd here and on the server.",
                             "this node gets no lock on a file of its own");
        else
                say("left", p->name);
}

/* --- what the others have left */

static void look(struct share *s, size_t i, const char *peer)
{
        const struct agent_pool *p = &s->config->pools[i];
        const char *node = s->config->node;
        char name[DOCTOR_NAME_MAX];
        struct err e;

        doctor_name(name, s->run, peer);
        int rc = offer_seen(p->path, name, s->run, s->waited[i] ? SEEN_NOW_MS : SEEN_MS, &e);
        s->waited[i] |= rc != 0;
        s->hangs[i] |= rc == -ETIMEDOUT || rc == -EDEADLK;
        if (rc) {
                findings_add(s->f, DOCTOR_SHARED, node, p->name, DOCTOR_FAULT,
                             "Compare findmnt of the path on both nodes: the same server and the "
                             "same export must be mounted.",
                             s->hangs[i] ? "what %s has written cannot be read: %s hangs here"
                                         : "what %s has written at %s is not there: another "
                                           "directory is mounted on one of the two",
                             peer, p->path);
                return;
        }
        findings_add(s->f, DOCTOR_SHARED, node, p->name, DOCTOR_OK, NULL,
                     "what %s has written reads the same here", peer);
        if (lock_refused(p->path, name, SEEN_MS, &e))
                findings_add(s->f, DOCTOR_LOCKS, node, p->name, DOCTOR_FAULT,
                             "Mount the pool without nolock and local_lock on both nodes; by NFS "
                             "4.2 locks need no service of their own.",
                             "a lock that %s holds does not keep this node out: %s", peer, e.msg);
        else
                findings_add(s->f, DOCTOR_LOCKS, node, p->name, DOCTOR_OK, NULL,
                             "a lock that %s holds is refused here", peer);
}

static void look_at(struct share *s, const char *pool, const char *peer)
{
        for (size_t i = 0; i < s->config->npools; i++) {
                if (strcmp(s->config->pools[i].name, pool) != 0 || s->hangs[i] || !s->touched[i] ||
                    !strcmp(peer, s->config->node))
                        continue;
                look(s, i, peer);
                doctor_tell(s->f);
        }
}

/* "go POOL=NODE ..." */
static void go(struct share *s, char *line)
{
        char *save = NULL;

        printf("{\"clock\":%lld}\n", (long long)wall_us());
        fflush(stdout);
        for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
                char *eq = strchr(w, '=');

                if (!eq || strchr(eq, '/'))
                        continue;
                *eq = '\0';
                look_at(s, w, eq + 1);
        }
        puts("{\"done\":true}");
        fflush(stdout);
}

/* False at the end of the input, and when nothing comes for long. */
static bool read_line(struct buf *line, struct mono end)
{
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        char c;

        buf_reset(line);
        for (;;) {
                int64_t ms = mono_ms_between(mono_now(), end);
                int n = ms <= 0 ? 0 : poll(&p, 1, (int)ms);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 || read(STDIN_FILENO, &c, 1) != 1 || buf_add(line, &c, 1))
                        return false;
                if (c == '\n')
                        return true;
        }
}

/* --- the end */

static void forget(struct share *s, size_t i)
{
        const struct agent_pool *p = &s->config->pools[i];
        const char *const argv[] = {AGENT_SELF, "doctor", "part", "forget", p->path, s->name, NULL};
        struct err e;

        lock_release(&s->held[i]);
        if (child_run(argv, FORGET_MS, NULL, &e))
                findings_add(s->f, DOCTOR_TIDY, s->config->node, p->name, DOCTOR_WARNING,
                             "The next run removes them once they are an hour old.",
                             "files of this test stay in %s/.drover: %s", p->path, e.msg);
}

void doctor_share(const struct agent_config *c, const char *run, const bool *usable,
                  struct findings *f)
{
        struct share s = {.config = c, .run = run, .f = f};
        struct mono end = mono_add_ms(mono_now(), WAIT_MS);
        autobuf struct buf line = buf_new(LINE_MAX_BYTES);

        doctor_name(s.name, run, c->node);
        for (size_t i = 0; i < c->npools; i++)
                if (usable[i] && !c->pools[i].local)
                        leave(&s, i);
        doctor_tell(f);
        puts("{\"waiting\":true}");
        fflush(stdout);
        while (read_line(&line, end))
                if (!strncmp(buf_str(&line), "go ", 3))
                        go(&s, line.data + 3);
        for (size_t i = 0; i < c->npools; i++)
                if (s.touched[i])
                        forget(&s, i);
        doctor_tell(f);
}
