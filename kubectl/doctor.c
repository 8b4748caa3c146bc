#include "kubectl/doctor.h"

#include "base/hex.h"
#include "base/json.h"
#include "base/mono.h"
#include "base/options.h"
#include "core/types.h"
#include "kubectl/cluster.h"
#include "kubectl/jobs.h"
#include "kubectl/report.h"
#include "kubectl/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AGENTS_MAX   5000
#define FINDINGS_MAX 65536
#define ARENA_MAX    ((size_t)256 << 20)
#define REPORT_MAX   ((size_t)64 << 20)
#define NODES_MAX    256
#define BRIDGES_MAX  64
#define WORDS_MAX    24
#define RUN_BYTES    16
#define COULD_NOT    2

struct flags {
        const char *kubeconfig, *context, *kubectl, *nodes, *output;
        int64_t timeout_s;
};

/* What the API server is asked for, all at a time. */
enum query {
        Q_WORKLOADS,
        Q_NODES,
        Q_HOSTS,
        Q_CRDS,
        Q_ADMISSION,
        Q_LEASES,
        Q_SECRETS,
        Q_PENDING,
        Q_SCHEDULERS,
        Q_BRIDGES,
        QUERIES
};

static const struct {
        const char *what;
        unsigned check;
        const char *words[8];
} QUERY[QUERIES] = {
        [Q_WORKLOADS] = {"Deployments and Pods in " DROVER_NAMESPACE,
                         DOCTOR_COMPONENTS,
                         {"deployments,daemonsets,pods", "-n", DROVER_NAMESPACE}},
        [Q_NODES] = {"Nodes", DOCTOR_AGENTS, {"nodes", "-l", DROVER_HYPERVISOR_LABEL}},
        [Q_HOSTS] = {"VirtualMachineHosts", DOCTOR_HOSTS, {"virtualmachinehosts"}},
        [Q_CRDS] = {"CustomResourceDefinitions",
                    DOCTOR_CRDS,
                    {"customresourcedefinitions", "virtualmachines." DROVER_GROUP,
                     "virtualmachinehosts." DROVER_GROUP, "virtualmachineimages." DROVER_GROUP,
                     "virtualmachinemigrations." DROVER_GROUP,
                     "virtualmachinesnapshots." DROVER_GROUP, "--ignore-not-found"}},
        [Q_ADMISSION] = {"webhook configurations",
                         DOCTOR_ADMISSION,
                         {"mutatingwebhookconfigurations,validatingwebhookconfigurations", "-l",
                          "app.kubernetes.io/part-of=drover"}},
        [Q_LEASES] = {"Leases in " DROVER_NAMESPACE,
                      DOCTOR_HEARTBEAT,
                      {"leases", "-n", DROVER_NAMESPACE}},
        [Q_SECRETS] = {"Secrets in " DROVER_NAMESPACE,
                       DOCTOR_SECRETS,
                       {"secrets", "-n", DROVER_NAMESPACE}},
        [Q_PENDING] = {"Pods of VMs",
                       DOCTOR_SCHEDULER,
                       {"pods", "-A", "-l", DROVER_VM_LABEL, "--field-selector",
                        "status.phase=Pending"}},
        [Q_SCHEDULERS] = {"Pods of kube-scheduler",
                          DOCTOR_SCHEDULER,
                          {"pods", "-n", "kube-system", "-l", "component=kube-scheduler"}},
        [Q_BRIDGES] = {"VirtualMachines",
                       DOCTOR_BRIDGES,
                       {"virtualmachines", "-A", "-o",
                        "jsonpath={range .items[*].spec.networks[*]}{.bridge}{\"\\n\"}{end}"}},
};

struct doctor {
        struct flags flags;
        const char *kubectl[WORDS_MAX]; /* the words of every call */
        struct job jobs[QUERIES];
        struct json *said[QUERIES]; /* NULL: could not be read */
        struct arena *arena;
        struct findings f;
};

/* --- the API server */

static void kubectl_words(struct doctor *d)
{
        size_t n = 0;

        d->kubectl[n++] = d->flags.kubectl;
        if (d->flags.kubeconfig) {
                d->kubectl[n++] = "--kubeconfig";
                d->kubectl[n++] = d->flags.kubeconfig;
        }
        if (d->flags.context) {
                d->kubectl[n++] = "--context";
                d->kubectl[n++] = d->flags.context;
        }
}

static int start_query(struct doctor *d, size_t q, struct err *e)
{
        const char *argv[WORDS_MAX] = {NULL};
        size_t n = 0;

        for (; d->kubectl[n]; n++)
                argv[n] = d->kubectl[n];
        argv[n++] = "get";
        for (size_t i = 0; i < countof(QUERY[q].words) && QUERY[q].words[i]; i++)
                argv[n++] = QUERY[q].words[i];
        if (q != Q_BRIDGES) {
                argv[n++] = "-o";
                argv[n++] = "json";
        }
        return job_start(&d->jobs[q], argv, JOB_OUTPUT_MAX, e);
}

static int read_query(struct doctor *d, size_t q, struct err *e)
{
        const struct buf *text = &d->jobs[q].text;
        int rc = job_result(&d->jobs[q], "kubectl get", e);

        if (!rc && q == Q_BRIDGES)
                return 0;
        if (!rc && !text->len) /* of --ignore-not-found */
                return json_parse("{}", 2, 2, &d->said[q], e);
        if (!rc && json_parse(buf_str(text), text->len, JOB_OUTPUT_MAX, &d->said[q], e))
                return err_wrap(e, "kubectl get");
        return rc;
}

/* 0, -ECANCELED, or why nothing at all can be examined. */
static int ask_server(struct doctor *d, struct err *e)
{
        struct mono end = mono_add_ms(mono_now(), d->flags.timeout_s * 1000);
        int rc = 0;

        for (size_t q = 0; q < QUERIES && !rc; q++)
                rc = start_query(d, q, e);
        for (bool running = !rc; running;) {
                enum jobs_event what = jobs_wait(d->jobs, QUERIES, end);

                if (what == JOBS_INTERRUPTED)
                        return err_set(e, -ECANCELED, "interrupted");
                running = false;
                for (size_t q = 0; q < QUERIES && what != JOBS_TIMEOUT; q++)
                        running |= !d->jobs[q].ended;
        }
        for (size_t q = 0; q < QUERIES && !rc; q++) {
                rc = read_query(d, q, e);
                if (!rc || q == Q_WORKLOADS)
                        continue; /* without the agents' pods there is nothing to go on with */
                findings_add(&d->f, QUERY[q].check, "", QUERY[q].what, DOCTOR_WARNING,
                             "Run this as somebody who may read them.",
                             "%s could not be looked at: %s", QUERY[q].what, e->msg);
                rc = 0;
        }
        return rc;
}

static void judge_cluster(struct doctor *d)
{
        struct json **said = d->said;

        judge_components(said[Q_WORKLOADS], &d->f);
        judge_crds(said[Q_CRDS], &d->f);
        judge_admission(said[Q_ADMISSION], said[Q_SECRETS], &d->f);
        judge_secrets(said[Q_SECRETS], wall_us() / 1000000, &d->f);
        judge_scheduler(said[Q_PENDING], said[Q_SCHEDULERS], said[Q_WORKLOADS], &d->f);
        judge_agents(said[Q_WORKLOADS], said[Q_NODES], &d->f);
        judge_hosts(said[Q_HOSTS], said[Q_WORKLOADS], &d->f);
        judge_heartbeats(said[Q_LEASES], said[Q_WORKLOADS], &d->f);
}

/* --- the nodes */

/* "br0,br1": each bridge once, or "-". */
static void list_bridges(struct doctor *d, struct buf *out)
{
        const char *p = buf_str(&d->jobs[Q_BRIDGES].text);
        const char *seen[BRIDGES_MAX];
        size_t n = 0;

        for (size_t len; *p && n < BRIDGES_MAX; p += len + (p[len] == '\n')) {
                bool again = false;

                len = strcspn(p, "\n");
                for (size_t i = 0; i < n; i++)
                        again |= strcspn(seen[i], "\n") == len && !memcmp(seen[i], p, len);
                if (!len || again || memchr(p, ',', len))
                        continue;
                seen[n++] = p;
                buf_addf(out, "%s%.*s", out->len ? "," : "", (int)len, p);
        }
        if (!out->len)
                buf_adds(out, "-");
}

/* Groups overlap by a node, so that what is one directory within each is one in all. */
static bool ask_agents(struct doctor *d, const struct agent_pod *v, size_t n)
{
        struct clock_range *clocks = arena_array(d->arena, 2 * n + 2, sizeof(*clocks));
        autobuf struct buf bridges = buf_new(8192);
        size_t nclocks = 0;
        char run[2 * RUN_BYTES + 1];

        if (!clocks)
                return true;
        list_bridges(d, &bridges);
        for (size_t at = 0; at == 0 || at + 1 < n; at += SESSIONS_MAX - 1) {
                struct session_plan p = {.kubectl = d->kubectl,
                                         .bridges = buf_str(&bridges),
                                         .run = run,
                                         .deadline_ms = d->flags.timeout_s * 1000,
                                         .again = at > 0};
                size_t some = n - at < SESSIONS_MAX ? n - at : SESSIONS_MAX;

                hex_random(run, RUN_BYTES);
                if (!sessions_run(&p, v + at, some, &d->f, clocks, &nclocks))
                        return false;
        }
        doctor_judge_clocks(clocks, nclocks, &d->f);
        return true;
}

/* 0, or why the agents could not be asked. */
static int examine_nodes(struct doctor *d, struct err *e)
{
        struct agent_pod *v = arena_array(d->arena, AGENTS_MAX, sizeof(*v));
        char *nodes = arena_strdup(d->arena, d->flags.nodes), *save = NULL;
        const char *names[NODES_MAX];
        size_t n = 0;

        if (!v || !nodes)
                return err_set(e, -ENOMEM, "out of memory");
        for (char *p = strtok_r(nodes, ",", &save); p && n < NODES_MAX;
             p = strtok_r(NULL, ",", &save))
                names[n++] = p;
        size_t found = cluster_agents(d->said[Q_WORKLOADS], names, n, v, AGENTS_MAX);
        if (n && found < n)
                return err_set(e, -ENOENT, "--nodes: no agent runs on some of %s", d->flags.nodes);
        if (found && !ask_agents(d, v, found))
                return err_set(e, -ECANCELED,
                               "interrupted; the agents remove what they have left in "
                               "the pools");
        return 0;
}

/* --- all of it */

static int tell(struct doctor *d)
{
        autobuf struct buf b = buf_new(REPORT_MAX);
        int rc = d->f.failed ? -ENOMEM : 0;

        if (!rc)
                report_sort(&d->f);
        if (!rc)
                rc = !strcmp(d->flags.output, "json")
                             ? report_json(&d->f, &b)
                             : report_table(&d->f, isatty(STDOUT_FILENO), &b);
        if (rc) {
                fputs("kubectl drover: out of memory\n", stderr);
                return COULD_NOT;
        }
        fputs(buf_str(&b), stdout);
        if (fflush(stdout))
                return COULD_NOT;
        return findings_worst(&d->f) == DOCTOR_FAULT ? 1 : 0;
}

static int run(struct doctor *d)
{
        struct err e;

        kubectl_words(d);
        jobs_begin();
        int rc = ask_server(d, &e);
        if (!rc) {
                judge_cluster(d);
                rc = examine_nodes(d, &e);
        }
        if (rc) {
                fprintf(stderr, "kubectl drover: %s\n", e.msg);
                return COULD_NOT;
        }
        return tell(d);
}

static int print_help(const struct option_row *rows, size_t n)
{
        autobuf struct buf b = buf_new(65536);

        if (!options_help(&b, "kubectl drover doctor [FLAGS]",
                          "Examines Drover, its hypervisors and their storage, and says how to "
                          "mend what is not right.\nExit code 0: no fault. 1: faults. 2: it could "
                          "not be run.",
                          rows, n))
                fputs(buf_str(&b), stdout);
        return 0;
}

int doctor_main(int argc, char **argv)
{
        static struct doctor d = {
                .flags = {.kubectl = "kubectl", .nodes = "", .output = "table", .timeout_s = 30}};
        const struct option_row rows[] = {
                OPTION_TEXT("kubeconfig", NULL, "FILE", "for kubectl", &d.flags.kubeconfig),
                OPTION_TEXT("context", NULL, "NAME", "for kubectl", &d.flags.context),
                OPTION_TEXT("nodes", NULL, "NAME,...", "examine these alone", &d.flags.nodes),
                OPTION_TEXT("output", NULL, "table|json", "also as -o", &d.flags.output),
                OPTION_NUMBER("timeout", NULL, "S", "for each of the three steps",
                              &d.flags.timeout_s, 5, 50),
                OPTION_TEXT("kubectl", NULL, "PATH", "the program to run", &d.flags.kubectl),
        };
        static char output[] = "--output";
        struct err e;

        for (int i = 1; i < argc; i++)
                if (!strcmp(argv[i], "-o"))
                        argv[i] = output;
        int rc = options_parse(argc, argv, rows, countof(rows), NULL, &e);
        if (rc > 0)
                return print_help(rows, countof(rows));
        if (!rc && strcmp(d.flags.output, "json") != 0 && strcmp(d.flags.output, "table") != 0)
                rc = err_set(&e, -EINVAL, "--output: \"%s\" is neither table nor json",
                             d.flags.output);
        if (rc) {
                fprintf(stderr, "kubectl drover: %s\n", e.msg);
                return COULD_NOT;
        }
        d.arena = arena_new(ARENA_MAX);
        if (d.arena)
                d.f = findings_new(d.arena, FINDINGS_MAX);
        rc = d.arena ? run(&d) : COULD_NOT;
        for (size_t q = 0; q < QUERIES; q++) {
                job_free(&d.jobs[q]);
                json_free(d.said[q]);
        }
        arena_free(d.arena);
        return rc;
}
