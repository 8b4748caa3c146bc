#include "kubectl/snapshot.h"

#include "base/json.h"
#include "base/options.h"
#include "core/types.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX  ((size_t)16 << 10) /* what a pipe takes at once */
#define COULD_NOT 2
#define RESOURCE  "virtualmachinesnapshots." DROVER_GROUP

static void add(struct snapshot_call *c, const char *word)
{
        size_t n = 0;

        while (c->argv[n])
                n++;
        if (n + 1 < SNAPSHOT_WORDS)
                c->argv[n] = word;
}

static void add_option(struct snapshot_call *c, const char *option, const char *value)
{
        if (!value || !*value)
                return;
        add(c, option);
        add(c, value);
}

/* --- the four verbs: what kubectl is to do, after its options */

static int create(const struct snapshot_wish *w, struct snapshot_call *c)
{
        autojson struct json *j = json_new_object();
        struct json *meta = json_object_at(j, "metadata"), *spec = json_object_at(j, "spec");
        autobuf struct buf prefix = buf_new(512);

        buf_addf(&prefix, "%s-", w->operands[1]);
        json_set_str(j, "apiVersion", DROVER_API_VERSION);
        json_set_str(j, "kind", "VirtualMachineSnapshot");
        if (w->n > 2)
                json_set_str(meta, "name", w->operands[2]);
        else
                json_set_str(meta, "generateName", buf_str(&prefix));
        json_set_str(spec, "vm", w->operands[1]);
        if (*w->quiesce)
                json_set_str(spec, "quiesce", w->quiesce);
        add(c, "create");
        add(c, "-f");
        add(c, "-");
        return spec ? json_print(j, &c->input) : -ENOMEM;
}

static int list(const struct snapshot_wish *w, struct snapshot_call *c)
{
        add(c, "get");
        add(c, RESOURCE);
        if (w->n < 2)
                return 0;
        buf_addf(&c->text, "spec.vm=%s", w->operands[1]);
        add_option(c, "--field-selector", buf_str(&c->text));
        return c->text.error;
}

static int delete_it(const struct snapshot_wish *w, struct snapshot_call *c)
{
        add(c, "delete");
        add(c, RESOURCE);
        add(c, w->operands[1]);
        return 0;
}

static int restore(const struct snapshot_wish *w, struct snapshot_call *c)
{
        autojson struct json *j = json_new_object();
        struct json *spec = json_object_at(j, "spec"), *wish = json_object_at(spec, "restore");

        json_set_str(wish, "snapshot", w->operands[2]);
        json_set_str(wish, "requestedAt", w->now);
        if (w->restart)
                json_set_str(spec, "restartedAt", w->now);
        int rc = wish ? json_print(j, &c->text) : -ENOMEM;
        add(c, "patch");
        add(c, "virtualmachines." DROVER_GROUP);
        add(c, w->operands[1]);
        add_option(c, "--type", "merge");
        add_option(c, "-p", buf_str(&c->text));
        return rc;
}

static const struct {
        const char *name, *operands, *about;
        size_t min, max; /* operands, itself included */
        int (*make)(const struct snapshot_wish *w, struct snapshot_call *c);
} VERBS[] = {
        {"create", "VM [NAME]", "takes a snapshot of all disks of the VM", 2, 3, create},
        {"list", "[VM]", "tells those of the VM, or of all", 1, 2, list},
        {"delete", "NAME", "removes it", 2, 2, delete_it},
        {"restore", "VM NAME", "has the disks set back to it at the VM's next start", 3, 3,
         restore},
};

static int check(const struct snapshot_wish *w, size_t v, struct err *e)
{
        if (w->n < VERBS[v].min || w->n > VERBS[v].max)
                return err_set(e, -EINVAL, "usage: kubectl drover snapshot %s %s", VERBS[v].name,
                               VERBS[v].operands);
        if (w->restart && VERBS[v].make != restore)
                return err_set(e, -EINVAL, "--restart goes with restore only");
        if (*w->quiesce && VERBS[v].make != create)
                return err_set(e, -EINVAL, "--quiesce goes with create only");
        return 0;
}

int snapshot_call(const struct snapshot_wish *w, struct snapshot_call *out, struct err *e)
{
        size_t v = 0;

        *out = (struct snapshot_call){.input = buf_new(TEXT_MAX), .text = buf_new(TEXT_MAX)};
        while (v < countof(VERBS) && w->n && strcmp(VERBS[v].name, w->operands[0]) != 0)
                v++;
        if (!w->n || v == countof(VERBS))
                return err_set(e, -EINVAL, "say one of create, list, delete, restore");
        int rc = check(w, v, e);
        if (rc)
                return rc;
        add(out, w->kubectl);
        add_option(out, "--kubeconfig", w->kubeconfig);
        add_option(out, "--context", w->context);
        add_option(out, "--namespace", w->ns);
        rc = VERBS[v].make(w, out);
        return rc ? err_set(e, rc, "too long, or out of memory") : 0;
}

/* --- the run */

/* kubectl takes our place; only a failure returns. */
static int become(const struct snapshot_call *c, struct err *e)
{
        int p[2];

        if (c->input.len) {
                if (pipe(p) || write(p[1], c->input.data, c->input.len) != (ssize_t)c->input.len ||
                    dup2(p[0], STDIN_FILENO) < 0)
                        return err_sys(e, -errno, "pipe");
                close(p[0]);
                close(p[1]);
        }
        fflush(stdout);
        execvp(c->argv[0], (char *const *)(uintptr_t)c->argv);
        return err_sys(e, -errno, "cannot run %s", c->argv[0]);
}

static int print_help(const struct option_row *rows, size_t n)
{
        autobuf struct buf b = buf_new(65536), about = buf_new(4096);

        buf_adds(&about, "Snapshots of the disks of VMs.\n");
        for (size_t i = 0; i < countof(VERBS); i++)
                buf_addf(&about, "\n  %-8s%-10s %s", VERBS[i].name, VERBS[i].operands,
                         VERBS[i].about);
        if (!options_help(&b, "kubectl drover snapshot VERB [NAMES] [FLAGS]", buf_str(&about), rows,
                          n))
                fputs(buf_str(&b), stdout);
        return 0;
}

/* Flags may stand before, between and behind the names. */
static int parse(int argc, char **argv, const struct option_row *rows, size_t n,
                 struct snapshot_wish *w, struct err *e)
{
        int at = 0, rc = 0;

        while (argc > 1 && !rc) {
                rc = options_parse(argc, argv, rows, n, &at, e);
                if (rc || at >= argc)
                        break;
                if (w->n == SNAPSHOT_OPERAND)
                        return err_set(e, -EINVAL, "\"%s\" is one word too many", argv[at]);
                w->operands[w->n++] = argv[at];
                argv += at;
                argc -= at;
        }
        return rc;
}

int snapshot_main(int argc, char **argv)
{
        struct snapshot_wish w = {.kubectl = "kubectl", .quiesce = ""};
        const struct option_row rows[] = {
                OPTION_TEXT("namespace", NULL, "NAME", "of the VM; also as -n", &w.ns),
                OPTION_TEXT("quiesce", NULL, "Auto|Required|Never",
                            "with create: by the guest's agent", &w.quiesce),
                OPTION_FLAG("restart", NULL, "with restore: the guest is restarted for it now",
                            &w.restart),
                OPTION_TEXT("kubeconfig", NULL, "FILE", "for kubectl", &w.kubeconfig),
                OPTION_TEXT("context", NULL, "NAME", "for kubectl", &w.context),
                OPTION_TEXT("kubectl", NULL, "PATH", "the program to run", &w.kubectl),
        };
        static char ns[] = "--namespace";
        struct snapshot_call call = {0};
        char now[32] = "";
        time_t t = time(NULL);
        struct tm tm;
        struct err e;

        for (int i = 1; i < argc; i++)
                if (!strcmp(argv[i], "-n"))
                        argv[i] = ns;
        if (gmtime_r(&t, &tm))
                strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
        w.now = now;
        int rc = parse(argc, argv, rows, countof(rows), &w, &e);
        if (rc > 0)
                return print_help(rows, countof(rows));
        if (!rc)
                rc = snapshot_call(&w, &call, &e);
        if (!rc)
                rc = become(&call, &e);
        buf_free(&call.input);
        buf_free(&call.text);
        fprintf(stderr, "kubectl drover: %s\n", e.msg);
        return COULD_NOT;
}
