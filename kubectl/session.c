#include "kubectl/session.h"

#include "api/finding.h"
#include "base/json.h"
#include "base/mono.h"
#include "core/types.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TALK_MAX   ((size_t)4 << 20)
#define LINE_BOUND ((size_t)64 << 10)
#define GO_MAX     ((size_t)60000) /* what a pipe takes at once */
#define TIDY_MS    12000
#define TIDY_LESS  5000 /* once interrupted */
#define WORDS_MAX  32
#define POOLS_MAX  16

struct session {
        const struct agent_pod *agent;
        size_t read; /* of the job's text, whole lines */
        bool waiting, done, garbled;
        int64_t asked_us;
        const char *left[POOLS_MAX]; /* pools in which it has left its token */
        size_t nleft;
};

struct group {
        const struct session_plan *plan;
        struct job jobs[SESSIONS_MAX];
        struct session v[SESSIONS_MAX];
        size_t n;
        struct findings *f;
        struct clock_range *clocks;
        size_t *nclocks;
        bool interrupted;
};

/* --- what they say */

static void take_finding(struct group *g, size_t i, const struct json *j)
{
        struct findings *f = g->f;
        size_t before = f->n;

        if (!finding_decode(j, f)) {
                g->v[i].garbled = true;
        } else if (f->n > before) {
                /* whatever it says, it speaks of its own node */
                f->v[before].node = g->v[i].agent->node;
                if (i == 0 && g->plan->again && f->v[before].check < DOCTOR_SHARED)
                        f->n = before;
        }
}

static void take_line(struct group *g, size_t i, const char *line, size_t len)
{
        autojson struct json *j = NULL;
        struct session *s = &g->v[i];
        int64_t clock;
        struct err e;

        if (json_parse(line, len, LINE_BOUND, &j, &e)) {
                s->garbled = true;
        } else if (json_get(j, "finding")) {
                take_finding(g, i, json_get(j, "finding"));
        } else if (json_get(j, "left") && s->nleft < POOLS_MAX) {
                const char *pool = arena_strdup(g->f->arena, json_str(j, "left", ""));
                if (pool && *pool && !strpbrk(pool, "= \n"))
                        s->left[s->nleft++] = pool;
        } else if (json_to_int(json_get(j, "clock"), &clock) && s->asked_us) {
                g->clocks[(*g->nclocks)++] = (struct clock_range){s->agent->node, clock - wall_us(),
                                                                  clock - s->asked_us};
                s->asked_us = 0; /* once */
        } else {
                s->waiting |= json_is_true(json_get(j, "waiting"));
                s->done |= json_is_true(json_get(j, "done"));
        }
}

static void take_news(struct group *g)
{
        for (size_t i = 0; i < g->n; i++) {
                const char *text = buf_str(&g->jobs[i].text);
                const char *end;

                while ((end = strchr(text + g->v[i].read, '\n'))) {
                        const char *line = text + g->v[i].read;
                        g->v[i].read = (size_t)(end + 1 - text);
                        if (end > line)
                                take_line(g, i, line, (size_t)(end - line));
                }
        }
}

/* --- the course of it */

static bool all(const struct group *g, bool done)
{
        for (size_t i = 0; i < g->n; i++)
                if (!g->jobs[i].ended && !(done ? g->v[i].done : g->v[i].waiting))
                        return false;
        return true;
}

/* Until all wait, or are done, or have ended; to the deadline. */
static void listen_to(struct group *g, bool done)
{
        struct mono end = mono_add_ms(mono_now(), g->plan->deadline_ms);

        while (!g->interrupted && !all(g, done)) {
                enum jobs_event what = jobs_wait(g->jobs, g->n, end);

                take_news(g);
                if (what == JOBS_TIMEOUT)
                        break;
                g->interrupted = what == JOBS_INTERRUPTED;
        }
}

static void start(struct group *g, size_t i)
{
        autobuf struct buf peers = buf_new(16384);
        const char *argv[WORDS_MAX];
        size_t n = 0;
        struct err e;

        for (size_t k = 0; k < g->n; k++)
                if (k != i)
                        buf_addf(&peers, "%s%s", peers.len ? "," : "", g->v[k].agent->node);
        for (; n < WORDS_MAX - 16 && g->plan->kubectl[n]; n++)
                argv[n] = g->plan->kubectl[n];
        const char *const rest[] = {"exec",
                                    "-i",
                                    "-n",
                                    DROVER_NAMESPACE,
                                    g->v[i].agent->pod,
                                    "-c",
                                    "agent",
                                    "--",
                                    "drover-agent",
                                    "doctor",
                                    g->plan->run,
                                    peers.len ? buf_str(&peers) : "-",
                                    g->plan->bridges,
                                    NULL};
        memcpy(argv + n, rest, sizeof(rest));
        if (job_start(&g->jobs[i], argv, TALK_MAX, &e)) {
                findings_add(g->f, DOCTOR_SESSION, g->v[i].agent->node, "", DOCTOR_FAULT,
                             "Is kubectl in PATH?", "%s", e.msg);
                g->jobs[i] = (struct job){.in = -1, .out = -1, .err = -1, .ended = true};
        }
}

/* All are asked at once, so that each finds what the others have left. */
static void ask(struct group *g)
{
        autobuf struct buf line = buf_new(GO_MAX);

        buf_adds(&line, "go");
        for (size_t i = 0; i < g->n; i++)
                for (size_t k = 0; k < g->v[i].nleft && !g->jobs[i].ended; k++)
                        buf_addf(&line, " %s=%s", g->v[i].left[k], g->v[i].agent->node);
        buf_adds(&line, " \n");
        if (line.failed)
                findings_add(g->f, DOCTOR_SHARED, "", "", DOCTOR_WARNING,
                             "Name fewer nodes with --nodes.",
                             "too many pools and nodes at a time: not tested across nodes");
        for (size_t i = 0; i < g->n; i++) {
                if (g->jobs[i].ended || !g->v[i].waiting)
                        continue;
                g->v[i].asked_us = wall_us();
                if (!job_write(&g->jobs[i], line.failed ? "go \n" : buf_str(&line)))
                        job_close_input(&g->jobs[i]);
        }
}

/* The end of the input makes them tidy up. */
static void finish(struct group *g)
{
        struct mono end = mono_add_ms(mono_now(), g->interrupted ? TIDY_LESS : TIDY_MS);
        bool again = g->interrupted, running = true;

        for (size_t i = 0; i < g->n; i++)
                job_close_input(&g->jobs[i]);
        while (running) {
                enum jobs_event what = jobs_wait(g->jobs, g->n, end);

                take_news(g);
                if (what == JOBS_TIMEOUT || (what == JOBS_INTERRUPTED && again))
                        break;
                if (what == JOBS_INTERRUPTED)
                        again = g->interrupted = true;
                running = false;
                for (size_t i = 0; i < g->n; i++)
                        running |= !g->jobs[i].ended;
        }
}

static void judge_session(struct group *g, size_t i)
{
        const struct session *s = &g->v[i];
        const char *node = s->agent->node;
        const char *mend = "Does kubectl exec into the agent's pod work, and is the agent of the "
                           "same version as this program? It needs the right to create pods/exec "
                           "in " DROVER_NAMESPACE ".";
        struct err e;

        if (!g->jobs[i].pid || g->interrupted)
                return;
        int rc = job_result(&g->jobs[i], "kubectl exec", &e);
        if (s->garbled)
                findings_add(g->f, DOCTOR_SESSION, node, "", DOCTOR_FAULT, mend,
                             "the agent says what this program does not understand");
        else if (!s->waiting || !s->done)
                findings_add(g->f, DOCTOR_SESSION, node, "", DOCTOR_FAULT, mend,
                             "the examination %s: %s",
                             s->waiting ? "was not completed" : "did not take place",
                             rc ? e.msg : "it ended too early");
        else
                findings_add(g->f, DOCTOR_SESSION, node, "", DOCTOR_OK, NULL,
                             "its agent could be asked");
}

bool sessions_run(const struct session_plan *p, const struct agent_pod *v, size_t n,
                  struct findings *f, struct clock_range *clocks, size_t *nclocks)
{
        struct group *g = calloc(1, sizeof(*g));

        if (!g) {
                f->failed = true;
                return true;
        }
        *g = (struct group){.plan = p, .n = n, .f = f, .clocks = clocks, .nclocks = nclocks};
        for (size_t i = 0; i < n; i++)
                g->v[i].agent = &v[i];
        for (size_t i = 0; i < n; i++)
                start(g, i);
        listen_to(g, false);
        if (!g->interrupted) {
                ask(g);
                listen_to(g, true);
        }
        finish(g);
        for (size_t i = 0; i < n; i++) {
                judge_session(g, i);
                job_free(&g->jobs[i]);
        }
        bool whole = !g->interrupted;
        free(g);
        return whole;
}
