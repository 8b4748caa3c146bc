#include "agent/prober.h"

#include "agent/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define NO_PIDFD_MS 10 /* between looks at a child that cannot be polled */

static void start_ping(struct prober *p, const struct mount_entry *m)
{
        struct nfs_server s;
        struct err e;

        *p->server = '\0';
        if (!nfs_server_of(m, &s) || nfs_ping_start(&s, &p->ping, &e))
                return;
        snprintf(p->server, sizeof(p->server), "%s port %d", s.address, s.port);
}

static int start_child(struct prober *p, struct err *e)
{
        const char *const argv[] = {AGENT_SELF, "tool", "probe", p->path, p->node, NULL};
        int rc = child_start(&p->child, argv, e);

        p->running = !rc;
        return rc;
}

static void report(struct prober *p, enum probe_result verdict, const char *fmt, ...)
        printf_like(3, 4);

static void report(struct prober *p, enum probe_result verdict, const char *fmt, ...)
{
        va_list ap;

        p->report = (struct probe_report){.verdict = verdict};
        va_start(ap, fmt);
        vsnprintf(p->report.why, sizeof(p->report.why), fmt, ap);
        va_end(ap);
}

static void stage(struct prober *p, enum prober_stage s, struct mono until)
{
        p->stage = s;
        p->until = until;
}

void prober_begin(struct prober *p, const struct mount_entry *m, struct mono now)
{
        struct mono until = mono_add_ms(now, p->deadline_ms);
        struct err e;

        (void)prober_released(p);
        start_ping(p, m);
        if (p->stuck) {
                report(p, PROBE_STUCK, "hangs: a probe cannot even be killed");
                stage(p, PROBER_PINGING, until);
        } else if (start_child(p, &e)) {
                report(p, PROBE_FAILED, "%.240s", e.msg);
                stage(p, PROBER_PINGING, now);
        } else {
                stage(p, PROBER_ASKING, until);
        }
}

static void free_child(struct prober *p)
{
        child_free(&p->child);
        p->running = p->stuck = false;
}

bool prober_released(struct prober *p)
{
        if (!p->stuck || !child_wait(&p->child, 0))
                return false;
        free_child(p);
        return true;
}

static void take_answer(struct prober *p)
{
        const struct child *c = &p->child;

        probe_read(buf_str(&c->text), WIFEXITED(c->status) && !WEXITSTATUS(c->status), &p->report);
        free_child(p);
}

static void step_child(struct prober *p, struct mono now)
{
        bool late = mono_ms_between(now, p->until) <= 0;
        bool ended = child_wait(&p->child, 0);

        if (p->stage == PROBER_ASKING && ended) {
                take_answer(p);
                stage(p, PROBER_PINGING, p->until);
        } else if (p->stage == PROBER_ASKING && late) {
                child_kill(&p->child);
                stage(p, PROBER_KILLING, mono_add_ms(now, CHILD_KILL_MS));
        } else if (p->stage == PROBER_KILLING && ended) {
                free_child(p);
                report(p, PROBE_HUNG, "no answer within %lld ms", (long long)p->deadline_ms);
                stage(p, PROBER_PINGING, now);
        } else if (p->stage == PROBER_KILLING && late) {
                p->stuck = true;
                report(p, PROBE_STUCK, "hangs: a probe cannot even be killed");
                stage(p, PROBER_PINGING, now);
        }
}

/* Does it matter for this verdict whether the server answers? */
static bool concerns_server(enum probe_result r)
{
        return r == PROBE_HUNG || r == PROBE_STUCK || r == PROBE_IO_ERROR ||
               r == PROBE_SERVER_SILENT;
}

/* What the ping has found goes into the report. */
static void judge_ping(struct prober *p, enum nfs_ping_state state)
{
        struct probe_report *r = &p->report;
        char more[NFSPING_WHY_MAX * 2 + 64];
        size_t len = strlen(r->why);

        if (state == NFS_PING_ANSWERED)
                snprintf(more, sizeof(more), ", though its server at %s answers", p->server);
        else
                snprintf(more, sizeof(more), ", nor does its server at %s answer%s%s", p->server,
                         *nfs_ping_why(p->ping) ? ": " : "", nfs_ping_why(p->ping));
        snprintf(r->why + len, sizeof(r->why) - len, "%s", more);
        if (state != NFS_PING_ANSWERED && r->verdict != PROBE_STUCK)
                r->verdict = PROBE_SERVER_SILENT;
}

/* True when nothing more is to be waited for. */
static bool step_ping(struct prober *p, struct mono now)
{
        if (p->ping && concerns_server(p->report.verdict)) {
                enum nfs_ping_state s = nfs_ping_step(p->ping);
                if (s == NFS_PING_PENDING && mono_ms_between(now, p->until) > 0)
                        return false;
                judge_ping(p, s);
        }
        nfs_ping_free(p->ping);
        p->ping = NULL;
        return true;
}

bool prober_step(struct prober *p, struct mono now)
{
        if (p->ping)
                (void)nfs_ping_step(p->ping);
        if (p->stage == PROBER_ASKING || p->stage == PROBER_KILLING)
                step_child(p, now);
        if (p->stage != PROBER_PINGING || !step_ping(p, now))
                return false;
        p->stage = PROBER_IDLE;
        return true;
}

size_t prober_fds(const struct prober *p, struct pollfd out[PROBER_FDS])
{
        size_t n = p->running ? child_fds(&p->child, out) : 0;

        if (p->ping) {
                struct pollfd f = nfs_ping_fd(p->ping);
                if (f.fd >= 0)
                        out[n++] = f;
        }
        return n;
}

int64_t prober_wait_ms(const struct prober *p, struct mono now)
{
        if (p->stage == PROBER_IDLE)
                return -1;
        /* cut off, so that at the end of a millisecond's fraction the time has come */
        int64_t rest = mono_ms_between(now, p->until) + 1;
        if (p->running && !p->stuck && p->child.pidfd < 0 && rest > NO_PIDFD_MS)
                rest = NO_PIDFD_MS;
        return rest > 0 ? rest : 0;
}

void prober_kill(struct prober *p)
{
        if (p->running)
                child_kill(&p->child);
}

void prober_free(struct prober *p, struct mono end)
{
        nfs_ping_free(p->ping);
        p->ping = NULL;
        if (p->running)
                child_free_by(&p->child, end);
        p->running = p->stuck = false;
        p->stage = PROBER_IDLE;
}
