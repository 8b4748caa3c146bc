#include "agent/config.h"

#include "api/codec.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum kind { TEXT, NUMBER, QUANTITY, SWITCH };

struct setting {
        const char *flag, *env, *dflt, *help;
        enum kind kind;
        size_t offset;
        int64_t min, max;
};
#define AT(member) offsetof(struct agent_config, member)

static const struct setting SETTINGS[] = {
        {"node", "NODE_NAME", NULL, "name of this node", TEXT, AT(node), 0, 0},
        {"pools", "POOLS", "default=/var/lib/drover", "NAME=PATH[,NAME=PATH...]", TEXT,
         AT(pools_text), 0, 0},
        {"slots", "SLOTS", "0", "VMs at most on this node, 0 for no bound", NUMBER, AT(slots), 0,
         100000},
        {"cpu-overcommit", "CPU_OVERCOMMIT", "100", "guest CPUs in percent of the machine's",
         NUMBER, AT(cpu_overcommit_percent), 1, 10000},
        {"reserved-memory", "RESERVED_MEMORY", "512Mi", "memory kept for the host itself", QUANTITY,
         AT(reserved_memory), 0, INT64_MAX},
        {"virt-type", "VIRT_TYPE", "auto", "auto, kvm or qemu", TEXT, AT(virt_type), 0, 0},
        {"cpu-model", "CPU_MODEL", "", "of guests that ask for none; by default qemu64 or Nehalem",
         TEXT, AT(cpu_model), 0, 0},
        {"emulator", "EMULATOR", "", "path of QEMU; by default libvirt's choice", TEXT,
         AT(emulator), 0, 0},
        {"libvirt-uri", "LIBVIRT_URI", "qemu:///system", "libvirtd of this node", TEXT,
         AT(libvirt_uri), 0, 0},
        {"libvirt-run", "LIBVIRT_RUN", "/run/libvirt", "where libvirtd keeps its pid files", TEXT,
         AT(libvirt_run), 0, 0},
        {"console-dir", "CONSOLE_DIR", "/var/log/libvirt/qemu", "console logs, on the node", TEXT,
         AT(console_dir), 0, 0},
        {"peer-uri", "PEER_URI", "qemu+tls://%s/system", "libvirtd of a node, %s is its name", TEXT,
         AT(peer_uri), 0, 0},
        {"migration-address", "MIGRATION_ADDRESS", "", "where this node receives guests", TEXT,
         AT(migration_address), 0, 0},
        {"migration-tls", "MIGRATION_TLS", "on", "encrypt the memory stream: on or off", SWITCH,
         AT(migration_tls), 0, 0},
        {"stop-grace", "STOP_GRACE_SECONDS", "30", "from shutdown's request to its enforcement",
         NUMBER, AT(stop_grace_s), 0, 3600},
        {"probe-deadline-ms", "PROBE_DEADLINE_MS", "3000", "a mount that takes longer is bad",
         NUMBER, AT(probe_deadline_ms), 10, 60000},
        {"disk-deadline", "DISK_DEADLINE_SECONDS", "120", "for making a disk", NUMBER,
         AT(disk_deadline_s), 1, 86400},
        {"health-port", "HEALTH_PORT", "9403", "/healthz /readyz /metrics over plain HTTP", NUMBER,
         AT(health_port), 0, 65535},
        {"kubeconfig", "KUBECONFIG", NULL, "outside of a pod", TEXT, AT(kubeconfig), 0, 0},
};

static void print_help(void)
{
        printf("usage: drover-agent [--FLAG VALUE]...\n");
        for (size_t i = 0; i < countof(SETTINGS); i++) {
                const struct setting *s = &SETTINGS[i];
                printf("  --%-18s $%-22s %s%s%s%s\n", s->flag, s->env, s->help,
                       s->dflt && *s->dflt ? " (" : "", s->dflt ? s->dflt : "",
                       s->dflt && *s->dflt ? ")" : "");
        }
}

static int parse_number(const struct setting *s, const char *text, int64_t *out, struct err *e)
{
        char *end;

        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (errno || end == text || *end || v < s->min || v > s->max)
                return err_set(e, -EINVAL, "--%s: \"%s\" is not a number from %lld to %lld",
                               s->flag, text, (long long)s->min, (long long)s->max);
        *out = v;
        return 0;
}

static int parse_switch(const struct setting *s, const char *text, bool *out, struct err *e)
{
        bool on = !strcmp(text, "on") || !strcmp(text, "true") || !strcmp(text, "1");

        if (!on && strcmp(text, "off") != 0 && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
                return err_set(e, -EINVAL, "--%s: \"%s\" is neither on nor off", s->flag, text);
        *out = on;
        return 0;
}

static int apply(const struct setting *s, const char *text, struct agent_config *c, struct err *e)
{
        char *at = (char *)c + s->offset;

        switch (s->kind) {
        case NUMBER:
                return parse_number(s, text, (int64_t *)(void *)at, e);
        case QUANTITY:
                if (quantity_parse(text, (int64_t *)(void *)at))
                        return err_set(e, -EINVAL, "--%s: \"%s\" is not a quantity", s->flag, text);
                return 0;
        case SWITCH:
                return parse_switch(s, text, (bool *)at, e);
        case TEXT:
                break;
        }
        memcpy(at, &text, sizeof(text));
        return 0;
}

static bool pool_name_ok(const char *name)
{
        return *name && strlen(name) <= 63 &&
               name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* Takes pools_text, which it copies and cuts up, apart. */
static int parse_pools(struct agent_config *c, struct err *e)
{
        char *text = strdup(c->pools_text), *save = NULL;

        c->pools_text = text;
        if (!text)
                return err_set(e, -ENOMEM, "out of memory");
        for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
                char *eq = strchr(p, '=');
                if (!eq || eq[1] != '/' || c->npools == AGENT_POOLS_MAX)
                        return err_set(e, -EINVAL,
                                       "--pools: \"%s\" is not NAME=/PATH, or one too many", p);
                *eq = '\0';
                for (size_t n = strlen(eq + 1); n > 1 && eq[n] == '/'; n--)
                        eq[n] = '\0';
                if (!pool_name_ok(p) || agent_pool_of(c, p))
                        return err_set(e, -EINVAL, "--pools: \"%s\" is a bad name or there twice",
                                       p);
                c->pools[c->npools++] = (struct agent_pool){p, eq + 1};
        }
        return c->npools ? 0 : err_set(e, -EINVAL, "--pools names none");
}

/* A template goes through printf with one string: let it hold exactly one %s and no other %. */
static bool template_ok(const char *t)
{
        const char *p = strchr(t, '%');

        return p && p[1] == 's' && !strchr(p + 1, '%');
}

static int check(struct agent_config *c, struct err *e)
{
        if (!c->node || !*c->node)
                return err_set(e, -EINVAL, "--node or $NODE_NAME must be given");
        if (strlen(c->node) > 253 || strchr(c->node, '/'))
                return err_set(e, -EINVAL, "\"%s\" is not a node name", c->node);
        if (strcmp(c->virt_type, "auto") != 0 && strcmp(c->virt_type, "kvm") != 0 &&
            strcmp(c->virt_type, "qemu") != 0)
                return err_set(e, -EINVAL, "--virt-type: \"%s\" is not auto, kvm or qemu",
                               c->virt_type);
        if (!template_ok(c->peer_uri))
                return err_set(e, -EINVAL, "--peer-uri: \"%s\" must hold one %%s", c->peer_uri);
        return parse_pools(c, e);
}

static int read_flags(int argc, char **argv, struct agent_config *c, struct err *e)
{
        struct option options[countof(SETTINGS) + 2] = {{"help", no_argument, NULL, 'h'}};
        int index, opt;

        for (size_t i = 0; i < countof(SETTINGS); i++)
                options[i + 1] =
                        (struct option){SETTINGS[i].flag, required_argument, NULL, 256 + (int)i};
        optind = 1;
        opterr = 0;
        while ((opt = getopt_long(argc, argv, "h", options, &index)) != -1) {
                if (opt == 'h') {
                        print_help();
                        return 1;
                }
                if (opt < 256)
                        return err_set(e, -EINVAL, "unknown flag %s", argv[optind - 1]);
                int rc = apply(&SETTINGS[opt - 256], optarg, c, e);
                if (rc)
                        return rc;
        }
        return optind < argc ? err_set(e, -EINVAL, "unexpected argument %s", argv[optind]) : 0;
}

int agent_config_parse(int argc, char **argv, struct agent_config *out, struct err *e)
{
        struct agent_config c = {0};
        int rc;

        for (size_t i = 0; i < countof(SETTINGS); i++) {
                const char *v = getenv(SETTINGS[i].env);
                if (!v || !*v)
                        v = SETTINGS[i].dflt;
                if (v && (rc = apply(&SETTINGS[i], v, &c, e)))
                        return rc;
        }
        if ((rc = read_flags(argc, argv, &c, e)))
                return rc;
        char *given = c.pools_text;
        if ((rc = check(&c, e))) {
                if (c.pools_text != given)
                        free(c.pools_text);
                return rc;
        }
        *out = c;
        return 0;
}

void agent_config_free(struct agent_config *c)
{
        free(c->pools_text);
        c->pools_text = NULL;
}

const struct agent_pool *agent_pool_of(const struct agent_config *c, const char *name)
{
        for (size_t i = 0; i < c->npools; i++)
                if (!strcmp(c->pools[i].name, name))
                        return &c->pools[i];
        return NULL;
}
