#include "agent/doctor.h"

#include "agent/checkup.h"
#include "agent/child.h"
#include "agent/facts.h"
#include "agent/mountinfo.h"
#include "agent/mountpools.h"
#include "agent/ports.h"
#include "agent/proc.h"
#include "agent/tool.h"
#include "api/finding.h"
#include "base/file.h"
#include "base/mono.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARTS_MS     8000  /* for each */
#define ALL_PARTS_MS 16000 /* for all of them */
#define AT_ONCE      8     /* they share the agent's memory limit */
#define PEERS_MAX    32
#define PARTS_MAX    (AGENT_POOLS_MAX + 1 + 2 * PEERS_MAX)
#define FINDINGS_MAX 1024
#define BRIDGES_MAX  64
#define PEM_MAX      ((size_t)256 << 10)
#define DH_PARAMS    "/etc/pki/qemu/dh-params.pem"

void doctor_name(char out[DOCTOR_NAME_MAX], const char *run, const char *node)
{
        snprintf(out, DOCTOR_NAME_MAX, "doctor-%.*s-%.253s", DOCTOR_RUN_MAX, run, node);
}

void doctor_tell(struct findings *f)
{
        for (size_t i = 0; i < f->n; i++) {
                autobuf struct buf b = buf_new(16384);
                autojson struct json *line = json_new_object();

                if (json_set(line, "finding", finding_encode(&f->v[i])) && !json_print(line, &b))
                        puts(buf_str(&b));
        }
        f->n = 0;
        fflush(stdout);
}

/* --- children, some at a time, with deadlines */

struct part {
        struct child child;
        const char *argv[8];
        unsigned check; /* that fails when it does not answer */
        const char *subject, *mend;
        bool *hangs; /* may be NULL: told so when it does not answer */
        bool started;
        struct mono end;
};

struct parts {
        const struct agent_config *config;
        struct part v[PARTS_MAX];
        size_t n;
        struct findings *f;
};

static struct part *add_part(struct parts *p, unsigned check, const char *subject, const char *mend,
                             const char *verb, const char *a, const char *b, const char *c)
{
        struct part *x = &p->v[p->n];

        if (p->n == PARTS_MAX)
                return NULL;
        p->n++;
        *x = (struct part){.argv = {AGENT_SELF, "doctor", "part", verb, a, b, c, NULL},
                           .check = check,
                           .subject = subject,
                           .mend = mend};
        return x;
}

static void start_part(struct parts *p, struct part *x)
{
        struct err e;

        x->end = mono_add_ms(mono_now(), PARTS_MS);
        x->started = !child_start(&x->child, x->argv, &e);
        if (!x->started)
                findings_add(p->f, x->check, p->config->node, x->subject, DOCTOR_FAULT, x->mend,
                             "not examined: %s", e.msg);
}

/* Its whole lines are findings. */
static void pass_on(const struct part *x)
{
        const char *text = buf_str(&x->child.text);

        for (const char *end; (end = strchr(text, '\n')); text = end + 1)
                if (!strncmp(text, "{\"finding\":", 11))
                        fwrite(text, 1, (size_t)(end + 1 - text), stdout);
}

static void end_part(struct parts *p, struct part *x, struct mono end)
{
        struct mono now = mono_now();
        int64_t left = mono_ms_between(now, x->end), all = mono_ms_between(now, end);
        bool ended = child_wait(&x->child, left < all ? left : all);

        pass_on(x);
        if (!ended)
                findings_add(p->f, x->check, p->config->node, x->subject, DOCTOR_FAULT, x->mend,
                             "no answer within %d s", PARTS_MS / 1000);
        else if (!WIFEXITED(x->child.status) || WEXITSTATUS(x->child.status))
                findings_add(p->f, x->check, p->config->node, x->subject, DOCTOR_FAULT, x->mend,
                             "the check of it crashed: status %#x", (unsigned)x->child.status);
        if (!ended && x->hangs)
                *x->hangs = true;
        child_free(&x->child);
}

static void run_parts(struct parts *p)
{
        struct mono end = mono_add_ms(mono_now(), ALL_PARTS_MS);
        size_t next = 0;

        for (size_t i = 0; i < p->n; i++) {
                while (next < p->n && next < i + AT_ONCE)
                        start_part(p, &p->v[next++]);
                if (p->v[i].started)
                        end_part(p, &p->v[i], end);
        }
        doctor_tell(p->f);
}

/* --- what can be asked for without harm */

/* What must be mounted there; NULL: nobody has said so. */
static const char *wanted_at(const struct agent_pool *pool, struct arena *a)
{
        char source[MOUNT_SOURCE_MAX];

        if (pool->source)
                return pool->source;
        return mount_pools_source(MOUNT_POOLS_FILE, pool->path, source) ? arena_strdup(a, source)
                                                                        : NULL;
}

/* The pool's mount as the agent's pod sees it, compared with what libvirtd sees. */
static bool examine_mount(const struct agent_config *c, size_t i, struct findings *f)
{
        const struct agent_pool *pool = &c->pools[i];
        struct checkup_mount m = {.pool = pool->name, .path = pool->path};
        pid_t pid = proc_socket_owner(c->libvirt_run);
        struct mount_entry theirs, ours;
        char file[64];
        struct err e;

        m.mounted = !mountinfo_read("/proc/self/mountinfo", pool->path, &ours, &e);
        if (m.mounted) {
                m.fstype = ours.fstype;
                m.source = ours.source;
                m.options = ours.options;
        }
        m.wanted = wanted_at(pool, f->arena);
        if (pid > 0) {
                snprintf(file, sizeof(file), "/proc/%d/mountinfo", pid);
                int rc = mountinfo_read(file, pool->path, &theirs, &e);

                if (!rc)
                        m.elsewhere = !m.mounted || !mountinfo_same(&ours, &theirs);
                else
                        m.elsewhere = rc == -ENODEV && m.mounted;
        }
        checkup_mount(&m, c->node, f);
        return m.mounted && !m.elsewhere;
}

static void read_cert(struct checkup_cert *c, const char *ca, const char *node)
{
        autobuf struct buf pem = buf_new(PEM_MAX), ca_pem = buf_new(PEM_MAX);
        struct err e;

        if (file_read(c->path, &pem, &e))
                c->error = "cannot be read: is it there?";
        else if (!c->ca && file_read(ca, &ca_pem, &e))
                c->error = "cannot be checked, its CA cannot be read";
        else if (x509_look(buf_str(&pem), node, c->ca ? NULL : buf_str(&ca_pem), &c->facts, &e))
                c->error = "is no certificate";
}

static void examine_pki(const struct agent_config *c, struct findings *f)
{
        static const struct {
                bool qemu, ca, server;
                const char *path, *ca_path;
        } FILES[] = {
                {false, true, false, "/etc/pki/CA/cacert.pem", ""},
                {false, false, true, "/etc/pki/libvirt/servercert.pem", "/etc/pki/CA/cacert.pem"},
                {false, false, false, "/etc/pki/libvirt/clientcert.pem", "/etc/pki/CA/cacert.pem"},
                {true, true, false, "/etc/pki/qemu/ca-cert.pem", ""},
                {true, false, true, "/etc/pki/qemu/server-cert.pem", "/etc/pki/qemu/ca-cert.pem"},
                {true, false, false, "/etc/pki/qemu/client-cert.pem", "/etc/pki/qemu/ca-cert.pem"},
        };
        struct checkup_cert certs[countof(FILES)];
        size_t n = 0;

        for (size_t i = 0; i < countof(FILES); i++) {
                if (FILES[i].qemu ? !c->migration_tls : !strstr(c->peer_uri, "+tls://"))
                        continue;
                certs[n] = (struct checkup_cert){
                        .path = FILES[i].path, .ca = FILES[i].ca, .names_node = FILES[i].server};
                read_cert(&certs[n++], FILES[i].ca_path, c->node);
        }
        checkup_pki(certs, n, wall_us() / 1000000, c->node, f);
        if (c->migration_tls)
                checkup_dh_params(!access(DH_PARAMS, R_OK), DH_PARAMS, c->node, f);
}

/* Cuts "a,b" up in place; "-" is nothing. */
static size_t split(char *list, const char **out, size_t max)
{
        char *save = NULL;
        size_t n = 0;

        if (!strcmp(list, "-"))
                return 0;
        for (char *p = strtok_r(list, ",", &save); p && n < max; p = strtok_r(NULL, ",", &save))
                out[n++] = p;
        return n;
}

static void examine_network(const struct agent_config *c, char *bridges, struct findings *f)
{
        const char *names[BRIDGES_MAX], *why = ports_cannot_receive(c, f->arena);
        struct strs needed = {names, split(bridges, names, BRIDGES_MAX)}, have = {0};

        if (why)
                findings_add(f, DOCTOR_ARRIVALS, c->node, "", *why ? DOCTOR_FAULT : DOCTOR_OK,
                             "Let libvirtd listen (docs/install.md, libvirt with TLS), and keep "
                             "the ports 49152 to 49215 free for it.",
                             "%s", *why ? why : "libvirtd listens, and ports for guests are free");
        if (!facts_bridges(f->arena, &have))
                checkup_bridges(&have, &needed, c->node, f);
}

static void examine_pool(struct parts *parts, const struct agent_pool *pool, const char *file,
                         bool *hangs)
{
        struct part *x = add_part(parts, DOCTOR_POOL_WRITE, pool->name,
                                  "The mount hangs: is its server up, and can it be reached from "
                                  "this node? docs/troubleshooting.md, Storage is unhealthy.",
                                  "pool", pool->name, pool->path, file);

        if (x)
                x->hangs = hangs;
}

/* usable: the pools in which the test across nodes may be made. */
static void examine(const struct agent_config *c, const char *run, char *peers, char *bridges,
                    bool usable[AGENT_POOLS_MAX], struct findings *f)
{
        bool hangs[AGENT_POOLS_MAX] = {false};
        static struct parts parts;
        const char *names[PEERS_MAX];
        size_t n = split(peers, names, PEERS_MAX);
        char file[DOCTOR_NAME_MAX];

        parts = (struct parts){.config = c, .f = f};
        doctor_name(file, run, c->node);
        for (size_t i = 0; i < c->npools; i++) {
                usable[i] = examine_mount(c, i, f);
                if (usable[i]) /* never write to a bare directory */
                        examine_pool(&parts, &c->pools[i], file, &hangs[i]);
        }
        add_part(&parts, DOCTOR_LIBVIRT, "",
                 "libvirtd hangs: systemctl restart libvirtd on the node does not touch guests.",
                 "libvirt", NULL, NULL, NULL);
        for (size_t i = 0; i < n; i++) {
                add_part(&parts, DOCTOR_NAMES, names[i],
                         "The resolver does not answer: put the names of all hypervisors into "
                         "/etc/hosts of each.",
                         "name", names[i], NULL, NULL);
                add_part(&parts, DOCTOR_PEERS, names[i],
                         "Is the node up, its libvirtd running, and port 16514 open between the "
                         "two?",
                         "peer", names[i], NULL, NULL);
        }
        examine_pki(c, f);
        examine_network(c, bridges, f);
        doctor_tell(f);
        run_parts(&parts);
        for (size_t i = 0; i < c->npools; i++)
                usable[i] &= !hangs[i];
}

static bool run_ok(const char *run)
{
        return *run && strlen(run) <= DOCTOR_RUN_MAX &&
               run[strspn(run, "0123456789abcdef")] == '\0';
}

static int with_config(const struct agent_config *c, int argc, char **argv)
{
        char none[2][2] = {"-", "-"}, run[] = "0";
        bool usable[AGENT_POOLS_MAX] = {false}, alone = argc == 0;

        if (argc > 0 && !strcmp(argv[0], "part"))
                return doctor_part(c, argc - 1, argv + 1);
        if (!alone && (argc != 3 || !run_ok(argv[0]))) {
                fputs("usage: drover-agent doctor [RUN PEER,... BRIDGE,...]\n", stderr);
                return 2;
        }
        autoarena struct arena *a = arena_new((size_t)4 << 20);
        struct findings f = findings_new(a, FINDINGS_MAX);
        if (!a || f.failed)
                return 2;
        examine(c, alone ? run : argv[0], alone ? none[0] : argv[1], alone ? none[1] : argv[2],
                usable, &f);
        if (!alone)
                doctor_share(c, argv[0], usable, &f);
        return 0;
}

int agent_doctor(int argc, char **argv)
{
        char self[] = "drover-agent", *words[] = {self, NULL};
        struct agent_config c;
        struct err e;

        signal(SIGPIPE, SIG_IGN); /* whoever asked is gone: there is still to be tidied up */
        if (agent_config_parse(1, words, &c, &e)) {
                fprintf(stderr, "drover-agent: %s\n", e.msg);
                return 2;
        }
        int rc = with_config(&c, argc, argv);
        agent_config_free(&c);
        return rc;
}
